"""What the API shows, read straight from Redis; a moment old at most."""

from __future__ import annotations

import heapq
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from router.model import codec
from router.model.errors import StoreUnavailable
from router.model.keys import partition_of
from router.ports import DeadLetter
from router.store.link import LETTERS
from router.store.store import group_record, ledger_of

if TYPE_CHECKING:
    from router.model.deploys import Change, Deploy, Ledger
    from router.model.events import Alert
    from router.model.incidents import Entry, Incident
    from router.store.store import RedisStore


_LETTER = re.compile(r"(\d{1,4})-(\d{1,20}-\d{1,20})").fullmatch


#: Bytes of a payload that a list shows.
_SHOWN = 4096


class RedisReader:
    """Reader over the same link and keys as the store."""

    def __init__(self, store: RedisStore) -> None:
        self._keys = store.keys
        self.sender_notes = store.sender_notes
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

    async def changes(self, *, limit: int) -> list[tuple[str, Change]]:
        """Return changes with their services, newest first."""
        changes = [(ledger.service, c) for ledger in await self._ledgers(limit) for c in ledger.changes]
        changes.sort(key=lambda row: row[1].at, reverse=True)
        return changes[:limit]

    async def deploys(self, *, limit: int) -> list[Deploy]:
        """Return deploys, newest first."""
        deploys = [d for ledger in await self._ledgers(limit) for d in ledger.deploys]
        deploys.sort(key=lambda d: max(d.phases.values()), reverse=True)
        return deploys[:limit]

    async def _ledgers(self, limit: int) -> list[Ledger]:
        found = await self._newest("services", limit)
        rows = (
            await self._link.read([("GET", self._keys[p].service(s)) for _, p, s in found]) if found else []
        )
        return [ledger_of(row) for row in rows if row is not None]

    async def dead_letters(self, *, limit: int, kind: str = "", source: str = "") -> list[DeadLetter]:
        """Return dead letters, newest first, without the bulk of their payloads."""
        args = (limit, kind, source, _SHOWN)
        out: list[DeadLetter] = []
        for partition, rows in enumerate(
            await self._link.call_many([(LETTERS, [k.dead], args) for k in self._keys])
        ):
            if isinstance(rows, StoreUnavailable):
                raise rows
            for entry, at, what, whose, reason, size, payload in rows:
                out.append(
                    DeadLetter(
                        _time(at), what.decode(), reason.decode(), payload, whose.decode(),
                        f"{partition}-{entry.decode()}", size,
                    )
                )  # fmt: skip
        out.sort(key=lambda d: d.at, reverse=True)
        return out[:limit]

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        """Return one dead letter, or None where there is none of that id (any more)."""
        if (place := self._place(letter_id)) is None:
            return None
        partition, entry = place
        (row,) = await self._link.read([("XRANGE", self._keys[partition].dead, entry, entry)])
        return _letter(partition, *row[0]) if row else None

    async def drop_dead_letter(self, letter_id: str) -> bool:
        """Delete a dead letter; False where there was none."""
        if (place := self._place(letter_id)) is None:
            return False
        (gone,) = await self._link.read([("XDEL", self._keys[place[0]].dead, place[1])])
        return bool(gone)

    def _place(self, letter_id: str) -> tuple[int, str] | None:
        """Return (partition, entry) of a letter's id, None where it is no such id."""
        match = _LETTER(letter_id)
        if match is None or int(match[1]) >= len(self._keys):
            return None
        return int(match[1]), match[2]

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


def _letter(partition: int, entry: bytes, fields: Any) -> DeadLetter:
    values = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    return DeadLetter(
        _time(values[b"at"]), values[b"kind"].decode(), values[b"reason"].decode(), values[b"d"],
        values.get(b"source", b"").decode(), f"{partition}-{entry.decode()}", len(values[b"d"]),
    )  # fmt: skip


def _time(text: bytes) -> datetime:
    return datetime.fromtimestamp(int(text) / 1000, UTC)


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
