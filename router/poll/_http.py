"""What pollers have in common: one HTTP session that asks, and failures in words that say what to do.

Every text is bounded and without the token. Answers are read up to a limit, certificates are verified,
and redirects are not followed, since the token would go along.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from router.kit import wire
from router.kit.text import retry_after_s
from router.model.errors import PollFailed

if TYPE_CHECKING:
    from collections.abc import Mapping


class Bounds(NamedTuple):
    """How long one answer may take, and how large it may be, unpacked."""

    timeout_s: float
    max_bytes: int


class Words(NamedTuple):
    """What people are told to do when an API does not answer as it should; each is a clause.

    Args:
        address: where its address is set.
        account: how to get a token that it accepts.
        trust: what makes its certificate trusted.
        fewer: how to make its answers smaller.
        otherwise: for a status that ``advice`` does not know.
        advice: what to do by status, other than 401 and 429.
        ca: the setting that names a file of certificates; "" where there is none.
    """

    address: str
    account: str
    trust: str
    fewer: str
    otherwise: str
    advice: Mapping[int, str]
    ca: str = ""


class Refused(PollFailed):
    """An answer other than 200, 401 and 429, its ``status``: the API is there, and does not give this."""

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


class Stop(PollFailed):
    """A failure that the next question would meet, too: whoever asks for many things stops here."""


class Redirected(PollFailed):
    """An answer that leads elsewhere; ``location`` is where, as it was written."""

    def __init__(self, detail: str, location: str) -> None:
        super().__init__(detail)
        self.location = location


class Api:
    """One HTTP API; the session is opened at the first question.

    Args:
        url: its address, without a slash at the end.
        headers: sent with every question; the token is among them.
        words: what people are told.
        bounds: of one answer.
        ca_file: certificates of its authority; "" for the system's.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], words: Words, bounds: Bounds, ca_file: str = ""
    ) -> None:
        self.url = url
        self._headers, self._words, self._bounds, self._ca_file = headers, words, bounds, ca_file
        self._session: aiohttp.ClientSession | None = None

    async def document(self, path: str, **query: str | tuple[str, ...]) -> dict[str, Any]:
        """Return the JSON object that a GET of this path under the address gives.

        Raises:
            PollFailed: it gives another thing, or nothing.
        """
        found = await self._get(path, query)
        if isinstance(found, dict):
            return found
        raise self._unlike("object")

    async def array(self, path: str, **query: str | tuple[str, ...]) -> list[Any]:
        """Return the JSON array that a GET of this path under the address gives.

        Raises:
            PollFailed: it gives another thing, or nothing.
        """
        found = await self._get(path, query)
        if isinstance(found, list):
            return found
        raise self._unlike("array")

    async def close(self) -> None:
        """Give back the connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, path: str, query: Mapping[str, str | tuple[str, ...]]) -> Any:
        """Return the JSON of an answer, None where it is no JSON."""
        try:
            async with self._opened().get(
                f"{self.url}/{path}", params=query, allow_redirects=False
            ) as response:
                self._check(response)
                return _json(await self._read(response))
        except TimeoutError as exc:
            raise PollFailed(f"{self.url} did not answer within {self._bounds.timeout_s:g} s") from exc
        except (aiohttp.ClientSSLError, ssl.SSLError) as exc:
            raise Stop(
                f"the TLS certificate of {self.url} is not trusted, or is another host's; {self._words.trust}"
            ) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:  # their texts may quote headers
            kind = Stop if isinstance(exc, aiohttp.ClientConnectorError) else PollFailed
            raise kind(f"{self.url} cannot be reached ({type(exc).__name__}); {self._words.address}") from exc

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls(), limit=2),
                timeout=aiohttp.ClientTimeout(total=self._bounds.timeout_s),
                headers=self._headers,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _tls(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file or None)
        except (OSError, ValueError) as exc:
            raise Stop(
                f"{self._words.ca} cannot be used ({type(exc).__name__}): it must hold certificates in PEM "
                "form"
            ) from exc

    def _check(self, response: aiohttp.ClientResponse) -> None:
        """Raise for any answer but 200."""
        status, words = response.status, self._words
        if status == 200:
            return
        if 300 <= status < 400:
            raise Redirected(
                f"{self.url} redirects to another address, which is not followed since the token would go "
                f"there, too; {words.address}",
                response.headers.get("Location", ""),
            )
        if status == 401:
            raise Stop(f"{self.url} does not accept the token (401); {words.account}")
        if status == 429:
            pause = retry_after_s(response.headers.get("Retry-After"))
            after = f", Retry-After: {pause:g} s" if pause else ""
            raise Stop(
                f"{self.url} is asked too often (429{after}); raise ROUTER_POLL_SECONDS, or its rate limit"
            )
        advice = words.advice.get(status, words.otherwise)
        raise Refused(f"{self.url} answered {status}; {advice}", status)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._bounds.max_bytes:
                raise PollFailed(
                    f"an answer of {self.url} is over {self._bounds.max_bytes:,} bytes; {self._words.fewer}"
                )
        return bytes(body)

    def _unlike(self, shape: str) -> PollFailed:
        return PollFailed(
            f"the answer of {self.url} is no JSON {shape} (a login page?); {self._words.address}"
        )


def leads_to_us(hook: str, source: str, external_url: str) -> bool:
    """True where a webhook's URL is that of a source of ours; of any host where we do not know our own."""
    try:
        url, ours = urlsplit(hook), urlsplit(external_url).hostname
        host = url.hostname
    except ValueError:
        return False
    return url.path.removesuffix("/").endswith(f"/webhooks/{source}") and (not ours or ours == host)


def _json(body: bytes) -> Any:
    try:
        return wire.value(body)
    except wire.Unreadable:
        return None
