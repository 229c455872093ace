"""A PagerDuty for tests: Events API v2 as its documentation describes it.

Validates bodies, keeps alerts by (routing key, dedup key) and the incidents they
opened, in order. As a process: ``python -m tests.fakes.pagerduty --port N --history FILE``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.fakes.server import FakeServer, answer, run

if TYPE_CHECKING:
    from aiohttp import web

ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")
MAX_BYTES = 512_000


@dataclass
class Event:
    """One accepted event; ``order`` grows by one, ``at`` is when it was taken."""

    order: int
    at: datetime
    path: str
    body: dict[str, Any]

    @property
    def action(self) -> str:
        """The event's action, "change" for a change event."""
        return self.body.get("event_action", "change")


@dataclass
class PagedIncident:
    """What a person on call sees."""

    routing_key: str
    dedup_key: str
    state: str = "triggered"
    triggers: int = 1
    summary: str = ""
    severity: str = ""
    log: list[str] = field(default_factory=list)


class FakePagerDuty(FakeServer):
    """The stand-in."""

    def __init__(self, port: int = 0, history: str = "") -> None:
        super().__init__(port, history)
        self.events: list[Event] = []
        self.changes: list[Event] = []
        self.incidents: list[PagedIncident] = []
        self.rejected: list[list[str]] = []
        self.dropped = 0
        self._alerts: dict[tuple[str, str], PagedIncident] = {}

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Take one event or change event."""
        if request.method != "POST" or path not in {"/v2/enqueue", "/v2/change/enqueue"}:
            return answer(404, {"error": {"message": "Not Found", "code": 2100}})
        change = path == "/v2/change/enqueue"
        if len(body) > MAX_BYTES:
            return answer(413, {"status": "payload too large", "message": "Event payload is too large"})
        try:
            event = json.loads(body)
        except ValueError:
            event = None
        errors = problems(event, change=change)
        if errors:
            self.rejected.append(errors)
            self.record(path=path, rejected=errors)
            message = "Event object is invalid"
            return answer(400, {"status": "invalid event", "message": message, "errors": errors})
        taken = Event(len(self.events) + len(self.changes), self._clock.now(), path, event)
        self.record(path=path, action=taken.action, body=event)
        if change:
            self.changes.append(taken)
            return answer(202, {"status": "success", "message": "Change event processed"})
        key = event.setdefault("dedup_key", f"made-here-{taken.order}")
        self.events.append(taken)
        self._apply(event)
        return answer(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def _apply(self, event: dict[str, Any]) -> None:
        name = event["routing_key"], event["dedup_key"]
        alert, action = self._alerts.get(name), event["event_action"]
        if alert is not None and alert.state == "resolved":
            alert = None
        if action == "trigger":
            if alert is None:
                alert = self._alerts[name] = PagedIncident(*name)
                self.incidents.append(alert)
            else:
                alert.triggers += 1
            alert.summary, alert.severity = event["payload"]["summary"], event["payload"]["severity"]
        elif alert is None:
            self.dropped += 1  # silently, with 202: as the real one
            return
        else:
            alert.state = "acknowledged" if action == "acknowledge" else "resolved"
        alert.log.append(action)


def problems(event: Any, *, change: bool) -> list[str]:
    """Return what PagerDuty would say is wrong with a body."""
    if not isinstance(event, dict):
        return ["JSON cannot be parsed"]
    errors = []
    if not isinstance(event.get("routing_key"), str) or not event["routing_key"]:
        errors.append("'routing_key' is missing or blank")
    if not change:
        if event.get("event_action") not in ACTIONS:
            errors.append(f"'event_action' must be one of {ACTIONS}")
        key = event.get("dedup_key")
        if key is None and event.get("event_action") != "trigger":
            errors.append("'dedup_key' is missing or blank")
        if key is not None and (not isinstance(key, str) or not 0 < len(key) <= 255):
            errors.append("'dedup_key' must be a string of at most 255 characters")
        if event.get("event_action") != "trigger":
            return errors
    return errors + _payload_problems(event.get("payload"), change=change) + _link_problems(event)


def _payload_problems(payload: Any, *, change: bool) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or not an object"]
    errors = [
        f"'payload.{name}' is missing or blank"
        for name in (("summary",) if change else ("summary", "source"))
        if not isinstance(payload.get(name), str) or not payload[name].strip()
    ]
    if len(str(payload.get("summary", ""))) > 1024:
        errors.append("'payload.summary' is longer than 1024 characters")
    if not change and payload.get("severity") not in SEVERITIES:
        errors.append(f"'payload.severity' must be one of {SEVERITIES}")
    errors += [
        f"'payload.{name}' must be a string"
        for name in ("component", "group", "class")
        if not isinstance(payload.get(name, ""), str)
    ]
    if "custom_details" in payload and not isinstance(payload["custom_details"], dict):
        errors.append("'payload.custom_details' must be an object")
    if "timestamp" in payload:
        try:
            datetime.fromisoformat(payload["timestamp"])
        except (TypeError, ValueError):
            errors.append("'payload.timestamp' must be ISO 8601")
    return errors


def _link_problems(event: dict[str, Any]) -> list[str]:
    links = event.get("links", [])
    if not isinstance(links, list):
        return ["'links' must be an array"]
    return [
        "'links' must hold objects with an http or https 'href'"
        for link in links
        if not isinstance(link, dict) or not str(link.get("href", "")).startswith(("http://", "https://"))
    ]


if __name__ == "__main__":
    run(FakePagerDuty, "A PagerDuty for tests")
