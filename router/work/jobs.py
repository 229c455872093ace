"""What waits to be told, in lanes: by severity, then age; a lane never waits for another.

Pure bookkeeping: a job is a name, never content; what is sent is read when it is sent.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.decide.settle import PARTITIONS
from router.model.destinations import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from router.model.deploys import Ledger
    from router.model.destinations import Destination
    from router.model.incidents import Incident
    from router.ports import GroupRecord

_LEAST = 9  # ranks after every severity


@dataclass(frozen=True, slots=True, order=True)
class JobKey:
    """One destination of one incident (or deploy: generation 0, target ``<deploy>|<target>``)."""

    partition: int
    group: str
    generation: int
    target: str


@dataclass(slots=True)
class LaneQueue:
    """One lane: ready jobs by (severity, order), later ones by their time; each job at most once."""

    _ready: list[tuple[int, int, JobKey]] = field(default_factory=list)
    _later: list[tuple[float, int, int, JobKey]] = field(default_factory=list)
    _known: set[JobKey] = field(default_factory=set)
    _busy: set[JobKey] = field(default_factory=set)
    _count: int = 0

    def __len__(self) -> int:
        """Return how many wait, those under way not counted."""
        return len(self._known) - len(self._busy)

    def add(self, job: JobKey, rank: int, not_before: float, now: float) -> bool:
        """Queue a job, unless it waits or is under way; ``not_before`` and ``now`` are seconds of one clock."""
        if job in self._known:
            return False
        self._known.add(job)
        self._count += 1
        if not_before > now:
            heapq.heappush(self._later, (not_before, rank, self._count, job))
        else:
            heapq.heappush(self._ready, (rank, self._count, job))
        return True

    def pop(self, now: float) -> JobKey | None:
        """Return the next job whose time has come, marked as under way."""
        while self._later and self._later[0][0] <= now:
            _, rank, order, job = heapq.heappop(self._later)
            heapq.heappush(self._ready, (rank, order, job))
        while self._ready:
            _, _, job = heapq.heappop(self._ready)
            if job in self._known and job not in self._busy:
                self._busy.add(job)
                return job
        return None

    def next_at(self) -> float | None:
        """Return when the next later job is due."""
        return self._later[0][0] if self._later else None

    def finish(self, job: JobKey) -> None:
        """Forget a job that was under way; it may be queued again."""
        self._busy.discard(job)
        self._known.discard(job)

    def forget(self, partition: int) -> None:
        """Drop a partition's waiting jobs; those under way end by themselves."""
        self._known = {j for j in self._known if j.partition != partition or j in self._busy}


def due_in_group(partition: int, group: str, record: GroupRecord) -> Iterator[tuple[JobKey, Destination, int]]:
    """Yield what is due in a group: job, destination, rank."""
    heads: list[Incident] = list(record.past.values())
    if record.head is not None:
        heads.append(record.head)
    for head in heads:
        for target, destination in head.destinations.items():
            if destination.due:
                yield JobKey(partition, group, head.generation, target), destination, head.severity.rank


def due_in_ledger(partition: int, key: str, ledger: Ledger) -> Iterator[tuple[JobKey, Destination | None, int]]:
    """Yield what is due in a ledger; a None destination is the notice to all partitions."""
    if ledger.noticed < ledger.seen:
        yield JobKey(partition, key, 0, PARTITIONS), None, 0
    for deploy in ledger.deploys:
        for target, destination in deploy.destinations.items():
            if destination.due:
                yield JobKey(partition, key, 0, f"{deploy.id}|{target}"), destination, _LEAST


def seconds(at: datetime | None) -> float:
    """Return a wall time in seconds, 0 for None."""
    return at.timestamp() if at is not None else 0.0


def lanes() -> dict[Lane, LaneQueue]:
    """Return an empty queue per lane."""
    return {lane: LaneQueue() for lane in Lane}


def total(queues: Iterable[LaneQueue]) -> int:
    """Return how many jobs wait in all."""
    return sum(len(q) for q in queues)
