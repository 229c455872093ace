"""Argo CD's notifications, in the body that our own template makes (``deploy/argocd/``).

Argo CD has no body of its own: an operator's template writes it, and a value
that was not escaped makes it invalid JSON. So the errors here say what to mend in
the template. The body tells an application's state at the time of sending; its
phase and health say what was reached. A hook may also tell when traffic was
switched, with the same body cut down to ``app`` and ``trafficSwitchedAt``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from router.kit import wire
from router.model.errors import Rejected
from router.model.events import DeployPhase, DeployReport, Heartbeat, OriginKind, Told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.ports import SourceFactory

VERSION: Final = "1"
#: Images of all live resources of one application; more would only swell the record.
MAX_IMAGES: Final = 50
MAX_DETAIL: Final = 1000

_INSTALL: Final = "apply deploy/argocd/notifications.yaml and send its template router-deploy"
_ENVIRONMENT_LABELS: Final = ("environment", "env", "app.kubernetes.io/environment")
_PHASES: Final = {
    "running": DeployPhase.STARTED,
    "succeeded": DeployPhase.GREEN_DEPLOYED,  # applied, not (yet) healthy
    "failed": DeployPhase.FAILED,
    "error": DeployPhase.FAILED,
}


class ArgoCD:
    """See the module."""

    kind: Final = "argocd"

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:  # noqa: ARG002  nothing is signed
        """Compare X-Argocd-Token, the bearer token or the basic password of any user with the secrets."""
        token = wire.header_bytes(headers.get("x-argocd-token", ""))
        presented = token or wire.credentials(headers.get("authorization", ""))
        index = wire.match_secret(presented, secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid secret: the Authorization header in service.webhook.router (Bearer $router-token, "
                "from argocd-notifications-secret) must carry one of the secrets configured for this source",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:  # noqa: ARG002  the body says all
        """Return what the application reached, or a heartbeat where that is nothing to record."""
        doc = _document(body)
        app = _identity(doc)
        if doc.get("trigger") == "router-health-degraded":
            return [_heartbeat("degraded")]
        if doc.get("dryRun") is True:
            return [_heartbeat("dry_run")]
        if doc.get("partial") is True:  # a few resources by hand: no version went in
            return [_heartbeat("partial")]
        phase = wire.text(doc, "phase", limit=40).lower()
        told: list[Told] = []
        switched = _switched(doc, phase)
        if switched is not None:
            told.append(_report(doc, app, DeployPhase.SWITCHED, switched, switched.isoformat()))
        if phase in _PHASES:
            told.append(_synced(doc, app, phase))
        return told or [_heartbeat(phase if phase in {"terminating", ""} else "other")]


def _heartbeat(word: str) -> Heartbeat:
    return Heartbeat(source="argocd", kind=f"argocd:{word or 'no_operation'}")


def _document(body: bytes) -> dict[str, Any]:
    try:
        doc = wire.document(body)
    except wire.Unreadable as exc:
        raise Rejected(
            400,
            "bad_json",
            f"not the JSON of our template ({str(exc)[:80]}): plain text comes from a template without a "
            f"webhook part, broken JSON from a value without toRawJson: {_INSTALL}",
        ) from exc
    if "version" not in doc and isinstance(doc.get("metadata"), dict):
        raise Rejected(
            400, "bad_body", f"this is an Application itself, not the body of our template: {_INSTALL}"
        )
    if wire.text(doc, "version", limit=20) != VERSION:
        raise Rejected(400, "unsupported_version", f"'version' is not {VERSION}: {_INSTALL}")
    return doc


class _App(NamedTuple):
    """The application: ``origin`` for people and the catalogue, ``id`` to tell a re-created one apart."""

    origin: str
    id: str


def _identity(doc: dict[str, Any]) -> _App:
    name, namespace = wire.text(doc, "app", "name", limit=253), wire.text(doc, "app", "namespace", limit=63)
    if not name or not namespace:
        raise Rejected(400, "bad_body", f"'app.name' or 'app.namespace' is missing: {_INSTALL}")
    origin = f"{namespace}/{name}"
    return _App(origin, wire.text(doc, "app", "uid", limit=64) or origin)


def _switched(doc: dict[str, Any], phase: str) -> datetime | None:
    """Return when traffic was switched, where the body says so."""
    at = wire.parse_time(doc.get("trafficSwitchedAt"))
    if at is None and phase == "switched":
        at = wire.parse_time(doc.get("finishedAt")) or wire.parse_time(doc.get("startedAt"))
        if at is None:
            raise Rejected(
                400, "bad_body", "'trafficSwitchedAt' is missing or no RFC 3339 time; phase is 'switched'"
            )
    return at


def _synced(doc: dict[str, Any], app: _App, word: str) -> DeployReport:
    started = wire.parse_time(doc.get("startedAt"))
    finished = wire.parse_time(doc.get("finishedAt"))
    if started is None:
        raise Rejected(400, "bad_body", f"'startedAt' is missing or no RFC 3339 time: {_INSTALL}")
    phase, at = _PHASES[word], finished or started
    if phase is DeployPhase.STARTED:
        at = started
    elif phase is DeployPhase.GREEN_DEPLOYED and wire.text(doc, "health").lower() == "healthy":
        phase = DeployPhase.LIVE
        # healthy since before the sync (nothing was restarted): then live since the sync
        at = max(at, wire.parse_time(doc.get("healthSince")) or at)
    return _report(doc, app, phase, at, started.isoformat())


def _report(doc: dict[str, Any], app: _App, phase: DeployPhase, at: datetime, stamp: str) -> DeployReport:
    message = wire.text(doc, "message", limit=MAX_DETAIL)
    return DeployReport(
        source="argocd",
        event_id=f"argocd:{app.id}:{phase}:{stamp}",
        origin_kind=OriginKind.ARGOCD_APPLICATION,
        origin=app.origin,
        environment=_environment(doc),
        phase=phase,
        at=at,
        config_revision=_revision(doc),
        images=tuple(_texts(doc.get("images"), MAX_IMAGES)),
        ref=wire.text(doc, "targetRevision"),
        author=wire.text(doc, "initiatedBy", limit=200),
        url=wire.text(doc, "url", limit=1000),
        detail=message or wire.text(doc, "phase", limit=40),
    )


def _environment(doc: dict[str, Any]) -> str:
    """Return the environment that the application's labels name; the catalogue may know better."""
    labels = wire.dig(doc, "app", "labels")
    return next((found for name in _ENVIRONMENT_LABELS if (found := wire.text(labels, name, limit=255))), "")


def _revision(doc: dict[str, Any]) -> str:
    """Return the commit (or chart version) that was synced; of several sources all, with commas between."""
    return wire.text(doc, "revision") or wire.clean(",".join(_texts(doc.get("revisions"), 20)), 300)


def _texts(found: Any, most: int) -> list[str]:
    if not isinstance(found, list):
        return []
    return [wire.clean(item, 512).strip() for item in found[:most] if isinstance(item, str) and item.strip()]


build: SourceFactory = ArgoCD
