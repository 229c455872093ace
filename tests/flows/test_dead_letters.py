"""From a delivery that cannot be read to its replay after a fix, by the command line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import wait_for
from tests.fakes import senders
from tests.flows.harness import Client, client, environ, running, write_rules

if TYPE_CHECKING:
    from pathlib import Path

    from router.app import App
    from tests.fakes.pagerduty import FakePagerDuty

TOKEN = "an-api-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
KIBANA = """
sources:
  - name: cameras
    starts_at: "{%s}"
    labels: {alertname: "{rule}", service: payment-service, env: prod, severity: critical}
"""
BODY = json.dumps({"rule": "CameraDark", "seen": "2026-11-20T10:00:00Z", "token": "very-secret"}).encode()


@pytest.fixture
def env(tmp_path: Path, pagerduty: FakePagerDuty) -> dict[str, str]:
    write_rules(tmp_path / "rules", {"sources.yaml": KIBANA % "time"})
    return environ(
        tmp_path,
        ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
        ROUTER_SLACK_API_URL="http://127.0.0.1:9/",
        ROUTER_API_TOKENS=TOKEN,
        ROUTER_DRAIN_SECONDS="0",
        **senders.environment("cameras", "gitlab"),
    )


async def cli(app: App, *args: str, expect: int = 0, token: str = TOKEN) -> str:
    """Run ``router ...`` against the router; return what it printed."""
    env = {
        **os.environ,
        "INCIDENT_ROUTER_URL": f"http://127.0.0.1:{app.port}",
        "INCIDENT_ROUTER_TOKEN": token,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", *args, env=env,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    text = out.decode() + err.decode()
    assert process.returncode == expect, text
    assert "Traceback" not in text
    return out.decode() if expect == 0 else text


async def letters(app: App, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(await cli(app, "dlq", "list", "-o", "json", *args))[
        "dead_letters"
    ]
    return found


async def post(c: Client, body: bytes) -> int:
    return (await c.post("/webhooks/cameras", body, headers=senders.proof("cameras", body, senders.NOW)))[0]


async def test_mended_and_replayed(env: dict[str, str], tmp_path: Path, pagerduty: FakePagerDuty) -> None:
    """What a wrong rule made unreadable pages after the rule is mended and the dead letter is replayed."""
    async with running(env) as app, client(app.port) as c:
        assert await post(c, BODY) == 202
        assert await post(c, BODY) == 202
        await wait_for(lambda: letters(app), "it is a dead letter")
        (letter,) = await letters(app, "--source", "cameras", "--kind", "unreadable")
        assert "time" in letter["reason"]
        shown = await cli(app, "dlq", "show", letter["id"])
        assert "CameraDark" in shown
        assert "very-secret" not in shown
        table = await cli(app, "dlq", "list")
        assert letter["id"] in table
        assert "cameras" in table
        said = await cli(app, "dlq", "replay", letter["id"], expect=1)
        assert "still unreadable" in said
        assert len(await letters(app)) == 1
    write_rules(tmp_path / "rules", {"sources.yaml": KIBANA % "seen"})
    async with running(env) as app:
        assert "1 replayed, 0 failed" in await cli(app, "dlq", "replay", "--source", "cameras", "--all")
        assert await letters(app) == []

        def pages() -> int:  # beside them the router pages that deliveries were unreadable
            return len([x for x in pagerduty.incidents if "CameraDark" in x.summary])

        await wait_for(pages, "the page is out")
        assert pages() == 1


async def test_dropped_for_good(env: dict[str, str]) -> None:
    """Dropping one or all deletes them; without a name, --all or a yes nothing is dropped."""
    async with running(env) as app, client(app.port) as c:
        for n in range(4):
            assert await post(c, b"%d" % n) == 202

        async def four() -> bool:
            return len(await letters(app)) == 4

        await wait_for(four, "four dead letters")
        first = (await letters(app))[0]["id"]
        assert "1 dropped" in await cli(app, "dlq", "drop", first)
        assert "no such dead letter" in await cli(app, "dlq", "drop", first, expect=1)
        assert "--all" in await cli(app, "dlq", "drop", expect=2)
        assert len(await letters(app)) == 3
        assert "3 dropped" in await cli(app, "dlq", "drop", "--all", "--yes")
        assert await letters(app) == []


async def test_all_is_more_than_a_page(env: dict[str, str]) -> None:
    """``--all`` does not stop at the 500 that a list shows, whether they go or stay."""
    async with running(env) as app, client(app.port) as c:
        for n in range(503):
            assert await post(c, b"%d" % n) == 202

        async def all_there() -> bool:
            depths = (await c.get("/api/v1/status", headers=BEARER))[1]["depths"]
            return depths["dead"] + depths.get("unread", 0) == 503

        await wait_for(all_there, "503 dead letters")
        assert "0 replayed, 503 failed" in await cli(app, "dlq", "replay", "--all", expect=1)
        assert "503 dropped, 0 failed" in await cli(app, "dlq", "drop", "--all", "--yes")
        assert await letters(app) == []


async def test_mistakes_at_the_terminal_are_sentences(env: dict[str, str]) -> None:
    """A wrong token, a wrong address and an unknown id each end with one sentence that says what to do."""
    async with running(env) as app:
        assert "ROUTER_API_TOKENS" in await cli(app, "dlq", "list", expect=1, token="wrong")
        assert "no such dead letter" in await cli(app, "dlq", "show", "0-1-0", expect=1)
        assert "is the router running there" in await cli(
            app, "dlq", "list", "--url", "http://127.0.0.1:9", expect=1
        )
        assert "ROUTER_API_TOKENS" in await cli(app, "capture", expect=1, token="")


async def test_captured_and_sent_again(env: dict[str, str], tmp_path: Path) -> None:
    """What was captured holds no secret, and sent again it is a repeat."""
    out = tmp_path / "captured.jsonl"
    async with running(env) as app, client(app.port) as c:
        args = ("capture", "--source", "gitlab", "--count", "2", "--out", str(out))
        capture = asyncio.get_running_loop().create_task(cli(app, *args))
        headers, body = senders.delivery("gitlab", "deployment-success")

        async def listening() -> bool:
            metrics = (await c.get("/metrics"))[1]
            return "incident_router_captures 1.0" in metrics

        await wait_for(listening, "the capture listens")
        assert (await c.post("/webhooks/gitlab", body, headers={"X-Gitlab-Token": "wrong"}))[0] == 401
        assert (await post(c, BODY)) == 202
        for name in ("deployment-success", "push-default-branch"):
            headers, body = senders.delivery("gitlab", name)
            assert (await c.post("/webhooks/gitlab", body, headers=headers))[0] == 202
        await capture
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert [line["path"] for line in lines] == ["/webhooks/gitlab"] * 2
        assert senders.secret("gitlab") not in out.read_text()
        for line in lines:
            again = {**line["headers"], "X-Gitlab-Token": senders.secret("gitlab")}
            status, answer = await c.post(line["path"], line["body"], headers=again)
            assert (status, answer["accepted"]) == (202, 0)
