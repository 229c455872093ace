"""From an Alertmanager's configuration to rules of our own: the same routes, the same muting.

Read as Alertmanager reads it: deprecated ``match``, ``match_re`` and their kin, matchers of the classic
grammar, YAML's anchors. What has no counterpart here is named in a note, never passed over; a mistake that
Alertmanager would refuse is a problem. What is written has been loaded once, so it is known to be good.
Called by ``router import``. Facts: prometheus/alertmanager ``config/config.go``, ``dispatch/route.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import yaml

from router.model.errors import ConfigError, Problem
from router.rulebook import load, nodes
from router.rulebook.alertmanager_reading import Names, Reading, slug, unique
from router.rulebook.alertmanager_receivers import Receivers
from router.rulebook.classic_matchers import read
from router.rulebook.matchers import MatcherError, matcher
from router.rulebook.yaml_loader import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.rulebook.book import Rulebook
    from router.rulebook.load import KindSpec
    from router.rulebook.matchers import Matcher
    from router.rulebook.nodes import Node
    from router.rulebook.yaml_loader import Path

_TOP: Final = (
    *("global", "templates", "route", "inhibit_rules", "receivers", "tracing"),
    *("mute_time_intervals", "time_intervals"),
)
_MATCH: Final = ("match", "match_re", "matchers")
_TIMES: Final = ("group_wait", "group_interval", "repeat_interval")
_INTERVALS: Final = ("mute_time_intervals", "active_time_intervals")
_ROUTE: Final = ("receiver", "group_by", *_MATCH, "continue", "routes", *_TIMES, *_INTERVALS)
_SIDES: Final = ("source", "target")
_INHIBIT: Final = (
    "name",
    *(f"{side}_{key}" for side in _SIDES for key in _MATCH),
    "equal",
)
#: What an empty side of an inhibit rule means.
_ANY: Final = 'alertname=~".*"'


@dataclass(frozen=True, slots=True)
class Converted:
    """``files``: text by name. ``environment``: variables that the receivers read. ``counts``: for people."""

    files: Mapping[str, str]
    notes: tuple[Problem, ...]
    environment: tuple[str, ...]
    counts: Mapping[str, int]


def convert(raw: bytes, file: str, kinds: Mapping[str, KindSpec]) -> Converted:
    """Return the rules that say what the configuration says.

    Raises:
        ConfigError: with every problem, each with the configuration's line.
    """
    converter = _Converter(Reading(file))
    sheets = converter.sheets(nodes.compose(raw, file))
    reading = converter.reading
    if reading.problems:
        raise ConfigError(reading.problems)
    files = {name: _written(data, file) for name, data in sheets.items() if data}
    book = _loaded(files, kinds, reading)
    environment = tuple(converter.receivers.environment)
    return Converted(files, _once_each(reading.notes), environment, _counts(book))


def _once_each(notes: list[Problem]) -> tuple[Problem, ...]:
    """Return the notes in order of place; what is said in many places, in the first of them."""
    by_text: dict[tuple[str, str], list[Problem]] = {}
    for note in sorted(notes, key=lambda note: note.line):
        by_text.setdefault((note.message, note.hint), []).append(note)
    return tuple(
        Problem(
            n.file, n.path, f"{n.message} (and {more} more like it)" if more else n.message, n.hint, n.line
        )
        for n, more in ((same[0], len(same) - 1) for same in by_text.values())
    )


def _loaded(files: Mapping[str, str], kinds: Mapping[str, KindSpec], reading: Reading) -> Rulebook:
    """Load what will be written; its problems are told as those of the file that was read."""
    try:
        return load.build(load.Reading("rules", [(n, t.encode()) for n, t in files.items()]), kinds)
    except ConfigError as exc:
        raise ConfigError([reading.traced(problem) for problem in exc.problems]) from None


def _counts(book: Rulebook) -> Mapping[str, int]:
    waiting, routes = [book.root], 0
    while waiting:
        routes += 1
        waiting += waiting.pop().routes
    return {
        "routes": routes,
        "receivers": len(book.receivers),
        "inhibit rules": len(book.muting.inhibit_rules),
    }


class _Converter:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.receivers = Receivers(reading)
        self.intervals = Names()

    def sheets(self, root: Node) -> dict[str, dict[str, Any]]:
        """Return our files' contents by name; one may be empty."""
        top = self.reading.keys(root, (), _TOP)
        for key in ("global", "templates", "tracing"):
            if key in top:
                self._left_out(key, top[key])
        receivers = self.receivers.all(top.get("receivers"))
        intervals = [i for key in ("time_intervals", "mute_time_intervals") for i in self._named(top, key)]
        for index, item in enumerate(intervals):
            item["time_intervals"] = self._times(item["time_intervals"], ("time_intervals", index))
        muting = {
            "time_intervals": intervals,
            "inhibit_rules": [
                self._inhibit(item, ("inhibit_rules", index))
                for index, item in enumerate(self.reading.items(top.get("inhibit_rules"), ("inhibit_rules",)))
            ],
        }
        route = top.get("route")
        if route is None:
            self.reading.wrong(root, ("route",), "there is no route", "is this Alertmanager's configuration?")
        return {
            "receivers.yaml": {"receivers": receivers},
            "routes.yaml": {"route": self._route(route, ("route",), "")} if route is not None else {},
            "muting.yaml": {key: value for key, value in muting.items() if value},
        }

    def _left_out(self, key: str, node: Node) -> None:
        names = ", ".join(sorted(name[:60] for name in node.value)) if isinstance(node.value, Mapping) else ""
        hints = {
            "global": "what sends is set by ROUTER_* variables, see docs/reference/settings.md",
            "templates": "they are Go's; titles and bodies of our own are title: and body: of a receiver",
            "tracing": "",
        }
        self.reading.note(node, (key,), f"not taken over{': ' if names else ''}{names}", hints[key])

    # --- time intervals -----------------------------------------------------------------------------

    def _named(self, top: Mapping[str, Node], key: str) -> list[dict[str, Any]]:
        """Return the named intervals of a section; their times are still nodes."""
        if key not in top:
            return []
        if key == "mute_time_intervals":
            text = "mute_time_intervals at the top is deprecated; written as time_intervals"
            self.reading.note(top[key], (key,), text)
        found: list[dict[str, Any]] = []
        for index, item in enumerate(self.reading.items(top[key], (key,))):
            path: Path = (key, index)
            keys = self.reading.keys(item, path, ("name", "time_intervals"))
            name = self.reading.text(keys.get("name"), (*path, "name"))
            if not name:
                self.reading.wrong(item, path, "the interval has no name", "add name:")
            if name in self.intervals.given:
                self.reading.wrong(item, (*path, "name"), "two intervals have this name", "rename one")
            found.append({"name": self.intervals.add(name), "time_intervals": keys.get("time_intervals")})
        return found

    def _times(self, node: Node | None, path: Path) -> Any:
        return [] if node is None else self.reading.plain(node, (*path, "time_intervals"))

    # --- routes -------------------------------------------------------------------------------------

    def _route(self, node: Node, path: Path, name: str) -> dict[str, Any]:
        reading = self.reading
        keys = reading.keys(node, path, _ROUTE)
        for key in (*_ROUTE, "name"):
            reading.origin[show((*path, key))] = keys[key].line if key in keys else node.line
        reading.origin[show(path)] = node.line
        found: dict[str, Any] = {"name": name} if name else {}
        if receiver := reading.text(keys.get("receiver"), (*path, "receiver")):
            found["receiver"] = self.receivers.names.of(receiver)
        if matchers := self._matchers(keys, "", path):
            found["matchers"] = matchers
        if group_by := reading.texts(keys.get("group_by"), (*path, "group_by")):
            found["group_by"] = group_by
        for key in _TIMES:
            if text := reading.text(keys.get(key), (*path, key)):
                found[key] = text
        for key in _INTERVALS:
            if names := reading.texts(keys.get(key), (*path, key)):
                found[key] = [self.intervals.of(interval) for interval in names]
        if reading.flag(keys.get("continue"), (*path, "continue"), default=False):
            found["continue"] = True
        if routes := self._children(keys.get("routes"), (*path, "routes")):
            found["routes"] = routes
        return found

    def _children(self, node: Node | None, path: Path) -> list[dict[str, Any]]:
        """Return the routes below one; each gets a name, which its incidents keep when it is moved."""
        found: list[dict[str, Any]] = []
        for index, item in enumerate(self.reading.items(node, path)):
            child = self._route(item, (*path, index), "-")
            wanted = slug(" ".join(child.get("matchers", ()))) or slug(child.get("receiver", ""))
            wanted = f"route-{wanted}".rstrip("-") if not wanted or wanted.isdigit() else wanted
            child["name"] = unique(wanted, [other["name"] for other in found])
            found.append(child)
        return found

    # --- matchers and inhibition --------------------------------------------------------------------

    def _matchers(self, keys: Mapping[str, Node], side: str, path: Path) -> list[str]:
        """Return the matchers of a route, or of a side of an inhibit rule, as today's grammar has them."""
        found: list[Matcher] = []
        for key, op in (("match", "="), ("match_re", "=~")):
            if (node := keys.get(side + key)) is None:
                continue
            here = (*path, side + key)
            text = f"{side}{key} is deprecated; written as {side}matchers"
            self.reading.note(node, here, text)
            for name, value in self.reading.keys(node, here, ()).items():
                found += self._read(value, (*here, name[:60]), partial(_deprecated, name, op))
        key = f"{side}matchers"
        for index, item in enumerate(self.reading.items(keys.get(key), (*path, key))):
            found += self._read(item, (*path, key, index), read)
        written = next((keys[side + name] for name in _MATCH if side + name in keys), None)
        if written is not None:
            self.reading.origin[show((*path, key))] = written.line
        return [str(each) for each in found]

    def _read(
        self, node: Node, path: Path, make: Callable[[str], tuple[Matcher, ...]]
    ) -> tuple[Matcher, ...]:
        try:
            return make(self.reading.text(node, path))
        except MatcherError as exc:
            self.reading.wrong(node, path, str(exc), exc.hint)
            return ()

    def _inhibit(self, node: Node, path: Path) -> dict[str, Any]:
        reading = self.reading
        keys = reading.keys(node, path, _INHIBIT)
        for key in ("name", "equal"):
            reading.origin[show((*path, key))] = keys[key].line if key in keys else node.line
        reading.origin[show(path)] = node.line
        found: dict[str, Any] = {}
        if name := reading.text(keys.get("name"), (*path, "name")):
            found["name"] = name
        for side in _SIDES:
            matchers = self._matchers(keys, f"{side}_", path)
            if not matchers:
                text = f"the rule has no {side} matchers, so it takes every alert; written as {_ANY}"
                reading.note(node, path, text)
            found[f"{side}_matchers"] = matchers or [_ANY]
        if equal := reading.texts(keys.get("equal"), (*path, "equal")):
            found["equal"] = equal
        return found


def _deprecated(name: str, op: str, value: str) -> tuple[Matcher, ...]:
    return (matcher(name, op, value),)


# --- what is written ----------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Writes each value where it stands, and quotes all that another reader might not take as text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  PyYAML's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  PyYAML's signature
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    word = text.replace("_", "").replace("-", "").isalnum() and text.isascii() and text[:1].isalpha()
    quotes = "'" if text.isprintable() else '"'  # within single ones PyYAML folds what else ends a line
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if word else quotes)


_Dumper.add_representer(str, _text)


def _written(data: Mapping[str, Any], file: str) -> str:
    from_ = "".join(char if char.isprintable() else "?" for char in file)[:200]
    body = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return f"# Written by router import from {from_}.\n{body}"
