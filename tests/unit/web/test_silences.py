"""Silences over the API: Alertmanager's form, its way of changing, and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from router.model.silences import SilenceMatcher, SilenceState
from router.web import silences as web_silences
from tests.fakes.silences import START, MemorySurroundings, MutedReader, SilenceRoom, muted_by, silence

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import ClientResponse

BASE = "/api/v1/silences"
HOUR = timedelta(hours=1)


def iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def body(**changes: Any) -> dict[str, Any]:
    """Return a silence as Alertmanager's clients post it."""
    base = {
        "matchers": [{"name": "service", "value": "payment-service", "isRegex": False}],
        "startsAt": iso(START),
        "endsAt": iso(START + 2 * HOUR),
        "createdBy": "ana",
        "comment": "load test",
    }
    return base | changes


def room(*found: Any, heads: Any = ()) -> SilenceRoom:
    return SilenceRoom(MemorySurroundings(*found), MutedReader(*heads))


async def said(response: ClientResponse, status: int = 200) -> dict[str, Any]:
    found = await response.json(content_type=None)
    assert response.status == status, found
    return found


# --- read -----------------------------------------------------------------------------------------


async def test_it_is_shown_as_alertmanager_shows_it() -> None:
    """The fields of Alertmanager's gettableSilence, and how many open incidents it mutes."""
    env = SilenceMatcher("env", "dev|test", is_regex=True, is_equal=False)
    one = room(silence(matchers=(env,)), heads=[muted_by("s1"), muted_by("s1", "s2"), muted_by("s2")])
    async with one.served() as c:
        found = await said(await c.get(f"{BASE}/s1"))
        listed = await said(await c.get(BASE))
    assert found == {
        "id": "s1",
        "status": {"state": "active"},
        "updatedAt": iso(START),
        "comment": "load test",
        "createdBy": "ana",
        "startsAt": iso(START),
        "endsAt": iso(START + 2 * HOUR),
        "matchers": [{"name": "env", "value": "dev|test", "isRegex": True, "isEqual": False}],
        "annotations": {},
        "mutes": 2,
    }
    assert listed == {"silences": [found], "total": 1}


ALL = (
    silence("active"),
    silence("pending", starts_at=START + HOUR),
    silence("expired", starts_at=START - 2 * HOUR, ends_at=START),
)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["active", "pending"]),
        ("?state=active", ["active"]),
        ("?state=pending", ["pending"]),
        ("?state=expired", ["expired"]),
        ("?state=all", ["active", "pending", "expired"]),
        ("?state=all&limit=1", ["active"]),
        ("?filter=service%3Dpayment-service", ["active", "pending"]),
        ("?filter=service%3Dpayment-service&filter=env%3Ddev", []),
    ],
)
async def test_lists_are_chosen_and_ordered(query: str, ids: list[str]) -> None:
    """By default what is not over; by state and by matchers; the next to end comes first."""
    async with room(*ALL).served() as c:
        found = await said(await c.get(BASE + query))
    assert [s["id"] for s in found["silences"]] == ids
    assert found["total"] == (3 if "limit" in query else len(ids))


@pytest.mark.parametrize(
    "query",
    ["?state=over", "?limit=0", "?sate=all", "?filter=%7B%7B", "?filter=a", "?" + "&filter=a%3Db" * 51],
)
async def test_questions_that_make_no_sense_are_refused(query: str) -> None:
    """An unknown state or parameter, a broken or endless filter is told, not answered otherwise."""
    async with room(*ALL).served() as c:
        found = await said(await c.get(BASE + query), 400)
    assert found["code"] == "bad_query"


async def test_what_another_release_wrote_is_left_out() -> None:
    """One that cannot be read breaks no list, and is not there when asked for."""
    one = room(silence())
    one.shared.kept["odd"] = b"{"
    async with one.served() as c:
        assert [s["id"] for s in (await said(await c.get(BASE)))["silences"]] == ["s1"]
        for path in ("odd", "none"):
            assert (await said(await c.get(f"{BASE}/{path}"), 404))["code"] == "unknown_silence"


# --- made -----------------------------------------------------------------------------------------


async def test_a_silence_is_made() -> None:
    """It is stored, in force here at once, and answered with its id; a start in the past is now."""
    one = room()
    posted = body(startsAt="0001-01-01T00:00:00Z", createdBy=" ana\t", comment="load\ntest")
    async with one.served() as c:
        found = await said(await c.post(BASE, json=posted))
    made = one.shared[found["silenceID"]]
    assert len(found["silenceID"]) == 16
    assert (found["result"], found["mutes"], one.refreshed) == ("created", 0, 1)
    assert found["silence"]["id"] == found["silenceID"]
    assert "replaces" not in found
    assert (made.starts_at, made.created_by, made.comment) == (START, "ana", "load test")
    assert made.matchers == (SilenceMatcher("service", "payment-service"),)


LONG = "x" * 2049
REFUSED = {
    "no matcher": (body(matchers=[]), "1 to 50 matchers"),
    "too many matchers": (
        body(matchers=[{"name": f"l{n}", "value": "x", "isRegex": False} for n in range(51)]),
        "has 51",
    ),
    "an empty name": (body(matchers=[{"name": "", "value": "x", "isRegex": False}]), "name is empty"),
    "no RE2": (
        body(matchers=[{"name": "a", "value": "(?=x)", "isRegex": True}]),
        "RE2 has no look-around",
    ),
    "everything": (
        body(matchers=[{"name": "a", "value": ".*", "isRegex": True}]),
        "empty string",
    ),
    "a long name": (body(matchers=[{"name": "n" * 201, "value": "x", "isRegex": False}]), "200 characters"),
    "a long value": (body(matchers=[{"name": "a", "value": LONG, "isRegex": False}]), "its value 2048"),
    "an end in the past": (
        body(startsAt=iso(START - 2 * HOUR), endsAt=iso(START)),
        "endsAt must be in the future",
    ),
    "an end before the start": (
        body(startsAt=iso(START + HOUR), endsAt=iso(START + HOUR)),
        "endsAt must be after startsAt",
    ),
    "too long": (body(endsAt=iso(START + timedelta(days=90, seconds=1))), "90 days at most"),
    "no time at all": (body(startsAt="0001-01-01T00:00:00+14:00"), "startsAt is no time"),
    "no author": (body(createdBy="  "), "createdBy is required"),
    "no comment": (body(comment=""), "comment is required"),
    "a long author": (body(createdBy="a" * 201), "createdBy may have 200"),
    "a long comment": (body(comment="a" * 1001), "comment may have 1000"),
    "a comment that turns the text": (body(comment="a\u202eb"), "cannot be shown"),
    "an id that is none": (body(id="../x"), "1 to 64"),
    "a long id": (body(id="a" * 65), "1 to 64"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_silence_is_refused(what: str) -> None:
    """What is wrong is said in words, and nothing is stored."""
    posted, words = REFUSED[what]
    one = room()
    async with one.served() as c:
        found = await said(await c.post(f"{BASE}?import=true", json=posted), 400)
    assert found["code"] == "bad_silence"
    assert words in found["detail"]
    assert one.shared.kept == {}


@pytest.mark.parametrize(
    "posted",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        msgspec.json.encode(body(isequal=True)),
        msgspec.json.encode(body(matchers=[{"name": "a", "value": "b"}])),
        msgspec.json.encode(body(matchers=[{"name": "a", "value": "b", "isRegex": False, "isequal": False}])),
        msgspec.json.encode(body(endsAt="2026-03-01T12:00:00")),
    ],
    ids=[
        "nothing",
        "list",
        "empty",
        "no UTF-8",
        "deep",
        "unknown",
        "no isRegex",
        "misspelt isEqual",
        "no zone",
    ],
)
async def test_bodies_that_are_none_are_refused(posted: bytes) -> None:
    """What is not Alertmanager's form is refused; a misspelt field could silence something else."""
    one = room()
    async with one.served() as c:
        found = await said(await c.post(BASE, data=posted, headers={"Content-Type": "application/json"}), 400)
        assert found["code"] == "bad_body"
        assert (await said(await c.post(BASE, data=posted), 415))["code"] == "not_json"
    assert one.shared.kept == {}


async def test_there_is_an_end_to_how_many() -> None:
    """One more than 5,000 is refused with what to do; those that are there can still be changed."""
    one = room(silence())
    one.shared.kept |= {str(n): b"{" for n in range(web_silences.MOST - 1)}
    async with one.served() as c:
        found = await said(await c.post(BASE, json=body()), 409)
        assert found["code"] == "too_many_silences"
        assert "wider" in found["detail"]
        assert (await said(await c.post(BASE, json=body(id="s1", comment="b"))))["result"] == "updated"


# --- changed --------------------------------------------------------------------------------------


async def test_an_end_is_moved_in_place() -> None:
    """What was shown can be sent back with another end: the id stays."""
    one = room(silence())
    async with one.served() as c:
        shown = await said(await c.get(f"{BASE}/s1"))
        found = await said(await c.post(BASE, json=shown | {"endsAt": iso(START + 5 * HOUR)}))
        again = await said(await c.post(BASE, json=found["silence"]))
    assert (found["silenceID"], found["result"], again["result"]) == ("s1", "updated", "unchanged")
    assert one.shared["s1"].ends_at == START + 5 * HOUR
    assert len(one.shared.writes) == 1


async def test_other_matchers_make_another_silence() -> None:
    """The old one is expired in the same write, and named in the answer."""
    one = room(silence())
    other = [{"name": "service", "value": "customer-service", "isRegex": False, "isEqual": True}]
    async with one.served() as c:
        found = await said(await c.post(BASE, json=body(id="s1", matchers=other)))
    assert (found["result"], found["replaces"]) == ("replaced", "s1")
    assert one.shared["s1"].state(one.now) is SilenceState.EXPIRED
    assert one.shared[found["silenceID"]].matchers[0].value == "customer-service"
    assert one.shared.writes == [sorted(["s1", found["silenceID"]])]


async def test_an_unknown_id_is_no_silence() -> None:
    """As with Alertmanager: what is to be changed must be there."""
    async with room().served() as c:
        assert (await said(await c.post(BASE, json=body(id="s1")), 404))["code"] == "unknown_silence"


async def test_importing_twice_changes_nothing() -> None:
    """An import keeps Alertmanager's id and start, and its repeat is no second silence."""
    one = room()
    posted = body(id="6f1b-11ee", startsAt=iso(START - 9 * HOUR))
    async with one.served() as c:
        dry = await said(await c.post(f"{BASE}?import=true&dry_run=true", json=posted))
        assert (dry["silenceID"], dry["result"], one.shared.kept) == ("6f1b-11ee", "created", {})
        results = [
            (await said(await c.post(f"{BASE}?import=true", json=p)))["result"]
            for p in (posted, posted, posted | {"comment": "longer"})
        ]
    assert results == ["created", "unchanged", "updated"]
    assert one.shared["6f1b-11ee"].starts_at == START - 9 * HOUR
    assert list(one.shared.kept) == ["6f1b-11ee"]


async def test_an_import_does_not_undo_what_somebody_expired() -> None:
    """What was expired here by hand stays so; what only ran out is renewed."""
    one = room(silence("am-1"), silence("am-2", ends_at=START, updated_at=START - HOUR))
    async with one.served() as c:
        await said(await c.delete(f"{BASE}/am-1"))
        refused = await said(await c.post(f"{BASE}?import=true", json=body(id="am-1")), 409)
        renewed = await said(await c.post(f"{BASE}?import=true", json=body(id="am-2")))
    assert refused["code"] == "silence_expired"
    assert (renewed["silenceID"], renewed["result"]) == ("am-2", "updated")


@pytest.mark.parametrize("query", ["?import=yes", "?dry_run=1", "?impart=true"])
async def test_a_misspelt_parameter_makes_nothing(query: str) -> None:
    """A parameter that means nothing is refused before anything is stored."""
    one = room()
    async with one.served() as c:
        assert (await said(await c.post(BASE + query, json=body()), 400))["code"] == "bad_query"
    assert one.shared.kept == {}


# --- ended ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["expire", "delete"])
async def test_it_is_ended_once(method: str) -> None:
    """It ends now and stays readable; ending it again changes nothing and is no error."""
    one = room(silence(), heads=[muted_by("s1")])
    async with one.served() as c:

        async def end() -> ClientResponse:
            return await (c.post(f"{BASE}/s1/expire") if method == "expire" else c.delete(f"{BASE}/s1"))

        first, second = await said(await end()), await said(await end())
        shown = await said(await c.get(f"{BASE}/s1"))
    assert (first["silenceID"], first["result"], second["result"]) == ("s1", "expired", "unchanged")
    assert first["mutes"] == 1
    assert shown["status"] == {"state": "expired"}
    assert one.shared["s1"].ends_at == START
    assert (len(one.shared.writes), one.refreshed) == (1, 1)


async def test_only_what_is_there_can_be_ended() -> None:
    """An unknown id is told, and so is a misspelt parameter."""
    async with room(silence()).served() as c:
        await said(await c.post(f"{BASE}/none/expire"), 404)
        await said(await c.delete(f"{BASE}/s1?now=true"), 400)


# --- outages --------------------------------------------------------------------------------------


async def test_what_is_stored_is_said_to_be() -> None:
    """Where the store goes away right after the write, the answer is still that it is done."""
    one = room()
    one.refresh_fails = one.reader.down = True
    async with one.served() as c:
        found = await said(await c.post(BASE, json=body()))
    assert found["mutes"] is None
    assert found["silenceID"] in one.shared.kept


async def test_without_the_store_nothing_is_said_to_be_done() -> None:
    """Each request is answered 503, to be sent again."""
    one = room(silence())
    one.shared.down = True
    async with one.served() as c:
        answers = [
            await c.get(BASE), await c.get(f"{BASE}/s1"), await c.post(BASE, json=body()),
            await c.delete(f"{BASE}/s1"),
        ]  # fmt: skip
    assert {a.status for a in answers} == {503}


async def test_the_form_is_alertmanager_s(shared: Path) -> None:
    """What is shown has the fields of Alertmanager's own specification, no other but mutes, none missing."""
    spec = yaml.safe_load((shared / "specs" / "alertmanager-api-v2.yaml").read_text())["definitions"]
    parts = [spec["silence"], spec["gettableSilence"]["allOf"][0]]
    named = {name for part in parts for name in part["properties"]}
    required = {name for part in parts for name in part["required"]}
    async with room(silence()).served() as c:
        found = await said(await c.get(f"{BASE}/s1"))
    assert required <= set(found)
    assert set(found) - {"mutes"} <= named
    assert set(found["matchers"][0]) == set(spec["matcher"]["properties"])
