"""Slack: one message per incident, edited as the incident moves, with a thread of what changed.

``render_message`` is pure; ``Slack`` sends. Slack has no idempotency key, so a message
carries its incident in its metadata, and after a doubtful first post the channel is
searched for it before anything is posted again. Limits and error codes:
https://docs.slack.dev/reference/methods/chat.postMessage
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import structlog
from pydantic import BaseModel, ConfigDict, Field
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from router.kit import text
from router.kit.pacing import Pace
from router.model.destinations import Lane, Want
from router.model.incidents import State
from router.model.outcomes import Delivered, Outcome, Refused, Retry, Unsure
from router.ports import NotifierSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.model.events import Alert
    from router.model.incidents import Incident, Suspect
    from router.ports import ChangeJob, IncidentJob, NotifierContext

log = structlog.get_logger(__name__)
# The SDK writes whole requests at DEBUG, and builds those lines unless its logger's own level is higher.
_quiet: Final = logging.getLogger(f"{__name__}.sdk")
_quiet.setLevel(logging.WARNING)

MAX_SECTION: Final = 3000
MAX_TEXT: Final = 3900  # 4,000 is advised
#: The sum of all blocks has an undocumented limit; 13,200 were too many (slackapi/bolt-js issue 2509).
MAX_BLOCKS: Final = 11_900
#: How many alerts are shown: tried in this order until the message is small enough.
LADDER: Final = (10, 3, 0)
PATIENCE_S: Final = 1.0
EVENT_TYPE: Final = "incident_router_incident"

# A whole emoji name, or the beginning of one that the text after it could complete.
_EMOJI: Final = re.compile(r":(?=[\w+'-]*[^\W\d][\w+'-]*:)|(?<!\w):(?=[\w+'-])")
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


# --- render: pure ---------------------------------------------------------------------------------


def escape(value: str, limit: int) -> str:
    """Return a stranger's words as one line of Slack markup that shows them and does nothing else."""
    shown = _EMOJI.sub(":\u200b", text.line(value, limit))  # a zero-width space: no longer an emoji's name
    return fit(shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), limit)


def fit(markup: str, limit: int) -> str:
    """Return at most ``limit`` UTF-16 units of escaped text, cut outside entities."""
    if len(markup.encode("utf-16-le")) // 2 <= limit:
        return markup
    cut = markup.encode("utf-16-le")[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    start = cut.rfind("&", max(0, len(cut) - 5))
    return (cut[:start] if start >= 0 and ";" not in cut[start:] else cut) + "…"


def render_message(job: IncidentJob) -> tuple[str, list[dict[str, Any]]]:
    """Return (text, blocks): the same, briefly and in full; within Slack's limits whatever they hold."""
    for alerts in LADDER:
        blocks = _blocks(job, alerts)
        if len(json.dumps(blocks, ensure_ascii=False).encode("utf-16-le")) // 2 <= MAX_BLOCKS:
            break
    incident = job.incident
    where = " / ".join(escape(part, 200) for part in (incident.service, incident.environment) if part)
    lines = [_headline(job, 300), where, *(_suspicion(s, incident) for s in incident.suspects[:1])]
    if link := text.web_url(job.links.get("incident", "")):
        lines.append(link.replace("&", "&amp;"))
    return fit("\n".join(part for part in lines if part), MAX_TEXT), blocks


def _blocks(job: IncidentJob, alerts: int) -> list[dict[str, Any]]:
    incident = job.incident
    blocks = [_section(f"{_light(job)} *{_headline(job, 250)}*"), _facts(incident)]
    if incident.truncated:
        blocks.append(_section(f":warning: *Incomplete: the sender left out {incident.truncated} alerts*"))
    told = [incident.annotations.get(name, "") for name in ("summary", "description")]
    notes = job.body.splitlines()[:40] or told
    if said := "\n".join(escape(note, 400) for note in notes if note.strip()):
        blocks.append(_section(said))
    blocks += [_section(_suspect(s, incident, reasons=not i)) for i, s in enumerate(incident.suspects[:3])]
    shown = [a for a in job.members if a.firing or incident.state is State.RESOLVED][:alerts]
    if shown:
        more = incident.firing - sum(a.firing for a in shown)
        listed = [_alert(a, incident) for a in shown] + ([f"… and {more} more firing"] if more > 0 else [])
        blocks.append(_section("\n".join(listed)))
    if links := _links(dict(job.links) | {f"deploy {s.version}": s.url for s in incident.suspects[:1]}):
        blocks.append({"type": "context", "elements": [_mrkdwn(links)]})
    why = "; ".join(escape(r.text or r.why, 150) for r in incident.why[:3])
    footer = " · ".join(
        part for part in (f"incident {incident.id}", escape(incident.receiver, 100), why) if part
    )
    blocks.append({"type": "context", "elements": [_mrkdwn(fit(footer, 600))]})
    return blocks


def _light(job: IncidentJob) -> str:
    if job.destination.want is Want.RESOLVED:
        return ":large_green_circle:"
    return ":large_yellow_circle:" if job.destination.want is Want.ACKNOWLEDGED else ":red_circle:"


def _headline(job: IncidentJob, limit: int) -> str:
    incident, want = job.incident, job.destination.want
    state = want.upper() if want is not Want.TRIGGERED else "FIRING"
    state += f":{incident.firing}" if want is not Want.RESOLVED else ""
    return f"[{state}] {escape(job.title or incident.title or incident.id, limit)}"


def _facts(incident: Incident) -> dict[str, Any]:
    since = incident.starts_at or incident.opened_at
    facts = {
        "Service": incident.service,
        "Environment": incident.environment,
        "Severity": incident.severity.value,
        "State": incident.state.value,
        "Alerts": f"{incident.firing} firing, {incident.resolved} resolved",
        "Since": f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "",
        "Acknowledged by": incident.acknowledged_by,
        "Resolved by": incident.resolved_by if incident.state is State.RESOLVED else "",
    }
    shown = [_mrkdwn(f"*{name}*\n{escape(value, 150)}") for name, value in facts.items() if value]
    return {"type": "section", "fields": shown[:10]}


def _suspicion(suspect: Suspect, incident: Incident) -> str:
    word = "Suspected" if suspect.score > 0 else "Cleared"
    said = f"{word}: {escape(f'{suspect.service} {suspect.version}', 150)}"
    said += f" by {escape(suspect.author, 80)}" if suspect.author else ""
    if incident.starts_at is None:
        return f"{said} (score {suspect.score:.1f})"
    seconds = (incident.starts_at - suspect.at).total_seconds()
    return f"{said}, {text.span(seconds)} {'before' if seconds >= 0 else 'after'} (score {suspect.score:.1f})"


def _suspect(suspect: Suspect, incident: Incident, *, reasons: bool) -> str:
    lines = [f"*{_suspicion(suspect, incident)}*"]
    if reasons:
        lines += [escape(suspect.title, 200)] if suspect.title else []
        for word, sign in (("For", 1), ("Against", -1)):
            chosen = [r for r in suspect.reasons if r.weight * sign > 0][:6]
            lines += [f"{word}:"] if chosen else []
            lines += [f"• {escape(r.text or r.why, 150)} ({r.weight:+.1f})" for r in chosen]
    return "\n".join(lines)


def _alert(alert: Alert, incident: Incident) -> str:
    own = [f"{k}={v}" for k, v in sorted(alert.labels.items()) if incident.labels.get(k) != v][:20]
    said = alert.annotations.get("summary", "")
    said = "" if said == incident.annotations.get("summary") else said
    name = ", ".join(own) or alert.labels.get("alertname", "") or alert.key
    return (
        f"• {escape(name, 150)}"
        + (f": {escape(said, 120)}" if said else "")
        + ("" if alert.firing else " (resolved)")
    )


def _links(links: Mapping[str, str]) -> str:
    room, shown = 1500, []
    for name, url in list(links.items())[:10]:
        safe = text.web_url(url).replace("&", "&amp;")
        link = f"<{safe}|{escape(name, 50) or 'link'}>"
        if safe and len(link) < room:
            room -= len(link) + 3
            shown.append(link)
    return " · ".join(shown)


def _mrkdwn(markup: str) -> dict[str, Any]:
    # verbatim: Slack makes no links or mentions of its own out of what a stranger wrote.
    return {"type": "mrkdwn", "text": fit(markup, MAX_SECTION), "verbatim": True}


def _section(markup: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(markup)}


# --- send: thin -----------------------------------------------------------------------------------


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
        message = dict(zip(("text", "blocks"), render_message(job), strict=True))
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
            if method == "conversations.history":
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
