"""Route coverage: which routes recorded deliveries would have taken, and which none of them ever reached.

Reads what ``router capture`` wrote, with the sources and the placing of production. Pure but for the
lines it is given; called by ``router routes coverage``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from router.model.errors import Rejected
from router.model.events import AlertBatch
from router.rulebook.tree import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from router.ports import Source
    from router.rulebook.book import Rulebook

_line = msgspec.json.Decoder(dict[str, Any])


@dataclass(slots=True)
class Coverage:
    """What was found. ``alerts`` counts distinct ones by route, ``dropped`` those that relabelling drops."""

    deliveries: int = 0
    unreadable: int = 0
    alerts: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    seen: int = 0
    unused: list[str] = field(default_factory=list)

    @property
    def routes(self) -> int:
        """How many routes there are."""
        return len(self.alerts) + len(self.unused)

    @property
    def percent(self) -> float:
        """How many of the routes were reached, of 100; rounded down, so 100 means all."""
        return 1000 * len(self.alerts) // self.routes / 10 if self.routes else 100.0


def measured(lines: Iterable[bytes], sources: Mapping[str, Source], book: Rulebook) -> Coverage:
    """Return the coverage of captured deliveries, one JSON object a line; what cannot be read is counted."""
    out = Coverage()
    known: set[tuple[Any, ...]] = set()
    for line in lines:
        if not line.strip():
            continue
        out.deliveries += 1
        for labels, key in _alerts(line, sources, out):
            mark = (key, *sorted(labels.items()))
            if mark in known:
                continue
            known.add(mark)
            _count(labels, book, out)
    out.unused = [route.id for route in walk(book.root) if route.id not in out.alerts]
    return out


def _count(labels: Mapping[str, str], book: Rulebook, out: Coverage) -> None:
    out.seen += 1
    kept = book.relabelled(labels)
    if kept is None:
        out.dropped += 1
        return
    for route in book.route(kept):
        out.alerts[route.id] += 1


def _alerts(line: bytes, sources: Mapping[str, Source], out: Coverage) -> list[tuple[Mapping[str, str], str]]:
    try:
        said = _line.decode(line)
        kind = str(said["path"]).removeprefix("/webhooks/").replace("-", "_")
        body = said["body"]
        raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
        headers = {str(k).lower(): str(v) for k, v in dict(said.get("headers") or {}).items()}
        told = sources[kind].parse(headers, raw)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError, Rejected):
        out.unreadable += 1
        return []
    return [(a.labels, a.key) for each in told if isinstance(each, AlertBatch) for a in each.alerts]
