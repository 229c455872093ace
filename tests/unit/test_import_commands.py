"""``router import``: rules on standard output or in a folder, all of them or none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from router.app import load_rules
from router.import_commands import import_

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
global: {resolve_timeout: 5m}
route: {receiver: pager, routes: [{match: {severity: info}, receiver: nobody}]}
inhibit_rules: [{source_matchers: [a=b], target_matchers: [c=d]}]
receivers: [{name: pager, pagerduty_configs: [{routing_key: HUSH}]}, {name: nobody}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "alertmanager.yml"
    file.write_text(CONFIG)
    return file


def run(*args: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(import_, [str(arg) for arg in args], input=stdin)


def is_told(result: Result, *words: str, code: int) -> None:
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    for word in words:
        assert word in result.output
    assert "HUSH" not in result.output


def test_what_is_printed_is_a_file_of_rules(config: Path, tmp_path: Path) -> None:
    """One text with all sections, and the notes apart from it."""
    result = run(config)
    assert result.exit_code == 0
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "all.yaml").write_text(result.stdout)
    book = load_rules(tmp_path / "rules")
    assert [route.receiver for route in book.route({"severity": "info"})] == ["nobody"]
    assert "note: alertmanager.yml:1: global: not taken over: resolve_timeout" in result.stderr
    assert "2 routes, 2 receivers, 1 inhibit rules; 3 note(s)" in result.stderr
    assert "set before the start: PAGERDUTY_PAGER_ROUTING_KEY" in result.stderr
    assert "HUSH" not in result.output


def test_standard_input_is_read(config: Path) -> None:
    """``-`` is the same as the file, but for its name."""
    assert run("-", stdin=CONFIG).stdout == run(config).stdout.replace("alertmanager.yml", "stdin")


def test_a_folder_gets_the_files(config: Path, tmp_path: Path) -> None:
    """A new folder with three files, that loads; the command tells what to do next."""
    out = tmp_path / "new" / "rules"
    result = run(config, "--out", out)
    assert result.exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == ["muting.yaml", "receivers.yaml", "routes.yaml"]
    assert len(load_rules(out).muting.inhibit_rules) == 1
    assert f"next: router routes show --rules {out}" in result.stderr
    assert result.stdout == ""


def test_what_is_there_stays(config: Path, tmp_path: Path) -> None:
    """Files of the same names are replaced only by --force; others stay as they are."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "routes.yaml").write_text("# mine\n")
    (tmp_path / "rules" / "services.yaml").write_text("services: [{name: pay}]\n")
    is_told(run(config, "--out", tmp_path / "rules"), "already has routes.yaml; say --force", code=2)
    assert (tmp_path / "rules" / "routes.yaml").read_text() == "# mine\n"
    assert run(config, "--out", tmp_path / "rules", "--force").exit_code == 0
    assert set(load_rules(tmp_path / "rules").services) == {"pay"}
    assert not list((tmp_path / "rules").glob(".*"))


def test_a_folder_that_would_not_load_is_left_alone(config: Path, tmp_path: Path) -> None:
    """Its other files have a route already: told with their names, and nothing is written."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.yaml").write_text("route: {receiver: nobody}\n")
    result = run(config, "--out", tmp_path / "rules")
    is_told(result, "route also stands in rules/mine.yaml", "nothing was written", code=1)
    assert [p.name for p in (tmp_path / "rules").iterdir()] == ["mine.yaml"]


def test_mistakes_are_told_for_people_and_programs(tmp_path: Path) -> None:
    """Each problem in its line; exit code 1."""
    file = tmp_path / "am.yml"
    file.write_text(CONFIG.replace("{severity: info}", "[severity]").replace("{name: nobody}", "{}"))
    is_told(run(file), "am.yml:2: route.routes[0].match: this must be keys", "2 problem(s)", code=1)
    answer = json.loads(run(file, "-o", "json").stdout)
    assert answer["ok"] is False
    assert {p["line"] for p in answer["problems"]} == {2, 4}


def test_json_has_all_of_it(config: Path, tmp_path: Path) -> None:
    """Files, notes, variables and counts, whether written or not."""
    for out in (None, tmp_path / "rules"):
        answer = json.loads(run(config, "-o", "json", *(["--out", out] if out else [])).stdout)
        assert answer["folder"] == (str(out) if out else None)
        assert set(answer["files"]) == {"receivers.yaml", "routes.yaml", "muting.yaml"}
        assert answer["environment"] == ["PAGERDUTY_PAGER_ROUTING_KEY"]
        assert answer["counts"] == {"routes": 2, "receivers": 2, "inhibit rules": 1}
        assert [note["line"] for note in answer["notes"]] == [1, 2, 4]


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """A missing file, a folder, a place that cannot be written to: a sentence each."""
    is_told(run(tmp_path / "none.yml"), "is not a file", code=2)
    is_told(run(tmp_path), "is not a file", code=2)
    (tmp_path / "file").write_text("")
    (tmp_path / "am.yml").write_text(CONFIG)
    is_told(run(tmp_path / "am.yml", "--out", tmp_path / "file" / "rules"), "Not a directory", code=1)
