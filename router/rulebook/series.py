"""promtool's notation for values over time, as far as an alert needs it: ``_x5 1x10 0``.

``1`` fires, ``0`` has ended, ``_`` says nothing. As in promtool ``1x10`` is the value and ten more of it
(eleven), ``_x5`` is five. Called by :mod:`router.rulebook.scenarios`.
"""

from __future__ import annotations

import re
from typing import Final

from router.model.errors import RouterError

_ITEM: Final = re.compile(r"([01_])(?:x([0-9]{1,6}))?").fullmatch
_HINT: Final = "1 fires, 0 has ended, _ says nothing; 1x10 is eleven times 1, _x5 is five times _"


class SeriesError(RouterError):
    """Text that is no series of an alert's values; ``hint`` says how to write one."""

    def __init__(self, message: str, hint: str = _HINT) -> None:
        super().__init__(message)
        self.hint = hint


def expand(text: str, most: int) -> tuple[str, ...]:
    """Return the values one by one.

    Raises:
        SeriesError: it is none, is empty or has more than ``most`` values.
    """
    found: list[str] = []
    for item in text.split():
        match = _ITEM(item)
        if match is None:
            raise SeriesError(f"not a value: {item[:40]!r}")
        value, times = match.groups()
        count = 1 if times is None else int(times) + (value != "_")
        if len(found) + count > most:
            raise SeriesError(f"more than {most} values", "let the steps be longer, or make several tests")
        found += [value] * count
    if not found:
        raise SeriesError("there are no values")
    return tuple(found)
