"""The rules in force over HTTP: how they stand, loading them anew, and why something goes where it goes.

``POST /-/reload`` is Prometheus' and Alertmanager's; unlike theirs it needs what the API needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from router.decide import explaining
from router.model.errors import Rejected
from router.model.keys import split_incident_id
from router.rulebook.describe import describe
from router.web import bodies, shapes
from router.web.answers import answer, known
from router.web.operations import Operation, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from aiohttp import web

    from router.decide.outlook import Outlook
    from router.model.errors import Problem
    from router.ports import Clock, Reader
    from router.rulebook.book import Rulebook

_ASK_BYTES = 64 << 10
_MOST_LABELS = 100


class Standing(Protocol):
    """How the rules stand; ``problems`` are those of the last load, if it failed."""

    @property
    def version(self) -> str:
        """The rulebook in force."""

    @property
    def loaded_at(self) -> datetime:
        """Since when."""

    @property
    def origin(self) -> str:
        """``folder``, or ``store``: another process put them in force."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What is wrong with what could not be loaded."""

    @property
    def failed_at(self) -> datetime | None:
        """When that was."""


class InForce(Protocol):
    """The rules in force, and loading them anew."""

    @property
    def book(self) -> Rulebook:
        """The rulebook in force."""

    @property
    def standing(self) -> Standing:
        """How it stands."""

    async def reload(self, why: str) -> list[Problem]:
        """Load the folder again; return what is wrong with it."""


class Surrounded(Protocol):
    """What surrounds groups, as this process sees it."""

    @property
    def outlook(self) -> Outlook:
        """The view."""


class _Ask(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a question: an alert that may never have been."""

    labels: dict[str, str]


class Rules:
    """The handlers; the API guards them."""

    def __init__(self, rules: InForce, surrounded: Surrounded, reader: Reader, clock: Clock) -> None:
        self._rules, self._surrounded, self._reader, self._clock = rules, surrounded, reader, clock

    def operations(self) -> list[Operation]:
        """Return what can be done here."""
        tree = dict[str, Any]
        return [
            Operation("GET", "/api/v1/rules", self.show, "Show the rules in force.", {200: shapes.Rules}),
            Operation(
                "POST", "/-/reload", self.reload, "Load the folder of rules again.",
                {200: shapes.Loaded, 400: shapes.NotLoaded}, scope=Scope.ACT,
            ),
            Operation(
                "POST", "/api/v1/why", self.why, "Say where an alert would go now, and why.",
                {200: tree}, refusals=(408, 413, 415), body=_Ask,
            ),
            Operation(
                "GET", "/api/v1/incidents/{id}/why", self.why_incident, "Say why it stands as it stands.",
                {200: tree}, refusals=(404,),
            ),
        ]  # fmt: skip

    @property
    def banner(self) -> str:
        """What whoever looks at the API must know of the rules, "" where all is well."""
        standing = self._rules.standing
        if not standing.problems:
            return ""
        first = standing.problems[0]
        return (
            f"the rules could not be loaded ({len(standing.problems)} problems, the first: {first});"
            f" those of version {standing.version} stay in force"
        )[:500]

    async def show(self, request: web.Request) -> web.Response:
        """Show the rules in force, and what was wrong with those that could not be loaded."""
        known(request, set())
        standing = self._rules.standing
        return answer(
            {
                "version": standing.version,
                "loaded_at": standing.loaded_at,
                "origin": standing.origin,
                "banner": self.banner,
                "failed_at": standing.failed_at,
                "problems": [_problem(p) for p in standing.problems],
                "rules": describe(self._rules.book),
            }
        )

    async def reload(self, request: web.Request) -> web.Response:
        """Load the folder of rules again; where it cannot be, 400 says why and nothing changes."""
        known(request, set())
        problems = await self._rules.reload("asked by HTTP")
        if problems:
            body: dict[str, Any] = {
                "status": "refused",
                "version": self._rules.standing.version,
                "problems": [_problem(p) for p in problems],
            }
            return answer(body, 400)
        return answer({"status": "loaded", "version": self._rules.standing.version})

    async def why(self, request: web.Request) -> web.Response:
        """Say where an alert with these labels would go now, and why."""
        if request.content_type != "application/json":
            raise Rejected(415, "not_json", "send Content-Type: application/json")
        try:
            asked = msgspec.json.decode(await bodies.read(request, _ASK_BYTES), type=_Ask)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Rejected(400, "bad_body", f"the body must be an object with labels: {exc}") from None
        if len(asked.labels) > _MOST_LABELS:
            raise Rejected(400, "bad_body", f"at most {_MOST_LABELS} labels")
        labels = {name: value for name, value in asked.labels.items() if value}
        found = explaining.alert(labels, self._rules.book, self._surrounded.outlook, self._clock.now())
        return answer(found)

    async def why_incident(self, request: web.Request) -> web.Response:
        """Say why an incident stands as it stands."""
        known(request, set())
        parts = split_incident_id(request.match_info["id"])
        found = await self.explained(*parts) if parts is not None else None
        if found is None:
            raise Rejected(404, "unknown_incident", "no such incident; its id looks like 7f3a9c21b04d55e0.2")
        return answer(found)

    async def explained(self, group: str, generation: int) -> dict[str, Any] | None:
        """Return why an incident stands as it stands, None where there is none."""
        found = await self._reader.incident(group, generation)
        if found is None:
            return None
        head, alerts, timeline = found
        ledgers = await self._reader.ledgers([head.service]) if head.service else {}
        scene = explaining.Scene(self._rules.book, self._surrounded.outlook, ledgers, self._clock.now())
        return explaining.incident(head, alerts, timeline, scene)


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
    }
