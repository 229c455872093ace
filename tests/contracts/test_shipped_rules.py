"""The shipped rules do what they promise: their own tests, as ``router test`` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.app import load_rules
from router.drivers import notifier_specs
from router.rulebook import scenarios as files
from router.rulebook.scenarios import Scenario
from router.work import scenarios

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "rules" / "tests").glob("*.yaml"))


def _tests() -> list[tuple[str, Scenario]]:
    found: list[tuple[str, Scenario]] = []
    for path in FILES:
        suite, problems = files.read(path.read_bytes(), path.name)
        assert suite is not None, [str(p) for p in problems]
        found += [(f"{path.stem}: {test.name}", test) for test in suite.tests]
    return found


TESTS = _tests()


def test_there_are_tests() -> None:
    """Routing, deploys and muting each have a file, so the test below is not empty."""
    assert {"routing", "deploys", "muting"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("scenario", [t for _, t in TESTS], ids=[name for name, _ in TESTS])
def test_the_shipped_rules_pass(scenario: Scenario) -> None:
    """Nothing is otherwise than the test expects."""
    book = load_rules(ROOT / "rules")
    assert [f.text for f in scenarios.run(scenario, book, notifier_specs())] == []


def test_the_rules_do_not_read_their_tests() -> None:
    """A folder below the rules belongs to nobody but ``router test``."""
    book = load_rules(ROOT / "rules")
    assert book.root.receiver == "default"
