"""Lanes: by severity, then age; each job at most once; a closed gate keeps its own jobs only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.work.jobs import JobKey, LaneQueue


def job(name: str, target: str = "t", partition: int = 0) -> JobKey:
    return JobKey(partition, name, 1, target)


def test_severity_then_age() -> None:
    """The worst goes first, and among equals the oldest."""
    q = LaneQueue()
    for name, rank in (("a", 2), ("b", 0), ("c", 2), ("d", 0)):
        q.add(job(name), rank, 0.0, 1.0)
    assert [q.pop(1.0)[0].group for _ in range(4)] == ["b", "d", "a", "c"]
    assert q.pop(1.0) is None


def test_a_job_waits_or_is_under_way_once() -> None:
    """A job that waits, or is under way, is not queued a second time; finished, it may be."""
    q = LaneQueue()
    assert q.add(job("a"), 0, 0.0, 1.0)
    assert not q.add(job("a"), 0, 0.0, 1.0)
    assert q.pop(1.0) == (job("a"), 0)
    assert not q.add(job("a"), 0, 0.0, 1.0)
    q.finish(job("a"))
    assert q.add(job("a"), 0, 0.0, 1.0)


def test_later_jobs_wait_for_their_time() -> None:
    """A job with a time is not given out before it, and tells when that is."""
    q = LaneQueue()
    q.add(job("a"), 0, 5.0, 1.0)
    assert q.pop(4.9) is None
    assert q.next_at(4.9) == 5.0
    assert q.pop(5.0) == (job("a"), 0)


def test_a_closed_gate_keeps_only_its_own() -> None:
    """While one target wants nothing, the others' jobs go on, worst first."""
    q = LaneQueue()
    q.add(job("a", "slow"), 0, 0.0, 1.0)
    q.add(job("b", "fast"), 3, 0.0, 1.0)
    q.hold("slow", 9.0)
    assert q.pop(1.0) == (job("b", "fast"), 3)
    assert q.pop(8.9) is None
    assert q.next_at(8.9) == 9.0
    assert q.pop(9.0) == (job("a", "slow"), 0)


def test_a_deploys_gate_is_its_target() -> None:
    """A deploy's job stands behind the same gate as an incident's."""
    assert JobKey(0, "s", 0, "prod/1.2/1|r/pagerduty/0").gate == "r/pagerduty/0"


def test_forgetting_a_partition_keeps_the_rest() -> None:
    """A partition given up takes its waiting jobs along; what is under way ends by itself."""
    q = LaneQueue()
    q.add(job("a", partition=1), 0, 0.0, 1.0)
    q.add(job("b", partition=2), 0, 0.0, 1.0)
    q.add(job("c", partition=1), 0, 9.0, 1.0)
    q.forget(1)
    assert q.pop(10.0) == (job("b", partition=2), 0)
    assert q.pop(10.0) is None
    assert len(q) == 0


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.booleans()), max_size=60))
def test_every_job_comes_out_once(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever the order of adding and finishing, a waiting job comes out, and never twice at a time."""
    q, waiting, busy, now = LaneQueue(), set(), set(), 0.0
    for name, rank, pops in steps:
        now += 1.0
        key = job(str(name), target=f"t{name % 3}")
        if pops:
            popped = q.pop(now)
            assert (popped is None) == (not waiting)
            if popped:
                assert popped[0] in waiting
                waiting.remove(popped[0])
                busy.add(popped[0])
        elif key in busy and rank == 0:
            q.finish(key)
            busy.remove(key)
        else:
            assert q.add(key, rank, 0.0, now) == (key not in waiting and key not in busy)
            if key not in busy:
                waiting.add(key)
        assert len(q) == len(waiting)
