"""YAML as other programs write it, for files that are read once to be rewritten: anchors and merges included.

Our own rules are read by :mod:`router.rulebook.yaml_loader`, a stricter subset. Here every scalar stays
text, since what it means depends on who reads it (go-yaml v2 reads ``yes`` as true where a boolean is
wanted, and as text where text is). Aliases are counted with all that they stand for, so that a file of a
few lines cannot become a tree without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import yaml

from router.model.errors import ConfigError, Problem
from router.rulebook.yaml_loader import MAX_BYTES, MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: By feel: a configuration with two thousand routes has some twenty thousand values.
MAX_NODES: Final = 100_000

_NULL: Final = frozenset(("", "~", "null", "Null", "NULL"))
_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "map", "seq")
)
_MERGE: Final = "<<"
_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Node:
    """One value and the line of its key or item: text, a list, keys with values, or None for nothing.

    ``size`` counts the values in it, itself included; ``height`` the levels below it.
    """

    line: int
    value: str | tuple[Node, ...] | Mapping[str, Node] | None
    size: int = 1
    height: int = 0


def compose(raw: bytes, file: str) -> Node:
    """Return the file's one document; an empty file is a mapping without keys.

    Raises:
        ConfigError: it is not YAML, not UTF-8, or larger than a configuration can be.
    """
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(file, "", f"the file is larger than {MAX_BYTES} bytes")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw[: exc.start].count(b"\n") + 1
        raise ConfigError(
            [Problem(file, "", "the file is not UTF-8 text", "save it as UTF-8", line)]
        ) from None
    try:
        return _Composer(file).document(yaml.parse(text, Loader=_PARSER))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        message = f"not YAML: {exc.problem or exc.context or 'it cannot be read'}"[:200]
        raise ConfigError(
            [Problem(file, "", message, "check the indentation and quotes", mark.line + 1 if mark else 0)]
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError) as exc:
        first = (str(exc).splitlines() or [""])[0]
        raise ConfigError([Problem(file, "", f"not YAML: {first[:150]}")]) from None


class _Composer:
    """Makes nodes of the parser's events; remembers what has an anchor."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, Node | None] = {}  # None: its value has not ended yet
        self.total = 0

    def document(self, events: Iterator[yaml.Event]) -> Node:
        found: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if found is not None:
                    raise self._refuse(event, "the file holds several documents")
                found = self._node(next(events), events, 0)
        if found is None or found.value is None:
            return Node(1, {})
        return found

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._count(event, 1, depth)
        tag, anchor = getattr(event, "tag", None), getattr(event, "anchor", None)
        if tag not in (None, "!") and tag not in _TAGS:
            raise self._refuse(event, f"the tag {str(tag)[:60]!r} is not read")
        if anchor:
            self.anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            found = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            found = self._list(event, events, depth)
        else:
            found = self._mapping(event, events, depth)
        if anchor:
            self.anchors[anchor] = found
        return found

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Node:
        name = event.anchor
        if name is None or name not in self.anchors:
            raise self._refuse(event, f"nothing is anchored as {str(name)[:60]!r}")
        known = self.anchors[name]
        if known is None:
            raise self._refuse(event, f"{name[:60]!r} stands inside itself")
        self._count(event, known.size, depth + known.height)
        return replace(known, line=_line(event))

    def _count(self, event: yaml.Event, more: int, depth: int) -> None:
        self.total += more
        if self.total > MAX_NODES:
            raise self._refuse(event, f"more than {MAX_NODES} values, those that aliases repeat included")
        if depth > MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        plain = not event.style and event.tag is None  # libyaml's parser says '' for plain
        return Node(_line(event), None if plain and event.value in _NULL else self._text(event))

    def _text(self, event: yaml.ScalarEvent) -> str:
        try:
            event.value.encode()
        except UnicodeEncodeError:
            raise self._refuse(event, "half of a surrogate pair is not text") from None
        return event.value

    def _list(self, start: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        items: list[Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, depth + 1))
        return _around(_line(start), tuple(items), items)

    def _mapping(self, start: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        own: dict[str, Node] = {}
        merged: list[Node] = []
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(event, "a key must be text")
            self._count(event, 1, depth)
            key, line = self._text(event), _line(event)
            value = self._node(next(events), events, depth + 1)
            if key == _MERGE and not event.style:
                merged += value.value if isinstance(value.value, tuple) else [value]
                continue
            if key in own:
                text = f"the key {key[:60]!r} stands twice; first in line {own[key].line}"
                raise self._refuse(event, text, "remove one of them")
            own[key] = replace(value, line=line)
        for other in merged:  # what stands here wins, then what was named first
            if not isinstance(other.value, Mapping):
                raise self._refuse(start, "<< takes keys with values", "give it the alias of a mapping")
            own = {**other.value, **own}
        return _around(_line(start), own, own.values())

    def _refuse(self, event: yaml.Event, message: str, hint: str = "") -> ConfigError:
        return ConfigError([Problem(self.file, "", message, hint, _line(event))])


def _around(line: int, value: tuple[Node, ...] | Mapping[str, Node], inner: Collection[Node]) -> Node:
    height = max((node.height for node in inner), default=-1) + 1
    return Node(line, value, 1 + sum(node.size for node in inner), height)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0
