"""Runs one test of rules on a rehearsal and says what was otherwise than expected.

Called by ``router test``. Pure: what it needs it is given, what it finds it returns. At one moment events
come first (a deploy, a silence, an act of a person), then all alerts as one delivery, then expectations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from router.model.commands import CommandKind
from router.model.events import Alert, AlertBatch, DeployPhase, DeployReport, OriginKind
from router.model.keys import fingerprint
from router.model.silences import Silence, SilenceMatcher
from router.rulebook import durations
from router.rulebook.schema_tests import ActModel, DeployModel, SilenceModel
from router.work import expecting
from router.work.rehearsal import Rehearsal, TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime, timedelta

    from router.ports import NotifierSpec
    from router.rulebook.book import Rulebook
    from router.rulebook.scenarios import Happening, IncidentTest, PageTest, Scenario
    from router.rulebook.yaml_loader import Path

_COMMANDS = {"acknowledge": CommandKind.ACKNOWLEDGE, "resolve": CommandKind.RESOLVE}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is otherwise than expected: where it stands in the file, and when; several lines."""

    path: Path
    at: str
    text: str


def run(test: Scenario, book: Rulebook, kinds: Mapping[str, NotifierSpec]) -> list[Finding]:
    """Return what is otherwise than the test expects; nothing where it passes."""
    return _Run(test, book, kinds).findings


class _Run:
    """A test under way."""

    def __init__(self, test: Scenario, book: Rulebook, kinds: Mapping[str, NotifierSpec]) -> None:
        self.test, self.book = test, book
        self.findings: list[Finding] = []
        self.world = Rehearsal(book, test.start, kinds)
        self.firing: dict[str, datetime] = {}  # by alert, since when
        self.marks: dict[timedelta, int] = {}  # by eval_time of page_test, how many were sent until then
        self.silenced = 0
        self._routes()
        try:
            for at, act in sorted(self._moments(), key=lambda each: each[0]):
                self.world.advance(test.start + at[0])
                act()
        except TooMuch as exc:
            self._found(test.path, None, str(exc))
        for trouble in dict.fromkeys(self.world.troubles):
            self._found(test.path, None, f"a template failed: {trouble}")

    def _found(self, path: Path, at: timedelta | None, text: str) -> None:
        self.findings.append(Finding(path, "" if at is None else durations.render(at), text))

    def _moments(self) -> Iterator[tuple[tuple[timedelta, int], Callable[[], None]]]:
        """Yield when something is to be done, with what comes first at one moment, and what it is."""
        test = self.test
        for event in test.events:
            yield (event.at, 0), partial(self._happens, event)
        for step in range(max((len(s.values) for s in test.series), default=0)):
            yield (step * test.interval, 1), partial(self._tell, step)
        for wanted in test.incidents:
            yield (wanted.at, 2), partial(self._incidents, wanted)
        for paged in test.pages:
            yield (paged.at, 3), partial(self._pages, paged)

    # --- what happens -------------------------------------------------------------------------------

    def _tell(self, step: int) -> None:
        """Tell all alerts of a step as one delivery, as Alertmanager would."""
        alerts: list[Alert] = []
        now = self.world.now
        for each in self.test.series:
            value = each.values[step] if step < len(each.values) else "_"
            key = f"am:{fingerprint(each.labels)}"
            if value == "_" or (value == "0" and key not in self.firing):
                continue
            starts = self.firing.setdefault(key, now)
            fires = value == "1"
            if not fires:
                del self.firing[key]
            alerts.append(Alert(key, fires, each.labels, each.annotations, starts, None if fires else now))
        if alerts:
            self.world.told([AlertBatch(source="alertmanager", alerts=alerts)])

    def _happens(self, event: Happening) -> None:
        said = event.said
        if isinstance(said, DeployModel):
            self.world.told([self._report(said, event)])
        elif isinstance(said, SilenceModel):
            self.world.silence(self._silence(said, event))
        else:
            self._act(said, event)

    def _report(self, said: DeployModel, event: Happening) -> DeployReport:
        return DeployReport(
            source="test",
            event_id=f"{event.path}",
            origin_kind=OriginKind.SERVICE,
            origin=said.service,
            environment=said.environment,
            phase=DeployPhase(said.phase),
            at=self.world.now,
            names=(said.version,),
            ref=said.ref,
            title=said.title,
            author=said.author,
            url=said.url,
        )

    def _silence(self, said: SilenceModel, event: Happening) -> Silence:
        self.silenced += 1
        found = tuple(
            SilenceMatcher(m.name, m.value, m.op in {"=~", "!~"}, m.op in {"=", "=~"}) for m in event.matchers
        )
        now = self.world.now
        return Silence(f"silence-{self.silenced}", found, now, now + event.lasts, said.by, said.comment, now)

    def _act(self, said: ActModel, event: Happening) -> None:
        heads = [h for h in self.world.incidents() if h.state.open]
        found = [h for h in heads if expecting.holds(h, said.labels)]
        if len(found) == 1:
            self.world.command(_COMMANDS[event.what], found[0], said.by)
            return
        what = f"{event.what} {expecting.pairs(said.labels)}"
        many = f"{len(found)} open incidents hold" if found else "no open incident holds"
        lines = [f"{what}: {many} these labels; open are:", *expecting.listed(heads)]
        self._found(event.path, event.at, "\n".join(lines))

    # --- what is expected ---------------------------------------------------------------------------

    def _routes(self) -> None:
        for part in self.test.routes:
            for text in expecting.route(part.model, self.book):
                self._found(part.path, None, text)

    def _incidents(self, wanted: IncidentTest) -> None:
        for path, text in expecting.incidents(wanted, self.world.incidents()):
            self._found(path, wanted.at, text)

    def _pages(self, wanted: PageTest) -> None:
        sent = self.world.sent
        before = max((at for at in self.marks if at < wanted.at), default=None)
        self.marks.setdefault(wanted.at, len(sent))
        since = self.marks[before] if before is not None else 0
        for path, text in expecting.pages(wanted, sent[since:], before):
            self._found(path, wanted.at, text)
