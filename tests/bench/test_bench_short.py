"""The short run of the benchmark, so that it does not rot; no figure is judged here."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import report
from tests.bench.processes import alertmanager_binary

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(90)
def test_short_run_measures_everything(tmp_path: Path) -> None:
    """The short run ends well and writes bench.json with a finite figure for every budget."""
    command = [sys.executable, "-m", "tests.bench", "--short", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=85, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["errors"] == {}
    rows = {row["name"]: row for row in found["budgets"]}
    assert list(rows) == [budget.name for budget in report.BUDGETS]
    for name, row in rows.items():
        if "Alertmanager" in name and alertmanager_binary() is None:
            continue
        assert math.isfinite(row["value"]), name
        assert math.isfinite(row["ratio"]), name


def test_a_missing_peer_leaves_its_rows_open() -> None:
    """Without Alertmanager the router's figures are still shown, and the ratios are said to be missing."""
    text = report.table({"router_fresh_64": 12_345.0})
    assert "12,345 alerts/s | - |  | not measured" in text
