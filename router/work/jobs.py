"""What waits to be told, in lanes: by severity, then age; a lane never waits for another.

Pure bookkeeping: a job is a name, never content; what is sent is read when it is sent.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
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

    @property
    def gate(self) -> str:
        """The target alone: what is slow or closed as a whole."""
        return self.target.rpartition("|")[2]


class LaneQueue:
    """One lane: ready jobs per gate by (severity, order), later ones by their time; each job at most once.

    A gate is a target: where the other side asks for patience, its gate is closed for a
    while and the jobs behind it stay where they are, instead of being tried one by one.
    Times are seconds of one clock.
    """

    def __init__(self) -> None:
        self._ready: dict[str, list[tuple[int, int, JobKey]]] = {}
        self._later: list[tuple[float, int, int, JobKey]] = []
        self._closed: dict[str, float] = {}
        self._known: dict[
            JobKey, int
        ] = {}  # job -> the order under which it is queued; other entries are stale
        self._busy: set[JobKey] = set()
        self._count = 0

    def __len__(self) -> int:
        """Return how many wait, those under way not counted."""
        return len(self._known) - len(self._busy)

    def add(self, job: JobKey, rank: int, not_before: float, now: float) -> bool:
        """Queue a job, unless it waits or is under way."""
        if job in self._known:
            return False
        self._count += 1
        self._known[job] = self._count
        if not_before > now:
            heapq.heappush(self._later, (not_before, rank, self._count, job))
        else:
            heapq.heappush(self._ready.setdefault(job.gate, []), (rank, self._count, job))
        return True

    def pop(self, now: float) -> tuple[JobKey, int] | None:
        """Return the best job behind an open gate and its rank, marked as under way."""
        while self._later and self._later[0][0] <= now:
            _, rank, order, job = heapq.heappop(self._later)
            if self._known.get(job) == order:
                heapq.heappush(self._ready.setdefault(job.gate, []), (rank, order, job))
        best: list[tuple[int, int, JobKey]] | None = None
        for gate, heap in list(self._ready.items()):
            while heap and (self._known.get(heap[0][2]) != heap[0][1] or heap[0][2] in self._busy):
                heapq.heappop(heap)
            if not heap:
                del self._ready[gate]
            elif self._closed.get(gate, 0.0) <= now and (best is None or heap[0] < best[0]):
                best = heap
        if best is None:
            return None
        rank, _, job = heapq.heappop(best)
        self._busy.add(job)
        return job, rank

    def hold(self, gate: str, until: float) -> None:
        """Close a gate until then."""
        self._closed[gate] = max(self._closed.get(gate, 0.0), until)

    def next_at(self, now: float) -> float | None:
        """Return when something may be ready that is not now."""
        times = [self._later[0][0]] if self._later else []
        times += [until for gate, until in self._closed.items() if gate in self._ready and until > now]
        return min(times, default=None)

    def finish(self, job: JobKey) -> None:
        """Forget a job that was under way; it may be queued again."""
        self._busy.discard(job)
        self._known.pop(job, None)

    def forget(self, partition: int) -> None:
        """Drop a partition's waiting jobs; those under way end by themselves."""
        self._known = {j: n for j, n in self._known.items() if j.partition != partition or j in self._busy}

    def busy(self, partition: int) -> bool:
        """True while a job of this partition is under way."""
        return any(j.partition == partition for j in self._busy)


def due_in_group(
    partition: int, group: str, record: GroupRecord
) -> Iterator[tuple[JobKey, Destination, int]]:
    """Yield what is due in a group: job, destination, rank."""
    if record.broken:
        return  # nothing can be recorded on it, so nothing is sent either
    heads: list[Incident] = list(record.past.values())
    if record.head is not None:
        heads.append(record.head)
    for head in heads:
        for target, destination in head.destinations.items():
            if destination.due:
                yield JobKey(partition, group, head.generation, target), destination, head.severity.rank


def due_in_ledger(
    partition: int, key: str, ledger: Ledger
) -> Iterator[tuple[JobKey, Destination | None, int]]:
    """Yield what is due in a ledger; a None destination is the notice to all partitions."""
    if ledger.broken:
        return
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
