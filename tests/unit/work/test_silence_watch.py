"""The watch over silences: told before one ends, told when that is over, and forgotten in the end."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from router.decide import silencing
from router.model import codec
from router.model.errors import StoreUnavailable
from router.model.events import Alert, AlertBatch, Told
from router.ports import Taken
from router.work.silence_watch import TURN_S, SilenceWatch
from tests.fakes.samples import ManualClock
from tests.fakes.silences import START, MemorySurroundings, MutedReader, muted_by, silence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.model.silences import Silence

MINUTE = timedelta(minutes=1)
SOON = 15 * MINUTE


class FakeIntake:
    """The door: keeps what it was told, or is down; ``meanwhile`` is what happens while it writes."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.down = False
        self.meanwhile: Callable[[], None] = lambda: None

    async def take(self, source: str, told: Sequence[Told]) -> Taken:
        assert source == "self"
        if self.down:
            raise StoreUnavailable("down")
        for batch in told:
            assert isinstance(batch, AlertBatch)
            self.alerts += batch.alerts
        self.meanwhile()
        return Taken(1, 0)


class World:
    """One store, one clock, and as many processes as a test makes."""

    def __init__(self, *found: Silence, mutes: bool = True) -> None:
        self.shared = MemorySurroundings(*found)
        self.reader = MutedReader(*([muted_by(*(s.id for s in found))] if mutes else []))
        self.intake, self.clock = FakeIntake(), ManualClock()

    def process(self) -> SilenceWatch:
        return SilenceWatch(self.shared, self.reader, self.intake, self.clock)

    def at(self, after: timedelta) -> None:
        """Be so long after the silence began."""
        self.clock.seconds = 1000 + after.total_seconds()

    def change(self, **changes: object) -> None:
        self.shared.kept["s1"] = codec.encode(msgspec.structs.replace(self.shared["s1"], **changes))

    @property
    def told(self) -> list[tuple[str, bool]]:
        return [(a.labels["source"], a.firing) for a in self.intake.alerts]


async def test_it_is_told_once_before_it_ends_and_when_it_has() -> None:
    """A quarter of an hour before its end one alert, at its end that alert's end, and never again."""
    world = World(silence())
    watch = world.process()
    for after in range(0, 150, 1):
        world.at(after * MINUTE)
        await watch.turn()
    assert world.told == [("s1", True), ("s1", False)]
    begun, ended = world.intake.alerts
    assert begun.starts_at == START + 105 * MINUTE
    assert (ended.key, ended.ends_at) == (begun.key, START + 120 * MINUTE)
    assert ended.labels == begun.labels
    assert world.shared["s1"].warned_at is None


async def test_nobody_is_told_where_it_mutes_nothing() -> None:
    """A silence that keeps nothing from being told may end unsaid."""
    world = World(silence(), mutes=False)
    world.at(110 * MINUTE)
    await world.process().turn()
    assert world.told == []
    assert world.shared["s1"].warned_at is None


async def test_extended_in_time_it_is_well() -> None:
    """An extension ends the alert; before the new end it is told anew."""
    world = World(silence())
    watch = world.process()
    world.at(110 * MINUTE)
    await watch.turn()
    assert world.shared["s1"].warned_at == START + 110 * MINUTE
    world.change(ends_at=START + 300 * MINUTE, created_by="bob")
    await watch.turn()
    assert world.told == [("s1", True), ("s1", False)]
    assert world.intake.alerts[1].labels["created_by"] == "ana"  # routed as it was told
    world.at(290 * MINUTE)
    await watch.turn()
    again = world.intake.alerts[2]
    assert (again.firing, again.labels["created_by"]) == (True, "bob")
    assert again.starts_at > world.intake.alerts[1].starts_at


async def test_a_crash_between_telling_and_noting_tells_the_same_alert() -> None:
    """What was told but not noted is told again as the same alert, which the door knows."""
    world = World(silence())
    world.at(110 * MINUTE)
    world.intake.meanwhile = lambda: setattr(world.shared, "down", True)
    with pytest.raises(StoreUnavailable):
        await world.process().turn()
    world.shared.down, world.intake.meanwhile = False, lambda: None
    world.at(111 * MINUTE)
    await world.process().turn()
    first, second = world.intake.alerts
    assert first == second


async def test_what_was_not_told_is_not_noted() -> None:
    """While the door takes nothing, the silence stays to be told."""
    world = World(silence())
    world.at(110 * MINUTE)
    world.intake.down = True
    with pytest.raises(StoreUnavailable):
        await world.process().turn()
    assert world.shared["s1"].warned_at is None


async def test_a_change_made_while_it_is_told_is_kept() -> None:
    """Noting writes over nothing that a person changed in between; the next turn ends the alert."""
    world = World(silence())
    watch = world.process()
    world.at(110 * MINUTE)
    world.intake.meanwhile = lambda: world.change(ends_at=START + 300 * MINUTE, comment="longer")
    await watch.turn()
    world.intake.meanwhile = lambda: None
    assert world.shared["s1"].comment == "longer"
    assert world.shared["s1"].warned_at == START + 110 * MINUTE
    await watch.turn()
    assert world.told == [("s1", True), ("s1", False)]


async def test_another_process_ends_what_one_has_told() -> None:
    """The end needs no memory: the key follows from the silence."""
    world = World(silence())
    world.at(110 * MINUTE)
    await world.process().turn()
    world.at(130 * MINUTE)
    await world.process().turn()
    begun, ended = world.intake.alerts
    assert (ended.key, ended.firing) == (begun.key, False)


async def test_only_one_process_judges() -> None:
    """A process without partition 0 tells and drops nothing."""
    world = World(silence(), silence("old", ends_at=START - silencing.KEPT_FOR))
    world.at(110 * MINUTE)
    watch = world.process()
    watch.judges = lambda: False
    await watch.turn()
    assert world.told == []
    assert world.shared.writes == []


async def test_long_ended_ones_are_dropped() -> None:
    """What ended more than 5 days ago goes, also that of which was told; what cannot be read stays."""
    world = World(silence(), silence("told", warned_at=START), mutes=False)
    world.shared.kept["odd"] = b"{"
    watch = world.process()
    world.at(timedelta(hours=2) + silencing.KEPT_FOR + MINUTE)
    await watch.turn()
    assert set(world.shared.kept) == {"told", "odd"}
    await watch.turn()
    assert set(world.shared.kept) == {"odd"}
    assert world.told == [("told", False)]


async def test_without_silences_nothing_is_asked() -> None:
    """An empty store costs one read a turn."""
    world = World()
    world.reader.down = True
    await world.process().turn()
    assert world.told == []


async def test_it_goes_on_after_an_outage() -> None:
    """A store that does not answer is logged; the next turn tells."""
    world = World(silence())
    world.at(110 * MINUTE)
    world.shared.down = True
    running = asyncio.get_running_loop().create_task(world.process().run())
    while len(world.clock.slept) < 2:
        await asyncio.wait([running], timeout=0)
    world.shared.down = False
    while not world.told:
        await asyncio.wait([running], timeout=0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert set(world.clock.slept) == {TURN_S}
    assert world.told == [("s1", True)]
