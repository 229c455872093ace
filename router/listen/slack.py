"""Slack's Socket Mode: clicks and commands over a WebSocket that we open, for routers without public ingress.

What comes is made the body of the same request by HTTP and takes the same way: read, durable, answered. An
envelope is acknowledged only after that, with what the source answers; where nothing could be stored it is
not, and the person sees Slack's own error. There is no signature: we opened the connection ourselves, with
the app-level token.
Format: https://docs.slack.dev/apis/events-api/using-socket-mode
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from router.kit import text

if TYPE_CHECKING:
    from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
    from slack_sdk.socket_mode.request import SocketModeRequest

    from router.ports import ListenContext, ListenerFactory, Take

log = structlog.get_logger(__name__)
# The SDK writes whole envelopes at DEBUG and tracebacks for each failed connection; we say that in a line.
_quiet: Final = logging.getLogger(f"{__name__}.sdk")
_quiet.setLevel(logging.CRITICAL + 1)

#: After a refusal: people have to act first.
REFUSED_S: Final = 30.0
#: Slack shows an error after 3 s; what comes later is of no use to it.
ANSWER_S: Final = 2.9


class SlackSocket:
    """The listener; one connection, opened anew whenever it is lost."""

    kind: Final = "slack"

    def __init__(self, context: ListenContext) -> None:
        self._token = context.settings.get("slack_app_token", "").strip()
        self._url = context.settings.get("slack_api_url") or "https://slack.com/api/"
        self._clock = context.clock

    @property
    def wanted(self) -> bool:
        """True where there is a token to connect with."""
        return bool(self._token)

    async def run(self, take: Take) -> None:
        """Listen until cancelled."""
        client = _Client(
            self._token, logger=_quiet, web_client=AsyncWebClient(base_url=self._url, logger=_quiet)
        )

        async def heard(sdk: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
            await self._heard(sdk, request, take)

        client.socket_mode_request_listeners.append(heard)
        try:
            await client.connect()  # type: ignore[no-untyped-call]  # the SDK's
            log.info("slack_socket_connected")
            await asyncio.Event().wait()
        finally:
            await client.close()  # type: ignore[no-untyped-call]  # the SDK's

    async def _heard(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest, take: Take) -> None:
        made = _request(request.type, request.payload)
        if made is None:
            await client.send_socket_mode_response(SocketModeResponse(request.envelope_id))
            return
        body, media = made
        stamp = str(int(self._clock.now().timestamp()))
        headers = {"content-type": media, "x-slack-request-timestamp": stamp}
        try:
            async with asyncio.timeout(ANSWER_S):
                status, said = await take(headers, body)
        except TimeoutError:
            log.warning("slack_envelope_not_answered", why="it took too long")
            return
        except Exception:  # the SDK would swallow it, with its own words muted
            log.exception("slack_envelope_failed")
            return
        if status != 200:
            log.warning("slack_envelope_not_answered", why=f"status {status}")
            return
        payload = json.loads(said) if said.startswith(b"{") else None
        await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, payload))


class _Client(SocketModeClient):
    """The SDK's client, whose failures to connect are told in a line and not repeated at once."""

    async def issue_new_wss_url(self) -> str:
        try:
            return str(await super().issue_new_wss_url())
        except SlackApiError as exc:
            log.warning(
                "slack_socket_refused",
                code=text.line(str(exc.response.get("error")), 60),
                hint="check ROUTER_SLACK_APP_TOKEN (scope connections:write) and that Socket Mode is on",
            )
            await asyncio.sleep(REFUSED_S)
            raise
        except Exception as exc:
            log.warning("slack_socket_lost", error=type(exc).__name__)
            raise


def _request(kind: str, payload: Any) -> tuple[bytes, str] | None:
    """Return (body, media type) as Slack would have sent it by HTTP, None for what it would not."""
    if not isinstance(payload, dict):
        return None
    form = "application/x-www-form-urlencoded"
    if kind == "slash_commands":
        return urlencode({k: v for k, v in payload.items() if isinstance(v, str)}).encode(), form
    if kind == "interactive":
        return urlencode({"payload": json.dumps(payload)}).encode(), form
    if kind == "events_api":
        return json.dumps(payload).encode(), "application/json"
    return None


build: ListenerFactory = SlackSocket
