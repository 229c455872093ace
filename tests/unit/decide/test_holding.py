"""Deploy holds: what is held, until when at most, how it is gathered, and what is never held."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import engine, holding
from router.decide.decision import Snapshot
from router.model.commands import CommandKind
from router.model.destinations import Want
from router.model.events import DeployNoticed, DeployPhase, GroupAlerts, Severity, TimerDue, TimerKind
from router.model.incidents import State
from router.model.reasons import Why
from router.rulebook import matchers
from router.rulebook.book import Muting, Rulebook
from router.rulebook.muting import DeployHold
from tests.unit.decide.making import GROUP, World, after, alert, deploy, ledgers, rulebook, words

MINUTE = timedelta(minutes=1)
P = DeployPhase


def book(**hold: object) -> Rulebook:
    return replace(rulebook(), muting=Muting(holds=(DeployHold("rollouts", **hold),)))


def rolling(*phases: tuple[DeployPhase, float]) -> Snapshot:
    """A world in which the shop's deploy has come so far."""
    return Snapshot(ledgers=ledgers(deploy(0, phases={p: after(at) for p, at in phases})))


def held(*, severity: str = "warning", at: float = 1.0) -> World:
    world = World(book(), rolling((P.STARTED, 0)))
    world.tells(alert(start=at, severity=severity), at=at)
    return world


def digest_of(world: World) -> World:
    """The digest's group, with what was passed on to it."""
    (event,) = [e for e in world.out.onward if isinstance(e, GroupAlerts)]
    other = World(world.book, Snapshot(ledgers=world.seen.ledgers))
    other.does(event)
    return other


def test_a_warning_during_its_own_deploy_is_held() -> None:
    """It is kept, told by nobody, and passed on to the digest of that deploy."""
    world = held()
    assert (world.head.state, world.head.destinations) == (State.HELD, {})
    assert Why.INCIDENT_HELD in words(world.out)
    (event,) = [e for e in world.out.onward if isinstance(e, GroupAlerts)]
    assert event.hold == world.head.hold
    assert event.group == world.head.hold.digest
    assert event.labels == {"service": "shop", "environment": "prod", "deploy": "1.0"}
    assert [a.key for a in event.alerts] == ["am:a"]


def test_criticals_always_pass() -> None:
    """A critical alert is told at once, deploy or not."""
    world = held(severity="critical")
    assert (world.head.state, world.out.onward) == (State.TRIGGERED, [])


def test_a_held_incident_that_turns_critical_is_told_by_itself() -> None:
    """It leaves the hold with all its alerts, and the digest drops them."""
    world = held()
    digest = digest_of(world)
    world.tells(alert("b", start=2, severity="critical"), at=2)
    assert world.head.state is State.TRIGGERED
    assert world.target().want is Want.TRIGGERED
    (event,) = [e for e in world.out.onward if isinstance(e, GroupAlerts)]
    assert {a.key: a.firing for a in event.alerts} == {"am:a": False, "am:b": False}
    digest.does(event)
    assert digest.head.state is State.RESOLVED
    assert not digest.head.due, "the digest had told nobody"


def test_the_digest_waits_and_is_told_as_one() -> None:
    """Two held incidents become one page, when the lease has run out without a word of the deploy."""
    digest = digest_of(held())
    (other,) = [e for e in held(at=2).out.onward if isinstance(e, GroupAlerts)]
    digest.does(replace_alert(other, "z"))
    assert (digest.head.state, digest.head.firing) == (State.WAITING, 2)
    assert digest.head.title == "2 alerts during the deploy of shop 1.0"
    due = digest.timer(TimerKind.NOTIFY)
    assert due == after(10), "the lease, from the deploy's last step"
    digest.does(TimerDue(digest.head.group, 1, TimerKind.NOTIFY), 10)
    assert digest.head.state is State.TRIGGERED
    assert Why.INCIDENT_RELEASED in words(digest.out)
    assert digest.target().want is Want.TRIGGERED


def replace_alert(event: GroupAlerts, name: str) -> GroupAlerts:
    return msgspec.structs.replace(event, alerts=[alert(name, start=2)])


def test_the_end_of_the_deploy_releases_it() -> None:
    """Shortly after the deploy is live what still fires is told; nobody waits for the lease."""
    digest = digest_of(held())
    digest.seen = replace(digest.seen, ledgers=rolling((P.STARTED, 0), (P.LIVE, 4)).ledgers)
    digest.does(DeployNoticed("shop", "e"), 4)
    assert digest.timer(TimerKind.NOTIFY) == after(4.5)
    digest.does(TimerDue(digest.head.group, 1, TimerKind.NOTIFY), 4.5)
    assert digest.head.state is State.TRIGGERED


def test_a_deploy_that_goes_on_renews_the_lease_up_to_the_cap() -> None:
    """Each step that is told renews the lease; nothing goes past the cap."""
    digest = digest_of(held())
    digest.seen = replace(digest.seen, ledgers=rolling((P.STARTED, 0), (P.GREEN_TESTED, 9)).ledgers)
    digest.does(TimerDue(digest.head.group, 1, TimerKind.NOTIFY), 10)
    assert (digest.head.state, digest.timer(TimerKind.NOTIFY)) == (State.WAITING, after(19))
    digest.seen = replace(digest.seen, ledgers=rolling((P.STARTED, 0), (P.SWITCHED, 29)).ledgers)
    digest.does(TimerDue(digest.head.group, 1, TimerKind.NOTIFY), 19)
    assert digest.timer(TimerKind.NOTIFY) == after(30)


def test_what_ends_while_it_is_held_is_never_told() -> None:
    """A blip of the rollout resolves in its own group and in the digest, and wakes nobody."""
    world = held()
    digest = digest_of(world)
    world.tells(alert(start=1, end=3), at=3)
    assert world.head.state is State.RESOLVED
    (event,) = [e for e in world.out.onward if isinstance(e, GroupAlerts)]
    digest.does(event)
    assert digest.head.state is State.RESOLVED
    assert not digest.head.due


def test_new_alerts_of_a_held_incident_go_to_the_digest() -> None:
    """Whatever joins is told there, also after the digest was told."""
    world = held()
    world.tells(alert("b", start=20), at=20)
    assert world.head.state is State.HELD
    assert [a.key for a in world.out.onward[0].alerts] == ["am:b"]


def test_without_a_word_of_the_ledger_the_digest_keeps_its_time() -> None:
    """A lost ledger neither prolongs nor drops a hold."""
    digest = digest_of(held())
    digest.seen = replace(digest.seen, ledgers={})
    digest.does(TimerDue(digest.head.group, 1, TimerKind.NOTIFY), 10)
    assert digest.head.state is State.TRIGGERED


def test_rules_that_hold_no_more_release_at_the_promised_time() -> None:
    """A hold that is gone from the rules is kept no longer than it said."""
    digest = digest_of(held())
    digest.book = rulebook()
    digest.does(TimerDue(digest.head.group, 1, TimerKind.NOTIFY), 10)
    assert digest.head.state is State.TRIGGERED


@pytest.mark.parametrize(
    "phases",
    [
        ((P.LIVE, 0),),
        ((P.STARTED, -20),),
        ((P.STARTED, 0), (P.FAILED, 0.1)),
        ((P.STARTED, -40), (P.SWITCHED, -1)),
    ],
    ids=["never began", "lease over", "failed", "cap over"],
)
def test_nothing_is_held_when_no_deploy_is_under_way(phases: tuple[tuple[DeployPhase, float], ...]) -> None:
    """A deploy that is over, failed or silent for too long holds nothing back."""
    world = World(book(), rolling(*phases))
    world.tells(alert(start=1), at=1)
    assert world.head.state is State.TRIGGERED


def test_only_its_own_environment_and_matchers_count() -> None:
    """A deploy to staging holds nothing in prod, and a hold with matchers only what they match."""
    elsewhere = Snapshot(ledgers=ledgers(deploy(0, phases={P.STARTED: after(0)}, environment="staging")))
    world = World(book(), elsewhere)
    world.tells(alert(start=1), at=1)
    assert world.head.state is State.TRIGGERED
    other = World(book(matchers=matchers.parse('pod="other"')), rolling((P.STARTED, 0)))
    other.tells(alert(start=1), at=1)
    assert other.head.state is State.TRIGGERED


def test_a_held_incident_cannot_be_acknowledged_but_resolved() -> None:
    """Nobody was told of it; its digest is what one acknowledges."""
    world = held()
    world.commands(CommandKind.ACKNOWLEDGE, 2)
    assert Why.COMMAND_IGNORED in words(world.out)
    world.commands(CommandKind.RESOLVE, 3)
    assert world.head.state is State.RESOLVED


def test_ledgers_are_wanted_where_a_hold_waits() -> None:
    """The digest's wake-up and its alerts ask for the deploys they wait for."""
    digest = digest_of(held())
    due = TimerDue(digest.head.group, 1, TimerKind.NOTIFY)
    assert engine.services_needed(due, digest.seen, digest.book) == ["shop", "db"]
    plain = World()
    plain.tells(alert())
    assert engine.services_needed(TimerDue(GROUP, 1, TimerKind.REVIEW), plain.seen, plain.book) == []


@given(
    steps=st.lists(st.tuples(st.sampled_from(list(P)), st.floats(-60, 60)), max_size=6),
    lease=st.integers(1, 60),
    cap=st.integers(1, 60),
)
def test_no_hold_is_longer_than_its_cap(steps: list[tuple[DeployPhase, float]], lease: int, cap: int) -> None:
    """Nothing is held beyond the cap from the first step that was told, nor the lease from the last."""
    one = deploy(0, phases={p: after(at) for p, at in steps})
    rule = DeployHold("x", (), lease * MINUTE, cap * MINUTE)
    until = holding.lasts_until(one, rule)
    began = [at for p, at in one.phases.items() if p in holding.STEPS]
    assert (until is None) == (not began)
    if until is not None:
        assert until <= min(began) + cap * MINUTE
        assert until <= max(began) + lease * MINUTE


def test_the_hold_of_a_critical_is_never_found() -> None:
    """The rule is asked with the incident's severity, not with the alert's words."""
    world = held()
    head = world.head
    critical = msgspec.structs.replace(head, severity=Severity.CRITICAL)
    seen = world.seen.ledgers
    assert holding.find(critical, head.labels, None, seen, world.book, after(1)) is None
    assert holding.find(head, head.labels, None, seen, world.book, after(1)) is not None
