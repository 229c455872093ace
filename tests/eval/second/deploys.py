"""When teams deploy: office hours, trains, deploys that come to nothing, promotion to production."""

from __future__ import annotations

from typing import Final

from tests.eval.second.services import ENVIRONMENTS
from tests.eval.second.week import SPACING_S, Deploy, Week
from tests.eval.second.when import DAY, MINUTE, office, poisson, weekdays

#: Tries to find a time that is not too close to another deploy of the service.
_TRIES: Final = 8
#: Minutes between the environment named and the next.
_WAITS: Final = {"dev": (3, 40), "qa": (5, 90), "staging": (10, 150)}


def schedule(week: Week) -> None:
    """Draw the regular deploys to production."""
    rng, family = week.rng, week.family
    taken: dict[str, list[float]] = {name: [] for name in week.fleet.services}

    def add(name: str, at: float) -> bool:
        if at > week.end or any(abs(at - other) < SPACING_S for other in taken[name]):
            return False
        taken[name].append(at)
        week.deploys.append(week.deploy(name, at))
        return True

    for day in weekdays(family.days):
        for _ in range(poisson(rng, family.trains * sum(s.rate for s in week.fleet.services.values()) / 5.5)):
            at = office(rng, day)
            for name in _train(week):
                add(name, at + rng.uniform(0, 6) * MINUTE)
        for service in week.fleet.services.values():
            for _ in range(poisson(rng, service.rate * (1 - family.trains))):
                any(add(service.name, office(rng, day)) for _ in range(_TRIES))
    week.deploys.sort(key=lambda d: d.switched)


def _train(week: Week) -> list[str]:
    """Draw the services of one train: those of a team or of all, the busy ones rather."""
    rng, services = week.rng, list(week.fleet.services.values())
    team = rng.choice(services).team
    pool = [s for s in services if s.team == team] if rng.random() < 0.6 else services
    found = rng.choices(pool, [s.rate for s in pool], k=rng.randint(4, 9))
    return list(dict.fromkeys(s.name for s in found))


def abort(week: Week) -> None:
    """Draw deploys that came to nothing: failed, superseded by the next, or stopped at green."""
    rng = week.rng
    for d in [d for d in week.deploys if d.kind == "regular" and rng.random() < week.family.aborted]:
        blue_green = week.service(d.service).blue_green
        outcome = rng.choice(("failed", "canceled", "preview") if blue_green else ("failed", "canceled"))
        over = d.started - rng.uniform(10, 300)
        if outcome == "preview":
            over = d.started - rng.uniform(20, 60) * MINUTE
        lost = week.deploy(d.service, over)
        lost.outcome = outcome
        if outcome == "failed":  # the same commit, tried again
            lost.sha, lost.title, lost.author = d.sha, d.title, d.author
        week.deploys.append(lost)


def promote(week: Week) -> None:
    """Give each new version its way through the lower environments, and add versions that stay there."""
    rng = week.rng
    went: set[str] = set()
    for d in sorted((d for d in week.deploys if d.kind != "rollback"), key=lambda d: d.started):
        if d.sha not in went and (d.kind != "hotfix" or rng.random() < 0.6):
            _climb(week, d, quick=d.kind == "hotfix")
        went.add(d.sha)
    for service in week.fleet.services.values():
        for day in weekdays(week.family.days):
            for _ in range(poisson(rng, 0.25 * service.rate)):
                end = week.deploy(service.name, office(rng, day))
                _climb(week, end, quick=False, top=rng.choice((1, 2, 2, 3)))


def _climb(week: Week, last: Deploy, *, quick: bool, top: int = 3) -> None:
    """Add the deploys of one version to the lower environments, before its deploy to production began."""
    rng, at = week.rng, last.started
    for environment in reversed(ENVIRONMENTS[:top]):
        at -= (rng.uniform(2, 6) if quick else rng.uniform(*_WAITS[environment])) * MINUTE
        takes = rng.uniform(0.7, 4) * MINUTE
        if at - takes < 0 or rng.random() < 0.04:
            continue
        low = Deploy(
            last.service, environment, last.sha, at - takes, at, author=last.author, title=last.title
        )
        week.deploys.append(low)


def config_syncs(week: Week) -> None:
    """Draw syncs of production that bring no new version."""
    for service in week.fleet.services.values():
        if not service.app("production"):
            continue
        for day in range(week.family.days):
            for _ in range(poisson(week.rng, week.family.config_syncs_per_day)):
                at = office(week.rng, day) if week.rng.random() < 0.8 else day * DAY + week.rng.random() * DAY
                week.syncs.append((at, service.name))
