"""The YAML reader: bounded, without surprises, and with lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rulebook import yaml_loader


def read(text):
    """Read text or bytes as a file of rules."""
    raw = text if isinstance(text, bytes) else text.encode()
    return yaml_loader.read(raw, "rules/x.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("12:30:00", "12:30:00"),
        ("2024-01-02", "2024-01-02"),
        ("1_000", "1_000"),
        ("1h30m", "1h30m"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("0x1f", 31),
        ("0o17", 15),
        ("007", 7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("9" * 40, 1e40),
    ],
)
def test_plain_values(text, expected):
    """Only true, false, null and numbers are not text, as in YAML 1.2's core schema."""
    document, problems = read(f"a: {text}\n")
    assert not problems
    assert document.data == {"a": expected}


def test_lines_of_paths():
    """Every key and item has its line, and what is not there has the nearest line around it."""
    document, _ = read("route:\n  routes:\n    - a: 1\n    - b:\n        c: 2\n")
    assert document.line(("route", "routes", 1, "b", "c")) == 5
    assert document.line(("route", "routes", 1, "receiver")) == 4
    assert document.line(("other",)) == 0
    assert yaml_loader.show(("route", "routes", 1, "b")) == "route.routes[1].b"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff# with a mark\n"])
def test_empty(text):
    """An empty file, or one of comments only, holds no keys."""
    document, problems = read(text)
    assert (document.data, problems) == ({}, [])


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: &x 1\nb: *x\n", "anchors", 1),
        ("a: 1\nb: *x\n", "anchors", 2),
        ("a: !!python/object:os.system {}\n", "tag", 1),
        ("a: !secret x\n", "tag", 1),
        ("a: 1\n---\nb: 2\n", "several documents", 2),
        ("- a\n", "keys at the top", 1),
        ("text", "keys at the top", 1),
        ("? [a]\n: b\n", "key must be text", 1),
        ("a:\n\tb: 1\n", "not YAML", 2),
        ("a: [1\n", "not YAML", 2),
        ("a: b: c\n", "not YAML", 1),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper", 1),
        ("[" * 100_000, "nest", 1),
        (b"a: 1\nb: \xff\n", "UTF-8", 2),
        ("a: \x00\n", "not YAML", 0),
        ("a: " + "x" * (1 << 20), "larger", 0),
    ],
)
def test_refuses(text, words, line):
    """What cannot be read, or is not meant to be, gives one problem with its line."""
    document, (problem,) = read(text)
    assert document is None
    assert words in problem.message
    assert problem.line == line


def test_repeated_keys():
    """Each repeated key is a problem, and reading goes on."""
    document, problems = read("a: 1\na: {b: 1, b: 2}\nc: {d: 1, d: 2}\n")
    assert [(p.path, p.line) for p in problems] == [("a", 2), ("a.b", 2), ("c.d", 3)]
    assert document.data == {"a": 1, "c": {"d": 1}}


@given(st.binary(max_size=300))
def test_any_bytes(raw):
    """Whatever the bytes, there is a document or a problem."""
    document, problems = read(raw)
    assert document is not None or problems


@given(st.text(alphabet="ab:- \n[]{}&*!|>'\"%#?,\\ux0~\t", max_size=80))
def test_any_yaml_like_text(text):
    """The same for texts made of YAML's own signs."""
    document, problems = read(text)
    assert document is not None or problems
