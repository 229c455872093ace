"""What goes wrong, why, and the alerts that fire for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.eval.fleet import wire
from tests.eval.fleet.knobs import Family
from tests.eval.fleet.rollouts import DAY, PRODUCTION, Deploy, Rollouts
from tests.eval.fleet.world import ALERTS, Rule, Service, reach


@dataclass
class Firing:
    """One alert firing once: its labels, what its annotations say of ``for``, from when to when."""

    labels: dict[str, str]
    says_s: int | None
    starts: float
    ends: float


@dataclass
class Fault:
    """Something that is broken for a while; ``deploy``: which one did it."""

    id: str
    kind: str
    deploy: str | None
    began: float
    ended: float
    firings: list[Firing] = field(default_factory=list)

    def truth(self) -> dict[str, Any]:
        alerts = [[wire.fingerprint(f.labels), wire.iso(f.starts)] for f in self.firings]
        return {
            "id": self.id, "kind": self.kind, "deploy": self.deploy, "began": wire.iso(self.began),
            "ended": wire.iso(self.ended), "alerts": alerts,
        }  # fmt: skip


class Faults:
    """All faults of a fleet's days."""

    def __init__(self, family: Family, services: dict[str, Service], rollouts: Rollouts, rng: Random) -> None:
        self.family, self.services, self.rollouts, self.rng = family, services, rollouts, rng
        self.found: list[Fault] = []
        self.busy: dict[tuple[str, str], list[tuple[float, float]]] = {}

    def plan(self) -> None:
        """Draw them: by deploys, and by everything else."""
        rng, family = self.rng, self.family
        flappers = rng.sample(sorted(self.services), min(family.flappers, len(self.services)))
        plain = [d for d in self.rollouts.made if d.environment in {PRODUCTION, ""} and d.at > 1800]
        for d in plain:
            chance = family.bad * (2 if d.service in flappers and rng.random() < family.masked else 1)
            if rng.random() < chance:
                self._by_deploy(d)
            elif d.sort != "flag" and rng.random() < family.blips:
                self._blip(d)
        for _ in range(self._poisson(family.background * family.days)):
            self._background()
        for name in flappers:
            self._flapper(name)

    # --- by deploys -------------------------------------------------------------------------------

    def _by_deploy(self, d: Deploy) -> None:
        rng, family = self.rng, self.family
        d.bad = True
        began = d.at + 60 * math.exp(rng.gauss(math.log(family.onset), family.onset_spread))
        seen = began + rng.uniform(600, 3600)  # until people have mended it
        way = rng.choices(("rollback", "hotfix", "itself"), (60, 20, 20))[0]
        s = self.services[d.service]
        if way == "rollback" and d.sort == "flag":
            ended = seen
        elif way == "rollback":
            older = [v for at, v in self.rollouts.serves[d.service] if at < d.at and v != d.version]
            self.rollouts.back(s, seen, older[-1] if older else self.rollouts.sha())
            ended = seen + rng.uniform(30, 180)
        elif way == "hotfix":
            self.rollouts.hotfix(s, seen)
            ended = seen + rng.uniform(30, 180)
        else:
            ended = began + 60 * math.exp(rng.gauss(math.log(25), 0.7))
        fault = self._fault("bad-deploy", d.id, began, ended)
        hit = reach(self.services, d.service, family.cascade, rng)
        if len(hit) > 1 and rng.random() < family.callers_only:
            del hit[d.service]
        self._spread(fault, hit, by_deploy=True)

    def _blip(self, d: Deploy) -> None:
        began = d.at + self.rng.uniform(-30, 120)
        fault = self._fault("restart-blip", None, began, began + self.rng.uniform(60, 240))
        self._fire(fault, self.services[d.service], began, fault.ended, by_deploy=True)

    # --- by everything else -----------------------------------------------------------------------

    def _background(self) -> None:
        rng, family = self.rng, self.family
        names = sorted(self.services)
        if rng.random() < family.shared:
            self._shared(names)
            return
        name, began = rng.choice(names), rng.uniform(1800, family.days * DAY - 7200)
        kind = "background"
        if rng.random() < family.paired:
            harmless = [
                d for d in self.rollouts.made
                if d.environment == PRODUCTION and not d.bad and d.observed and d.at > 1800
            ]  # fmt: skip
            if harmless:
                d = rng.choice(harmless)
                name, began, kind = d.service, d.at + rng.uniform(60, 900), "after-harmless-deploy"
        ended = began + 60 * math.exp(rng.gauss(math.log(18), 0.9))
        fault = self._fault(kind, None, began, ended)
        self._spread(fault, reach(self.services, name, family.cascade, rng), by_deploy=False)

    def _shared(self, names: list[str]) -> None:
        rng = self.rng
        began = rng.uniform(1800, self.family.days * DAY - 7200)
        if rng.random() < 0.5:  # in working hours, when much is deployed
            began = rng.randrange(self.family.days) * DAY + rng.uniform(9, 17) * 3600
        fault = self._fault("shared-cause", None, began, began + rng.uniform(300, 3600))
        alert = rng.choice(("HighErrorRate", "HighLatencyP99", "TargetDown"))
        for name in rng.sample(names, min(len(names), rng.randint(4, 15))):
            at = began + rng.uniform(0, 120)
            same = alert if rng.random() < 0.7 else None
            self._fire(fault, self.services[name], at, fault.ended, by_deploy=False, alert=same)

    def _flapper(self, name: str) -> None:
        rng, s = self.rng, self.services[name]
        rule = rng.choice(["HighErrorRate", "HighLatencyP99", "QueueBacklog"])
        at = rng.expovariate(self.family.flaps / DAY)
        while at < self.family.days * DAY - 3600:
            fault = self._fault("flapper", None, at, at + s.rules[rule].waits_s + rng.uniform(60, 900))
            self._fire(fault, s, at, fault.ended, by_deploy=False, alert=rule)
            at = fault.ended + 300 + rng.expovariate(self.family.flaps / DAY)

    # --- alerts -----------------------------------------------------------------------------------

    def _fault(self, kind: str, deploy: str | None, began: float, ended: float) -> Fault:
        fault = Fault(f"f{len(self.found) + 1}", kind, deploy, began, ended)
        self.found.append(fault)
        return fault

    def _spread(self, fault: Fault, hit: dict[str, int], *, by_deploy: bool) -> None:
        for name, hops in hit.items():
            delay = sum(self.rng.uniform(30, 180) for _ in range(hops))
            self._fire(fault, self.services[name], fault.began + delay, fault.ended, by_deploy=by_deploy)

    def _fire(
        self,
        fault: Fault,
        s: Service,
        began: float,
        ended: float,
        *,
        by_deploy: bool,
        alert: str | None = None,
    ) -> None:
        weights = [row[2] if by_deploy else row[3] for row in ALERTS.values()]
        names = [alert] if alert else [self.rng.choices(list(ALERTS), weights)[0]]
        if self.rng.random() < 0.3:
            names.append(self.rng.choices(list(ALERTS), weights)[0])
        for name in dict.fromkeys(names):
            self._alerts(fault, s, s.rules[name], began, ended)

    def _alerts(self, fault: Fault, s: Service, rule: Rule, began: float, ended: float) -> None:
        rng = self.rng
        spans = [(began, ended)]
        if rng.random() < self.family.refire and ended - began > 1500:
            cut = began + (ended - began) * rng.uniform(0.3, 0.6)
            spans = [(began, cut), (cut + rng.uniform(180, 600), ended)]
        for pod in range(rng.choice((1, 1, 2, 3))):
            labels = {
                "alertname": rule.name, "service": s.name, "env": PRODUCTION, "severity": rule.severity,
                "namespace": s.name, "pod": f"{s.name}-{pod}",
            }  # fmt: skip
            if rng.random() < self.family.unlabelled:
                del labels[rng.choice(("service", "env"))]
            for first, last in spans:
                starts = first + rule.waits_s + rng.uniform(0, 45)
                ends = last + rng.uniform(0, 60)
                if ends > starts and self._free(labels, starts, ends):
                    says = rule.waits_s if rule.says else None
                    fault.firings.append(Firing(labels, says, starts, ends))

    def _free(self, labels: dict[str, str], starts: float, ends: float) -> bool:
        """One alert fires once at a time: what would overlap is part of what fires already."""
        mine = self.busy.setdefault((labels["alertname"], wire.fingerprint(labels)), [])
        if any(starts < e + 60 and b - 60 < ends for b, e in mine):
            return False
        mine.append((starts, ends))
        return True

    def _poisson(self, mean: float) -> int:
        n, left = 0, self.rng.expovariate(1)
        while left < mean:
            n += 1
            left += self.rng.expovariate(1)
        return n
