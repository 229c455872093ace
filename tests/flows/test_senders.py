"""Senders in trouble become incidents, and Argo CD's API fills in what its notifications lost."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from router import settings
from router.app import App
from router.decide import senders as judging
from router.kit.clock import SystemClock
from router.store.keys import SENDERS
from tests.conftest import wait_for
from tests.fakes import senders
from tests.fakes.argocd import TOKEN, FakeArgoCD, application
from tests.fakes.gitlab import TOKEN as GITLAB_TOKEN
from tests.fakes.gitlab import FakeGitLab
from tests.flows.harness import ROUTING_KEY, Client, client, environ, iso, running, write_rules

if TYPE_CHECKING:
    from datetime import datetime

    from tests.fakes.pagerduty import FakePagerDuty
    from tests.fakes.slack import FakeSlack

SHIPPED = Path(__file__).resolve().parents[2] / "rules"
WATCH = """
senders:
  - source: gitlab
    silent_after: 5m
    severity: critical
    labels: {team: platform}
  - source: argocd_api
    silent_after: 5m
"""


class MovedClock(SystemClock):
    """The real clock; its wall time is moved on by hand."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def now(self) -> datetime:
        return super().now() + self.moved


@pytest.fixture
def env(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> dict[str, str]:
    write_rules(tmp_path / "rules", {"senders.yaml": WATCH})
    return environ(
        tmp_path,
        ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
        ROUTER_SLACK_API_URL=slack.url,
        **senders.environment("gitlab"),
    )


async def post(c: Client, key: str = "") -> int:
    headers, body = senders.delivery("gitlab", "push")
    return (
        await c.post(
            "/webhooks/gitlab", body, headers={**headers, **({"X-Gitlab-Token": key} if key else {})}
        )
    )[0]


async def about(c: Client, name: str) -> dict[str, str]:
    """Return the states of incidents about senders, by their sources."""
    return {
        i["labels"]["source"]: i["state"] for i in await c.incidents() if i["labels"]["alertname"] == name
    }


async def test_silence_pages_and_ends_by_itself(env: dict[str, str], pagerduty: FakePagerDuty) -> None:
    """GitLab falls silent: one page that says since when and what to do; its next delivery resolves it."""
    clock = MovedClock()
    app = App(settings.load(env), env, clock)
    await app.start()
    try:
        async with client(app.port) as c:
            assert await post(c) == 202
            await app.senders.turn()
            for _ in range(7):
                clock.moved += timedelta(seconds=50)
                await app.senders.turn()
            await wait_for(lambda: pagerduty.incidents, "the page is out")
            (incident,) = await c.incidents()
            assert incident["summary"] == "gitlab is silent"
            assert (incident["severity"], incident["labels"]["team"]) == ("critical", "platform")
            _, whole = await c.get(f"/api/v1/incidents/{incident['id']}")
            assert "Edit > Test" in str(whole["alerts"])
            await app.senders.turn()
            assert await post(c) == 202
            await app.senders.turn()

            async def over() -> bool:
                return (await about(c, "SenderSilent")) == {"gitlab": "resolved"}

            await wait_for(over, "the silence is over")
        assert len(pagerduty.incidents) == 1
    finally:
        await app.stop()


async def test_a_wrong_secret_is_an_incident(env: dict[str, str]) -> None:
    """Four deliveries in a row with a wrong secret are an incident; one with the right secret ends it."""
    async with running(env) as app, client(app.port) as c:
        for key in ("", "rotated", "rotated", "rotated", "rotated"):
            assert await post(c, key) == (401 if key else 202)
        await app.senders.turn()

        async def told() -> bool:
            return (await about(c, "SenderTurnedAway")) == {"gitlab": "triggered"}

        await wait_for(told, "the incident is open")
        assert await post(c) == 202
        await app.senders.turn()

        async def over() -> bool:
            return (await about(c, "SenderTurnedAway")) == {"gitlab": "resolved"}

        await wait_for(over, "the incident is over")


async def test_projects_that_cannot_be_polled_are_named(env: dict[str, str], tmp_path: Path) -> None:
    """A project whose name depends on the environment is not asked for, and the log says so at the start."""
    catalogue = """
services:
  - {name: payment-service, gitlab_projects: [shop/payment-service, "shop/{environment}-payments"]}
"""
    write_rules(tmp_path / "rules", {"senders.yaml": WATCH, "services.yaml": catalogue})
    async with FakeGitLab() as gitlab:
        gitlab.add("shop/payment-service")
        env |= {"ROUTER_GITLAB_API_URL": gitlab.url, "ROUTER_GITLAB_API_TOKEN": GITLAB_TOKEN}
        with capture_logs() as logs:
            async with running(env):
                await gitlab.arrived(2)
        assert all("environment" not in path for path in gitlab.raw)
    (told,) = [line for line in logs if line["event"] == "projects_not_polled"]
    assert (told["log_level"], told["projects"]) == ("info", ["shop/{environment}-payments"])


async def test_polling_fills_in_what_was_lost(env: dict[str, str]) -> None:
    """A sync of which no notification came is known from Argo CD's API; its failure is told."""
    clock = MovedClock()
    started = clock.now() - timedelta(minutes=3)
    async with FakeArgoCD() as argocd:
        argocd.put(application("payment-service-prod", iso(started)[:19] + "Z", iso(started)[:19] + "Z"))
        env |= {"ROUTER_ARGOCD_API_URL": argocd.url, "ROUTER_ARGOCD_API_TOKEN": TOKEN}
        app = App(settings.load(env), env, clock)
        await app.start()
        try:
            async with client(app.port) as c:

                async def known() -> list[dict]:
                    return (await c.get("/api/v1/deploys"))[1]["deploys"]

                await wait_for(known, "the deploy is known")
                (deploy,) = await known()
                assert (deploy["service"], deploy["environment"], deploy["version"]) == (
                    "payment-service", "prod", "v1.42.0",
                )  # fmt: skip
                assert deploy["tellers"] == ["argocd"]
                argocd.allowed = False
                (polling,) = app.pollings
                await app.senders.turn()
                for _ in range(7):
                    clock.moved += timedelta(seconds=50)
                    await polling.turn()
                    await app.senders.turn()

                async def told() -> bool:
                    return (await about(c, "SenderSilent")) == {"argocd_api": "triggered"}

                await wait_for(told, "the failing poll is an incident")
                (incident,) = await c.incidents()
                _, whole = await c.get(f"/api/v1/incidents/{incident['id']}")
                assert "applications, get" in str(whole["alerts"])
                assert TOKEN not in str(whole)
        finally:
            await app.stop()


async def test_each_silent_sender_is_an_incident_of_its_own(
    env: dict[str, str], pagerduty: FakePagerDuty
) -> None:
    """By the rules that are shipped a second silent sender pages again, and each page names its own."""
    env |= {"ROUTER_RULES": str(SHIPPED), "PAGERDUTY_DEFAULT_ROUTING_KEY": ROUTING_KEY}
    app = App(settings.load(env), env)
    await app.start()
    try:
        async with client(app.port) as c:
            for number, (source, hours) in enumerate((("argocd_api", 1), ("gitlab", 24 * 5)), 1):
                heard = judging.ms(app.clock.now() - timedelta(hours=hours))
                await app.links[1].read([("HSET", SENDERS, f"heard:{source}", heard)])
                await app.senders.turn()
                await wait_for(lambda n=number: len(pagerduty.incidents) == n, f"page {number} is out")
                payload = pagerduty.events[-1].body["payload"]
                assert payload["custom_details"]["annotations"]["summary"] == f"{source} is silent"
                assert f"source={source}" in payload["group"]
            assert await about(c, "SenderSilent") == {"argocd_api": "triggered", "gitlab": "triggered"}
            assert {i["summary"] for i in await c.incidents()} == {"argocd_api is silent", "gitlab is silent"}
    finally:
        await app.stop()


async def test_the_last_delivery_before_a_stop_is_noted(env: dict[str, str]) -> None:
    """A delivery is noted at once where its sender was long not heard, else by a graceful stop."""
    clock = MovedClock()
    env["ROUTER_RULES"] = str(SHIPPED)
    app = App(settings.load(env), env, clock)

    async def heard() -> str:
        _, answer = await c.get("/api/v1/senders")
        return next((x["heard"] for x in answer["senders"] if x["source"] == "gitlab"), "")

    await app.start()
    try:
        async with client(app.port) as c:
            assert await post(c) == 202
            first = await wait_for(heard, "the first delivery is noted", 5)  # a turn comes each 10 s
            clock.moved += timedelta(seconds=30)
            assert await post(c) == 202
            assert await heard() == first
    finally:
        await app.stop()
    async with running(env) as again, client(again.port) as c:
        assert await heard() > str(first)


async def test_a_closed_source_that_the_rules_watch_is_an_incident(env: dict[str, str]) -> None:
    """GitLab knocks at a router off loopback that has no secret for it: the incident says what to set."""
    del env["ROUTER_SOURCE_GITLAB_SECRETS"]
    env |= {"ROUTER_LISTEN": "0.0.0.0:0", "ROUTER_SOURCE_ARGOCD_SECRETS": "s", "ROUTER_API_TOKENS": "token"}
    async with running(env) as app, client(app.port) as c:
        c.session.headers["Authorization"] = "Bearer token"
        for _ in range(4):
            assert await post(c) == 403
        await app.senders.turn()

        async def told() -> bool:
            return (await about(c, "SenderTurnedAway")) == {"gitlab": "triggered"}

        await wait_for(told, "the incident is open")
        (incident,) = await c.incidents()
        _, whole = await c.get(f"/api/v1/incidents/{incident['id']}")
        assert "until ROUTER_SOURCE_GITLAB_SECRETS is set" in str(whole["alerts"])
