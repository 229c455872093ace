"""``router test``: files in, a table, JSON or JUnit XML out, and an exit code for CI."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from router import test_commands

ROOT = Path(__file__).resolve().parents[2]
RULES = """
route: {receiver: ops, group_by: [alertname]}
receivers: [{name: ops, log_configs: [{}]}]
"""
GOOD = """
tests:
  - name: good one
    route_test: [{labels: {alertname: X}, exp_receivers: [ops]}]
"""
BAD = """
tests:
  - name: "bad \\x01 <one> & \\"more\\""
    route_test:
      - {labels: {alertname: X}, exp_receivers: [nobody]}
    incident_test:
      - {eval_time: 90s, exp_incidents: [{labels: {alertname: Y}}]}
  - name: good two
    page_test: [{eval_time: 0s, exp_sent: []}]
"""


def write(folder: Path, **files: str) -> list[str]:
    """Write a folder of rules with tests below it; return the files of tests."""
    tests = folder / "rules" / "tests"
    tests.mkdir(parents=True)
    (folder / "rules" / "all.yaml").write_text(RULES)
    for name, text in files.items():
        (tests / f"{name}.yaml").write_text(text)
    return [str(tests / f"{name}.yaml") for name in files]


def run(*args: str) -> Result:
    return CliRunner().invoke(test_commands.test, args)


def test_all_that_passes_is_a_line_each(tmp_path: Path) -> None:
    """Exit code 0, a line for each test and a sum."""
    (file,) = write(tmp_path, one=GOOD)
    result = run(file)
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        [f"ok      {file}: good one", "1 passed, 0 failed"],
    )


def test_what_fails_says_where_and_what(tmp_path: Path) -> None:
    """Exit code 1; below the test stand line, path and time of each expectation, and both sides of it."""
    good, bad = write(tmp_path, one=GOOD, two=BAD)
    result = run(good, bad, good)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[2:5] == [
        f"        {bad}:5: route_test[0]",
        '          an alert with alertname="X": receivers',
        "            expected nobody",
    ]
    assert f"        {bad}:7: incident_test[0].exp_incidents[0] at 1m30s" in lines
    assert lines[-2:] == [f"ok      {bad}: good two", "2 passed, 1 failed"]


def test_json_is_for_programs(tmp_path: Path) -> None:
    """The same as one object."""
    result = run(*write(tmp_path, two=BAD), "-o", "json")
    said = json.loads(result.stdout)
    assert (result.exit_code, said["passed"], said["failed"], said["problems"]) == (1, 1, 1, [])
    first, second = said["tests"]
    assert (first["passed"], second["passed"], second["failures"]) == (False, True, [])
    assert first["failures"][1].keys() == {"line", "path", "at", "text"}
    assert (first["failures"][1]["at"], first["failures"][1]["line"]) == ("1m30s", 7)


def test_junit_is_valid_whatever_the_names_hold(tmp_path: Path) -> None:
    """A suite for each file, a case for each test, and control characters written out."""
    good, bad = write(tmp_path, one=GOOD, two=BAD)
    out = tmp_path / "out.xml"
    assert run(good, bad, "--junit", str(out)).exit_code == 1
    root = ET.fromstring(out.read_bytes())  # noqa: S314  our own
    counts = [(s.get("tests"), s.get("failures"), s.get("errors")) for s in root]
    assert counts == [("1", "0", "0"), ("2", "1", "0")]
    case = root[1][0]
    assert case.get("name") == 'bad \\x{1} <one> & "more"'
    assert [f.tag for f in case] == ["failure", "failure"]
    assert "expected nobody" in (case[0].text or "")
    assert float(case.get("time", "")) >= 0


def test_junit_tells_of_files_that_are_wrong(tmp_path: Path) -> None:
    """A file that cannot be read is an error there, too."""
    good, bad = write(tmp_path, one=GOOD, two="tests: [{name: x}]")
    out = tmp_path / "out.xml"
    result = run(good, bad, "--junit", str(out))
    assert result.exit_code == 1
    assert "expects nothing" in result.stderr
    assert "1 passed, 0 failed" in result.stdout
    suites = {s.get("name"): s for s in ET.fromstring(out.read_bytes())}  # noqa: S314  our own
    assert suites[bad].get("errors") == "1"
    assert suites[bad][0][0].tag == "error"


def test_a_report_that_cannot_be_written_is_no_success(tmp_path: Path) -> None:
    """Where the XML has no place, the command fails with a sentence."""
    result = run(*write(tmp_path, one=GOOD), "--junit", str(tmp_path / "no" / "out.xml"))
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize(
    ("pattern", "code", "word"),
    [
        ("good", 0, "2 passed"),
        ("one$", 1, "1 passed"),
        ("^good two$", 0, "1 passed"),
        ("none", 1, "like that"),
    ],
)
def test_tests_are_chosen_by_name(tmp_path: Path, pattern: str, code: int, word: str) -> None:
    """--run is a regular expression that is found in the name; where it finds none, nothing has passed."""
    bad = BAD.replace(
        "  - name: good two",
        "  - name: 'bad one'\n    route_test: [{labels: {a: b}, exp_receivers: [x]}]\n  - name: good two",
    )
    result = run(*write(tmp_path, one=GOOD, two=bad), "--run", pattern)
    assert (result.exit_code, word in result.output) == (code, True), result.output


def test_wrong_usage_is_another_code() -> None:
    """No file, and what is no regular expression, end with 2."""
    assert run().exit_code == 2
    result = run("x.yaml", "--run", "(?=x)")
    assert (result.exit_code, "not a regular expression" in result.output) == (2, True)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A pattern that the shell could not fill does not pass for success."""
    result = run(str(tmp_path / "*.yaml"))
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr


def test_no_test_is_no_success(tmp_path: Path) -> None:
    """A file without tests cannot fail, so it may not pass."""
    result = run(*write(tmp_path, one="tests: []"))
    assert result.exit_code == 1
    assert "no test in these files" in result.stderr


def test_wrong_rules_are_told_once(tmp_path: Path) -> None:
    """What is wrong with the rules is said with its place, once for all files that test them."""
    files = write(tmp_path, one=GOOD, two=BAD)
    (tmp_path / "rules" / "all.yaml").write_text(RULES.replace("receiver: ops", "receiver: opps"))
    result = run(*files)
    assert result.exit_code == 1
    assert result.stderr.count("rules/all.yaml:2: route.receiver") == 1
    assert "0 passed, 0 failed" in result.stdout


def test_the_folder_of_rules_may_be_another(tmp_path: Path) -> None:
    """``rules`` is taken from the file on."""
    (file,) = write(tmp_path, one=GOOD)
    moved = tmp_path / "checks.yaml"
    moved.write_text("rules: rules\n" + Path(file).read_text())
    assert run(str(moved)).exit_code == 0


def test_the_shipped_rules_are_tested(tmp_path: Path) -> None:
    """The command of the docs passes on the shipped files."""
    result = run(*map(str, sorted((ROOT / "rules" / "tests").glob("*.yaml"))))
    assert result.exit_code == 0, result.output


def test_the_documents_example_runs(tmp_path: Path) -> None:
    """The example of the page passes for the shipped rules, as it stands there."""
    page = (ROOT / "docs" / "how-to" / "test-rules.md").read_text()
    example = page.partition("```yaml\n")[2].partition("```")[0]
    file = tmp_path / "example.yaml"
    file.write_text(f"rules: {ROOT / 'rules'}\n{example}")
    result = run(str(file))
    assert result.exit_code == 0, result.output
    assert "2 passed" in result.stdout
