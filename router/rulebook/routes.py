"""From the ``route:`` section to the tree that is asked: matchers compiled, inheritance resolved.

Alertmanager's rules: children inherit receiver, ``group_by`` and the three times, and what is
ours (``resolve_wait``, ``notify``, ``severity_map``); matchers, ``when`` and time intervals are a
node's own. The root takes everything, so it has none of the latter, and no ``continue``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.model.events import Severity
from router.rulebook import conditions, durations
from router.rulebook.problems import unknown_hint
from router.rulebook.tree import ALWAYS, Route, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from router.rulebook.conditions import When, WhenModel
    from router.rulebook.muting import Compiler
    from router.rulebook.schema_routes import RouteModel, StepModel
    from router.rulebook.yaml_loader import Path

#: Alertmanager's defaults (config/config.go, dispatch/route.go).
GROUP_WAIT: Final = timedelta(seconds=30)
GROUP_INTERVAL: Final = timedelta(minutes=5)
REPEAT_INTERVAL: Final = timedelta(hours=4)
#: By feel: longer is a mistyped unit.
LONGEST: Final[Mapping[str, timedelta]] = {
    "group_wait": timedelta(days=1),
    "group_interval": timedelta(days=31),
    "repeat_interval": timedelta(days=366),
    "resolve_wait": timedelta(days=1),
}
ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class _Inherited:
    receiver: str = ""
    group_by: tuple[str, ...] | None = ()
    group_wait: timedelta = GROUP_WAIT
    group_interval: timedelta = GROUP_INTERVAL
    repeat_interval: timedelta = REPEAT_INTERVAL
    resolve_wait: timedelta = timedelta(0)
    steps: tuple[Step, ...] = ()
    severities: Mapping[Severity, Severity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planter:
    """Grows the tree of one document; ``receivers`` None: unknown, since a file could not be read."""

    compiler: Compiler
    receivers: Collection[str] | None

    def grow(self, model: RouteModel) -> Route:
        """Return the root; what is wrong is noted and a stand-in used, so that all of it is seen."""
        path: Path = ("route",)
        if model.matchers or model.when is not None:
            key = "matchers" if model.matchers else "when"
            hint = "the root takes everything; move them to a route below it"
            self._add((*path, key), f"the root cannot have {key}", hint)
        if model.continue_:
            self._add((*path, "continue"), "the root cannot have continue", "remove it")
        for key in ("mute_time_intervals", "active_time_intervals"):
            if getattr(model, key):
                hint = "what the root takes must always be told; move them to a route below it"
                self._add((*path, key), f"the root cannot have {key}", hint)
        if not model.receiver:
            hint = "add receiver: with the name of who is told when nothing else matches"
            self._add(path, "the root needs a receiver", hint)
        return self._node(model, path, model.name or ROOT, _Inherited())

    def _node(self, model: RouteModel, path: Path, route_id: str, above: _Inherited) -> Route:
        self._check_receiver(model.receiver, (*path, "receiver"))
        own = _Inherited(
            receiver=model.receiver or above.receiver,
            group_by=self._group_by(model, path, above.group_by),
            steps=above.steps if model.notify is None else self._steps(model.notify, (*path, "notify")),
            severities=above.severities if model.severity_map is None else _severities(model.severity_map),
            **{key: self._time(model, key, path, getattr(above, key)) for key in LONGEST},
        )
        return Route(
            id=route_id,
            receiver=own.receiver,
            matchers=self.compiler.matchers(model.matchers, (*path, "matchers")),
            group_by=own.group_by,
            group_wait=own.group_wait,
            continue_=model.continue_,
            routes=self._children(model, path, route_id, own),
            group_interval=own.group_interval,
            repeat_interval=own.repeat_interval,
            resolve_wait=own.resolve_wait,
            mute=self.compiler.named(model.mute_time_intervals, (*path, "mute_time_intervals")),
            active=self.compiler.named(model.active_time_intervals, (*path, "active_time_intervals")),
            when=self._when(model.when, (*path, "when"), catalogue=True),
            steps=own.steps,
            severities=own.severities,
        )

    def _children(self, model: RouteModel, path: Path, route_id: str, own: _Inherited) -> tuple[Route, ...]:
        children: list[Route] = []
        names: set[str] = set()
        for index, child in enumerate(model.routes):
            here = (*path, "routes", index)
            if child.name and child.name in names:
                text = f"two routes beside each other are named {child.name!r}"
                self._add((*here, "name"), text, "their incidents would be mixed; rename one")
            names.add(child.name)
            children.append(self._node(child, here, f"{route_id}/{child.name or index}", own))
        return tuple(children)

    def _steps(self, models: list[StepModel], path: Path) -> tuple[Step, ...]:
        steps: list[Step] = []
        for index, model in enumerate(models):
            here = (*path, index)
            self._check_receiver(model.receiver, (*here, "receiver"))
            if not model.receiver:
                self._add(here, "a step needs a receiver", "add receiver:")
            after = self.compiler.duration(model.after, (*here, "after"), timedelta(0))
            steps.append(Step(model.receiver, after, self._when(model.when, (*here, "when"))))
        return tuple(steps)

    def _when(self, model: WhenModel | None, path: Path, *, catalogue: bool = False) -> When:
        if model is None:
            return ALWAYS
        found = conditions.compiled(model, self.compiler.document, path, self.compiler.problems)
        if catalogue and not found.catalogue_only:
            hint = (
                "a route is chosen before there is an incident, by service, team, environment and tier;"
                " say the rest under notify:, when:"
            )
            self._add(path, "this is not known when a route is chosen", hint)
        return found

    def _check_receiver(self, name: str, path: Path) -> None:
        if self.receivers is None or not name or name in self.receivers:
            return
        self._add(path, f"no receiver is named {name[:60]!r}", unknown_hint(name, self.receivers))

    def _group_by(
        self, model: RouteModel, path: Path, inherited: tuple[str, ...] | None
    ) -> tuple[str, ...] | None:
        if not model.group_by:  # an empty list inherits, too, as it does in Alertmanager
            return inherited
        here = (*path, "group_by")
        if len(set(model.group_by)) != len(model.group_by):
            self._add(here, "a label stands twice in group_by", "remove one of them")
        if "..." not in model.group_by:
            return tuple(model.group_by)
        if len(model.group_by) > 1:
            text = "'...' means all labels and stands alone in group_by"
            self._add(here, text, "remove '...' or the other labels")
        return None

    def _time(self, model: RouteModel, key: str, path: Path, inherited: timedelta) -> timedelta:
        text = getattr(model, key)
        found = self.compiler.duration(text, (*path, key), inherited)
        if text is not None and found > LONGEST[key]:  # what is inherited was told above
            most = durations.render(LONGEST[key])
            hint = "nobody would be paged in time" if key == "group_wait" else f"at most {most}"
            limit = "a day" if LONGEST[key] == timedelta(days=1) else most
            self._add((*path, key), f"{key} is longer than {limit}", hint)
        return found

    def _add(self, path: Path, message: str, hint: str) -> None:
        self.compiler.problems.add(self.compiler.document, path, message, hint)


def _severities(words: Mapping[str, str]) -> dict[Severity, Severity]:
    return {Severity(said): Severity(meant) for said, meant in words.items()}
