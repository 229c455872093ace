"""/webhooks/{source}: size limit, authenticity over raw bytes, parse, append, answer as the sender needs.

2xx is said only after what was told is durable. An authentic delivery that cannot be
read, wholly or in part, goes to the dead letters (docs/reference/sources.md, "What we answer"):
its sender may never send it again, and several switch a hook off that answers 4xx.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog
from aiohttp import web

from router.kit.scrub import scrub
from router.model.errors import Rejected, StoreUnavailable
from router.model.events import Trouble, Unread
from router.ports import Speaking
from router.web import bodies
from router.web.problems import problem, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from router.kit.metrics import Metrics
    from router.model.deliveries import Reply
    from router.model.events import Told
    from router.ports import Clock, Intake, Source
    from router.web.tap import Tap

log = structlog.get_logger(__name__)

#: As much of an unreadable body as a person needs to recognise it.
_HEAD: Final = 100
_SEEN: Final = 4096
#: Of a body that goes to the dead letters. Larger ones are cut: whoever has a source's secret could fill the
#: store with them. PagerDuty and Slack send at most a tenth of it.
MOST_KEPT: Final = 1 << 20
#: How much of large bodies this process keeps whole in a day; beyond it they are cut, too.
DAILY: Final = 64 << 20
#: Of a cut body: enough to see what it is.
_CUT_KEPT: Final = 16 << 10
#: Between two lines of log about a closed source: anybody can knock at it.
_SAY_CLOSED_S: Final = 60.0


class Hearing(Protocol):
    """Told of every delivery: who was heard, and who was turned away. Costs no time."""

    def heard(self, source: str, told: Sequence[Told]) -> None:
        """An authentic delivery was answered 2xx."""

    def turned_away(self, source: str, status: int) -> None:
        """A delivery was answered otherwise; 401 where it was not authentic."""

    def unreadable(self, source: str) -> None:
        """An authentic delivery could not be read, or not wholly."""


class Answering(Protocol):
    """Told of every delivery that was taken; answers people later. Costs no time."""

    def taken(self, source: str, body: bytes, told: Sequence[Told]) -> None:
        """An authentic delivery is durable."""


class Mute:
    """Answers nobody."""

    def taken(self, source: str, body: bytes, told: Sequence[Told]) -> None:
        """Do nothing."""


class Ears(NamedTuple):
    """Who else wants to know of deliveries."""

    hearing: Hearing
    tap: Tap
    talking: Answering = Mute()


class Webhooks:
    """The handler for all sources.

    ``secrets`` by source: () takes whatever comes, None takes nothing.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        secrets: Mapping[str, tuple[bytes, ...] | None],
        intake: Intake,
        clock: Clock,
        metrics: Metrics,
        limits: bodies.Limits,
        ears: Ears,
    ) -> None:
        self._sources, self._secrets, self._intake = sources, secrets, intake
        self._clock, self._metrics, self._limits = clock, metrics, limits
        self._hearing, self._tap, self._talking = ears
        self._said_closed: dict[str, float] = {}
        self._kept_on: date | None = None
        self._kept = 0
        # Asked once: asking whether an object has a Protocol's methods costs as much as reading a small body.
        self._speaking: dict[str, tuple[Source, Speaking | None]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        """Take one delivery."""
        kind = request.match_info["source"].replace("-", "_")
        source = self._sources.get(kind)
        if source is None:
            known = ", ".join(sorted(self._sources))
            return problem(404, "unknown_source", f"no source of that name; there are: {known}")
        secrets = self._secrets.get(kind, ())
        if secrets is None:
            return self._closed(source, request.method)
        cut_off = False
        try:
            try:
                response = await self._take(request, source, secrets)
            except Rejected as exc:
                cut_off = exc.code == "body_cut_off"  # nobody has read the answer, and anybody can do that
                response = await self._late(request, source, secrets, exc) or self._refused(kind, exc)
        except StoreUnavailable as exc:
            log.warning("delivery_not_stored", source=kind, error=str(exc))
            response = unavailable("the event could not be stored; nothing was accepted, send it again")
        except Exception:
            self._metrics.deliveries_in.labels(kind, "500").inc()
            self._hearing.turned_away(kind, 500)
            raise  # logged and answered where every unexpected error is
        self._metrics.deliveries_in.labels(kind, str(response.status)).inc()
        if not web_ok(response.status) and not cut_off:
            self._hearing.turned_away(kind, response.status)
        return response

    def _closed(self, source: Source, method: str) -> web.Response:
        """Answer for a source that has no secret though others than this machine can reach it."""
        kind, now = source.kind, self._clock.monotonic()
        name = f"ROUTER_SOURCE_{kind.upper()}_SECRETS"
        self._metrics.deliveries_in.labels(kind, "403").inc()
        if method in source.manners.methods:
            self._hearing.turned_away(kind, 403)
        if now - self._said_closed.get(kind, -_SAY_CLOSED_S) >= _SAY_CLOSED_S:
            self._said_closed[kind] = now
            log.warning("source_closed", source=kind, hint=f"set {name}; until then it takes nothing")
        return problem(403, "source_closed", f"this source takes nothing until {name} is set")

    async def _take(self, request: web.Request, source: Source, secrets: tuple[bytes, ...]) -> web.Response:
        kind = source.kind
        if request.method not in source.manners.methods:
            allowed = ", ".join(source.manners.methods)
            hint = f": {source.manners.why_not}" if source.manners.why_not else ""
            return problem(405, "method_not_allowed", f"use {allowed}{hint}", {"Allow": allowed})
        body = await bodies.read(request, self._limits.max_body, self._limits.body_s)
        headers = {k.lower(): v for k, v in request.headers.items()}
        known = self._speaking.get(kind)
        if known is None or known[0] is not source:  # the rules may have replaced it
            known = self._speaking[kind] = (source, source if isinstance(source, Speaking) else None)
        speaking = known[1]
        if speaking is not None and (greeting := speaking.greet(headers, body)) is not None:
            return _said(greeting)
        if secrets:
            index = source.verify(headers, body, secrets, self._clock.now())
            self._metrics.secret_index.labels(kind, str(index)).inc()
        return await self._authentic(source, speaking, headers, body)

    async def over_a_connection(
        self, kind: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """Take a delivery of a connection that we opened ourselves; return (status, body) of the answer."""
        source = self._sources[kind]
        try:
            response = await self._authentic(
                source, source if isinstance(source, Speaking) else None, headers, body
            )
        except StoreUnavailable as exc:
            log.warning("delivery_not_stored", source=kind, error=str(exc))
            response = unavailable("the event could not be stored")
        self._metrics.deliveries_in.labels(kind, str(response.status)).inc()
        return response.status, response.body if isinstance(response.body, bytes) else b""

    async def _authentic(
        self, source: Source, speaking: Speaking | None, headers: Mapping[str, str], body: bytes
    ) -> web.Response:
        kind = source.kind
        self._tap.saw(kind, source.manners, headers, body, self._clock.now())
        try:
            told = source.parse(headers, body)
        except Rejected as exc:
            return await self._keep(source, headers, body, exc)
        except Exception as exc:
            # A fault of ours must not cost the event, nor have the sender switch us off.
            log.exception("parser_failed", source=kind)
            text = f"a fault of the router's ({type(exc).__name__}); please report it, and replay after a fix"
            return await self._keep(source, headers, body, Rejected(500, "internal", text))
        taken = await self._intake.take(kind, told)
        if (troubles := [t.reason for t in told if isinstance(t, Trouble)]) != []:
            await self._bury(source, headers, body, "; ".join(troubles))
            self._hearing.unreadable(kind)
        self._hearing.heard(kind, told)
        self._talking.taken(kind, body, told)
        if speaking is not None and (reply := speaking.reply(headers, body)) is not None:
            return _said(reply)
        text = f'{{"status":"accepted","accepted":{taken.accepted},"repeated":{taken.repeated}}}\n'
        return web.Response(
            body=text.encode(), status=source.manners.accepted, content_type="application/json"
        )

    async def _late(
        self, request: web.Request, source: Source, secrets: tuple[bytes, ...], why: Rejected
    ) -> web.Response | None:
        """Answer a body that is too large as its sender needs, where headers alone prove whose it is.

        GitLab sends up to 25 MB, and switches a webhook off that answers 413 a few times.
        """
        if why.code != "too_large" or not web_ok(source.manners.unreadable):
            return None
        headers = {k.lower(): v for k, v in request.headers.items()}
        if secrets:
            try:
                source.verify(headers, b"", secrets, self._clock.now())
            except Rejected:
                return None
        return await self._keep(source, headers, b"", why, cut=True)

    def _refused(self, kind: str, why: Rejected) -> web.Response:
        self._metrics.rejected.labels(kind, why.code).inc()
        log.warning("delivery_rejected", source=kind, status=why.status, code=why.code, detail=why.detail)
        return problem(why.status, why.code, why.detail)

    async def _keep(
        self, source: Source, headers: Mapping[str, str], body: bytes, why: Rejected, *, cut: bool = False
    ) -> web.Response:
        """Put an authentic delivery that cannot be read aside, and answer as its sender needs.

        The refusal is not raised again from here: it would hold this frame, which holds it, and the parsed
        body with it, until the next collection of cycles.
        """
        await self._bury(source, headers, body, f"{why.code}: {why.detail}", cut=cut)
        self._hearing.unreadable(source.kind)
        if not web_ok(source.manners.unreadable):
            return self._refused(source.kind, why)
        self._metrics.rejected.labels(source.kind, why.code).inc()
        self._hearing.heard(source.kind, ())
        text = b'{"status":"unreadable","accepted":0,"repeated":0}\n'
        return web.Response(body=text, status=source.manners.unreadable, content_type="application/json")

    async def _bury(
        self, source: Source, headers: Mapping[str, str], body: bytes, reason: str, *, cut: bool = False
    ) -> None:
        log.warning(
            "body_not_readable",
            source=source.kind,
            size=len(body),
            digest=blake2b(body, digest_size=8).hexdigest(),
            # Without secrets, with which a form may begin; escaped, so that no bytes of it reach a terminal.
            head=ascii(scrub(body[:_SEEN], headers.get("content-type", ""))[:_HEAD])[2:-1],
            reason=reason[:300],
        )
        cut = cut or not self._may_keep(len(body))
        await self._intake.unread(
            Unread(
                source=source.kind,
                reason=reason[:300],
                headers=source.manners.kept(headers),
                body=body[:_CUT_KEPT] if cut else body,
                received_at=self._clock.now(),
                cut=cut,
                delivery=source.manners.delivery_id(headers),
            )
        )

    def _may_keep(self, size: int) -> bool:
        """Return whether a body of that size is kept whole; large ones only within the day's share."""
        if size <= _CUT_KEPT:
            return True
        day = self._clock.now().date()
        if day != self._kept_on:
            self._kept_on, self._kept = day, 0
        if size > MOST_KEPT or self._kept + size > DAILY:
            return False
        self._kept += size
        return True


def web_ok(status: int) -> bool:
    """True for a status by which every sender knows that its event was taken."""
    return 200 <= status < 300


def _said(reply: Reply) -> web.Response:
    return web.Response(body=reply.body, status=reply.status, content_type=reply.content_type)
