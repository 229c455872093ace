"""The trivial rules that the product must be ahead of, and what no rule could be ahead of.

They are given what the product has to work out: the true list of deploys that were told of, with the true
times.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import blake2b

from tests.eval.cases import WINDOW, Case, Deploy, Ranking, World
from tests.eval.scoring import Judge

_NOBODY: Ranking = ()


def _said(d: Deploy | None) -> Ranking:
    return ((d.id, 1.0),) if d is not None else _NOBODY


def _window(world: World, case: Case, span: timedelta = WINDOW) -> list[Deploy]:
    return [
        d for d in world.deploys
        if d.observed and case.onset - span <= d.at <= case.onset
        and (d.environment == case.environment or not d.environment or not case.environment)
    ]  # fmt: skip


def at_random(world: World, case: Case) -> Ranking:
    """Any deploy of the last hour to that environment, drawn by the incident's name."""
    found = _window(world, case)
    if not found:
        return _NOBODY
    draw = int.from_bytes(blake2b(f"{world.name} {case.id}".encode(), digest_size=8).digest())
    return _said(sorted(found, key=lambda d: d.id)[draw % len(found)])


def most_recent(world: World, case: Case) -> Ranking:
    """The last deploy of the fleet."""
    return _said(max(_window(world, case), key=lambda d: (d.at, d.id), default=None))


def same_service(world: World, case: Case) -> Ranking:
    """The last deploy of the same service within an hour."""
    own = [d for d in _window(world, case) if d.service == case.service]
    return _said(max(own, key=lambda d: (d.at, d.id), default=None))


def same_else_callee(world: World, case: Case) -> Ranking:
    """The same; else the last of what it calls, the nearest first."""
    if own := same_service(world, case):
        return own
    hops = world.hops.get(case.service, {})
    near = [d for d in _window(world, case) if d.service in hops]
    return _said(max(near, key=lambda d: (-hops[d.service], d.at, d.id), default=None))


def same_else_recent(world: World, case: Case) -> Ranking:
    """The last deploy of the same service; else the last of the fleet."""
    return same_service(world, case) or most_recent(world, case)


def oracle(_: World, case: Case) -> Ranking:
    """The truth, where anybody told of it."""
    return _said(case.cause if case.observable else None)


RULES: dict[str, Judge] = {
    "random": at_random,
    "most recent": most_recent,
    "same service, last hour": same_service,
    "same service, else most recent": same_else_recent,
    "same service, else what it calls": same_else_callee,
}
