"""Reading a request's body: bounded in size and time, never inflated, and whole or not at all.

Every way in which a body can fail to arrive becomes one refusal with its own code, so
that a sender that hangs up is a counted line in the log and not a traceback.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import ClientPayloadError, http_exceptions, web

from router.model.errors import Rejected

#: A body that has not arrived by then is not coming; aiohttp itself would wait for ever.
BODY_S = 10.0
#: What aiohttp raises where the bytes end or break off inside a body.
_CUT_OFF = (
    ConnectionError,
    web.RequestPayloadError,
    ClientPayloadError,
    http_exceptions.HttpProcessingError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one body: its size in bytes, and how long it may take to arrive."""

    max_body: int
    body_s: float = BODY_S


async def read(request: web.Request, limit: int, seconds: float = BODY_S) -> bytes:
    """Return the whole body, of at most ``limit`` bytes.

    Raises:
        Rejected: 415 compressed, 413 too large, 408 too slow, 400 cut off.
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        # Inflating what a stranger sends costs unbounded work; no sender of ours compresses.
        text = f"Content-Encoding {encoding[:20]!r} is not taken; send the body as it is"
        raise Rejected(415, "encoded_body", text)
    too_large = Rejected(413, "too_large", f"the body is larger than {limit} bytes{_setting(request, limit)}")
    if (request.content_length or 0) > limit:
        raise too_large
    try:
        if request.content.is_eof():  # it came with its headers, as most do: nothing to wait for
            body = await request.read()
        else:
            async with asyncio.timeout(seconds):
                body = await request.read()
    except TimeoutError:
        raise Rejected(408, "slow_body", f"the body did not arrive within {seconds:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except _CUT_OFF:
        text = "the body broke off before its end; nothing of it was taken"
        raise Rejected(400, "body_cut_off", text) from None
    if len(body) > limit:  # it came in chunks, without a length
        raise too_large
    return body


def _setting(request: web.Request, limit: int) -> str:
    """Name the setting where it is what limits."""
    return " (ROUTER_MAX_BODY)" if limit == request.client_max_size else ""
