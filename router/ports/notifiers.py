"""What tells people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from router.model.deploys import Deploy
from router.model.destinations import Destination, Lane, Want
from router.model.events import Alert
from router.model.incidents import Incident
from router.model.outcomes import Outcome
from router.ports.clock import Clock


@dataclass(frozen=True, slots=True)
class IncidentJob:
    """What a notifier needs to show an incident as it is now.

    ``doubtful``: an earlier first attempt may have been taken by the other side.
    ``members`` is a bounded, sorted sample (firing first); ``incident.firing`` and
    ``incident.resolved`` are the true counts. ``changed`` is what the last
    decisions said, for a thread reply; empty on a first delivery. ``title`` and ``body``
    are what the receiver's templates made of it, "" where there are none: then the
    driver's own words.
    """

    incident: Incident
    members: Sequence[Alert]
    destination: Destination
    target: str
    options: BaseModel
    now: datetime
    links: Mapping[str, str] = field(default_factory=dict)
    changed: Sequence[str] = ()
    title: str = ""
    body: str = ""

    @property
    def doubtful(self) -> bool:
        """An earlier attempt may have been taken, and nothing has been confirmed since."""
        return self.destination.doubt and self.destination.have is Want.NOTHING


@dataclass(frozen=True, slots=True)
class ChangeJob:
    """What a notifier needs to tell of a deploy (PagerDuty's change event)."""

    deploy: Deploy
    destination: Destination
    target: str
    options: BaseModel
    now: datetime
    links: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Notifier(Protocol):
    """One vendor that people are told through.

    Never raises for the vendor's failure (returns the outcome), always lets
    cancellation through, and never puts a secret into an outcome's text. Safe to
    call again with the same job: the vendor's key or ``ref`` makes it harmless.
    """

    @property
    def kind(self) -> str:
        """The file's name; ``<kind>_configs`` in rules/receivers.yaml."""

    @property
    def lane(self) -> Lane:
        """Which lane its incidents travel in."""

    @property
    def tells_changes(self) -> bool:
        """True if :meth:`send_change` does something; decides whether deploys get a destination here."""

    def ready(self, options: BaseModel) -> str:
        """Return "" if this target has all it needs, else what is missing, for people."""

    def hold(self, options: BaseModel) -> float:
        """Return for how many seconds this target wants nothing (its pace, a Retry-After); 0: send now."""

    async def send(self, job: IncidentJob) -> Outcome:
        """Make the destination show ``job.destination.want`` for ``job.incident``."""

    async def send_change(self, job: ChangeJob) -> Outcome:
        """Tell of a deploy."""

    async def close(self) -> None:
        """Give back threads and connections."""


@runtime_checkable
class Knowing(Protocol):
    """A notifier whose vendor knows people by e-mail; optional."""

    async def email(self, person: str) -> str:
        """Return the e-mail of the vendor's person of that id, "" where it is not told.

        Never raises for the vendor's failure; what is raised may be asked again later: OSError.
        """


async def nobody(via: str, person: str) -> str:  # noqa: ARG001  the signature of those who know
    """Know nobody."""
    return ""


@dataclass(frozen=True, slots=True)
class NotifierContext:
    """What a notifier's ``build`` is given: settings it may read, a clock, and limits.

    ``emails``: the e-mail of a person whom a vendor calls so, by the vendor's kind and its id of them.
    """

    clock: Clock
    settings: Mapping[str, str]
    environ: Mapping[str, str]
    timeout_s: float = 10.0
    emails: Callable[[str, str], Awaitable[str]] = nobody


@dataclass(frozen=True, slots=True)
class NotifierSpec:
    """The module-level ``build`` of a notifier's file.

    ``options`` is the pydantic model of one entry under ``<kind>_configs``. ``render``: what would be
    sent for a job, without a secret and without sending it, for tests of rules.
    """

    kind: str
    lane: Lane
    options: type[BaseModel]
    make: Callable[[NotifierContext], Notifier]
    tells_changes: bool = False
    render: Callable[[IncidentJob], Mapping[str, Any]] | None = None
