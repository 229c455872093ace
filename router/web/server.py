"""The aiohttp application: routes, limits, health, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from router.model.errors import StoreUnavailable
from router.web.problems import errors, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.kit.metrics import Metrics
    from router.ports import Reader
    from router.web.api import Api
    from router.web.tap import Tap
    from router.web.webhooks import Webhooks


class Health:
    """Liveness and readiness. Alive is not ready: a router that waits for Redis is alive."""

    def __init__(self, reader: Reader, metrics: Metrics, ready: Callable[[], str]) -> None:
        self._reader, self._metrics, self._ready = reader, metrics, ready

    def count_problem(self, code: str) -> None:
        """Count an answer that is a problem."""
        self._metrics.problems.labels(code).inc()

    async def healthy(self, _: web.Request) -> web.Response:
        """Answer while the event loop runs."""
        return web.Response(text="OK\n")

    async def ready(self, _: web.Request) -> web.Response:
        """Answer 200 while events can be accepted and worked."""
        reason = self._ready()
        if not reason:
            try:
                await self._reader.ping()
            except StoreUnavailable as exc:
                reason = f"the store does not answer: {exc}"
        self._metrics.store_up.set(0 if reason.startswith("the store") else 1)
        return problem(503, "not_ready", reason) if reason else web.Response(text="Ready\n")

    async def metrics(self, _: web.Request) -> web.Response:
        """Show the metrics; depths are read now, and left as they were where the store is down."""
        try:
            for what, n in (await self._reader.depths()).items():
                self._metrics.depth.labels(what).set(n)
            self._metrics.store_up.set(1)
        except StoreUnavailable:
            self._metrics.store_up.set(0)
        return web.Response(
            body=self._metrics.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )


def make_app(
    webhooks: Webhooks, api: Api, health: Health, max_body: int, tap: Tap | None = None
) -> web.Application:
    """Return the application with every path."""
    app = web.Application(client_max_size=max_body, middlewares=[errors(health.count_problem)])
    app.add_routes(
        [
            web.route("*", "/webhooks/{source}", webhooks.handle),  # a source says by which methods it sends
            web.get("/-/healthy", health.healthy),
            web.get("/-/ready", health.ready),
            web.get("/metrics", health.metrics),
            *api.routes(),
        ]
    )

    async def let_go(_: web.Application) -> None:
        if tap is not None:
            tap.close()

    app.on_shutdown.append(let_go)  # else a capture would hold up the stop
    return app
