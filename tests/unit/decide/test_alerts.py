"""Alerts into incidents, people's commands, wake-ups, and what destinations should show."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from router.decide import alerts, desk, engine
from router.decide.decision import Snapshot, Timer, reasons_text
from router.model import keys
from router.model.commands import CommandKind
from router.model.destinations import Want
from router.model.events import DeployNoticed, DeployPhase, Severity, TimerKind
from router.model.incidents import Member, State
from router.model.reasons import Why
from tests.unit.decide.making import (
    CHAT,
    GROUP,
    PAGE,
    World,
    after,
    alert,
    deploy,
    ledgers,
    rulebook,
    told,
    with_head,
    words,
)


def test_first_firing_alert_opens_and_asks_for_a_page() -> None:
    """A first firing alert opens generation 1 and wishes TRIGGERED at every target."""
    world = World()
    out = world.tells(alert())
    assert Why.INCIDENT_OPENED in words(out)
    head = world.head
    assert (head.generation, head.state, head.firing, head.revision) == (1, State.TRIGGERED, 1, 1)
    assert (head.service, head.environment, head.team, head.title) == ("shop", "prod", "checkout", "Slow")
    assert world.target(PAGE).want is Want.TRIGGERED
    assert world.target(PAGE).due
    assert head.id == f"{GROUP}.1"


def test_second_alert_joins_and_leaves_the_page_alone() -> None:
    """A new alert in an open incident updates the chat but does not page anew."""
    world = World()
    world.tells(alert("a", pod="a"))
    before = world.target(PAGE)
    out = world.tells(alert("b", start=-3), at=1)
    assert Why.ALERT_NEW in words(out)
    assert world.target(PAGE) == before
    assert world.target(CHAT).want_version == 2
    assert world.head.starts_at == after(-3)
    assert "pod" not in world.head.labels
    assert world.head.labels["alertname"] == "Slow"


def test_repeated_alert_changes_nothing() -> None:
    """The same alert told again yields no incident and no members."""
    world = World()
    world.tells(alert())
    out = world.tells(alert(), at=3)
    assert words(out) == {Why.ALERT_REPEATED}
    assert out.incident is None
    assert out.members == {}


def test_changed_text_is_kept_but_does_not_page() -> None:
    """New annotations of a firing alert are written to the member, without a new revision."""
    world = World()
    world.tells(alert())
    out = world.tells(alert(annotations={"summary": "slower"}), at=1)
    assert words(out) == {Why.ALERT_CHANGED}
    assert world.seen.members["am:a"].alert.annotations == {"summary": "slower"}
    assert out.incident is None


def test_new_start_while_firing_is_seen_with_its_new_text() -> None:
    """A newer start of a thing still firing is a change people see, and its text replaces the old."""
    world = World()
    world.tells(alert())
    page = world.target(PAGE)
    world.tells(alert(start=2, annotations={"summary": "again"}), at=2)
    assert world.head.revision == 2
    assert world.head.firing == 1
    assert world.head.annotations == {"summary": "again"}
    assert world.target(PAGE) == page


def test_older_start_is_stale() -> None:
    """A version with an older start never overwrites a newer one, firing or resolved."""
    world = World()
    world.tells(alert(start=5), at=5)
    for old in (alert(start=1), alert(start=1, end=2)):
        out = world.tells(old, at=6)
        assert words(out) == {Why.ALERT_STALE}
        assert out.members == {}


def test_last_resolve_closes_and_sets_the_timers() -> None:
    """The incident resolves with its last alert; it waits no more and is to be forgotten later."""
    world = World()
    world.tells(alert("a"), alert("b"))
    world.delivers_all()
    out = world.tells(alert("a", end=3), at=3)
    assert Why.ALERT_RESOLVED in words(out)
    assert (world.head.firing, world.head.resolved, world.head.state) == (1, 1, State.TRIGGERED)
    out = world.tells(alert("b", end=4), at=4)
    assert (world.head.firing, world.head.resolved, world.head.state) == (0, 2, State.RESOLVED)
    assert world.head.by_severity == {}
    assert Timer(TimerKind.NOTIFY, 1, None) in out.timers
    assert Timer(TimerKind.FORGET, 0, after(4) + world.book.retention) in out.timers
    assert world.target(PAGE).want is Want.RESOLVED
    assert world.target(PAGE).due


def test_repeated_and_later_resolves() -> None:
    """A repeated resolve is nothing; a later end of the same thing is kept, unseen."""
    world = World()
    world.tells(alert())
    world.tells(alert(end=3), at=3)
    assert words(world.tells(alert(end=3), at=4)) == {Why.ALERT_REPEATED}
    out = world.tells(alert(end=4), at=5)
    assert list(out.members) == ["am:a"]
    assert out.incident is None


@pytest.mark.parametrize("late", [0.0, 4.9, 5.0])
def test_same_start_within_the_window_is_a_late_copy(late: float) -> None:
    """A resolved alert told firing with the same start within 5 minutes is stale and looked at again."""
    world = World()
    world.tells(alert())
    world.tells(alert(end=3), at=3)
    out = world.tells(alert(), at=3 + late)
    assert words(out) == {Why.ALERT_STALE}
    assert out.look_again == ["am:a"]
    assert world.head.state is State.RESOLVED


def test_same_start_after_the_window_fires_again() -> None:
    """The same start told firing more than 5 minutes after its resolve opens the next generation."""
    world = World()
    world.tells(alert())
    world.tells(alert(end=3), at=3)
    out = world.tells(alert(), at=8.1)
    assert Why.ALERT_REFIRED in words(out)
    assert Why.INCIDENT_REOPENED in words(out)
    assert out.look_again == []
    assert (world.head.generation, world.head.firing, world.head.resolved) == (2, 1, 0)


def test_late_window_counts_from_the_later_of_end_and_receipt() -> None:
    """The window runs from when the resolve was received, where that is later than its end."""
    world = World()
    world.tells(alert())
    world.tells(alert(end=3), at=20)
    assert words(world.tells(alert(), at=24)) == {Why.ALERT_STALE}


def test_newer_start_refires_at_once_in_an_open_incident() -> None:
    """A newer start after a resolve moves the alert back from resolved to firing."""
    world = World()
    world.tells(alert("a"), alert("b"))
    world.tells(alert("a", end=1), at=1)
    out = world.tells(alert("a", start=2), at=2)
    assert Why.ALERT_REFIRED in words(out)
    assert (world.head.generation, world.head.firing, world.head.resolved) == (1, 2, 0)


def test_resolve_before_firing_leaves_a_tombstone() -> None:
    """A resolve whose firing was never seen opens nothing, stops the late firing, and is forgotten."""
    world = World()
    out = world.tells(alert(end=1), at=1)
    assert Why.RESOLVE_BEFORE_FIRING in words(out)
    assert world.head.state is State.QUIET
    assert out.timers == [Timer(TimerKind.FORGET, 0, after(1) + alerts.TOMBSTONE)]
    assert words(world.tells(alert(), at=2)) == {Why.ALERT_STALE}
    out = world.tells(alert(start=3), at=3)
    assert (world.head.generation, world.head.firing, world.head.resolved) == (1, 1, 0)
    assert Timer(TimerKind.FORGET, 0, None) in out.timers
    assert world.seen.past == {}


def test_tombstone_in_an_open_incident_is_unseen() -> None:
    """A resolve of an unknown alert in an open incident is kept without touching the head."""
    world = World()
    world.tells(alert("a"))
    out = world.tells(alert("b", end=1), at=1)
    assert out.incident is None
    assert list(out.members) == ["am:b"]
    assert out.timers == []


def test_empty_delivery_to_an_unknown_group_writes_nothing() -> None:
    """No alerts, no head."""
    out = World().does(told())
    assert (out.incident, out.members, out.timers) == (None, {}, [])


def test_fired_and_resolved_in_one_delivery() -> None:
    """What begins and ends inside one delivery opens and closes, and nobody is paged."""
    world = World(rulebook(wait=30))
    out = world.tells(alert(), alert(end=1), at=1)
    assert {Why.INCIDENT_OPENED, Why.INCIDENT_RESOLVED} <= words(out)
    assert world.head.state is State.RESOLVED
    assert world.head.destinations == {}
    assert Timer(TimerKind.NOTIFY, 1, None) in out.timers


def test_generations_are_kept_in_the_past_and_bounded() -> None:
    """Earlier generations stay readable; the oldest go, except those with something to deliver."""
    world = World()
    for n in range(10):
        world.tells(alert(start=n * 20), at=n * 20)
        if n != 0:  # generation 1 stays undelivered
            world.delivers_all()
        else:
            begun = msgspec.structs.replace(world.target(), begun=True)
            head = msgspec.structs.replace(world.head, destinations={PAGE: begun})
            world.seen = with_head(world.seen, head)
        world.tells(alert(start=n * 20, end=n * 20 + 1), at=n * 20 + 1)
        if n != 0:
            world.delivers_all()
    assert world.head.generation == 10
    assert 1 in world.seen.past
    assert world.seen.past[1].due
    assert 2 not in world.seen.past
    assert set(range(10 - desk.KEEP_PAST, 10)) <= set(world.seen.past)
    assert len(world.seen.past) <= desk.KEEP_PAST + 2


def test_severity_rise_pages_again_and_takes_back_the_acknowledgement() -> None:
    """Who acknowledged a warning has not acknowledged a critical."""
    world = World()
    world.tells(alert("a"))
    world.delivers_all()
    world.commands(CommandKind.ACKNOWLEDGE)
    world.delivers_all()
    out = world.tells(alert("b", severity="critical"), at=2)
    assert Why.SEVERITY_ROSE in words(out)
    assert world.head.state is State.TRIGGERED
    assert (world.head.acknowledged_at, world.head.acknowledged_by) == (None, "")
    assert world.head.severity is Severity.CRITICAL
    assert world.target().want is Want.TRIGGERED
    assert world.target().due


def test_severity_rise_while_triggered_is_louder() -> None:
    """A risen severity moves the page's wish although the state stays; a fall does not."""
    world = World()
    world.tells(alert("a"))
    world.delivers_all()
    world.tells(alert("b", severity="critical"), at=2)
    assert world.target().want_version == 2
    world.delivers_all()
    world.tells(alert("b", severity="critical", end=3), at=3)
    assert world.head.severity is Severity.CRITICAL
    assert world.head.by_severity == {"warning": 1}
    assert not world.target().due


def test_group_wait_holds_the_first_message_back() -> None:
    """With a group_wait nobody is told before the timer, and then everybody once."""
    world = World(rulebook(wait=30))
    out = world.tells(alert("a"))
    assert world.head.state is State.WAITING
    assert world.head.destinations == {}
    assert Timer(TimerKind.NOTIFY, 1, after(0.5)) in out.timers
    world.tells(alert("b"), at=0.2)
    assert world.head.destinations == {}
    assert world.wakes(TimerKind.NOTIFY, at=0.5, generation=2).incident is None
    out = world.wakes(TimerKind.NOTIFY, at=0.5)
    assert Why.INCIDENT_NOTIFIED in words(out)
    assert world.target().want is Want.TRIGGERED
    assert world.wakes(TimerKind.NOTIFY, at=0.6).incident is None


def test_resolved_while_waiting_tells_nobody() -> None:
    """An incident over before its wait was never told, so it needs no end."""
    world = World(rulebook(wait=30))
    world.tells(alert())
    world.tells(alert(end=0.1), at=0.1)
    assert world.head.state is State.RESOLVED
    assert not world.head.due


def test_unknown_route_still_reaches_the_root_receiver() -> None:
    """A group whose route went with the old rules is told to the root's receiver, without a wait."""
    world = World(rulebook(wait=30))
    world.does(told(alert(), route="root/gone"))
    assert (world.head.receiver, world.head.state) == ("ops", State.TRIGGERED)


@pytest.mark.parametrize(("targets", "receivers"), [(False, True), (True, False)])
def test_nobody_to_tell_is_said(targets: bool, receivers: bool) -> None:
    """A receiver without targets, or none at all, leaves a reason and no destinations."""
    world = World(rulebook(targets=targets, receivers=receivers))
    assert Why.NOBODY_TO_TELL in words(world.tells(alert()))
    assert world.head.destinations == {}


def test_truncated_delivery_is_told_once() -> None:
    """Left-out alerts are said on the timeline once per number."""
    world = World()
    world.does(told(alert(), truncated=3))
    assert world.head.truncated == 3
    assert world.does(told(alert(), truncated=3, at=1)).timeline == []
    out = world.does(told(alert(), truncated=4, at=2))
    assert Why.PAYLOAD_TRUNCATED in words(out)
    assert world.head.truncated == 4


def test_pruning_bounds_a_long_lived_group() -> None:
    """Old resolved members beyond the bound are dropped, the newest half kept, firing ones never."""
    world = World()
    pods = [f"p{i}" for i in range(alerts.KEEP_RESOLVED + 1)]
    world.tells(alert("stays"), *[alert(p) for p in pods])
    world.tells(*[alert(p, end=1) for p in pods], at=1)
    assert len(world.seen.members) == len(pods) + 1  # too young to drop
    out = world.tells(alert("new", start=90), at=90)
    dropped = [k for k, m in out.members.items() if m is None]
    assert len(dropped) == len(pods) - alerts.KEEP_RESOLVED // 2
    assert "am:stays" in world.seen.members


def test_pruning_bounds_members_of_earlier_generations() -> None:
    """A group that opens and closes for weeks with ever new pods stays bounded too."""
    seen = Snapshot()
    world = World()
    world.tells(alert())
    world.tells(alert(end=1), at=1)
    many = {
        f"am:p{i}": Member(alert(f"p{i}", end=1), generation=1, seen_at=after(1))
        for i in range(alerts.KEEP_RESOLVED + 10)
    }
    seen = Snapshot(world.head, {**world.seen.members, **many})
    world = World(seen=seen)
    world.tells(alert("new", start=200), at=200)
    assert len(world.seen.members) <= alerts.KEEP_RESOLVED // 2 + 1


@pytest.mark.parametrize(
    ("labels", "group", "want"),
    [
        ({"alertname": "A"}, {}, "A"),
        ({}, {"alertname": "B"}, "B"),
        ({}, {"z": "1", "a": "2"}, "a=2, z=1"),
        ({}, {}, "alerts"),
        ({"alertname": "x" * 500}, {}, "x" * 200),
    ],
)
def test_title(labels: dict[str, str], group: dict[str, str], want: str) -> None:
    """The title is the common alertname, else the group's labels, bounded."""
    assert alerts.title(labels, group) == want


# commands


def test_acknowledge_once() -> None:
    """An acknowledgement is recorded with its person; a second one is ignored."""
    world = World()
    world.tells(alert())
    world.delivers_all()
    world.commands(CommandKind.ACKNOWLEDGE)
    assert (world.head.state, world.head.acknowledged_by) == (State.ACKNOWLEDGED, "ann")
    assert world.target().want is Want.ACKNOWLEDGED
    assert words(world.commands(CommandKind.ACKNOWLEDGE, at=2)) == {Why.COMMAND_IGNORED}


def test_acknowledged_while_waiting_never_pages() -> None:
    """What somebody has taken before anyone was paged needs no page, but the chat is told."""
    world = World(rulebook(wait=30))
    world.tells(alert())
    world.commands(CommandKind.ACKNOWLEDGE, at=0.1)
    assert not world.target(PAGE).due
    assert world.target(CHAT).want is Want.ACKNOWLEDGED
    assert world.wakes(TimerKind.NOTIFY).incident is None
    world.tells(alert("b", severity="critical"), at=2)
    assert world.target(PAGE).want is Want.TRIGGERED
    assert world.target(PAGE).due


def test_resolve_by_hand_and_again() -> None:
    """A person's resolve closes with its name; a second one is ignored."""
    world = World()
    world.tells(alert())
    out = world.commands(CommandKind.RESOLVE)
    assert Why.RESOLVED_BY_HAND in words(out)
    assert (world.head.state, world.head.resolved_by) == (State.RESOLVED, "ann")
    assert words(world.commands(CommandKind.RESOLVE, at=2)) == {Why.COMMAND_IGNORED}
    assert words(world.commands(CommandKind.ACKNOWLEDGE, at=2)) == {Why.COMMAND_IGNORED}


def test_what_fires_on_after_a_resolve_by_hand_stays_closed() -> None:
    """Repeats and the end of what a person closed neither reopen nor change the counts."""
    world = World()
    world.tells(alert())
    world.commands(CommandKind.RESOLVE)
    world.tells(alert(), at=2)
    out = world.tells(alert(end=3), at=3)
    assert out.incident is None
    assert world.head.generation == 1


def test_new_start_after_a_resolve_by_hand_opens_again() -> None:
    """A thing closed by hand that began anew (its end was never told) is a new incident, not silence."""
    world = World()
    world.tells(alert())
    world.commands(CommandKind.RESOLVE)
    out = world.tells(alert(start=30), at=30)
    assert Why.ALERT_REFIRED in words(out)
    assert (world.head.generation, world.head.state, world.head.firing) == (2, State.TRIGGERED, 1)


def test_command_for_another_generation_is_unknown() -> None:
    """A command names its generation; any other changes nothing."""
    world = World()
    assert words(world.commands(CommandKind.RESOLVE)) == {Why.UNKNOWN_INCIDENT}
    world.tells(alert())
    out = world.commands(CommandKind.RESOLVE, generation=2)
    assert words(out) == {Why.UNKNOWN_INCIDENT}
    assert out.incident is None


# wake-ups


def test_forget_takes_only_what_is_closed() -> None:
    """FORGET deletes a resolved or quiet group, never an open one, and is nothing for an unknown one."""
    world = World()
    assert not world.wakes(TimerKind.FORGET, generation=0).forget
    world.tells(alert())
    assert not world.wakes(TimerKind.FORGET, generation=0).forget
    world.tells(alert(end=1), at=1)
    assert world.wakes(TimerKind.FORGET, generation=0).forget
    assert world.seen.incident is None


# destinations


def test_resolve_of_the_untold_sends_nothing() -> None:
    """After an outage the present is sent, not the past: an untold page needs no end."""
    world = World()
    world.tells(alert())
    out = world.tells(alert(end=1), at=1)
    assert Why.DELIVERY_UNNEEDED in words(out)
    assert not world.head.due


@pytest.mark.parametrize("mark", ["begun", "doubt"])
def test_resolve_of_the_doubtful_is_sent(mark: str) -> None:
    """A page that may have been taken must be resolved."""
    world = World()
    world.tells(alert())
    changed = msgspec.structs.replace(world.target(), **{mark: True})
    head = msgspec.structs.replace(world.head, destinations={PAGE: changed})
    world.seen = with_head(world.seen, head)
    world.tells(alert(end=1), at=1)
    assert world.target().want is Want.RESOLVED
    assert world.target().due


def test_dead_destination_is_tried_again_only_for_another_state() -> None:
    """A dead chat stays dead while the state stays, and gets a new life, with new patience, at the next."""
    world = World()
    world.tells(alert("a"))
    dead = msgspec.structs.replace(
        world.target(CHAT), dead=True, have=Want.TRIGGERED, have_version=1, failing_since=after(-9999)
    )
    head = msgspec.structs.replace(world.head, destinations={CHAT: dead, PAGE: world.target(PAGE)})
    world.seen = with_head(world.seen, head)
    world.tells(alert("b"), at=1)
    assert world.target(CHAT).dead
    world.commands(CommandKind.ACKNOWLEDGE)
    assert not world.target(CHAT).dead
    assert world.target(CHAT).failing_since is None


# a deploy told late


def test_late_deploy_gives_an_open_incident_its_suspect() -> None:
    """A deploy told after the alert is found, told louder once, and not again."""
    world = World()
    world.tells(alert())
    world.delivers_all()
    seen = world.seen
    world.seen = Snapshot(seen.incident, seen.members, ledgers=ledgers(deploy(-5)))
    out = world.does(DeployNoticed("shop", "n1"), 2)
    assert Why.SUSPECT_FOUND in words(out)
    assert world.head.suspects[0].deploy_id == "prod/1.0/1"
    assert world.target().due
    out = world.does(DeployNoticed("shop", "n2"), 2)
    assert (out.incident, out.why) == (None, [])


def test_cleared_deploy_is_shown_but_not_told_louder() -> None:
    """A deploy after the onset is no news for a pager."""
    world = World()
    world.tells(alert())
    world.delivers_all()
    seen = world.seen
    world.seen = Snapshot(seen.incident, seen.members, ledgers=ledgers(deploy(10)))
    world.does(DeployNoticed("shop", "n1"), 12)
    assert world.head.suspects[0].score < 0
    assert not world.target(PAGE).due
    assert world.target(CHAT).due


@pytest.mark.parametrize("service", ["other", "db"])
def test_notice_of_another_service(service: str) -> None:
    """Only the incident's own service or a dependency makes it look again."""
    world = World()
    world.tells(alert())
    seen = world.seen
    world.seen = Snapshot(seen.incident, seen.members, ledgers=ledgers(deploy(-5, service="db")))
    out = world.does(DeployNoticed(service, "n"), 2)
    assert (out.incident is not None) is (service == "db")


def test_notice_without_an_open_incident_is_nothing() -> None:
    """A closed, unknown or service-less incident does not look again."""
    world = World()
    assert world.does(DeployNoticed("shop", "n"), 2).incident is None
    world.tells(alert(service=""))
    assert world.head.service == ""
    assert world.does(DeployNoticed("shop", "n"), 2).incident is None


def test_services_needed() -> None:
    """Ledgers are asked for only where an incident may open or is told of a deploy."""
    world = World()
    event = told(alert())
    assert engine.services_needed(event, world.seen, world.book) == ["shop", "db"]
    assert engine.services_needed(told(alert(end=1)), world.seen, world.book) == []
    assert engine.services_needed(told(alert(service="x")), world.seen, world.book) == ["x"]
    world.does(event)
    assert engine.services_needed(event, world.seen, world.book) == []
    assert engine.services_needed(DeployNoticed("db", "n"), world.seen, world.book) == ["shop", "db"]


def test_reasons_text_leaves_out_the_silent() -> None:
    """Only reasons with a sentence are shown, and the head keeps the last five."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(-1, DeployPhase.LIVE))))
    out = world.tells(alert())
    out.because(Why.ALERT_REPEATED)
    assert all(reasons_text(out.why))
    assert 0 < len(world.head.why) <= 5
    assert timedelta(minutes=5) == alerts.LATE_FIRING
    assert keys.split_incident_id(world.head.id) == (GROUP, 1)
