"""Incidents of one deploy: gathered, told once, and let go."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from router.decide import engine, placing
from router.decide.decision import Decision, Snapshot
from router.decide.problems import MOST, ROUTER
from router.model.blames import Blame, Blamed
from router.model.commands import Command, CommandKind
from router.model.deploys import Deploy, Ledger
from router.model.events import DeployNoticed, TimerKind
from router.model.incidents import State
from router.model.reasons import Why
from tests.unit.decide.making import World, after, alert, deploy, rulebook, words

FIRST = "00000000000000aa.1"
KEY = "shop/prod/1.0/1"


def blame(incident: str = FIRST, **more: object) -> Blame:
    given: dict[str, object] = {
        "probability": 0.9, "title": "HighErrorRate", "service": "shop", "team": "checkout",
        "receiver": "ops", "severity": "warning", "told": True, **more,
    }  # fmt: skip
    return Blame(incident=incident, at=after(-1), **given)


def ledger(*blames: Blame) -> dict[str, Ledger]:
    one = msgspec.structs.replace(deploy(-4), blamed={b.incident: b for b in blames})
    return {"shop": Ledger("shop", (one,))}


def world(*blames: Blame, gather: bool = True) -> World:
    """A shop whose deploy is suspected at once: the alert carries its version."""
    book = rulebook()
    book = dataclasses.replace(book, attribution=dataclasses.replace(book.attribution, gather=gather))
    made = World(book, Snapshot(ledgers=ledger(*blames)))
    made.tells(alert(version="1.0"))
    return made


def onward(out: Decision, kind: type) -> list:
    return [e for e in out.onward if isinstance(e, kind)]


# --- at the incident --------------------------------------------------------------------------------


def test_the_ledger_is_told_whom_an_incident_blames() -> None:
    """It is told once, again when the state changes, and that it is over at the end."""
    one = world()
    (told,) = onward(one.out, Blamed)
    assert (told.deploy_id, told.over) == ("prod/1.0/1", False)
    assert told.blame.incident == one.head.id
    assert told.blame.told
    assert onward(one.looks(1), Blamed) == []
    one.tells(alert(end=30, version="1.0"), at=30)
    (told,) = onward(one.out, Blamed)
    assert (told.blame.open, told.over) == (False, False)


def test_a_blame_is_taken_back() -> None:
    """When the deploy is cleared its ledger is told so."""
    one = world()
    one.seen = dataclasses.replace(one.seen, ledgers={"shop": Ledger("shop", (deploy(30),))})
    out = one.does(DeployNoticed("shop", "n"), 31)
    (told,) = onward(out, Blamed)
    assert told.over
    assert one.head.blamed == ""


def test_the_second_incident_joins_the_first() -> None:
    """Who knows of one incident of a deploy is not called for the next; the first says so in its thread."""
    one = world(blame())
    assert one.head.state is State.MERGED
    assert one.head.merged_into == FIRST
    assert one.head.destinations == {}
    assert Why.JOINED_PROBLEM in words(one.out)
    (note,) = onward(one.out, Command)
    assert (note.group, note.generation, note.kind, note.by) == (FIRST[:-2], 1, CommandKind.NOTE, ROUTER)
    assert one.head.id in note.note


@pytest.mark.parametrize(
    "other",
    [
        {"severity": "info"}, {"team": "other"}, {"receiver": "other"}, {"told": False}, {"open": False},
    ],
    ids=["less-severe", "other-team", "other-receiver", "untold", "over"],
)  # fmt: skip
def test_it_is_told_by_itself_where_it_matters(other: dict[str, object]) -> None:
    """A worse one, another team's, and one whose first nobody was told of are told by themselves."""
    one = world(blame(**other))
    assert one.head.state is State.TRIGGERED
    assert onward(one.out, Command) == []


def test_the_rules_may_want_each_told() -> None:
    """With ``gather: false`` every incident is told."""
    assert world(blame(), gather=False).head.state is State.TRIGGERED


def test_a_rise_in_severity_is_told() -> None:
    """What joined and then becomes worse calls people by itself."""
    one = world(blame())
    one.tells(alert("b", severity="critical", version="1.0"), at=2)
    assert one.head.state is State.TRIGGERED
    assert one.target().due


@pytest.mark.parametrize("left", ["over", "gone", "cleared"])
def test_what_is_no_part_any_more_is_told(left: str) -> None:
    """When the first is over, blames it no more, or the deploy is cleared, the second is told by itself."""
    one = world(blame())
    after_ = {"over": ledger(blame(open=False)), "gone": ledger()}.get(left)
    one.seen = dataclasses.replace(
        one.seen,
        ledgers=after_ or {"shop": Ledger("shop", (deploy(30), *ledger(blame())["shop"].deploys[1:]))},
    )
    out = one.does(DeployNoticed("shop", "n"), 31)
    assert one.head.state is State.TRIGGERED
    assert one.head.merged_into == ""
    assert one.target().due
    assert Why.INCIDENT_RELEASED in words(out)


def test_it_stays_while_the_first_is_open() -> None:
    """Looking again, by time or by a notice, leaves it where it is."""
    one = world(blame())
    one.does(DeployNoticed("shop", "n"), 2)
    one.wakes(TimerKind.REVIEW, 3)
    assert one.head.state is State.MERGED
    one.tells(alert(end=9, version="1.0"), at=9)
    assert one.head.state is State.RESOLVED
    assert one.head.destinations == {}


def test_it_looks_whether_it_is_still_a_part() -> None:
    """It looks again by itself, so that a deploy which is forgotten meanwhile leaves nobody untold."""
    one = world(blame())
    for minute in range(1, 90):
        if one.head.wake_at is not None and after(minute) >= one.head.wake_at:
            one.wakes(TimerKind.REVIEW, minute)
    assert one.head.state is State.MERGED
    assert one.timer(TimerKind.REVIEW) > after(89)
    one.seen = dataclasses.replace(one.seen, ledgers={"shop": Ledger("shop")})
    one.wakes(TimerKind.REVIEW, 99)
    assert one.head.state is State.TRIGGERED
    assert one.target().due


def test_who_merged_it_by_hand_decides() -> None:
    """An incident that a person merged is not let go by the router."""
    one = World()
    one.tells(alert())
    one.does(Command(one.head.group, 1, CommandKind.MERGE, "ann", after(1), "m", to=FIRST), 1)
    one.does(DeployNoticed("shop", "n"), 2)
    one.looks(3)
    assert one.head.state is State.MERGED


# --- at the ledger ----------------------------------------------------------------------------------


def told(seen: Snapshot, one: Blame, *, over: bool = False) -> Snapshot:
    event = Blamed("k", "shop", "prod/1.0/1", one, over=over)
    out = engine.decide(event, seen, rulebook(), after(1))
    return Snapshot(ledger=out.ledger or seen.ledger)


def blamed(seen: Snapshot) -> Deploy:
    assert seen.ledger is not None
    return seen.ledger.deploys[0]


def test_a_ledger_gathers_and_forgets() -> None:
    """It keeps what each incident said last, drops what is taken back, and is bounded."""
    seen = Snapshot(ledger=ledger()["shop"])
    seen = told(seen, blame(), over=False)
    seen = told(seen, blame(probability=0.5))
    assert [b.probability for b in blamed(seen).blamed.values()] == [0.5]
    for n in range(MOST + 10):
        seen = told(seen, blame(f"{n:016x}.1", open=n % 2 == 0))
    kept = blamed(seen).blamed
    assert len(kept) == MOST
    assert sum(b.open for b in kept.values()) == (MOST + 10) // 2 + 1
    assert FIRST not in blamed(told(seen, blame(), over=True)).blamed


def test_partitions_hear_when_the_first_is_over() -> None:
    """Others that were gathered into it have to be told; with none left nobody need look."""
    seen = told(Snapshot(ledger=ledger()["shop"]), blame())
    alone = told(seen, blame(open=False))
    assert alone.ledger is not None
    assert alone.ledger.seen == 0
    both = told(told(seen, blame("00000000000000bb.1", told=False)), blame(open=False))
    assert both.ledger is not None
    assert both.ledger.seen == 1


def test_a_forgotten_deploy_is_no_matter() -> None:
    """A word about a deploy that the ledger no longer has, or a service without one, changes nothing."""
    event = Blamed("k", "shop", "prod/0.1/1", blame())
    for known in (ledger()["shop"], None):
        out = engine.decide(event, Snapshot(ledger=known), rulebook(), after(1))
        assert out.ledger is None


def test_the_same_word_counts_once() -> None:
    """Sent again, as after a crash, it is a repeat at the door; a new word is not."""
    book = rulebook()
    one, again, other = (
        placing.onward(Blamed("k", "shop", "prod/1.0/1", b), book)
        for b in (blame(), blame(), blame(open=False))
    )
    assert one.versions == again.versions != other.versions
    assert one.versions[0][0] == other.versions[0][0]
    assert placing.again(one.event) is not None
