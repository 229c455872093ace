"""Run every measurement, print the budgets, and keep the numbers: ``python -m tests.bench --out DIR``."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import attributing, deciding, intake, memory, paging, processes, report, routing, starting

SECTIONS = {
    "decide": deciding.measure,
    "attribution": attributing.measure,
    "routing": routing.measure,
    "start": starting.measure,
    "paging": paging.measure,
    "memory": memory.measure,
    "intake": intake.measure,
}
#: Bounds of a whole run, in seconds.
LONG_S, SHORT_S = 470, 58


def say(line: str) -> None:
    """Tell of progress."""
    print(line, file=sys.stderr, flush=True)


async def run(names: list[str], *, short: bool) -> dict[str, Any]:
    """Return results by key, and errors by section; one section's failure does not end the others."""
    results: dict[str, float] = {}
    errors: dict[str, str] = {}
    until = time.monotonic() + (SHORT_S if short else LONG_S)
    for name in names:
        started = time.monotonic()
        try:
            async with asyncio.timeout(until - started):
                found = SECTIONS[name](say, short=short)
                results |= await found if inspect.isawaitable(found) else found
        except (processes.Failure, TimeoutError, OSError) as exc:
            errors[name] = str(exc)[:500] or type(exc).__name__
            say(f"{name}: FAILED: {errors[name]}")
        say(f"-- {name}: {time.monotonic() - started:.0f} s")
    return {"results": results, "errors": errors}


def main() -> int:
    """Parse the arguments, run, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder to write bench.json to")
    parser.add_argument(
        "--short", action="store_true", help="smaller counts: under a minute, numbers mean little"
    )
    parser.add_argument(
        "--only", action="append", choices=sorted(SECTIONS), help="this section; may be repeated"
    )
    given = parser.parse_args()
    found = uvloop.run(run(given.only or list(SECTIONS), short=given.short))
    results = found["results"]
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    print(f"\n{machine}{', short run' if given.short else ''}\n\n{report.table(results)}\n")
    if processes.alertmanager_binary() is None:
        print(
            "Alertmanager is not installed: the ratios to it are missing (Debian: prometheus-alertmanager)."
        )
    for name, error in found["errors"].items():
        print(f"{name} failed: {error}")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        whole = {"machine": machine, "short": given.short, **found, "budgets": report.judged(results)}
        (given.out / "bench.json").write_text(json.dumps(whole, indent=2) + "\n")
    return 1 if found["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
