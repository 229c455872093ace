"""What is brought into a partition's memory before it is needed, and what leaves it again.

Only this file puts what was read from the store into memory. The engine's rounds are one
after the other, so what a round loads is current; a delivery's load runs beside them,
so its group is pinned: were it evicted meanwhile, an old reading could come after a
newer commit.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from router.decide import engine as deciding
from router.decide.decision import Snapshot
from router.model.events import DeployNoticed, GroupAlerts, Review, TimerDue
from router.model.keys import partition_of, service_key
from router.work import applying
from router.work.rounds import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from router.model.deploys import Ledger
    from router.ports import Clock, Store
    from router.rulebook.book import Rulebook
    from router.work.jobs import JobKey
    from router.work.partition import Partition
    from router.work.rounds import Round

#: Groups kept in memory over all partitions.
MOST_GROUPS = 20_000
#: Ledgers kept: each may hold thirty deploys.
MOST_LEDGERS = 2_000
#: How old another partition's ledger may be when an incident opens; a notice follows every change anyway.
LEDGER_TTL = timedelta(seconds=1)


class Memory:
    """Loads for one engine, and the ledgers of partitions that are not its own."""

    def __init__(self, store: Store, book: Callable[[], Rulebook], clock: Clock) -> None:
        self._store, self._book, self._clock = store, book, clock
        self._foreign: dict[str, tuple[datetime, Ledger | None]] = {}

    async def expand(self, rounds: list[Round]) -> None:
        """A notice becomes one piece of work for each open group that it may concern."""
        for r in rounds:
            notices = [(w, p) for w, p in r.work if isinstance(w.event, DeployNoticed)]
            if not notices:
                continue
            r.work = [(w, p) for w, p in r.work if not isinstance(w.event, DeployNoticed)]
            for w, pending in notices:
                assert isinstance(w.event, DeployNoticed)  # noqa: S101  filtered above
                self._foreign.pop(w.event.service, None)
                services = [w.event.service, *self._book().callers(w.event.service)]
                groups = await self._store.open_groups(r.partition.number, services)
                r.work += [(Work(g, w.event), pending) for g in groups]

    async def load_groups(self, rounds: list[Round]) -> None:
        """Bring the groups and ledgers that a round's events are about into memory, in two round trips."""
        groups: dict[str, int] = {}
        ledgers: dict[str, int] = {}
        for r in rounds:
            for w, _ in r.work:
                if applying.ledger_key(w.event) is not None:
                    if w.key not in r.partition.ledgers:
                        ledgers[w.key] = r.partition.number
                elif w.key and w.key not in r.partition.groups:
                    groups[w.key] = r.partition.number
        by_number = {r.partition.number: r.partition for r in rounds}
        for group, record in (await self._store.groups(groups)).items():
            by_number[groups[group]].groups.setdefault(group, record)
        for key, ledger in (await self._store.ledgers(ledgers)).items():
            by_number[ledgers[key]].ledgers.setdefault(key, ledger)

    async def load_ledgers(self, rounds: list[Round], owned: Mapping[int, Partition]) -> dict[str, Ledger]:
        """Return by service the ledgers in which suspects may be looked for."""
        book, now = self._book(), self._clock.now()
        wanted: set[str] = set()
        for r in rounds:
            for w, _ in r.work:
                if isinstance(w.event, GroupAlerts | DeployNoticed | TimerDue | Review):
                    record = r.partition.groups.get(w.key)
                    seen = Snapshot(incident=record.head if record else None)
                    wanted.update(deciding.services_needed(w.event, seen, book))
        missing: dict[str, int] = {}
        names: dict[str, str] = {}
        for service in wanted:
            key = service_key(service)
            number = partition_of(key, self._store.partitions)
            mine = owned.get(number)
            if mine is not None and key in mine.ledgers:
                self._foreign[service] = (now, mine.ledgers[key])
            elif service not in self._foreign or abs(now - self._foreign[service][0]) > LEDGER_TTL:
                missing[key], names[key] = number, service
        found = await self._store.ledgers(missing)
        for key, service in names.items():
            self._foreign[service] = (now, found.get(key))
        found_ones = ((s, self._foreign[s][1]) for s in wanted)
        out = {s: ledger for s, ledger in found_ones if ledger is not None and not ledger.broken}
        if len(self._foreign) > MOST_LEDGERS:
            self._foreign.clear()
        return out

    async def load(self, job: JobKey, owned: Mapping[int, Partition]) -> Partition | None:
        """Return the job's partition with the job's group or ledger in memory, None where it is not ours."""
        partition = owned.get(job.partition)
        if partition is None:
            return None
        with partition.pin(job.group):
            if job.generation and job.group not in partition.groups:
                record = (await self._store.groups({job.group: job.partition}))[job.group]
                partition.groups.setdefault(job.group, record)
            elif not job.generation and job.group not in partition.ledgers:
                found = await self._store.ledgers({job.group: job.partition})
                for key, ledger in found.items():
                    partition.ledgers.setdefault(key, ledger)
        return partition if owned.get(job.partition) is partition else None

    def evict(self, partitions: Iterable[Partition]) -> None:
        """Keep memory bounded; whatever is dropped is in the store."""
        partitions = list(partitions)
        if sum(len(p.groups) for p in partitions) > MOST_GROUPS:
            for partition in partitions:
                for key in list(partition.groups)[: len(partition.groups) // 2]:
                    if key not in partition.pinned:
                        del partition.groups[key]
        if sum(len(p.ledgers) for p in partitions) > MOST_LEDGERS:
            for partition in partitions:
                for key in list(partition.ledgers)[: len(partition.ledgers) // 2]:
                    if key not in partition.pinned:
                        del partition.ledgers[key]
