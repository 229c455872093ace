"""Listening to deliveries: authentic ones only, secrets out, and nobody is held up by a listener."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from router.model.deliveries import Manners
from router.web.tap import Tap
from tests.conftest import wait_for
from tests.fakes.samples import ONSET
from tests.fakes.web import Room, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

PATH = "/api/v1/deliveries"
MANNERS = Manners(keeps=("x-event",))


async def line(response: ClientResponse) -> dict[str, Any]:
    """Return the next line that is not empty."""
    while True:
        raw = await response.content.readline()
        assert raw, "the stream ended"
        if raw.strip():
            found: dict[str, Any] = json.loads(raw)
            return found


async def test_a_delivery_is_seen_as_it_comes_without_its_secrets() -> None:
    """A listener gets path, harmless headers and body of each authentic delivery, and no secret of either."""
    one = Room(secrets=(b"right-secret",))
    async with served(one) as c, c.get(PATH) as stream:
        await stream.content.readline()
        headers = {"X-Secret": "right-secret", "X-Event": "Push", "X-Own": "hidden", "Cookie": "c=1"}
        await c.post("/webhooks/plain", data=b"[1]", headers={**headers, "X-Secret": "wrong"})
        await c.post("/webhooks/plain", json=[{"token": "t-secret", "n": 7}], headers=headers)
        seen = await line(stream)
    assert seen["path"] == "/webhooks/plain"
    assert seen["body"] == [{"token": "[scrubbed]", "n": 7}]
    assert seen["headers"]["x-event"] == "Push"
    assert {"x-secret", "x-own", "cookie"}.isdisjoint(seen["headers"])
    assert "secret" not in json.dumps(seen)


@pytest.mark.parametrize(
    ("body", "key", "value"),
    [
        (b'{"a": 1}', "body", {"a": 1}),
        (b"a=1", "body", "a=1"),
        (b"\xff", "body_base64", "/w=="),
        (b"12", "body", "12"),
        (b"", "body", ""),
    ],
)
async def test_every_body_has_a_form(body: bytes, key: str, value: object) -> None:
    """JSON is shown as JSON, other text as text, and bytes that are no text in base64."""
    tap = Tap()
    with tap._listening("") as one:
        tap.saw("plain", MANNERS, {}, body, ONSET)
        assert json.loads(one.lines.get_nowait() or b"")[key] == value


async def test_only_the_source_that_was_asked_for() -> None:
    """A listener to one source gets no other's deliveries."""
    tap = Tap()
    with tap._listening("gitlab") as one:
        tap.saw("slack", MANNERS, {}, b"{}", ONSET)
        tap.saw("gitlab", MANNERS, {}, b"{}", ONSET)
        assert one.lines.qsize() == 1


async def test_a_slow_listener_misses_lines_and_is_told() -> None:
    """More than a listener takes is dropped and counted, and nothing waits for it."""
    one = Room()
    async with served(one) as c, c.get(PATH) as stream:
        await stream.content.readline()
        for _ in range(1000):  # no await: the listener cannot read meanwhile
            one.tap.saw("plain", MANNERS, {}, b"{}", ONSET)
        counts = [line_ for line_ in [await line(stream) for _ in range(2)] if "missed" in line_]
        assert counts == [{"missed": 800}]


async def test_listeners_are_bounded_and_forgotten() -> None:
    """A ninth listener is refused; one that goes away leaves its place."""
    one = Room()
    async with served(one) as c:
        streams = [await c.get(PATH) for _ in range(8)]
        for stream in streams:
            await stream.content.readline()
        refused = await c.get(PATH)
        assert (refused.status, (await refused.json(content_type=None))["code"]) == (
            503,
            "too_many_listeners",
        )
        streams[0].close()

        async def again() -> bool:
            one.tap.saw("plain", MANNERS, {}, b"{}", ONSET)  # what is written shows who has gone
            return len(one.tap._listeners) < 8

        await wait_for(again, "the place is free again")
        for stream in streams[1:]:
            stream.close()


async def test_a_stop_lets_listeners_go() -> None:
    """A router that stops ends its captures at once."""
    one = Room()
    async with served(one) as c, c.get(PATH) as stream:
        await stream.content.readline()
        one.tap.close()
        async with asyncio.timeout(5):
            assert await stream.content.read() == b""


@contextlib.asynccontextmanager
async def deaf(one: Room, many: int = 1) -> AsyncIterator[None]:
    """Open captures whose clients never read, and send them more than all buffers on the way hold."""
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(many):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", one.port))
            await asyncio.get_running_loop().sock_sendall(
                sock, f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            )
        await wait_for(lambda: len(one.tap._listeners) == many, "they are listened for")
        body = b'"' + b"x" * (1 << 20) + b"\xff"
        for _ in range(12):
            one.tap.saw("plain", MANNERS, {}, body, ONSET)
        await wait_for(lambda: all(x._writing for x in one.tap._listeners), "every buffer is full")
        yield


async def test_who_does_not_read_is_let_go() -> None:
    """Eight captures that nobody reads lose their places after the time for a line, and others get them."""
    one = Room(tap=Tap(write_s=0.3))
    async with served(one) as c, deaf(one, 8):
        assert (await c.get(PATH)).status == 503
        await wait_for(lambda: not one.tap._listeners, "the places are free again")
        async with c.get(PATH) as stream:
            assert stream.status == 200
            await stream.content.readline()
            one.tap.saw("plain", MANNERS, {}, b"[1]", ONSET)
            assert (await line(stream))["body"] == [1]


async def test_a_stop_does_not_wait_for_who_does_not_read() -> None:
    """A router that stops is not held up by a capture that takes nothing, nor by lines that wait."""
    one = Room(tap=Tap(write_s=60))
    async with contextlib.AsyncExitStack() as stack:
        async with served(one), contextlib.AsyncExitStack() as clients:
            await clients.enter_async_context(deaf(one, 2))
            for _ in range(1000):
                one.tap.saw("plain", MANNERS, {}, b"{}", ONSET)
            stack.push_async_exit(clients.pop_all())
            started = time.monotonic()
        assert time.monotonic() - started < 3.0
        assert not one.tap._listeners


async def test_a_full_queue_does_not_outlive_the_stop() -> None:
    """What waits for a listener when the router stops is dropped: it ends at once."""
    one = Room()
    async with served(one) as c, c.get(PATH) as stream:
        await stream.content.readline()
        for _ in range(1000):
            one.tap.saw("plain", MANNERS, {}, b"{}", ONSET)
        one.tap.close()
        async with asyncio.timeout(5):
            assert len(await stream.content.read()) < 1000
            async with c.get(PATH) as late:
                assert (await late.content.read()).strip() == b""


async def test_an_unknown_parameter_is_refused() -> None:
    """A misspelt filter is refused, and would else capture everything."""
    async with served(Room()) as c:
        assert (await c.get(f"{PATH}?sorce=gitlab")).status == 400
