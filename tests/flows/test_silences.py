"""Silences of a real Alertmanager, taken over by a router: what they match is told nobody until they end."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from router.silence_commands import silence as command
from router.store.reads import RedisReader
from router.work.silence_watch import SilenceWatch
from tests.conftest import need, wait_for
from tests.flows.harness import Client, alert, alertmanager, body, client, environ, iso, running, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from router.app import App
    from tests.fakes.pagerduty import FakePagerDuty
    from tests.fakes.slack import FakeSlack


@pytest.fixture
async def router(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> AsyncIterator[App]:
    write_rules(tmp_path / "rules")
    env = environ(tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url, ROUTER_SLACK_API_URL=slack.url)
    async with running(env) as app:
        yield app


async def amtool(am: str, *args: str) -> str:
    """Run the real amtool."""
    process = await asyncio.create_subprocess_exec(
        need("amtool"), "--alertmanager.url", am, "silence", *args,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


async def run(app: App, *args: str, stdin: str | None = None) -> Result:
    """Run ``router silence`` in a thread of this process."""
    env = {"INCIDENT_ROUTER_URL": f"http://127.0.0.1:{app.port}"}
    result = await asyncio.to_thread(CliRunner(env=env).invoke, command, args, input=stdin)
    assert result.exit_code == 0, result.output
    return result


async def post(c: Client, *alerts: dict[str, Any]) -> None:
    status, said = await c.post("/webhooks/alertmanager", body(*alerts))
    assert status == 202, said
    await wait_for(c.settled, "all is decided and told")


async def test_silences_of_an_alertmanager_are_taken_over(
    tmp_path: Path, router: App, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """Imported from its API, a silence keeps a matching alert from everybody; expired here, it is told."""
    at = datetime.now(UTC)  # noqa: TID251  the real Alertmanager has the real time
    by = ("--author=ana", "--comment=load test")
    async with alertmanager(tmp_path, f"http://127.0.0.1:{router.port}/webhooks/alertmanager") as am:
        mine = await amtool(am, "add", "service=payment-service", "env=~prod|test", "-d", "2h", *by)
        other = await amtool(am, "add", "service=customer-service", "instance!=a", "-d", "1h", *by)
        gone = await amtool(am, "add", "service=payment-service", "-d", "1h", *by)
        await amtool(am, "expire", gone)
        dry = await run(router, "import", "--from", am, "--dry-run")
        assert dry.stdout.splitlines()[-1] == "would be: 2 made, 0 updated, 1 skipped, 0 failed"
        first = await run(router, "import", "--from", am)
        assert first.stdout.splitlines()[-1] == "2 made, 0 updated, 1 skipped, 0 failed"
        file = await amtool(am, "query", "-o", "json")
        again = await run(router, "import", "-", stdin=file)
        assert again.stdout.splitlines()[-1] == "0 made, 0 updated, 2 skipped, 0 failed"
        await amtool(am, "update", other, "-d", "3h")
        third = await run(router, "import", "--from", am)
        assert third.stdout.splitlines()[-1] == "0 made, 1 updated, 2 skipped, 0 failed"
    async with client(router.port) as c:
        await post(c, alert(at=at, env="prod"))
        (incident,) = await c.incidents()
        assert incident["state"] == "suppressed"
        assert (pagerduty.events, slack.messages()) == ([], [])
        shown = json.loads((await run(router, "show", mine, "-o", "json")).stdout)
        assert (shown["mutes"], shown["status"]) == (1, {"state": "active"})
        await run(router, "expire", mine)
        await wait_for(lambda: pagerduty.incidents, "it is told")
        await wait_for(slack.messages, "it is told in Slack, too")
        assert (await c.incidents())[0]["state"] == "triggered"


async def test_a_silence_of_ours_mutes_at_once(router: App, pagerduty: FakePagerDuty) -> None:
    """Made by our own command, it is in force for the next alert; with other labels people are told."""
    at = datetime.now(UTC)  # noqa: TID251  the commands have the real time
    async with client(router.port) as c:
        made = (await run(router, "add", 'pod=~"payment-.*"', "-a", "ana", "-c", "x")).stdout.strip()
        await post(c, alert(at=at, pod="payment-1"), alert("DiskFull", at=at, pod="other-1"))
        states = {i["title"].split()[0]: i["state"] for i in await c.incidents()}
        assert states == {"HighErrorRate": "suppressed", "DiskFull": "triggered"}
        assert len(pagerduty.incidents) == 1
        assert json.loads((await run(router, "query", "-o", "json")).stdout)[0]["id"] == made


async def test_the_end_of_a_silence_is_told_before(router: App, pagerduty: FakePagerDuty) -> None:
    """One that mutes an open incident and ends in 10 minutes is an incident of our own, until extended."""
    at = datetime.now(UTC)  # noqa: TID251  the router has the real time
    posted = {
        "id": "ends-soon",
        "matchers": [{"name": "service", "value": "payment-service", "isRegex": False}],
        "startsAt": iso(at - timedelta(hours=2)),
        "endsAt": iso(at + timedelta(minutes=10)),
        "createdBy": "ana",
        "comment": "load test",
    }
    watch = SilenceWatch(router.shared, RedisReader(router.door._store), router.door, router.clock)
    async with client(router.port) as c:
        assert (await c.post("/api/v1/silences?import=true", posted))[0] == 200
        await post(c, alert(at=at))
        await watch.turn()
        await wait_for(c.settled, "the warning is told")
        (ours,) = [i for i in await c.incidents() if i["service"] == "incident-router"]
        assert (ours["state"], ours["severity"]) == ("triggered", "info")
        await run(router, "update", "ends-soon", "-d", "2h")
        await watch.turn()
        await wait_for(c.settled, "the warning's end is told")
        (ours,) = [i for i in await c.incidents() if i["service"] == "incident-router"]
        assert ours["state"] == "resolved"
    assert [i.state for i in pagerduty.incidents] == ["resolved"]  # the payment service's stays muted
    assert pagerduty.incidents[0].dedup_key == ours["id"]
