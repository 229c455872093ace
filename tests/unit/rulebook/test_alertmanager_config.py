"""Rules of an Alertmanager's configuration: the same meaning, no secret, nothing passed over in silence."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from router.app import notifier_specs
from router.model.errors import ConfigError, Problem
from router.rulebook import load, yaml_loader
from router.rulebook.alertmanager_config import Converted, convert
from router.rulebook.book import Rulebook
from router.rulebook.classic_matchers import classic, read
from router.rulebook.matchers import MatcherError, parse

KINDS = notifier_specs()
WHOLE = """\
global:
  slack_api_url: https://hooks.slack.com/services/T0/B0/HUSH
templates: [/etc/*.tmpl]
route:
  receiver: team/default
  group_by: [alertname, cluster]
  group_wait: 1m30s
  routes:
    - match: {severity: critical}
      match_re: {service: "pay|cust.*"}
      receiver: pager
      continue: yes
      active_time_intervals: [days]
      mute_time_intervals: [nights]
      routes:
        - {matchers: ['a = b c', "d=~x\\\\.y"], group_by: ['...'], repeat_interval: 1w}
    - {receiver: chat, group_by: []}
inhibit_rules:
  - {source_match: {severity: critical}, target_match_re: {severity: warning|info}, equal: [alertname]}
  - {name: all, target_matchers: [x=y]}
time_intervals:
  - {name: days, time_intervals: [{weekdays: ['monday:friday'], days_of_month: [1, -1]}]}
mute_time_intervals:
  - name: nights
    time_intervals: [{times: [{start_time: 22:00, end_time: 24:00}], location: Europe/Berlin}]
receivers:
  - {name: team/default, webhook_configs: [{url: http://HUSH}]}
  - name: pager
    pagerduty_configs:
      - {routing_key: HUSH, severity: error, client: am, client_url: '{{ x }}', details: {a: b}}
      - {service_key: HUSH, severity: '{{ x }}'}
      - {routing_key_file: /run/key, client_url: 'https://ana:HUSH@example.com'}
  - name: chat
    slack_configs:
      - {channel: '#x', api_url: http://HUSH, send_resolved: false, title: x}
      - {channel: '{{ y }}'}
"""
ROOT = "route: {receiver: a}\nreceivers: [{name: a}]\n"


def converted(text: str) -> Converted:
    return convert(text.encode(), "alertmanager.yml", KINDS)


def loaded(made: Converted) -> Rulebook:
    return load.build(load.Reading("rules", [(n, t.encode()) for n, t in made.files.items()]), KINDS)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as found:
        convert(text if isinstance(text, bytes) else text.encode(), "am.yml", KINDS)
    return [str(problem) for problem in found.value.problems]


def data(made: Converted, file: str) -> dict[str, object]:
    document, found = yaml_loader.read(made.files[file].encode(), file)
    assert not found
    assert document is not None
    return document.data


def test_a_whole_configuration() -> None:
    """Routes, intervals and inhibit rules stand there in today's words; deprecated ones are gone."""
    made = converted(WHOLE)
    assert data(made, "routes.yaml")["route"] == {
        "receiver": "team-default",
        "group_by": ["alertname", "cluster"],
        "group_wait": "1m30s",
        "routes": [
            {
                "name": "severity-critical-service-pay-cust",
                "receiver": "pager",
                "matchers": ['severity="critical"', 'service=~"pay|cust.*"'],
                "mute_time_intervals": ["nights"],
                "active_time_intervals": ["days"],
                "continue": True,
                "routes": [
                    {
                        "name": "a-b-c-d-x-y",
                        "matchers": ['a="b c"', 'd=~"x\\\\.y"'],
                        "group_by": ["..."],
                        "repeat_interval": "1w",
                    }
                ],
            },
            {"name": "chat", "receiver": "chat"},
        ],
    }
    assert data(made, "muting.yaml") == {
        "time_intervals": [
            {
                "name": "days",
                "time_intervals": [{"weekdays": ["monday:friday"], "days_of_month": ["1", "-1"]}],
            },
            {
                "name": "nights",
                "time_intervals": [
                    {"times": [{"start_time": "22:00", "end_time": "24:00"}], "location": "Europe/Berlin"}
                ],
            },
        ],
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity=~"warning|info"'],
                "equal": ["alertname"],
            },
            {"name": "all", "source_matchers": ['alertname=~".*"'], "target_matchers": ['x="y"']},
        ],
    }
    assert made.counts == {"routes": 4, "receivers": 3, "inhibit rules": 2}


def test_receivers_without_their_secrets() -> None:
    """A key becomes the name of a variable, each its own; a file stays; without a channel it is left."""
    made = converted(WHOLE)
    _, pager, chat = data(made, "receivers.yaml")["receivers"]  # type: ignore[misc]  as read, unchecked
    first, second, third = pager["pagerduty_configs"]
    assert first["routing_key_env"] == "PAGERDUTY_PAGER_ROUTING_KEY"
    assert (set(first["severity_map"].values()), first["client"]) == ({"error"}, "am")
    assert second == {"routing_key_env": "PAGERDUTY_PAGER_ROUTING_KEY_2"}
    assert third == {"routing_key_file": "/run/key"}
    assert chat["slack_configs"] == [{"channel": "#x"}]
    assert made.environment == ("PAGERDUTY_PAGER_ROUTING_KEY", "PAGERDUTY_PAGER_ROUTING_KEY_2")
    assert "HUSH" not in str(made)


@pytest.mark.parametrize(
    "words",
    [
        "alertmanager.yml:1: global: not taken over: slack_api_url",
        "alertmanager.yml:3: templates: not taken over",
        "route.routes[0].match: match is deprecated",
        "route.routes[0].match_re: match_re is deprecated",
        "inhibit_rules[1]: the rule has no source matchers",
        "mute_time_intervals at the top is deprecated",
        "the name is written as 'team-default'",
        "1 webhook target(s) are not taken over",
        "team-default tells nobody here",
        "the key is not copied: set PAGERDUTY_PAGER_ROUTING_KEY",
        "Events API v1; make an integration of Events API v2",
        "client_url is a template",
        "client_url is no link that is safe to show",
        "severity is a template",
        "not taken over: details",
        "invite the bot to: #x",
        "send_resolved: false is not taken over",
        "not taken over: title",
        "chat: the target names its channel by a template",
    ],
)
def test_what_is_lost_is_said(words: str) -> None:
    """Each thing that is left out or written otherwise has its note, with its line."""
    assert any(words in str(note) for note in converted(WHOLE).notes)


def test_the_same_note_stands_once() -> None:
    """A hundred deprecated matchers are one note, with their number."""
    routes = "".join(f"    - match: {{a: x{n}}}\n" for n in range(100))
    text = f"route:\n  receiver: a\n  routes:\n{routes}receivers: [{{name: a}}]\n"
    (note,) = converted(text).notes
    assert str(note).endswith("match is deprecated; written as matchers (and 99 more like it)")
    assert note.line == 4


def test_a_route_keeps_its_name_when_it_moves() -> None:
    """A name is made of what the route takes, so that open incidents stay where they are."""
    routes = ["{match: {a: b}}", "{match: {a: c}}", "{match: {a: c}}", "{match: {'7': '8'}}"]

    def names(order: list[str]) -> set[str]:
        made = converted(f"route: {{receiver: a, routes: [{', '.join(order)}]}}\nreceivers: [{{name: a}}]\n")
        return {route.id for route in loaded(made).root.routes}

    expected = {"root/a-b", "root/a-c", "root/a-c-2", "root/7-8"}
    assert names(routes) == names(routes[::-1]) == expected


def test_anchors_and_merges() -> None:
    """They are read as YAML has it: own keys win over merged ones, the first merged over the next."""
    text = """
receivers: [{name: a}]
route:
  receiver: a
  routes:
    - &one {matchers: &m ['a=b'], group_wait: 1s, repeat_interval: 1h}
    - {<<: *one, group_wait: 2s}
    - {<<: [{group_wait: 3s}, *one], matchers: *m}
"""
    made = loaded(converted(text))
    waits = [(r.group_wait.seconds, r.repeat_interval.seconds, len(r.matchers)) for r in made.root.routes]
    assert waits == [(1, 3600, 1), (2, 3600, 1), (3, 3600, 1)]


BOMB = "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("receivers: [{name: a}]\n", "am.yml:1: route: there is no route"),
        ("", "there is no route"),
        ("- a\n", "am.yml:1: this must be keys with values"),
        (ROOT + "rotue: {}\n", "am.yml:3: rotue: unknown key 'rotue' (did you mean 'route'?)"),
        (ROOT + "route: {}\n", "am.yml:3: the key 'route' stands twice; first in line 1"),
        (
            "route: {receiver: b}\nreceivers: [{name: a}]\n",
            "am.yml:1: route.receiver: no receiver is named 'b'",
        ),
        (
            "route:\n  receiver: a\n  match: {a: b}\nreceivers: [{name: a}]\n",
            "am.yml:3: route.matchers: the root",
        ),
        (
            "route: {receiver: a, continue: 'yes'}\nreceivers: [{name: a}]\n",
            "am.yml:1: route.continue: the root cannot have continue",
        ),
        (
            "route:\n  receiver: a\n  routes: [{mute_time_intervals: [x]}]\nreceivers: [{name: a}]\n",
            "am.yml:3: route.routes[0].mute_time_intervals",
        ),
        (
            "route:\n  receiver: a\n  group_wait: 5\nreceivers: [{name: a}]\n",
            "am.yml:3: route.group_wait: not a duration",
        ),
        (
            "route: {receiver: a, routes: [{match_re: {a: '('}}]}\nreceivers: [{name: a}]\n",
            "match_re.a: not a",
        ),
        (
            "route: {receiver: a, routes: [{matchers: ['a']}]}\nreceivers: [{name: a}]\n",
            "matchers[0]: expected an",
        ),
        (
            "route: {receiver: a, routes: [{continue: perhaps}]}\nreceivers: [{name: a}]\n",
            "must be true or false",
        ),
        ("route: {receiver: a, routes: {}}\nreceivers: [{name: a}]\n", "route.routes: this must be a list"),
        ("route: {receiver: [a]}\nreceivers: [{name: a}]\n", "route.receiver: this must be text"),
        (
            ROOT.replace("[{name: a}]", "[{name: a}, {name: a}]"),
            "receivers[1].name: two receivers have this name",
        ),
        (ROOT.replace("{name: a}", "{name: a, slack: []}"), "receivers[0].slack: unknown key 'slack'"),
        (
            ROOT.replace("{name: a}", "{name: a, slack_configs: [{channel: a b}]}"),
            "am.yml:2: receivers[0].slack",
        ),
        (
            ROOT + "time_intervals: [{name: n, time_intervals: [{weekdays: [moonday]}]}]\n",
            "am.yml:3: time_interv",
        ),
        (ROOT + "time_intervals: [{name: n}, {name: n}]\n", "two intervals have this name"),
        (ROOT + "inhibit_rules: [{source_matchers: [a=b], targets: [c=d]}]\n", "unknown key 'targets'"),
        (ROOT + "x: !!python/object:os.system {}\n", "am.yml:3: the tag"),
        (ROOT + "---\na: b\n", "am.yml:3: the file holds several documents"),
        (ROOT + "templates: *nothing\n", "am.yml:3: nothing is anchored as"),
        (ROOT + "templates: &a [*a]\n", "am.yml:3: 'a' stands inside itself"),
        (ROOT + "? [a]\n: b\n", "am.yml:3: a key must be text"),
        (ROOT + "<<: [a]\n", "<< takes keys with values"),
        (ROOT + 'templates: ["\\ud800"]\n', "am.yml:3: not YAML"),
        (ROOT + "templates: [a\n", "am.yml:4: not YAML"),
        (ROOT + BOMB, "more than 100000 values, those that aliases repeat included"),
        (ROOT + "templates: " + "[" * 100 + "]" * 100, "nested deeper than 64 levels"),
        (ROOT + "templates: " + "[" * 500_000, "nest"),
        (b"a: \xff\n", "am.yml:1: the file is not UTF-8 text"),
        (b"#" * ((1 << 20) + 1), "the file is larger than 1048576 bytes"),
    ],
)
def test_mistakes_are_told(text: str | bytes, words: str) -> None:
    """What Alertmanager would refuse, and what is no such file, is told with the line it stands in."""
    found = problems(text)
    assert any(words in problem for problem in found), found


def test_all_mistakes_at_once() -> None:
    """One run shows them all."""
    text = "route: {receiver: a, routes: [{x: 1}, {matchers: ['a']}]}\nreceivers: [{name: a, y: 1}]\nz: 1\n"
    assert len(problems(text)) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", ['a="b"']),
        ("{a=b,c!=d}", ['a="b"', 'c!="d"']),
        (" a = b c , d=~e.*, ", ['a="b c"', 'd=~"e.*"']),
        ('a="x, y",b!~"\\"q\\""', ['a="x, y"', 'b!~"\\"q\\""']),
        (r"a=\n\d\\", [r'a="\n\\d\\"']),
        ("a=", ['a=""']),
        (r'a=~"b\.c"', [r'a=~"b\\.c"']),
        ("a={b}", ['a="{b"']),
        ("", []),
        ("{}", []),
        ("a=b\\", ['a="b\\\\"']),
    ],
)
def test_classic_matchers(text: str, expected: list[str]) -> None:
    """What the old grammar took stands there in quotes; today's grammar reads that the same way."""
    found = classic(text)
    assert [str(matcher) for matcher in found] == expected
    assert tuple(m for one in expected for m in parse(one)) == found == read(text)


@pytest.mark.parametrize(
    "text", ["a", "=b", 'a="b', 'a=b"c', 'a="b"c', "a=b,,c=d", ",", '"a b"=c', "é=b", "a=~("]
)
def test_not_classic_matchers(text: str) -> None:
    """What the old grammar refused is left to today's."""
    with pytest.raises(MatcherError):
        classic(text)


def test_todays_matchers_are_read_too() -> None:
    """Names in quotes or beyond ASCII, which only today's grammar takes."""
    assert [str(m) for m in read('{"a b"="c",é=~"d"}')] == ['"a b"="c"', 'é=~"d"']


@given(st.text("{}!=~,\\\"' ab\nné.*", max_size=14))
def test_what_is_read_is_written_so_that_it_means_the_same(text: str) -> None:
    """Whatever the matchers, their text is read back as what they were; nothing but MatcherError comes."""
    try:
        found = read(text)
    except MatcherError:
        return
    assert tuple(m for one in found for m in parse(str(one))) == found


_PIECES = [
    "route:",
    "receiver: a",
    "&a",
    "*a",
    "<<:",
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "-",
    "match",
    "\n",
    " ",
    "'x'",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=30), st.integers(0, len(WHOLE)), st.integers(0, 40))
def test_any_text_is_taken_or_refused(pieces: list[str], at: int, cut: int) -> None:
    """A damaged file ends in rules that load, or in problems; never in another exception."""
    found: tuple[Problem, ...] = ()
    try:
        loaded(converted(WHOLE[:at] + "".join(pieces) + WHOLE[at + cut :]))
    except ConfigError as exc:
        found = exc.problems
    assert all(p.file == "alertmanager.yml" for p in found)


_any = st.characters(codec="utf-8")


@given(st.text(_any, min_size=1, max_size=30), st.text(_any, max_size=30))
def test_any_name_and_value_is_written_back(name: str, value: str) -> None:
    """Whatever text stands in the file, YAML's quoting keeps it."""
    route = {"receiver": "a", "routes": [{"match": {name: value}}]}
    book = loaded(converted(yaml.safe_dump({"route": route, "receivers": [{"name": "a"}]})))
    (matcher,) = book.root.routes[0].matchers
    assert (matcher.name, matcher.value) == (name, value)
