"""Write scenarios: ``python -m tests.eval.second --family baseline --seed 3 --out DIR``."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.eval.second import FAMILIES, generate, write


def main() -> None:
    """Write one scenario into a folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval.second", description=__doc__)
    parser.add_argument("--family", choices=sorted(FAMILIES), default="baseline")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the folder; made if it is missing")
    chosen = parser.parse_args()
    scenario = generate(FAMILIES[chosen.family], chosen.seed)
    write(scenario, chosen.out)
    print(f"{chosen.out}: {chosen.family}/{chosen.seed}, {len(scenario.events)} requests")


if __name__ == "__main__":
    main()
