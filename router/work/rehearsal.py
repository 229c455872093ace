"""The whole pipeline in memory: no store, no clock, nobody is told. For tests of rules and for questions.

What is told goes through production's functions in production's order: placed, unchanged repeats
dropped, decided, applied to a partition's memory, sent on, looked at again, rendered. Time stands still
until :meth:`Rehearsal.advance` moves it; then wake-ups come at their own times. Each delivery succeeds at
once. Called by :mod:`router.work.scenarios`; the same calls always give the same answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from router.decide import engine as deciding
from router.decide import outlook as surroundings
from router.decide import placing
from router.decide.decision import Snapshot
from router.decide.outlook import Outlook
from router.decide.settle import PARTITIONS
from router.model.commands import Command
from router.model.destinations import Lane, Want
from router.model.errors import RouterError
from router.model.events import Begun, DeployNoticed, Review, Settled
from router.model.incidents import Incident
from router.model.keys import service_key
from router.model.outcomes import Delivered
from router.ports import IncidentJob, Lease
from router.work import applying, jobs, passing, reviews, showing
from router.work.partition import Partition, timer_event
from router.work.rounds import Round, Work, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from router.decide.placing import Placed, Versions
    from router.model.commands import CommandKind
    from router.model.deploys import Deploy, Ledger
    from router.model.destinations import Destination
    from router.model.events import Event, Told
    from router.model.silences import Silence
    from router.ports import NotifierSpec
    from router.rulebook.book import Rulebook
    from router.work.jobs import JobKey

#: Rounds of one rehearsal: by feel, more is a loop, or a test of months with something muted all along.
MOST_ROUNDS: Final = 50_000
_LANES: Final = tuple(Lane)


class TooMuch(RouterError):  # noqa: N818  a bound, not a failure
    """More happens in one rehearsal than a test can wait for."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One delivery about an incident: what the destination was to show, and the vendor's payload.

    ``payload`` is empty for a kind that has no pure rendering.
    """

    at: datetime
    target: str
    kind: str
    receiver: str
    incident: str
    want: Want
    payload: Mapping[str, Any]


class Rehearsal:
    """A world of its own under one rulebook; ``kinds`` are the notifiers that render what is sent.

    ``sent`` has all deliveries about incidents in order: at one moment pages before messages, and the
    worst severity first. ``troubles``: templates that failed. Deploys are told, too (PagerDuty's change
    events), but not recorded.
    """

    def __init__(
        self, book: Rulebook, now: datetime, kinds: Mapping[str, NotifierSpec] | None = None
    ) -> None:
        self.book, self.now = book, now
        self.sent: list[Sent] = []
        self.troubles: list[str] = []
        self._kinds = kinds or {}
        self._partition = Partition(Lease(0, "", ""))
        self._door: dict[bytes, tuple[bytes, int]] = {}  # field -> version, and the day it was last told
        self._silences: dict[str, Silence] = {}
        self._by_key: dict[str, dict[str, bool]] = {}
        self._outlook = Outlook(inhibitors=self._by_key)
        self._onward: list[Placed] = []
        self._touched: dict[str, None] = {}
        self._rounds = self._asked = 0

    # --- what happens -------------------------------------------------------------------------------

    def told(self, told: Sequence[Told]) -> int:
        """Take what one delivery tells, now; return how many of its events were no unchanged repeats."""
        return self._take(placing.place(told, self.book, self.now))

    def command(self, kind: CommandKind, head: Incident, by: str, **words: Any) -> None:
        """Let a person ask something of an incident; ``words``: further fields of the command."""
        self._asked += 1
        event = Command(head.group, head.generation, kind, by, self.now, f"rehearsal:{self._asked}", **words)
        self._take([placing.command(event)])

    def silence(self, silence: Silence) -> None:
        """Put a silence in force, or change the one of its id."""
        self._silences[silence.id] = silence
        onsets = self._outlook.onsets
        self._outlook = Outlook(surroundings.silences(self._silences.values()), self._by_key, onsets)
        reviews.some(self._partition, [h.group for h in self.incidents() if h.state.open])
        self._calm()

    def advance(self, to: datetime) -> None:
        """Let time pass; what was to happen until then happens at its own time."""
        partition = self._partition
        while (at := partition.next_timer()) is not None and at <= to:
            self.now = max(self.now, at)
            names: list[str] = []
            while (name := partition.due_timer(self.now)) is not None:
                names.append(name)
            if names:
                self._round([e for name in names if (e := timer_event(name)) is not None], timers=names)
                self._calm()
        self.now = max(self.now, to)

    # --- what there is ------------------------------------------------------------------------------

    def incidents(self) -> list[Incident]:
        """Return the heads of all groups, in the order in which they came to be."""
        return [r.head for r in self._partition.groups.values() if r.head is not None]

    def ledger(self, service: str) -> Ledger | None:
        """Return the deploys of a service."""
        return self._partition.ledgers.get(service_key(service))

    # --- the door -----------------------------------------------------------------------------------

    def _take(self, placed: Sequence[Placed]) -> int:
        """Decide what is no unchanged repeat, what is urgent first."""
        fresh = [p for p in placed if self._is_new(p.versions)]
        self._round([p.event for p in sorted(fresh, key=lambda p: not p.urgent)])
        self._calm()
        return len(fresh)

    def _is_new(self, versions: Versions) -> bool:
        """Compare with the door's memory, which holds today and yesterday."""
        today = self.now.date().toordinal()
        new = not versions
        for field, version in versions:
            known, day = self._door.get(field, (b"", 0))
            new = new or known != version or day < today - 1
            self._door[field] = (version, today)
        return new

    # --- rounds, as the engine has them -------------------------------------------------------------

    def _round(self, events: Iterable[Event], *, timers: Sequence[str] = ()) -> None:
        """Decide these events and keep what comes of them; as one commit."""
        r = Round(self._partition, timers=list(timers))
        r.work = [pair for event in events for pair in self._expanded(event)]
        if not r.work and not timers:
            return
        self._rounds += 1
        if self._rounds > MOST_ROUNDS:
            raise TooMuch(f"more than {MOST_ROUNDS} rounds of decisions in one test; let less time pass")
        ledgers = self._ledgers(r)
        for _, work in passing.in_order([r], self.book):
            for w, _ in work:
                self._decide(r, w, ledgers)
        for name in r.timers:
            r.batch.timers.setdefault(name, None)
        for name, at in r.batch.timers.items():
            self._partition.set_timer(name, at)
        for field in r.batch.unseen:
            self._door.pop(field, None)
        self._onward += [placing.onward(event, self.book) for event in r.onward]
        self._touched.update(dict.fromkeys([*r.batch.groups, *r.batch.ledgers]))

    def _expanded(self, event: Event) -> list[tuple[Work, None]]:
        """A notice becomes one piece of work for each open group that it may concern."""
        if not isinstance(event, DeployNoticed):
            return [(Work(key_of(event), event), None)]
        services = {event.service, *self.book.callers(event.service)}
        found = [h.group for h in self.incidents() if h.state.open and h.service in services]
        return [(Work(group, event), None) for group in found]

    def _ledgers(self, r: Round) -> dict[str, Ledger]:
        """Return by service the ledgers in which suspects may be looked for."""
        wanted: dict[str, None] = {}
        for w, _ in r.work:
            record = self._partition.groups.get(w.key)
            seen = Snapshot(incident=record.head if record is not None else None)
            wanted.update(dict.fromkeys(deciding.services_needed(w.event, seen, self.book)))
        return {service: found for service in wanted if (found := self.ledger(service)) is not None}

    def _decide(self, r: Round, w: Work, ledgers: Mapping[str, Ledger]) -> None:
        seen = applying.snapshot(self._partition, w.key, w.event, ledgers, self._outlook)
        decision = deciding.decide(w.event, seen, self.book, self.now)
        self._inhibit(applying.apply(self._partition, w.key, decision, r.batch))
        if decision.onset is not None:
            self._outlook.onsets.add([decision.onset])
        r.onward += decision.onward
        if isinstance(w.event, Review) or w.key in self._partition.muted or decision.mutes:
            self._partition.note_muted(w.key)

    def _inhibit(self, changes: Mapping[str, str | None]) -> None:
        """Take what a decision changes of what inhibits; who is not inhibited any more is looked at."""
        ended: set[str] = set()
        for name, value in changes.items():
            key, _, alert = name.partition("|")
            if value is not None:
                self._by_key.setdefault(key, {})[alert] = value == "1"
                continue
            alerts = self._by_key.get(key, {})
            if alerts.pop(alert, None) is not None and not alerts:
                del self._by_key[key]
                ended.add(key)
        if ended:
            reviews.some(self._partition, self._partition.muted_by(ended))

    # --- until nothing is left to do ----------------------------------------------------------------

    def _calm(self) -> None:
        """Do what follows: alerts that belong elsewhere, second looks, then what is due to be told."""
        while self._onward or self._partition.to_review or self._touched:
            if self._onward:
                placed, self._onward = self._onward, []
                self._take(placed)
            elif self._partition.to_review:
                groups = list(self._partition.to_review)
                self._partition.to_review.clear()
                self._round([Review(group) for group in groups])
            else:
                for job in self._due():
                    self._attempt(job)

    def _due(self) -> list[JobKey]:
        """Return what is due in what was touched: notices of deploys, then pages, then messages."""
        found: list[tuple[int, int, JobKey]] = []
        for key in self._touched:
            if (record := self._partition.groups.get(key)) is not None:
                for job, wish, rank in jobs.due_in_group(0, key, record):
                    found.append((_LANES.index(wish.lane), rank, job))
            if (ledger := self._partition.ledgers.get(key)) is not None:
                for job, notice, rank in jobs.due_in_ledger(0, key, ledger):
                    found.append((-1 if notice is None else len(_LANES), rank, job))
        self._touched.clear()
        return [job for _, _, job in sorted(found, key=lambda each: each[:2])]

    def _attempt(self, job: JobKey) -> None:
        """Tell one destination, as a delivery that succeeds at once."""
        if job.target == PARTITIONS:
            self._notice(job)
            return
        subject, wish = self._find(job)  # due all along: nothing else happens before all is told
        if wish.have is Want.NOTHING:
            self._round([Begun(job.group, job.generation, job.target)])
            subject, wish = self._find(job)
        if isinstance(subject, Incident):
            self._send(job, subject, wish)
        done = Settled(job.group, job.generation, job.target, wish.want, wish.want_version, Delivered())
        self._round([done])

    def _notice(self, job: JobKey) -> None:
        ledger = self._partition.ledgers[job.group]
        self._round([DeployNoticed(ledger.service, f"{ledger.service}:{ledger.seen}")])
        self._round([Settled(job.group, 0, PARTITIONS, Want.TRIGGERED, ledger.seen, Delivered())])

    def _find(self, job: JobKey) -> tuple[Incident | Deploy, Destination]:
        """Return what a job is about, as it is now, and what is to be told of it."""
        if job.generation:
            record = self._partition.groups[job.group]
            head = record.head
            if head is None or head.generation != job.generation:
                head = record.past[job.generation]
            return head, head.destinations[job.target]
        deploy_id, _, target = job.target.rpartition("|")
        deploy = next(d for d in self._partition.ledgers[job.group].deploys if d.id == deploy_id)
        return deploy, deploy.destinations[target]

    def _send(self, job: JobKey, head: Incident, destination: Destination) -> None:
        target = self.book.target(job.gate)
        assert target is not None  # noqa: S101  it is this very book that wished for it
        members = showing.sample(self._partition.groups[job.group], head.generation)
        changed = [r.text for r in head.why] if destination.have is not Want.NOTHING else []
        links = showing.links(head, self.book, "")
        title, body, problems = showing.texts(head, members, target, links)
        self.troubles += problems
        wanted = IncidentJob(
            head, members, destination, target.id, target.options, self.now, links, changed, title, body
        )
        spec = self._kinds.get(target.kind)
        payload = spec.render(wanted) if spec is not None and spec.render is not None else {}
        receiver = target.id.partition("/")[0]
        self.sent.append(Sent(self.now, target.id, target.kind, receiver, head.id, destination.want, payload))
