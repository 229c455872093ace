"""Feeds one scenario to the running product over HTTP, and reads what it thinks from its API.

The product is the whole router as ``router serve`` composes it, with its embedded store; only its clock
is ours. Time stands still while it works, and moves to its next wake-up or to the next request, whichever
comes first, so that a week takes minutes and the same scenario gives the same verdicts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp

from router import settings
from router.app import App
from router.kit.clock import SystemClock
from router.model.errors import ConfigError
from router.model.incidents import SUSPECTED
from tests.eval import scenario
from tests.waiting import NotYet, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

#: After the last request, until what was begun has ended.
AFTERWARDS = timedelta(hours=2)
#: So much real time without coming to rest is a defect, of whichever side.
PATIENCE_S = 30.0
_PAGE = 200


class DrivenClock(SystemClock):
    """Wall time is what the run says; the monotonic clock, by which leases live, is the machine's."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        return self.at


class Failure(Exception):  # noqa: N818  the end of a run, in words
    """The run cannot go on: what happened, in one line."""


class Run:
    """One scenario in one router."""

    def __init__(self, apps: list[App], clock: DrivenClock, session: aiohttp.ClientSession) -> None:
        self.apps, self.clock, self.session = apps, clock, session
        self.bases = [f"http://127.0.0.1:{app.port}" for app in apps]
        self.sent = self.refused = 0
        self.known: dict[str, dict[str, Any]] = {}
        self._stamp: dict[str, tuple[Any, ...]] = {}
        self._deploys: dict[str, dict[str, Any]] = {}
        self._quiet = 0

    # --- time -------------------------------------------------------------------------------------

    async def until(self, at: datetime) -> None:
        """Let time pass: what is to happen until then happens at its own time."""
        while (due := self._next()) is not None and due <= at:
            self.clock.at = max(self.clock.at, due)
            await self._calm()
        self.clock.at = max(self.clock.at, at)

    def _next(self) -> datetime | None:
        partitions = [p for app in self.apps for p in app.engine.partitions.values()]
        return min((t for p in partitions if (t := p.next_timer()) is not None), default=None)

    async def _calm(self) -> None:
        """Wait until nothing is left to do now; every process then knows what the others wrote."""
        self._quiet = 0
        for app in self.apps:
            app.engine.nudge()
        try:
            await until(self._at_rest, "the router is at rest", PATIENCE_S, every=0.0003)
        except NotYet:
            busy = [
                f"{n}: {len(app.engine.partitions)} partitions, engine "
                f"{'idle' if app.engine.idle else 'busy'}, deliveries "
                f"{'idle' if app.deliveries.idle else 'busy'}"
                for n, app in enumerate(self.apps)
            ]
            at, due = self.clock.at, self._next()
            text = f"the router does not come to rest at {at} (next {due}; {'; '.join(busy)})"
            raise Failure(text) from None
        if len(self.apps) > 1:
            for app in self.apps:
                await app.lookout.refresh()

    async def _at_rest(self) -> bool:
        """Return whether nothing was left to do at two looks, one after the other."""
        due = self._next()
        rest = all(app.engine.idle and app.deliveries.idle for app in self.apps)
        rest = rest and (due is None or due > self.clock.at)
        self._quiet = self._quiet + 1 if rest and (len(self.apps) == 1 or await self._nothing_stored()) else 0
        if rest and self._quiet < 2:
            for app in self.apps:
                app.engine.nudge()
        return self._quiet > 1

    async def _nothing_stored(self) -> bool:
        depths = (await self._get("/api/v1/status"))["depths"]
        return not (depths["inbox_urgent"] or depths["inbox_normal"] or depths["due"])

    # --- HTTP -------------------------------------------------------------------------------------

    async def post(self, request: scenario.Request) -> None:
        """Send one request at its time; a refusal is counted, as its sender would have it."""
        await self.until(request.at)
        base = self.bases[self.sent % len(self.bases)]
        headers = {"Content-Type": "application/json", **request.headers}
        async with self.session.post(base + request.path, data=request.body, headers=headers) as answer:
            await answer.read()
            self.refused += answer.status >= 400
        self.sent += 1
        await self._calm()
        if "gitlab" not in request.path:
            await self.look()

    async def _get(self, path: str) -> dict[str, Any]:
        async with self.session.get(self.bases[0] + path) as answer:
            found: dict[str, Any] = await answer.json()
            if answer.status != 200:
                raise Failure(f"GET {path}: {answer.status} {found}")
            return found

    # --- what it thinks ---------------------------------------------------------------------------

    async def look(self, *, everything: bool = False) -> None:
        """Read the incidents that changed."""
        after = ""
        while True:
            page = await self._get(
                f"/api/v1/incidents?state=all&limit={_PAGE}" + (f"&after={quote(after)}" if after else "")
            )
            for one in page["incidents"]:
                stamp = (one["updated_at"], one["state"], one["firing"], one["resolved"])
                if self._stamp.get(one["id"]) != stamp or everything:
                    self._stamp[one["id"]] = stamp
                    self._keep(found := await self._get(f"/api/v1/incidents/{one['id']}"))
                    for each in found["suspects"]:
                        await self._deploy(f"{each['service']}/{each['deploy']}")
            after = page.get("after", "")
            if not after or not everything:
                return

    def _keep(self, one: dict[str, Any]) -> None:
        """Keep an incident; alerts that went on to a later incident are still those of this one."""
        old = self.known.get(one["id"], {}).get("alerts", [])
        alerts = {(a["fingerprint"], a["startsAt"]): a for a in (*old, *one["alerts"])}
        paged = any(d["lane"] == "page" and d["confirmed"] for d in one["destinations"].values())
        paged = paged or bool(self.known.get(one["id"], {}).get("paged"))
        self.known[one["id"]] = one | {"alerts": list(alerts.values()), "paged": paged}

    async def answers(self) -> dict[str, Any]:
        """Return all that it thinks, and when it came to think so."""
        await self.look(everything=True)
        found = [await self._answer(one) for one in self.known.values()]
        found.sort(key=lambda one: (one["opened_at"], one["id"]))
        return {"incidents": found, "threshold": SUSPECTED, "sent": self.sent, "refused": self.refused}

    async def _answer(self, one: dict[str, Any]) -> dict[str, Any]:
        verdicts = [
            {"at": each["at"], "suspects": [await self._suspect(s) for s in each["suspects"]]}
            for each in one["assessments"]
        ]
        return {
            "id": one["id"], "service": one["service"], "environment": one["environment"],
            "team": one["team"], "opened_at": one["opened_at"], "resolved_at": one["resolved_at"],
            "alerts": sorted([a["fingerprint"], a["startsAt"]] for a in one["alerts"]),
            "paged": one["paged"], "group": one["merged_into"] or one["id"], "verdicts": verdicts,
            "reasons": one["suspects"],
        }  # fmt: skip

    async def _deploy(self, key: str) -> dict[str, Any]:
        """Return a deploy that is suspected, read while it is remembered."""
        service, _, name = key.partition("/")
        with contextlib.suppress(Failure):
            path = f"/api/v1/deploys/{quote(service, safe='')}/{quote(name)}"
            self._deploys[key] = await self._get(path)
        return self._deploys.get(key) or {"service": service, "environment": "", "names": [], "phases": {}}

    async def _suspect(self, likely: dict[str, Any]) -> dict[str, Any]:
        key = likely["deploy"]
        deploy = self._deploys.get(key) or await self._deploy(key)
        phases = deploy["phases"]
        at = phases.get("switched") or phases.get("live") or min(phases.values(), default=None)
        return {
            "service": deploy["service"], "environment": deploy["environment"], "names": deploy["names"],
            "at": at, "probability": likely["probability"],
        }  # fmt: skip


@contextlib.asynccontextmanager
async def _routers(folder: Path, clock: DrivenClock, workers: int) -> AsyncIterator[list[App]]:
    env = {
        "ROUTER_LISTEN": "127.0.0.1:0", "ROUTER_RULES": str(folder / "rules"), "ROUTER_LOG_LEVEL": "error",
        "ROUTER_DATA_DIR": str(folder / "data"), "ROUTER_RETENTION_DAYS": "365",
        "ROUTER_LEASE_SECONDS": "2" if workers > 1 else "30",
    }  # fmt: skip
    apps: list[App] = []
    try:
        for n in range(workers):
            more = {} if not n else {"ROUTER_REDIS_URL": apps[0].server.url if apps[0].server else ""}
            more |= {"ROUTER_INSTANCE": f"eval-{n}", "ROUTER_DATA_DIR": str(folder / f"data{n}")}
            app = App(settings.load(env | more), env | more, clock)
            apps.append(app)
            await app.start()
        await _shared_out(apps)
        yield apps
    finally:
        for app in reversed(apps):
            await app.stop()


async def _shared_out(apps: list[App]) -> None:
    """Wait until every partition has an owner, and every process its share."""
    whole = apps[0].settings.partitions

    def shared() -> bool:
        held = [len(app.engine.partitions) for app in apps]
        return sum(held) == whole and max(held) <= -(-whole // len(apps))

    try:
        await until(shared, "partitions are shared out", PATIENCE_S)
    except NotYet as exc:
        raise Failure(str(exc)) from None


async def run(
    folder: Path, *, workers: int = 1, say: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Return the answers to one scenario."""
    requests = list(scenario.events(folder))
    services = scenario.read(folder, "services.json")
    start = requests[0].at if requests else datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    clock = DrivenClock(start - timedelta(minutes=1))
    memory = Path("/dev/shm")  # noqa: S108  a disk's waits for every commit would be most of the run
    home = Path(tempfile.mkdtemp(prefix="ir-eval-", dir=memory if os.access(memory, os.W_OK) else None))
    try:
        scenario.write_rules(home / "rules", services, scenario.environments(requests))
        async with _routers(home, clock, workers) as apps, aiohttp.ClientSession() as session:
            one = Run(apps, clock, session)
            for n, request in enumerate(requests, 1):
                await one.post(request)
                if n % 200 == 0:
                    say(n)
            await one.until(clock.at + AFTERWARDS)
            return await one.answers()
    except ConfigError as exc:
        raise Failure(f"{folder}: the catalogue makes no rules: {exc}"[:500]) from None
    finally:
        shutil.rmtree(home, ignore_errors=True)
