"""Prometheus durations: ``30s``, ``1h30m``, ``2w``; read as they are and written back the same way.

Units are y, w, d, h, m, s and ms, each at most once and in this order; a year
has 365 days, as in prometheus/common ``model/time.go``. ``0`` needs no unit.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from router.model.errors import RouterError

_UNITS: Final = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
#: Twelve digits per unit hold every duration in range; more would only be work for ``int``.
_SHAPE: Final = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit in _UNITS))
#: Prometheus keeps durations in 63 bits of nanoseconds.
_MAX_MS: Final = (2**63 - 1) // 1_000_000
_HINT: Final = "write for example 30s, 5m or 1h30m; units are y w d h m s ms, in this order"


class DurationError(RouterError):
    """Text that is no duration; ``hint`` says how to write one."""

    def __init__(self, message: str, hint: str = _HINT) -> None:
        super().__init__(message)
        self.hint = hint


def parse(text: str) -> timedelta:
    """Return the duration.

    Raises:
        DurationError: anything that Prometheus would refuse, too.
    """
    if text == "0":
        return timedelta()
    match = _SHAPE.fullmatch(text)
    if match is None or not text:
        raise DurationError(f"not a duration: {text[:40]!r}")
    total = sum(
        int(count) * size
        for count, size in zip(match.groups(), _UNITS.values(), strict=True)
        if count is not None
    )
    if total > _MAX_MS:
        raise DurationError(f"the duration is out of range: {text[:40]!r}", "at most 292y")
    return timedelta(milliseconds=total)


def render(duration: timedelta) -> str:
    """Return the text as Prometheus writes it; parts below a millisecond are dropped."""
    rest = duration // timedelta(milliseconds=1)
    if rest <= 0:
        return "0s"
    parts = []
    for unit, size in _UNITS.items():
        # Days and longer only where nothing remains: 90 days are 90d, 25 hours stay 25h.
        if size >= _UNITS["d"] and rest % size:
            continue
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
