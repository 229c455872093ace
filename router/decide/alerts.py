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

from router.decide import acting, destinations, facts, holding, muting, suspects, telling
from router.decide.decision import Decision, Snapshot, Timer
from router.decide.desk import Desk
from router.model.blames import Onset
from router.model.events import Alert, GroupAlerts, TimerKind
from router.model.incidents import Incident, Member, State
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from datetime import datetime

    from router.rulebook.book import Rulebook

#: Alertmanager's default group_interval: how long a failing HA peer goes on trying its old flush.
LATE_FIRING = timedelta(minutes=5)
#: A tombstone (a resolve whose firing was never seen) only waits for its late firing.
TOMBSTONE = timedelta(hours=1)
#: Resolved members kept inside an open incident; pods come and go for weeks.
KEEP_RESOLVED = 500
_BOUNDED_TEXT = 200


def decide(event: GroupAlerts, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what these alerts change in their group."""
    desk = Desk(event, seen, book, now)
    alerts = event.alerts
    if book.muting.inhibit_rules:  # what inhibits is judged before what it may inhibit
        alerts = sorted(alerts, key=lambda a: not muting.inhibits(a.labels, book))
    for alert in alerts:
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
            desk.put(alert, 0, None)
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
        desk.change(alert, member)
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
        desk.change(alert, member)
        desk.out.because(Why.ALERT_CHANGED)
        if alert.annotations != old.annotations and desk.firing == 1 and desk.counts(member):
            desk.annotations = alert.annotations
        desk.visible = desk.visible or alert.starts_at > old.starts_at


def _finish(desk: Desk) -> None:
    """Settle state, suspects and destinations, and freeze the head."""
    head, out, now = desk.head, desk.out, desk.now
    if not desk.visible:  # tombstones in a group that never fired, or an alert whose text alone changed
        if head.state is State.QUIET:
            out.timers.append(Timer(TimerKind.FORGET, head.generation, now + TOMBSTONE))
        out.incident = msgspec.structs.replace(head, muted=desk.muted)
        return
    head = msgspec.structs.replace(
        head,
        firing=desk.firing,
        resolved=desk.resolved,
        muted=desk.muted,
        by_severity=desk.by_severity,
        labels=desk.labels,
        annotations=desk.annotations,
        severity=desk.severity,
        starts_at=desk.starts_at,
        onset=desk.onset,
        ended_at=None if desk.firing else (desk.last_end or head.ended_at),
        truncated=desk.event.truncated,
        updated_at=now,
        revision=head.revision + 1,
        title=_title(desk),
        team=desk.book.team(desk.labels, head.service),
        book=desk.book.version,
    )
    was_held = head.state is State.HELD
    head = _opened(desk, head) if desk.opened else _moved(desk, head)
    if not desk.opened and desk.ended and not head.firing and head.suspects:
        head = suspects.attach(head, desk.seen, desk.book, out, now)  # how long it lasted says a lot
    if head.state.open:
        head = telling.advance(
            head, desk.seen, desk.book, out, now, changed=True, louder=desk.rose and not desk.opened
        )
    else:
        head = destinations.refresh(head, desk.book, out)
    if was_held or head.state is State.HELD:
        _gather(desk, head)
    prune(desk, out)
    out.incident = msgspec.structs.replace(
        head, why=tuple(Reason(r.why, r.text[:_BOUNDED_TEXT]) for r in out.why[-5:] if r.text)
    )


def _opened(desk: Desk, head: Incident) -> Incident:
    out, now = desk.out, desk.now
    why = Why.INCIDENT_REOPENED if head.generation > 1 else Why.INCIDENT_OPENED
    text = f"{head.title}: {desk.firing} firing"
    out.tell(now, why, text, generation=head.generation)
    head = suspects.attach(head, desk.seen, desk.book, out, now)
    if head.service and head.onset is not None:
        out.onset = Onset(head.id, head.service, head.environment, head.alert, head.onset, now)
    out.timers.append(Timer(TimerKind.FORGET, 0, None))
    if facts.flapping(head, desk.book, now):
        text = f"began again {len(head.flips)} times lately; its end will be held back"
        out.tell(now, Why.INCIDENT_FLIPPED, text, generation=head.generation)
    if head.hold is not None or desk.firing == 0:  # a digest; or fired and resolved inside one delivery
        return head
    hold = holding.find(head, desk.labels, desk.route, desk.seen.ledgers, desk.book, now)
    if hold is not None:
        head = msgspec.structs.replace(head, state=State.HELD, hold=hold)
        text = f"held while {hold.service} {hold.version} is being deployed ({hold.rule})"
        out.tell(now, Why.INCIDENT_HELD, text, generation=head.generation)
        return head
    wait = desk.route.group_wait if desk.route else timedelta(0)
    if wait > timedelta(0):
        out.because(Why.INCIDENT_WAITING, f"told in {wait.total_seconds():g} s (group_wait)")
        head = msgspec.structs.replace(head, wait_until=now + wait)
    return head


def _moved(desk: Desk, head: Incident) -> Incident:
    out, now = desk.out, desk.now
    parts = [f"{desk.added} more firing"] if desk.added else []
    parts += [f"{desk.ended} resolved"] if desk.ended else []
    if parts:
        text = ", ".join(parts) + f" ({desk.firing} firing now)"
        out.tell(now, Why.ALERT_NEW if desk.added else Why.ALERT_RESOLVED, text, generation=head.generation)
    if desk.rose:
        out.tell(now, Why.SEVERITY_ROSE, f"severity rose to {desk.severity}", generation=head.generation)
        if head.state in {State.ACKNOWLEDGED, State.MERGED}:
            # Who acknowledged a warning has not acknowledged a critical; nor is it a part of what is less.
            again = {
                **acting.UNTAKEN,
                "state": State.TRIGGERED,
                "paged_at": now,
                "merged_into": "",
                "gathered": False,
            }
            head = msgspec.structs.replace(head, **again)
    return head


def _gather(desk: Desk, head: Incident) -> None:
    """Pass on what changed to the digest; what is told by itself from now on, the digest need not tell."""
    hold, event = head.hold, desk.event
    if hold is None:
        return
    changed = (
        {**desk.out.members}
        if head.state is not State.TRIGGERED
        else {**desk.seen.members, **desk.out.members}
    )
    alerts = [m.alert for m in changed.values() if m is not None and m.generation == head.generation]
    if head.state is State.TRIGGERED:
        alerts = [_ended_now(a, desk.now) for a in alerts if a.firing]
    if alerts:
        labels = {"service": hold.service, "environment": hold.environment, "deploy": hold.version}
        desk.out.onward.append(
            GroupAlerts(
                group=hold.digest,
                route=event.route,
                labels={k: v for k, v in labels.items() if v},
                alerts=alerts,
                received_at=event.received_at,
                source=event.source,
                external_url=event.external_url,
                hold=hold,
            )
        )


def _ended_now(alert: Alert, now: datetime) -> Alert:
    return msgspec.structs.replace(alert, firing=False, ends_at=now)


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


def _title(desk: Desk) -> str:
    hold = desk.head.hold
    if hold is not None and desk.head.group == hold.digest:
        count = desk.firing + desk.resolved
        return f"{count} alert{'s' if count != 1 else ''} during the deploy of {hold.service} {hold.version}"
    return title(desk.labels, desk.event.labels)


def title(labels: dict[str, str], group_labels: dict[str, str]) -> str:
    """Return a short name for people: the common alertname, or the group's labels."""
    name = labels.get("alertname") or group_labels.get("alertname")
    if name:
        return name[:_BOUNDED_TEXT]
    pairs = ", ".join(f"{k}={v}" for k, v in sorted(group_labels.items()))
    return (pairs or "alerts")[:_BOUNDED_TEXT]
