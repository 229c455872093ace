"""GET and POST /api/v1: what is open, what happened, and a person's acknowledge or resolve.

Bearer tokens; with none configured the API is open while the router listens on loopback
and closed on any other address. While it is open, requests must name a loopback host: a
web page whose name was pointed at 127.0.0.1 (DNS rebinding) names its own. A POST must be
JSON, so that no web page can send one from a browser without being asked (CORS preflight).
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from router.decide import senders
from router.model.errors import Rejected
from router.model.events import Command, CommandKind
from router.model.keys import digest, split_incident_id
from router.web import bodies, views
from router.web.answers import answer, known, limit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from router.ports import Clock, Intake, Reader
    from router.web.letters import Letters
    from router.web.rules import Rules
    from router.web.silences import Silences
    from router.web.tap import Tap

R = TypeVar("R", bound=web.StreamResponse)
_Handler: TypeAlias = "Callable[[web.Request], Awaitable[R]]"

#: Far more than an act needs.
_ACT_BYTES = 64 << 10


class _Act(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an act. ``id``: the client's own, so that a repeated request counts once."""

    by: str = "api"
    note: str = ""
    id: str = ""


class Access(NamedTuple):
    """Who may use the API: the tokens, and whether it is open where there are none."""

    tokens: Sequence[bytes]
    open: bool


class Parts(NamedTuple):
    """Handlers in files of their own."""

    letters: Letters
    rules: Rules
    silences: Silences


class Api:
    """The handlers."""

    def __init__(
        self, reader: Reader, intake: Intake, clock: Clock, tap: Tap, parts: Parts, access: Access
    ) -> None:
        self._reader, self._intake, self._clock, self._tap = reader, intake, clock, tap
        self._parts = parts
        self._tokens, self._open = access

    def routes(self) -> list[web.RouteDef]:
        """Return the paths."""
        g, p = web.get, web.post
        return [
            g("/api/v1/incidents", self._guarded(self.incidents)),
            g("/api/v1/incidents/{id}", self._guarded(self.incident)),
            p("/api/v1/incidents/{id}/{act:acknowledge|resolve}", self._guarded(self.act)),
            g("/api/v1/deploys", self._guarded(self.deploys)),
            g("/api/v1/changes", self._guarded(self.changes)),
            g("/api/v1/deliveries", self._guarded(self.deliveries)),
            g("/api/v1/senders", self._guarded(self.senders)),
            g("/api/v1/status", self._guarded(self.status)),
            *(
                web.route(r.method, r.path, self._guarded(r.handler))
                for part in self._parts
                for r in part.routes()
            ),
        ]

    def _guarded(self, handler: _Handler[R]) -> _Handler[R]:
        async def call(request: web.Request) -> R:
            self._authorise(request)
            return await handler(request)

        return call

    def _authorise(self, request: web.Request) -> None:
        if not self._tokens:
            if not self._open:
                raise Rejected(
                    403, "api_closed", "no API token is configured (ROUTER_API_TOKENS), so the API is closed"
                )
            if not _names_loopback(request.host):
                raise Rejected(
                    403,
                    "foreign_host",
                    "without API tokens only requests to a loopback address or localhost are answered;"
                    " set ROUTER_API_TOKENS to be reached by another name",
                )
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(given, t) for t in self._tokens]
        if scheme.lower() != "bearer" or not any(matches):
            raise Rejected(401, "bad_token", "send Authorization: Bearer <token>, one of ROUTER_API_TOKENS")

    async def incidents(self, request: web.Request) -> web.Response:
        """List incidents, newest first; ``state=open|all``, ``limit``."""
        known(request, {"state", "limit"})
        state = request.query.get("state", "all")
        if state not in {"open", "all"}:
            raise Rejected(400, "bad_query", "state must be open or all")
        heads = await self._reader.incidents(include_closed=state == "all", limit=limit(request))
        return answer({**self._banner(), "incidents": [views.incident(h) for h in heads]})

    def _banner(self) -> dict[str, str]:
        """Return what everybody who looks must know: new rules could not be loaded."""
        banner = self._parts.rules.banner
        return {"banner": banner} if banner else {}

    async def incident(self, request: web.Request) -> web.Response:
        """Show one incident whole."""
        group, generation = _incident_id(request)
        found = await self._reader.incident(group, generation)
        if found is None:
            raise Rejected(
                404, "unknown_incident", "no such incident; it may have been forgotten after its retention"
            )
        return answer(views.incident_whole(*found))

    async def act(self, request: web.Request) -> web.Response:
        """Acknowledge or resolve; answered once it is durable, done a moment later."""
        if request.content_type != "application/json":
            raise Rejected(415, "not_json", "send Content-Type: application/json")
        group, generation = _incident_id(request)
        try:
            body = msgspec.json.decode(await bodies.read(request, _ACT_BYTES) or b"{}", type=_Act)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Rejected(400, "bad_body", f"the body must be an object with by, note, id: {exc}") from None
        if await self._reader.incident(group, generation) is None:
            raise Rejected(404, "unknown_incident", "no such incident")
        now = self._clock.now()
        kind = CommandKind(request.match_info["act"])
        own = body.id or now.isoformat()
        command = Command(
            group=group,
            generation=generation,
            kind=kind,
            by=_plain(body.by) or "api",
            at=now,
            event_id=digest(["api", group, str(generation), kind, own]),
            note=_plain(body.note),
        )
        taken = await self._intake.command(command)
        return answer({"status": "accepted", "repeated": bool(taken.repeated)}, 202)

    async def deploys(self, request: web.Request) -> web.Response:
        """List deploys, newest first."""
        known(request, {"limit"})
        return answer(
            {"deploys": [views.deploy(d) for d in await self._reader.deploys(limit=limit(request))]}
        )

    async def changes(self, request: web.Request) -> web.Response:
        """List changes (pushes, merges, pipelines, tags, releases, feature flags), newest first."""
        known(request, {"limit"})
        found = await self._reader.changes(limit=limit(request))
        return answer({"changes": [views.change(service, c) for service, c in found]})

    async def deliveries(self, request: web.Request) -> web.StreamResponse:
        """Send every authentic delivery of this process as a line of JSON, as it comes; ``source``."""
        known(request, {"source"})
        return await self._tap.handle(request, request.query.get("source", ""))

    async def senders(self, request: web.Request) -> web.Response:
        """List who sends, when each was last heard, and what is wrong with it."""
        known(request, set())
        notes, told = senders.split(await self._reader.sender_notes())
        return answer({"senders": [views.sender(name, note, told) for name, note in sorted(notes.items())]})

    async def status(self, _: web.Request) -> web.Response:
        """Show how much waits where."""
        return answer({**self._banner(), "depths": await self._reader.depths()})


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200].strip()


def _names_loopback(host: str) -> bool:
    """Return whether a Host header names this machine; ``.localhost`` never leaves it (RFC 6761)."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _incident_id(request: web.Request) -> tuple[str, int]:
    parts = split_incident_id(request.match_info["id"])
    if parts is None:
        raise Rejected(404, "unknown_incident", "an incident id looks like 7f3a9c21b04d55e0.2")
    return parts
