"""What holds for all alerts, whatever their order and number."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from router.decide.engine import decide
from router.model.events import Alert, GroupAlerts
from router.model.incidents import State
from tests.unit.decide.making import World, after, alert, rulebook, told

BOOK = rulebook()
SEVERITY = {"a": "warning", "b": "critical", "c": "info"}


@st.composite
def versions(draw: st.DrawFn, pods: str = "abc") -> Alert:
    pod = draw(st.sampled_from(pods))
    start = draw(st.sampled_from([0, 2, 4]))
    end = draw(st.none() | st.integers(start, start + 1))  # one alert's occurrences do not overlap
    return alert(pod, start, end, severity=SEVERITY[pod])


DELIVERIES = st.lists(
    st.tuples(
        # As Alertmanager sends: one delivery holds an alert once.
        st.lists(versions(), min_size=1, max_size=3, unique_by=lambda a: a.key),
        st.sampled_from([0.5, 2.0, 6.0]),
    ),
    max_size=8,
)


def events(deliveries: list[tuple[list[Alert], float]]) -> list[GroupAlerts]:
    at, out = 4.0, []
    for alerts, gap in deliveries:
        at += gap
        out.append(told(*alerts, at=at))
    return out


@given(DELIVERIES)
def test_deciding_twice_changes_nothing_visible(deliveries: list[tuple[list[Alert], float]]) -> None:
    """The same delivery decided a second time leaves head, past and members as they are."""
    world = World(BOOK)
    for event in events(deliveries):
        world.does(event)
        before = world.seen
        again = world.does(event)
        assert again.timeline == []
        assert (world.seen.incident, world.seen.past) == (before.incident, before.past)
        assert {k: m.alert for k, m in world.seen.members.items()} == {
            k: m.alert for k, m in before.members.items()
        }


@given(DELIVERIES)
def test_decide_is_pure(deliveries: list[tuple[list[Alert], float]]) -> None:
    """The same question has the same answer, and asking changes nothing."""
    world = World(BOOK)
    for event in events(deliveries):
        first = decide(event, world.seen, BOOK, event.received_at)
        assert decide(event, world.seen, BOOK, event.received_at) == first
        world.does(event)


@given(DELIVERIES)
def test_counters_equal_the_member_table(deliveries: list[tuple[list[Alert], float]]) -> None:
    """firing, resolved and by_severity are the counts of this generation's members."""
    world = World(BOOK)
    for event in events(deliveries):
        world.does(event)
        head = world.head
        mine = [m.alert for m in world.seen.members.values() if m.generation == head.generation]
        if head.state is State.QUIET:
            assert head.firing == 0
            continue
        assert head.firing == sum(a.firing for a in mine)
        assert head.resolved == sum(not a.firing for a in mine)
        assert head.by_severity == Counter(str(BOOK.severity(a.labels)) for a in mine if a.firing)
        assert head.state.open is (head.firing > 0)
        ranks = [BOOK.severity(a.labels).rank for a in mine]
        assert head.severity.rank == min(ranks)


def rank(one: Alert) -> tuple[datetime, bool, datetime]:
    return one.starts_at, not one.firing, one.ends_at or one.starts_at


@settings(max_examples=200)
@given(st.data())
def test_any_order_with_duplicates_ends_the_same(data: st.DataObject) -> None:
    """Within the late window the newest version of each alert wins, in whatever order they come."""
    some = data.draw(st.lists(versions(), min_size=1, max_size=8))
    copies = data.draw(st.lists(st.sampled_from(some), max_size=4))
    order = data.draw(st.permutations(some + copies))
    world, straight = World(BOOK), World(BOOK)
    for each in order:
        world.tells(each, at=5)
    for each in some:
        straight.tells(each, at=5)
    newest = {}
    for each in sorted(some, key=rank):
        newest[each.key] = each
    assert {k: m.alert for k, m in world.seen.members.items()} == newest
    assert {k: m.alert for k, m in straight.seen.members.items()} == newest
    assert world.head.state.open is any(a.firing for a in newest.values())
    assert world.head.state.open is straight.head.state.open


def test_the_time_of_decision_is_what_is_written() -> None:
    """Decide takes its time from its caller alone."""
    world = World(BOOK)
    world.does(told(alert()), at=77)
    assert world.head.opened_at == world.head.updated_at == after(77)
