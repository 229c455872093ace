"""Routing: Alertmanager's meaning of the tree."""

from datetime import timedelta

import pytest

from router.model.errors import ConfigError
from router.model.events import Severity
from tests.unit.rulebook.helpers_rulebook import book

TREE = """
route:
  receiver: default
  group_by: [alertname]
  routes:
    - name: quiet
      matchers: [severity="none"]
      receiver: nobody
    - name: audit
      matchers: [audit="yes"]
      receiver: audit
      continue: true
    - name: payments
      matchers: ['service=~"pay.*"']
      receiver: payments
      group_by: ['...']
      group_wait: 5m
      routes:
        - name: night
          matchers: [shift="night"]
          receiver: night
          group_by: []
          continue: true
        - matchers: ['severity!="critical"', 'team="x"']
        - name: unset
          matchers: ['env=""']
          group_wait: 0s
    - name: rest
      matchers: ['service!=""']
receivers: [{name: default}, {name: nobody}, {name: audit}, {name: payments}, {name: night}]
"""


@pytest.fixture
def rules(tmp_path):
    """Load the tree above."""
    return book(tmp_path, routes=TREE)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({}, ["root"], id="nothing matches: the root takes it"),
        pytest.param(
            {"severity": "none", "service": "pay"}, ["root/quiet"], id="the first sibling ends the search"
        ),
        pytest.param(
            {"audit": "yes"}, ["root/audit"], id="continue alone is enough, the root does not take it too"
        ),
        pytest.param({"audit": "yes", "service": "cart"}, ["root/audit", "root/rest"], id="continue goes on"),
        pytest.param(
            {"service": "pay", "env": "p"}, ["root/payments"], id="no child matches: the node takes it"
        ),
        pytest.param({"service": "repay", "env": "p"}, ["root/rest"], id="patterns are anchored"),
        pytest.param({"service": "pay"}, ["root/payments/unset"], id="a missing label is empty"),
        pytest.param(
            {"service": "pay", "shift": "night"},
            ["root/payments/night", "root/payments/unset"],
            id="continue inside a branch stays in it",
        ),
        pytest.param(
            {"service": "pay", "shift": "night", "env": "p"},
            ["root/payments/night"],
            id="after continue nothing else matches",
        ),
        pytest.param(
            {"service": "pay", "team": "x"}, ["root/payments/1"], id="all matchers must hold; index as name"
        ),
        pytest.param(
            {"audit": "yes", "service": "pay", "shift": "night"},
            ["root/audit", "root/payments/night", "root/payments/unset"],
            id="continue at two levels",
        ),
    ],
)
def test_route(rules, labels, expected):
    """Depth first, the first matching sibling ends the search unless it continues, else the node itself."""
    assert [route.id for route in rules.route(labels)] == expected


def test_inheritance(rules):
    """Receiver, group_by (an empty one says nothing) and group_wait come from the nearest route above."""
    found = {
        i: rules.route_by_id(f"root{i}")
        for i in ("", "/payments", "/payments/night", "/payments/unset", "/rest")
    }
    assert {i: (r.receiver, r.group_by, r.group_wait) for i, r in found.items()} == {
        "": ("default", ("alertname",), timedelta(seconds=30)),
        "/payments": ("payments", None, timedelta(minutes=5)),
        "/payments/night": ("night", None, timedelta(minutes=5)),
        "/payments/unset": ("payments", None, timedelta(0)),
        "/rest": ("default", ("alertname",), timedelta(seconds=30)),
    }
    assert rules.route_by_id("root/gone") is None


def test_group_labels(rules):
    """A group is named by the labels of group_by that the alert has; by all of them for '...'."""
    labels = {"alertname": "A", "x": "1", "empty": ""}
    assert rules.group_labels(rules.root, labels) == {"alertname": "A"}
    assert rules.group_labels(rules.root, {"x": "1"}) == {}
    assert rules.group_labels(rules.route_by_id("root/payments"), labels) == {"alertname": "A", "x": "1"}


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        ("{receiver: d, matchers: [a=b]}", "route.matchers", "root cannot have matchers"),
        ("{receiver: d, continue: true}", "route.continue", "root cannot have continue"),
        ("{group_by: [a]}", "route", "root needs a receiver"),
        ("{receiver: dd}", "route.receiver", "no receiver is named 'dd'"),
        ("{receiver: d, groupby: [a]}", "route.groupby", "did you mean 'group_by'"),
        ("{receiver: d, group_by: [a, a]}", "route.group_by", "twice"),
        ("{receiver: d, group_by: ['...', a]}", "route.group_by", "stands alone"),
        ("{receiver: d, group_wait: 30}", "route.group_wait", "put it in quotes"),
        ("{receiver: d, group_wait: 30 s}", "route.group_wait", "not a duration"),
        ("{receiver: d, group_wait: 30d}", "route.group_wait", "longer than a day"),
        ("{receiver: d, repeat_interval: 2y}", "route.repeat_interval", "longer than"),
        ("{receiver: d, match: {a: b}}", "route.match", "matchers:"),
        ("{receiver: d, routes: [{matchers: a=b}]}", "route.routes[0].matchers", "list"),
        ("{receiver: d, routes: [{matchers: [a]}]}", "route.routes[0].matchers[0]", "operator"),
        ("{receiver: d, routes: [{name: a}, {name: a}]}", "route.routes[1].name", "beside each other"),
        ("{receiver: d, routes: [{name: '1'}]}", "route.routes[0].name", "not a number"),
        ("{receiver: d, routes: [{name: a/b}]}", "route.routes[0].name", "no /"),
        ("{receiver: d, routes: [{continue: 'yes'}]}", "route.routes[0].continue", "true or false"),
        ("[]", "route", "keys with values"),
    ],
)
def test_refuses(tmp_path, route, path, words):
    """A wrong route is refused at its path, with what to do."""
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, routes=f"route: {route}\nreceivers: [{{name: d}}]\n")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.file) == (path, 1, "rules/routes.yaml")
    assert words in str(problem)


def test_same_name_in_two_branches(tmp_path):
    """Names need to differ only among siblings, since an id is the whole path."""
    branch = "{name: %s, routes: [{name: x}]}"
    text = f"route: {{receiver: d, routes: [{branch % 'a'}, {branch % 'b'}]}}\nreceivers: [{{name: d}}]"
    rules = book(tmp_path, routes=text)
    assert rules.route_by_id("root/a/x") is not rules.route_by_id("root/b/x")


# --- what is inherited, and what is a route's own ---------------------------------------------------

LEAST = "receivers: [{name: d}, {name: e}]\n"
INTERVALS = (
    "time_intervals: [{name: nights}, {name: days, time_intervals: [{weekdays: ['monday:friday']}]}]\n"
)


def test_times_are_alertmanagers(tmp_path):
    """Without a word about times they are Alertmanager's defaults; ours are off."""
    root = book(tmp_path, routes=f"route: {{receiver: d}}\n{LEAST}").root
    assert (root.group_wait, root.group_interval, root.repeat_interval) == (
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(hours=4),
    )
    assert (root.resolve_wait, root.steps, root.severities) == (timedelta(0), (), {})
    assert (root.mute, root.active, root.when.conditions) == ((), (), ())


@pytest.mark.parametrize(
    ("key", "above", "own", "attribute"),
    [
        ("receiver", "e", "d", "receiver"),
        ("group_by", "[a]", "[b]", "group_by"),
        ("group_by", "['...']", "[b]", "group_by"),
        ("group_wait", "1s", "0s", "group_wait"),
        ("group_interval", "1s", "0s", "group_interval"),
        ("repeat_interval", "1s", "365d", "repeat_interval"),
        ("resolve_wait", "1s", "1d", "resolve_wait"),
        ("notify", "[{receiver: d}]", "[]", "steps"),
        ("severity_map", "{info: none}", "{}", "severities"),
    ],
)
def test_each_key_is_inherited(tmp_path, key, above, own, attribute):
    """A route has what the nearest one above says, at any depth, unless it says it itself."""
    text = f"""
    route:
      receiver: d
      routes:
        - name: a
          {key}: {above}
          routes: [{{name: b, routes: [{{name: c}}, {{name: own, {key}: {own}}}]}}]
    {LEAST}"""
    rules = book(tmp_path, routes=text)
    said, deep, other = (getattr(rules.route_by_id(f"root/a{i}"), attribute) for i in ("", "/b/c", "/b/own"))
    assert said == deep
    assert said != other


def test_what_is_a_routes_own_is_not_inherited(tmp_path):
    """Matchers, conditions, continue and time intervals are of one route, as at Alertmanager."""
    text = """
    route:
      receiver: d
      routes:
        - name: a
          matchers: [a=b]
          when: {tier: 1}
          continue: true
          mute_time_intervals: [nights]
          active_time_intervals: [days, nights]
          routes: [{name: b}]
    """
    rules = book(tmp_path, routes=text, more=LEAST + INTERVALS)
    own, below = rules.route_by_id("root/a"), rules.route_by_id("root/a/b")
    assert ([i.name for i in own.mute], [i.name for i in own.active]) == (["nights"], ["days", "nights"])
    assert (len(own.matchers), len(own.when.conditions), own.continue_) == (1, 1, True)
    assert (below.matchers, below.when.conditions, below.continue_) == ((), (), False)
    assert (below.mute, below.active) == ((), ())


def test_further_receivers(tmp_path):
    """Steps keep their order, each with its time and conditions; those may be about the incident."""
    steps = (
        "[{receiver: e}, {receiver: d, after: 15m, when: {severity: critical, suspect: none, age: '>= 1h'}}]"
    )
    root = book(tmp_path, routes=f"route: {{receiver: d, notify: {steps}}}\n{LEAST}").root
    first, second = root.steps
    assert (first.receiver, first.after, first.when.conditions) == ("e", timedelta(0), ())
    assert (second.receiver, second.after) == ("d", timedelta(minutes=15))
    assert [c.condition for c in second.when.conditions] == ["severity", "suspect", "age"]


def test_what_a_severity_counts_as(tmp_path):
    """A route's map changes only the severities that it names, on that route alone."""
    text = f"route: {{receiver: d, routes: [{{name: dev, severity_map: {{critical: warning}}}}]}}\n{LEAST}"
    rules = book(tmp_path, routes=text)
    dev, labels = rules.route_by_id("root/dev"), {"severity": "critical"}
    assert rules.severity(labels, dev) is Severity.WARNING
    assert rules.severity({"severity": "info"}, dev) is Severity.INFO
    assert rules.severity(labels, rules.root) is rules.severity(labels) is Severity.CRITICAL


def test_a_routes_name_is_its_place(tmp_path):
    """The root may have a name, too; routes without one are numbered."""
    text = f"route: {{name: all, receiver: d, routes: [{{}}, {{name: x, routes: [{{}}]}}]}}\n{LEAST}"
    rules = book(tmp_path, routes=text)
    assert [r.id for r in rules.root.routes] == ["all/0", "all/x"]
    assert rules.route_by_id("all/x/0").receiver == "d"


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        ("{receiver: d, when: {tier: 1}}", "route.when", "root cannot have when (the root takes everything"),
        (
            "{receiver: d, mute_time_intervals: [nights]}",
            "route.mute_time_intervals",
            "must always be told; move them to a route below it",
        ),
        (
            "{receiver: d, active_time_intervals: [nights]}",
            "route.active_time_intervals",
            "root cannot have active_time_intervals",
        ),
        (
            "{receiver: d, routes: [{mute_time_intervals: [nigths]}]}",
            "route.routes[0].mute_time_intervals[0]",
            "no time interval is named 'nigths' (did you mean 'nights'?)",
        ),
        (
            "{receiver: d, routes: [{active_time_intervals: [x]}]}",
            "route.routes[0].active_time_intervals[0]",
            "no time interval is named 'x' (there are: days, nights)",
        ),
        (
            "{receiver: d, routes: [{when: {severity: critical}}]}",
            "route.routes[0].when",
            "not known when a route is chosen (a route is chosen before there is an incident",
        ),
        ("{receiver: d, routes: [{when: {tier: 10}}]}", "route.routes[0].when.tier", "tiers are 0 to 9"),
        ("{receiver: d, routes: [{when: {tiers: 1}}]}", "route.routes[0].when.tiers", "did you mean 'tier'"),
        ("{receiver: d, notify: [{receiver: x}]}", "route.notify[0].receiver", "no receiver is named 'x'"),
        ("{receiver: d, notify: [{receiver: ''}]}", "route.notify[0]", "a step needs a receiver"),
        ("{receiver: d, notify: [{after: 1m}]}", "route.notify[0].receiver", "missing (add receiver:)"),
        ("{receiver: d, notify: [{receiver: e, after: 1 m}]}", "route.notify[0].after", "not a duration"),
        ("{receiver: d, notify: [{receiver: e, afterr: 1m}]}", "route.notify[0].afterr", "'after'"),
        (
            "{receiver: d, notify: [{receiver: e, when: {state: open}}]}",
            "route.notify[0].when.state",
            "no state is named 'open'",
        ),
        ("{receiver: d, notify: {receiver: e}}", "route.notify", "list"),
        ("{receiver: d, severity_map: {high: info}}", "route.severity_map.high", "not a severity"),
        ("{receiver: d, severity_map: {info: high}}", "route.severity_map.info", "not a severity"),
        ("{receiver: d, group_interval: 32d}", "route.group_interval", "longer than 31d (at most 31d)"),
        ("{receiver: d, resolve_wait: 25h}", "route.resolve_wait", "longer than a day"),
        ("{receiver: d, group_wait: 25h, routes: [{}, {}]}", "route.group_wait", "paged in time"),
        ("{receiver: d, routes: [{receiver: x}]}", "route.routes[0].receiver", "no receiver is named 'x'"),
    ],
)
def test_refuses_what_is_ours(tmp_path, route, path, words):
    """Each mistake in what a route adds gives one problem, at its path, with what to do."""
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, routes=f"route: {route}\n{LEAST}{INTERVALS}")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.file) == (path, 1, "rules/routes.yaml")
    assert words in str(problem)
