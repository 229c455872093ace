"""``router routes``: the tree as people read it, and where an alert goes, with an exit code for CI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
RULES = str(ROOT / "rules")


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["routes", *args])


def test_the_shipped_tree_is_drawn() -> None:
    """Each route stands on a line with its matchers and receiver, below the one it belongs to."""
    result = run("show", "--rules", RULES)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "root -> default"
    assert '├── nobody {severity="none"} -> nobody' in lines
    assert any(line.startswith("│   └── chat-only {") for line in lines)
    told = json.loads(run("show", "--rules", RULES, "-o", "json").output)
    assert told["route"]["id"] == "root"


def test_an_alert_goes_where_production_sends_it() -> None:
    """Receivers come first, then each route with its group and severity."""
    labels = ("service=payment-service", "severity=page", "alertname=Slow", "pod=x", "env=prod")
    result = run("test", "--rules", RULES, *labels)
    assert result.exit_code == 0
    first, second = result.output.splitlines()
    assert first == "payments-oncall"
    assert second == (
        "  root/payments -> payments-oncall: critical, "
        "grouped by alertname='Slow', service='payment-service', env='prod'"
    )
    told = json.loads(run("test", "--rules", RULES, "-o", "json", *labels).output)
    assert told["receivers"] == ["payments-oncall"]
    assert told["routes"][0]["team"] == "payments"
    assert told["routes"][0]["environment"] == "prod"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("payments-oncall", 0),
        (" payments-oncall ", 0),
        ("default", 1),
        ("payments-oncall,default", 1),
        ("", 1),
    ],
)
def test_a_wrong_receiver_fails(wanted: str, code: int) -> None:
    """With --verify.receivers the exit code says whether the alert goes to just those."""
    result = run("test", "--rules", RULES, "service=payment-service", f"--verify.receivers={wanted}")
    assert result.exit_code == code
    assert ("expected" in result.output) == bool(code)


@pytest.mark.parametrize("label", ["nonsense", "=x", ""])
def test_what_is_no_label_is_refused(label: str) -> None:
    """A word without an equals sign, or without a name, is a mistake and no label."""
    result = run("test", "--rules", RULES, label)
    assert result.exit_code == 2
    assert "write name=value" in result.output


def test_a_label_given_twice_is_refused() -> None:
    """Which of two values was meant cannot be known."""
    assert run("test", "--rules", RULES, "a=1", "a=2").exit_code == 2


def test_an_empty_label_is_none() -> None:
    """A label without a value is as if it were not there, as at Alertmanager."""
    assert run("test", "--rules", RULES, "severity=").output.splitlines()[0] == "default"


def test_rules_that_do_not_load_are_told(tmp_path: Path) -> None:
    """Broken rules end with their problems and exit code 1."""
    (tmp_path / "routes.yaml").write_text("route: {receivr: x}\n")
    for command in ("show", "test"):
        result = run(command, "--rules", str(tmp_path))
        assert result.exit_code == 1
        assert "receivr" in result.output
