"""The benchmark itself must run; its figures are not asserted here, for timings do not belong in a test suite."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import need

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(180)
async def test_the_short_form_measures_every_budget(tmp_path: Path) -> None:
    """The short form ends well and writes a figure for each budget, with its ratio."""
    need("prometheus-alertmanager", "alertmanager")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench", "--short", "--out", str(tmp_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()[-3000:]
    report = json.loads((tmp_path / "bench.json").read_text())
    text = json.dumps(report)
    for word in ("intake", "webhook to commit", "PagerDuty", "Redis memory", "decide", "start to ready"):
        assert word in text
