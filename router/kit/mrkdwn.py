"""Slack's markup, made of what strangers wrote: it shows that, and does nothing else. Pure.

Escaping: https://docs.slack.dev/messaging/formatting-message-text#escaping
"""

from __future__ import annotations

import re
from typing import Final

from router.kit import text

# A whole emoji name, or the beginning of one that the text after it could complete.
_EMOJI: Final = re.compile(r":(?=[\w+'-]*[^\W\d][\w+'-]*:)|(?<!\w):(?=[\w+'-])")


def escape(value: str, limit: int) -> str:
    """Return a stranger's words as one line of Slack markup that shows them and does nothing else."""
    shown = _EMOJI.sub(":\u200b", text.line(value, limit))  # a zero-width space: no longer an emoji's name
    return fit(shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), limit)


def units(markup: str) -> int:
    """Return the length as Slack counts it: in UTF-16."""
    return len(markup.encode("utf-16-le", "surrogatepass")) // 2


def fit(markup: str, limit: int) -> str:
    """Return at most ``limit`` UTF-16 units of escaped text, cut outside entities."""
    if units(markup) <= limit:
        return markup
    cut = markup.encode("utf-16-le")[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    start = cut.rfind("&", max(0, len(cut) - 5))
    return (cut[:start] if start >= 0 and ";" not in cut[start:] else cut) + "…"
