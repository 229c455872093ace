"""One test of rules, run: what passes, and in which words the rest fails."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rulebook.load import load
from router.rulebook.scenarios import read
from router.work import expecting, scenarios
from router.work.scenarios import Finding
from tests.unit.work.test_rehearsal import KINDS, RULES

MORE = """
relabel_configs:
  - {source_labels: [drop], regex: 'yes', action: drop}
deploy_holds: [{name: quiet, matchers: ['alertname="Held"'], lease: 10m, max: 20m}]
"""
SLOW = "{labels: {alertname: Slow, service: shop, env: prod, severity: warning}, values: '1x20'}"
TWO = """
        input_series:
          - {labels: {alertname: A, service: shop, severity: warning}, values: '1x20'}
          - {labels: {alertname: B, service: shop, severity: critical}, values: '1x20'}
"""


def run(folder: Path, text: str) -> list[Finding]:
    """Run the one test in ``text``, whose lines stand below its name."""
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "all.yaml").write_text(RULES + MORE)
    raw = "tests:\n  - name: one\n" + "\n".join(f"    {line}" for line in dedent(text).strip().splitlines())
    suite, problems = read(raw.encode(), "t.yaml")
    assert suite is not None, [str(p) for p in problems]
    return scenarios.run(suite.tests[0], load(rules, KINDS), KINDS)


def text(folder: Path, of: str) -> str:
    """Return what the one finding says."""
    (finding,) = run(folder, of)
    return finding.text


def test_a_whole_story_passes(tmp_path: Path) -> None:
    """Waits, deploys, acts, silences and ends come as in production, events before alerts at one moment."""
    found = run(
        tmp_path,
        """
        input_series:
          - labels: {alertname: Slow, service: shop, env: prod, severity: warning, version: 1.2.0}
            values: '_ _ 1x3 _ 0 0 0 1'
          - {labels: {alertname: Quiet, service: db, env: prod, severity: warning}, values: '0 1x10'}
        input_events:
          - {at: 1m, silence: {matchers: ['alertname=~"Qui.*"'], for: 5m}}
          - {at: 0m, deploy: {service: shop, environment: prod, version: 1.2.0, phase: live}}
          - {at: 4m, acknowledge: {labels: {alertname: Slow}, by: ana}}
          - {at: 10m, resolve: {labels: {alertname: Quiet}}}
        incident_test:
          - eval_time: 2m
            exp_incidents:
              - {labels: {alertname: Quiet}, state: suppressed, muted_by: silence, receivers: []}
              - labels: {alertname: Slow, service: shop}
                state: waiting
                severity: warning
                firing: 1
                receivers: []
                suspect: ''
                muted_by: ''
                held_for: ''
                group: {alertname: Slow}
          - eval_time: 5m
            exp_incidents:
              - {labels: {alertname: Quiet}, state: suppressed}
              - {labels: {alertname: Slow}, state: acknowledged, receivers: [ops]}
          - eval_time: 9m
            exp_incidents:
              - {labels: {alertname: Quiet}, state: triggered, muted_by: ''}
              - {labels: {alertname: Slow}, firing: 0, state: resolved}
          - eval_time: 11m
            exp_incidents:
              - {labels: {alertname: Quiet}, state: resolved}
              - {labels: {alertname: Slow}}
        page_test:
          - {eval_time: 2m, exp_count: 0}
          - eval_time: 3m
            exp_sent: [{kind: page, payload: {title: '~^Slow$', n: 1}}, {kind: chat}, {kind: chat}]
          - {eval_time: 3m, kind: page, exp_count: 1}
          - {eval_time: 5m, kind: page, receiver: ops, exp_sent: [{receiver: ops, want: acknowledged}]}
        route_test:
          - {labels: {alertname: Slow, drop: 'yes'}, exp_receivers: []}
          - {labels: {alertname: Lonely}, exp_receivers: [nobody], exp_group: {alertname: Lonely}}
        """,
    )
    assert [f.text for f in found] == []


@pytest.mark.parametrize(
    ("exp", "line"),
    [
        ("state: triggered", "  state: expected triggered, was held"),
        ("severity: critical", "  severity: expected critical, was warning"),
        ("firing: 2", "  firing: expected 2, was 1"),
        ("receivers: [ops]", '  receivers: expected ["ops"], was []'),
        ("suspect: db 9.0", '  suspect: expected db 9.0, was ""'),
        ("held_for: db", "  held_for: expected db, was shop"),
        ("group: {}", '  group: expected {}, was {"alertname": "Held"}'),
        ("muted_by: inhibit", '  muted_by: expected inhibit, was ""'),
    ],
)
def test_each_key_that_differs_is_a_line(tmp_path: Path, exp: str, line: str) -> None:
    """What was expected stands beside what was there."""
    found = text(
        tmp_path,
        f"""
        input_series:
          - {{labels: {{alertname: Held, service: shop, env: prod, severity: warning}}, values: 1}}
        input_events:
          - {{at: 0m, deploy: {{service: shop, environment: prod, version: 1.2.0, phase: started}}}}
        incident_test:
          - eval_time: 1m
            exp_incidents: [{{labels: {{deploy: 1.2.0}}}}, {{labels: {{alertname: Held}}, {exp}}}]
        """.replace("values: 1}", "values: '1'}"),
    )
    assert found.splitlines() == ['incident alertname="Held":', line]


@pytest.mark.parametrize(
    ("word", "passes"), [("inhibit", True), ("inhibit:node", True), ("inhibit:x", False)]
)
def test_what_mutes_may_be_said_shortly(tmp_path: Path, word: str, passes: bool) -> None:
    """Its kind is enough; which one it is may be said, with or without the key."""
    found = run(
        tmp_path,
        f"""
        input_series:
          - {{labels: {{alertname: Node, severity: critical}}, values: '1'}}
          - {{labels: {{alertname: A, severity: warning}}, values: '1'}}
        incident_test:
          - eval_time: 1m
            exp_incidents:
              - {{labels: {{alertname: A}}, muted_by: '{word}'}}
              - {{labels: {{alertname: Node}}, muted_by: ''}}
        """,
    )
    assert (found == []) is passes, [f.text for f in found]


def test_incidents_that_are_not_expected_are_listed(tmp_path: Path) -> None:
    """What is open beside the expected ones fails, and so does what is expected and is not there."""
    open_, missing = run(
        tmp_path,
        TWO
        + """
        incident_test:
          - {eval_time: 1m, exp_incidents: [{labels: {alertname: C}}, {labels: {alertname: A}}]}
        """,
    )[::-1]
    assert missing.text.splitlines() == [
        'there is no incident with alertname="C"; beside those expected there are:',
        '  triggered critical, 1 firing, ops: alertname="B", service="shop", severity="critical"',
    ]
    assert (missing.at, missing.path[-1]) == ("1m", 0)
    assert open_.text.splitlines()[0] == "open, and not expected:"
    assert len(open_.text.splitlines()) == 2


def test_a_broad_expectation_leaves_the_narrow_one_its_incident(tmp_path: Path) -> None:
    """Expectations are paired with incidents so that as many as can be are met."""
    exp = (
        "[{labels: {service: shop}}, {labels: {alertname: A}}, {labels: {service: shop}, severity: critical}]"
    )
    series = TWO + "          - {labels: {alertname: C, service: shop, severity: info}, values: '1'}\n"
    assert run(tmp_path, series + f"        incident_test: [{{eval_time: 1m, exp_incidents: {exp}}}]") == []


def test_an_incident_that_is_over_explains_why_none_is_open(tmp_path: Path) -> None:
    """An open one is expected and it has been resolved: that is the difference that is told."""
    found = run(
        tmp_path,
        """
        input_series: [{labels: {alertname: A}, values: '1 0'}]
        incident_test:
          - {eval_time: 2m, exp_incidents: [{labels: {alertname: A}, state: triggered}]}
          - {eval_time: 0m, exp_incidents: [{labels: {alertname: A}, state: resolved}]}
          - {eval_time: 3m, exp_incidents: []}
          - {eval_time: 4m, exp_incidents: [{labels: {alertname: A}}]}
        """,
    )
    assert [(f.at, f.text.splitlines()[-1]) for f in found] == [
        ("0s", "  state: expected resolved, was triggered"),
        ("2m", "  state: expected triggered, was resolved"),
        ("4m", "  state: expected open, was resolved"),
    ]


def test_what_was_sent_is_listed_against_what_was_expected(tmp_path: Path) -> None:
    """Too few, too many or others than expected: both lists stand below each other."""
    found = run(
        tmp_path,
        TWO
        + """
        page_test:
          - {eval_time: 1m, exp_count: 3, exp_sent: [{kind: page, receiver: ops, want: triggered}]}
          - {eval_time: 2m, exp_sent: [{}]}
          - {eval_time: 3m, kind: page, exp_count: 1}
        """,
    )
    assert [f.text.splitlines()[0] for f in found] == [
        "sent since the start: expected 3, was 4",
        "sent since the start: expected",
        "sent since 1m: expected",
        "sent since 2m: expected 1, was 0",
    ]
    assert found[1].text.splitlines()[1:4] == [
        "  ops page triggered", "was", "  ops page triggered (2026-01-05 12:00:00)",
    ]  # fmt: skip
    assert found[2].text.splitlines() == ["sent since 1m: expected", "  * * *", "was", "  nothing"]


@pytest.mark.parametrize(
    ("exp", "lines"),
    [
        ("{kind: chat}", ["sent since the start: expected", "  * chat *", "  * chat *", "was"]),
        (
            "{kind: page, payload: {title: Other}}",
            ["ops page triggered:", "  payload.title: expected Other, was Slow"],
        ),
        (
            "{kind: page, payload: {title: '~^low'}}",
            ["ops page triggered:", "  payload.title: expected ~^low, was Slow"],
        ),
    ],
)
def test_a_payload_that_differs_is_told_by_its_path(tmp_path: Path, exp: str, lines: list[str]) -> None:
    """The delivery is named, then each key that differs."""
    found = text(
        tmp_path,
        f"input_series: [{SLOW}]\npage_test: [{{eval_time: 1m, exp_sent: [{exp}, {{kind: chat}}]}}]",
    )
    assert found.splitlines()[: len(lines)] == lines


def test_a_kind_that_renders_nothing_says_so(tmp_path: Path) -> None:
    """A payload cannot be compared where the kind has none."""
    found = text(
        tmp_path,
        f"input_series: [{SLOW}]\n"
        "page_test: [{eval_time: 1m, kind: chat, exp_sent: [{payload: {a: b}}]}]",
    )
    assert found.splitlines() == ["ops chat triggered:", "  payload: chat has none that could be compared"]


def test_an_act_needs_one_incident(tmp_path: Path) -> None:
    """Where none is open, or several are, the act fails and says which there are."""
    found = run(
        tmp_path,
        TWO
        + """
        input_events:
          - {at: 0m, acknowledge: {labels: {alertname: A}}}
          - {at: 1m, resolve: {labels: {service: shop}}}
        page_test: [{eval_time: 1m, kind: page, exp_count: 2}]
        """,
    )
    none, several = (f.text.splitlines() for f in found)
    assert none == ['acknowledge alertname="A": no open incident holds these labels; open are:', "  none"]
    assert several[0] == 'resolve service="shop": 2 open incidents hold these labels; open are:'
    assert len(several) == 3
    assert (found[0].at, found[0].path) == ("0s", ("tests", 0, "input_events", 0))


def test_a_route_that_is_another_is_shown(tmp_path: Path) -> None:
    """Receivers and group stand below what was expected; dropped alerts say so."""
    found = run(
        tmp_path,
        """
        route_test:
          - {labels: {alertname: Lonely}, exp_receivers: [ops], exp_group: {a: b}}
          - {labels: {alertname: X, drop: 'yes'}, exp_receivers: [ops], exp_group: {a: b}}
        """,
    )
    assert [f.text.splitlines() for f in found] == [
        [
            'an alert with alertname="Lonely": receivers', "  expected ops",
            "  was      nobody", "    root/lonely -> nobody",
        ],
        ['an alert with alertname="Lonely": group', '  expected a="b"', '  was      alertname="Lonely"'],
        [
            'an alert with alertname="X", drop="yes": receivers', "  expected ops",
            "  was      nobody (relabel_configs drop it)",
        ],
        ['an alert with alertname="X", drop="yes": group', '  expected a="b"', "  was      no labels"],
    ]  # fmt: skip


def test_long_lists_are_cut(tmp_path: Path) -> None:
    """Of many incidents and deliveries twenty are listed, and the rest counted."""
    series = "".join(f"  - {{labels: {{alertname: A{n}}}, values: '1'}}\n" for n in range(30))
    sent = ", ".join(["{}"] * 25)
    found = run(
        tmp_path,
        f"input_series:\n{series}incident_test: [{{eval_time: 1m, exp_incidents: []}}]\n"
        f"page_test: [{{eval_time: 1m, exp_sent: [{sent}]}}]",
    )
    assert [f.text.count("\n  ") for f in found] == [21, 42]
    assert found[0].text.endswith("and 10 more")
    assert "and 5 more" in found[1].text
    assert found[1].text.endswith("and 40 more")


def test_too_much_and_templates_that_fail_are_findings(tmp_path: Path) -> None:
    """A test that never ends, or whose texts cannot be made, fails with a sentence."""
    found = text(
        tmp_path,
        """
        input_series:
          - {labels: {alertname: Node, severity: critical}, values: '1'}
          - {labels: {alertname: A, severity: warning}, values: '1'}
        page_test: [{eval_time: 365d, kind: chat, receiver: nobody, exp_count: 0}]
        """,
    )
    assert "rounds of decisions" in found
    rules = tmp_path / "rules" / "all.yaml"
    rules.write_text(rules.read_text().replace("{name: ops,", "{name: ops, title: '{{ labels }}',"))
    suite, _ = read(
        b"tests: [{name: x, input_series: [{labels: {a: b}, values: '1x3'}],"
        b" page_test: [{eval_time: 9m, exp_count: 2}]}]",
        "t.yaml",
    )
    assert suite is not None
    failed = scenarios.run(suite.tests[0], load(tmp_path / "rules", KINDS), KINDS)
    assert [f.text.partition(": title")[0] for f in failed] == [
        "a template failed: ops/page/0", "a template failed: ops/chat/0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "there", "lines"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1.0}, {"a": 1}, []),
        ({"a": True}, {"a": 1}, ["p.a: expected true, was 1"]),
        ({"a": None}, {}, ["p.a: is not there"]),
        ({"a": {"b": 1}}, {"a": "x"}, ['p.a: expected {"b": 1}, was x']),
        ([2], (1, 2), []),
        ([1, 3], [1, 2, 3], []),
        ([3, 1], [1, 2, 3], ["p[1]: expected 1, and none of [1, 2, 3] fits"]),
        ([], [1], []),
        ([1, {"a": 1}], [1, {"a": 2}], ["p[1].a: expected 1, was 2"]),
        ("~b+", "abbc", []),
        ("~b\nc", "b\nc", []),
        ("~b", 7, ["p: expected ~b, was 7"]),
        ("x", "y" * 300, ["p: expected x, was " + "y" * 199 + "…"]),
    ],
)
def test_a_payload_is_a_part_of_what_is_there(wanted: Any, there: Any, lines: list[str]) -> None:
    """Keys may be more, items of lists may stand between, patterns are found; a bool is no number."""
    assert expecting.compared(wanted, there, "p") == lines


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5).filter(lambda t: not t.startswith("~")),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=8,
)


@given(_json)
def test_everything_is_a_part_of_itself(value: Any) -> None:
    """What is compared with itself never differs."""
    assert expecting.compared(value, value, "p") == []
