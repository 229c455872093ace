"""From the ``route:`` section to the tree that is asked: matchers compiled, inheritance resolved.

Alertmanager's rules: children inherit receiver, ``group_by`` and ``group_wait``;
the root takes everything, so it has neither matchers nor ``continue``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.rulebook import durations, matchers
from router.rulebook.book import Route
from router.rulebook.durations import DurationError
from router.rulebook.matchers import Matcher, MatcherError
from router.rulebook.problems import unknown_hint

if TYPE_CHECKING:
    from collections.abc import Collection

    from router.rulebook.problems import Problems
    from router.rulebook.schema import RouteModel
    from router.rulebook.yaml_loader import Document, Path

#: Alertmanager's default.
GROUP_WAIT: Final = timedelta(seconds=30)
#: By feel: a wait beyond it is a mistyped unit.
MAX_GROUP_WAIT: Final = timedelta(days=1)
ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class _Inherited:
    receiver: str = ""
    group_by: tuple[str, ...] | None = ()
    group_wait: timedelta = GROUP_WAIT


@dataclass(frozen=True, slots=True)
class Planter:
    """Grows the tree of one document; ``receivers`` None: unknown, since a file could not be read."""

    document: Document
    problems: Problems
    receivers: Collection[str] | None

    def grow(self, model: RouteModel) -> Route:
        """Return the root; what is wrong is noted and a stand-in used, so that all of it is seen."""
        path: Path = ("route",)
        if model.matchers:
            hint = "the root takes everything; move the matchers to a route below it"
            self.problems.add(self.document, (*path, "matchers"), "the root cannot have matchers", hint)
        if model.continue_:
            self.problems.add(
                self.document, (*path, "continue"), "the root cannot have continue", "remove it"
            )
        if not model.receiver:
            hint = "add receiver: with the name of who is told when nothing else matches"
            self.problems.add(self.document, path, "the root needs a receiver", hint)
        return self._node(model, path, model.name or ROOT, _Inherited())

    def _node(self, model: RouteModel, path: Path, route_id: str, above: _Inherited) -> Route:
        self._check_receiver(model, path)
        own = _Inherited(
            receiver=model.receiver or above.receiver,
            group_by=self._group_by(model, path, above.group_by),
            group_wait=self._group_wait(model, path, above.group_wait),
        )
        children: list[Route] = []
        names: dict[str, int] = {}
        for index, child in enumerate(model.routes):
            here = (*path, "routes", index)
            if child.name and child.name in names:
                text = f"two routes beside each other are named {child.name!r}"
                self.problems.add(
                    self.document, (*here, "name"), text, "their incidents would be mixed; rename one"
                )
            names[child.name] = index
            children.append(self._node(child, here, f"{route_id}/{child.name or index}", own))
        return Route(
            id=route_id,
            receiver=own.receiver,
            matchers=self._matchers(model, path),
            group_by=own.group_by,
            group_wait=own.group_wait,
            continue_=model.continue_,
            routes=tuple(children),
        )

    def _check_receiver(self, model: RouteModel, path: Path) -> None:
        if self.receivers is None or not model.receiver or model.receiver in self.receivers:
            return
        text = f"no receiver is named {model.receiver[:60]!r}"
        self.problems.add(
            self.document, (*path, "receiver"), text, unknown_hint(model.receiver, self.receivers)
        )

    def _matchers(self, model: RouteModel, path: Path) -> tuple[Matcher, ...]:
        found: list[Matcher] = []
        for index, text in enumerate(model.matchers):
            try:
                found.extend(matchers.parse(text))
            except MatcherError as exc:
                self.problems.add(self.document, (*path, "matchers", index), str(exc), exc.hint)
        return tuple(found)

    def _group_by(
        self, model: RouteModel, path: Path, inherited: tuple[str, ...] | None
    ) -> tuple[str, ...] | None:
        if model.group_by is None:
            return inherited
        here = (*path, "group_by")
        if len(set(model.group_by)) != len(model.group_by):
            self.problems.add(self.document, here, "a label stands twice in group_by", "remove one of them")
        if "..." not in model.group_by:
            return tuple(model.group_by)
        if len(model.group_by) > 1:
            text = "'...' means all labels and stands alone in group_by"
            self.problems.add(self.document, here, text, "remove '...' or the other labels")
        return None

    def _group_wait(self, model: RouteModel, path: Path, inherited: timedelta) -> timedelta:
        if model.group_wait is None:
            return inherited
        here = (*path, "group_wait")
        try:
            wait = durations.parse(model.group_wait)
        except DurationError as exc:
            self.problems.add(self.document, here, str(exc), exc.hint)
            return inherited
        if wait > MAX_GROUP_WAIT:
            self.problems.add(
                self.document, here, "group_wait is longer than a day", "nobody would be paged in time"
            )
        return wait
