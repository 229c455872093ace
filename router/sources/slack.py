"""Slack: buttons and slash commands become acts; events are heartbeats.

Bodies are told apart by their form: events are JSON, a click is a form with the field
``payload`` (JSON again), a command a form with the field ``command``. People are told by
Slack's id of them and by a name, which they can change. What somebody of another workspace
clicks, in a channel that is shared with it, is told and asks for nothing.
``token``, ``response_url`` and ``trigger_id`` are secrets or as good as: they never leave here.
Format: https://docs.slack.dev/interactivity and https://docs.slack.dev/apis/events-api
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from router.kit import wire
from router.model import keys, wire_slack
from router.model.deliveries import Manners, Reply
from router.model.errors import Rejected
from router.model.events import UNDATED, Act, ActKind, Heartbeat, Told, Trouble
from router.model.wire_slack import MAX_TEXT, Asked
from router.rulebook import durations, matchers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.ports import SourceFactory

#: Slack's advice: an older request may be a replay.
TOLERANCE_S: Final = 300
#: As everywhere (router.decide.acting).
LONGEST_SNOOZE: Final = timedelta(days=7)
#: Slack sends one action per click.
MAX_ACTIONS: Final = 25
#: Of a request that nobody signed no more is read; Slack's own has under 100 bytes.
MAX_GREETING: Final = 2_000

_FORM: Final = "application/x-www-form-urlencoded"
_EMPTY: Final = Reply(200, b"", "text/plain")
_TIME: Final = re.compile(r"(\d{1,11})(?:\.(\d{1,6}))?", re.ASCII).fullmatch
_CHALLENGE: Final = re.compile(r"[\x20-\x7e]{1,1000}").fullmatch
_WORD: Final = re.compile(r"[a-z][a-z_]{0,39}").fullmatch
#: By what word an event is counted; all others are ``other``.
_EVENTS: Final = {
    "app_rate_limited": "app_rate_limited",
    "event_callback": "event",
    "ssl_check": "ssl_check",
    "url_verification": "url_verification",
}
#: Of an interaction these are no person's doing: a window that was closed, a list that wants filling.
_IDLE: Final = frozenset({"view_closed", "block_suggestion", "dialog_cancellation", "dialog_suggestion"})
#: What asks something of an incident, by verb, which is also the button's action id.
_ACTS: Final = {
    "acknowledge": ActKind.ACKNOWLEDGED,
    "unacknowledge": ActKind.UNACKNOWLEDGED,
    "resolve": ActKind.RESOLVED,
    "snooze": ActKind.SNOOZED,
    "assign": ActKind.REASSIGNED,
    "note": ActKind.ANNOTATED,
    "confirm": ActKind.CONFIRMED,
    "refute": ActKind.REFUTED,
}
_PRESSED: Final = ("acknowledge", "unacknowledge", "resolve", "confirm", "refute")
_BUTTONS: Final = {name: _ACTS[name] for name in _PRESSED}
_DOING: Final = {
    "acknowledge": "Acknowledging",
    "unacknowledge": "Giving back",
    "resolve": "Resolving",
    "snooze": "Putting off",
    "assign": "Handing on",
    "note": "Noting on",
    "confirm": "Confirming the suspicion of",
    "refute": "Refuting the suspicion of",
}


_HELP: Final = (
    ("list [service]", "what is open"),
    ("show &lt;incident&gt;", "what is known of it"),
    ("why &lt;incident&gt;", "why it stands as it stands, and which deploy is suspected"),
    ("ack &lt;incident&gt; [note]", "somebody is on it; `unack` gives it back"),
    ("resolve &lt;incident&gt; [note]", "it is over"),
    ("snooze &lt;incident&gt; 2h [note]", "acknowledged now, told again then"),
    ("assign &lt;incident&gt; @ana", "whose it is"),
    ("note &lt;incident&gt; text", "a line on its timeline"),
    ("silence &lt;incident&gt; [2h why]", "do not tell its alerts; without a time a window opens"),
    ("confirm &lt;incident&gt; [deploy]", "the suspected deploy did it; `refute`: it did not"),
    ("deploys [service]", "the last deploys"),
)


class Slack:
    """See the module."""

    kind: Final = "slack"
    manners: Final = Manners(
        unreadable=200,  # commands and clicks are never sent again; the person would only see an error
        accepted=200,
        keeps=("x-slack-request-timestamp", "x-slack-retry-num", "x-slack-retry-reason"),
        revive=(
            "at https://api.slack.com/apps, on the app's page Event Subscriptions, turn Enable Events on "
            "again: Slack switches events off where under 5% of an hour's deliveries were answered 200; "
            "commands and buttons are never switched off"
        ),
    )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
        """Check X-Slack-Signature (v0) over the time and the body, and that the time is recent."""
        stamp = headers.get("x-slack-request-timestamp", "")
        given = wire.header_bytes(headers.get("x-slack-signature", ""))
        index = -1
        if _recent(stamp, now) and given.startswith(b"v0="):
            signed = b":".join((b"v0", stamp.encode(), body))
            index = wire.match_hmac([given.removeprefix(b"v0=")], signed, secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid, recent X-Slack-Signature: the app's signing secret (Basic Information > App "
                "Credentials) must be one of those configured for this source, our clock must be right "
                "within 5 minutes, and no proxy may change the body",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        """Return acts, or one heartbeat where nobody did anything to an incident."""
        read = wire_slack.read(body)
        if read.what == "click":
            return _interaction(read.fields, body)
        if read.what == "command":
            return [_command(read.fields, _time(headers.get("x-slack-request-timestamp", "")), body)]
        word = _type(read.fields) if read.what == "event" else read.what
        return [_heartbeat(_EVENTS.get(word, "other"))]

    def greet(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Answer the check of our certificate, which Slack does not sign; nothing else in it is read."""
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != _FORM or "x-slack-signature" in headers or len(body) > MAX_GREETING:
            return None
        return _EMPTY if [v for k, v in wire_slack.fields(body) if k == "ssl_check"] == ["1"] else None

    def reply(self, headers: Mapping[str, str], body: bytes) -> Reply | None:  # noqa: ARG002  the body says all
        """Answer in the form that Slack shows, or nothing where it wants nothing."""
        try:
            read = wire_slack.read(body)
        except Rejected:
            return None
        if read.what == "command":
            said = _answer(read.fields)
            return _EMPTY if not said else _shown({"response_type": "ephemeral", "text": said})
        word = wire.text(read.fields, "type", limit=40)
        if read.what == "click" and word in {"block_suggestion", "dialog_suggestion"}:
            return Reply(200, b'{"options":[]}')
        if read.what == "click" and word == "view_submission" and (wrong := _window(read.fields)):
            return _shown({"response_action": "errors", "errors": wrong})
        if read.what == "event" and word == "url_verification":
            challenge = read.fields.get("challenge")
            fit = isinstance(challenge, str) and _CHALLENGE(challenge)
            return Reply(200, fit.group().encode(), "text/plain") if fit else None
        return _EMPTY


def _shown(said: dict[str, Any]) -> Reply:
    return Reply(200, msgspec.json.encode(said))


def _window(doc: dict[str, Any]) -> dict[str, str]:
    """Return what is wrong in the window in which a silence is asked for, by its field."""
    if wire.text(doc, "view", "callback_id", limit=255) != "silence":
        return {}
    typed = wire.text(doc, "view", "state", "values", "matchers", "matchers", "value", limit=MAX_TEXT)
    try:
        found = matchers.parse(typed)
    except matchers.MatcherError as exc:
        return {"matchers": f"{exc}{f' ({exc.hint})' if exc.hint else ''}"[:150]}
    if all(m.test("") for m in found):
        return {"matchers": "one of them must not match the empty string, else everything is silenced"}
    return {}


def _recent(stamp: str, now: datetime) -> bool:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return False
    return abs(now.timestamp() - int(stamp)) <= TOLERANCE_S


def _time(stamp: str) -> datetime:
    """Return the time of ``1596530385.194939``, or UNDATED where it is none."""
    match = _TIME(stamp)
    if match is None:
        return UNDATED
    fraction = int((match[2] or "").ljust(6, "0"))
    moment = datetime.fromtimestamp(int(match[1]), UTC).replace(microsecond=fraction)
    return moment if wire.plausible(moment) else UNDATED


def _type(doc: dict[str, Any]) -> str:
    word = wire.text(doc, "type", limit=41)
    return word if _WORD(word) else "other"


def _heartbeat(word: str) -> Heartbeat:
    return Heartbeat(source="slack", kind=f"slack:{word}")


# -- clicks


class _Click(NamedTuple):
    """What all actions of one click share. ``foreign``: by somebody of another workspace than the app's."""

    word: str
    foreign: bool
    by: str
    by_id: str
    ref: str
    digest: str


def _interaction(doc: dict[str, Any], body: bytes) -> list[Told]:
    word = _type(doc)
    if word in _IDLE:
        return [_heartbeat(word)]
    by_id = wire.text(doc, "user", "id", limit=100)
    by = wire.text(doc, "user", "username", limit=200) or wire.text(doc, "user", "name", limit=200)
    click = _Click(word, wire_slack.foreign(doc), by or by_id, by_id, _ref(doc), _digest(body))
    actions = doc.get("actions") if word == "block_actions" else None
    told: list[Told] = []
    if isinstance(actions, list):
        told += [_action(click, action) for action in actions[:MAX_ACTIONS]]
        if len(actions) > MAX_ACTIONS:
            told.append(Trouble(source="slack", reason=f"only {MAX_ACTIONS} of 'payload.actions' were read"))
    if told:
        return told
    at = _time(wire.text(doc, "action_ts", limit=40))
    name = wire.text(doc, "callback_id", limit=255) or wire.text(doc, "view", "callback_id", limit=255)
    return [_other(click, click.digest, at, name)]


def _action(click: _Click, action: Any) -> Told:
    """Return what a press of one of our buttons asks for; of all other actions only that they were done."""
    stamp = wire.text(action, "action_ts", limit=40)
    name = wire.text(action, "action_id", limit=255)
    value = wire.text(action, "value", limit=700) or wire.text(action, "selected_option", "value", limit=700)
    value, _, to = value.partition(" ")  # behind the incident stands the deploy that a verdict is about
    kind, found = _BUTTONS.get(name.partition(":")[0]), keys.split_incident_id(value)
    number = f"{stamp or click.digest}:{click.by_id}:{name}"
    if kind is None or found is None or click.foreign:  # a link, or somebody else's button or finger
        return _other(click, number, _time(stamp), name)
    if not click.by_id:
        return Trouble(source="slack", reason="'payload.user.id' is missing: nobody may do this")
    incident = keys.incident_id(*found)
    return Act(
        source="slack",
        event_id=f"slack:{number}:{incident}",
        kind=kind,
        incident=incident,
        by=click.by,
        by_id=click.by_id,
        at=_time(stamp),
        word=click.word,
        ref=click.ref,
        to=to if kind in {ActKind.CONFIRMED, ActKind.REFUTED} else "",
    )


def _other(click: _Click, number: str, at: datetime, name: str) -> Told:
    if not click.by_id:
        return _heartbeat("nobody")
    return Act(
        source="slack",
        event_id=f"slack:{click.word}:{number}",
        kind=ActKind.OTHER,
        by=click.by,
        by_id=click.by_id,
        at=at,
        word=click.word,
        text=name,
        ref=click.ref,
    )


def _ref(doc: dict[str, Any]) -> str:
    """Return the message as ``channel:ts``, else the id of the window; both may be missing."""
    channel = wire.text(doc, "channel", "id", limit=40) or wire.text(doc, "container", "channel_id", limit=40)
    stamp = wire.text(doc, "message", "ts", limit=40) or wire.text(doc, "container", "message_ts", limit=40)
    stamp = stamp or wire.text(doc, "message_ts", limit=40)
    return f"{channel}:{stamp}" if channel and stamp else wire.text(doc, "view", "id", limit=40)


def _digest(body: bytes) -> str:
    return keys.digest([body.decode("utf-8", "replace")])


# -- commands


def _command(command: dict[str, Any], at: datetime, body: bytes) -> Act:
    asked, by_id = wire_slack.asked(command), wire.text(command, "user_id", limit=100)
    if not by_id:
        raise Rejected(400, "bad_body", "the command has no 'user_id': nobody may do this")
    # a digest: whoever has the trigger itself can open windows in our name for a while
    trigger, typed = command.get("trigger_id"), wire_slack.typed(command)
    number = keys.digest([trigger, by_id, typed] if trigger else [body.decode("utf-8", "replace")])
    act = Act(
        source="slack",
        event_id=f"slack:{number}",
        kind=ActKind.OTHER,
        by=wire.text(command, "user_name", limit=200) or by_id,
        by_id=by_id,
        at=at,
        word=wire.text(command, "command", limit=40),
        text=typed,
        ref=wire.text(command, "channel_id", limit=40),
    )
    if asked is None or asked.verb not in _ACTS or _lacking(asked):
        return act
    words, to, until = asked.rest, "", None
    if asked.verb == "assign":
        words, to = "", wire_slack.person(asked.rest)
    elif asked.verb in {"confirm", "refute"}:
        to, _, words = asked.rest.partition(" ")
    elif asked.verb == "snooze":
        length, words = _length(asked.rest)
        until = at + length if length else None
    return msgspec.structs.replace(
        act, kind=_ACTS[asked.verb], incident=asked.incident, text=words, to=to, until=until
    )


def _length(words: str) -> tuple[timedelta | None, str]:
    """Return how long is to be put off, and the words behind it."""
    first, _, rest = words.partition(" ")
    try:
        length = durations.parse(first)
    except durations.DurationError:
        return None, words
    return (length if timedelta(0) < length <= LONGEST_SNOOZE else None), rest.strip()


def _lacking(asked: Asked) -> str:
    """Return what a command lacks for its verb, for people; "" where nothing."""
    if asked.verb == "snooze" and _length(asked.rest)[0] is None:
        return "Say how long, such as `2h`; 7 days at the most."
    if asked.verb == "assign" and not wire_slack.person(asked.rest):
        return "Say whose it is, such as `@ana`."
    if asked.verb == "note" and not asked.rest:
        return "Say what is to be noted."
    return ""


def _answer(command: dict[str, Any]) -> str:
    """Return Slack markup that only the person who typed sees; "" where the answer comes after a look."""
    asked = wire_slack.asked(command)
    if asked is not None:
        if asked.verb not in _ACTS:
            return ""
        doing = f"{_DOING[asked.verb]} `{asked.incident}`…"
        return _lacking(asked) or f"{doing} Its message shows it in a moment, if it is open."
    if wire_slack.typed(command).lower().startswith("rollback"):
        return "I cannot roll back: that is not in this release. `why` names the deploy that is suspected."
    name, typed = _quoted(wire.text(command, "command", limit=40)), _quoted(wire_slack.typed(command))
    lines = [f"I do not know what to do with `{typed}`."] if typed and typed.lower() != "help" else []
    lines += ["What works:", *(f"• `{name} {what}`: {does}" for what, does in _HELP)]
    lines.append("Name an incident by its id (`7f3a9c21b04d55e0.2`, at the end of its message) or by a link.")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    """Return a person's words as they can stand between backquotes: on one line, and doing nothing."""
    shown = wire.clean(" ".join(value.replace("`", "'").split()), 100)
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


build: SourceFactory = Slack
