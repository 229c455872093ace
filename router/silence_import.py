"""What ``router silence import`` does: reads an Alertmanager's silences and gives them to a router.

Called by :mod:`router.silence_commands`, which also takes its pieces of the silences' JSON form from here.
What cannot be taken over is a row with its reason; nothing is left out in silence.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

import click

from router.kit.clock import SystemClock
from router.kit.secrets_in_text import links
from router.kit.text import line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.remote import Remote

BASE: Final = "/api/v1/silences"
#: As much as the router takes of a comment and an author.
_MOST_COMMENT, _MOST_AUTHOR = 1_000, 200


class Written(TypedDict):
    """What the router answers to a change; there may be more in it."""

    silenceID: str
    result: str


class Row(NamedTuple):
    """What an import came to for one silence: made, updated, skipped or failed."""

    id: str
    what: str
    why: str = ""


async def fetched(origin: str) -> bytes:
    """Return what an Alertmanager's API says of its silences."""
    import aiohttp  # noqa: PLC0415  --help need not load an HTTP client

    from router.remote import RemoteError  # noqa: PLC0415  as above

    shown = line(links(origin), 200)
    limits = aiohttp.ClientTimeout(total=30, connect=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=limits) as session,
            session.get(f"{origin.rstrip('/')}/api/v2/silences", allow_redirects=False) as response,
        ):
            raw, status = await response.read(), response.status
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
        text = line(links(str(exc)), 200) or type(exc).__name__
        raise RemoteError(f"no answer from {shown}: {text}; is Alertmanager running there?") from exc
    if status != 200:
        text = f"{shown} answered {status}: give Alertmanager's own address, or its silences in a file"
        raise RemoteError(text)
    return raw


def listed(raw: bytes, where: str) -> list[Any]:
    """Return the silences of a text: a list, or an object that has one, as our own API gives it."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise click.ClickException(f"{where} is no JSON: {line(str(exc), 200)}") from exc
    if isinstance(found, dict):
        found = found.get("silences")
    if not isinstance(found, list):
        raise click.ClickException(
            f"{where} is no list of silences, as amtool silence query -o json gives it"
        )
    return found


async def taken_over(remote: Remote, found: Sequence[Any], *, dry_run: bool) -> list[Row]:
    """Give each silence to the router; it says what comes of it, also where nothing is to be done yet."""
    asked = {"import": "true"} | ({"dry_run": "true"} if dry_run else {})
    rows: list[Row] = []
    for number, one in enumerate(found, 1):
        name = line(str(one.get("id", "")), 64) if isinstance(one, dict) else ""
        rows.append(await _one(remote, one, name or f"no. {number}", asked))
    return rows


async def _one(remote: Remote, one: Any, name: str, asked: dict[str, str]) -> Row:
    from router.remote import RemoteError  # noqa: PLC0415  as above

    try:
        if time_of(one["endsAt"]) <= now():
            return Row(name, "skipped", "expired")
        body = posted(one)
        body["comment"] = _printable(body["comment"], _MOST_COMMENT) or "(no comment in Alertmanager)"
        body["createdBy"] = _printable(body["createdBy"], _MOST_AUTHOR) or "(unknown in Alertmanager)"
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        return Row(name, "failed", "it is no silence of Alertmanager's API v2")
    try:
        said = await remote.post(BASE, Written, asked, body)
    except RemoteError as exc:
        # Somebody expired it here: that is no failure, but what is wanted.
        return Row(name, "skipped" if "silence_expired" in str(exc) else "failed", str(exc))
    match said["result"]:
        case "created":
            return Row(name, "made")
        case "updated":
            return Row(name, "updated")
        case other:
            return Row(name, "skipped", line(str(other), 50))


def _printable(text: str, most: int) -> str:
    return line("".join(c for c in " ".join(text.split()) if c.isprintable()), most)


def posted(found: Any) -> dict[str, Any]:
    """Return what is sent back of a silence; what newer Alertmanagers add to it is left out."""
    body = {name: found[name] for name in ("startsAt", "endsAt", "createdBy", "comment")}
    body["id"] = found.get("id", "")
    body["matchers"] = [
        {"name": m["name"], "value": m["value"], "isRegex": m["isRegex"], "isEqual": m.get("isEqual", True)}
        for m in found["matchers"]
    ]
    return body


def time_of(text: str) -> datetime:
    """Return a time, which must have a zone.

    Raises:
        ValueError: it is none.
    """
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without a zone")
    return found.astimezone(UTC)


def now() -> datetime:
    """Return this machine's time."""
    return SystemClock().now()
