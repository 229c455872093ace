"""Strangers' text made fit to be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.kit import text


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://example.com/a?b=c&d=e#f", "https://example.com/a?b=c&d=e#f"),
        ("http://127.0.0.1:9090/", "http://127.0.0.1:9090/"),
        ("https://example.com/<a|b>", "https://example.com/%3Ca%7Cb%3E"),
        ("https://user:password@example.com/", ""),
        ("https://user@example.com/", ""),
        ("javascript:alert(1)", ""),
        ("ftp://example.com/", ""),
        ("//example.com/", ""),
        ("https:///path", ""),
        ("https://example.com:port/", ""),
        ("https://[::1", ""),
        ("https://example.com/a b", ""),
        ("https://example.com/\n", ""),
        ("", ""),
        ("https://example.com/" + "a" * 2000, ""),
        ("https://example.com/" + "<" * 1000, ""),
    ],
)
def test_web_url(url: str, safe: str) -> None:
    """Only plain http and https links with a host are kept, and what could end a link is encoded."""
    assert text.web_url(url) == safe


@given(st.text(st.characters()), st.integers(1, 50))
def test_line_is_one_printable_line(words: str, limit: int) -> None:
    """A line keeps to its limit, holds no control character and can be encoded."""
    line = text.line(words, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert "\x1b" not in line
    line.encode()


def test_clean_keeps_line_feeds() -> None:
    """Cleaned text keeps its lines and loses what is not text."""
    assert text.clean(" a\r\nb\tc\x00\u202ed ", 20) == "a\nb\tcd"
    assert text.shorten("abcdef", 4) == "abc…"
    assert text.shorten("abc", 0) == "…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (-180, "3 min"), (3600, "1 h"), (7500, "2 h 5 min"), (200_000, "2 d")],
)
def test_span(seconds: float, words: str) -> None:
    """A length of time reads as people say it."""
    assert text.span(seconds) == words


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        (None, 0),
        ("", 0),
        ("soon", 0),
        ("-1", 0),
        ("nan", 0),
        ("inf", 3600),
        ("1e9", 3600),
    ],
)
def test_retry_after(value: str | None, seconds: float) -> None:
    """Only a usable number of seconds counts, at most an hour."""
    assert text.retry_after_s(value) == seconds
