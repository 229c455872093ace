"""What came of an attempt to tell somebody. Values, not exceptions."""

from __future__ import annotations

import msgspec


class Delivered(msgspec.Struct, frozen=True, gc=False, tag="delivered", omit_defaults=True):
    """The other side took it. ``ref`` is what a later change needs (a dedup key, ``channel/ts``)."""

    ref: str = ""


class Retry(msgspec.Struct, frozen=True, gc=False, tag="retry", omit_defaults=True):
    """It was surely not taken, and may be later. ``after_s``: seconds the other side asked for, 0 if none.

    ``reason`` is Alertmanager's closed list: clientError, authError, rateLimited,
    serverError, contextCanceled, contextDeadlineExceeded, other.
    """

    reason: str
    detail: str = ""
    after_s: float = 0.0


class Refused(msgspec.Struct, frozen=True, gc=False, tag="refused", omit_defaults=True):
    """It will never be taken as it is: goes to the dead letters."""

    reason: str
    detail: str = ""


class Unsure(msgspec.Struct, frozen=True, gc=False, tag="unsure", omit_defaults=True):
    """It may have been taken: the answer was lost. Each driver says how it finds out."""

    reason: str
    detail: str = ""


Outcome = Delivered | Retry | Refused | Unsure
