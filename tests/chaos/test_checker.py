"""A checker that was never seen red proves nothing: each planted fault must be caught."""

from __future__ import annotations

import copy

import pytest

from tests.chaos.checker import History, check


def good() -> History:
    alert = {"labels": {"instance": "a"}}
    other = {"labels": {"instance": "b"}}
    return History(
        offered={"a", "b", "c"},
        accepted={"a", "b"},
        incidents=[
            {"id": "g.1", "state": "triggered", "alerts": [alert]},
            {"id": "h.1", "state": "resolved", "alerts": [other]},
        ],
        pages=[
            {"dedup_key": "g.1", "event_action": "trigger"},
            {"dedup_key": "g.1", "event_action": "trigger"},
            {"dedup_key": "h.1", "event_action": "trigger"},
            {"dedup_key": "h.1", "event_action": "resolve"},
        ],
        depths={"open": 1, "due": 0, "dead": 0},
    )


def test_a_good_history_has_no_violation() -> None:
    """A repeated trigger that joins its open incident is no violation."""
    assert check(good()) == []


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        (lambda h: h.incidents.pop(0), "lost"),
        (lambda h: h.incidents[1]["alerts"].append({"labels": {"instance": "a"}}), "doubled"),
        (lambda h: h.incidents[0]["alerts"].append({"labels": {"instance": "z"}}), "made up"),
        (lambda h: h.pages.append({"dedup_key": "h.1", "event_action": "trigger"}), "twice"),
        (lambda h: h.pages.pop(2), "order"),
        (lambda h: h.pages.pop(3), "open for ever"),
        (lambda h: [h.pages.pop(0), h.pages.pop(0)], "not paged"),
        (lambda h: h.pages.append({"dedup_key": "x.1", "event_action": "trigger"}), "unknown"),
        (lambda h: h.depths.update(due=3), "left over"),
        (lambda h: h.depths.update(dead=1), "left over"),
    ],
)
def test_planted_faults_are_caught(fault, caught: str) -> None:
    """Each kind of planted fault is found under its own word."""
    history = copy.deepcopy(good())
    fault(history)
    assert any(line.startswith(caught) for line in check(history)), check(history)
