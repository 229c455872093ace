"""The stand-ins behave as their vendors do: a test that trusts them must be able to."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import TOKEN, FakeSlack

ROOT = Path(__file__).resolve().parents[3]
PAYLOAD = {"summary": "s", "source": "x", "severity": "critical"}


def event(action: str, **changes: Any) -> dict[str, Any]:
    """Return a valid event."""
    return {"routing_key": "k", "event_action": action, "dedup_key": "d", "payload": PAYLOAD, **changes}


async def post(url: str, body: Any, token: str = TOKEN) -> tuple[int, Any]:
    """Return (status, body) of a POST."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        return response.status, await response.json()


async def test_pagerduty_joins_drops_and_reopens() -> None:
    """Triggers join an open alert; an end without one is dropped with 202; after an end a new one opens."""
    async with FakePagerDuty() as vendor:
        for action in ("resolve", "trigger", "trigger", "acknowledge", "resolve", "acknowledge", "trigger"):
            assert (await post(f"{vendor.url}/v2/enqueue", event(action)))[0] == 202
        assert [i.log for i in vendor.incidents] == [
            ["trigger", "trigger", "acknowledge", "resolve"],
            ["trigger"],
        ]
        assert vendor.dropped == 2
        assert [e.order for e in vendor.events] == list(range(7))


@pytest.mark.parametrize(
    "changes",
    [
        {"routing_key": ""},
        {"event_action": "open"},
        {"dedup_key": "d" * 256},
        {"payload": None},
        {"payload": {**PAYLOAD, "severity": "none"}},
        {"payload": {**PAYLOAD, "summary": "s" * 1025}},
        {"payload": {**PAYLOAD, "timestamp": "yesterday"}},
        {"payload": {**PAYLOAD, "custom_details": "text"}},
        {"payload": {"summary": "s", "severity": "info"}},
        {"links": [{"href": "javascript:1"}]},
    ],
)
async def test_pagerduty_refuses_what_is_wrong(changes: dict[str, Any]) -> None:
    """A wrong body is answered 400 with what is wrong, and opens nothing."""
    async with FakePagerDuty() as vendor:
        status, body = await post(f"{vendor.url}/v2/enqueue", event("trigger", **changes))
        assert status == 400
        assert body["errors"]
        assert vendor.incidents == []


async def test_pagerduty_refuses_what_is_too_large() -> None:
    """A body over 512,000 bytes is refused."""
    async with FakePagerDuty() as vendor:
        payload = {**PAYLOAD, "custom_details": {"x": "y" * 512_000}}
        assert (await post(f"{vendor.url}/v2/enqueue", event("trigger", payload=payload)))[0] == 413


def section(length: int) -> dict[str, Any]:
    """Return a section block of so many characters."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": "x" * length}}


SECTION = section(1)


@pytest.mark.parametrize(
    ("changes", "token", "error"),
    [
        ({}, "", "not_authed"),
        ({}, "xoxb-wrong", "invalid_auth"),
        ({"channel": "C0NONE"}, TOKEN, "channel_not_found"),
        ({"channel": "out"}, TOKEN, "not_in_channel"),
        ({"channel": "old"}, TOKEN, "is_archived"),
        ({"text": ""}, TOKEN, "no_text"),
        ({"text": "x" * 40_001}, TOKEN, "msg_too_long"),
        ({"blocks": [SECTION] * 51}, TOKEN, "invalid_blocks"),
        ({"blocks": [section(3001)]}, TOKEN, "invalid_blocks"),
        ({"blocks": [section(2900)] * 5}, TOKEN, "msg_blocks_too_long"),
        ({"thread_ts": "1.0"}, TOKEN, "thread_not_found"),
        ({"blocks": [SECTION]}, TOKEN, None),
    ],
)  # fmt: skip
async def test_slack_checks_a_post(changes: dict[str, Any], token: str, error: str | None) -> None:
    """A post is checked for token, channel, membership and limits, and refused with Slack's word for it."""
    async with FakeSlack() as vendor:
        vendor.add_channel("C0OUT", "out", member=False)
        vendor.add_channel("C0OLD", "old", archived=True)
        body = {"channel": "#alerts", "text": "x", **changes}
        status, told = await post(f"{vendor.url}chat.postMessage", body, token)
        assert status == 200
        assert told.get("error") == error
        assert len(vendor.messages()) == (error is None)


async def test_slack_limits_the_pace() -> None:
    """Over the pace a post is answered 429 with Retry-After and not taken."""
    async with FakeSlack() as vendor:
        vendor.per_second = 1
        body = {"channel": "C0ALERTS", "text": "x"}
        assert (await post(f"{vendor.url}chat.postMessage", body))[0] == 200
        assert (await post(f"{vendor.url}chat.postMessage", body))[0] == 429
        assert len(vendor.messages()) == 1


async def test_slack_updates_by_id_only() -> None:
    """An update needs the channel's id and a known ts; blocks left out stay; auth.test answers."""
    async with FakeSlack() as vendor:
        body = {"channel": "alerts", "text": "x", "blocks": [SECTION]}
        _, told = await post(f"{vendor.url}chat.postMessage", body)
        for channel, ts, error in (
            ("alerts", told["ts"], "channel_not_found"),
            ("C0ALERTS", "1.0", "message_not_found"),
            ("C0ALERTS", float(told["ts"]), "invalid_arguments"),
            ("C0ALERTS", told["ts"], None),
        ):
            _, got = await post(f"{vendor.url}chat.update", {"channel": channel, "ts": ts, "text": "y"})
            assert got.get("error") == error
        assert vendor.messages()[0].blocks == [SECTION]
        assert (await post(f"{vendor.url}auth.test", {}))[1]["ok"]
        assert (await post(f"{vendor.url}no.such", {}))[1]["error"] == "unknown_method"


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("pagerduty", "/v2/enqueue", event("trigger")),
        ("slack", "chat.postMessage", {"channel": "#alerts", "text": "x"}),
    ],
)
async def test_runs_as_a_process(tmp_path: Path, kind: str, path: str, body: dict[str, Any]) -> None:
    """As a process of its own a stand-in says its URL, writes one line per event, and ends on SIGTERM."""
    history = tmp_path / "history"
    command = [sys.executable, "-m", f"tests.fakes.{kind}", "--history", str(history)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(20):
        url = (await process.stdout.readline()).decode().strip()
        await post(url + path, body)
        await post(url + path, body)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    lines = [json.loads(line) for line in history.read_text("utf-8").splitlines()]
    assert [line["n"] for line in lines] == [1, 2]
    assert all(line["at"] for line in lines)
