"""Silences, what inhibits, and the rules in force: what every process reads, over Redis."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from router.model import codec
from router.store.commits import ms
from router.store.keys import REPORT, RULES, SILENCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.model.blames import Onset
    from router.store.store import RedisStore


_REPORT_TTL_S = 3600


class RedisSurroundings:
    """Surroundings over the same link and keys as the store; see the protocol."""

    def __init__(self, store: RedisStore) -> None:
        self._link, self._keys = store.link, store.keys

    async def inhibitors(self, partitions: Sequence[int]) -> dict[int, dict[str, str]]:
        """Return what inhibits, by partition."""
        if not partitions:
            return {}
        rows = await self._link.read([("HGETALL", self._keys[p].inhibits) for p in partitions])
        return {
            p: {name.decode(errors="replace"): value.decode() for name, value in _pairs(row)}
            for p, row in zip(partitions, rows, strict=True)
        }

    async def inhibitor_counts(self) -> list[str]:
        """Return a word for each partition that changes with what inhibits there."""
        rows = await self._link.read([("HGET", k.reviewed, "inhibits") for k in self._keys])
        return [(row or b"").decode() for row in rows]

    async def onsets(self, since: datetime | None) -> list[Onset]:
        """Return what opened in any partition since then; one that this release cannot read is left out."""
        first = ms(since) if since is not None else "-inf"
        rows = await self._link.read([("ZRANGEBYSCORE", k.onsets, first, "+inf") for k in self._keys])
        found: list[Onset] = []
        for raw in (one for row in rows for one in row):
            with contextlib.suppress(codec.Undecodable):
                found.append(codec.onset(raw))
        return found

    async def silences(self) -> dict[str, bytes]:
        """Return all silences, encoded, by id."""
        (row,) = await self._link.read([("HGETALL", SILENCES)])
        return {name.decode(errors="replace"): value for name, value in _pairs(row)}

    async def put_silences(self, changes: Mapping[str, bytes | None]) -> None:
        """Write silences, or drop them (None)."""
        sets = [part for name, value in changes.items() if value is not None for part in (name, value)]
        drops = [name for name, value in changes.items() if value is None]
        commands: list[tuple[Any, ...]] = [("HSET", SILENCES, *sets)] if sets else []
        commands += [("HDEL", SILENCES, *drops)] if drops else []
        if commands:
            await self._link.read(commands)

    async def put_report(self, report: bytes) -> None:
        """Write what the reconciler found."""
        await self._link.read([("SET", REPORT, report, "EX", _REPORT_TTL_S)])

    async def report(self) -> bytes:
        """Return what the reconciler found last."""
        (found,) = await self._link.read([("GET", REPORT)])
        return found or b""

    async def rules(self, seen: str = "") -> tuple[str, bytes]:
        """Return the version and content of the rules in force; no content where it is the one ``seen``."""
        (version,) = await self._link.read([("HGET", RULES, "version")])
        if version is None or version.decode() == seen:
            return (version or b"").decode(), b""
        # Both in one step: between two reads others may have come into force.
        ((version, content),) = await self._link.read([("HMGET", RULES, "version", "content")])
        return (version or b"").decode(), content or b""

    async def publish_rules(self, version: str, content: bytes) -> None:
        """Put rules in force for every process, both fields in one step."""
        await self._link.read([("HSET", RULES, "version", version, "content", content)])


def _pairs(row: Any) -> list[tuple[bytes, bytes]]:
    """Return a hash's fields as the client gives them: a mapping, or a flat list."""
    return list(row.items()) if isinstance(row, dict) else list(zip(row[::2], row[1::2], strict=True))
