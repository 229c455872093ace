"""What is stuck: which differences count, what would mend each, and what is left alone."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from router.decide import reconciling
from router.decide.reconciling import Kind
from router.model.commands import REOPENED, Command, CommandKind
from router.model.destinations import Destination, Lane, Want
from router.model.events import Doubt, GroupAlerts
from router.model.incidents import Entry, Incident, State
from router.ports import Survey
from router.rulebook.reconcile import Reconcile
from tests.fakes.samples import ONSET, alert, incident

NOW = ONSET + timedelta(hours=1)
URL = "http://alertmanager.example.com"
POLICY = Reconcile()
PAGE = "payments/pagerduty/0"


def held(*numbers: int, **changes: Any) -> tuple[Incident, list[Any]]:
    head = incident(external_url=f"{URL}/", **changes)
    return head, [msgspec.structs.replace(alert(n), key=f"am:{n:016x}") for n in numbers]


def at_alertmanager(*open_: int, origin: str = URL) -> Survey:
    return Survey("alertmanager", frozenset(f"am:{n:016x}" for n in open_), True, frozenset({origin}))


def at_pagerduty(*names: str, whole: bool = True) -> Survey:
    return Survey("pagerduty", frozenset(names), whole)


def paged(state: State, have: Want, want: Want | None = None, **changes: Any) -> Incident:
    d = Destination(Lane.PAGE, want or have, 4, have, 4, **changes)
    return incident(
        state=state, destinations={PAGE: d, "payments/slack/0": Destination(Lane.CHAT, have, 4, have, 4)}
    )


# --- Alertmanager -----------------------------------------------------------------------------------


def test_an_alert_that_is_gone_there_ends_here() -> None:
    """Only those that are gone, at the time of looking; the others of the incident go on."""
    (found,) = reconciling.at_alertmanager([held(1, 2)], at_alertmanager(2, 7), POLICY, NOW)
    assert (found.kind, found.action, found.text) == (
        Kind.GONE, "resolve", "1 of 2 firing alerts are not in Alertmanager any more",
    )  # fmt: skip
    (event,) = found.mend
    assert isinstance(event, GroupAlerts)
    assert [(a.key, a.firing, a.ends_at) for a in event.alerts] == [(f"am:{1:016x}", False, NOW)]


def test_what_is_there_or_others_or_over_is_left_alone() -> None:
    """Alerts that are there, of another Alertmanager or source, or of what is over, differ in nothing."""
    survey, elsewhere = at_alertmanager(1), at_alertmanager(1, origin="http://other")
    assert reconciling.at_alertmanager([held(1)], survey, POLICY, NOW) == []
    assert reconciling.at_alertmanager([held(2)], elsewhere, POLICY, NOW) == []
    assert reconciling.at_alertmanager([held(2, state=State.RESOLVED)], survey, POLICY, NOW) == []
    head, _ = held()
    assert reconciling.at_alertmanager([(head, [alert(2)])], survey, POLICY, NOW) == [], (
        "another source's key"
    )
    ended = msgspec.structs.replace(held(2)[1][0], firing=False, ends_at=NOW)
    assert reconciling.at_alertmanager([(head, [ended])], survey, POLICY, NOW) == []


def test_an_alertmanager_that_lost_its_memory_ends_nothing() -> None:
    """Many alerts gone at once, more than are left, are reported and not believed."""
    many = [held(*range(1, 6)), held(*range(6, 12), group="0" * 16)]
    found = reconciling.at_alertmanager(many, at_alertmanager(), POLICY, NOW)
    assert {d.action for d in found} == {"report"}
    assert "lost its memory" in found[0].text
    few = reconciling.at_alertmanager([held(*range(1, 10))], at_alertmanager(), POLICY, NOW)
    assert [d.action for d in few] == ["resolve"]


# --- PagerDuty --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.TRIGGERED, State.ACKNOWLEDGED])
def test_closed_there_and_firing_here(state: State) -> None:
    """It is told again, or ended here, as the rules say."""
    head = paged(state, Want.TRIGGERED)
    (found,) = reconciling.at_pagerduty([head], {}, at_pagerduty(), POLICY, NOW)
    assert (found.kind, found.action) == (Kind.CLOSED, "report")
    policy = dataclasses.replace(POLICY, closed_at_pagerduty="reopen")
    (found,) = reconciling.at_pagerduty([head], {}, at_pagerduty(), policy, NOW)
    assert found.action == "reopen"
    assert found.mend == (Doubt(head.group, head.generation, PAGE, revive=True),)
    policy = dataclasses.replace(POLICY, closed_at_pagerduty="resolve")
    (found,) = reconciling.at_pagerduty([head], {}, at_pagerduty(), policy, NOW)
    (event,) = found.mend
    assert isinstance(event, Command)
    assert (event.kind, event.by, event.via) == (CommandKind.RESOLVE, "PagerDuty", "pagerduty")


def test_what_pagerduty_has_or_was_never_told_is_no_difference() -> None:
    """Open on both sides, not told yet, being told, given up, or the list is not whole: nothing is known."""
    head = paged(State.TRIGGERED, Want.TRIGGERED)
    assert reconciling.at_pagerduty([head], {}, at_pagerduty(head.id), POLICY, NOW) == []
    assert reconciling.at_pagerduty([head], {}, at_pagerduty(whole=False), POLICY, NOW) == []
    for other in (
        paged(State.TRIGGERED, Want.NOTHING),
        paged(State.TRIGGERED, Want.TRIGGERED, want=Want.ACKNOWLEDGED),
        paged(State.TRIGGERED, Want.TRIGGERED, dead=True),
        paged(State.WAITING, Want.TRIGGERED),
        incident(),
    ):
        assert reconciling.at_pagerduty([other], {}, at_pagerduty(), POLICY, NOW) == []


@pytest.mark.parametrize("state", [State.RESOLVED, State.MERGED])
def test_open_there_and_over_here(state: State) -> None:
    """The end is told once more."""
    head = paged(state, Want.RESOLVED)
    (found,) = reconciling.at_pagerduty([], {head.id: (head, [])}, at_pagerduty(head.id), POLICY, NOW)
    assert (found.kind, found.action) == (Kind.OPEN, "resolve")
    assert found.mend == (Doubt(head.group, head.generation, PAGE, revive=True),)
    due = paged(state, Want.TRIGGERED, want=Want.RESOLVED)
    assert reconciling.at_pagerduty([], {due.id: (due, [])}, at_pagerduty(due.id), POLICY, NOW) == []


def test_what_a_person_opened_again_there_is_theirs() -> None:
    """It is reported and left open; what they did before the end here counts for nothing."""
    head = msgspec.structs.replace(paged(State.RESOLVED, Want.RESOLVED), resolved_at=NOW)
    for minutes, action in ((1, "report"), (-1, "resolve")):
        at = NOW + timedelta(minutes=minutes)
        timeline = [Entry(at, "noted", f"Ana: {REOPENED}", by="Ana", via="pagerduty")]
        others = {head.id: (head, timeline)}
        (found,) = reconciling.at_pagerduty([], others, at_pagerduty(head.id), POLICY, NOW)
        assert found.action == action


# --- by hand ----------------------------------------------------------------------------------------


def test_what_was_ended_by_hand_and_goes_on_firing() -> None:
    """After a while it is reported, or opens again, with alerts that begin now."""
    over = held(1, state=State.RESOLVED, resolved_by="ana", resolved_at=NOW - timedelta(hours=5))
    (found,) = reconciling.by_hand([over], POLICY, NOW)
    assert (found.kind, found.action) == (Kind.BY_HAND, "report")
    (found,) = reconciling.by_hand([over], dataclasses.replace(POLICY, ended_by_hand="reopen"), NOW)
    (event,) = found.mend
    assert isinstance(event, GroupAlerts)
    assert [(a.firing, a.starts_at) for a in event.alerts] == [(True, NOW)]


def test_a_fresh_end_and_one_by_itself_are_left_alone() -> None:
    """Somebody is on it still, or its alerts ended it."""
    for changes in (
        {"resolved_by": "ana", "resolved_at": NOW - timedelta(hours=3)},
        {"resolved_by": "", "resolved_at": NOW - timedelta(hours=5)},
    ):
        assert reconciling.by_hand([held(1, state=State.RESOLVED, **changes)], POLICY, NOW) == []
    assert reconciling.by_hand([held(1, resolved_by="ana", resolved_at=ONSET)], POLICY, NOW) == []
