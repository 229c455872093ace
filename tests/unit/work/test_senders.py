"""The watch for silent senders: who was heard, over replicas and outages, and what is told of it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from router.kit.metrics import Metrics
from router.model.deliveries import Manners
from router.model.errors import StoreUnavailable
from router.model.events import Alert, AlertBatch, Heartbeat, Severity, Told
from router.ports import Taken
from router.rulebook import matchers
from router.rulebook.senders import Sender
from router.work.senders import Senders
from tests.fakes.samples import ManualClock
from tests.unit.decide.books import alert, book

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GITLAB = Manners(unreadable=202, gives_up_after=4, revive="test the webhook in GitLab's settings")
MANNERS = {"gitlab": GITLAB, "alertmanager": Manners(), "pagerduty": Manners(gives_up_after=3)}
SIX_HOURS = timedelta(hours=6)


class FakeNotes:
    """The store's hash, with an outage at will."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.down = False

    def _ask(self) -> None:
        if self.down:
            raise StoreUnavailable("down")

    async def sender_notes(self) -> dict[str, bytes]:
        self._ask()
        return dict(self.kept)

    async def note_senders(self, notes: Mapping[str, bytes], gone: Sequence[str]) -> None:
        self._ask()
        self.kept |= notes
        for name in gone:
            self.kept.pop(name, None)


class FakeIntake:
    """The door: keeps the alerts that were told, or is down."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []
        self.down = False

    async def take(self, source: str, told: Sequence[Told]) -> Taken:
        assert source == "router"
        if self.down:
            raise StoreUnavailable("down")
        for batch in told:
            assert isinstance(batch, AlertBatch)
            self.alerts += batch.alerts
        return Taken(1, 0)


class World:
    """One store, one clock, and as many processes as a test makes."""

    def __init__(self, **silent_after: timedelta) -> None:
        self.clock, self.notes, self.intake = ManualClock(), FakeNotes(), FakeIntake()
        senders = {name: Sender(name, after) for name, after in silent_after.items()}
        self.book = dataclasses.replace(book(), senders=senders)

    def process(self, *, judges: bool = True) -> Senders:
        one = Senders(self.notes, self.intake, lambda: self.book, self.clock, Metrics(), MANNERS)
        one.judges = lambda: judges
        return one

    async def wait(self, one: Senders, span: timedelta, step: timedelta = timedelta(seconds=30)) -> None:
        """Let time pass with a turn each step."""
        until = self.clock.now() + span
        while self.clock.now() < until:
            await self.clock.sleep(step.total_seconds())
            await one.turn()

    def told(self) -> list[tuple[str, str, bool]]:
        return [(a.labels["alertname"], a.labels["source"], a.firing) for a in self.intake.alerts]


async def test_silence_is_told_once_and_ends_when_it_is_heard() -> None:
    """A sender silent for longer than it may be is one alert since its last word, resolved at its next."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    one.heard("gitlab", [])
    heard = world.clock.now()
    await world.wait(one, SIX_HOURS - timedelta(minutes=1))
    assert world.told() == []
    await world.wait(one, timedelta(hours=2))
    (silent,) = world.intake.alerts
    assert world.told() == [("SenderSilent", "gitlab", True)]
    assert silent.starts_at == heard
    assert "longer than 6h" in silent.annotations["description"]
    assert GITLAB.revive in silent.annotations["description"]
    one.heard("gitlab", [])
    await one.turn()
    over = world.intake.alerts[-1]
    assert world.told()[1:] == [("SenderSilent", "gitlab", False)]
    assert (over.key, over.labels, over.starts_at) == (silent.key, silent.labels, silent.starts_at)
    assert over.ends_at == world.clock.now()
    await world.wait(one, timedelta(hours=1))
    assert len(world.intake.alerts) == 2


async def test_who_was_never_heard_is_not_silent() -> None:
    """A sender that is not set up yet is no incident; one that is expected is, from then on."""
    world = World(gitlab=SIX_HOURS, argocd_api=timedelta(minutes=10))
    one = world.process()
    one.expect("argocd_api")
    one.turned_away("argocd_api", 0, "no answer within 20 s")
    await world.wait(one, timedelta(hours=7))
    assert world.told() == [("SenderSilent", "argocd_api", True)]
    assert "no answer within 20 s" in world.intake.alerts[0].annotations["description"]
    again = world.process()
    await again.turn()
    again.expect("argocd_api")
    await world.wait(again, timedelta(minutes=5))
    assert len(world.intake.alerts) == 1, "expecting it once more neither ends nor repeats the silence"


async def test_time_in_which_nobody_listened_is_not_silence() -> None:
    """After an outage of ours a sender still has what was left of its time; the time before it counts."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    one.heard("gitlab", [])
    await world.wait(one, timedelta(hours=4))
    await world.clock.sleep(timedelta(days=1).total_seconds())  # all routers are down
    fresh = world.process()
    await world.wait(fresh, timedelta(hours=1, minutes=50))
    assert world.told() == []
    await world.wait(fresh, timedelta(minutes=20))
    assert world.told() == [("SenderSilent", "gitlab", True)]


async def test_what_one_replica_hears_counts_for_all() -> None:
    """The process that judges sees what another one heard, and who judges may change."""
    world = World(gitlab=SIX_HOURS)
    judge, other = world.process(), world.process(judges=False)
    for _ in range(9):
        other.heard("gitlab", [])
        await other.turn()
        await world.wait(judge, timedelta(hours=1))
    assert world.told() == []
    for _ in range(14):
        await world.wait(judge, timedelta(minutes=30))
        await other.turn()
    assert world.told() == [("SenderSilent", "gitlab", True)]
    third = world.process()
    third.heard("gitlab", [])
    await third.turn()
    assert world.told()[1:] == [("SenderSilent", "gitlab", False)]


async def test_only_the_alert_it_is_watched_by_counts() -> None:
    """With matchers a delivery counts as heard only if an alert of it fires that all of them match."""
    world = World()
    watched = Sender(
        "alertmanager", timedelta(minutes=15), tuple(matchers.parse('alertname="Watchdog"')),
        Severity.CRITICAL, {"team": "platform"},
    )  # fmt: skip
    world.book = dataclasses.replace(world.book, senders={"alertmanager": watched})
    one = world.process()
    watchdog = AlertBatch("alertmanager", [alert(), alert(alertname="Watchdog")])
    one.heard("alertmanager", [Heartbeat("alertmanager", "x"), watchdog])
    for _ in range(40):
        await world.wait(one, timedelta(minutes=1))
        one.heard("alertmanager", [AlertBatch("alertmanager", [alert(alertname="Other")])])
        one.heard("alertmanager", [AlertBatch("alertmanager", [alert(alertname="Watchdog", firing=False)])])
    (silent,) = world.intake.alerts
    assert silent.labels["severity"] == "critical"
    assert silent.labels["team"] == "platform"


@pytest.mark.parametrize(
    ("source", "status", "after"),
    [("gitlab", 401, 4), ("gitlab", 503, 4), ("alertmanager", 401, 5), ("pagerduty", 500, 3)],
)
async def test_a_row_of_refusals_is_told(source: str, status: int, after: int) -> None:
    """As many refusals in a row as make a sender give up, or five with a wrong secret, are an incident."""
    world = World()
    one = world.process()
    one.heard(source, [])
    first = world.clock.now() + timedelta(seconds=1)
    for _ in range(after):
        await one.turn()
        assert world.told() == []
        await world.clock.sleep(1)
        one.turned_away(source, status)
    await one.turn()
    assert world.told() == [("SenderTurnedAway", source, True)]
    assert world.intake.alerts[0].starts_at == first
    one.turned_away(source, status)
    await one.turn()
    assert len(world.intake.alerts) == 1
    one.heard(source, [])
    await one.turn()
    assert world.told()[1:] == [("SenderTurnedAway", source, False)]


async def test_a_refusal_now_and_then_is_nothing() -> None:
    """Refusals between deliveries that are taken, and outages that Alertmanager bridges, tell nobody."""
    world = World()
    one = world.process()
    for _ in range(20):
        one.turned_away("gitlab", 401)
        one.turned_away("gitlab", 401)
        one.turned_away("alertmanager", 503)
        one.heard("gitlab", [])
        await one.turn()
    assert world.told() == []


async def test_a_delivery_at_another_replica_ends_the_row() -> None:
    """A row of refusals at one replica is over once another one has taken a delivery of that sender."""
    world = World()
    judge, other = world.process(), world.process(judges=False)
    judge.heard("gitlab", [])
    await judge.turn()
    for _ in range(5):
        judge.turned_away("gitlab", 401)
    await judge.turn()
    await world.clock.sleep(1)
    other.heard("gitlab", [])
    await other.turn()
    await judge.turn()
    assert world.told() == [("SenderTurnedAway", "gitlab", True), ("SenderTurnedAway", "gitlab", False)]


async def test_unreadable_deliveries_are_told_until_an_hour_is_quiet() -> None:
    """What went to the dead letters is an incident that names the command, until an hour is quiet."""
    world = World()
    one = world.process()
    one.unreadable("gitlab")
    one.heard("gitlab", [])
    await world.wait(one, timedelta(minutes=40))
    one.unreadable("gitlab")
    await world.wait(one, timedelta(minutes=59))
    assert world.told() == [("DeliveriesUnreadable", "gitlab", True)]
    assert "router dlq list --source gitlab" in world.intake.alerts[0].annotations["description"]
    await world.wait(one, timedelta(minutes=2))
    assert world.told()[1:] == [("DeliveriesUnreadable", "gitlab", False)]


async def test_nothing_is_forgotten_while_the_store_is_down() -> None:
    """What is noticed during an outage is written after it, and no alert is lost or told twice."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    one.heard("gitlab", [])
    world.notes.down = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await one.turn()
        await world.clock.sleep(10)
    world.notes.down = False
    await one.turn()
    assert "note:gitlab" in world.notes.kept
    world.intake.down = True
    for _ in range(3):
        one.turned_away("gitlab", 503)
    one.turned_away("gitlab", 503)
    with pytest.raises(StoreUnavailable):
        await one.turn()
    assert not any(name.startswith("told:") for name in world.notes.kept)
    world.intake.down = False
    await one.turn()
    await one.turn()
    assert world.told() == [("SenderTurnedAway", "gitlab", True)]


async def test_a_watch_that_begins_anew_tells_nothing_twice() -> None:
    """A new process knows what was told before it, and ends what is over."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    one.heard("gitlab", [])
    await world.wait(one, timedelta(hours=7))
    for _ in range(3):
        await world.process().turn()
    assert len(world.intake.alerts) == 1
    world.book = dataclasses.replace(world.book, senders={})  # nobody watches it any more
    await world.process().turn()
    assert world.told()[1:] == [("SenderSilent", "gitlab", False)]


async def test_strangers_at_a_door_that_nobody_uses_are_no_incident() -> None:
    """Refusals of a source that was never heard tell nobody, unless the rules watch it."""
    world = World()
    one = world.process()
    for _ in range(20):
        one.turned_away("gitlab", 401)
    await one.turn()
    assert world.told() == []
    world.book = dataclasses.replace(world.book, senders={"gitlab": Sender("gitlab")})
    await one.turn()
    assert world.told() == [("SenderTurnedAway", "gitlab", True)]
