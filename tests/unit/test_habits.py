"""Habits that no linter knows: tests say what they promise, drivers have tests and a row in the docs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from router.kit import loader

ROOT = Path(__file__).resolve().parents[2]


def test_each_test_says_what_it_promises() -> None:
    """Every test function opens with a sentence."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").strip()
    ]
    assert silent == []


@pytest.mark.parametrize(("room", "page"), [("sources", "sources.md"), ("notify", "notifiers.md")])
def test_each_driver_has_tests_and_a_row(room: str, page: str) -> None:
    """A kind without a test file or a row in its reference page is refused."""
    text = (ROOT / "docs" / "reference" / page).read_text("utf-8")
    for kind in loader.kinds(f"router.{room}"):
        assert (ROOT / "tests" / "unit" / room / f"test_{kind}.py").is_file(), f"no unit test for {kind}"
        assert f"`{kind}`" in text, f"docs/reference/{page} has no row for {kind}"


def test_files_stay_small() -> None:
    """No file of the product passes 400 lines."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "router").rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}
