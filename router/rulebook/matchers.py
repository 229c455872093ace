"""Alertmanager's matchers: the same text, the same meaning.

``name op value`` with ``=``, ``!=``, ``=~``, ``!~``; several in one string are
joined by commas, with or without braces around them; all must hold. A missing
label equals the empty string. Regular expressions are RE2 and fully anchored.
Read once at load by :mod:`router.rulebook.routes`, asked for each alert.

Grammar: prometheus/alertmanager ``matcher/parse`` (the UTF-8 parser, without
its fallback to the classic one: what is doubtful there must be quoted here).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import re2

from router.model.errors import RouterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_TEXT: Final = 8192
#: By feel: far above what people write, far below what makes RE2's program large.
MAX_REGEX: Final = 2048

_RESERVED: Final = frozenset("{}!=~,\\\"'`")
_OPERATORS: Final = ("=~", "!~", "!=", "=")  # the two-sign ones first
#: Alternatives without any special sign: a set's look-up is ten times as fast as RE2.
_LITERALS: Final = re.compile(r"[A-Za-z0-9_/:@ -]+(?:\|[A-Za-z0-9_/:@ -]+)*")
_ESCAPE: Final = re.compile(
    r"""\\(?:([abfnrtv\\"])|([0-7]{3})|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))"""
)
_SIMPLE: Final = dict(zip('abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))


class MatcherError(RouterError):
    """Text that is no matcher; ``hint`` says what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; ``test`` is its precompiled check of the label's value."""

    name: str
    op: str
    value: str
    test: Callable[[str], bool] = field(repr=False, compare=False)
    values: frozenset[str] = field(
        default=frozenset(), repr=False, compare=False
    )  # all that it takes, if few

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the condition holds; a label that is not there counts as empty."""
        return self.test(labels.get(self.name, ""))

    def __str__(self) -> str:
        plain = not any(char.isspace() or char in _RESERVED for char in self.name)
        return f"{self.name if plain else _quoted(self.name)}{self.op}{_quoted(self.value)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def matcher(name: str, op: str, value: str) -> Matcher:
    """Return the compiled matcher.

    Raises:
        MatcherError: the name is empty or the regular expression is not RE2's.
    """
    if not name:
        raise MatcherError("the label's name is empty")
    if op == "=":
        return Matcher(name, op, value, lambda found: found == value, frozenset({value} if value else ()))
    if op == "!=":
        return Matcher(name, op, value, lambda found: found != value)
    holds = _regex(value)
    if op == "!~":
        return Matcher(name, op, value, lambda found: not holds(found))
    return Matcher(name, op, value, holds, frozenset(value.split("|") if _LITERALS.fullmatch(value) else ()))


def union(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return whether any of these patterns, each one checked before, may take a value."""
    if any(r"\Q" in pattern for pattern in patterns):  # it may quote what stands behind it, too
        return lambda _: True
    try:
        return _held_by(_compile("|".join(f"(?:{pattern})" for pattern in patterns)))
    except MatcherError:  # together they are too large; then each is asked by itself
        return lambda _: True


def parse(text: str) -> tuple[Matcher, ...]:
    """Return all matchers of one string; ``{}`` is none, and so matches everything.

    Raises:
        MatcherError: and nothing else, whatever the text.
    """
    if len(text) > MAX_TEXT:
        raise MatcherError(f"the matcher is longer than {MAX_TEXT} characters")
    if not text.strip():
        raise MatcherError("the matcher is empty", 'write for example severity="critical"')
    scan = _Scanner(text)
    braced = scan.take("{")
    found: list[Matcher] = []
    while scan.peek() not in ("", "}"):
        name = scan.word("a label's name")
        op = scan.operator()
        found.append(matcher(name, op, scan.word("a value")))
        if not scan.take(","):
            break
    if braced and not scan.take("}"):
        raise scan.error("expected , or }")
    if scan.peek():
        hint = "values with spaces or special characters must be quoted"
        raise scan.error("unexpected }" if scan.peek() == "}" else "expected a comma", hint)
    return tuple(found)


class _Scanner:
    """A place in the text, and the steps that move it on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def error(self, message: str, hint: str = "") -> MatcherError:
        """Return the problem, with its position as people count."""
        shown = self.text if len(self.text) <= 60 else self.text[:57] + "..."
        return MatcherError(f"{message} at character {self.at + 1} of {shown!r}", hint)

    def peek(self) -> str:
        """Skip white space; return the next character, or "" at the end."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, sign: str) -> bool:
        """Move past the sign if it is next."""
        if self.peek() != sign:
            return False
        self.at += 1
        return True

    def operator(self) -> str:
        """Return the operator that must be next."""
        self.peek()
        for op in _OPERATORS:
            if self.text.startswith(op, self.at):
                self.at += len(op)
                return op
        raise self.error("expected an operator", "the operators are =, !=, =~ and !~")

    def word(self, what: str) -> str:
        """Return the name or value that must be next, quoted or not."""
        if self.peek() == '"':
            return self._quoted()
        start = self.at
        while self.at < len(self.text):
            char = self.text[self.at]
            if char.isspace() or char in _RESERVED:
                break
            self.at += 1
        if self.at == start:
            hint = 'an empty value is written ""' if what == "a value" else ""
            if self.peek() in _RESERVED and self.peek() not in ",}":
                hint = 'put it in double quotes: "..."'
            raise self.error(f"expected {what}", hint)
        return self.text[start : self.at]

    def _quoted(self) -> str:
        """Return a Go string literal's value; escapes may make bytes, which must be UTF-8 in the end."""
        start = self.at
        self.at += 1
        out = bytearray()
        while (char := self.text[self.at : self.at + 1]) != '"':
            if char in ("", "\n"):
                self.at = start
                raise self.error("the quoted text does not end")
            if char == "\\":
                out += self._escape()
                continue
            out += char.encode("utf-8", "surrogatepass")
            self.at += 1
        self.at += 1
        try:
            return out.decode("utf-8")
        except UnicodeDecodeError:
            self.at = start
            raise self.error("the quoted text is not UTF-8") from None

    def _escape(self) -> bytes:
        match = _ESCAPE.match(self.text, self.at)
        if match is None:
            raise self.error("unknown escape", r"a backslash itself is written \\, for example \\. or \\d")
        simple, octal, two, four, eight = match.groups()
        code = int(octal, 8) if octal else int(two or four or eight or "0", 16)
        if (octal and code > 0xFF) or code > 0x10FFFF or (not (octal or two) and 0xD800 <= code < 0xE000):
            raise self.error("the escape is out of range")
        self.at = match.end()
        if simple:
            return bytes((_SIMPLE[simple],))
        return bytes((code,)) if octal or two else chr(code).encode()


def compiled_regex(pattern: str, *, dot_nl: bool = False) -> Any:
    """Return RE2's program, to be asked with UTF-8 bytes; with ``dot_nl``, ``.`` takes a newline too.

    Raises:
        MatcherError: it is too long or not RE2's.
    """
    _check_length(pattern)
    return _compile(pattern, dot_nl=dot_nl, captures=True)


def _check_length(pattern: str) -> None:
    if len(pattern) > MAX_REGEX:
        raise MatcherError(f"the regular expression is longer than {MAX_REGEX} characters")


def _regex(pattern: str) -> Callable[[str], bool]:
    _check_length(pattern)
    if _LITERALS.fullmatch(pattern):
        return frozenset(pattern.split("|")).__contains__
    return _held_by(_compile(pattern))


def _held_by(compiled: Any) -> Callable[[str], bool]:
    fullmatch = compiled.fullmatch

    def holds(value: str) -> bool:
        # "replace": half of a surrogate pair in a label, which no pattern can name
        return fullmatch(value.encode("utf-8", "replace")) is not None

    return holds


def _compile(pattern: str, *, dot_nl: bool = False, captures: bool = False) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_nl
    options.never_capture = not captures  # looking for groups takes RE2 off its fast path
    try:
        return re2.compile(pattern.encode(), options)  # asked with bytes it is twice as fast as with text
    except UnicodeEncodeError:
        raise MatcherError("the regular expression is not UTF-8") from None
    except re2.error as exc:
        told = exc.args[0] if exc.args else ""
        text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise MatcherError(f"not a regular expression of RE2: {text[:120]}", _regex_hint(pattern)) from None


def _regex_hint(pattern: str) -> str:
    if re.search(r"\(\?<?[=!]", pattern):
        return "RE2 has no look-around; say it with a second matcher, for example name!~..."
    if re.search(r"\\[1-9]|\\k<|\(\?P=", pattern):
        return "RE2 has no back-references; write the alternatives out"
    return "the syntax is RE2's, as in Alertmanager"
