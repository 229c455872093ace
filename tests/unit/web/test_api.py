"""GET and POST /api/v1: who may ask, what is asked for, and what an act becomes."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest

from router.decide import senders
from router.model.commands import CommandKind
from router.model.deploys import Change
from router.model.errors import StoreUnavailable
from router.model.events import DeployPhase
from router.model.incidents import Entry
from router.ports import DeadLetter
from tests.fakes.samples import GROUP, ONSET, alert, deploy, incident
from tests.fakes.web import Room, served

if TYPE_CHECKING:
    from aiohttp import ClientResponse

ID = f"{GROUP}.2"
ACT = f"/api/v1/incidents/{ID}/acknowledge"
READS = [
    "/api/v1/incidents",
    f"/api/v1/incidents/{ID}",
    "/api/v1/deploys",
    "/api/v1/changes",
    "/api/v1/decisions",
    "/api/v1/dead-letters",
    "/api/v1/dead-letters/0-1-0",
    "/api/v1/senders",
    "/api/v1/status",
]
JSON = {"Content-Type": "application/json"}


def room(**changes: Any) -> Room:
    """Return a room with one incident in it."""
    one = Room(**changes)
    one.reader.whole[GROUP, 2] = (incident(), [alert(1)], [Entry(ONSET, "incident_opened", "3 alerts fire")])
    one.reader.told_deploys = [deploy()]
    one.reader.letters = [
        DeadLetter(ONSET, "undelivered", "gone", b"\xff" + b"x" * 10_000, "", "0-1-0", 10_001)
    ]
    return one


async def code(response: ClientResponse) -> tuple[int, str]:
    answer = await response.json(content_type=None)
    return response.status, answer["code"]


# --- who may ask ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READS)
async def test_closed_without_tokens_off_loopback(path: str) -> None:
    """Off loopback and without tokens every path of the API is closed, and says what to set."""
    async with served(room(open_=False)) as c:
        assert await code(await c.get(path)) == (403, "api_closed")
        assert await code(await c.post(ACT, json={})) == (403, "api_closed")


@pytest.mark.parametrize("path", READS)
async def test_token_is_asked_for(path: str) -> None:
    """With tokens, each path wants one of them, whatever else is sent; the answer quotes none."""
    async with served(room(tokens=(b"first-token", b"second-token"), open_=False)) as c:
        for wrong in ("", "Bearer", "Bearer first-toke", "Basic first-token", "Bearer \xff", "first-token"):
            response = await c.get(path, headers={"Authorization": wrong})
            assert await code(response) == (401, "bad_token")
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert "first-token" not in await response.text()
        for right in ("Bearer first-token", "bearer second-token"):
            assert (await c.get(path, headers={"Authorization": right})).status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("127.8.9.1", 200),
        ("[::1]:8080", 200),
        ("localhost:8080", 200),
        ("LocalHost", 200),
        ("router.localhost:8080", 200),
        ("evil.example.com:8080", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("localhost.evil.example.com", 403),
        ("192.168.1.5", 403),
        ("[::1", 403),
    ],
)
async def test_open_api_answers_loopback_names_only(host: str, status: int) -> None:
    """While the API is open, a name that was pointed at this machine from outside is not answered."""
    async with served(room()) as c:
        assert (await c.get("/api/v1/status", headers={"Host": host})).status == status


async def test_token_opens_any_name() -> None:
    """With tokens, the router may be called by whatever name it has."""
    async with served(room(tokens=(b"token",))) as c:
        headers = {"Host": "router.example.com", "Authorization": "Bearer token"}
        assert (await c.get("/api/v1/status", headers=headers)).status == 200


# --- what is asked for ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=501", "limit=-1", "limit=", "limit=1e2", "limit=%D9%A1", "limit=9999999999999999",
        "state=closed", "state=", "stat=open", "state=open&state=all", "limit=1&limit=2",
    ],
)  # fmt: skip
async def test_bad_query_is_refused(query: str) -> None:
    """A parameter that is out of bounds, no number or misspelt is refused before the store is asked."""
    one = room()
    async with served(one) as c:
        assert await code(await c.get(f"/api/v1/incidents?{query}")) == (400, "bad_query")
    assert one.reader.asked == []


@pytest.mark.parametrize("path", ["/api/v1/incidents", "/api/v1/deploys", "/api/v1/dead-letters"])
async def test_limit_has_a_default_and_bounds(path: str) -> None:
    """Lists ask the store for 100, or for what was asked up to 500."""
    one = room()
    async with served(one) as c:
        for query, limit in (("", 100), ("?limit=1", 1), ("?limit=500", 500)):
            assert (await c.get(path + query)).status == 200
            assert one.reader.asked[-1]["limit"] == limit
        assert await code(await c.get(f"{path}?limit=501")) == (400, "bad_query")
        assert await code(await c.get(f"{path}?lmit=5")) == (400, "bad_query")


async def test_state_chooses_open_ones() -> None:
    """``state=open`` leaves the closed ones out, ``all`` and nothing do not."""
    one = room()
    async with served(one) as c:
        for query, closed in (("?state=open", False), ("?state=all", True), ("", True)):
            await c.get(f"/api/v1/incidents{query}")
            assert one.reader.asked[-1]["include_closed"] is closed


async def test_incident_is_shown_whole() -> None:
    """One incident comes with its alerts, its timeline, and its suspects with reasons for and against."""
    async with served(room()) as c:
        shown = await (await c.get(f"/api/v1/incidents/{ID}")).json()
    assert shown["id"] == ID
    assert shown["alerts"][0]["status"] == "firing"
    assert shown["timeline"][0]["text"] == "3 alerts fire"
    assert [r["why"] for r in shown["suspects"][0]["against"]] == ["other_deploys_compete"]
    assert len(shown["suspects"][0]["for"]) == 3
    assert shown["suspect"]["version"] == "1.42.0"


async def test_dead_letters_are_bounded_text() -> None:
    """A dead letter's payload is shown as text, whatever its bytes, and cut."""
    async with served(room()) as c:
        (letter,) = (await (await c.get("/api/v1/dead-letters")).json())["dead_letters"]
    assert len(letter["payload"]) <= 4096
    assert letter["payload"].startswith("\ufffdx")


@pytest.mark.parametrize(
    "name",
    ["x", f"{GROUP}", f"{GROUP}.", f"{GROUP}.-1", f"{GROUP}.3", f"{GROUP.upper()}.2", "0" * 16 + ".1", "%00"],
)
async def test_unknown_incident_is_404(name: str) -> None:
    """What is no incident's id, another generation or another group is not found, read or acted on."""
    one = room()
    async with served(one) as c:
        assert await code(await c.get(f"/api/v1/incidents/{name}")) == (404, "unknown_incident")
        response = await c.post(f"/api/v1/incidents/{name}/resolve", json={})
        assert await code(response) == (404, "unknown_incident")
    assert one.door.commands == {}


@pytest.mark.parametrize("path", READS)
async def test_store_down_is_503(path: str) -> None:
    """Where the store does not answer, reads and acts are 503, with when to come again."""
    one = room()
    one.reader.error = StoreUnavailable("TimeoutError: redis.internal.example.com")
    async with served(one) as c:
        response = await c.get(path)
        assert await code(response) == (503, "store_unavailable")
        assert "redis.internal" not in await response.text()
        assert await code(await c.post(ACT, json={})) == (503, "store_unavailable")


# --- acts -------------------------------------------------------------------------------------------


async def test_act_becomes_one_command() -> None:
    """An act with its own id counts once however often it is sent; acts without one are each their own."""
    one = room()
    async with served(one) as c:
        for repeated in (False, True):
            response = await c.post(ACT, json={"by": "ana", "note": "on it", "id": "click-1"})
            assert response.status == 202
            assert await response.json() == {"status": "accepted", "repeated": repeated}
        (command,) = one.door.commands.values()
        assert (command.group, command.generation, command.kind) == (GROUP, 2, CommandKind.ACKNOWLEDGE)
        assert (command.by, command.note, command.at) == ("ana", "on it", one.clock.now())
        for seconds in (1.0, 2.0):
            one.clock.seconds += seconds
            assert (await c.post(ACT, data=b"", headers=JSON)).status == 202
    assert len(one.door.commands) == 3


async def test_same_id_for_another_act_is_another_command() -> None:
    """A client that numbers its clicks per incident may use one id for an acknowledge and a resolve."""
    one = room()
    async with served(one) as c:
        for act in ("acknowledge", "resolve"):
            path = f"/api/v1/incidents/{ID}/{act}"
            assert (await (await c.post(path, json={"id": "1"})).json())["repeated"] is False
    assert {x.kind for x in one.door.commands.values()} == {CommandKind.ACKNOWLEDGE, CommandKind.RESOLVE}


async def test_words_of_an_act_are_plain_and_bounded() -> None:
    """Who and note are kept without control characters, bounded; nobody is called api."""
    one = room()
    async with served(one) as c:
        await c.post(ACT, json={"by": "an\x1b[2Ja\n" + "x" * 999, "note": "\u202ehello\x00"})
        await c.post(ACT, json={"by": "\n", "id": "2"})
    first, second = one.door.commands.values()
    assert first.by.startswith("an[2Ja xx")
    assert len(first.by) == 200
    assert first.note == "hello"
    assert second.by == "api"


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"by=ana", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "not_json"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "not_json"),
        (gzip.compress(b"{}"), {**JSON, "Content-Encoding": "gzip"}, 415, "encoded_body"),
        (b"{", JSON, 400, "bad_body"),
        (b"[]", JSON, 400, "bad_body"),
        (b'{"by": 5}', JSON, 400, "bad_body"),
        (b'{"who": "ana"}', JSON, 400, "bad_body"),
        (b'{"by": "\xff"}', JSON, 400, "bad_body"),
        (b"[" * 3000, JSON, 400, "bad_body"),
    ],
)
async def test_unreadable_act_is_refused(
    body: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    """An act that is not the JSON object it should be becomes nothing."""
    one = room()
    async with served(one) as c:
        assert await code(await c.post(ACT, data=body, headers=headers)) == (status, said)
    assert one.door.commands == {}
    assert one.count("http_problems_total", code=said) == 1


async def test_unknown_acts_and_methods() -> None:
    """There is no other act, and an act is not read."""
    async with served(room()) as c:
        assert await code(await c.post(f"/api/v1/incidents/{ID}/delete", json={})) == (404, "not_found")
        assert await code(await c.get(ACT)) == (405, "method_not_allowed")
        assert await code(await c.delete(f"/api/v1/incidents/{ID}")) == (405, "method_not_allowed")


async def test_act_that_could_not_be_stored_is_503() -> None:
    """An act is answered 202 only once it is durable."""
    one = room()
    one.door.error = StoreUnavailable("full")
    async with served(one) as c:
        assert await code(await c.post(ACT, json={})) == (503, "store_unavailable")


async def test_senders_are_shown_with_what_is_wrong() -> None:
    """Each sender comes with when it was last heard and which alerts about it are not over."""
    one = room()
    at = senders.ms(ONSET).encode()
    one.reader.notes = {
        "heard:gitlab": at, "bad:gitlab": b"3", "failed:gitlab": b"1", "since:gitlab": at,
        "status:gitlab": b"401", "failed:slack": b"1", "deaf:slack": b"no number", "off:slack": b"hook 7",
        "watch": b"0", "told:SenderTurnedAway:gitlab": b"{}",
    }  # fmt: skip
    async with served(one) as c:
        gitlab, slack = (await (await c.get("/api/v1/senders")).json())["senders"]
    assert (gitlab["source"], gitlab["refused"], gitlab["wrong"]) == ("gitlab", 4, ["SenderTurnedAway"])
    assert gitlab["heard"] == gitlab["refused_since"] == ONSET.isoformat().replace("+00:00", "Z")
    assert (gitlab["unauthentic"], gitlab["last_status"]) == (3, 401)
    assert (slack["heard"], slack["wrong"], slack["switched_off"]) == (None, [], "hook 7")


async def test_decisions_are_shown() -> None:
    """Each line names its incident, why, and who asked where."""
    one = room()
    head, alerts, _ = one.reader.whole[GROUP, 2]
    taken = Entry(ONSET, "acknowledged", "acknowledged by ana", by="ana", generation=2, via="slack")
    one.reader.whole[GROUP, 2] = (head, alerts, [taken])
    async with served(one) as c:
        (shown,) = (await (await c.get("/api/v1/decisions?limit=5")).json())["decisions"]
    assert (shown["incident"], shown["why"], shown["by"], shown["via"]) == (
        ID,
        "acknowledged",
        "ana",
        "slack",
    )


async def test_changes_are_shown() -> None:
    """Changes come with their service, what they are called, and their facts."""
    one = room()
    change = Change("f" * 40, DeployPhase.CHECKED, ONSET, names=("v1",), facts={"test": "failed"})
    one.reader.told_changes = [("payment-service", change)]
    async with served(one) as c:
        (shown,) = (await (await c.get("/api/v1/changes")).json())["changes"]
    assert (shown["service"], shown["phase"], shown["names"]) == ("payment-service", "checked", ["v1"])
    assert shown["facts"] == {"test": "failed"}
