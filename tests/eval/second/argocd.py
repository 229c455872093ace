"""Argo CD's part: syncs of staging and production, told in the body of the router's own template."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha1
from typing import Any, Final

from tests.eval.second.services import Service
from tests.eval.second.week import Deploy, Fault, Week
from tests.eval.second.when import hexes, rfc_seconds
from tests.eval.second.wire import JSON, Webhook

_HEADERS: Final = {**JSON, "User-Agent": "Go-http-client/1.1"}


class ArgoCD:
    """One controller, whose clock is a little off."""

    def __init__(self, week: Week) -> None:
        self.week, self.rng = week, week.rng
        self.skew = self.rng.gauss(0.0, week.family.skew_s)
        self.healthy: dict[str, float] = {}

    def tell(self) -> Iterator[Webhook]:
        """Yield all that it sends."""
        told: list[tuple[float, Deploy | str]] = [
            (d.started, d)
            for d in self.week.deploys
            if d.seen and d.outcome != "canceled" and self.week.service(d.service).app(d.environment)
        ]
        told += list(self.week.syncs)
        for at, what in sorted(told, key=lambda t: t[0]):
            yield from self._config_only(at, what) if isinstance(what, str) else self._sync(what)
        for fault in self.week.faults:
            yield from self._degraded(fault)

    # -- syncs

    def _sync(self, d: Deploy) -> Iterator[Webhook]:
        rng, service = self.rng, self.week.service(d.service)
        app, (start, applied, well) = service.app(d.environment), self._times(d)
        old, new = self._image(service, d.before), self._image(service, d.sha)
        both = sorted((old, new))
        revision, by = hexes(rng), "" if d.kind != "rollback" else d.author
        state = {"startedAt": start, "revision": revision, "by": by}
        if d.environment == "production":
            was = {"images": [old], "health": "Healthy", "since": self.healthy.get(app, start - 90_000)}
            yield self._webhook(start + rng.uniform(0.5, 3), service, d, {**state, **was, "phase": "Running"})
        if d.outcome == "failed":
            message = 'one or more objects failed to apply: admission webhook "policy" denied the request'
            now = {
                "images": [old],
                "health": "Progressing",
                "since": start,
                "phase": "Failed",
                "message": message,
            }
            yield self._webhook(
                applied + rng.uniform(1, 4), service, d, {**state, **now, "finishedAt": applied}
            )
            return
        now = {
            "images": both,
            "health": "Progressing",
            "since": applied,
            "phase": "Succeeded",
            "finishedAt": applied,
        }
        yield self._webhook(applied + rng.uniform(0.5, 3), service, d, {**state, **now})
        # blue stays until it is cleaned up; elsewhere the last old pod may just be dying
        leftover = rng.random() < (0.5 if service.blue_green and d.environment == "production" else 0.1)
        now |= {"images": both if leftover else [new], "health": "Healthy", "since": well}
        self.healthy[app] = well
        yield self._webhook(well + rng.uniform(1, 8), service, d, {**state, **now}, (d,))

    def _times(self, d: Deploy) -> tuple[float, float, float]:
        """Return when the sync began, when all was applied, when all was healthy."""
        rng, took = self.rng, d.switched - d.started
        if d.by_hand or "gitlab" not in self.week.service(d.service).tellers:
            return d.started, d.started + rng.uniform(0.1, 0.4) * took, d.switched
        start = d.started + rng.uniform(0.02, 0.1) * took
        green = self.week.service(d.service).blue_green and d.environment == "production"
        well = d.started + (0.44 if green else rng.uniform(0.85, 0.97)) * took
        return start, start + rng.uniform(0.1, 0.5) * (well - start), well

    def _config_only(self, at: float, name: str) -> Iterator[Webhook]:
        """A sync that restarts nothing: the images are those of before, so is the health."""
        rng, service = self.rng, self.week.service(name)
        app, applied = service.app("production"), at + rng.uniform(3, 20)
        state = {
            "startedAt": at,
            "revision": hexes(rng),
            "by": "",
            "images": [self._image(service, self.week.running(name, "production", at))],
            "health": "Healthy",
            "since": self.healthy.get(app, at - 90_000),
        }
        yield self._webhook(at + rng.uniform(0.5, 3), service, None, {**state, "phase": "Running"})
        done = {**state, "phase": "Succeeded", "finishedAt": applied}
        yield self._webhook(applied + rng.uniform(1, 6), service, None, done)

    # -- bodies

    def _image(self, service: Service, sha: str) -> str:
        return f"registry.example.com/{service.team}/{service.name}:{sha[:8]}"

    def _app(self, service: Service, environment: str) -> dict[str, Any]:
        name = service.app(environment)
        uid = sha1(name.encode(), usedforsecurity=False).hexdigest()
        uid = f"{uid[:8]}-{uid[8:12]}-4{uid[13:16]}-8{uid[17:20]}-{uid[20:32]}"
        return {"name": name, "namespace": "argocd", "uid": uid, "project": service.team}

    def _webhook(
        self,
        at: float,
        service: Service,
        d: Deploy | None,
        state: dict[str, Any],
        names: tuple[Deploy, ...] = (),
    ) -> Webhook:
        environment = d.environment if d is not None else "production"
        app = self._app(service, environment)
        phase, finished = state["phase"], state.get("finishedAt")
        trigger = {"Running": "router-sync-running", "Failed": "router-sync-failed"}.get(
            phase, "router-sync-succeeded"
        )
        if phase == "Succeeded" and state["health"] == "Healthy" and state["since"] >= state["startedAt"]:
            trigger = "router-deployed"
        said = "successfully synced (all tasks run)" if phase == "Succeeded" else "waiting for healthy state"
        body = {
            "version": 1,
            "trigger": trigger,
            "app": {**app, "labels": {"env": environment, "team": service.team}},
            "destination": {"namespace": service.team, "server": "https://kubernetes.default.svc"},
            "repoURL": "https://gitlab.example.com/platform/config.git",
            "targetRevision": "main",
            "revision": state["revision"],
            "revisions": [],
            "images": state["images"],
            "phase": phase,
            "message": state.get("message", said),
            "syncStatus": "OutOfSync" if phase == "Failed" else "Synced",
            "health": state["health"],
            "healthSince": self._time(state["since"]),
            "startedAt": self._time(state["startedAt"]),
            "finishedAt": "" if finished is None else self._time(finished),
            "initiatedBy": state["by"],
            "automated": not state["by"],
            "dryRun": False,
            "partial": False,
            "url": f"https://argocd.example.com/applications/argocd/{app['name']}",
        }
        return Webhook(at, "argocd", dict(_HEADERS), body, names)

    def _degraded(self, fault: Fault) -> Iterator[Webhook]:
        """What dying pods make of an application's health; told once per fault and application."""
        for name in dict.fromkeys(
            s.service for s in fault.symptoms if s.rule.template.name == "PodCrashLooping"
        ):
            service, began = (
                self.week.service(name),
                min(s.began for s in fault.symptoms if s.service == name),
            )
            lower = any(s.environment != "production" for s in fault.symptoms)
            if not service.app("production") or lower or fault.kind == "flapper":
                continue
            at = began + self.rng.uniform(20, 120)
            body = {
                "version": 1,
                "trigger": "router-health-degraded",
                "app": self._app(service, "production"),
                "message": f'Deployment "{name}" exceeded its progress deadline',
                "health": "Degraded",
                "healthSince": self._time(at),
            }
            yield Webhook(at + self.rng.uniform(1, 8), "argocd", dict(_HEADERS), body)

    def _time(self, t: float) -> str:
        """Return a time by this controller's clock."""
        return rfc_seconds(t + self.skew)
