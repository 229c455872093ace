"""Intake beside the real Alertmanager, and how fast what was taken is decided and committed.

Both sides get the same alerts from the same generator, by turns, in one run. What
counts is the best of a few repetitions: the rest is other people's use of the machine.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench import load, processes

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Case:
    """One size of request. ``mixed``: every alert of a request belongs to another group."""

    name: str
    per_request: int
    total: int
    short: int
    mixed: bool = False


CASES = (
    Case("64", 64, 128_000, 6_400),
    Case("10", 10, 60_000, 3_000),
    Case("1", 1, 20_000, 1_000),
    Case("64_mixed", 64, 64_000, 6_400, mixed=True),
)
REPETITIONS = 3


async def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return alerts per second by side, freshness and size; failures are an error."""
    out: dict[str, float] = {}
    for case in CASES:
        async with processes.router() as router, processes.alertmanager() as peer:
            for n in range(1 if short else REPETITIONS):
                shape = load.Shape(
                    case.short if short else case.total, case.per_request, f"r{n}", by_request=not case.mixed
                )
                found = await _repetition(router, peer, case, shape)
                for name, value in found.items():
                    out[name] = max(out.get(name, 0.0), value)
                say(f"intake {case.name} per request, {n + 1}: " + _line(found))
    return out


async def _repetition(
    router: processes.Router, peer: int | None, case: Case, shape: load.Shape
) -> dict[str, float]:
    out: dict[str, float] = {}
    alerts = load.batches(shape)
    mine = load.router_requests(alerts)
    theirs = load.alertmanager_requests(alerts) if peer is not None else []
    del alerts
    for what in ("fresh", "repeated"):
        if peer is not None:
            driven = _checked("Alertmanager", await load.drive(peer, theirs))
            out[f"alertmanager_{what}_{case.name}"] = shape.total / driven.seconds
        driven = _checked("the router", await load.drive(router.port, mine))
        out[f"router_{what}_{case.name}"] = shape.total / driven.seconds
        done = await router.decided(120)
        if what == "fresh":
            out[f"decided_{case.name}"] = shape.total / (done - driven.started)
    return out


def _checked(who: str, driven: load.Driven) -> load.Driven:
    if driven.failed:
        raise processes.Failure(f"{who} failed {driven.failed} of {driven.requests}: {driven.example}")
    return driven


def _line(found: dict[str, float]) -> str:
    return ", ".join(f"{name.rsplit('_', 1)[0]} {value:,.0f}/s" for name, value in found.items())


async def counted(router: processes.Router, shape: load.Shape) -> float:
    """Fill a router with these alerts and wait until they are decided; return the seconds it took."""
    started = time.monotonic()
    _checked("the router", await load.drive(router.port, load.router_requests(load.batches(shape))))
    return await router.decided(120) - started
