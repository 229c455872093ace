"""Write scenarios: ``python -m tests.eval.fleet --family baseline --seed 3 --out DIR``."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from tests.eval.fleet import notify, wire, world
from tests.eval.fleet.faults import Faults
from tests.eval.fleet.knobs import FAMILIES, Family
from tests.eval.fleet.rollouts import Rollouts


def write(family: Family, seed: int, folder: Path) -> dict[str, Any]:
    """Write one scenario; return what is in it, counted. The same seed gives the same bytes."""
    rng = Random(f"{family.name}/{seed}")
    services = world.build(family, rng)
    rollouts = Rollouts(family, services, rng)
    rollouts.plan()
    faults = Faults(family, services, rollouts, rng)
    faults.plan()
    firings = [f for fault in faults.found for f in fault.firings]
    sent = notify.travel([*rollouts.sent, *notify.notifications(firings, rng)], family, rng)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("w", encoding="utf-8") as out:
        for at, path, headers, body in sent:
            row = {"at": wire.iso(at), "path": path, "headers": headers, "body": body}
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
    _dump(folder / "services.json", {"services": [_shown(s, family, rng) for s in services.values()]})
    truth = {
        "family": family.name,
        "seed": seed,
        "deploys": [d.truth() for d in sorted(rollouts.made, key=lambda d: d.at) if d.at > 0],
        "faults": [f.truth() for f in faults.found if f.firings],
    }
    _dump(folder / "truth.json", truth)
    kinds = Counter(f.kind for f in faults.found if f.firings)
    return {"events": len(sent), "deploys": len(truth["deploys"]), "alerts": len(firings)} | dict(kinds)


def _shown(s: world.Service, family: Family, rng: Random) -> dict[str, Any]:
    needs = [n for n in s.needs if rng.random() >= family.edges_missing]
    apps = [f"{s.name}-{e}" for e in ("dev", "qa", "staging", "production")] if s.argocd else []
    return {
        "name": s.name, "team": s.team, "tier": s.tier, "depends_on": needs,
        "gitlab_project": s.project, "argocd_apps": apps,
    }  # fmt: skip


def _dump(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Parse the arguments, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval.fleet", description=__doc__)
    parser.add_argument("--family", choices=sorted(FAMILIES), default="baseline")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    print(json.dumps(write(FAMILIES[given.family], given.seed, given.out)))


if __name__ == "__main__":
    main()
