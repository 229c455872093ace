"""Reads pieces of an Alertmanager's configuration, and keeps what is wrong and what is worth a word.

Used by :mod:`router.rulebook.alertmanager_config` and :mod:`router.rulebook.alertmanager_receivers`. All
mistakes are collected. Values are never quoted in a message: they may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from router.model.errors import MAX_DETAIL, Problem
from router.rulebook.problems import unknown_hint
from router.rulebook.yaml_loader import show

if TYPE_CHECKING:
    from collections.abc import Collection

    from router.rulebook.nodes import Node
    from router.rulebook.yaml_loader import Path

#: go-yaml v2's words for a boolean.
_TRUE: Final = frozenset(["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"])
_FALSE: Final = frozenset(["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"])
_NOT_IN_NAME: Final = re.compile(r"[/|]|[^\x20-\x7e\u00a1-\U0010ffff]")
_WORDS: Final = re.compile(r"[^A-Za-z0-9]+")
_MAX_NAME: Final = 100


@dataclass(slots=True)
class Reading:
    """One file while it is read; ``origin`` has the line of what is written, by its path there."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    origin: dict[str, int] = field(default_factory=dict)

    def wrong(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        """Keep a mistake; reading goes on."""
        self.problems.append(
            Problem(self.file, show(path), message[:MAX_DETAIL], hint[:MAX_DETAIL], node.line)
        )

    def note(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        """Keep what is not taken over, or was written otherwise."""
        self.notes.append(Problem(self.file, show(path), message[:MAX_DETAIL], hint[:MAX_DETAIL], node.line))

    def keys(self, node: Node, path: Path, known: Collection[str]) -> Mapping[str, Node]:
        """Return a mapping's values that are there; without ``known`` keys of any name."""
        if node.value is None:
            return {}
        if not isinstance(node.value, Mapping):
            self.wrong(node, path, "this must be keys with values")
            return {}
        found: dict[str, Node] = {}
        for key, value in node.value.items():
            if known and key not in known:
                self.wrong(value, (*path, key[:60]), f"unknown key {key[:60]!r}", unknown_hint(key, known))
            elif value.value is not None:
                found[key] = value
        return found

    def items(self, node: Node | None, path: Path) -> tuple[Node, ...]:
        """Return a list's items."""
        if node is None or node.value is None:
            return ()
        if not isinstance(node.value, tuple):
            self.wrong(node, path, "this must be a list")
            return ()
        return node.value

    def text(self, node: Node | None, path: Path) -> str:
        """Return a scalar's text; "" for nothing."""
        if node is None or node.value is None:
            return ""
        if not isinstance(node.value, str):
            self.wrong(node, path, "this must be text")
            return ""
        return node.value

    def texts(self, node: Node | None, path: Path) -> list[str]:
        """Return a list of texts."""
        return [self.text(item, (*path, index)) for index, item in enumerate(self.items(node, path))]

    def flag(self, node: Node | None, path: Path, default: bool) -> bool:  # noqa: FBT001  a value like the others
        """Return a boolean, in any of the words that Alertmanager takes."""
        text = self.text(node, path)
        if not text or text in _TRUE or text in _FALSE:
            return text in _TRUE if text else default
        if node is not None:
            self.wrong(node, path, "this must be true or false")
        return default

    def plain(self, node: Node, path: Path) -> Any:
        """Return a value as it stands, all scalars as text, and remember where each stood."""
        self.origin[show(path)] = node.line
        if isinstance(node.value, Mapping):
            return {key: self.plain(value, (*path, key)) for key, value in node.value.items()}
        if isinstance(node.value, tuple):
            return [self.plain(value, (*path, index)) for index, value in enumerate(node.value)]
        return node.value

    def traced(self, problem: Problem) -> Problem:
        """Return a problem of what is written as one of the file that was read, with the nearest line."""
        path = problem.path
        while path and path not in self.origin:
            path = path[: max(path.rfind("."), path.rfind("["))] if ("." in path or "[" in path) else ""
        return Problem(self.file, problem.path, problem.message, problem.hint, self.origin.get(path, 0))


@dataclass(slots=True)
class Names:
    """Names of one kind that others refer to: ours hold no / and no |, and are shorter."""

    given: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> str:
        """Return the name it gets, another one than all before it."""
        wanted = _NOT_IN_NAME.sub("-", name).strip()[:_MAX_NAME] or "unnamed"
        self.given[name] = unique(wanted, self.given.values())
        return self.given[name]

    def of(self, name: str) -> str:
        """Return the name it got; as it stands where it was never given, for the check to find."""
        return self.given.get(name, name)


def unique(wanted: str, taken: Collection[str]) -> str:
    """Return the text, with a number behind it if it is taken."""
    found, number = wanted, 1
    while found in taken:
        number += 1
        found = f"{wanted[: _MAX_NAME - 8]}-{number}"
    return found


def slug(text: str, limit: int = 60) -> str:
    """Return the text's letters and digits, joined by hyphens."""
    return _WORDS.sub("-", text[:1000]).strip("-")[:limit].strip("-")
