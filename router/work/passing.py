"""In which order a round is decided, and what it passes on to other groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from router.decide import placing
from router.model import codec
from router.model.events import GroupAlerts
from router.model.keys import partition_of
from router.ports import Item

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from router.model.events import Event, Stored
    from router.ports import Store
    from router.rulebook.book import Rulebook
    from router.work.partition import Pending
    from router.work.rounds import Round, Work


class Offer(Protocol):
    """Takes an appended entry in memory, if the partition is ours."""

    def __call__(self, partition: int, entry: str, events: Sequence[Stored], *, urgent: bool) -> None:
        """Take it, or not: it is in the store."""


def in_order(
    rounds: Sequence[Round], book: Rulebook
) -> Iterator[tuple[Round, list[tuple[Work, Pending | None]]]]:
    """Yield the work of all rounds; what inhibits comes before what it may inhibit, in any partition.

    The events of one group keep their order.
    """
    if not book.muting.inhibit_rules:
        for r in rounds:
            yield r, r.work
        return
    early = [{w.key for w, _ in r.work if _inhibits(w.event, book)} for r in rounds]
    for r, keys in zip(rounds, early, strict=True):
        yield r, [pair for pair in r.work if pair[0].key in keys]
    for r, keys in zip(rounds, early, strict=True):
        yield r, [pair for pair in r.work if pair[0].key not in keys]


def _inhibits(event: Event, book: Rulebook) -> bool:
    return isinstance(event, GroupAlerts) and any(
        rule.is_source(alert.labels) for rule in book.muting.inhibit_rules for alert in event.alerts
    )


async def send_onward(
    rounds: Sequence[Round], book: Rulebook, store: Store, now: datetime, offer: Offer
) -> None:
    """Append what belongs to other groups, before the commit that lets it go.

    Should that commit fail, it is decided and sent once more, and the door knows it by then.
    """
    placed = [placing.onward(event, book) for r in rounds for event in r.onward]
    if not placed:
        return
    items = [
        Item(partition_of(p.key, store.partitions), p.urgent, p.versions, codec.encode(p.event))
        for p in placed
    ]
    for number, result in (await store.accept(items, now)).items():
        for entries, urgent in ((result.urgent, True), (result.normal, False)):
            for entry, positions in entries:
                offer(number, entry, [placed[i].event for i in positions], urgent=urgent)
