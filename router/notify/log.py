"""Tell by the log: one structured line per delivery.

Stands in for any vendor whose target has no credentials (yet), so that a first
start without secrets still shows whom it would have told of what. Never looks at
options, which may hold another vendor's secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from pydantic import BaseModel, ConfigDict

from router.kit import text
from router.model.destinations import Lane
from router.model.outcomes import Delivered, Outcome
from router.ports import NotifierSpec

if TYPE_CHECKING:
    from router.ports import ChangeJob, IncidentJob, NotifierContext

log = structlog.get_logger(__name__)


class Options(BaseModel):
    """An entry under ``log_configs``: there is nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Log:
    """The notifier that writes to our own log."""

    kind: Final = "log"
    lane: Final = Lane.CHAT
    tells_changes: Final = True

    def ready(self, options: BaseModel) -> str:  # noqa: ARG002  the port's signature
        """Return "": a log needs nothing."""
        return ""

    def hold(self, options: BaseModel) -> float:  # noqa: ARG002  the port's signature
        """Return 0: no pace is kept here."""
        return 0.0

    async def send(self, job: IncidentJob) -> Outcome:
        """Write the line of an incident."""
        incident = job.incident
        suspect = incident.suspects[0] if incident.suspects else None
        log.info(
            "notification",
            target=job.target,
            incident=incident.id,
            want=job.destination.want.value,
            severity=incident.severity.value,
            title=text.line(job.title or incident.title, 300),
            firing=incident.firing,
            resolved=incident.resolved,
            suspect=text.line(f"{suspect.service} {suspect.version}", 200) if suspect else "",
        )
        return Delivered(ref="log")

    async def send_change(self, job: ChangeJob) -> Outcome:
        """Write the line of a deploy."""
        deploy = job.deploy
        log.info(
            "change_notification",
            target=job.target,
            deploy=text.line(deploy.id, 200),
            service=text.line(deploy.service, 200),
            environment=text.line(deploy.environment, 100),
            version=text.line(deploy.name, 200),
            phases=sorted(deploy.phases),
            title=text.line(deploy.title, 300),
        )
        return Delivered(ref="log")

    async def close(self) -> None:
        """Nothing to give back."""


def _make(context: NotifierContext) -> Log:  # noqa: ARG001  the factory's signature
    return Log()


build = NotifierSpec(kind="log", lane=Lane.CHAT, options=Options, make=_make, tells_changes=True)
