"""A small client of a running router's API, for the command line. Errors are sentences."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from router.model.errors import RouterError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)
#: A capture is open for as long as one wants; the other side sends an empty line every 15 s.
_STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=45)
_MOST_LINE: Final = 16 << 20


class RemoteError(RouterError):
    """The router could not be asked, or refused; the text is for the person at the terminal."""


class Remote:
    """One router, by its base URL; ``token`` is one of its ROUTER_API_TOKENS, "" where it needs none."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON of a path."""
        return await self._ask("GET", path, params=dict(query or {}))

    async def post(self, path: str) -> Any:
        """Ask for something to be done; return the JSON that says so."""
        return await self._ask("POST", path, json={})

    async def _ask(self, method: str, path: str, **how: Any) -> Any:
        async with self._response(method, path, _TIMEOUT, **how) as response:
            return await response.json(content_type=None)

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, path: str, limits: aiohttp.ClientTimeout, **how: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with (
                aiohttp.ClientSession(timeout=limits, headers=self._headers, read_bufsize=_MOST_LINE) as s,
                s.request(method, self._url + path, allow_redirects=False, **how) as response,
            ):
                if not response.ok:
                    raise RemoteError(await _why(response))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            text = (str(exc) or type(exc).__name__)[:200]
            raise RemoteError(f"no answer from {self._url}: {text}; is the router running there?") from exc

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Yield the lines of a stream, empty ones too, until the other side ends it."""
        async with self._response("GET", path, _STREAM_TIMEOUT, params=dict(query)) as response:
            while line := await response.content.readline():
                yield line.strip()


async def _why(response: aiohttp.ClientResponse) -> str:
    """Return what a problem body says, else the status."""
    with contextlib.suppress(aiohttp.ClientError, ValueError, asyncio.TimeoutError):
        body = await response.json(content_type=None)
        if isinstance(body, dict) and isinstance(body.get("detail"), str):
            return f"{body['detail']} ({response.status} {body.get('code', '')})"
    return f"the router answered {response.status} {response.reason}"
