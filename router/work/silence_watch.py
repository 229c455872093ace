"""The watch over silences: tells that one ends soon, as an alert of our own, and forgets what ended long ago.

One process does it, the owner of partition 0. What it tells goes through the door; only then it is
noted with the silence that it was told, so a crash in between tells the same alert again, which the
door knows. What is to be told is decided by :mod:`router.decide.silencing`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from router.decide import silencing
from router.model import codec
from router.model.errors import StoreUnavailable
from router.model.events import AlertBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from router.model.events import Alert
    from router.model.silences import Silence
    from router.ports import Clock, Intake, Reader, Surroundings

log = structlog.get_logger(__name__)

TURN_S: Final = 30.0
WARN_BEFORE: Final = timedelta(minutes=15)


class SilenceWatch:
    """The watch of one process. :meth:`run` must be running."""

    def __init__(
        self,
        shared: Surroundings,
        reader: Reader,
        intake: Intake,
        clock: Clock,
        warn_before: timedelta = WARN_BEFORE,
    ) -> None:
        self._shared, self._reader, self._intake, self._clock = shared, reader, intake, clock
        self._warn_before = warn_before
        self.judges: Callable[[], bool] = lambda: True
        self._told: dict[str, Alert] = {}  # by this process, in the words of then

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            try:
                await self.turn()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="watch silences", error=str(exc))
            await self._clock.sleep(TURN_S)

    async def turn(self) -> None:
        """Tell of those that end soon, and of those that do not any more, where that is ours to do."""
        if not self.judges():
            self._told.clear()
            return
        silences, now = await self._silences(), self._clock.now()
        if gone := silencing.forgotten(silences, now):
            await self._shared.put_silences(dict.fromkeys(gone))
            log.info("silences_forgotten", count=len(gone))
        muting = silencing.mutes(await self._reader.muted()) if silences else {}
        new = silencing.ending(silences, muting, now, self._warn_before)
        done = silencing.not_ending(silences, now, self._warn_before)
        if new or done:
            await self._tell(new, done, muting, now)

    async def _tell(
        self, new: list[Silence], done: list[Silence], muting: Mapping[str, int], now: datetime
    ) -> None:
        begun = {s.id: silencing.warning(s, muting[s.id], s.ends_at - self._warn_before) for s in new}
        ended = [silencing.over(s, self._told.get(s.id), now) for s in done]
        await self._intake.take("self", [AlertBatch(source="self", alerts=[*begun.values(), *ended])])
        self._told.update(begun)
        for silence in new:
            log.info("silence_ends_soon", silence=silence.id, ends_at=silence.ends_at.isoformat())
        await self._note({s.id: now for s in new} | {s.id: None for s in done})
        for silence in done:
            self._told.pop(silence.id, None)

    async def _note(self, told: Mapping[str, datetime | None]) -> None:
        """Write when it was told, in the silences as they are by now: telling takes its time."""
        fresh = await self._silences()
        changes = {
            s.id: codec.encode(msgspec.structs.replace(s, warned_at=told[s.id]))
            for s in fresh
            if s.id in told
        }
        await self._shared.put_silences(changes)

    async def _silences(self) -> list[Silence]:
        return list(_readable((await self._shared.silences()).values()))


def _readable(raws: Iterable[bytes]) -> Iterable[Silence]:
    """Yield those that this release can read; of the others the lookout tells."""
    for raw in raws:
        try:
            yield codec.silence(raw)
        except codec.Undecodable:
            continue
