"""From a family and a seed to a scenario, and from a scenario to a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.eval.second import background, deploys, guilty
from tests.eval.second.alertmanager import Alertmanager
from tests.eval.second.alerts import Occurrence, fire
from tests.eval.second.argocd import ArgoCD
from tests.eval.second.family import Family
from tests.eval.second.gitlab import GitLab
from tests.eval.second.services import build
from tests.eval.second.week import Fault, Week
from tests.eval.second.when import rfc
from tests.eval.second.wire import Webhook, deliver


@dataclass(frozen=True)
class Scenario:
    """What a folder holds: the requests, the catalogue, the sealed truth."""

    family: str
    seed: int
    events: list[dict[str, Any]]
    services: dict[str, Any]
    truth: dict[str, Any]


def generate(family: Family, seed: int) -> Scenario:
    """Draw a scenario; the same family and seed give the same bytes."""
    rng = Random(f"{family.name}/{seed}")
    week = Week(rng, family, build(rng, family))
    _happen(week)
    found = fire(week)
    webhooks: list[Webhook] = [*GitLab(week).tell(), *ArgoCD(week).tell(), *Alertmanager(week).notify(found)]
    lines = deliver(rng, family, webhooks, week.end)
    return Scenario(family.name, seed, lines, week.fleet.catalogue(), _truth(week, found))


def _happen(week: Week) -> None:
    """Let everything happen, causes before their effects."""
    deploys.schedule(week)
    guilty.bad_deploys(week)
    guilty.flags(week)
    background.faults(week)
    guilty.during(week)
    guilty.blips(week)
    background.flapping(week)
    deploys.abort(week)
    deploys.promote(week)
    week.settle()
    guilty.lower(week)
    deploys.config_syncs(week)


def _truth(week: Week, found: list[Occurrence]) -> dict[str, Any]:
    """Return truth.json; ``silent`` holds faults of which no alert ever arrived."""
    real = [d for d in week.deploys if d.outcome == "success" and 0 <= d.switched <= week.end]
    for number, d in enumerate(sorted(real, key=lambda d: d.switched), 1):
        d.id = f"d{number:05d}"
    alerts: dict[Fault, list[list[str]]] = {fault: [] for fault in week.faults}
    for each in found:
        if each.delivered:
            alerts[each.fault].append([each.key, each.starts_at])
    faults: list[dict[str, Any]] = []
    silent: list[dict[str, Any]] = []
    for number, fault in enumerate(sorted(week.faults, key=lambda f: f.began), 1):
        row = {
            "id": f"f{number:04d}",
            "deploy": fault.deploy.id if fault.deploy is not None else None,
            "began": rfc(fault.began),
            "ended": rfc(fault.ended),
            "kind": fault.kind,
            "service": fault.service,
            "alerts": alerts[fault],
            **fault.more,
        }
        (faults if row["alerts"] else silent).append(row)
    rows = [
        {
            "id": d.id,
            "service": d.service,
            "environment": d.environment,
            "version": d.sha,
            "switched_at": rfc(d.switched),
            "bad": d.bad,
            "observed": d.named,
            "kind": d.kind,
        }
        for d in sorted(real, key=lambda d: d.switched)
    ]
    return {"family": week.family.name, "deploys": rows, "faults": faults, "silent": silent}


def write(scenario: Scenario, folder: Path) -> None:
    """Write events.jsonl, services.json and truth.json."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("w", encoding="utf-8") as file:
        for line in scenario.events:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    for name, content in (("services", scenario.services), ("truth", scenario.truth)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
