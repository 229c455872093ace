"""Rules loaded anew under way: by a signal, by HTTP, by a changed file, and in every process alike."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import wait_for
from tests.flows.harness import Client, RouterProcess, alert, body, client, environ, write_rules
from tests.flows.servers import DURABLE, Fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.fakes.pagerduty import FakePagerDuty

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"


def rules(receiver: str) -> dict[str, str]:
    """Return rules under which everybody's alerts go to a receiver."""
    return {
        "routes.yaml": f"route: {{receiver: {receiver}, group_by: [alertname], group_wait: 0s}}\n",
        "receivers.yaml": "".join(
            ["receivers:\n"]
            + [
                f"  - {{name: {name}, pagerduty_configs: [{{routing_key_env: TEST_ROUTING_KEY}}]}}\n"
                for name in ("before", "after")
            ]
        ),
    }


class Pair:
    """Two routers on one store, each with a folder of rules of its own."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folders = [write_rules(folder / name, rules("before")) for name in ("a", "b")]
        self.routers = [
            RouterProcess(
                {**env, "ROUTER_RULES": str(f), "ROUTER_INSTANCE": f.name}, folder / f"{f.name}.log"
            )
            for f in self.folders
        ]

    async def asked(self, which: int, ask: Callable[[Client], Any]) -> Any:
        async with client(self.routers[which].port) as c:
            return await ask(c)

    async def rules_of(self, which: int) -> dict[str, Any]:
        status, shown = await self.asked(which, lambda c: c.get("/api/v1/rules"))
        assert status == 200
        return shown

    async def agree(self, version: str = "") -> str:
        """Wait until both have the same rules, of this version or of any."""

        async def same() -> str:
            found = {(await self.rules_of(which))["version"] for which in (0, 1)}
            return found.pop() if len(found) == 1 and (not version or version in found) else ""

        return str(await wait_for(same, f"both have the same rules {version}"))

    def write(self, which: int, receiver: str) -> None:
        """Change a folder's rules as an editor that saves in place does."""
        write_rules(self.folders[which], rules(receiver))

    async def tell(self, *names: str) -> None:
        for number, name in enumerate(names):
            told = body(alert(name, at=AT))
            status, answer = await self.asked(number % 2, lambda c, told=told: c.post(HOOK, told))
            assert status == 202, answer

    async def incident(self, name: str) -> dict[str, Any]:
        async def there() -> Any:
            shown = await self.asked(0, lambda c: c.incidents())
            return next((i for i in shown if i["title"] == name), None)

        return await wait_for(there, f"{name} is there")  # type: ignore[return-value]  what a condition gives


@pytest.fixture
async def pair(tmp_path: Path, pagerduty: FakePagerDuty) -> AsyncIterator[Pair]:
    async with Fleet(tmp_path) as fleet:
        server = await fleet.start(*DURABLE)
        env = environ(
            tmp_path,
            ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
            ROUTER_REDIS_URL=server.url,
            ROUTER_PARTITIONS="6",
            ROUTER_LEASE_SECONDS="1",
        )
        two = Pair(tmp_path, env)
        for router in two.routers:
            await router.start()
        try:
            for router in two.routers:
                await router.ready()
            yield two
        finally:
            for router in two.routers:
                await router.kill()


async def test_each_way_reaches_both_processes(pair: Pair) -> None:
    """A signal, a request, a changed file at either process: both decide by the new rules, and say which."""
    first = await pair.agree()
    await pair.tell("A0", "A1")
    for name in ("A0", "A1"):
        shown = await pair.incident(name)
        assert (shown["rulebook"], shown["receiver"]) == (first, "before")

    process = pair.routers[0].process
    assert process is not None
    pair.write(0, "after")
    os.kill(process.pid, signal.SIGHUP)

    async def new() -> bool:
        return (await pair.rules_of(0))["version"] != first

    await wait_for(new, "the signal is followed")
    second = await pair.agree()
    assert second != first
    await pair.tell("B0", "B1")
    for name in ("B0", "B1"):
        shown = await pair.incident(name)
        assert (shown["rulebook"], shown["receiver"]) == (second, "after")

    status, answer = await pair.asked(1, lambda c: c.post("/-/reload", {}))  # its own folder is unchanged
    assert (status, answer["version"]) == (200, first)
    assert await pair.agree(first) == first
    pair.write(1, "after")
    assert await pair.agree(second) == second, "a changed file is a word, too"


async def test_broken_rules_reach_nobody(pair: Pair) -> None:
    """The rules in force stay; the process says so in its log, a metric and the API; mended, all is well."""
    first = await pair.agree()
    (pair.folders[0] / "routes.yaml").write_text("route: {receiver: nobody-there}\n")

    async def told() -> bool:
        return bool((await pair.rules_of(0))["banner"])

    await wait_for(told, "the banner is there")
    shown = await pair.rules_of(0)
    assert shown["version"] == first
    assert "no receiver is named 'nobody-there'" in shown["problems"][0]["message"]
    status, answer = await pair.asked(0, lambda c: c.post("/-/reload", {}))
    assert (status, answer["status"]) == (400, "refused")
    _, metrics = await pair.asked(0, lambda c: c.get("/metrics"))
    assert "incident_router_config_last_reload_successful 0.0" in metrics
    assert "rules_not_loaded" in pair.routers[0].log.read_text()
    assert not (await pair.rules_of(1))["banner"]
    await pair.tell("A0", "A1")
    assert (await pair.incident("A1"))["rulebook"] == first

    pair.write(0, "after")

    async def mended() -> bool:
        return not (await pair.rules_of(0))["banner"]

    await wait_for(mended, "the banner is gone")
    assert await pair.agree() != first


async def test_nothing_is_lost_while_rules_change(pair: Pair, pagerduty: FakePagerDuty) -> None:
    """Alerts that come while the rules change again and again are each paged once, under one of them."""
    versions = {await pair.agree()}
    told = [f"A{n}" for n in range(60)]

    async def change() -> None:
        for turn in range(6):
            pair.write(turn % 2, "after" if turn % 4 < 2 else "before")
            status, answer = await pair.asked(turn % 2, lambda c: c.post("/-/reload", {}))
            assert status == 200, answer
            versions.add(answer["version"])

    await asyncio.gather(change(), *(pair.tell(*told[n : n + 10]) for n in range(0, 60, 10)))
    await wait_for(lambda: len(pagerduty.incidents) == 60, "every page", 30)
    shown = await pair.asked(0, lambda c: c.incidents())
    assert sorted(i["title"] for i in shown) == sorted(told)
    assert {i["rulebook"] for i in shown} <= versions
    by_version = {(i["rulebook"], i["receiver"]) for i in shown}
    assert len(by_version) == len({version for version, _ in by_version}), "one version, one receiver"
