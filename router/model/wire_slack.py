"""Slack's requests as they come, and what a typed command asks for. Pure.

Bodies are told apart by their form: events are JSON, a click is a form with the field ``payload`` (JSON
again), a command a form with the field ``command``. The source makes acts of them, the talker answers.
Format: https://docs.slack.dev/interactivity and https://docs.slack.dev/apis/events-api
"""

from __future__ import annotations

import html
import re
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from router.kit import wire
from router.model import keys
from router.model.errors import Rejected

MAX_TEXT: Final = 1000
#: Slack sends one action per click, and a command has 14 fields.
MAX_FIELDS: Final = 50
#: By feel: the largest that was ever seen, a message with every kind of block, has an eighth of it.
MAX_FORM: Final = 1 << 20

#: By what word each thing can be asked for.
VERBS: Final = {
    "ack": "acknowledge",
    "acknowledge": "acknowledge",
    "unack": "unacknowledge",
    "unacknowledge": "unacknowledge",
    "resolve": "resolve",
    "snooze": "snooze",
    "assign": "assign",
    "note": "note",
    "confirm": "confirm",
    "refute": "refute",
    "silence": "silence",
    "list": "list",
    "show": "show",
    "why": "why",
    "deploys": "deploys",
}
#: They are about one incident, named first.
_ABOUT_ONE: Final = frozenset(VERBS.values()) - {"list", "deploys"}
_SPLIT: Final = re.compile(r"([a-z]+)(?:\s+(\S.*))?", re.IGNORECASE | re.DOTALL).fullmatch
#: An incident: a link in angle brackets, which may hold blanks, or a word; in quotes or not.
_NAMED: Final = re.compile(r"([^\s<]{0,3}<[^>]{0,900}>\S{0,3}|\S+)(?:\s+(.*))?", re.DOTALL).fullmatch
#: What keyboards and people put around an id, the "smart" quotes included.
_QUOTES: Final = "`'\"*_~.,\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a\u00b4"


class Read(NamedTuple):
    """What came: ``event``, ``click``, ``command`` or ``ssl_check``, and its fields."""

    what: str
    fields: dict[str, Any]


class Asked(NamedTuple):
    """What a command asks for: one of :data:`VERBS`, of which incident, and what else was typed."""

    verb: str
    incident: str = ""
    rest: str = ""


def fields(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form, none where it has too many, or is too large, to be one of Slack's.

    Percent signs make a large form cost sixty times its size in memory.
    """
    if len(body) > MAX_FORM:
        return []
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return []


def read(body: bytes) -> Read:
    """Return what came.

    Raises:
        Rejected: it is nothing of Slack's.
    """
    if body.lstrip()[:1] in {b"{", b"["}:
        return Read("event", _document(body, "the body"))
    found = dict(fields(body))
    if found.get("ssl_check") == "1":
        return Read("ssl_check", {})
    if "payload" in found:
        return Read("click", _document(found["payload"].encode(), "'payload'"))
    if found.get("command"):
        return Read("command", found)
    raise Rejected(
        400,
        "bad_body",
        "neither JSON nor a form with 'payload' or 'command': in the app's settings, this URL is for Event "
        "Subscriptions, Interactivity and Slash Commands only",
    )


def _document(raw: bytes, where: str) -> dict[str, Any]:
    try:
        doc = wire.document(raw)
    except wire.Unreadable as exc:
        raise Rejected(400, "bad_json", f"{where} is not one of Slack's JSON objects: {exc}") from exc
    if not wire.text(doc, "type"):
        raise Rejected(400, "bad_body", f"{where} has no 'type': it is not a request of Slack's")
    return doc


def foreign(doc: dict[str, Any]) -> bool:
    """True where both workspaces are told and differ; an app of a whole organisation is told no ``team``."""
    ours, theirs = wire.text(doc, "team", "id", limit=40), wire.text(doc, "user", "team_id", limit=40)
    return bool(ours and theirs) and ours != theirs


def typed(command: dict[str, Any]) -> str:
    """Return what was typed; Slack escapes ``&``, ``<`` and ``>`` in it."""
    return wire.clean(html.unescape(wire.text(command, "text", limit=MAX_TEXT)), MAX_TEXT).strip()


def asked(command: dict[str, Any]) -> Asked | None:
    """Return what a command asks for, None where that is nothing known, or of no incident."""
    match = _SPLIT(typed(command))
    verb = VERBS.get(match[1].lower()) if match else None
    if match is None or verb is None:
        return None
    rest = (match[2] or "").strip()
    if verb not in _ABOUT_ONE:
        return Asked(verb, rest=rest)
    found = _NAMED(rest)
    incident, words = (named(found[1]), (found[2] or "").strip()) if found else ("", "")
    if not incident or any(named(word) for word in words.split()[:50]):
        return None  # of two nobody knows which was meant
    return Asked(verb, incident, words)


def named(text: str) -> str:
    """Return the incident id in ``7f3a9c21b04d55e0.2``, in quotes or not, or at the end of a link, or ""."""
    token = text.strip().strip(_QUOTES)
    if token[:1] == "<" and token[-1:] == ">":  # <https://...|what is shown>
        token = token[1:-1].partition("|")[0]
    for link in (token, token.partition("#")[0], token.partition("?")[0]):
        found = keys.split_incident_id(link.rstrip("/").rpartition("/")[2].strip(_QUOTES).lower())
        if found:
            return keys.incident_id(*found)
    return ""


def person(text: str) -> str:
    """Return the name in ``<@U0123|bo>``, ``@bo`` or ``bo``; the id where Slack gives no name."""
    token = text.strip()
    if token[:2] == "<@" and token[-1:] == ">":
        number, _, name = token[2:-1].partition("|")
        return name or number
    return token.removeprefix("@")
