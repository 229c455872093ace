"""A small client of a running router's API, for the command line. Errors are sentences."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from router.kit.secrets_in_text import links
from router.kit.text import line
from router.model.errors import RouterError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)
#: A capture is open for as long as one wants; the other side sends an empty line every 15 s.
_STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=45)
_MOST_LINE: Final = 16 << 20
#: What the API says when it has done, or will do, what was asked.
_DONE: Final = frozenset({200, 202})


class RemoteError(RouterError):
    """The router could not be asked, or refused; the text is for the person at the terminal."""


class Remote:
    """One router, by its base URL; ``token`` is one of its ROUTER_API_TOKENS, "" where it needs none.

    What answers at that URL may be something else, such as a proxy that asks for a login. So an
    answer counts only if it is what the API says.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._shown = line(links(self._url), 200)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def get(self, path: str, shape: Any, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object of a path, whole; ``shape``: a TypedDict of what has to be in it."""
        return await self._ask("GET", path, shape, params=dict(query or {}))

    async def text(self, path: str, media: str, query: Mapping[str, str]) -> str:
        """Return a path's answer as text, if it is of that media type."""
        async with self._response("GET", path, _TIMEOUT, params=dict(query)) as response:
            if response.content_type != media:
                raise self._stranger(f"its answer is {line(response.content_type, 50)}, not {media}")
            return await response.text("utf-8", "replace")

    async def post(
        self, path: str, shape: Any, query: Mapping[str, str] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """Ask for something to be done; return the JSON object that says so."""
        return await self._ask("POST", path, shape, params=dict(query or {}), json=body or {})

    async def _ask(self, method: str, path: str, shape: Any, **how: Any) -> dict[str, Any]:
        async with self._response(method, path, _TIMEOUT, **how) as response:
            raw = await response.read()
        try:
            found = msgspec.json.decode(raw)
            msgspec.convert(found, shape)
        except (ValueError, RecursionError) as exc:
            raise self._stranger(str(exc) or type(exc).__name__) from exc
        if not isinstance(found, dict):
            raise self._stranger("its answer is no JSON object")
        return found

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, path: str, limits: aiohttp.ClientTimeout, **how: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with (
                aiohttp.ClientSession(timeout=limits, headers=self._headers, read_bufsize=_MOST_LINE) as s,
                s.request(method, self._url + path, allow_redirects=False, **how) as response,
            ):
                if response.status not in _DONE:
                    raise await self._refusal(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            text = line(links(str(exc)), 200) or type(exc).__name__
            raise RemoteError(f"no answer from {self._shown}: {text}; is the router running there?") from exc

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a stream, empty ones too, until the other side ends it."""
        async with self._response("GET", path, _STREAM_TIMEOUT, params=dict(query)) as response:
            if response.content_type != "application/x-ndjson":
                raise self._stranger(f"its answer is {line(response.content_type, 50)}, not a stream")
            while found := await response.content.readline():
                yield found.strip()

    async def _refusal(self, response: aiohttp.ClientResponse) -> RemoteError:
        """Say where an answer sends one to, or what a problem body says, else the status."""
        if 300 <= response.status < 400:
            return RemoteError(
                f"{self._shown} redirects to {_host(response)} ({response.status}):"
                " give the router's own address with --url, not one behind a login"
            )
        if response.ok:
            return self._stranger(f"it answered {response.status}")
        with contextlib.suppress(aiohttp.ClientError, ValueError, RecursionError, asyncio.TimeoutError):
            body = msgspec.json.decode(await response.read())
            if isinstance(body, dict) and isinstance(body.get("detail"), str):
                code = line(str(body.get("code", "")), 50)
                return RemoteError(f"{line(body['detail'], 400)} ({response.status} {code})")
        return RemoteError(f"{self._shown} answered {response.status} {line(response.reason or '', 50)}")

    def _stranger(self, why: str) -> RemoteError:
        return RemoteError(
            f"what answers at {self._shown} is not a router: {line(why, 200)};"
            " give the router's own address with --url"
        )


def _host(response: aiohttp.ClientResponse) -> str:
    """Return the host that an answer sends one to; the rest of that URL may hold a secret."""
    with contextlib.suppress(ValueError):
        host = urlsplit(response.headers.get("Location", "")).hostname
        return line(host or "", 100) or "another path of its own"
    return "somewhere else"
