"""What keeps an alert from being told: silences, inhibit rules, maintenance windows, time intervals."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from router.decide import muting
from router.decide.decision import Snapshot
from router.decide.outlook import Outlook, compiled
from router.model.destinations import Want
from router.model.events import TimerKind
from router.model.incidents import State
from router.model.reasons import Why
from router.model.silences import Silence, SilenceMatcher
from router.rulebook import matchers
from router.rulebook.book import Muting, Rulebook
from router.rulebook.muting import InhibitRule, Maintenance
from router.rulebook.problems import Problems
from router.rulebook.times import SpanModel, TimeInterval, TimeIntervalModel
from router.rulebook.times import compiled as interval_of
from router.rulebook.yaml_loader import Document
from tests.unit.decide.making import PAGE, T0, World, after, alert, rulebook, words

MINUTE = timedelta(minutes=1)


def silence(start: float = 0, end: float = 60, name: str = "service", value: str = "shop") -> Silence:
    return Silence(
        "s1", (SilenceMatcher(name, value),), after(start), after(end), "ann", "planned work", after(start)
    )


def outlook(*silences: Silence, **inhibitors: dict[str, bool]) -> Outlook:
    return Outlook(tuple(map(compiled, silences)), inhibitors)


def interval(**span: object) -> TimeInterval:
    model = TimeIntervalModel(name="nights", time_intervals=[SpanModel.model_validate(span)])
    found = interval_of(model, Document("rules/x.yaml", {}, {}), (), Problems())
    assert found is not None
    return found


def inhibiting(book: Rulebook | None = None) -> Rulebook:
    """Critical alerts of a service inhibit its warnings."""
    rule = InhibitRule(
        "r",
        "critical first",
        matchers.parse('severity="critical"'),
        matchers.parse('severity="warning"'),
        ("service",),
    )
    return replace(book or rulebook(), muting=Muting(inhibit_rules=(rule,)))


def key(book: Rulebook) -> str:
    return book.muting.inhibit_rules[0].key({"service": "shop"})


# --- silences -------------------------------------------------------------------------------------


def test_a_silenced_alert_opens_an_incident_that_tells_nobody() -> None:
    """It is kept and shown as suppressed, with who silenced it and until when."""
    world = World(seen=Snapshot(outlook=outlook(silence())))
    out = world.tells(alert())
    assert (world.head.state, world.head.muted, world.head.destinations) == (State.SUPPRESSED, 1, {})
    assert any("silenced by ann until" in r.text and "planned work" in r.text for r in out.why)
    assert world.timer(TimerKind.REVIEW) == after(60)


def test_when_the_silence_ends_what_still_fires_is_told() -> None:
    """At its end the incident is paged as if it had just begun; nobody has to do anything."""
    world = World(seen=Snapshot(outlook=outlook(silence())))
    world.tells(alert())
    out = world.wakes(TimerKind.REVIEW, 60)
    assert Why.INCIDENT_UNMUTED in words(out)
    assert (world.head.state, world.target().want) == (State.TRIGGERED, Want.TRIGGERED)


def test_what_ended_under_a_silence_is_never_told() -> None:
    """Nobody heard of it, so nobody need hear of its end."""
    world = World(seen=Snapshot(outlook=outlook(silence())))
    world.tells(alert())
    world.tells(alert(end=5), at=5)
    assert world.head.state is State.RESOLVED
    assert not world.head.due


def test_an_alert_that_ends_silenced_after_it_was_told_is_resolved() -> None:
    """Alertmanager leaves such a page open for ever; here the end is told, silence or not."""
    world = World()
    world.tells(alert())
    world.delivers_all()
    world.surrounds(outlook(silence()))
    world.looks(1)
    assert (world.head.state, world.head.muted_by) == (State.TRIGGERED, ("silence:s1",))
    world.delivers_all()
    world.tells(alert(end=5), at=5)
    assert world.target().want is Want.RESOLVED
    assert world.target().due


def test_a_silence_taken_back_early_lets_through_at_the_next_look() -> None:
    """An expired silence mutes nothing, whenever that was."""
    world = World(seen=Snapshot(outlook=outlook(silence())))
    world.tells(alert())
    world.surrounds(outlook())
    world.looks(10)
    assert world.head.state is State.TRIGGERED


def test_one_alert_that_is_not_silenced_is_enough() -> None:
    """A group is told as soon as one of its firing alerts is not muted; the muted ones are counted."""
    world = World(seen=Snapshot(outlook=outlook(silence(name="pod", value="a"))))
    world.tells(alert("a"))
    assert world.head.state is State.SUPPRESSED
    world.tells(alert("b"), at=1)
    assert (world.head.state, world.head.firing, world.head.muted) == (State.TRIGGERED, 2, 1)


def test_a_muted_rise_in_severity_pages_nobody() -> None:
    """A critical alert that is silenced does not page again."""
    world = World(seen=Snapshot(outlook=outlook(silence(name="pod", value="b"))))
    world.tells(alert("a"))
    world.delivers_all()
    out = world.tells(alert("b", severity="critical"), at=1)
    assert Why.SEVERITY_ROSE not in words(out)
    assert not world.target().due


def test_muted_incidents_are_not_repeated() -> None:
    """While all of it is silenced no reminder goes out; afterwards it does, once."""
    base = rulebook()
    book = replace(base, root=replace(base.root, repeat_interval=10 * MINUTE))
    world = World(book)
    world.tells(alert())
    world.delivers_all()
    world.surrounds(outlook(silence()))
    world.looks(1)
    world.delivers_all()
    world.wakes(TimerKind.REVIEW, 10)
    assert not world.target().due
    world.wakes(TimerKind.REVIEW, 60)
    assert Why.INCIDENT_UNMUTED in words(world.out)


def test_a_wait_ends_in_silence() -> None:
    """group_wait is over, and all of it is silenced by then."""
    world = World(rulebook(wait=30))
    world.tells(alert())
    world.surrounds(outlook(silence()))
    world.wakes(TimerKind.NOTIFY, 0.5)
    assert world.head.state is State.SUPPRESSED


@pytest.mark.parametrize(
    ("at", "mutes"),
    [(-1, False), (0, True), (59.9, True), (60, False)],
    ids=["pending", "begun", "last", "over"],
)
def test_a_silence_holds_from_its_start_to_before_its_end(at: float, mutes: bool) -> None:
    """The start is inside, the end is outside."""
    found = muting.of_alert({"service": "shop"}, rulebook(), outlook(silence()), after(at))
    assert bool(found) is mutes


# --- inhibition -----------------------------------------------------------------------------------


def test_a_target_is_muted_while_a_source_fires() -> None:
    """Same equal labels: the warning waits for the critical's end."""
    book = inhibiting()
    world = World(book, Snapshot(outlook=outlook(**{key(book): {"g|am:x": False}})))
    world.tells(alert())
    assert world.head.state is State.SUPPRESSED
    assert world.head.muted_by == (f"inhibit:critical first|{key(book)}",)
    assert muting.words(world.head.muted_by[0], book, world.seen.outlook) == "inhibited by critical first"
    world.surrounds(outlook())
    world.looks(5)
    assert world.head.state is State.TRIGGERED


def test_sources_say_so_and_take_it_back() -> None:
    """A firing source is written under its key; its end, or its group's, takes that back."""
    book = inhibiting()
    world = World(book)
    out = world.tells(alert(severity="critical"))
    assert out.inhibits == {(key(book), "am:a"): False}
    out = world.tells(alert(severity="critical", end=1), at=1)
    assert out.inhibits == {(key(book), "am:a"): None}


def test_a_forgotten_group_inhibits_no_more() -> None:
    """What was resolved by hand goes on inhibiting while it fires, and not beyond its group's life."""
    book = inhibiting()
    world = World(book)
    world.tells(alert(severity="critical"))
    world.commands(kind="resolve", at=1)
    out = world.wakes(TimerKind.FORGET, 1e5, generation=0)
    assert out.forget
    assert out.inhibits == {(key(book), "am:a"): None}


@pytest.mark.parametrize(
    ("sources", "mutes"),
    [({"g|am:x": False}, True), ({"g|am:x": True}, False), ({"g|am:x": True, "g|am:y": False}, True)],
    ids=["one-sided source", "two-sided source", "both"],
)
def test_what_matches_both_sides_inhibits_not_its_like(sources: dict[str, bool], mutes: bool) -> None:
    """An alert on both sides is muted only by one that is a source alone, as in Alertmanager."""
    both = matchers.parse('service="shop"')
    book = replace(rulebook(), muting=Muting(inhibit_rules=(InhibitRule("r", "n", both, both, ()),)))
    view = outlook(**{book.muting.inhibit_rules[0].key({}): sources})
    assert bool(muting.of_alert({"service": "shop"}, book, view, T0)) is mutes


# --- windows and intervals ------------------------------------------------------------------------


def test_a_maintenance_window_mutes_and_ends() -> None:
    """While it is open matching alerts are kept back; the incident asks to be looked at when it closes."""
    window = Maintenance("db move", "planned", matchers.parse('service="shop"'), after(-5), after(30))
    book = replace(rulebook(), muting=Muting(maintenance=(window,)))
    world = World(book)
    world.tells(alert())
    assert world.head.muted_by == ("maintenance:db move",)
    assert world.timer(TimerKind.REVIEW) == after(30)
    world.wakes(TimerKind.REVIEW, 30)
    assert world.head.state is State.TRIGGERED


def test_a_window_may_follow_time_intervals() -> None:
    """A recurring window is open when one of its intervals is."""
    nights = interval(times=[{"start_time": "11:00", "end_time": "13:00"}])
    window = Maintenance("noon", "", matchers.parse('service="shop"'), intervals=(nights,))
    assert window.active(T0)
    assert window.next_change(T0) == after(60)
    assert not window.active(after(60))


@pytest.mark.parametrize("kind", ["mute", "active"])
def test_a_route_tells_nobody_outside_its_time(kind: str) -> None:
    """mute_time_intervals keep back while one holds, active_time_intervals while none does."""
    span = (
        {"start_time": "11:00", "end_time": "13:00"}
        if kind == "mute"
        else {"start_time": "13:00", "end_time": "14:00"}
    )
    base = rulebook()
    book = replace(base, root=replace(base.root, **{kind: (interval(times=[span]),)}))
    world = World(book)
    world.tells(alert())
    assert world.head.state is State.SUPPRESSED
    assert world.head.muted == 0, "the alert itself is not muted, its route is"
    assert world.timer(TimerKind.REVIEW) == after(60)
    world.wakes(TimerKind.REVIEW, 60)
    assert world.target(PAGE).want is Want.TRIGGERED


def test_nothing_is_looked_up_where_nothing_can_mute() -> None:
    """Without silences, windows and inhibit rules no alert is tested at all."""
    assert not muting.concerned(rulebook(), outlook())
    assert muting.concerned(inhibiting(), outlook())
    assert muting.concerned(rulebook(), outlook(silence()))


@pytest.mark.parametrize(
    ("token", "words_"),
    [
        ("silence:gone", "silenced"),
        ("maintenance:gone", "maintenance window gone"),
        ("interval:nights", "the route does not tell now: time interval nights"),
    ],
)
def test_tokens_are_words_even_when_their_thing_is_gone(token: str, words_: str) -> None:
    """What muted an incident may be deleted; the incident can still say what it was."""
    assert muting.words(token, rulebook(), outlook()) == words_
    assert muting.look_again_at([token], None, rulebook(), outlook(), T0) == T0 + muting.LOOK_AGAIN
