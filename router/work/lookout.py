"""This process's view of what surrounds every group: silences, and what inhibits, wherever it fires.

The engine's own decisions change the view at once; what other processes write is read about once a
second. Whoever is concerned by a change is told which keys inhibit no more, or that silences changed.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from router.decide import outlook as surroundings
from router.decide.outlook import Outlook
from router.model import codec
from router.model.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from router.model.blames import Onset
    from router.model.silences import Silence
    from router.ports import Clock, Surroundings

log = structlog.get_logger(__name__)

EVERY_S = 1.0
#: How much of what was read is read again: clocks of processes differ, and a commit takes its time.
_OVERLAP: Final = timedelta(seconds=30)


class Lookout:
    """The view, and what keeps it up to date. :meth:`run` must be running."""

    def __init__(self, shared: Surroundings, clock: Clock) -> None:
        self._shared, self._clock = shared, clock
        self._raw: dict[str, bytes] = {}
        self._counts: list[str] = []
        self._fields: dict[int, dict[str, str]] = {}  # per partition, as stored
        self._by_key: dict[str, dict[str, bool]] = {}
        self.outlook = Outlook(inhibitors=self._by_key)
        self._read_from: datetime | None = None
        self.owned: Callable[[int], bool] = lambda _: False
        self.silences_changed: Callable[[], None] = lambda: None
        self.keys_ended: Callable[[Iterable[str]], None] = lambda _: None

    async def run(self) -> None:
        """Follow what others write, until cancelled."""
        while True:
            try:
                await self.refresh()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="lookout", error=str(exc))
            await self._clock.sleep(EVERY_S)

    async def refresh(self) -> None:
        """Read what has changed."""
        raw = await self._shared.silences()
        if raw != self._raw:
            self._raw = raw
            onsets = self.outlook.onsets
            self.outlook = Outlook(surroundings.silences(_decoded(raw)), self._by_key, onsets)
            self.silences_changed()
        now = self._clock.now()
        self.outlook.onsets.add(await self._shared.onsets(self._read_from))
        self._read_from = now - _OVERLAP  # only once it was read: an outage leaves no gap
        counts = await self._shared.inhibitor_counts()
        foreign = [
            p
            for p, count in enumerate(counts)
            if not self.owned(p) and (p >= len(self._counts) or count != self._counts[p])
        ]
        for partition, fields in (await self._shared.inhibitors(foreign)).items():
            self._replace(partition, fields)
        self._counts = counts

    async def adopt(self, partition: int) -> None:
        """Read what inhibits in a partition that is ours from now on."""
        for number, fields in (await self._shared.inhibitors([partition])).items():
            self._replace(number, fields)

    def apply(self, partition: int, changes: Mapping[str, str | None], onset: Onset | None = None) -> None:
        """Take what a decision in one of our partitions changes, before it is committed."""
        if onset is not None:
            self.outlook.onsets.add([onset])
        if not changes:
            return
        fields = self._fields.setdefault(partition, {})
        ended: list[str] = []
        for name, value in changes.items():
            key, _, alert = name.partition("|")
            if value is not None:
                fields[name] = value
                self._by_key.setdefault(key, {})[alert] = value == "1"
            elif fields.pop(name, None) is not None and self._drop(key, alert):
                ended.append(key)
        if ended:
            self.keys_ended(ended)

    def _replace(self, partition: int, fields: dict[str, str]) -> None:
        old = self._fields.get(partition, {})
        gone: dict[str, str | None] = {name: None for name in old if name not in fields}
        self.apply(partition, gone | fields)

    def _drop(self, key: str, alert: str) -> bool:
        """Forget that an alert inhibits; True where nothing inhibits under that key any more."""
        alerts = self._by_key.get(key)
        if alerts is None:
            return False
        alerts.pop(alert, None)
        if alerts:
            return False
        del self._by_key[key]
        return True


def _decoded(raw: Mapping[str, bytes]) -> list[Silence]:
    found: list[Silence] = []
    for name, value in raw.items():
        try:
            found.append(codec.silence(value))
        except codec.Undecodable as exc:
            log.warning("silence_unreadable", silence=name, error=str(exc))
    return found
