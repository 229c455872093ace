"""GitLab's part: merge requests, deployments, pipelines of blue-green services, feature flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.eval.second.services import Service
from tests.eval.second.week import PEOPLE, Deploy, Toggle, Week
from tests.eval.second.when import MINUTE, rfc, ruby, uuid
from tests.eval.second.wire import JSON, Webhook

_URL: Final = "https://gitlab.example.com"
_FIRST: Final = 100_000  # numbers of pipelines, deployments, merge requests begin after it
_TIERS: Final = {"dev": "development", "qa": "testing", "staging": "staging", "production": "production"}


class GitLab:
    """One server of some release, whose clock is a little off."""

    def __init__(self, week: Week) -> None:
        self.week, self.rng = week, week.rng
        self.skew = self.rng.gauss(0.0, week.family.skew_s)
        self.new = self.rng.random() < 0.5  # normalises times, since some 18.x
        self.count = _FIRST

    def tell(self) -> Iterator[Webhook]:
        """Yield all that it sends."""
        merged: set[str] = set()
        for d in sorted(self.week.deploys, key=lambda d: d.started):
            if "gitlab" not in self.week.service(d.service).tellers:
                continue
            if d.sha not in merged and d.kind != "rollback":
                merged.add(d.sha)
                yield from self._merge(d)
            if d.seen and not d.by_hand:
                yield from self._deploy(d)
        for toggle in self.week.toggles:
            yield self._toggle(toggle)

    # -- times, numbers, what bodies have in common

    def _time(self, t: float, zone: str = "UTC") -> str:
        """Return a time by this server's clock."""
        return rfc(t + self.skew) if self.new else ruby(t + self.skew, zone)

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _hook(
        self, at: float, service: Service, body: dict[str, Any], by: str, names: tuple[Deploy, ...] = ()
    ) -> Webhook:
        event = f"{body['object_kind'].replace('_', ' ').title()} Hook"
        headers = {
            **JSON,
            "User-Agent": "GitLab/19.1.0" if self.new else "GitLab/17.8.1",
            "X-Gitlab-Event": event,
            "X-Gitlab-Instance": _URL,
            "X-Gitlab-Event-UUID": uuid(self.rng),
            "Idempotency-Key": uuid(self.rng),
        }
        project = {
            "id": service.number,
            "name": service.name,
            "web_url": f"{_URL}/{service.project}",
            "namespace": service.team.title(),
            "path_with_namespace": service.project,
            "default_branch": "main",
        }
        user = {
            "id": 1 + PEOPLE.index(by),
            "name": f"{by.title()} Example",
            "username": by,
            "email": "[REDACTED]",
        }
        return Webhook(at, "gitlab", headers, {**body, "project": project, "user": user}, names)

    # -- what changes

    def _merge(self, d: Deploy) -> Iterator[Webhook]:
        """The merge request whose commit this is, merged before anything else of it is told."""
        at, service, number = (
            d.started - self.rng.uniform(2, 12) * MINUTE,
            self.week.service(d.service),
            self._number(),
        )
        if at < 0:
            return
        author = {"name": f"{d.author.title()} Example", "email": f"{d.author}@example.com"}
        attributes = {
            "id": number,
            "iid": number - _FIRST,
            "title": d.title,
            "state": "merged",
            "action": "merge",
            "source_branch": f"{d.author}/{number}",
            "target_branch": "main",
            "merge_commit_sha": d.sha,
            "created_at": self._time(at - 120 * MINUTE),
            "updated_at": self._time(at),
            "url": f"{_URL}/{service.project}/-/merge_requests/{number - _FIRST}",
            "last_commit": {"id": d.sha[::-1], "message": f"{d.title}\n", "author": author},
        }
        body = {
            "object_kind": "merge_request",
            "event_type": "merge_request",
            "object_attributes": attributes,
        }
        yield self._hook(at, service, {**body, "labels": [], "changes": {}}, d.author)

    def _deploy(self, d: Deploy) -> Iterator[Webhook]:
        service, number = self.week.service(d.service), self._number()
        ends = {"preview": "canceled"}.get(d.outcome, d.outcome)
        yield self._deployment(d, service, number, "running", d.started)
        yield self._deployment(d, service, number, ends, d.switched + self.rng.uniform(0, 2))
        if service.blue_green and d.environment == "production" and d.outcome in {"success", "preview"}:
            yield self._pipeline(d, service)

    def _deployment(self, d: Deploy, service: Service, number: int, status: str, at: float) -> Webhook:
        web = f"{_URL}/{service.project}"
        body = {
            "object_kind": "deployment",
            "status": status,
            "status_changed_at": self._time(d.switched if status == "success" else at, "+0000"),
            "deployment_id": number,
            "deployable_id": number * 10,
            "deployable_url": f"{web}/-/jobs/{number * 10}",
            "environment": d.environment,
            "environment_tier": _TIERS[d.environment],
            "environment_slug": d.environment,
            "environment_external_url": None,
            "short_sha": d.sha[:8],
            "ref": "main",
            "user_url": f"{_URL}/{d.author}",
            "commit_url": f"{web}/-/commit/{d.sha}",
            "commit_title": d.title,
        }
        return self._hook(at, service, body, d.author, (d,))

    def _pipeline(self, d: Deploy, service: Service) -> Webhook:
        """The blue-green part of production's pipeline, when traffic was switched or green was given up."""
        number, took = self._number(), d.switched - d.started
        switched = d.outcome == "success"
        jobs = {"deploy-green": (0.45, "success"), "test-green": (0.85, "success" if switched else "failed")}
        jobs |= {
            "switch-traffic": (1.0, "success" if switched else "skipped"),
            "cleanup-blue": (0.0, "manual"),
        }
        builds = []
        for i, (name, (share, status)) in enumerate(jobs.items()):
            ended = None if status in {"manual", "skipped"} else self._time(d.started + share * took)
            environment = {"name": "production", "action": "start", "deployment_tier": "production"}
            builds.append({
                "id": number * 10 + i, "stage": name, "name": name, "status": status,
                "created_at": self._time(d.started - 60), "finished_at": ended, "manual": status == "manual",
                "allow_failure": False, "environment": environment,
            })  # fmt: skip
        at = d.switched + self.rng.uniform(1, 6)
        status = "success" if switched else "failed"
        attributes = {
            "id": number, "ref": "main", "tag": False, "sha": d.sha, "source": "push", "status": status,
            "created_at": self._time(d.started - 60), "finished_at": self._time(at),
            "url": f"{_URL}/{service.project}/-/pipelines/{number}",
        }  # fmt: skip
        author = {"name": f"{d.author.title()} Example", "email": f"{d.author}@example.com"}
        commit = {"id": d.sha, "message": f"{d.title}\n", "title": d.title, "author": author}
        body = {
            "object_kind": "pipeline",
            "object_attributes": attributes,
            "merge_request": None,
            "commit": commit,
        }
        return self._hook(at, service, {**body, "builds": builds}, d.author, (d,))

    def _toggle(self, toggle: Toggle) -> Webhook:
        attributes = {"id": sum(map(ord, toggle.flag)), "name": toggle.flag, "active": toggle.active}
        attributes["description"] = toggle.flag.replace("-", " ").capitalize()
        body = {"object_kind": "feature_flag", "object_attributes": attributes}
        return self._hook(toggle.at, self.week.service(toggle.service), body, toggle.author)
