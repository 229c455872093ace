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


# --- relabelling ------------------------------------------------------------------------------------

RELABELLED = """
route:
  receiver: d
  routes: [{name: pay, matchers: [service=pay], receiver: p, severity_map: {critical: info}}]
receivers: [{name: d}, {name: p}]
relabel_configs:
  - {source_labels: [severity], regex: debug, action: drop}
  - {source_labels: [app], regex: (.+), target_label: service}
"""


@pytest.fixture
def relabelled(tmp_path: Path) -> str:
    """Return a folder whose rules rewrite labels."""
    (tmp_path / "all.yaml").write_text(RELABELLED)
    return str(tmp_path)


def test_labels_are_rewritten_first(relabelled: str) -> None:
    """The tree is asked with the labels that production asks it with; the severity is the route's."""
    told = json.loads(run("test", "--rules", relabelled, "-o", "json", "app=pay", "severity=page").output)
    assert told["receivers"] == ["p"]
    assert (told["routes"][0]["service"], told["routes"][0]["severity"]) == ("pay", "info")


@pytest.mark.parametrize(
    ("args", "code", "verified"),
    [([], 1, None), (["--verify.receivers="], 0, True), (["--verify.receivers=d"], 1, False)],
    ids=["nothing expected", "nobody expected", "somebody expected"],
)
def test_a_dropped_alert_reaches_nobody(
    relabelled: str, args: list[str], code: int, *, verified: bool | None
) -> None:
    """It is said that relabelling drops it; only where nobody is expected that is right."""
    result = run("test", "--rules", relabelled, "severity=debug", *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert "drop this alert" in result.stderr
    result = run("test", "--rules", relabelled, "severity=debug", "-o", "json", *args)
    assert result.exit_code == code
    told = json.loads(result.stdout)
    assert (told["receivers"], told["routes"], told.get("verified")) == ([], [], verified)


# --- coverage ---------------------------------------------------------------------------------------


def captured(folder: Path, *labels: dict[str, str]) -> str:
    """Write a file as router capture does; return its name."""
    body = json.loads((ROOT / "tests/payloads/alertmanager/firing.json").read_text("utf-8"))
    first = body["alerts"][0]
    body["alerts"] = [first | {"labels": a, "fingerprint": f"{n:016x}"} for n, a in enumerate(labels)]
    path = folder / "week.jsonl"
    with path.open("a") as file:
        file.write(json.dumps({"path": "/webhooks/alertmanager", "headers": {}, "body": body}) + "\nodd\n\n")
    return str(path)


def test_coverage_says_what_was_reached(relabelled: str, tmp_path: Path) -> None:
    """Routes come with how many alerts they took, the busiest first, then those that nothing reached."""
    file = captured(tmp_path, {"app": "pay"}, {"app": "pay", "pod": "2"}, {"severity": "debug"})
    result = run("coverage", file, "--rules", relabelled)
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "3 different alerts in 2 deliveries, 1 unreadable",
        "        2  root/pay",
        "        -  root",
        "1 of 2 routes reached, 50.0 %",
        "1 alerts were dropped by relabel_configs",
    ]
    told = json.loads(run("coverage", file, "--rules", relabelled, "-o", "json").output)
    assert told == {
        "deliveries": 2, "unreadable": 1, "alerts": 3, "dropped": 1,
        "percent": 50.0, "routes": {"root/pay": 2}, "unused": ["root"],
    }  # fmt: skip


@pytest.mark.parametrize(("least", "code"), [("50", 0), ("50.1", 1), ("0", 0), ("100", 1), ("101", 2)])
def test_coverage_may_be_demanded(relabelled: str, tmp_path: Path, least: str, code: int) -> None:
    """Below what is demanded the command fails and says so; both files count together."""
    first = captured(tmp_path, {"app": "pay"})
    result = run("coverage", first, first, "--rules", relabelled, "--at-least", least)
    assert result.exit_code == code
    if code == 1:
        assert f"50.0 % is below {least} %" in result.stderr


def test_coverage_of_nothing_fails(relabelled: str, tmp_path: Path) -> None:
    """Files without a single alert cover nothing, whatever is demanded."""
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    result = run("coverage", str(empty), "--rules", relabelled)
    assert result.exit_code == 1
    assert "no alert was in these files" in result.stderr


def test_coverage_of_a_file_that_is_not_there(relabelled: str, tmp_path: Path) -> None:
    """It is named in a sentence."""
    result = run("coverage", str(tmp_path / "none.jsonl"), "--rules", relabelled)
    assert result.exit_code == 1
    assert "none.jsonl cannot be read: No such file or directory" in result.stderr
