"""What a person asks for through the API reaches PagerDuty and Slack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tests.conftest import wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows.harness import Client, alert, body

if TYPE_CHECKING:
    pass

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"


async def opened(c: Client) -> str:
    """Open one incident, wait until everybody was told, and return its path."""
    assert (await c.post(HOOK, body(alert(at=AT))))[0] == 202
    await wait_for(c.incidents, "an incident")
    await wait_for(c.settled, "all is told")
    (incident,) = await c.incidents()
    return f"/api/v1/incidents/{incident['id']}"


async def test_acknowledge_reaches_everybody_once(
    c: Client, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """An acknowledge, sent twice, is one at PagerDuty, an edit in Slack, and a line with a name."""
    path = await opened(c)
    for _ in range(2):
        status, _ = await c.post(f"{path}/acknowledge", {"by": "ana", "id": "click-1"})
        assert status == 202
    await wait_for(lambda: pagerduty.incidents[0].state == "acknowledged", "PagerDuty shows it")
    await wait_for(lambda: slack.messages()[0].edits, "the message is edited")
    await wait_for(c.settled, "all is told")
    assert [e.action for e in pagerduty.events] == ["trigger", "acknowledge"]
    (message,) = slack.messages()
    assert "ana" in f"{message.text}{message.blocks}"
    _, whole = await c.get(path)
    assert (whole["state"], whole["acknowledged_by"]) == ("acknowledged", "ana")
    assert [(e["why"], e["by"]) for e in whole["timeline"]].count(("acknowledged", "ana")) == 1


async def test_resolve_by_hand_ends_it_everywhere(
    c: Client, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """A resolve by hand closes the incident and PagerDuty's; a later acknowledge changes nothing."""
    path = await opened(c)
    assert (await c.post(f"{path}/resolve", {"by": "ana"}))[0] == 202
    await wait_for(lambda: pagerduty.incidents[0].state == "resolved", "PagerDuty shows it")
    assert (await c.post(f"{path}/acknowledge", {"by": "ben"}))[0] == 202
    await wait_for(c.settled, "all is told")
    _, whole = await c.get(path)
    assert (whole["state"], whole["resolved_by"], whole["acknowledged_by"]) == ("resolved", "ana", "")
    assert pagerduty.incidents[0].state == "resolved"
    assert slack.messages()[0].edits


async def test_act_on_an_older_generation_leaves_the_newer_alone(c: Client, pagerduty: FakePagerDuty) -> None:
    """An act on an incident that has a successor is taken, and changes neither; one not there yet is 404."""
    path = await opened(c)
    for a in (alert(at=AT, status="resolved"), alert(at=AT + timedelta(minutes=30))):
        await c.post(HOOK, body(a))
        await wait_for(c.settled, "all is told")
    old, new, none = path, path[:-1] + "2", path[:-1] + "3"
    assert (await c.post(f"{none}/resolve", {}))[0] == 404
    assert (await c.post(f"{old}/resolve", {}))[0] == 202
    await wait_for(c.settled, "all is told")
    assert (await c.get(new))[1]["state"] == "triggered"
    assert [i.state for i in pagerduty.incidents] == ["resolved", "triggered"]
