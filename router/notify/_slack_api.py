"""Slack's Web API as notifiers use it: one call at a time, failures as values, a pace for each channel.

Limits and error codes: https://docs.slack.dev/reference/methods/chat.postMessage
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from router.kit import text
from router.kit.mrkdwn import fit
from router.kit.pacing import Pace
from router.model.outcomes import Delivered, Outcome, Refused, Retry, Unsure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ports import IncidentJob, NotifierContext

log = structlog.get_logger(__name__)
# The SDK writes whole requests at DEBUG, and builds those lines unless its logger's own level is higher.
_quiet: Final = logging.getLogger(f"{__name__}.sdk")
_quiet.setLevel(logging.WARNING)

PATIENCE_S: Final = 1.0
#: They take no JSON.
_READS: Final = {"conversations.history", "conversations.list", "users.info"}
EVENT_TYPE: Final = "incident_router_incident"

_MARKUP: Final = {"invalid_arguments", "invalid_blocks", "msg_blocks_too_long", "msg_too_long", "no_text"}
GONE: Final = {"message_not_found", "cant_update_message", "edit_window_closed"}
_AUTH: Final = {
    "account_inactive",
    "invalid_auth",
    "missing_scope",
    "not_authed",
    "token_expired",
    "token_revoked",
}
BUSY: Final = {"ratelimited", "rate_limited", "message_limit_exceeded"}
#: Slack's own words: after these, something may have been done all the same.
_PERHAPS: Final = {"fatal_error", "internal_error", "lost", "not_understood"}
MENDABLE_S: Final = 60.0  # people have to act first


@dataclass(frozen=True, slots=True)
class Answer:
    """What Slack said: its error code, "" for success; ``unsent`` and ``lost`` where it said nothing."""

    code: str = ""
    after_s: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)

    def outcome(self, *, repeatable: bool) -> Outcome:
        """Return what a failure means; ``repeatable``: doing it twice shows nothing twice."""
        detail = f"Slack: {text.line(self.code, 100)}"
        if self.code in BUSY:
            return Retry("rateLimited", detail, self.after_s or 1.0)
        if self.code in _AUTH:
            return Retry("authError", f"{detail}; check the bot token and its scopes", MENDABLE_S)
        if self.code in _PERHAPS and not repeatable:
            return Unsure("contextDeadlineExceeded" if self.code == "lost" else "serverError", detail)
        if self.code == "unsent":
            return Retry("other", "Slack could not be reached")
        if self.code in _PERHAPS or self.code.startswith("http_5") or self.code == "service_unavailable":
            return Retry("serverError", detail, self.after_s)
        return Retry("clientError", f"{detail}; check the channel, and that the app is in it", MENDABLE_S)


class Api:
    """The API with the app's bot token; one HTTP session, opened at the first call."""

    def __init__(self, context: NotifierContext) -> None:
        self.token = context.settings.get("slack_bot_token", "").strip()
        self._url = context.settings.get("slack_api_url") or "https://slack.com/api/"
        self._clock = context.clock
        # An attempt makes at most two calls that can be slow.
        self._timeout = aiohttp.ClientTimeout(total=context.timeout_s / 2, sock_connect=context.timeout_s / 4)
        self._session: aiohttp.ClientSession | None = None
        self.pace = Pace(interval_s=1.0, burst=3)  # about 1 message a second and channel, in short bursts
        self._ids: dict[str, str] = {}  # channel as configured -> id, as answers tell

    async def close(self) -> None:
        """Give back the connections."""
        if self._session is not None:
            await self._session.close()

    async def reserve(self, name: str) -> float:
        """Wait for the channel's pace; return 0, or for how long it asks to wait if that is too long."""
        free, wait_s = self.pace.reserve(name, self._clock.monotonic(), PATIENCE_S)
        if free and wait_s:
            await self._clock.sleep(wait_s)
        return 0.0 if free else wait_s

    async def post(self, name: str, job: IncidentJob, message: Mapping[str, Any]) -> Outcome:
        """Post the incident's message into a channel, by name or id."""
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"incident": job.incident.id}}
        quiet = {"unfurl_links": False, "unfurl_media": False, "link_names": False, "parse": "none"}
        answer = await self.degrading(
            "chat.postMessage", name, {"channel": name, **message, "metadata": metadata, **quiet}
        )
        channel, ts = str(answer.data.get("channel", "")), str(answer.data.get("ts", ""))
        if not answer.code:
            self._ids[name] = channel
        return settle(answer, f"{channel}/{ts}", repeatable=False)

    async def find(self, incident_id: str, name: str) -> Answer:
        """Look for the incident's message in the channel; without it the answer holds no ts."""
        channel = self._ids.get(name, name)
        query = {"channel": channel, "include_all_metadata": True, "limit": 100}
        answer = await self.call("conversations.history", name, query)
        for message in answer.data.get("messages") or []:
            payload = (message.get("metadata") or {}).get("event_payload") or {}
            if payload.get("incident") == incident_id:
                return Answer(data={"channel": channel, "ts": str(message.get("ts", ""))})
        return Answer(code=answer.code or "not_found")

    async def degrading(self, method: str, name: str, body: dict[str, Any]) -> Answer:
        """Call; where Slack dislikes the markup, once more as plain text. A page of plain text beats none."""
        answer = await self.call(method, name, body)
        if answer.code not in _MARKUP:
            return answer
        log.warning("slack_markup_refused", method=method, code=answer.code)
        return await self.call(method, name, {**body, "text": fit(body["text"], 1000), "blocks": []})

    async def call(self, method: str, name: str, body: dict[str, Any]) -> Answer:
        """Call a method; ``name``: whose pace a rate limit is about."""
        self._session = self._session or aiohttp.ClientSession(timeout=self._timeout)
        client = AsyncWebClient(
            self.token, self._url, session=self._session, retry_handlers=[], logger=_quiet
        )
        try:
            if method in _READS:
                response = await client.api_call(method, http_verb="GET", params=body)
            else:
                response = await client.api_call(method, json=body)
        except SlackApiError as exc:
            answer = _failed(exc.response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            answer = Answer("unsent")
        except (aiohttp.ClientError, TimeoutError, OSError):
            answer = Answer("lost")
        except (SlackClientError, ValueError, TypeError, AttributeError):
            answer = Answer("not_understood")  # a 200 that is not Slack's, for example a proxy's page
        else:
            return Answer(data=response.data if isinstance(response.data, dict) else {})
        if answer.code in BUSY:
            self.pace.hold(name, self._clock.monotonic(), answer.after_s or 1.0)
        return answer


def _failed(response: Any) -> Answer:
    """Return a refusal as an answer; the SDK hands over its own response or, for a broken body, aiohttp's."""
    status = getattr(response, "status_code", None) or getattr(response, "status", 0)
    data = getattr(response, "data", None)
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    after_s = text.retry_after_s(getattr(response, "headers", {}).get("Retry-After"))
    if status == 429:
        return Answer("ratelimited", after_s)
    if status != 200:
        return Answer(f"http_{status}", after_s)
    return Answer(code or "not_understood", after_s)


def settle(answer: Answer, ref: str, *, repeatable: bool) -> Outcome:
    """Return the outcome of a message that was posted or edited."""
    if not answer.code:
        return Delivered(ref=ref)
    if answer.code in _MARKUP:
        return Refused("clientError", f"Slack: {answer.code}, even as plain text")
    return answer.outcome(repeatable=repeatable)
