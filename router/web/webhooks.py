"""POST /webhooks/{source}: size limit, authenticity over raw bytes, parse, append, 2xx.

2xx is said only after what was told is durable. Authentic deliveries that say nothing
we act on are answered 2xx too: several senders switch a hook off that answers 4xx.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from router.model.errors import Rejected, StoreUnavailable
from router.web.problems import problem, unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.kit.metrics import Metrics
    from router.ports import Clock, Intake, Source

log = structlog.get_logger(__name__)

#: A body that has not arrived by then is not coming; aiohttp itself would wait for ever.
BODY_S = 10.0


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
    ) -> None:
        self._sources, self._secrets, self._intake = sources, secrets, intake
        self._clock, self._metrics, self._max_body = clock, metrics, max_body

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
        self._metrics.deliveries_in.labels(kind, str(response.status)).inc()
        return response

    async def _take(self, request: web.Request, kind: str, source: Source) -> web.Response:
        body = await self._body(request)
        headers = {k.lower(): v for k, v in request.headers.items()}
        secrets = self._secrets.get(kind, ())
        if secrets:
            index = source.verify(headers, body, secrets, self._clock.now())
            self._metrics.secret_index.labels(kind, str(index)).inc()
        told = source.parse(headers, body)
        taken = await self._intake.take(kind, told)
        text = f'{{"status":"accepted","accepted":{taken.accepted},"repeated":{taken.repeated}}}\n'
        return web.Response(body=text.encode(), status=202, content_type="application/json")

    async def _body(self, request: web.Request) -> bytes:
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            # Inflating what a stranger sends costs unbounded work; no sender of ours compresses.
            raise Rejected(
                415,
                "encoded_body",
                f"Content-Encoding {encoding[:20]!r} is not taken; send the body as it is",
            )
        if (request.content_length or 0) > self._max_body:
            raise Rejected(
                413, "too_large", f"the body is larger than {self._max_body} bytes (ROUTER_MAX_BODY)"
            )
        try:
            if request.content.is_eof():  # it came with its headers, as most do: nothing to wait for
                return await request.read()
            async with asyncio.timeout(BODY_S):
                return await request.read()
        except TimeoutError:
            raise Rejected(408, "slow_body", f"the body did not arrive within {BODY_S:g} s") from None
        except web.HTTPRequestEntityTooLarge:
            raise Rejected(
                413, "too_large", f"the body is larger than {self._max_body} bytes (ROUTER_MAX_BODY)"
            ) from None
