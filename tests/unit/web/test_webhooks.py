"""POST /webhooks/{source}: what is refused, how, and that nothing of it is taken."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import logging
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from router.decide import placing
from router.model.deliveries import Manners
from router.model.errors import StoreUnavailable
from router.web.webhooks import DAILY, MOST_KEPT
from tests.conftest import wait_for
from tests.fakes.web import MAX_BODY, Room, SpeakingSource, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse, ClientSession

HOOK = "/webhooks/plain"
HEAD = b"POST /webhooks/plain HTTP/1.1\r\nHost: localhost\r\n"


async def is_problem(response: ClientResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status == status
    assert response.content_type == "application/problem+json"
    answer: dict[str, Any] = await response.json(content_type=None)
    assert (answer["status"], answer["code"]) == (status, code)
    assert answer["type"] == f"urn:incident-router:problem:{code}"
    assert 0 < len(answer["detail"]) <= 300
    return answer


@contextlib.asynccontextmanager
async def raw(
    room: Room, client: ClientSession, sent: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Write bytes as they are, as no HTTP client would; entered once the server has begun to read them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
    writer.write(sent)
    await writer.drain()
    for _ in range(2):  # what was sent earlier on one loop is begun earlier
        await client.get("/-/healthy")
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def test_accepted_says_what_came_of_it() -> None:
    """An authentic delivery is answered 202 with what was appended, after the door took it."""
    room = Room()
    async with served(room) as c:
        response = await c.post(HOOK, data=b"[1, 2]")
        assert response.status == 202
        assert await response.json() == {"status": "accepted", "accepted": 2, "repeated": 0}
    assert [t.kind for t in room.door.told] == ["1", "2"]
    assert room.count("webhooks_total", source="plain", code="202") == 1


async def test_authenticity_comes_before_parsing() -> None:
    """A body without the secret is not even parsed, and the answer quotes neither secret."""
    room = Room(secrets=(b"right-secret",))
    async with served(room) as c:
        for given in ("wrong-secret", "", "\xff\xe9"):
            answer = await is_problem(
                await c.post(HOOK, data=b"{broken", headers={"X-Secret": given}), 401, "bad_secret"
            )
            assert "right-secret" not in json.dumps(answer)
            assert "wrong-secret" not in json.dumps(answer)
    assert room.source.parsed == []
    assert room.count("webhooks_rejected_total", source="plain", reason="bad_secret") == 3
    assert room.count("http_problems_total", code="bad_secret") == 3


async def test_each_secret_has_its_count() -> None:
    """While secrets are exchanged, the metric says which one a sender used."""
    room = Room(secrets=(b"old", b"new"))
    async with served(room) as c:
        for given in ("new", "new", "old"):
            assert (await c.post(HOOK, data=b"[]", headers={"X-Secret": given})).status == 202
    assert room.count("webhook_secret_total", source="plain", index="0") == 1
    assert room.count("webhook_secret_total", source="plain", index="1") == 2


async def test_unreadable_body_is_logged_recognisably() -> None:
    """Of an authentic body that cannot be read, the log has size, digest and an escaped beginning."""
    room, sent = Room(), b'{"a": "\x1b[2J\n' + b"x" * 500
    async with served(room) as c:
        with capture_logs() as logged:
            answer = await is_problem(await c.post(HOOK, data=sent), 400, "bad_json")
    (line,) = [x for x in logged if x["event"] == "body_not_readable"]
    assert line["size"] == len(sent)
    assert line["digest"] == blake2b(sent, digest_size=8).hexdigest()
    assert line["head"].isascii()
    assert line["head"].isprintable()
    assert len(line["head"]) < 420
    assert "xxx" not in answer["detail"]
    assert room.door.told == []


async def test_slow_body_is_not_waited_for() -> None:
    """A body that stalls is answered 408 when its time is over."""
    room = Room(body_s=0.05)
    async with served(room) as c, raw(room, c, HEAD + b"Content-Length: 100\r\n\r\n[") as (reader, _):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    assert room.count("webhooks_rejected_total", source="plain", reason="slow_body") == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 100\r\n\r\n[1,",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n",
    ],
    ids=["length", "in-a-chunk", "between-chunks"],
)
async def test_sender_that_leaves_is_one_line_of_log(sent: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Who hangs up in the middle of a body leaves a counted line, no traceback, and nothing taken."""
    room = Room()
    with capture_logs() as logged, caplog.at_level(logging.WARNING):
        async with served(room) as c:
            async with raw(room, c, HEAD + sent):
                pass
            await wait_for(lambda: logged, "the refusal is logged")
    assert [(x["event"], x["code"]) for x in logged] == [("delivery_rejected", "body_cut_off")]
    assert caplog.records == []
    assert room.source.parsed == []
    assert room.count("webhooks_rejected_total", source="plain", reason="body_cut_off") == 1


async def test_broken_chunks_are_refused_in_time() -> None:
    """A body whose chunks turn into nonsense is refused like one that stalls: nothing of it is taken."""
    room = Room(body_s=0.05)
    start = HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n[1]\r\n"
    with capture_logs() as logged:
        async with served(room) as c, raw(room, c, start) as (_, writer):
            writer.write(b"zz\r\n")
            await wait_for(lambda: logged, "the refusal is logged")
    assert [x["event"] for x in logged] == ["delivery_rejected"]
    assert logged[0]["code"] in {"body_cut_off", "slow_body"}
    assert room.source.parsed == []


async def test_compressed_body_is_not_inflated() -> None:
    """A compressed body is refused before it costs anything."""
    room = Room()
    async with served(room) as c:
        packed = gzip.compress(b"[" + b" " * 100_000 + b"]")
        await is_problem(
            await c.post(HOOK, data=packed, headers={"Content-Encoding": "gzip"}), 415, "encoded_body"
        )
    assert room.source.parsed == []


async def test_too_large_with_and_without_a_length() -> None:
    """The limit holds for a declared length and for chunks; one byte less passes."""
    room = Room()

    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield b"["
        for _ in range(size - 2):
            yield b" "
        yield b"]"

    async with served(room) as c:
        padded = b"[" + b" " * (MAX_BODY - 2) + b"]"
        assert (await c.post(HOOK, data=padded)).status == 202
        await is_problem(await c.post(HOOK, data=padded + b" "), 413, "too_large")
        await is_problem(await c.post(HOOK, data=chunks(MAX_BODY + 1)), 413, "too_large")
    assert len(room.source.parsed) == 1
    assert room.count("webhooks_rejected_total", source="plain", reason="too_large") == 2


async def test_store_down_is_503_and_never_429() -> None:
    """What could not be stored is answered 503 with when to come again."""
    room = Room()
    room.door.error = StoreUnavailable("ConnectionError: redis.internal.example.com refused")
    async with served(room) as c:
        response = await c.post(HOOK, data=b"[1]")
        answer = await is_problem(response, 503, "store_unavailable")
        assert int(response.headers["Retry-After"]) > 0
        assert "redis.internal" not in json.dumps(answer)


async def test_unexpected_error_is_logged_once_and_tells_nothing() -> None:
    """A fault of ours is a 500 without a word of it, one log event with the exception, and counted."""
    room = Room()
    room.door.error = RuntimeError("a detail that is nobody's business")
    async with served(room) as c:
        with capture_logs() as logged:
            answer = await is_problem(await c.post(HOOK, data=b"[1]"), 500, "internal")
    assert "nobody's business" not in json.dumps(answer)
    assert [x["event"] for x in logged] == ["request_failed"]
    assert logged[0]["exc_info"] is room.door.error
    assert room.count("webhooks_total", source="plain", code="500") == 1
    assert room.count("http_problems_total", code="internal") == 1


async def test_unknown_names_make_no_labels() -> None:
    """An unknown source or path is 404 and counted under its code alone."""
    room = Room()
    async with served(room) as c:
        answer = await is_problem(await c.post("/webhooks/made-up", data=b"[]"), 404, "unknown_source")
        assert "plain" in answer["detail"]
        await is_problem(await c.get("/made-up"), 404, "not_found")
        await is_problem(await c.post("/webhooks/", data=b"[]"), 404, "not_found")
        assert "made-up" not in await (await c.get("/metrics")).text()
    assert room.count("http_problems_total", code="unknown_source") == 1
    assert room.count("http_problems_total", code="not_found") == 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_wrong_method_names_the_right_one(method: str) -> None:
    """A webhook path takes POST only and says so."""
    async with served(Room()) as c:
        response = await c.request(method, HOOK)
        await is_problem(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "POST"


async def test_wrong_method_says_why_it_may_be() -> None:
    """Where a source knows what makes its sender use another method, the answer says so."""
    room = Room()
    room.source.manners = Manners(methods=("POST", "PUT"), why_not="the template has no webhook part")
    async with served(room) as c:
        answer = await is_problem(await c.get(HOOK), 405, "method_not_allowed")
        assert answer["detail"] == "use POST, PUT: the template has no webhook part"
        assert (await c.put(HOOK, data=b"[]")).status == 202


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://127.0.0.1:8080"])
async def test_web_pages_cannot_post(origin: str) -> None:
    """What a browser sends for a page is refused on every path, however simple the request."""
    room = Room()
    headers = {"Origin": origin, "Content-Type": "text/plain"}
    async with served(room) as c:
        act = "/api/v1/incidents/0123456789abcdef.1/resolve"
        for method, path in (("POST", HOOK), ("POST", act), ("OPTIONS", act)):
            response = await c.request(method, path, data=b"[1]", headers=headers)
            await is_problem(response, 403, "from_web_page")
            assert "Access-Control-Allow-Origin" not in response.headers
    assert room.door.told == []


# --- what cannot be read, and senders with wishes of their own ---------------------------------------


async def test_unreadable_delivery_is_kept_before_it_is_answered() -> None:
    """An authentic body that cannot be read goes to the dead letters with harmless headers."""
    room = Room(secrets=(b"right-secret",))
    headers = {"X-Secret": "right-secret", "X-Event": "Push", "X-Own": "my-own-secret", "Cookie": "c"}
    async with served(room) as c:
        await is_problem(await c.post(HOOK, data=b"{bad", headers={"X-Secret": "wrong"}), 401, "bad_secret")
        assert room.door.unreads == []
        await is_problem(await c.post(HOOK, data=b"{bad", headers=headers), 400, "bad_json")
    (kept,) = room.door.unreads
    assert (kept.source, kept.body, kept.cut) == ("plain", b"{bad", False)
    assert kept.reason == "bad_json: the body is not JSON"
    assert kept.headers["x-event"] == "Push"
    assert not any("secret" in value for value in kept.headers.values())
    assert {"x-own", "cookie", "x-secret"}.isdisjoint(kept.headers)


async def test_a_sender_that_would_punish_us_is_answered_2xx() -> None:
    """Where a source says so, what cannot be read is answered 202, kept, and counted as refused."""
    room = Room()
    room.source.manners = Manners(unreadable=202)
    async with served(room) as c:
        response = await c.post(HOOK, data=b"{bad")
        assert (response.status, (await response.json())["status"]) == (202, "unreadable")
    assert len(room.door.unreads) == 1
    assert room.count("webhooks_rejected_total", source="plain", reason="bad_json") == 1
    assert room.hearing.noted == [("unreadable", "plain"), ("heard", "plain", 0)]


async def test_unreadable_delivery_that_could_not_be_kept_is_503() -> None:
    """Nothing is answered 2xx, nor refused for good, that the dead letters do not have."""
    room = Room()
    room.source.manners = Manners(unreadable=202)
    room.door.error = StoreUnavailable("full")
    async with served(room) as c:
        await is_problem(await c.post(HOOK, data=b"{bad"), 503, "store_unavailable")
    assert room.hearing.noted[-1] == ("turned_away", "plain", 503)


async def test_partly_readable_delivery_is_taken_and_kept() -> None:
    """What can be read is accepted; because of the rest the whole delivery goes to the dead letters, too."""
    room = Room()
    async with served(room) as c:
        assert (await c.post(HOOK, data=b'["1", "odd: alerts[3]"]')).status == 202
    assert room.door.unreads[0].reason == "odd: alerts[3]"
    assert len(room.door.told) == 2
    assert room.hearing.noted == [("unreadable", "plain"), ("heard", "plain", 2)]


async def test_huge_unreadable_body_is_cut() -> None:
    """Of an unreadable body beyond 1 MiB only the beginning is kept, and the letter says so."""
    room = Room()
    sent = b"{" + b"x" * MOST_KEPT
    async with served(room, max_body=MOST_KEPT * 2) as c:
        await is_problem(await c.post(HOOK, data=io.BytesIO(sent)), 400, "bad_json")
    assert room.door.unreads[0].cut
    assert room.door.unreads[0].body == sent[: 16 << 10]


async def test_a_source_may_greet_and_answer_in_its_own_words() -> None:
    """A handshake is answered before the secret is asked for; a taken delivery as its source says."""
    room = Room(secrets=(b"s",), source=SpeakingSource())
    async with served(room) as c:
        greeted = await c.post(HOOK, data=b"hello")
        assert (greeted.status, await greeted.text()) == (200, "hello yourself")
        assert room.source.parsed == []
        await is_problem(await c.post(HOOK, data=b"[2]"), 401, "bad_secret")
        answered = await c.post(HOOK, data=b"[2]", headers={"X-Secret": "s"})
        assert (answered.status, await answered.read()) == (200, b"")
        assert (await c.post(HOOK, data=b"[1]", headers={"X-Secret": "s"})).status == 202
    assert len(room.door.told) == 2


async def test_who_was_heard_and_who_was_not_is_noted() -> None:
    """The watch hears of every taken delivery and of every answer that is not 2xx."""
    room = Room(secrets=(b"s",))
    async with served(room) as c:
        await c.post(HOOK, data=b"[1]", headers={"X-Secret": "s"})
        await c.post(HOOK, data=b"[1]")
        await c.post(HOOK, data=b"x" * (MAX_BODY + 1), headers={"X-Secret": "s"})
        await c.get(HOOK)
    assert room.hearing.noted == [
        ("heard", "plain", 1),
        ("turned_away", "plain", 401),
        ("turned_away", "plain", 413),
        ("turned_away", "plain", 405),
    ]


async def test_dashes_and_underscores_name_the_same_source() -> None:
    """A source with two words may be written as people write it in URLs."""
    room = Room(kind="plain_json")
    async with served(room) as c:
        assert (await c.post("/webhooks/plain-json", data=b"[]")).status == 202
        assert (await c.post("/webhooks/plain_json", data=b"[]")).status == 202


async def test_a_fault_of_ours_costs_no_event() -> None:
    """A source that fails on a body has it put aside, and its sender is answered as for an unreadable one."""
    room = Room()
    room.source.manners = Manners(unreadable=202)
    room.source.fault = RuntimeError("boom")
    async with served(room) as c:
        assert (await c.post(HOOK, data=b"[1]")).status == 202
    (kept,) = room.door.unreads
    assert "RuntimeError" in kept.reason
    assert "boom" not in kept.reason


async def test_too_large_is_no_reason_to_be_switched_off() -> None:
    """Where headers prove a sender that would punish a 413, a body too large is noted and answered 2xx."""
    room = Room(secrets=(b"s",))
    room.source.manners = Manners(unreadable=202)
    large = b"x" * (MAX_BODY + 1)
    async with served(room) as c:
        assert (await c.post(HOOK, data=large, headers={"X-Secret": "s"})).status == 202
        await is_problem(await c.post(HOOK, data=large, headers={"X-Secret": "no"}), 413, "too_large")
        room.source.manners = Manners()
        await is_problem(await c.post(HOOK, data=large, headers={"X-Secret": "s"}), 413, "too_large")
    (kept,) = room.door.unreads
    assert (kept.cut, kept.body) == (True, b"")
    assert kept.reason.startswith("too_large")


async def test_large_bodies_are_kept_within_a_days_share() -> None:
    """Beyond a day's share of large bodies only their beginnings are kept; the next day begins anew."""
    room = Room()
    one = b"{" + b"x" * (MOST_KEPT - 1)
    async with served(room, max_body=MOST_KEPT) as c:
        for _ in range(DAILY // MOST_KEPT + 1):
            await c.post(HOOK, data=io.BytesIO(one))
        room.clock.seconds += 86_400
        await c.post(HOOK, data=io.BytesIO(one))
    cuts = [kept.cut for kept in room.door.unreads]
    assert cuts == [False] * (DAILY // MOST_KEPT) + [True, False]


async def test_deliveries_are_told_apart_by_their_senders_id() -> None:
    """Two deliveries with the same unreadable body and ids of their own are two."""
    room = Room()
    async with served(room) as c:
        for name in ("d1", "d2"):
            await c.post(HOOK, data=b"{bad", headers={"X-Delivery": name})
    assert [kept.delivery for kept in room.door.unreads] == ["d1", "d2"]
    assert len({placing.unread(kept).versions for kept in room.door.unreads}) == 2


# --- the call for closed sources -----------------------------------------------------------------------


async def test_a_closed_source_is_counted_noted_and_said_once_a_minute() -> None:
    """What nobody may send is refused with what to set, counted, and noted, without a flood of log."""
    room = Room(secrets=None)
    with capture_logs() as logged:
        async with served(room) as c:
            for _ in range(3):
                answer = await is_problem(await c.post(HOOK, data=b"[1]"), 403, "source_closed")
                assert "ROUTER_SOURCE_PLAIN_SECRETS" in answer["detail"]
            await is_problem(await c.get(HOOK), 403, "source_closed")
            assert [x["source"] for x in logged if x["event"] == "source_closed"] == ["plain"]
            room.clock.seconds += 60
            await c.post(HOOK, data=b"[1]")
    said = [x for x in logged if x["event"] == "source_closed"]
    assert len(said) == 2
    assert "ROUTER_SOURCE_PLAIN_SECRETS" in said[0]["hint"]
    assert room.count("webhooks_total", source="plain", code="403") == 5
    assert room.hearing.noted == [("turned_away", "plain", 403)] * 4
    assert room.source.parsed == []


async def test_who_hangs_up_is_not_turned_away() -> None:
    """A body that breaks off is counted and logged, but is no failure of the sender's."""
    room = Room()
    with capture_logs() as logged:
        async with served(room) as c:
            async with raw(room, c, HEAD + b"Content-Length: 100\r\n\r\n[1,"):
                pass
            await wait_for(lambda: logged, "the refusal is logged")
    assert room.count("webhooks_total", source="plain", code="400") == 1
    assert room.hearing.noted == []
