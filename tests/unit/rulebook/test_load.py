"""Loading a folder: a rulebook, or everything that is wrong with it."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.model.destinations import Lane
from router.model.errors import ConfigError
from router.rulebook.describe import describe
from router.rulebook.load import Reading, build, load, read
from tests.unit.rulebook.helpers_rulebook import KINDS, LEAST, book, write

SHIPPED = Path(__file__).parents[3] / "rules"


def problems(folder, **files):
    """Return what is wrong with these files."""
    with pytest.raises(ConfigError) as caught:
        book(folder, **files)
    return caught.value.problems


def test_shipped_rules():
    """The rules that come with the product load, and send the three services where they belong."""
    rules = load(SHIPPED, KINDS)
    assert [r.receiver for r in rules.route({"service": "payment-service", "severity": "critical"})] == [
        "payments-oncall"
    ]
    assert [r.receiver for r in rules.route({"alertname": "Watchdog", "severity": "none"})] == ["nobody"]
    assert [r.receiver for r in rules.route({"alertname": "Other"})] == ["default"]
    assert rules.receivers["nobody"].targets == ()
    assert set(rules.services) == {"registration-service", "payment-service", "customer-service"}
    assert all(service.receiver in rules.receivers for service in rules.services.values())


def test_targets(tmp_path):
    """Each entry of a receiver is a target with an id, its kind's lane and the driver's options."""
    text = """
    route: {receiver: a}
    receivers:
      - name: a
        slack_configs: [{channel: "#x"}, {channel: "#y"}]
        pagerduty_configs: [{routing_key_env: KEY}]
        log_configs: [{}, ]
    """
    first, second, third, fourth = book(tmp_path, all=text).receivers["a"].targets
    assert (first.id, second.id, third.id, fourth.id) == (
        "a/slack/0",
        "a/slack/1",
        "a/pagerduty/0",
        "a/log/0",
    )
    assert (third.lane, third.tells_changes, third.options.routing_key_env) == (Lane.PAGE, True, "KEY")
    assert (second.lane, second.tells_changes, second.options.channel) == (Lane.CHAT, False, "#y")


def test_everything_at_once(tmp_path):
    """One run shows the mistakes of all files and steps, in order of place, each with line and hint."""
    found = problems(
        tmp_path,
        routes="""\
            route:
              receiver: defalt
              routes:
                - matchers: ['a=~"("']
                  groupby: [x]
            """,
        receivers="""\
            receivers:
              - name: default
                slack_configs: [{chanel: "#a"}]
                pagerdutty_configs: []
            """,
        services="""\
            services:
              - name: a
                dependencies: [a, b]
                tier: "1"
              - name: a
            """,
        settings="attribution: {window: 1 hour}\nbogus: 1\n",
    )
    assert [(p.file, p.line, p.path) for p in found] == [
        ("rules/receivers.yaml", 3, "receivers[0].slack_configs[0].chanel"),
        ("rules/receivers.yaml", 3, "receivers[0].slack_configs[0].channel"),
        ("rules/receivers.yaml", 4, "receivers[0].pagerdutty_configs"),
        ("rules/routes.yaml", 2, "route.receiver"),
        ("rules/routes.yaml", 4, "route.routes[0].matchers[0]"),
        ("rules/routes.yaml", 5, "route.routes[0].groupby"),
        ("rules/services.yaml", 3, "services[0].dependencies[0]"),
        ("rules/services.yaml", 3, "services[0].dependencies[1]"),
        ("rules/services.yaml", 4, "services[0].tier"),
        ("rules/services.yaml", 5, "services[1].name"),
        ("rules/settings.yaml", 1, "attribution.window"),
        ("rules/settings.yaml", 2, "bogus"),
    ]
    assert "did you mean 'default'?" in found[3].hint
    assert "did you mean 'pagerduty_configs'?" in found[2].hint


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("services: [{name: a}, {name: a}]", "services[1].name", "twice"),
        ("services: {a: {}}", "services", "list"),
        ("services: [a]", "services[0]", "keys with values"),
        ("services: [{team: a}]", "services[0].name", "missing"),
        ("services: [{name: a, receiver: defaul}]", "services[0].receiver", "did you mean 'default'"),
        ("services: [{name: a, runbook: 'javascript:x'}]", "services[0].runbook", "http"),
        ("services: [{name: a, runbook: 'https://u:p@x/'}]", "services[0].runbook", "user or password"),
        ("services: [{name: a, runbook: 'https://['}]", "services[0].runbook", "http"),
        ("services: [{name: a, dashboards: {x: y}}]", "services[0].dashboards.x", "http"),
        ("services: [{name: a, team: 12}]", "services[0].team", "quotes"),
        ("services: [{name: a, tier: 10}]", "services[0].tier", "9"),
        ("services: [{name: a, owner: b}]", "services[0].owner", "unknown key"),
        (
            "services: [{name: a, gitlab_projects: [x/y]}, {name: b, gitlab_projects: [X/y]}]",
            "services[1].gitlab_projects[0]",
            "already claimed by the service 'a'",
        ),
        (
            "services: [{name: a, argocd_applications: [x]}, {name: b, argocd_applications: [x]}]",
            "services[1].argocd_applications[0]",
            "already claimed",
        ),
        (
            "services: [{name: a, gitlab_projects: [x, x]}]",
            "services[0].gitlab_projects[1]",
            "already claimed",
        ),
        (
            "services: [{name: a, argocd_applications: ['a-{env}']}]",
            "services[0].argocd_applications[0]",
            "pattern",
        ),
        (
            "services: [{name: a, gitlab_projects: ['x/{environment}']}]",
            "services[0].gitlab_projects[0]",
            "everything",
        ),
        ("environments: {prod: [live], dev: [LIVE]}", "environments.dev[0]", "already means 'prod'"),
        ("severities: {P1: sev}", "severities.P1", "not a severity"),
        ("labels: {team: ['']}", "labels.team[0]", "1 to 100"),
        ("services: [{name: ' a'}]", "services[0].name", "without spaces"),
        ("services: [{name: a, runbook: 'https://x/ y'}]", "services[0].runbook", "no spaces"),
        ("services: [{name: a, gitlab_projects: ['']}]", "services[0].gitlab_projects[0]", "not a name"),
        ("services: [{name: a, dependencies: [{x: [1]}]}]", "services[0].dependencies[0]", "must be text"),
        ("labels: {severity: []}", "labels.severity", "at least 1"),
        ("labels: {sevrity: [a]}", "labels.sevrity", "did you mean 'severity'"),
        ("attribution: {skew: -1s}", "attribution.skew", "not a duration"),
        ("receivers: [{name: default}]", "receivers[0].name", "twice"),
        ("receivers: [{name: a/b}]", "receivers[0].name", "no /"),
        ("receivers: [{name: b, slack_configs: {channel: x}}]", "receivers[0].slack_configs", "list"),
        ("receivers: [{name: b, slack_configs: [x]}]", "receivers[0].slack_configs[0]", "keys with values"),
        ("receivers: [{name: b, email_configs: []}]", "receivers[0].email_configs", "unknown key"),
        ("route: {receiver: default}", "route", "also stands in rules/least.yaml"),
        ("receiver: x", "receiver", "did you mean 'receivers'"),
    ],
)
def test_refuses(tmp_path, text, path, words):
    """Each mistake gives exactly one problem, at its path."""
    (problem,) = problems(tmp_path, least=LEAST, other=text)
    assert (problem.file, problem.line, problem.path) == ("rules/other.yaml", 1, path)
    assert words in str(problem)


def test_unreadable_file_does_not_raise_false_alarms(tmp_path):
    """Where a file cannot be read, references that it might have answered are not complained about."""
    (problem,) = problems(tmp_path, routes="route: {receiver: default}", receivers="receivers: [")
    assert problem.file == "rules/receivers.yaml"


def test_secrets_are_not_shown(tmp_path):
    """A wrong value is described, not quoted: it may be a secret."""
    text = "receivers: [{name: b, pagerduty_configs: [{routing_key_env: [canary], routing_key: canary}]}]"
    found = problems(tmp_path, least=LEAST, other=text)
    assert found
    assert "canary" not in "".join(map(str, found))


def test_files_may_be_split(tmp_path):
    """Services and receivers may be spread over files; other files, hidden ones too, are left alone."""
    rules = write(tmp_path, a=LEAST, b="services: [{name: x}]", c="services: [{name: y, dependencies: [x]}]")
    (rules / "notes.txt").write_text("not: [yaml")
    (rules / ".hidden.yaml").write_text("not: [yaml")
    (rules / "folder.yaml").mkdir()
    assert set(load(rules, KINDS).services) == {"x", "y"}


def test_nothing_to_read(tmp_path):
    """A missing folder, an empty one and a file with the wrong ending each say what to do."""
    with pytest.raises(ConfigError, match="ROUTER_RULES"):
        load(tmp_path / "none", KINDS)
    (problem,) = problems(tmp_path)
    assert problem.message == "there is no route"
    (tmp_path / "rules" / "a.yml").write_text(LEAST)
    assert "rename it" in "".join(map(str, problems(tmp_path)))


def test_broken_link(tmp_path):
    """A link to nowhere is a problem, since rules that somebody counts on are not there."""
    rules = write(tmp_path, least=LEAST)
    (rules / "more.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"rules/more\.yaml: this is not a file"):
        load(rules, KINDS)


def test_too_many_files(tmp_path):
    """A folder with more files than any catalogue needs is refused as a whole."""
    rules = write(tmp_path, **{f"f{n}": "" for n in range(501)})
    with pytest.raises(ConfigError, match="is this the folder of rules"):
        load(rules, KINDS)


def test_dependency_cycles_are_allowed(tmp_path):
    """Two services may call each other."""
    text = "services: [{name: a, dependencies: [b]}, {name: b, dependencies: [a]}]"
    assert book(tmp_path, least=LEAST, other=text).services["a"].dependencies == ("b",)


def test_empty_keys_are_absent(tmp_path):
    """A key with nothing after it counts as not written."""
    text = "services: [{name: a, dependencies: , runbook: }]\nlabels:\nseverities:\nattribution: {window: 2h}"
    rules = book(tmp_path, least=LEAST, other=text)
    assert rules.services["a"].dependencies == ()
    assert (rules.attribution.window, rules.attribution.skew) == (timedelta(hours=2), timedelta(minutes=2))


def test_version_follows_the_content(tmp_path):
    """The same files have the same version; any change, a comment too, makes another."""
    first = book(tmp_path, a=LEAST).version
    assert book(tmp_path, a=LEAST).version == first
    assert book(tmp_path, a=LEAST + "# more\n").version != first


def test_many_problems_are_bounded(tmp_path):
    """A thousand mistakes are shown as a hundred and a count."""
    found = problems(tmp_path, least=LEAST, other="services:\n" + "  - {}\n" * 1000)
    assert len(found) == 101
    assert "900 more" in found[-1].message


def test_describe():
    """The description is plain JSON with counts, the tree and the targets."""
    told = json.loads(json.dumps(describe(load(SHIPPED, KINDS))))
    assert told["counts"]["services"] == 3
    assert told["counts"]["routes"] == 1 + 9
    assert told["receivers"]["payments-oncall"] == ["payments-oncall/pagerduty/0", "payments-oncall/slack/0"]
    assert told["route"]["group_wait"] == "0s"


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["default", "a=b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "receiver",
                    "routes",
                    "matchers",
                    "continue",
                    "group_by",
                    "group_wait",
                    "slack_configs",
                    "x",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_SECTIONS = st.dictionaries(
    st.sampled_from(
        ["route", "services", "receivers", "labels", "environments", "severities", "attribution"]
    ),
    _VALUES,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | _SECTIONS.map(lambda data: json.dumps(data).encode()))
def test_whatever_the_file(tmp_path, raw):
    """Whatever stands in a file, the answer is a rulebook or a ConfigError whose texts are bounded."""
    rules = write(tmp_path)
    (rules / "any.yaml").write_bytes(raw)
    found = None
    try:
        load(rules, KINDS)
    except ConfigError as exc:
        found = exc.problems
    assert found is None or (found and all(len(str(problem)) < 1200 for problem in found))


def test_times_that_are_missing_are_not_looked_for_where_a_file_is_broken(tmp_path):
    """Where a file cannot be read, time intervals that it might have named are not complained about."""
    window = "maintenance_windows: [{name: w, matchers: [a=b], time_intervals: [nights]}]"
    (problem,) = problems(tmp_path, least=LEAST, times="time_intervals: [", windows=window)
    assert problem.file == "rules/times.yaml"


@pytest.mark.parametrize("section", ["receivers", "time_intervals", "services"])
def test_a_section_that_is_no_list_does_not_raise_false_alarms(tmp_path, section):
    """What should be a list and is none is told once; whoever names something in it is left alone."""
    text = f"""
    route: {{receiver: x, routes: [{{mute_time_intervals: [y]}}], notify: [{{receiver: z}}]}}
    services: [{{name: a, receiver: b, dependencies: [c]}}]
    {section}: 7
    """
    text = text if section != "services" else text.replace("services: [", "time_intervals: [] #")
    (problem,) = problems(tmp_path, all=text)
    assert (problem.path, problem.message) == (section, "this must be a list")


def test_relabelling_is_loaded(tmp_path):
    """The rules of relabel_configs are the rulebook's, in their order; none is as good as an empty list."""
    text = "relabel_configs: [{action: labeldrop, regex: pod}, {target_label: b, replacement: c}]"
    rules = book(tmp_path, least=LEAST, other=text)
    assert rules.relabelled({"a": "1", "pod": "x"}) == {"a": "1", "b": "c"}
    for empty in ("relabel_configs:", "relabel_configs: []"):
        assert book(tmp_path, least=LEAST, other=empty).relabel == ()


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("relabel_configs: [{action: hashmod}]", "relabel_configs[0].action", "not supported"),
        ("relabel_configs: [{regex: '(', target_label: a}]", "relabel_configs[0].regex", "RE2"),
        (
            "relabel_configs: [{target_label: a, source: b}]",
            "relabel_configs[0].source",
            "did you mean 'source_labels'",
        ),
        ("relabel_configs: {action: drop}", "relabel_configs", "list"),
        ("receivers: [{name: r, title: '{% if %}'}]", "receivers[0].title", ""),
        ("receivers: [{name: r, body: '{{ x'}]", "receivers[0].body", ""),
        ("receivers: [{name: r, body: '{{ nonsense }}'}]", "receivers[0].body", "nonsense"),
        ("receivers: [{name: r, title: 7}]", "receivers[0].title", "quotes"),
        ("time_intervals: [{name: n}, {name: n}]", "time_intervals[1].name", "twice"),
    ],
)
def test_refuses_elsewhere(tmp_path, text, path, words):
    """Each mistake in the further sections gives exactly one problem, at its path and line."""
    (problem,) = problems(tmp_path, least=LEAST, other=text)
    assert (problem.file, problem.line, problem.path) == ("rules/other.yaml", 1, path)
    assert words in str(problem)


def test_a_wrong_template_has_its_line(tmp_path):
    """A template that cannot be read is told at the line of its key."""
    text = """\
    receivers:
      - name: chat
        title: "{{ incident.title }}"
        body: |
          fine
          {% endfor %}
    """
    found = problems(tmp_path, least=LEAST, other=text)
    assert ("receivers[0].body", "rules/other.yaml") in {(p.path, p.file) for p in found}
    assert all(p.line >= 3 for p in found)


def test_what_was_read_is_built_elsewhere(tmp_path):
    """The files of a folder make the same rulebook in another process that only has their content."""
    reading = read(write(tmp_path, a=LEAST, b="services: [{name: x}]"))
    assert [name for name, _ in reading.files] == ["rules/a.yaml", "rules/b.yaml"]
    there = build(Reading("rules", list(reading.files)), KINDS)
    here = build(reading, KINDS)
    assert (there.version, there.services) == (here.version, here.services)
    with pytest.raises(ConfigError, match=r"rules: route: there is no route"):
        build(Reading("rules", []), KINDS)


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="no file here refuses to be read")
def test_a_file_that_cannot_be_read(tmp_path):
    """A file that can be opened and not read is a problem with its name, and no false alarms follow."""
    rules = write(tmp_path, least=LEAST, more="services: [{name: a, dependencies: [b]}]")
    (rules / "other.yaml").symlink_to("/proc/self/mem")
    with pytest.raises(ConfigError) as caught:
        load(rules, KINDS)
    (problem,) = caught.value.problems
    assert problem.file == "rules/other.yaml"
    assert problem.message.startswith("the file cannot be read: ")


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ("[{name: a, slack: ana, pagerduty: a@example.com}]", "not Slack's id"),
        ("[{name: a, slack: U0A, pagerduty: 'a@example.com\\nX: y'}]", "not an e-mail"),
        ("[{name: a, slack: U0AA, pagerduty: ana}]", "not an e-mail"),
        ("[{name: a, slack: U0AA, pagerduty: a@b.c}, {name: b, slack: U0AA, pagerduty: ''}]", "stands twice"),
    ],
)
def test_people_that_are_none_are_refused(tmp_path, people, message):
    """An id or an address that is none, and a person who stands twice, are told."""
    found = problems(tmp_path, people=f"people: {people}\n")
    assert any(message in str(one) for one in found), found


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{after: soon}", "not a duration"),
        ("{after: 30s}", "after may be 1m to 7d"),
        ("{by_hand_after: 8d}", "by_hand_after may be 1m to 7d"),
        ("{gone_at_alertmanager: reopen}", "gone_at_alertmanager"),
        ("{ended_by_hand: resolve}", "ended_by_hand"),
    ],
)
def test_a_reconciliation_that_is_none_is_refused(tmp_path, policy, message):
    """Times out of bounds, and what cannot be done about a difference, are told."""
    found = problems(tmp_path, reconcile=f"reconcile: {policy}\n")
    assert any(message in str(one) for one in found), found


def test_without_a_word_what_is_stuck_is_mended(tmp_path):
    """The defaults end what other sides have ended, and page nobody: a person may have merged or ended it."""
    policy = book(tmp_path, least=LEAST).reconcile
    assert (policy.after, policy.dry_run) == (timedelta(minutes=10), False)
    assert (policy.closed_at_pagerduty, policy.ended_by_hand) == ("report", "report")
