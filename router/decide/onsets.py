"""What began to fail lately, wherever: the view of the whole fleet in which causes are told apart.

A deploy's fault shows at what it deployed and at what calls that. Where services fail that have nothing
to do with it, something else is the cause. ``work`` keeps the view up to date; what was opened less than
:data:`SETTLED` ago is not looked at, so that every process, however many there are, judges by the same.
"""

from __future__ import annotations

from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from router.model.blames import ONSETS_KEPT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from router.model.blames import Onset

#: How long until every process knows of an incident: the view is read about once a second.
SETTLED: Final = timedelta(seconds=5)
#: Of each minute and environment; where more services fail at once, it is not one deploy of one of them.
MOST: Final = 300
_MINUTE_S: Final = 60
_SWEEP: Final = timedelta(minutes=5)
_IN_ORDER: Final = attrgetter("at", "incident")


class Onsets:
    """Onsets by minute and environment; the same one told again changes nothing."""

    def __init__(self) -> None:
        self._minutes: dict[tuple[int, str], dict[str, Onset]] = {}
        self._newest: datetime | None = None

    def add(self, found: Iterable[Onset]) -> None:
        """Take onsets, and forget those that are too old."""
        for one in found:
            here = self._minutes.setdefault((int(one.at.timestamp()) // _MINUTE_S, one.environment), {})
            if len(here) < MOST:
                here.setdefault(one.incident, one)
            if self._newest is None or one.opened >= self._newest + _SWEEP:
                self._newest = one.opened
                self._forget(one.opened - ONSETS_KEPT)

    def _forget(self, oldest: datetime) -> None:
        """Forget what we decided before then; what senders say of their time must not clear the view."""
        self._minutes = {
            key: here
            for key, here in self._minutes.items()
            if any(one.opened >= oldest for one in here.values())
        }

    def around(self, environment: str, since: datetime, until: datetime, now: datetime) -> list[Onset]:
        """Return what began between two moments, in order, as far as everybody knows of it by now."""
        first, last = (int(at.timestamp()) // _MINUTE_S for at in (since, until))
        known = now - SETTLED
        found = [
            one
            for minute in range(first, last + 1)
            for one in self._minutes.get((minute, environment), {}).values()
            if since <= one.at <= until and one.opened <= known
        ]
        found.sort(key=_IN_ORDER)
        return found
