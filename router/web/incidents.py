"""/api/v1/incidents: what is open, what happened, and what people ask of it.

An act is answered once it is durable, and done a moment later; with an ``id`` of the client's own it
counts once, however often it is sent.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from aiohttp import web

from router.decide.acting import LONGEST_SNOOZE
from router.model.commands import Command, CommandKind
from router.model.errors import Rejected
from router.model.keys import digest, incident_id, split_incident_id
from router.rulebook import durations
from router.rulebook.durations import DurationError
from router.web import bodies, shapes, views
from router.web.answers import answer, known, limit
from router.web.operations import LIMIT, Operation, Param, Scope
from router.web.post_mortem import markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.model.events import Alert
    from router.model.incidents import Entry, Incident
    from router.ports import Clock, Intake, Reader

#: Far more than an act needs.
_ACT_BYTES: Final = 64 << 10
_MOST_NOTE: Final = 1000
_FORMATS: Final = ("json", "markdown")


class Act(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an act.

    ``by``: who asks. ``note``: why. ``id``: the client's own, so that a repeated request counts once.
    ``until`` or ``duration``: of a snooze. ``to``: of assign a person, of merge an incident's id, of confirm
    and refute a deploy's ``<service>/<id>`` (without it the likeliest).
    """

    by: str = "api"
    note: str = ""
    id: str = ""
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    duration: str = ""
    to: str = ""


class Incidents:
    """The handlers; the API guards them. ``banner``: what everybody who looks must know."""

    def __init__(self, reader: Reader, intake: Intake, clock: Clock, banner: Callable[[], str]) -> None:
        self._reader, self._intake, self._clock, self._banner = reader, intake, clock, banner

    def operations(self) -> list[Operation]:
        """Return what can be done here."""
        base = "/api/v1/incidents"
        states = Param("state", "Open ones only, or all.", {"enum": ["open", "all"], "default": "all"})
        after = Param("after", "What comes behind a page: its `after`.", {"type": "string", "maxLength": 60})
        form = Param("format", "For programs or for people.", {"enum": [*_FORMATS], "default": "json"})
        return [
            Operation(
                "GET", base, self.listed, "List incidents, open ones first, the newest first.",
                {200: shapes.Incidents}, refusals=(400,), query=(states, LIMIT, after),
            ),
            Operation(
                "GET", f"{base}/{{id}}", self.show, "Show one with alerts, suspects, reasons and timeline.",
                {200: shapes.IncidentWhole}, refusals=(400, 404),
            ),
            Operation(
                "GET", f"{base}/{{id}}/export", self.export, "Everything of one incident, for a post-mortem.",
                {200: shapes.IncidentWhole}, refusals=(400, 404), query=(form,), media=("text/markdown",),
            ),
            Operation(
                "POST", f"{base}/{{id}}/{{act}}", self.act, "Ask something of an incident.",
                {202: shapes.Accepted}, scope=Scope.ACT, refusals=(400, 404, 408, 413, 415),
                body=Act, optional_body=True, path_words={"act": tuple(CommandKind)},
            ),
        ]  # fmt: skip

    async def listed(self, request: web.Request) -> web.Response:
        """List incidents, newest first; ``state=open|all``, ``limit``, ``after``."""
        known(request, {"state", "limit", "after"})
        state = request.query.get("state", "all")
        if state not in {"open", "all"}:
            raise Rejected(400, "bad_query", "state must be open or all")
        after, most = request.query.get("after", ""), limit(request)
        try:
            page = await self._reader.incidents(include_closed=state == "all", limit=most, after=after)
        except ValueError:
            raise Rejected(400, "bad_query", "after must be what an earlier page said, whole") from None
        said = {"banner": self._banner(), "after": page.after}
        shown = [views.incident(h) for h in page.heads]
        return answer({"incidents": shown} | {name: text for name, text in said.items() if text})

    async def show(self, request: web.Request) -> web.Response:
        """Show one incident whole."""
        known(request, set())
        return answer(views.incident_whole(*await self._found(request)))

    async def export(self, request: web.Request) -> web.Response:
        """Return one incident whole, to keep; ``format=markdown`` for people."""
        known(request, {"format"})
        form = request.query.get("format", "json")
        if form not in _FORMATS:
            raise Rejected(400, "bad_query", f"format must be one of {', '.join(_FORMATS)}")
        head, alerts, timeline = await self._found(request)
        if form == "json":
            return answer(views.incident_whole(head, alerts, timeline))
        text = markdown(head, alerts, timeline)
        return web.Response(text=text, content_type="text/markdown", charset="utf-8")

    async def act(self, request: web.Request) -> web.Response:
        """Acknowledge, resolve, put off and so on; answered once it is durable, done a moment later."""
        known(request, set())
        if request.content_type != "application/json":
            raise Rejected(415, "not_json", "send Content-Type: application/json")
        try:
            kind = CommandKind(request.match_info["act"])
        except ValueError:
            raise Rejected(404, "not_found", f"an act is one of {', '.join(CommandKind)}") from None
        body = await _body(request)
        head, _, _ = await self._found(request)
        now = self._clock.now()
        own = body.id or now.isoformat()
        command = Command(
            group=head.group,
            generation=head.generation,
            kind=kind,
            by=_plain(body.by) or "api",
            at=now,
            event_id=digest(["api", head.group, str(head.generation), kind, own]),
            note=_plain(body.note, _MOST_NOTE),
            via="api",
            until=_until(kind, body, now),
            to=_to(kind, body, head),
        )
        if kind is CommandKind.NOTE and not command.note:
            raise Rejected(400, "bad_body", "note: what is to be noted?")
        if kind is CommandKind.MERGE:
            await self._mention(head, command)
        taken = await self._intake.command(command)
        return answer({"status": "accepted", "repeated": bool(taken.repeated)}, 202)

    async def _mention(self, head: Incident, command: Command) -> None:
        """Note on the incident that another one is merged into that it is so."""
        group, generation = split_incident_id(command.to) or ("", 0)
        if await self._reader.incident(group, generation) is None:
            raise Rejected(400, "bad_body", f"to: there is no incident {command.to}")
        text = f"{head.id} ({head.title}) was merged into this one"
        kind, name = CommandKind.NOTE, digest(["mention", command.event_id])
        await self._intake.command(
            Command(group, generation, kind, command.by, command.at, name, note=text, via="api")
        )

    async def _found(self, request: web.Request) -> tuple[Incident, list[Alert], list[Entry]]:
        parts = split_incident_id(request.match_info["id"])
        if parts is None:
            raise Rejected(404, "unknown_incident", "an incident id looks like 7f3a9c21b04d55e0.2")
        found = await self._reader.incident(*parts)
        if found is None:
            text = "no such incident; it may have been forgotten after its retention"
            raise Rejected(404, "unknown_incident", text)
        return found


async def _body(request: web.Request) -> Act:
    try:
        return msgspec.json.decode(await bodies.read(request, _ACT_BYTES) or b"{}", type=Act)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        text = f"the body must be an object with by, note, id, until, duration, to: {exc}"
        raise Rejected(400, "bad_body", text) from None


def _until(kind: CommandKind, body: Act, now: datetime) -> datetime | None:
    """Return when a snooze ends, None for the other acts."""
    if kind is not CommandKind.SNOOZE:
        if body.until is not None or body.duration:
            raise Rejected(400, "bad_body", f"{kind} has no until and no duration")
        return None
    if bool(body.duration) == (body.until is not None):
        raise Rejected(400, "bad_body", 'a snooze needs until (a time) or duration (such as "2h")')
    try:
        length = durations.parse(body.duration) if body.until is None else _utc(body.until) - now
    except (DurationError, OverflowError) as exc:
        raise Rejected(400, "bad_body", f"until, duration: {exc}") from None
    if not timedelta(0) < length <= LONGEST_SNOOZE:
        raise Rejected(400, "bad_body", "a snooze ends in the future, and within 7 days")
    return now + length


def _utc(at: datetime) -> datetime:
    """Return the time in UTC; raises OverflowError where there is none."""
    return at.astimezone(UTC)


def _to(kind: CommandKind, body: Act, head: Incident) -> str:
    to = _plain(body.to, 100)
    if kind in {CommandKind.CONFIRM, CommandKind.REFUTE}:
        return _plain(body.to, 500)
    if kind not in {CommandKind.ASSIGN, CommandKind.MERGE}:
        if to:
            raise Rejected(400, "bad_body", f"{kind} has no to")
        return ""
    if kind is CommandKind.ASSIGN:
        if not to:
            raise Rejected(400, "bad_body", "to: whose is it to be?")
        return to
    parts = split_incident_id(to)
    if parts is None or incident_id(*parts) == head.id:
        raise Rejected(400, "bad_body", "to: the id of another incident, such as 7f3a9c21b04d55e0.2")
    return incident_id(*parts)


def _plain(text: str, most: int = 200) -> str:
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:most].strip()
