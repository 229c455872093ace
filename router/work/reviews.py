"""Second looks: which groups of our partitions are to be looked at again, a few in each round.

They are wishes in memory only. Whoever takes a partition over makes them anew: all open groups where
the rulebook is another than the one under which they were last looked at, else those with something
muted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from router.model.events import Review
from router.work.rounds import Work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.ports import Store, Taking
    from router.work.partition import Partition
    from router.work.rounds import Round

#: Groups looked at again in one round of a partition: by feel, a few milliseconds.
EACH_ROUND: Final = 50


async def after_taking(partition: Partition, taking: Taking, store: Store, version: str) -> None:
    """Plan the looks of a partition that is ours from now on."""
    if taking.reviewed != version:
        await everything(partition, store, version)
    else:
        some(partition, taking.muted)


async def everything(partition: Partition, store: Store, version: str = "") -> None:
    """Plan a look at every open group; ``version``: of the rulebook, noted once all were looked at."""
    some(partition, await store.all_open(partition.number))
    partition.review_book = version or partition.review_book


def some(partition: Partition, groups: Iterable[str]) -> None:
    """Plan a look at these groups."""
    partition.to_review.update(dict.fromkeys(groups))


def collect(partition: Partition, r: Round) -> None:
    """Put the next looks into a round, and note when the last one of all was done."""
    for group in list(partition.to_review)[:EACH_ROUND]:
        del partition.to_review[group]
        r.work.append((Work(group, Review(group)), None))
        r.count += 1
    if partition.review_book and not partition.to_review:
        r.batch.reviewed, partition.review_book = partition.review_book, ""
        r.count += 1
