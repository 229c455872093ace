"""Problem bodies (RFC 9457) and the one place where web errors become answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiohttp import web

from router.model.errors import Rejected, StoreUnavailable

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

log = structlog.get_logger(__name__)


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """Return a short JSON problem. ``code`` is stable, ``detail`` says what to do."""
    body = {
        "type": f"urn:incident-router:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )


def unavailable(detail: str) -> web.Response:
    """Return 503: the sender keeps what it has and tries again. Never 429: Alertmanager drops on any 4xx."""
    return problem(503, "store_unavailable", detail, {"Retry-After": "5"})


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:  # noqa: PLR0911  a table of errors
    """Turn what handlers raise into problems; an unexpected error is logged once and tells nothing."""
    try:
        return await handler(request)
    except Rejected as exc:
        return problem(exc.status, exc.code, exc.detail)
    except StoreUnavailable as exc:
        log.warning("store_unavailable", doing=request.path, error=str(exc))
        return unavailable("the store does not answer; nothing was accepted, send it again")
    except web.HTTPRequestEntityTooLarge as exc:
        return problem(
            413,
            "too_large",
            f"the body is larger than {exc.text.rpartition(' ')[2] if exc.text else 'allowed'}"[:200],
        )
    except web.HTTPMethodNotAllowed as exc:
        allowed = ", ".join(sorted(exc.allowed_methods))
        return problem(405, "method_not_allowed", f"use {allowed}", {"Allow": allowed})
    except web.HTTPNotFound:
        return problem(404, "not_found", "no such path")
    except web.HTTPException as exc:
        return problem(exc.status, "http_error", exc.reason)
    except ConnectionError:
        raise  # the client left in the middle; there is nobody to answer
    except Exception:
        log.exception("request_failed", path=request.path, method=request.method)
        return problem(500, "internal", "an unexpected error; it is in the log")
