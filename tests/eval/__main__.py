"""Judge which deploy the product blames: ``make eval``, ``make eval SCENARIOS=path``, ``make eval OUT=dir``.

Without SCENARIOS it draws its own: the baseline, the shifted families and two of a second generator, from
seeds that nothing was tuned on. Each scenario is fed to the running product over HTTP; what it thinks is
read from its API.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop

from router.kit import logs
from tests.eval import cases, feed, report, scenario, second
from tests.eval.fleet.__main__ import write
from tests.eval.fleet.knobs import FAMILIES

#: Seeds that are reported on. Those below 100 are for tuning.
SEEDS = {"baseline": range(100, 108)}
OTHER_SEEDS = range(100, 104)
TUNING = range(8)
#: Of a second generator, independent of the first one and of the scorer; nothing is tuned on them.
SECOND = {f"second-{n}": replace(second.FAMILIES[n], name=f"second-{n}") for n in ("baseline", "storm")}
DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> int:
    """Parse the arguments, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("build/eval"), help="folder for report.json and plots"
    )
    parser.add_argument("--scenarios", type=Path, help="folders with events.jsonl, services.json, truth.json")
    parser.add_argument(
        "--families",
        nargs="*",
        choices=sorted([*FAMILIES, *SECOND]),
        help="of those drawn here: these only",
    )
    parser.add_argument("--seeds", type=int, nargs="*", help="these only")
    parser.add_argument("--tuning", action="store_true", help="the seeds for tuning")
    parser.add_argument("--workers", type=int, default=1, help="router processes for each scenario")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="scenarios at the same time")
    parser.add_argument("--docs", action="store_true", help="write the page and plots in docs/ anew")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        folders = scenario.find(given.scenarios) if given.scenarios else _drawn(given)
        worlds, threshold, seconds = _run(folders, given)
    except (scenario.BadScenario, feed.Failure) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    whole = report.build(worlds, threshold) | {"seconds": round(seconds)}
    (given.out / "report.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    (given.out / "report.md").write_text(report.markdown(whole), encoding="utf-8")
    _plots(whole, given.out)
    if given.docs:
        _docs(whole)
    print("\n" + report.table(whole))
    for name, one in whole["families"].items():
        for line in report.behind(one):
            print(f"not ahead in {name}: {line}")
    print(f"\nwrote {given.out}/report.json, report.md and plots; {seconds:.0f} s")
    return 0


def _drawn(given: argparse.Namespace) -> list[Path]:
    """Write the scenarios of our own families, and of the second generator; return their folders."""
    folders = []
    for name in given.families or (*FAMILIES, *SECOND):
        seeds = given.seeds or (TUNING if given.tuning else SEEDS.get(name, OTHER_SEEDS))
        for seed in seeds:
            folder = given.out / "scenarios" / f"{name}-{seed}"
            if name in SECOND:
                second.write(second.generate(SECOND[name], seed), folder)
            else:
                write(FAMILIES[name], seed, folder)
            folders.append(folder)
    return folders


def _run(folders: list[Path], given: argparse.Namespace) -> tuple[list[cases.World], float, float]:
    """Feed every scenario, some at a time, with a line on each."""
    started, done = time.monotonic(), 0
    answers: dict[Path, dict[str, Any]] = {}
    with ProcessPoolExecutor(max_workers=min(given.jobs, len(folders))) as pool:
        waiting = {pool.submit(one, folder, given.workers): folder for folder in folders}
        for future in as_completed(waiting):
            folder = waiting[future]
            answers[folder] = found = future.result()
            done += 1
            words = (
                f"{found['sent']} requests ({found['refused']} refused), {len(found['incidents'])} incidents"
            )
            took = f"{time.monotonic() - started:.0f} s"
            print(f"{done}/{len(folders)}  {folder.name:<24} {words}  {took}", file=sys.stderr, flush=True)
    worlds = []
    for n, folder in enumerate(folders):
        name = str(folder.relative_to(given.scenarios)) if given.scenarios else folder.name
        name = name if name != "." else folder.name
        truth, services = scenario.read(folder, "truth.json"), scenario.read(folder, "services.json")
        worlds.append(cases.world(name, truth, services, answers[folder]))
        file = given.out / "answers" / f"{n:03}-{folder.name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(answers[folder], indent=1) + "\n", encoding="utf-8")
    return worlds, answers[folders[0]]["threshold"], time.monotonic() - started


def one(folder: Path, workers: int) -> dict[str, Any]:
    """Return the answers to one scenario; runs in a process of its own."""
    logs.configure(style="console", level="error")
    return uvloop.run(feed.run(folder, workers=workers))


def _plots(whole: dict[str, Any], out: Path) -> None:
    from tests.eval import plots  # noqa: PLC0415  matplotlib takes a second that --help need not wait for

    plots.draw(whole, out)


def _docs(whole: dict[str, Any]) -> None:
    """Write the measured part of docs/reference/attribution.md anew, and its plots."""
    page = DOCS / "reference" / "attribution.md"
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- measured: begin -->", "<!-- measured: end -->"
    head, _, rest = text.partition(begin)
    tail = rest.partition(end)[2]
    page.write_text(f"{head}{begin}\n\n{report.markdown(whole)}\n{end}{tail}", encoding="utf-8")
    _plots(whole, DOCS / "reference" / "attribution")


if __name__ == "__main__":
    sys.exit(main())
