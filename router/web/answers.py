"""What the API's handlers share: JSON out, checked parameters in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from router.model.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

MOST = 500


def answer(data: Any, status: int = 200) -> web.Response:
    """Return JSON."""
    return web.Response(
        body=msgspec.json.encode(data) + b"\n", status=status, content_type="application/json"
    )


def known(request: web.Request, names: AbstractSet[str]) -> None:
    """Refuse a misspelt parameter, which would otherwise answer another question than was asked."""
    if unknown := set(request.query) - names:
        text = f"{min(unknown)[:40]!r} is not a parameter here; there are: {', '.join(sorted(names))}"
        raise Rejected(400, "bad_query", text)


def limit(request: web.Request) -> int:
    """Return the parameter ``limit``, 100 where it is not given."""
    text = request.query.get("limit", "100")
    if len(text) > 3 or not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MOST:
        raise Rejected(400, "bad_query", f"limit must be a number from 1 to {MOST}")
    return int(text)
