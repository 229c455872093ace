"""Leases without clocks: a beat that stands still by one's own monotonic time, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from router.ports import Lease, LeaseSeen
from router.work.leases import Leases


class FakeClock:
    def __init__(self) -> None:
        self.at = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


class Shared:
    """What two processes see of one store: leases by partition, beats by name."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.rows: dict[int, list] = {}
        self.beats: dict[str, int] = {}

    async def beat(self, owner: str, *, gone: bool = False) -> dict[str, str]:
        if gone:
            self.beats.pop(owner, None)
        else:
            self.beats[owner] = self.beats.get(owner, 0) + 1
        return {k: str(v) for k, v in self.beats.items()}

    async def leases(self) -> dict[int, LeaseSeen]:
        return {p: LeaseSeen(o, f"{b}/{e}") for p, (o, e, b) in self.rows.items() if o}

    async def acquire(self, partition: int, owner: str, seen: LeaseSeen | None) -> Lease | None:
        held, epoch, beat = self.rows.get(partition, ["", 0, 0])
        if held not in {"", owner} and (seen is None or seen != LeaseSeen(held, f"{beat}/{epoch}")):
            return None
        self.rows[partition] = [owner, epoch + 1, 0]
        return Lease(partition, str(epoch + 1), "0")

    async def renew(self, lease: Lease, owner: str) -> bool:
        row = self.rows[lease.partition]
        if row[0] != owner or str(row[1]) != lease.epoch:
            return False
        row[2] += 1
        return True

    async def release(self, lease: Lease, owner: str) -> None:
        if await self.renew(lease, owner):
            self.rows[lease.partition][0] = ""


class FakeEngine:
    def __init__(self) -> None:
        self.partitions: dict = {}
        self.alone = True

    async def adopt(self, lease: Lease) -> None:
        self.partitions[lease.partition] = type("P", (), {"lease": lease, "number": lease.partition})()

    def drop(self, number: int) -> None:
        self.partitions.pop(number, None)


@pytest.fixture
def shared() -> Shared:
    return Shared(6)


def process(shared: Shared, name: str, clock: FakeClock) -> Leases:
    return Leases(shared, FakeEngine(), clock, name, lease_s=10, patience_s=15)


async def test_one_takes_all_at_once(shared: Shared) -> None:
    """A lone process holds every partition after its first turn."""
    one = process(shared, "one", FakeClock())
    await one.turn()
    assert set(one._engine.partitions) == set(range(6))
    assert one._engine.alone


async def test_two_share_and_none_is_held_twice(shared: Shared) -> None:
    """A second process gets its half, one partition a turn, and no partition has two owners."""
    clock = FakeClock()
    one, two = process(shared, "one", clock), process(shared, "two", clock)
    await one.turn()
    for _ in range(6):
        for each in (two, one):
            await each.turn()
        clock.at += 1
        assert not set(one._engine.partitions) & set(two._engine.partitions)
    assert len(one._engine.partitions) == len(two._engine.partitions) == 3
    assert not one._engine.alone


async def test_takeover_only_after_the_beat_stood_still(shared: Shared) -> None:
    """A silent owner keeps its partitions for lease_s of the challenger's own time, and loses them then."""
    clock = FakeClock()
    dead, heir = process(shared, "dead", clock), process(shared, "heir", clock)
    await dead.turn()
    await heir.turn()
    clock.at += 9
    await heir.turn()
    assert not heir._engine.partitions
    clock.at += 2
    await heir.turn()
    assert set(heir._engine.partitions) == set(range(6))
    await dead.turn()
    assert not set(dead._engine.partitions) & set(heir._engine.partitions)


async def test_who_cannot_renew_stops_sending(shared: Shared) -> None:
    """An owner whose last renewal is older than the lease no longer sends, whether or not it knows why."""
    clock = FakeClock()
    one = process(shared, "one", clock)
    await one.turn()
    assert one.may_send(0)
    clock.at += 10
    assert not one.may_send(0)


async def test_a_namesake_need_not_wait(shared: Shared) -> None:
    """The next process of the same name takes its leases at once."""
    clock = FakeClock()
    await process(shared, "one", clock).turn()
    again = process(shared, "one", clock)
    await again.turn()
    assert set(again._engine.partitions) == set(range(6))


async def test_a_graceful_stop_gives_all_back(shared: Shared) -> None:
    """After a graceful stop others take over without waiting."""
    clock = FakeClock()
    one, two = process(shared, "one", clock), process(shared, "two", clock)
    await one.turn()
    await one.release_all()
    await two.turn()
    assert set(two._engine.partitions) == set(range(6))
