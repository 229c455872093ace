"""How faults show: which rules of the service hold, for how long, and how far up they are felt."""

from __future__ import annotations

from typing import Final

from tests.eval.second.rules import NODE_RULE, Rule, Template
from tests.eval.second.week import Symptom, Week

#: Units of which several suffer at once.
_MANY: Final = frozenset({"pod", "instance"})
#: Hops up the callers beyond which nobody notices.
_HOPS: Final = 3


def _weight(template: Template, why: str) -> float:
    return float(getattr(template, why))


def draw(week: Week, name: str, why: str, began: float, ended: float, *, most: int = 3) -> list[Symptom]:
    """Draw one to ``most`` rules of a service that a fault of this sort (a column of the templates) sets off.

    The first is one that fires before the fault ends, if the service has any.
    """
    rng, service = week.rng, week.service(name)
    pool = [r for r in service.rules if _weight(r.template, why) > 0]
    soon = [r for r in pool if began + r.hold_s + 60 < ended]
    chosen: list[Rule] = []
    for _ in range(rng.choices(range(1, most + 1), (5, 3, 2)[:most])[0]):
        left = [r for r in (pool if chosen else soon or pool) if r not in chosen]
        if left:
            chosen += rng.choices(left, [_weight(r.template, why) for r in left])
    found = []
    for rule in chosen:
        lag = min(rng.expovariate(1 / 20.0), 120.0) if rule is not chosen[0] else rng.uniform(0, 10)
        places = rng.choice((1, 1, 2, 3)) if rule.template.unit in _MANY else 1
        found.append(Symptom(name, rule, began + lag, ended, places))
    return found


def cascade(week: Week, name: str, began: float, ended: float, chance: float) -> list[Symptom]:
    """Draw what callers of a service suffer, up to three hops."""
    rng, reached = week.rng, {name}
    found: list[Symptom] = []
    edge = [(name, began, 0)]
    while edge:
        below, since, hops = edge.pop(0)
        for caller in week.fleet.callers[below]:
            if caller in reached or rng.random() >= chance:
                continue
            reached.add(caller)
            at = since + rng.uniform(30, 180)
            found += draw(week, caller, "cascade", at, ended + rng.uniform(0, 90), most=1 if hops else 2)
            if hops + 1 < _HOPS:
                edge.append((caller, at, hops + 1))
    return found


def felt(week: Week, name: str, why: str, began: float, ended: float) -> list[Symptom]:
    """Draw all that a fault of one service causes, sometimes felt by callers alone."""
    own = draw(week, name, why, began, ended)
    above = cascade(week, name, began, ended, week.family.cascade)
    if week.rng.random() < week.family.callers_only and (callers := week.fleet.callers[name]):
        if not above:
            at = began + week.rng.uniform(30, 180)
            above = draw(week, week.rng.choice(callers), "cascade", at, ended, most=1)
        own = []
    return own + above


def node(began: float, ended: float, number: int) -> Symptom:
    """Return a node that does not answer; it belongs to no service."""
    return Symptom("", NODE_RULE, began, ended, first=number)


def lasting(found: list[Symptom], ended: float) -> list[Symptom]:
    """Let symptoms that were drawn without an end last until the fault's; drop what cannot fire by then."""
    for each in found:
        each.ended = min(each.ended, ended)
    return viable(found)


def viable(found: list[Symptom]) -> list[Symptom]:
    """Return those that fire before they end."""
    return [s for s in found if s.fires < s.ended]


def first_alert(found: list[Symptom]) -> float:
    """Return when the first of them has fired for sure."""
    return min(s.fires for s in found)
