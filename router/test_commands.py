"""``router test``: runs the tests of rules that stand in files, by production's own functions.

The format is in docs/how-to/test-rules.md. Nothing is sent anywhere and no running router is asked. Exit
code 0: all passed; 1: a test failed, or a file or the rules are not right; 2: wrong usage.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import click

from router.model.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.rulebook.book import Rulebook
    from router.rulebook.scenarios import Scenario, Suite
    from router.work.scenarios import Finding

#: What XML 1.0 cannot hold, or would change.
_NOT_XML: Final = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Failure:
    """A finding with its line; ``path`` as people write it."""

    line: int
    path: str
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class _Ran:
    """One test that was run."""

    file: str
    name: str
    seconds: float
    failures: tuple[_Failure, ...]


@dataclass(slots=True)
class _Report:
    """All that was run, and what is wrong with files."""

    ran: list[_Ran] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(1 for each in self.ran if each.failures)


@click.command("test")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--run", "wanted", default="", metavar="REGEX", help="Only tests whose name it is found in (RE2)."
)
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FILE",
    help="Write the results there, too, as JUnit XML.",
)  # fmt: skip
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="For people or for programs.",
)
def test(files: Sequence[Path], wanted: str, junit: Path | None, output: str) -> None:
    """Test the rules: what happens in FILES, and what must come of it.

    The whole way from alerts and deploys to pages is gone by the functions of the running router, in a
    time of its own. Nothing is sent.

    Example: router test rules/tests/*.yaml --junit rules.xml
    """
    report = _run(files, _chosen(wanted))
    if not report.ran and not report.problems:
        text = "no test is called like that" if wanted else "there is no test in these files"
        click.echo(f"{text}: what tests nothing cannot pass", err=True)
        sys.exit(1)
    if output == "json":
        _print_json(report)
    else:
        _print_table(report)
    for problem in report.problems:
        click.echo(str(problem), err=True)
    if junit is not None:
        try:
            junit.write_bytes(_junit(report))
        except OSError as exc:
            click.echo(f"{junit} cannot be written: {exc.strerror}", err=True)
            sys.exit(1)
    sys.exit(1 if report.failed or report.problems else 0)


def _chosen(pattern: str) -> Callable[[str], bool]:
    """Return whether a test of that name is to be run."""
    from router.rulebook import matchers  # noqa: PLC0415  --help need not load it

    try:
        found = matchers.compiled_regex(pattern)
    except matchers.MatcherError as exc:
        raise click.UsageError(f"--run: {exc}") from None
    return lambda name: found.search(name.encode("utf-8", "replace")) is not None


def _run(files: Sequence[Path], chosen: Callable[[str], bool]) -> _Report:
    """Run all tests of all files that are right; each folder of rules is read once."""
    from router.kit.clock import SystemClock  # noqa: PLC0415  --help need not load it

    report, clock = _Report(), SystemClock()
    books: dict[Path, Rulebook | None] = {}
    for path in dict.fromkeys(files):
        suite = _suite(path, report)
        tests = [t for t in suite.tests if chosen(t.name)] if suite is not None else []
        if suite is None or not tests:
            continue
        folder = (path.parent / (suite.rules or "..")).resolve()
        if folder not in books:
            books[folder] = _book(folder, report)
        if (book := books[folder]) is None:
            continue
        for scenario in tests:
            started = clock.monotonic()
            failures = _failures(scenario, suite, book)
            report.ran.append(
                _Ran(click.format_filename(path), scenario.name, clock.monotonic() - started, failures)
            )
    return report


def _suite(path: Path, report: _Report) -> Suite | None:
    from router.rulebook import scenarios, yaml_loader  # noqa: PLC0415  --help need not load them

    name = click.format_filename(path)
    try:
        with path.open("rb") as opened:  # one byte more than allowed shows that it is too large
            raw = opened.read(yaml_loader.MAX_BYTES + 1)
    except OSError as exc:
        text = f"the file cannot be read: {exc.strerror or type(exc).__name__}"
        report.problems.append(Problem(name, "", text, "check its name and permissions"))
        return None
    suite, found = scenarios.read(raw, name)
    report.problems += found
    return suite


def _book(folder: Path, report: _Report) -> Rulebook | None:
    from router.app import load_rules  # noqa: PLC0415  it imports every driver; --help need not

    try:
        return load_rules(folder)
    except ConfigError as exc:
        report.problems += exc.problems
        return None


def _failures(scenario: Scenario, suite: Suite, book: Rulebook) -> tuple[_Failure, ...]:
    from router.drivers import notifier_specs  # noqa: PLC0415  as above
    from router.work import scenarios  # noqa: PLC0415  as above

    return tuple(_failure(each, suite) for each in scenarios.run(scenario, book, notifier_specs()))


def _failure(finding: Finding, suite: Suite) -> _Failure:
    from router.rulebook import yaml_loader  # noqa: PLC0415  as above

    line = suite.document.line(finding.path)
    return _Failure(line, yaml_loader.show(finding.path[2:]), finding.at, finding.text)


# --- how it is told -------------------------------------------------------------------------------


def _print_table(report: _Report) -> None:
    for each in report.ran:
        click.echo(f"{'FAILED' if each.failures else 'ok':<6}  {each.file}: {each.name}")
        for failure in each.failures:
            for line in _lines(each, failure):
                click.echo(f"        {line}")
    click.echo(f"{len(report.ran) - report.failed} passed, {report.failed} failed")


def _lines(ran: _Ran, failure: _Failure) -> list[str]:
    when = f" at {failure.at}" if failure.at else ""
    where = f" {failure.path}" if failure.path else ""
    return [f"{ran.file}:{failure.line}:{where}{when}", *(f"  {line}" for line in failure.text.splitlines())]


def _print_json(report: _Report) -> None:
    tests: list[dict[str, Any]] = [
        {
            "file": r.file,
            "name": r.name,
            "passed": not r.failures,
            "failures": [asdict(f) for f in r.failures],
        }
        for r in report.ran
    ]
    problems = [
        {"file": p.file, "line": p.line, "path": p.path, "message": p.message, "hint": p.hint}
        for p in report.problems
    ]
    said = {
        "passed": len(tests) - report.failed,
        "failed": report.failed,
        "tests": tests,
        "problems": problems,
    }
    click.echo(json.dumps(said))


def _junit(report: _Report) -> bytes:
    """Return the report as JUnit XML: a suite for each file, an error for each problem."""
    root = ET.Element("testsuites")
    for file in dict.fromkeys([*(r.file for r in report.ran), *(p.file for p in report.problems)]):
        ran = [r for r in report.ran if r.file == file]
        wrong = [p for p in report.problems if p.file == file]
        counts = {
            "tests": len(ran) + len(wrong),
            "failures": sum(1 for r in ran if r.failures),
            "errors": len(wrong),
        }
        suite = ET.SubElement(
            root, "testsuite", {"name": _xml(file), **{k: str(n) for k, n in counts.items()}}
        )
        for each in ran:
            case = _case(suite, file, each.name, each.seconds)
            for failure in each.failures:
                text = "\n".join(_lines(each, failure))
                _told(case, "failure", failure.text.partition("\n")[0], text)
        for problem in wrong:
            case = _case(suite, file, f"line {problem.line} {problem.path}".strip(), 0.0)
            _told(case, "error", problem.message, str(problem))
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _case(suite: ET.Element, file: str, name: str, seconds: float) -> ET.Element:
    given = {"classname": _xml(file), "name": _xml(name), "time": f"{seconds:.3f}"}
    return ET.SubElement(suite, "testcase", given)


def _told(case: ET.Element, tag: str, message: str, text: str) -> None:
    ET.SubElement(case, tag, {"message": _xml(message)}).text = _xml(text)


def _xml(text: str) -> str:
    """Return the text with what XML cannot hold written out."""
    return _NOT_XML.sub(lambda found: f"\\x{{{ord(found[0]):x}}}", text)
