"""A Slack channel for each incident that is bad enough: opened, told, and archived when it is over.

The channel's name follows from the incident, so that a second attempt finds it instead of opening another.
Needs the scopes ``channels:manage`` and ``channels:read``. Methods: https://docs.slack.dev/reference/methods,
``conversations.create``, ``.list``, ``.invite``, ``.setTopic``, ``.archive``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field

from router.kit import text
from router.kit.mrkdwn import escape
from router.model.destinations import Lane, Want
from router.model.events import Severity
from router.model.outcomes import Delivered, Outcome, Refused, Retry
from router.notify._slack_api import BUSY, GONE, MENDABLE_S, Answer, Api, settle
from router.notify._slack_message import render_message
from router.ports import NotifierSpec

if TYPE_CHECKING:
    from router.model.incidents import Incident
    from router.ports import ChangeJob, IncidentJob, NotifierContext

log = structlog.get_logger(__name__)

#: Slack's limit of a channel's name.
MAX_NAME: Final = 80
MAX_TOPIC: Final = 250
#: By feel: who has more channels than that looks for the one of a doubtful attempt by hand.
MAX_PAGES: Final = 10
_NOT_IN_NAME: Final = re.compile(r"[^a-z0-9_-]+")


class Options(BaseModel):
    """An entry under ``slack_channel_configs``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    min_severity: Severity = Severity.CRITICAL
    prefix: str = Field(default="inc", pattern=r"^[a-z0-9][a-z0-9_-]{0,19}$")
    invite: tuple[str, ...] = Field(default=(), max_length=100)
    archive: bool = False
    buttons: bool = True


def channel_name(incident: Incident, prefix: str) -> str:
    """Return the name of an incident's channel: ``inc-payment-service-7f3a9c21b04d55e0-2``."""
    end = f"{incident.group}-{incident.generation}"
    about = _NOT_IN_NAME.sub("-", (incident.service or incident.title).lower()).strip("-_")
    room = MAX_NAME - len(prefix) - len(end) - 2
    return "-".join(part for part in (prefix, about[:room].strip("-_"), end) if part)


class SlackChannel:
    """The notifier."""

    kind: Final = "slack_channel"
    lane: Final = Lane.CHAT
    tells_changes: Final = False

    def __init__(self, context: NotifierContext) -> None:
        self._api = Api(context)
        self._heard = context.settings.get("slack_heard") == "true"

    def ready(self, options: BaseModel) -> str:
        """Return "" if the app's token is at hand, else what is missing."""
        if not isinstance(options, Options):
            return "these are not slack_channel options"
        return "" if self._api.token else "the setting slack_bot_token is empty"

    def hold(self, options: BaseModel) -> float:  # noqa: ARG002  the port's signature
        """Return 0: each channel has a pace of its own."""
        return 0.0

    async def send(self, job: IncidentJob) -> Outcome:
        """Open the incident's channel and post there, or edit what stands there; nothing if it is mild."""
        options = job.options
        if (missing := self.ready(options)) or not isinstance(options, Options):
            return Retry("authError", missing, MENDABLE_S)
        channel, _, ts = job.destination.ref.partition("/")
        mild = job.incident.severity.rank > options.min_severity.rank
        if not channel and (mild or job.destination.want is Want.RESOLVED):
            return Delivered()
        if not channel:
            opened = await self._opened(job, options)
            if opened.code:
                return opened.outcome(repeatable=False)
            channel = str(opened.data["id"])
        if wait_s := await self._api.reserve(channel):
            return Retry("rateLimited", "too many messages for this channel", wait_s)
        return await self._shown(job, options, channel, ts)

    async def _shown(self, job: IncidentJob, options: Options, channel: str, ts: str) -> Outcome:
        rendered = render_message(job, buttons=options.buttons and self._heard)
        message: dict[str, Any] = dict(zip(("text", "blocks"), rendered, strict=True))
        if not ts and job.doubtful:
            found = await self._api.find(job.incident.id, channel)
            if found.code in BUSY:
                return found.outcome(repeatable=True)
            ts = str(found.data.get("ts", ""))
        if not ts:
            return await self._api.post(channel, job, message)
        answer = await self._api.degrading("chat.update", channel, {"channel": channel, "ts": ts, **message})
        if answer.code in {*GONE, "is_archived", "channel_not_found"}:
            return Delivered(ref=f"{channel}/{ts}")  # people have closed it, or cleared it: that is theirs
        outcome = settle(answer, f"{channel}/{ts}", repeatable=True)
        if options.archive and job.destination.want is Want.RESOLVED and isinstance(outcome, Delivered):
            await self._extra("conversations.archive", channel, job, {"channel": channel})
        return outcome

    async def _opened(self, job: IncidentJob, options: Options) -> Answer:
        """Return the channel's id as ``id``; opened now, or by an attempt whose answer was lost."""
        name = channel_name(job.incident, options.prefix)
        answer = await self._api.call("conversations.create", "@channels", {"name": name})
        if answer.code == "name_taken":
            return await self._named(name)
        if answer.code:
            return answer
        channel = str((answer.data.get("channel") or {}).get("id", ""))
        topic = text.line(job.title or job.incident.title or job.incident.id, MAX_TOPIC)
        about = {"channel": channel, "topic": escape(topic, MAX_TOPIC)}
        await self._extra("conversations.setTopic", channel, job, about)
        if options.invite:
            users = ",".join(options.invite)
            await self._extra("conversations.invite", channel, job, {"channel": channel, "users": users})
        return Answer(data={"id": channel}) if channel else Answer("not_understood")

    async def _named(self, name: str) -> Answer:
        cursor = ""
        for _ in range(MAX_PAGES):
            query = {"limit": 1000, "exclude_archived": True, "types": "public_channel"}
            more = {"cursor": cursor} if cursor else {}
            answer = await self._api.call("conversations.list", "@channels", {**query, **more})
            if answer.code:
                return answer
            for one in answer.data.get("channels") or []:
                if one.get("name") == name:
                    return Answer(data={"id": str(one.get("id", ""))})
            cursor = str((answer.data.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                break
        return Answer("channel_not_found")

    async def _extra(self, method: str, channel: str, job: IncidentJob, body: dict[str, Any]) -> None:
        """Do what the channel is right without; a failure is only logged."""
        answer = await self._api.call(method, channel, body)
        if answer.code:
            log.warning("slack_channel_incomplete", method=method, incident=job.incident.id, code=answer.code)

    async def send_change(self, job: ChangeJob) -> Outcome:  # noqa: ARG002  the port's signature
        """Refuse: a channel is not told of deploys."""
        return Refused("clientError", "slack_channel does not tell of deploys")

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()


build = NotifierSpec(
    "slack_channel",
    Lane.CHAT,
    Options,
    SlackChannel,
    render=lambda job: dict(zip(("text", "blocks"), render_message(job), strict=True)),
)
