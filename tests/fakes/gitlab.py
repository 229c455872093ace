"""A GitLab for tests: the part of its API that is read, with what is odd about it.

Projects by path or number (a path that was renamed is answered with a redirect to the number),
deployments by the time of their last change, webhooks only for maintainers. Facts: gitlabhq/gitlabhq,
``lib/api/{helpers,deployments,hooks}.rb``, ``lib/api/entities`` and ``app/finders/deployments_finder.rb``.
As a process: ``python -m tests.fakes.gitlab --port N``.
"""

from __future__ import annotations

import copy
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

from tests.fakes.server import FakeServer, run

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "fake-gitlab-api-token"
SHA = "3f6c0e2b9d1a4c58e7f0123456789abcdef01234"
WEB = "https://gitlab.example.com"
_ROUTE = re.compile(r"/api/v4/projects/([^/]+)(?:/(deployments|hooks))?").fullmatch


def deployment(number: int, updated: str, status: str = "success", **changes: Any) -> dict[str, Any]:
    """Return a deployment by a job, as the API shows it."""
    person = {
        "id": 7,
        "username": "dana",
        "name": "Dana Example",
        "state": "active",
        "web_url": f"{WEB}/dana",
    }
    return {
        "id": number,
        "iid": number % 100,
        "ref": "main",
        "sha": SHA,
        "created_at": updated,
        "updated_at": updated,
        "user": person,
        "environment": {
            "id": 9,
            "name": "prod",
            "slug": "prod",
            "external_url": "https://shop.example.com",
            "created_at": "2024-01-01T00:00:00.000Z",
            "updated_at": "2024-01-01T00:00:00.000Z",
        },
        "deployable": {
            "id": 9000 + number,
            "status": status,
            "stage": "deploy",
            "name": "deploy-prod",
            "ref": "main",
            "tag": False,
            "created_at": updated,
            "started_at": updated,
            "finished_at": None if status in {"created", "running"} else updated,
            "user": {**person, "bio": "not-for-us", "public_email": "not-for-us@example.com"},
            "commit": {
                "id": SHA,
                "short_id": SHA[:8],
                "title": "Round totals half even",
                "message": "Round totals half even\n\nnot-for-us",
                "author_name": "Dana Example",
                "author_email": "not-for-us@example.com",
                "web_url": f"{WEB}/shop/payment-service/-/commit/{SHA}",
            },
            "pipeline": {"id": 36, "sha": SHA, "ref": "main", "status": "running"},
            "web_url": f"{WEB}/shop/payment-service/-/jobs/{9000 + number}",
            "runner": None,
        },
        "status": status,
        **changes,
    }


def hook(number: int, url: str, status: str = "executable", until: str | None = None) -> dict[str, Any]:
    """Return a webhook of a project, as the API shows it."""
    return {
        "id": number,
        "url": url,
        "name": "Router",
        "created_at": "2024-10-12T17:04:47Z",
        "deployment_events": True,
        "enable_ssl_verification": True,
        "alert_status": status,
        "disabled_until": until,
        "url_variables": [],
        "custom_headers": [],
    }


class FakeGitLab(FakeServer):
    """The stand-in: projects by number, their deployments and webhooks."""

    def __init__(self, port: int = 0, history: str = "") -> None:
        super().__init__(port, history)
        self.projects: dict[int, dict[str, Any]] = {}
        self.deployments: dict[int, list[dict[str, Any]]] = {}
        self.hooks: dict[int, list[dict[str, Any]]] = {}
        self.former: dict[str, int] = {}
        self.maintainer = True
        #: Answers to a path of the API, in place of its own, until they are taken away.
        self.broken: dict[str, int] = {}
        self.raw: list[str] = []
        self.queries: list[Mapping[str, str]] = []
        self.refused: list[str] = []

    def add(self, path: str, number: int = 4711) -> None:
        """Make a project."""
        self.projects[number] = {
            "id": number,
            "name": path.rpartition("/")[2],
            "path_with_namespace": path,
            "web_url": f"{WEB}/{path}",
            "default_branch": "main",
            "runners_token": "not-for-us",
        }
        self.deployments[number], self.hooks[number] = [], []

    def rename(self, number: int, path: str) -> None:
        """Give a project another path; the former one leads to it."""
        self.former[self.projects[number]["path_with_namespace"]] = number
        self.projects[number] |= {"path_with_namespace": path, "web_url": f"{WEB}/{path}"}

    def deploy(self, *deployments: dict[str, Any], number: int = 4711) -> None:
        """Keep these deployments, over those of the same number."""
        new = {one["id"] for one in deployments}
        self.deployments[number] = [d for d in self.deployments[number] if d["id"] not in new]
        self.deployments[number] += deployments

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Answer one request."""
        self.raw.append(request.rel_url.raw_path)
        self.queries.append(dict(request.query))
        if request.headers.get("PRIVATE-TOKEN") != TOKEN:
            self.refused.append(path)
            return _refusal(401, "401 Unauthorized")
        route = _ROUTE(request.rel_url.raw_path)
        if route is None or request.method != "GET":
            return _refusal(404, "404 Not Found")
        if (status := self.broken.get(unquote(route[0]))) is not None:
            return _refusal(status, f"{status} broken")
        return self._answer(request, unquote(route[1]), route[2])

    def _answer(self, request: web.Request, name: str, what: str | None) -> web.Response:
        if name in self.former:
            location = f"{self.url}/api/v4/projects/{self.former[name]}{f'/{what}' if what else ''}"
            return web.Response(status=302, headers={"Location": location}, text="moved")
        project = self._find(name)
        if project is None:
            return _refusal(404, "404 Project Not Found")
        if what is None:
            return web.json_response(project)
        if what == "deployments":
            return self._paged(request, self._listed(request, self.deployments[project["id"]]))
        if not self.maintainer:
            return _refusal(403, "403 Forbidden")
        return self._paged(request, self.hooks[project["id"]])

    def _find(self, name: str) -> dict[str, Any] | None:
        if name.isdigit():
            return self.projects.get(int(name))
        return next((p for p in self.projects.values() if p["path_with_namespace"] == name), None)

    @staticmethod
    def _listed(request: web.Request, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        after = datetime.fromisoformat(request.query.get("updated_after", "1970-01-01T00:00:00Z"))
        order, descending = request.query.get("order_by", "id"), request.query.get("sort", "asc") == "desc"
        kept = [d for d in found if datetime.fromisoformat(d["updated_at"]).astimezone(UTC) >= after]
        return sorted(kept, key=lambda d: d[order], reverse=descending)

    @staticmethod
    def _paged(request: web.Request, found: list[dict[str, Any]]) -> web.Response:
        size, page = min(int(request.query.get("per_page", "20")), 100), int(request.query.get("page", "1"))
        return web.json_response(copy.deepcopy(found[(page - 1) * size : page * size]))


def _refusal(status: int, message: str) -> web.Response:
    headers = {"Retry-After": "60"} if status == 429 else None
    return web.json_response({"message": message}, status=status, headers=headers)


if __name__ == "__main__":
    run(FakeGitLab, "A GitLab for tests")
