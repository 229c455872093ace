"""Argo CD: its notifications in the body of our own template, and Applications as they are.

Argo CD has no body of its own: an operator's template writes it, and a value
that was not escaped makes it invalid JSON. So the errors here say what to mend in
the template. What is read is an application's state at the time of sending; its
phase and health say what was reached. Three forms are taken:

- the body of ``deploy/argocd/notifications.yaml``, version 1;
- an Application (``{{ .app | toRawJson }}``, or from Argo CD's API) on its own or under
  ``app`` or ``application``. It is first put into the form of our template, so that the same state
  gives the same reports; in addition it tells of the operations in its history;
- the first form cut down to ``app`` and ``trafficSwitchedAt``: a hook says when traffic was switched.

``status.summary.images`` are those of all pods alive, so until health has settled the former
version's are among them, or alone. Hence images are told with live only, and live only where
health became Healthy since the operation began. A hook's images are a person's own words, and told.

Format: argoproj/argo-cd, ``pkg/apis/application/v1alpha1/types.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from router.kit import wire
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.events import DeployPhase, DeployReport, Heartbeat, OriginKind, Told
from router.model.keys import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.ports import SourceFactory

VERSION: Final = "1"
#: Images of all live resources of one application; more would only swell the record.
MAX_IMAGES: Final = 50
#: Sources of one application whose revisions are shown.
MAX_SOURCES: Final = 20
MAX_REVISION: Final = 300
MAX_DETAIL: Final = 1000
#: Argo CD keeps 10 entries unless told otherwise.
MAX_HISTORY: Final = 20
MAX_FACT: Final = 200

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
    manners: Final = Manners(
        unreadable=400,  # it logs the answer, where an operator finds it
        why_not=(
            "the notifications engine sends GET, with the plain message, where the template has no part for "
            "this webhook, or no `method: POST` in it"
        ),
        revive="nothing: Argo CD's notifications controller never stops by itself",
    )

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
        doc = _state(body)
        app = _identity(doc)
        told: list[Told] = [*_history(doc, app)]
        idle = _idle(doc)
        phase = wire.text(doc, "phase", limit=40).lower()
        if not idle:
            switched = _switched(doc, phase)
            if switched is not None:
                told.append(_report(doc, app, DeployPhase.SWITCHED, switched, switched.isoformat()))
            if phase in _PHASES:
                told.append(_synced(doc, app, phase))
        return told or [_heartbeat(idle or (phase if phase in {"terminating", ""} else "other"))]


def _heartbeat(word: str) -> Heartbeat:
    return Heartbeat(source="argocd", kind=f"argocd:{word or 'no_operation'}")


def _idle(doc: dict[str, Any]) -> str:
    """Return why the operation put no version in, as a word, or ""."""
    if doc.get("trigger") == "router-health-degraded":
        return "degraded"
    if doc.get("dryRun") is True:
        return "dry_run"
    return "partial" if doc.get("partial") is True else ""  # a few resources by hand: no version went in


# -- the forms of a body


def _state(body: bytes) -> dict[str, Any]:
    """Return the application's state in the form of our template, whichever form was sent."""
    try:
        doc = wire.document(body)
    except wire.Unreadable as exc:
        raise Rejected(
            400,
            "bad_json",
            f"not the JSON of our template ({str(exc)[:80]}): plain text comes from a template without a "
            f"webhook part, broken JSON from a value without toRawJson: {_INSTALL}",
        ) from exc
    application = _application(doc)
    if application is not None:
        return _as_template(application, doc)
    if "version" not in doc:
        raise Rejected(
            400,
            "bad_body",
            "neither our template's body nor an Application (with metadata, spec and status): "
            f"too little to tell a deploy by: {_INSTALL}",
        )
    if wire.text(doc, "version", limit=20) != VERSION:
        raise Rejected(400, "unsupported_version", f"'version' is not {VERSION}: {_INSTALL}")
    return doc


def _application(doc: dict[str, Any]) -> dict[str, Any] | None:
    """Return the Application in the body, or None where there is none.

    Raises:
        Rejected: it is another kind of Kubernetes object.
    """
    for found in (doc, doc.get("app"), doc.get("application"), doc.get("Application")):
        if not isinstance(found, dict):
            continue
        kind = wire.text(found, "kind", limit=60)
        if isinstance(found.get("metadata"), dict) or kind == "Application":
            if kind not in {"", "Application"}:
                raise Rejected(
                    400, "bad_body", f"an object of kind {kind}, not an Argo CD Application: {_INSTALL}"
                )
            return found
    return None


def _as_template(app: dict[str, Any], doc: dict[str, Any]) -> dict[str, Any]:
    """Return what our template would have written of this Application.

    What was deployed is ``operationState.syncResult.revision``: in a repository of many
    applications ``sync.revision`` also moves with commits that touch others.
    """
    operation = wire.dig(app, "status", "operationState")
    asked, result = wire.dig(operation, "operation"), wire.dig(operation, "syncResult")
    metadata = app.get("metadata")
    name, namespace = wire.dig(metadata, "name"), wire.dig(metadata, "namespace")
    base = wire.text(doc, "context", "argocdUrl", limit=500).rstrip("/") if doc is not app else ""
    spec = wire.dig(app, "spec")
    return {
        "app": {
            "name": name,
            "namespace": namespace,
            "uid": wire.dig(metadata, "uid"),
            "project": wire.dig(spec, "project"),
            "labels": wire.dig(metadata, "labels"),
        },
        "destination": wire.dig(spec, "destination"),
        "targetRevision": _target(spec) or wire.dig(spec, "sourceHydrator", "syncSource", "targetBranch"),
        "revision": wire.dig(result, "revision"),
        "revisions": wire.dig(result, "revisions"),
        "images": wire.dig(app, "status", "summary", "images"),
        "phase": wire.dig(operation, "phase"),
        "message": wire.dig(operation, "message"),
        "syncStatus": wire.dig(app, "status", "sync", "status"),
        "health": wire.dig(app, "status", "health", "status"),
        "healthSince": wire.dig(app, "status", "health", "lastTransitionTime"),
        "reconciledAt": wire.dig(app, "status", "reconciledAt"),
        "startedAt": wire.dig(operation, "startedAt"),
        "finishedAt": wire.dig(operation, "finishedAt"),
        "initiatedBy": wire.dig(asked, "initiatedBy", "username"),
        "automated": wire.dig(asked, "initiatedBy", "automated"),
        "dryRun": wire.dig(asked, "sync", "dryRun"),
        "partial": bool(wire.dig(asked, "sync", "resources")),
        "url": f"{base}/applications/{namespace}/{name}" if base else "",
        "trafficSwitchedAt": doc.get("trafficSwitchedAt"),
        "history": wire.dig(app, "status", "history"),
    }


def _target(holder: Any) -> str:
    """Return the branch, tag or chart version asked for; of several sources each once, with commas."""
    sources = wire.dig(holder, "sources")
    listed = sources[:MAX_SOURCES] if isinstance(sources, list) else []
    named = (wire.text(source, "targetRevision") for source in listed)
    return wire.text(holder, "source", "targetRevision") or ",".join(dict.fromkeys(n for n in named if n))


class _App(NamedTuple):
    """The application: ``origin`` for people and the catalogue, ``id`` to tell a re-created one apart."""

    origin: str
    id: str


def _identity(doc: dict[str, Any]) -> _App:
    name, namespace = wire.text(doc, "app", "name", limit=253), wire.text(doc, "app", "namespace", limit=63)
    if not name or not namespace:
        raise Rejected(
            400,
            "bad_body",
            "the application's name or namespace ('app.name', 'app.namespace'; of an Application "
            f"'metadata') is missing: {_INSTALL}",
        )
    origin = f"{namespace}/{name}"
    return _App(origin, wire.text(doc, "app", "uid", limit=64) or origin)


# -- what it tells


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
        raise Rejected(
            400,
            "bad_body",
            "'startedAt' (of an Application 'status.operationState.startedAt') is missing or no RFC 3339 "
            f"time: {_INSTALL}",
        )
    phase, at = _PHASES[word], finished or started
    if phase is DeployPhase.STARTED:
        at = started
    elif phase is DeployPhase.GREEN_DEPLOYED and (since := _healthy_since(doc)) is not None:
        phase, at = DeployPhase.LIVE, max(at, since)
    return _report(doc, app, phase, at, started.isoformat())


def _healthy_since(doc: dict[str, Any]) -> datetime | None:
    """Return when what the operation applied became Healthy, or None where that is not known (yet).

    A health older than the operation is that of the version before: it is read again only after
    the operation's end, and a sync that restarts nothing leaves it as it is. Releases before 2.14
    do not say since when.
    """
    if (wire.text(doc, "phase").lower(), wire.text(doc, "health").lower()) != ("succeeded", "healthy"):
        return None
    started, since = wire.parse_time(doc.get("startedAt")), wire.parse_time(doc.get("healthSince"))
    if started is None or since is None or since < started:
        return None
    finished, read = wire.parse_time(doc.get("finishedAt")), wire.parse_time(doc.get("reconciledAt"))
    # Argo CD's notifications wait for that reading (isAppSyncStatusRefreshed); its API does not
    return None if finished is not None and read is not None and read < finished else since


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
        images=_images(doc, phase),
        ref=wire.text(doc, "targetRevision"),
        author=wire.text(doc, "initiatedBy", limit=200),
        url=wire.text(doc, "url", limit=1000),
        detail=message or wire.text(doc, "phase", limit=40),
        facts=_facts(doc),
        run=_run(doc, app),
    )


def _images(doc: dict[str, Any], phase: DeployPhase) -> tuple[str, ...]:
    """Return the images where they are this version's own, see the module."""
    settled = phase is DeployPhase.LIVE
    if phase is DeployPhase.SWITCHED:
        by_hand = "startedAt" not in doc or wire.text(doc, "phase", limit=40).lower() == "switched"
        settled = by_hand or _healthy_since(doc) is not None
    return tuple(_texts(doc.get("images"), MAX_IMAGES)) if settled else ()


def _run(doc: dict[str, Any], app: _App) -> str:
    """Return the operation's id, ``<application>@<unix seconds of its start>``, "" where there is none."""
    started = wire.parse_time(doc.get("startedAt"))
    return f"{app.id}@{int(started.timestamp())}" if started is not None else ""


def _history(doc: dict[str, Any], app: _App) -> list[DeployReport]:
    """Return the operations before the present one, the oldest first.

    Their ids are those that the operations themselves were told under. Images and health are
    those of now, so history says nothing of them. What was deployed after the present operation
    began is that operation's own entry: its ``deployStartedAt`` may be a second off.
    """
    entries = doc.get("history")
    present = wire.parse_time(doc.get("startedAt"))
    told = []
    for entry in entries[-MAX_HISTORY:] if isinstance(entries, list) else []:
        started = wire.parse_time(wire.dig(entry, "deployStartedAt"))
        deployed = wire.parse_time(wire.dig(entry, "deployedAt"))
        if started is None or deployed is None or (present is not None and deployed >= present):
            continue
        then = {
            "app": doc["app"],
            "destination": doc.get("destination"),
            "url": doc.get("url"),
            "revision": wire.dig(entry, "revision"),
            "revisions": wire.dig(entry, "revisions"),
            "targetRevision": _target(entry),
            "startedAt": wire.dig(entry, "deployStartedAt"),
            "initiatedBy": wire.dig(entry, "initiatedBy", "username"),
            "automated": wire.dig(entry, "initiatedBy", "automated"),
        }
        told.append(_report(then, app, DeployPhase.GREEN_DEPLOYED, deployed, started.isoformat()))
    return told


def _facts(doc: dict[str, Any]) -> dict[str, str]:
    """Return what else is known of the application, by name; what is not known is left out."""
    where = wire.dig(doc, "destination")
    cluster = wire.text(where, "server", limit=130) or wire.text(where, "name", limit=130)
    place = [part for part in (cluster, wire.text(where, "namespace", limit=63)) if part]
    automated = "auto-sync" if doc.get("automated") is True else ""
    found = {
        "project": wire.text(doc, "app", "project", limit=MAX_FACT),
        "destination": "/".join(place),
        "health": wire.text(doc, "health", limit=40),
        "sync": wire.text(doc, "syncStatus", limit=40),
        "initiated_by": wire.text(doc, "initiatedBy", limit=MAX_FACT) or automated,
    }
    return {name: value for name, value in found.items() if value}


def _environment(doc: dict[str, Any]) -> str:
    """Return the environment that the application's labels name; the catalogue may know better."""
    labels = wire.dig(doc, "app", "labels")
    return next((found for name in _ENVIRONMENT_LABELS if (found := wire.text(labels, name, limit=255))), "")


def _revision(doc: dict[str, Any]) -> str:
    """Return the commit (or chart version) that was synced; of several sources all, with commas between.

    Where that is too long each is cut to 12 characters, and a digest of the whole keeps apart
    those that differ further on.
    """
    revisions = _texts(doc.get("revisions"))
    one, joined = wire.text(doc, "revision"), ",".join(revisions)
    if one or len(joined) <= MAX_REVISION:
        return one or joined
    return ",".join(revision[:12] for revision in revisions[:MAX_SOURCES]) + f"+{digest(revisions)}"


def _texts(found: Any, most: int | None = None) -> list[str]:
    if not isinstance(found, list):
        return []
    return [wire.clean(item, 512).strip() for item in found[:most] if isinstance(item, str) and item.strip()]


build: SourceFactory = ArgoCD
