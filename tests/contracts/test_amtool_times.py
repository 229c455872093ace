"""What Alertmanager takes as a time interval we take, and what it refuses we refuse.

Items are generated, right and nearly right, and given to the real ``amtool check-config``. It cannot be
asked whether an interval holds at a time; that is compared with a plain reading in the unit tests.
Left out is what differs on purpose: items without a value, ``Local``, and numbers in hexadecimal.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from router.rulebook import times, yaml_loader
from router.rulebook.problems import Problems
from router.rulebook.times import TimeIntervalModel
from tests.conftest import need

HEAD = "route: {receiver: a}\nreceivers: [{name: a}]\n"
#: What needs no quotes, and is the same text with them, whatever the YAML.
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/]*[A-Za-z0-9]|[-+]?[0-9]{1,18}").fullmatch

_weekday = st.sampled_from(["sunday", "Monday", "tuesday", "THURSDAY", "friday", "saturday", "mon", "1", "0"])
_month = st.sampled_from(
    ["january", "March", "DECEMBER", "jun", "1", "6", "12", "0", "13", "-2", "+3", "007"]
)
_day = st.one_of(st.integers(-33, 33).map(str), st.sampled_from(["+5", "007", "-0", "-07", "1.5", ""]))
_year = st.one_of(
    st.integers(1990, 2040).map(str),
    st.sampled_from(["0", "-5", "+2026", "2026.0", "2_026", " 2026", "99999", "9223372036854775807"]),
    st.sampled_from(["9223372036854775808", "-9223372036854775808", "-9223372036854775809", "\u0662\u0660"]),
)
_odd = st.text("019 :+-adfnosuy\u0130\u212a", max_size=8)
_clock = st.one_of(
    st.tuples(st.integers(0, 24), st.sampled_from([0, 1, 30, 59])).map(lambda p: f"{p[0]:02}:{p[1]:02}"),
    st.sampled_from(["9:00", "09:60", "24:01", "25:00", "", "0900", "09:00:00", " 09:00", "noon", "24:00"]),
)
_location = st.one_of(
    st.sampled_from(
        ["Europe/Berlin", "Australia/Sydney", "UTC", "", "utc+1", "Europe", "europe/berlin", "5"]
    ),
    st.sampled_from(
        ["../zoneinfo/Europe/Berlin", "/usr/share/zoneinfo/Europe/Berlin", "Europe\\Berlin", "zone.tab"]
    ),
)


def quoted(text: str) -> st.SearchStrategy[str]:
    """Return the text as YAML writes it: in quotes, or without them where it needs none."""
    in_quotes = "'" + text.replace("'", "''") + "'"
    return st.sampled_from([in_quotes, text]) if PLAIN(text) else st.just(in_quotes)


def ranges(one: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return a list of single values, ranges and what is neither."""
    text = st.one_of(
        one,
        st.tuples(one, one).map(":".join),
        st.tuples(one, one).map(":".join),
        st.one_of(_odd, st.tuples(one, one, one).map(":".join)),
    )
    return st.lists(text.flatmap(quoted), max_size=2).map(lambda items: f"[{', '.join(items)}]")


_hours = st.tuples(_clock.flatmap(quoted), _clock.flatmap(quoted)).map(
    lambda pair: f"{{start_time: {pair[0]}, end_time: {pair[1]}}}"
)
_odd_hours = st.sampled_from(
    ["{start_time: '09:00'}", "{}", "'09:00'", "{start: '09:00', end_time: '10:00'}"]
)
_fields = {
    "times": st.lists(st.one_of(_hours, _hours, _odd_hours), max_size=2).map(lambda i: f"[{', '.join(i)}]"),
    "weekdays": ranges(_weekday),
    "days_of_month": ranges(_day),
    "months": ranges(_month),
    "years": ranges(_year),
    "location": _location.flatmap(quoted),
    "weekday": st.just("[monday]"),
}
#: One field each time, mostly: with more of them nearly every item would be refused for one.
_item = st.one_of(
    *[value.map(lambda text, key=key: f"{{{key}: {text}}}") for key, value in _fields.items()],
    st.tuples(_fields["times"], _fields["days_of_month"]).map(
        lambda pair: f"{{times: {pair[0]}, days_of_month: {pair[1]}}}"
    ),
    st.sampled_from(["{}", "{weekdays: monday}", "{years: 2026}", "{times: }", "{years: ~}", "[]", "text"]),
)


@pytest.fixture(scope="module")
def amtool() -> str:
    return need("amtool")


def section(item: str) -> str:
    """Return ``time_intervals:`` with one interval of one item."""
    return f"time_intervals:\n  - name: n\n    time_intervals:\n      - {item}\n"


def ours(item: str) -> bool:
    """Return whether the rules would take the item."""
    document, found = yaml_loader.read(section(item).encode(), "times.yaml")
    assert document is not None, found
    problems = Problems()
    try:
        (model,) = TypeAdapter(list[TimeIntervalModel]).validate_python(document.data["time_intervals"])
    except ValidationError:
        return False
    return times.compiled(model, document, ("time_intervals", 0), problems) is not None


def theirs(amtool: str, folder: Path, items: list[str]) -> list[bool]:
    """Return which of the items Alertmanager's own tool takes."""
    files = [folder / f"{index}.yml" for index in range(len(items))]
    for file, item in zip(files, items, strict=True):
        file.write_text(HEAD + section(item), encoding="utf-8")
    done = subprocess.run(
        [amtool, "check-config", *map(str, files)],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    words = re.findall(r"^Checking '.*'\s+(SUCCESS|FAILED)", done.stdout, re.MULTILINE)
    assert len(words) == len(items), done.stdout + done.stderr
    return [word == "SUCCESS" for word in words]


@pytest.mark.timeout(120)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(_item, min_size=5, max_size=20))
def test_takes_what_alertmanager_takes(
    amtool: str, tmp_path_factory: pytest.TempPathFactory, items: list[str]
) -> None:
    """Of a thousand generated items, right and wrong, just those are taken that Alertmanager takes."""
    folder = tmp_path_factory.mktemp("times")
    assert list(zip(items, map(ours, items), strict=True)) == list(
        zip(items, theirs(amtool, folder, items), strict=True)
    )


def test_takes_all_pairs_of_days(amtool: str, tmp_path: Path) -> None:
    """Every range of days of the month is taken or refused as Alertmanager does."""
    days = [*range(-32, 33)]
    items = [f"{{days_of_month: ['{first}:{last}']}}" for first in days for last in days]
    expected = theirs(amtool, tmp_path, items)
    assert [item for item, good in zip(items, expected, strict=True) if ours(item) != good] == []
    assert 0 < sum(expected) < len(items)
