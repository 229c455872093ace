"""POST /webhooks/{source}: size limit, authenticity over raw bytes, parse, append, 2xx.

2xx is said only after what was told is durable. Authentic deliveries that say nothing
we act on are answered 2xx too: several senders switch a hook off that answers 4xx.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from router.model.errors import Rejected, StoreUnavailable
from router.web import bodies
from router.web.problems import problem, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.kit.metrics import Metrics
    from router.model.events import Told
    from router.ports import Clock, Intake, Source

log = structlog.get_logger(__name__)

#: As much of an unreadable body as a person needs to recognise it.
_HEAD = 100


class Webhooks:
    """The handler for all sources."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        secrets: Mapping[str, tuple[bytes, ...]],
        intake: Intake,
        clock: Clock,
        metrics: Metrics,
        max_body: int,
        *,
        body_s: float = bodies.BODY_S,
    ) -> None:
        self._sources, self._secrets, self._intake = sources, secrets, intake
        self._clock, self._metrics = clock, metrics
        self._max_body, self._body_s = max_body, body_s

    async def handle(self, request: web.Request) -> web.Response:
        """Take one delivery."""
        kind = request.match_info["source"]
        source = self._sources.get(kind)
        if source is None:
            known = ", ".join(sorted(self._sources))
            return problem(404, "unknown_source", f"no source of that name; there are: {known}")
        try:
            response = await self._take(request, kind, source)
        except Rejected as exc:
            self._metrics.rejected.labels(kind, exc.code).inc()
            log.warning("delivery_rejected", source=kind, status=exc.status, code=exc.code, detail=exc.detail)
            response = problem(exc.status, exc.code, exc.detail)
        except StoreUnavailable as exc:
            log.warning("delivery_not_stored", source=kind, error=str(exc))
            response = unavailable("the event could not be stored; nothing was accepted, send it again")
        except Exception:
            self._metrics.deliveries_in.labels(kind, "500").inc()
            raise  # logged and answered where every unexpected error is
        self._metrics.deliveries_in.labels(kind, str(response.status)).inc()
        return response

    async def _take(self, request: web.Request, kind: str, source: Source) -> web.Response:
        body = await bodies.read(request, self._max_body, self._body_s)
        headers = {k.lower(): v for k, v in request.headers.items()}
        secrets = self._secrets.get(kind, ())
        if secrets:
            index = source.verify(headers, body, secrets, self._clock.now())
            self._metrics.secret_index.labels(kind, str(index)).inc()
        told = _parse(source, headers, body)
        taken = await self._intake.take(kind, told)
        text = f'{{"status":"accepted","accepted":{taken.accepted},"repeated":{taken.repeated}}}\n'
        return web.Response(body=text.encode(), status=202, content_type="application/json")


def _parse(source: Source, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
    """Parse; of an authentic body that cannot be read, the log keeps what tells it from others."""
    try:
        return source.parse(headers, body)
    except Rejected:
        log.warning(
            "body_not_readable",
            source=source.kind,
            size=len(body),
            digest=blake2b(body, digest_size=8).hexdigest(),
            head=ascii(body[:_HEAD])[2:-1],  # escaped: no bytes of a sender's reach a terminal
        )
        raise
