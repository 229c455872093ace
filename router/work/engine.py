"""The decider: takes what waits in owned partitions, decides it, commits it, and says what is to be told.

One loop for all partitions of this process: a round collects, loads what is missing,
decides, and commits every partition's batch in one round trip. Urgent entries go
first. Rounds are short, so that the door and the deliveries get their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from router.decide import engine as deciding
from router.model import codec
from router.model.errors import Fenced, StoreError, StoreUnavailable
from router.model.events import Event, GroupAlerts, Review, TimerDue
from router.ports import DeadLetter, InboxPage
from router.work import applying, burying, passing, reviews
from router.work.memory import Memory
from router.work.partition import Internal, Partition, Pending, timer_event, timer_name
from router.work.rounds import Round, Work, finish, key_of, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from router.kit.metrics import Metrics
    from router.model.deploys import Ledger
    from router.model.events import Stored
    from router.ports import Clock, Lease, Store
    from router.rulebook.book import Rulebook
    from router.work.jobs import JobKey
    from router.work.lookout import Lookout

log = structlog.get_logger(__name__)

#: Alerts decided per round: by feel, 10-20 ms of work, which is what an urgent event may have to wait.
ROUND = 400
#: Decisions of one entry that may fail before its events go to the dead letters.
MOST_TRIES = 5
_READ = 100
_POLL_ALONE_S = 1.0
_POLL_TOGETHER_S = 0.03
_YIELD_S = 0.02
_TIMER_AGAIN = timedelta(seconds=5)


class Outbox(Protocol):
    """Where destinations that are due are announced."""

    def announce(self, partition: Partition, keys: Iterable[str], ledger_keys: Iterable[str]) -> None:
        """Look at these groups and ledgers, and queue what is due."""

    def forget(self, partition: int) -> None:
        """Drop what is queued for a partition that is not ours any more."""


class Engine:
    """The decide loop of one process."""

    def __init__(
        self, store: Store, book: Callable[[], Rulebook], clock: Clock, metrics: Metrics, lookout: Lookout
    ) -> None:
        self.partitions: dict[int, Partition] = {}
        self._store, self._book, self._clock, self._metrics = store, book, clock, metrics
        self._lookout = lookout
        lookout.owned = self.partitions.__contains__
        lookout.silences_changed, lookout.keys_ended = self._silences_changed, self._keys_ended
        self._version = book().version
        self._all_again = False  # every open group is to be looked at again
        self.outbox: Outbox | None = None
        self.pressed: Callable[[], bool] = lambda: False  # the door's word that it needs the processor
        self.alone = True  # no other process writes inboxes, as far as the instances' beats show
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()  # something that does not wait for the door's flood
        self._next_poll = 0.0
        self._memory = Memory(store, book, clock)
        self._busy = False

    # --- from outside -----------------------------------------------------------------------------

    def offer(self, partition: int, entry: str, events: Sequence[Stored], *, urgent: bool) -> None:
        """Take an appended entry in memory, if the partition is ours."""
        if (mine := self.partitions.get(partition)) is not None:
            mine.offer(entry, events, urgent=urgent)
            self._wake.set()
            if urgent:
                self._hurry.set()

    async def adopt(self, lease: Lease) -> None:
        """Begin to work a partition: read its wake-ups and what it still has to deliver."""
        partition = Partition(lease)
        taking = await self._store.pending(lease.partition)
        for name, at in taking.timers.items():
            partition.set_timer(name, at)
        partition.groups |= await self._store.groups(dict.fromkeys(taking.groups, lease.partition))
        partition.ledgers |= await self._store.ledgers(dict.fromkeys(taking.services, lease.partition))
        await self._lookout.adopt(lease.partition)
        await reviews.after_taking(partition, taking, self._store, self._book().version)
        self.partitions[lease.partition] = partition
        self._metrics.partitions.set(len(self.partitions))
        if self.outbox is not None:
            self.outbox.announce(partition, taking.groups, taking.services)
        self._wake.set()

    def drop(self, number: int) -> None:
        """Stop working a partition; what it holds in memory is in the store."""
        partition = self.partitions.pop(number, None)
        self._metrics.partitions.set(len(self.partitions))
        if partition is None:
            return
        if self.outbox is not None:
            self.outbox.forget(number)
        for internal in partition.internal:
            resolve(internal, done=False)

    async def post(self, partition: int, event: Event) -> bool:
        """Hand in an event from within; True once it is committed, False where it never will be."""
        if (mine := self.partitions.get(partition)) is None:
            return False
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        mine.internal.append(Internal(event, done))
        self._wake.set()
        self._hurry.set()
        return await done

    def nudge(self) -> None:
        """Look at the time again: for who drives the clock by hand."""
        self._wake.set()

    def _silences_changed(self) -> None:
        self._all_again = True
        self.nudge()

    def _keys_ended(self, keys: Iterable[str]) -> None:
        """Look again at what these keys muted."""
        ended = frozenset(keys)
        for partition in self.partitions.values():
            reviews.some(partition, partition.muted_by(ended))
        self._wake.set()

    @property
    def idle(self) -> bool:
        """True where nothing waits for a decision here."""
        return not self._busy and all(p.idle for p in self.partitions.values())

    # --- the loop ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            self._busy = True
            try:
                worked = await self._round()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="decide", error=str(exc))
                await self._clock.sleep(0.2)
                continue
            finally:
                self._busy = False
            if not worked:
                await self._pause()
            elif self.pressed():
                await self._give_way()
            else:
                await asyncio.sleep(0)

    async def _give_way(self) -> None:
        """Leave the processor to the door for a moment, unless something urgent comes."""
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_YIELD_S):
                await self._hurry.wait()

    async def _pause(self) -> None:
        now = self._clock.now()
        wait = max(0.001, self._next_poll - self._clock.monotonic())
        for partition in self.partitions.values():
            if (at := partition.next_timer()) is not None:
                wait = min(wait, max(0.001, (at - now).total_seconds()))
            if partition.paused:
                wait = min(wait, 0.2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    async def _round(self) -> int:
        await self._plan_reviews()
        await self._read()
        rounds = [r for p in list(self.partitions.values()) if (r := self._collect(p)) is not None]
        if not rounds:
            return 0
        try:
            await self._work(rounds)
        except BaseException as exc:
            # What was collected is out of memory's queues: only reading everything anew brings it back.
            error = exc if isinstance(exc, StoreError) else StoreUnavailable(type(exc).__name__)
            for r in rounds:
                self._lost(r, error)
            raise
        self._memory.evict(self.partitions.values())
        return sum(r.count for r in rounds)

    async def _plan_reviews(self) -> None:
        """Where rules or silences have changed, plan a look at everything that is open."""
        version = self._book().version
        if version == self._version and not self._all_again:
            return
        changed, self._version, self._all_again = version != self._version, version, False
        for partition in list(self.partitions.values()):
            await reviews.everything(partition, self._store, version if changed else "")

    async def _work(self, rounds: list[Round]) -> None:
        await self._memory.expand(rounds)
        await self._memory.load_groups(rounds)
        ledgers = await self._memory.load_ledgers(rounds, self.partitions)
        book = self._book()  # one rulebook for all partitions of this round
        for r, work in passing.in_order(rounds, book):
            self._decide(r, work, ledgers, book)
        for r in rounds:
            self._finish_round(r)
        await self._count_failures(rounds)
        await passing.send_onward(rounds, book, self._store, self._clock.now(), self.offer)
        ours = [r for r in rounds if self._ours(r)]
        await self._commit(ours)
        for r in rounds:
            if r not in ours:
                self._lost(r, Fenced("the lease was lost meanwhile"))

    def _ours(self, r: Round) -> bool:
        return self.partitions.get(r.partition.number) is r.partition

    async def _read(self) -> None:
        """Read inboxes: those known to be behind, and now and then all, for what others appended."""
        poll = self._clock.monotonic() >= self._next_poll
        if poll:
            self._next_poll = self._clock.monotonic() + (_POLL_ALONE_S if self.alone else _POLL_TOGETHER_S)
        asked: list[tuple[Partition, InboxPage, int]] = []
        for partition in self.partitions.values():
            for urgent in (True, False):
                lane = partition.lanes[urgent]
                if partition.wants_read(urgent=urgent) or (poll and not lane.ready):
                    page = InboxPage(partition.number, urgent, _READ, lane.after)
                    asked.append((partition, page, lane.declined))
        if not asked:
            return
        answers = await self._store.inbox([page for _, page, _ in asked])
        for (partition, page, declined), entries in zip(asked, answers, strict=True):
            partition.fill(entries, urgent=page.urgent, asked=page.count, declined_before=declined)

    def _collect(self, partition: Partition) -> Round | None:
        r = Round(partition)
        while partition.internal:
            r.internal.append(partition.internal.popleft())
        r.work += [(Work(key_of(i.event), i.event, i), None) for i in r.internal]
        now = self._clock.now()
        while (name := partition.due_timer(now)) is not None:
            if (event := timer_event(name)) is not None:  # a newer release's kind is left alone
                r.timers.append(name)
                r.work.append((Work(event.group, event), None))
        busy = sum(1 for p in self.partitions.values() if any(lane.ready for lane in p.lanes.values()))
        share = ROUND // max(1, busy)
        for urgent in (True, False):
            while r.count < share or not r.entries:
                pending = partition.pop(urgent=urgent, now=self._clock.monotonic())
                if pending is None:
                    break
                r.entries.append(pending)
                r.count += (
                    sum(len(e.alerts) if isinstance(e, GroupAlerts) else 1 for e in pending.events) or 1
                ) + sum(map(burying.weight, pending.events))
                r.work += [(Work(key_of(e), e), pending) for e in pending.events]
        r.count += len(r.internal) + len(r.timers)
        if r.count < share:
            reviews.collect(partition, r)
        return r if r.count else None

    # --- decide and commit ------------------------------------------------------------------------

    def _decide(
        self,
        r: Round,
        work: Sequence[tuple[Work, Pending | None]],
        ledgers: dict[str, Ledger],
        book: Rulebook,
    ) -> None:
        now = self._clock.now()
        whys: Counter[str] = Counter()
        r.batch.at = now
        for w, pending in work:
            try:
                seen = applying.snapshot(r.partition, w.key, w.event, ledgers, self._lookout.outlook)
                decision = deciding.decide(w.event, seen, book, now)
                changed = applying.apply(r.partition, w.key, decision, r.batch)
                self._lookout.apply(r.partition.number, changed, decision.onset)
                self._metrics.judged(decision.judged)
                r.onward += decision.onward
                if isinstance(w.event, Review) or w.key in r.partition.muted or decision.mutes:
                    r.partition.note_muted(w.key)
                if decision.dead:
                    self._bury(r, burying.undone(w.event, decision.dead, now))
            except Exception:
                log.exception("decide_failed", group=w.key, kind=type(w.event).__name__)
                self._failed(r, w, pending)
                continue
            for reason in decision.why:
                whys[reason.why] += 1
        self._metrics.decided_for(whys)

    def _finish_round(self, r: Round) -> None:
        """Acknowledge what was decided, and drop the wake-ups that came."""
        now = self._clock.now()
        for name in r.timers:
            r.batch.timers.setdefault(name, None)
        for pending in r.entries:
            if pending.name not in r.failed:
                self._ack(r, pending)
                if pending.raw:
                    for raw in pending.raw:
                        self._bury(r, DeadLetter(now, "undecodable", "this release cannot read it", raw))

    def _failed(self, r: Round, w: Work, pending: Pending | None) -> None:
        """Keep what a decision failed on: an entry for another try, a wake-up for a later one."""
        self._metrics.decide_failures.inc()
        if pending is not None:
            r.failed.add(pending.name)
        elif w.internal is not None:
            resolve(w.internal, done=False)
        elif isinstance(w.event, TimerDue):
            name = timer_name(w.event.kind, w.event.group, w.event.generation)
            r.partition.rearm(name, self._clock.now() + _TIMER_AGAIN)
            r.timers.remove(name)

    def _ack(self, r: Round, pending: Pending) -> None:
        (r.batch.acks_urgent if pending.urgent else r.batch.acks_normal).append(pending.id)

    def _bury(self, r: Round, letter: DeadLetter) -> None:
        r.batch.dead.append(letter)
        self._metrics.dead.labels(letter.kind).inc()

    async def _count_failures(self, rounds: list[Round]) -> None:
        """A poison event must not stop the rest: a few tries, then it is put aside."""
        for r in rounds:
            for pending in r.entries:
                if pending.name not in r.failed:
                    continue
                tries = await self._store.try_count(r.partition.number, pending.name)
                if tries >= MOST_TRIES:
                    await self._store.try_count(r.partition.number, pending.name, clear=True)
                    self._ack(r, pending)
                    for payload in map(codec.encode, pending.events):
                        reason = f"failed {tries} times"
                        self._bury(r, DeadLetter(self._clock.now(), "undecidable", reason, payload))
                else:
                    r.partition.put_back(pending, self._clock.monotonic() + 0.2 * 2**tries)

    async def _commit(self, rounds: list[Round]) -> None:
        full = [r for r in rounds if r.batch]
        results = await self._store.commit([(r.partition.lease, r.batch) for r in full]) if full else []
        for r, result in zip(full, results, strict=True):
            if isinstance(result, StoreError):
                self._lost(r, result)
                continue
            self._metrics.commits.labels("ok").inc()
            if r.batch.dead:
                await burying.warn_of_full(r.partition.number, self._store, self._metrics)
            self._metrics.decided.inc(r.count)
            r.partition.lease = result
        for r in rounds:
            if self._ours(r):
                self._committed(r)
            else:
                finish(r, done=False)  # taken from us meanwhile: whoever waits looks again

    def _committed(self, r: Round) -> None:
        partition = r.partition
        partition.done(r.batch.acks_urgent, urgent=True)
        partition.done(r.batch.acks_normal, urgent=False)
        for name, at in r.batch.timers.items():
            partition.set_timer(name, at)
        finish(r, done=True)
        if self.outbox is not None:
            self.outbox.announce(partition, r.batch.groups, r.batch.ledgers)

    def _lost(self, r: Round, error: StoreError) -> None:
        """Forget the partition: its lease is taken anew (or is another's), and all is read again."""
        self._metrics.commits.labels("fenced" if isinstance(error, Fenced) else "unsure").inc()
        log.warning("commit_failed", partition=r.partition.number, error=str(error))
        finish(r, done=False)
        if self._ours(r):
            self.drop(r.partition.number)

    async def load(self, job: JobKey) -> Partition | None:
        """Return the job's partition with the job's group or ledger in memory, None where it is not ours."""
        return await self._memory.load(job, self.partitions)
