"""The web room on a real socket, with its collaborators played: a source, the door, the reader."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from router.app import load_rules
from router.decide.outlook import Outlook
from router.kit.metrics import Metrics
from router.model.deliveries import Manners, Reply
from router.model.errors import Rejected
from router.model.events import AlertBatch, Heartbeat, Trouble
from router.ports import DeadLetter, Page, Taken
from router.web.api import Access, Api, Part
from router.web.bodies import Limits
from router.web.deploys import Deploys
from router.web.incidents import Incidents
from router.web.letters import Letters
from router.web.operations import Scope
from router.web.reconciliation import Reconciliation
from router.web.rules import Rules
from router.web.server import Health, make_app
from router.web.silences import Silences
from router.web.tap import Tap
from router.web.webhooks import Ears, Webhooks
from tests.fakes.samples import ONSET, ManualClock, alert
from tests.fakes.silences import MemorySurroundings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import datetime

    from router.model.commands import Command
    from router.model.deploys import Change, Deploy, Ledger
    from router.model.errors import Problem
    from router.model.events import Alert, Doubt, Stored, Told, Unread
    from router.model.incidents import Entry, Incident

MAX_BODY = 4096


class PlainSource:
    """Takes a JSON list; each element is one heartbeat. Its secret travels in X-Secret."""

    kind = "plain"

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.manners = Manners(keeps=("x-event",), delivery=("x-delivery",))
        self.parsed: list[bytes] = []

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
        given = headers.get("x-secret", "").encode("utf-8", "surrogateescape")
        if given not in secrets:
            raise Rejected(401, "bad_secret", "send the secret in X-Secret")
        return list(secrets).index(given)

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        self.parsed.append(body)
        if self.fault is not None:
            raise self.fault
        try:
            words = [str(x) for x in json.loads(body)]
            return [Trouble("plain", x) if x.startswith("odd") else Heartbeat("plain", x) for x in words]
        except ValueError:
            raise Rejected(400, "bad_json", "the body is not JSON") from None


class AlertingSource(PlainSource):
    """Tells one firing alert, whatever the body."""

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        return [AlertBatch("plain", [alert(1)])]


class SpeakingSource(PlainSource):
    """Answers in its own words: ``hello`` before anything is checked, ``[...]`` after it was taken."""

    def greet(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        return Reply(200, b"hello yourself", "text/plain") if body == b"hello" else None

    def reply(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        return Reply(200, b"") if body != b"[1]" else None


class FakeDoor:
    """The door: remembers what it was given, or fails as it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.told: list[Told] = []
        self.commands: dict[str, Command] = {}
        self.taken_at: list[datetime | None] = []
        self.unreads: list[Unread] = []
        self.doubts: list[Doubt] = []
        self.agains: list[Stored] = []

    async def take(self, source: str, told: Sequence[Told], at: datetime | None = None) -> Taken:
        if self.error is not None:
            raise self.error
        self.taken_at.append(at)
        self.told += told
        return Taken(len(told), 0)

    async def command(self, command: Command) -> Taken:
        if self.error is not None:
            raise self.error
        known = command.event_id in self.commands
        self.commands.setdefault(command.event_id, command)
        return Taken(int(not known), int(known))

    async def unread(self, event: Unread) -> Taken:
        if self.error is not None:
            raise self.error
        self.unreads.append(event)
        return Taken(1, 0)

    async def doubt(self, event: Doubt) -> Taken:
        if self.error is not None:
            raise self.error
        self.doubts.append(event)
        return Taken(1, 0)

    async def again(self, event: Stored) -> Taken:
        if self.error is not None:
            raise self.error
        self.agains.append(event)
        return Taken(1, 0)


@dataclass
class FakeStanding:
    """How the rules stand."""

    version: str = "b1"
    loaded_at: datetime = ONSET
    origin: str = "folder"
    problems: Sequence[Problem] = ()
    failed_at: datetime | None = None


class FakeRules:
    """Rules in force; ``broken`` is what a reload finds wrong."""

    def __init__(self) -> None:
        self.book = load_rules(Path(__file__).resolve().parents[2] / "rules")
        self.standing = FakeStanding()
        self.broken: list[Problem] = []
        self.reloads: list[str] = []

    async def reload(self, why: str) -> list[Problem]:
        self.reloads.append(why)
        if self.broken:
            self.standing.problems, self.standing.failed_at = tuple(self.broken), ONSET
        return self.broken


class FakeLookout:
    """What surrounds groups: nothing, unless a test says so."""

    def __init__(self) -> None:
        self.outlook = Outlook()

    async def refresh(self) -> None:
        """Find nothing new."""


class FakeHearing:
    """Notes what the webhooks told it."""

    def __init__(self) -> None:
        self.noted: list[tuple[Any, ...]] = []

    def heard(self, source: str, told: Sequence[Told]) -> None:
        self.noted.append(("heard", source, len(told)))

    def turned_away(self, source: str, status: int) -> None:
        self.noted.append(("turned_away", source, status))

    def unreadable(self, source: str) -> None:
        self.noted.append(("unreadable", source))


class FakeReader:
    """The reader: shows what a test puts here, or fails as it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.whole: dict[tuple[str, int], tuple[Incident, list[Alert], list[Entry]]] = {}
        self.told_deploys: list[Deploy] = []
        self.told_ledgers: dict[str, Ledger] = {}
        self.notes: dict[str, bytes] = {}
        self.told_changes: list[tuple[str, Change]] = []
        self.letters: list[DeadLetter] = []
        self.drop_error: Exception | None = None
        self.forgotten: list[bytes] = []
        self.asked: list[dict[str, Any]] = []

    def _ask(self, **how: Any) -> None:
        if self.error is not None:
            raise self.error
        self.asked.append(how)

    async def ping(self) -> None:
        self._ask()

    async def incidents(self, *, include_closed: bool, limit: int, after: str = "") -> Page:
        self._ask(include_closed=include_closed, limit=limit, after=after)
        if after and not after.isdigit():
            raise ValueError(after)
        begin = int(after or 0)
        heads = [head for head, _, _ in self.whole.values() if include_closed or head.state.open]
        more = str(begin + limit) if len(heads) > begin + limit else ""
        return Page(heads[begin : begin + limit], more)

    async def incident(self, group: str, generation: int) -> tuple[Incident, list[Alert], list[Entry]] | None:
        self._ask(group=group, generation=generation)
        return self.whole.get((group, generation))

    async def story(self, group: str, generation: int) -> tuple[Incident, list[Entry]] | None:
        self._ask(group=group, generation=generation)
        found = self.whole.get((group, generation))
        return (found[0], found[2]) if found is not None else None

    async def decisions(self, *, limit: int) -> list[tuple[str, Entry]]:
        self._ask(limit=limit)
        found = [(group, e) for (group, _), (_, _, entries) in self.whole.items() for e in entries]
        return found[:limit]

    async def muted(self) -> list[Incident]:
        self._ask()
        return [head for head, _, _ in self.whole.values() if head.muted_by]

    async def ledgers(self, services: Sequence[str]) -> dict[str, Ledger]:
        self._ask(services=services)
        return {name: self.told_ledgers[name] for name in services if name in self.told_ledgers}

    async def deploys(self, *, limit: int) -> list[Deploy]:
        self._ask(limit=limit)
        return self.told_deploys[:limit]

    async def dead_letters(
        self, *, limit: int, kind: str = "", source: str = "", before: str = ""
    ) -> list[DeadLetter]:
        self._ask(limit=limit, kind=kind, source=source, before=before)
        return [x for x in self.letters if kind in {"", x.kind} and source in {"", x.source}][:limit]

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        self._ask(letter_id=letter_id)
        return next((x for x in self.letters if x.id == letter_id), None)

    async def drop_dead_letter(self, letter_id: str, forget: Sequence[bytes] = ()) -> bool:
        if self.drop_error is not None:
            raise self.drop_error
        self._ask(dropped=letter_id)
        self.forgotten += forget
        before = len(self.letters)
        self.letters = [x for x in self.letters if x.id != letter_id]
        return len(self.letters) < before

    async def sender_notes(self) -> dict[str, bytes]:
        self._ask()
        return self.notes

    async def changes(self, *, limit: int) -> list[tuple[str, Change]]:
        self._ask(limit=limit)
        return self.told_changes[:limit]

    async def depths(self) -> dict[str, int]:
        self._ask()
        return {"inbox_urgent": 1, "inbox_normal": 2, "due": 3, "timers": 4, "dead": 5, "open": 6}


@dataclass
class Room:
    """All that the web room is wired to; set what a test needs, then :func:`served`."""

    kind: str = "plain"
    secrets: tuple[bytes, ...] | None = ()
    tokens: tuple[bytes, ...] = ()
    scopes: dict[bytes, set[Scope]] = field(default_factory=dict)
    open_: bool = True
    body_s: float = 10.0
    not_ready: str = ""
    port: int = 0
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: Metrics = field(default_factory=Metrics)
    source: PlainSource = field(default_factory=PlainSource)
    door: FakeDoor = field(default_factory=FakeDoor)
    reader: FakeReader = field(default_factory=FakeReader)
    hearing: FakeHearing = field(default_factory=FakeHearing)
    tap: Tap = field(default_factory=Tap)
    rules: FakeRules = field(default_factory=FakeRules)
    lookout: FakeLookout = field(default_factory=FakeLookout)

    def application(self, max_body: int = MAX_BODY) -> web.Application:
        secrets = {self.kind: self.secrets}
        self.source.kind = self.kind
        sources = {self.kind: self.source}
        limits = Limits(max_body, self.body_s)
        ears = Ears(self.hearing, self.tap)
        hooks = Webhooks(sources, secrets, self.door, self.clock, self.metrics, limits, ears)
        rules = Rules(self.rules, self.lookout, self.reader, self.clock)
        parts: list[Part] = [
            Incidents(self.reader, self.door, self.clock, lambda: rules.banner),
            Letters(self.reader, self.door, sources, self.clock),
            rules,
            Silences(MemorySurroundings(), self.reader, self.clock, self.lookout.refresh),
            Reconciliation(MemorySurroundings()),
            Deploys(self.reader, self.door, self.clock, lambda: timedelta(minutes=2)),
        ]
        tokens = [(token, frozenset(self.scopes.get(token, Scope))) for token in self.tokens]
        api = Api(self.reader, self.tap, parts, lambda: rules.banner, Access(tokens, self.open_))
        health = Health(self.reader, self.metrics, lambda: self.not_ready)
        return make_app(hooks, api, health, max_body, self.tap)

    def count(self, name: str, **labels: str) -> float:
        """Return a metric's value, 0 where it was never counted."""
        return self.metrics.registry.get_sample_value(f"incident_router_{name}", labels) or 0.0


@contextlib.asynccontextmanager
async def served(room: Room, *, max_body: int = MAX_BODY) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve the room on a loopback port, as the application does; yields a client of it."""
    runner = web.AppRunner(room.application(max_body), access_log=None, handler_cancellation=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        room.port = runner.addresses[0][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{room.port}") as session:
            yield session
    finally:
        await runner.cleanup()
