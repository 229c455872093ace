"""Level-triggered delivery: what a destination should show, and what it last confirmed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class Lane(StrEnum):
    """Who waits for whom: nobody in PAGE ever waits for CHAT."""

    PAGE = "page"
    CHAT = "chat"
    REST = "rest"


class Want(StrEnum):
    """The state a destination should show. PagerDuty's words; NOTHING: do not tell (yet)."""

    NOTHING = ""
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Destination(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One place that must be told of one incident or deploy.

    It is due while (want, want_version) differs from (have, have_version) and it
    is not dead. ``begun``: a first attempt is under way (or was, when the process
    died). ``doubt``: an earlier attempt may have been taken without our knowing.
    ``ref``: what the other side gave us. ``tries``: attempts since the last
    confirmed one. ``failing_since``: when the first of those tries failed.
    """

    lane: Lane
    want: Want = Want.NOTHING
    want_version: int = 0
    have: Want = Want.NOTHING
    have_version: int = 0
    begun: bool = False
    doubt: bool = False
    ref: str = ""
    tries: int = 0
    not_before: datetime | None = None
    failing_since: datetime | None = None
    dead: bool = False
    error: str = ""

    @property
    def due(self) -> bool:
        """True while what is wanted differs from what was confirmed."""
        return not self.dead and (self.want, self.want_version) != (self.have, self.have_version)

    @property
    def untold(self) -> bool:
        """True where it is certain that the other side knows nothing."""
        return self.have is Want.NOTHING and not self.begun and not self.doubt
