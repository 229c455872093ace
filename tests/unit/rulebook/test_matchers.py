"""Matchers: Alertmanager's syntax and meaning."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.rulebook import matchers
from router.rulebook.matchers import MatcherError, compiled_regex, matcher, union


def triples(text):
    """Return the parts of each matcher."""
    return [(m.name, m.op, m.value) for m in matchers.parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo=bar", [("foo", "=", "bar")]),
        ("  foo  !=  bar ", [("foo", "!=", "bar")]),
        ('foo=~"b.*"', [("foo", "=~", "b.*")]),
        ("foo!~b.*", [("foo", "!~", "b.*")]),
        ("{}", []),
        ('{a="b",c=~"d"}', [("a", "=", "b"), ("c", "=~", "d")]),
        ("a=b, c!=d,", [("a", "=", "b"), ("c", "!=", "d")]),
        ('foo=""', [("foo", "=", "")]),
        ('"with space"="x, y}"', [("with space", "=", "x, y}")]),
        ('"größe"="ü"', [("größe", "=", "ü")]),
        ("größe=ü", [("größe", "=", "ü")]),
        (r'a="\"\\\n\t\x41\101\u00fc\U0001F642"', [("a", "=", '"\\\n\tAAü🙂')]),
        (r'a="\xc3\xbc"', [("a", "=", "ü")]),
        (r'a=~"b\\.c"', [("a", "=~", r"b\.c")]),
        ("env=a.b-c/d:e", [("env", "=", "a.b-c/d:e")]),
    ],
)
def test_reads(text, expected):
    """Every form that Alertmanager's parser takes is read the same way."""
    assert triples(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("foo", "operator"),
        ("foo=", "value"),
        ("=bar", "label's name"),
        ("foo==bar", "value"),
        ("foo=bar baz", "comma"),
        ("{foo=bar", "}"),
        ("foo=bar}", "}"),
        ("{foo=bar}}", "}"),
        (",foo=bar", "label's name"),
        ("foo=bar,,", "label's name"),
        ("foo='bar'", "value"),
        ("foo=`bar`", "value"),
        ("foo=b{2}", "comma"),
        (r"foo=b\.c", "comma"),
        ('foo="bar', "does not end"),
        ('foo="a\nb"', "does not end"),
        (r'foo="\."', "escape"),
        (r'foo="\xff"', "UTF-8"),
        (r'foo="\ud800"', "range"),
        (r'foo="\777"', "range"),
        (r'foo="\U00110000"', "range"),
        ('""=x', "empty"),
        ("a=~\ud800.", "UTF-8"),
        ('a=~"("', "RE2"),
        ("a=" + "x" * 9000, "longer"),
        ("a=~" + "x" * 3000, "longer"),
    ],
)
def test_refuses(text, words):
    """What is not a matcher is refused with a short reason."""
    with pytest.raises(MatcherError, match=words) as caught:
        matchers.parse(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("(?=a)b", "look-around"),
        ("(?!a)b", "look-around"),
        ("(?<=a)b", "look-around"),
        ("(?<!a)b", "look-around"),
        (r"(a)\1", "back-references"),
        ("(?P<n>a)(?P=n)", "back-references"),
    ],
)
def test_explains_what_re2_lacks(pattern, hint):
    """Look-around and back-references are refused with what to write instead."""
    with pytest.raises(MatcherError) as caught:
        matchers.matcher("a", "=~", pattern)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=x", {"a": "x"}, True),
        ("a=x", {"a": "X"}, False),
        ("a!=x", {}, True),
        ('a=""', {}, True),
        ('a!=""', {}, False),
        ('a=~".+"', {}, False),
        ('a=~".*"', {}, True),
        ('a!~".+"', {}, True),
        ('a=~"x|"', {}, True),
        ('a=~""', {}, True),
        ('a=~""', {"a": "x"}, False),
        ("a=~x", {"a": "xy"}, False),
        ('a=~"x|y"', {"a": "xy"}, False),
        ('a=~"x|y"', {"a": "y"}, True),
        ('a=~"x|y.*"', {"a": "xz"}, False),
        ('a!~"x|y"', {"a": "z"}, True),
        ('a=~"(?i)prod.*"', {"a": "PRODUCTION"}, True),
        ('a=~"x.y"', {"a": "x\ny"}, False),
        ('a=~"x$"', {"a": "x\n"}, False),
        ('a=~"ü+"', {"a": "üü"}, True),
        ('a=~".+"', {"a": "\ud800"}, True),
        ('a="x"', {"a": "\ud800"}, False),
    ],
)
def test_meaning(text, labels, expected):
    """Regular expressions are anchored at both ends, and a missing label is the empty string."""
    (found,) = matchers.parse(text)
    assert found.matches(labels) is expected


@given(st.text())
@example("{" * 5000)
@example('a=~"' + "(" * 2000 + '"')
def test_only_its_own_error(text):
    """Whatever the text, there are matchers or a MatcherError."""
    with suppress(MatcherError):
        matchers.parse(text)


@given(st.text(alphabet='ab{}=!~,"\\x8 |()*+?[]'))
def test_only_its_own_error_near_the_syntax(text):
    """The same for texts made of the syntax' own signs."""
    with suppress(MatcherError):
        matchers.parse(text)


@given(st.text(min_size=1, max_size=20), st.sampled_from(["=", "!="]), st.text(max_size=50))
def test_written_matchers_read_back(name, op, value):
    """A matcher's text, as shown to people, is read as the same matcher when its name needs no quotes."""
    made = matchers.matcher("label", op, name + value)
    assert matchers.parse(str(made)) == (made,)


@given(st.text(alphabet="ab|", min_size=1, max_size=12), st.text(alphabet="ab|", max_size=4))
def test_sets_of_words_mean_what_re2_means(pattern, value):
    """The shortcut for plain alternatives gives the same answer as the regular expression."""
    slow = matchers.matcher("l", "=~", f"(?:{pattern})")
    assert matchers.matcher("l", "=~", pattern).matches({"l": value}) == slow.matches({"l": value})


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("=", "a", {"a"}),
        ("=", "", set()),
        ("!=", "a", set()),
        ("!~", "a|b", set()),
        ("=~", "a", {"a"}),
        ("=~", "a|b c|d-e", {"a", "b c", "d-e"}),
        ("=~", "a|", set()),
        ("=~", "", set()),
        ("=~", "a.b", set()),
        ("=~", "(a|b)", set()),
    ],
)
def test_values(op, value, expected):
    """A matcher that takes only a few values, none of them empty, has them all; any other has none."""
    found = matcher("x", op, value)
    assert found.values == expected
    assert all(found.test(each) for each in expected)


def test_union_of_patterns():
    """Patterns asked as one take what any of them takes, anchored, with their own flags, and no more."""
    holds = union(["a.*", "(?i)b", "", "(?P<n>c)"])
    assert [holds(v) for v in ("abc", "B", "", "c", "A", "xa", "bb")] == [True] * 4 + [False] * 3


@pytest.mark.parametrize(
    "patterns",
    [
        pytest.param([rf"(\pL{{100}}){{10}}{n}" for n in range(300)], id="too large together"),
        pytest.param([r"\Qa", r"\Qb\E"], id="a quote that does not end"),
    ],
)
def test_what_cannot_be_asked_as_one_may_take_anything(patterns):
    """Then each pattern is asked by itself."""
    assert union(patterns)("anything")


def test_compiled_regex():
    """A program for bytes, with its groups; a dot takes a newline only where that is asked for."""
    found = compiled_regex("(?P<n>a+)(.)").fullmatch(b"aab")
    assert found.groups() == (b"aa", b"b")
    assert compiled_regex("a.").fullmatch(b"a\n") is None
    assert compiled_regex("a.", dot_nl=True).fullmatch(b"a\n") is not None


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "not a regular expression of RE2"),
        ("a" * 2049, "longer than 2048"),
        ("(?=a)", "RE2"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_compiled_regex_refuses(pattern, words):
    """What RE2 does not take, or what is too long, is told in words."""
    with pytest.raises(MatcherError, match=words):
        compiled_regex(pattern)
