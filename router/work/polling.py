"""Asks an API now and then for what webhooks lost. One process at a time does, the owner of partition 0.

What is fetched has the form of deliveries and goes the same way: its source reads it, the door
takes it, and what was told before stops there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from router.model.errors import PollFailed, Rejected, StoreUnavailable
from router.model.events import Trouble, Unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.kit.metrics import Metrics
    from router.ports import Clock, Intake, Poller, Source, Survey
    from router.work.senders import Senders

log = structlog.get_logger(__name__)


class Polling:
    """The loop of one poller."""

    def __init__(
        self,
        poller: Poller,
        source: Source,
        intake: Intake,
        senders: Senders,
        clock: Clock,
        metrics: Metrics,
        every_s: float,
    ) -> None:
        self._poller, self._source, self._intake = poller, source, intake
        self._senders, self._clock, self._metrics, self._every_s = senders, clock, metrics, every_s
        self.mine: Callable[[], bool] = lambda: True
        self.surveyed: Callable[[Survey], None] = lambda _: None

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            if self.mine():
                await self.turn()
            await self._clock.sleep(self._every_s)

    async def turn(self) -> None:
        """Poll once. A failure is logged, counted, and noted for the watch; it raises nothing of those."""
        kind = self._poller.kind
        self._senders.expect(kind)
        try:
            found = await self._poller.fetch()
            for body in found.bodies:
                await self._take(body)
        except (PollFailed, StoreUnavailable) as exc:
            self._metrics.polls.labels(kind, "failed").inc()
            log.warning("poll_failed", poller=kind, error=str(exc)[:300])
            self._senders.turned_away(kind, 0, str(exc))
            return
        self._metrics.polls.labels(kind, "ok").inc()
        self._senders.heard(kind, [])
        if found.survey is not None:
            self.surveyed(found.survey)
        for source in found.asked:
            self._senders.asked(source, [one for one in found.off if one.source == source])

    async def _take(self, body: bytes) -> None:
        """Take one fetched body; an odd one goes to the dead letters and keeps no other from being taken."""
        try:
            told = self._source.parse({}, body)
        except Rejected as exc:
            self._metrics.rejected.labels(self._poller.kind, exc.code).inc()
            await self._bury(body, exc.detail)
            return
        await self._intake.take(self._poller.kind, told)
        if troubles := [t.reason for t in told if isinstance(t, Trouble)]:
            await self._bury(body, "; ".join(troubles))

    async def _bury(self, body: bytes, reason: str) -> None:
        log.warning("polled_not_readable", poller=self._poller.kind, error=reason[:300])
        now = self._clock.now()
        await self._intake.unread(Unread(self._source.kind, f"polled: {reason[:280]}", {}, body, now))
        self._senders.unreadable(self._source.kind)
