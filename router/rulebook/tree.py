"""The route tree as it is asked: nodes with everything inherited resolved, and which of them take an alert.

Alertmanager's search (dispatch/route.go): depth first; the first child that matches ends the
search among its siblings unless it says ``continue``; where no child matches, the node itself
takes the alert. Children that cannot match are not tried: they are looked up by labels' values.
Asked by :class:`router.rulebook.book.Rulebook`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.rulebook.conditions import When
from router.rulebook.matchers import union

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from router.model.events import Severity
    from router.rulebook.conditions import Facts
    from router.rulebook.matchers import Matcher
    from router.rulebook.times import TimeInterval

#: Below it, trying all children is as fast as looking them up.
_FEW: Final = 8
#: Patterns asked as one before they are asked one by one, and such bundles as one again.
_BUNDLE: Final = 8

#: The condition that always holds.
ALWAYS: Final = When()


@dataclass(frozen=True, slots=True)
class Step:
    """A further receiver of a route: told once ``when`` holds and nobody has acknowledged for ``after``."""

    receiver: str
    after: timedelta = timedelta(0)
    when: When = ALWAYS


@dataclass(frozen=True, slots=True)
class Route:
    """One node of the tree, with everything inherited already resolved.

    ``id`` is the path of names or indexes, for example ``root/payments``. ``group_by`` None means
    all labels (``['...']``). ``group_interval`` and ``repeat_interval`` 0: at once, and never.
    ``mute`` and ``active`` are the node's own, as in Alertmanager: intervals are not inherited.
    ``severities`` changes what a severity counts as below here.
    """

    id: str
    receiver: str
    matchers: tuple[Matcher, ...]
    group_by: tuple[str, ...] | None
    group_wait: timedelta
    continue_: bool
    routes: tuple[Route, ...] = ()
    group_interval: timedelta = timedelta(0)
    repeat_interval: timedelta = timedelta(0)
    resolve_wait: timedelta = timedelta(0)
    mute: tuple[TimeInterval, ...] = ()
    active: tuple[TimeInterval, ...] = ()
    when: When = ALWAYS
    steps: tuple[Step, ...] = ()
    severities: Mapping[Severity, Severity] = field(default_factory=dict)

    def refusal(self, labels: Mapping[str, str], facts: Callable[[], Facts]) -> str:
        """Return what of this node does not hold for the labels, "" where it takes them."""
        for matcher in self.matchers:
            if not matcher.test(labels.get(matcher.name, "")):
                return f"{matcher} does not match {matcher.name}={labels.get(matcher.name, '')!r}"
        if self.when is not ALWAYS:
            return next((f.text for f in self.when.findings(facts()) if not f.holds), "")
        return ""


class _Bundle:
    """Patterns of children on one label, asked as one first: most of them are out with one question."""

    def __init__(self, found: Sequence[tuple[int, str]]) -> None:
        self._test = union([text for _, text in found])
        self._indexes = [index for index, _ in found]
        self._parts: list[_Bundle] = []
        if len(found) > _BUNDLE:
            size = -(-len(found) // _BUNDLE)
            self._parts = [_Bundle(found[i : i + size]) for i in range(0, len(found), size)]

    def collect(self, value: str, out: list[int]) -> None:
        """Add the children that may match."""
        if not self._test(value):
            return
        if not self._parts:
            out += self._indexes
        for part in self._parts:
            part.collect(value, out)


class _Lookup:
    """Which children of one node may match, in order; a superset, for matchers are still asked."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._exact: dict[str, dict[str, list[int]]] = {}
        self._rest: list[int] = []
        patterns: dict[str, list[tuple[int, str]]] = {}
        for index, route in enumerate(routes):
            exact = next((m for m in route.matchers if m.values), None)
            pattern = next((m for m in route.matchers if m.op == "=~"), None)
            if exact is not None:
                for value in exact.values:
                    self._exact.setdefault(exact.name, {}).setdefault(value, []).append(index)
            elif pattern is not None:
                patterns.setdefault(pattern.name, []).append((index, pattern.value))
            else:
                self._rest.append(index)
        self._patterns = {name: _Bundle(found) for name, found in patterns.items()}

    def candidates(self, labels: Mapping[str, str]) -> list[int]:
        """Return the indexes of the children that may match."""
        found = list(self._rest)
        for name, values in self._exact.items():
            found += values.get(labels.get(name, ""), ())
        for name, bundle in self._patterns.items():
            bundle.collect(labels.get(name, ""), found)
        found.sort()
        return found


class Tree:
    """The whole tree, with its lookups made once."""

    def __init__(self, root: Route) -> None:
        self.root = root
        self.by_id = {route.id: route for route in walk(root)}
        self._lookups = {
            route.id: _Lookup(route.routes) for route in self.by_id.values() if len(route.routes) > _FEW
        }

    def take(self, labels: Mapping[str, str], facts: Callable[[], Facts]) -> list[Route]:
        """Return the routes that take these labels, in order; never empty (the root takes the rest)."""
        found: list[Route] = []
        self._below(self.root, labels, facts, found)
        return found

    def _below(
        self, route: Route, labels: Mapping[str, str], facts: Callable[[], Facts], found: list[Route]
    ) -> None:
        """Add what takes the labels below a node that matched, or the node itself."""
        before = len(found)
        lookup = self._lookups.get(route.id)
        children = route.routes if lookup is None else [route.routes[i] for i in lookup.candidates(labels)]
        for child in children:
            for matcher in child.matchers:
                if not matcher.test(labels.get(matcher.name, "")):
                    break
            else:
                if child.when is not ALWAYS and not child.when.holds(facts()):
                    continue
                self._below(child, labels, facts, found)
                if not child.continue_:
                    break
        if len(found) == before:
            found.append(route)


@dataclass(frozen=True, slots=True)
class Node:
    """A route as it was met: ``refusal`` says why it does not take the labels, "" where it does.

    ``final``: none below it took them, so it is told. ``tried`` False: one before it had them already.
    """

    route: Route
    refusal: str = ""
    final: bool = False
    tried: bool = True
    routes: tuple[Node, ...] = ()


def explain(route: Route, labels: Mapping[str, str], facts: Callable[[], Facts]) -> Node:
    """Return the search below a route that matched, node by node, as :meth:`Tree.take` goes."""
    nodes: list[Node] = []
    ended = False
    for child in route.routes:
        if ended:
            nodes.append(Node(child, "a route before it took the alert", tried=False))
            continue
        refusal = child.refusal(labels, facts)
        nodes.append(Node(child, refusal) if refusal else explain(child, labels, facts))
        ended = not refusal and not child.continue_
    return Node(route, final=not any(n.tried and not n.refusal for n in nodes), routes=tuple(nodes))


def walk(route: Route) -> Iterator[Route]:
    """Yield a route and all below it, parents first."""
    yield route
    for child in route.routes:
        yield from walk(child)
