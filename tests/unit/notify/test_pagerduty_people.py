"""PagerDuty in people's own names: who is credited, who is only noted, and that nothing waits for it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from pydantic import SecretStr

from router.model.commands import OUR_MARK
from router.model.destinations import Destination, Lane, Want
from router.model.outcomes import Delivered
from router.notify.pagerduty import Options, PagerDuty
from tests.fakes import samples
from tests.fakes.pagerduty_site import TOKEN, FakePagerDutySite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OPTIONS = Options(routing_key=SecretStr("R" + "0" * 31))
TAKEN = {"acknowledged_by": "ana", "acknowledged_id": "U0ANA", "acknowledged_via": "slack"}


@pytest.fixture
async def vendor() -> AsyncIterator[FakePagerDutySite]:
    async with FakePagerDutySite() as one:
        yield one


async def emails(via: str, person: str) -> str:
    """Know two people, of whom one has no user at PagerDuty."""
    known = {"U0ANA": "ana@example.com", "U0GONE": "gone@example.com"}
    return known.get(person, "") if via == "slack" else ""


def notifier(vendor: FakePagerDutySite, token: str = TOKEN, sender: str = "router@example.com") -> PagerDuty:
    context = samples.context(
        pagerduty_events_url=vendor.url, pagerduty_api_url=vendor.url, pagerduty_write_token=token,
        pagerduty_from=sender,
    )  # fmt: skip
    return PagerDuty(dataclasses.replace(context, emails=emails))


async def told(one: PagerDuty, want: Want, **head: Any) -> None:
    """Trigger an incident, then tell what somebody did."""
    assert isinstance(await one.send(samples.job(OPTIONS)), Delivered)
    incident = samples.incident(destinations={"x/pagerduty/0": Destination(Lane.PAGE)}, **head)
    assert isinstance(await one.send(samples.job(OPTIONS, incident, want=want)), Delivered)
    await one.close()


async def test_an_acknowledgement_goes_in_the_persons_name(vendor: FakePagerDutySite) -> None:
    """Who took it in Slack has taken it at PagerDuty, by one call, without an event and without a note."""
    await told(notifier(vendor), Want.ACKNOWLEDGED, **TAKEN)
    (incident,) = vendor.incidents
    assert (incident.state, vendor.site(incident).taken_by) == ("acknowledged", "ana@example.com")
    assert [e.action for e in vendor.events] == ["trigger"]
    assert vendor.site(incident).notes == []


async def test_a_resolve_goes_in_the_persons_name(vendor: FakePagerDutySite) -> None:
    """The same for an end by hand; what the alerts ended is nobody's doing."""
    await told(notifier(vendor), Want.RESOLVED, resolved_by="ana", resolved_id="U0ANA", resolved_via="slack")
    await told(notifier(vendor), Want.RESOLVED)
    assert [vendor.site(i).ended_by for i in vendor.incidents] == ["ana@example.com", ""]
    assert [i.state for i in vendor.incidents] == ["resolved", "resolved"]


@pytest.mark.parametrize(
    "who",
    [
        {**TAKEN, "acknowledged_by": "cy", "acknowledged_id": "U0CY"},
        {**TAKEN, "acknowledged_by": "gone", "acknowledged_id": "U0GONE"},
        {"acknowledged_by": "cy", "acknowledged_via": "api"},
    ],
    ids=["no e-mail", "no user there", "by the API"],
)
async def test_whom_nobody_knows_there_is_noted(vendor: FakePagerDutySite, who: dict[str, str]) -> None:
    """It is acknowledged by event, in nobody's name, and a note says who it was and where."""
    await told(notifier(vendor), Want.ACKNOWLEDGED, **who)
    (incident,) = vendor.incidents
    assert (incident.state, vendor.site(incident).taken_by) == ("acknowledged", "")
    said = f"Acknowledged by {who['acknowledged_by']} through {who['acknowledged_via']} {OUR_MARK}"
    assert vendor.site(incident).notes == [("router@example.com", said)]


async def test_without_a_user_of_its_own_it_notes_nothing(vendor: FakePagerDutySite) -> None:
    """The state is right all the same."""
    await told(notifier(vendor, sender=""), Want.ACKNOWLEDGED, **{**TAKEN, "acknowledged_id": "U0CY"})
    assert vendor.incidents[0].state == "acknowledged"
    assert vendor.site(vendor.incidents[0]).notes == []


async def test_without_a_key_to_write_all_goes_by_event(vendor: FakePagerDutySite) -> None:
    """The REST API is not asked at all."""
    await told(notifier(vendor, token=""), Want.ACKNOWLEDGED, **TAKEN)
    assert vendor.incidents[0].state == "acknowledged"
    assert vendor.rest == []


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_a_failing_api_holds_nothing_up(vendor: FakePagerDutySite, status: int) -> None:
    """Where the REST API fails, the act goes by event at once: somebody else would be called meanwhile."""
    vendor.rest_faults = [status] * 4
    await told(notifier(vendor), Want.ACKNOWLEDGED, **TAKEN)
    assert vendor.incidents[0].state == "acknowledged"
    assert [e.action for e in vendor.events] == ["trigger", "acknowledge"]


async def test_what_was_done_there_is_nobodys_here(vendor: FakePagerDutySite) -> None:
    """An acknowledgement that came from PagerDuty is not told in a name, nor noted."""
    await told(notifier(vendor), Want.ACKNOWLEDGED, **{**TAKEN, "acknowledged_via": "pagerduty"})
    assert vendor.rest == []


async def test_an_incident_that_is_not_there_yet_is_told_by_event(vendor: FakePagerDutySite) -> None:
    """Where fewer incidents are found than are paged, the others get the event."""
    one = notifier(vendor)
    await one.send(samples.job(OPTIONS))
    two = {f"x/pagerduty/{n}": Destination(Lane.PAGE) for n in range(2)}
    await one.send(samples.job(OPTIONS, samples.incident(destinations=two, **TAKEN), want=Want.ACKNOWLEDGED))
    await one.close()
    assert [e.action for e in vendor.events] == ["trigger", "acknowledge"]
    assert vendor.site(vendor.incidents[0]).taken_by == "ana@example.com"


async def test_requests_are_what_the_api_takes(vendor: FakePagerDutySite, shared: Path) -> None:
    """Bodies keep to PagerDuty's own description of its REST API."""
    await told(notifier(vendor), Want.ACKNOWLEDGED, **TAKEN)
    await told(notifier(vendor), Want.ACKNOWLEDGED, **{**TAKEN, "acknowledged_id": "U0CY"})
    paths = json.loads((shared / "specs" / "pagerduty-rest-v2-openapi.json").read_text())["paths"]
    seen = set()
    for method, path, _, body in vendor.rest:
        if method == "GET":
            continue
        name = "/incidents/{id}/notes" if path.endswith("/notes") else "/incidents/{id}"
        described = paths[name][method.lower()]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, {"type": "object", "required": described.get("required", []),
                                   "properties": {k: {"type": "object", "required": v.get("required", [])}
                                                  for k, v in described["properties"].items()}})  # fmt: skip
        seen.add((method, name))
    assert seen == {("PUT", "/incidents/{id}"), ("POST", "/incidents/{id}/notes")}


async def test_who_cannot_be_found_out_in_time_is_noted(vendor: FakePagerDutySite) -> None:
    """A Slack that hangs holds no acknowledgement up."""

    async def hangs(via: str, person: str) -> str:
        await asyncio.Event().wait()
        return ""

    one = notifier(vendor)
    one._emails, one._timeout_s = hangs, 0.5
    await told(one, Want.ACKNOWLEDGED, **TAKEN)
    (incident,) = vendor.incidents
    assert (incident.state, len(vendor.site(incident).notes)) == ("acknowledged", 1)
