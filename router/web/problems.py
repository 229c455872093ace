"""Problem bodies (RFC 9457) and the one place where web errors become answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from aiohttp import web

from router.model.errors import Rejected, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler, Middleware

log = structlog.get_logger(__name__)

#: Under which a problem's code goes along with its answer, to be counted.
CODE: Final = web.ResponseKey("code", str)


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return a short JSON problem. ``code`` is stable, ``detail`` says what to do."""
    body = {
        "type": f"urn:incident-router:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    response = web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )
    response[CODE] = code
    return response


def unavailable(detail: str) -> web.Response:
    """Return 503: the sender keeps what it has and tries again. Never 429: Alertmanager drops on any 4xx."""
    return problem(503, "store_unavailable", detail, {"Retry-After": "5"})


def errors(count: Callable[[str], None]) -> Middleware:
    """Return the middleware that turns what handlers raise into problems, each counted by its code."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _refuse_pages(request)
            response = await handler(request)
        except Exception as exc:  # noqa: BLE001  each kind has its answer, the last one is logged
            response = _answer(request, exc)
        if (code := response.get(CODE)) is not None:
            count(code)
        return response

    return middleware


def _refuse_pages(request: web.Request) -> None:
    """Refuse what a browser sends for a web page: it is never a sender of ours, nor a person's own call.

    Browsers put Origin on every POST; without this a page could post events to an open router
    on its reader's machine.
    """
    if request.method != "GET" and "Origin" in request.headers:
        raise Rejected(403, "from_web_page", "requests of web pages (with an Origin header) are not taken")


def _answer(request: web.Request, exc: Exception) -> web.Response:
    """Return the problem of an exception; an unexpected one is logged once and tells nothing."""
    match exc:
        case Rejected():
            # RFC 9110: a 401 says how to authenticate.
            headers = {"WWW-Authenticate": "Bearer"} if exc.status == HTTPStatus.UNAUTHORIZED else None
            return problem(exc.status, exc.code, exc.detail, headers)
        case StoreUnavailable():
            log.warning("store_unavailable", doing=request.path, error=str(exc))
            return unavailable("the store does not answer; nothing was accepted, send it again")
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(exc.allowed_methods))
            return problem(405, "method_not_allowed", f"use {allowed}", {"Allow": allowed})
        case web.HTTPNotFound():
            return problem(404, "not_found", "no such path")
        case web.HTTPException():
            return problem(exc.status, "http_error", exc.reason)
    log.error("request_failed", path=request.path[:200], method=request.method, exc_info=exc)
    return problem(500, "internal", "an unexpected error; it is in the log")
