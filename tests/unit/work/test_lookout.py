"""What a process knows of what surrounds every group, and what an outage leaves of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from router.model.blames import Onset
from router.model.errors import StoreUnavailable
from router.work.lookout import Lookout
from tests.fakes.samples import ManualClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


class Shared:
    """A store in which others write onsets; it can be down."""

    def __init__(self) -> None:
        self.told: list[Onset] = []
        self.down = False

    async def silences(self) -> dict[str, bytes]:
        if self.down:
            raise StoreUnavailable("down")
        return {}

    async def onsets(self, since: datetime | None) -> list[Onset]:
        if self.down:
            raise StoreUnavailable("down")
        return [one for one in self.told if since is None or one.opened >= since]

    async def inhibitor_counts(self) -> list[str]:
        return []

    async def inhibitors(self, partitions: Sequence[int]) -> dict[int, dict[str, str]]:
        return {}


async def test_an_outage_leaves_no_gap() -> None:
    """What others opened while the store did not answer is read afterwards, at a start and later."""
    shared, clock = Shared(), ManualClock()
    view = Lookout(shared, clock)

    def opens(n: int) -> None:
        now = clock.now()
        shared.told.append(Onset(f"i{n}", f"s{n}", "prod", "Slow", now, now))

    opens(1)
    for n in (2, 3):
        shared.down = True
        with pytest.raises(StoreUnavailable):
            await view.refresh()
        await clock.sleep(300)
        opens(n)
        await clock.sleep(300)
        shared.down = False
        await view.refresh()
    now = clock.now()
    found = view.outlook.onsets.around("prod", now - timedelta(hours=1), now, now)
    assert [one.service for one in found] == ["s1", "s2", "s3"]
