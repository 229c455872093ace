"""How the deploys of one service and environment follow each other: what came after, what went back.

A version that served before and comes again is a rollback of what served between. Nothing here is
stored: it follows from the ledger, in whatever order its deploys were told.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from router.decide.joining import effect
from router.decide.versions import same_version
from router.model.events import DeployPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from router.model.deploys import Deploy


_HEX: Final = frozenset("0123456789abcdef")
#: Tellers see a step at different moments; further apart they do not mean the same.
APART: Final = timedelta(minutes=5)


class Kind(StrEnum):
    """What a deploy is, as far as its ledger tells."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    HOTFIX = "hotfix"
    CONFIG = "config"
    FLAG = "flag"


class Undone(NamedTuple):
    """When a deploy ceased to serve, by what, and whether that was an older version."""

    at: datetime
    by: str
    back: bool


class History:
    """What served in one environment of a service, in order; made once, then asked for each deploy."""

    def __init__(self, deploys: Iterable[Deploy], environment: str) -> None:
        found = [
            (at, d, _beginnings(d))
            for d in deploys
            if d.environment == environment and (at := effect(d)) is not None and not d.flag
        ]
        found.sort(key=lambda each: (each[0], each[1].id))
        self._served = found

    def undone(self, deploy: Deploy) -> Undone | None:
        """Return what ended a deploy's service, None while it serves (or never did)."""
        told = deploy.phases.get(DeployPhase.ROLLED_BACK)
        back = Undone(told, "", back=True) if told is not None else None
        served = effect(deploy)
        if served is None:
            return back
        mine = _beginnings(deploy)
        for at, other, theirs in self._served:
            if at > served and (mine.isdisjoint(theirs) or not alike(other, deploy)):
                if back is not None and back.at <= at:
                    return back
                before = any(
                    not theirs.isdisjoint(keys) and alike(d, other)
                    for when, d, keys in self._served
                    if when < served
                )
                return Undone(at, other.name, back=before)
        return back

    def goes_back(self, deploy: Deploy) -> bool:
        """Return whether a deploy brought back a version that another one had replaced."""
        mine, before = _beginnings(deploy), self._before(deploy)
        if not before or alike(before[-1][0], deploy):
            return False
        return any(not mine.isdisjoint(keys) and alike(d, deploy) for d, keys in before[:-1])

    def config_only(self, deploy: Deploy) -> bool:
        """Return whether it changed the configuration and left the version as it was."""
        before = self._before(deploy)
        last = before[-1][0] if before and deploy.config_revision else None
        return (
            last is not None
            and alike(last, deploy)
            and last.config_revision not in {"", deploy.config_revision}
        )

    def _before(self, deploy: Deploy) -> list[tuple[Deploy, frozenset[str]]]:
        at = effect(deploy) or min(deploy.phases.values())
        return [(d, keys) for when, d, keys in self._served if when < at and d is not deploy]


def _beginnings(deploy: Deploy) -> frozenset[str]:
    """Return how its names begin; two versions that have none of these in common are not the same."""
    names = [name.lower().removeprefix("v") for name in deploy.names]
    return frozenset(name[:7] if len(name) >= 7 and _HEX.issuperset(name) else name for name in names)


def alike(one: Deploy, other: Deploy) -> bool:
    """Return whether two deploys are of one version."""
    left, right = one.names, other.names
    return any(a in right for a in left) or any(same_version(a, b) for a in left for b in right)


def kind(deploy: Deploy, deploys: Sequence[Deploy]) -> Kind:
    """Return what a deploy is."""
    if deploy.flag:
        return Kind.FLAG
    history = History(deploys, deploy.environment)
    if history.goes_back(deploy):
        return Kind.ROLLBACK
    if any("hotfix" in text.lower() for text in (deploy.ref, deploy.title, deploy.facts.get("labels", ""))):
        return Kind.HOTFIX
    return Kind.CONFIG if history.config_only(deploy) else Kind.DEPLOY


def disagreements(deploy: Deploy, skew: timedelta) -> list[str]:
    """Return where its tellers contradict each other, in words."""
    said: dict[str, dict[str, datetime]] = {}
    for name, at in deploy.told.items():
        phase, _, teller = name.partition(" ")
        said.setdefault(phase, {})[teller] = at
    switched = deploy.phases.get(DeployPhase.SWITCHED)
    if switched is not None and DeployPhase.LIVE in said:  # before that green was live, without traffic
        live = said[DeployPhase.LIVE]
        said[DeployPhase.LIVE] = {teller: max(at, switched) for teller, at in live.items()}
    serves = {**said.get(DeployPhase.LIVE, {}), **said.get(DeployPhase.SWITCHED, {})}
    found = [
        f"{teller} says {phase} at {at:%H:%M:%S}, {other} says that it serves"
        for phase in (DeployPhase.FAILED, DeployPhase.CANCELED)
        for teller, at in sorted(said.get(phase, {}).items())
        for other in sorted(serves)
        if other != teller
    ]
    health = deploy.facts.get("health", "")
    if health in {"Degraded", "Missing"} and serves:
        found.append(f"its health is told as {health}, {', '.join(sorted(serves))} says that it serves")
    for phase, times in sorted(said.items()):
        first, last = min(times, key=lambda t: (times[t], t)), max(times, key=lambda t: (times[t], t))
        apart = times[last] - times[first]
        if apart > max(APART, skew):
            minutes = round(apart.total_seconds() / 60)
            found.append(f"{phase}: {first} says {times[first]:%H:%M:%S}, {last} {minutes} min later")
    return found


def promotions(deploy: Deploy, deploys: Sequence[Deploy]) -> list[Deploy]:
    """Return the deploys of the same version into other environments, in the order they took effect."""
    found = [d for d in deploys if d.environment != deploy.environment and alike(d, deploy) and not d.flag]
    return sorted(found, key=lambda d: (effect(d) or min(d.phases.values()), d.id))
