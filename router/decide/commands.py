"""What wake-ups bring, and a second look when a deploy is told late."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from router.decide import reviewing, suspects, telling
from router.decide.decision import Decision, Snapshot, Timer
from router.model.events import DeployNoticed, TimerDue, TimerKind
from router.model.incidents import State

if TYPE_CHECKING:
    from datetime import datetime

    from router.model.incidents import Incident
    from router.rulebook.book import Rulebook


_FORGET_AGAIN = timedelta(hours=1)


def timer(event: TimerDue, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what a wake-up changes: it is time to look at the incident, or the group may be forgotten."""
    out = Decision()
    head = seen.incident
    if head is None:
        return out
    if event.kind is TimerKind.FORGET:
        if head.due or any(p.due for p in seen.past.values()):
            # PagerDuty is away for longer than incidents are kept: what is open there must still be closed.
            out.timers.append(Timer(TimerKind.FORGET, event.generation, now + _FORGET_AGAIN))
        elif not head.state.open:
            out.forget = True
            out.inhibits = {(key, m.alert.key): None for m in seen.members.values() for key in m.inhibits}
        return out
    if not head.state.open or head.generation != event.generation:
        return out
    before = head
    head = reviewing.remuted(head, seen, book, out, now)
    head = msgspec.structs.replace(head, revision=head.revision + (head.state is State.WAITING))
    head, changed, moved = _assessed(head, seen, book, out, now)
    head = telling.advance(head, seen, book, out, now, at_once=changed, louder=moved)
    if head != before:
        out.incident = msgspec.structs.replace(head, book=book.version)
    return out


def look_again(event: DeployNoticed, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return new suspects for an open incident whose service, or a dependency of it, was deployed."""
    out = Decision()
    head = seen.incident
    if head is None or not head.state.open or not head.service:
        return out
    if event.service != head.service and event.service not in book.callees(head.service):
        return out
    before = head
    head, changed, moved = _judged(head, seen, book, out, now)
    head = telling.advance(head, seen, book, out, now, at_once=changed, louder=moved)
    if msgspec.structs.replace(head, assessed_at=before.assessed_at) == before:
        return Decision()
    out.incident = msgspec.structs.replace(head, book=book.version)
    return out


def _assessed(
    head: Incident, seen: Snapshot, book: Rulebook, out: Decision, now: datetime
) -> tuple[Incident, bool, bool]:
    """Return the head with its suspects judged anew where it is time, and what :func:`_judged` says of it."""
    at = suspects.again_at(head)
    if at is None or now < at:
        return head, False, False
    return _judged(head, seen, book, out, now)


def _judged(
    head: Incident, seen: Snapshot, book: Rulebook, out: Decision, now: datetime
) -> tuple[Incident, bool, bool]:
    """Return the head with its suspects judged anew, whether people see a difference, and hear of it.

    A page that names a deploy which is cleared by now must not go on naming it; a cleared candidate is
    shown, but pages nobody.
    """
    before, first = head.suspects, suspects.prime(head.suspects)
    head = suspects.attach(head, seen, book, out, now)
    changed = not suspects.alike(head.suspects, before)
    top = suspects.prime(head.suspects)
    if changed:
        head = msgspec.structs.replace(head, revision=head.revision + 1, updated_at=now)
    return head, changed, (first.key if first else "") != (top.key if top else "")
