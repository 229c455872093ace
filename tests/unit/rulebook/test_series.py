"""promtool's notation for values, as far as alerts need it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.rulebook.series import SeriesError, expand


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", "1"), ("0 1 _", "01_"), ("1x3", "1111"), ("0x2 1", "0001"), ("_x3", "___"), ("1x0", "1"),
        ("_x0 1", "1"), ("  1\n0\t", "10"),
    ],
)  # fmt: skip
def test_values_are_written_out(text: str, values: str) -> None:
    """1xN is the value and N more of it, _xN is N of it: what promtool makes of them."""
    assert "".join(expand(text, 100)) == values


@pytest.mark.parametrize("text", ["", "  ", "2", "1+0x3", "stale", "1x", "x5", "1,0", "_x0"])
def test_what_is_no_series_is_refused(text: str) -> None:
    """Anything else is refused with a hint."""
    with pytest.raises(SeriesError) as found:
        expand(text, 100)
    assert found.value.hint


@given(st.text(alphabet="01_x 9", max_size=30))
def test_any_text_is_bounded(text: str) -> None:
    """Whatever the text, it is refused or has at most so many values."""
    try:
        found = len(expand(text, 50))
    except SeriesError:
        return
    assert 1 <= found <= 50
