"""A pace per key: so many at once, then one per interval.

Pure: the caller brings the time and does the waiting. The generic cell rate algorithm:
one number per key, the time at which its budget is whole again. Unused keys are
dropped, so that keys from outside cannot fill memory.
"""

from __future__ import annotations

from typing import Final

_MAX_KEYS: Final = 1024


class Pace:
    """Slots in time, one per ``interval_s`` and key, of which ``burst`` may be taken at once."""

    def __init__(self, interval_s: float, burst: int) -> None:
        self._interval_s = interval_s
        self._slack_s = interval_s * (burst - 1)
        self._whole_at: dict[str, float] = {}

    def reserve(self, key: str, now: float, patience_s: float) -> tuple[bool, float]:
        """Return (True, seconds to wait first), or (False, seconds until it is worth asking again).

        Only the first takes the slot.
        """
        wait_s = self.wait(key, now)
        if wait_s > patience_s:
            return False, wait_s
        self._whole_at[key] = max(self._whole_at.get(key, now), now) + self._interval_s
        self._forget(now)
        return True, wait_s

    def wait(self, key: str, now: float) -> float:
        """Return how many seconds until the key's next slot; takes nothing."""
        return max(0.0, self._whole_at.get(key, now) - self._slack_s - now)

    def hold(self, key: str, now: float, seconds: float) -> None:
        """Give out no slot of this key for that long: the other side asked for it."""
        self._whole_at[key] = max(self._whole_at.get(key, now), now + seconds + self._slack_s)

    def _forget(self, now: float) -> None:
        if len(self._whole_at) > _MAX_KEYS:
            self._whole_at = {k: at for k, at in self._whole_at.items() if at > now}
