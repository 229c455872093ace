"""A pace per key."""

from __future__ import annotations

from router.kit import pacing
from router.kit.pacing import Pace


def test_burst_then_one_per_interval() -> None:
    """A burst goes at once, then each interval has one slot, and idle time earns no more than a burst."""
    pace = Pace(interval_s=1.0, burst=3)
    assert [pace.reserve("a", 0.0, 9.0) for _ in range(5)] == [(True, w) for w in (0.0, 0.0, 0.0, 1.0, 2.0)]
    assert [pace.reserve("a", 100.0, 9.0)[1] for _ in range(4)] == [0.0, 0.0, 0.0, 1.0]


def test_impatient_take_nothing() -> None:
    """Who will not wait so long is told how long, and takes no slot; other keys are free."""
    pace = Pace(interval_s=1.0, burst=1)
    assert pace.reserve("a", 0.0, 0.0) == (True, 0.0)
    assert pace.reserve("a", 0.0, 0.5) == (False, 1.0)
    assert pace.reserve("a", 0.0, 0.5) == (False, 1.0)
    assert pace.reserve("b", 0.0, 0.0) == (True, 0.0)
    assert pace.reserve("a", 1.0, 0.0) == (True, 0.0)


def test_hold() -> None:
    """A held key has no slot until the time is over, and a shorter hold does not end a longer one."""
    pace = Pace(interval_s=1.0, burst=3)
    pace.hold("a", 0.0, 30.0)
    pace.hold("a", 0.0, 1.0)
    assert pace.reserve("a", 0.0, 1.0) == (False, 30.0)
    assert pace.reserve("a", 30.0, 0.0) == (True, 0.0)


def test_keys_are_forgotten() -> None:
    """Keys whose budget is whole again take no memory for long."""
    pace = Pace(interval_s=1.0, burst=1)
    for n in range(3 * pacing._MAX_KEYS):
        pace.reserve(str(n), float(n), 0.0)
    assert len(pace._whole_at) <= pacing._MAX_KEYS + 1
