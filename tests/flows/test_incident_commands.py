"""``router incident`` against a running router: what it prints, and what becomes of the incident."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from tests.conftest import free_port, wait_for
from tests.flows.harness import Client, alert, body

if TYPE_CHECKING:
    from tests.fakes.pagerduty import FakePagerDuty

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Result(NamedTuple):
    """What a command came to."""

    exit_code: int
    stdout: str
    stderr: str


async def run(url: str, *args: str) -> Result:
    """Run a command as a process of its own: the router in this one writes its log to standard output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "incident", *args, env={"INCIDENT_ROUTER_URL": url, "USER": "ana"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return Result(process.returncode or 0, out.decode(), err.decode())


async def opened(c: Client, *names: str) -> list[str]:
    """Open an incident for each name, and return their ids in that order."""
    for name in names:
        await c.post("/webhooks/alertmanager", body(alert(name, at=AT)))

    async def there() -> bool:
        return len(await c.incidents()) == len(names)

    await wait_for(there, "the incidents")
    await wait_for(c.settled, "all is told")
    ids = {x["title"].split()[0]: x["id"] for x in await c.incidents()}
    return [next(i for title, i in ids.items() if name in title) for name in names]


async def test_the_life_of_an_incident_by_commands(c: Client) -> None:
    """List, show, acknowledge, give back, put off, assign, note, resolve and export do what they say."""
    (one,) = await opened(c, "HighErrorRate")
    listed = await run(c.base, "list")
    assert one in listed.stdout
    assert "triggered" in listed.stdout
    for args, said, state in (
        (["ack", one], "acknowledged by ana", "acknowledged"),
        (["unack", one, "-m", "not ours"], "given back by ana: not ours", "triggered"),
        (["snooze", one[:6], "-d", "2h"], "put off for 2 h by ana", "acknowledged"),
        (["assign", one, "--to", "bo", "--by", "cy"], "given to bo by cy", "acknowledged"),
        (["note", one, "the disk is full"], "ana: the disk is full", "acknowledged"),
        (["resolve", one], "resolved by ana", "resolved"),
    ):
        result = await run(c.base, *args)
        assert (result.exit_code, result.stdout.startswith(f"{one}: {said}")) == (0, True), result
        _, whole = await c.get(f"/api/v1/incidents/{one}")
        assert whole["state"] == state
    assert "0 firing" not in (await run(c.base, "show", one)).stdout
    shown = json.loads((await run(c.base, "show", one, "-o", "json")).stdout)
    assert shown["assigned_to"] == "bo"
    assert {x["via"] for x in shown["timeline"] if x["by"] == "ana"} == {"api"}
    exported = await run(c.base, "export", one)
    assert exported.stdout.startswith("# ")
    assert "given to bo by cy" in exported.stdout
    assert json.loads((await run(c.base, "list", "-o", "json")).stdout) == {"incidents": []}
    assert one in (await run(c.base, "list", "--all", "--service", "payment-service")).stdout


async def test_merged_incidents_stand_on_both(c: Client, pagerduty: FakePagerDuty) -> None:
    """A merge ends the one's page, leaves the other's, and stands on both timelines."""
    part, whole = await opened(c, "HighErrorRate", "Latency")
    result = await run(c.base, "merge", part, "--into", whole)
    assert result.stdout.startswith(f"{part}: merged into {whole} by ana"), result
    await wait_for(c.settled, "all is told")
    states = {i.dedup_key: i.state for i in pagerduty.incidents}
    assert states == {part: "resolved", whole: "triggered"}
    assert part in (await run(c.base, "show", whole)).stdout


async def test_mistakes_are_sentences(c: Client) -> None:
    """What is not there, cannot be done or nobody answers is one line on standard error and exit code 1."""
    (one,) = await opened(c, "HighErrorRate")
    for args, said in (
        (["ack", "0123456789abcdef.1"], "no such incident"),
        (["show", "../../metrics"], "looks like"),
        (["snooze", one, "-d", "soon"], "not a duration"),
        (["snooze", one, "-d", "8d"], "within 7 days"),
        (["merge", one, "--into", one], "another incident"),
    ):
        result = await run(c.base, *args)
        assert result.exit_code == 1, result
        assert said in result.stderr
    result = await run(f"http://127.0.0.1:{free_port()}", "list")
    assert "is the router running there" in result.stderr


async def test_one_of_several_that_fails_is_told(c: Client) -> None:
    """The others are acknowledged; exit code 1."""
    (one,) = await opened(c, "HighErrorRate")
    result = await run(c.base, "ack", "0123456789abcdef.1", one, "-o", "json")
    assert result.exit_code == 1
    assert [x["id"] for x in json.loads(result.stdout)["incidents"]] == [one]


async def test_what_changes_nothing_says_so(c: Client) -> None:
    """A second acknowledge is taken, and says that nothing came of it."""
    (one,) = await opened(c, "HighErrorRate")
    await run(c.base, "ack", one)
    assert "changed nothing so far: it is acknowledged" in (await run(c.base, "ack", one)).stdout
