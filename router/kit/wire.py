"""What every reader of webhooks needs: secrets, JSON, text and times, told from hostile bytes.

Pure: no I/O, no clock, nothing about alerts. Used by ``router/sources``; a
source turns :class:`Unreadable` into its own refusal. Everything here is
bounded and raises nothing else, whatever a sender writes.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Outside these years stand zero values and mistakes, not times; adding a window to them could overflow.
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2200

#: Control characters would reach terminals and logs; tab and newline may stay.
_CONTROLS: Final = {c: None for c in (*range(0x20), *range(0x7F, 0xA0)) if chr(c) not in "\t\n"}
_CONTROLS_AND_SURROGATES: Final = {
    **_CONTROLS,
    **dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}"),
}

_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?\s?(Z|UTC|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


class Unreadable(ValueError):  # noqa: N818  a state of the bytes
    """Bytes that are not the JSON they should be; the text says what and where, without quoting them."""


# -- secrets


def header_bytes(value: str) -> bytes:
    """Return a header's bytes as they were sent; undecodable ones were kept as surrogates."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b""


def match_secret(presented: bytes, secrets: Sequence[bytes]) -> int:
    """Return the index of the secret that equals ``presented``, or -1.

    All secrets are compared, so that the time taken does not tell which one
    matched. An empty secret matches nothing.
    """
    found = -1
    for index, secret in enumerate(secrets):
        same = hmac.compare_digest(presented, secret)
        if same and secret and found < 0:
            found = index
    return found


def match_hmac(presented: Sequence[bytes], signed: bytes, secrets: Sequence[bytes]) -> int:
    """Return the index of the secret whose HMAC-SHA256 over ``signed`` was presented, or -1.

    Presented in lower-case hex. All secrets are tried against all that was presented, and an
    empty secret matches nothing.
    """
    found = -1
    for index, secret in enumerate(secrets):
        ours = hmac.digest(secret or b"-", signed, sha256).hex().encode()
        for theirs in presented:
            same = hmac.compare_digest(ours, theirs)
            if same and secret and found < 0:
                found = index
    return found


def credentials(authorization: str) -> bytes:
    """Return the token of ``Bearer <token>`` or the password of ``Basic <user:password>``, or empty bytes."""
    scheme, _, value = authorization.strip().partition(" ")
    raw = header_bytes(value.strip())
    if scheme.lower() == "bearer":
        return raw
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(raw, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


# -- JSON


def mend_surrogates(body: bytes) -> bytes:
    r"""Replace escapes of lone surrogates (``\ud800``) by U+FFFD: JSON allows them, UTF-8 does not."""
    return _ESCAPE.sub(lambda m: b"\\ufffd" if m.group(1) else m.group(0), body)


def why_not(exc: Exception) -> str:
    """Return the decoder's complaint in a bounded sentence."""
    if isinstance(exc, RecursionError):
        return "the JSON is nested too deeply"
    if isinstance(exc, UnicodeDecodeError):
        return "the body is not UTF-8"
    return str(exc)[:200]


def value(body: bytes) -> Any:
    """Return the JSON in ``body``, whatever it is; of keys written twice the last one counts.

    Raises:
        Unreadable: not JSON, not UTF-8, too deep, or a number out of range.
    """
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError) as first:
        if b"\\ud" not in body.lower():
            raise Unreadable(why_not(first)) from first
    try:
        return msgspec.json.decode(mend_surrogates(body))
    except (ValueError, RecursionError) as exc:
        raise Unreadable(why_not(exc)) from exc


def document(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``.

    Raises:
        Unreadable: as :func:`value`, and where it is not an object.
    """
    found = value(body)
    if not isinstance(found, dict):
        raise Unreadable(f"the JSON is {_NAMES.get(type(found), 'not an object')}, not an object")
    return found


_NAMES: Final[dict[type, str]] = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def dig(doc: Any, *path: str) -> Any:
    """Return what stands under these keys, or None where anything on the way is missing or no object."""
    for key in path:
        if not isinstance(doc, dict):
            return None
        doc = doc.get(key)
    return doc


# -- text


def clean(value: str, limit: int) -> str:
    """Return the text without control characters and lone surrogates, cut to ``limit`` with an ellipsis."""
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    return value if value.isprintable() else value.translate(_CONTROLS_AND_SURROGATES)


def text(doc: Any, *path: str, limit: int = 300) -> str:
    """Return the string or whole number under these keys as clean text, or "" where it is anything else."""
    found = dig(doc, *path)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    return clean(found, limit).strip() if isinstance(found, str) else ""


def first_line(value: str) -> str:
    """Return the first line that is not blank."""
    return value.strip().partition("\n")[0].rstrip()


# -- times


def plausible(moment: datetime) -> bool:
    """True for a time that can be stored and reckoned with."""
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def utc(moment: datetime) -> datetime:
    """Return the time in UTC; one without an offset is taken as UTC. Only for plausible times."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_time(value: Any) -> datetime | None:
    """Return the time that a sender wrote, in UTC, or None where it is none (the year 1 included).

    Takes ISO 8601 with any number of fraction digits (cut to microseconds), and
    Ruby's ``2016-08-12 15:23:28 UTC`` and ``2021-04-28 21:50:00 +0200``.
    """
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 64 else None
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(int(year), int(month), int(day), tzinfo=_zone(zone)).replace(
            hour=int(hour or 0),
            minute=int(minute or 0),
            second=int(second or 0),
            microsecond=int((fraction or "0").ljust(6, "0")[:6]),
        )
    except ValueError:
        return None
    return utc(moment) if plausible(moment) else None


def _zone(name: str | None) -> timezone:
    if name is None or name in {"Z", "UTC"}:
        return UTC
    sign = -1 if name[0] == "-" else 1
    digits = name[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))
