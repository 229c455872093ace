"""A partition's memory: what is offered, what is read, and that nothing falls between the two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from router.model.events import DeployNoticed, TimerDue, TimerKind
from router.ports import InboxEntry, Lease
from router.work import partition as p
from router.work.partition import Partition, timer_event, timer_name

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def event(n: int) -> DeployNoticed:
    return DeployNoticed(service=str(n), event_id=str(n))


def fresh() -> Partition:
    one = Partition(Lease(0, "1", "0"))
    for urgent in (True, False):
        one.fill([], urgent=urgent, asked=100, declined_before=0)
    return one


def test_a_new_partition_reads_before_it_takes_offers() -> None:
    """Until the store was read to its end, offers are declined: older entries come first."""
    one = Partition(Lease(0, "1", "0"))
    one.offer("2-0", [event(2)], urgent=False)
    assert one.pop(urgent=False, now=0) is None
    assert one.wants_read(urgent=False)
    one.fill(
        [InboxEntry("1-0", False, (event(1),)), InboxEntry("2-0", False, (event(2),))],
        urgent=False,
        asked=100,
        declined_before=1,
    )
    assert [one.pop(urgent=False, now=0).id for _ in range(2)] == ["1-0", "2-0"]


def test_an_offer_declined_during_a_read_is_read_again() -> None:
    """What was declined while a read was under way keeps the lane behind, so that nothing is forgotten."""
    one = Partition(Lease(0, "1", "0"))
    before = one.lanes[False].declined
    one.offer("5-0", [event(5)], urgent=False)
    one.fill([], urgent=False, asked=100, declined_before=before)
    assert one.lanes[False].behind


def test_what_is_held_is_not_taken_twice() -> None:
    """An entry both offered and read is decided once."""
    one = fresh()
    one.offer("1-0", [event(1)], urgent=True)
    one.fill([InboxEntry("1-0", True, (event(1),))], urgent=True, asked=100, declined_before=0)
    assert one.pop(urgent=True, now=0).id == "1-0"
    assert one.pop(urgent=True, now=0) is None


def test_memory_is_bounded() -> None:
    """Beyond the bound offers stay in the store, to be read when there is room."""
    one = fresh()
    for n in range(p.MOST_READY + 10):
        one.offer(f"{n + 1}-0", [event(n)], urgent=False)
    assert one.lanes[False].count == p.MOST_READY
    assert one.lanes[False].behind


def test_a_failed_entry_waits_without_holding_up_the_rest() -> None:
    """A poison entry is passed over until its pause is over."""
    one = fresh()
    one.offer("1-0", [event(1)], urgent=False)
    one.offer("2-0", [event(2)], urgent=False)
    one.put_back(one.pop(urgent=False, now=0), not_before=10)
    assert one.pop(urgent=False, now=5).id == "2-0"
    assert one.pop(urgent=False, now=5) is None
    assert one.pop(urgent=False, now=10).id == "1-0"


def test_timers_come_due_in_order_and_can_be_taken_back() -> None:
    """Wake-ups are given out by their time; one that was moved or taken back is not."""
    one = fresh()
    one.set_timer("a", NOW + timedelta(seconds=2))
    one.set_timer("b", NOW + timedelta(seconds=1))
    one.set_timer("c", NOW)
    one.set_timer("c", None)
    one.set_timer("a", NOW + timedelta(seconds=9))
    assert one.due_timer(NOW + timedelta(seconds=5)) == "b"
    assert one.due_timer(NOW + timedelta(seconds=5)) is None
    assert one.due_timer(NOW + timedelta(seconds=9)) == "a"


@given(st.sampled_from(TimerKind), st.text("0123456789abcdef", min_size=16, max_size=16), st.integers(0, 99))
def test_timer_names_round_trip(kind: TimerKind, group: str, generation: int) -> None:
    """A stored wake-up's name gives its event back; a kind from another release gives none."""
    name = timer_name(kind, group, generation)
    assert timer_event(name) == TimerDue(group=group, generation=generation, kind=kind)
    assert timer_event(f"from_the_future|{group}|1") is None


def test_entries_of_both_lanes_may_have_one_id() -> None:
    """What is appended together to both lanes has the same id in each stream, and both are decided."""
    one = fresh()
    one.offer("7-0", [event(1)], urgent=True)
    one.offer("7-0", [event(2)], urgent=False)
    assert [one.pop(urgent=u, now=0).events for u in (True, False)] == [[event(1)], [event(2)]]
    one.done(["7-0"], urgent=True)
    one.fill([InboxEntry("7-0", False, (event(2),))], urgent=False, asked=100, declined_before=0)
    assert one.pop(urgent=False, now=0) is None, "it is under way"
    one.done(["7-0"], urgent=False)
    assert not one.held

    read = fresh()
    for urgent, n in ((True, 1), (False, 2)):
        read.fill([InboxEntry("9-0", urgent, (event(n),))], urgent=urgent, asked=100, declined_before=0)
    assert [read.pop(urgent=u, now=0).events for u in (True, False)] == [[event(1)], [event(2)]]
