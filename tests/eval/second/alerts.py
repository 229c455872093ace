"""Prometheus' part: alerts begin to fire after their ``for``, stop, fire again, and carry labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.eval.second.rules import fingerprint, place
from tests.eval.second.week import Fault, Symptom, Week
from tests.eval.second.when import MINUTE, rfc

#: An alert whose condition holds again so soon after never stopped to fire.
_SAME_S = 15.0


@dataclass(eq=False)
class Occurrence:
    """One firing of one alert.

    Args:
        labels: of the alert.
        annotations: of the alert.
        start: when it began to fire; ``startsAt``.
        end: when it stopped.
        resolves: its end is told.
        fault: what raised it.
        key: the fingerprint.
        delivered: a webhook with it arrived.
    """

    labels: dict[str, str]
    annotations: dict[str, str]
    start: float
    end: float
    resolves: bool
    fault: Fault
    key: str = ""
    delivered: bool = False

    def __post_init__(self) -> None:
        self.key = fingerprint(self.labels)

    @property
    def starts_at(self) -> str:
        """Return startsAt as it is sent."""
        return rfc(self.start)


def fire(week: Week) -> list[Occurrence]:
    """Return all firings in the order of their starts, each of exactly one fault.

    Where two faults would raise the same alert at the same time it is one firing, of the earlier fault.
    """
    drawn = [o for fault in week.faults for symptom in fault.symptoms for o in _of(week, fault, symptom)]
    found: list[Occurrence] = []
    last: dict[str, Occurrence] = {}
    for each in sorted(drawn, key=lambda o: o.start):
        before = last.get(each.key)
        if before is not None and each.start <= before.end + _SAME_S:
            before.end = max(before.end, each.end)
            continue
        last[each.key] = each
        found.append(each)
    return found


def _of(week: Week, fault: Fault, symptom: Symptom) -> Iterator[Occurrence]:
    rng, rule = week.rng, symptom.rule
    for number in range(symptom.first, symptom.first + symptom.places):
        labels = _labels(week, symptom, number)
        began = symptom.began + (rng.uniform(0, 60) if number > symptom.first else 0.0)
        start = began + rule.hold_s + rng.uniform(2, 32)  # the scrape and the evaluation that see it
        end = symptom.ended + rng.uniform(15, 200)  # rates look back some minutes
        if start >= symptom.ended:
            continue
        told, notes = rng.random() >= week.family.unresolved, rule.annotations(symptom.service)
        if symptom.ended - start > 15 * MINUTE and rng.random() < week.family.refire:
            pause = start + rng.uniform(0.3, 0.7) * (symptom.ended - start)
            again = pause + rng.uniform(2, 4) * MINUTE + rule.hold_s
            yield Occurrence(labels, notes, start, pause, resolves=True, fault=fault)
            if again + MINUTE < end:
                yield Occurrence(labels, notes, again, end, told, fault)
            continue
        yield Occurrence(labels, notes, start, end, told, fault)


def _labels(week: Week, symptom: Symptom, number: int) -> dict[str, str]:
    rule, environment = symptom.rule, symptom.environment
    labels = {"alertname": rule.template.name, "severity": rule.severity, "env": environment}
    labels["cluster"] = "eu-1" if environment == "production" else "test-1"
    if not symptom.service:
        return labels | place("", rule, "", number)
    service = week.service(symptom.service)
    running = week.running(service.name, environment, symptom.began)
    labels |= {"service": service.name, "namespace": service.team, "team": service.team}
    if service.versioned:
        labels["version"] = running[:8]
    labels |= place(service.name, rule, running, number)
    if rule.lacks:
        del labels[rule.lacks]
        if rule.lacks == "service":  # what is left still tells an owner something
            labels["job"] = f"{service.team}/{service.name}"
    return labels
