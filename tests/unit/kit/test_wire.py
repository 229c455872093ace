"""The small tools that stand between hostile bytes and typed events."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.kit import wire


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-08-12T15:23:28.123Z", (2026, 8, 12, 15, 23, 28, 123_000)),
        ("2026-08-12T15:23:28.1234567899Z", (2026, 8, 12, 15, 23, 28, 123_456)),
        ("2016-08-12 15:23:28 UTC", (2016, 8, 12, 15, 23, 28)),
        ("2021-04-28 21:50:00 +0200", (2021, 4, 28, 19, 50)),
        ("2021-04-28T21:50:00-05:30", (2021, 4, 29, 3, 20)),
        (" 2021-04-28T21:50 ", (2021, 4, 28, 21, 50)),
        ("2021-04-28", (2021, 4, 28)),
    ],
)
def test_times_are_read_in_every_way_that_senders_write_them(text, expected):
    """ISO 8601, Ruby's two ways and a bare date become UTC, cut to microseconds."""
    assert wire.parse_time(text) == datetime(*expected, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "",
        "now",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59-05:00",
        "2021-02-30",
        "2021-01-01T25:00:00Z",
        "2021-01-01T00:00:00+99:00",
        "٢٠٢١-01-01",
        "2021-01-01" * 50,
    ],
)
def test_what_is_no_time_is_none(value):
    """Zero values and nonsense are no times, and no errors."""
    assert wire.parse_time(value) is None


@given(
    st.text() | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d( UTC|Z|[+-]\d\d:?\d\d)?", fullmatch=True)
)
def test_any_text_is_a_utc_time_or_none(text):
    """No text makes it fail."""
    moment = wire.parse_time(text)
    assert moment is None or moment.tzinfo is UTC


def test_utc_takes_a_bare_time_as_utc():
    """A time without an offset is not this machine's local time."""
    assert wire.utc(datetime(2026, 1, 1, 12)) == datetime(2026, 1, 1, 12, tzinfo=UTC)  # noqa: DTZ001  bare on purpose


def test_the_first_of_equal_secrets_counts_and_empty_ones_never():
    """A doubled secret has one index; an empty one opens nothing."""
    assert wire.match_secret(b"a", [b"", b"a", b"a"]) == 1
    assert wire.match_secret(b"", [b"", b"a"]) == -1


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Digest x", "Basic", "Basic !!!", "Basic ü", "Bearer \ud800"]
)
def test_odd_authorization_headers_hold_no_credentials(header):
    """What cannot be read is empty, and empty opens nothing."""
    assert wire.credentials(header) == b""


def test_a_document_is_mended_where_a_surrogate_stands_alone():
    """A lone half becomes the replacement character; pairs and escaped backslashes stay."""
    doc = wire.document(rb'{"a":"\ud83d!","b":"\uD83D\uDE00","c":"\\ud83d","d":"\ude00"}')
    assert doc == {"a": "�!", "b": "😀", "c": "\\ud83d", "d": "�"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "truncated"),
        (b"\xff\xfe", "malformed"),
        (b'"\xff"', "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":NaN}', "malformed"),
        (b'{"a":"\\ud800"', "truncated"),
        (b"[]", "an array"),
        (b"null", "null"),
        (b"true", "a boolean"),
        (b"12", "not an object"),
    ],
)
def test_an_unreadable_document_says_why(body, says):
    """The reason is told without quoting the body."""
    with pytest.raises(wire.Unreadable, match=says):
        wire.document(body)


def test_digging_stops_where_there_is_nothing():
    """A missing or odd thing on the way is None, not an error."""
    doc = {"a": {"b": 7, "c": True, "d": "  x\x00 "}}
    assert wire.dig(doc, "a", "b") == 7
    assert wire.dig(doc, "a", "b", "c") is None
    assert wire.dig([], "a") is None
    assert (wire.text(doc, "a", "b"), wire.text(doc, "a", "c"), wire.text(doc, "a")) == ("7", "", "")
    assert wire.text(doc, "a", "d") == "x"


@given(st.text(st.characters(exclude_categories=[])), st.integers(1, 30))
def test_clean_text_can_be_stored_and_is_bounded(text, limit):
    """Whatever came in goes out as UTF-8 without control characters, within the limit."""
    found = wire.clean(text, limit)
    assert len(found) <= limit
    assert not any(ord(c) < 0x20 and c not in "\t\n" for c in found)
    found.encode()


def test_the_first_line_is_the_first_with_something_on_it():
    """Commit messages have a title line."""
    assert wire.first_line("\n title \n\nbody") == "title"
    assert wire.first_line("") == ""
