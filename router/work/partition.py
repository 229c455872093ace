"""One partition in memory: its lease, what waits for a decision, its hot state, its wake-ups.

Nothing here does I/O. There is one writer per partition, so what is cached is what is
stored; whatever a failed commit touched is dropped and read anew.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.decide import muting
from router.model.events import TimerDue, TimerKind

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from router.model.deploys import Ledger
    from router.model.events import Event, Stored
    from router.ports import GroupRecord, InboxEntry, Lease

#: Events held in memory per partition and lane; the rest waits in the store.
MOST_READY = 2_000


@dataclass(slots=True)
class Pending:
    """One inbox entry waiting for a decision. ``raw`` holds what could not be decoded."""

    id: str
    urgent: bool
    events: Sequence[Stored]
    raw: Sequence[bytes] = ()

    @property
    def name(self) -> str:
        """Its id, with the lane: entries of both lanes that were appended together have the same id."""
        return _name(self.id, urgent=self.urgent)


@dataclass(slots=True)
class Internal:
    """An event from within, and who waits for its commit."""

    event: Event
    done: asyncio.Future[bool] | None = None


@dataclass(slots=True)
class _Lane:
    ready: deque[Pending] = field(default_factory=deque)
    count: int = 0
    behind: bool = True  # at first, the store may hold more than memory does
    after: str = ""  # the last entry read from the store; ids only grow, so nothing older can appear
    declined: int = 0


class Partition:
    """The memory of one owned partition."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.number = lease.partition
        self.internal: deque[Internal] = deque()
        self.lanes = {True: _Lane(), False: _Lane()}
        self.held: set[str] = set()  # names of entries in memory, queued or being decided
        self.paused: dict[str, float] = {}  # name -> not before (monotonic), after a failed decision
        self.groups: dict[str, GroupRecord] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.pinned: Counter[str] = Counter()  # keys being read beside the engine: not to be evicted
        self.to_review: dict[str, None] = {}  # groups to be looked at again, in order
        self.review_book = ""  # noted as the rulebook of all groups once none is left
        self.muted: dict[str, frozenset[str]] = {}  # groups with something muted -> the keys that inhibit
        self._timers: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []

    @contextmanager
    def pin(self, key: str) -> Iterator[None]:
        """Keep a group in memory, once it is there, until the block ends."""
        self.pinned[key] += 1
        try:
            yield
        finally:
            self.pinned[key] -= 1
            if not self.pinned[key]:
                del self.pinned[key]

    # --- the inbox --------------------------------------------------------------------------------

    def offer(self, entry: str, events: Sequence[Stored], *, urgent: bool) -> None:
        """Take an entry just appended; declined while older ones are still to be read from the store."""
        lane = self.lanes[urgent]
        if _name(entry, urgent=urgent) in self.held or (lane.after and _number(entry) <= _number(lane.after)):
            return  # the store gave it to a read before the door's answer came
        if lane.behind or lane.count >= MOST_READY:
            lane.behind = True
            lane.declined += 1
            return
        self._push(lane, Pending(entry, urgent, events))

    def wants_read(self, *, urgent: bool) -> bool:
        """True where memory is nearly empty and the store holds more."""
        lane = self.lanes[urgent]
        return lane.behind and lane.count < MOST_READY // 4

    def fill(self, entries: Sequence[InboxEntry], *, urgent: bool, asked: int, declined_before: int) -> None:
        """Take entries read from the store, oldest first, less those already held."""
        lane = self.lanes[urgent]
        if entries:
            lane.after = entries[-1].id
        for entry in entries:
            if _name(entry.id, urgent=urgent) not in self.held:
                events = [e for e in entry.events if not isinstance(e, bytes)]
                raw = [e for e in entry.events if isinstance(e, bytes)]
                self._push(lane, Pending(entry.id, urgent, events, raw))
        if len(entries) < asked and lane.declined == declined_before:
            lane.behind = False

    def _push(self, lane: _Lane, pending: Pending) -> None:
        self.held.add(pending.name)
        lane.ready.append(pending)
        lane.count += len(pending.events)

    def pop(self, *, urgent: bool, now: float) -> Pending | None:
        """Return the oldest entry of a lane that may be decided now."""
        lane = self.lanes[urgent]
        for _ in range(len(lane.ready)):
            pending = lane.ready.popleft()
            if self.paused and self.paused.get(pending.name, 0.0) > now:
                lane.ready.append(pending)
                continue
            lane.count -= len(pending.events)
            return pending
        return None

    def put_back(self, pending: Pending, not_before: float) -> None:
        """Keep an entry whose decision failed, for later."""
        lane = self.lanes[pending.urgent]
        self.paused[pending.name] = not_before
        lane.ready.append(pending)
        lane.count += len(pending.events)

    def done(self, entries: Sequence[str], *, urgent: bool) -> None:
        """Forget entries of one lane that were committed."""
        for name in (_name(entry, urgent=urgent) for entry in entries):
            self.held.discard(name)
            self.paused.pop(name, None)

    @property
    def idle(self) -> bool:
        """True where nothing waits in memory or, as far as is known, in the store."""
        return not (self.internal or self.to_review) and all(
            not lane.ready and not lane.behind for lane in self.lanes.values()
        )

    # --- what is muted ----------------------------------------------------------------------------

    def note_muted(self, group: str) -> None:
        """Remember by what a group's alerts are muted, as it stands in memory."""
        record = self.groups.get(group)
        head = record.head if record is not None else None
        if record is None or head is None or not head.state.open or not head.muted:
            self.muted.pop(group, None)
            return
        tokens = (m.muted for m in record.members.values() if m.muted and m.generation == head.generation)
        self.muted[group] = frozenset(key for token in tokens if (key := muting.key_of(token)))

    def muted_by(self, keys: Collection[str]) -> list[str]:
        """Return the groups that one of these keys inhibits."""
        return [group for group, found in self.muted.items() if not found.isdisjoint(keys)]

    # --- wake-ups ---------------------------------------------------------------------------------

    def set_timer(self, name: str, at: datetime | None) -> None:
        """Mirror a committed wake-up."""
        if at is None:
            self._timers.pop(name, None)
        else:
            self._timers[name] = at
            heapq.heappush(self._heap, (at, name))
            if len(self._heap) > 2 * len(self._timers) + 1000:
                self._heap = [(when, each) for each, when in self._timers.items()]
                heapq.heapify(self._heap)

    def due_timer(self, now: datetime) -> str | None:
        """Return the name of a wake-up whose time has come; it stays until its commit drops it."""
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._timers.get(name) == at:
                return name
        return None

    def rearm(self, name: str, at: datetime) -> None:
        """Put a wake-up whose decision failed off until then, in memory only."""
        self.set_timer(name, at)

    def next_timer(self) -> datetime | None:
        """Return when the next wake-up is due."""
        return self._heap[0][0] if self._heap else None


def _name(entry: str, *, urgent: bool) -> str:
    return f"{'hi' if urgent else 'lo'} {entry}"


def _number(entry: str) -> tuple[int, int]:
    """Return a stream entry's id as numbers, which compare as Redis orders them."""
    at, _, n = entry.partition("-")
    return int(at), int(n)


def timer_name(kind: TimerKind, group: str, generation: int) -> str:
    """Return the stored name of a wake-up."""
    return f"{kind}|{group}|{generation}"


def timer_event(name: str) -> TimerDue | None:
    """Return the event of a stored wake-up, or None where this release does not know its kind."""
    kind, _, rest = name.partition("|")
    group, _, generation = rest.partition("|")
    try:
        return TimerDue(group=group, generation=int(generation), kind=TimerKind(kind))
    except ValueError:
        return None
