"""Slack: one message per incident, edited as the incident moves, with a thread of what changed.

``render_message`` is pure; ``Slack`` sends. Slack has no idempotency key, so a message
carries its incident in its metadata, and after a doubtful first post the channel is
searched for it before anything is posted again. Limits and error codes:
https://docs.slack.dev/reference/methods/chat.postMessage
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import structlog
from pydantic import BaseModel, ConfigDict, Field
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from router.kit import text
from router.kit.mrkdwn import escape, fit
from router.kit.pacing import Pace
from router.model.destinations import Lane
from router.model.outcomes import Delivered, Outcome, Refused, Retry, Unsure
from router.notify._slack_message import render_message
from router.ports import NotifierSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ports import ChangeJob, IncidentJob, NotifierContext

log = structlog.get_logger(__name__)
# The SDK writes whole requests at DEBUG, and builds those lines unless its logger's own level is higher.
_quiet: Final = logging.getLogger(f"{__name__}.sdk")
_quiet.setLevel(logging.WARNING)

PATIENCE_S: Final = 1.0
#: They take no JSON.
_READS: Final = {"conversations.history", "users.info"}
EVENT_TYPE: Final = "incident_router_incident"

_MARKUP: Final = {"invalid_arguments", "invalid_blocks", "msg_blocks_too_long", "msg_too_long", "no_text"}
_GONE: Final = {"message_not_found", "cant_update_message", "edit_window_closed"}
_AUTH: Final = {
    "account_inactive",
    "invalid_auth",
    "missing_scope",
    "not_authed",
    "token_expired",
    "token_revoked",
}
_BUSY: Final = {"ratelimited", "rate_limited", "message_limit_exceeded"}
#: Slack's own words: after these, something may have been done all the same.
_PERHAPS: Final = {"fatal_error", "internal_error", "lost", "not_understood"}
_MENDABLE_S: Final = 60.0  # people have to act first


class Options(BaseModel):
    """An entry under ``slack_configs``: the channel, by name or (better) id."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    channel: str = Field(min_length=1, max_length=80, pattern=r"^[^\s<>/]+$")
    thread: bool = True
    buttons: bool = True


@dataclass(frozen=True, slots=True)
class _Answer:
    """What Slack said: its error code, "" for success; ``unsent`` and ``lost`` where it said nothing."""

    code: str = ""
    after_s: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)

    def outcome(self, *, repeatable: bool) -> Outcome:
        """Return what a failure means; ``repeatable``: doing it twice shows nothing twice."""
        detail = f"Slack: {text.line(self.code, 100)}"
        if self.code in _BUSY:
            return Retry("rateLimited", detail, self.after_s or 1.0)
        if self.code in _AUTH:
            return Retry("authError", f"{detail}; check the bot token and its scopes", _MENDABLE_S)
        if self.code in _PERHAPS and not repeatable:
            return Unsure("contextDeadlineExceeded" if self.code == "lost" else "serverError", detail)
        if self.code == "unsent":
            return Retry("other", "Slack could not be reached")
        if self.code in _PERHAPS or self.code.startswith("http_5") or self.code == "service_unavailable":
            return Retry("serverError", detail, self.after_s)
        return Retry("clientError", f"{detail}; check the channel, and that the app is in it", _MENDABLE_S)


class Slack:
    """The notifier; one HTTP session, opened at the first send."""

    kind: Final = "slack"
    lane: Final = Lane.CHAT
    tells_changes: Final = False

    def __init__(self, context: NotifierContext) -> None:
        self._token = context.settings.get("slack_bot_token", "").strip()
        self._url = context.settings.get("slack_api_url") or "https://slack.com/api/"
        self._heard = context.settings.get("slack_heard") == "true"  # else clicks would fail silently
        self._clock = context.clock
        # An attempt makes at most two calls that can be slow.
        self._timeout = aiohttp.ClientTimeout(total=context.timeout_s / 2, sock_connect=context.timeout_s / 4)
        self._session: aiohttp.ClientSession | None = None
        self._pace = Pace(interval_s=1.0, burst=3)  # about 1 message a second and channel, in short bursts
        self._ids: dict[str, str] = {}  # channel as configured -> id, as answers tell

    def ready(self, options: BaseModel) -> str:
        """Return "" if the app's token is at hand, else what is missing."""
        if not isinstance(options, Options):
            return "these are not slack options"
        return "" if self._token else "the setting slack_bot_token is empty"

    def hold(self, options: BaseModel) -> float:
        """Return how long the channel's pace, or Slack's own Retry-After, asks to wait."""
        return self._pace.wait(getattr(options, "channel", ""), self._clock.monotonic())

    async def send(self, job: IncidentJob) -> Outcome:
        """Post the incident's message, or edit it to what it should show."""
        options = job.options
        if (missing := self.ready(options)) or not isinstance(options, Options):
            return Retry("authError", missing, _MENDABLE_S)
        free, wait_s = self._pace.reserve(options.channel, self._clock.monotonic(), PATIENCE_S)
        if not free:
            return Retry("rateLimited", "too many messages for this channel", wait_s)
        if wait_s:
            await self._clock.sleep(wait_s)
        buttons = options.buttons and self._heard
        message = dict(zip(("text", "blocks"), render_message(job, buttons=buttons), strict=True))
        channel, _, ts = job.destination.ref.partition("/")
        if not ts and job.doubtful:
            found = await self._find(job.incident.id, options.channel)
            if found.code in _BUSY:
                return found.outcome(repeatable=True)
            channel, ts = found.data.get("channel", ""), found.data.get("ts", "")
            if not ts:
                log.warning(
                    "slack_maybe_double", incident=job.incident.id, channel=options.channel, why=found.code
                )
        if ts:
            answer = await self._degrading(
                "chat.update", options.channel, {"channel": channel, "ts": ts, **message}
            )
            if not answer.code and job.changed and options.thread:
                await self._reply(options.channel, channel, ts, job)
            if answer.code not in _GONE:
                return _settle(answer, f"{channel}/{ts}", repeatable=True)
        return await self._post(options.channel, job, message)

    async def email(self, person: str) -> str:
        """Return the e-mail in a person's profile, "" where the app may not see it (``users:read.email``).

        Raises:
            OSError: Slack did not answer, or asks to wait; it may tell later.
        """
        answer = await self._call("users.info", "@people", {"user": person})
        if answer.code in {*_BUSY, "lost", "unsent"} or answer.code.startswith("http_5"):
            raise OSError(answer.code)
        profile = (answer.data.get("user") or {}).get("profile") or {}
        return text.line(str(profile.get("email") or ""), 254)

    async def ask(self, method: str, args: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Call a method of Slack's Web API for whoever answers people: (error code or "", answer)."""
        if not self._token:
            return "not_authed", {}
        answer = await self._call(method, "@people", dict(args))
        return answer.code, answer.data

    async def send_change(self, job: ChangeJob) -> Outcome:  # noqa: ARG002  the port's signature
        """Refuse: a channel is not told of deploys."""
        return Refused("clientError", "slack does not tell of deploys")

    async def close(self) -> None:
        """Give back the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, name: str, job: IncidentJob, message: Mapping[str, Any]) -> Outcome:
        metadata = {"event_type": EVENT_TYPE, "event_payload": {"incident": job.incident.id}}
        quiet = {"unfurl_links": False, "unfurl_media": False, "link_names": False, "parse": "none"}
        answer = await self._degrading(
            "chat.postMessage", name, {"channel": name, **message, "metadata": metadata, **quiet}
        )
        channel, ts = str(answer.data.get("channel", "")), str(answer.data.get("ts", ""))
        if not answer.code:
            self._ids[name] = channel
        return _settle(answer, f"{channel}/{ts}", repeatable=False)

    async def _reply(self, name: str, channel: str, ts: str, job: IncidentJob) -> None:
        """Tell in the thread what changed; the message is right without, so a failure is only logged."""
        free, wait_s = self._pace.reserve(name, self._clock.monotonic(), PATIENCE_S)
        if free:
            await self._clock.sleep(wait_s)
            said = fit("\n".join(escape(change, 300) for change in job.changed[:10]), 2000)
            body = {"channel": channel, "thread_ts": ts, "text": said, "parse": "none", "link_names": False}
            answer = await self._call("chat.postMessage", name, body)
            if not answer.code:
                return
        log.info("slack_reply_left_out", incident=job.incident.id, why=answer.code if free else "pace")

    async def _find(self, incident_id: str, name: str) -> _Answer:
        """Look for the incident's message in the channel; without it the answer holds no ts."""
        channel = self._ids.get(name, name)
        query = {"channel": channel, "include_all_metadata": True, "limit": 100}
        answer = await self._call("conversations.history", name, query)
        for message in answer.data.get("messages") or []:
            payload = (message.get("metadata") or {}).get("event_payload") or {}
            if payload.get("incident") == incident_id:
                return _Answer(data={"channel": channel, "ts": str(message.get("ts", ""))})
        return _Answer(code=answer.code or "not_found")

    async def _degrading(self, method: str, name: str, body: dict[str, Any]) -> _Answer:
        """Call; where Slack dislikes the markup, once more as plain text. A page of plain text beats none."""
        answer = await self._call(method, name, body)
        if answer.code not in _MARKUP:
            return answer
        log.warning("slack_markup_refused", method=method, code=answer.code)
        return await self._call(method, name, {**body, "text": fit(body["text"], 1000), "blocks": []})

    async def _call(self, method: str, name: str, body: dict[str, Any]) -> _Answer:
        self._session = self._session or aiohttp.ClientSession(timeout=self._timeout)
        client = AsyncWebClient(
            self._token, self._url, session=self._session, retry_handlers=[], logger=_quiet
        )
        try:
            if method in _READS:
                response = await client.api_call(method, http_verb="GET", params=body)
            else:
                response = await client.api_call(method, json=body)
        except SlackApiError as exc:
            answer = _failed(exc.response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            answer = _Answer("unsent")
        except (aiohttp.ClientError, TimeoutError, OSError):
            answer = _Answer("lost")
        except (SlackClientError, ValueError, TypeError, AttributeError):
            answer = _Answer("not_understood")  # a 200 that is not Slack's, for example a proxy's page
        else:
            return _Answer(data=response.data if isinstance(response.data, dict) else {})
        if answer.code in _BUSY:
            self._pace.hold(name, self._clock.monotonic(), answer.after_s or 1.0)
        return answer


def _failed(response: Any) -> _Answer:
    """Return a refusal as an answer; the SDK hands over its own response or, for a broken body, aiohttp's."""
    status = getattr(response, "status_code", None) or getattr(response, "status", 0)
    data = getattr(response, "data", None)
    code = str(data.get("error") or "") if isinstance(data, dict) else ""
    after_s = text.retry_after_s(getattr(response, "headers", {}).get("Retry-After"))
    if status == 429:
        return _Answer("ratelimited", after_s)
    if status != 200:
        return _Answer(f"http_{status}", after_s)
    return _Answer(code or "not_understood", after_s)


def _settle(answer: _Answer, ref: str, *, repeatable: bool) -> Outcome:
    if not answer.code:
        return Delivered(ref=ref)
    if answer.code in _MARKUP:
        return Refused("clientError", f"Slack: {answer.code}, even as plain text")
    return answer.outcome(repeatable=repeatable)


build = NotifierSpec("slack", Lane.CHAT, Options, Slack,
    render=lambda job: dict(zip(("text", "blocks"), render_message(job), strict=True)))  # fmt: skip
