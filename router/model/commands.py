"""What people ask of an incident, wherever they ask it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

#: The end of what we write at PagerDuty about what was done elsewhere; by it we know our own notes again.
OUR_MARK: Final = "(told by Incident Router)"
#: What is noted where a person opened an incident again at PagerDuty; it is theirs to end there.
REOPENED: Final = "opened again at PagerDuty"


class CommandKind(StrEnum):
    """What a person can ask of an incident; each is the last part of a path of the API, too."""

    ACKNOWLEDGE = "acknowledge"
    UNACKNOWLEDGE = "unacknowledge"
    RESOLVE = "resolve"
    SNOOZE = "snooze"
    ASSIGN = "assign"
    NOTE = "note"
    MERGE = "merge"
    CONFIRM = "confirm"
    REFUTE = "refute"


class Command(msgspec.Struct, frozen=True, gc=False, tag="command", omit_defaults=True):
    """From a person: ``event_id`` makes a repeated click count once.

    Args:
        by: who it was, for people.
        by_id: the other side's id of that person, "" for the API.
        via: where it was asked: ``api``, ``slack``, ``pagerduty``; what happened at PagerDuty is not told it.
        note: what was written.
        until: SNOOZE: when people are told again.
        to: ASSIGN: whose it is now; MERGE: the id of the incident that this one is a part of; CONFIRM and
            REFUTE: the deploy (:attr:`router.model.incidents.Suspect.key`), "" for the likeliest.
    """

    group: str
    generation: int
    kind: CommandKind
    by: str
    at: datetime
    event_id: str
    note: str = ""
    by_id: str = ""
    via: str = ""
    until: datetime | None = None
    to: str = ""
