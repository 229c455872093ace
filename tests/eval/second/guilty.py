"""Faults that changes cause: bad deploys and how they end, restarts that are noticed, feature flags."""

from __future__ import annotations

from typing import Final

from tests.eval.second import symptoms
from tests.eval.second.week import PEOPLE, Deploy, Fault, Symptom, Toggle, Week
from tests.eval.second.when import HOUR, MINUTE, any_time, lognormal, office, poisson, weekdays

_FOREVER: Final = 1e9
_FLAGS: Final = (
    "new-totals",
    "fast-path",
    "dark-mode",
    "v2-ranking",
    "bulk-import",
    "async-mail",
    "strict-checks",
)
#: After the onset of a fault whose deploy is the next of two, nobody deploys for so long.
_CALM_S: Final = 20 * MINUTE
_NEAR_S: Final = 10 * MINUTE


def bad_deploys(week: Week) -> None:
    """Choose deploys with a defect and draw what comes of them."""
    rng = week.rng
    regular = [d for d in week.deploys if d.kind == "regular" and d.outcome == "success"]
    chosen = [d for d in regular if rng.random() < week.family.bad]
    for one in tuple(chosen):
        near = [
            d
            for d in regular
            if d.service != one.service and abs(d.switched - one.switched) < _NEAR_S and d not in chosen
        ]
        if near and rng.random() < week.family.simultaneous:
            chosen.append(rng.choice(near))
    for d in sorted(chosen, key=lambda d: d.switched):
        if d in week.deploys:  # else an earlier fault of the service kept it back
            _break(week, d)


def _break(week: Week, d: Deploy) -> None:
    """Draw the fault of one bad deploy; it has none if the next deploy comes before the onset."""
    rng, family = week.rng, week.family
    leak = rng.random() < family.leaks
    wait = rng.uniform(1, 4) * HOUR if leak else lognormal(rng, family.onset_min, family.onset_sigma) * MINUTE
    began = d.switched + wait
    later = [other for other in week.of(d.service) if other.switched > d.switched]
    if (later and later[0].switched < began) or began > week.end - 30 * MINUTE:
        return
    found = symptoms.felt(week, d.service, "leak" if leak else "change", began, _FOREVER)
    alert = symptoms.first_alert(found)
    ended = _end(week, d, began, alert)
    d.bad = True
    kind = "slow-leak" if leak else "bad-deploy"
    week.faults.append(Fault(kind, d.service, began, ended, symptoms.lasting(found, ended), d))


def _end(week: Week, d: Deploy, began: float, alert: float) -> float:
    """Draw how a bad deploy's fault ends, and return when."""
    rng = week.rng
    how = rng.random()
    if how >= 0.8:
        return max(began + lognormal(rng, 20, 0.9) * MINUTE, alert + 2 * MINUTE)
    kind = "rollback" if how < 0.6 else "hotfix"
    wait = rng.uniform(10, 60) if kind == "rollback" else rng.uniform(20, 90)
    at = max(began + wait * MINUTE, alert + rng.uniform(4, 10) * MINUTE)
    cure = week.deploy(d.service, at, kind)
    cure.started = max(cure.started, began + 30, d.switched + 30)
    cure.undoes = d
    if kind == "rollback":
        cure.by_hand = len(week.service(d.service).tellers) > 1 and rng.random() < 0.4
        cure.title, cure.sha = "", ""  # those of the version before, see Week.settle
    else:
        cure.title = f"Fix: {d.title}"
    clear(week, d, at + _CALM_S)
    if at < week.end:
        week.deploys.append(cure)
    return at + rng.uniform(20, 150)


def clear(week: Week, d: Deploy, until: float) -> None:
    """Keep back the regular deploys of a service between a bad one and its cure."""
    week.deploys[:] = [
        other
        for other in week.deploys
        if other is d
        or other.service != d.service
        or other.kind != "regular"
        or not d.switched < other.switched < until
    ]


def during(week: Week) -> None:
    """Add innocent deploys while a fault of the same service lasts: after the onset, before its end."""
    rng = week.rng
    for fault in tuple(week.faults):
        long = fault.ended - fault.began > 8 * MINUTE and fault.service and fault.kind != "background-staging"
        if not long or rng.random() >= week.family.during:
            continue
        at = rng.uniform(fault.began + 2 * MINUTE, min(fault.began + 30 * MINUTE, fault.ended - 3 * MINUTE))
        if at > week.end or not week.free(fault.service, at, 3 * MINUTE):
            continue
        extra = week.deploy(fault.service, at, "during")
        others = [d.switched for d in week.of(fault.service) if d.switched < at]
        extra.started = max(extra.started, max(others, default=0.0) + 20)
        week.deploys.append(extra)
        fault.more["during"] = True


def blips(week: Week) -> None:
    """Let restarts of good deploys be noticed for some minutes; the deploy is not guilty."""
    rng = week.rng
    for d in week.deploys:
        good = d.kind in {"regular", "during"} and d.outcome == "success" and not d.bad
        if not good or rng.random() >= week.family.blips:
            continue
        began = max(d.started, d.switched + rng.uniform(-20, 110))
        ended = began + rng.uniform(1, 4) * MINUTE
        found = symptoms.draw(week, d.service, "blip", began, ended, most=2)
        if rng.random() < 0.15:
            found += symptoms.cascade(week, d.service, began, ended, week.family.cascade)
        if not (found := symptoms.viable(found)):  # all rules wait for longer: nobody notices
            continue
        week.faults.append(Fault("restart-blip", d.service, began, ended, found))


def flags(week: Week) -> None:
    """Switch feature flags, seldom with harm."""
    rng, family = week.rng, week.family
    tellers = [s.name for s in week.fleet.services.values() if "gitlab" in s.tellers]
    for day in weekdays(family.days):
        for _ in range(poisson(rng, family.flags_per_day)):
            _toggle(
                week, office(rng, day), rng.choice(tellers), rng.choice(_FLAGS), active=rng.random() < 0.7
            )
    for _ in range(poisson(rng, family.flag_faults_per_day * family.days)):
        at, name, flag = any_time(rng, family.days), rng.choice(tellers), rng.choice(_FLAGS)
        began = at + rng.uniform(20, 300)
        if began > week.end - 30 * MINUTE or not week.healthy(name, began, began + HOUR):
            continue
        found = symptoms.felt(week, name, "change", began, _FOREVER)
        ended = max(began + rng.uniform(8, 45) * MINUTE, symptoms.first_alert(found) + 3 * MINUTE)
        _toggle(week, at, name, flag, active=True)
        if rng.random() < 0.7:
            _toggle(week, ended - MINUTE, name, flag, active=False)
        more = {"flag": flag}
        week.faults.append(
            Fault("feature-flag", name, began, ended, symptoms.lasting(found, ended), more=more)
        )


def _toggle(week: Week, at: float, name: str, flag: str, *, active: bool) -> None:
    week.toggles.append(Toggle(at, name, flag, active, week.rng.choice(PEOPLE)))


def lower(week: Week) -> None:
    """Let some bad versions be noticed in staging, too; the guilty deploy is the one to staging."""
    rng = week.rng
    bad = {d.sha: d for d in week.deploys if d.bad}
    for d in [d for d in week.deploys if d.environment == "staging" and d.sha in bad]:
        if rng.random() >= 0.15:
            continue
        began = d.switched + lognormal(rng, week.family.onset_min, week.family.onset_sigma) * MINUTE
        ended = began + rng.uniform(15, 90) * MINUTE
        found: list[Symptom] = symptoms.viable(symptoms.draw(week, d.service, "change", began, ended, most=1))
        if not found:
            continue
        for each in found:
            each.environment = "staging"
        d.bad = True
        week.faults.append(Fault("bad-deploy", d.service, began, ended, found, d))
