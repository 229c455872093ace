"""Durations: read and written as Prometheus does."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rulebook import durations
from router.rulebook.durations import DurationError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta()),
        ("0s", timedelta()),
        ("324ms", timedelta(milliseconds=324)),
        ("3s", timedelta(seconds=3)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("4d1h", timedelta(days=4, hours=1)),
        ("2w", timedelta(weeks=2)),
        ("3y", timedelta(days=3 * 365)),
        ("1y2w3d4h5m6s7ms", timedelta(days=382, hours=4, minutes=5, seconds=6, milliseconds=7)),
    ],
)
def test_reads(text, expected):
    """A duration of Prometheus has Prometheus' value."""
    assert durations.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "-1s",
        "1.5h",
        "1m1h",
        "5 m",
        "1S",
        "s",
        "1h1h",
        "\u0661s",
        "1s\n",
        "9" * 40 + "s",
        "300y",
        "five minutes",
    ],
)
def test_refuses(text):
    """What Prometheus refuses is refused, with a hint how to write it."""
    with pytest.raises(DurationError) as caught:
        durations.parse(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["0s", "90d", "25h", "1h30m", "1w", "8d", "1s500ms", "1y"])
def test_writes_as_prometheus(text):
    """Whole days, weeks and years are written as such, other lengths in hours and less."""
    assert durations.render(durations.parse(text)) == text


@given(st.integers(0, 9_000_000_000_000))
def test_round_trip(milliseconds):
    """What is written is read back as the same length."""
    duration = timedelta(milliseconds=milliseconds)
    assert durations.parse(durations.render(duration)) == duration


@given(st.text())
def test_only_its_own_error(text):
    """Whatever the text, there is a duration or a DurationError."""
    with suppress(DurationError):
        assert durations.parse(text) >= timedelta()
