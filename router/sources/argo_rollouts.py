"""Argo Rollouts' notifications, in our template's body (``deploy/argo-rollouts/``), and Rollouts as they are.

What is read is a Rollout; our template sends the parts of it that are needed, and the name of the
trigger. That name matters: Argo Rollouts sends its notifications before it has written the new
status, so the status in the body is mostly that of a moment before (``rollout/sync.go``), and
``on-rollout-completed`` still shows the former stable hash. What the trigger says and what the
status proves are told together, each phase once:

- started: ``on-rollout-updated``; a ``currentPodHash`` that is not ``stableRS``;
- green deployed: paused before the switch, a pre-promotion analysis, or all pods of the preview ready;
- green tested: the pre-promotion analysis is Successful;
- switched: ``on-switch-service`` of the active Service; ``activeSelector`` is ``currentPodHash``; a
  post-promotion analysis, which only runs after the switch;
- live: ``on-rollout-completed``; ``stableRS`` is ``currentPodHash`` and the phase is Healthy;
- failed: aborted, or past its progress deadline;
- rolled back: an update that failed after the switch, once traffic is seen to be back. That is when
  ``activeSelector`` is ``stableRS`` and there was a post-promotion analysis, or when a Service is
  switched while ``activeSelector`` still is ``currentPodHash``. An abort alone does not prove it:
  the controller leaves the Service where it is while the new pods are not all up.

Of a canary only started, live and failed are told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from router.kit import wire
from router.model import wire_rollouts
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.events import UNDATED, DeployPhase, DeployReport, Heartbeat, OriginKind, Told
from router.model.wire_rollouts import POST, PRE, Rollout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.ports import SourceFactory

VERSION: Final = "1"
UPDATED: Final = "on-rollout-updated"
PAUSED: Final = "on-rollout-paused"
SWITCHED: Final = "on-switch-service"
COMPLETED: Final = "on-rollout-completed"
ABORTED: Final = "on-rollout-aborted"

_INSTALL: Final = "apply deploy/argo-rollouts/notifications.yaml and send its templates router-rollout-*"
_PHASES: Final = frozenset({"healthy", "degraded", "progressing", "paused"})
#: The controller's triggers also fire for these, and then send them in place of a Rollout.
_OTHERS: Final = frozenset({"AnalysisRun", "Experiment"})
#: A retry can make these happen again in one revision.
_ENDS: Final = frozenset({DeployPhase.FAILED, DeployPhase.ROLLED_BACK})

Steps = dict[DeployPhase, "datetime | None"]


class ArgoRollouts:
    """See the module."""

    kind: Final = "argo_rollouts"
    manners: Final = Manners(
        unreadable=400,  # it logs the answer, where an operator finds it
        why_not=(
            "the notifications engine sends GET, with the plain message, where the template has no part for "
            "this webhook, or no `method: POST` in it"
        ),
        revive="nothing: Argo Rollouts never stops by itself, and never sends again what was lost",
    )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:  # noqa: ARG002  nothing is signed
        """Compare the bearer token, or the basic password of any user, with the secrets."""
        index = wire.match_secret(wire.credentials(headers.get("authorization", "")), secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid secret: the Authorization header in service.webhook.router (Bearer $router-token, "
                "from argo-rollouts-notification-secret) must carry one of this source's secrets",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:  # noqa: ARG002  the body says all
        """Return each phase that the rollout is known to have reached, or a heartbeat where that is none."""
        doc = _document(body)
        found = _object(doc)
        trigger = wire.text(doc, "trigger", limit=60) if doc is not found else ""
        kind, strategy = wire.text(found, "kind", limit=60), wire.dig(found, "spec", "strategy")
        if kind in _OTHERS or not isinstance(strategy, dict) or not strategy:
            return [_heartbeat("no_rollout")]
        rollout = wire_rollouts.read(found, doc.get("analysisRuns"))
        steps = _steps(rollout, trigger)
        if steps:
            return [_report(rollout, trigger, phase, at) for phase, at in steps.items()]
        if not rollout.fresh:
            return [_heartbeat("status_behind" if rollout.current else "no_status")]
        phase = rollout.phase.lower()
        return [_heartbeat(phase if phase in _PHASES else "other")]


def _heartbeat(word: str) -> Heartbeat:
    return Heartbeat(source="argo_rollouts", kind=f"argo_rollouts:{word}")


# -- the forms of a body


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
    if "version" in doc and wire.text(doc, "version", limit=20) != VERSION:
        raise Rejected(400, "unsupported_version", f"'version' is not {VERSION}: {_INSTALL}")
    return doc


def _object(doc: dict[str, Any]) -> dict[str, Any]:
    """Return the Rollout (or AnalysisRun) in the body, with its metadata, name and namespace.

    Raises:
        Rejected: there is none.
    """
    found = next((o for o in (doc.get("rollout"), doc) if isinstance(wire.dig(o, "metadata"), dict)), None)
    if found is None:
        raise Rejected(
            400,
            "bad_body",
            f"neither our template's body nor a Rollout (with metadata, spec and status): {_INSTALL}",
        )
    kind = wire.text(found, "kind", limit=60)
    if kind not in {"", "Rollout"} and kind not in _OTHERS:
        raise Rejected(400, "bad_body", f"an object of kind {kind}, not a Rollout: {_INSTALL}")
    if not wire.text(found, "metadata", "name") or not wire.text(found, "metadata", "namespace"):
        raise Rejected(400, "bad_body", f"'metadata.name' or 'metadata.namespace' is missing: {_INSTALL}")
    return dict(found)


# -- what was reached


def _steps(rollout: Rollout, trigger: str) -> Steps:
    """Return the phases that are proven, in order, with their times."""
    if trigger == UPDATED:  # the status is that of the version before
        return {DeployPhase.STARTED: None}
    steps: Steps = {}
    if rollout.fresh and not rollout.promoted:
        steps[DeployPhase.STARTED] = rollout.started_at()
    if rollout.fresh and rollout.blue_green:
        steps |= _blue_green(rollout, trigger)
    if trigger == COMPLETED:
        if rollout.blue_green:
            steps.setdefault(DeployPhase.SWITCHED, None)
        steps[DeployPhase.LIVE] = None
    elif rollout.fresh and rollout.promoted and rollout.phase == "Healthy":
        steps[DeployPhase.LIVE] = rollout.live_at()
    elif (end := _end(rollout, trigger)) is not None:
        # a Service is switched right now, whenever the update was given up
        steps[end] = None if trigger == SWITCHED else rollout.failed_at()
    return _bounded(steps)


def _bounded(steps: Steps) -> Steps:
    """Give a phase without a time that of the next one: it was reached no later."""
    later: datetime | None = None
    found: Steps = {}
    for phase, at in reversed(steps.items()):
        later = found[phase] = at or later
    return dict(reversed(found.items()))


def _blue_green(rollout: Rollout, trigger: str) -> Steps:
    """Return green deployed, green tested and switched, as far as they are proven."""
    steps: Steps = {}
    before, verdict = rollout.analysis(PRE), rollout.verdict(PRE)
    if not rollout.promoted and (verdict or _waiting(rollout, trigger)):
        paused = wire.parse_time(rollout.pause("BlueGreenPause").get("startTime"))
        steps[DeployPhase.GREEN_DEPLOYED] = paused or wire.parse_time(before.get("startedAt"))
    if verdict == "Successful":
        steps[DeployPhase.GREEN_TESTED] = wire.parse_time(before.get("completedAt"))
    if rollout.active == rollout.current or rollout.verdict(POST) or _turned(rollout, trigger):
        steps[DeployPhase.SWITCHED] = wire.parse_time(rollout.analysis(POST).get("startedAt"))
    return steps


def _waiting(rollout: Rollout, trigger: str) -> bool:
    """Return whether the new version is up beside the active one: paused, or all of its pods are ready."""
    if rollout.active == rollout.current:
        return False
    return trigger == PAUSED or bool(rollout.pause("BlueGreenPause")) or rollout.all_ready()


def _turned(rollout: Rollout, trigger: str) -> bool:
    """Return whether the Service that was switched is the active one: the preview's pointed there already."""
    if trigger != SWITCHED or rollout.promoted or rollout.aborted:
        return False
    named = wire.text(rollout.spec, "strategy", "blueGreen", "previewService")
    return rollout.preview == rollout.current or not named


def _end(rollout: Rollout, trigger: str) -> DeployPhase | None:
    """Return how the update failed, or None where it did not."""
    if not rollout.fresh:
        return DeployPhase.FAILED if trigger == ABORTED else None
    if rollout.promoted:
        return None
    aborted = trigger == ABORTED or rollout.aborted
    if rollout.blue_green:
        leaves = trigger == SWITCHED and rollout.active == rollout.current
        left = aborted and rollout.active == rollout.stable and rollout.verdict(POST) != ""
        if leaves or left:
            return DeployPhase.ROLLED_BACK
    late = rollout.reason() == "ProgressDeadlineExceeded"
    return DeployPhase.FAILED if aborted or late else None


# -- reports


def _report(rollout: Rollout, trigger: str, phase: DeployPhase, at: datetime | None) -> DeployReport:
    images = rollout.images()
    run = f"r{rollout.revision}" if rollout.revision else rollout.current
    known = rollout.fresh and trigger != UPDATED  # else the status is of another version than the images
    detail = rollout.failure() if phase in _ENDS else rollout.phase
    facts = rollout.facts()
    if not known:
        facts = {name: facts[name] for name in ("strategy", "revision") if name in facts}
    return DeployReport(
        source="argo_rollouts",
        event_id=f"argo_rollouts:{rollout.id}:{run}:{phase}{_stamp(rollout, phase, at)}",
        origin_kind=OriginKind.ARGO_ROLLOUT,
        origin=rollout.origin,
        environment=rollout.environment(),
        phase=phase,
        at=at or UNDATED,
        images=images,
        names=(rollout.current,) if known and not images else (),
        detail=detail if known else "",
        facts=facts,
        run=f"{rollout.id}:{run}" if rollout.revision or (known and run) else "",
    )


def _stamp(rollout: Rollout, phase: DeployPhase, at: datetime | None) -> str:
    """Return what tells a second time apart; without a revision the hash alone would hide a return to it."""
    if phase in _ENDS:
        at = rollout.failed_at() or rollout.moved_at()
    elif rollout.revision:
        return ""
    return f":{at.isoformat()}" if at is not None else ""


build: SourceFactory = ArgoRollouts
