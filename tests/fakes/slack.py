"""A Slack for tests: chat.postMessage, chat.update, conversations.history and auth.test.

Checks the token, channels and membership, block limits and, where asked to, the pace;
keeps messages with their edits and threads. As a process:
``python -m tests.fakes.slack --port N --history FILE``.
"""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.server import FakeServer, answer, run

if TYPE_CHECKING:
    from aiohttp import web

TOKEN = "xoxb-fake-token"
BOT = "U0ROUTER"
MAX_BLOCKS_TOTAL = 13_200
TRUE = {True, "true", "True", "1"}


@dataclass
class Message:
    """One message as people see it now, with what it was before."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] = field(default_factory=dict)
    thread_ts: str = ""
    user: str = BOT
    edits: list[str] = field(default_factory=list)
    replies: list[Message] = field(default_factory=list)

    def shown(self, *, metadata: bool) -> dict[str, Any]:
        """Return the message as the API gives it."""
        told = {"type": "message", "user": self.user, "ts": self.ts, "text": self.text, "blocks": self.blocks}
        if self.replies:
            told["thread_ts"] = self.ts
        if metadata and self.metadata:
            told["metadata"] = self.metadata
        return told


@dataclass
class Channel:
    """A channel; ``member`` tells whether the app is in it."""

    id: str
    name: str
    member: bool = True
    archived: bool = False
    topic: str = ""
    invited: set[str] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)


class FakeSlack(FakeServer):
    """The stand-in; it has #alerts, of id C0ALERTS, from the start."""

    prefix = "/api/"

    def __init__(self, port: int = 0, history: str = "") -> None:
        super().__init__(port, history)
        self.channels: dict[str, Channel] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.scopes = {"chat:write", "channels:history", "channels:manage", "channels:read"}
        self.page = 1000  # of a list of channels, at most
        self.per_second: int | None = None  # messages per second and channel; None: no limit
        self._refusals: deque[tuple[str, str]] = deque()
        self._recent: dict[str, deque[float]] = {}
        self._ts = 1_700_000_000
        self.add_channel("C0ALERTS", "alerts")

    def add_channel(self, id_: str, name: str, *, member: bool = True, archived: bool = False) -> Channel:
        """Open a channel."""
        self.channels[id_] = Channel(id_, name, member, archived)
        return self.channels[id_]

    def messages(self, channel: str = "C0ALERTS") -> list[Message]:
        """Return the channel's messages, oldest first, replies under theirs."""
        found = self._channel(channel)
        return found.messages if found else []

    def refuse_next(self, code: str, times: int = 1, method: str = "") -> None:
        """Answer the next calls (of this method) with 200 and ``ok: false``."""
        self._refusals.extend([(method, code)] * times)

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Do one API call."""
        method = path.removeprefix("/api/")
        if request.content_type == "application/json":
            try:
                args = json.loads(body)
            except ValueError:
                return answer(200, {"ok": False, "error": "invalid_json"})
        else:
            args = {**request.query, **dict(await request.post())}
        self.calls.append((method, args))
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        told = self._refusal(method, token) or self._limited(method, args)
        status, headers = 200, {}
        if told == "ratelimited_429":
            status, told, headers = 429, "ratelimited", {"Retry-After": "1"}
        done = {"ok": False, "error": told} if told else self._call(method, args)
        self.record(method=method, args=args, result=done.get("error", "ok"), ts=done.get("ts", ""))
        return answer(status, done, headers)

    def _refusal(self, method: str, token: str) -> str:
        if not token:
            return "not_authed"
        if token != TOKEN:
            return "invalid_auth"
        if self._refusals and self._refusals[0][0] in {"", method}:
            return self._refusals.popleft()[1]
        return ""

    def _limited(self, method: str, args: dict[str, Any]) -> str:
        if self.per_second is None or method != "chat.postMessage":
            return ""
        recent = self._recent.setdefault(str(args.get("channel")), deque())
        now = self._clock.monotonic()
        while recent and recent[0] < now - 1:
            recent.popleft()
        if len(recent) >= self.per_second:
            return "ratelimited_429"
        recent.append(now)
        return ""

    def _call(self, method: str, args: dict[str, Any]) -> dict[str, Any]:
        if method == "auth.test":
            return {"ok": True, "user_id": BOT, "team": "fake", "url": self.url}
        calls = {
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._read,
        }
        manages = {
            "conversations.create": self._create, "conversations.list": self._list,
            "conversations.setTopic": self._topic, "conversations.invite": self._invite,
            "conversations.archive": self._archive,
        }  # fmt: skip
        if method in manages:
            return manages[method](args)
        if method not in calls:
            return {"ok": False, "error": "unknown_method"}
        if method != "conversations.history" and (error := content_problem(args)):
            return {"ok": False, "error": error}
        by_id_only = method != "chat.postMessage"
        channel = (
            self.channels.get(args.get("channel", ""))
            if by_id_only
            else self._channel(args.get("channel", ""))
        )
        if channel is None or not channel.member or channel.archived:
            closed = "is_archived" if channel is not None and channel.archived else "not_in_channel"
            return {"ok": False, "error": closed if channel is not None else "channel_not_found"}
        return calls[method](channel, args)

    # --- channels -------------------------------------------------------------------------------------

    def _create(self, args: dict[str, Any]) -> dict[str, Any]:
        name = args.get("name", "")
        if "channels:manage" not in self.scopes:
            return {"ok": False, "error": "missing_scope", "needed": "channels:manage"}
        if not 0 < len(name) <= 80 or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
            return {"ok": False, "error": "invalid_name_specials" if name else "invalid_name_required"}
        if name != name.lower():
            return {"ok": False, "error": "invalid_name"}
        if self._channel(name) is not None:
            return {"ok": False, "error": "name_taken"}
        made = self.add_channel(f"C0MADE{len(self.channels)}", name)
        return {"ok": True, "channel": {"id": made.id, "name": name}}

    def _list(self, args: dict[str, Any]) -> dict[str, Any]:
        if "channels:read" not in self.scopes:
            return {"ok": False, "error": "missing_scope", "needed": "channels:read"}
        shown = [{"id": c.id, "name": c.name} for c in self.channels.values() if not c.archived]
        begin, most = int(args.get("cursor") or 0), min(int(args.get("limit", 100)), self.page)
        after = str(begin + most) if len(shown) > begin + most else ""
        page = {"channels": shown[begin : begin + most], "response_metadata": {"next_cursor": after}}
        return {"ok": True, **page}

    def _topic(self, args: dict[str, Any]) -> dict[str, Any]:
        self.channels[args["channel"]].topic = args["topic"]
        return {"ok": len(args["topic"]) <= 250, "error": "too_long"}

    def _invite(self, args: dict[str, Any]) -> dict[str, Any]:
        known = {"U0ANA", "U0BO"}
        users = set(args["users"].split(","))
        if users - known:
            return {"ok": False, "error": "user_not_found"}
        self.channels[args["channel"]].invited |= users
        return {"ok": True}

    def _archive(self, args: dict[str, Any]) -> dict[str, Any]:
        self.channels[args["channel"]].archived = True
        return {"ok": True}

    def _channel(self, name: str) -> Channel | None:
        found = (c for c in self.channels.values() if name in {c.id, c.name, f"#{c.name}"})
        return next(found, None)

    def _post(self, channel: Channel, args: dict[str, Any]) -> dict[str, Any]:
        self._ts += 1
        ts, thread = f"{self._ts}.000100", args.get("thread_ts", "")
        blocks, metadata = args.get("blocks") or [], args.get("metadata") or {}
        message = Message(channel.id, ts, args.get("text", ""), blocks, metadata, thread)
        if thread:
            parent = next((m for m in channel.messages if m.ts == thread), None)
            if parent is None:
                return {"ok": False, "error": "thread_not_found"}
            parent.replies.append(message)
        else:
            channel.messages.append(message)
        return {"ok": True, "channel": channel.id, "ts": ts, "message": message.shown(metadata=False)}

    def _update(self, channel: Channel, args: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(args.get("ts"), str):
            return {"ok": False, "error": "invalid_arguments"}
        message = next((m for m in channel.messages if m.ts == args["ts"]), None)
        if message is None:
            return {"ok": False, "error": "message_not_found"}
        if message.user != BOT:
            return {"ok": False, "error": "cant_update_message"}
        message.edits.append(message.text)
        message.text = args.get("text", "")
        if "blocks" in args:  # left out, they stay
            message.blocks = args["blocks"]
        return {"ok": True, "channel": channel.id, "ts": message.ts, "text": message.text}

    def _read(self, channel: Channel, args: dict[str, Any]) -> dict[str, Any]:
        if "channels:history" not in self.scopes:
            return {"ok": False, "error": "missing_scope", "needed": "channels:history"}
        limit = int(args.get("limit", 100))
        metadata = args.get("include_all_metadata") in TRUE
        newest = list(reversed(channel.messages))[:limit]
        return {"ok": True, "messages": [m.shown(metadata=metadata) for m in newest], "has_more": False}


def units(text: str) -> int:
    """Return the length as Slack's Java and JavaScript count it: in UTF-16."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def content_problem(args: dict[str, Any]) -> str:
    """Return the error that Slack has for a message's text and blocks, or ""."""
    text, blocks = args.get("text") or "", args.get("blocks") or []
    if not text and not blocks:
        return "no_text"
    if units(text) > 40_000:
        return "msg_too_long"
    if not isinstance(blocks, list) or len(blocks) > 50:
        return "invalid_blocks"
    if any(not block_ok(block) for block in blocks):
        return "invalid_blocks"
    return "msg_blocks_too_long" if units(json.dumps(blocks, ensure_ascii=False)) > MAX_BLOCKS_TOTAL else ""


def block_ok(block: Any) -> bool:
    """Tell whether a block keeps to its limits; knows those kinds that the product uses."""
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "divider":
        return True
    if kind == "header":
        return text_ok(block.get("text"), 150)
    if kind == "section":
        fields = block.get("fields", [])
        body = text_ok(block["text"], 3000) if "text" in block else bool(fields)
        return body and len(fields) <= 10 and all(text_ok(f, 2000) for f in fields)
    if kind == "actions":
        elements = block.get("elements", [])
        names = {e.get("action_id") for e in elements}
        return 0 < len(elements) <= 25 and len(names) == len(elements) and all(map(button_ok, elements))
    if kind == "context":
        elements = block.get("elements", [])
        return 0 < len(elements) <= 10 and all(text_ok(e, math.inf) for e in elements)
    return False


def button_ok(button: Any) -> bool:
    """Tell whether a button keeps to its limits, and a question before it, too."""
    if button.get("type") != "button" or not 0 < len(str(button.get("action_id", ""))) <= 255:
        return False
    plain = button.get("text", {}).get("type") == "plain_text" and text_ok(button["text"], 75)
    if (
        not plain
        or len(button.get("value", "")) > 2000
        or button.get("style") not in {None, "primary", "danger"}
    ):
        return False
    asks = button.get("confirm")
    limits = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
    return asks is None or all(text_ok(asks.get(name), limit) for name, limit in limits.items())


def text_ok(text: Any, limit: float) -> bool:
    """Tell whether a text object is one, not empty and not too long."""
    if not isinstance(text, dict) or text.get("type") not in {"mrkdwn", "plain_text"}:
        return False
    return isinstance(text.get("text"), str) and 0 < units(text["text"]) <= limit


if __name__ == "__main__":
    run(FakeSlack, "A Slack for tests")
