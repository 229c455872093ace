"""Who works which partition: takes free leases, renews its own, gives back what is more than its share.

No clock is compared between hosts. A lease is given up for dead when its beat has stood
still for ``lease_s`` by this process's own monotonic clock; the fencing token then keeps
a slow owner from writing. An owner that could not renew for that long stops sending by
itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from router.model.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.ports import Clock, LeaseSeen, Store
    from router.work.engine import Engine
    from router.work.partition import Partition

log = structlog.get_logger(__name__)


class Leases:
    """The lease loop of one process."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        clock: Clock,
        owner: str,
        lease_s: float,
        *,
        patience_s: float,
    ) -> None:
        self._store, self._engine, self._clock = store, engine, clock
        self.owner, self._lease_s, self._patience_s = owner, lease_s, patience_s
        self.busy: Callable[[int], bool] = lambda _: False  # an attempt is under way for the partition
        self.leave: Callable[[int], None] = lambda _: None  # begin no attempt for the partition any more
        self._parting: dict[int, tuple[Partition, float]] = {}
        self._seen: dict[int, tuple[LeaseSeen, float]] = {}
        self._beats: dict[str, tuple[str, float]] = {}
        self._gone: list[str] = []
        self._renewed: dict[int, float] = {}

    def may_send(self, partition: int) -> bool:
        """True while the last renewal is fresh enough that nobody can have taken over."""
        return self._clock.monotonic() - self._renewed.get(partition, float("-inf")) < self._lease_s

    async def run(self) -> None:
        """Keep leases until cancelled; a failing store is waited for."""
        while True:
            started = self._clock.monotonic()
            try:
                busy = await self.turn()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="leases", error=str(exc))
                busy = False
            missing = self._store.partitions - len(self._engine.partitions)
            pause = 0.2 if busy or (missing and len(self._beats) <= 1) else self._lease_s / 3
            await self._clock.sleep(max(0.05, pause - (self._clock.monotonic() - started)))

    async def turn(self) -> bool:
        """Renew, take and give back once; True where another turn should follow soon."""
        living = self._living(await self._store.beat(self.owner))
        self._engine.alone = living <= 1
        for name in self._gone:  # crashed under a name that nobody will bear again
            await self._store.beat(name, gone=True)
        await self._renew()
        share = -(-self._store.partitions // max(1, living))
        await self._give_back(share)
        return await self._take(share) or bool(self._parting)

    def _living(self, beats: dict[str, str]) -> int:
        now = self._clock.monotonic()
        for name, beat in beats.items():
            if name not in self._beats or self._beats[name][0] != beat:
                self._beats[name] = (beat, now)
        self._beats = {n: b for n, b in self._beats.items() if n in beats}
        self._gone = [n for n, (_, at) in self._beats.items() if now - at > 10 * self._lease_s]
        return sum(1 for _, at in self._beats.values() if now - at < self._lease_s)

    async def _renew(self) -> None:
        for number, partition in list(self._engine.partitions.items()):
            asked = self._clock.monotonic()
            if await self._store.renew(partition.lease, self.owner):
                self._renewed[number] = asked
            elif self._engine.partitions.get(number) is partition:
                log.warning("lease_taken", partition=number)
                self._engine.drop(number)

    async def _give_back(self, share: int) -> None:
        """Give back one partition a turn while others have less: no stampede.

        Where attempts are under way for it no new one is begun, and it is kept until they
        have ended and are recorded: what is in doubt would be sent again by the next owner,
        and a trigger that lands after that one's resolve would open the page anew.
        """
        held = self._engine.partitions
        staying = sorted(set(held) - set(self._parting))
        if len(staying) > share:
            number = ([n for n in staying if not self.busy(n)] or staying)[-1]
            self._parting[number] = (held[number], self._clock.monotonic() + self._patience_s)
            self.leave(number)
        for number, (partition, until) in list(self._parting.items()):
            if held.get(number) is not partition:
                del self._parting[number]  # it was lost meanwhile
            elif not self.busy(number) or self._clock.monotonic() >= until:
                del self._parting[number]
                self._engine.drop(number)
                await self._store.release(partition.lease, self.owner)
                log.info("partition_given_back", partition=number)

    async def _take(self, share: int) -> bool:
        leases = await self._store.leases()
        now = self._clock.monotonic()
        took = False
        for number in range(self._store.partitions):
            if number in self._engine.partitions:
                continue
            if len(self._engine.partitions) >= share:
                break
            seen = leases.get(number)
            if seen is not None and seen.owner != self.owner and not self._stale(number, seen, now):
                continue
            asked = self._clock.monotonic()
            lease = await self._store.acquire(number, self.owner, seen)
            if lease is None:
                continue
            self._renewed[number] = asked
            await self._engine.adopt(lease)
            took = True
        return took

    def _stale(self, number: int, seen: LeaseSeen, now: float) -> bool:
        known = self._seen.get(number)
        if known is None or known[0] != seen:
            self._seen[number] = (seen, now)
            return False
        return now - known[1] >= self._lease_s

    async def release_all(self) -> None:
        """Give every lease back, so that others need not wait; part of a graceful stop."""
        held = {number: partition.lease for number, partition in self._engine.partitions.items()}
        for number in held:
            self._engine.drop(number)
        try:
            for lease in held.values():
                await self._store.release(lease, self.owner)
            await self._store.beat(self.owner, gone=True)
        except StoreUnavailable as exc:
            # Each further one would wait as long, and a stop has its deadline; leases run out by themselves.
            log.warning("leases_not_released", error=str(exc))
