"""/api/v1/reconcile: where our incidents differ from what Alertmanager and PagerDuty have open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from router.web import shapes
from router.web.answers import answer, known
from router.web.operations import Operation

if TYPE_CHECKING:
    from aiohttp import web

    from router.ports import Surroundings


class Reconciliation:
    """The handler; the API guards it."""

    def __init__(self, shared: Surroundings) -> None:
        self._shared = shared

    def operations(self) -> list[Operation]:
        """Return what can be done here."""
        about = (
            "Show where incidents stand otherwise at Alertmanager or PagerDuty, and what is done about it."
        )
        return [Operation("GET", "/api/v1/reconcile", self.show, about, {200: shapes.Report})]

    async def show(self, request: web.Request) -> web.Response:
        """Show what the reconciler found last; it looks once a minute."""
        known(request, set())
        raw = await self._shared.report()
        found = msgspec.json.decode(raw) if raw else {"at": None, "asked": [], "differences": []}
        return answer(found)
