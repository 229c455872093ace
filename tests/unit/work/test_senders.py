"""The watch for silent senders: who was heard, over replicas and outages, and what is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import senders as judging
from router.decide.senders import Noted
from router.kit.metrics import Metrics
from router.model.deliveries import Manners
from router.model.errors import StoreUnavailable
from router.model.events import Alert, AlertBatch, Heartbeat, Severity, Told
from router.ports import SwitchedOff, Taken
from router.rulebook import matchers
from router.rulebook.senders import Sender
from router.work.senders import Senders
from tests.conftest import wait_for
from tests.fakes.samples import ManualClock
from tests.unit.decide.books import alert, book

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

GITLAB = Manners(unreadable=202, gives_up_after=4, revive="test the webhook in GitLab's settings")
MANNERS = {"gitlab": GITLAB, "alertmanager": Manners(), "pagerduty": Manners(gives_up_after=3)}
SIX_HOURS = timedelta(hours=6)


class FakeNotes:
    """The store's hash: does what Redis does with these commands, or is down at will."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.down = False
        self.lost_replies = 0
        self.reads = 0  # those that failed, too
        #: Called once between a process's reading and its writing.
        self.between: Callable[[], Awaitable[None]] | None = None

    def _ask(self) -> None:
        if self.down:
            raise StoreUnavailable("down")

    async def sender_notes(self) -> dict[str, bytes]:
        self.reads += 1
        self._ask()
        return dict(self.kept)

    async def note_senders(self, edits: Sequence[tuple[str, ...]]) -> dict[str, bytes]:
        if self.between is not None:
            between, self.between = self.between, None
            await between()
        self._ask()
        for command, *arguments in edits:
            getattr(self, f"_{command.lower()}")(*arguments)
        if self.lost_replies:
            self.lost_replies -= 1
            raise StoreUnavailable("TimeoutError")
        return dict(self.kept)

    def _hset(self, field: str, value: str) -> None:
        self.kept[field] = value.encode()

    def _hsetnx(self, field: str, value: str) -> None:
        self.kept.setdefault(field, value.encode())

    def _hincrby(self, field: str, by: str) -> None:
        old = self.kept.get(field, b"0")
        if not re.fullmatch(rb"-?[0-9]+", old):
            raise StoreUnavailable("ResponseError: hash value is not an integer")
        self.kept[field] = str(int(old) + int(by)).encode()

    def _hdel(self, *fields: str) -> None:
        assert fields, "Redis wants one at least"
        for field in fields:
            self.kept.pop(field, None)


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

    def description(self) -> str:
        return self.intake.alerts[-1].annotations["description"]

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
    assert f"{after} deliveries in a row to /webhooks/{source}" in world.description()
    assert f"the last one was answered {status}." in world.description()
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
    assert "heard:gitlab" in world.notes.kept
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


async def test_a_senders_own_word_that_it_is_off_is_told() -> None:
    """A webhook that its sender has switched off is an incident, until the sender says otherwise."""
    world = World()
    one = world.process()
    since = world.clock.now() - timedelta(hours=2)
    for _ in range(3):
        one.asked("gitlab", [SwitchedOff("gitlab", "webhook 7 of shop/payment-service", since)])
        await one.turn()
        await world.clock.sleep(60)
    (off,) = world.intake.alerts
    assert (off.labels["alertname"], off.starts_at) == ("SenderSwitchedOff", since)
    assert "webhook 7 of shop/payment-service" in off.annotations["description"]
    assert GITLAB.revive in off.annotations["description"]
    one.heard("gitlab", [])  # another project's webhook still sends
    await one.turn()
    assert len(world.intake.alerts) == 1
    one.asked("gitlab", [])
    await one.turn()
    assert world.told()[1:] == [("SenderSwitchedOff", "gitlab", False)]


async def test_a_word_ends_where_nobody_asks_for_it_any_more() -> None:
    """A day after the last question a webhook is not off any more; asked about again, it is told anew."""
    world = World()
    one = world.process()
    off = [SwitchedOff("pagerduty", "webhook subscription P1 is switched off")]
    one.heard("pagerduty", [])
    one.asked("pagerduty", off)
    await world.wait(one, timedelta(hours=23), timedelta(hours=1))
    one.asked("pagerduty", off)
    await world.wait(one, timedelta(hours=24), timedelta(hours=1))
    assert world.told() == [("SenderSwitchedOff", "pagerduty", True)]
    await world.wait(one, timedelta(hours=1), timedelta(minutes=10))
    assert world.told()[1:] == [("SenderSwitchedOff", "pagerduty", False)]
    assert not {"off:pagerduty", "off_since:pagerduty"} & world.notes.kept.keys()
    one.asked("pagerduty", off)
    await one.turn()
    assert [firing for _, _, firing in world.told()] == [True, False, True]
    assert world.intake.alerts[-1].starts_at == world.clock.now()


async def test_when_it_was_asked_is_noted_once_a_minute() -> None:
    """Also where all is well; and what was asked in an outage is noted with the time of the question."""
    world = World()
    one = world.process()
    written = []
    for _ in range(24):
        one.asked("gitlab", [])
        await one.turn()
        written.append(world.notes.kept["asked_at:gitlab"])
        await world.clock.sleep(10)
    assert len(set(written)) == 4
    world.notes.down = True
    one.asked("gitlab", [])
    at = world.clock.now()
    await _turns(world, one, 9)
    world.notes.down = False
    await one.turn()
    assert world.notes.kept["asked_at:gitlab"] == judging.ms(at).encode()


async def test_a_word_without_a_time_counts_for_a_day() -> None:
    """Where it is not known when it was asked, the day begins with the next turn of the one who judges."""
    world = World()
    world.notes.kept |= {"off:gitlab": b"webhook 7", "off_since:gitlab": b"1772359000000"}
    one = world.process()
    await world.process(judges=False).turn()
    assert "asked_at:gitlab" not in world.notes.kept
    await world.wait(one, timedelta(hours=23), timedelta(hours=1))
    assert world.told() == [("SenderSwitchedOff", "gitlab", True)]
    await world.wait(one, timedelta(hours=3), timedelta(hours=1))
    assert world.told()[1:] == [("SenderSwitchedOff", "gitlab", False)]


# --- several replicas, and what happens between them ---------------------------------------------------


async def test_refusals_at_two_replicas_add_up() -> None:
    """Two of GitLab's four failures at each replica are four: it has stopped sending, and that is told."""
    world = World()
    judge, other = world.process(), world.process(judges=False)
    judge.heard("gitlab", [])
    await judge.turn()
    await other.turn()
    await world.clock.sleep(1)
    for _ in range(2):
        judge.turned_away("gitlab", 503)
        other.turned_away("gitlab", 401)
    await judge.turn()
    assert world.told() == []
    await other.turn()
    await judge.turn()
    assert world.told() == [("SenderTurnedAway", "gitlab", True)]
    assert "2 for a wrong secret or signature, 2 for other reasons" in world.description()


async def test_a_replica_that_heard_nothing_takes_nothing_back() -> None:
    """What one replica heard stays heard, whatever another one writes that knew an older state."""
    world = World(gitlab=SIX_HOURS)
    judge, other = world.process(), world.process(judges=False)
    other.heard("gitlab", [])
    await other.turn()
    await judge.turn()
    await world.clock.sleep(30)
    judge.heard("gitlab", [])
    await judge.turn()
    heard = world.notes.kept["heard:gitlab"]
    other.unreadable("gitlab")
    other.turned_away("gitlab", 503)
    await other.turn()
    assert world.notes.kept["heard:gitlab"] == heard
    assert world.notes.kept["failed:gitlab"] == b"1"


async def test_an_older_word_does_not_outrank_a_newer_one() -> None:
    """A replica that writes late neither sets the time back nor adds refusals from before that."""
    world = World()
    late, prompt = world.process(), world.process()
    late.heard("gitlab", [])
    await world.clock.sleep(1)
    late.turned_away("slack", 503)
    for _ in range(5):
        late.turned_away("gitlab", 401)
    await world.clock.sleep(1)
    prompt.heard("gitlab", [])
    await prompt.turn()
    heard = world.notes.kept["heard:gitlab"]
    await late.turn()
    assert world.notes.kept["heard:gitlab"] == heard
    assert "bad:gitlab" not in world.notes.kept
    assert world.told() == []


async def test_a_row_that_began_after_it_was_heard_stays() -> None:
    """A delivery that a replica notes late does not end the refusals that came after it elsewhere."""
    world = World()
    late, prompt = world.process(judges=False), world.process()
    late.heard("gitlab", [])
    await world.clock.sleep(1)
    for _ in range(4):
        prompt.turned_away("gitlab", 401)
    await prompt.turn()
    await late.turn()
    await prompt.turn()
    assert world.told() == [("SenderTurnedAway", "gitlab", True)]


async def test_a_single_refusal_elsewhere_ends_nothing() -> None:
    """An incident that one replica's refusals opened is not ended by another's single one."""
    world = World()
    judge, other = world.process(), world.process(judges=False)
    judge.heard("alertmanager", [])
    await judge.turn()
    await other.turn()
    for _ in range(6):
        await world.clock.sleep(1)
        judge.turned_away("alertmanager", 401)
    await judge.turn()
    other.turned_away("alertmanager", 503)
    await other.turn()
    await judge.turn()
    assert world.told() == [("SenderTurnedAway", "alertmanager", True)]
    assert world.notes.kept["bad:alertmanager"] == b"6"


async def test_what_one_process_sees_counts_in_its_order() -> None:
    """Refused, taken, then refused once is a row of one, in one turn as over several."""
    world = World()
    one = world.process()
    for _ in range(3):
        one.turned_away("gitlab", 401)
    one.heard("gitlab", [])
    one.turned_away("gitlab", 503)
    await one.turn()
    assert "bad:gitlab" not in world.notes.kept
    assert world.notes.kept["failed:gitlab"] == b"1"
    one.heard("gitlab", [])
    await one.turn()
    assert not {"bad:gitlab", "failed:gitlab", "since:gitlab", "status:gitlab"} & world.notes.kept.keys()


async def test_deaf_time_is_kept_when_another_replica_writes() -> None:
    """After 7 hours without a store nobody is silent, whatever another replica noticed meanwhile."""
    world = World(gitlab=SIX_HOURS)
    judge, other = world.process(), world.process(judges=False)
    judge.heard("gitlab", [])
    await judge.turn()
    await other.turn()
    await world.clock.sleep(5)
    other.heard("gitlab", [])  # and then the store is gone
    world.notes.down = True
    for one in (judge, other) * 2:
        with pytest.raises(StoreUnavailable):
            await one.turn()
    await world.clock.sleep(timedelta(hours=7).total_seconds())
    other.turned_away("gitlab", 503)
    world.notes.down = False
    for one in (judge, other, judge, other, judge):
        await one.turn()
        await world.clock.sleep(10)
    assert judging.split(world.notes.kept)[0]["gitlab"].deaf >= 7 * 3600 - 1
    assert world.told() == []
    await world.wait(judge, timedelta(hours=5, minutes=50))
    assert world.told() == []
    await world.wait(judge, timedelta(minutes=15))
    assert world.told() == [("SenderSilent", "gitlab", True)]


async def test_deaf_time_is_kept_whoever_writes_first() -> None:
    """The same where the replica that does not judge is the first to write after the outage."""
    world = World(gitlab=SIX_HOURS)
    judge, other = world.process(), world.process(judges=False)
    judge.heard("gitlab", [])
    await judge.turn()
    await world.clock.sleep(5)
    other.heard("gitlab", [])
    await world.clock.sleep(timedelta(hours=7).total_seconds())
    other.turned_away("gitlab", 503)
    for one in (other, judge, other, judge):
        await one.turn()
    assert world.told() == []


async def test_who_is_heard_as_deaf_time_is_added_has_none() -> None:
    """A delivery that another replica notes just then counts from itself, without the outage before it."""
    world = World(gitlab=SIX_HOURS)
    judge, other = world.process(), world.process(judges=False)
    judge.heard("gitlab", [])
    await judge.turn()
    await world.clock.sleep(timedelta(hours=7).total_seconds())
    other.heard("gitlab", [])
    world.notes.between = other.turn
    await judge.turn()
    assert judging.split(world.notes.kept)[0]["gitlab"].deaf == 0
    await world.wait(judge, SIX_HOURS + timedelta(minutes=1))
    assert world.told() == [("SenderSilent", "gitlab", True)]


async def _turns(world: World, one: Senders, count: int) -> None:
    """Let a process try some turns, ten seconds apart."""
    for _ in range(count):
        await world.clock.sleep(10)
        with contextlib.suppress(StoreUnavailable):
            await one.turn()


async def test_who_was_heard_since_an_outage_has_none_of_it() -> None:
    """Five deaf hours end with a delivery, though that is noted only after another, short outage."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    one.heard("gitlab", [])
    await one.turn()
    await world.clock.sleep(5 * 3600)
    await _turns(world, one, 2)
    assert judging.split(world.notes.kept)[0]["gitlab"].deaf >= 5 * 3600
    world.notes.down = True
    await world.clock.sleep(30)
    one.heard("gitlab", [])
    await _turns(world, one, 9)
    world.notes.down = False
    await one.turn()
    assert judging.split(world.notes.kept)[0]["gitlab"].deaf == 90
    await world.wait(one, SIX_HOURS + timedelta(minutes=1))
    assert world.told() == [("SenderSilent", "gitlab", True)]


async def test_a_word_from_between_two_outages_is_deaf_for_the_second_only() -> None:
    """A replica that notes a delivery late neither loses the outage after it nor keeps the one before."""
    world = World(gitlab=SIX_HOURS)
    judge, late = world.process(), world.process(judges=False)
    judge.heard("gitlab", [])
    await judge.turn()
    await world.clock.sleep(5 * 3600)
    await _turns(world, judge, 2)
    late.heard("gitlab", [])
    await _turns(world, judge, 3)
    await world.clock.sleep(600 - 10)
    await _turns(world, judge, 2)
    await late.turn()
    await judge.turn()
    assert judging.split(world.notes.kept)[0]["gitlab"].deaf == 600


async def test_an_outage_counts_once_whoever_notes_it() -> None:
    """Two that judge at once, or a lost reply, do not make an outage longer than it was."""
    world = World(gitlab=SIX_HOURS)
    one, other = world.process(), world.process()
    one.heard("gitlab", [])
    await one.turn()
    await world.clock.sleep(7200)
    world.notes.between = other.turn
    world.notes.lost_replies = 1
    with pytest.raises(StoreUnavailable):
        await one.turn()
    await one.turn()
    assert judging.split(world.notes.kept)[0]["gitlab"].deaf == 7200


async def test_outages_are_not_remembered_for_ever() -> None:
    """Those of more than a year ago are forgotten, and of many the oldest."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    await one.turn()
    for _ in range(judging.MOST_OUTAGES + 20):
        await world.clock.sleep(61)
        await one.turn()
    assert judging.MOST_OUTAGES <= len(judging.outages(world.notes.kept)) <= judging.MOST_OUTAGES + 1
    await world.clock.sleep(timedelta(days=366).total_seconds())
    await one.turn()
    await one.turn()
    assert len(judging.outages(world.notes.kept)) == 1


async def test_what_another_replica_heard_while_nobody_judged_counts() -> None:
    """Deaf time begins with the last word, where one came after the last turn of whoever judges."""
    world = World(gitlab=SIX_HOURS)
    judge, other = world.process(), world.process(judges=False)
    judge.heard("gitlab", [])
    await judge.turn()
    await world.clock.sleep(3600)
    other.heard("gitlab", [])
    await other.turn()
    await world.clock.sleep(600)
    await judge.turn()
    assert judging.split(world.notes.kept)[0]["gitlab"].deaf == 600


async def test_who_is_heard_as_it_is_first_expected_keeps_that() -> None:
    """A poller that another replica hears just then counts from there, and not from when it was expected."""
    world = World(argocd_api=SIX_HOURS)
    judge, other = world.process(), world.process(judges=False)
    other.heard("argocd_api", [])
    heard = judging.ms(world.clock.now()).encode()
    await world.clock.sleep(5)
    judge.expect("argocd_api")
    world.notes.between = other.turn
    await judge.turn()
    assert world.notes.kept["heard:argocd_api"] == heard


async def test_a_row_that_is_noted_after_its_end_is_over() -> None:
    """Refusals that a replica notes just as another notes a later delivery tell nobody."""
    world = World()
    judge, other = world.process(), world.process(judges=False)
    for _ in range(5):
        other.turned_away("gitlab", 401)
    await world.clock.sleep(1)
    judge.heard("gitlab", [])
    world.notes.between = other.turn
    await judge.turn()
    assert world.notes.kept["bad:gitlab"] == b"5"
    await world.clock.sleep(1)
    await judge.turn()
    judge.turned_away("gitlab", 401)
    await judge.turn()
    assert world.told() == []
    assert world.notes.kept["bad:gitlab"] == b"1"


# --- outages, restarts, and the end ----------------------------------------------------------------------


async def test_what_is_noticed_in_an_outage_is_added_up() -> None:
    """Turns that fail keep their counts, and what comes meanwhile is added in its order."""
    world = World()
    one = world.process()
    one.turned_away("alertmanager", 401)
    one.turned_away("gitlab", 503)
    one.unreadable("gitlab")
    world.notes.down = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await one.turn()
        await world.clock.sleep(10)
        one.turned_away("alertmanager", 401)
        one.heard("gitlab", [])
        one.turned_away("gitlab", 503)
    world.notes.down = False
    await one.turn()
    assert world.notes.kept["bad:alertmanager"] == b"4"
    assert world.notes.kept["failed:gitlab"] == b"1"
    assert int(world.notes.kept["refused_at:gitlab"]) > int(world.notes.kept["odd_since:gitlab"])
    assert "heard:gitlab" in world.notes.kept


async def test_what_comes_while_a_turn_fails_is_kept() -> None:
    """A delivery that arrives between reading and writing of a turn that fails is in the next one."""
    world = World()
    one = world.process()
    one.turned_away("gitlab", 503)

    async def meanwhile() -> None:
        one.turned_away("gitlab", 503)
        one.asked("gitlab", [SwitchedOff("gitlab", "webhook 7")])
        one.expect("argocd_api")
        world.notes.down = True

    world.notes.between = meanwhile
    with pytest.raises(StoreUnavailable):
        await one.turn()
    world.notes.down = False
    await one.turn()
    assert world.notes.kept["failed:gitlab"] == b"2"
    assert world.notes.kept["off:gitlab"] == b"webhook 7"
    assert "heard:argocd_api" in world.notes.kept


async def test_a_lost_reply_loses_no_count() -> None:
    """Where it is not known whether a count was written it is written again: twice is better than never."""
    world = World()
    one = world.process()
    one.turned_away("gitlab", 503)
    world.notes.lost_replies = 1
    with pytest.raises(StoreUnavailable):
        await one.turn()
    await one.turn()
    assert int(world.notes.kept["failed:gitlab"]) >= 1


@given(st.lists(st.sampled_from(["401", "503", "heard", "odd", "404", "turn", "fails", "late"]), max_size=30))
def test_a_row_is_what_came_after_the_last_delivery(acts: list[str]) -> None:
    """Whenever turns come, and whichever fail, what is noted at the end is what happened, in its order."""

    async def play() -> None:
        world = World()
        one, bad, failed, heard, odd = world.process(), 0, 0, False, False
        for act in acts:
            await world.clock.sleep(1)
            match act:
                case "401":
                    bad += 1
                case "503":
                    failed += 1
                case "heard":
                    bad, failed, heard = 0, 0, True
                case "odd":
                    odd = True
            if act.isdigit():
                one.turned_away("gitlab", int(act))
            elif act == "heard":
                one.heard("gitlab", [])
            elif act == "odd":
                one.unreadable("gitlab")
            else:
                world.notes.down = act == "fails"
                world.notes.between = _fall(world.notes) if act == "late" else None
                with contextlib.suppress(StoreUnavailable):
                    await one.turn()
                world.notes.down, world.notes.between = False, None
        await one.turn()
        note = judging.split(world.notes.kept)[0].get("gitlab", Noted())
        assert (note.bad, note.failed, note.heard is not None) == (bad, failed, heard)
        assert (note.since is not None) == (note.refused_at is not None) == bool(bad or failed)
        assert (note.odd_since is not None) == (note.odd_at is not None) == odd

    asyncio.run(play())


def _fall(notes: FakeNotes) -> Callable[[], Awaitable[None]]:
    async def fall() -> None:
        notes.down = True

    return fall


async def test_a_cancelled_turn_loses_nothing() -> None:
    """What a turn was about to write when the process was told to stop is written by the last flush."""
    world = World()
    one = world.process()
    one.heard("gitlab", [])

    hanging = asyncio.Event()

    async def hang() -> None:
        hanging.set()
        await asyncio.Event().wait()

    world.notes.between = hang
    turn = asyncio.get_running_loop().create_task(one.turn())
    await wait_for(hanging.is_set, "the turn is about to write")
    turn.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await turn
    assert world.notes.kept == {}
    await one.flush()
    assert world.notes.kept.keys() == {"heard:gitlab"}


async def test_the_last_flush_notes_and_judges_nothing() -> None:
    """At the end notes are written, but nothing is told; without notes, or a store, it is quiet."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    await one.flush()
    assert world.notes.reads == 0
    one.heard("gitlab", [])
    await world.clock.sleep(timedelta(hours=7).total_seconds())
    for _ in range(9):
        one.turned_away("gitlab", 401)
    world.notes.down = True
    await one.flush()
    world.notes.down = False
    await one.flush()
    assert {"heard:gitlab", "bad:gitlab"} <= world.notes.kept.keys()
    assert "watch" not in world.notes.kept
    assert world.told() == []


async def test_a_restart_does_not_end_a_failing_polls_incident() -> None:
    """A poller that is expected anew before the notes were read is not heard by that."""
    world = World(argocd_api=timedelta(minutes=10))
    one = world.process()
    one.expect("argocd_api")
    for _ in range(12):
        one.turned_away("argocd_api", 0, "the token is wrong")
        await world.wait(one, timedelta(minutes=1))
    assert world.told() == [("SenderSilent", "argocd_api", True)]
    again = world.process()
    again.expect("argocd_api")
    again.turned_away("argocd_api", 0, "the token is wrong")
    await world.wait(again, timedelta(minutes=20))
    assert world.told() == [("SenderSilent", "argocd_api", True)]
    again.heard("argocd_api", [])
    await again.turn()
    assert world.told()[1:] == [("SenderSilent", "argocd_api", False)]
    assert "trouble:argocd_api" not in world.notes.kept


async def test_who_was_long_not_heard_is_noted_at_once() -> None:
    """A first word, or one after more than a minute, is noted without waiting for a turn."""
    world = World()
    one = world.process()
    running = asyncio.get_running_loop().create_task(one.run())
    try:
        await _loops()
        turns = world.notes.reads
        one.heard("gitlab", [])
        one.heard("gitlab", [])
        await _loops()
        assert world.notes.reads == turns + 1
        await world.clock.sleep(30)
        one.heard("gitlab", [])
        await _loops()
        assert world.notes.reads == turns + 1, "half a minute may wait"
        await world.clock.sleep(31)
        await one.turn()
        await world.clock.sleep(61)
        one.heard("gitlab", [])
        await _loops()
        assert world.notes.reads == turns + 3
        world.notes.down = True
        await world.clock.sleep(61)
        for _ in range(5):
            one.heard("gitlab", [])
            await _loops()
        assert world.notes.reads == turns + 4, "an outage is not asked about with each delivery"
    finally:
        running.cancel()


async def _loops() -> None:
    for _ in range(20):
        await asyncio.sleep(0)  # a turn of the loop takes no time; what must not happen has no condition


# --- what counts, and for how long -----------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 405, 408, 415])
async def test_what_any_stranger_can_cause_counts_for_nothing(status: int) -> None:
    """Wrong methods, slow and compressed bodies are nobody's row of refusals."""
    world = World(gitlab=SIX_HOURS)
    one = world.process()
    one.heard("gitlab", [])
    for _ in range(9):
        one.turned_away("gitlab", status)
    await one.turn()
    assert world.told() == []
    assert world.notes.kept.keys() == {"heard:gitlab", "watch"}


@pytest.mark.parametrize("status", [400, 413, 500, 503])
async def test_failures_count_where_the_sender_gives_up(status: int) -> None:
    """Too large, unreadable or not stored: told of a sender that stops, not of one that goes on for ever."""
    world = World()
    one = world.process()
    for source in ("gitlab", "alertmanager"):
        one.heard(source, [])
        for _ in range(9):
            one.turned_away(source, status)
    await one.turn()
    assert world.told() == [("SenderTurnedAway", "gitlab", True)]


async def test_a_refusal_of_another_kind_does_not_end_it() -> None:
    """A row of wrong secrets stays an incident when something else fails next."""
    world = World()
    one = world.process()
    one.heard("alertmanager", [])
    for _ in range(5):
        one.turned_away("alertmanager", 401)
    await one.turn()
    one.turned_away("alertmanager", 503)
    await world.wait(one, timedelta(hours=1))
    assert world.told() == [("SenderTurnedAway", "alertmanager", True)]


async def test_after_thirty_days_a_row_is_forgotten() -> None:
    """Thirty days after the last refusal nobody speaks of it, and the next one begins a new row."""
    world = World(gitlab=timedelta(days=90))
    one = world.process()
    one.heard("gitlab", [])
    day = timedelta(days=1)
    for _ in range(5):
        await world.clock.sleep(1)
        one.turned_away("gitlab", 401)
    await world.wait(one, timedelta(seconds=30))
    await world.wait(one, day * 29, day)
    one.turned_away("gitlab", 401)
    await world.wait(one, day * 29, day)
    assert world.told() == [("SenderTurnedAway", "gitlab", True)]
    await world.wait(one, day * 2, day)
    assert world.told()[1:] == [("SenderTurnedAway", "gitlab", False)]
    one.turned_away("gitlab", 401)
    await one.turn()
    assert world.notes.kept["bad:gitlab"] == b"1"
    assert len(world.intake.alerts) == 2


async def test_a_delivery_without_its_alert_ends_a_row_but_no_silence() -> None:
    """A watched sender's other deliveries show that its secret is right, not that it is all there."""
    world = World()
    watched = Sender("alertmanager", SIX_HOURS, matchers=tuple(matchers.parse('alertname="Watchdog"')))
    world.book = dataclasses.replace(world.book, senders={"alertmanager": watched})
    one = world.process()
    for _ in range(5):
        one.turned_away("alertmanager", 401)
    await one.turn()
    one.heard("alertmanager", [AlertBatch("alertmanager", [alert()])])
    await one.turn()
    assert [firing for _, _, firing in world.told()] == [True, False]
    assert "heard:alertmanager" not in world.notes.kept


async def test_an_expected_sender_is_watched_though_it_was_never_heard() -> None:
    """A Watchdog that never got through is told as long as the rules expect it, and ends once it came."""
    world = World()
    rule = Sender(
        "alertmanager", SIX_HOURS, expected=True, matchers=tuple(matchers.parse("alertname=Watchdog"))
    )
    world.book = dataclasses.replace(world.book, senders={"alertmanager": rule})
    since = world.clock.now()
    await world.process(judges=False).turn()
    assert world.notes.kept == {}, "it is for the one who judges to say since when"
    one = world.process()
    one.heard("alertmanager", [AlertBatch("alertmanager", [alert()])])
    await world.wait(one, timedelta(hours=3))
    again = world.process()
    await world.wait(again, timedelta(hours=2))
    assert world.told() == []
    await world.wait(again, timedelta(hours=2))
    assert world.told() == [("SenderSilent", "alertmanager", True)]
    assert world.intake.alerts[0].starts_at - since <= timedelta(minutes=1)
    assert "ever came from alertmanager, which the rules expect since" in world.description()
    again.heard("alertmanager", [AlertBatch("alertmanager", [alert(alertname="Watchdog")])])
    await again.turn()
    assert world.told()[1:] == [("SenderSilent", "alertmanager", False)]
    assert "expected:alertmanager" not in world.notes.kept


async def test_a_sender_that_is_no_longer_expected_is_not_silent() -> None:
    """Taking the word back ends the incident, and later it counts from anew."""
    world = World()

    def rule(*, expected: bool) -> None:
        senders = {"gitlab": Sender("gitlab", SIX_HOURS, expected=expected)}
        world.book = dataclasses.replace(world.book, senders=senders)

    rule(expected=True)
    one = world.process()
    await world.wait(one, timedelta(hours=7))
    rule(expected=False)
    await one.turn()
    assert [firing for _, _, firing in world.told()] == [True, False]
    rule(expected=True)
    await world.wait(one, timedelta(hours=5))
    assert len(world.intake.alerts) == 2


async def test_time_in_which_nobody_listened_is_not_counted_against_an_expected_one() -> None:
    """Deaf time counts for those that are expected as for those that were heard."""
    world = World()
    senders = {"gitlab": Sender("gitlab", SIX_HOURS, expected=True)}
    world.book = dataclasses.replace(world.book, senders=senders)
    one = world.process()
    await world.wait(one, timedelta(hours=1))
    await world.clock.sleep(timedelta(days=1).total_seconds())
    await world.wait(one, timedelta(hours=4))
    assert world.told() == []
    await world.wait(one, timedelta(hours=2))
    assert world.told() == [("SenderSilent", "gitlab", True)]


async def test_a_closed_source_is_told_with_what_to_set() -> None:
    """Knocking at a source without a secret is an incident that names the setting, if the rules watch it."""
    world = World(argo_rollouts=SIX_HOURS)
    one = world.process()
    for _ in range(5):
        one.turned_away("argo_rollouts", 403)
        one.turned_away("grafana", 403)
    await one.turn()
    assert world.told() == [("SenderTurnedAway", "argo_rollouts", True)]
    assert "until ROUTER_SOURCE_ARGO_ROLLOUTS_SECRETS is set" in world.description()


# --- junk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("junk", [b"", b"x", b"\xff", b"-1", b"1e3", b"9" * 30, b"99999999999999", b"{}"])
async def test_a_field_that_cannot_be_read_stops_nothing(junk: bytes) -> None:
    """Whatever stands in any field, all others are read, and the watch goes on and mends it."""
    world = World(gitlab=SIX_HOURS, slack=SIX_HOURS)
    world.notes.kept |= {f"{field}:gitlab": junk for field in Noted.__struct_fields__}
    world.notes.kept |= {
        "watch": junk, "told:SenderSilent:gitlab": junk, "told:": junk, "heard:": junk, "heard": junk,
        "note:gitlab": junk, ":": junk, "": junk, "bad:\ufffd": junk, "told:SenderSilent:slack": b"[" * 99999,
        "heard:No such:name": b"1", "watch:gitlab": b"1", "from_the_future:gitlab": junk,
        "outage": b"1", "outage:": junk, "outage:x": b"1", "outage:1": junk, "outage:\ufffd": b"1",
        "outage:99999999999998": b"99999999999999", "outage:2": b"1", "outage:٣": b"1",
    }  # fmt: skip
    one = world.process()
    one.heard("gitlab", [])
    one.heard("slack", [])
    one.turned_away("gitlab", 503)
    one.unreadable("gitlab")
    one.asked("gitlab", [SwitchedOff("gitlab", "half a character \ud800")])
    await world.wait(one, timedelta(hours=7))
    assert {"from_the_future:gitlab", "note:gitlab"} <= world.notes.kept.keys()
    assert not any(name.startswith("outage") for name in world.notes.kept)
    silent = [source for name, source, firing in world.told() if name == "SenderSilent" and firing]
    assert sorted(silent) == ["gitlab", "slack"]
    one.heard("gitlab", [])
    one.asked("gitlab", [])
    await one.turn()
    assert ("SenderSilent", "gitlab", False) in world.told()
    assert ("SenderSwitchedOff", "gitlab", False) in world.told()
    assert b"\xed" not in world.notes.kept.get("off:gitlab", b"")


def test_who_does_not_judge_counts_nobody_in_trouble() -> None:
    """The gauge of senders in trouble is the judge's alone: replicas may be added up."""

    async def play() -> float | None:
        world = World(gitlab=SIX_HOURS)
        metrics = Metrics()
        one = Senders(world.notes, world.intake, lambda: world.book, world.clock, metrics, MANNERS)
        one.heard("gitlab", [])
        await world.wait(one, timedelta(hours=7))
        assert metrics.registry.get_sample_value("incident_router_senders_in_trouble") == 1
        one.judges = lambda: False
        await one.turn()
        return metrics.registry.get_sample_value("incident_router_senders_in_trouble")

    assert asyncio.run(play()) == 0
