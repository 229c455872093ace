"""What happened, typed. Sources make these; the inbox stores them; decide reads them.

Two families:

- *told*: what a sender said, before rules were asked (:class:`AlertBatch`,
  :class:`DeployReport`). Sources return these and know neither catalogue nor routes.
- *placed*: the same, with the group or service it belongs to, as kept in an
  inbox (:class:`GroupAlerts`, :class:`ServiceDeploy`), and what comes from
  within (:class:`Command`, :class:`DeployNoticed`, :class:`Doubt`, :class:`TimerDue`,
  :class:`Settled`).

All times are aware UTC. Stored as JSON; fields are only ever added, with
defaults, so that the previous release's entries still decode.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

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
    """Told: the alerts of one delivery. ``truncated`` counts those the sender left out."""

    source: str
    alerts: list[Alert]
    receiver: str = ""
    external_url: str = ""
    truncated: int = 0


class DeployPhase(StrEnum):
    """The steps of a deploy that tellers tell of, in order of a blue-green deploy's life."""

    MERGED = "merged"
    BUILT = "built"
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
    SERVICE = "service"


class DeployReport(msgspec.Struct, frozen=True, gc=False, tag="deploy_report", omit_defaults=True):
    """Told: one teller's word about one phase of one deploy.

    Args:
        source: the kind of the teller: ``gitlab``, ``argocd``.
        event_id: derived from the body; the same for a re-sent delivery.
        origin_kind: how to read ``origin``.
        origin: ``group/project``, ``namespace/application`` or a service's name.
        environment: as the teller names it; empty where the phase has none (a merge, a build).
        phase: what was reached.
        at: when it was reached, by the teller's clock.
        revision: commit of the application's repository; may be short; empty if unknown.
        config_revision: commit of a configuration repository (Argo CD). Never joined on.
        images: image references, ``registry/name:tag@digest``.
        ref: branch or tag.
        title: of the merge request or commit.
        author: who made the change, as the teller names them.
        url: where a person can look.
        detail: the teller's own status word or message, bounded.
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


class Heartbeat(msgspec.Struct, frozen=True, gc=False, tag="heartbeat", omit_defaults=True):
    """Told: an authentic delivery that says nothing we act on (yet); counted, answered 2xx."""

    source: str
    kind: str


Told = AlertBatch | DeployReport | Heartbeat


class GroupAlerts(msgspec.Struct, frozen=True, gc=False, tag="alerts", omit_defaults=True):
    """Placed: alerts of one group, from one delivery."""

    group: str
    route: str
    labels: dict[str, str]
    alerts: list[Alert]
    received_at: datetime
    source: str = ""
    truncated: int = 0
    external_url: str = ""


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


class CommandKind(StrEnum):
    """What a person can ask of an incident."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


class Command(msgspec.Struct, frozen=True, gc=False, tag="command", omit_defaults=True):
    """From a person, through the API: ``event_id`` makes a repeated click count once."""

    group: str
    generation: int
    kind: CommandKind
    by: str
    at: datetime
    event_id: str
    note: str = ""


class TimerKind(StrEnum):
    """What a wake-up is for."""

    NOTIFY = "notify"
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
    page anew), so the owner tells the present once more.
    """

    group: str
    generation: int
    target: str


#: What an inbox entry may hold.
Stored = GroupAlerts | ServiceDeploy | DeployNoticed | Command | Doubt
#: What decide may be asked about.
Event = GroupAlerts | ServiceDeploy | DeployNoticed | Command | Doubt | TimerDue | Settled | Begun
