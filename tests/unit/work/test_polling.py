"""Polling: what is fetched goes the way of deliveries, and a failure is noted and never stops the loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from router.kit.metrics import Metrics
from router.model.errors import PollFailed, StoreUnavailable
from router.model.events import Heartbeat
from router.ports import Fetched, SwitchedOff
from router.work.polling import Polling
from tests.fakes.samples import ManualClock
from tests.fakes.web import FakeDoor, PlainSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.model.events import Told


class FakePoller:
    """Hands over what a test puts here, or fails."""

    kind, source = "plain_api", "plain"

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.off: list[SwitchedOff] = []
        self.fetched = 0

    async def fetch(self) -> Fetched:
        self.fetched += 1
        if self.error is not None:
            raise self.error
        return Fetched(self.bodies, frozenset(self.asked), self.off)

    async def close(self) -> None:
        pass


class FakeSenders:
    """Notes what the watch is told."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, ...]] = []

    def expect(self, source: str) -> None:
        self.noted.append(("expect", source))

    def heard(self, source: str, told: Sequence[Told]) -> None:
        self.noted.append(("heard", source))

    def unreadable(self, source: str) -> None:
        self.noted.append(("unreadable", source))

    def asked(self, source: str, off: Sequence[SwitchedOff]) -> None:
        self.noted.append(("asked", source, *(one.what for one in off)))

    def turned_away(self, source: str, status: int, trouble: str = "") -> None:
        self.noted.append(("failed", source, trouble))


class World:
    def __init__(self) -> None:
        self.poller, self.door, self.senders = FakePoller(), FakeDoor(), FakeSenders()
        self.clock, self.metrics = ManualClock(), Metrics()
        self.polling = Polling(
            self.poller, PlainSource(), self.door, self.senders, self.clock, self.metrics, every_s=60
        )

    def polls(self, result: str) -> float:
        labels = {"poller": "plain_api", "result": result}
        return self.metrics.registry.get_sample_value("incident_router_polls_total", labels) or 0.0


async def test_what_is_fetched_is_told() -> None:
    """Each fetched body is read by its source and taken by the door; the poller counts as heard."""
    world = World()
    world.poller.bodies = [json.dumps([n]).encode() for n in (1, 2)]
    await world.polling.turn()
    assert world.door.told == [Heartbeat("plain", "1"), Heartbeat("plain", "2")]
    assert world.senders.noted == [("expect", "plain_api"), ("heard", "plain_api")]
    assert world.polls("ok") == 1


async def test_an_odd_body_does_not_keep_the_rest_back() -> None:
    """One body that cannot be read, or not wholly, goes to the dead letters; the rest is taken."""
    world = World()
    world.poller.bodies = [b"{broken", b'["odd: no time", "4"]', b"[3]"]
    await world.polling.turn()
    assert [t for t in world.door.told if isinstance(t, Heartbeat)] == [
        Heartbeat("plain", "4"), Heartbeat("plain", "3"),
    ]  # fmt: skip
    assert [(u.body, u.reason) for u in world.door.unreads] == [
        (b"{broken", "polled: the body is not JSON"), (b'["odd: no time", "4"]', "polled: odd: no time"),
    ]  # fmt: skip
    assert world.senders.noted.count(("unreadable", "plain")) == 2
    assert world.senders.noted[-1] == ("heard", "plain_api")


@pytest.mark.parametrize("where", ["poller", "door"])
async def test_a_failure_is_noted_with_its_reason(where: str) -> None:
    """An API that does not answer, or a store that does not take, is a failed poll with its reason."""
    world = World()
    world.poller.bodies = [b"[1]"]
    if where == "poller":
        world.poller.error = PollFailed("set the token")
    else:
        world.door.error = StoreUnavailable("set the token")
    await world.polling.turn()
    assert world.senders.noted == [("expect", "plain_api"), ("failed", "plain_api", "set the token")]
    assert world.polls("failed") == 1


async def test_only_the_owner_polls() -> None:
    """A replica that does not own the first partition asks nothing, until it does."""
    world = World()
    owned = iter([False, False, True])
    world.polling.mine = lambda: next(owned)
    with contextlib.suppress(RuntimeError):  # the third turn's successor finds no more answers
        await asyncio.wait_for(world.polling.run(), 5)
    assert world.poller.fetched == 1
    assert world.clock.slept[:2] == [60, 60]


async def test_a_senders_own_word_is_passed_on() -> None:
    """Each source that was asked about is noted, with those of its webhooks that are switched off."""
    world = World()
    world.poller.asked = ["gitlab"]
    world.poller.off = [SwitchedOff("gitlab", "webhook 7"), SwitchedOff("slack", "not asked about")]
    await world.polling.turn()
    assert world.senders.noted[-1] == ("asked", "gitlab", "webhook 7")
    world.poller.off = []
    await world.polling.turn()
    assert world.senders.noted[-1] == ("asked", "gitlab")
