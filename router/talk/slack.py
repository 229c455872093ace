"""Slack: answers to commands, to clicks that came to nothing, and the window in which a silence is asked for.

A delivery is answered within Slack's 3 seconds before this begins; what is said later goes to its
``response_url``, to the person alone. Both that and the trigger by which a window opens are as good as
secrets: they are used here, and kept nowhere but, the URL, in the window that Slack itself hands back.
Limits: https://docs.slack.dev/interactivity/handling-user-interaction
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
import structlog

from router.kit import wire
from router.kit.mrkdwn import escape
from router.model import wire_slack
from router.model.errors import Rejected, StoreUnavailable
from router.model.keys import split_incident_id
from router.model.reasons import Why
from router.rulebook import durations
from router.rulebook import matchers as matching
from router.rulebook.durations import DurationError
from router.rulebook.matchers import MatcherError
from router.talk import _slack_words as words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from router.model.incidents import Entry, Incident
    from router.ports import TalkContext, TalkerFactory

log = structlog.get_logger(__name__)

#: How long an act is waited for, and how often it is looked for.
PATIENCE_S: Final = 3.0
LOOK_S: Final = 0.2
#: An act may be done before its answer was; clocks of replicas differ a little.
BEFORE: Final = timedelta(seconds=5)
#: What stands on the timeline when it is done.
_ACTS: Final = {
    "acknowledge": Why.ACKNOWLEDGED,
    "unacknowledge": Why.UNACKNOWLEDGED,
    "resolve": Why.RESOLVED_BY_HAND,
    "snooze": Why.SNOOZED,
    "assign": Why.ASSIGNED,
    "note": Why.NOTED,
    "confirm": Why.DEPLOY_CONFIRMED,
    "refute": Why.DEPLOY_REFUTED,
}
_BUTTONS: Final = frozenset({"acknowledge", "unacknowledge", "resolve", "confirm", "refute"})
_OURS: Final = frozenset({*_BUTTONS, "silence", "why"})
_HOOKS: Final = "hooks.slack.com"
_TRIGGER: Final = {"expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id", "trigger_expired"}


class Slack:
    """The talker; one HTTP session, opened at the first answer."""

    kind: Final = "slack"

    def __init__(self, context: TalkContext) -> None:
        self._context = context
        api = urlsplit(context.settings.get("slack_api_url") or "https://slack.com/api/")
        self._api = (api.scheme, api.netloc)
        self._session: aiohttp.ClientSession | None = None
        self._verbs: Mapping[str, Callable[[wire_slack.Asked], Awaitable[str]]] = {
            "list": self._listed,
            "show": self._shown,
            "why": self._why,
            "deploys": self._deploys,
        }

    async def follow(self, body: bytes, *, acted: bool) -> None:
        """Answer what a delivery asks."""
        try:
            read = wire_slack.read(body)
        except Rejected:
            return
        if read.what == "command":
            await self._command(read.fields, acted=acted)
        elif read.what == "click":
            await self._click(read.fields)

    async def close(self) -> None:
        """Give back connections."""
        if self._session is not None:
            await self._session.close()

    # --- what was asked -----------------------------------------------------------------------------

    async def _command(self, command: dict[str, Any], *, acted: bool) -> None:
        asked, url = wire_slack.asked(command), wire.text(command, "response_url", limit=2000)
        if asked is None:
            return
        by = wire.text(command, "user_name", limit=200) or wire.text(command, "user_id", limit=100)
        if asked.verb in self._verbs:
            await self._say(url, await self._tried(self._verbs[asked.verb](asked)))
        elif asked.verb == "silence":
            trigger = wire.text(command, "trigger_id", limit=200)
            await self._say(url, await self._tried(self._silence(asked, by, url, trigger)))
        elif asked.verb in _ACTS and acted:  # else the source has said what it lacks
            await self._say(url, await self._tried(self._came(asked.verb, asked.incident, by, quiet=False)))

    async def _click(self, doc: dict[str, Any]) -> None:
        kind = wire.text(doc, "type", limit=40)
        if kind == "view_submission":
            await self._submitted(doc)
        actions = doc.get("actions") if kind == "block_actions" else None
        for action in actions[:1] if isinstance(actions, list) else ():
            url = wire.text(doc, "response_url", limit=2000)
            value = wire.text(action, "value", limit=700).partition(" ")[0]
            name = wire.text(action, "action_id", limit=255).partition(":")[0]
            if name in _OURS and wire_slack.foreign(doc):
                await self._say(url, "Only people of the workspace that I belong to can do that.")
            elif name in _OURS:
                await self._pressed(name, value, _name(doc), url, doc)

    async def _pressed(self, action: str, incident: str, by: str, url: str, doc: dict[str, Any]) -> None:
        if action in _BUTTONS:  # that it is done shows the message itself
            await self._say(url, await self._tried(self._came(action, incident, by, quiet=True)))
        elif action == "why":
            await self._say(url, await self._tried(self._why(wire_slack.Asked("why", incident))))
        elif action == "silence":
            trigger = wire.text(doc, "trigger_id", limit=200)
            asked = wire_slack.Asked("silence", incident)
            await self._say(url, await self._tried(self._silence(asked, by, url, trigger)))

    async def _tried(self, work: Awaitable[str]) -> str:
        try:
            return await work
        except StoreUnavailable:
            return "I cannot look it up: my store does not answer. Ask again in a moment."
        except Rejected as exc:
            return f"That cannot be done: {escape(exc.detail, 500)}"

    # --- answers ------------------------------------------------------------------------------------

    async def _listed(self, asked: wire_slack.Asked) -> str:
        page = await self._context.reader.incidents(include_closed=False, limit=500)
        service = asked.rest.split()[0] if asked.rest else ""
        heads = [head for head in page.heads if service in {"", head.service}]
        most = words.MOST_LISTED
        return words.listed(heads[:most], max(0, len(heads) - most), service)

    async def _shown(self, asked: wire_slack.Asked) -> str:
        found = await self._find(asked.incident)
        return words.shown(*found) if found is not None else words.nothing_came(None, "")

    async def _why(self, asked: wire_slack.Asked) -> str:
        parts = split_incident_id(asked.incident)
        found = await self._context.explain(*parts) if parts is not None else None
        return words.why(found) if found is not None else words.nothing_came(None, "")

    async def _deploys(self, asked: wire_slack.Asked) -> str:
        service = asked.rest.split()[0] if asked.rest else ""
        found = await self._context.reader.deploys(limit=500 if service else words.MOST_LISTED)
        return words.deploys([d for d in found if service in {"", d.service}], service)

    async def _came(self, verb: str, incident: str, by: str, *, quiet: bool) -> str:
        """Wait a little, and return what an act came to; "" where it was done and ``quiet``."""
        began, clock = self._context.clock.now() - BEFORE, self._context.clock
        until = clock.monotonic() + PATIENCE_S
        while True:
            found = await self._find(incident)
            if found is None:
                return words.nothing_came(None, by)
            mine = [e for e in found[1] if e.by == by and e.via == "slack" and e.why == _ACTS[verb]]
            if mine and mine[-1].at >= began:
                return "" if quiet else words.came(mine[-1], found[0])
            if clock.monotonic() >= until:
                return words.nothing_came(found[0], by)
            await clock.sleep(LOOK_S)

    async def _find(self, incident: str) -> tuple[Incident, list[Entry]] | None:
        parts = split_incident_id(incident)
        return await self._context.reader.story(*parts) if parts is not None else None

    # --- silences -----------------------------------------------------------------------------------

    async def _silence(self, asked: wire_slack.Asked, by: str, url: str, trigger: str) -> str:
        """Silence at once where it was said how long and why, else open the window."""
        found = await self._find(asked.incident)
        if found is None:
            return words.nothing_came(None, by)
        first, _, comment = asked.rest.partition(" ")
        if not first:
            return await self._open(found[0], url, trigger)
        try:
            length = durations.parse(first)
        except DurationError:
            return f"Say how long and why, such as `silence {asked.incident} 2h load test`."
        if not comment.strip():
            return "Say why, too: whoever is not told will want to know."
        silence = await self._context.silencer.make(words.matchers(found[0]), length, by, comment.strip())
        return words.silenced(silence)

    async def _open(self, head: Incident, url: str, trigger: str) -> str:
        private = json.dumps({"incident": head.id, "url": url})
        code, _ = await self._context.ask(
            "views.open", {"trigger_id": trigger, "view": words.window(head, private)}
        )
        if not code:
            return ""
        log.warning("slack_window_not_opened", code=code)
        if code in _TRIGGER:
            return "The window could not be opened in time; press it again."
        hint = f"`silence {head.id} 2h why` works without a window."
        return f"Slack did not let me open a window ({escape(code, 60)}). {hint}"

    async def _submitted(self, doc: dict[str, Any]) -> None:
        """Make the silence that the window asks for; what is wrong in it was said by the source."""
        if wire.text(doc, "view", "callback_id", limit=255) != "silence" or wire_slack.foreign(doc):
            return
        try:
            private = json.loads(wire.text(doc, "view", "private_metadata", limit=3000))
            url, values = str(private["url"]), ("view", "state", "values")
        except (ValueError, KeyError, TypeError):
            return
        matchers = wire.text(doc, *values, "matchers", "matchers", "value", limit=3000)
        if not _meant(matchers):
            return  # the source has said so, in the window
        length = wire.text(doc, *values, "length", "length", "selected_option", "value", limit=10)
        comment = wire.text(doc, *values, "comment", "comment", "value", limit=500)
        await self._say(url, await self._tried(self._made(matchers, length, _name(doc), comment)))

    async def _made(self, matchers: str, length: str, by: str, comment: str) -> str:
        try:
            lasts = durations.parse(length)
        except DurationError as exc:
            return f"That cannot be done: {escape(str(exc), 200)}"
        return words.silenced(await self._context.silencer.make(matchers, lasts, by, comment))

    # --- saying it ----------------------------------------------------------------------------------

    async def _say(self, url: str, said: str) -> None:
        """Tell the person alone; Slack takes it for half an hour, five times."""
        if not said:
            return
        if not self._is_slacks(url):
            log.info("slack_answer_left_out", why="it came without an address of Slack's to answer to")
            return
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._context.timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout)
        body = {"response_type": "ephemeral", "replace_original": False, "text": said}
        try:
            async with self._session.post(url, json=body, allow_redirects=False) as response:
                if response.status != 200:
                    log.warning("slack_answer_refused", status=response.status)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            log.warning("slack_answer_lost", error=type(exc).__name__)  # its text would hold the URL

    def _is_slacks(self, url: str) -> bool:
        """True for an address of Slack's: a signed request gives no other, but a source may be open."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        return (parts.scheme == "https" and parts.netloc == _HOOKS) or (
            bool(parts.netloc) and (parts.scheme, parts.netloc) == self._api
        )


def _meant(typed: str) -> bool:
    """Return whether these are matchers that may silence something."""
    try:
        found = matching.parse(typed)
    except MatcherError:
        return False
    return not all(m.test("") for m in found)


def _name(doc: dict[str, Any]) -> str:
    """Return how a person is called, as the source calls them."""
    found = wire.text(doc, "user", "username", limit=200) or wire.text(doc, "user", "name", limit=200)
    return found or wire.text(doc, "user", "id", limit=100)


build: TalkerFactory = Slack
