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
    from collections.abc import Sequence
    from datetime import datetime

    from router.model.deploys import Deploy


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


def undone(deploy: Deploy, deploys: Sequence[Deploy]) -> Undone | None:
    """Return what ended a deploy's service, None while it serves (or never did)."""
    served = effect(deploy)
    told = deploy.phases.get(DeployPhase.ROLLED_BACK)
    found = [Undone(told, "", back=True)] if told is not None else []
    if served is not None:
        for other in deploys:
            at = effect(other)
            if (
                at is not None
                and at > served
                and other.environment == deploy.environment
                and not is_flag(other)
                and not alike(other, deploy)
            ):
                found.append(Undone(at, other.name, back=_served_before(other, deploys, served)))
    return min(found, key=lambda u: u.at, default=None)


def alike(one: Deploy, other: Deploy) -> bool:
    """Return whether two deploys are of one version."""
    return any(same_version(a, b) for a in one.names for b in other.names)


def _served_before(deploy: Deploy, deploys: Sequence[Deploy], before: datetime) -> bool:
    """Return whether the same version had served before that moment."""
    return any(
        d is not deploy and (at := effect(d)) is not None and at < before and alike(d, deploy)
        for d in deploys
        if d.environment == deploy.environment
    )


def goes_back(deploy: Deploy, deploys: Sequence[Deploy]) -> bool:
    """Return whether a deploy brought back a version that another one had replaced."""
    at = effect(deploy)
    if at is None:
        return False
    before = [
        (served, d)
        for d in deploys
        if d is not deploy
        and d.environment == deploy.environment
        and not is_flag(d)
        and (served := effect(d)) is not None
        and served < at
    ]
    if not before:
        return False
    last = max(before, key=lambda each: each[0])[1]
    return not alike(last, deploy) and any(alike(d, deploy) for _, d in before)


def is_flag(deploy: Deploy) -> bool:
    """Return whether it is a feature flag that was switched."""
    return deploy.id.startswith("flag/")


def kind(deploy: Deploy, deploys: Sequence[Deploy]) -> Kind:
    """Return what a deploy is."""
    if is_flag(deploy):
        return Kind.FLAG
    if goes_back(deploy, deploys):
        return Kind.ROLLBACK
    if any("hotfix" in text.lower() for text in (deploy.ref, deploy.title, deploy.facts.get("labels", ""))):
        return Kind.HOTFIX
    return Kind.CONFIG if _config_only(deploy, deploys) else Kind.DEPLOY


def _config_only(deploy: Deploy, deploys: Sequence[Deploy]) -> bool:
    """Return whether it changed the configuration and left the version that served before it as it was."""
    at = effect(deploy) or min(deploy.phases.values())
    before = [
        (served, d)
        for d in deploys
        if d is not deploy
        and d.environment == deploy.environment
        and not is_flag(d)
        and (served := effect(d)) is not None
        and served < at
    ]
    if not before or not deploy.config_revision:
        return False
    last = max(before, key=lambda each: each[0])[1]
    return alike(last, deploy) and last.config_revision not in {"", deploy.config_revision}


def disagreements(deploy: Deploy, skew: timedelta) -> list[str]:
    """Return where its tellers contradict each other, in words."""
    said: dict[str, dict[str, datetime]] = {}
    for name, at in deploy.told.items():
        phase, _, teller = name.partition(" ")
        said.setdefault(phase, {})[teller] = at
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
    found = [
        d for d in deploys if d.environment != deploy.environment and alike(d, deploy) and not is_flag(d)
    ]
    return sorted(found, key=lambda d: (effect(d) or min(d.phases.values()), d.id))
