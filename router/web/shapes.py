"""The shapes of the API's answers, for its OpenAPI document.

The handlers answer plain dictionaries (:mod:`router.web.views`); that they have these shapes is held by a
test that asks the running API and checks every answer against the document.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from router.model.destinations import Lane, Want
from router.model.events import Severity
from router.model.incidents import State
from router.model.silences import SilenceState


class Reason(msgspec.Struct):
    """Why: a stable word, and a sentence."""

    why: str
    text: str


class Evidence(Reason):
    """A reason that speaks for a suspicion (weight above 0) or against it."""

    weight: float


class Suspect(msgspec.Struct):
    """A deploy that may have done it."""

    service: str
    environment: str
    deploy: str
    version: str
    at: datetime
    score: float
    probability: float
    verdict: Literal["", "confirmed", "refuted"]
    standing: Literal["confirmed", "refuted", "suspected", "possible", "cleared"]
    title: str
    author: str
    url: str
    for_: list[Evidence] = msgspec.field(name="for")
    against: list[Evidence]


class Destination(msgspec.Struct):
    """One place that is told."""

    lane: Lane
    wanted: Want
    confirmed: Want
    due: bool
    tries: int
    not_before: datetime | None
    dead: bool
    error: str


class Incident(msgspec.Struct):
    """An incident."""

    id: str
    state: State
    severity: Severity
    title: str
    summary: str
    service: str
    environment: str
    team: str
    generation: int
    firing: int
    resolved: int
    truncated: int
    opened_at: datetime | None
    started_at: datetime | None
    onset: datetime | None
    updated_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str
    resolved_at: datetime | None
    resolved_by: str
    snoozed_until: datetime | None
    assigned_to: str
    merged_into: str
    group_labels: dict[str, str]
    labels: dict[str, str]
    route: str
    receiver: str
    suspect: Suspect | None
    destinations: dict[str, Destination]
    rulebook: str


class Incidents(msgspec.Struct):
    """A page of them. ``banner``: what is wrong with the rules. ``after``: asks for the next page."""

    incidents: list[Incident]
    after: str = ""
    banner: str = ""


class Alert(msgspec.Struct):
    """An alert of an incident."""

    fingerprint: str
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime = msgspec.field(name="startsAt")
    ends_at: datetime | None = msgspec.field(name="endsAt")
    generator_url: str = msgspec.field(name="generatorURL")


class Entry(msgspec.Struct):
    """A line of the timeline: when, why, in words, by whom, asked where."""

    at: datetime
    why: str
    text: str
    by: str
    via: str


class Decision(Entry):
    """A line of a timeline, with the incident that it is about."""

    incident: str


class Decisions(msgspec.Struct):
    """What was decided lately, the newest first."""

    decisions: list[Decision]


class Likely(msgspec.Struct):
    """How likely a deploy (``<service>/<id>``) was thought to be the cause."""

    deploy: str
    probability: float


class Assessment(msgspec.Struct):
    """What was thought of the suspects at some moment, the likeliest first."""

    at: datetime
    suspects: list[Likely]


class IncidentWhole(Incident):
    """An incident with all that is known of it; ``assessments``: the first and the latest."""

    annotations: dict[str, str]
    suspects: list[Suspect]
    assessments: list[Assessment]
    why: list[Reason]
    alerts: list[Alert]
    timeline: list[Entry]


class Accepted(msgspec.Struct):
    """It is durable; ``repeated``: it had been asked before."""

    status: Literal["accepted"]
    repeated: bool


class Sender(msgspec.Struct):
    """Who sends, when it was last heard, and what is wrong with it."""

    source: str
    heard: datetime | None
    expected: datetime | None
    refused: int
    unauthentic: int
    refused_since: datetime | None
    refused_at: datetime | None
    last_status: int
    unreadable_at: datetime | None
    trouble: str
    switched_off: str
    wrong: list[str]


class Senders(msgspec.Struct):
    """All senders."""

    senders: list[Sender]


class Status(msgspec.Struct):
    """How much waits where."""

    depths: dict[str, int]
    banner: str = ""


class Matcher(msgspec.Struct):
    """Alertmanager's matcher."""

    name: str
    value: str
    is_regex: bool = msgspec.field(name="isRegex")
    is_equal: bool = msgspec.field(name="isEqual")


class SilenceStatus(msgspec.Struct):
    """Alertmanager's silenceStatus."""

    state: SilenceState


class Silence(msgspec.Struct, rename="camel"):
    """Alertmanager's gettableSilence, and how many open incidents it mutes."""

    id: str
    status: SilenceStatus
    updated_at: datetime
    comment: str
    created_by: str
    starts_at: datetime
    ends_at: datetime
    matchers: list[Matcher]
    annotations: dict[str, str]
    mutes: int | None


class Silences(msgspec.Struct):
    """Silences, the next to end first; ``total``: as many as were found."""

    silences: list[Silence]
    total: int


class SilenceWritten(msgspec.Struct):
    """What became of a silence; ``replaces``: the one that it follows."""

    silence_id: str = msgspec.field(name="silenceID")
    result: str
    mutes: int | None
    silence: Silence
    replaces: str = ""


class Letter(msgspec.Struct):
    """A dead letter; the last four where they are shown."""

    id: str
    at: datetime
    kind: str
    source: str
    reason: str
    size: int
    payload: str = ""
    headers: dict[str, str] = {}
    body: str = ""
    cut: bool = False


class Letters(msgspec.Struct):
    """Dead letters, the newest first."""

    dead_letters: list[Letter]


class Replayed(msgspec.Struct):
    """A letter was done again; ``note``: it could not be deleted."""

    status: Literal["replayed"]
    accepted: int
    repeated: int
    note: str = ""


class Dropped(msgspec.Struct):
    """A letter was deleted."""

    status: Literal["dropped"]
    id: str


class Difference(msgspec.Struct):
    """An incident that stands otherwise elsewhere.

    ``would``: what the rules say; ``action``: what is done, "report" in a dry run; ``mended``: just now.
    """

    kind: str
    incident: str
    text: str
    would: Literal["resolve", "reopen", "report"]
    action: Literal["resolve", "reopen", "report"]
    since: datetime
    mended: bool


class Report(msgspec.Struct):
    """What the reconciler found last, "at" null where it has not looked; ``asked``: whom."""

    at: datetime | None
    asked: list[str]
    differences: list[Difference]


class RulesProblem(msgspec.Struct):
    """One thing wrong in the rules."""

    file: str
    line: int
    path: str
    message: str
    hint: str


class Rules(msgspec.Struct):
    """The rules in force, and what was wrong with those that could not be loaded."""

    version: str
    loaded_at: datetime
    origin: str
    banner: str
    failed_at: datetime | None
    problems: list[RulesProblem]
    rules: dict[str, Any]


class Loaded(msgspec.Struct):
    """The folder's rules are in force."""

    status: Literal["loaded"]
    version: str


class NotLoaded(msgspec.Struct):
    """The folder's rules cannot be loaded; those of ``version`` stay in force."""

    status: Literal["refused"]
    version: str
    problems: list[RulesProblem]


class Problem(msgspec.Struct):
    """What is wrong (RFC 9457): ``code`` is stable, ``detail`` says what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str
