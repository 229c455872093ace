"""Who a vendor's person is, by e-mail: what the rules say of them, else what the vendor does.

So that an acknowledgement is credited to whoever gave it. Nobody is guessed: by name alone nobody is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from router.ports import Knowing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.ports import Clock
    from router.rulebook.book import Rulebook

log = structlog.get_logger(__name__)

#: People change their address seldom; a vendor that did not know is asked again sooner.
KNOWN_S: Final = 3600.0
UNKNOWN_S: Final = 300.0
_MOST: Final = 5_000


class People:
    """The directory; ``notifiers`` by kind, of which some know people."""

    def __init__(self, notifiers: Mapping[str, object], book: Callable[[], Rulebook], clock: Clock) -> None:
        self._notifiers, self._book, self._clock = notifiers, book, clock
        self._known: dict[tuple[str, str], tuple[float, str]] = {}

    async def email(self, via: str, person: str) -> str:
        """Return the e-mail of a person, "" where nobody has told it."""
        if not person:
            return ""
        if (written := self._book().people.get((via, person))) is not None:
            return written
        now = self._clock.monotonic()
        until, known = self._known.get((via, person), (0.0, ""))
        if now < until:
            return known
        notifier = self._notifiers.get(via)
        if not isinstance(notifier, Knowing):
            return ""
        try:
            found = await notifier.email(person)
        except OSError as exc:
            log.warning("person_not_found_out", via=via, person=person, error=str(exc)[:200])
            return ""
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[via, person] = (now + (KNOWN_S if found else UNKNOWN_S), found)
        return found
