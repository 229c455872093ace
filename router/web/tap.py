"""Who listens to deliveries as they come: ``GET /api/v1/deliveries``, one JSON line each.

The form is that of a recorded day: ``{"at", "path", "headers", "body"}``, with the secrets taken out of
headers (only harmless ones are kept) and of the body. Nothing is stored: who listens too slowly
misses lines, and is told how many; who does not read at all is let go, so that its place is free.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import web

from router.kit.scrub import scrub
from router.model.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from prometheus_client import Gauge

    from router.model.deliveries import Manners

#: Lines that may wait for one listener.
_WAITING: Final = 200
#: Listeners at once: each costs the scrubbing of every delivery.
_LISTENERS: Final = 8
#: An empty line now and then shows both sides that the other still lives.
_KEEPALIVE_S: Final = 15.0
_MOST_BODY: Final = 1 << 20
#: A line that a listener has not taken in this time is its last.
_WRITE_S: Final = 5.0


class _Listener:
    def __init__(self, source: str, transport: asyncio.Transport | None = None) -> None:
        self.source = source
        self.lines: asyncio.Queue[bytes | None] = asyncio.Queue(_WAITING)
        self.missed = 0
        self._transport = transport
        self._writing = False

    async def write(self, response: web.StreamResponse, line: bytes, limit_s: float) -> None:
        """Send a line; the connection of a listener that does not take it in time is cut.

        Raises:
            ConnectionError: it has gone, or was let go.
        """
        self._writing = True
        try:
            async with asyncio.timeout(limit_s):
                await response.write(line)
        except TimeoutError:
            self._cut()
            raise ConnectionAbortedError from None
        finally:
            self._writing = False

    def end(self) -> None:
        """Let it go now: what waits for it is dropped, and what it does not take is not waited for."""
        while not self.lines.empty():
            self.lines.get_nowait()
        self.missed = 0
        self.lines.put_nowait(None)
        if self._writing:
            self._cut()

    def _cut(self) -> None:
        # Closing would first send what is buffered, for which it would wait for ever.
        if self._transport is not None:
            self._transport.abort()


class Tap:
    """The listeners of one process; each has ``write_s`` seconds to take a line."""

    def __init__(self, listening: Gauge | None = None, write_s: float = _WRITE_S) -> None:
        self._listeners: set[_Listener] = set()
        self._gauge = listening
        self._write_s = write_s
        self._closed = False

    def saw(
        self, source: str, manners: Manners, headers: Mapping[str, str], body: bytes, at: datetime
    ) -> None:
        """Hand an authentic delivery to those who listen; costs nothing while nobody does."""
        wanted = [one for one in self._listeners if one.source in {"", source}]
        if not wanted:
            return
        line = _line(source, manners.kept(headers), body, at)
        for one in wanted:
            try:
                one.lines.put_nowait(line)
            except asyncio.QueueFull:
                one.missed += 1

    def close(self) -> None:
        """Let every listener go, and whoever comes later: the router is stopping."""
        self._closed = True
        for one in self._listeners:
            one.end()

    @contextlib.contextmanager
    def _listening(self, source: str, transport: asyncio.Transport | None = None) -> Iterator[_Listener]:
        if len(self._listeners) >= _LISTENERS:
            raise Rejected(503, "too_many_listeners", f"{_LISTENERS} captures are running already")
        one = _Listener(source, transport)
        self._listeners.add(one)
        self._count()
        if self._closed:
            one.end()
        try:
            yield one
        finally:
            self._listeners.discard(one)
            self._count()

    def _count(self) -> None:
        if self._gauge is not None:
            self._gauge.set(len(self._listeners))

    async def handle(self, request: web.Request, source: str) -> web.StreamResponse:
        """Send lines until the client goes away or the router stops."""
        with self._listening(source, request.transport) as one:
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):
                await one.write(response, b"\n", self._write_s)  # the client learns that it is listening
                while (line := await _next(one)) is not None:
                    await one.write(response, line, self._write_s)
            return response


async def _next(one: _Listener) -> bytes | None:
    if one.missed:
        missed, one.missed = one.missed, 0
        return msgspec.json.encode({"missed": missed}) + b"\n"
    try:
        async with asyncio.timeout(_KEEPALIVE_S):
            return await one.lines.get()
    except TimeoutError:
        return b"\n"


def _line(source: str, headers: Mapping[str, str], body: bytes, at: datetime) -> bytes:
    text = scrub(body[:_MOST_BODY], headers.get("content-type", ""))
    record: dict[str, Any] = {"at": at, "path": f"/webhooks/{source}", "headers": headers}
    try:
        if _is_json(text):
            record["body"] = msgspec.Raw(msgspec.json.format(text, indent=-1))  # one line
        else:
            record["body"] = text.decode()
    except ValueError:
        record["body_base64"] = text
    return msgspec.json.encode(record) + b"\n"


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return False
    return text[:1] in b"{["
