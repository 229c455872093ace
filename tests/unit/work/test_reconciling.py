"""The reconciler: only what lasts is mended, once; a dry run says what would be; all see what was found."""

from __future__ import annotations

import dataclasses
import json

import pytest

from router.kit.metrics import Metrics
from router.model.destinations import Destination, Lane, Want
from router.model.events import Doubt
from router.model.incidents import State
from router.ports import Survey
from router.rulebook.reconcile import Reconcile
from router.work.reconciling import Reconciling
from tests.fakes.samples import ManualClock, incident
from tests.fakes.silences import MemorySurroundings
from tests.fakes.web import FakeDoor, FakeReader
from tests.unit.decide.making import rulebook

HEAD = incident(destinations={"x/pagerduty/0": Destination(Lane.PAGE, Want.TRIGGERED, 4, Want.TRIGGERED, 4)})


class Room:
    def __init__(self) -> None:
        self.shared, self.reader, self.door = MemorySurroundings(), FakeReader(), FakeDoor()
        self.clock, self.metrics = ManualClock(), Metrics()
        self.policy = Reconcile(closed_at_pagerduty="reopen")
        self.reader.whole[HEAD.group, HEAD.generation] = (HEAD, [], [])
        self.one = Reconciling(
            self.shared, self.reader, self.door,
            lambda: dataclasses.replace(rulebook(), reconcile=self.policy), self.clock, self.metrics,
        )  # fmt: skip

    async def look(self, *open_: str, minutes: float = 0.0) -> list[dict]:
        """Let time pass, PagerDuty be asked, and compare; return what is shown."""
        self.clock.seconds += 60 * minutes
        self.one.surveyed(Survey("pagerduty", frozenset(open_), whole=True))
        await self.one.turn()
        return json.loads(await self.shared.report())["differences"]


@pytest.fixture
def room() -> Room:
    return Room()


async def test_what_lasts_is_mended_once(room: Room) -> None:
    """For ten minutes it is shown; then it is mended, and has to last again before that is done again."""
    (shown,) = await room.look()
    assert (shown["kind"], shown["action"], shown["mended"]) == ("closed_at_pagerduty", "reopen", False)
    await room.look(minutes=9)
    assert room.door.agains == []
    (shown,) = await room.look(minutes=1)
    assert shown["mended"] is True
    assert room.door.agains == [Doubt(HEAD.group, HEAD.generation, "x/pagerduty/0", revive=True)]
    await room.look(minutes=5)
    assert len(room.door.agains) == 1
    labels = {"kind": "closed_at_pagerduty", "action": "reopen"}
    assert room.metrics.registry.get_sample_value("incident_router_reconciled_total", labels) == 1


async def test_what_is_over_meanwhile_counts_anew(room: Room) -> None:
    """A difference that went and came lasts from when it came."""
    await room.look()
    assert await room.look(HEAD.id, minutes=8) == []
    await room.look(minutes=3)
    assert room.door.agains == []


async def test_a_dry_run_only_says(room: Room) -> None:
    """Nothing is done, and what would be is shown."""
    room.policy = Reconcile(closed_at_pagerduty="reopen", dry_run=True)
    await room.look()
    (shown,) = await room.look(minutes=20)
    assert (shown["action"], shown["would"], shown["mended"]) == ("report", "reopen", False)
    assert room.door.agains == []


async def test_an_old_answer_is_none(room: Room) -> None:
    """Where a side has not answered lately nothing is compared with it."""
    await room.look()
    room.clock.seconds += 15 * 60
    await room.one.turn()
    report = json.loads(await room.shared.report())
    assert (report["asked"], report["differences"]) == ([], [])


async def test_one_process_does_it(room: Room) -> None:
    """Who does not judge looks at nothing, and begins anew when it does."""
    room.one.judges = lambda: False
    await room.one.turn()
    assert room.reader.asked == []
    assert await room.shared.report() == b""


async def test_what_is_open_there_alone_is_looked_up(room: Room) -> None:
    """An incident of ours that is over is told to be; a forgotten or another's key is left alone."""
    over = incident(
        group="0" * 16, state=State.RESOLVED,
        destinations={"x/pagerduty/0": Destination(Lane.PAGE, Want.RESOLVED, 4, Want.RESOLVED, 4)},
    )  # fmt: skip
    room.reader.whole[over.group, over.generation] = (over, [], [])
    (shown,) = await room.look(HEAD.id, over.id, f"{'9' * 16}.1", "not-ours")
    assert (shown["kind"], shown["incident"]) == ("open_at_pagerduty", over.id)


async def test_what_was_not_looked_at_goes_on(room: Room) -> None:
    """With more incidents than one turn looks at, a difference lasts over those that look at others."""
    await room.look()
    whole, room.reader.whole = room.reader.whole, {}
    await room.look(minutes=6)
    room.reader.whole = whole
    (shown,) = await room.look(minutes=5)
    assert shown["mended"] is True
