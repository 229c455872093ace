"""What people ask of an incident, and what becomes of it."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from router.decide.acting import LONGEST_SNOOZE
from router.decide.decision import Decision, Snapshot
from router.model.commands import Command, CommandKind
from router.model.destinations import Want
from router.model.events import DeployNoticed, Severity, TimerKind
from router.model.incidents import State
from router.model.reasons import Why
from tests.unit.decide.making import CHAT, GROUP, PAGE, World, after, alert, deploy, ledgers, rulebook

OTHER = "0123456789abcdef.3"


@pytest.fixture
def world() -> World:
    """An incident of one warning that everybody was told of."""
    one = World()
    one.tells(alert("a"))
    one.delivers_all()
    return one


def ask(world: World, kind: CommandKind, at: float = 1.0, **more: object) -> Decision:
    base = Command(GROUP, 1, kind, "ana", after(at), f"{kind}{at}", by_id="U1", via="slack")
    return world.does(msgspec.structs.replace(base, **more), at)


def wants(world: World) -> tuple[Want, Want]:
    return world.target(PAGE).want, world.target(CHAT).want


def words(out: Decision) -> set[Why]:
    return {reason.why for reason in out.why}


def test_who_took_it_is_kept(world: World) -> None:
    """Name, id and place stand on the incident and on its timeline."""
    out = ask(world, CommandKind.ACKNOWLEDGE, note="on it")
    head = world.head
    assert (head.state, head.acknowledged_by, head.acknowledged_id) == (State.ACKNOWLEDGED, "ana", "U1")
    assert head.acknowledged_via == "slack"
    (entry,) = out.timeline
    assert (entry.text, entry.by, entry.via) == ("acknowledged by ana: on it", "ana", "slack")
    assert wants(world) == (Want.ACKNOWLEDGED, Want.ACKNOWLEDGED)


def test_given_back_it_calls_again(world: World) -> None:
    """Pages go once more; where PagerDuty gave it back, it has called already."""
    for via, again in (("slack", True), ("pagerduty", False)):
        ask(world, CommandKind.ACKNOWLEDGE, at=2)
        world.delivers_all()
        before = world.target(PAGE).want_version
        ask(world, CommandKind.UNACKNOWLEDGE, at=3, via=via)
        assert (world.head.state, world.head.acknowledged_by) == (State.TRIGGERED, "")
        assert world.target(PAGE).want is Want.TRIGGERED
        assert world.target(PAGE).want_version > before or not again
        world.delivers_all()


def test_what_is_put_off_comes_back(world: World) -> None:
    """Until then it is acknowledged; then, if it still fires, people are called again."""
    ask(world, CommandKind.SNOOZE, at=1, until=after(31))
    assert (world.head.state, world.head.snoozed_until) == (State.ACKNOWLEDGED, after(31))
    assert world.timer(TimerKind.REVIEW) == after(31)
    world.delivers_all()
    world.wakes(TimerKind.REVIEW, at=30)
    assert world.head.state is State.ACKNOWLEDGED
    out = world.wakes(TimerKind.REVIEW, at=31)
    assert Why.INCIDENT_WOKE in words(out)
    assert (world.head.state, world.head.snoozed_until, world.head.acknowledged_by) == (
        State.TRIGGERED,
        None,
        "",
    )
    assert wants(world) == (Want.TRIGGERED, Want.TRIGGERED)
    assert world.target(PAGE).due


def test_what_is_put_off_and_ends_calls_nobody(world: World) -> None:
    """The end of its alerts is its end."""
    ask(world, CommandKind.SNOOZE, at=1, until=after(31))
    world.tells(alert("a", end=2), at=2)
    assert (world.head.state, world.head.snoozed_until) == (State.RESOLVED, None)
    world.wakes(TimerKind.REVIEW, at=31)
    assert world.head.state is State.RESOLVED


def test_put_off_at_most_for_a_week(world: World) -> None:
    """PagerDuty's limit is ours; a time that is over is none; anew is longer or shorter."""
    ask(world, CommandKind.SNOOZE, at=1, until=after(1) + 9 * LONGEST_SNOOZE)
    assert world.head.snoozed_until == after(1) + LONGEST_SNOOZE
    for until in (None, after(1)):
        assert words(ask(world, CommandKind.SNOOZE, at=2, until=until)) == {Why.COMMAND_IGNORED}
    ask(world, CommandKind.SNOOZE, at=3, until=after(5))
    assert world.head.snoozed_until == after(5)
    ask(world, CommandKind.ACKNOWLEDGE, at=4)
    assert (world.head.state, world.head.snoozed_until) == (State.ACKNOWLEDGED, None)


def test_a_rise_ends_an_acknowledgement(world: World) -> None:
    """Who took or put off a warning, or made it a part of something, has not done so with a critical."""
    for at, kind, more in (
        (1.0, CommandKind.SNOOZE, {"until": after(60)}),
        (3.0, CommandKind.MERGE, {"to": OTHER}),
    ):
        world.head  # noqa: B018  there is one
        ask(world, kind, at=at, **more)
        assert world.head.state is not State.TRIGGERED
        severity = "error" if at == 1 else "critical"
        world.tells(alert(f"b{at}", start=at, severity=severity), at=at + 1)
        assert (world.head.state, world.head.snoozed_until, world.head.merged_into) == (
            State.TRIGGERED,
            None,
            "",
        )
        assert wants(world) == (Want.TRIGGERED, Want.TRIGGERED)
    assert world.head.severity is Severity.CRITICAL


def test_it_is_given_to_somebody(world: World) -> None:
    """The message tells it, the page stays; the same again, or nobody, is nothing."""
    page, chat = world.target(PAGE), world.target(CHAT)
    ask(world, CommandKind.ASSIGN, to="ben")
    assert world.head.assigned_to == "ben"
    assert world.target(PAGE) == page
    assert world.target(CHAT).want_version > chat.want_version
    for to in ("ben", "", " \n"):
        assert words(ask(world, CommandKind.ASSIGN, at=2, to=to)) == {Why.COMMAND_IGNORED}


def test_a_remark_may_come_late(world: World) -> None:
    """A note stands on the timeline, also of an incident that is over; an empty one is none."""
    out = ask(world, CommandKind.NOTE, note="restarted\nthe pod")
    assert [e.text for e in out.timeline] == ["ana: restarted the pod"]
    assert world.head.state is State.TRIGGERED
    ask(world, CommandKind.RESOLVE, at=2)
    out = ask(world, CommandKind.NOTE, at=3, note="it was the cache")
    assert [e.text for e in out.timeline] == ["ana: it was the cache"]
    assert world.head.state is State.RESOLVED
    assert words(ask(world, CommandKind.NOTE, at=4, note=" ")) == {Why.COMMAND_IGNORED}


def test_merged_it_is_told_of_no_more(world: World) -> None:
    """Its page and message end; it stays open for its alerts, tells nothing, and ends with them."""
    ask(world, CommandKind.MERGE, to=OTHER)
    assert (world.head.state, world.head.merged_into) == (State.MERGED, OTHER)
    assert wants(world) == (Want.RESOLVED, Want.RESOLVED)
    world.delivers_all()
    world.tells(alert("b", start=2), at=2)
    assert (world.head.state, world.head.firing) == (State.MERGED, 2)
    assert wants(world) == (Want.RESOLVED, Want.RESOLVED)
    assert not world.target(PAGE).due
    world.tells(alert("a", end=3), alert("b", start=2, end=3), at=3)
    assert world.head.state is State.RESOLVED


@pytest.mark.parametrize("to", ["", "nonsense", f"{GROUP}.1"])
def test_merged_only_into_another(world: World, to: str) -> None:
    """What is no incident's id, or its own, is refused."""
    assert words(ask(world, CommandKind.MERGE, to=to)) == {Why.COMMAND_IGNORED}
    assert world.head.state is State.TRIGGERED


@pytest.mark.parametrize("kind", [k for k in CommandKind if k is not CommandKind.NOTE])
def test_what_is_over_stays_over(world: World, kind: CommandKind) -> None:
    """Nothing but a note is taken for an incident that has ended."""
    ask(world, CommandKind.RESOLVE)
    head = world.head
    assert words(ask(world, kind, at=2, until=after(9), to=OTHER)) == {Why.COMMAND_IGNORED}
    assert world.head == head
    assert (head.resolved_by, head.resolved_id, head.resolved_via) == ("ana", "U1", "slack")


@pytest.mark.parametrize("kind", list(CommandKind))
def test_twice_is_once(kind: CommandKind) -> None:
    """The same wish again, as by a second click, tells nobody anything new."""
    world = World(rulebook(wait=0))
    world.tells(alert("a"))
    if kind is CommandKind.UNACKNOWLEDGE:
        ask(world, CommandKind.ACKNOWLEDGE, at=0.5)
    ask(world, kind, until=after(60), to=OTHER, note="x" if kind is CommandKind.NOTE else "")
    world.delivers_all()
    head = world.head
    ask(world, kind, at=1.5, until=after(60), to=OTHER)
    if kind is not CommandKind.SNOOZE:
        assert world.head.destinations == head.destinations
    assert world.head.state is head.state


# --- what was done at a vendor it is not told ------------------------------------------------------


@pytest.mark.parametrize("kind", [CommandKind.ACKNOWLEDGE, CommandKind.RESOLVE])
def test_a_vendor_is_not_told_what_was_done_there(world: World, kind: CommandKind) -> None:
    """Its own act is no wish for it; the others are told."""
    ask(world, kind, via="pagerduty")
    assert not world.target(PAGE).due
    assert world.target(PAGE).have is world.target(PAGE).want is not Want.TRIGGERED
    assert world.target(CHAT).due


def test_given_back_there_it_knows(world: World) -> None:
    """A timed-out acknowledgement is a state that the vendor is in already; a message shows it."""
    ask(world, CommandKind.ACKNOWLEDGE, at=1, via="pagerduty")
    ask(world, CommandKind.UNACKNOWLEDGE, at=2, via="pagerduty")
    assert (world.target(PAGE).want, world.target(PAGE).due) == (Want.TRIGGERED, False)
    assert (world.target(CHAT).want, world.target(CHAT).due) == (Want.TRIGGERED, True)


def test_a_note_there_leaves_what_is_due(world: World) -> None:
    """A remark at a vendor says nothing about what it has been told."""
    world.tells(alert("b", severity="critical"), at=1)
    assert world.target(PAGE).due
    ask(world, CommandKind.NOTE, at=2, via="pagerduty", note="x")
    assert world.target(PAGE).due


def test_with_two_targets_of_a_vendor_both_are_told() -> None:
    """Nobody says at which of them it was done."""
    book = rulebook()
    (ops,) = book.receivers.values()
    second = dataclasses.replace(ops.targets[0], id="ops/pagerduty/1")
    ops = dataclasses.replace(ops, targets=(*ops.targets, second))
    world = World(dataclasses.replace(book, receivers={"ops": ops}))
    world.tells(alert("a"))
    world.delivers_all()
    ask(world, CommandKind.ACKNOWLEDGE, via="pagerduty")
    assert world.target(PAGE).due
    assert world.target("ops/pagerduty/1").due


def test_a_message_is_edited_wherever_its_button_was_pressed(world: World) -> None:
    """What was done in Slack is no state of Slack's: the message is ours to edit."""
    ask(world, CommandKind.ACKNOWLEDGE, via="slack")
    assert world.target(CHAT).due


# --- a person's word on a suspicion ----------------------------------------------------------------


@pytest.fixture
def suspected() -> World:
    """An incident that everybody was told of, with a deploy of its own service as suspect."""
    one = World(seen=Snapshot(ledgers=ledgers(deploy(-5, name="1.42.0"))))
    one.tells(alert("a"))
    one.delivers_all()
    (top,) = one.head.suspects
    assert top.score > 0
    return one


def test_a_confirmed_suspect_stays_first(suspected: World) -> None:
    """Who said so stands among its reasons and on the timeline; the message is edited, nobody is paged."""
    before = suspected.target(PAGE).want_version
    out = ask(suspected, CommandKind.CONFIRM)
    (top,) = suspected.head.suspects
    assert (top.verdict, top.reasons[-1].text) == ("confirmed", "confirmed by ana")
    assert [e.text for e in out.timeline] == ["shop 1.42.0 confirmed as the cause by ana"]
    assert suspected.target(PAGE).want_version == before
    assert suspected.target(CHAT).due


def test_a_refuted_suspect_is_suspected_no_more(suspected: World) -> None:
    """It is shown as refuted; a second word takes the first's place, the same one changes nothing."""
    key = suspected.head.suspects[0].key
    ask(suspected, CommandKind.REFUTE, to=key)
    (top,) = suspected.head.suspects
    assert (top.verdict, top.score < 0) == ("refuted", True)
    assert words(ask(suspected, CommandKind.REFUTE, at=2, to=key)) == {Why.COMMAND_IGNORED}
    ask(suspected, CommandKind.CONFIRM, at=3, to=key)
    (top,) = suspected.head.suspects
    assert (top.verdict, top.score > 0) == ("confirmed", True)
    assert len([r for r in top.reasons if r.why in {Why.DEPLOY_CONFIRMED, Why.DEPLOY_REFUTED}]) == 1


def test_a_word_outlasts_another_look(suspected: World) -> None:
    """What is told late of deploys weighs them anew, and leaves what a person said."""
    ask(suspected, CommandKind.REFUTE)
    both = ledgers(deploy(-2, name="1.43.0"), deploy(-5, name="1.42.0"))
    suspected.seen = dataclasses.replace(suspected.seen, ledgers=both)
    suspected.does(DeployNoticed("shop", "e"), at=2)
    verdicts = {s.version: s.verdict for s in suspected.head.suspects}
    assert verdicts == {"1.42.0": "refuted", "1.43.0": ""}
    assert suspected.head.suspects[0].version == "1.43.0"


def test_what_is_over_may_be_judged(suspected: World) -> None:
    """After the end one knows more."""
    ask(suspected, CommandKind.RESOLVE)
    out = ask(suspected, CommandKind.CONFIRM, at=2)
    assert suspected.head.state is State.RESOLVED
    assert suspected.head.suspects[0].verdict == "confirmed"
    assert len(out.timeline) == 1


def test_only_a_suspect_can_be_judged(world: World, suspected: World) -> None:
    """Nothing is suspected, or another deploy is named: nothing changes, and it is said why."""
    for one, to in ((world, ""), (suspected, "shop/prod/9.9/1")):
        out = ask(one, CommandKind.CONFIRM, to=to)
        assert words(out) == {Why.COMMAND_IGNORED}
        assert out.timeline == []


def test_a_page_that_is_taken_is_not_sent_again_for_a_suspect(world: World) -> None:
    """Nothing but its state would be read; the message shows the suspect."""
    ask(world, CommandKind.ACKNOWLEDGE)
    world.delivers_all()
    world.seen = dataclasses.replace(world.seen, ledgers=ledgers(deploy(-2, name="1.43.0")))
    world.does(DeployNoticed("shop", "e"), at=2)
    assert world.head.suspects
    assert (world.target(PAGE).due, world.target(CHAT).due) == (False, True)
