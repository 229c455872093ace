"""How long to wait before the next try: exponential, capped, with jitter from a given Random."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


def delay_s(tries: int, *, first_s: float, cap_s: float, rng: Random) -> float:
    """Return the pause after ``tries`` failures (1 is the first): doubling, capped, then 50-100 % of it."""
    full = min(cap_s, first_s * 2 ** min(max(tries - 1, 0), 32))
    return float(full * (0.5 + rng.random() / 2))
