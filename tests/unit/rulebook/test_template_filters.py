"""Filters, tests and operators of templates: Jinja2's meaning, with bounds."""

from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rulebook import template_filters
from router.rulebook.templates import TemplateError, compiled

VALUES: dict[str, Any] = {
    "text": "the quick brown Fox's tail",
    "spaced": "  x ",
    "empty": "",
    "none": None,
    "one": 1,
    "half": 2.5,
    "yes": True,
    "numerals": " 42 ",
    "decimals": "3.7",
    "junk": "x1",
    "long": "9" * 200,
    "infinite": float("inf"),
    "list": ["b", "a", "B", "c", "a"],
    "numbers": [3, 1, 2],
    "nothing": [],
    "pairs": {"b": 1, "A": 2, "c": "x"},
    "lone": "\ud800",
    "sharp": "\u00df",
}


def shown(expression: str) -> str:
    return compiled("{{ " + expression + " }}").render({"labels": VALUES}, 10_000)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("labels.text|upper", "THE QUICK BROWN FOX'S TAIL"),
        ("labels.sharp|upper", "SS"),
        ("labels.text|lower", "the quick brown fox's tail"),
        ("labels.text|title", "The Quick Brown Fox's Tail"),
        ("'foo-bar (baz) [x]'|title", "Foo-Bar (Baz) [X]"),
        ("labels.text|capitalize", "The quick brown fox's tail"),
        ("labels.spaced|trim", "x"),
        ("labels.gone|upper|title|trim|replace('a', 'b')|truncate", ""),
        ("labels.one|upper", "1"),
        ("labels.text|truncate(100)", "the quick brown Fox's tail"),
        ("labels.text|truncate(26)", "the quick brown Fox's tail"),
        ("labels.text|truncate(14)", "the quick..."),
        ("labels.text|truncate(14, true)", "the quick b..."),
        ("labels.text|truncate(length=14, end='')", "the quick"),
        ("labels.text|truncate(2)", "th"),
        ("labels.text|truncate(-1)", ""),
        ("labels.gone|default('x')", "x"),
        ("labels.none|d('x')", "x"),
        ("labels.empty|default('x')", ""),
        ("labels.empty|default('x', true)", "x"),
        ("labels.empty|default('x', boolean=true)", "x"),
        ("labels.text|default", "the quick brown Fox's tail"),
        ("labels.list|join(', ')", "b, a, B, c, a"),
        ("labels.numbers|join", "312"),
        ("labels.pairs|join(',')", "b,A,c"),
        ("labels.gone|join(',')", ""),
        ("labels.list|length", "5"),
        ("labels.pairs|count", "3"),
        ("labels.text|length", "26"),
        ("labels.gone|length", "0"),
        ("labels.list|first ~ labels.list|last", "ba"),
        ("labels.text|first ~ labels.text|last", "tl"),
        ("labels.nothing|first ~ labels.empty|last", ""),
        ("labels.list|sort|join", "aabBc"),
        ("labels.list|sort(true)|join", "cbBaa"),
        ("labels.numbers|sort|join", "123"),
        ("labels.list|unique|join", "bac"),
        ("(labels.pairs|dictsort|first)[0]", "A"),
        ("labels.gone|dictsort|length", "0"),
        ("labels.half|round", "2.0"),
        ("labels.one|round(-2)", "0.0"),
        ("1.256|round(2)", "1.26"),
        ("5|round(-9007199254740992)", "0.0"),
        ("5|round(9007199254740992)", "5.0"),
        ("labels.half|int", "2"),
        ("labels.yes|int", "1"),
        ("labels.numerals|int", "42"),
        ("labels.decimals|int", "3"),
        ("labels.junk|int", "0"),
        ("labels.junk|int(7)", "7"),
        ("labels.long|int(7)", "7"),
        ("labels.infinite|int", "0"),
        ("labels.gone|int", "0"),
        ("labels.one|float", "1.0"),
        ("labels.decimals|float", "3.7"),
        ("labels.junk|float", "0.0"),
        ("(-3)|abs", "3"),
        ("labels.text|replace('quick', 'slow')", "the slow brown Fox's tail"),
        ("'abc'|replace('', '-')", "-a-b-c-"),
        ("'a b/c&d\u00e9'|urlencode", "a%20b/c%26d%C3%A9"),
        ("labels.lone|urlencode", "%3F"),
    ],
)
def test_filters(expression, expected):
    """Each filter means what it means in Jinja2, and takes what is missing."""
    assert shown(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "labels.text|upper",
        "labels.text|title",
        "labels.text|capitalize",
        "labels.spaced|trim",
        "labels.list|sort|join('-')",
        "labels.list|unique|join('-')",
        "labels.list|first",
        "labels.pairs|join",
        "(labels.pairs|dictsort|last)[0]",
        "labels.half|round",
        "labels.decimals|int",
        "labels.numerals|float",
        "labels.text|truncate(12, false, '..')",
        "labels.gone|default('x') ~ labels.empty|default('y', true)",
        "'a b/c&d'|urlencode",
        "labels.one + labels.half - 3",
        "'b' in labels.list and 'b' not in labels.pairs and 'Fox' in labels.text",
    ],
)
def test_agrees_with_jinja2(expression):
    """What the subset has is what Jinja2 itself makes of it."""
    plain = jinja2.Environment(autoescape=False)  # noqa: S701  compared with ours, which does not escape
    assert shown(expression) == plain.from_string("{{ " + expression + " }}").render(labels=VALUES)


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("labels.text is defined", True),
        ("labels.gone is defined", False),
        ("labels.gone is undefined", True),
        ("labels.none is none", True),
        ("labels.gone is not none", True),
        ("labels.text is string", True),
        ("labels.one is number", True),
        ("labels.yes is boolean", True),
        ("labels.pairs is mapping", True),
        ("labels.list is sequence", True),
        ("labels.one is eq 1", True),
        ("labels.one is ne 1", False),
        ("labels.one is lt 2", True),
        ("labels.one is le 1", True),
        ("labels.one is gt 1", False),
        ("labels.one is ge(1)", True),
        ("'a' is in labels.list", True),
        ("labels.one == 1.0", True),
        ("labels.one != 'x'", True),
        ("labels.one < labels.half", True),
        ("labels.one >= labels.half", False),
        ("'a' <= 'b'", True),
        ("'a' > 'b'", False),
        ("labels.gone == ''", True),
        ("'' == labels.gone", True),
        ("labels.gone != 'prod'", True),
        ("labels.gone == none", False),
        ("labels.gone < 'a'", True),
        ("labels.gone == labels.more", True),
        ("'quick' in labels.text", True),
        ("'z' not in labels.text", True),
        ("labels.gone in labels.text", False),
        ("labels.none in labels.text", False),
        ("labels.gone in ['', 'a']", True),
        ("labels.one in labels.numbers", True),
        ("'b' in labels.pairs", True),
        ("'b' in labels.gone", False),
    ],
)
def test_conditions(expression, holds):
    """Tests and comparisons hold as in Jinja2; a missing label equals the empty text, as in matchers."""
    assert shown(expression) == str(holds)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("labels.text < 1", "a number is needed, not text"),
        ("labels.gone < 1", "a number is needed, not nothing"),
        ("labels.yes + 1", "a number is needed, not true or false"),
        ("labels.list == labels.list", "cannot be compared"),
        ("1 == labels.pairs", "cannot be compared"),
        ("labels.list in labels.list", "cannot be looked for"),
        ("1 in labels.text", "a number cannot be looked for in text"),
        ("'a' in 1", "a list is needed, not a number"),
        ("labels.text|join", "a list is needed, not text"),
        ("labels.list|dictsort", "dictsort needs keys with values, not a list"),
        ("labels.list|upper", "a list cannot be printed"),
        ("labels.text|abs", "a number is needed, not text"),
        ("labels.text|round", "a number is needed"),
        ("labels.text|truncate('x')", "a number is needed"),
        ("labels.one|round(labels.infinite)", "the values do not fit (OverflowError)"),
        ("[labels.pairs]|unique", "the values do not fit (TypeError)"),
    ],
)
def test_refuses(expression, says):
    """A value of another kind is refused with what was needed."""
    with pytest.raises(TemplateError) as caught:
        shown(expression)
    assert says in str(caught.value)
    assert caught.value.hint


def test_a_budget_is_for_one_rendering():
    """What one rendering spends, the next has again."""
    template = compiled("{% for a in alerts %}{{ a }}{% endfor %}")
    alerts = ["x"] * (template_filters.MAX_WORK // 4)
    assert {len(template.render({"alerts": alerts}, 10**6)) for _ in range(9)} == {len(alerts)}


@given(st.text(), st.text(max_size=3), st.text(max_size=3))
def test_replaces_as_python_does(value, old, new):
    """Within the bounds, replace is Python's own."""
    template = compiled("{{ labels.value|replace(labels.old, labels.new) }}")
    given = {"labels": {"value": value, "old": old, "new": new}}
    assert template.render(given, 10**6) == value.replace(old, new)


@given(st.text(), st.integers(-5, 50), st.booleans())
def test_truncate_keeps_its_length(value, length, killwords):
    """What truncate leaves is never longer than asked, ellipsis included."""
    source = f"{{{{ labels.value|truncate({length}, {str(killwords).lower()}) }}}}"
    assert len(compiled(source).render({"labels": {"value": value}}, 10**6)) <= max(length, 0)
