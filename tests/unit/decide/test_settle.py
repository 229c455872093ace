"""Receipts: what came of an attempt, written back to the wish it was for."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from router.decide.decision import Decision, Snapshot
from router.decide.settle import GIVE_UP, PARTITIONS
from router.model.commands import CommandKind
from router.model.deploys import Ledger
from router.model.destinations import Destination, Lane, Want
from router.model.events import Begun, Settled
from router.model.outcomes import Delivered, Outcome, Refused, Retry, Unsure
from router.model.reasons import Why
from tests.unit.decide.making import CHANGES, GROUP, PAGE, World, after, alert, deploy, words


def opened(**marks: object) -> World:
    world = World()
    world.tells(alert())
    changed = msgspec.structs.replace(world.target(), **marks)
    head = msgspec.structs.replace(world.head, destinations={PAGE: changed})
    world.seen = Snapshot(head, world.seen.members)
    return world


def settle(world: World, outcome: Outcome, at: float = 1.0, **more: object) -> Decision:
    given: dict[str, object] = {"generation": 1, "target": PAGE, "want": "triggered", "version": 1, **more}
    return world.does(Settled(GROUP, outcome=outcome, **given), at)


def test_begun_twice_is_a_doubt() -> None:
    """A second beginning means that the first died before it could say what came of it."""
    world = opened()
    assert words(world.does(Begun(GROUP, 1, PAGE), 1)) == {Why.DELIVERY_BEGUN}
    assert (world.target().begun, world.target().doubt) == (True, False)
    world.does(Begun(GROUP, 1, PAGE), 2)
    assert (world.target().begun, world.target().doubt) == (True, True)


def test_delivered_clears_everything() -> None:
    """A confirmation clears begun, doubt and the tries, keeps the reference, and is told."""
    world = opened(begun=True, doubt=True, tries=3, failing_since=after(0), error="x", ref="old")
    out = settle(world, Delivered())
    assert [e.text for e in out.timeline] == [f"{PAGE}: triggered"]
    assert world.target() == Destination(
        Lane.PAGE, Want.TRIGGERED, 1, have=Want.TRIGGERED, have_version=1, ref="old"
    )
    settle(world, Delivered(ref="new"))
    assert world.target().ref == "new"


def test_newer_wish_stays_due() -> None:
    """A receipt for an older wish leaves the newer one to be delivered."""
    world = opened(begun=True)
    world.commands(CommandKind.RESOLVE)
    settle(world, Delivered())
    assert (world.target().have, world.target().want) == (Want.TRIGGERED, Want.RESOLVED)
    assert world.target().due


def test_refused_is_dead() -> None:
    """What is refused goes to the dead letters and onto the timeline, and is not due."""
    world = opened(begun=True)
    out = settle(world, Refused("clientError", "bad key"))
    assert out.dead == [f"{PAGE} was not told: clientError: bad key"]
    assert words(out) == {Why.DELIVERY_REFUSED}
    assert len(out.timeline) == 1
    assert (world.target().dead, world.target().begun, world.target().due) == (True, False, False)


def test_retry_clears_begun_but_not_doubt() -> None:
    """Surely not taken this time says nothing of an earlier doubt."""
    world = opened(begun=True, doubt=True)
    out = settle(world, Retry("rateLimited", "slow down"), retry_at=after(2))
    one = world.target()
    assert (one.begun, one.doubt, one.tries, one.not_before) == (False, True, 1, after(2))
    assert (one.failing_since, one.error) == (after(1), "rateLimited: slow down")
    assert words(out) == {Why.DELIVERY_RETRIED}
    settle(world, Retry("other"), at=5)
    assert (world.target().tries, world.target().failing_since) == (2, after(1))


def test_unsure_leaves_a_doubt() -> None:
    """A lost answer is remembered until a confirmation."""
    world = opened(begun=True)
    assert words(settle(world, Unsure("contextDeadlineExceeded"))) == {Why.DELIVERY_UNSURE}
    assert (world.target().begun, world.target().doubt, world.target().due) == (False, True, True)


@pytest.mark.parametrize("more", [timedelta(0), timedelta(seconds=1)])
def test_patience_ends(more: timedelta) -> None:
    """A destination that fails for longer than its lane's patience is given up, and it is said."""
    world = opened()
    settle(world, Retry("serverError"), at=0)
    at = (GIVE_UP[Lane.PAGE] + more) / timedelta(minutes=1)
    out = settle(world, Retry("serverError"), at=at)
    assert world.target().dead is bool(more)
    assert bool(out.dead) is bool(more)
    assert (Why.DELIVERY_EXPIRED in words(out)) is bool(more)


def test_resolved_while_the_first_page_failed() -> None:
    """If it resolved while the first page could surely not be sent, nobody needs to hear of it."""
    world = opened(begun=True)
    world.commands(CommandKind.RESOLVE)
    assert world.target().due
    settle(world, Retry("serverError"))
    assert world.target().want is Want.NOTHING
    assert not world.target().due


def test_resolved_while_the_first_page_was_lost() -> None:
    """If the first page may have been taken its end must be told."""
    world = opened(begun=True)
    world.commands(CommandKind.RESOLVE)
    settle(world, Unsure("other"))
    assert world.target().want is Want.RESOLVED
    assert world.target().due


def test_earlier_generation_is_settled_in_the_past() -> None:
    """A receipt for an earlier generation is written there, not to the open one."""
    world = opened(begun=True)
    world.tells(alert(end=1), at=1)
    world.tells(alert(start=20), at=20)
    out = settle(world, Delivered(), at=21)
    assert out.incident is None
    assert out.past[1] is not None
    assert out.past[1].destinations[PAGE].have is Want.TRIGGERED


@pytest.mark.parametrize(("generation", "target"), [(1, "gone"), (9, PAGE), (0, "prod/9/1|x")])
def test_unknown_destination_is_nothing(generation: int, target: str) -> None:
    """Receipts and beginnings of what is not known any more change nothing."""
    for world in (World(), opened(), World(seen=Snapshot(ledger=Ledger("shop", (deploy(0),))))):
        for out in (
            settle(world, Delivered(), generation=generation, target=target),
            world.does(Begun(GROUP, generation, target)),
        ):
            assert (out.incident, out.past, out.ledger, out.why) == (None, {}, None, [])


def test_change_event_of_a_deploy() -> None:
    """Generation 0 names a deploy's destination; it has no timeline, but dead letters."""
    wish = {CHANGES: Destination(Lane.REST, Want.TRIGGERED, 1)}
    mine, other = deploy(0, destinations=wish), deploy(-9, name="0.9", destinations=wish)
    world = World(seen=Snapshot(ledger=Ledger("shop", (mine, other))))
    target = f"{mine.id}|{CHANGES}"
    world.does(Begun("k", 0, target))
    out = settle(world, Refused("clientError"), generation=0, target=target)
    assert out.dead == [f"{target} was not told: clientError: "]
    assert out.timeline == []
    assert world.seen.ledger is not None
    first, second = world.seen.ledger.deploys
    assert first.destinations[CHANGES].dead
    assert second == other
    out = settle(world, Delivered(), generation=0, target=f"{other.id}|{CHANGES}")
    assert out.timeline == []


def test_partitions_are_told() -> None:
    """The count of what partitions were told only grows, and only by a confirmation."""
    world = World(seen=Snapshot(ledger=Ledger("shop", seen=5, noticed=3)))
    for version, outcome, want in ((5, Retry("other"), 3), (4, Delivered(), 4), (2, Delivered(), 4)):
        settle(world, outcome, generation=0, target=PARTITIONS, version=version, want="")
        assert world.seen.ledger is not None
        assert world.seen.ledger.noticed == want
    assert settle(World(), Delivered(), generation=0, target=PARTITIONS).ledger is None
