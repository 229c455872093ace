"""Matchers as Alertmanager read them before 0.27, and still reads them where the old reading differs.

Today's Alertmanager reads a matcher both ways and, where the classic way can read it, takes that one
(``matcher/compat``, the mode that is its default). Rules of our own are read the new way alone
(:mod:`router.rulebook.matchers`); this is only for taking over what exists, which is then written so that
both ways agree. Grammar: prometheus/alertmanager ``pkg/labels/parse.go``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from router.rulebook.matchers import MAX_TEXT, MatcherError, matcher, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from router.rulebook.matchers import Matcher

_SPACE: Final = "[\t\n\f\r ]*"  # Go's \s
_SHAPE: Final = re.compile(
    rf"{_SPACE}([a-zA-Z_:][a-zA-Z0-9_:]*){_SPACE}(=~|=|!=|!~){_SPACE}(.*?){_SPACE}", re.DOTALL
)


def read(text: str) -> tuple[Matcher, ...]:
    """Return what Alertmanager makes of one string of matchers.

    Raises:
        MatcherError: neither way can read it; it says what the new one does.
    """
    try:
        return classic(text)
    except MatcherError:
        return parse(text)


def classic(text: str) -> tuple[Matcher, ...]:
    """Return the matchers as the classic parser reads them; empty text is none.

    Raises:
        MatcherError: it cannot read them.
    """
    if len(text) > MAX_TEXT:
        raise MatcherError(f"the matcher is longer than {MAX_TEXT} characters")
    inner = text.removeprefix("{").removesuffix("}")
    return tuple(_one(part) for part in _parts(inner))


def _parts(text: str) -> Iterator[str]:
    """Split at the commas outside of quotes; one at the end separates nothing."""
    quoted = escaped = False
    start = 0
    for at, char in enumerate(text):
        if char == ",":  # a backslash before it still escapes what follows, there as well
            if not quoted:
                yield text[start:at]
                start = at + 1
        elif char == '"':
            quoted = quoted if escaped else not quoted
            escaped = False
        else:
            escaped = char == "\\" and not escaped
    if last := text[start:].strip():
        yield last


def _one(part: str) -> Matcher:
    found = _SHAPE.fullmatch(part)
    if found is None:
        raise MatcherError("not a matcher")
    name, op, raw = found.groups()
    quoted = raw.startswith('"')
    return matcher(name, op, _unescaped(raw[1:] if quoted else raw, quoted=quoted))


def _unescaped(raw: str, *, quoted: bool) -> str:
    """Return the value; an escape that is none stays as it stands, so does a backslash at the end."""
    out: list[str] = []
    last, at = len(raw) - 1, 0
    ended = not quoted
    while at <= last:
        char = raw[at]
        if char == "\\" and at < last:
            following = raw[at + 1]
            out.append({"n": "\n", '"': '"', "\\": "\\"}.get(following, "\\" + following))
            at += 2
            continue
        if char == '"':
            if ended or at < last:
                raise MatcherError("an unescaped double quote")
            ended = True
        else:
            out.append(char)
        at += 1
    if not ended:
        raise MatcherError("the quoted text does not end")
    return "".join(out)
