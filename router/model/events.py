"""What happened, typed. Sources make these; the inbox stores them; decide reads them.

Two families:

- *told*: what a sender said, before rules were asked (:class:`AlertBatch`,
  :class:`DeployReport`, :class:`Act`, :class:`Heartbeat`, :class:`Trouble`). Sources return
  these and know neither catalogue nor routes.
- *placed*: the same, with the group or service it belongs to, as kept in an
  inbox (:class:`GroupAlerts`, :class:`ServiceDeploy`, :class:`Unread`), and what comes from
  within (:class:`Command`, :class:`DeployNoticed`, :class:`Doubt`, :class:`TimerDue`,
  :class:`Settled`).

All times are aware UTC. Stored as JSON; fields are only ever added, with
defaults, so that the previous release's entries still decode.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from router.model.blames import Blamed, Experienced
from router.model.commands import Command
from router.model.outcomes import Outcome


class Severity(StrEnum):
    """How bad, worst first; kube-prometheus' words plus PagerDuty's ``error``."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    NONE = "none"

    @property
    def rank(self) -> int:
        """0 is worst; comparing ranks compares severities."""
        return _RANK[self]


_RANK = {s: i for i, s in enumerate(Severity)}


class Alert(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One firing or resolved thing, as its source told it.

    ``key`` names the alert: the source's short name (``am``), a colon, and the fingerprint, so
    that one source can never resolve another's alert. ``ends_at`` is set only
    when resolved. Short stored names: there may be 100,000 of these in Redis.
    """

    key: str = msgspec.field(name="k")
    firing: bool = msgspec.field(name="f")
    labels: dict[str, str] = msgspec.field(name="l")
    annotations: dict[str, str] = msgspec.field(name="a")
    starts_at: datetime = msgspec.field(name="s")
    ends_at: datetime | None = msgspec.field(name="e", default=None)
    generator_url: str = msgspec.field(name="g", default="")

    @property
    def fingerprint(self) -> str:
        """The fingerprint alone, as Alertmanager shows it."""
        return self.key.partition(":")[2]


class AlertBatch(msgspec.Struct, frozen=True, gc=False, tag="alert_batch", omit_defaults=True):
    """Told: the alerts of one delivery.

    ``truncated`` counts those the sender left out. ``group_key``, ``reason`` (Alertmanager's
    ``notification_reason``) and ``route_labels`` are the sender's own, kept as it wrote them.
    """

    source: str
    alerts: list[Alert]
    receiver: str = ""
    external_url: str = ""
    truncated: int = 0
    group_key: str = ""
    reason: str = ""
    route_labels: dict[str, str] = {}


class DeployPhase(StrEnum):
    """The steps of a change and of a deploy that tellers tell of, in order of a blue-green deploy's life.

    Up to BUILT (and TOGGLED, which is about a feature flag) they are not bound to an environment.
    """

    PUSHED = "pushed"
    MERGED = "merged"
    CHECKED = "checked"  # a pipeline, or a job of it, told how build, test, security, quality or package went
    BUILT = "built"
    TAGGED = "tagged"
    RELEASED = "released"
    TOGGLED = "toggled"
    STARTED = "started"
    GREEN_DEPLOYED = "green_deployed"
    GREEN_TESTED = "green_tested"
    SWITCHED = "switched"
    LIVE = "live"
    FAILED = "failed"
    CANCELED = "canceled"
    CLEANED_UP = "cleaned_up"
    ROLLED_BACK = "rolled_back"


class OriginKind(StrEnum):
    """What a teller calls the thing that was deployed; the catalogue maps it to a service."""

    GITLAB_PROJECT = "gitlab_project"
    ARGOCD_APPLICATION = "argocd_application"
    ARGO_ROLLOUT = "argo_rollout"
    SERVICE = "service"


class DeployReport(msgspec.Struct, frozen=True, gc=False, tag="deploy_report", omit_defaults=True):
    """Told: one teller's word about one phase of one deploy.

    Args:
        source: the kind of the teller: ``gitlab``, ``argocd``.
        event_id: derived from the body; the same for a re-sent delivery.
        origin_kind: how to read ``origin``.
        origin: ``group/project``, ``namespace/application``, ``namespace/rollout`` or a service's name.
        environment: as the teller names it; empty where the phase has none (a merge, a build).
        phase: what was reached.
        at: when it was reached, by the teller's clock; UNDATED where it gave no time.
        revision: commit of the application's repository; may be short; empty if unknown.
        config_revision: commit of a configuration repository (Argo CD). Never joined on.
        images: image references, ``registry/name:tag@digest``.
        ref: branch or tag.
        title: of the merge request or commit.
        author: who made the change, as the teller names them.
        url: where a person can look.
        detail: the teller's own status word or message, bounded.
        names: further names of the version: a tag, a release.
        facts: what else it told of this change or deploy, at most 20 short texts by name:
            ``test: failed``, ``preview_hash: 6b9c…``. A later report's facts replace an earlier one's.
        run: the teller's own id of this one deploy, by which two deploys of one version are told apart:
            GitLab's deployment, Argo CD's operation, a Rollout's revision. Empty where it has none.
        also: further ids of the teller's that only this deploy has: the job and the pipeline behind it.
    """

    source: str
    event_id: str
    origin_kind: OriginKind
    origin: str
    environment: str
    phase: DeployPhase
    at: datetime
    revision: str = ""
    config_revision: str = ""
    images: tuple[str, ...] = ()
    ref: str = ""
    title: str = ""
    author: str = ""
    url: str = ""
    detail: str = ""
    names: tuple[str, ...] = ()
    facts: dict[str, str] = {}
    run: str = ""
    also: tuple[str, ...] = ()


#: In place of a time that the teller did not give: placing puts in when it was received.
UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ActKind(StrEnum):
    """What somebody did to an incident at PagerDuty or in Slack, where it can in PagerDuty's words."""

    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    TRIGGERED = "triggered"
    ESCALATED = "escalated"
    REASSIGNED = "reassigned"
    ANNOTATED = "annotated"
    SNOOZED = "snoozed"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    OTHER = "other"


class Act(msgspec.Struct, frozen=True, gc=False, tag="act", omit_defaults=True):
    """Told: somebody did something to an incident elsewhere, or asked us to.

    Args:
        source: the kind of the teller: ``pagerduty``, ``slack``.
        event_id: derived from the sender's own id; the same for a re-sent delivery.
        kind: what was done or asked.
        incident: our incident id, as the other side was given it; "" where it names none of ours.
        by: the person, as the teller names them for people; "" where it was no person (our own echo).
        by_id: the teller's id of that person; the name may change, this does not.
        at: when, by the teller's clock; UNDATED where it gave no time.
        word: the teller's own word: ``incident.acknowledged``, ``block_actions``, ``/incident``.
        text: what was written: a note, a command's text; bounded.
        to: whose it is now (ESCALATED, REASSIGNED), as the teller names them; the id of another incident.
        until: until when it is put off (SNOOZED); counted from ``at``, even where that is UNDATED.
        ref: the teller's id of the incident or message.
        url: where a person can look.
    """

    source: str
    event_id: str
    kind: ActKind
    incident: str = ""
    by: str = ""
    by_id: str = ""
    at: datetime = UNDATED
    word: str = ""
    text: str = ""
    ref: str = ""
    url: str = ""
    to: str = ""
    until: datetime | None = None


class Trouble(msgspec.Struct, frozen=True, gc=False, tag="trouble", omit_defaults=True):
    """Told: a part of the delivery could not be read, the rest was; it also goes to the dead letters."""

    source: str
    reason: str


class Heartbeat(msgspec.Struct, frozen=True, gc=False, tag="heartbeat", omit_defaults=True):
    """Told: an authentic delivery that says nothing we act on (yet); counted, answered 2xx."""

    source: str
    kind: str


Told = AlertBatch | DeployReport | Act | Trouble | Heartbeat


class Unread(msgspec.Struct, frozen=True, gc=False, tag="unread", omit_defaults=True):
    """Placed: an authentic delivery that could not be read (wholly), on its way to the dead letters.

    ``delivery`` is the sender's id of it, "" where it gives none. ``headers`` are those without secrets
    (``Manners.kept``). ``cut``: the body was too large to be kept whole, so it can be looked at and not be
    replayed. ``apart``: the body is kept beside the letter.
    """

    source: str
    reason: str
    headers: dict[str, str]
    body: bytes
    received_at: datetime
    cut: bool = False
    delivery: str = ""
    apart: bool = False


class Hold(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Why an incident waits: its own service is being deployed, and it is not critical.

    ``rule`` is the hold's name in the rules; ``digest`` is the group that gathers all that is held
    during this deploy, and tells it as one incident after ``until``, whatever is heard of the deploy.
    """

    rule: str
    service: str
    environment: str
    deploy_id: str
    version: str
    digest: str
    until: datetime


class GroupAlerts(msgspec.Struct, frozen=True, gc=False, tag="alerts", omit_defaults=True):
    """Placed: alerts of one group, from one delivery; with ``hold``: held ones, for their digest."""

    group: str
    route: str
    labels: dict[str, str]
    alerts: list[Alert]
    received_at: datetime
    source: str = ""
    truncated: int = 0
    external_url: str = ""
    hold: Hold | None = None


class ServiceDeploy(msgspec.Struct, frozen=True, gc=False, tag="deploy", omit_defaults=True):
    """Placed: a report, with the service and environment that the catalogue gave it."""

    key: str
    service: str
    environment: str
    report: DeployReport
    received_at: datetime


class DeployNoticed(msgspec.Struct, frozen=True, gc=False, tag="noticed", omit_defaults=True):
    """From within: a service's ledger changed; open incidents of these services look again."""

    service: str
    event_id: str


class TimerKind(StrEnum):
    """What a wake-up is for."""

    NOTIFY = "notify"
    REVIEW = "review"
    FORGET = "forget"


class TimerDue(msgspec.Struct, frozen=True, gc=False, tag="timer", omit_defaults=True):
    """From within: a wake-up that was asked for has come. ``group`` may also be a service key."""

    group: str
    generation: int
    kind: TimerKind


class Settled(msgspec.Struct, frozen=True, gc=False, tag="settled", omit_defaults=True):
    """From within: what a delivery attempt came to.

    ``want`` and ``version`` are those that the attempt rendered, so that a
    newer wish made meanwhile stays due. ``generation`` 0: ``group`` is a service's
    key and ``target`` is ``<deploy id>|<target>``, or ``@partitions``.
    ``retry_at``: when the next try may be made, if there is to be one.
    """

    group: str
    generation: int
    target: str
    want: str
    version: int
    outcome: Outcome
    retry_at: datetime | None = None


class Begun(msgspec.Struct, frozen=True, gc=False, tag="begun", omit_defaults=True):
    """From within: a first attempt is about to be made; a crash then leaves a doubt that is known."""

    group: str
    generation: int
    target: str


class Doubt(msgspec.Struct, frozen=True, gc=False, tag="doubt", omit_defaults=True):
    """From within: an attempt by a process that had lost the partition was, or may have been, taken.

    It may have undone what the owner told since (a trigger after a resolve opens a
    page anew), so the owner tells the present once more. ``revive``: a person asks for it, of a
    destination that was given up.
    """

    group: str
    generation: int
    target: str
    revive: bool = False


class Review(msgspec.Struct, frozen=True, gc=False, tag="review", omit_defaults=True):
    """From within: what surrounds a group has changed (rules, silences, what inhibits): look at it again."""

    group: str


#: What an inbox entry may hold.
Stored = GroupAlerts | ServiceDeploy | DeployNoticed | Command | Doubt | Unread | Experienced | Blamed
#: What decide may be asked about.
Event = (
    GroupAlerts
    | ServiceDeploy
    | DeployNoticed
    | Command
    | Doubt
    | Unread
    | Experienced
    | Blamed
    | TimerDue
    | Settled
    | Begun
    | Review
)
