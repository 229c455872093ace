"""/api/v1: who may ask what, and what needs no file of its own.

Bearer tokens; with none configured the API is open while the router listens on loopback
and closed on any other address. While it is open, requests must name a loopback host: a
web page whose name was pointed at 127.0.0.1 (DNS rebinding) names its own. A POST must be
JSON, so that no web page can send one from a browser without being asked (CORS preflight).
"""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from aiohttp import web

from router.decide import senders
from router.model.errors import Rejected
from router.web import openapi, shapes, shapes_deploys, views
from router.web.answers import answer, known, limit
from router.web.operations import LIMIT, Handler, Operation, Param, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.ports import Reader
    from router.web.tap import Tap


class Access(NamedTuple):
    """Who may use the API: the tokens with what each allows, and whether it is open where there are none."""

    tokens: Sequence[tuple[bytes, frozenset[Scope]]]
    open: bool


class Part(Protocol):
    """Handlers in a file of their own."""

    def operations(self) -> list[Operation]:
        """Return what can be done there."""


class Api:
    """The handlers that need no file of their own, and the guard of all."""

    def __init__(
        self, reader: Reader, tap: Tap, parts: Sequence[Part], banner: Callable[[], str], access: Access
    ) -> None:
        self._reader, self._tap, self._parts, self._banner = reader, tap, parts, banner
        self._tokens, self._open = access

    def operations(self) -> list[Operation]:
        """Return all that the API can do."""
        base = "/api/v1"
        source = Param("source", "Only of this source.", {"type": "string"})
        own = [
            Operation(
                "GET", f"{base}/changes", self.changes,
                "List pushes, merges, pipelines, tags, releases and feature flags, the newest first.",
                {200: shapes_deploys.Changes}, refusals=(400,), query=(LIMIT,),
            ),
            Operation(
                "GET", f"{base}/decisions", self.decisions,
                "List what was decided lately, of which incident and why, the newest first.",
                {200: shapes.Decisions}, query=(LIMIT,),
            ),
            Operation(
                "GET", f"{base}/deliveries", self.deliveries,
                "Follow authentic deliveries, each a line of JSON.", {200: None}, query=(source,),
            ),
            Operation(
                "GET", f"{base}/senders", self.senders, "List who sends, and what is wrong with it.",
                {200: shapes.Senders},
            ),
            Operation(
                "GET", f"{base}/status", self.status, "Show how much waits where.", {200: shapes.Status}
            ),
            Operation(
                "GET", f"{base}/openapi.json", self.openapi, "Show this document.", {200: dict[str, Any]}
            ),
        ]  # fmt: skip
        return own + [operation for part in self._parts for operation in part.operations()]

    def routes(self) -> list[web.RouteDef]:
        """Return the paths, each guarded by its scope."""
        return [web.route(o.method, o.path, self._guarded(o)) for o in self.operations()]

    def _guarded(self, operation: Operation) -> Handler:
        async def call(request: web.Request) -> web.StreamResponse:
            self._authorise(request, operation.scope)
            return await operation.handler(request)

        return call

    def _authorise(self, request: web.Request, scope: Scope) -> None:
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
        matches = [scopes for known_, scopes in self._tokens if hmac.compare_digest(given, known_)]
        if scheme.lower() != "bearer" or not matches:
            raise Rejected(401, "bad_token", "send Authorization: Bearer <token>, one of ROUTER_API_TOKENS")
        if not any(scope in scopes for scopes in matches):
            text = f"this token does not allow it: it needs the scope {scope}"
            raise Rejected(403, "missing_scope", text)

    async def openapi(self, request: web.Request) -> web.Response:
        """Show the OpenAPI document."""
        known(request, set())
        return answer(openapi.document(self.operations()))

    async def changes(self, request: web.Request) -> web.Response:
        """List changes (pushes, merges, pipelines, tags, releases, feature flags), newest first."""
        known(request, {"limit"})
        found = await self._reader.changes(limit=limit(request))
        return answer({"changes": [views.change(service, c) for service, c in found]})

    async def decisions(self, request: web.Request) -> web.Response:
        """List the last lines of timelines, newest first."""
        known(request, {"limit"})
        found = await self._reader.decisions(limit=limit(request))
        return answer({"decisions": [views.decision(group, entry) for group, entry in found]})

    async def deliveries(self, request: web.Request) -> web.StreamResponse:
        """Send every authentic delivery of this process as a line of JSON, as it comes; ``source``."""
        known(request, {"source"})
        return await self._tap.handle(request, request.query.get("source", ""))

    async def senders(self, request: web.Request) -> web.Response:
        """List who sends, when each was last heard, and what is wrong with it."""
        known(request, set())
        notes, told = senders.split(await self._reader.sender_notes())
        return answer({"senders": [views.sender(name, note, told) for name, note in sorted(notes.items())]})

    async def status(self, request: web.Request) -> web.Response:
        """Show how much waits where."""
        known(request, set())
        banner = self._banner()
        return answer({**({"banner": banner} if banner else {}), "depths": await self._reader.depths()})


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
