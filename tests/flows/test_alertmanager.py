"""From the real Alertmanager to PagerDuty's and Slack's stand-ins: the main job, end to end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.conftest import wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows.harness import (
    ROUTING_KEY,
    alert,
    alertmanager,
    body,
    client,
    environ,
    iso,
    running,
    write_rules,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from router.app import App

SECRET = "s3cret-of-the-test"


@pytest.fixture
async def router(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> AsyncIterator[App]:
    write_rules(tmp_path / "rules")
    env = environ(
        tmp_path,
        ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
        ROUTER_SLACK_API_URL=slack.url,
        ROUTER_SOURCE_ALERTMANAGER_SECRETS=SECRET,
    )
    async with running(env) as app:
        yield app


async def push(base: str, *alerts: dict) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base}/api/v2/alerts", json=list(alerts)) as r,
    ):
        assert r.status == 200, await r.text()


def am_alert(instance: str, at: datetime, *, ends: datetime | None = None) -> dict:
    labels = {
        "alertname": "HighErrorRate",
        "service": "payment-service",
        "env": "prod",
        "severity": "critical",
    }
    out = {
        "labels": {**labels, "instance": instance},
        "annotations": {"summary": "errors"},
        "startsAt": iso(at),
    }
    return {**out, "endsAt": iso(ends)} if ends else {**out, "endsAt": iso(at + timedelta(hours=1))}


async def test_real_alertmanager_to_one_page_and_one_message(
    tmp_path: Path, router: App, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """A real Alertmanager's alerts become one trigger, one message that is edited, one resolve."""
    url = f"http://127.0.0.1:{router.port}/webhooks/alertmanager"
    now = datetime.now(UTC)  # noqa: TID251  the real Alertmanager has the real time
    async with alertmanager(tmp_path, url, secret=SECRET) as am:
        await push(am, am_alert("a", now))
        await wait_for(lambda: pagerduty.incidents, "a page")
        await wait_for(slack.messages, "a message")
        await push(am, am_alert("b", now))
        await wait_for(lambda: slack.messages()[0].edits, "the message was edited for the second alert")
        assert "2 firing" in slack.messages()[0].text or "FIRING:2" in slack.messages()[0].text
        await push(am, am_alert("a", now, ends=now), am_alert("b", now, ends=now))
        await wait_for(lambda: pagerduty.incidents[0].state == "resolved", "the page is resolved")
    actions = [e.action for e in pagerduty.events]
    assert actions == ["trigger", "resolve"]
    assert {e.body["routing_key"] for e in pagerduty.events} == {ROUTING_KEY}
    assert len(pagerduty.incidents) == 1
    assert len(slack.messages()) == 1
    await wait_for(lambda: "resolved" in slack.messages()[0].text.lower(), "the message shows the resolve")
    assert not pagerduty.rejected


async def test_pair_sends_everything_twice_out_of_order(
    router: App, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """Two Alertmanagers that send everything twice and out of order make one page and one message."""
    rng = Random(7)
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    firing = [alert(at=at, instance=f"i{n}") for n in range(6)]
    ended = [alert(at=at, instance=f"i{n}", status="resolved") for n in range(6)]
    auth = {"Authorization": f"Bearer {SECRET}"}

    async with client(router.port) as c:

        async def storm(*versions: list[dict]) -> None:
            bodies = [
                body(*part, externalURL=f"http://am-{n}")
                for v in versions
                for n in range(2)
                for part in (v[:3], v, v[3:])
            ]
            deliveries = bodies * 2
            rng.shuffle(deliveries)
            answers = await asyncio.gather(
                *(c.post("/webhooks/alertmanager", d, headers=auth) for d in deliveries)
            )
            assert {status for status, _ in answers} == {202}

        await storm(firing)
        await wait_for(c.settled, "all is told")
        await storm(firing, ended)
        await wait_for(c.settled, "all is told")
        await storm(firing)  # the slow peer's old flush
        await wait_for(c.settled, "all is told")
        (incident,) = await c.incidents()
    assert incident["state"] == "resolved"
    assert [e.action for e in pagerduty.events] == ["trigger", "resolve"]
    assert len(slack.messages()) == 1


async def test_unchanged_repeats_stop_at_the_door(router: App) -> None:
    """What Alertmanager re-sends unchanged is answered 202 and never decided again."""
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    auth = {"Authorization": f"Bearer {SECRET}"}
    async with client(router.port) as c:
        first = await c.post("/webhooks/alertmanager", body(alert(at=at)), headers=auth)
        again = await c.post(
            "/webhooks/alertmanager", body(alert(at=at), externalURL="http://other"), headers=auth
        )
    assert first == (202, {"status": "accepted", "accepted": 1, "repeated": 0})
    assert again == (202, {"status": "accepted", "accepted": 0, "repeated": 1})


async def test_refire_after_resolve_is_the_next_generation(router: App, pagerduty: FakePagerDuty) -> None:
    """A re-fire opens generation 2 with a key of its own; the first stays resolved and can still be read."""
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    auth = {"Authorization": f"Bearer {SECRET}"}
    async with client(router.port) as c:
        for a in (alert(at=at), alert(at=at, status="resolved"), alert(at=at + timedelta(minutes=30))):
            await c.post("/webhooks/alertmanager", body(a), headers=auth)
            await wait_for(c.settled, "all is told")
        (second,) = await c.incidents()
        group = second["id"].partition(".")[0]
        assert second["id"] == f"{group}.2"
        _, first = await c.get(f"/api/v1/incidents/{group}.1")
    assert first["state"] == "resolved"
    assert [(i.dedup_key, i.state) for i in pagerduty.incidents] == [
        (f"{group}.1", "resolved"),
        (f"{group}.2", "triggered"),
    ]


async def test_pagerduty_down_then_resolved_is_never_paged(
    router: App, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """What resolves while PagerDuty refuses everything is not paged when it comes back."""
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    auth = {"Authorization": f"Bearer {SECRET}"}
    pagerduty.fail_next(503, times=2)
    async with client(router.port) as c:
        await c.post("/webhooks/alertmanager", body(alert(at=at)), headers=auth)
        await pagerduty.arrived(1)
        await c.post("/webhooks/alertmanager", body(alert(at=at, status="resolved")), headers=auth)
        await wait_for(c.settled, "nothing is left to tell")
    assert pagerduty.incidents == []
    assert len(slack.messages()) == 1


async def test_lost_answer_is_sent_again_under_the_same_key(
    router: App, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """A trigger or post whose answer was lost is found again: one incident, one message."""
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    auth = {"Authorization": f"Bearer {SECRET}"}
    pagerduty.drop_after_processing(1)
    slack.drop_after_processing(1)
    async with client(router.port) as c:
        await c.post("/webhooks/alertmanager", body(alert(at=at)), headers=auth)
        await wait_for(c.settled, "all is told")
    assert len(pagerduty.incidents) == 1
    assert len(slack.messages()) == 1


async def test_page_does_not_wait_for_a_stuck_slack(
    router: App, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """With Slack hanging, pages of many incidents still go out."""
    slack.hang()
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    auth = {"Authorization": f"Bearer {SECRET}"}
    async with client(router.port) as c:
        for n in range(12):
            await c.post("/webhooks/alertmanager", body(alert(f"A{n}", at=at)), headers=auth)
        await wait_for(lambda: len(pagerduty.incidents) == 12, "all 12 pages")
        assert slack.messages() == []
        slack.release()
        await wait_for(c.settled, "Slack has caught up", 40)
    assert len(slack.messages()) == 12
