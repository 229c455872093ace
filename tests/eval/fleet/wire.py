"""What is sent: bodies and headers as GitLab, Argo CD and Alertmanager write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from tests.eval.fleet.world import Service

START = datetime(2026, 3, 2, tzinfo=UTC)
_NEVER = "0001-01-01T00:00:00Z"
_GITLAB = "https://gitlab.example.com"


def iso(seconds: float) -> str:
    """Return a simulated second as RFC 3339, to the millisecond."""
    at = START + timedelta(milliseconds=round(seconds * 1000))
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def whole(seconds: float) -> str:
    """Return the same, to the second."""
    return (START + timedelta(seconds=round(seconds))).isoformat().replace("+00:00", "Z")


def fingerprint(labels: dict[str, str]) -> str:
    """Return 16 hexadecimal digits over a label set."""
    text = "\xff".join(f"{k}\xfe{labels[k]}" for k in sorted(labels))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def gitlab(kind: str, s: Service, body: dict[str, Any]) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return path, headers and body of a GitLab hook."""
    web = f"{_GITLAB}/{s.project}"
    head = {
        "object_kind": kind,
        "user": {"name": "Dana Example", "username": "dana"},
        "project": {"id": 1000 + s.number, "name": s.name, "path_with_namespace": s.project, "web_url": web},
    }
    event = f"{kind.replace('_', ' ').title()} Hook"
    headers = {"User-Agent": "GitLab/17.8.1", "X-Gitlab-Event": event, "X-Gitlab-Instance": _GITLAB}
    return "/webhooks/gitlab", headers, head | body


def deployment(s: Service, number: int, sha: str, environment: str, status: str, at: float) -> dict[str, Any]:
    """Return the body of a deployment hook."""
    return {
        "status": status, "status_changed_at": whole(at), "deployment_id": number,
        "deployable_id": number * 10, "deployable_url": f"{_GITLAB}/{s.project}/-/jobs/{number * 10}",
        "environment": environment, "environment_tier": environment, "ref": "main", "short_sha": sha[:8],
        "commit_url": f"{_GITLAB}/{s.project}/-/commit/{sha}", "commit_title": f"Change {sha[:6]}",
    }  # fmt: skip


def pipeline(s: Service, number: int, sha: str, jobs: dict[str, float], environment: str) -> dict[str, Any]:
    """Return the body of a pipeline hook whose jobs ended at these times."""
    end = max(jobs.values())
    builds = [
        {
            "id": number * 10 + i, "stage": name, "name": name, "status": "success", "finished_at": whole(at),
            "environment": {"name": environment, "action": "start"},
        }
        for i, (name, at) in enumerate(jobs.items())
    ]  # fmt: skip
    return {
        "object_attributes": {
            "id": number, "ref": "main", "sha": sha, "source": "push", "status": "success",
            "finished_at": whole(end), "url": f"{_GITLAB}/{s.project}/-/pipelines/{number}",
        },
        "commit": {"id": sha, "title": f"Change {sha[:6]}", "author": {"name": "Dana Example"}},
        "builds": builds,
    }  # fmt: skip


def merged(s: Service, number: int, sha: str, at: float) -> dict[str, Any]:
    """Return the body of a merge request hook."""
    return {
        "object_attributes": {
            "id": number, "iid": number, "title": f"Change {sha[:6]}", "state": "merged", "action": "merge",
            "source_branch": f"change-{sha[:6]}", "target_branch": "main", "merge_commit_sha": sha,
            "updated_at": whole(at), "url": f"{_GITLAB}/{s.project}/-/merge_requests/{number}",
            "last_commit": {"id": sha[::-1], "message": "Change", "author": {"name": "Dana Example"}},
        }
    }  # fmt: skip


def flag(number: int, name: str, *, on: bool) -> dict[str, Any]:
    """Return the body of a feature flag hook, which has no time."""
    attributes = {"id": number, "iid": number, "name": name, "description": f"Use {name}", "active": on}
    return {"object_attributes": attributes}


def argocd(
    s: Service, environment: str, sha: str, config: str, phase: str, started: float, finished: float | None
) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return path, headers and body of an Argo CD notification, in the template that the product ships."""
    name = f"{s.name}-{environment}"
    body = {
        "version": 1, "trigger": f"router-sync-{phase.lower()}",
        "app": {"name": name, "namespace": "argocd", "uid": name, "project": "shop", "labels": {}},
        "destination": {"namespace": s.name, "server": "https://kubernetes.default.svc"},
        "targetRevision": "main", "revision": config, "revisions": [],
        "images": [f"registry.example.com/{s.project}:{sha[:8]}"], "phase": phase, "syncStatus": "Synced",
        "message": "", "health": "Healthy" if phase == "Succeeded" else "Progressing",
        "healthSince": whole(finished or started), "startedAt": whole(started),
        "finishedAt": whole(finished) if finished is not None else "",
        "automated": True, "dryRun": False, "partial": False,
        "url": f"https://argocd.example.com/applications/argocd/{name}",
    }  # fmt: skip
    return "/webhooks/argocd", {}, body


def alertmanager(
    group: dict[str, str], alerts: list[dict[str, Any]], peer: int
) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Return path, headers and body of an Alertmanager notification, version 4."""
    status = "firing" if any(a["status"] == "firing" for a in alerts) else "resolved"
    first = alerts[0]["labels"]
    common = {k: v for k, v in first.items() if all(a["labels"].get(k) == v for a in alerts)}
    key = "{}:{" + ", ".join(f'{k}="{v}"' for k, v in sorted(group.items())) + "}"
    body = {
        "version": "4", "groupKey": key, "truncatedAlerts": 0, "status": status, "receiver": "router",
        "groupLabels": group, "commonLabels": common, "commonAnnotations": {},
        "externalURL": f"http://alertmanager-{peer}.example.com", "alerts": alerts,
    }  # fmt: skip
    return "/webhooks/alertmanager", {"User-Agent": "Alertmanager/0.28.1"}, body


def alert(labels: dict[str, str], waits_s: int | None, starts: float, ends: float | None) -> dict[str, Any]:
    """Return one alert of a notification; ``ends`` None while it fires."""
    notes = {"summary": f"{labels['alertname']} at {labels.get('service', 'somewhere')}"}
    if waits_s is not None:
        notes["for"] = f"{waits_s}s"
    return {
        "status": "firing" if ends is None else "resolved", "labels": labels, "annotations": notes,
        "startsAt": iso(starts), "endsAt": _NEVER if ends is None else iso(ends),
        "generatorURL": "http://prometheus.example.com/graph", "fingerprint": fingerprint(labels),
    }  # fmt: skip
