"""Text from strangers, made fit to be shown: cleaned, shortened, its links checked.

Used wherever something that a sender wrote is put before people. Knows nothing
about alerts or vendors; escaping is each vendor's own business.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

# Control characters (but tab and line feed), lone surrogates, and the marks that turn the direction of text:
# with those a label could show "prod" as something else.
_UNSAFE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_NOT_IN_URL: Final = re.compile(r"[\s\x00-\x20\x7f-\x9f\ud800-\udfff]")
#: Characters that end a link in somebody's markup; a URL means the same with them encoded.
_ENCODED: Final = str.maketrans({"<": "%3C", ">": "%3E", "|": "%7C", '"': "%22", "`": "%60", "\\": "%5C"})
_MAX_RETRY_AFTER_S: Final = 3600.0


def shorten(text: str, limit: int) -> str:
    """Return at most ``limit`` characters; a cut shows as an ellipsis."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def clean(text: str, limit: int) -> str:
    """Return the text without control characters, shortened; line feeds and tabs stay."""
    # Cut before the replacement too: a label may be a megabyte long.
    return shorten(_UNSAFE.sub("", text[: 4 * limit + 16]).strip(), limit)


def line(text: str, limit: int) -> str:
    """Return the text cleaned and as one line."""
    return shorten(" ".join(clean(text, 2 * limit).split()), limit)


def web_url(url: str, limit: int = 2000) -> str:
    """Return the URL if it is safe to offer as a link: http or https, a host, no user; else ""."""
    if len(url) > limit or _NOT_IN_URL.search(url):
        return ""
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # raises where it is not a number
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        return ""
    encoded = url.translate(_ENCODED)
    return encoded if len(encoded) <= limit else ""


def span(seconds: float) -> str:
    """Return a length of time for people: ``45 s``, ``3 min``, ``2 h 5 min``, ``3 d``."""
    whole = int(abs(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        minutes = whole % 3600 // 60
        return f"{whole // 3600} h {minutes} min" if minutes else f"{whole // 3600} h"
    return f"{whole // 86_400} d"


def retry_after_s(value: str | None) -> float:
    """Return the seconds of a ``Retry-After`` header, at most an hour; 0 where it says nothing usable."""
    try:
        seconds = float(value or 0)
    except ValueError:
        return 0.0
    return min(seconds, _MAX_RETRY_AFTER_S) if seconds > 0 else 0.0
