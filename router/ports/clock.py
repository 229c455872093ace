"""Time, as everybody here learns it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The only way to learn the time. Tests drive it."""

    def now(self) -> datetime:
        """Return the wall time, aware, UTC."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow; for measuring, never for storing."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long by this clock."""
