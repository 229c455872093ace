"""A second look at a group when what surrounds it has changed: rules, silences, what inhibits.

Everything that follows from members and rules is counted anew, so a group that was decided under older
rules stands as if the rules in force had always been there. An alert that the rules now send elsewhere
is sent there, and leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from router.decide import muting, placing, telling
from router.decide.decision import Decision, Snapshot
from router.model.events import AlertBatch, Severity
from router.model.incidents import Incident, Member, State
from router.model.reasons import Why

if TYPE_CHECKING:
    from datetime import datetime

    from router.rulebook.book import Rulebook
    from router.rulebook.tree import Route


def decide(seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what changes; for most groups nothing."""
    out = Decision()
    head = seen.incident
    if head is None or not head.state.open:
        return out
    before = head
    if head.book != book.version:
        head = _under_rules(head, seen, book, out, now)
    head = recounted(head, seen, book, out, now)
    changed = (head.firing, head.by_severity, head.severity) != (
        before.firing,
        before.by_severity,
        before.severity,
    )
    routed = head.receiver != before.receiver
    louder = head.severity.rank < before.severity.rank
    if changed or routed:
        head = msgspec.structs.replace(head, revision=head.revision + 1, updated_at=now)
    head = telling.advance(
        head, seen, book, out, now, changed=changed, louder=louder, at_once=routed and _told(head)
    )
    head = msgspec.structs.replace(head, book=book.version)
    if head != before:
        out.incident = head
    return out


def _told(head: Incident) -> bool:
    return head.state in {State.TRIGGERED, State.ACKNOWLEDGED}


def _under_rules(head: Incident, seen: Snapshot, book: Rulebook, out: Decision, now: datetime) -> Incident:
    """Let alerts go that the rules now send elsewhere, and take the receiver that the route has now."""
    route = book.route_by_id(head.route)
    if head.hold is None or head.group != head.hold.digest:
        for member in seen.members.values():
            if member.alert.firing and member.generation == head.generation:
                _send_on(head, member, book, out, now)
    if route is not None and route.receiver != head.receiver:
        text = f"the rules now tell {route.receiver} instead of {head.receiver}"
        out.tell(now, Why.ALERT_MOVED, text, generation=head.generation)
        head = msgspec.structs.replace(head, receiver=route.receiver)
    return head


def _send_on(head: Incident, member: Member, book: Rulebook, out: Decision, now: datetime) -> None:
    """Send an alert to the groups that the rules name, if this is not one of them any more."""
    alert = member.alert
    placed = placing.grouped(AlertBatch(source="", alerts=[alert]), book, now)
    if any(event.group == head.group for event in placed):
        return
    out.onward += placed
    out.members[alert.key] = None
    out.look_again.append(alert.key)  # should it come back, the door must not know it
    for key in member.inhibits:
        out.inhibits[key, alert.key] = None
    where = ", ".join(event.route for event in placed)
    out.tell(now, Why.ALERT_MOVED, f"an alert moved to {where} with the rules", generation=head.generation)


def recounted(head: Incident, seen: Snapshot, book: Rulebook, out: Decision, now: datetime) -> Incident:
    """Return the head counted anew from its members; what mutes and inhibits is written where it changed."""
    route = book.route_by_id(head.route)
    worst, firing, muted = Severity.NONE, 0, 0
    by_severity: dict[str, int] = {}
    for key, member in seen.members.items():
        if member.generation != head.generation or out.members.get(key, member) is None:
            continue
        severity = book.severity(member.alert.labels, route)
        worst = min(worst, severity, key=lambda s: s.rank)
        if not member.alert.firing:
            continue
        new = _looked_at(member, seen, book, out, now)
        firing += 1
        muted += bool(new.muted)
        by_severity[severity] = by_severity.get(severity, 0) + 1
    return msgspec.structs.replace(
        head,
        firing=firing,
        muted=muted,
        by_severity=by_severity if by_severity != head.by_severity else head.by_severity,
        severity=_worst(head, worst, route),
    )


def _worst(head: Incident, members: Severity, route: Route | None) -> Severity:
    """Members of long ago may be gone: only a route that counts severities otherwise changes the worst."""
    if route is not None and route.severities:
        return members
    return min(head.severity, members, key=lambda s: s.rank)


def _looked_at(member: Member, seen: Snapshot, book: Rulebook, out: Decision, now: datetime) -> Member:
    labels = member.alert.labels
    token = muting.of_alert(labels, book, seen.outlook, now) if muting.concerned(book, seen.outlook) else ""
    keys = muting.inhibits(labels, book) if book.muting.inhibit_rules else {}
    if token == member.muted and tuple(keys) == member.inhibits:
        return member
    key = member.alert.key
    if tuple(keys) != member.inhibits:
        out.inhibits.update({(old, key): None for old in member.inhibits if old not in keys})
        out.inhibits.update({(new, key): target for new, target in keys.items()})
    new = msgspec.structs.replace(member, muted=token, inhibits=tuple(keys))
    out.members[key] = new
    if bool(token) != bool(member.muted):
        out.because(Why.ALERT_MUTED if token else Why.INCIDENT_UNMUTED, token)
    return new


def remuted(head: Incident, seen: Snapshot, book: Rulebook, out: Decision, now: datetime) -> Incident:
    """Return the head with what mutes its alerts looked at anew, before anything is told."""
    if not head.muted and not muting.concerned(book, seen.outlook):
        return head
    return recounted(head, seen, book, out, now)
