"""Redis stopped: 503 in time, and nothing that was answered 2xx is missing afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from router import settings
from router.app import App
from router.kit.clock import SystemClock
from router.model.errors import ConfigError
from router.store.server import EmbeddedServer, find_binary
from tests.conftest import wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows.harness import Client, RouterProcess, alert, body, client, environ, running, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"


@pytest.fixture
async def env(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    write_rules(tmp_path / "rules")
    async with FakePagerDuty() as pagerduty, FakeSlack() as slack:
        yield environ(tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url, ROUTER_SLACK_API_URL=slack.url)


async def send(c: Client, names: range) -> dict[str, int]:
    answers = await asyncio.gather(*(c.post(HOOK, body(alert(f"A{n}", at=AT))) for n in names))
    return {f"A{n}": status for n, (status, _) in zip(names, answers, strict=True)}


async def titles(c: Client) -> set[str]:
    return {i["title"] for i in await c.incidents()}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_stopped_store_is_503_and_loses_nothing(env: dict[str, str], how: signal.Signals) -> None:
    """While Redis is gone or frozen answers are 503 within 3 s; all that was answered 202 is there after."""
    async with running(env) as app, client(app.port) as c:
        before = await send(c, range(20))
        assert set(before.values()) == {202}
        assert app.server is not None
        pid = app.server.pid
        assert pid is not None
        if how is signal.SIGKILL:
            app.server.paused = True  # or the router would start it again at once
        os.kill(pid, how)
        loop = asyncio.get_running_loop()
        started = loop.time()
        during = await send(c, range(20, 30))
        assert set(during.values()) == {503}
        assert loop.time() - started < 3.2
        assert (await c.get("/-/ready"))[0] == 503
        assert (await c.get("/-/healthy"))[0] == 200
        if how is signal.SIGKILL:
            app.server.paused = False
        else:
            os.kill(pid, signal.SIGCONT)

        async def ready() -> bool:
            return (await c.get("/-/ready"))[0] == 200

        await wait_for(ready, "ready again", 30)
        after = await send(c, range(20, 40))
        assert set(after.values()) == {202}

        async def all_there() -> bool:
            return {f"A{n}" for n in range(40)} <= await titles(c)

        await wait_for(all_there, "every accepted alert", 30)


async def test_problem_of_a_missing_store(env: dict[str, str]) -> None:
    """The 503 says so in a problem body and asks to come again; it is never 429."""
    async with running(env) as app, client(app.port) as c:
        assert app.server is not None
        app.server.paused = True
        assert app.server.process is not None
        app.server.process.kill()
        await app.server.process.wait()
        async with c.session.post(c.base + HOOK, json=body(alert(at=AT))) as r:
            assert r.status == 503
            assert r.headers["Retry-After"]
            assert (await r.json(content_type=None))["code"] == "store_unavailable"
        app.server.paused = False


async def test_state_is_kept_over_restarts(env: dict[str, str]) -> None:
    """A stopped router gives its data back to the next one: open incidents, and what is a repeat."""
    async with running(env) as app, client(app.port) as c:
        await send(c, range(3))
        await wait_for(c.settled, "all is told")
    async with running(env) as app, client(app.port) as c:
        assert await titles(c) == {"A0", "A1", "A2"}
        assert (await c.post(HOOK, body(alert("A1", at=AT))))[1]["repeated"] == 1


async def test_two_routers_do_not_share_a_directory(env: dict[str, str]) -> None:
    """The second router on a data directory is refused, and leaves the first one alone."""
    async with running(env) as app, client(app.port) as c:
        with pytest.raises(ConfigError, match="another router is using"):
            async with running(env):
                pass
        assert (await c.get("/-/ready"))[0] == 200


async def test_a_failed_start_leaves_nothing_behind(env: dict[str, str], tmp_path: Path, port: int) -> None:
    """A router that cannot listen ends its embedded server and gives the directory back."""
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    async with taken:
        with pytest.raises(ConfigError, match="cannot listen"):
            async with running({**env, "ROUTER_LISTEN": f"127.0.0.1:{port}"}):
                pass
    server = EmbeddedServer(tmp_path / "data", find_binary(""), SystemClock())
    server.lock()
    await server.stop()


async def test_unsafe_server_is_refused_unless_relaxed(env: dict[str, str], server: EmbeddedServer) -> None:
    """A server that may lose or evict events is refused with every finding; relaxed starts all the same."""
    from router.store.link import Link, connect  # noqa: PLC0415  only here

    link = Link(connect(server.url))
    await link.client.config_set("appendfsync", "everysec")
    await link.client.config_set("maxmemory-policy", "allkeys-lru")
    external = {**env, "ROUTER_REDIS_URL": server.url}
    with pytest.raises(ConfigError) as caught:
        async with running(external):
            pass
    assert {p.path for p in caught.value.problems} == {"appendfsync", "maxmemory-policy"}
    async with running({**external, "ROUTER_DURABILITY": "relaxed"}) as app, client(app.port) as c:
        assert (await c.post(HOOK, body(alert(at=AT))))[0] == 202
    await link.close()


async def test_no_store_is_said_clearly(env: dict[str, str]) -> None:
    """A store that is not there ends the start with what to look at, and no traceback."""
    external = {**env, "ROUTER_REDIS_URL": "redis://:geheim@127.0.0.1:9/0"}
    with pytest.raises(ConfigError, match="does not answer") as caught:
        async with running(external):
            pass
    assert "geheim" not in str(caught.value)


async def test_sigterm_drains_and_exits_zero(env: dict[str, str], tmp_path: Path) -> None:
    """SIGTERM stops the router and its embedded server with exit code 0; the next one starts at once."""
    router = RouterProcess(env, tmp_path / "log")
    for _ in range(2):
        await router.start()
        await router.ready()
        assert await router.stop() == 0
    assert App(settings.load(env), env) is not None
