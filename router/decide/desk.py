"""The incident under work: counters and sets that change alert by alert, frozen once at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from router.decide import facts, muting
from router.decide.decision import Decision, Snapshot
from router.model.incidents import Incident, Member, State
from router.model.reasons import Why

if TYPE_CHECKING:
    from datetime import datetime

    from router.model.events import Alert, GroupAlerts
    from router.rulebook.book import Rulebook
    from router.rulebook.tree import Route

#: Earlier generations kept to be read; those with something still to deliver are kept besides.
KEEP_PAST = 5
#: When an incident began again, the latest times.
KEEP_FLIPS = 20


class Desk:
    """What one event does to one group. ``rose``: an alert that is not muted is worse than all before."""

    def __init__(self, event: GroupAlerts, seen: Snapshot, book: Rulebook, now: datetime) -> None:
        self.event, self.seen, self.book, self.now = event, seen, book, now
        self.out = Decision()
        self.route = book.route_by_id(event.route)
        head = seen.incident or _unheard(event, self.route, book)
        self.head = head
        self.by_severity = dict(head.by_severity)
        self.firing, self.resolved, self.muted = head.firing, head.resolved, head.muted
        self.labels, self.annotations = head.labels, head.annotations
        self.severity, self.starts_at, self.onset = head.severity, head.starts_at, head.onset
        self.last_end: datetime | None = None
        self.opened = self.visible = self.rose = False
        # Where nothing ever fired, each tombstone asks anew for its hour.
        self.touched = head.state is State.QUIET
        self.added = self.ended = 0
        self._mutes = muting.concerned(book, seen.outlook)

    def member(self, key: str) -> Member | None:
        """Return the member as it stands now, changes of this event included."""
        changed = self.out.members.get(key)
        return changed if changed is not None else self.seen.members.get(key)

    def put(self, alert: Alert, generation: int, old: Member | None) -> Member:
        """Write a member in place of the old one, with what mutes it and what it inhibits."""
        muted = ""
        keys: tuple[str, ...] = ()
        if alert.firing and self._mutes:
            fresh = self.out.inhibits
            muted = muting.of_alert(alert.labels, self.book, self.seen.outlook, self.now, fresh)
        if alert.firing and self.book.muting.inhibit_rules:
            found = muting.inhibits(alert.labels, self.book)
            keys = tuple(found)
            self.out.inhibits.update({(key, alert.key): target for key, target in found.items()})
        for key in old.inhibits if old is not None else ():
            if key not in keys:
                self.out.inhibits[key, alert.key] = None
        member = Member(
            alert=alert, generation=generation, seen_at=self.event.received_at, muted=muted, inhibits=keys
        )
        self.out.members[alert.key] = member
        return member

    def change(self, alert: Alert, old: Member) -> None:
        """Write a newer version of an alert that goes on as it was."""
        new = self.put(alert, old.generation, old)
        if self.counts(old) and old.alert.firing and bool(new.muted) != bool(old.muted):
            self.muted += 1 if new.muted else -1

    def counts(self, member: Member) -> bool:
        """True where the member is counted in the incident that is open now."""
        return member.generation == self.head.generation and self.head.state.open

    def open(self, alert: Alert) -> None:
        """Begin the next generation."""
        old, book = self.head, self.book
        flips: tuple[datetime, ...] = ()
        if old.generation:
            self.out.past[old.generation] = old
            for number in sorted(self.seen.past)[: -(KEEP_PAST - 1)]:  # the one just added counts too
                if not self.seen.past[number].due:
                    self.out.past[number] = None
            if not old.resolved_by:
                flips = self._flips(old)
        receiver = self.route.receiver if self.route else old.receiver
        hold = self.event.hold
        self.head = Incident(
            group=old.group,
            generation=old.generation + 1,
            route=self.event.route,
            receiver=receiver,
            group_labels=self.event.labels,
            state=State.WAITING,
            service=book.service(alert.labels),
            environment=book.environment(alert.labels),
            colour=book.colour(alert.labels),
            external_url=self.event.external_url,
            opened_at=self.now,
            flips=flips,
            hold=hold,
            before=old.ended_at or old.resolved_at,
            wait_until=hold.until if hold is not None else None,
        )
        self.by_severity, self.firing, self.resolved, self.muted = {}, 0, 0, 0
        self.labels, self.annotations = alert.labels, alert.annotations
        self.severity, self.starts_at = book.severity(alert.labels, self.route), alert.starts_at
        self.onset = None
        self.opened = self.visible = True

    def _flips(self, head: Incident) -> tuple[datetime, ...]:
        """Return when it began again lately, now included; () where nobody counts."""
        limits = self.book.muting.flapping
        if limits is None:
            return ()
        recent = [at for at in head.flips if self.now - at <= limits.within]
        return (*recent, self.now)[-KEEP_FLIPS:]

    def fires(self, alert: Alert, member: Member | None) -> None:
        """Count a firing alert in, opening an incident where none is open."""
        if not self.head.state.open:
            self.open(alert)
        elif member is not None and member.generation == self.head.generation:
            self.resolved = max(0, self.resolved - (not member.alert.firing))
        if self.head.quiet_since is not None:
            self._goes_on()
        severity = self.book.severity(alert.labels, self.route)
        self.firing += 1
        self.by_severity[severity] = self.by_severity.get(severity, 0) + 1
        new = self.put(alert, self.head.generation, member)
        self.muted += bool(new.muted)
        if severity.rank < self.severity.rank:
            self.severity = severity
            self.rose = self.rose or not new.muted
        self.labels = common(self.labels, alert.labels)
        self.annotations = common(self.annotations, alert.annotations)
        if self.starts_at is None or alert.starts_at < self.starts_at:
            self.starts_at = alert.starts_at
        onset = alert.starts_at - self.book.waits(alert.labels, alert.annotations)
        if self.onset is None or onset < self.onset:
            self.onset = onset
        self.visible = True
        self.added += 1

    def _goes_on(self) -> None:
        """An incident whose end was held back goes on."""
        flips = self._flips(self.head)
        self.head = msgspec.structs.replace(self.head, quiet_since=None, flips=flips)
        said = f", {len(flips)} times lately" if facts.flapping(self.head, self.book, self.now) else ""
        text = f"fires again before its end was told{said}"
        self.out.tell(self.now, Why.INCIDENT_FLIPPED, text, generation=self.head.generation)

    def ends(self, alert: Alert, member: Member) -> None:
        """Count a firing member out."""
        if self.counts(member):
            self.uncount(member)
            self.resolved += 1
            self.ended += 1
            end = alert.ends_at or self.now
            if self.last_end is None or end > self.last_end:
                self.last_end = end
            self.visible = True
        self.put(alert, member.generation, member)

    def uncount(self, member: Member) -> None:
        """Take a firing member out of the counts."""
        severity = self.book.severity(member.alert.labels, self.route)
        left = self.by_severity.get(severity, 0) - 1
        if left > 0:
            self.by_severity[severity] = left
        else:
            self.by_severity.pop(severity, None)
        self.firing = max(0, self.firing - 1)
        self.muted = min(self.firing, max(0, self.muted - bool(member.muted)))


def common(left: dict[str, str], right: dict[str, str]) -> dict[str, str]:
    """Return what both have in common."""
    if left == right:
        return left
    return {k: v for k, v in left.items() if right.get(k) == v}


def _unheard(event: GroupAlerts, route: Route | None, book: Rulebook) -> Incident:
    return Incident(
        group=event.group,
        generation=0,
        route=event.route,
        receiver=route.receiver if route else book.root.receiver,
        group_labels=event.labels,
        state=State.QUIET,
    )
