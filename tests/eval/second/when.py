"""Simulated time, in seconds from the scenario's Monday, and what is drawn over it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

START: Final = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86400.0
#: How busy people are in the hours from 8 to 18, UTC.
_OFFICE: Final = (0.5, 1.0, 1.4, 1.2, 0.6, 0.9, 1.3, 1.3, 1.0, 0.6)
#: Load follows people: faults without a change are more frequent by day.
_LOAD: Final = tuple(2.0 if 7 <= hour < 20 else 1.0 for hour in range(24))


def moment(t: float) -> datetime:
    """Return the time that many seconds after the start."""
    return START + timedelta(seconds=t)


def rfc(t: float) -> str:
    """Return RFC 3339 with milliseconds: Prometheus', this package's and newer GitLabs' way."""
    return moment(round(t, 3)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc_seconds(t: float) -> str:
    """Return RFC 3339 with whole seconds: Kubernetes' way."""
    return moment(int(t)).isoformat(timespec="seconds").replace("+00:00", "Z")


def ruby(t: float, zone: str) -> str:
    """Return the way of older GitLabs: ``2026-03-02 10:00:00 UTC`` or ``+0000``."""
    return f"{moment(int(t)):%Y-%m-%d %H:%M:%S} {zone}"


def weekdays(days: int) -> list[int]:
    """Return the numbers of the days on which people work."""
    return [day for day in range(days) if day % 7 < 5]


def office(rng: Random, day: int) -> float:
    """Draw a time in the office hours of a day."""
    (hour,) = rng.choices(range(8, 18), _OFFICE)
    return day * DAY + (hour + rng.random()) * HOUR


def any_time(rng: Random, days: int) -> float:
    """Draw a time of any day, by day more often than by night."""
    (hour,) = rng.choices(range(24), _LOAD)
    return rng.randrange(days) * DAY + (hour + rng.random()) * HOUR


def poisson(rng: Random, mean: float) -> int:
    """Draw a count."""
    count, left = 0, rng.expovariate(1.0) if mean > 0 else math.inf
    while left < mean:
        count, left = count + 1, left + rng.expovariate(1.0)
    return count


def lognormal(rng: Random, median: float, sigma: float) -> float:
    """Draw from a log-normal distribution, given by its median."""
    return median * math.exp(rng.gauss(0.0, sigma))


def hexes(rng: Random, digits: int = 40) -> str:
    """Draw hex digits; a commit's sha has 40."""
    return f"{rng.getrandbits(4 * digits):0{digits}x}"


def uuid(rng: Random) -> str:
    """Draw a version 4 UUID."""
    h = hexes(rng, 32)
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-a{h[17:20]}-{h[20:]}"
