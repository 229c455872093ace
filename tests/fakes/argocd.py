"""An Argo CD for tests: the part of its API that is read, with what is odd about it.

A list can only be cut down to a fixed set of fields, what it does not know is left out without a
word, and an account without the right to see applications is shown an empty list. Facts:
argoproj/argo-cd, ``pkg/apiclient/application/forwarder_overwrite.go`` and ``server/application``.
As a process: ``python -m tests.fakes.argocd --port N``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tests.fakes.server import FakeServer, answer, run

if TYPE_CHECKING:
    from aiohttp import web

TOKEN = "fake-argocd-api-token"
#: The fields of a list that can be selected; nothing else.
SELECTABLE = (
    "metadata.name",
    "metadata.namespace",
    "metadata.annotations",
    "metadata.labels",
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "spec",
    "status.sourceHydrator",
    "status.sync.status",
    "status.health",
    "status.summary",
    "status.resources",
    "status.operationState.startedAt",
    "status.operationState.finishedAt",
    "status.operationState.phase",
    "operation.sync",
)


def application(name: str, started: str, finished: str = "", **changes: Any) -> dict[str, Any]:
    """Return an Application as the API serves it; ``changes`` go into its operationState."""
    operation = {
        "operation": {"initiatedBy": {"username": "dana"}, "sync": {"revision": "9c1e5f4ad0b1"}},
        "phase": "Succeeded" if finished else "Running",
        "message": "successfully synced (all tasks run)",
        "startedAt": started,
        "syncResult": {
            "revision": "9c1e5f4ad0b1c2d3e4f5061728394a5b6c7d8e9f",
            "resources": [{"kind": "Service"}],
        },
        **({"finishedAt": finished} if finished else {}),
        **changes,
    }
    return {
        "metadata": {
            "name": name,
            "namespace": "argocd",
            "uid": f"uid-of-{name}",
            "resourceVersion": "1",
            "labels": {"env": "prod"},
            "managedFields": [{"manager": "argocd-application-controller"}],
        },
        "spec": {
            "project": "shop",
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "source": {
                "repoURL": "https://gitlab.example.com/platform/config.git",
                "targetRevision": "main",
                "helm": {"values": "password: not-for-us"},
            },
        },
        "status": {
            "sync": {"status": "Synced"},
            "health": {"status": "Healthy", "lastTransitionTime": finished or started},
            "summary": {"images": [f"registry.example.com/shop/{name}:v1.42.0"]},
            "operationState": operation,
            "resources": [{"kind": "Deployment", "name": name}],
            "history": [],
        },
    }


class FakeArgoCD(FakeServer):
    """The stand-in: applications by ``namespace/name``, whether the account may see them, its own URL."""

    def __init__(self, port: int = 0, history: str = "") -> None:
        super().__init__(port, history)
        self.applications: dict[str, dict[str, Any]] = {}
        self.allowed = True
        self.people_url: str | None = "https://argocd.example.com"  # None: its settings fail
        self.refused: list[str] = []
        self.queries: list[dict[str, str]] = []

    def put(self, *applications: dict[str, Any]) -> None:
        """Keep these applications, over those of the same name."""
        for app in applications:
            self.applications[f"{app['metadata']['namespace']}/{app['metadata']['name']}"] = app

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Answer one request."""
        self.queries.append(dict(request.query))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refused.append(path)
            return error(401, 16, "invalid session: account token has expired")
        if request.method != "GET":
            return error(501, 12, "the stand-in only reads")
        if path == "/api/v1/settings":
            return (
                error(500, 13, "rpc error")
                if self.people_url is None
                else answer(200, {"url": self.people_url})
            )
        if path == "/api/v1/applications":
            return self._list(request.query.get("fields", ""))
        prefix, _, name = path.rpartition("/")
        app = self.applications.get(f"{request.query.get('appNamespace', 'argocd')}/{name}")
        if prefix != "/api/v1/applications" or app is None or not self.allowed:
            return error(403, 7, "permission denied")  # also for what does not exist, without a project
        return answer(200, app)

    def _list(self, fields: str) -> web.Response:
        shown = list(self.applications.values()) if self.allowed else []
        chosen = [f for f in fields.split(",") if f]
        items = [select(app, chosen) if chosen else app for app in shown]
        return answer(200, {"metadata": {"resourceVersion": "1"}, "items": items or None})


def select(app: dict[str, Any], chosen: list[str]) -> dict[str, Any]:
    """Return the chosen fields of an application, as far as they can be chosen."""
    cut: dict[str, Any] = {}
    for field in SELECTABLE:
        found: Any = app
        *above, last = field.split(".")
        for step in (*above, last):
            found = found.get(step) if isinstance(found, dict) else None
        if f"items.{field}" not in chosen or found is None:
            continue
        place = cut
        for step in above:
            place = place.setdefault(step, {})
        place[last] = copy.deepcopy(found)
    return cut


def error(status: int, code: int, message: str) -> web.Response:
    """Return a refusal in the form of its gateway."""
    return answer(status, {"error": message, "code": code, "message": message})


if __name__ == "__main__":
    run(FakeArgoCD, "An Argo CD for tests")
