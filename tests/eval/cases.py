"""What is judged: each incident that the product made, with what really happened and what it said.

An incident's truth is the fault with most of its alerts. It is caused by a change where that fault's deploy
was bad; whatever else an incident comes from, naming any deploy is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tests.eval.scenario import instant

_ALIASES = {
    "production": "prod", "prd": "prod", "stage": "staging", "stg": "staging", "testing": "test",
    "development": "dev",
}  # fmt: skip
WINDOW = timedelta(hours=1)
MOST_HOPS = 3


@dataclass(frozen=True)
class Deploy:
    """A deploy as it really was."""

    id: str
    service: str
    environment: str
    version: str
    at: datetime
    bad: bool
    observed: bool


@dataclass(frozen=True)
class Fault:
    """Something that really was broken."""

    id: str
    deploy: str | None
    began: datetime
    kind: str


#: Deploys with their probabilities, the likeliest first; None is one that never was.
Ranking = tuple[tuple[str | None, float], ...]


@dataclass(frozen=True)
class Case:
    """One incident. ``said``: what the product thought, and when, the first first."""

    id: str
    service: str
    environment: str
    team: str
    opened: datetime
    onset: datetime
    ended: datetime | None
    paged: bool
    group: str
    fault: Fault
    cause: Deploy | None
    said: tuple[tuple[datetime, Ranking], ...]
    near: tuple[Deploy, ...]
    faults: int

    @property
    def observable(self) -> bool:
        return self.cause is not None and self.cause.observed

    def at(self, after: timedelta | None) -> Ranking:
        """Return what was thought so long after it opened; None: in the end."""
        until = self.opened + after if after is not None else datetime.max.replace(tzinfo=self.opened.tzinfo)
        found: Ranking = ()
        for when, ranking in self.said:
            if when <= until:
                found = ranking
        return found


@dataclass(frozen=True)
class World:
    """One scenario, judged: its cases, its deploys, who calls whom. ``unknown``: incidents of no fault."""

    name: str
    family: str
    cases: tuple[Case, ...]
    deploys: tuple[Deploy, ...]
    hops: Mapping[str, Mapping[str, int]]
    faults: int
    unknown: int


def environment(name: str) -> str:
    """Return the one name of an environment that has several."""
    return _ALIASES.get(name.strip().lower(), name.strip().lower())


def world(
    name: str, truth: Mapping[str, Any], services: Mapping[str, Any], answers: Mapping[str, Any]
) -> World:
    """Return a scenario with what the product answered, ready to be judged."""
    deploys = tuple(_deploy(d, name) for d in truth.get("deploys", []))
    by_id = {d.id: d for d in deploys}
    faults = {f["id"]: _fault(f, name) for f in truth.get("faults", [])}
    owners: dict[tuple[str, datetime], str] = {}
    for f in truth.get("faults", []):
        for fingerprint, starts in f.get("alerts", []):
            owners[str(fingerprint), instant(starts, name)] = f["id"]
    hops = callees(services)
    cases = []
    for one in answers["incidents"]:
        known = [(str(p), instant(at, name)) for p, at in one["alerts"]]
        count = Counter(owners[key] for key in known if key in owners)
        if count:
            most = max(count.values())
            fault = min((faults[f] for f, n in count.items() if n == most), key=lambda f: (f.began, f.id))
            cases.append(_case(one, known, fault, by_id, deploys, hops, len(count)))
    unknown = len(answers["incidents"]) - len(cases)
    family = str(truth.get("family") or "unnamed")
    return World(name, family, tuple(cases), deploys, hops, len(faults), unknown)


def _case(
    one: Mapping[str, Any], known: Sequence[tuple[str, datetime]], fault: Fault, by_id: Mapping[str, Deploy],
    deploys: Sequence[Deploy], hops: Mapping[str, Mapping[str, int]], faults: int,
) -> Case:  # fmt: skip
    cause = by_id.get(fault.deploy) if fault.deploy else None
    opened, where = instant(one["opened_at"], "opened_at"), environment(one["environment"])
    onset = min(at for _, at in known)
    callees_ = {one["service"]: 0, **hops.get(one["service"], {})}
    near = tuple(
        d for d in deploys
        if d.observed and d.service in callees_ and _same_place(d.environment, where)
        and onset - WINDOW <= d.at <= onset
    )  # fmt: skip
    said = tuple(
        (instant(v["at"], "at"), tuple((_which(s, deploys), float(s["probability"])) for s in v["suspects"]))
        for v in one["verdicts"]
    )
    ended = instant(one["resolved_at"], "resolved_at") if one.get("resolved_at") else None
    guilty = cause if cause is not None and cause.bad else None
    return Case(
        one["id"], one["service"], where, one.get("team", ""), opened, onset,
        ended, bool(one.get("paged")), one.get("group") or one["id"], fault, guilty, said, near, faults,
    )  # fmt: skip


def _which(suspect: Mapping[str, Any], deploys: Sequence[Deploy]) -> str | None:
    """Return the deploy that a suspect is, None where there never was such a one."""
    where = environment(suspect["environment"])
    fit = [
        d for d in deploys
        if d.service == suspect["service"] and _same_place(d.environment, where)
        and any(_same_version(d.version, n) for n in suspect["names"])
    ]  # fmt: skip
    if not fit:
        return None
    at = instant(suspect["at"], "at") if suspect.get("at") else fit[0].at
    return min(fit, key=lambda d: (abs(d.at - at), d.id)).id


def _same_place(left: str, right: str) -> bool:
    return left == right or not left or not right


def _same_version(version: str, name: str) -> bool:
    a, b = version.lower(), name.lower()
    return a == b or (len(b) >= 7 and a.startswith(b)) or (len(a) >= 7 and b.startswith(a))


def callees(services: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return by service what it calls, directly or not, with the number of calls between."""
    needs = {s["name"]: list(s.get("depends_on") or []) for s in services.get("services", [])}
    found: dict[str, dict[str, int]] = {}
    for start in needs:
        reached, edge = {start: 0}, [start]
        for hop in range(1, MOST_HOPS + 1):
            edge = [n for name in edge for n in needs.get(name, []) if n not in reached]
            reached |= dict.fromkeys(edge, hop)
        del reached[start]
        found[start] = reached
    return found


def _deploy(row: Mapping[str, Any], name: str) -> Deploy:
    return Deploy(
        str(row["id"]), str(row["service"]), environment(str(row.get("environment") or "")),
        str(row.get("version") or ""), instant(row["switched_at"], name), bool(row.get("bad")),
        bool(row.get("observed", True)),
    )  # fmt: skip


def _fault(row: Mapping[str, Any], name: str) -> Fault:
    return Fault(row["id"], row.get("deploy"), instant(row["began"], name), str(row.get("kind") or ""))
