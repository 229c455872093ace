"""What keeps alerts from being told: inhibit rules, maintenance windows, deploy holds, flapping.

From the models of :mod:`router.rulebook.schema_routes` to what ``decide`` asks. Alertmanager's meaning
where it has one (inhibit/inhibit.go): a target is inhibited while an alert that matches the source side
fires and both have the same values for all ``equal`` labels, a missing label counting as empty; what
matches both sides cannot inhibit itself or its like.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.model.keys import digest
from router.rulebook import durations, matchers
from router.rulebook.durations import DurationError
from router.rulebook.matchers import MatcherError
from router.rulebook.problems import unknown_hint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.rulebook.matchers import Matcher
    from router.rulebook.problems import Problems
    from router.rulebook.schema_routes import FlappingModel, HoldModel, InhibitModel, MaintenanceModel
    from router.rulebook.times import TimeInterval
    from router.rulebook.yaml_loader import Document, Path

#: By feel: an alert is held for as long as nobody would look anyway; the cap is for a deploy that got stuck.
LEASE: Final = timedelta(minutes=10)
CAP: Final = timedelta(minutes=30)
#: Nobody may hold an alert back for longer, whatever the rules say.
HARD_CAP: Final = timedelta(hours=4)
_WITHIN: Final = timedelta(minutes=30)
_HOLD: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """One inhibit rule. ``id`` is a digest of what it says: the same rule has it in every rulebook."""

    id: str
    name: str
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...]

    def is_source(self, labels: Mapping[str, str]) -> bool:
        """Return whether an alert with these labels inhibits others while it fires."""
        return all(m.matches(labels) for m in self.source)

    def is_target(self, labels: Mapping[str, str]) -> bool:
        """Return whether an alert with these labels may be inhibited."""
        return all(m.matches(labels) for m in self.target)

    def key(self, labels: Mapping[str, str]) -> str:
        """Return what a source and its targets have in common: the rule, and the values of ``equal``."""
        return digest([self.id, *(labels.get(name, "") for name in self.equal)])


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A planned time in which matching alerts are not told: once, or whenever one of the intervals holds."""

    name: str
    comment: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    intervals: tuple[TimeInterval, ...] = ()

    def active(self, at: datetime) -> bool:
        """Return whether the window is open."""
        if (self.starts_at is not None and at < self.starts_at) or (
            self.ends_at is not None and at >= self.ends_at
        ):
            return False
        return not self.intervals or any(i.contains(at) for i in self.intervals)

    def next_change(self, at: datetime) -> datetime | None:
        """Return when it may next open or close."""
        bounds = (t for t in (self.starts_at, self.ends_at) if t is not None and t > at)
        changes = (t for i in self.intervals if (t := i.next_change(at)) is not None)
        return min((*bounds, *changes), default=None)


@dataclass(frozen=True, slots=True)
class DeployHold:
    """Which alerts wait for the end of their own service's deploy, and for how long at most.

    ``lease`` counts from the last step that was told of the deploy, ``cap`` from its first.
    """

    name: str
    matchers: tuple[Matcher, ...] = ()
    lease: timedelta = LEASE
    cap: timedelta = CAP


@dataclass(frozen=True, slots=True)
class Flapping:
    """An incident that ended and began again ``flips`` times ``within`` a time ends only after ``hold``."""

    flips: int = 3
    within: timedelta = _WITHIN
    hold: timedelta = _HOLD


@dataclass(frozen=True, slots=True)
class Compiler:
    """Reads the items of one document; what is wrong goes to ``problems``."""

    document: Document
    problems: Problems
    intervals: Mapping[str, TimeInterval] | None

    def inhibit(self, model: InhibitModel, path: Path) -> InhibitRule:
        """Return the rule; it is known by what it says, its name is only for people."""
        source = self.matchers(model.source_matchers, (*path, "source_matchers"))
        target = self.matchers(model.target_matchers, (*path, "target_matchers"))
        equal = tuple(dict.fromkeys(model.equal))
        sides = (*map(str, source), "->", *map(str, target), "=", *equal)
        name = model.name or f"rule {path[-1]}"
        return InhibitRule(digest(sides), name, source, target, equal)

    def maintenance(self, model: MaintenanceModel, path: Path) -> Maintenance:
        """Return the window; it needs a time, and an end after its start."""
        written = self.document.data[str(path[0])][path[1]]  # of the model a wrong time is gone
        lacks = [key for key in ("starts_at", "ends_at") if written.get(key) is None]
        if len(lacks) == 2 and not written.get("time_intervals"):
            text, hint = "the window has no time", "say starts_at and ends_at, or time_intervals"
            self.problems.add(self.document, path, text, hint)
        if len(lacks) == 1:
            self.problems.add(self.document, path, f"the window has no {lacks[0]}", f"add {lacks[0]}:")
        if model.starts_at is not None and model.ends_at is not None and model.ends_at <= model.starts_at:
            self.problems.add(self.document, (*path, "ends_at"), "it ends before it starts", "swap the two")
        return Maintenance(
            name=model.name,
            comment=model.comment,
            matchers=self.matchers(model.matchers, (*path, "matchers")),
            starts_at=model.starts_at,
            ends_at=model.ends_at,
            intervals=self.named(model.time_intervals, (*path, "time_intervals")),
        )

    def hold(self, model: HoldModel, path: Path) -> DeployHold:
        """Return the hold; none is longer than :data:`HARD_CAP`."""
        found = DeployHold(
            name=model.name,
            matchers=self.matchers(model.matchers, (*path, "matchers")),
            lease=self.duration(model.lease, (*path, "lease"), LEASE),
            cap=self.duration(model.max, (*path, "max"), CAP),
        )
        for key, value in (("lease", found.lease), ("max", found.cap)):
            if not timedelta(0) < value <= HARD_CAP:
                text = f"{key} is {durations.render(value)}; it may be above 0 and at most 4h"
                self.problems.add(self.document, (*path, key), text, "no alert is held for longer than that")
        return found

    def flapping(self, model: FlappingModel, path: Path) -> Flapping:
        """Return when an incident counts as flapping."""
        return Flapping(
            flips=model.flips,
            within=self.duration(model.within, (*path, "within"), _WITHIN),
            hold=self.duration(model.hold, (*path, "hold"), _HOLD),
        )

    def matchers(self, texts: Sequence[str], path: Path) -> tuple[Matcher, ...]:
        """Return the matchers of a list of texts."""
        found: list[Matcher] = []
        for index, text in enumerate(texts):
            try:
                found.extend(matchers.parse(text))
            except MatcherError as exc:
                self.problems.add(self.document, (*path, index), str(exc), exc.hint)
        return tuple(found)

    def named(self, names: Sequence[str], path: Path) -> tuple[TimeInterval, ...]:
        """Return the time intervals of these names; None of them are known where a file could not be read."""
        found: list[TimeInterval] = []
        for index, name in enumerate(names):
            if self.intervals is None:
                continue
            if name in self.intervals:
                found.append(self.intervals[name])
            else:
                text = f"no time interval is named {name[:60]!r}"
                self.problems.add(self.document, (*path, index), text, unknown_hint(name, self.intervals))
        return tuple(found)

    def duration(self, text: str | None, path: Path, default: timedelta) -> timedelta:
        """Return the duration, or the default where it is not said or wrong."""
        if text is None:
            return default
        try:
            return durations.parse(text)
        except DurationError as exc:
            self.problems.add(self.document, path, str(exc), exc.hint)
            return default
