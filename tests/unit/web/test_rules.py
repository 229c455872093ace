"""The rules over HTTP: how they stand, loading them anew, and why something goes where it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from router.decide import outlook
from router.decide.outlook import Outlook
from router.model.errors import Problem, StoreUnavailable
from router.model.incidents import Entry
from tests.fakes.samples import GROUP, ONSET, alert, incident
from tests.fakes.silences import silence
from tests.fakes.web import Room, served

if TYPE_CHECKING:
    from aiohttp import ClientResponse

WHY, RELOAD, RULES = "/api/v1/why", "/-/reload", "/api/v1/rules"
PATHS = [("GET", RULES), ("POST", RELOAD), ("POST", WHY), ("GET", f"/api/v1/incidents/{GROUP}.2/why")]
JSON = {"Content-Type": "application/json"}
LABELS = {"service": "payment-service", "severity": "critical", "env": "prod", "alertname": "Slow"}
WRONG = [
    Problem("rules/routes.yaml", "route.receivr", "unknown key 'receivr'", "did you mean 'receiver'?", 2),
    Problem("rules/a.yaml", "bogus", "unknown key 'bogus'"),
]


async def code(response: ClientResponse) -> tuple[int, str]:
    answer = await response.json(content_type=None)
    return response.status, answer["code"]


# --- who may ask ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_they_need_what_the_api_needs(method: str, path: str) -> None:
    """Without its token nothing is answered and nothing loaded; that holds for /-/reload, too."""
    room = Room(tokens=(b"secret",))
    async with served(room) as c:
        assert await code(await c.request(method, path)) == (401, "bad_token")
    async with served(Room(open_=False)) as c:
        assert await code(await c.request(method, path)) == (403, "api_closed")
    assert room.rules.reloads == []


# --- loading anew -----------------------------------------------------------------------------------


async def test_a_reload() -> None:
    """Rules that load are in force, and their version is told."""
    room = Room()
    async with served(room) as c:
        response = await c.post(RELOAD)
        assert (response.status, await response.json()) == (200, {"status": "loaded", "version": "b1"})
    assert room.rules.reloads == ["asked by HTTP"]


async def test_a_reload_that_is_refused_says_everything() -> None:
    """Every problem is told with its place and hint, and which rules stay in force."""
    room = Room()
    room.rules.broken = list(WRONG)
    async with served(room) as c:
        response = await c.post(RELOAD)
        assert response.status == 400
        assert await response.json() == {
            "status": "refused",
            "version": "b1",
            "problems": [
                {
                    "file": "rules/routes.yaml",
                    "line": 2,
                    "path": "route.receivr",
                    "message": "unknown key 'receivr'",
                    "hint": "did you mean 'receiver'?",
                },
                {
                    "file": "rules/a.yaml",
                    "line": 0,
                    "path": "bogus",
                    "message": "unknown key 'bogus'",
                    "hint": "",
                },
            ],
        }


@pytest.mark.parametrize("path", [RULES, "/api/v1/status", "/api/v1/incidents"])
async def test_whoever_looks_is_told_of_broken_rules(path: str) -> None:
    """After rules were refused every overview says so, until good ones are loaded."""
    room = Room()
    async with served(room) as c:
        assert not (await (await c.get(path)).json()).get("banner")
        room.rules.broken = list(WRONG)
        await c.post(RELOAD)
        banner = (await (await c.get(path)).json())["banner"]
        assert "could not be loaded (2 problems, the first: rules/routes.yaml:2" in banner
        assert "those of version b1 stay in force" in banner
        room.rules.standing.problems = ()
        assert not (await (await c.get(path)).json()).get("banner")


async def test_a_banner_is_short() -> None:
    """However long a problem is, the banner is a line."""
    room = Room()
    room.rules.broken = [Problem("rules/a.yaml", "x" * 900, "y" * 900)]
    async with served(room) as c:
        await c.post(RELOAD)
        assert len((await (await c.get("/api/v1/status")).json())["banner"]) == 500


async def test_how_the_rules_stand() -> None:
    """The rules are shown with their version, since when, from where, and what was wrong with the last."""
    room = Room()
    room.rules.broken = list(WRONG[1:])
    async with served(room) as c:
        found = await (await c.get(RULES)).json()
        assert (found["version"], found["origin"], found["failed_at"]) == ("b1", "folder", None)
        assert found["loaded_at"] == "2026-03-01T10:03:00Z"
        assert found["problems"] == []
        assert found["rules"]["route"]["receiver"] == "default"
        await c.post(RELOAD)
        found = await (await c.get(RULES)).json()
        assert [p["path"] for p in found["problems"]] == ["bogus"]
        assert found["failed_at"] == "2026-03-01T10:03:00Z"


@pytest.mark.parametrize(("method", "path"), [p for p in PATHS if p[1] != WHY])
async def test_a_misspelt_parameter_is_refused(method: str, path: str) -> None:
    """What is no parameter would ask for something else than was meant; nothing is done."""
    room = Room()
    async with served(room) as c:
        assert await code(await c.request(method, f"{path}?limti=1")) == (400, "bad_query")
    assert room.rules.reloads == []


# --- why --------------------------------------------------------------------------------------------


async def test_why_an_alert_goes_somewhere() -> None:
    """The routes that take it are told with the whole tree, as of now, with what mutes it."""
    room = Room()
    room.lookout.outlook = Outlook(silences=(outlook.compiled(silence()),))
    async with served(room) as c:
        response = await c.post(WHY, json={"labels": {**LABELS, "empty": ""}})
        found = await response.json()
    assert response.status == 200
    assert found["labels"] == LABELS
    assert [t["receiver"] for t in found["taken"]] == ["payments-oncall"]
    assert found["tree"]["route"] == "root"
    assert found["muted"].startswith("silenced by ana")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"{}", id="no labels"),
        pytest.param(b'{"labels": ["a"]}', id="a list of labels"),
        pytest.param(b'{"labels": {"a": 1}}', id="a number as value"),
        pytest.param(b'{"labels": {}, "more": 1}', id="an unknown key"),
        pytest.param(b'{"labels": {"a": "\xff"}}', id="not UTF-8"),
        pytest.param(b"[" * 60_000, id="too deep"),
    ],
)
async def test_a_question_must_be_labels(body: bytes) -> None:
    """Anything else is refused in words."""
    async with served(Room(), max_body=1 << 20) as c:
        assert await code(await c.post(WHY, data=body, headers=JSON)) == (400, "bad_body")


async def test_a_question_is_bounded() -> None:
    """A hundred labels are answered, more are not; nor is a body that is no JSON, or a large one."""
    async with served(Room(), max_body=1 << 20) as c:
        labels = {f"l{n}": "x" for n in range(100)}
        assert (await c.post(WHY, json={"labels": labels})).status == 200
        assert await code(await c.post(WHY, json={"labels": {**labels, "one": "x"}})) == (400, "bad_body")
        assert await code(await c.post(WHY, data=b"{}")) == (415, "not_json")
        large = {"labels": {"a": "x" * (64 << 10)}}
        assert (await c.post(WHY, json=large)).status == 413


def room_with_incident(**changes: Any) -> Room:
    room = Room()
    head = incident(**changes)
    room.reader.whole[GROUP, 2] = (head, [alert(1)], [Entry(ONSET, "incident_opened", "3 alerts fire")])
    return room


async def test_why_an_incident_stands_as_it_does() -> None:
    """Its route, suspects and timeline are told, and where each of its alerts would go now."""
    room = room_with_incident()
    async with served(room) as c:
        response = await c.get(f"/api/v1/incidents/{GROUP}.2/why")
        found = await response.json()
    assert response.status == 200
    assert (found["incident"], found["state"]) == (f"{GROUP}.2", "triggered")
    assert found["suspects"][0]["suspected"] is True
    assert [t["receiver"] for t in found["alerts"][0]["taken"]] == ["payments-oncall"]
    assert {"services": ["payment-service"]} in room.reader.asked


async def test_an_incident_without_a_service_asks_for_no_deploys() -> None:
    """Where no service is known there is nothing to look up."""
    room = room_with_incident(service="")
    async with served(room) as c:
        assert (await c.get(f"/api/v1/incidents/{GROUP}.2/why")).status == 200
    assert [set(a) for a in room.reader.asked] == [{"group", "generation"}]


@pytest.mark.parametrize("name", ["nonsense", f"{GROUP}.9", f"{GROUP}.x", f"{GROUP}"])
async def test_an_incident_that_is_not_there(name: str) -> None:
    """An id that leads nowhere is told, with what an id looks like."""
    async with served(room_with_incident()) as c:
        assert await code(await c.get(f"/api/v1/incidents/{name}/why")) == (404, "unknown_incident")


async def test_why_without_the_store() -> None:
    """While the store does not answer, an incident's reasons are not known, and that is said."""
    room = room_with_incident()
    room.reader.error = StoreUnavailable("down")
    async with served(room) as c:
        assert (await c.get(f"/api/v1/incidents/{GROUP}.2/why")).status == 503
