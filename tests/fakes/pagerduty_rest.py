"""A PagerDuty for tests: the part of its REST API v2 that is read, webhook subscriptions and incidents.

Keeps each subscription's failures as PagerDuty does: three events dropped in a row switch it off for a
day, and ``enable`` ends that. As a process: ``python -m tests.fakes.pagerduty_rest --port N``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.server import FakeServer, answer, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

TOKEN = "fake-pagerduty-api-token"
ACCEPT = "application/vnd.pagerduty+json;version=2"
#: Events dropped in a row, after which a subscription is switched off.
PATIENCE = 3


def subscription(
    number: str, url: str, description: str = "To the router", *, active: bool = True
) -> dict[str, Any]:
    """Return a webhook subscription as the API shows it."""
    return {
        "id": number,
        "type": "webhook_subscription",
        "active": active,
        "description": description,
        "delivery_method": {
            "id": f"D{number}",
            "secret": None,
            "type": "http_delivery_method",
            "url": url,
            "temporarily_disabled": False,
            "custom_headers": [{"name": "X-Team", "value": "-- redacted --"}],
        },
        "events": ["incident.acknowledged", "incident.resolved"],
        "filter": {"type": "account_reference"},
    }


class FakePagerDutyRest(FakeServer):
    """The stand-in: webhook subscriptions by id, and incidents."""

    def __init__(self, port: int = 0, history: str = "") -> None:
        super().__init__(port, history)
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.incidents: list[dict[str, Any]] = []  # as the API shows them: id, status, incident_key
        self.allowed = True
        self.queries: list[Mapping[str, str]] = []
        self._dropped: dict[str, int] = {}

    def add(self, *subscriptions: dict[str, Any]) -> None:
        """Keep these subscriptions."""
        self.subscriptions |= {one["id"]: one for one in subscriptions}

    def drop(self, number: str) -> None:
        """An event could not be delivered."""
        self._dropped[number] = self._dropped.get(number, 0) + 1
        if self._dropped[number] >= PATIENCE:
            self.subscriptions[number]["delivery_method"]["temporarily_disabled"] = True

    def enable(self, number: str) -> None:
        """Somebody enabled a subscription again."""
        self._dropped.pop(number, None)
        self.subscriptions[number]["delivery_method"]["temporarily_disabled"] = False
        self.subscriptions[number]["active"] = True

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Answer one request."""
        self.queries.append(dict(request.query))
        if request.headers.get("Authorization") != f"Token token={TOKEN}":
            return answer(401, {"error": {"message": "Unauthorized", "code": 2006}})
        if not self.allowed:
            return answer(403, {"error": {"message": "Access Denied", "code": 2010}})
        lists = {"/webhook_subscriptions": list(self.subscriptions.values()), "/incidents": self.incidents}
        if request.method != "GET" or path not in lists:
            return answer(404, {"error": {"message": "Not Found", "code": 2100}})
        if request.headers.get("Accept") != ACCEPT:
            return answer(406, {"error": {"message": "Unsupported version", "code": 2009}})
        limit, offset = min(int(request.query.get("limit", "25")), 100), int(request.query.get("offset", "0"))
        found = lists[path]
        if path == "/incidents":
            states = request.query.getall("statuses[]", [])
            found = [one for one in found if not states or one["status"] in states]
        page = {"limit": limit, "offset": offset, "total": None, "more": offset + limit < len(found)}
        return answer(200, {path[1:]: found[offset : offset + limit], **page})


if __name__ == "__main__":
    run(FakePagerDutyRest, "The REST API of a PagerDuty for tests")
