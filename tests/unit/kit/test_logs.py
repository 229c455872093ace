"""What the log may not show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import structlog
from router.kit import logs

def deliver(authorization, body):
    raise ValueError("it failed")

logs.configure(style={style!r}, level="info")
try:
    deliver("Bearer " + "2retnuh"[::-1], {{"token": "2retnuh"[::-1]}})
except ValueError as exc:
    {call}
"""


@pytest.mark.parametrize("style", ["console", "json"])
@pytest.mark.parametrize(
    "call",
    ["structlog.get_logger().exception('failed')", "structlog.get_logger().error('failed', exc_info=exc)"],
)
def test_a_traceback_holds_no_values_of_variables(style: str, call: str) -> None:
    """An exception is logged with its lines of code and without what its variables hold."""
    code = CODE.format(style=style, call=call)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env={"FORCE_COLOR": "1", "COLUMNS": "200"},
    )  # fmt: skip
    assert "ValueError: it failed" in done.stderr
    assert "in deliver" in done.stderr
    assert "hunter2" not in done.stderr
    assert done.stdout == ""
