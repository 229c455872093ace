"""Alerts into incidents: dedupe, grouping, generations, firing and resolved per alert.

An alert's version is (startsAt, status, endsAt when resolved, what people see); an
older version never overwrites a newer one. One exception is weighed in
docs/adr/0006: the same startsAt firing again after a resolve is a late copy from a
high-availability pair within :data:`LATE_FIRING`, and a real re-fire after it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from router.decide import destinations, suspects
from router.decide.decision import Decision, Snapshot, Timer
from router.model.events import Alert, GroupAlerts, TimerKind
from router.model.incidents import Incident, Member, State
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from datetime import datetime

    from router.rulebook.book import Route, Rulebook

#: Alertmanager's default group_interval: how long a failing HA peer goes on trying its old flush.
LATE_FIRING = timedelta(minutes=5)
#: A tombstone (a resolve whose firing was never seen) only waits for its late firing.
TOMBSTONE = timedelta(hours=1)
#: Resolved members kept inside an open incident; pods come and go for weeks.
KEEP_RESOLVED = 500
#: Earlier generations kept to be read; those with something still to deliver are kept besides.
KEEP_PAST = 5
_BOUNDED_TEXT = 200


class Desk:
    """The incident under work: counters and sets that change alert by alert, frozen once at the end."""

    def __init__(self, event: GroupAlerts, seen: Snapshot, book: Rulebook, now: datetime) -> None:
        self.event, self.seen, self.book, self.now = event, seen, book, now
        self.out = Decision()
        self.route = book.route_by_id(event.route)
        head = seen.incident or _quiet(event, self.route, book)
        self.head = head
        self.by_severity = dict(head.by_severity)
        self.firing, self.resolved = head.firing, head.resolved
        self.labels, self.annotations = head.labels, head.annotations
        self.severity, self.starts_at = head.severity, head.starts_at
        self.opened = self.visible = self.rose = False
        # Where nothing ever fired, each tombstone asks anew for its hour.
        self.touched = head.state is State.QUIET
        self.added = self.ended = 0

    def member(self, key: str) -> Member | None:
        """Return the member as it stands now, changes of this event included."""
        changed = self.out.members.get(key)
        return changed if changed is not None else self.seen.members.get(key)

    def put(self, alert: Alert, generation: int) -> None:
        """Write a member."""
        self.out.members[alert.key] = Member(
            alert=alert, generation=generation, seen_at=self.event.received_at
        )

    def counts(self, member: Member) -> bool:
        """True where the member is counted in the incident that is open now."""
        return member.generation == self.head.generation and self.head.state.open

    def open(self, alert: Alert) -> None:
        """Begin the next generation."""
        old, book = self.head, self.book
        if old.generation:
            self.out.past[old.generation] = old
            for number in sorted(self.seen.past)[: -(KEEP_PAST - 1)]:  # the one just added counts too
                if not self.seen.past[number].due:
                    self.out.past[number] = None
        receiver = self.route.receiver if self.route else old.receiver
        self.head = Incident(
            group=old.group,
            generation=old.generation + 1,
            route=self.event.route,
            receiver=receiver,
            group_labels=self.event.labels,
            state=State.WAITING,
            service=book.service(alert.labels),
            environment=book.environment(alert.labels),
            external_url=self.event.external_url,
            opened_at=self.now,
        )
        self.by_severity, self.firing, self.resolved = {}, 0, 0
        self.labels, self.annotations = alert.labels, alert.annotations
        self.severity, self.starts_at = book.severity(alert.labels), alert.starts_at
        self.opened = self.visible = True

    def fires(self, alert: Alert, member: Member | None) -> None:
        """Count a firing alert in, opening an incident where none is open."""
        if not self.head.state.open:
            self.open(alert)
        elif member is not None and member.generation == self.head.generation:
            self.resolved = max(0, self.resolved - (not member.alert.firing))
        severity = self.book.severity(alert.labels)
        self.firing += 1
        self.by_severity[severity] = self.by_severity.get(severity, 0) + 1
        if severity.rank < self.severity.rank:
            self.severity, self.rose = severity, True
        self.labels = _common(self.labels, alert.labels)
        self.annotations = _common(self.annotations, alert.annotations)
        if self.starts_at is None or alert.starts_at < self.starts_at:
            self.starts_at = alert.starts_at
        self.visible = True
        self.added += 1
        self.put(alert, self.head.generation)

    def ends(self, alert: Alert, member: Member) -> None:
        """Count a firing member out."""
        if self.counts(member):
            self.uncount(member.alert)
            self.resolved += 1
            self.ended += 1
            self.visible = True
        self.put(alert, member.generation)

    def uncount(self, alert: Alert) -> None:
        """Take a firing member out of the counts."""
        severity = self.book.severity(alert.labels)
        left = self.by_severity.get(severity, 0) - 1
        if left > 0:
            self.by_severity[severity] = left
        else:
            self.by_severity.pop(severity, None)
        self.firing = max(0, self.firing - 1)


def decide(event: GroupAlerts, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what these alerts change in their group."""
    desk = Desk(event, seen, book, now)
    for alert in event.alerts:
        _judge(desk, alert)
    if event.truncated and event.truncated != desk.head.truncated and desk.head.state.open:
        desk.visible = True
        text = f"the sender left out {event.truncated} alerts (max_alerts)"
        desk.out.tell(now, Why.PAYLOAD_TRUNCATED, text, generation=desk.head.generation)
    if desk.visible or (desk.touched and desk.out.members):
        _finish(desk)
    return desk.out


def _judge(desk: Desk, alert: Alert) -> None:
    member = desk.member(alert.key)
    if member is None:
        if alert.firing:
            desk.fires(alert, None)
        else:
            desk.put(alert, 0)
            desk.out.because(Why.RESOLVE_BEFORE_FIRING)
        return
    old = member.alert
    if alert.starts_at < old.starts_at:
        _judge_older(desk, alert, member)
    elif alert.firing:
        _judge_firing(desk, alert, member)
    elif old.firing:
        desk.ends(alert, member)
    elif alert.starts_at > old.starts_at or (alert.ends_at or alert.starts_at) > (
        old.ends_at or old.starts_at
    ):
        desk.put(alert, member.generation)
        desk.out.because(Why.ALERT_CHANGED)
    else:
        desk.out.because(Why.ALERT_REPEATED)


def _judge_older(desk: Desk, alert: Alert, member: Member) -> None:
    """Judge a version that began before the one we know: stale, but for the end of the same occurrence.

    Alertmanager merges what overlaps and keeps the earliest start (two Prometheus that saw it at
    different times), so a resolve may come with an earlier start than its firing did. It is the same
    occurrence where it ended after the start we know; a late copy of an earlier one ended before.
    """
    old = member.alert
    if old.firing and not alert.firing and alert.ends_at is not None and alert.ends_at > old.starts_at:
        desk.ends(msgspec.structs.replace(alert, starts_at=old.starts_at), member)
    else:
        desk.out.because(Why.ALERT_STALE)


def _judge_firing(desk: Desk, alert: Alert, member: Member) -> None:
    old = member.alert
    if not old.firing:
        again = alert.starts_at > old.starts_at
        if not again:
            since = max(old.ends_at or old.starts_at, member.seen_at or old.starts_at)
            again = desk.event.received_at - since > LATE_FIRING
        if again:
            desk.fires(alert, member)
            desk.out.because(Why.ALERT_REFIRED)
        else:
            desk.out.because(Why.ALERT_STALE)
            # If it is no late copy after all, its sender repeats it: that repeat must not stop at the door.
            desk.out.look_again.append(alert.key)
    elif alert == old:
        desk.out.because(Why.ALERT_REPEATED)
    elif alert.starts_at > old.starts_at and not desk.counts(member):
        # Its incident was resolved by hand, and it began anew without its end being told.
        desk.fires(alert, member)
        desk.out.because(Why.ALERT_REFIRED)
    else:
        # A new text or a new start of a thing still firing: people see it, nobody is paged anew.
        desk.put(alert, member.generation)
        desk.out.because(Why.ALERT_CHANGED)
        if alert.annotations != old.annotations and desk.firing == 1 and desk.counts(member):
            desk.annotations = alert.annotations
        desk.visible = desk.visible or alert.starts_at > old.starts_at


def _finish(desk: Desk) -> None:
    """Settle state, suspects and destinations, and freeze the head."""
    head, out, now = desk.head, desk.out, desk.now
    if not desk.visible:  # tombstones in a group that never fired
        out.incident = head
        out.timers.append(Timer(TimerKind.FORGET, head.generation, now + TOMBSTONE))
        return
    head = msgspec.structs.replace(
        head,
        firing=desk.firing,
        resolved=desk.resolved,
        by_severity=desk.by_severity,
        labels=desk.labels,
        annotations=desk.annotations,
        severity=desk.severity,
        starts_at=desk.starts_at,
        truncated=desk.event.truncated,
        updated_at=now,
        revision=head.revision + 1,
        title=title(desk.labels, desk.event.labels),
        team=desk.book.team(desk.labels, head.service),
        book=desk.book.version,
    )
    if desk.opened:
        head = _opened(desk, head)
    elif head.state.open and desk.firing == 0:
        head = _ended(desk, head)
    else:
        head = _moved(desk, head)
    prune(desk, out)
    head = destinations.refresh(head, desk.book, out, louder=desk.rose and not desk.opened)
    out.incident = msgspec.structs.replace(
        head, why=tuple(Reason(r.why, r.text[:_BOUNDED_TEXT]) for r in out.why[-5:] if r.text)
    )


def _opened(desk: Desk, head: Incident) -> Incident:
    out, now = desk.out, desk.now
    why = Why.INCIDENT_REOPENED if head.generation > 1 else Why.INCIDENT_OPENED
    text = f"{head.title}: {desk.firing} firing"
    out.tell(now, why, text, generation=head.generation)
    head = suspects.attach(head, desk.seen.ledgers, desk.book, out, now)
    out.timers.append(Timer(TimerKind.FORGET, 0, None))
    wait = desk.route.group_wait if desk.route else timedelta(0)
    if desk.firing == 0:  # fired and resolved inside one delivery
        return _ended(desk, head)
    if wait > timedelta(0):
        out.timers.append(Timer(TimerKind.NOTIFY, head.generation, now + wait))
        out.because(Why.INCIDENT_WAITING, f"told in {wait.total_seconds():g} s (group_wait)")
        return head
    return msgspec.structs.replace(head, state=State.TRIGGERED)


def _ended(desk: Desk, head: Incident) -> Incident:
    text, why = "all alerts are resolved", Why.INCIDENT_RESOLVED
    return close(head, desk.out, desk.now, desk.book.retention, by="", why=why, text=text)


def _moved(desk: Desk, head: Incident) -> Incident:
    out, now = desk.out, desk.now
    parts = [f"{desk.added} more firing"] if desk.added else []
    parts += [f"{desk.ended} resolved"] if desk.ended else []
    if parts:
        text = ", ".join(parts) + f" ({desk.firing} firing now)"
        out.tell(now, Why.ALERT_NEW if desk.added else Why.ALERT_RESOLVED, text, generation=head.generation)
    if desk.rose:
        out.tell(now, Why.SEVERITY_ROSE, f"severity rose to {desk.severity}", generation=head.generation)
        if head.state is State.ACKNOWLEDGED:
            # Who acknowledged a warning has not acknowledged a critical.
            head = msgspec.structs.replace(
                head, state=State.TRIGGERED, acknowledged_at=None, acknowledged_by=""
            )
    return head


def close(
    head: Incident, out: Decision, now: datetime, retention: timedelta, *, by: str, why: Why, text: str
) -> Incident:
    """Return the head resolved, with its timers set; it is forgotten after ``retention``."""
    out.tell(now, why, text, by=by, generation=head.generation)
    out.timers.append(Timer(TimerKind.NOTIFY, head.generation, None))
    out.timers.append(Timer(TimerKind.FORGET, 0, now + retention))
    return msgspec.structs.replace(
        head, state=State.RESOLVED, resolved_at=now, resolved_by=by, updated_at=now
    )


def prune(desk: Desk, out: Decision) -> None:
    """Drop the oldest resolved members of a long-lived group, so that it stays bounded."""
    ended_at_most = len(desk.seen.members) - desk.firing + desk.added  # earlier generations included
    if ended_at_most <= KEEP_RESOLVED:
        return
    ended = [m for m in desk.seen.members.values() if not m.alert.firing and m.alert.key not in out.members]
    old = [m for m in ended if m.seen_at is None or desk.now - m.seen_at > TOMBSTONE]
    old.sort(key=lambda m: (m.seen_at is not None, m.seen_at or desk.now))
    for member in old[: max(0, len(ended) - KEEP_RESOLVED // 2)]:
        out.members[member.alert.key] = None


def title(labels: dict[str, str], group_labels: dict[str, str]) -> str:
    """Return a short name for people: the common alertname, or the group's labels."""
    name = labels.get("alertname") or group_labels.get("alertname")
    if name:
        return name[:_BOUNDED_TEXT]
    pairs = ", ".join(f"{k}={v}" for k, v in sorted(group_labels.items()))
    return (pairs or "alerts")[:_BOUNDED_TEXT]


def _common(left: dict[str, str], right: dict[str, str]) -> dict[str, str]:
    if left == right:
        return left
    return {k: v for k, v in left.items() if right.get(k) == v}


def _quiet(event: GroupAlerts, route: Route | None, book: Rulebook) -> Incident:
    return Incident(
        group=event.group,
        generation=0,
        route=event.route,
        receiver=route.receiver if route else book.root.receiver,
        group_labels=event.labels,
        state=State.QUIET,
    )
