"""What the vendors' stand-ins share: start and stop on one port, faults on demand, a history on disk.

Faults are taken in this order for each request: hang, a failure, and after the
request was processed a dropped connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from aiohttp import web

from router.kit.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_BODY = 4 << 20


@dataclass
class Fault:
    """One answer that a vendor gives instead of doing its work."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    content_type: str = "application/json"


class FakeServer:
    """One vendor on 127.0.0.1; a subclass gives ``handle`` and says which paths it serves."""

    prefix = ""

    def __init__(self, port: int = 0, history: str = "") -> None:
        self.port = port
        self.requests: list[str] = []
        self._runner: web.AppRunner | None = None
        self._faults: deque[Fault] = deque()
        self._drops = 0
        self._open = asyncio.Event()
        self._open.set()
        self._arrived = asyncio.Condition()
        self._history: TextIO | None = None
        if history:
            self._history = Path(history).open("a", encoding="utf-8")  # noqa: SIM115  closed in close()
        self._clock = SystemClock()
        self._count = 0

    @property
    def url(self) -> str:
        """The base URL to give to the notifier."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    async def start(self) -> None:
        """Listen; after a stop, on the same port and with the same state."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port: connections are refused from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def close(self) -> None:
        """Stop for good."""
        self.release()
        await self.stop()
        if self._history is not None:
            self._history.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- faults ---------------------------------------------------------------------------------

    def fail_next(
        self,
        status: int,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        content_type: str = "application/json",
    ) -> None:
        """Answer the next requests with this status, without processing them."""
        self._faults.extend([Fault(status, headers or {}, body, content_type)] * times)

    def hang(self) -> None:
        """Read requests and answer none until ``release``; then they are processed."""
        self._open.clear()

    def release(self) -> None:
        """Go on after ``hang``."""
        self._open.set()

    def hold(self) -> Callable[[], None]:
        """After ``hang``: keep what waits now, serve what comes from now on; returns what lets it go."""
        waiting, self._open = self._open, asyncio.Event()
        self._open.set()
        return waiting.set

    def drop_after_processing(self, times: int = 1) -> None:
        """Process the next requests, then close the connection without an answer."""
        self._drops += times

    async def arrived(self, count: int, seconds: float = 5.0) -> None:
        """Wait until so many requests have arrived in all."""
        async with asyncio.timeout(seconds), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)

    # --- serving --------------------------------------------------------------------------------

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Do what the vendor does with one request."""
        raise NotImplementedError

    def record(self, **line: Any) -> None:
        """Write one line of history, flushed, so that a killed process leaves it whole."""
        if self._history is not None:
            at = self._clock.now().isoformat()
            self._history.write(json.dumps({"n": self._count, "at": at, **line}) + "\n")
            self._history.flush()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = "/" + request.match_info["path"]
        async with self._arrived:
            self._count += 1
            self.requests.append(path)
            self._arrived.notify_all()
        await self._open.wait()
        if self._faults:
            fault = self._faults.popleft()
            return web.Response(
                status=fault.status, headers=fault.headers, text=fault.body, content_type=fault.content_type
            )
        response = await self.handle(path, request, body)
        if self._drops:
            self._drops -= 1
            if request.transport is not None:
                request.transport.abort()
        return response


def answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.json_response(body, status=status, headers=headers)


def run(make: type[FakeServer], description: str) -> None:
    """Run a stand-in as a process of its own until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--history", default="", help="file to write one JSON line per event to")
    given = parser.parse_args()

    async def serve() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        async with make(given.port, given.history) as server:
            print(server.url, flush=True)
            await ended.wait()

    asyncio.run(serve())
