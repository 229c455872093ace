"""The deliverer: makes destinations show what they should. Level-triggered, one lane never waits for another.

An attempt reads the incident as it is *now*, so a backlog collapses into the present.
A first attempt is recorded before it is made (``Begun``), so that a crash in between is
known as a doubt; what came of it is recorded after (``Settled``).
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from router.decide.settle import PARTITIONS
from router.kit import backoff
from router.model.deploys import Deploy
from router.model.destinations import Lane, Want
from router.model.errors import StoreUnavailable
from router.model.events import Begun, DeployNoticed, Doubt, Settled
from router.model.outcomes import Delivered, Outcome, Refused, Retry, Unsure
from router.ports import ChangeJob, IncidentJob
from router.work import jobs, showing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from random import Random

    from router.kit.metrics import Metrics
    from router.kit.tasks import Tasks
    from router.model.destinations import Destination
    from router.model.incidents import Incident
    from router.ports import Clock, Notifier
    from router.rulebook.book import Rulebook, Target
    from router.work.engine import Engine
    from router.work.jobs import JobKey
    from router.work.partition import Partition

log = structlog.get_logger(__name__)

#: Attempts under way at once, per lane.
WORKERS = {Lane.PAGE: 16, Lane.CHAT: 8, Lane.REST: 2}
#: A message is edited at most this often: a storm of changes becomes a few edits, the last one right.
EDIT_EVERY_S = 1.0
MOST_EDITED = 10_000
#: How often, a second apart, a doubt is tried to be recorded: longer than a failover takes.
DOUBT_TRIES = 60
#: Retry pauses: first, and at most. B1 of the promises: a page is retried at least once a minute.
FIRST_S, CAP_S = 1.0, 60.0


class Notices(Protocol):
    """Appends events from within: to every partition, or to the one whose owner must know."""

    async def notice(self, event: DeployNoticed) -> object:
        """Append it everywhere; raises StoreUnavailable."""

    async def doubt(self, event: Doubt) -> object:
        """Append it to its group's partition; raises StoreUnavailable."""


class Deliveries:
    """All lanes of one process."""

    def __init__(  # noqa: PLR0913  the composition root's one long list
        self,
        engine: Engine,
        notices: Notices,
        notifiers: Callable[[Target], Notifier],
        book: Callable[[], Rulebook],
        clock: Clock,
        metrics: Metrics,
        rng: Random,
        *,
        may_send: Callable[[int], bool],
        base_url: str = "",
        timeout_s: float = 10.0,
    ) -> None:
        self._engine, self._notices, self._notifiers, self._book = engine, notices, notifiers, book
        self._clock, self._metrics, self._rng = clock, metrics, rng
        self._may_send, self._base_url, self._timeout_s = may_send, base_url.rstrip("/"), timeout_s
        self._lanes = jobs.lanes()
        self._wake = {lane: asyncio.Event() for lane in Lane}
        self._edited: dict[JobKey, float] = {}  # chat only: when it was last told
        self._leaving: set[int] = set()  # partitions about to be given back
        self._under_way = 0
        self._stopping = False

    # --- the outbox, as the engine sees it ----------------------------------------------------------

    def announce(self, partition: Partition, keys: Iterable[str], ledger_keys: Iterable[str]) -> None:
        """Queue what is due in these groups and ledgers."""
        now = jobs.seconds(self._clock.now())
        for key in keys:
            if (record := partition.groups.get(key)) is not None:
                for job, destination, rank in jobs.due_in_group(partition.number, key, record):
                    at = max(jobs.seconds(destination.not_before), self._edited.get(job, 0.0) + EDIT_EVERY_S)
                    self._add(destination.lane, job, rank, at, now)
        for key in ledger_keys:
            if (ledger := partition.ledgers.get(key)) is not None:
                for job, wish, rank in jobs.due_in_ledger(partition.number, key, ledger):
                    self._add(Lane.REST, job, rank, jobs.seconds(wish.not_before) if wish else 0.0, now)

    def _add(self, lane: Lane, job: JobKey, rank: int, not_before: float, now: float) -> None:
        if job.partition not in self._leaving and self._lanes[lane].add(job, rank, not_before, now):
            self._wake[lane].set()
            self._metrics.queue.labels(lane).set(len(self._lanes[lane]))

    def forget(self, partition: int) -> None:
        """Drop a partition's waiting jobs: it is not ours any more."""
        self._leaving.discard(partition)
        for queue in self._lanes.values():
            queue.forget(partition)

    def leave(self, partition: int) -> None:
        """Begin no attempt for a partition any more; it is given back when those under way have ended."""
        self.forget(partition)
        self._leaving.add(partition)

    # --- the lanes ----------------------------------------------------------------------------------

    def busy(self, partition: int) -> bool:
        """True while an attempt for this partition is under way."""
        return any(queue.busy(partition) for queue in self._lanes.values())

    def start(self, tasks: Tasks) -> None:
        """Start the workers of every lane."""
        for lane, count in WORKERS.items():
            for n in range(count):
                tasks.keep(f"deliver-{lane}-{n}", partial(self._work, lane))

    @property
    def idle(self) -> bool:
        """True where nothing waits or is under way."""
        return not self._under_way and not jobs.total(self._lanes.values())

    async def drain(self, seconds: float) -> None:
        """Take no new job, and wait for those under way, at most that long."""
        self._stopping = True
        until = self._clock.monotonic() + seconds
        while self._under_way and self._clock.monotonic() < until:
            await self._clock.sleep(0.02)

    async def _work(self, lane: Lane) -> None:
        queue, wake = self._lanes[lane], self._wake[lane]
        while not self._stopping:
            wake.clear()
            now = jobs.seconds(self._clock.now())
            popped = queue.pop(now)
            if popped is None:
                at = queue.next_at(now)
                try:
                    async with asyncio.timeout(None if at is None else max(0.001, at - now)):
                        await wake.wait()
                except TimeoutError:
                    pass
                continue
            job, rank = popped
            self._metrics.queue.labels(lane).set(len(queue))
            if (closed := self._closed(job)) > 0:
                queue.hold(job.gate, now + closed)
                queue.finish(job)
                queue.add(job, rank, 0.0, now)
                continue
            await self._one(job, lane)

    async def _one(self, job: JobKey, lane: Lane) -> None:
        """Make one attempt, and queue what is due after it: a newer wish, or the next try."""
        queue = self._lanes[lane]
        self._under_way += 1
        try:
            await self._attempt(job, lane)
        except StoreUnavailable as exc:
            log.warning("store_unavailable", doing="deliver", error=str(exc))
            await self._clock.sleep(0.5)
        except Exception:
            log.exception("delivery_failed", target=job.target, group=job.group)
            await self._clock.sleep(FIRST_S)
        finally:
            self._under_way -= 1
            queue.finish(job)
        await self._again(job, lane)

    async def _again(self, job: JobKey, lane: Lane) -> None:
        try:
            # It may have left memory meanwhile; without this look nobody would come back to it.
            partition = await self._engine.load(job)
        except StoreUnavailable:
            now = jobs.seconds(self._clock.now())
            self._add(lane, job, 0, now + 1.0, now)
            return
        if partition is not None:
            self.announce(
                partition, [job.group] if job.generation else [], [] if job.generation else [job.group]
            )

    def _closed(self, job: JobKey) -> float:
        """Return for how many seconds the job's target wants nothing."""
        target = self._book().target(job.gate)
        try:
            return self._notifiers(target).hold(target.options) if target is not None else 0.0
        except Exception:
            log.exception("hold_failed", target=job.gate)
            return 0.0

    # --- one attempt --------------------------------------------------------------------------------

    async def _attempt(self, job: JobKey, lane: Lane) -> None:
        """Make one attempt, if it is still wanted and still ours to make."""
        partition = await self._engine.load(job)
        if partition is None:
            return
        if not self._may_send(job.partition):
            await self._clock.sleep(0.2)  # the lease is not renewed: another may be sending this by now
            return
        if job.target == PARTITIONS:
            await self._notice(job, partition)
            return
        found = await self._begin(job, partition)
        if found is None:
            return
        subject, destination = found
        outcome = await self._send(job, subject, destination, partition)
        retry_at = self._retry_at(outcome, destination.tries + 1)
        if isinstance(outcome, Retry) and outcome.reason == "rateLimited" and outcome.after_s > 0:
            self._lanes[lane].hold(job.gate, jobs.seconds(self._clock.now()) + outcome.after_s)
        settled = Settled(
            group=job.group,
            generation=job.generation,
            target=job.target,
            want=destination.want,
            version=destination.want_version,
            outcome=outcome,
            retry_at=retry_at,
        )
        log_outcome(job, destination, outcome)
        if lane is Lane.CHAT:
            self._remember_edit(job)
        if not await self._engine.post(job.partition, settled):
            await self._unrecorded(job, outcome)

    async def _begin(self, job: JobKey, partition: Partition) -> tuple[Incident | Deploy, Destination] | None:
        """Return what is to be told, None where it need not or may not be; a first attempt is recorded."""
        found = self._find(job, partition)
        if found is not None and found[1].due and found[1].have is Want.NOTHING:
            begun = Begun(group=job.group, generation=job.generation, target=job.target)
            if not await self._engine.post(job.partition, begun) or not self._may_send(job.partition):
                return None  # frozen meanwhile: another may have sent this, and its resolve too
            found = self._find(job, partition)
        return found if found is not None and found[1].due else None

    async def _unrecorded(self, job: JobKey, outcome: Outcome) -> None:
        """Go on after an attempt whose outcome could not be recorded."""
        if job.partition in self._engine.partitions:
            await self._clock.sleep(FIRST_S)  # it could not be recorded: not again at once
        elif job.generation and isinstance(outcome, Delivered | Unsure):
            await self._doubt(job, outcome)

    async def _doubt(self, job: JobKey, outcome: Delivered | Unsure) -> None:
        """Tell the partition's owner that this process, which had lost it, may have told somebody.

        Where the answer was lost the request may still be on its way: its own time is left to it
        first, for the owner's word must be the last.
        """
        if isinstance(outcome, Unsure):
            await self._clock.sleep(self._timeout_s)
        event = Doubt(group=job.group, generation=job.generation, target=job.target)
        for _ in range(DOUBT_TRIES):
            try:
                await self._notices.doubt(event)
            except StoreUnavailable:
                await self._clock.sleep(FIRST_S)
            else:
                log.warning("delivered_without_lease", target=job.target, group=job.group)
                return
        log.error("doubt_not_recorded", target=job.target, group=job.group, generation=job.generation)

    def _remember_edit(self, job: JobKey) -> None:
        now = jobs.seconds(self._clock.now())
        if len(self._edited) > MOST_EDITED:
            self._edited = {j: at for j, at in self._edited.items() if now - at < EDIT_EVERY_S}
        self._edited[job] = now

    async def _notice(self, job: JobKey, partition: Partition) -> None:
        ledger = partition.ledgers.get(job.group)
        if ledger is None or ledger.noticed >= ledger.seen:
            return
        event_id = f"{ledger.service}:{ledger.seen}:{partition.lease.epoch}"
        await self._notices.notice(DeployNoticed(service=ledger.service, event_id=event_id))
        done = Settled(job.group, 0, PARTITIONS, Want.TRIGGERED, ledger.seen, Delivered())
        await self._engine.post(job.partition, done)

    def _find(self, job: JobKey, partition: Partition) -> tuple[Incident | Deploy, Destination] | None:
        if job.generation:
            record = partition.groups.get(job.group)
            head = record.head if record else None
            if record is not None and (head is None or head.generation != job.generation):
                head = record.past.get(job.generation)
            destination = head.destinations.get(job.target) if head else None
            return (head, destination) if head is not None and destination is not None else None
        ledger = partition.ledgers.get(job.group)
        deploy_id, _, target = job.target.rpartition("|")
        deploy = next((d for d in ledger.deploys if d.id == deploy_id), None) if ledger else None
        wish = deploy.destinations.get(target) if deploy else None
        return (deploy, wish) if deploy is not None and wish is not None else None

    async def _send(
        self, job: JobKey, subject: Incident | Deploy, destination: Destination, partition: Partition
    ) -> Outcome:
        name = job.target.rpartition("|")[2]
        book = self._book()
        target = book.target(name)
        if target is None:
            return Refused("clientError", "the rules no longer name this target")
        notifier = self._notifiers(target)
        self._metrics.notifications.labels(notifier.kind).inc()
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s + 2):  # the driver's own limit comes first
                outcome = await self._call(notifier, job, subject, destination, target, partition)
        except TimeoutError:
            outcome = Unsure("contextDeadlineExceeded", "no answer in time")
        except Exception as exc:
            log.exception("notifier_failed", integration=notifier.kind, target=name)
            outcome = Unsure("other", type(exc).__name__)
        self._metrics.notify_seconds.labels(notifier.kind).observe(self._clock.monotonic() - started)
        if isinstance(outcome, Unsure):
            self._metrics.unsure.labels(notifier.kind).inc()
        if not isinstance(outcome, Delivered):
            self._metrics.failed.labels(notifier.kind, outcome.reason).inc()
        return outcome

    async def _call(
        self,
        notifier: Notifier,
        job: JobKey,
        subject: Incident | Deploy,
        destination: Destination,
        target: Target,
        partition: Partition,
    ) -> Outcome:
        now, book = self._clock.now(), self._book()
        if isinstance(subject, Deploy):
            return await notifier.send_change(ChangeJob(subject, destination, target.id, target.options, now))
        head = subject
        members = showing.sample(partition.groups[job.group], head.generation)
        changed = [r.text for r in head.why] if destination.have is not Want.NOTHING else []
        links = showing.links(head, book, self._base_url)
        title, body, problems = showing.texts(head, members, target, links)
        for problem in problems:
            self._metrics.template_failures.inc()
            log.warning("template_failed", target=target.id, error=problem)
        return await notifier.send(
            IncidentJob(
                head, members, destination, target.id, target.options, now, links, changed, title, body
            )
        )

    def _retry_at(self, outcome: Outcome, tries: int) -> datetime | None:
        if isinstance(outcome, Delivered | Refused):
            return None
        if isinstance(outcome, Retry) and outcome.reason == "rateLimited" and outcome.after_s > 0:
            # They said when; the gate is closed until then, so this one need not grow.
            return self._clock.now() + timedelta(seconds=outcome.after_s)
        pause = backoff.delay_s(tries, first_s=FIRST_S, cap_s=CAP_S, rng=self._rng)
        if isinstance(outcome, Retry):
            pause = max(pause, min(outcome.after_s, 15 * CAP_S))
        return self._clock.now() + timedelta(seconds=pause)


def log_outcome(job: JobKey, destination: Destination, outcome: Outcome) -> None:
    """Log an attempt, once."""
    known = {"target": job.target, "group": job.group, "generation": job.generation, "want": destination.want}
    if isinstance(outcome, Delivered):
        log.info("delivered", **known)
    else:
        log.warning(
            "not_delivered",
            outcome=type(outcome).__name__,
            reason=outcome.reason,
            detail=outcome.detail,
            **known,
        )
