"""Fuzz every source in turn, each in a process of its own, for a share of the time.

``python -m tests.fuzz --seconds 120 [kind ...]``. Ends with 1 where a source raised anything but its typed
refusal, told two things of one delivery, took more than 5 s or 1 GiB; the input is kept below
``build/fuzz/<kind>/``. What was learnt there is used again by the next run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from router.kit import loader

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="for all sources together")
    parser.add_argument("kinds", nargs="*", help="only these sources")
    asked = parser.parse_args()
    kinds = asked.kinds or loader.kinds("router.sources")
    share = max(2, asked.seconds // len(kinds))
    failed = []
    print(f"{'source':<16} {'runs':>10} {'edges':>8}  result", flush=True)
    for kind in kinds:
        runs, edges, ok = fuzz(kind, share)
        print(f"{kind:<16} {runs:>10} {edges:>8}  {'ok' if ok else 'FAILED'}", flush=True)
        if not ok:
            failed.append(kind)
    return 1 if failed else 0


def fuzz(kind: str, seconds: int) -> tuple[str, str, bool]:
    """Return (executions, edges covered, whether nothing was found)."""
    kept = ROOT / "build" / "fuzz" / kind
    (kept / "corpus").mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "tests" / "payloads" / kind
    command = [
        sys.executable, "-m", "tests.fuzz.one", kind, str(kept / "corpus"), str(seeds),
        f"-max_total_time={seconds}", f"-artifact_prefix={kept}/", "-timeout=5", "-rss_limit_mb=1024",
        "-max_len=65536", "-print_final_stats=1",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + 120
    )
    (kept / "last.log").write_text(done.stderr)
    if done.returncode != 0:
        print(done.stderr[-3000:], file=sys.stderr)
    runs = re.findall(r"number_of_executed_units:\s*(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    return runs[-1] if runs else "?", edges[-1] if edges else "?", done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
