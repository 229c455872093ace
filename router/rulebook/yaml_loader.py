"""YAML as far as rules need it: safe, bounded, and every value with its line.

A subset of YAML 1.2's core schema: ``no``, ``on`` and ``12:30:00`` are text; only
true, false, null and numbers are not. Tags, anchors, aliases, several documents and
repeated keys are refused. Keys are always text. Called by
:mod:`router.rulebook.load` with bytes; whatever they hold, the answer is a
document or problems, never an exception.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from router.model.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_BYTES: Final = 1 << 20
#: By feel: routes nest two levels each, so this is a tree of some thirty levels.
MAX_DEPTH: Final = 64

Path = tuple[str | int, ...]

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")
_BASED: Final = re.compile(r"0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TEXT_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")
#: libyaml reads a megabyte in a blink; the Python reader is the fallback and gives the same events.
_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """One file's content; ``lines`` has the line of each key and item by its path."""

    file: str
    data: dict[str, Any]
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of the path, or of the nearest thing around it that is there; 0 if none."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 0


def show(path: Path) -> str:
    """Return the path as people write it: ``route.routes[2].matchers[0]``."""
    out = ""
    for step in path:
        out += f"[{step}]" if isinstance(step, int) else f".{step}" if out else str(step)
    return out[:200]


def read(raw: bytes, file: str) -> tuple[Document | None, list[Problem]]:
    """Return the document, and what is wrong with it; None where nothing can be made of it."""
    if len(raw) > MAX_BYTES:
        return None, [
            Problem(file, "", f"the file is larger than {MAX_BYTES} bytes", "split it: every *.yaml is read")
        ]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw[: exc.start].count(b"\n") + 1
        return None, [Problem(file, "", "the file is not UTF-8 text", "save it as UTF-8", line)]
    reader = _Reader(file)
    try:
        data = reader.document(yaml.parse(text, Loader=_PARSER))
    except _Unreadable as exc:
        return None, [*reader.problems, exc.problem]
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        message = f"not YAML: {exc.problem or exc.context or 'it cannot be read'}"
        return None, [
            *reader.problems,
            Problem(file, "", message[:200], _hint(message), mark.line + 1 if mark else 0),
        ]
    except (yaml.YAMLError, ValueError, OverflowError) as exc:
        first = (str(exc).splitlines() or [""])[0]
        return None, [*reader.problems, Problem(file, "", f"not YAML: {first[:150]}")]
    return Document(file, data, reader.lines), reader.problems


def _hint(message: str) -> str:
    if "cannot start any token" in message:
        return "indent with spaces, not tabs; quote text that starts with a special character"
    if "mapping values are not allowed" in message:
        return "quote text that holds a colon and a space"
    return "check the indentation and quotes here and in the line above"


class _Unreadable(Exception):  # noqa: N818  it carries a problem; it is not one of the product's errors
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class _Reader:
    """Makes plain values of the parser's events, bounded in depth, and notes the lines."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []

    def document(self, events: Iterator[yaml.Event]) -> dict[str, Any]:
        data: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(
                        event, (), "the file holds several documents", "keep one; remove the --- line"
                    )
                data = self._node(next(events), events, ())
        if data is None:  # an empty file, or comments only
            return {}
        if not isinstance(data, dict):
            problem = Problem(
                self.file, "", "the file must hold keys at the top", "for example services: or route:", 1
            )
            raise _Unreadable(problem)
        return data

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> Any:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._refuse(
                event, path, "anchors and aliases (& and *) are not read", "write the value out, or quote it"
            )
        if len(path) > MAX_DEPTH:
            raise self._refuse(event, path, f"nested deeper than {MAX_DEPTH} levels", "")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
            raise self._refuse(event, path, f"the tag {str(tag)[:60]!r} is not read", "remove the tag")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(events, path)
        return self._mapping(events, path)

    def _list(self, events: Iterator[yaml.Event], path: Path) -> list[Any]:
        found: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = (*path, len(found))
            self.lines[here] = _line(event)
            found.append(self._node(event, events, here))
        return found

    def _mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(event, path, "a key must be text", "")
            key = self._text(event, path)
            here = (*path, key)
            if key in found:
                text = f"the key {key[:60]!r} stands twice; first in line {self.lines[here]}"
                line = _line(event)
                self.problems.append(Problem(self.file, show(here), text, "remove one of them", line))
                self._node(next(events), events, (*path, f"{key}"))
                continue
            self.lines[here] = _line(event)
            found[key] = None  # so that a key inside its own value is not taken for a repetition
            found[key] = self._node(next(events), events, here)
        return found

    def _text(self, event: yaml.ScalarEvent, path: Path) -> str:
        if event.tag not in _TEXT_TAGS:
            raise self._refuse(event, path, f"the tag {event.tag[:60]!r} is not read", "remove the tag")
        try:
            event.value.encode()
        except UnicodeEncodeError:
            raise self._refuse(
                event, path, "half of a surrogate pair is not text", "write the character itself"
            ) from None
        return event.value

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        text = self._text(event, path)
        if event.style or event.tag is not None:
            return text
        return _resolve(text)

    def _refuse(self, event: yaml.Event, path: Path, message: str, hint: str) -> _Unreadable:
        return _Unreadable(Problem(self.file, show(path), message, hint, _line(event)))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _resolve(text: str) -> Any:
    """Return what a plain scalar means in the core schema; numbers of absurd length stay text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text) or _BASED.fullmatch(text):
        return int(text, 0 if _BASED.fullmatch(text) else 10)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return float(text if _FLOAT.fullmatch(text) else text.replace(".", ""))
    return text
