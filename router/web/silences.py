"""/api/v1/silences: what people asked not to be told, in the form of Alertmanager's API v2.

``GET`` lists and shows, ``POST`` makes a silence, or changes the one whose ``id`` is given: in place, or
where that would rewrite history, by a new one (see :mod:`router.decide.silencing`). ``POST .../expire`` and
``DELETE`` end one now; doing so twice is no error. All of them answer 200, as Alertmanager does, once the
change is stored and in force in this process; the others follow within a second or so. With
``import=true`` an id that is not known here is kept, so that the same import twice changes nothing.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from router.decide import outlook, silencing
from router.model import codec
from router.model.errors import Rejected, StoreUnavailable
from router.model.silences import Silence, SilenceMatcher, SilenceState
from router.rulebook import matchers
from router.rulebook.matchers import MatcherError
from router.web import bodies, shapes
from router.web.answers import answer, flag, known, limit
from router.web.operations import LIMIT, Operation, Param, Scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import web

    from router.ports import Clock, Reader, Surroundings
    from router.rulebook.matchers import Matcher

LONGEST: Final = timedelta(days=90)
#: What is forgotten in a silence is never told: by feel, more than people can look after.
MOST: Final = 5_000
MOST_MATCHERS: Final = 50
MOST_COMMENT, MOST_AUTHOR, MOST_NAME = 1_000, 200, 200
#: Room for so many matchers, each as long as a regular expression may be.
_BODY_BYTES: Final = 256 << 10
_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}").fullmatch
_STATES: Final = ("active", "pending", "expired", "all")

_Time = Annotated[datetime, msgspec.Meta(tz=True)]


class _Matcher(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: str
    is_regex: bool = msgspec.field(name="isRegex")
    is_equal: bool = msgspec.field(name="isEqual", default=True)


class _Posted(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Alertmanager's ``postableSilence``; the last four are what a silence is shown with, and not read."""

    matchers: list[_Matcher]
    starts_at: _Time
    ends_at: _Time
    created_by: str
    comment: str
    id: str = ""
    status: Any = None
    updated_at: Any = None
    annotations: Any = None
    mutes: Any = None


class Silences:
    """The handlers; the API guards them. ``refresh`` puts in force here what was written."""

    def __init__(
        self, shared: Surroundings, reader: Reader, clock: Clock, refresh: Callable[[], Awaitable[None]]
    ) -> None:
        self._shared, self._reader, self._clock, self._refresh = shared, reader, clock, refresh

    def operations(self) -> list[Operation]:
        """Return what can be done here."""
        base, one = "/api/v1/silences", "/api/v1/silences/{id}"
        written, act = {200: shapes.SilenceWritten}, Scope.ACT
        state = Param("state", "Not said: those that are not over.", {"enum": list(_STATES)})
        chosen = Param("filter", "A matcher; all must be found in a silence.", {"type": "string"}, many=True)
        flags = tuple(
            Param(name, about, {"enum": ["true", "false"], "default": "false"})
            for name, about in (("import", "Keep an unknown id."), ("dry_run", "Write nothing."))
        )
        return [
            Operation(
                "GET", base, self.list, "List silences, the next to end first.",
                {200: shapes.Silences}, query=(state, chosen, LIMIT),
            ),
            Operation(
                "POST", base, self.write, "Make a silence, or change the one whose id is given.", written,
                scope=act, refusals=(404, 408, 409, 413, 415), query=flags, body=_Posted,
            ),
            Operation(
                "GET", one, self.show, "Show one silence.", {200: shapes.Silence}, refusals=(404,)
            ),
            Operation(
                "DELETE", one, self.expire, "End it now.", written, scope=act, refusals=(404,)
            ),
            Operation(
                "POST", f"{one}/expire", self.expire, "End it now.", written, scope=act, refusals=(404,)
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """List silences, those that are not over unless ``state`` says otherwise; ``filter``, ``limit``."""
        known(request, {"state", "limit", "filter"}, {"filter"})
        state = request.query.get("state", "")
        if "state" in request.query and state not in _STATES:
            raise Rejected(400, "bad_query", f"state must be one of {', '.join(_STATES)}")
        most, wanted, now = limit(request), _filter(request), self._clock.now()
        found = [
            s
            for s in _decoded(await self._shared.silences()).values()
            if _meant(state, s.state(now)) and silencing.chosen(s, wanted)
        ]
        muting = silencing.mutes(await self._reader.muted())
        shown = [_view(s, now, muting[s.id]) for s in silencing.in_order(found, now)[:most]]
        return answer({"silences": shown, "total": len(found)})

    async def show(self, request: web.Request) -> web.Response:
        """Show one silence."""
        known(request, set())
        silence = await self._silence(request)
        muting = silencing.mutes(await self._reader.muted())
        return answer(_view(silence, self._clock.now(), muting[silence.id]))

    async def write(self, request: web.Request) -> web.Response:
        """Make a silence, or change the one of this id; ``import``, ``dry_run`` (nothing is written)."""
        known(request, {"import", "dry_run"})
        imports, dry = flag(request, "import"), flag(request, "dry_run")
        posted, now = await _posted(request), self._clock.now()
        stored = await self._shared.silences()
        before = _before(stored, posted.id, imports=imports, now=now)
        wish = _checked(posted, now)
        made = (silencing.imported if imports else silencing.written)(before, wish, now)
        if made.silence.id not in stored and len(stored) >= MOST:
            text = (
                f"{MOST} silences are kept already: make wider ones; expired ones are forgotten after 5 days"
            )
            raise Rejected(409, "too_many_silences", text)
        changed = [s for s in (made.silence, made.ended) if s is not None]
        if made.result != "unchanged" and not dry:
            await self._put(*changed)
        said: dict[str, Any] = {"silenceID": made.silence.id, "result": made.result}
        if made.ended is not None:
            said["replaces"] = made.ended.id
        return await self._answer(said, made.silence)

    async def make(self, matchers_: str, length: timedelta, by: str, comment: str) -> Silence:
        """Make a silence from now on, asked for in a chat; see :class:`router.ports.Silencer`."""
        now = self._clock.now()
        try:
            found = matchers.parse(matchers_)
            ends = now + length
        except (MatcherError, OverflowError) as exc:
            raise _bad(
                f"matchers: {_said(exc)}" if isinstance(exc, MatcherError) else "it is too long"
            ) from None
        listed = [_Matcher(m.name, m.value, "~" in m.op, not m.op.startswith("!")) for m in found]
        wish = _checked(_Posted(listed, now, ends, by, comment), now)
        if len(await self._shared.silences()) >= MOST:
            raise Rejected(409, "too_many_silences", f"{MOST} silences are kept already: make wider ones")
        made = silencing.written(None, wish, now).silence
        await self._put(made)
        return made

    async def expire(self, request: web.Request) -> web.Response:
        """End a silence now; one that has ended is left as it is."""
        known(request, set())
        silence, now = await self._silence(request), self._clock.now()
        if silence.state(now) is SilenceState.EXPIRED:
            return await self._answer({"silenceID": silence.id, "result": "unchanged"}, silence)
        silence = silencing.expired(silence, now)
        await self._put(silence)
        return await self._answer({"silenceID": silence.id, "result": "expired"}, silence)

    async def _silence(self, request: web.Request) -> Silence:
        stored = await self._shared.silences()
        return _found(stored, request.match_info["id"])

    async def _put(self, *changed: Silence) -> None:
        await self._shared.put_silences({s.id: codec.encode(s) for s in changed})
        with contextlib.suppress(StoreUnavailable):  # it is written, and read once a second anyway
            await self._refresh()

    async def _answer(self, said: dict[str, Any], silence: Silence) -> web.Response:
        """Say what was done. How much it mutes is an extra: what is done is not denied for the lack of it."""
        mutes: int | None = None
        with contextlib.suppress(StoreUnavailable):
            mutes = silencing.mutes(await self._reader.muted())[silence.id]
        return answer({**said, "mutes": mutes, "silence": _view(silence, self._clock.now(), mutes)})


def _view(silence: Silence, now: datetime, mutes: int | None) -> dict[str, Any]:
    """Return Alertmanager's ``gettableSilence``, and how many open incidents it mutes."""
    return {
        "id": silence.id,
        "status": {"state": silence.state(now)},
        "updatedAt": silence.updated_at,
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "startsAt": silence.starts_at,
        "endsAt": silence.ends_at,
        "matchers": [
            {"name": m.name, "value": m.value, "isRegex": m.is_regex, "isEqual": m.is_equal}
            for m in silence.matchers
        ],
        "annotations": {},
        "mutes": mutes,
    }


def _meant(asked: str, state: SilenceState) -> bool:
    return asked in {"all", state} if asked else state is not SilenceState.EXPIRED


def _decoded(stored: Mapping[str, bytes]) -> dict[str, Silence]:
    """Return those that this release can read; of the others the log tells."""
    found: dict[str, Silence] = {}
    for name, raw in stored.items():
        with contextlib.suppress(codec.Undecodable):
            found[name] = codec.silence(raw)
    return found


def _found(stored: Mapping[str, bytes], silence_id: str) -> Silence:
    raw = stored.get(silence_id)
    silence = _decoded({silence_id: raw}).get(silence_id) if raw is not None else None
    if silence is None:
        raise Rejected(404, "unknown_silence", "no such silence; expired ones are forgotten after 5 days")
    return silence


def _before(stored: Mapping[str, bytes], silence_id: str, *, imports: bool, now: datetime) -> Silence | None:
    """Return the silence that is to be changed; None where one is to be made."""
    if not silence_id:
        return None
    if not imports:
        return _found(stored, silence_id)
    if silence_id not in stored:
        return None
    before = _found(stored, silence_id)
    if silencing.ended_by_hand(before, now):
        text = f"{silence_id} was expired here at {before.ends_at:%Y-%m-%d %H:%M} UTC; make a new one"
        raise Rejected(409, "silence_expired", text)
    return before


# --- what is asked for, checked -------------------------------------------------------------------


def _filter(request: web.Request) -> list[Matcher]:
    """Return the matchers of ``filter``, which may be given several times."""
    texts = request.query.getall("filter", [])
    try:
        found = [m for text in texts for m in matchers.parse(text)]
    except MatcherError as exc:
        raise Rejected(400, "bad_query", f"filter: {_said(exc)}") from None
    if len(found) > MOST_MATCHERS:
        raise Rejected(400, "bad_query", f"at most {MOST_MATCHERS} matchers in filter")
    return found


def _said(exc: MatcherError) -> str:
    return f"{exc} ({exc.hint})" if exc.hint else str(exc)


def _bad(text: str) -> Rejected:
    return Rejected(400, "bad_silence", text)


async def _posted(request: web.Request) -> _Posted:
    if request.content_type != "application/json":
        raise Rejected(415, "not_json", "send Content-Type: application/json")
    try:
        posted = msgspec.json.decode(await bodies.read(request, _BODY_BYTES), type=_Posted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Rejected(400, "bad_body", f"the body must be a silence as Alertmanager's: {exc}") from None
    if posted.id and _ID(posted.id) is None:
        raise _bad("id: 1 to 64 of A-Z, a-z, 0-9 and -")
    return posted


def _checked(posted: _Posted, now: datetime) -> Silence:
    """Return what was asked for as a silence.

    Raises:
        Rejected: 400 with what is wrong.
    """
    starts, ends = _utc("startsAt", posted.starts_at), _utc("endsAt", posted.ends_at)
    if ends <= starts:
        raise _bad("endsAt must be after startsAt")
    if ends <= now:
        raise _bad("endsAt must be in the future")
    if ends - max(starts, now) > LONGEST:
        raise _bad(f"it may last {LONGEST.days} days at most; use the rules' maintenance_windows beyond")
    if not 1 <= len(posted.matchers) <= MOST_MATCHERS:
        raise _bad(f"it needs 1 to {MOST_MATCHERS} matchers, and has {len(posted.matchers)}")
    for m in posted.matchers:
        if len(m.name) > MOST_NAME or len(m.value) > matchers.MAX_REGEX:
            text = f"a matcher's name may have {MOST_NAME} characters, its value {matchers.MAX_REGEX}"
            raise _bad(f"{text}: {m.name[:60]!r}")
    silence = Silence(
        id=posted.id,
        matchers=tuple(SilenceMatcher(m.name, m.value, m.is_regex, m.is_equal) for m in posted.matchers),
        starts_at=starts,
        ends_at=ends,
        created_by=_text("createdBy", posted.created_by, MOST_AUTHOR),
        comment=_text("comment", posted.comment, MOST_COMMENT),
        updated_at=now,
    )
    try:
        outlook.compiled(silence)
    except MatcherError as exc:
        raise _bad(f"matchers: {_said(exc)}") from None
    return silence


def _utc(name: str, at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise _bad(f"{name} is no time that can be worked with") from None


def _text(name: str, text: str, most: int) -> str:
    """Return a text as one line."""
    text = " ".join(text.split())
    if not text:
        raise _bad(f"{name} is required")
    if len(text) > most:
        raise _bad(f"{name} may have {most} characters, and has {len(text)}")
    if not text.isprintable():
        raise _bad(f"{name} has characters that cannot be shown")
    return text
