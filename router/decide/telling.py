"""Moves an open incident on: whether people are told now, again, or later, and who else.

Level-triggered, as destinations are: :func:`advance` looks at the incident as it is and at the time,
and is harmless to repeat. It is the only place where an incident that waits, is muted or held becomes
one that is told, and where the next look at it is planned. Times are Alertmanager's: after group_wait
the first word, then changes at every group_interval counted from it, and the same again after
repeat_interval. What may not wait does not: a rise in severity, another suspect, an act of a person.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from router.decide import destinations, facts, holding, muting, problems, suspects
from router.decide.decision import Decision, Snapshot, Timer
from router.model.events import Severity, TimerKind
from router.model.incidents import Incident, State
from router.model.reasons import Why

if TYPE_CHECKING:
    from router.rulebook.book import Rulebook
    from router.rulebook.tree import Route, Step

_MOST_TOKENS = 5


class Scene:
    """What an incident is looked at with; ``muted``: the tokens, if all of it is muted."""

    def __init__(self, head: Incident, seen: Snapshot, book: Rulebook, out: Decision, now: datetime) -> None:
        self.seen, self.book, self.out, self.now = seen, book, out, now
        self.route: Route | None = book.route_by_id(head.route)
        self.tokens = self._tokens(head) if head.muted else []
        interval = muting.of_route(self.route, now)
        if interval:
            self.tokens.insert(0, interval)
        whole = bool(interval) or 0 < head.firing == head.muted
        self.muted = tuple(self.tokens[:_MOST_TOKENS]) if whole else ()

    def _tokens(self, head: Incident) -> list[str]:
        """Return what mutes alerts of this incident, each once."""
        members = {**self.seen.members, **self.out.members}
        found = (m.muted for m in members.values() if m is not None and m.generation == head.generation)
        return list(dict.fromkeys(token for token in found if token))

    @property
    def interval(self) -> timedelta:
        """How long changes wait for each other."""
        return self.route.group_interval if self.route is not None else timedelta(0)

    def tell(self, head: Incident, why: Why, text: str) -> None:
        """Add to the timeline."""
        self.out.tell(self.now, why, text, generation=head.generation)

    def words(self) -> str:
        """Return what mutes the incident, for people."""
        return "; ".join(muting.words(t, self.book, self.seen.outlook) for t in self.muted[:2])


def advance(  # noqa: PLR0913  what decide is given, and three words on why
    head: Incident,
    seen: Snapshot,
    book: Rulebook,
    out: Decision,
    now: datetime,
    *,
    changed: bool = False,
    louder: bool = False,
    at_once: bool = False,
) -> Incident:
    """Return the open head with its state, wishes and next look brought up to ``now``.

    ``changed``: people would see a difference; it is told at the next interval, or, with ``at_once``,
    now. ``louder``: pages are sent again, too.
    """
    scene = Scene(head, seen, book, out, now)
    if head.firing == 0:
        head = _quiet(head, scene)
    if head.snoozed_until is not None and head.state is State.ACKNOWLEDGED and now >= head.snoozed_until:
        head, louder, at_once = _woken(head, scene), True, True
    if head.state in {State.WAITING, State.SUPPRESSED, State.HELD}:
        head = _untold(head, scene)
    elif head.state is State.MERGED:
        head = _part(head, scene)
    elif head.state.open:
        head = _told(head, scene, changed=changed, louder=louder, at_once=at_once)
    if head.state.open and head.state is not State.MERGED:
        head = _further(head, scene)
    return _planned(head, scene)


# --- the end --------------------------------------------------------------------------------------


def _quiet(head: Incident, scene: Scene) -> Incident:
    """Close an incident whose alerts have all ended: at once where nobody was told, else in its time."""
    if head.state in {State.TRIGGERED, State.ACKNOWLEDGED}:
        since = head.quiet_since or scene.now
        head = msgspec.structs.replace(head, quiet_since=since)
        at = _ends_at(head, scene)
        if scene.now < at:
            if since == scene.now:
                seconds = f"{(at - scene.now).total_seconds():g} s"
                text = f"all alerts are resolved; told in {seconds} unless one fires again"
                scene.tell(head, Why.INCIDENT_QUIET, text)
            return head
    return close(head, scene.out, scene.now, scene.book)


def _ends_at(head: Incident, scene: Scene) -> datetime:
    since = head.quiet_since or scene.now
    hold = scene.route.resolve_wait if scene.route is not None else timedelta(0)
    limits = scene.book.muting.flapping
    if limits is not None and facts.flapping(head, scene.book, since):
        hold = max(hold, limits.hold)
    return max(since + hold, tick(head.told_at, scene.interval, since))


def _woken(head: Incident, scene: Scene) -> Incident:
    """Call people back to what was put off and still fires."""
    scene.tell(head, Why.INCIDENT_WOKE, f"put off until now by {head.acknowledged_by}, and still firing")
    return msgspec.structs.replace(
        head, state=State.TRIGGERED, snoozed_until=None, acknowledged_at=None, acknowledged_by="",
        acknowledged_id="", acknowledged_via="", paged_at=scene.now, revision=head.revision + 1,
    )  # fmt: skip


def close(head: Incident, out: Decision, now: datetime, book: Rulebook) -> Incident:
    """Return the head resolved because all its alerts are."""
    out.tell(now, Why.INCIDENT_RESOLVED, "all alerts are resolved", generation=head.generation)
    return closed(head, out, now, book, by="")


def closed(head: Incident, out: Decision, now: datetime, book: Rulebook, *, by: str) -> Incident:
    """Return the head resolved, with its timers and wishes; it is forgotten after the retention."""
    out.timers.append(Timer(TimerKind.NOTIFY, head.generation, None))
    if head.wake_at is not None:
        out.timers.append(Timer(TimerKind.REVIEW, head.generation, None))
    out.timers.append(Timer(TimerKind.FORGET, 0, now + book.retention))
    return destinations.refresh(
        msgspec.structs.replace(
            head, state=State.RESOLVED, resolved_at=now, resolved_by=by, updated_at=now,
            wait_until=None, flush_at=None, wake_at=None, quiet_since=None, muted_by=(), snoozed_until=None,
        ),
        book,
        out,
    )  # fmt: skip


# --- the first word -------------------------------------------------------------------------------


def _untold(head: Incident, scene: Scene) -> Incident:
    if head.state is State.HELD:
        if head.severity is not Severity.CRITICAL:
            return head
        scene.tell(head, Why.INCIDENT_RELEASED, "critical alerts are not held")
        return _first(head, scene)
    if head.hold is not None and head.wait_until is not None:
        head = msgspec.structs.replace(
            head, wait_until=holding.renewed(head.hold, scene.seen.ledgers, scene.book)
        )
    if head.wait_until is not None and scene.now < head.wait_until:
        return head
    if scene.muted:
        if scene.muted != head.muted_by:
            scene.tell(head, Why.INCIDENT_MUTED, f"nobody is told: {scene.words()}")
        return msgspec.structs.replace(
            head, state=State.SUPPRESSED, wait_until=None, muted_by=scene.muted, updated_at=scene.now
        )
    if head.state is State.SUPPRESSED:
        scene.tell(head, Why.INCIDENT_UNMUTED, "not muted any more")
    elif head.hold is not None:
        scene.tell(head, Why.INCIDENT_RELEASED, f"the hold for {_deploy(head)} is over")
    elif head.wait_until is not None:
        scene.tell(head, Why.INCIDENT_NOTIFIED, "the group's wait is over")
    return _first(head, scene)


def _deploy(head: Incident) -> str:
    return f"the deploy of {head.hold.service} {head.hold.version}" if head.hold is not None else "a deploy"


def _part(head: Incident, scene: Scene) -> Incident:
    """Leave a part of another incident as it is, or tell it by itself where it is none any more."""
    if not head.gathered or not problems.left(head, scene.seen.ledgers):
        return destinations.refresh(head, scene.book, scene.out)
    scene.tell(head, Why.INCIDENT_RELEASED, f"no part of {head.merged_into} any more")
    head = msgspec.structs.replace(head, merged_into="", gathered=False, revision=head.revision + 1)
    return _first(head, scene)


def _first(head: Incident, scene: Scene) -> Incident:
    """Tell people for the first time; those who know of the same problem read of it there."""
    if scene.book.attribution.gather and (first := problems.to_join(head, scene.seen.ledgers)) is not None:
        scene.tell(head, Why.JOINED_PROBLEM, f"blamed on the same deploy as {first.incident}, and told there")
        if (note := problems.note(head, first, scene.now)) is not None:
            scene.out.onward.append(note)
        return msgspec.structs.replace(
            head, state=State.MERGED, merged_into=first.incident, gathered=True, wait_until=None,
            muted_by=(), hold=None, updated_at=scene.now,
        )  # fmt: skip
    head = msgspec.structs.replace(
        head, state=State.TRIGGERED, wait_until=None, muted_by=(), paged_at=scene.now, updated_at=scene.now
    )
    return _flushed(head, scene)


# --- what is told later ---------------------------------------------------------------------------


def _told(head: Incident, scene: Scene, *, changed: bool, louder: bool, at_once: bool) -> Incident:
    was = bool(head.muted_by)
    if bool(scene.muted) != was:
        why = Why.INCIDENT_MUTED if scene.muted else Why.INCIDENT_UNMUTED
        text = f"muted: {scene.words()}" if scene.muted else "not muted any more"
        scene.tell(head, why, text)
        head = msgspec.structs.replace(head, muted_by=scene.muted, revision=head.revision + 1)
        at_once = True
    if head.state is State.TRIGGERED and head.paged_at is None:
        head = msgspec.structs.replace(head, paged_at=scene.now)  # as after a rise in severity
    if at_once or (louder and not scene.muted):
        return _flushed(head, scene, louder=louder and not scene.muted)
    if changed and head.flush_at is None:
        head = msgspec.structs.replace(head, flush_at=tick(head.told_at, scene.interval, scene.now))
        if head.flush_at is not None and head.flush_at > scene.now:
            scene.out.because(Why.INTERVAL_WAITED, "told at the next group_interval")
    if scene.muted:
        return head
    if head.flush_at is not None and scene.now >= head.flush_at:
        return _flushed(head, scene)
    remind_at = _remind_at(head, scene)
    if remind_at is not None and scene.now >= remind_at:
        scene.tell(head, Why.INCIDENT_REPEATED, f"still firing: {head.firing} (repeat_interval)")
        return _flushed(msgspec.structs.replace(head, revision=head.revision + 1), scene, louder=True)
    return head


def _flushed(head: Incident, scene: Scene, *, louder: bool = False) -> Incident:
    head = msgspec.structs.replace(
        head, flush_at=None, told_at=head.told_at or scene.now, reminded_at=scene.now
    )
    return destinations.refresh(head, scene.book, scene.out, louder=louder)


def _remind_at(head: Incident, scene: Scene) -> datetime | None:
    """Return when the same is told again: at the first interval after repeat_interval; never once taken."""
    every = scene.route.repeat_interval if scene.route is not None else timedelta(0)
    if head.state is not State.TRIGGERED or not every or head.reminded_at is None or not head.firing:
        return None
    return tick(head.told_at, scene.interval, head.reminded_at + every)


def tick(first: datetime | None, interval: timedelta, at: datetime) -> datetime:
    """Return the first flush at or after ``at``: they come every ``interval``, counted from the first."""
    if first is None or not interval or at <= first:
        return at if first is None or not interval else first + interval
    return first + -((first - at) // interval) * interval


# --- further receivers ----------------------------------------------------------------------------


def _pending(head: Incident, scene: Scene) -> list[tuple[Step, datetime]]:
    """Return the steps not taken yet that may be, each with when its time has come."""
    if scene.route is None or scene.muted or head.told_at is None or not head.firing:
        return []
    since = head.paged_at or head.told_at
    told = {head.receiver, *head.also}
    return [
        (step, since + step.after)
        for step in scene.route.steps
        if step.receiver not in told and (head.state is State.TRIGGERED or not step.after)
    ]


def _further(head: Incident, scene: Scene) -> Incident:
    """Tell further receivers whose time has come and whose conditions hold."""
    before = head.also
    for step, at in _pending(head, scene):
        known = facts.of(head, scene.book, scene.now)
        if scene.now < at or step.receiver in head.also or not step.when.holds(known):
            continue
        held = [f.text for f in step.when.findings(known)]
        words = [f"not acknowledged for {step.after.total_seconds():g} s"] if step.after else []
        scene.tell(
            head, Why.INCIDENT_ESCALATED, f"{step.receiver} is told, too: {'; '.join(words + held)}"[:300]
        )
        head = msgspec.structs.replace(head, also=(*head.also, step.receiver))
    if head.also == before:
        return head
    head = msgspec.structs.replace(head, revision=head.revision + 1, updated_at=scene.now)
    return destinations.refresh(head, scene.book, scene.out)


# --- the next look --------------------------------------------------------------------------------


def _planned(head: Incident, scene: Scene) -> Incident:
    """Ask for the next look at an open incident; the same wish is not written twice."""
    if not head.state.open:
        return head
    kind = TimerKind.REVIEW
    if head.state is State.WAITING:
        kind, at = TimerKind.NOTIFY, head.wait_until
    else:
        at = min(_looks(head, scene), default=None)
        if at is not None and at <= scene.now:
            at = scene.now + muting.LOOK_AGAIN  # its time has come and it stays as it is: not over and over
    if at == head.wake_at:
        return head
    scene.out.timers.append(Timer(kind, head.generation, at))
    return msgspec.structs.replace(head, wake_at=at)


def _looks(head: Incident, scene: Scene) -> list[datetime]:
    found: list[datetime | None] = [suspects.again_at(head)]
    if head.gathered:  # whatever becomes of the first one, and of the word that it is over
        found.append(scene.now + problems.LOOK_AGAIN)
    if head.state in {State.HELD, State.MERGED}:
        return [at for at in found if at is not None]
    if scene.tokens:
        found.append(
            muting.look_again_at(scene.tokens, scene.route, scene.book, scene.seen.outlook, scene.now)
        )
    if head.quiet_since is not None and not head.firing:
        found.append(_ends_at(head, scene))
    if head.state is State.ACKNOWLEDGED:
        found.append(head.snoozed_until)
    if not scene.muted:
        found += [head.flush_at, _remind_at(head, scene)]
    for step, at in _pending(head, scene):
        if at > scene.now:
            found.append(at)
        elif (after := step.when.next_change(facts.of(head, scene.book, scene.now))) is not None:
            found.append(scene.now + after)
    return [at for at in found if at is not None]
