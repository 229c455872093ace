"""A lane against a model: whatever is done in whatever order, the right job comes out, once."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.work.jobs import JobKey, LaneQueue

JOBS = st.builds(
    JobKey,
    partition=st.integers(0, 1),
    group=st.sampled_from("abc"),
    generation=st.just(1),
    target=st.sampled_from(["slow", "fast", "prod/1.2/1|fast"]),
)
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 3.0])


class Lane(RuleBasedStateMachine):
    """The model is a table of what waits: rank, age, and not before when."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = LaneQueue()
        self.now = 100.0
        self.count = 0
        self.waiting: dict[JobKey, tuple[int, int, float]] = {}
        self.busy: list[JobKey] = []
        self.closed: dict[str, float] = {}

    def free_at(self, job: JobKey) -> float:
        return max(self.waiting[job][2], self.closed.get(job.gate, 0.0))

    @rule(job=JOBS, rank=st.integers(0, 4), later=SECONDS)
    def add(self, job: JobKey, rank: int, later: float) -> None:
        """A job is taken unless it waits or is under way."""
        fresh = job not in self.waiting and job not in self.busy
        assert self.lane.add(job, rank, self.now + later, self.now) is fresh
        if fresh:
            self.count += 1
            self.waiting[job] = (rank, self.count, self.now + later)

    @rule()
    def pop(self) -> None:
        """The worst and oldest that may go now comes out; if none may, the lane knows when to look again."""
        free = [j for j in self.waiting if self.free_at(j) <= self.now]
        popped = self.lane.pop(self.now)
        if free:
            best = min(free, key=lambda j: self.waiting[j][:2])
            assert popped == (best, self.waiting.pop(best)[0])
            self.busy.append(best)
            return
        assert popped is None
        if self.waiting:
            again = self.lane.next_at(self.now)
            assert again is not None
            assert self.now < again <= min(map(self.free_at, self.waiting))

    @precondition(lambda self: self.busy)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """What was under way may be queued again."""
        job = data.draw(st.sampled_from(self.busy))
        self.busy.remove(job)
        self.lane.finish(job)

    @rule(gate=st.sampled_from(["slow", "fast"]), seconds=SECONDS)
    def hold(self, gate: str, seconds: float) -> None:
        """A gate stays closed for the longest that was asked."""
        self.lane.hold(gate, self.now + seconds)
        self.closed[gate] = max(self.closed.get(gate, 0.0), self.now + seconds)

    @rule(partition=st.integers(0, 1))
    def forget(self, partition: int) -> None:
        """A partition's waiting jobs go; those under way and the other partition's stay."""
        self.lane.forget(partition)
        self.waiting = {j: w for j, w in self.waiting.items() if j.partition != partition}

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @invariant()
    def counts_what_waits(self) -> None:
        """The length is what waits; a partition is busy while a job of it is under way."""
        assert len(self.lane) == len(self.waiting)
        for partition in (0, 1):
            assert self.lane.busy(partition) == any(j.partition == partition for j in self.busy)


TestLane = Lane.TestCase
TestLane.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
