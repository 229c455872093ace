"""What goes wrong seldom: races between people and deliveries, rules that change, versions that come back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide.alerts import TOMBSTONE
from router.decide.decision import Snapshot, Timer
from router.decide.desk import KEEP_PAST
from router.model import codec, keys
from router.model.commands import CommandKind
from router.model.deploys import Deploy, Ledger
from router.model.destinations import Want
from router.model.events import Begun, DeployNoticed, DeployPhase, ServiceDeploy, Settled, TimerKind
from router.model.incidents import State
from router.model.outcomes import Delivered, Refused, Retry
from router.model.reasons import Why
from tests.unit.decide.making import (
    CHAT,
    GROUP,
    PAGE,
    World,
    after,
    alert,
    deploy,
    ledgers,
    placed,
    report,
    told,
    with_head,
    words,
)

SHA = "0123456789abcdef0123456789abcdef01234567"
NOT_TAKEN = Retry("serverError", "503")


def settle(world: World, outcome: object, at: float = 1.0, wish: Want = Want.TRIGGERED) -> None:
    world.does(Settled(GROUP, 1, PAGE, wish, 1, outcome), at)


# --- people and deliveries at the same time ---------------------------------------------------------


@pytest.mark.parametrize(("kind", "chat"), [(CommandKind.ACKNOWLEDGE, True), (CommandKind.RESOLVE, False)])
def test_nobody_is_paged_for_what_was_taken_while_the_first_page_failed(
    kind: CommandKind, chat: bool
) -> None:
    """A page under way when somebody acts is not tried again once it surely was not taken."""
    world = World()
    world.tells(alert())
    world.does(Begun(GROUP, 1, PAGE))
    world.commands(kind)
    assert world.target(PAGE).due  # it may have been taken: then it must be brought up to date
    settle(world, NOT_TAKEN)
    assert (world.target(PAGE).want, world.target(PAGE).due) == (Want.NOTHING, False)
    assert world.target(CHAT).due is chat


def test_a_begin_that_comes_too_late_marks_nothing() -> None:
    """Where the wish is gone when the attempt is announced, the destination stays untold."""
    world = World()
    world.tells(alert())
    world.commands(CommandKind.ACKNOWLEDGE)
    out = world.does(Begun(GROUP, 1, PAGE))
    assert (out.incident, out.why) == (None, [])
    assert world.target(PAGE).untold
    world.tells(alert(end=3), at=3)
    assert not world.target(PAGE).due


def test_a_receipt_counts_once() -> None:
    """The same receipt decided twice writes and tells nothing the second time."""
    for outcome in (Delivered("ref"), Refused("clientError", "400")):
        world = World()
        world.tells(alert())
        settle(world, outcome)
        before = world.seen
        settle(world, outcome)
        assert (world.out.incident, world.out.timeline, world.out.dead) == (None, [], [])
        assert world.seen == before


def test_patience_begins_anew_with_a_new_page() -> None:
    """Failures before an acknowledgement do not shorten the patience with a page days later."""
    world = World()
    world.tells(alert())
    settle(world, NOT_TAKEN)
    world.commands(CommandKind.ACKNOWLEDGE, at=2)
    days = 5 * 24 * 60.0
    world.tells(alert("b", severity="critical"), at=days)
    assert world.target(PAGE).want is Want.TRIGGERED
    world.does(Settled(GROUP, 1, PAGE, Want.TRIGGERED, world.head.revision, NOT_TAKEN), days + 1)
    assert world.target(PAGE).due
    assert not world.target(PAGE).dead


def test_an_old_generation_is_settled_while_a_new_one_is_open() -> None:
    """What is still to be told of an earlier incident stays due beside the new one, until it is told."""
    world = World()
    world.tells(alert())
    world.delivers_all()
    world.tells(alert(end=1), at=1)
    world.tells(alert(start=2), at=2)
    assert (world.head.generation, world.seen.past[1].destinations[PAGE].want) == (2, Want.RESOLVED)
    assert world.seen.past[1].due
    for name, wish in world.seen.past[1].destinations.items():
        done = Settled(GROUP, 1, name, wish.want, wish.want_version, Delivered())
        world.does(done, 3)
    assert not world.seen.past[1].due
    assert world.head.due


# --- groups over a long time ------------------------------------------------------------------------


def test_each_tombstone_has_its_hour() -> None:
    """A second early resolve moves the time at which a group that never fired is forgotten."""
    world = World()
    for minute in (0, 50):
        out = world.tells(alert(f"p{minute}", end=0), at=minute)
        assert out.timers == [Timer(TimerKind.FORGET, 0, after(minute) + TOMBSTONE)]
    assert world.tells(alert("p50", end=0), at=55).timers == []


def test_earlier_generations_are_bounded() -> None:
    """No more than so many told generations are kept to be read."""
    world = World()
    for n in range(KEEP_PAST + 4):
        world.tells(alert(start=2 * n), at=2 * n)
        world.delivers_all()
        world.tells(alert(start=2 * n, end=2 * n + 1), at=2 * n + 1)
        world.delivers_all()
    assert sorted(world.seen.past) == [4, 5, 6, 7, 8]


def test_truncation_is_found_on_its_incidents_timeline() -> None:
    """The line about alerts left out belongs to the incident, so that its timeline shows it."""
    world = World()
    out = world.does(told(alert(), truncated=3))
    assert {(e.why, e.generation) for e in out.timeline} >= {(Why.PAYLOAD_TRUNCATED, 1)}


def test_every_judgement_has_a_reason() -> None:
    """A resolve with a later end is kept, and says why."""
    world = World()
    world.tells(alert(end=1), at=1)
    assert words(world.tells(alert(end=2), at=2)) == {Why.ALERT_CHANGED}


def test_resolved_before_notified_is_said_so() -> None:
    """Where there was somebody to tell, but nothing any more, the reason is not that nobody was there."""
    world = World()
    out = world.tells(alert("a"), alert("a", end=0))
    assert world.head.state is State.RESOLVED
    assert world.head.destinations == {}
    assert Why.RESOLVED_BEFORE_NOTIFIED in words(out)
    assert Why.NOBODY_TO_TELL not in words(out)


def test_an_incident_outlives_its_receiver() -> None:
    """An open incident whose receiver the rules no longer name is told to the root's."""
    world = World()
    world.tells(alert())
    gone = msgspec.structs.replace(world.head, receiver="gone", state=State.WAITING, destinations={})
    world.seen = with_head(world.seen, gone)
    world.wakes(TimerKind.NOTIFY)
    assert world.target(PAGE).due


# --- suspects that come and go ----------------------------------------------------------------------


def test_a_page_stops_naming_a_deploy_that_is_cleared() -> None:
    """A deploy under way is suspected; its switch after the onset clears it, and the page is told."""
    started = deploy(-6, DeployPhase.STARTED)
    world = World(seen=Snapshot(ledgers=ledgers(started)))
    out = world.tells(alert())
    assert Why.SUSPECT_FOUND in words(out)
    world.delivers_all()
    switched = msgspec.structs.replace(started, phases={**started.phases, DeployPhase.SWITCHED: after(10)})
    world.seen = with_ledgers(world.seen, ledgers(switched))
    out = world.does(DeployNoticed("shop", "1"), 10)
    assert [e.text for e in out.timeline] == ["not suspected any more: shop 1.0"]
    assert world.target(PAGE).due
    assert world.does(DeployNoticed("shop", "2"), 10.5).incident is None


def test_a_cleared_deploy_can_become_suspected() -> None:
    """An earlier time of the switch, told late, turns a cleared candidate into a suspect that is told."""
    late = deploy(10)
    world = World(seen=Snapshot(ledgers=ledgers(late)))
    world.tells(alert())
    world.delivers_all()
    world.seen = with_ledgers(world.seen, ledgers(deploy(-1)))
    assert Why.SUSPECT_FOUND in words(world.does(DeployNoticed("shop", "1"), 11))
    assert world.target(PAGE).due


def test_a_step_after_the_onset_does_not_clear_a_deploy_under_way() -> None:
    """A deploy that had begun before the alert stays a candidate when its next step comes after."""
    phases = {DeployPhase.STARTED: after(-5), DeployPhase.GREEN_TESTED: after(8)}
    world = World(seen=Snapshot(ledgers=ledgers(deploy(0, phases=phases))))
    world.tells(alert())
    (one,) = world.head.suspects
    assert one.at == after(-5)
    assert Why.STARTED_BEFORE_ONSET in {r.why for r in one.reasons}


def test_the_order_of_deploys_does_not_matter() -> None:
    """Candidates of equal weight come in one order, however the ledger holds them."""
    some = [deploy(-5, name=name) for name in ("1.1", "1.2", "1.3")]
    orders = []
    for each in (some, some[::-1]):
        world = World(seen=Snapshot(ledgers=ledgers(*each)))
        world.tells(alert())
        orders.append([s.deploy_id for s in world.head.suspects])
    assert orders[0] == orders[1] == ["prod/1.1/1", "prod/1.2/1", "prod/1.3/1"]


# --- versions that come back, or have no name -------------------------------------------------------


def history(*reports: tuple[DeployPhase, float, str]) -> World:
    world = World()
    for phase, at, version in reports:
        world.does(placed(report(phase, at, ref=version)))
    return world


def kept(world: World) -> dict[str, Deploy]:
    assert world.seen.ledger is not None
    return {d.id: d for d in world.seen.ledger.deploys}


def test_a_version_that_comes_back_is_a_new_deploy() -> None:
    """Going back to the version before is a change of its own, with its own time and change event."""
    p = DeployPhase
    world = history((p.LIVE, 0, "1.0"), (p.LIVE, 30, "1.1"), (p.STARTED, 58, "1.0"), (p.LIVE, 60, "1.0"))
    assert set(kept(world)) == {"prod/1.0/1", "prod/1.1/1", "prod/1.0/2"}
    assert kept(world)["prod/1.0/1"].phases == {p.LIVE: after(0)}
    assert kept(world)["prod/1.0/2"].phases == {p.STARTED: after(58), p.LIVE: after(60)}
    assert kept(world)["prod/1.0/2"].destinations
    out = world.does(placed(report(p.LIVE, 0, ref="1.0")))
    assert words(out) == {Why.DEPLOY_UNCHANGED}  # an old report told again belongs to the old deploy


def test_a_switch_after_a_rollback_is_a_new_deploy() -> None:
    """The same version tried again after its rollback does not hide in the first try."""
    p = DeployPhase
    world = history((p.SWITCHED, 0, "1.0"), (p.ROLLED_BACK, 10, "1.0"), (p.SWITCHED, 40, "1.0"))
    assert set(kept(world)) == {"prod/1.0/1", "prod/1.0/2"}


@pytest.mark.parametrize("phase", [DeployPhase.CLEANED_UP, DeployPhase.ROLLED_BACK])
def test_the_end_of_an_old_version_is_told_of_the_old_deploy(phase: DeployPhase) -> None:
    """Blue goes away after green has taken over: that is no return of blue."""
    world = history((DeployPhase.LIVE, 0, "1.0"), (DeployPhase.LIVE, 30, "1.1"), (phase, 60, "1.0"))
    assert phase in kept(world)["prod/1.0/1"].phases
    assert len(kept(world)) == 2


def test_an_old_phase_told_again_after_a_late_clean_up_is_known() -> None:
    """A clean-up hours after the switch does not make a repeated switch look like another deploy."""
    world = history((DeployPhase.SWITCHED, 0, "1.0"), (DeployPhase.CLEANED_UP, 5.5 * 60, "1.0"))
    world.does(placed(report(DeployPhase.CLEANED_UP, 11 * 60, ref="1.0")))
    out = world.does(placed(report(DeployPhase.SWITCHED, 0, ref="1.0")))
    assert words(out) == {Why.DEPLOY_UNCHANGED}


def test_one_config_commit_is_not_one_version() -> None:
    """Two versions under one configuration commit stay two deploys; a later report finds its own."""
    world = World()
    for at, tag in ((0, "1.0"), (5, "1.1"), (7, "1.0")):
        said = report(DeployPhase.STARTED, at, config_revision="c" * 40, images=(f"r/shop:{tag}",))
        world.does(placed(said))
    assert {d.names for d in kept(world).values()} == {("1.0",), ("1.1",)}


def test_a_name_that_comes_later_replaces_the_config_commit() -> None:
    """A deploy first known by its configuration commit is called by its version once that is told."""
    world = World()
    world.does(placed(report(DeployPhase.STARTED, 0, config_revision="c" * 40)))
    world.does(placed(report(DeployPhase.LIVE, 2, config_revision="c" * 40, images=("r/shop:1.0",))))
    (one,) = kept(world).values()
    assert (one.names, one.name) == (("1.0",), "1.0")
    world.does(placed(report(DeployPhase.CLEANED_UP, 3, config_revision="c" * 40)))
    (one,) = kept(world).values()
    assert (one.names, set(one.phases)) == (("1.0",), {"started", "live", "cleaned_up"})


def test_a_report_without_any_name_counts_once() -> None:
    """What names no version joins what names none, so that its repeat adds nothing."""
    world = World()
    world.does(placed(report(DeployPhase.STARTED)))
    assert words(world.does(placed(report(DeployPhase.STARTED)))) == {Why.DEPLOY_UNCHANGED}
    world.does(placed(report(DeployPhase.LIVE, 2)))
    world.does(placed(report(DeployPhase.LIVE, 3, ref="1.0")))
    assert {d.names for d in kept(world).values()} == {("unknown",), ("1.0",)}


def test_a_deploy_without_environment_is_recorded() -> None:
    """A phase that only deploys have is a deploy, also where nobody said into which environment."""
    world = World()
    said = report(DeployPhase.LIVE, 0, environment="", revision=SHA)
    out = world.does(ServiceDeploy(keys.service_key("shop"), "shop", "", said, said.at))
    (one,) = kept(world).values()
    assert (one.environment, set(one.phases)) == ("", {"live"})
    assert [r.text for r in out.why] == [f"shop {SHA[:8]} live"]


def test_a_tag_is_shown_even_where_the_commit_was_told_first() -> None:
    """People know a version by its tag; digits of the commit are for where there is none."""
    one = deploy(0)
    assert msgspec.structs.replace(one, names=(SHA, "2.0")).name == "2.0"
    assert msgspec.structs.replace(one, names=(SHA,)).name == SHA[:8]
    assert msgspec.structs.replace(one, names=()).name == "unknown"


def test_words_of_a_merge_reach_a_deploy_whose_commit_is_told_last() -> None:
    """A deploy first known by its tag gets the merge's title once a teller names the commit."""
    world = World()
    merge = report(DeployPhase.MERGED, 0, environment="", revision=SHA, title="Faster", author="bob")
    world.does(placed(merge, environment=""))
    world.does(placed(report(DeployPhase.STARTED, 1, images=("r/shop:1.0",), title="sync")))
    assert [d.title for d in kept(world).values()] == ["sync"]
    world.does(placed(report(DeployPhase.LIVE, 2, ref="1.0", revision=SHA)))
    (one,) = kept(world).values()
    assert (one.title, one.author) == ("Faster", "bob")


def test_a_build_of_a_tag_only_fills_gaps() -> None:
    """A build is found by its version-like ref, and lends only what the deploy does not say itself."""
    world = World()
    world.does(placed(report(DeployPhase.LIVE, 1, images=("r/shop:v1.0",), title="mine")))
    build = report(DeployPhase.BUILT, 0, environment="", revision=SHA, ref="v1.0", title="job", author="bob")
    world.does(placed(build, environment=""))
    (one,) = kept(world).values()
    assert (one.title, one.author) == ("mine", "bob")


PHASES = [DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.SWITCHED, DeployPhase.LIVE]
NAMES: list[dict[str, object]] = [{"revision": SHA}, {"images": (f"r/shop:{SHA[:8]}",)}]
REPORTS = st.lists(
    st.builds(
        lambda phase, at, name: placed(report(phase, at, **name)),
        st.sampled_from(PHASES),
        st.integers(0, 20),
        st.sampled_from(NAMES),
    ),
    min_size=1,
    max_size=6,
)


@given(st.data())
def test_tellers_may_come_in_any_order(data: st.DataObject) -> None:
    """Reports of one deploy, copied and in any order, make one record with the earliest times."""
    some = data.draw(REPORTS)
    order = data.draw(st.permutations(some + data.draw(st.lists(st.sampled_from(some), max_size=3))))
    world = World()
    for each in order:
        world.does(each)
        again = world.does(each)
        assert (words(again), again.ledger) == ({Why.DEPLOY_UNCHANGED}, None)
    (one,) = kept(world).values()
    earliest = {p: min((e.report.at for e in some if e.report.phase is p), default=None) for p in PHASES}
    assert one.phases == {p: at for p, at in earliest.items() if at is not None}
    assert codec.ledger(codec.encode(world.seen.ledger)) == world.seen.ledger


# --- what holds for every story ---------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("alert"), st.sampled_from("ab"), st.booleans()),
        st.tuples(st.just("command"), st.sampled_from(list(CommandKind)), st.none()),
        st.tuples(st.just("begun"), st.sampled_from([PAGE, CHAT]), st.none()),
        st.tuples(
            st.just("settled"), st.sampled_from([PAGE, CHAT]), st.sampled_from([Delivered(), NOT_TAKEN])
        ),
    ),
    max_size=25,
)


@given(STEPS)
def test_a_resolve_is_never_wanted_where_nothing_was_told(steps: list[tuple[str, str, object]]) -> None:
    """Whatever people, alerts and deliveries do: only who may have heard of an incident hears of its end."""
    world = World()
    under_way: set[str] = set()
    for at, (step, name, more) in enumerate(steps):
        minute = 10.0 * at
        generation = world.seen.incident.generation if world.seen.incident else 1
        if step == "alert":
            severity = "critical" if name == "b" else "warning"
            world.tells(alert(name, minute, None if more else minute, severity), at=minute)
            if world.seen.incident and world.head.generation != generation:
                under_way.clear()  # those are settled in the past
        elif step == "command":
            world.commands(CommandKind(name), minute, generation)
        elif step == "begun" and world.seen.incident and name in world.head.destinations:
            world.does(Begun(GROUP, generation, name), minute)
            if world.target(name).begun:
                under_way.add(name)
        elif step == "settled" and name in under_way:
            wish = world.target(name)
            world.does(Settled(GROUP, generation, name, wish.want, wish.want_version, more), minute)
            under_way.discard(name)
        heads = [*world.seen.past.values(), *([world.seen.incident] if world.seen.incident else [])]
        for destination in (d for h in heads for d in h.destinations.values()):
            assert not (destination.want is Want.RESOLVED and destination.untold)
            assert destination.want is not Want.NOTHING or destination.untold


@given(st.permutations([("a", "warning"), ("b", "critical"), ("c", "info"), ("a", "warning")]))
def test_order_inside_a_delivery_does_not_matter(order: list[tuple[str, str]]) -> None:
    """The same alerts in one delivery give the same counts, severity and wishes in any order."""
    world = World()
    world.tells(*(alert(name, severity=severity) for name, severity in order))
    head = world.head
    assert (head.firing, head.by_severity) == (3, {"warning": 1, "critical": 1, "info": 1})
    assert (head.severity, head.starts_at, len(head.destinations)) == ("critical", after(0), 3)


def test_what_is_stored_of_a_ledger_is_read_again() -> None:
    """A ledger with wishes, changes and counters survives the store."""
    world = World()
    world.does(placed(report(DeployPhase.MERGED, 0, environment="", revision=SHA, title="t"), environment=""))
    world.does(placed(report(DeployPhase.LIVE, 1, revision=SHA)))
    ledger = world.seen.ledger
    assert isinstance(ledger, Ledger)
    assert ledger.due
    assert codec.ledger(codec.encode(ledger)) == ledger
    assert ledger.deploys[0].phase_at(DeployPhase.SWITCHED, DeployPhase.LIVE) == after(1)


def test_fingerprints_take_any_text() -> None:
    """A label that is no valid Unicode has a fingerprint all the same."""
    assert len(keys.fingerprint({"\ud800": "x", "a": "\udfff"})) == 16


def with_ledgers(seen: Snapshot, known: dict[str, Ledger]) -> Snapshot:
    return Snapshot(seen.incident, seen.members, seen.past, seen.ledger, known)
