"""The watch for silent senders: notes who was heard, and tells what is wrong as alerts of our own.

Every process notes in memory and writes its notes to the store now and then, so that
watching costs a delivery nothing. One process, the owner of partition 0, judges the notes of all. What it
tells goes through the door; only then it is noted as told, so a crash in between tells
the same alert again, which the door knows.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from router.decide import senders as judging
from router.decide.senders import Noted
from router.model.errors import StoreUnavailable
from router.model.events import Alert, AlertBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from router.kit.metrics import Metrics
    from router.model.deliveries import Manners
    from router.model.events import Told
    from router.ports import Clock, Intake
    from router.rulebook.book import Rulebook
    from router.rulebook.matchers import Matcher

log = structlog.get_logger(__name__)

TURN_S: Final = 10.0
#: A longer pause between two turns of the watch means that nobody listened meanwhile.
DEAF_AFTER_S: Final = 60.0
_NOTE, _TOLD, _WATCH = judging.NOTE, judging.TOLD, "watch"
_decode_alert: Final = msgspec.json.Decoder(Alert).decode
_decode_time: Final = msgspec.json.Decoder(datetime).decode
_encode: Final = msgspec.json.Encoder().encode


class Notes(Protocol):
    """Where notes are kept, for all replicas."""

    async def sender_notes(self) -> dict[str, bytes]:
        """Return all of them."""
        ...

    async def note_senders(self, notes: Mapping[str, bytes], gone: Sequence[str]) -> None:
        """Set these, and delete those that are ``gone``, in one atomic step."""
        ...


class Senders:
    """The watch of one process. :meth:`run` must be running."""

    def __init__(
        self,
        notes: Notes,
        intake: Intake,
        book: Callable[[], Rulebook],
        clock: Clock,
        metrics: Metrics,
        manners: Mapping[str, Manners],
    ) -> None:
        self._notes, self._intake, self._book, self._clock = notes, intake, book, clock
        self._metrics, self._manners = metrics, manners
        self.judges: Callable[[], bool] = lambda: True
        self._fresh: dict[str, Noted] = {}  # what this process has noticed since its last turn
        self._known: dict[str, Noted] = {}

    # --- what the web and pollers notice --------------------------------------------------------

    def heard(self, source: str, told: Sequence[Told]) -> None:
        """An authentic delivery was taken; it counts as heard where it has what the sender is watched by."""
        now = self._clock.now()
        old = self._note(source)
        sender = self._book().senders.get(source)
        counts = sender is None or not sender.matchers or _matches(sender.matchers, told)
        heard, deaf = (now, 0.0) if counts else (old.heard, old.deaf)
        self._fresh[source] = msgspec.structs.replace(
            old, heard=heard, deaf=deaf, refused=0, refused_since=None, status=0, trouble=""
        )
        if counts:
            self._metrics.heard.labels(source).set(now.timestamp())

    def turned_away(self, source: str, status: int, trouble: str = "") -> None:
        """A delivery was answered otherwise than 2xx, or a poll failed."""
        old = self._note(source)
        since = old.refused_since or self._clock.now()
        self._fresh[source] = msgspec.structs.replace(
            old, refused=old.refused + 1, refused_since=since, status=status, trouble=trouble[:200]
        )

    def unreadable(self, source: str) -> None:
        """An authentic delivery could not be read."""
        now, old = self._clock.now(), self._note(source)
        last = old.unreadable_at
        since = old.unreadable_since
        if since is None or last is None or now - last > judging.UNREADABLE_FOR:
            since = now
        self._fresh[source] = msgspec.structs.replace(old, unreadable_since=since, unreadable_at=now)

    def expect(self, source: str) -> None:
        """Watch a sender from now on, though it was never heard."""
        if self._note(source).heard is None:
            self._fresh[source] = msgspec.structs.replace(self._note(source), heard=self._clock.now())

    def _note(self, source: str) -> Noted:
        return self._fresh.get(source) or self._known.get(source) or Noted()

    # --- turns ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write notes and judge until cancelled."""
        while True:
            try:
                await self.turn()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="watch senders", error=str(exc))
            await self._clock.sleep(TURN_S)

    async def turn(self) -> None:
        """Write what was noticed, read what others noticed, and judge where that is ours to do."""
        stored = await self._notes.sender_notes()
        known, _ = judging.split(stored)
        fresh, self._fresh = self._fresh, {}
        try:
            merged = {s: _merged(known.get(s), note, self._known.get(s)) for s, note in fresh.items()}
            now = self._clock.now()
            judges = self.judges()
            changed = dict(merged)
            if judges:
                changed |= self._listening({**known, **merged}, _watched(stored), now)
            notes = {f"{_NOTE}{s}": _encode(n) for s, n in changed.items()}
            if judges:
                notes[_WATCH] = _encode(now)
            if notes:
                await self._notes.note_senders(notes, [])
        except StoreUnavailable:
            self._fresh = {**fresh, **self._fresh}
            raise
        self._known = {**known, **changed}
        if judges:
            await self._judge({k: v for k, v in stored.items() if k.startswith(_TOLD)}, now)

    def _listening(
        self, known: Mapping[str, Noted], last: datetime | None, now: datetime
    ) -> dict[str, Noted]:
        """Return the notes with the time that nobody listened added; it is nobody's silence."""
        gap = (now - last).total_seconds() if last is not None else 0.0
        if gap <= DEAF_AFTER_S:
            return {}
        return {
            source: msgspec.structs.replace(note, deaf=note.deaf + gap)
            for source, note in known.items()
            if note.heard is not None and (last is None or note.heard <= last)
        }

    async def _judge(self, told: Mapping[str, bytes], now: datetime) -> None:
        book = self._book()
        wrong = judging.alerts(self._known, book.senders, self._manners, now)
        before = {name.removeprefix(_TOLD): _decode_alert(raw) for name, raw in told.items()}
        new = {name: alert for name, alert in wrong.items() if name not in before}
        over = {name: judging.ended(a, now) for name, a in before.items() if name not in wrong}
        self._metrics.senders_wrong.set(len(wrong))
        if not new and not over:
            return
        alerts = [*new.values(), *over.values()]
        await self._intake.take("router", [AlertBatch(source="router", alerts=alerts)])
        for name, alert in new.items():
            log.warning("sender_trouble", what=name, since=alert.starts_at.isoformat())
        for name in over:
            log.info("sender_well_again", what=name)
        await self._notes.note_senders(
            {f"{_TOLD}{n}": _encode(a) for n, a in new.items()}, [f"{_TOLD}{n}" for n in over]
        )


def _watched(stored: Mapping[str, bytes]) -> datetime | None:
    raw = stored.get(_WATCH)
    return _decode_time(raw) if raw is not None else None


def _matches(matchers: Sequence[Matcher], told: Sequence[Told]) -> bool:
    """True where some alert of the delivery has all that the sender is watched by."""
    return any(
        all(m.test(alert.labels.get(m.name, "")) for m in matchers)
        for thing in told
        if isinstance(thing, AlertBatch)
        for alert in thing.alerts
        if alert.firing
    )


def _merged(stored: Noted | None, fresh: Noted, base: Noted | None) -> Noted:
    """Return what is stored with what this process has noticed since it last looked (``base``).

    Another process may have heard the sender meanwhile: the later word counts, and being heard
    ends a row of refusals.
    """
    if stored is None or stored == base:
        return fresh
    heard = max((n.heard for n in (stored, fresh) if n.heard is not None), default=None)
    first = fresh if fresh.heard == heard else stored
    refused = stored if fresh.refused == 0 and (base is None or base.refused == 0) else fresh
    if heard is not None and refused.refused_since is not None and heard >= refused.refused_since:
        refused = Noted()
    odd = max((stored, fresh), key=lambda n: n.unreadable_at.timestamp() if n.unreadable_at else 0.0)
    return msgspec.structs.replace(
        first,
        refused=refused.refused,
        refused_since=refused.refused_since,
        status=refused.status,
        unreadable_since=odd.unreadable_since,
        unreadable_at=odd.unreadable_at,
    )
