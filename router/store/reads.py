"""What the API shows, read straight from Redis; a moment old at most."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.model import codec
from router.model.keys import partition_of
from router.ports import DeadLetter
from router.store.store import group_record, ledger_of

if TYPE_CHECKING:
    from router.model.deploys import Deploy
    from router.model.events import Alert
    from router.model.incidents import Entry, Incident
    from router.store.store import RedisStore


class RedisReader:
    """Reader over the same link and keys as the store."""

    def __init__(self, store: RedisStore) -> None:
        self._keys = store.keys
        self._link = store.link

    async def ping(self) -> None:
        """Raise StoreUnavailable where the store does not answer."""
        await self._link.read([("PING",)])

    async def incidents(self, *, include_closed: bool, limit: int) -> list[Incident]:
        """Return heads, newest first; open ones before closed ones where both are asked for."""
        found = await self._newest("open", limit)
        if include_closed:
            found += await self._newest("closed", limit)
        found = found[:limit]
        rows = (
            await self._link.read([("HGET", self._keys[p].group(g), "h") for _, p, g in found])
            if found
            else []
        )
        return [head for row in rows if row is not None and (head := _incident(row)) is not None]

    async def _newest(self, index: str, limit: int) -> list[tuple[float, int, str]]:
        rows = await self._link.read(
            [("ZRANGE", getattr(k, index), 0, limit - 1, "REV", "WITHSCORES") for k in self._keys]
        )
        found = []
        for partition, row in enumerate(rows):
            found += [(score, partition, name) for name, score in _scored(row)]
        return heapq.nlargest(limit, found)

    async def incident(self, group: str, generation: int) -> tuple[Incident, list[Alert], list[Entry]] | None:
        """Return one incident with its alerts (firing first) and its timeline."""
        k = self._keys[partition_of(group, len(self._keys))]
        row, lines = await self._link.read(
            [("HGETALL", k.group(group)), ("LRANGE", k.timeline(group), 0, -1)]
        )
        record = group_record(row)
        head = (
            record.head
            if record.head and record.head.generation == generation
            else record.past.get(generation)
        )
        if head is None or not generation:
            return None
        alerts = [m.alert for m in record.members.values() if m.generation == generation]
        alerts.sort(key=lambda a: (not a.firing, a.starts_at, a.key))
        timeline = [e for e in (codec.entry(line) for line in lines) if e.generation == generation]
        return head, alerts, timeline

    async def deploys(self, *, limit: int) -> list[Deploy]:
        """Return deploys, newest first."""
        found = await self._newest("services", limit)
        rows = (
            await self._link.read([("GET", self._keys[p].service(s)) for _, p, s in found]) if found else []
        )
        deploys = [d for row in rows if row is not None for d in ledger_of(row).deploys]
        deploys.sort(key=lambda d: max(d.phases.values()), reverse=True)
        return deploys[:limit]

    async def dead_letters(self, *, limit: int) -> list[DeadLetter]:
        """Return dead letters, newest first."""
        rows = await self._link.read([("XREVRANGE", k.dead, "+", "-", "COUNT", limit) for k in self._keys])
        out = []
        for row in rows:
            for _, fields in row:
                values = (
                    fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
                )
                at = datetime.fromtimestamp(int(values[b"at"]) / 1000, UTC)
                out.append(DeadLetter(at, values[b"kind"].decode(), values[b"reason"].decode(), values[b"d"]))
        out.sort(key=lambda d: d.at, reverse=True)
        return out[:limit]

    async def depths(self) -> dict[str, int]:
        """Return how much waits, over all partitions."""
        commands: list[tuple[Any, ...]] = []
        for k in self._keys:
            commands += [
                ("XLEN", k.urgent), ("XLEN", k.normal), ("SCARD", k.due),
                ("ZCARD", k.timers), ("XLEN", k.dead), ("ZCARD", k.open),
            ]  # fmt: skip
        rows = await self._link.read(commands)
        names = ("inbox_urgent", "inbox_normal", "due", "timers", "dead", "open")
        return {name: sum(rows[i :: len(names)]) for i, name in enumerate(names)}


def _incident(row: bytes) -> Incident | None:
    """Return a head; one of another release is left out of a list rather than failing it."""
    try:
        return codec.incident(row)
    except codec.Undecodable:
        return None


def _scored(row: Any) -> list[tuple[str, float]]:
    if row and isinstance(row[0], list | tuple):
        return [(name.decode(), float(score)) for name, score in row]
    return [(name.decode(), float(score)) for name, score in zip(row[::2], row[1::2], strict=True)]
