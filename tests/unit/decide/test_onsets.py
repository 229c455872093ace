"""The view of what began to fail lately."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from router.decide.onsets import MOST, Onsets
from router.model.blames import ONSETS_KEPT, Onset
from tests.unit.decide.making import after


def onset(n: int, at: float, environment: str = "prod") -> Onset:
    return Onset(f"i{n}", f"s{n}", environment, "Slow", after(at), after(at))


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 60)), max_size=40))
def test_the_order_and_repeats_do_not_matter(told: list[tuple[int, float]]) -> None:
    """The same onsets give the same answer, in whatever order and however often they are told."""
    some = list({n: onset(n, at) for n, at in told}.values())
    one, other = Onsets(), Onsets()
    one.add(some)
    other.add([*reversed(some), *some])
    window = (after(10), after(40), after(120))
    found = one.around("prod", *window)
    assert found == other.around("prod", *window)
    assert found == sorted(
        (o for o in some if after(10) <= o.at <= after(40)), key=lambda o: (o.at, o.incident)
    )


def test_environments_are_apart() -> None:
    """What fails in staging says nothing of production."""
    view = Onsets()
    view.add([onset(1, 0), onset(2, 0, "staging")])
    assert [o.service for o in view.around("staging", after(-1), after(1), after(9))] == ["s2"]


def test_it_stays_bounded() -> None:
    """A storm within one minute, and days without end, leave no more than was said."""
    view = Onsets()
    view.add([onset(n, 0) for n in range(MOST + 50)])
    assert len(view.around("prod", after(0), after(0), after(9))) == MOST
    for minute in range(3000):
        view.add([onset(10_000 + minute, minute)])
    assert view.around("prod", after(0), after(60), after(3100)) == []
    assert len(view.around("prod", after(2900), after(2999), after(3100))) == 100
    assert timedelta(minutes=len(view._minutes)) <= ONSETS_KEPT + timedelta(minutes=10)


def test_what_failed_when_it_began_is_known_when_it_ends() -> None:
    """An incident of some hours is judged at its end by what else began to fail with it."""
    view = Onsets()
    view.add([onset(1, 0), onset(2, 300), onset(3, 900)])
    assert [o.service for o in view.around("prod", after(-10), after(4), after(901))] == ["s1"]


def test_a_senders_clock_does_not_clear_the_view() -> None:
    """An alert that says it began in a year hides nothing, and is itself forgotten in its time."""
    view = Onsets()
    view.add([onset(1, 0), Onset("odd", "s9", "prod", "Slow", after(525_600), after(1)), onset(2, 7)])
    assert [o.service for o in view.around("prod", after(-1), after(8), after(20))] == ["s1", "s2"]
    view.add([onset(3, 2000), onset(4, 2010)])
    assert view.around("prod", after(525_000), after(526_000), after(526_000)) == []
