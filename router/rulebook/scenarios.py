"""Test files for rules, as they are written: ``rules/tests/*.yaml``, in the manner of promtool's.

Names and notation are promtool's wherever it has one (docs/how-to/test-rules.md). Read by ``router test``;
:mod:`router.work.scenarios` runs what this returns. Like the rules themselves a file is strict, and all
that is wrong with it is told at once, each with file, line and path.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter

from router.rulebook import durations, matchers, series, yaml_loader
from router.rulebook.durations import DurationError
from router.rulebook.matchers import Matcher, MatcherError
from router.rulebook.problems import Problems
from router.rulebook.salvage import validated
from router.rulebook.schema_tests import (
    ActModel,
    DeployModel,
    EventModel,
    FileModel,
    IncidentModel,
    IncidentTestModel,
    PageTestModel,
    RouteTestModel,
    ScenarioModel,
    SentModel,
    SeriesModel,
    SilenceModel,
)

if TYPE_CHECKING:
    from router.model.errors import Problem
    from router.rulebook.yaml_loader import Document, Path

M = TypeVar("M", bound=BaseModel)

MOST_TESTS: Final = 500
#: Values of all series, events and expectations of one test.
MOST_STEPS: Final = 10_000
#: How far a test may look ahead.
LONGEST: Final = timedelta(days=366)
#: A Monday, at noon.
START: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_WHAT: Final = ("deploy", "acknowledge", "resolve", "silence")


@dataclass(frozen=True, slots=True)
class Part(Generic[M]):
    """One valid part of a file, when it is about a time (from the test's start), and where it stands."""

    model: M
    path: Path
    at: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Series:
    """An alert over time: at each step "1" (fires), "0" (has ended) or "_" (nothing is said)."""

    labels: dict[str, str]
    annotations: dict[str, str]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Happening:
    """One of ``input_events``; of a silence ``matchers`` and ``lasts``."""

    said: DeployModel | ActModel | SilenceModel
    what: str
    path: Path
    at: timedelta
    matchers: tuple[Matcher, ...] = ()
    lasts: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class IncidentTest:
    """What must be open at a time."""

    at: timedelta
    path: Path
    incidents: tuple[Part[IncidentModel], ...]


@dataclass(frozen=True, slots=True)
class PageTest:
    """What must have been sent until a time; ``sent`` None where only the number counts."""

    at: timedelta
    path: Path
    model: PageTestModel
    sent: tuple[Part[SentModel], ...] | None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One test; events in order of time."""

    name: str
    path: Path
    start: datetime
    interval: timedelta
    series: tuple[Series, ...] = ()
    events: tuple[Happening, ...] = ()
    routes: tuple[Part[RouteTestModel], ...] = ()
    incidents: tuple[IncidentTest, ...] = ()
    pages: tuple[PageTest, ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """One file: its tests, and the folder of rules they are for, from the file on ("": the one above)."""

    document: Document
    rules: str
    tests: tuple[Scenario, ...]


def read(raw: bytes, file: str) -> tuple[Suite | None, list[Problem]]:
    """Return the tests of a file, or everything that is wrong with it."""
    document, found = yaml_loader.read(raw, file)
    problems = Problems(found)
    suite = _Reader(document, problems).suite() if document is not None else None
    return (None if problems.found else suite), problems.bounded()


class _Reader:
    """What is read of one file."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self.document, self.problems = document, problems
        self.interval = _MINUTE

    def suite(self) -> Suite | None:
        written = self.valid(FileModel, self.document.data, ()) or FileModel()
        if written.evaluation_interval:
            self.interval = self.duration(written.evaluation_interval, ("evaluation_interval",), least=1)
        if len(written.tests) > MOST_TESTS:
            self.wrong(("tests",), f"more than {MOST_TESTS} tests", "put some of them into another file")
            return None
        tests: list[Scenario] = []
        for index, value in enumerate(written.tests):
            test = self.test(value, ("tests", index))
            if test is None:
                continue
            if any(test.name == known.name for known in tests):
                text = f"a test is called {test.name[:60]!r} already"
                self.wrong(("tests", index, "name"), text, "give each test a name of its own")
            tests.append(test)
        return Suite(self.document, written.rules, tuple(tests))

    def test(self, value: Any, path: Path) -> Scenario | None:
        if isinstance(value, dict) and "rollback_test" in value:
            text = "rollback policies are not in this release, so they cannot be tested"
            self.wrong((*path, "rollback_test"), text, "remove it")
            value = {key: found for key, found in value.items() if key != "rollback_test"}
        written = self.valid(ScenarioModel, value, path)
        if written is None:
            return None
        start = START
        if written.start is not None:
            start = written.start
            if not 2000 <= start.year < 3000:
                self.wrong((*path, "start"), "the year is not between 2000 and 2999", "")
                start = START
        found = Scenario(
            name=written.name,
            path=path,
            start=start.astimezone(UTC),
            interval=self.interval,
            series=self.series(written.input_series, (*path, "input_series")),
            events=self.events(written.input_events, (*path, "input_events")),
            routes=self.parts(RouteTestModel, written.route_test, (*path, "route_test")),
            incidents=self.incident_tests(written.incident_test, (*path, "incident_test")),
            pages=self.page_tests(written.page_test, (*path, "page_test")),
        )
        self.bounds(found, written)
        return found

    def bounds(self, test: Scenario, written: ScenarioModel) -> None:
        checks = len(written.route_test) + len(written.incident_test) + len(written.page_test)
        if not checks:
            hint = "add route_test, incident_test or page_test"
            self.wrong(test.path, "this test expects nothing, so it cannot fail", hint)
        steps = sum(len(s.values) for s in test.series) + len(written.input_events) + checks
        if steps > MOST_STEPS:
            text = f"{steps} values, events and expectations in one test; there may be {MOST_STEPS}"
            self.wrong(test.path, text, "make several tests of it")

    # --- what happens -------------------------------------------------------------------------------

    def series(self, values: list[Any], path: Path) -> tuple[Series, ...]:
        found: list[Series] = []
        for part in self.parts(SeriesModel, values, path):
            here = (*part.path, "values")
            try:
                steps = series.expand(part.model.values, MOST_STEPS)
            except series.SeriesError as exc:
                self.wrong(here, str(exc), exc.hint)
                continue
            if (len(steps) - 1) * self.interval > LONGEST:
                self.wrong(here, f"these values last longer than {LONGEST.days} days", "")
            if any(part.model.labels == known.labels for known in found):
                hint = "alerts are told apart by their labels: write one series, or other labels"
                self.wrong((*part.path, "labels"), "these labels stand twice in this test", hint)
            found.append(Series(part.model.labels, part.model.annotations, steps))
        return tuple(found)

    def events(self, values: list[Any], path: Path) -> tuple[Happening, ...]:
        found: list[Happening] = []
        for part in self.parts(EventModel, values, path):
            at = self.duration(part.model.at, (*part.path, "at"))
            given = {what: said for what in _WHAT if (said := getattr(part.model, what)) is not None}
            if len(given) != 1:
                text = "an event is one thing" if given else "nothing happens in this event"
                self.wrong(part.path, text, f"beside at: write one of {', '.join(_WHAT)}")
                continue
            ((what, said),) = given.items()
            event = self.event(what, said, at, part.path)
            if event is not None:
                found.append(event)
        return tuple(sorted(found, key=lambda each: each.at))

    def event(self, what: str, said: Any, at: timedelta, path: Path) -> Happening | None:
        here = (*path, what)
        if what == "silence":
            silence = self.valid(SilenceModel, said, here)
            if silence is None:
                return None
            lasts = self.duration(silence.for_, (*here, "for"), least=1)
            return Happening(silence, what, path, at, self.matchers(silence.matchers, here), lasts)
        valid: DeployModel | ActModel | None
        valid = self.valid(DeployModel, said, here) if what == "deploy" else self.valid(ActModel, said, here)
        return Happening(valid, what, path, at) if valid is not None else None

    def matchers(self, texts: list[str], path: Path) -> tuple[Matcher, ...]:
        found: list[Matcher] = []
        for index, text in enumerate(texts):
            try:
                found += matchers.parse(text)
            except MatcherError as exc:
                self.wrong((*path, "matchers", index), str(exc), exc.hint)
                return ()
        if all(m.test("") for m in found):
            text = "at least one matcher must not match the empty string"
            self.wrong((*path, "matchers"), text, "else everything is silenced")
        return tuple(found)

    # --- what is expected ---------------------------------------------------------------------------

    def incident_tests(self, values: list[Any], path: Path) -> tuple[IncidentTest, ...]:
        found: list[IncidentTest] = []
        for part in self.parts(IncidentTestModel, values, path):
            at = self.duration(part.model.eval_time, (*part.path, "eval_time"))
            here = (*part.path, "exp_incidents")
            found.append(
                IncidentTest(at, part.path, self.parts(IncidentModel, part.model.exp_incidents, here))
            )
        return tuple(found)

    def page_tests(self, values: list[Any], path: Path) -> tuple[PageTest, ...]:
        found: list[PageTest] = []
        for part in self.parts(PageTestModel, values, path):
            at = self.duration(part.model.eval_time, (*part.path, "eval_time"))
            sent: tuple[Part[SentModel], ...] | None = None
            if part.model.exp_sent is not None:
                sent = self.parts(SentModel, part.model.exp_sent, (*part.path, "exp_sent"))
                for each in sent:
                    self.patterns(each.model.payload, (*each.path, "payload"))
            elif part.model.exp_count is None:
                self.wrong(part.path, "nothing is expected here", "add exp_sent or exp_count")
            found.append(PageTest(at, part.path, part.model, sent))
        return tuple(found)

    def patterns(self, value: Any, path: Path) -> None:
        """Check the regular expressions in a payload: the texts that begin with ``~``."""
        if isinstance(value, dict):
            for key, below in value.items():
                self.patterns(below, (*path, key))
        elif isinstance(value, list):
            for index, below in enumerate(value):
                self.patterns(below, (*path, index))
        elif isinstance(value, str) and value.startswith("~"):
            try:
                matchers.compiled_regex(value[1:])
            except MatcherError as exc:
                self.wrong(path, str(exc), exc.hint)

    # --- parts --------------------------------------------------------------------------------------

    def parts(self, model: type[M], values: list[Any], path: Path) -> tuple[Part[M], ...]:
        found = ((self.valid(model, v, (*path, i)), (*path, i)) for i, v in enumerate(values))
        return tuple(Part(each, here) for each, here in found if each is not None)

    def valid(self, model: type[M], value: Any, path: Path) -> M | None:
        return validated(TypeAdapter(model), value, self.document, path, self.problems, model)

    def duration(self, text: str, path: Path, *, least: int = 0) -> timedelta:
        """Return a duration between ``least`` milliseconds and :data:`LONGEST`."""
        try:
            found = durations.parse(text)
        except DurationError as exc:
            self.wrong(path, str(exc), exc.hint)
            return _MINUTE
        if not timedelta(milliseconds=least) <= found <= LONGEST:
            self.wrong(
                path, "this duration is out of range", f"at most {LONGEST.days}d, and more than nothing"
            )
            return _MINUTE
        return found

    def wrong(self, path: Path, message: str, hint: str) -> None:
        self.problems.add(self.document, path, message, hint)
