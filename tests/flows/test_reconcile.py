"""What is stuck is found and mended: against the real Alertmanager, and a PagerDuty that says nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from router.poll import alertmanager as driver
from router.ports import PollerContext
from tests.conftest import wait_for
from tests.fakes.pagerduty_site import TOKEN
from tests.flows.harness import alertmanager, iso
from tests.flows.test_alertmanager import push
from tests.flows.test_two_way import World, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def look(w: World, minutes: float = 0.0) -> list[dict[str, Any]]:
    """Let time pass, ask both sides, compare; return what is shown."""
    w.clock.skipped += 60 * minutes
    for polling in w.app.pollings:
        await polling.turn()
    await w.app.reconciling.turn()
    await w.calm()
    return (await w.c.get("/api/v1/reconcile"))[1]["differences"]


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, ROUTER_PAGERDUTY_API_TOKEN=TOKEN) as one:
        await one.opens()
        yield one


async def ruled(w: World, tmp_path: Path, policy: str) -> None:
    (tmp_path / "rules/reconcile.yaml").write_text(f"reconcile: {policy}\n")
    assert (await w.c.post("/-/reload", {}))[0] == 200


async def test_closed_at_pagerduty_and_firing_here_pages_again(w: World, tmp_path: Path) -> None:
    """Its webhook was lost; if the rules want it, it is told once more after ten minutes, by the same key."""
    w.pagerduty.loses(w.page, "resolved")
    await look(w)
    (shown,) = await look(w, minutes=60)
    assert (shown["action"], shown["mended"], len(w.pagerduty.incidents)) == ("report", False, 1)
    await ruled(w, tmp_path, "{closed_at_pagerduty: reopen, after: 2h}")
    (shown,) = await look(w)
    assert (shown["kind"], shown["mended"]) == ("closed_at_pagerduty", False)
    await look(w, minutes=70)
    assert [i.state for i in w.pagerduty.incidents] == ["resolved", "triggered"]
    assert await look(w) == []


async def test_open_at_pagerduty_and_over_here_is_closed(w: World) -> None:
    """Its resolve was lost there; it is told once more."""
    await w.slack.presses("ana", "resolve", w.message)
    await wait_for(lambda: w.page.state == "resolved", "PagerDuty shows it")
    await w.calm()
    w.pagerduty.loses(w.page, "triggered")
    (shown,) = await look(w)
    assert shown["kind"] == "open_at_pagerduty"
    await look(w, minutes=11)
    assert w.page.state == "resolved"
    assert await look(w) == []


async def test_what_a_person_opened_again_at_pagerduty_stays_open(w: World) -> None:
    """Ana resolves it in Slack, Bo opens it again at PagerDuty: that is Bo's to end."""
    await w.slack.presses("ana", "resolve", w.message)
    await wait_for(lambda: w.page.state == "resolved", "PagerDuty shows it")
    await w.calm()
    w.pagerduty.loses(w.page, "triggered")
    await w.pagerduty.does("bo@example.com", "reopened", w.page)
    await w.calm()
    await look(w)
    (shown,) = await look(w, minutes=60)
    assert (shown["action"], w.page.state) == ("report", "triggered")
    assert "opened again at PagerDuty" in str((await w.head())["timeline"])


async def test_a_dry_run_reports_and_does_nothing(w: World, tmp_path: Path) -> None:
    """What would be done is shown, for as long as one likes."""
    await ruled(w, tmp_path, "{closed_at_pagerduty: reopen, dry_run: true}")
    w.pagerduty.loses(w.page, "resolved")
    await look(w)
    (shown,) = await look(w, minutes=60)
    assert (shown["action"], shown["would"], shown["mended"]) == ("report", "reopen", False)
    assert [i.state for i in w.pagerduty.incidents] == ["resolved"]


async def test_what_was_ended_by_hand_and_still_fires_opens_again(w: World, tmp_path: Path) -> None:
    """If the rules want it: as a new incident, after a while."""
    await ruled(w, tmp_path, "{ended_by_hand: reopen, by_hand_after: 1h}")
    await w.slack.presses("ana", "resolve", w.message)
    await wait_for(lambda: w.page.state == "resolved", "PagerDuty shows it")
    await w.calm()
    assert await look(w, minutes=30) == []
    (shown,) = await look(w, minutes=31)
    assert shown["kind"] == "ended_by_hand"
    await look(w, minutes=11)
    assert [i.state for i in w.pagerduty.incidents] == ["resolved", "triggered"]
    assert {i.dedup_key[-1] for i in w.pagerduty.incidents} == {"1", "2"}
    assert await look(w) == []


async def test_an_alert_that_ends_while_it_is_silenced_ends_here(tmp_path: Path) -> None:
    """Alertmanager never tells of that end. It is asked, and the incident is over, at PagerDuty, too."""
    async with world(tmp_path) as w, alertmanager(tmp_path, f"{w.c.base}/webhooks/alertmanager") as base:
        labels = {"alertname": "HighErrorRate", "service": "payment-service", "severity": "critical"}
        now = w.clock.now()
        times = {"startsAt": iso(now - timedelta(minutes=5)), "endsAt": iso(now + timedelta(hours=1))}
        alert = {"labels": labels, **times}
        await push(base, alert)
        await wait_for(w.c.incidents, "an incident", 30)
        await w.calm()
        (head,) = await w.c.incidents()
        assert head["state"] == "triggered"
        await silence(base, labels, now)
        await push(base, {**alert, "endsAt": iso(w.clock.now() - timedelta(seconds=1))})
        await wait_for(lambda: gone(base), "Alertmanager has it no more", 30)
        poller = ask(w, base)
        for minutes in (0.0, 11.0):
            w.clock.skipped += 60 * minutes
            w.app.reconciling.surveyed((await poller.fetch()).survey)
            await w.app.reconciling.turn()
        await poller.close()
        await wait_for(lambda: w.page.state == "resolved", "PagerDuty shows it")
        assert [x["state"] for x in await w.c.incidents()] == ["resolved"]


def ask(w: World, base: str) -> Any:
    """Return a poller of that Alertmanager, which its deliveries name by its host."""
    records = [r for p in w.app.engine.partitions.values() for r in p.groups.values()]
    origins = {r.head.external_url for r in records if r.head is not None}
    settings = {"alertmanager_api_url": base, "alertmanager_api_external_url": ",".join(origins)}
    return driver.build(PollerContext(w.clock, settings))


async def silence(base: str, labels: dict[str, str], now: Any) -> None:
    matchers = [{"name": k, "value": v, "isRegex": False, "isEqual": True} for k, v in labels.items()]
    wish = {"matchers": matchers, "startsAt": iso(now), "endsAt": iso(now + timedelta(hours=1)),
            "createdBy": "ana", "comment": "x"}  # fmt: skip
    async with aiohttp.ClientSession() as session, session.post(f"{base}/api/v2/silences", json=wish) as r:
        assert r.status == 200


async def gone(base: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/api/v2/alerts") as r:
        return await r.json() == []
