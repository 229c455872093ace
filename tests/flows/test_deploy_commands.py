"""``router deploy`` against a running router: a change told by hand is suspected as any other."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_for
from tests.flows.harness import Client, alert, body, client, environ, running, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from router.app import App
    from tests.fakes.pagerduty import FakePagerDuty
    from tests.fakes.slack import FakeSlack


@pytest.fixture
async def app(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> AsyncIterator[App]:
    write_rules(tmp_path / "rules")
    env = environ(tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url, ROUTER_SLACK_API_URL=slack.url)
    async with running(env) as one:
        yield one


@pytest.fixture
async def c(app: App) -> AsyncIterator[Client]:
    async with client(app.port) as one:
        yield one


async def run(url: str, *args: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "deploy", *args, env={"INCIDENT_ROUTER_URL": url, "USER": "ana"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_migration_told_by_hand_is_suspected(c: Client, app: App) -> None:
    """It is listed, shown with its steps, named on the page, and says which incident suspects it."""
    title = ("--title", "add an index")
    at = (app.clock.now() - timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    told = await run(c.base, "report", "payment-service", "migration-7", "-e", "prod", *title, "--at", at)
    assert told == (0, "told\n", "")
    await wait_for(c.settled, "it is decided")
    code, listed, _ = await run(c.base, "list", "--service", "payment-service")
    assert (code, "migration-7" in listed, "add an index" in listed) == (0, True, True)
    await c.post("/webhooks/alertmanager", body(alert(at=app.clock.now())))
    await wait_for(c.incidents, "an incident")
    (head,) = await c.incidents()
    assert head["suspect"]["version"] == "migration-7"
    code, shown, _ = await run(c.base, "show", "payment-service", head["suspect"]["deploy"])
    assert code == 0
    for said in ("author       ana", "add an index", "monitor", "not told", head["id"]):
        assert said in shown, said
    _, whole, _ = await run(c.base, "show", "payment-service", head["suspect"]["deploy"], "-o", "json")
    assert json.loads(whole)["suspected_by"][0]["incident"] == head["id"]


async def test_mistakes_are_sentences(c: Client) -> None:
    """What is not there, or cannot be told, is one line and an exit code."""
    for args, code, said in (
        (["show", "payment-service", "prod/9/9"], 1, "no such deploy"),
        (["report", "payment-service", "7", "--phase", "gone"], 1, "phase must be one of"),
        (["report", "payment-service", "7", "--at", "yesterday"], 2, "no time with a zone"),
        (["report", "payment-service"], 2, "VERSION"),
    ):
        found, _, err = await run(c.base, *args)
        assert (found, said in err) == (code, True), err
