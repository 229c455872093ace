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
    from pathlib import Path

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"


@pytest.fixture
def env(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> dict[str, str]:
    write_rules(tmp_path / "rules")
    return environ(
        tmp_path,
        ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
        ROUTER_SLACK_API_URL=slack.url,
        ROUTER_DRAIN_SECONDS="0",
    )


async def send(c: Client, names: range) -> dict[str, int]:
    answers = await asyncio.gather(*(c.post(HOOK, body(alert(f"A{n}", at=AT))) for n in names))
    return {f"A{n}": status for n, (status, _) in zip(names, answers, strict=True)}


async def send_apart(c: Client, names: range) -> list[tuple[int, float]]:
    """Send one every 0.1 s, so that some wait behind others that hang; return statuses and times."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def one(n: int, begin: float) -> tuple[int, float]:
        await wait_for(lambda: loop.time() >= begin, "its turn")
        status, _ = await c.post(HOOK, body(alert(f"A{n}", at=AT)))
        return status, loop.time() - begin

    return await asyncio.gather(*(one(n, start + 0.1 * i) for i, n in enumerate(names)))


async def is_ready(c: Client) -> bool:
    return (await c.get("/-/ready"))[0] == 200


async def titles(c: Client) -> set[str]:
    return {i["title"] for i in await c.incidents()}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_stopped_store_is_503_and_loses_nothing(
    env: dict[str, str], how: signal.Signals, pagerduty: FakePagerDuty
) -> None:
    """While Redis is gone or frozen answers are 503 within 3 s; afterwards all goes on, nothing lost."""
    async with running(env) as app, client(app.port) as c:
        before = await send(c, range(20))
        assert set(before.values()) == {202}
        assert app.server is not None
        pid = app.server.pid
        assert pid is not None
        if how is signal.SIGKILL:
            app.server.paused = True  # or the router would start it again at once
        os.kill(pid, how)
        during = await send_apart(c, range(20, 40))
        assert {status for status, _ in during} == {503}
        assert max(seconds for _, seconds in during) < 3
        assert (await c.get("/-/ready"))[0] == 503
        assert (await c.get("/-/healthy"))[0] == 200
        if how is signal.SIGKILL:
            app.server.paused = False
        else:
            os.kill(pid, signal.SIGCONT)
        await wait_for(lambda: is_ready(c), "ready again", 30)
        after = await send(c, range(20, 60))
        assert set(after.values()) == {202}
        await wait_for(lambda: len(pagerduty.incidents) >= 60, "a page for each", 30)
        shown = await c.incidents()
    assert {i["title"] for i in shown} == {f"A{n}" for n in range(60)}
    assert {i["firing"] for i in shown} == {1}, "nothing is half-written"
    assert len(pagerduty.incidents) == 60


async def test_dead_child_is_started_again(env: dict[str, str], pagerduty: FakePagerDuty) -> None:
    """An embedded server that dies is started again by the router, with everything that was accepted."""
    async with running(env) as app, client(app.port) as c:
        assert app.server is not None
        for n in range(3):
            pid = app.server.pid
            assert pid is not None
            accepted = await send(c, range(10 * n, 10 * n + 10))
            assert set(accepted.values()) == {202}
            os.kill(pid, signal.SIGKILL)
            await wait_for(lambda pid=pid: app.server.pid != pid, "another child", 10)
            await wait_for(lambda: is_ready(c), "ready again", 20)
        await wait_for(lambda: len(pagerduty.incidents) >= 30, "a page for each", 30)
        assert await titles(c) == {f"A{n}" for n in range(30)}
    assert len(pagerduty.incidents) == 30


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
            assert r.content_type == "application/problem+json"
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


async def test_stop_is_prompt(env: dict[str, str]) -> None:
    """A router with nothing to do stops at once, also right after its start."""
    loop = asyncio.get_running_loop()
    for _ in range(3):
        app = App(settings.load(env), env)
        await app.start()
        begun = loop.time()
        await app.stop()
        assert loop.time() - begun < 2


async def test_stop_does_not_wait_for_a_frozen_store(env: dict[str, str], server: EmbeddedServer) -> None:
    """With the store frozen a stop takes a few seconds, not some for each partition."""
    app = App(settings.load({**env, "ROUTER_REDIS_URL": server.url}), env)
    await app.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await app.stop()
        assert loop.time() - begun < 8
    finally:
        os.kill(server.pid, signal.SIGCONT)
