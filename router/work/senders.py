"""The watch for silent senders: notes who was heard, and tells what is wrong as alerts of our own.

Every process notes in memory and writes its notes to the store now and then, so that
watching costs a delivery nothing. It changes each field by itself, so that what replicas notice adds up.
One process, the owner of partition 0, judges the notes of all. What it tells goes through the
door; only then it is noted as told, so a crash in between tells the same alert again, which the door knows.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from router.decide import noticing
from router.decide import senders as judging
from router.decide.noticing import Seen
from router.model.errors import StoreUnavailable
from router.model.events import AlertBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from router.decide.noticing import Edit
    from router.decide.senders import Noted
    from router.kit.metrics import Metrics
    from router.model.deliveries import Manners
    from router.model.events import Alert, Told
    from router.ports import Clock, Intake, SwitchedOff
    from router.rulebook.book import Rulebook
    from router.rulebook.matchers import Matcher

log = structlog.get_logger(__name__)

TURN_S: Final = 10.0
#: A sender whose note is older than this is noted at once when it is heard: a crash loses a moment at most.
NOTE_AT_ONCE: Final = timedelta(minutes=1)


class Notes(Protocol):
    """Where notes are kept, for all replicas: the fields of :mod:`router.decide.senders`."""

    async def sender_notes(self) -> dict[str, bytes]:
        """Return all of them."""
        ...

    async def note_senders(self, edits: Sequence[Edit]) -> dict[str, bytes]:
        """Make these changes in their order, and return what stands then."""
        ...


class Senders:
    """The watch of one process. :meth:`run` must be running, and :meth:`flush` be called at its end."""

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
        self._fresh: dict[str, Seen] = {}  # what this process has noticed since its last turn
        self._known: dict[str, Noted] = {}  # as of that turn
        self._wake = asyncio.Event()

    # --- what the web and pollers notice --------------------------------------------------------

    def heard(self, source: str, told: Sequence[Told]) -> None:
        """An authentic delivery was taken; it counts as heard where it has what the sender is watched by."""
        now, seen = self._clock.now(), self._seen(source)
        sender = self._book().senders.get(source)
        counts = sender is None or not sender.matchers or _matches(sender.matchers, told)
        self._fresh[source] = noticing.taken(seen, now, counts=counts)
        if not counts:
            return
        self._metrics.heard.labels(source).set(now.timestamp())
        known = self._known.get(source)
        old = known is None or known.heard is None or now - known.heard > NOTE_AT_ONCE
        if old and seen.heard is None:  # once: where the store is down, each would be a turn for nothing
            self._wake.set()

    def turned_away(self, source: str, status: int, trouble: str = "") -> None:
        """A delivery was answered otherwise than 2xx, or a poll failed."""
        self._fresh[source] = noticing.refused(self._seen(source), self._clock.now(), status, trouble)

    def unreadable(self, source: str) -> None:
        """An authentic delivery could not be read."""
        self._fresh[source] = noticing.unreadable(self._seen(source), self._clock.now())

    def asked(self, source: str, off: Sequence[SwitchedOff]) -> None:
        """A sender was asked whether it sends to us; ``off`` are its webhooks that do not."""
        self._fresh[source] = noticing.asked(self._seen(source), self._clock.now(), off)

    def expect(self, source: str) -> None:
        """Watch a sender from the next turn on, though it was never heard."""
        self._fresh[source] = noticing.expected(self._seen(source))

    def _seen(self, source: str) -> Seen:
        return self._fresh.get(source) or Seen()

    # --- turns ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write notes and judge until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.turn()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="watch senders", error=str(exc))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await self._wake.wait()

    async def turn(self) -> None:
        """Write what was noticed, read what others noticed, and judge where that is ours to do."""
        judges = self.judges()
        stored = await self._write(judges=judges)
        if judges:
            await self._judge(judging.told(stored))
        else:
            self._metrics.senders_wrong.set(0)  # whoever judges counts them

    async def flush(self) -> None:
        """Write what was noticed, before the end; judge nothing, and fail quietly where the store is gone."""
        if not self._fresh:
            return
        try:
            await self._write(judges=False)
        except StoreUnavailable as exc:
            log.warning("store_unavailable", doing="note senders", error=str(exc))

    async def _write(self, *, judges: bool) -> dict[str, bytes]:
        """Write what was noticed, and return all notes as they are then.

        What could not be written is kept for the next turn: better counted twice than not at all.
        """
        fresh, self._fresh = self._fresh, {}
        try:
            stored = await self._notes.sender_notes()
            now = self._clock.now()
            rotten = judging.junk(stored, now)
            edits: list[Edit] = [("HDEL", *rotten)] if rotten else []
            notes, _ = judging.split({k: v for k, v in stored.items() if k not in rotten})
            if judges:
                edits += noticing.expecting(notes, self._book().senders, now)
            edits += noticing.edits(notes, fresh, now)
            if judges:
                edits += noticing.words(notes, fresh, now)
                edits += noticing.listened(judging.outages(stored), judging.watched(stored), now)
            if edits:
                stored = await self._notes.note_senders(edits)
        except BaseException:
            self._fresh = {
                **fresh,
                **{s: noticing.joined(fresh.get(s, Seen()), new) for s, new in self._fresh.items()},
            }
            raise
        self._known, _ = judging.split(stored)
        return stored

    async def _judge(self, before: Mapping[str, Alert]) -> None:
        now, book = self._clock.now(), self._book()
        wrong = judging.alerts(self._known, book.senders, self._manners, now)
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
        await self._notes.note_senders(noticing.telling(new, over))


def _matches(matchers: Sequence[Matcher], told: Sequence[Told]) -> bool:
    """True where some alert of the delivery has all that the sender is watched by."""
    return any(
        all(m.test(alert.labels.get(m.name, "")) for m in matchers)
        for thing in told
        if isinstance(thing, AlertBatch)
        for alert in thing.alerts
        if alert.firing
    )
