"""Incidents: what people act on. A group of alerts under one key, with a generation."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum

import msgspec

from router.model.destinations import Destination
from router.model.events import Alert, Hold, Severity
from router.model.keys import incident_id
from router.model.reasons import Reason, Why


class State(StrEnum):
    """Where an incident stands.

    QUIET: the group is known but has never fired for us. SUPPRESSED: all that fires is muted, and
    nobody was told. HELD: its alerts are told by their deploy's digest. MERGED: it is a part of another
    incident, whose people have been told; it ends with its own alerts.
    """

    QUIET = "quiet"
    WAITING = "waiting"
    SUPPRESSED = "suppressed"
    HELD = "held"
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    MERGED = "merged"
    RESOLVED = "resolved"

    @property
    def open(self) -> bool:
        """True while somebody may have to act."""
        return self in _OPEN


_OPEN = {
    *(State.WAITING, State.SUPPRESSED, State.HELD, State.TRIGGERED),
    *(State.ACKNOWLEDGED, State.MERGED),
}


#: From this probability on a deploy is suspected, and people are told so. Found on the tuning seeds of the
#: evaluation: there nine of ten suspicions are right (docs/reference/attribution.md).
SUSPECTED = 0.6
#: From here on it is named as possible; below it, as cleared.
POSSIBLE = 0.1


class Suspect(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A deploy that may have done it, with evidence for (weight > 0) and against (weight < 0)."""

    service: str
    environment: str
    deploy_id: str
    version: str
    at: datetime
    score: float
    reasons: tuple[Reason, ...]
    title: str = ""
    author: str = ""
    url: str = ""
    phase: str = ""

    @property
    def key(self) -> str:
        """``<service>/<deploy id>``: what a person's verdict names."""
        return f"{self.service}/{self.deploy_id}"

    @property
    def verdict(self) -> str:
        """What a person said of it: ``confirmed``, ``refuted``, or "" where nobody did."""
        said = {r.why for r in self.reasons}
        if Why.DEPLOY_CONFIRMED in said:
            return "confirmed"
        return "refuted" if Why.DEPLOY_REFUTED in said else ""

    @property
    def standing(self) -> str:
        """In a word: confirmed, refuted, suspected, possible, cleared; what is possible is not suspected."""
        return self.verdict or (
            "suspected" if self.suspected else "possible" if self.probability >= POSSIBLE else "cleared"
        )

    @property
    def suspected(self) -> bool:
        """Whether it is likely enough to be named as the one that did it."""
        return self.probability >= SUSPECTED

    @property
    def percent(self) -> str:
        """How likely it is, for people: never quite sure, and nothing where a person has spoken."""
        return "" if self.verdict else f"{min(99, max(1, round(100 * self.probability)))}%"

    @property
    def probability(self) -> float:
        """The score, which is the log-odds that it did it, as a number between 0 and 1."""
        return round(1 / (1 + math.exp(-max(-30.0, min(30.0, self.score)))), 3)


class Likely(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A suspect as it was judged at some moment; ``key`` is :attr:`Suspect.key`."""

    key: str
    probability: float


class Assessment(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What was thought of the suspects at some moment, the likeliest first."""

    at: datetime
    suspects: tuple[Likely, ...] = ()


class Verdict(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A person's word on a suspected deploy."""

    confirmed: bool
    by: str


class Member(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An alert inside a group. ``generation`` is the incident's that it last counted in.

    ``muted`` says what mutes it while it fires, as :mod:`router.decide.muting` writes it; ``inhibits``
    are the keys under which it inhibits others.
    """

    alert: Alert = msgspec.field(name="a")
    generation: int = msgspec.field(name="n", default=0)
    seen_at: datetime | None = msgspec.field(name="t", default=None)
    muted: str = msgspec.field(name="m", default="")
    inhibits: tuple[str, ...] = msgspec.field(name="i", default=())


class Incident(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The head of a group: everything but its members, small enough to be rewritten at each change.

    ``firing``/``resolved`` count members of this generation; ``by_severity``
    counts the firing ones. ``revision`` grows with each change that people can
    see. ``severity`` is the worst since it opened. ``labels`` and ``annotations``
    are those common to all members of this generation. ``book`` is the version of
    the rulebook that decided last. ``onset``: when what its alerts tell of began, the earliest; a rule's
    ``for`` comes before ``starts_at``. ``ended_at``: when its last alert ended, None while one fires.
    ``before``: when the incident of the generation before ended. ``assessments``: what was thought of its
    suspects, and when. ``blamed``: the suspect whose ledger was told, and a digest of what.
    ``gathered``: it was merged because it is blamed on the same deploy, and not by a person.
    """

    group: str
    generation: int
    route: str
    receiver: str
    group_labels: dict[str, str]
    state: State
    severity: Severity = Severity.NONE
    title: str = ""
    service: str = ""
    environment: str = ""
    team: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    external_url: str = ""
    opened_at: datetime | None = None
    starts_at: datetime | None = None
    updated_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""
    resolved_at: datetime | None = None
    resolved_by: str = ""
    firing: int = 0
    resolved: int = 0
    truncated: int = 0
    by_severity: dict[str, int] = msgspec.field(default_factory=dict)
    revision: int = 0
    suspects: tuple[Suspect, ...] = ()
    destinations: dict[str, Destination] = msgspec.field(default_factory=dict)
    why: tuple[Reason, ...] = ()
    book: str = ""
    wait_until: datetime | None = None
    told_at: datetime | None = None
    reminded_at: datetime | None = None
    paged_at: datetime | None = None
    flush_at: datetime | None = None
    wake_at: datetime | None = None
    also: tuple[str, ...] = ()
    muted: int = 0
    muted_by: tuple[str, ...] = ()
    quiet_since: datetime | None = None
    flips: tuple[datetime, ...] = ()
    hold: Hold | None = None
    colour: str = ""
    acknowledged_id: str = ""
    acknowledged_via: str = ""
    resolved_id: str = ""
    resolved_via: str = ""
    snoozed_until: datetime | None = None
    assigned_to: str = ""
    merged_into: str = ""
    verdicts: dict[str, Verdict] = msgspec.field(default_factory=dict)
    onset: datetime | None = None
    ended_at: datetime | None = None
    before: datetime | None = None
    assessed_at: datetime | None = None
    assessments: tuple[Assessment, ...] = ()
    blamed: str = ""
    gathered: bool = False

    @property
    def alert(self) -> str:
        """The name that all its alerts have, "" where they have several."""
        return self.labels.get("alertname") or self.group_labels.get("alertname", "")

    @property
    def id(self) -> str:
        """``<group>.<generation>``; also PagerDuty's dedup key."""
        return incident_id(self.group, self.generation)

    @property
    def due(self) -> bool:
        """True while some destination must still be told."""
        return any(d.due for d in self.destinations.values())


class Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One line of an incident's timeline: when, what, in words, by whom, and where that was asked."""

    at: datetime
    why: str
    text: str = ""
    by: str = ""
    generation: int = 0
    via: str = ""
