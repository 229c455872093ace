"""/api/v1/dead-letters: what could not be read, decided or delivered, and doing it again.

A replay does what the letter's kind asks for, through the same door as everything else, and
deletes the letter only after that is durable. So a crash in between leaves the letter, and a second
replay is harmless: the door knows what it has taken.

===============  =================================================================
kind             a replay
===============  =================================================================
``unreadable``   reads the delivery again, as its source reads today
``undelivered``  tells the destination once more what it should show now
``undecidable``  decides the event again
``undecodable``  tries to decode it with this release, then decides it
===============  =================================================================
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from router.decide import placing
from router.kit.scrub import scrub
from router.model import codec
from router.model.errors import Rejected, StoreUnavailable
from router.model.events import AlertBatch, Doubt, Settled, Trouble, Unread
from router.web import shapes
from router.web.answers import answer, flag, known, limit
from router.web.operations import LIMIT, Operation, Param, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from router.ports import Clock, DeadLetter, Intake, Reader, Source, Taken

_KINDS = ("undecidable", "undecodable", "undelivered", "unreadable")
_ID = re.compile(r"\d{1,4}u?-\d{1,15}-\d{1,15}", re.ASCII).fullmatch
#: Of an event in a list: as much as a person reads.
_SHOWN = 4096
#: How long what is over is remembered at the least (decide's tombstones).
STALE = timedelta(hours=1)


class Letters:
    """The handlers; the API guards them."""

    def __init__(self, reader: Reader, intake: Intake, sources: Mapping[str, Source], clock: Clock) -> None:
        self._reader, self._intake, self._sources, self._clock = reader, intake, sources, clock

    def operations(self) -> list[Operation]:
        """Return what can be done here."""
        base = "/api/v1/dead-letters"
        chosen = (
            Param("kind", "Only of this kind.", {"enum": list(_KINDS)}),
            Param("source", "Only of this source.", {"type": "string"}),
            Param("before", "What comes behind this letter.", {"type": "string"}),
        )
        flags = {"enum": ["true", "false"], "default": "false"}
        stale = Param("stale", "Open incidents for old alerts, too.", flags)
        return [
            Operation(
                "GET", base, self.list, "List what could not be read, decided or delivered.",
                {200: shapes.Letters}, query=(LIMIT, *chosen),
            ),
            Operation(
                "GET", f"{base}/{{id}}", self.show, "Show one whole, secrets taken out.",
                {200: shapes.Letter}, refusals=(404,),
            ),
            Operation(
                "POST", f"{base}/{{id}}/replay", self.replay, "Do again what it holds.",
                {202: shapes.Replayed}, scope=Scope.ACT, refusals=(404, 409), query=(stale,),
            ),
            Operation(
                "POST", f"{base}/{{id}}/drop", self.drop, "Delete it.",
                {200: shapes.Dropped}, scope=Scope.ACT, refusals=(404,),
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """List dead letters, newest first; ``kind``, ``source``, ``limit``, ``before`` a letter's id."""
        known(request, {"limit", "kind", "source", "before"})
        kind, source = request.query.get("kind", ""), request.query.get("source", "")
        if "kind" in request.query and kind not in _KINDS:
            raise Rejected(400, "bad_query", f"kind must be one of {', '.join(_KINDS)}")
        before = request.query.get("before", "")
        if before and _ID(before) is None:
            raise Rejected(400, "bad_query", "before must be a dead letter's id, such as 3u-1764028800000-0")
        found = await self._reader.dead_letters(limit=limit(request), kind=kind, source=source, before=before)
        return answer({"dead_letters": [view(x) for x in found]})

    async def show(self, request: web.Request) -> web.Response:
        """Show one dead letter with its headers and body, secrets taken out."""
        known(request, set())
        return answer(view(await self._letter(request), whole=True))

    async def replay(self, request: web.Request) -> web.Response:
        """Do again what the letter holds; on success the letter is gone. ``stale=true``: see below."""
        known(request, {"stale"})
        stale = flag(request, "stale")
        letter = await self._letter(request)
        taken = await self._again(letter, stale=stale)
        said = {"status": "replayed", "accepted": taken.accepted, "repeated": taken.repeated}
        try:
            await self._drop(letter)
        except StoreUnavailable:
            # It is done. Said otherwise, it would be done again.
            said["note"] = "the dead letter could not be deleted; drop it"
        return answer(said, 202)

    async def drop(self, request: web.Request) -> web.Response:
        """Delete a dead letter for good."""
        known(request, set())
        letter = await self._letter(request)
        await self._drop(letter)
        return answer({"status": "dropped", "id": letter.id})

    async def _drop(self, letter: DeadLetter) -> None:
        """Delete it and what the door remembers of it: the same thing, should it come again, is news."""
        event = _unread(letter)
        forget = [placing.unread_field(event)] if event is not None else []
        await self._reader.drop_dead_letter(letter.id, forget)

    async def _letter(self, request: web.Request) -> DeadLetter:
        letter = await self._reader.dead_letter(request.match_info["id"])
        if letter is None:
            raise Rejected(
                404,
                "unknown_dead_letter",
                "no such dead letter; it may have been replayed or dropped",
            )
        return letter

    async def _again(self, letter: DeadLetter, *, stale: bool) -> Taken:
        if letter.kind == "undelivered":
            return await self._tell_again(letter)
        try:
            event = codec.stored(letter.payload)
        except codec.Undecodable as exc:
            raise _cannot(f"this release ({letter.kind}) cannot decode it: {exc}") from exc
        if isinstance(event, Unread):
            return await self._read_again(_unread(letter) or event, stale=stale)
        return await self._intake.again(event)

    async def _read_again(self, event: Unread, *, stale: bool) -> Taken:
        """Read a delivery, as received when it came; that it is authentic was checked then.

        What it says of alerts may be over by now, and its end may have been forgotten: after an hour nothing
        is opened by it unless that is asked for.
        """
        source = self._sources.get(event.source)
        if source is None:
            raise _cannot(f"there is no source {event.source!r} any more")
        if event.cut:
            raise _cannot("its body is not kept whole: it was too large, or is older than a week")
        try:
            told = source.parse(event.headers, event.body)
        except Rejected as exc:
            raise _cannot(f"still unreadable: {exc.detail}") from exc
        if troubles := [t.reason for t in told if isinstance(t, Trouble)]:
            raise _cannot(f"still not wholly readable; the rest was accepted when it came: {troubles[0]}")
        old = self._clock.now() - event.received_at > STALE
        if old and not stale and any(a.firing for t in told if isinstance(t, AlertBatch) for a in t.alerts):
            raise _cannot(
                f"alerts fire in it, and it came at {event.received_at:%Y-%m-%d %H:%M} UTC: they may be over "
                "by now; to open incidents for them all the same, add stale=true (router dlq replay --stale)"
            )
        return await self._intake.take(event.source, told, event.received_at)

    async def _tell_again(self, letter: DeadLetter) -> Taken:
        try:
            event = msgspec.json.decode(letter.payload, type=Settled)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise _cannot(f"this release cannot decode it: {exc}") from exc
        return await self._intake.doubt(Doubt(event.group, event.generation, event.target, revive=True))


def _cannot(why: str) -> Rejected:
    return Rejected(409, "cannot_replay", f"{why}; the dead letter was left as it is")


def view(letter: DeadLetter, *, whole: bool = False) -> dict[str, Any]:
    """Return a dead letter for people; of a delivery the body only where it is asked for, without secrets."""
    row: dict[str, Any] = {
        "id": letter.id,
        "at": letter.at,
        "kind": letter.kind,
        "source": letter.source,
        "reason": letter.reason,
        "size": letter.size,
    }
    if letter.kind != "unreadable":
        return row | {"payload": scrub(letter.payload[:_SHOWN]).decode("utf-8", "replace")}
    event = _unread(letter) if whole else None
    if event is not None:
        body = scrub(event.body, event.headers.get("content-type", ""))
        shown = {"headers": event.headers, "body": body.decode("utf-8", "replace"), "cut": event.cut}
        row |= shown
    return row


def _unread(letter: DeadLetter) -> Unread | None:
    """Return the delivery with its body; one whose large body has had its time is cut."""
    try:
        event = codec.stored(letter.payload)
    except codec.Undecodable:
        return None
    if not isinstance(event, Unread):
        return None
    if not event.apart:
        return event
    return msgspec.structs.replace(event, body=letter.body, cut=event.cut or not letter.body, apart=False)
