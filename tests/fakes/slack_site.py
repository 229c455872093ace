"""A whole Slack for tests: people who type commands, press buttons and fill windows, and what they are told.

Beside the Web API of :class:`FakeSlack` it has ``views.open`` (a trigger is good once, for 3 seconds),
``users.info``, and response URLs (five times, half an hour). What people do is sent signed, as Slack sends
it; what they alone see is kept in :attr:`seen`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
from aiohttp import web

from tests.fakes.server import answer
from tests.fakes.slack import FakeSlack, Message, text_ok

TEAM = "T0SHOP001"
APP_TOKEN = "xapp-fake-token"
TRIGGER_S = 3.0
URL_S, URL_USES = 1800.0, 5


@dataclass
class Person:
    """Somebody in the workspace; ``team`` is another one's for a guest of a shared channel."""

    id: str
    name: str
    email: str = ""
    team: str = TEAM


@dataclass
class Answers:
    """A response URL: whose, since when, how often used."""

    person: str
    since: float
    uses: int = 0


@dataclass
class Window:
    """An open window."""

    id: str
    person: str
    view: dict[str, Any]
    errors: dict[str, str] = field(default_factory=dict)


class FakeSlackSite(FakeSlack):
    """The stand-in; ana and bo are in it."""

    def __init__(self, port: int = 0, history: str = "") -> None:
        super().__init__(port, history)
        self.scopes |= {"users:read", "users:read.email", "commands"}
        self.people = {
            "ana": Person("U0ANA", "ana", "ana@example.com"),
            "bo": Person("U0BO", "bo", "bo@example.com"),
            "cy": Person("U0CY", "cy"),
        }
        self.hook = ""
        self.secret = b""
        self.seen: dict[str, list[str]] = {}
        self.refused: list[str] = []
        self.windows: list[Window] = []
        self.trigger_age = 0.0  # how long people's triggers have been waiting when they arrive
        self.sockets: list[web.WebSocketResponse] = []
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self._triggers: dict[str, tuple[float, str]] = {}
        self._urls: dict[str, Answers] = {}
        self._number = 0

    # --- what people do -------------------------------------------------------------------------------

    async def types(self, name: str, text: str, command: str = "/incident") -> str:
        """Let somebody type a command; return what is shown at once, "" for nothing."""
        one = self.people[name]
        trigger, url = self._issued(one)
        fields = {
            "token": "fake", "team_id": one.team, "team_domain": "shop", "channel_id": "C0ALERTS",
            "channel_name": "alerts", "user_id": one.id, "user_name": one.name, "command": command,
            "text": text, "api_app_id": "A0ROUTER", "is_enterprise_install": "false", "response_url": url,
            "trigger_id": trigger,
        }  # fmt: skip
        status, body = await self._sent(urlencode(fields).encode())
        assert status == 200, body
        shown = json.loads(body)["text"] if body else ""
        if shown:
            self.seen.setdefault(name, []).append(shown)
        return shown

    async def presses(self, name: str, action: str, message: Message, *, raw: bytes | None = None) -> bytes:
        """Let somebody press a button of a message; return the request, to be sent again as ``raw``."""
        if raw is None:
            one = self.people[name]
            trigger, url = self._issued(one)
            button = next(b for b in buttons(message) if b["action_id"] == action)
            self._number += 1
            doc = {
                "type": "block_actions", "team": {"id": TEAM, "domain": "shop"}, "trigger_id": trigger,
                "user": {"id": one.id, "username": one.name, "name": one.name, "team_id": one.team},
                "channel": {"id": message.channel, "name": "alerts"}, "response_url": url,
                "message": {"ts": message.ts, "text": message.text},
                "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
                "actions": [{"action_id": action, "block_id": "b", "type": "button", "value": button["value"],
                             "action_ts": f"{int(self._clock.now().timestamp())}.{self._number:06d}"}],
            }  # fmt: skip
            raw = urlencode({"payload": json.dumps(doc)}).encode()
        status, body = await self._sent(raw)
        assert (status, body) == (200, b""), "Slack shows an error for anything else"
        return raw

    async def submits(self, name: str, **values: str) -> dict[str, str]:
        """Let somebody fill the window and press its button; return what is wrong, as shown in it."""
        window, one = self.windows[-1], self.people[name]
        state: dict[str, Any] = {}
        for block in window.view["blocks"]:
            if block["type"] != "input":
                continue
            element, key = block["element"], block["block_id"]
            if element["type"] == "static_select":
                chosen = next((o for o in element["options"] if o["value"] == values.get(key)), None)
                found = {"selected_option": chosen or element["initial_option"]}
            else:
                found = {"value": values.get(key, element.get("initial_value"))}
                assert len(found["value"] or "") <= element["max_length"], "Slack does not let one type more"
            state[key] = {element["action_id"]: {"type": element["type"], **found}}
        doc = {
            "type": "view_submission", "team": {"id": TEAM, "domain": "shop"},
            "user": {"id": one.id, "username": one.name, "name": one.name, "team_id": one.team},
            "view": {**window.view, "id": window.id, "state": {"values": state}},
        }  # fmt: skip
        status, body = await self._sent(urlencode({"payload": json.dumps(doc)}).encode())
        assert status == 200
        said = json.loads(body) if body else {}
        assert not said or said["response_action"] == "errors"
        return said.get("errors", {})

    def _issued(self, one: Person) -> tuple[str, str]:
        self._number += 1
        now = self._clock.monotonic()
        trigger, name = f"{self._number}.fake.trigger", f"/respond/{self._number}"
        self._triggers[trigger] = (now - self.trigger_age, one.name)
        self._urls[name] = Answers(one.name, now)
        return trigger, f"http://127.0.0.1:{self.port}{name}"

    async def _sent(self, body: bytes) -> tuple[int, bytes]:
        if self.sockets:
            return await self._over_a_socket(body)
        stamp = str(int(self._clock.now().timestamp()))
        signed = b":".join((b"v0", stamp.encode(), body))
        headers = {
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": f"v0={hmac.new(self.secret, signed, hashlib.sha256).hexdigest()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.hook, data=body, headers=headers) as r,
        ):
            return r.status, await r.read()

    async def _over_a_socket(self, body: bytes) -> tuple[int, bytes]:
        """Send as an envelope; (0, b"") where it is not acknowledged in 3 seconds: an error is shown then."""
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        click = "payload" in fields
        self._number += 1
        name = f"envelope-{self._number}"
        answered = self._answers[name] = asyncio.get_running_loop().create_future()
        await self.sockets[-1].send_json({
            "envelope_id": name, "type": "interactive" if click else "slash_commands",
            "accepts_response_payload": True, "payload": json.loads(fields["payload"]) if click else fields,
        })  # fmt: skip
        try:
            payload = await asyncio.wait_for(answered, 3.0)
        except TimeoutError:
            return 0, b""
        return 200, json.dumps(payload).encode() if payload else b""

    async def _linked(self, request: web.Request) -> web.StreamResponse:
        """Hold a Socket Mode connection."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1})
        self.sockets.append(socket)
        try:
            async for message in socket:
                said = json.loads(message.data)
                self._answers.pop(said["envelope_id"]).set_result(said.get("payload"))
        finally:
            self.sockets.remove(socket)
        return socket

    # --- what the app does ----------------------------------------------------------------------------

    async def handle(self, path: str, request: web.Request, body: bytes) -> Any:
        """Do one API call, take an answer to somebody, or hold a connection."""
        if path == "/link":
            return await self._linked(request)
        if path == "/api/apps.connections.open":
            known = request.headers.get("Authorization") == f"Bearer {APP_TOKEN}"
            url = f"ws://127.0.0.1:{self.port}/link"
            return answer(200, {"ok": True, "url": url} if known else {"ok": False, "error": "invalid_auth"})
        if not path.startswith("/respond/"):
            return await super().handle(path, request, body)
        url, now = self._urls.get(path), self._clock.monotonic()
        if url is None or now - url.since > URL_S or url.uses >= URL_USES:
            return answer(404, {"ok": False, "error": "used_url" if url else "expired_url"})
        url.uses += 1
        said = json.loads(body)
        assert said["response_type"] == "ephemeral"
        assert 0 < len(said["text"]) <= 3000
        self.seen.setdefault(url.person, []).append(said["text"])
        return web_ok()

    def _call(self, method: str, args: dict[str, Any]) -> dict[str, Any]:
        if method == "users.info":
            return self._user(str(args.get("user")))
        if method == "views.open":
            return self._window(args)
        return super()._call(method, args)

    def _user(self, number: str) -> dict[str, Any]:
        if "users:read" not in self.scopes:
            return {"ok": False, "error": "missing_scope", "needed": "users:read"}
        one = next((p for p in self.people.values() if p.id == number), None)
        if one is None:
            return {"ok": False, "error": "user_not_found"}
        profile = {"real_name": one.name} | (
            {"email": one.email} if one.email and "users:read.email" in self.scopes else {}
        )
        return {"ok": True, "user": {"id": one.id, "name": one.name, "profile": profile}}

    def _window(self, args: dict[str, Any]) -> dict[str, Any]:
        since, person = self._triggers.pop(str(args.get("trigger_id")), (None, ""))
        if since is None:
            return {"ok": False, "error": "exchanged_trigger_id"}
        if self._clock.monotonic() - since > TRIGGER_S:
            return {"ok": False, "error": "expired_trigger_id"}
        if wrong := view_problem(args.get("view")):
            self.refused.append(wrong)
            return {"ok": False, "error": "invalid_arguments", "response_metadata": {"messages": [wrong]}}
        self.windows.append(Window(f"V{len(self.windows)}", person, args["view"]))
        return {"ok": True, "view": {"id": self.windows[-1].id}}


def web_ok() -> web.Response:
    """Return what a response URL answers."""
    return answer(200, {"ok": True})


def buttons(message: Message) -> list[dict[str, Any]]:
    """Return the buttons of a message."""
    return [e for block in message.blocks if block["type"] == "actions" for e in block["elements"]]


def view_problem(view: Any) -> str:
    """Return what Slack would say is wrong with a window, "" where it takes it."""
    if not isinstance(view, dict) or view.get("type") != "modal":
        return "not a modal"
    short = {"title": 24, "submit": 24, "close": 24}
    for name, limit in short.items():
        if not text_ok(view.get(name), limit) or view[name]["type"] != "plain_text":
            return name
    if len(view.get("private_metadata", "")) > 3000 or len(view.get("callback_id", "")) > 255:
        return "private_metadata or callback_id"
    blocks = view.get("blocks", [])
    if not 0 < len(blocks) <= 100 or len({b.get("block_id", n) for n, b in enumerate(blocks)}) < len(blocks):
        return "blocks"
    return next((wrong for block in blocks if (wrong := _block_problem(block))), "")


def _block_problem(block: Any) -> str:
    if block.get("type") == "section":
        return "" if text_ok(block.get("text"), 3000) else "section"
    if block.get("type") != "input" or not text_ok(block.get("label"), 2000):
        return "input"
    element = block.get("element", {})
    if element.get("type") == "static_select":
        options = element.get("options", [])
        well = 0 < len(options) <= 100 and all(
            text_ok(o["text"], 75) and len(o["value"]) <= 150 for o in options
        )
        return "" if well and element.get("initial_option") in options else "options"
    if element.get("type") == "plain_text_input":
        return (
            ""
            if len(element.get("initial_value", "")) <= element.get("max_length", 3000) <= 3000
            else "input"
        )
    return "element"
