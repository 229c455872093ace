"""When two names tell of one version."""

from __future__ import annotations


def same_version(left: str, right: str) -> bool:
    """True where two names tell of one version: equal, or a sha and its abbreviation (>= 7 digits)."""
    a, b = left.lower().removeprefix("v"), right.lower().removeprefix("v")
    if a == b:
        return True
    short, long = sorted((a, b), key=len)
    return len(short) >= 7 and long.startswith(short) and _is_hex(long)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)
