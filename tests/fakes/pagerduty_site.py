"""A whole PagerDuty for tests: events in, incidents that people and the REST API change, webhooks out.

The REST part keeps to its rules: a token that may write, ``From`` a user of the account, states that follow
each other. What happens is told by signed v3 webhooks, as of the person or of the service that did it. A
person's own doing is :meth:`FakePagerDutySite.does`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.fakes.pagerduty import FakePagerDuty, PagedIncident
from tests.fakes.server import answer

if TYPE_CHECKING:
    from aiohttp import web

TOKEN = "fake-pagerduty-write-token"
ACCEPT = "application/vnd.pagerduty+json;version=2"
WORDS = {"acknowledge": "acknowledged", "resolve": "resolved", "trigger": "triggered"}


@dataclass
class Site:
    """What an incident has beyond its state: its number, who acknowledged it, notes as (who, text)."""

    id: str
    taken_by: str = ""
    ended_by: str = ""
    notes: list[tuple[str, str]] = field(default_factory=list)


def invalid(what: str) -> web.Response:
    """Return PagerDuty's refusal of an argument."""
    error = {"message": "Invalid Input Provided", "code": 2001, "errors": [what]}
    return answer(400, {"error": error})


class FakePagerDutySite(FakePagerDuty):
    """The stand-in. ``users``: e-mail -> (id, name)."""

    def __init__(self, port: int = 0, history: str = "") -> None:
        super().__init__(port, history)
        self.users: dict[str, tuple[str, str]] = {
            "ana@example.com": ("PANA", "Ana Example"),
            "bo@example.com": ("PBO", "Bo Example"),
            "router@example.com": ("PROUTER", "Incident Router"),
        }
        self.hook = ""
        self.secret = b""
        self.sites: dict[int, Site] = {}  # by the place in self.incidents
        self.rest: list[tuple[str, str, str, dict[str, Any]]] = []  # method, path, From, body
        self.rest_faults: list[int] = []
        self.lose = ""  # do the next request of this method, and let its answer be lost
        self.told: list[tuple[str, int]] = []  # event type, the router's answer
        self._count = 0
        self._telling: set[asyncio.Task[None]] = set()

    # --- what people see ------------------------------------------------------------------------------

    def site(self, one: PagedIncident) -> Site:
        """Return what else an incident has."""
        place = next(n for n, each in enumerate(self.incidents) if each is one)
        return self.sites.setdefault(place, Site(f"QFAKE{place:03d}"))

    async def does(self, email: str, what: str, one: PagedIncident, text: str = "") -> None:
        """Let a user acknowledge, resolve, give back, note or hand on; and tell it by webhook, durably.

        ``email`` "": PagerDuty itself, when nobody acted in time.
        """
        agent = self._agent(email)
        data = self._data(one)
        if what == "annotated":
            self.site(one).notes.append((email, text))
            ref = {"id": self.site(one).id, "type": "incident_reference", "summary": one.summary}
            data = {"id": "PNOTE", "type": "incident_note", "content": text, "incident": ref}
        elif what == "reassigned":
            data["assignees"] = [{"id": "P", "type": "user_reference", "summary": text}]
        else:
            self._move(one, what, email)
            data["status"] = one.state
        await self._tell(f"incident.{what}", agent, data)

    async def quiet(self) -> None:
        """Wait until every webhook under way has been answered."""
        while self._telling:
            await asyncio.wait(set(self._telling))

    def loses(self, one: PagedIncident, state: str) -> None:
        """Change an incident's state without a word to anybody."""
        name = (one.routing_key, one.dedup_key)
        one.state = state
        if state == "resolved":
            self._alerts.pop(name, None)
        else:
            self._alerts[name] = one

    def _move(self, one: PagedIncident, what: str, email: str) -> None:
        site = self.site(one)
        if what == "acknowledged":
            one.state, site.taken_by = "acknowledged", email
        elif what == "resolved":
            one.state, site.ended_by = "resolved", email
            self._alerts.pop((one.routing_key, one.dedup_key), None)
        elif what == "unacknowledged":
            one.state, site.taken_by = "triggered", ""

    # --- events ---------------------------------------------------------------------------------------

    def _apply(self, event: dict[str, Any]) -> None:
        before = {id(each): each.state for each in self.incidents}
        super()._apply(event)
        for one in self.incidents:
            if before.get(id(one)) != one.state:
                service = {"id": "PSVC", "type": "service_reference", "summary": "shop"}
                self._soon(f"incident.{one.state}", service, self._data(one))

    # --- REST -----------------------------------------------------------------------------------------

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Answer one request of either API."""
        if path == "/webhook_subscriptions":
            return answer(200, {"webhook_subscriptions": [], "more": False})
        if not path.startswith("/incidents"):
            return await super().handle(path, request, body)
        sender = request.headers.get("From", "")
        doc = json.loads(body) if body else {}
        self.rest.append((request.method, path, sender, doc))
        refused = self._refused(request, sender)
        if refused is not None:
            return refused
        if request.method == "GET":
            return self._listed(request)
        number = path.split("/")[2]
        one = next((each for each in self.incidents if self.site(each).id == number), None)
        if one is None:
            return answer(404, {"error": {"message": "Not Found", "code": 2100}})
        done = self._noted(one, sender, doc) if path.endswith("/notes") else self._changed(one, sender, doc)
        if self.lose == request.method:
            self.lose = ""
            self.drop_after_processing()
        return done

    def _refused(self, request: web.Request, sender: str) -> web.Response | None:
        """Return the refusal of whoever may not do this, or did not say who it is."""
        if self.rest_faults:
            status = self.rest_faults.pop(0)
            headers = {"Retry-After": "1"} if status == 429 else {}
            return answer(status, {"error": {"message": "Rate Limit Exceeded", "code": 2020}}, headers)
        if request.headers.get("Authorization") != f"Token token={TOKEN}":
            return answer(401, {"error": {"message": "Unauthorized", "code": 2006}})
        if request.headers.get("Accept") != ACCEPT:
            return answer(406, {"error": {"message": "Unsupported version", "code": 2009}})
        if request.method != "GET" and sender not in self.users:
            return invalid("Requester User Not Found")
        return None

    def _listed(self, request: web.Request) -> web.Response:
        key, states = request.query.get("incident_key"), request.query.getall("statuses[]", [])
        found = [
            each
            for each in reversed(self.incidents)
            if key in {None, each.dedup_key} and each.state in states
        ]
        return answer(200, {"incidents": [self._data(each) for each in found], "more": False, "total": None})

    def _noted(self, one: PagedIncident, sender: str, doc: dict[str, Any]) -> web.Response:
        content = (doc.get("note") or {}).get("content")
        if not isinstance(content, str) or not content:
            return invalid("content")
        self.site(one).notes.append((sender, content))
        ref = {"id": self.site(one).id, "type": "incident_reference", "summary": one.summary}
        note = {"id": "PNOTE", "type": "incident_note", "content": content, "incident": ref}
        self._soon("incident.annotated", self._agent(sender), note)
        return answer(200, {"note": {"id": "PNOTE", "content": content}})

    def _changed(self, one: PagedIncident, sender: str, doc: dict[str, Any]) -> web.Response:
        wish = doc.get("incident") or {}
        status = wish.get("status")
        known = wish.get("type") in {"incident", "incident_reference"}
        if not known or status not in {"acknowledged", "resolved"}:
            return invalid("status")
        if one.state == "resolved":
            said = "Incident Already Resolved"
            return invalid(said)
        self._move(one, status, sender)
        one.log.append(f"{status} by {sender}")
        self._soon(f"incident.{status}", self._agent(sender), self._data(one))
        return answer(200, {"incident": self._data(one)})

    # --- webhooks -------------------------------------------------------------------------------------

    def _agent(self, email: str) -> dict[str, Any] | None:
        if not email:
            return None
        number, name = self.users[email]
        return {"id": number, "type": "user_reference", "summary": name}

    def _data(self, one: PagedIncident) -> dict[str, Any]:
        return {
            "id": self.site(one).id,
            "type": "incident",
            "status": one.state,
            "incident_key": one.dedup_key,
            "title": one.summary,
            "html_url": f"https://shop.pagerduty.com/incidents/{self.site(one).id}",
            "resolve_reason": None,
        }

    def _soon(self, kind: str, agent: Any, data: dict[str, Any]) -> None:
        if self.hook:
            task = asyncio.get_running_loop().create_task(self._tell(kind, agent, data))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, kind: str, agent: Any, data: dict[str, Any]) -> None:
        if not self.hook:
            return
        self._count += 1
        at = self._clock.now().isoformat().replace("+00:00", "Z")
        event = {
            "id": f"01FAKE{self._count:04d}", "event_type": kind, "resource_type": "incident",
            "occurred_at": at, "agent": agent, "client": None, "data": data,
        }  # fmt: skip
        raw = json.dumps({"event": event}).encode()
        signature = hmac.new(self.secret, raw, hashlib.sha256).hexdigest()
        headers = {"X-PagerDuty-Signature": f"v1={signature}", "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session:
            for _ in range(50):  # the real one tries for 48 hours
                try:
                    async with session.post(self.hook, data=raw, headers=headers) as response:
                        self.told.append((kind, response.status))
                        if response.status < 500:
                            return
                except aiohttp.ClientError:
                    pass
                await self._clock.sleep(0.1)
