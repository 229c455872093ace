"""Example incidents, deploys and jobs, and a clock that a test drives."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from router.model.deploys import Deploy
from router.model.destinations import Destination, Lane, Want
from router.model.events import Alert, DeployPhase, Severity
from router.model.incidents import Incident, State, Suspect
from router.model.reasons import Reason, Why
from router.ports import ChangeJob, IncidentJob, NotifierContext

if TYPE_CHECKING:
    from collections.abc import Mapping

ONSET = datetime(2026, 3, 1, 10, 3, tzinfo=UTC)
GROUP = "7f3a9c21b04d55e0"


class ManualClock:
    """A clock whose sleepers wait for nothing: a sleep moves the time."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return ONSET + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)  # one turn of the loop; this clock is moved by hand


def context(clock: ManualClock | None = None, timeout_s: float = 10.0, **settings: str) -> NotifierContext:
    """Return what a notifier is built with; keyword arguments are its settings."""
    return NotifierContext(clock or ManualClock(), settings, {"PD_KEY": "R" + "0" * 31}, timeout_s)


def alert(n: int, labels: Mapping[str, str] | None = None, *, firing: bool = True) -> Alert:
    """Return an alert of payment-service."""
    return Alert(
        key=f"alertmanager:{n:016x}",
        firing=firing,
        labels={
            "alertname": "HighErrorRate",
            "service": "payment-service",
            "pod": f"payment-{n}",
            **(labels or {}),
        },
        annotations={"summary": f"pod payment-{n} answers 12 % of requests with 5xx"},
        starts_at=ONSET,
        ends_at=None if firing else ONSET + timedelta(minutes=9),
        generator_url=f"https://prometheus.example.com/graph?g0.expr=rate&n={n}",
    )


def suspect(**changes: Any) -> Suspect:
    """Return the deploy that came 3 minutes before the onset."""
    base = Suspect(
        service="payment-service",
        environment="prod",
        deploy_id="prod/1.42.0/1",
        version="1.42.0",
        at=ONSET - timedelta(minutes=3),
        score=5.5,
        reasons=(
            Reason(Why.SAME_SERVICE, "same service in prod", 2.0),
            Reason(Why.SWITCHED_BEFORE_ONSET, "traffic was switched 3 min before the alert began", 2.0),
            Reason(Why.VERSION_LABEL_MATCHES, "the alert carries its version 1.42.0", 2.0),
            Reason(Why.OTHER_DEPLOYS_COMPETE, "1 other deploys compete", -0.5),
        ),
        title="Retry card payments twice",
        author="alice",
        url="https://gitlab.example.com/shop/payment-service/-/merge_requests/17",
    )
    return msgspec.structs.replace(base, **changes)


def incident(**changes: Any) -> Incident:
    """Return an open incident."""
    base = Incident(
        group=GROUP,
        generation=2,
        route="root/payments",
        receiver="payments",
        group_labels={"alertname": "HighErrorRate", "service": "payment-service"},
        state=State.TRIGGERED,
        severity=Severity.CRITICAL,
        title="HighErrorRate payment-service",
        service="payment-service",
        environment="prod",
        team="payments",
        labels={"alertname": "HighErrorRate", "service": "payment-service"},
        annotations={"description": "More than 5 % of requests fail."},
        opened_at=ONSET + timedelta(seconds=5),
        starts_at=ONSET,
        firing=3,
        resolved=1,
        by_severity={"critical": 3},
        revision=4,
        suspects=(suspect(),),
        why=(Reason(Why.INCIDENT_OPENED, "3 alerts fire"),),
    )
    return msgspec.structs.replace(base, **changes)


LINKS = {
    "incident": f"https://router.example.com/api/v1/incidents/{GROUP}.2",
    "runbook": "https://runbooks.example.com/high-error-rate",
    "latency": "https://grafana.example.com/d/abc?var-service=payment&from=now-1h",
}


def job(options: Any, head: Incident | None = None, **changes: Any) -> IncidentJob:
    """Return a job; ``want``, ``ref``, ``doubt``, ``have`` go into its destination."""
    head = head or incident()
    wish = {k: changes.pop(k) for k in ("want", "ref", "doubt", "have") if k in changes}
    destination = Destination(**{"lane": Lane.PAGE, "want": Want.TRIGGERED, "want_version": 4, **wish})
    members = changes.pop("members", [alert(n) for n in range(3)] + [alert(9, firing=False)])
    given: dict[str, Any] = {
        "target": "payments/x/0",
        "now": ONSET + timedelta(minutes=1),
        "links": LINKS,
        **changes,
    }
    return IncidentJob(incident=head, members=members, destination=destination, options=options, **given)


def deploy(**changes: Any) -> Deploy:
    """Return a deploy that is live."""
    base = Deploy(
        id="prod/1.42.0/1",
        service="payment-service",
        environment="prod",
        names=("1.42.0", "4f2b" * 10),
        phases={
            DeployPhase.STARTED: ONSET - timedelta(minutes=9),
            DeployPhase.SWITCHED: ONSET - timedelta(minutes=3),
            DeployPhase.LIVE: ONSET - timedelta(minutes=3),
        },
        tellers=("gitlab", "argocd"),
        title="Retry card payments twice",
        author="alice",
        url="https://gitlab.example.com/shop/payment-service/-/merge_requests/17",
        ref="v1.42.0",
        images=("registry.example.com/payment-service:1.42.0",),
    )
    return msgspec.structs.replace(base, **changes)


def change_job(options: Any, of: Deploy | None = None, **changes: Any) -> ChangeJob:
    """Return a job that tells of a deploy."""
    destination = Destination(lane=Lane.REST, want=Want.TRIGGERED)
    given: dict[str, Any] = {"target": "payments/x/0", "now": ONSET, "links": LINKS, **changes}
    return ChangeJob(deploy=of or deploy(), destination=destination, options=options, **given)
