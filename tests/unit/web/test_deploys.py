"""GET and POST /api/v1/deploys: what is shown of a deploy, and what telling of one becomes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from router.model.deploys import Ledger
from router.model.events import DeployPhase, DeployReport, OriginKind
from tests.fakes.samples import GROUP, ONSET, deploy, incident, suspect
from tests.fakes.web import Room, served

if TYPE_CHECKING:
    from aiohttp import ClientResponse

BASE = "/api/v1/deploys"
ONE = "payment-service/prod/1.42.0/1"
BODY = {"service": "payment-service", "version": "migration-7"}


def room() -> Room:
    one = Room()
    other = deploy(id="dev/1.41.0/1", environment="dev", phases={DeployPhase.LIVE: ONSET})
    one.reader.told_deploys = [deploy(), other]
    one.reader.told_ledgers = {"payment-service": Ledger("payment-service", deploys=(deploy(), other))}
    one.reader.whole[GROUP, 2] = (incident(suspects=(suspect(), suspect(deploy_id="x"))), [], [])
    return one


async def code(response: ClientResponse) -> tuple[int, str]:
    return response.status, (await response.json(content_type=None))["code"]


async def test_lists_are_of_a_service_and_an_environment() -> None:
    """Newest first; without a name all of them."""
    async with served(room()) as c:
        for query, ids in (
            ("", ["prod/1.42.0/1", "dev/1.41.0/1"]),
            ("?service=payment-service", ["dev/1.41.0/1", "prod/1.42.0/1"]),
            ("?environment=dev", ["dev/1.41.0/1"]),
            ("?service=payment-service&environment=prod&limit=1", ["prod/1.42.0/1"]),
            ("?service=nobody", []),
        ):
            shown = await (await c.get(BASE + query)).json()
            assert [d["id"] for d in shown["deploys"]] == ids, query


async def test_one_is_shown_with_steps_and_blame() -> None:
    """The five steps in order, untold ones as null, and the incidents that suspect this very deploy."""
    async with served(room()) as c:
        shown = await (await c.get(f"{BASE}/{ONE}")).json()
        assert await code(await c.get(f"{BASE}/payment-service/prod/9/9")) == (404, "unknown_deploy")
        assert await code(await c.get(f"{BASE}/nobody/prod/1.42.0/1")) == (404, "unknown_deploy")
    steps = {s["step"]: s["at"] for s in shown["steps"]}
    assert list(steps) == ["deploy_green", "test_green", "switch_traffic", "monitor", "clean_up_blue"]
    assert [name for name, at in steps.items() if at is None] == ["test_green", "clean_up_blue"]
    (blame,) = shown["suspected_by"]
    assert (blame["incident"], blame["score"]) == (f"{GROUP}.2", 5.5)


async def test_telling_of_one_becomes_a_report() -> None:
    """Of the service itself, now and live unless said otherwise; sent again it has the same id."""
    one = room()
    async with served(one) as c:
        for _ in range(2):
            more = {"environment": "prod", "title": "an index", "author": "ana", "id": "m7"}
            response = await c.post(BASE, json={**BODY, **more})
            assert (response.status, (await response.json())["status"]) == (202, "accepted")
    first, second = one.door.told
    assert isinstance(first, DeployReport)
    assert first.event_id == second.event_id
    assert (first.source, first.origin_kind, first.origin) == ("api", OriginKind.SERVICE, "payment-service")
    assert (first.phase, first.names, first.at) == (DeployPhase.LIVE, ("migration-7",), one.clock.now())
    assert (first.environment, first.title, first.author) == ("prod", "an index", "ana")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"service": "a"},
        {"service": "", "version": "1"},
        {**BODY, "phase": "gone"},
        {**BODY, "phase": "merged"},
        {**BODY, "at": "2026-03-01T10:00:00"},
        {**BODY, "at": (ONSET + timedelta(days=1)).isoformat()},
        {**BODY, "at": "0001-01-01T00:00:00+23:59"},
        {**BODY, "url": "javascript:alert(1)"},
        {**BODY, "titel": "x"},
        {**BODY, "title": "x" * 1001},
    ],
)
async def test_what_tells_of_nothing_is_refused(body: dict[str, Any]) -> None:
    """With what is wrong, and nothing is taken."""
    one = room()
    async with served(one) as c:
        assert await code(await c.post(BASE, json=body)) == (400, "bad_body")
        assert await code(await c.post(BASE, data=b"x")) == (415, "not_json")
    assert one.door.told == []
