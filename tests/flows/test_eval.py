"""The evaluation in its short form: a small fleet's day, fed to a running router, and judged."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.eval import feed
from tests.eval.fleet.__main__ import write
from tests.eval.fleet.knobs import BASELINE

ROOT = Path(__file__).resolve().parents[2]
SMALL = replace(
    BASELINE, name="small", days=1, services=16, bad=0.12, background=6.0, flappers=1, flaps=4.0, deploys=1.0
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small scenario, for all tests here."""
    made = tmp_path_factory.mktemp("small")
    write(SMALL, 3, made)
    return made


def thought(answers: dict[str, Any]) -> list[Any]:
    return [
        (i["id"], i["opened_at"], i["resolved_at"], i["alerts"], i["verdicts"]) for i in answers["incidents"]
    ]


@pytest.mark.timeout(120)
async def test_the_same_scenario_gives_the_same_verdicts_whatever_the_number_of_workers(folder: Path) -> None:
    """One router and three that share the partitions think the same of every incident, at the same times."""
    one, three = await feed.run(folder), await feed.run(folder, workers=3)
    assert len(one["incidents"]) > 10
    assert any(i["verdicts"] for i in one["incidents"])
    assert thought(one) == thought(three)
    assert (one["refused"], three["refused"]) == (0, 0)


@pytest.mark.timeout(120)
def test_anybodys_scenarios_are_judged(folder: Path, tmp_path: Path) -> None:
    """The command finds folders it has never seen, and writes the report, its plots and the answers."""
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "tests.eval",
        "--scenarios",
        str(folder),
        "--out",
        str(out),
        "--jobs",
        "1",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    whole = json.loads((out / "report.json").read_text())
    assert list(whole["families"]) == ["small"]
    final = whole["pooled"]["final"]
    assert final["incidents"] > 10
    assert final["observable"] > 0
    assert final["top1"] is not None
    assert "Incident Router" in done.stdout
    for name in ("reliability.png", "precision_recall.png", "families.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert len(list((out / "answers").iterdir())) == 1


def test_a_folder_without_scenarios_is_said(tmp_path: Path) -> None:
    """A mistake is one line and exit code 2."""
    command = [
        sys.executable,
        "-m",
        "tests.eval",
        "--scenarios",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == [
        f"error: {tmp_path}: no folder at or below it holds events.jsonl"
    ]
