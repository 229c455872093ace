"""Dead letters over the API: seen without secrets, done again by their kind, dropped."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from router.decide import placing
from router.model import codec
from router.model.commands import Command, CommandKind
from router.model.errors import StoreUnavailable
from router.model.events import Doubt, Settled, Unread
from router.model.outcomes import Refused
from router.ports import DeadLetter
from tests.fakes.samples import ONSET
from tests.fakes.web import AlertingSource, Room, served

if TYPE_CHECKING:
    from aiohttp import ClientResponse

BASE = "/api/v1/dead-letters"
ID = "3u-1764028800000-0"


def room(kind: str, payload: bytes, source: str = "") -> Room:
    one = Room()
    one.reader.letters = [DeadLetter(ONSET, kind, "why", payload, source, ID, len(payload))]
    return one


def unread(body: bytes, *, cut: bool = False, source: str = "plain") -> bytes:
    headers = {"content-type": "application/json", "x-event": "Push Hook"}
    return codec.encode(Unread(source, "bad_json: no", headers, body, ONSET, cut=cut))


async def said(response: ClientResponse) -> tuple[int, dict[str, Any]]:
    return response.status, await response.json(content_type=None)


async def test_a_readable_delivery_is_taken_and_gone() -> None:
    """What its source reads by now goes through the door as if it had come now; then the letter is gone."""
    one = room("unreadable", unread(b"[1, 2]"))
    async with served(one) as c:
        status, body = await said(await c.post(f"{BASE}/{ID}/replay", json={}))
        assert (status, body) == (202, {"status": "replayed", "accepted": 2, "repeated": 0})
        assert (await said(await c.post(f"{BASE}/{ID}/replay", json={})))[1]["code"] == "unknown_dead_letter"
    assert [t.kind for t in one.door.told] == ["1", "2"]
    assert one.reader.letters == []


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (unread(b"{broken"), "still unreadable"),
        (unread(b"[1]", cut=True), "not kept whole"),
        (unread(b"[1]", source="gone"), "no source 'gone'"),
        (b"\xff\x00", "cannot decode it"),
    ],
)
async def test_what_cannot_be_replayed_stays(payload: bytes, words: str) -> None:
    """A letter that cannot be done again says why and is left as it was."""
    one = room("unreadable", payload)
    async with served(one) as c:
        status, body = await said(await c.post(f"{BASE}/{ID}/replay", json={}))
    assert (status, body["code"]) == (409, "cannot_replay")
    assert words in body["detail"]
    assert len(one.reader.letters) == 1
    assert one.door.told == []


async def test_a_refused_page_is_told_once_more() -> None:
    """An undelivered destination is revived: its owner tells it what it should show now."""
    ended = Settled("0" * 16, 2, "oncall/pagerduty/0", "triggered", 7, Refused("clientError", "400"))
    one = room("undelivered", codec.encode(ended))
    async with served(one) as c:
        assert (await c.post(f"{BASE}/{ID}/replay", json={})).status == 202
    assert one.door.doubts == [Doubt("0" * 16, 2, "oncall/pagerduty/0", revive=True)]
    assert one.reader.letters == []


@pytest.mark.parametrize("kind", ["undecidable", "undecodable"])
async def test_an_event_is_decided_again(kind: str) -> None:
    """An event that a decision failed on, or that an older release could not read, is appended once more."""
    event = Command("0" * 16, 1, CommandKind.RESOLVE, "ana", ONSET, "e1")
    one = room(kind, codec.encode(event))
    async with served(one) as c:
        assert (await c.post(f"{BASE}/{ID}/replay", json={})).status == 202
    assert one.door.agains == [event]


async def test_a_replay_that_was_not_stored_keeps_the_letter() -> None:
    """The letter goes only after what it held is durable."""
    one = room("unreadable", unread(b"[1]"))
    one.door.error = StoreUnavailable("full")
    async with served(one) as c:
        assert (await c.post(f"{BASE}/{ID}/replay", json={})).status == 503
    assert len(one.reader.letters) == 1


async def test_it_is_shown_without_secrets() -> None:
    """One letter comes with headers and body; what a key of the body calls a secret is not shown."""
    body = b'{"token": "xoxb-very-secret", "app": "shop"}'
    one = room("unreadable", unread(body), "plain")
    async with served(one) as c:
        (row,) = (await (await c.get(BASE)).json())["dead_letters"]
        whole = await (await c.get(f"{BASE}/{ID}")).json()
    assert (row["id"], row["source"], row["kind"], row["reason"]) == (ID, "plain", "unreadable", "why")
    assert "body" not in row
    assert "payload" not in row
    assert whole["headers"]["x-event"] == "Push Hook"
    assert "very-secret" not in whole["body"]
    assert '"app":"shop"' in whole["body"]


async def test_lists_are_filtered_and_checked() -> None:
    """A filter by kind or source is passed on; an unknown kind or parameter is refused."""
    one = room("unreadable", unread(b"x"), "plain")
    async with served(one) as c:
        assert len((await (await c.get(f"{BASE}?source=plain")).json())["dead_letters"]) == 1
        assert (await (await c.get(f"{BASE}?kind=undelivered")).json())["dead_letters"] == []
        assert (await c.get(f"{BASE}?kind=lost")).status == 400
        assert (await c.get(f"{BASE}?sauce=plain")).status == 400
        assert (await c.get(f"{BASE}?before=nonsense")).status == 400
        assert (await c.get(f"{BASE}?before={ID}")).status == 200


async def test_dropping_deletes_for_good() -> None:
    """A dropped letter is gone and nothing is done with it."""
    one = room("unreadable", unread(b"[1]"))
    async with served(one) as c:
        assert await said(await c.post(f"{BASE}/{ID}/drop", json={})) == (
            200,
            {"status": "dropped", "id": ID},
        )
        assert (await c.get(f"{BASE}/{ID}")).status == 404
    assert one.door.told == []


async def test_the_path_wants_a_token_like_the_rest() -> None:
    """Reading, replaying and dropping need the API's token."""
    one = room("unreadable", unread(b"[1]"))
    one.tokens = (b"secret-token",)
    async with served(one) as c:
        for act in ("replay", "drop"):
            assert (await c.post(f"{BASE}/{ID}/{act}", json={})).status == 401
        assert (await c.get(f"{BASE}/{ID}")).status == 401
    assert len(one.reader.letters) == 1


async def test_a_replay_is_received_when_it_came() -> None:
    """What is read again is placed at the time of its receipt, so that nothing undated becomes news."""
    one = room("unreadable", unread(b"[1]"))
    async with served(one) as c:
        assert (await c.post(f"{BASE}/{ID}/replay", json={})).status == 202
    assert one.door.taken_at == [ONSET]


async def test_old_alerts_open_nothing_unless_asked_to() -> None:
    """A delivery with firing alerts, older than an hour, is replayed only where that is said."""
    one = room("unreadable", unread(b"[1]"))
    one.source = AlertingSource()
    one.clock.seconds += 3601
    async with served(one) as c:
        status, body = await said(await c.post(f"{BASE}/{ID}/replay", json={}))
        assert (status, body["code"]) == (409, "cannot_replay")
        assert "stale=true" in body["detail"]
        assert len(one.reader.letters) == 1
        assert (await c.post(f"{BASE}/{ID}/replay?stale=true", json={})).status == 202
        assert (await c.post(f"{BASE}/{ID}/replay?stole=true", json={})).status == 400
    assert one.reader.letters == []


async def test_a_letter_that_stays_after_its_replay_is_said() -> None:
    """Where the letter cannot be deleted after its replay, the answer is still that it is done."""
    one = room("unreadable", unread(b"[1]"))
    one.reader.drop_error = StoreUnavailable("gone")
    async with served(one) as c:
        status, body = await said(await c.post(f"{BASE}/{ID}/replay", json={}))
    assert (status, body["status"]) == (202, "replayed")
    assert "drop it" in body["note"]


async def test_what_is_dropped_may_come_again() -> None:
    """The door forgets a dropped delivery, so that the same one, should it come again, is kept again."""
    one = room("unreadable", unread(b"[1]"))
    async with served(one) as c:
        await c.post(f"{BASE}/{ID}/drop", json={})
    event = codec.stored(unread(b"[1]"))
    assert one.reader.forgotten == [placing.unread_field(event)]


@pytest.mark.parametrize(("kept", "status"), [(b"[1, 2]", 202), (b"", 409)])
async def test_a_large_body_is_read_from_where_it_is_kept(kept: bytes, status: int) -> None:
    """A body kept beside its letter is replayed whole; one that has had its week is said to be gone."""
    event = Unread("plain", "bad_json: no", {}, b"", ONSET, apart=True)
    one = room("unreadable", codec.encode(event))
    one.reader.letters = [dataclasses.replace(one.reader.letters[0], body=kept)]
    async with served(one) as c:
        assert (await c.post(f"{BASE}/{ID}/replay", json={})).status == status
    assert len(one.door.told) == (2 if kept else 0)
