"""SIGKILL at seeded moments: nothing accepted is lost, nobody is paged twice, nothing is left pending."""

from __future__ import annotations

import asyncio
import contextlib
import os
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.chaos.checker import History, check
from tests.conftest import wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows.harness import Client, RouterProcess, alert, body, client, environ, write_rules

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Senders:
    """Many Alertmanagers: what was not answered 2xx is sent again; all send twice, out of order."""

    def __init__(self, c: Client, rng: Random, history: History) -> None:
        self.c, self.rng, self.history = c, rng, history

    async def deliver(self, alerts: list[dict]) -> None:
        self.history.offered |= {self.history.name(a) for a in alerts}
        for _ in range(2000):
            status = 0
            with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError, ConnectionError):
                status, _ = await self.c.post(
                    "/webhooks/alertmanager", body(*alerts), timeout=aiohttp.ClientTimeout(4)
                )
            if status // 100 == 2:
                self.history.accepted |= {self.history.name(a) for a in alerts}
                return
            assert status in {0, 503}, status
            await asyncio.wait(
                [asyncio.get_running_loop().create_future()], timeout=self.rng.uniform(0.02, 0.2)
            )
        pytest.fail("the router never accepted it")

    async def run(self, batches: list[list[dict]], seconds: float) -> None:
        twice = batches + batches
        self.rng.shuffle(twice)
        pause = seconds / max(1, len(twice))
        running = []
        for batch in twice:
            running.append(asyncio.get_running_loop().create_task(self.deliver(batch)))
            await asyncio.wait(
                [asyncio.get_running_loop().create_future()], timeout=self.rng.uniform(0, 2 * pause)
            )
        await asyncio.gather(*running)


def fleet(groups: int, each: int, status: str = "firing") -> list[list[dict]]:
    """Return deliveries: per group, its alerts in two parts."""
    out = []
    for g in range(groups):
        alerts = [
            alert(
                f"Alert{g}",
                status=status,
                at=START + timedelta(seconds=g),
                instance=f"i{g}-{n}",
                service=f"svc-{g % 7}",
            )
            for n in range(each)
        ]
        out += [alerts[: each // 2], alerts[each // 2 :]]
    return [b for b in out if b]


async def killer(router: RouterProcess, rng: Random, kills: int) -> int:
    """Kill and start again; now in the middle of work, now in the middle of starting."""
    for n in range(kills):
        if n % 4 == 3:
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=rng.uniform(0.05, 1.5))
        else:
            await router.ready(30)
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=rng.uniform(0.0, 0.6))
        await router.kill()
        await router.start()
    await router.ready(30)
    return kills


@pytest.mark.chaos
@pytest.mark.timeout(420)
async def test_killed_at_seeded_moments(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """After 21 kills (100 in the long form) amid hundreds of alerts the history has no violation."""
    long = request.config.getoption("--chaos-long")
    seed = int(os.environ.get("CHAOS_SEED", "20261124"))
    rng, history = Random(seed), History()
    groups, each, kills = (200, 10, 100) if long else (60, 6, 21)
    write_rules(tmp_path / "rules")
    async with FakePagerDuty() as pagerduty, FakeSlack() as slack:
        env = environ(
            tmp_path,
            ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
            ROUTER_SLACK_API_URL=slack.url,
            ROUTER_LEASE_SECONDS="5",
        )
        router = RouterProcess(env, tmp_path / "router.log")
        await router.start()
        try:
            async with client(router.port) as c:
                senders = Senders(c, rng, history)
                first = kills * 2 // 3
                span = first * 1.2
                await asyncio.gather(killer(router, rng, first), senders.run(fleet(groups, each), span))
                ended = [
                    b for b in fleet(groups, each, "resolved") if int(b[0]["labels"]["alertname"][5:]) % 2
                ]
                await wait_for(c.settled, "everything is told before the resolves", 90)
                await asyncio.gather(
                    killer(router, rng, kills - first), senders.run(ended, (kills - first) * 1.2)
                )
                await wait_for(c.settled, "everything is decided and told", 120)
                await gather(c, history)
        finally:
            await router.stop()
        history.pages = [e.body for e in pagerduty.events]
        messages = slack.messages()
    violations = check(history)
    told = f"{len(history.pages)} requests to PagerDuty, {len(messages)} Slack messages"
    what = f"{kills} kills, {len(history.accepted)} alerts, {len(history.incidents)} incidents, {told}"
    print(f"\nseed {seed}: {what}, {len(violations)} violations")
    assert violations == []
    assert len(history.accepted) == groups * each
    assert len(history.incidents) == groups
    assert len(messages) == groups, (
        "one Slack message per incident: a doubtful post is looked for before it is repeated"
    )


async def gather(c: Client, history: History) -> None:
    """Read what the router shows."""
    _, listed = await c.get("/api/v1/incidents?limit=500")
    for incident in listed["incidents"]:
        history.incidents.append((await c.get(f"/api/v1/incidents/{incident['id']}"))[1])
    history.depths = (await c.get("/api/v1/status"))[1]["depths"]
