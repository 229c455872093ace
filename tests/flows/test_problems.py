"""Two incidents of one deploy: one page, one thread; the second is told when the first is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from router.demo import Story
from tests.conftest import wait_for
from tests.flows.harness import Client, alert, body, tell

if TYPE_CHECKING:
    from tests.fakes.pagerduty import FakePagerDuty
    from tests.fakes.slack import FakeSlack

NOW = datetime.now(UTC)  # noqa: TID251  deploys are forgotten by age, so the story is told now


async def by_title(c: Client) -> dict[str, dict[str, Any]]:
    return {i["title"]: i for i in await c.incidents()}


async def test_the_second_incident_of_a_deploy_joins_the_first(
    c: Client, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """One page for both; the first one's thread says so, and when it is over the second is told."""
    story = Story(NOW)
    await tell(c, story.deploy())
    await wait_for(c.settled, "the deploy is told")
    began = NOW - timedelta(minutes=12)
    errors, slow = (alert(name, at=began, version=story.tag) for name in ("HighErrorRate", "SlowAnswers"))
    await c.post("/webhooks/alertmanager", body(errors))
    await wait_for(c.settled, "the first is told")
    await c.post("/webhooks/alertmanager", body(slow))
    await wait_for(c.settled, "the second is decided")
    found = await by_title(c)
    assert found["HighErrorRate"]["state"] == "triggered"
    assert found["SlowAnswers"]["state"] == "merged"
    assert found["SlowAnswers"]["merged_into"] == found["HighErrorRate"]["id"]
    assert [p.summary for p in pagerduty.incidents if "SlowAnswers" in p.summary] == []

    _, whole = await c.get(f"/api/v1/incidents/{found['HighErrorRate']['id']}")
    assert any("SlowAnswers" in e["text"] for e in whole["timeline"])
    (message,) = slack.messages()
    await wait_for(lambda: any("SlowAnswers" in r.text for r in message.replies), "its thread says so")

    (deploy,) = (await c.get("/api/v1/deploys"))[1]["deploys"]
    _, shown = await c.get(f"/api/v1/deploys/payment-service/{deploy['id']}")
    assert {p["title"]: (p["open"], p["told"]) for p in shown["problem"]} == {
        "HighErrorRate": (True, True),
        "SlowAnswers": (True, False),
    }

    over = alert("HighErrorRate", status="resolved", at=began, minutes=12, version=story.tag)
    await c.post("/webhooks/alertmanager", body(over))

    async def told() -> bool:
        return (await by_title(c))["SlowAnswers"]["state"] == "triggered"

    await wait_for(told, "the second is told by itself")
    await wait_for(c.settled, "all is told")
    assert [p.summary for p in pagerduty.incidents if "SlowAnswers" in p.summary]
