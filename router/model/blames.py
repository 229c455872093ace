"""What incidents tell the ledgers of deploys: whom they blame, and what was nobody's fault.

Both are events from within. They go through the inbox of the ledger's partition, so they are as durable
as what came from outside, and count once.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

#: How long an onset is kept. An incident is judged again when it ends, by what failed when it began.
ONSETS_KEPT: Final = timedelta(days=1)


class Blame(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An incident that is blamed on a deploy, as its ledger was told last; ``open``: not over.

    ``told``: its people have been told of it (it is neither muted, nor waiting, nor a part of another).
    """

    incident: str
    at: datetime
    probability: float
    title: str = ""
    service: str = ""
    team: str = ""
    receiver: str = ""
    severity: str = ""
    open: bool = True
    told: bool = False


class Rate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How often something happened: a count that decays, as it was at ``at``; and the latest, one by one.

    ``lately``: when each began, and how surely it was no deploy's fault.
    """

    count: float
    at: datetime
    lately: tuple[tuple[datetime, float], ...] = ()


class Experienced(msgspec.Struct, frozen=True, gc=False, tag="experienced", omit_defaults=True):
    """From an incident to its service's ledger: it is over, and how surely no deploy did it.

    ``weight``: 1 where no deploy is suspected, 0 where one surely did it.
    """

    key: str
    service: str
    environment: str
    alert: str
    incident: str
    weight: float
    at: datetime
    began: datetime | None = None


class Blamed(msgspec.Struct, frozen=True, gc=False, tag="blamed", omit_defaults=True):
    """From an incident to the ledger of the deploy that it suspects: that it does; ``over``: not any more."""

    key: str
    service: str
    deploy_id: str
    blame: Blame
    over: bool = False


class Onset(msgspec.Struct, frozen=True, gc=False):
    """An incident that opened: its service and alert, when what it tells of began, when it was decided."""

    incident: str
    service: str
    environment: str
    alert: str
    at: datetime
    opened: datetime
