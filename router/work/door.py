"""The door: place, append, answer. Group commit makes durability cheap.

Deliveries that arrive while one append is under way travel together in the next: one
round trip and one fsync for all of them, each partition's share atomic by itself.
What this process owns is also handed to the engine in memory, so that it need not be
read back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import msgspec

from router.decide import placing
from router.model import codec, keys
from router.model.errors import StoreUnavailable
from router.model.events import Act
from router.ports import Item, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from router.kit.metrics import Metrics
    from router.model.commands import Command
    from router.model.events import DeployNoticed, Doubt, Stored, Told, Unread
    from router.ports import Appended, Clock, Store
    from router.rulebook.book import Rulebook

#: What may wait for an append at once; beyond it the sender keeps its event (503).
MOST_WAITING_BYTES = 64 << 20
#: Appends under way at once: while the server works on one, the next is being made.
TOGETHER = 2
#: Items appended lately that count as a flood: by feel, about 2,000 a second.
PRESSED = 150
#: Senders wait 3 s at the least. A call's own timeout is not enough: this one may wait behind two that hang.
ANSWER_S = 2.8
#: Items per append: bounds a script's run time.
MOST_ITEMS = 2_000


class Handoff(Protocol):
    """Takes what was appended, if it owns the partition."""

    def offer(self, partition: int, entry: str, events: Sequence[Stored], *, urgent: bool) -> None:
        """Take one entry's events, in memory; may decline, they are in the store."""
        ...


@dataclass(slots=True, eq=False)
class _Ticket:
    items: list[Item]
    events: list[Stored]
    done: asyncio.Future[Taken]
    size: int = field(default=0)


class Door:
    """Intake over a store. :meth:`run` must be running."""

    def __init__(
        self, store: Store, book: Callable[[], Rulebook], clock: Clock, handoff: Handoff, metrics: Metrics
    ) -> None:
        self._store, self._book, self._clock = store, book, clock
        self._handoff, self._metrics = handoff, metrics
        self._waiting: list[_Ticket] = []
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._load = 0.0
        self._load_at = 0.0

    @property
    def pressed(self) -> bool:
        """True while so much arrives that deciding should leave the processor to the door.

        What is accepted is safe and can wait a moment; a sender that is not answered
        cannot. Urgent events are decided all the same.
        """
        return self._decayed() > PRESSED

    def _decayed(self) -> float:
        """Return the items appended lately: half of them count after 50 ms."""
        return float(self._load * 0.5 ** ((self._clock.monotonic() - self._load_at) / 0.05))

    async def take(self, source: str, told: Sequence[Told], at: datetime | None = None) -> Taken:
        """Place and append what a source told, received now or ``at``; returns when it is durable."""
        book = self._book()
        told = [await self._named(thing) if isinstance(thing, Act) else thing for thing in told]
        placed = placing.place(told, book, at or self._clock.now())
        taken = await self._append(placed)
        if dropped := placing.dropped(told, book):
            self._metrics.events.labels(source, "dropped").inc(dropped)
        if taken.accepted:
            self._metrics.events.labels(source, "accepted").inc(taken.accepted)
        if taken.repeated:
            self._metrics.events.labels(source, "repeated").inc(taken.repeated)
        return taken

    async def _named(self, act: Act) -> Act:
        """Return the act with our incident's id, learned from an earlier one of the same incident.

        PagerDuty tells our key with most that happens to an incident, but not with a note on it.
        """
        if not act.ref or act.source != "pagerduty":
            return act
        ref = f"{act.source}:{act.ref}"
        if act.incident:
            await self._store.name_ref(ref, act.incident)
            return act
        return msgspec.structs.replace(act, incident=await self._store.named_by(ref))

    async def command(self, command: Command) -> Taken:
        """Append what a person asked for."""
        return await self._append([placing.command(command)])

    async def doubt(self, event: Doubt) -> Taken:
        """Append a doubt for whoever owns the partition now."""
        return await self._append([placing.doubt(event)])

    async def unread(self, event: Unread) -> Taken:
        """Append a delivery that could not be read; the same body sent again counts once."""
        return await self._append([placing.unread(event)])

    async def again(self, event: Stored) -> Taken:
        """Append a stored event once more, as if it had never been seen."""
        placed = placing.again(event)
        return await self._append([placed] if placed is not None else [])

    async def notice(self, event: DeployNoticed) -> Taken:
        """Append a notice to every partition."""
        versions, payload = placing.notice(event)
        every = range(self._store.partitions)
        return await self._submit([Item(p, True, versions, payload) for p in every], [event for _ in every])

    async def _append(self, placed: Sequence[placing.Placed]) -> Taken:
        count = self._store.partitions
        items = [
            Item(keys.partition_of(p.key, count), p.urgent, p.versions, codec.encode(p.event)) for p in placed
        ]
        return await self._submit(items, [p.event for p in placed])

    async def _submit(self, items: list[Item], events: list[Stored]) -> Taken:
        if not items:
            return Taken(0, 0)
        size = sum(len(i.payload) for i in items)
        if self._waiting_bytes + size > MOST_WAITING_BYTES:
            raise StoreUnavailable("too much is waiting to be stored")
        ticket = _Ticket(items, events, asyncio.get_running_loop().create_future(), size)
        self._waiting.append(ticket)
        self._waiting_bytes += size
        self._wake.set()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await ticket.done
        except TimeoutError:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._waiting_bytes -= size
            raise StoreUnavailable(f"not stored within {ANSWER_S:g} s") from None

    async def run(self) -> None:
        """Append what waits until cancelled; :data:`TOGETHER` round trips may be under way at once."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(TOGETHER):
                    group.create_task(self._flusher())
        finally:
            for ticket in self._waiting:
                _fail(ticket, StoreUnavailable("the router is stopping"))

    async def _flusher(self) -> None:
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                await asyncio.sleep(0)  # let all that was read from sockets in this turn come along
            await self._flush(self._next())

    def _next(self) -> list[_Ticket]:
        n = 0
        for i, ticket in enumerate(self._waiting):
            n += len(ticket.items)
            if n >= MOST_ITEMS:
                batch, self._waiting = self._waiting[: i + 1], self._waiting[i + 1 :]
                return batch
        batch, self._waiting = self._waiting, []
        return batch

    async def _flush(self, tickets: list[_Ticket]) -> None:
        items = [i for t in tickets for i in t.items]
        self._load = self._decayed() + len(items)
        started = self._load_at = self._clock.monotonic()
        try:
            appended = await self._store.accept(items, self._clock.now())
        except BaseException as exc:
            error = exc if isinstance(exc, StoreUnavailable) else StoreUnavailable(type(exc).__name__)
            for ticket in tickets:
                _fail(ticket, error)
            if not isinstance(exc, StoreUnavailable):
                raise
            return
        finally:
            self._waiting_bytes -= sum(t.size for t in tickets)
        self._metrics.intake_seconds.observe(self._clock.monotonic() - started)
        self._answer(tickets, appended)
        self._hand_over([e for t in tickets for e in t.events], appended)

    def _answer(self, tickets: list[_Ticket], appended: dict[int, Appended]) -> None:
        fresh: set[int] = set()
        for result in appended.values():
            fresh |= result.fresh
        at = 0
        for ticket in tickets:
            n = len(ticket.items)
            accepted = sum(1 for i in range(at, at + n) if i in fresh)
            at += n
            if not ticket.done.done():
                ticket.done.set_result(Taken(accepted, n - accepted))

    def _hand_over(self, events: list[Stored], appended: dict[int, Appended]) -> None:
        for partition, result in appended.items():
            for entry, positions in result.urgent:
                self._handoff.offer(partition, entry, [events[i] for i in positions], urgent=True)
            for entry, positions in result.normal:
                self._handoff.offer(partition, entry, [events[i] for i in positions], urgent=False)


def _fail(ticket: _Ticket, error: StoreUnavailable) -> None:
    if not ticket.done.done():
        ticket.done.set_exception(error)
