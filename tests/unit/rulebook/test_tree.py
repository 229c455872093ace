"""The route tree: its lookups find what a plain search finds, and its explanation is that search."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rulebook import matchers
from router.rulebook.conditions import Compared, Facts, OneOf, When
from router.rulebook.matchers import Matcher, MatcherError
from router.rulebook.tree import ALWAYS, Node, Route, Tree, explain, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VALUES = ("", "x", "y", "z", "xy", "X")
PATTERNS = (
    "x|y", "x.*", ".+", ".*", "", "x?", "(?i)X", "[^x]", "(?P<n>x|z)", "(x)(y)?", r"\Qx", r"\Qx\E|y", "x|",
)  # fmt: skip
WHENS = (
    ALWAYS,
    When((OneOf("team", ("shop", "pay")),)),
    When((Compared("tier", "<=", 1),)),
    When((Compared("tier", "!=", 2), OneOf("team", ("pay",)))),
)


def node(route_id: str, *found: Matcher, when: When = ALWAYS, goes_on: bool = False, below=()) -> Route:
    """Return a route with what the search looks at."""
    return Route(route_id, "r", found, (), timedelta(0), goes_on, tuple(below), when=when)


def plain(route: Route, labels: Mapping[str, str], facts: Facts) -> list[Route]:
    """Alertmanager's search as its documentation has it, without any lookup."""
    if not all(m.matches(labels) for m in route.matchers) or not route.when.holds(facts):
        return []
    found: list[Route] = []
    for child in route.routes:
        below = plain(child, labels, facts)
        found += below
        if below and not child.continue_:
            break
    return found or [route]


def _matcher(random: Random) -> Matcher:
    op = random.choice(("=", "!=", "=~", "!~"))
    return matchers.matcher(random.choice("abc"), op, random.choice(PATTERNS if "~" in op else VALUES))


def _route(random: Random, route_id: str = "root", depth: int = 0) -> Route:
    """Return a tree; of nine children on lookups are made, and below them a few will do."""
    count = (random.randint(9, 24), random.choice((0, 0, 2, 9)), random.choice((0, 0, 0, 3, 10)), 0)[depth]
    below = [_route(random, f"{route_id}/{n}", depth + 1) for n in range(count)]
    if not depth:
        return node(route_id, below=below)
    found = [_matcher(random) for _ in range(random.choice((0, 1, 1, 2, 2, 3)))]
    return node(route_id, *found, when=random.choice(WHENS), goes_on=random.random() < 0.4, below=below)


#: Drawn from a seed: drawn one by one they take a hundred times as long, and are not read anyway.
TREES = st.integers(0, 2**32).map(lambda seed: _route(Random(seed)))
LABELS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(VALUES))
FACTS = st.builds(Facts, team=st.sampled_from(("", "shop", "pay")), tier=st.sampled_from((None, 0, 1, 2, 3)))


@given(TREES, st.lists(st.tuples(LABELS, FACTS), min_size=1, max_size=20))
def test_lookups_find_what_a_plain_search_finds(
    root: Route, asked: list[tuple[dict[str, str], Facts]]
) -> None:
    """Whatever the tree and the alert, the routes are those of Alertmanager's search, in its order."""
    tree = Tree(root)
    for labels, facts in asked:
        expected = [r.id for r in plain(root, labels, facts)]
        assert [r.id for r in tree.take(labels, lambda facts=facts: facts)] == expected


def _final(found: Node) -> Iterator[str]:
    if found.final and found.tried and not found.refusal:
        yield found.route.id
    for below in found.routes:
        yield from _final(below)


@given(TREES, LABELS, FACTS)
def test_the_explanation_ends_where_the_search_ends(
    root: Route, labels: dict[str, str], facts: Facts
) -> None:
    """The nodes that an explanation calls final are the routes that take the alert; others say why not."""
    found = explain(root, labels, lambda: facts)
    assert sorted(_final(found)) == sorted(r.id for r in Tree(root).take(labels, lambda: facts))
    for below in found.routes:
        assert below.tried or "a route before it" in below.refusal


FRAGMENTS = (
    *("a", "b", ".", "a*", "(a|b)", "[ab]", r"\Q", r"\E", "(?i)", "|", "^", "$", r"\.", "a{2}", "(?P<n>a)"),
    *("(?U)", "(?s)", r"\\Q", ")", "(", "[", r"\pL", r"\x{61}"),
)


def _good(pattern: str) -> bool:
    try:
        matchers.matcher("x", "=~", pattern)
    except MatcherError:
        return False
    return True


@given(
    st.lists(
        st.lists(st.sampled_from(FRAGMENTS), max_size=5).map("".join).filter(_good), min_size=1, max_size=12
    ),
    st.text("abQE\\|().\n", max_size=4),
)
def test_a_union_hides_no_pattern(patterns: list[str], value: str) -> None:
    """What one of the patterns takes, all of them asked as one take, too."""
    one_by_one = any(matchers.matcher("x", "=~", p).test(value) for p in patterns)
    assert matchers.union(patterns)(value) or not one_by_one


def test_an_open_quote_does_not_swallow_its_neighbour() -> None:
    r"""A pattern with \Q and no \E is RE2's, and quotes only what is its own."""
    below = [node(f"root/{n}", matchers.matcher("a", "=~", rf"\Qv{n}")) for n in range(9)]
    below.append(node("root/9", matchers.matcher("a", "=~", r"\Qx\E")))
    assert _taken(node("root", below=below), {"a": "v3"}) == ["root/3"]


def test_what_is_too_large_together_is_asked_one_by_one() -> None:
    """Patterns that RE2 takes one by one, and not as one, hide nothing."""
    patterns = [rf"\pL{{500}}{n}" for n in range(100)]
    found = matchers.union(patterns)
    assert found("anything at all")


def _taken(root: Route, labels: Mapping[str, str], facts: Callable[[], Facts] = Facts) -> list[str]:
    return [r.id for r in Tree(root).take(labels, facts)]


@pytest.mark.parametrize("n", [0, 7, 8, 63, 64, 199])
def test_a_pattern_among_many_is_found(n: int) -> None:
    """Bundles of bundles of patterns lead to the one child that matches, to the first where two do."""
    below = [node(f"root/{i}", matchers.matcher("a", "=~", f"v{i}-.*")) for i in range(200)]
    below.append(node("root/last", matchers.matcher("a", "=~", ".*-late")))
    root = node("root", below=below)
    assert _taken(root, {"a": f"v{n}-late"}) == [f"root/{n}"]
    assert _taken(root, {"a": "w-late"}) == ["root/last"]
    assert _taken(root, {"a": "w"}) == _taken(root, {}) == ["root"]


def test_facts_are_asked_only_where_a_condition_is() -> None:
    """A tree without conditions never looks at the catalogue."""

    def refuse() -> Facts:
        raise AssertionError

    root = node("root", below=[node(f"root/{n}", matchers.matcher("a", "=", str(n))) for n in range(20)])
    assert _taken(root, {"a": "7"}, refuse) == ["root/7"]


def test_a_refusal_says_what_did_not_hold() -> None:
    """The first matcher that does not match is named with the label's value, else the condition."""
    route = node("root/a", *matchers.parse('a="x",b=~"y.*"'), when=WHENS[2])
    assert route.refusal({"a": "x", "b": "q"}, Facts) == "b=~\"y.*\" does not match b='q'"
    assert route.refusal({}, Facts) == "a=\"x\" does not match a=''"
    labels = {"a": "x", "b": "y"}
    assert route.refusal(labels, lambda: Facts(tier=3)) == "tier is 3, wanted <= 1"
    assert route.refusal(labels, Facts) == "tier is not known, wanted <= 1"
    assert route.refusal(labels, lambda: Facts(tier=1)) == ""


def test_what_comes_after_is_not_tried() -> None:
    """After a child took the alert the others are shown as not tried, unless it says continue."""
    first = node("root/0", goes_on=True)
    second = node("root/1", below=[node("root/1/0", matchers.matcher("a", "=", "x"))])
    found = explain(node("root", below=[first, second, node("root/2")]), {}, Facts)
    assert [(n.tried, n.final, bool(n.refusal)) for n in found.routes] == [
        (True, True, False),
        (True, True, False),
        (False, False, True),
    ]
    assert not found.final
    assert found.routes[1].routes[0].refusal


def test_a_walk_begins_at_the_top() -> None:
    """Parents come before their children, and a route is found by its id."""
    root = node("root", below=[node("root/a", below=[node("root/a/0")]), node("root/b")])
    assert [r.id for r in walk(root)] == ["root", "root/a", "root/a/0", "root/b"]
    assert Tree(root).by_id["root/a/0"].id == "root/a/0"
