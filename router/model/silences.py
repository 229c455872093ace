"""Silences: what people asked not to be told, until when, by whom and why.

In Redis as JSON, one field each in one hash; shown by the API in Alertmanager's own form
(api/v2, ``gettableSilence``), so that its clients and ours can exchange them.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class SilenceState(StrEnum):
    """Alertmanager's words for where a silence stands."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


class SilenceMatcher(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One condition, in the fields of Alertmanager's API."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    @property
    def op(self) -> str:
        """The operator as matchers are written."""
        return {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}[
            self.is_regex, self.is_equal
        ]


class Silence(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What all of ``matchers`` match is not told from ``starts_at`` until ``ends_at``.

    ``warned_at``: when it was told that it ends soon.
    """

    id: str
    matchers: tuple[SilenceMatcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    updated_at: datetime
    warned_at: datetime | None = None

    def state(self, now: datetime) -> SilenceState:
        """Return where it stands at a time."""
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.ACTIVE if now >= self.starts_at else SilenceState.PENDING
