"""Test files as they are written: what they mean, and that each mistake is told with its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.errors import Problem
from router.rulebook import scenarios
from router.rulebook.scenarios import Suite, read
from router.rulebook.schema_tests import SilenceModel

LEAST = """
tests:
  - name: one
    route_test: [{labels: {a: b}, exp_receivers: [x]}]
"""


def suite(text: str) -> Suite:
    found, problems = read(dedent(text).encode(), "t.yaml")
    assert found is not None, [str(p) for p in problems]
    assert problems == []
    return found


def wrong(more: str) -> list[Problem]:
    found, problems = read((LEAST + more.replace("<ab>", "labels: {a: b}")).encode(), "t.yaml")
    assert found is None
    assert problems
    return problems


def test_a_whole_file_is_read() -> None:
    """All that the format has, with defaults where nothing is said."""
    found = suite("""
        rules: ../..
        evaluation_interval: 30s
        tests:
          - name: all
            start: 2026-03-02T11:00:00+01:00
            input_series:
              - {labels: {alertname: X}, annotations: {summary: s}, values: '_x2 1x1 0'}
            input_events:
              - {at: 3m, resolve: {labels: {alertname: X}}}
              - {at: 1m, deploy: {service: shop, version: '1.0', phase: live}}
              - {at: 1m, silence: {matchers: ['a="b", c!="d"', 'e=~"f"'], for: 1h}}
              - {at: 2m, acknowledge: {labels: {alertname: X}, by: ana}}
            route_test: [{labels: {a: b}, exp_receivers: [], exp_group: {}}]
            incident_test:
              - {eval_time: 1m, exp_incidents: []}
              - {eval_time: 2m, exp_incidents: [{labels: {a: b}, state: held, firing: 0, muted_by: ''}]}
            page_test:
              - {eval_time: 5m, kind: x, exp_sent: [{want: resolved, payload: {a: ['~x+', 1]}}], exp_count: 1}
              - {eval_time: 6m, exp_count: 0}
        """)
    assert found.rules == "../.."
    (test,) = found.tests
    assert (test.start, test.interval) == (datetime(2026, 3, 2, 10, tzinfo=UTC), timedelta(seconds=30))
    assert test.series[0].values == ("_", "_", "1", "1", "0")
    assert [(e.what, e.at) for e in test.events] == [
        ("deploy", timedelta(minutes=1)),
        ("silence", timedelta(minutes=1)),
        ("acknowledge", timedelta(minutes=2)),
        ("resolve", timedelta(minutes=3)),
    ]
    silence = test.events[1]
    assert isinstance(silence.said, SilenceModel)
    assert silence.said.by == "somebody"
    assert [str(m) for m in silence.matchers] == ['a="b"', 'c!="d"', 'e=~"f"']
    assert silence.lasts == timedelta(hours=1)
    assert [len(i.incidents) for i in test.incidents] == [0, 1]
    assert test.incidents[1].incidents[0].path == ("tests", 0, "incident_test", 1, "exp_incidents", 0)
    assert [len(p.sent) if p.sent is not None else None for p in test.pages] == [1, None]
    assert found.document.line(test.pages[1].path) > found.document.line(test.pages[0].path)


def test_defaults_are_a_monday_and_minutes() -> None:
    """A test that says nothing of time starts on a Monday at noon, in steps of a minute."""
    (test,) = suite(LEAST).tests
    assert (test.start, test.interval) == (scenarios.START, timedelta(minutes=1))
    assert test.start.weekday() == 0
    assert suite("{}").tests == ()


@pytest.mark.parametrize(
    ("more", "path", "message"),
    [
        ("    rollback_test: []\n", "@.rollback_test", "rollback policies are not in this release"),
        ("    input_serie: []\n", "@.input_serie", "unknown key 'input_serie'"),
        ("    start: tomorrow\n", "@.start", "not a time"),
        ("    start: 2026-03-02T10:00:00\n", "@.start", "no offset"),
        ("    start: 1999-12-31T10:00:00Z\n", "@.start", "the year"),
        ("    input_series: [{<ab>, values: '2'}]\n", "@.input_series[0].values", "not a value"),
        ("    input_series: [{labels: {}, values: '1'}]\n", "@.input_series[0].labels", "at least 1"),
        ("    input_series: [{labels: {a: 1}, values: '1'}]\n", "@.input_series[0].labels.a", "must be text"),
        ("    input_series: [{<ab>, value: '1'}]\n", "@.input_series[0].value", "unknown key"),
        ("    input_series: [{<ab>, values: '1x10000'}]\n", "@.input_series[0].values", "more than"),
        (
            "    input_series: [{<ab>, values: '1'}, {<ab>, values: '0'}]\n",
            "@.input_series[1].labels", "stand twice",
        ),
        (
            "    input_series: [{<ab>, values: '1x9000'}, {labels: {a: c}, values: '1x1000'}]\n",
            "@", "10003 values",
        ),
        ("    input_events: [{at: soon, resolve: {<ab>}}]\n", "@.input_events[0].at", "not a duration"),
        ("    input_events: [{at: 2y, resolve: {<ab>}}]\n", "@.input_events[0].at", "out of range"),
        ("    input_events: [{at: 1m}]\n", "@.input_events[0]", "nothing happens"),
        (
            "    input_events: [{at: 1m, resolve: {<ab>}, acknowledge: {<ab>}}]\n",
            "@.input_events[0]", "one thing",
        ),
        ("    input_events: [{at: 1m, resolve: x}]\n", "@.input_events[0].resolve", "keys with values"),
        (
            "    input_events: [{at: 1m, deploy: {service: s, version: v, phase: gone}}]\n",
            "@.input_events[0].deploy.phase", "not a phase",
        ),
        (
            "    input_events: [{at: 1m, deploy: {servce: s, version: v, phase: live}}]\n",
            "@.input_events[0].deploy.servce", "unknown key",
        ),
        (
            "    input_events: [{at: 1m, silence: {matchers: ['a'], for: 1h}}]\n",
            "@.input_events[0].silence.matchers[0]", "operator",
        ),
        (
            "    input_events: [{at: 1m, silence: {matchers: ['a!=\"b\"'], for: 1h}}]\n",
            "@.input_events[0].silence.matchers", "must not match the empty string",
        ),
        (
            "    input_events: [{at: 1m, silence: {matchers: ['a=\"b\"'], for: 0s}}]\n",
            "@.input_events[0].silence.for", "out of range",
        ),
        (
            "    input_events: [{at: 1m, silence: {for: 1h}}]\n",
            "@.input_events[0].silence.matchers", "missing",
        ),
        ("    incident_test: [{eval_time: 1m}]\n", "@.incident_test[0].exp_incidents", "missing"),
        (
            "    incident_test: [{eval_time: 1m, exp_incidents: [{<ab>, state: open}]}]\n",
            "@.incident_test[0].exp_incidents[0].state", "Input should be",
        ),
        ("    page_test: [{eval_time: 1m}]\n", "@.page_test[0]", "nothing is expected"),
        (
            "    page_test: [{eval_time: 1m, exp_sent: [{payload: {a: {b: ['~(']}}}]}]\n",
            "@.page_test[0].exp_sent[0].payload.a.b[0]", "not a regular expression",
        ),
        ("  - {name: one, route_test: [{<ab>, exp_receivers: []}]}\n", "tests[1].name", "already"),
        ("  - name: two\n", "tests[1]", "expects nothing"),
        ("  - 7\n", "tests[1]", "keys with values"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place(more: str, path: str, message: str) -> None:
    """What is wrong is said with the line and the path of just that part."""
    where = path.replace("@", "tests[0]")
    (problem,) = [p for p in wrong(more) if p.path == where]
    assert message in problem.message
    assert problem.line > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tests: 7", "must be a list"),
        ("test: []", "unknown key 'test'"),
        ("evaluation_interval: 0s\ntests: []", "out of range"),
        (
            "evaluation_interval: 1h\ntests: [{name: x, input_series: [{labels: {a: b}, values: '_x9000'}]}]",
            "longer",
        ),
        ("tests: [", "not YAML"),
        ("- 1", "keys"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, message: str) -> None:
    """What is wrong at the top is said, too."""
    found, problems = read(text.encode(), "t.yaml")
    assert found is None
    assert any(message in p.message for p in problems)


def test_hints_name_the_keys_of_the_part() -> None:
    """A misspelt key inside a part is compared with that part's keys."""
    (problem,) = wrong("    page_test: [{eval_time: 1m, exp_sent: [{recever: x}]}]\n")
    assert problem.hint == "did you mean 'receiver'?"


def test_all_mistakes_are_told_at_once() -> None:
    """Two wrong parts in two tests are two problems, in order of their lines."""
    found, problems = read(
        dedent("""
        tests:
          - {name: a, start: never, route_test: [{labels: {a: b}, exp_receivers: x}]}
          - {name: b, page_test: [{eval_time: x, exp_count: -1}]}
        """).encode(),
        "t.yaml",
    )
    assert found is None
    assert [p.path for p in problems] == [
        "tests[0].route_test[0].exp_receivers",
        "tests[0].start",
        "tests[1].page_test[0]",
        "tests[1].page_test[0].eval_time",
        "tests[1].page_test[0].exp_count",
    ]


def test_too_many_tests_are_refused() -> None:
    """A file holds a bounded number of tests."""
    text = "tests:\n" + "".join(f"- {{name: t{n}}}\n" for n in range(scenarios.MOST_TESTS + 1))
    found, problems = read(text.encode(), "t.yaml")
    assert found is None
    assert "more than 500 tests" in problems[0].message


@given(st.binary(max_size=200) | st.text(alphabet="tesname: [{}]-\n'x1_0a", max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Whatever the bytes are, the answer is tests or problems, never an exception."""
    found, problems = read(raw, "t.yaml")
    assert (found is None) == bool(problems)
