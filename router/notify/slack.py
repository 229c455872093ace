"""Slack: one message per incident, edited as the incident moves, with a thread of what changed.

``render_message`` is pure; ``Slack`` sends. Slack has no idempotency key, so a message
carries its incident in its metadata, and after a doubtful first post the channel is
searched for it before anything is posted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field

from router.kit import text
from router.kit.mrkdwn import escape, fit
from router.model.destinations import Lane
from router.model.outcomes import Outcome, Refused, Retry
from router.notify._slack_api import BUSY, GONE, MENDABLE_S, Api, settle
from router.notify._slack_message import render_message
from router.ports import NotifierSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ports import ChangeJob, IncidentJob, NotifierContext

log = structlog.get_logger(__name__)


class Options(BaseModel):
    """An entry under ``slack_configs``: the channel, by name or (better) id."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    channel: str = Field(min_length=1, max_length=80, pattern=r"^[^\s<>/]+$")
    thread: bool = True
    buttons: bool = True


class Slack:
    """The notifier; one HTTP session, opened at the first send."""

    kind: Final = "slack"
    lane: Final = Lane.CHAT
    tells_changes: Final = False

    def __init__(self, context: NotifierContext) -> None:
        self._api = Api(context)
        self._heard = context.settings.get("slack_heard") == "true"  # else clicks would fail silently
        self._clock = context.clock

    def ready(self, options: BaseModel) -> str:
        """Return "" if the app's token is at hand, else what is missing."""
        if not isinstance(options, Options):
            return "these are not slack options"
        return "" if self._api.token else "the setting slack_bot_token is empty"

    def hold(self, options: BaseModel) -> float:
        """Return how long the channel's pace, or Slack's own Retry-After, asks to wait."""
        return self._api.pace.wait(getattr(options, "channel", ""), self._clock.monotonic())

    async def send(self, job: IncidentJob) -> Outcome:
        """Post the incident's message, or edit it to what it should show."""
        options = job.options
        if (missing := self.ready(options)) or not isinstance(options, Options):
            return Retry("authError", missing, MENDABLE_S)
        if wait_s := await self._api.reserve(options.channel):
            return Retry("rateLimited", "too many messages for this channel", wait_s)
        buttons = options.buttons and self._heard
        message = dict(zip(("text", "blocks"), render_message(job, buttons=buttons), strict=True))
        channel, _, ts = job.destination.ref.partition("/")
        if not ts and job.doubtful:
            found = await self._api.find(job.incident.id, options.channel)
            if found.code in BUSY:
                return found.outcome(repeatable=True)
            channel, ts = found.data.get("channel", ""), found.data.get("ts", "")
            if not ts:
                log.warning(
                    "slack_maybe_double", incident=job.incident.id, channel=options.channel, why=found.code
                )
        if ts:
            answer = await self._api.degrading(
                "chat.update", options.channel, {"channel": channel, "ts": ts, **message}
            )
            if not answer.code and job.changed and options.thread:
                await self._reply(options.channel, channel, ts, job)
            if answer.code not in GONE:
                return settle(answer, f"{channel}/{ts}", repeatable=True)
        return await self._api.post(options.channel, job, message)

    async def email(self, person: str) -> str:
        """Return the e-mail in a person's profile, "" where the app may not see it (``users:read.email``).

        Raises:
            OSError: Slack did not answer, or asks to wait; it may tell later.
        """
        answer = await self._api.call("users.info", "@people", {"user": person})
        if answer.code in {*BUSY, "lost", "unsent"} or answer.code.startswith("http_5"):
            raise OSError(answer.code)
        profile = (answer.data.get("user") or {}).get("profile") or {}
        return text.line(str(profile.get("email") or ""), 254)

    async def ask(self, method: str, args: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Call a method of Slack's Web API for whoever answers people: (error code or "", answer)."""
        if not self._api.token:
            return "not_authed", {}
        answer = await self._api.call(method, "@people", dict(args))
        return answer.code, answer.data

    async def send_change(self, job: ChangeJob) -> Outcome:  # noqa: ARG002  the port's signature
        """Refuse: a channel is not told of deploys."""
        return Refused("clientError", "slack does not tell of deploys")

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()

    async def _reply(self, name: str, channel: str, ts: str, job: IncidentJob) -> None:
        """Tell in the thread what changed; the message is right without, so a failure is only logged."""
        answer = None
        if not await self._api.reserve(name):
            said = fit("\n".join(escape(change, 300) for change in job.changed[:10]), 2000)
            body = {"channel": channel, "thread_ts": ts, "text": said, "parse": "none", "link_names": False}
            answer = await self._api.call("chat.postMessage", name, body)
            if not answer.code:
                return
        log.info("slack_reply_left_out", incident=job.incident.id, why=answer.code if answer else "pace")


build = NotifierSpec("slack", Lane.CHAT, Options, Slack,
    render=lambda job: dict(zip(("text", "blocks"), render_message(job), strict=True)))  # fmt: skip
