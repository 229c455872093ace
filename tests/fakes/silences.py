"""A store of silences in memory, a reader of what they mute, and the API of silences over both."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from aiohttp import web

from router.model import codec
from router.model.errors import StoreUnavailable
from router.model.silences import Silence, SilenceMatcher
from router.web.problems import errors
from router.web.silences import Silences
from tests.fakes.samples import ONSET, ManualClock, incident

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from router.model.incidents import Incident
    from router.ports import Clock

START = ONSET + timedelta(seconds=1000)  # of a ManualClock
PAYMENTS = SilenceMatcher("service", "payment-service")


def silence(silence_id: str = "s1", **changes: Any) -> Silence:
    """Return a silence from START on, for two hours."""
    base = Silence(
        id=silence_id,
        matchers=(PAYMENTS,),
        starts_at=START,
        ends_at=START + timedelta(hours=2),
        created_by="ana",
        comment="load test",
        updated_at=START,
    )
    return msgspec.structs.replace(base, **changes)


def muted_by(*silence_ids: str, **changes: Any) -> Incident:
    """Return an open incident that these silences mute."""
    return incident(muted=3, muted_by=tuple(f"silence:{i}" for i in silence_ids), **changes)


class MemorySurroundings:
    """What the store has of silences; ``down``: it does not answer."""

    def __init__(self, *found: Silence) -> None:
        self.kept: dict[str, bytes] = {s.id: codec.encode(s) for s in found}
        self.down = False
        self.writes: list[list[str]] = []

    async def silences(self) -> dict[str, bytes]:
        if self.down:
            raise StoreUnavailable("down")
        return dict(self.kept)

    async def put_report(self, report: bytes) -> None:
        self.reported = report

    async def report(self) -> bytes:
        return getattr(self, "reported", b"")

    async def put_silences(self, changes: Mapping[str, bytes | None]) -> None:
        if self.down:
            raise StoreUnavailable("down")
        self.writes.append(sorted(changes))
        for name, raw in changes.items():
            if raw is None:
                self.kept.pop(name, None)
            else:
                self.kept[name] = raw

    def __getitem__(self, silence_id: str) -> Silence:
        return codec.silence(self.kept[silence_id])


class MutedReader:
    """Shows the incidents that a test puts here."""

    def __init__(self, *heads: Incident) -> None:
        self.heads = list(heads)
        self.down = False

    async def muted(self) -> list[Incident]:
        if self.down:
            raise StoreUnavailable("down")
        return self.heads


@dataclass
class SilenceRoom:
    """All that the handlers are wired to."""

    shared: MemorySurroundings = field(default_factory=MemorySurroundings)
    reader: MutedReader = field(default_factory=MutedReader)
    clock: Clock = field(default_factory=ManualClock)
    refreshed: int = 0
    refresh_fails: bool = False
    port: int = 0
    asked: list[str] = field(default_factory=list)

    async def refresh(self) -> None:
        self.refreshed += 1
        if self.refresh_fails:
            raise StoreUnavailable("down")

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Serve on a loopback port, with problems as the application answers them; yields a client."""

        @web.middleware
        async def note(request: web.Request, handler: Any) -> web.StreamResponse:
            self.asked.append(f"{request.method} {request.rel_url}")
            return await handler(request)

        app = web.Application(middlewares=[note, errors(lambda _: None)])
        silences = Silences(self.shared, self.reader, self.clock, self.refresh)
        app.add_routes([web.route(o.method, o.path, o.handler) for o in silences.operations()])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}") as session:
                yield session
        finally:
            await runner.cleanup()
