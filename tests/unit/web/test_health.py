"""Liveness, readiness and the metrics page."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

from router.model.errors import StoreUnavailable
from tests.fakes.web import Room, served


async def test_alive_is_not_ready() -> None:
    """A router that waits for its store, or that is stopping, is alive and not ready, and says why."""
    room = Room()
    async with served(room) as c:
        assert (await c.get("/-/ready")).status == 200
        assert room.count("store_up") == 1
        room.not_ready = "the router is stopping"
        response = await c.get("/-/ready")
        assert response.status == 503
        assert (await response.json(content_type=None))["detail"] == "the router is stopping"
        assert room.count("store_up") == 1
        room.not_ready = ""
        room.reader.error = StoreUnavailable("TimeoutError")
        response = await c.get("/-/ready")
        assert response.status == 503
        assert (await response.json(content_type=None))["code"] == "not_ready"
        assert room.count("store_up") == 0
        assert (await c.get("/-/healthy")).status == 200


async def test_probes_ask_nobody_who_they_are() -> None:
    """Probes and the metrics page answer without a token, under any name, HEAD too."""
    async with served(Room(tokens=(b"token",), open_=False)) as c:
        for path in ("/-/healthy", "/-/ready", "/metrics"):
            assert (await c.get(path, headers={"Host": "10.1.2.3:8080"})).status == 200
            assert (await c.head(path)).status == 200


async def test_metrics_page_is_prometheus_text() -> None:
    """The page parses, every name is ours, and depths are read when it is asked for."""
    async with served(Room()) as c:
        response = await c.get("/metrics")
        text = await response.text()
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(text))
    assert all(f.name.startswith("incident_router_") and f.documentation for f in families)
    depths = {
        s.labels["what"]: s.value for f in families for s in f.samples if f.name.endswith("_store_depth")
    }
    assert depths["inbox_normal"] == 2
    assert depths["open"] == 6


async def test_metrics_are_there_while_the_store_is_not() -> None:
    """An outage is when metrics are needed: the page stays, and says that the store is down."""
    room = Room()
    room.reader.error = StoreUnavailable("TimeoutError")
    async with served(room) as c:
        response = await c.get("/metrics")
        assert response.status == 200
        assert re.search(r"^incident_router_store_up 0\.0$", await response.text(), re.MULTILINE)
