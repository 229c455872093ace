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


def known(request: web.Request, names: AbstractSet[str], several: AbstractSet[str] = frozenset()) -> None:
    """Refuse a misspelt parameter, which would otherwise answer another question than was asked.

    So would one that is given twice; ``several`` may be.
    """
    if unknown := set(request.query) - names:
        text = f"{min(unknown)[:40]!r} is not a parameter here; there are: {', '.join(sorted(names))}"
        raise Rejected(400, "bad_query", text)
    twice = [name for name in names - several if len(request.query.getall(name, ())) > 1]
    if twice:
        raise Rejected(400, "bad_query", f"{min(twice)} may be given once")


def flag(request: web.Request, name: str) -> bool:
    """Return a parameter that is true or false, false where it is not given."""
    text = request.query.get(name, "false")
    if text not in {"true", "false"}:
        raise Rejected(400, "bad_query", f"{name} must be true or false")
    return text == "true"


def limit(request: web.Request) -> int:
    """Return the parameter ``limit``, 100 where it is not given."""
    text = request.query.get("limit", "100")
    if len(text) > 3 or not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MOST:
        raise Rejected(400, "bad_query", f"limit must be a number from 1 to {MOST}")
    return int(text)
