"""What becomes of an event that cannot be read, delivered, decided or decoded: a dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from router.model import codec
from router.model.events import Unread
from router.ports import MOST_DEAD, MOST_UNREAD, DeadLetter

if TYPE_CHECKING:
    from datetime import datetime

    from router.kit.metrics import Metrics
    from router.model.events import Event
    from router.ports import Store

log = structlog.get_logger(__name__)

#: A larger body is kept apart from its letter, so that a list of letters stays light.
IN_LETTER: Final = 16 << 10
#: How much of a body costs a round as much as deciding one alert; bounds what one commit carries.
_PER_ALERT: Final = 16 << 10


def undone(event: Event, reasons: list[str], now: datetime) -> DeadLetter:
    """Return the letter of an event that decide gave up: a delivery, or what a destination was to be told."""
    reason = "; ".join(reasons)
    if not isinstance(event, Unread):
        return DeadLetter(now, "undelivered", reason, codec.encode(event))
    apart = len(event.body) > IN_LETTER
    kept = msgspec.structs.replace(event, body=b"", apart=True) if apart else event
    body = event.body if apart else b""
    return DeadLetter(now, "unreadable", reason, codec.encode(kept), event.source, body=body)


def weight(event: object) -> int:
    """Return what an event costs a round beside its alerts."""
    return len(event.body) // _PER_ALERT if isinstance(event, Unread) else 0


async def warn_of_full(number: int, store: Store, metrics: Metrics) -> None:
    """Say that a partition's oldest dead letters are going: nobody has looked at them in time."""
    unread, others = await store.dead_lengths(number)
    for what, n, most in (("deliveries", unread, MOST_UNREAD), ("others", others, MOST_DEAD)):
        if n >= most:
            metrics.dead_full.labels(what).inc()
            log.error("dead_letters_full", what=what, partition=number, kept=n, do="router dlq list")
