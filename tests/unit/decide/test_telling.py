"""Whether people are told now, again or later, and who else; flapping."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import telling
from router.model.commands import CommandKind
from router.model.destinations import Lane, Want
from router.model.events import DeployNoticed, TimerKind
from router.model.incidents import State
from router.model.reasons import Why
from router.rulebook.book import Muting, Receiver, Rulebook, Target
from router.rulebook.conditions import Compared, OneOf, When
from router.rulebook.muting import Flapping
from router.rulebook.tree import Step
from tests.unit.decide.making import (
    CHAT,
    PAGE,
    T0,
    Options,
    World,
    after,
    alert,
    deploy,
    ledgers,
    rulebook,
    words,
)

MINUTE = timedelta(minutes=1)


def book(**route: object) -> Rulebook:
    """The small rulebook, its root changed; times are in minutes."""
    base = rulebook()
    times = {k: v * MINUTE if isinstance(v, int | float) else v for k, v in route.items()}
    leads = Receiver("leads", (Target("leads/pagerduty/0", "pagerduty", Lane.PAGE, Options()),))
    return replace(base, root=replace(base.root, **times), receivers={**base.receivers, "leads": leads})


def due(world: World) -> dict[str, Want]:
    """What is still to be told, by target."""
    return {n: d.want for n, d in world.head.destinations.items() if d.due and d.lane is not Lane.REST}


def test_changes_wait_for_the_next_group_interval() -> None:
    """A second alert is told when the interval from the first word is over; not before, not twice."""
    world = World(book(group_interval=5))
    world.tells(alert())
    world.delivers_all()
    out = world.tells(alert("b"), at=2)
    assert due(world) == {}
    assert Why.INTERVAL_WAITED in words(out)
    assert world.timer(TimerKind.REVIEW) == after(5)
    world.wakes(TimerKind.REVIEW, 5)
    assert due(world) == {CHAT: Want.TRIGGERED}, "the page is open as it should be; the message shows two"
    world.delivers_all()
    world.wakes(TimerKind.REVIEW, 10)
    assert due(world) == {}


def test_the_end_waits_for_the_next_interval_too() -> None:
    """An incident whose alerts have ended is resolved at the next interval, as Alertmanager tells it."""
    world = World(book(group_interval=5))
    world.tells(alert())
    world.delivers_all()
    out = world.tells(alert(end=1), at=1)
    assert Why.INCIDENT_QUIET in words(out)
    assert (world.head.state, world.head.firing) == (State.TRIGGERED, 0)
    assert world.timer(TimerKind.REVIEW) == after(5)
    world.wakes(TimerKind.REVIEW, 5)
    assert world.head.state is State.RESOLVED
    assert due(world) == {CHAT: Want.RESOLVED, PAGE: Want.RESOLVED}


def test_what_fires_again_before_its_end_was_told_goes_on() -> None:
    """Between two intervals an end and a new beginning are one incident, and nobody is paged anew."""
    world = World(book(group_interval=5))
    world.tells(alert())
    world.delivers_all()
    world.tells(alert(end=1), at=1)
    world.tells(alert(start=2), at=2)
    assert (world.head.generation, world.head.state, world.head.quiet_since) == (1, State.TRIGGERED, None)
    world.wakes(TimerKind.REVIEW, 5)
    assert world.head.state is State.TRIGGERED
    assert due(world).get(PAGE) is None


@pytest.mark.parametrize("state", ["open", "acknowledged"])
def test_a_rise_in_severity_does_not_wait(state: str) -> None:
    """A critical alert in an incident of warnings pages at once, whatever the interval."""
    world = World(book(group_interval=5))
    world.tells(alert())
    world.delivers_all()
    if state == "acknowledged":
        world.commands(CommandKind.ACKNOWLEDGE, 1)
        world.delivers_all()
    world.tells(alert("b", severity="critical"), at=2)
    assert due(world) == {CHAT: Want.TRIGGERED, PAGE: Want.TRIGGERED}


def test_an_acknowledgement_is_shown_at_once() -> None:
    """A person's act does not wait for the interval."""
    world = World(book(group_interval=5))
    world.tells(alert())
    world.delivers_all()
    world.commands(CommandKind.ACKNOWLEDGE, 1)
    assert due(world) == {CHAT: Want.ACKNOWLEDGED, PAGE: Want.ACKNOWLEDGED}


def test_another_suspect_does_not_wait() -> None:
    """A deploy told late is shown and paged at once."""
    world = World(book(group_interval=5))
    world.tells(alert(start=1), at=1)
    world.delivers_all()
    world.seen = replace(world.seen, ledgers=ledgers(deploy(-5)))
    world.does(DeployNoticed("shop", "e"), 2)
    assert due(world) == {CHAT: Want.TRIGGERED, PAGE: Want.TRIGGERED}


def test_the_same_is_told_again_after_repeat_interval() -> None:
    """At the first interval after repeat_interval pages and messages go out again, and again after that."""
    world = World(book(group_interval=5, repeat_interval=12))
    world.tells(alert())
    world.delivers_all()
    for at in (15, 30):  # 12 minutes in steps of 5
        assert world.timer(TimerKind.REVIEW) == after(at)
        out = world.wakes(TimerKind.REVIEW, at)
        assert Why.INCIDENT_REPEATED in words(out)
        assert due(world) == {CHAT: Want.TRIGGERED, PAGE: Want.TRIGGERED}
        world.delivers_all()


def test_what_somebody_has_taken_is_not_repeated() -> None:
    """An acknowledged incident asks for no reminder."""
    world = World(book(repeat_interval=10))
    world.tells(alert())
    world.delivers_all()
    world.commands(CommandKind.ACKNOWLEDGE, 1)
    world.delivers_all()
    assert world.timer(TimerKind.REVIEW) is None
    world.wakes(TimerKind.REVIEW, 10)
    assert due(world) == {}


def test_a_change_counts_as_a_reminder() -> None:
    """repeat_interval counts from what was last told, as in Alertmanager."""
    world = World(book(repeat_interval=10))
    world.tells(alert())
    world.delivers_all()
    world.tells(alert("b"), at=6)
    assert world.timer(TimerKind.REVIEW) == after(16)


@given(interval=st.integers(1, 600), at=st.integers(0, 100_000))
def test_ticks_come_each_interval_from_the_first(interval: int, at: int) -> None:
    """A flush is a whole number of intervals after the first, and the earliest not before the time."""
    found = telling.tick(T0, timedelta(seconds=interval), T0 + timedelta(seconds=at))
    seconds = (found - T0).total_seconds()
    assert seconds % interval == 0
    assert seconds >= max(at, 1)
    assert seconds - interval < max(at, 1)


def test_without_an_interval_everything_is_told_at_once() -> None:
    """group_interval 0 waits for nothing."""
    assert telling.tick(T0, timedelta(0), after(3)) == after(3)
    assert telling.tick(None, MINUTE, after(3)) == after(3)


# --- further receivers ----------------------------------------------------------------------------


def test_a_step_is_taken_where_nobody_acknowledges() -> None:
    """After its time a further receiver is told, once; the page of the first one is not sent again."""
    world = World(book(steps=(Step("leads", 10 * MINUTE),)))
    world.tells(alert())
    world.delivers_all()
    assert world.timer(TimerKind.REVIEW) == after(10)
    out = world.wakes(TimerKind.REVIEW, 10)
    assert Why.INCIDENT_ESCALATED in words(out)
    assert world.head.also == ("leads",)
    assert due(world)["leads/pagerduty/0"] is Want.TRIGGERED
    assert PAGE not in due(world)
    world.delivers_all()
    world.wakes(TimerKind.REVIEW, 20)
    assert due(world) == {}


def test_an_acknowledgement_stops_the_steps() -> None:
    """Who has taken it is enough; nobody else is woken."""
    world = World(book(steps=(Step("leads", 10 * MINUTE),)))
    world.tells(alert())
    world.commands(CommandKind.ACKNOWLEDGE, 9)
    assert world.timer(TimerKind.REVIEW) is None
    world.wakes(TimerKind.REVIEW, 10)
    assert world.head.also == ()


def test_steps_count_anew_from_a_rise_in_severity() -> None:
    """Nobody has acknowledged the critical yet: the time to the next receiver begins with it."""
    world = World(book(steps=(Step("leads", 10 * MINUTE),)))
    world.tells(alert())
    world.commands(CommandKind.ACKNOWLEDGE, 1)
    world.tells(alert("b", severity="critical"), at=5)
    assert world.timer(TimerKind.REVIEW) == after(15)


def test_a_step_asks_its_conditions() -> None:
    """A receiver for deploys is told where a deploy is suspected, acknowledged or not, and says why."""
    when = When((OneOf("suspect", ("any",)),))
    world = World(book(steps=(Step("leads", when=when),)))
    world.tells(alert(start=1), at=1)
    assert world.head.also == ()
    world.commands(CommandKind.ACKNOWLEDGE, 2)
    world.seen = replace(world.seen, ledgers=ledgers(deploy(-5)))
    out = world.does(DeployNoticed("shop", "e"), 3)
    assert world.head.also == ("leads",)
    assert any("suspect" in r.text for r in out.why if r.why is Why.INCIDENT_ESCALATED)


def test_a_condition_about_time_sets_its_own_wake_up() -> None:
    """An incident that is told to leads once it is an hour old is looked at when it is."""
    when = When((Compared("age", ">=", timedelta(hours=1)),))
    world = World(book(steps=(Step("leads", when=when),)))
    world.tells(alert())
    assert world.timer(TimerKind.REVIEW) == after(60)
    world.wakes(TimerKind.REVIEW, 60)
    assert world.head.also == ("leads",)


def test_further_receivers_hear_of_the_end() -> None:
    """Whoever was told is told that it is over."""
    world = World(book(steps=(Step("leads", 1 * MINUTE),)))
    world.tells(alert())
    world.wakes(TimerKind.REVIEW, 1)
    world.delivers_all()
    world.tells(alert(end=2), at=2)
    assert due(world)["leads/pagerduty/0"] is Want.RESOLVED


# --- flapping -------------------------------------------------------------------------------------


def flapping(flips: int = 2) -> Rulebook:
    return replace(book(), muting=Muting(flapping=Flapping(flips, 30 * MINUTE, 10 * MINUTE)))


def test_flapping_holds_the_end_back() -> None:
    """After so many new beginnings an end is told only when it has lasted; flips meanwhile page nobody."""
    world = World(flapping())
    at = 0.0
    for generation in (1, 2, 3):
        out = world.tells(alert(start=at), at=at)
        assert world.head.generation == generation
        world.delivers_all()
        world.tells(alert(start=at, end=at + 1), at=at + 1)
        at += 2
    assert Why.INCIDENT_FLIPPED in words(out)
    assert world.head.state is State.TRIGGERED, "the end of the third is held back"
    assert world.timer(TimerKind.REVIEW) == after(at - 1 + 10)
    out = world.tells(alert(start=at), at=at)
    assert Why.INCIDENT_FLIPPED in words(out)
    assert (world.head.generation, world.head.state) == (3, State.TRIGGERED)
    assert due(world).get(PAGE) is None
    world.tells(alert(start=at, end=at + 1), at=at + 1)
    world.wakes(TimerKind.REVIEW, at + 11, generation=3)
    assert world.head.state is State.RESOLVED


def test_an_end_by_hand_is_no_flip() -> None:
    """What a person closed and what then fires again does not count as flapping."""
    world = World(flapping())
    world.tells(alert())
    world.commands(CommandKind.RESOLVE, 1)
    world.tells(alert(start=8), at=8)
    assert (world.head.generation, world.head.flips) == (2, ())


def test_flips_of_long_ago_are_forgotten() -> None:
    """Only new beginnings within the time count."""
    world = World(flapping())
    for n in range(4):
        at = n * 40.0
        world.tells(alert(start=at), at=at)
        world.tells(alert(start=at, end=at + 1), at=at + 1)
        assert world.head.state is State.RESOLVED


def test_resolve_wait_holds_every_end_back() -> None:
    """A route may hold each end for a while."""
    world = World(book(resolve_wait=3))
    world.tells(alert())
    world.tells(alert(end=1), at=1)
    assert world.head.state is State.TRIGGERED
    assert world.timer(TimerKind.REVIEW) == after(4)
    world.wakes(TimerKind.REVIEW, 4)
    assert world.head.state is State.RESOLVED


def test_looking_again_changes_nothing() -> None:
    """A wake-up that comes twice, or early, is harmless."""
    world = World(book(group_interval=5, repeat_interval=60, steps=(Step("leads", 10 * MINUTE),)))
    world.tells(alert())
    world.delivers_all()
    before = world.head
    out = world.wakes(TimerKind.REVIEW, 1)
    assert out.incident is None
    assert world.head == before
