"""Which deploys there are, and the webhooks that tell of them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import Any

from tests.eval.fleet import wire
from tests.eval.fleet.knobs import Family
from tests.eval.fleet.world import Service

DAY = 86_400.0
PRODUCTION = "production"
_BEFORE = ("dev", "qa", "staging")

#: When it is sent, path, headers, body.
Sent = tuple[float, str, dict[str, str], dict[str, Any]]


@dataclass
class Deploy:
    """One deploy. ``at``: when it took effect, in seconds since the start. ``sort``: what it is."""

    id: str
    service: str
    environment: str
    version: str
    at: float
    sort: str = "deploy"
    bad: bool = False
    observed: bool = True

    def truth(self) -> dict[str, Any]:
        return {
            "id": self.id, "service": self.service, "environment": self.environment, "version": self.version,
            "switched_at": wire.iso(self.at), "bad": self.bad, "observed": self.observed, "sort": self.sort,
        }  # fmt: skip


class Rollouts:
    """All deploys of a fleet: made in order, told as they would be."""

    def __init__(self, family: Family, services: dict[str, Service], rng: Random) -> None:
        self.family, self.services, self.rng = family, services, rng
        self.made: list[Deploy] = []
        self.sent: list[Sent] = []
        self.serves: dict[str, list[tuple[float, str]]] = {}
        self._number = 100

    def number(self) -> int:
        self._number += 1
        return self._number

    def sha(self) -> str:
        text = f"{self.family.name} {self.number()} {self.rng.random()}"
        return sha1(text.encode(), usedforsecurity=False).hexdigest()

    def plan(self) -> None:
        """Make the deploys of all days; trains are several services within minutes."""
        for s in self.services.values():
            self._deploy(s, self.sha(), -0.5 * DAY + self.rng.uniform(0, 0.4 * DAY), "deploy")  # what serves
        for day in range(self.family.days):
            for s in self.services.values():
                for at in self._times(s.rate, day):
                    self._one(s, at)
        self._trains()

    def _times(self, rate: float, day: int) -> list[float]:
        out, at = [], day * DAY + 8 * 3600.0
        while True:
            at += self.rng.expovariate(rate / (10 * 3600))
            if at > day * DAY + 18 * 3600:
                return out
            out.append(at)

    def _one(self, s: Service, at: float) -> None:
        draw = self.rng.random()
        if draw < self.family.flags and s.gitlab:
            self.toggle(s, at)
        elif draw < self.family.flags + self.family.config and s.argocd:
            self._deploy(s, self.version(s, at), at, "config")
        else:
            sha = self.sha()
            self._promote(s, sha, at)
            self._deploy(s, sha, at, "deploy")

    def _trains(self) -> None:
        share = self.family.trains
        if not share:
            return
        plain = [d for d in self.made if d.environment == PRODUCTION and d.sort == "deploy" and d.at > 0]
        leaders = self.rng.sample(plain, int(len(plain) * share / 4))
        for leader in leaders:
            others = [n for n in self.services if n != leader.service]
            for name in self.rng.sample(others, 3):
                at = leader.at + self.rng.uniform(-300, 300)
                self._deploy(self.services[name], self.sha(), at, "deploy")

    def version(self, s: Service, at: float) -> str:
        """Return what serves in production at that time."""
        found = [v for when, v in self.serves.get(s.name, []) if when < at]
        return found[-1] if found else self.sha()

    def _promote(self, s: Service, sha: str, at: float) -> None:
        """The same commit goes through the environments before production, hours earlier."""
        hours = self.rng.uniform(2, 20)
        for n, environment in enumerate(_BEFORE):
            when = at - hours * 3600 * (3 - n) / 3
            if when > 60:
                self._deploy(s, sha, when, "deploy", environment)

    def _deploy(
        self,
        s: Service,
        sha: str,
        at: float,
        sort: str,
        environment: str = PRODUCTION,
        *,
        quick: bool = False,
    ) -> Deploy:
        production = environment == PRODUCTION
        unseen = production and sort == "deploy" and self.rng.random() < self.family.unseen and at > 0
        d = Deploy(f"d{self.number()}", s.name, environment, sha, at, sort, observed=not unseen)
        self.made.append(d)
        if production:
            rows = self.serves.setdefault(s.name, [])
            rows.append((at, sha))
            rows.sort()
        if not unseen and at > 60:
            self._tell(s, d, quick=quick)
        return d

    def back(self, s: Service, at: float, sha: str) -> Deploy:
        """Roll production back to a version."""
        return self._deploy(s, sha, at, "rollback", quick=True)

    def hotfix(self, s: Service, at: float) -> Deploy:
        """Deploy what mends a fault."""
        return self._deploy(s, self.sha(), at, "hotfix", quick=True)

    def toggle(self, s: Service, at: float) -> Deploy:
        """Switch a feature flag."""
        n = self.number()
        name, on = f"new-{s.name}-{n}", self.rng.random() < 0.8
        d = Deploy(f"d{n}", s.name, "", f"{name} {'on' if on else 'off'}", at, "flag")
        self.made.append(d)
        self.sent.append((at + 1, *wire.gitlab("feature_flag", s, wire.flag(n, name, on=on))))
        return d

    # --- telling ----------------------------------------------------------------------------------

    def _tell(self, s: Service, d: Deploy, *, quick: bool) -> None:
        skew = self.rng.gauss(0, self.family.skew)
        took = self.rng.uniform(60, 150) if quick else self.rng.uniform(150, 480)
        gitlab = s.gitlab and d.sort != "config"
        green = s.blue_green and gitlab and d.environment == PRODUCTION
        if gitlab:
            self._gitlab(s, d, took, skew, green=green)
        if s.argocd:
            self._argocd(s, d, took, self.rng.gauss(0, self.family.skew), green=green)

    def _gitlab(self, s: Service, d: Deploy, took: float, skew: float, *, green: bool) -> None:
        n, at = self.number(), d.at + skew
        if d.environment == PRODUCTION and d.sort in {"deploy", "hotfix"}:
            when = at - took - self.rng.uniform(600, 3000)
            self._send(when, wire.gitlab("merge_request", s, wire.merged(s, n, d.version, when)))
        for status, when in (("running", at - took), ("success", at)):
            body = wire.deployment(s, n, d.version, d.environment, status, when)
            self._send(when + 1, wire.gitlab("deployment", s, body))
        if green:
            jobs = {"deploy-green": at - 0.6 * took, "test-green": at - 0.3 * took, "switch-traffic": at}
            body = wire.pipeline(s, self.number(), d.version, jobs, d.environment)
            self._send(at + 2, wire.gitlab("pipeline", s, body))

    def _argocd(self, s: Service, d: Deploy, took: float, skew: float, *, green: bool) -> None:
        started = d.at - 0.8 * took + skew
        finished = d.at - 0.6 * took + skew if green else d.at + skew
        config = self.sha()
        for phase, when, end in (("Running", started, None), ("Succeeded", finished, finished)):
            self._send(when + 2, wire.argocd(s, d.environment, d.version, config, phase, started, end))

    def _send(self, at: float, request: tuple[str, dict[str, str], dict[str, Any]]) -> None:
        if at > 0:
            self.sent.append((at, *request))
