"""Deploys told by GitLab and Argo CD, and the page that names them, or says why not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from router.demo import Story
from tests.conftest import wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.flows.harness import Client, alert, body, tell

if TYPE_CHECKING:
    pass

NOW = datetime.now(UTC)  # noqa: TID251  deploys are forgotten by age, so the story is told now


async def test_tellers_make_one_deploy_and_one_change_event(c: Client, pagerduty: FakePagerDuty) -> None:
    """Seven deliveries of GitLab and Argo CD, each sent twice, are one deploy record and one change event."""
    story = Story(NOW)
    await tell(c, [*story.deploy(), *story.deploy()])
    await wait_for(c.settled, "all is told")
    _, shown = await c.get("/api/v1/deploys")
    (deploy,) = shown["deploys"]
    assert (deploy["service"], deploy["environment"], deploy["version"]) == (
        "payment-service",
        "prod",
        story.tag,
    )
    assert set(deploy["tellers"]) == {"gitlab", "argocd"}
    assert {"started", "green_deployed", "green_tested", "switched", "live"} <= set(deploy["phases"])
    assert deploy["title"] == story.title
    assert len(pagerduty.changes) == 1
    assert "payment-service" in pagerduty.changes[0].body["payload"]["summary"]


async def test_page_names_the_deploy_with_reasons(c: Client, pagerduty: FakePagerDuty) -> None:
    """The page that goes out after a switch names the deploy, with evidence for it."""
    story = Story(NOW)
    await tell(c, [*story.deploy(), *story.alerts()])
    await wait_for(c.settled, "all is told")
    (incident,) = await c.incidents()
    assert incident["suspect"]["version"] == story.tag
    assert {"same_service", "switched_before_onset", "version_label_matches"} <= {
        r["why"] for r in incident["suspect"]["for"]
    }
    (page,) = pagerduty.incidents
    assert story.tag in page.summary


async def test_deploy_told_late_wakes_the_open_incident(c: Client, pagerduty: FakePagerDuty) -> None:
    """Where the deploy's events come after the alert, the open incident finds its suspect and tells it."""
    story = Story(NOW)
    await tell(c, story.alerts())
    await wait_for(lambda: pagerduty.incidents, "a page")
    assert (await c.incidents())[0]["suspect"] is None
    await tell(c, story.deploy())

    async def named() -> bool:
        suspect = (await c.incidents())[0]["suspect"]
        return suspect is not None and suspect["version"] == story.tag

    await wait_for(named, "the suspect is found")
    await wait_for(lambda: story.tag in pagerduty.incidents[0].summary, "PagerDuty is told")
    assert len(pagerduty.incidents) == 1


async def test_alert_older_than_the_switch_clears_the_deploy(c: Client) -> None:
    """An alert that began before the switch does not blame the deploy, and says so."""
    story = Story(NOW)
    await tell(c, story.deploy())
    await c.post("/webhooks/alertmanager", body(alert(at=NOW - timedelta(minutes=20))))
    await wait_for(c.settled, "all is told")
    (incident,) = await c.incidents()
    assert incident["suspect"] is None
    _, whole = await c.get(f"/api/v1/incidents/{incident['id']}")
    assert "onset_before_switch" in {r["why"] for r in whole["suspects"][0]["against"]}


async def test_dependency_is_suspected_for_its_dependents(c: Client) -> None:
    """A deploy of a dependency is named as possible; it is suspected once that is seen to fail itself."""
    story = Story(NOW)
    deliveries = [d for d in story.deploy() if d.kind == "gitlab"]
    for d in deliveries:
        d.body["project"] = {**d.body["project"], "path_with_namespace": "shop/customer-service"}
    await tell(c, deliveries)
    await c.post("/webhooks/alertmanager", body(alert(at=NOW - timedelta(minutes=1))))
    await wait_for(c.settled, "all is told")
    (incident,) = await c.incidents()
    _, whole = await c.get(f"/api/v1/incidents/{incident['id']}")
    (first,) = whole["suspects"]
    assert (first["service"], first["standing"]) == ("customer-service", "possible")
    assert "dependency" in {r["why"] for r in first["for"]}
    assert "deployed_service_is_well" in {r["why"] for r in first["against"]}


async def test_other_environment_is_not_suspected(c: Client) -> None:
    """A deploy to prod is no suspect for an alert in staging."""
    story = Story(NOW)
    await tell(c, story.deploy())
    await c.post("/webhooks/alertmanager", body(alert(at=NOW - timedelta(minutes=1), env="staging")))
    await wait_for(c.settled, "all is told")
    (incident,) = await c.incidents()
    assert incident["suspect"] is None
