"""The same short story over every kind of store that a URL can name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import redis.asyncio as aredis

from tests.conftest import free_port, wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows import shapes as servers
from tests.flows.harness import RouterProcess, alert, body, client, environ, running, write_rules
from tests.flows.shapes import DURABLE, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"


@pytest.fixture
async def pagerduty() -> AsyncIterator[FakePagerDuty]:
    async with FakePagerDuty() as fake:
        yield fake


@pytest.fixture
async def env(tmp_path: Path, pagerduty: FakePagerDuty) -> AsyncIterator[dict[str, str]]:
    write_rules(tmp_path / "rules")
    async with FakeSlack() as slack:
        yield environ(
            tmp_path,
            ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
            ROUTER_SLACK_API_URL=slack.url,
            ROUTER_LEASE_SECONDS="1",
        )


async def story(env: dict[str, str], pagerduty: FakePagerDuty) -> None:
    """Alert, page, resolve."""
    async with running(env) as app, client(app.port) as c:
        assert (await c.post(HOOK, body(alert(at=AT))))[0] == 202
        assert (await c.post(HOOK, body(alert(at=AT))))[1]["repeated"] == 1
        await wait_for(c.settled, "all is told")
        assert (await c.post(HOOK, body(alert(at=AT, status="resolved"))))[0] == 202
        await wait_for(c.settled, "all is told")
        assert [i["state"] for i in await c.incidents()] == ["resolved"]
    assert [(i.triggers, i.state) for i in pagerduty.incidents] == [(1, "resolved")]


async def test_password_and_database(tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty) -> None:
    """A server with a password and another database than 0."""
    server = await Server(tmp_path / "s").start(
        "--requirepass", "p@ss", *DURABLE, client_args={"password": "p@ss"}
    )
    async with servers.ending(server):
        await story({**env, "ROUTER_REDIS_URL": f"redis://:p%40ss@127.0.0.1:{server.port}/3"}, pagerduty)


async def test_tls(tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty) -> None:
    """A server that speaks TLS only, checked against its own authority."""
    certs = await servers.certificates(tmp_path / "tls")
    port = free_port()
    ssl = {"ssl": True, "ssl_ca_certs": str(certs / "cert.pem")}
    server = await Server(tmp_path / "s", port).start(
        "--tls-port", str(port), "--port", "0", "--tls-auth-clients", "no",
        "--tls-cert-file", str(certs / "cert.pem"), "--tls-key-file", str(certs / "key.pem"), *DURABLE,
        client_args=ssl,
    )  # fmt: skip
    async with servers.ending(server):
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certs}/cert.pem"
        await story({**env, "ROUTER_REDIS_URL": url}, pagerduty)


async def test_cluster(tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty) -> None:
    """Partitions spread over the masters of a cluster; each script stays in one slot."""
    nodes = await servers.cluster(tmp_path / "c")
    async with servers.ending(*nodes):
        await story({**env, "ROUTER_REDIS_URL": f"redis+cluster://127.0.0.1:{nodes[0].port}"}, pagerduty)


@pytest.mark.timeout(120)
async def test_sentinel_fails_over(tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty) -> None:
    """The primary dies, Sentinel promotes the replica: nothing accepted is lost and pages flow again."""
    primary = await Server(tmp_path / "p").start(*DURABLE)
    replica = await Server(tmp_path / "r").start("--replicaof", "127.0.0.1", str(primary.port), *DURABLE)
    conf = (
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\nsentinel down-after-milliseconds main 500\n"
        "sentinel failover-timeout main 3000\n"
    )
    sentinel = await Server(tmp_path / "s").start("--sentinel", config=conf)
    async with servers.ending(primary, replica, sentinel):
        watch = aredis.Redis(port=sentinel.port, decode_responses=True)

        async def replicas() -> int:
            return len(await watch.execute_command("SENTINEL", "REPLICAS", "main"))

        await wait_for(replicas, "Sentinel knows the replica", 30)
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0"
        async with running({**env, "ROUTER_REDIS_URL": url}) as app, client(app.port) as c:
            await wait_for(
                lambda: app.links[0].replicas == 1, "accepted events also wait for the replica", 30
            )
            for n in range(10):
                assert (await c.post(HOOK, body(alert(f"A{n}", at=AT))))[0] == 202
            await primary.stop()
            accepted = {f"A{n}" for n in range(10)}

            async def accepts() -> bool:
                status, _ = await c.post(HOOK, body(alert("After", at=AT)))
                assert status in {202, 503}
                return status == 202

            await wait_for(accepts, "the promoted replica accepts", 60)

            async def all_there() -> bool:
                status, shown = await c.get("/api/v1/incidents")
                return status == 200 and accepted | {"After"} <= {i["title"] for i in shown["incidents"]}

            await wait_for(all_there, "every accepted alert", 40)
            await wait_for(lambda: len(pagerduty.incidents) == 11, "every page", 40)
        await watch.aclose()


@pytest.mark.timeout(150)
async def test_replicas_share_take_over_and_come_back(
    tmp_path: Path, env: dict[str, str], pagerduty: FakePagerDuty
) -> None:
    """Two routers share the partitions; one killed, its work is taken over; one frozen, it is fenced."""
    import os  # noqa: PLC0415  signals, here alone
    import signal  # noqa: PLC0415

    server = await Server(tmp_path / "s").start(*DURABLE)
    shared = {**env, "ROUTER_REDIS_URL": f"redis://127.0.0.1:{server.port}/0"}
    one = RouterProcess({**shared, "ROUTER_INSTANCE": "one"}, tmp_path / "one.log")
    two = RouterProcess({**shared, "ROUTER_INSTANCE": "two"}, tmp_path / "two.log")
    async with servers.ending(server):
        try:
            for router in (one, two):
                await router.start()
                await router.ready()
            async with client(one.port) as c1, client(two.port) as c2:

                async def owned(c: object) -> float:
                    _, text = await c.get("/metrics")
                    rows = [r for r in text.splitlines() if r.startswith("incident_router_partitions_owned ")]
                    return float(rows[0].split()[1])

                async def fair() -> bool:
                    return await owned(c1) == 8 and await owned(c2) == 8

                await wait_for(fair, "each has half of the partitions", 30)
                second = c2
                for n in range(30):
                    c = (c1, second)[n % 2]
                    assert (await c.post(HOOK, body(alert(f"A{n}", at=AT))))[0] == 202
                    assert two.process is not None
                    if n == 10:
                        os.kill(two.process.pid, signal.SIGSTOP)
                        second = c1
                    if n == 20:
                        await wait_for(lambda: owned_is(c1, owned, 16), "one has taken over all", 30)
                        os.kill(two.process.pid, signal.SIGCONT)
                        await wait_for(fair, "they share again", 40)
                await wait_for(lambda: len(pagerduty.incidents) == 30, "every page", 40)
                await one.kill()
                async with client(two.port) as alone:
                    await wait_for(lambda: owned_is(alone, owned, 16), "two has taken over all", 30)
                    assert (await alone.post(HOOK, body(alert("Last", at=AT))))[0] == 202
                    await wait_for(lambda: len(pagerduty.incidents) == 31, "the page after the takeover", 30)
                    await wait_for(alone.settled, "all is told", 60)
            keys = [i.dedup_key for i in pagerduty.incidents]
            assert len(keys) == len(set(keys)) == 31, (
                "a doubtful trigger is sent again, and joins its incident"
            )
            assert await two.stop() == 0
        finally:
            for router in (one, two):
                if router.process is not None and router.process.returncode is None:
                    await router.kill()


async def owned_is(c: object, owned: object, count: int) -> bool:
    return await owned(c) == count
