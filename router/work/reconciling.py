"""The reconciler: now and then our incidents are laid beside what Alertmanager and PagerDuty have open.

One process does it, the owner of partition 0, with what the pollers found last. What differs, what is or
would be done about it and since when, is written for all processes to show. What mends it goes through the
door, as everything does. What is to be done is decided by :mod:`router.decide.reconciling`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from router.decide import reconciling
from router.decide.reconciling import Kind
from router.model.errors import StoreUnavailable
from router.model.keys import split_incident_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from router.decide.reconciling import Difference, Held, Story
    from router.kit.metrics import Metrics
    from router.model.incidents import Incident
    from router.ports import Clock, Intake, Reader, Surroundings, Survey
    from router.rulebook.book import Rulebook

log = structlog.get_logger(__name__)

TURN_S: Final = 60.0
#: What was asked longer ago says nothing about now.
STALE: Final = timedelta(minutes=10)
#: Of one turn: more open incidents than that are looked at over several, and a difference may last longer.
MOST: Final = 1_000
#: Of those that are over: as many as people end by hand and forget.
MOST_OVER: Final = 200
MOST_OTHERS: Final = 100


class Reconciling:
    """The reconciler of one process. :meth:`run` must be running."""

    def __init__(
        self,
        shared: Surroundings,
        reader: Reader,
        intake: Intake,
        book: Callable[[], Rulebook],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._shared, self._reader, self._intake, self._book = shared, reader, intake, book
        self._clock, self._metrics = clock, metrics
        self.judges: Callable[[], bool] = lambda: True
        self._surveys: dict[str, tuple[datetime, Survey]] = {}
        self._since: dict[tuple[str, str], datetime] = {}
        self._after = ""

    def surveyed(self, survey: Survey) -> None:
        """Take what a poller found."""
        self._surveys[survey.side] = (self._clock.now(), survey)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        while True:
            await self._clock.sleep(TURN_S)
            try:
                await self.turn()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="reconcile", error=str(exc))

    async def turn(self) -> None:
        """Compare once; mend what has differed for long enough, and write what was found."""
        if not self.judges():
            self._since.clear()
            return
        now, policy = self._clock.now(), self._book().reconcile
        asked = {side: s for side, (at, s) in self._surveys.items() if now - at <= STALE}
        found, looked_at = await self._compared(asked, now)
        names = {(d.kind.value, d.incident) for d in found}
        self._since = {
            name: at
            for name, at in self._since.items()
            if name in names or not (name[1] in looked_at or _closed_there(name, asked))
        }
        rows: list[dict[str, Any]] = []
        for each in found:
            since = self._since.setdefault((each.kind.value, each.incident), now)
            lasted = now - since >= policy.after
            action = "report" if policy.dry_run else each.action
            mended = lasted and action != "report"
            if mended:
                await self._mend(each, action)
            rows.append(
                {
                    "kind": each.kind.value, "incident": each.incident, "text": each.text,
                    "would": each.action, "action": action, "since": since, "mended": mended,
                }
            )  # fmt: skip
        await self._shared.put_report(
            msgspec.json.encode({"at": now, "asked": sorted(asked), "differences": rows})
        )

    async def _mend(self, difference: Difference, action: str) -> None:
        for event in difference.mend:
            await self._intake.again(event)
        self._since.pop((difference.kind.value, difference.incident), None)
        self._metrics.reconciled.labels(difference.kind.value, action).inc()
        what = {"kind": difference.kind.value, "incident": difference.incident, "what": difference.text}
        log.warning("reconciled", did=action, **what)

    async def _compared(self, asked: dict[str, Survey], now: datetime) -> tuple[list[Difference], set[str]]:
        """Return what differs, and which incidents were looked at; none of a side that was not asked."""
        policy = self._book().reconcile
        page = await self._reader.incidents(include_closed=False, limit=MOST, after=self._after)
        self._after = page.after
        looked_at = {h.id for h in page.heads}
        found: list[Difference] = []
        if (alertmanager := asked.get("alertmanager")) is not None:
            held = await self._held(page.heads)
            found += reconciling.at_alertmanager(held, alertmanager, policy, now)
        if (pagerduty := asked.get("pagerduty")) is not None:
            others = await self._others(pagerduty, looked_at)
            found += reconciling.at_pagerduty(page.heads, others, pagerduty, policy, now)
        # The open ones come first.
        over = await self._reader.incidents(include_closed=True, limit=len(page.heads) + MOST_OVER)
        ended = [h for h in over.heads if not h.state.open and h.resolved_by and h.firing]
        found += reconciling.by_hand(await self._held(ended), policy, now)
        return found, looked_at | {h.id for h in over.heads}

    async def _held(self, heads: list[Incident]) -> list[Held]:
        """Return incidents with their alerts, as they are by now."""
        found: list[Held] = []
        for head in heads:
            whole = await self._reader.incident(head.group, head.generation)
            if whole is not None:
                found.append((whole[0], whole[1]))
        return found

    async def _others(self, survey: Survey, known: set[str]) -> dict[str, Story]:
        """Return what is open there and not known as open here."""
        found: dict[str, Story] = {}
        for name in sorted(survey.open - known)[:MOST_OTHERS]:
            parts = split_incident_id(name)
            story = await self._reader.story(*parts) if parts is not None else None
            if story is not None:
                found[name] = story
        return found


def _closed_there(name: tuple[str, str], asked: dict[str, Survey]) -> bool:
    """True for what was open at PagerDuty alone and is not any more."""
    pagerduty = asked.get("pagerduty")
    return name[0] == Kind.OPEN.value and pagerduty is not None and name[1] not in pagerduty.open
