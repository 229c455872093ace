"""Records that this release cannot read: left alone, and no harm to the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aredis

from router.model import keys
from router.store.keys import Keys
from tests.conftest import wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows.harness import alert, body, client, environ, running, write_rules

if TYPE_CHECKING:
    from pathlib import Path

    from tests.flows.harness import Client

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"
GROUP = keys.group_key("root", {"alertname": "A", "service": "payment-service"})


@pytest.fixture
def env(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> dict[str, str]:
    write_rules(tmp_path / "rules")
    return environ(tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url, ROUTER_SLACK_API_URL=slack.url)


async def dead_letters(c: Client) -> list[dict]:
    return (await c.get("/api/v1/dead-letters"))[1]["dead_letters"]


async def test_an_unreadable_group_sends_nothing_and_harms_nobody(
    tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty
) -> None:
    """A group that cannot be read is left as it is; its events are put aside, others are paged."""
    k = Keys(keys.partition_of(GROUP, 16))
    raw = aredis.Redis(unix_socket_path=str(tmp_path / "data" / "redis.sock"))
    pagerduty.fail_next(503, times=1)
    async with running(env) as app, client(app.port) as c:
        await c.post(HOOK, body(alert("A", at=AT)))
        await pagerduty.arrived(1)
        await raw.hset(k.group(GROUP), "mam:damaged", b"{from the future")
    async with running(env) as app, client(app.port) as c:
        await c.post(HOOK, body(alert("A", at=AT, instance="more")))
        await c.post(HOOK, body(alert("B", at=AT)))
        await wait_for(lambda: pagerduty.incidents, "the other group's page")
        assert {i.dedup_key.partition(".")[0] == GROUP for i in pagerduty.incidents} == {False}
        await wait_for(lambda: dead_letters(c), "the event is put aside", 40)
        assert len(pagerduty.events) <= 3
    async with running(env):
        assert await raw.hget(k.group(GROUP), "mam:damaged") == b"{from the future"
    await raw.aclose()


async def test_an_unreadable_ledger_stops_no_page(
    tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty
) -> None:
    """A service whose ledger cannot be read is paged for, and the router starts with it."""
    key = keys.service_key("payment-service")
    k = Keys(keys.partition_of(key, 16))
    raw = aredis.Redis(unix_socket_path=str(tmp_path / "data" / "redis.sock"))
    async with running(env):
        await raw.set(k.service(key), b"{from the future")
        await raw.sadd(k.due, f"s:{key}")
    async with running(env) as app, client(app.port) as c:
        await c.post(HOOK, body(alert("A", at=AT)))
        await wait_for(lambda: pagerduty.incidents, "a page")
        assert (await c.get("/api/v1/deploys"))[0] == 200
        assert await raw.get(k.service(key)) == b"{from the future"
    await raw.aclose()


async def test_forgotten_and_begun_anew_in_one_round(
    tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty
) -> None:
    """A group that fires just as its time is up begins anew, with nothing of the old one left."""
    short = {**env, "ROUTER_RETENTION_DAYS": "0.01"}
    raw = aredis.Redis(unix_socket_path=str(tmp_path / "data" / "redis.sock"))
    k = Keys(keys.partition_of(GROUP, 16))
    async with running(short) as app, client(app.port) as c:
        for status in ("firing", "resolved"):
            await c.post(HOOK, body(*(alert("A", at=AT, instance=f"i{n}", status=status) for n in range(3))))
            await wait_for(c.settled, "all is told")
        await raw.zadd(k.timers, {f"forget|{GROUP}|0": 1})
    async with running(short) as app, client(app.port) as c:
        await c.post(HOOK, body(alert("A", at=AT + timedelta(hours=1), instance="i0")))
        await wait_for(lambda: any(i.state == "triggered" for i in pagerduty.incidents), "a page")
        (incident,) = await c.incidents()
        _, whole = await c.get(f"/api/v1/incidents/{incident['id']}")
        assert [a["labels"]["instance"] for a in whole["alerts"]] == ["i0"]
    await raw.aclose()
