"""Receipts that come after the wish has moved on, and small turns that other stories do not take."""

from __future__ import annotations

import pytest

from router.decide.decision import Snapshot
from router.decide.engine import services_needed
from router.model.commands import CommandKind
from router.model.destinations import Want
from router.model.events import DeployNoticed, Settled, TimerDue, TimerKind
from router.model.outcomes import Delivered, Refused
from router.model.reasons import Why
from tests.unit.decide.making import CHAT, GROUP, PAGE, World, alert, rulebook, words


def receipt(world: World, outcome: Delivered | Refused, want: Want, version: int, target: str = PAGE) -> None:
    world.does(Settled(GROUP, 1, target, want, version, outcome), 5)


def test_a_refused_acknowledgement_does_not_lose_the_resolve() -> None:
    """What was refused is the old wish; the resolve that came meanwhile is still sent."""
    world = World()
    world.tells(alert())
    receipt(world, Delivered("key"), Want.TRIGGERED, 1)
    world.commands(CommandKind.ACKNOWLEDGE)
    world.tells(alert(end=2), at=2)
    receipt(world, Refused("clientError", "400"), Want.ACKNOWLEDGED, 2)
    page = world.target(PAGE)
    assert (page.want, page.due, page.dead) == (Want.RESOLVED, True, False)
    assert world.out.dead == []


def test_a_refused_page_that_is_over_is_left_alone() -> None:
    """A first page that was refused while its incident resolved has told nobody, and needs no end."""
    world = World()
    world.tells(alert())
    begun = world.target(PAGE)
    assert begun.untold
    world.does(Settled(GROUP, 1, CHAT, Want.TRIGGERED, 1, Delivered("c/1")), 1)
    world.tells(alert(end=2), at=2)
    assert not world.target(PAGE).due
    receipt(world, Refused("clientError", "400"), Want.TRIGGERED, 1)
    assert (world.target(PAGE).want, world.target(PAGE).due) == (Want.NOTHING, False)


@pytest.mark.parametrize("more", [[], [alert("b")]])
def test_a_new_start_with_the_same_text(more: list) -> None:
    """A new start keeps the text, alone or among others, and counts nobody twice."""
    world = World()
    world.tells(alert(), *more)
    out = world.tells(alert(start=2), at=2)
    assert words(out) == {Why.ALERT_CHANGED}
    assert world.head.annotations == {"summary": "slow"}
    assert world.head.firing == 1 + len(more)


def test_only_openings_and_notices_need_ledgers() -> None:
    """A wake-up, or a notice about no incident, reads no ledger."""
    book = rulebook()
    assert services_needed(TimerDue(GROUP, 1, TimerKind.NOTIFY), Snapshot(), book) == []
    assert services_needed(DeployNoticed("shop", "1"), Snapshot(), book) == []
