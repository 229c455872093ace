"""What mutes: inhibit rules, maintenance windows, deploy holds and flapping, as written and as asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from router.model.errors import ConfigError
from router.rulebook.muting import CAP, LEASE, DeployHold, Flapping
from tests.unit.rulebook.helpers_rulebook import LEAST, book

if TYPE_CHECKING:
    from pathlib import Path

    from router.rulebook.book import Muting

START = datetime(2026, 3, 1, 22, tzinfo=UTC)  # a Sunday
HOUR = timedelta(hours=1)
RULE = "{source_matchers: [severity=critical], target_matchers: ['severity=~\"info|warning\"'], equal: [%s]}"
NIGHTS = (
    "time_intervals: [{name: nights, time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]}]"
)


def muting(folder: Path, text: str) -> Muting:
    """Return what a file says of muting."""
    return book(folder, least=LEAST, other=text).muting


def test_nothing_mutes_unless_it_is_said(tmp_path: Path) -> None:
    """Without these sections there are no rules, windows or holds, and no flapping."""
    found = book(tmp_path, least=LEAST).muting
    assert (found.inhibit_rules, found.maintenance, found.holds, found.flapping) == ((), (), (), None)


# --- inhibit rules --------------------------------------------------------------------------------


def test_sources_and_targets(tmp_path: Path) -> None:
    """All matchers of a side must hold, a missing label counting as empty."""
    text = "inhibit_rules: [{source_matchers: [a=x, 'b=\"\"'], target_matchers: ['c=~\"y|z\",d!=q']}]"
    (rule,) = muting(tmp_path, text).inhibit_rules
    assert rule.is_source({"a": "x"})
    assert not rule.is_source({"a": "x", "b": "1"})
    assert not rule.is_source({})
    assert rule.is_target({"c": "z"})
    assert not rule.is_target({"c": "z", "d": "q"})
    assert rule.name == "rule 0"


def test_a_key_is_the_rule_and_the_values_of_equal(tmp_path: Path) -> None:
    """Source and target meet where all of equal are the same, both missing included, in no other rule."""
    text = f"inhibit_rules: [{RULE % 'env, env, service'}, {RULE % 'env'}]"
    first, second = muting(tmp_path, text).inhibit_rules
    assert first.equal == ("env", "service")
    assert first.key({"env": "p", "pod": "1"}) == first.key({"env": "p", "service": "", "pod": "2"})
    assert first.key({"env": "p"}) != first.key({"env": "q"})
    assert first.key({"env": "p"}) != first.key({"service": "p"})
    assert first.key({}) != second.key({})


def test_a_rule_is_known_by_what_it_says(tmp_path: Path) -> None:
    """Its name and its place may change; its matchers may not."""
    (old,) = muting(tmp_path, f"inhibit_rules: [{RULE % 'env'}]").inhibit_rules
    renamed = (RULE % "env").replace("{", "{name: n, ", 1)
    other, new = muting(tmp_path, f"inhibit_rules: [{RULE % 'x'}, {renamed}]").inhibit_rules
    assert (new.id, new.name) == (old.id, "n")
    assert other.id != old.id


def test_sides_are_not_mixed_up(tmp_path: Path) -> None:
    """A matcher that moves from one side to the other makes another rule."""
    one = "{source_matchers: [a=x, b=x], target_matchers: [c=x]}"
    two = "{source_matchers: [a=x], target_matchers: [b=x, c=x]}"
    first, second = muting(tmp_path, f"inhibit_rules: [{one}, {two}]").inhibit_rules
    assert first.id != second.id


# --- maintenance windows --------------------------------------------------------------------------


def window(folder: Path, text: str):
    (found,) = muting(
        folder, f"maintenance_windows: [{{name: w, matchers: [a=b], {text}}}]\n{NIGHTS}"
    ).maintenance
    return found


ONCE = "starts_at: 2026-03-01T22:00:00Z, ends_at: '2026-03-02T01:00:00+01:00'"


def test_a_window_that_is_open_once(tmp_path: Path) -> None:
    """It is open from its start until just before its end, and knows when that changes."""
    found = window(tmp_path, f"{ONCE}, comment: move")
    end = START + 2 * HOUR
    moments = (START - HOUR, START, end - timedelta(microseconds=1), end)
    assert [found.active(at) for at in moments] == [False, True, True, False]
    assert [found.next_change(at) for at in moments] == [START, end, end, None]
    assert (found.comment, found.name) == ("move", "w")
    assert found.matchers[0].matches({"a": "b"})


def test_a_window_by_intervals(tmp_path: Path) -> None:
    """It is open whenever one of its intervals holds."""
    found = window(tmp_path, "time_intervals: [nights]")
    assert [found.active(START + n * HOUR) for n in (-1, 0, 1, 2)] == [False, True, True, False]
    assert found.next_change(START) == START + 2 * HOUR


def test_a_window_by_intervals_within_a_time(tmp_path: Path) -> None:
    """With both, both must hold."""
    found = window(tmp_path, "starts_at: 2026-03-01T23:00:00Z, ends_at: 2026-03-03T00:00:00Z, "
                             "time_intervals: [nights]")  # fmt: skip
    assert [found.active(START + n * HOUR) for n in (0, 1, 2, 24, 25, 48)] == [
        False, True, False, True, True, False,
    ]  # fmt: skip
    assert found.next_change(START) == START + HOUR


# --- deploy holds and flapping --------------------------------------------------------------------


def test_holds_have_a_lease_and_a_cap(tmp_path: Path) -> None:
    """What is not said is ten minutes from the last step and half an hour from the first."""
    text = "deploy_holds: [{name: a}, {name: b, matchers: [env=prod], lease: 4h, max: 4h}]"
    first, second = muting(tmp_path, text).holds
    assert first == DeployHold("a", (), LEASE, CAP)
    assert (second.lease, second.cap) == (4 * HOUR, 4 * HOUR)
    assert second.matchers[0].matches({"env": "prod"})


def test_flapping(tmp_path: Path) -> None:
    """An empty section is none; what is not said has a default."""
    assert muting(tmp_path, "flapping:").flapping is None
    assert muting(tmp_path, "flapping: {}").flapping == Flapping()
    found = muting(tmp_path, "flapping: {flips: 5, within: 1h, hold: 20m}").flapping
    assert found == Flapping(5, HOUR, timedelta(minutes=20))


# --- refusals -------------------------------------------------------------------------------------

WINDOW = "maintenance_windows: [{name: w, matchers: [a=b], %s}]"
HOLD = "deploy_holds: [{name: h, %s}]"


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("inhibit_rules: [{source_matchers: [a=b]}]", "inhibit_rules[0].target_matchers", "missing"),
        ("inhibit_rules: [{target_matchers: [a=b]}]", "inhibit_rules[0].source_matchers", "missing"),
        (
            "inhibit_rules: [{source_matchers: [], target_matchers: [a=b]}]",
            "inhibit_rules[0].source_matchers",
            "at least 1",
        ),
        (
            "inhibit_rules: [{source_matchers: ['a=~\"(\"'], target_matchers: [a=b]}]",
            "inhibit_rules[0].source_matchers[0]",
            "RE2",
        ),
        (
            "inhibit_rules: [{source_matchers: [a=b], target_matchers: [a]}]",
            "inhibit_rules[0].target_matchers[0]",
            "operator",
        ),
        (
            "inhibit_rules: [{source_matchers: [a=b], target_matchers: [a=b], equal: ['']}]",
            "inhibit_rules[0].equal[0]",
            "1 to 100",
        ),
        (
            "inhibit_rules: [{source_match: {a: b}, source_matchers: [a=b], target_matchers: [a=b]}]",
            "inhibit_rules[0].source_match",
            "did you mean 'source_matchers'",
        ),
        (WINDOW % "comment: c", "maintenance_windows[0]", "no time (say starts_at and ends_at"),
        (
            WINDOW % "starts_at: 2026-03-01T22:00:00Z",
            "maintenance_windows[0]",
            "no ends_at (add ends_at:)",
        ),
        (WINDOW % "ends_at: 2026-03-01T22:00:00Z", "maintenance_windows[0]", "no starts_at (add starts_at:)"),
        (
            WINDOW % "starts_at: 2026-03-01T22:00:00Z, ends_at: 2026-03-01T23:00:00+01:00",
            "maintenance_windows[0].ends_at",
            "ends before it starts",
        ),
        (
            WINDOW % "starts_at: 2026-03-01T22:00:00, ends_at: 2026-03-02T22:00:00Z",
            "maintenance_windows[0].starts_at",
            "no offset",
        ),
        (
            WINDOW % "starts_at: soon, ends_at: 2026-03-02T22:00:00Z",
            "maintenance_windows[0].starts_at",
            "not a time",
        ),
        (
            WINDOW % "starts_at: 7, ends_at: 2026-03-02T22:00:00Z",
            "maintenance_windows[0].starts_at",
            "datetime",
        ),
        (
            WINDOW % "time_intervals: [night]",
            "maintenance_windows[0].time_intervals[0]",
            "no time interval is named 'night' (did you mean 'nights'?)",
        ),
        (WINDOW % "time_intervals: nights", "maintenance_windows[0].time_intervals", "list"),
        (
            WINDOW % "starts_at: , ends_at: 2026-03-02T22:00:00Z",
            "maintenance_windows[0]",
            "no starts_at (add starts_at:)",
        ),
        ("maintenance_windows: [{name: w}]", "maintenance_windows[0].matchers", "missing"),
        (
            "maintenance_windows: [{name: w, matchers: [], time_intervals: [nights]}]",
            "maintenance_windows[0].matchers",
            "at least 1",
        ),
        (HOLD % "lease: 0s", "deploy_holds[0].lease", "above 0 and at most 4h"),
        (HOLD % "max: 4h1s", "deploy_holds[0].max", "above 0 and at most 4h"),
        (HOLD % "lease: ten", "deploy_holds[0].lease", "not a duration"),
        (HOLD % "matchers: ['=x']", "deploy_holds[0].matchers[0]", "name"),
        ("deploy_holds: [{matchers: [a=b]}]", "deploy_holds[0].name", "missing"),
        ("flapping: {flips: 1}", "flapping.flips", "2"),
        ("flapping: {flips: 21}", "flapping.flips", "20"),
        ("flapping: {within: 1 h}", "flapping.within", "not a duration"),
        ("flapping: {hold: x}", "flapping.hold", "not a duration"),
        ("flapping: {flip: 3}", "flapping.flip", "did you mean 'flips'"),
    ],
)
def test_refuses(tmp_path: Path, text: str, path: str, words: str) -> None:
    """Each mistake gives exactly one problem, at its path, with what to do."""
    with pytest.raises(ConfigError) as caught:
        muting(tmp_path, f"{text}\n{NIGHTS}")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.path) == ("rules/other.yaml", 1, path)
    assert words in str(problem)


def test_intervals_that_cannot_be_read_are_not_called_unknown(tmp_path: Path) -> None:
    """Where an interval is wrong, whoever names it is not complained about, too."""
    text = "%s\ntime_intervals: [{name: nights, time_intervals: [{location: Nowhere}]}]"
    with pytest.raises(ConfigError) as caught:
        muting(tmp_path, text % (WINDOW % "time_intervals: [nights]"))
    (problem,) = caught.value.problems
    assert problem.path == "time_intervals[0].time_intervals[0].location"
