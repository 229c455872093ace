"""What the API shows, read straight from Redis; a moment old at most."""

from __future__ import annotations

import heapq
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from router.model import codec
from router.model.errors import StoreUnavailable
from router.model.keys import partition_of, service_key
from router.ports import DeadLetter, Page
from router.store.commits import DAY_MS
from router.store.link import LETTERS
from router.store.store import group_record, ledger_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.model.deploys import Change, Deploy, Ledger
    from router.model.events import Alert
    from router.model.incidents import Entry, Incident
    from router.store.store import RedisStore


_CURSOR = re.compile(r"([oc])(\d{1,15})-(\d{1,4})-([0-9a-f]{16})", re.ASCII).fullmatch
_LETTER = re.compile(r"(\d{1,4})(u?)-(\d{1,15})-(\d{1,15})", re.ASCII).fullmatch


#: Bytes of a payload that a list shows.
_SHOWN = 4096
#: More muted incidents are not looked at to say how many a silence mutes.
_MOST_MUTED = 1_000
#: Of a list of decisions: incidents, and lines of each.
_MOST_DECIDED, _MOST_LINES = 200, 50


class _Place(NamedTuple):
    """Where a group stands in an index: ordered as Redis orders it."""

    score: float
    partition: int
    name: str


class RedisReader:
    """Reader over the same link and keys as the store."""

    def __init__(self, store: RedisStore) -> None:
        self._keys = store.keys
        self.sender_notes = store.sender_notes
        self._link = store.link

    async def ping(self) -> None:
        """Raise StoreUnavailable where the store does not answer."""
        await self._link.read([("PING",)])

    async def incidents(self, *, include_closed: bool, limit: int, after: str = "") -> Page:
        """Return heads, newest first; open ones before closed ones where both are asked for."""
        index, last = _after(after)
        found: list[tuple[str, _Place]] = []
        for name in ("open", "closed") if include_closed else ("open",):
            if index in ("", name) and len(found) <= limit:
                newest = await self._newest(name, limit + 1 - len(found), last if index == name else None)
                found += [(name, place) for place in newest]
                index = ""
        shown = found[:limit]
        reads = [("HGET", self._keys[place.partition].group(place.name), "h") for _, place in shown]
        rows = await self._link.read(reads) if reads else []
        heads = [head for row in rows if row is not None and (head := _incident(row)) is not None]
        return Page(heads, _cursor(*shown[-1]) if len(found) > limit else "")

    async def _newest(self, index: str, limit: int, after: _Place | None = None) -> list[_Place]:
        """Return the newest of an index, or of those behind a place in it."""
        names, extra = [getattr(k, index) for k in self._keys], 0
        newest: int | str = "+inf"
        if after is not None:  # those of the same moment may stand on either side of it
            newest = int(after.score)
            extra = max(await self._link.read([("ZCOUNT", name, newest, newest) for name in names]))
        rows = await self._link.read(
            [
                ("ZRANGE", n, newest, "-inf", "BYSCORE", "REV", "LIMIT", 0, limit + extra, "WITHSCORES")
                for n in names
            ]
        )
        found = [
            _Place(score, partition, name)
            for partition, row in enumerate(rows)
            for name, score in _scored(row)
        ]
        return heapq.nlargest(limit, (place for place in found if after is None or place < after))

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

    async def story(self, group: str, generation: int) -> tuple[Incident, list[Entry]] | None:
        """Return one incident with its timeline."""
        k = self._keys[partition_of(group, len(self._keys))]
        rows, lines = await self._link.read(
            [
                ("HMGET", k.group(group), "h", f"p{generation}"),
                ("LRANGE", k.timeline(group), 0, -1),
            ]
        )
        heads = (_incident(row) for row in rows if row is not None)
        head = next((h for h in heads if h is not None and h.generation == generation), None)
        if head is None or not generation:
            return None
        return head, [e for e in (codec.entry(line) for line in lines) if e.generation == generation]

    async def decisions(self, *, limit: int) -> list[tuple[str, Entry]]:
        """Return the last lines of timelines with their groups, newest first."""
        heads = (await self.incidents(include_closed=True, limit=_MOST_DECIDED)).heads
        names = [self._keys[partition_of(h.group, len(self._keys))].timeline(h.group) for h in heads]
        rows = await self._link.read([("LRANGE", n, -_MOST_LINES, -1) for n in names]) if names else []
        found = [(h.group, codec.entry(line)) for h, row in zip(heads, rows, strict=True) for line in row]
        return heapq.nlargest(limit, found, key=lambda each: each[1].at)

    async def muted(self) -> list[Incident]:
        """Return heads of open incidents in which something is muted, at most 1,000."""
        names = await self._link.read([("SMEMBERS", k.muted) for k in self._keys])
        groups = [
            (k, name.decode()) for k, row in zip(self._keys, names, strict=True) for name in sorted(row)
        ]
        if not groups:
            return []
        rows = await self._link.read([("HGET", k.group(g), "h") for k, g in groups[:_MOST_MUTED]])
        return [head for row in rows if row is not None and (head := _incident(row)) is not None]

    async def ledgers(self, services: Sequence[str]) -> dict[str, Ledger]:
        """Return the deploy ledgers of these services."""
        keys = [service_key(s) for s in services]
        rows = await self._link.read(
            [("GET", self._keys[partition_of(k, len(self._keys))].service(k)) for k in keys]
        )
        found = {s: ledger_of(row) for s, row in zip(services, rows, strict=True) if row is not None}
        return {s: ledger for s, ledger in found.items() if not ledger.broken}

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

    async def dead_letters(
        self, *, limit: int, kind: str = "", source: str = "", before: str = ""
    ) -> list[DeadLetter]:
        """Return dead letters, newest first, without the bulk of their payloads.

        ``before``: only those that come after the letter of that id in this order; "" from the newest.
        """
        cursor = _order(before) if before else None
        newest = f"{cursor[0]}-{cursor[1]}" if cursor else "+"
        args = (limit + 1, kind, source, _SHOWN, newest)
        places = [(p, unread) for p in range(len(self._keys)) for unread in (False, True)]
        answers = await self._link.call_many([(LETTERS, [self._stream(*place)], args) for place in places])
        out: list[DeadLetter] = []
        for place, rows in zip(places, answers, strict=True):
            if isinstance(rows, StoreUnavailable):
                raise rows
            out += [_listed(place, row) for row in rows]
        out = [d for d in out if cursor is None or _order(d.id) < cursor]
        out.sort(key=lambda d: _order(d.id), reverse=True)
        return out[:limit]

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        """Return one dead letter, or None where there is none of that id (any more)."""
        if (place := self._place(letter_id)) is None:
            return None
        partition, unread, entry = place
        (row,) = await self._link.read([("XRANGE", self._stream(partition, unread), entry, entry)])
        if not row:
            return None
        fields = _fields(row[0][1])
        body = b""
        if (name := fields.get(b"b")) is not None:
            (body,) = await self._link.read([("GET", self._keys[partition].body(name.decode()))])
        return DeadLetter(
            _time(fields[b"at"]), fields[b"kind"].decode(), fields[b"reason"].decode(), fields[b"d"],
            fields.get(b"source", b"").decode(), letter_id, len(fields[b"d"]), body or b"",
        )  # fmt: skip

    async def drop_dead_letter(self, letter_id: str, forget: Sequence[bytes] = ()) -> bool:
        """Delete a dead letter and what the door remembers of it; False where there was none.

        A large body is left to its time: another letter may have the same one.
        """
        if (place := self._place(letter_id)) is None:
            return False
        partition, unread, entry = place
        commands: list[tuple[Any, ...]] = [("XDEL", self._stream(partition, unread), entry)]
        if forget:
            day = int(entry.partition("-")[0]) // DAY_MS
            commands += [("HDEL", self._keys[partition].door(day + n), *forget) for n in (-1, 0, 1, 2)]
        return bool((await self._link.read(commands))[0])

    def _stream(self, partition: int, unread: bool) -> str:  # noqa: FBT001  a part of a place
        return self._keys[partition].unread if unread else self._keys[partition].dead

    def _place(self, letter_id: str) -> tuple[int, bool, str] | None:
        """Return (partition, whether it is a delivery, entry) of a letter's id, None where it is none."""
        match = _LETTER(letter_id)
        if match is None or int(match[1]) >= len(self._keys):
            return None
        return int(match[1]), bool(match[2]), f"{match[3]}-{match[4]}"

    async def depths(self) -> dict[str, int]:
        """Return how much waits, over all partitions."""
        commands: list[tuple[Any, ...]] = []
        for k in self._keys:
            commands += [
                ("XLEN", k.urgent), ("XLEN", k.normal), ("SCARD", k.due),
                ("ZCARD", k.timers), ("XLEN", k.dead), ("XLEN", k.unread), ("ZCARD", k.open),
            ]  # fmt: skip
        rows = await self._link.read(commands)
        names = ("inbox_urgent", "inbox_normal", "due", "timers", "dead", "unread", "open")
        return {name: sum(rows[i :: len(names)]) for i, name in enumerate(names)}


def _listed(place: tuple[int, bool], row: Any) -> DeadLetter:
    entry, at, kind, source, reason, size, payload = row
    name = f"{place[0]}{'u' if place[1] else ''}-{entry.decode()}"
    return DeadLetter(_time(at), kind.decode(), reason.decode(), payload, source.decode(), name, size)


def _order(letter_id: str) -> tuple[int, int, int, str]:
    """Return what letters are ordered by: time and number of the entry, partition, stream."""
    match = _LETTER(letter_id)
    return (int(match[3]), int(match[4]), int(match[1]), match[2]) if match else (0, 0, 0, "")


def _fields(row: Any) -> dict[bytes, bytes]:
    return row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))


def _time(text: bytes) -> datetime:
    return datetime.fromtimestamp(int(text) / 1000, UTC)


def _incident(row: bytes) -> Incident | None:
    """Return a head; one of another release is left out of a list rather than failing it."""
    try:
        return codec.incident(row)
    except codec.Undecodable:
        return None


def _cursor(index: str, place: _Place) -> str:
    return f"{index[0]}{int(place.score)}-{place.partition}-{place.name}"


def _after(text: str) -> tuple[str, _Place | None]:
    """Return the index and the place in it that a cursor stands for.

    Raises:
        ValueError: it is none.
    """
    if not text:
        return "", None
    found = _CURSOR(text)
    if found is None:
        raise ValueError("not a cursor")
    index = {"o": "open", "c": "closed"}[found[1]]
    return index, _Place(float(found[2]), int(found[3]), found[4])


def _scored(row: Any) -> list[tuple[str, float]]:
    if row and isinstance(row[0], list | tuple):
        return [(name.decode(), float(score)) for name, score in row]
    return [(name.decode(), float(score)) for name, score in zip(row[::2], row[1::2], strict=True)]
