"""What people ask of an incident: take it, give it back, end it, put it off, hand it on, remark, merge.

A command for an older generation, or one that changes nothing, changes nothing and says so. Whoever asked
stands on the timeline, with where it was asked.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router.decide import destinations, suspects, telling
from router.decide.decision import Decision, Snapshot
from router.kit.text import line, span
from router.model.commands import Command, CommandKind
from router.model.incidents import Entry, Incident, State, Verdict
from router.model.keys import split_incident_id
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from router.rulebook.book import Rulebook

#: PagerDuty's own limit of a snooze (REST API, ``duration``).
LONGEST_SNOOZE: Final = timedelta(days=7)
_MAX_NOTE: Final = 1000
#: What changes the state that both sides show.
_STATES: Final = {CommandKind.ACKNOWLEDGE, CommandKind.UNACKNOWLEDGE, CommandKind.RESOLVE}
_TAKABLE: Final = {State.TRIGGERED, State.WAITING}


class _Desk:
    """One command and the incident that it is about."""

    def __init__(self, event: Command, head: Incident, seen: Snapshot, book: Rulebook, now: datetime) -> None:
        self.event, self.seen, self.book, self.now = event, seen, book, now
        self.out = Decision()
        self.head = msgspec.structs.replace(
            head, revision=head.revision + 1, updated_at=now, book=book.version
        )
        self.before = head

    def tell(self, why: Why, text: str) -> None:
        """Add to the timeline who did what, where."""
        event = self.event
        words = f"{text}: {line(event.note, _MAX_NOTE)}" if event.note else text
        self.out.why.append(Reason(why, words[:300]))
        entry = Entry(
            at=self.now, why=why, text=words, by=event.by, generation=self.head.generation, via=event.via
        )
        self.out.timeline.append(entry)

    def ignore(self, text: str) -> Decision:
        """Change nothing, and say why."""
        self.out.because(Why.COMMAND_IGNORED, text)
        return self.out

    def done(self, *, at_once: bool = True, louder: bool = False, **changes: Any) -> Decision:
        """Freeze the head, and let people be told."""
        head = msgspec.structs.replace(self.head, why=tuple(self.out.why[-5:]), **changes)
        head = telling.advance(head, self.seen, self.book, self.out, self.now, at_once=at_once, louder=louder)
        self.out.incident = self.unechoed(head)
        return self.out

    def unechoed(self, head: Incident) -> Incident:
        """Return the head; where it was taken, given back or ended at a vendor, that one knows."""
        if self.event.kind not in _STATES:
            return head
        return destinations.known_at(head, self.event.via, self.book)


def decide(event: Command, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what a person's command changes."""
    head = seen.incident
    if head is None or head.generation != event.generation:
        out = Decision()
        out.because(Why.UNKNOWN_INCIDENT, "no such incident, or a newer one has taken its place")
        return out
    desk = _Desk(event, head, seen, book, now)
    if event.kind is CommandKind.NOTE:
        return _note(desk)
    if event.kind in {CommandKind.CONFIRM, CommandKind.REFUTE}:
        return _judge(desk)
    if not head.state.open:
        return desk.ignore(f"already {head.state}")
    return _ACTS[event.kind](desk)


def _acknowledge(desk: _Desk) -> Decision:
    head = desk.head
    # Who acknowledges what is put off takes it now: nobody is called back.
    put_off = head.state is State.ACKNOWLEDGED and head.snoozed_until is not None
    if head.state not in _TAKABLE and not put_off:
        return desk.ignore(f"already {head.state}")
    desk.tell(Why.ACKNOWLEDGED, f"acknowledged by {desk.event.by}")
    return _taken(desk, until=None)


def _snooze(desk: _Desk) -> Decision:
    until, head = desk.event.until, desk.head
    if until is None or until <= desk.now:
        return desk.ignore("the time until which it is put off is over")
    if head.state not in {*_TAKABLE, State.ACKNOWLEDGED}:
        return desk.ignore(f"it is {head.state}: nobody would be told anyway")
    until = min(until, desk.now + LONGEST_SNOOZE)
    for_ = span((until - desk.event.at).total_seconds())  # as it was asked, not how long we took
    desk.tell(Why.SNOOZED, f"put off for {for_} by {desk.event.by}, until {until:%Y-%m-%d %H:%M} UTC")
    return _taken(desk, until=until)


def _taken(desk: _Desk, until: datetime | None) -> Decision:
    event = desk.event
    return desk.done(
        state=State.ACKNOWLEDGED,
        acknowledged_at=desk.now,
        acknowledged_by=event.by,
        acknowledged_id=event.by_id,
        acknowledged_via=event.via,
        snoozed_until=until,
        wait_until=None,
        paged_at=None,
    )


def _unacknowledge(desk: _Desk) -> Decision:
    if desk.head.state is not State.ACKNOWLEDGED:
        return desk.ignore(f"it is {desk.head.state}, not acknowledged")
    desk.tell(Why.UNACKNOWLEDGED, f"given back by {desk.event.by}")
    # Where PagerDuty gave it back (its acknowledgement timed out) it has called people already.
    return desk.done(louder=desk.event.via != "pagerduty", **UNTAKEN, state=State.TRIGGERED)


def _resolve(desk: _Desk) -> Decision:
    event = desk.event
    desk.tell(Why.RESOLVED_BY_HAND, f"resolved by {event.by}, {desk.head.firing} still firing")
    head = msgspec.structs.replace(
        desk.head,
        resolved_id=event.by_id,
        resolved_via=event.via,
        snoozed_until=None,
        why=tuple(desk.out.why[-5:]),
    )
    desk.out.incident = desk.unechoed(telling.closed(head, desk.out, desk.now, desk.book, by=event.by))
    return desk.out


def _assign(desk: _Desk) -> Decision:
    to = line(desk.event.to, 100)
    if not to or to == desk.head.assigned_to:
        return desk.ignore(f"it is {to}'s already" if to else "nobody was named")
    desk.tell(Why.ASSIGNED, f"given to {to} by {desk.event.by}")
    return desk.done(assigned_to=to)


def _note(desk: _Desk) -> Decision:
    """A remark may be made on what is over, too: that is when the story is told."""
    note = desk.event.note.strip()
    if not note:
        return desk.ignore("the note is empty")
    desk.event = msgspec.structs.replace(desk.event, note="")
    desk.tell(Why.NOTED, f"{desk.event.by}: {line(note, _MAX_NOTE)}")
    if not desk.head.state.open:
        desk.out.incident = desk.head
        return desk.out
    return desk.done()


def _judge(desk: _Desk) -> Decision:
    """A person's word on a suspected deploy; what is over may be judged, too: that is when one knows."""
    head, event = desk.head, desk.event
    top = suspects.prime(head.suspects)
    key = event.to or (top.key if top is not None else "")
    about = next((s for s in head.suspects if s.key == key), None)
    if about is None:
        return desk.ignore(f"{key} is not among its suspects" if key else "no deploy is suspected")
    confirmed = event.kind is CommandKind.CONFIRM
    old = head.verdicts.get(key)
    if old is not None and old.confirmed is confirmed:
        return desk.ignore(f"{about.service} {about.version} is {about.verdict} already, by {old.by}")
    why = Why.DEPLOY_CONFIRMED if confirmed else Why.DEPLOY_REFUTED
    word = "confirmed" if confirmed else "refuted"
    desk.tell(why, f"{about.service} {about.version} {word} as the cause by {event.by}")
    verdicts = {**head.verdicts, key: Verdict(confirmed, event.by)}
    if old is None:  # a word that is taken back says nothing new of how well we guess
        desk.out.judged = (about.probability, confirmed, top is not None and top.key == key)
    changes: dict[str, Any] = {
        "verdicts": verdicts,
        "suspects": suspects.judged(head.suspects, verdicts),
    }
    if head.state.open:
        return desk.done(**changes)
    head = msgspec.structs.replace(head, why=tuple(desk.out.why[-5:]), **changes)
    desk.out.incident = destinations.refresh(head, desk.book, desk.out)
    return desk.out


def _merge(desk: _Desk) -> Decision:
    into, head = desk.event.to, desk.head
    if split_incident_id(into) is None or into == head.id:
        return desk.ignore("an incident is merged into another one, named by its id")
    if head.state is State.MERGED and head.merged_into == into:
        return desk.ignore(f"already merged into {into}")
    desk.tell(Why.MERGED, f"merged into {into} by {desk.event.by}")
    return desk.done(
        state=State.MERGED, merged_into=into, gathered=False, snoozed_until=None, wait_until=None, hold=None
    )


#: What an incident that nobody has taken (any more) does not have.
UNTAKEN: Final[dict[str, Any]] = {
    "acknowledged_at": None,
    "acknowledged_by": "",
    "acknowledged_id": "",
    "acknowledged_via": "",
    "snoozed_until": None,
    "paged_at": None,
}
_ACTS: Final[dict[CommandKind, Callable[[_Desk], Decision]]] = {
    CommandKind.ACKNOWLEDGE: _acknowledge,
    CommandKind.UNACKNOWLEDGE: _unacknowledge,
    CommandKind.RESOLVE: _resolve,
    CommandKind.SNOOZE: _snooze,
    CommandKind.ASSIGN: _assign,
    CommandKind.MERGE: _merge,
}
