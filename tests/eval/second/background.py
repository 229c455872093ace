"""Faults that no change causes: single, right after an innocent deploy, shared by many services, flapping."""

from __future__ import annotations

from tests.eval.second import symptoms
from tests.eval.second.week import Fault, Symptom, Week
from tests.eval.second.when import HOUR, MINUTE, any_time, lognormal, poisson

_SHARED = ("pg-main-2", "kafka-a", "redis-shared", "node-pool-b", "dns", "nat-gateway", "object-store")
_FLAPPING = frozenset({"PodCrashLooping", "PodRestarting", "TargetDown", "HighErrorRate", "HighLatencyP99"})


def faults(week: Week) -> None:
    """Draw all of them, in production and a few in staging."""
    rng, family = week.rng, week.family
    for _ in range(poisson(rng, family.background_per_day * family.days)):
        if rng.random() < family.shared:
            _shared(week)
        elif rng.random() < family.paired:
            _paired(week)
        else:
            _single(week)
    for _ in range(poisson(rng, family.staging_per_day * family.days)):
        began, name = any_time(rng, family.days), rng.choice(list(week.fleet.services))
        ended = began + _duration(week)
        found = symptoms.viable(symptoms.draw(week, name, "background", began, ended, most=2))
        for each in found:
            each.environment = "staging"
        if found:
            week.faults.append(Fault("background-staging", name, began, ended, found))


def _duration(week: Week) -> float:
    return min(6 * HOUR, max(6 * MINUTE, lognormal(week.rng, 25, 0.9) * MINUTE))


def _single(week: Week) -> None:
    """A fault at a time of its own; an innocent deploy may be near by chance."""
    rng, name, began, ended = week.rng, "", 0.0, 0.0
    for _ in range(20):
        name, began = rng.choice(list(week.fleet.services)), any_time(rng, week.family.days)
        ended = began + _duration(week)
        if week.healthy(name, began - 10 * MINUTE, ended + 10 * MINUTE):
            break
    week.faults.append(_felt(week, "background", name, began, ended))


def _felt(week: Week, kind: str, name: str, began: float, ended: float) -> Fault:
    """Return a fault that lasts at least until it is noticed."""
    found = symptoms.felt(week, name, "background", began, ended)
    ended = max(ended, symptoms.first_alert(found) + 2 * MINUTE)
    for each in found:
        each.ended = max(each.ended, ended)
    return Fault(kind, name, began, ended, symptoms.viable(found))


def _paired(week: Week) -> None:
    """A fault 1 to 15 minutes after an innocent deploy of its service, often with a twin far from any."""
    rng = week.rng
    good = [d for d in week.deploys if d.kind == "regular" and d.outcome == "success" and not d.bad]
    for d in rng.sample(good, min(30, len(good))):
        began = d.switched + rng.uniform(1, 15) * MINUTE
        ended = began + _duration(week)
        if began > week.end - 30 * MINUTE or not week.healthy(d.service, began - HOUR, ended + 10 * MINUTE):
            continue
        fault = _felt(week, "background-paired", d.service, began, ended)
        week.faults.append(fault)
        if rng.random() < 0.5:
            _twin(week, fault)
        return
    _single(week)


def _twin(week: Week, fault: Fault) -> None:
    """The same fault once more, where no deploy of the service is within two hours."""
    for _ in range(20):
        began = any_time(week.rng, week.family.days)
        moved, ended = began - fault.began, began + fault.ended - fault.began
        quiet = week.free(fault.service, began, 2 * HOUR) and week.free(fault.service, ended, HOUR)
        if not quiet or not week.healthy(fault.service, began - HOUR, ended + HOUR):
            continue
        copies = [
            Symptom(s.service, s.rule, s.began + moved, s.ended + moved, s.places, s.environment, s.first)
            for s in fault.symptoms
        ]
        week.faults.append(Fault("background-twin", fault.service, began, ended, copies))
        return


def _shared(week: Week) -> None:
    """Something below many services fails; it is in no catalogue."""
    rng, names = week.rng, list(week.fleet.services)
    began, what = any_time(rng, week.family.days), rng.choice(_SHARED)
    ended = began + _duration(week)
    found: list[Symptom] = []
    for name in rng.sample(names, min(len(names), rng.randint(4, 15))):
        at = began + rng.uniform(0, 120)
        found += symptoms.draw(week, name, "background", at, ended, most=2)
        found += symptoms.cascade(week, name, at, ended, 0.25 * week.family.cascade)
    seen: set[tuple[str, str]] = set()
    once = []
    for each in symptoms.viable(found):
        key = each.service, each.rule.template.name
        if key not in seen:
            seen.add(key)
            once.append(each)
    if what == "node-pool-b" or rng.random() < 0.3:
        once.append(symptoms.node(began, ended, rng.randrange(200)))
    week.faults.append(Fault("shared-cause", "", began, ended, symptoms.viable(once), more={"cause": what}))


def flapping(week: Week) -> None:
    """Let a few services flap all the time, in bursts: each burst is a fault of its own."""
    rng, family = week.rng, week.family
    week.flapping = rng.sample(list(week.fleet.services), min(family.flappers, len(week.fleet.services)))
    for name in week.flapping:
        for _ in range(poisson(rng, family.flaps_per_day / 4 * family.days)):
            _burst(week, name, any_time(rng, family.days), rng.randint(2, 6))
    for fault in [f for f in week.faults if f.deploy is not None and f.service]:
        if rng.random() < family.masked:
            began = fault.began - rng.uniform(8, 25) * MINUTE
            _burst(week, fault.service, began, 5, spare={s.rule.template.name for s in fault.symptoms})
            fault.more["masked"] = True


def _burst(week: Week, name: str, at: float, flaps: int, spare: set[str] | None = None) -> None:
    """A rule that begins and ceases to hold several times in a row, at one and the same place."""
    rng = week.rng
    quick = [r for r in week.service(name).rules if r.hold_s <= 60 and r.template.name in _FLAPPING]
    quick = [r for r in quick if r.template.name not in (spare or ())] or quick
    if not quick:
        quick = [min(week.service(name).rules, key=lambda r: r.hold_s)]
    rule, found, began = (quick[0] if spare is None else rng.choice(quick)), [], at
    for _ in range(flaps):
        over = at + rule.hold_s + rng.uniform(1.5, 6) * MINUTE
        found.append(Symptom(name, rule, at, over))
        at = over + rng.uniform(4, 12) * MINUTE
    week.faults.append(Fault("flapper", name, began, found[-1].ended, found))
