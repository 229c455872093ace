"""Socket Mode: what becomes of each kind of envelope, and when it is acknowledged."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from router.listen.slack import SlackSocket, _request
from router.model import wire_slack
from router.ports import ListenContext
from tests.conftest import wait_for
from tests.fakes.samples import ONSET, ManualClock
from tests.fakes.slack_site import APP_TOKEN, FakeSlackSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


@pytest.mark.parametrize(
    ("kind", "payload", "what"),
    [
        ("slash_commands", {"command": "/incident", "text": "ack <@U1|bo> & ü", "user_id": "U1"}, "command"),
        ("interactive", {"type": "block_actions", "user": {"id": "U1"}}, "click"),
        ("events_api", {"type": "event_callback", "event": {"type": "message"}}, "event"),
    ],
)
def test_an_envelope_is_the_body_of_a_request(kind: str, payload: dict[str, Any], what: str) -> None:
    """What the source reads of it is what Slack put in."""
    made = _request(kind, payload)
    assert made is not None
    read = wire_slack.read(made[0])
    assert (read.what, read.fields) == (what, payload)


@pytest.mark.parametrize(("kind", "payload"), [("hello", {}), ("slash_commands", None), ("interactive", [1])])
def test_what_is_no_request_is_none(kind: str, payload: Any) -> None:
    """It is acknowledged, so that it does not come again, and goes nowhere."""
    assert _request(kind, payload) is None


class Router:
    """Takes deliveries, or answers as it is told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[Mapping[str, str], bytes]] = []
        self.answer = (200, b"")
        self.hangs = False

    async def take(self, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        self.taken.append((headers, body))
        if self.hangs:
            await asyncio.Event().wait()
        if self.answer[0] == 0:
            raise RuntimeError("a fault of ours")
        return self.answer


@pytest.fixture
async def linked() -> AsyncIterator[tuple[FakeSlackSite, Router]]:
    """A Slack with a router connected to it."""
    async with FakeSlackSite() as slack:
        router = Router()
        socket = SlackSocket(
            ListenContext(ManualClock(), {"slack_api_url": slack.url, "slack_app_token": APP_TOKEN})
        )
        assert socket.wanted
        running = asyncio.get_running_loop().create_task(socket.run(router.take))
        await wait_for(lambda: slack.sockets, "the connection")
        yield slack, router
        running.cancel()
        await asyncio.wait([running])


async def test_the_answer_travels_in_the_acknowledgement(linked: tuple[FakeSlackSite, Router]) -> None:
    """JSON as the payload, nothing as none; the time that the signature would have had comes along."""
    slack, router = linked
    router.answer = (200, json.dumps({"response_type": "ephemeral", "text": "hello"}).encode())
    assert await slack.types("ana", "help") == "hello"
    router.answer = (200, b"")
    assert await slack.types("ana", "list") == ""
    headers, _ = router.taken[0]
    assert int(headers["x-slack-request-timestamp"]) == int(ManualClock().now().timestamp())
    assert int(ONSET.timestamp()) < int(headers["x-slack-request-timestamp"])


@pytest.mark.parametrize("how", ["refused", "hangs", "fails"])
async def test_what_could_not_be_stored_is_not_acknowledged(
    linked: tuple[FakeSlackSite, Router], how: str
) -> None:
    """The person sees Slack's error instead of believing that it was done."""
    slack, router = linked
    router.answer, router.hangs = (0 if how == "fails" else 503, b"{}"), how == "hangs"
    assert await slack._sent(b"command=%2Fincident&text=help&user_id=U1") == (0, b"")


def test_without_a_token_it_is_not_wanted() -> None:
    """No connection is opened."""
    assert not SlackSocket(ListenContext(ManualClock(), {})).wanted
