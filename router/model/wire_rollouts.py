"""A Rollout of Argo Rollouts as far as it matters here, read from hostile JSON.

Pure. Says what stands in the object and when; what that proves is the business of the source.
Format: argoproj/argo-rollouts, ``pkg/apis/rollouts/v1alpha1/types.go``; releases before 1.0 wrote
no phase, and before 1.2 no condition Completed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from router.kit import wire

if TYPE_CHECKING:
    from datetime import datetime

MAX_IMAGES: Final = 50
MAX_DETAIL: Final = 1000
#: Analysis runs of one version; the newest come first.
MAX_RUNS: Final = 20

PRE: Final = "PrePromotion"
POST: Final = "PostPromotion"

_REVISION: Final = "rollout.argoproj.io/revision"
_WORKLOAD_GENERATION: Final = "rollout.argoproj.io/workload-generation"
_HASH_LABEL: Final = "rollouts-pod-template-hash"
_ENVIRONMENT_LABELS: Final = ("environment", "env", "app.kubernetes.io/environment")
_FAILURES: Final = frozenset({"RolloutAborted", "ProgressDeadlineExceeded"})
_MADE: Final = frozenset({"NewReplicaSetCreated", "FoundNewReplicaSet"})


class Rollout(msgspec.Struct, frozen=True):
    """What the object says.

    Args:
        origin: ``namespace/name``.
        id: the object's uid, else its origin.
        revision: grows with each change of the pod template, returns to an earlier one included.
        fresh: the status is of the present spec, as far as can be known.
        phase: Healthy, Degraded, Progressing or Paused, or what a later release may write.
        current: the pod hash of the template that is wanted; "" where the status has none.
        stable: the pod hash that was last promoted fully.
        active: the pod hash that the active Service selects; blue-green only.
        preview: the same of the preview Service.
    """

    origin: str
    id: str
    revision: str
    fresh: bool
    blue_green: bool
    phase: str
    current: str
    stable: str
    active: str
    preview: str
    metadata: dict[str, Any]
    spec: dict[str, Any]
    status: dict[str, Any]
    runs: list[dict[str, Any]]

    @property
    def promoted(self) -> bool:
        """The wanted version is the stable one."""
        return self.current == self.stable

    @property
    def aborted(self) -> bool:
        """The update was given up."""
        return self.status.get("abort") is True or bool(wire.text(self.status, "abortedAt"))

    def condition(self, kind: str) -> dict[str, Any]:
        """Return the condition of this type, empty where there is none."""
        return _first(self.status.get("conditions"), "type", kind)

    def reason(self) -> str:
        """Return why it progresses, or does not: the reason of the condition Progressing."""
        return wire.text(self.condition("Progressing"), "reason", limit=60)

    def pause(self, reason: str) -> dict[str, Any]:
        """Return the pause condition of this reason, empty where there is none."""
        return _first(self.status.get("pauseConditions"), "reason", reason)

    def analysis(self, kind: str) -> dict[str, Any]:
        """Return the status of the newest analysis run of this kind and the wanted version."""
        for run in self.runs:
            labels = wire.dig(run, "metadata", "labels")
            version = wire.text(labels, _HASH_LABEL, limit=63)
            if wire.text(labels, "rollout-type", limit=40) == kind and version in {"", self.current}:
                status = run.get("status")
                return status if isinstance(status, dict) else {}
        return {}

    def verdict(self, kind: str) -> str:
        """Return the phase of that analysis, or "". The run's own is newer than the rollout's word of it."""
        word = f"{kind[:1].lower()}{kind[1:]}AnalysisRunStatus"
        told = wire.text(self.status, "blueGreen", word, "status", limit=40)
        return wire.text(self.analysis(kind), "phase", limit=40) or told

    def all_ready(self) -> bool:
        """Return whether the preview is the wanted version, and it and all pods are up and ready."""
        wanted = wire.dig(self.spec, "strategy", "blueGreen", "previewReplicaCount")
        least = _count(wanted) or _count(self.spec.get("replicas")) or 1
        everything, ready = _count(self.status.get("replicas")), _count(self.status.get("readyReplicas"))
        updated = _count(self.status.get("updatedReplicas"))
        return self.preview == self.current and 0 < everything == ready and updated >= least

    # -- times

    def started_at(self) -> datetime | None:
        """Return when the rollout ceased to be complete, or when the new ReplicaSet was made."""
        completed = self.condition("Completed")
        if completed.get("status") == "False":
            return _time(completed, "lastTransitionTime", "lastUpdateTime")
        return _time(self.condition("Progressing"), "lastUpdateTime") if self.reason() in _MADE else None

    def live_at(self) -> datetime | None:
        """Return when the rollout became complete."""
        for kind in ("Completed", "Healthy"):
            condition = self.condition(kind)
            if condition.get("status") == "True":
                return _time(condition, "lastTransitionTime", "lastUpdateTime")
        available = self.reason() == "NewReplicaSetAvailable"
        return _time(self.condition("Progressing"), "lastUpdateTime") if available else None

    def failed_at(self) -> datetime | None:
        """Return when it was aborted or ran out of time."""
        aborted = wire.parse_time(self.status.get("abortedAt"))
        if aborted is not None or self.reason() not in _FAILURES:
            return aborted
        return _time(self.condition("Progressing"), "lastTransitionTime", "lastUpdateTime")

    def moved_at(self) -> datetime | None:
        """Return when it last made, or ceased to make, progress."""
        return _time(self.condition("Progressing"), "lastUpdateTime", "lastTransitionTime")

    # -- words

    def failure(self) -> str:
        """Return why it failed, for people."""
        progress = self.condition("Progressing")
        if progress.get("status") == "False" and (said := wire.text(progress, "message", limit=MAX_DETAIL)):
            return said
        for run in self.runs:
            if wire.text(run, "status", "phase", limit=40) in {"Failed", "Error"}:
                what = (wire.text(run, "metadata", "name"), wire.text(run, "status", "message", limit=690))
                return ": ".join(part for part in what if part)
        return wire.text(self.status, "message", limit=MAX_DETAIL) or self.phase

    def images(self) -> tuple[str, ...]:
        """Return the images of the wanted version; with ``workloadRef`` there are none."""
        found = wire.dig(self.spec, "template", "spec", "containers")
        listed = found[:MAX_IMAGES] if isinstance(found, list) else []
        return tuple(dict.fromkeys(image for c in listed if (image := wire.text(c, "image", limit=512))))

    def environment(self) -> str:
        """Return the environment that the labels name; the catalogue may know better."""
        labels = self.metadata.get("labels")
        named = (wire.text(labels, name, limit=255) for name in _ENVIRONMENT_LABELS)
        return next((found for found in named if found), "")

    def facts(self) -> dict[str, str]:
        """Return what else is known, by name; what is not known is left out."""
        pauses, canary = self.status.get("pauseConditions"), self.status.get("canary")
        found = {
            "strategy": "blue-green" if self.blue_green else "canary",
            "revision": self.revision,
            "phase": self.phase,
            "pod_hash": self.current,
            "stable_hash": self.stable,
            "active_hash": self.active,
            "preview_hash": self.preview,
            "pre_promotion": self.verdict(PRE),
            "post_promotion": self.verdict(POST),
            "analysis": wire.text(canary, "currentStepAnalysisRunStatus", "status", limit=40)
            or wire.text(canary, "currentBackgroundAnalysisRunStatus", "status", limit=40),
            "pause": wire.text(pauses[0], "reason", limit=60) if isinstance(pauses, list) and pauses else "",
            "step": wire.text(self.status, "currentStepIndex", limit=20),
        }
        return {name: value for name, value in found.items() if value}


def read(found: dict[str, Any], runs: Any) -> Rollout:
    """Return a Rollout of its JSON, whose ``metadata`` is an object, and of its AnalysisRuns."""
    metadata, spec, status = found["metadata"], found.get("spec"), found.get("status")
    spec, status = spec if isinstance(spec, dict) else {}, status if isinstance(status, dict) else {}
    name, namespace = wire.text(metadata, "name", limit=253), wire.text(metadata, "namespace", limit=63)
    current = wire.text(status, "currentPodHash", limit=63)
    return Rollout(
        origin=f"{namespace}/{name}",
        id=wire.text(metadata, "uid", limit=64) or f"{namespace}/{name}",
        revision=wire.text(metadata, "annotations", _REVISION, limit=20),
        fresh=bool(current) and _fresh(metadata, status),
        blue_green=isinstance(wire.dig(spec, "strategy", "blueGreen"), dict),
        phase=wire.text(status, "phase", limit=40) or _phase(status),
        current=current,
        stable=wire.text(status, "stableRS", limit=63),
        active=wire.text(status, "blueGreen", "activeSelector", limit=63),
        preview=wire.text(status, "blueGreen", "previewSelector", limit=63),
        metadata=metadata,
        spec=spec,
        status=status,
        runs=[r for r in runs[:MAX_RUNS] if isinstance(r, dict)] if isinstance(runs, list) else [],
    )


def _fresh(metadata: dict[str, Any], status: dict[str, Any]) -> bool:
    """Return whether the generations seen are the present ones; ``observedGeneration`` is a string.

    With ``workloadRef`` the template stands in a Deployment, which has a generation of its own.
    Releases before 1.0 wrote a hash in place of a number.
    """
    template = wire.text(metadata, "annotations", _WORKLOAD_GENERATION)
    pairs = (
        (wire.text(metadata, "generation"), wire.text(status, "observedGeneration")),
        (template, wire.text(status, "workloadObservedGeneration")),
    )
    return all(present == seen for present, seen in pairs if present and seen.isdigit())


def _phase(status: dict[str, Any]) -> str:
    """Return the phase of a release that wrote none."""
    if status.get("pauseConditions"):
        return "Paused"
    reason = wire.text(_first(status.get("conditions"), "type", "Progressing"), "reason", limit=60)
    if reason in _FAILURES:
        return "Degraded"
    return "Healthy" if reason == "NewReplicaSetAvailable" else "Progressing"


def _first(found: Any, key: str, value: str) -> dict[str, Any]:
    for one in found if isinstance(found, list) else []:
        if isinstance(one, dict) and one.get(key) == value:
            return one
    return {}


def _time(found: dict[str, Any], *names: str) -> datetime | None:
    return next((at for n in names if (at := wire.parse_time(found.get(n))) is not None), None)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
