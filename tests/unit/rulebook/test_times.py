"""Time intervals: Alertmanager's meaning, and the moment at which an answer changes."""

from __future__ import annotations

import calendar
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from router.rulebook import times, yaml_loader
from router.rulebook.problems import Problems
from router.rulebook.times import TimeInterval, TimeIntervalModel
from router.rulebook.yaml_loader import Document

MINUTE = timedelta(minutes=1)
DOCUMENT = Document("rules/times.yaml", {}, {})
WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
#: Days on which offsets change: by an hour, by half of one, at midnight forwards and back, by a whole day.
ODD_DAYS = [
    ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
    ("America/Havana", datetime(2026, 3, 8, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 2, 17, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC)),
    ("Africa/Casablanca", datetime(2026, 2, 15, tzinfo=UTC)),
    ("Asia/Kathmandu", datetime(2026, 2, 28, tzinfo=UTC)),
    ("UTC", datetime(2028, 2, 29, tzinfo=UTC)),
]


def interval(text: str) -> TimeInterval:
    """Compile one item of ``time_intervals:``, written as YAML flow."""
    return listed(f"[{text}]")


def listed(text: str) -> TimeInterval:
    """Compile a whole time interval of which ``text`` is the list."""
    document, found = yaml_loader.read(f"name: n\ntime_intervals: {text}\n".encode(), "times.yaml")
    assert document is not None, found
    problems = Problems()
    made = times.compiled(
        TypeAdapter(TimeIntervalModel).validate_python(document.data), document, (), problems
    )
    assert made is not None, problems.found
    return made


def at(text: str) -> datetime:
    """Read a time; without an offset it is UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


OFFICE = "{times: [{start_time: 09:00, end_time: 17:00}], weekdays: ['monday:friday']}"
QUARTER = (
    "{weekdays: ['monday:friday', Sunday], months: ['january:march'], days_of_month: ['-7:-1'],"
    " years: ['2020:2025', '2030:2035'], times: [{start_time: '09:00', end_time: '17:00'}]}"
)
MIXED = (
    "{weekdays: ['monday:wednesday', saturday, sunday], times: [{start_time: '13:00', end_time: '15:00'}],"
    " days_of_month: [1, '10', '20:-1'], years: ['2020:2023'], months: ['january:march']}"
)
SYDNEY = (
    "{times: [{start_time: '09:00', end_time: '17:00'}], weekdays: ['monday:friday'],"
    " location: Australia/Sydney}"
)
LATE = "{times: [{start_time: '18:00', end_time: '24:00'}, {start_time: '00:00', end_time: '06:00'}]}"


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        pytest.param("{}", ["2006-01-02T15:04", "2031-12-31T23:59"], [], id="nothing-said-is-always"),
        pytest.param(
            OFFICE,
            ["2020-07-08T09:00", "2020-07-08T16:59:59", "2021-04-01T13:00"],
            ["2020-07-08T08:59:59", "2020-07-08T17:00", "2020-07-11T10:00", "2020-07-12T10:00"],
            id="office-hours-end-is-outside",
        ),
        pytest.param(
            LATE,
            ["2026-01-01T23:59:59", "2026-01-01T18:00", "2026-01-01T00:00", "2026-01-01T05:59"],
            ["2026-01-01T06:00", "2026-01-01T17:59"],
            id="24-00-ends-the-day",
        ),
        pytest.param(
            "{days_of_month: ['4:6'], months: [april], years: [2020]}",
            ["2020-04-04T15:04", "2020-04-05T00:00", "2020-04-06T23:05"],
            ["2020-04-03T23:59", "2020-06-04T23:59", "2019-04-06T23:59", "2020-04-07T00:00"],
            id="easter-2020",
        ),
        pytest.param(
            "{days_of_month: ['-3:-1']}",
            ["2020-01-31T15:04", "2020-01-29T15:04", "2020-06-30T00:00", "2020-02-29T23:05"],
            ["2020-01-28T23:59", "2020-03-01T00:00", "2020-04-03T23:59", "2020-02-26T23:59"],
            id="last-three-days",
        ),
        pytest.param(
            "{days_of_month: [-1], months: [2]}",
            ["2024-02-29T12:00", "2026-02-28T12:00", "2000-02-29T12:00", "2100-02-28T12:00"],
            ["2024-02-28T12:00", "2026-02-27T12:00", "2026-03-31T12:00"],
            id="last-day-of-february",
        ),
        pytest.param(
            "{days_of_month: ['-31:-29']}",
            ["2026-01-01T12:00", "2026-01-03T12:00", "2026-06-01T12:00", "2026-06-02T12:00"],
            ["2026-01-04T12:00", "2026-06-03T12:00", "2026-02-01T12:00", "2026-02-28T12:00"],
            id="from-the-end-past-the-start",
        ),
        pytest.param("{days_of_month: ['-31:-29']}", ["2028-02-01T12:00"], ["2028-02-02T12:00"], id="leap"),
        pytest.param(
            "{days_of_month: ['1:31'], months: [june]}",
            ["2020-06-01T00:00", "2020-06-30T00:00"],
            ["2020-05-31T00:00", "2020-07-01T00:00"],
            id="end-is-clamped",
        ),
        pytest.param(
            "{days_of_month: ['30:31'], months: [february]}",
            [], ["2021-02-28T13:00"], id="start-is-not-clamped",
        ),
        pytest.param(
            "{days_of_month: ['1:-1']}", ["2026-02-01T00:00", "2026-02-28T00:00"], [], id="the-whole-month"
        ),
        pytest.param(
            QUARTER,
            ["2021-01-27T09:00", "2021-01-28T16:59", "2025-03-31T13:00", "2035-01-31T13:00"],
            ["2021-01-30T13:00", "2021-04-01T13:00", "2026-01-30T13:00", "2035-01-31T17:01"],
            id="last-week-of-the-first-quarter",
        ),
        pytest.param(
            MIXED,
            ["2021-01-10T13:00", "2021-01-30T14:24"],
            ["2021-01-09T13:00", "2021-01-20T12:59", "2021-02-02T13:00", "2021-01-21T13:00"],
            id="all-fields-any-item",
        ),
        pytest.param(SYDNEY, ["2021-04-06T13:00+10:00"], ["2021-04-06T13:00"], id="sydney"),
        pytest.param(
            SYDNEY.replace("}], w", "}], months: ['11'], w"),
            ["2021-11-01T09:00+11:00", "2021-10-31T22:00"],
            ["2021-10-31T21:00", "2021-11-30T22:00"],
            id="sydney-in-summer-all-fields-are-local",
        ),
        pytest.param(
            "{days_of_month: [-1], location: America/New_York}",
            ["2021-03-31T12:00", "2021-05-31T12:00", "2021-11-30T12:00"],
            ["2021-03-30T12:00", "2021-05-30T12:00", "2021-11-29T12:00"],
            id="a-month-with-a-short-day-keeps-its-length",
        ),
        pytest.param(
            "{weekdays: [SATURDAY, 'Sunday']}",
            ["2026-01-03T00:00", "2026-01-04T23:59"], ["2026-01-05T00:00"], id="any-case",
        ),
        pytest.param(
            "{months: ['march:5', 0, 13, -4]}", ["2026-05-31T00:00"], ["2026-06-01T00:00"], id="months"
        ),
        pytest.param(
            "{years: [2026, '2028:2029', -5]}",
            ["2026-12-31T23:59", "2028-01-01T00:00"],
            ["2027-01-01T00:00", "2030-01-01T00:00"],
            id="years-without-quotes",
        ),
        pytest.param("{years: ['+0002026', '-9223372036854775808:0']}", ["2026-01-01T00:00"], [], id="signs"),
        pytest.param("{times: []}", [], ["2026-01-01T00:00"], id="no-times-is-never"),
        pytest.param("{weekdays: []}", [], ["2026-01-01T00:00"], id="no-weekdays-is-never"),
        pytest.param("{days_of_month: []}", [], ["2026-01-01T00:00"], id="no-days-is-never"),
        pytest.param("{months: []}", [], ["2026-01-01T00:00"], id="no-months-is-never"),
        pytest.param("{years: []}", [], ["2026-01-01T00:00"], id="no-years-is-never"),
        pytest.param("{times: , years: , location: }", ["2026-01-01T00:00"], [], id="nothing-said"),
        pytest.param("{location: ''}", ["2026-01-01T00:00"], [], id="empty-location-is-utc"),
        pytest.param(
            "{years: [2026]}, {months: [1], location: Asia/Tokyo}",
            ["2026-06-01T00:00", "2027-01-31T14:59", "2024-12-31T15:00"],
            ["2027-01-31T15:00", "2024-12-31T14:59"],
            id="any-of-the-items",
        ),
    ],
)  # fmt: skip
def test_contains_as_alertmanager(text, inside, outside):
    """Alertmanager's own examples, and the borders of each field, hold where they hold there."""
    made = interval(text)
    assert [when for when in inside if not made.contains(at(when))] == []
    assert [when for when in outside if made.contains(at(when))] == []


def test_no_items_is_never():
    """A time interval without items, or with an empty list of them, never holds."""
    for text in ("[]", ""):
        made = listed(text)
        assert not made.contains(at("2026-01-01T00:00"))
        assert made.next_change(at("2026-01-01T00:00")) is None
        assert str(made) == "n: never"


@pytest.mark.parametrize("hour", [0, 1])
def test_an_hour_that_comes_twice(hour):
    """02:30 in Berlin holds in both hours that bear that name, and does not on the day that has none."""
    made = interval("{times: [{start_time: '02:30', end_time: '02:40'}], location: Europe/Berlin}")
    assert made.contains(at(f"2026-10-25T0{hour}:30"))
    spring = [at("2026-03-29T00:00") + minute * MINUTE for minute in range(180)]
    assert not any(made.contains(when) for when in spring)


@pytest.mark.parametrize(
    ("item", "place", "told"),
    [
        ("{times: [{start_time: '17:31', end_time: '17:31'}]}", "times.0", "before end_time"),
        ("{times: [{start_time: '09:30', end_time: '07:41'}]}", "times.0", "over midnight"),
        ("{times: [{start_time: '24:00', end_time: '24:00'}]}", "times.0", "before end_time"),
        ("{times: [{start_time: '12:30', end_time: '24:01'}]}", "times.0.end_time", "write HH:MM"),
        ("{times: [{start_time: '01:99', end_time: '23:59'}]}", "times.0.start_time", "write HH:MM"),
        ("{times: [{start_time: '9:00', end_time: '23:59'}]}", "times.0.start_time", "write HH:MM"),
        ("{times: [{start_time: '', end_time: '23:59'}]}", "times.0.start_time", "write HH:MM"),
        ('{times: [{start_time: "09:00\\n", end_time: \'23:59\'}]}', "times.0.start_time", "write HH:MM"),
        ("{times: [{start_time: 900, end_time: '23:59'}]}", "times.0.start_time", "write HH:MM"),
        ("{times: [{start_time: 9.0, end_time: '23:59'}]}", "times.0.start_time", "write HH:MM"),
        ("{times: [{start_time: '14:03'}]}", "times.0.end_time", "required"),
        ("{times: [{start_time: '14:03', end_time: '15:00', days: []}]}", "times.0.days", "unknown key"),
        ("{times: [null]}", "times.0", "keys with values"),
        ("{times: '09:00'}", "times", "must be a list"),
        ("{weekdays: ['friday:monday']}", "weekdays.0", "ends before it starts"),
        ("{weekdays: ['saturday:sunday']}", "weekdays.0", "ends before it starts"),
        ("{weekdays: ['blurgsday:flurgsday']}", "weekdays.0", "'blurgsday'"),
        ("{weekdays: [mon]}", "weekdays.0", "not a weekday"),
        ("{weekdays: ['1:3']}", "weekdays.0", "not a weekday"),
        ("{weekdays: [1]}", "weekdays.0", "not a weekday"),
        ("{weekdays: ['monday: friday']}", "weekdays.0", "' friday'"),
        ("{weekdays: ['monday:tuesday:friday']}", "weekdays.0", "one colon"),
        ("{weekdays: [monday, null]}", "weekdays.1", "not a weekday"),
        ("{weekdays: monday}", "weekdays", "must be a list"),
        ("{days_of_month: [0]}", "days_of_month.0", "1 to 31"),
        ("{days_of_month: ['-50:-20']}", "days_of_month.0", "1 to 31"),
        ("{days_of_month: ['1:50']}", "days_of_month.0", "1 to 31"),
        ("{days_of_month: ['1:0']}", "days_of_month.0", "1 to 31"),
        ("{days_of_month: ['-15:5']}", "days_of_month.0", "ends there, too"),
        ("{days_of_month: ['10:-25']}", "days_of_month.0", "ends before it starts"),
        ("{days_of_month: ['28:-1']}", "days_of_month.0", "ends before it starts"),
        ("{days_of_month: ['-1:-3']}", "days_of_month.0", "ends before it starts"),
        ("{days_of_month: ['3:1']}", "days_of_month.0", "ends before it starts"),
        ("{days_of_month: ['1.5']}", "days_of_month.0", "not a day of the month"),
        ("{days_of_month: [true]}", "days_of_month.0", "not a day of the month"),
        ("{days_of_month: [[1, 2]]}", "days_of_month.0", "not a day of the month"),
        ("{months: ['martius:june']}", "months.0", "'martius'"),
        ("{months: ['march:junius']}", "months.0", "'junius'"),
        ("{months: ['december:january']}", "months.0", "ends before it starts"),
        ("{months: ['jan']}", "months.0", "'jan'"),
        ("{months: ['\u0661']}", "months.0", "not a month"),
        ("{years: ['2022:2020']}", "years.0", "ends before it starts"),
        ("{years: ['2020-2022']}", "years.0", "not a year"),
        ("{years: [2026.0]}", "years.0", "not a year"),
        ("{years: ['9223372036854775808']}", "years.0", "not a year"),
        ("{years: [':']}", "years.0", "not a year"),
        ("{years: 2026}", "years", "must be a list"),
        ("{day_of_month: [1]}", "day_of_month", "unknown key"),
        ("{location: 5}", "location", "must be text"),
    ],
)  # fmt: skip
def test_refuses_as_alertmanager(item, place, told):
    """What Alertmanager refuses is refused, at its place and with words that say what to write."""
    raw = f"name: n\ntime_intervals:\n  - {item}\n".encode()
    document, found = yaml_loader.read(raw, "times.yaml")
    assert document is not None, found
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(TimeIntervalModel).validate_python(document.data)
    problems = Problems()
    problems.add_invalid(document, (), caught.value, TimeIntervalModel)
    (problem,) = problems.found
    path = "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in place.split("."))
    assert problem.path == f"time_intervals[0]{path}"
    assert problem.line == 3
    assert told in problem.message


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("Local", "another one on each machine"),
        ("localtime", "another one on each machine"),
        ("Europe/Berln", "unknown location"),
        ("Europe", "unknown location"),
        ("leapseconds", "unknown location"),
        ("utc+1", "unknown location"),
        ("../../etc/passwd", "unknown location"),
        ("/etc/localtime", "unknown location"),
        ("Europe/../Europe/Berlin", "unknown location"),
        ("Europe\\Berlin", "unknown location"),
        ("Europe/Berlin/", "unknown location"),
        ("__init__/x", "unknown location"),
        ("A" * 300, "unknown location"),
    ],
)
def test_refuses_locations(key, told):
    """A location that is no zone of the database, or not the same everywhere, is a problem with a hint."""
    model = TypeAdapter(TimeIntervalModel).validate_python(
        {"name": "n", "time_intervals": [{"location": "Europe/Berlin"}, {"location": key}]}
    )
    problems = Problems()
    assert times.compiled(model, DOCUMENT, ("time_intervals", 4), problems) is None
    (problem,) = problems.found
    assert problem.path == "time_intervals[4].time_intervals[1].location"
    assert told in problem.message
    assert len(problem.message) < 100
    assert "Europe/Berlin" in problem.hint


@given(st.text(max_size=30))
def test_any_location(key):
    """Whatever the text of a location, there is an interval or a problem."""
    model = TypeAdapter(TimeIntervalModel).validate_python(
        {"name": "n", "time_intervals": [{"location": key}]}
    )
    problems = Problems()
    made = times.compiled(model, DOCUMENT, (), problems)
    assert (made is None) == bool(problems.found)


@given(
    st.sampled_from(["weekdays", "days_of_month", "months", "years"]),
    st.one_of(
        st.text(max_size=12), st.integers(), st.text("0123456789+-:adfiormny ", max_size=12), st.none()
    ),
)
def test_any_item(field, value):
    """Whatever stands in a list, it is taken or refused by pydantic, never anything else."""
    with suppress(ValidationError):
        TypeAdapter(TimeIntervalModel).validate_python({"name": "n", "time_intervals": [{field: [value]}]})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{}]", "n: always (UTC)"),
        ("[{times: []}]", "n: none (UTC)"),
        (
            "[{times: [{start_time: '18:00', end_time: '24:00'}], weekdays: ['Monday:friday', sunday]}]",
            "n: 18:00-24:00; monday:friday, sunday (UTC)",
        ),
        (
            "[{days_of_month: ['1:5', '-3:-1'], location: Asia/Tokyo}, {years: ['2026:2028', 2030]}]",
            "n: days 1:5, -3:-1 (Asia/Tokyo) or years 2026:2028, 2030 (UTC)",
        ),
        ("[{months: ['1:march', 12, 0, 13]}]", "n: january:march, december, 0, 13 (UTC)"),
    ],
)
def test_says_what_it_is(text, told):
    """The interval can be read in a log or in ``router routes``."""
    assert str(listed(text)) == told


@pytest.mark.parametrize(
    ("text", "when", "changes"),
    [
        pytest.param(OFFICE, "2026-01-02T12:00", "2026-01-02T17:00", id="ends-today"),
        pytest.param(OFFICE, "2026-01-02T17:00", "2026-01-05T09:00", id="over-the-weekend"),
        pytest.param(OFFICE, "2026-01-05T08:59:59.999999", "2026-01-05T09:00", id="a-moment-before"),
        pytest.param(OFFICE, "2026-01-05T09:00", "2026-01-05T17:00", id="at-the-start"),
        pytest.param(OFFICE, "2026-01-05T16:59:59.5", "2026-01-05T17:00", id="half-a-second-before-the-end"),
        pytest.param(LATE, "2026-01-01T19:00", "2026-01-02T06:00", id="midnight-is-no-change"),
        pytest.param("{}", "2026-01-01T00:00", None, id="always"),
        pytest.param("{years: [2020]}", "2026-01-01T00:00", None, id="over-for-good"),
        pytest.param("{years: [2030]}", "2026-01-01T00:00", None, id="too-far-ahead"),
        pytest.param("{years: [2026]}", "2026-01-01T00:00", "2027-01-01T00:00", id="a-year"),
        pytest.param("{years: ['2026:2028']}", "2026-01-01T00:00", None, id="three-years"),
        pytest.param("{months: [2], days_of_month: [-1]}", "2027-02-01T00:00", "2027-02-28T00:00", id="28"),
        pytest.param("{months: [2], days_of_month: [-1]}", "2027-03-01T00:00", "2028-02-29T00:00", id="29"),
        pytest.param("{months: [2], days_of_month: [29]}", "2026-03-01T00:00", None, id="leap-day-far-ahead"),
        pytest.param(SYDNEY, "2026-04-03T07:00", "2026-04-05T23:00", id="sydney-ends-its-summer"),
        pytest.param(
            "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}",
            "2026-10-24T12:00", "2026-10-25T00:00", id="into-the-doubled-hour",
        ),
        pytest.param(
            "{times: [{start_time: '02:00', end_time: '03:00'}], location: Europe/Berlin}",
            "2026-10-25T00:30", "2026-10-25T02:00", id="through-the-doubled-hour",
        ),
        pytest.param(
            "{times: [{start_time: '02:00', end_time: '02:30'}], location: Europe/Berlin}",
            "2026-10-25T00:10", "2026-10-25T00:30", id="out-of-the-first-of-two",
        ),
        pytest.param(
            "{times: [{start_time: '02:00', end_time: '02:30'}], location: Europe/Berlin}",
            "2026-10-25T00:30", "2026-10-25T01:00", id="into-the-second-of-two",
        ),
        pytest.param(
            "{times: [{start_time: '02:00', end_time: '02:30'}], location: Europe/Berlin}",
            "2026-03-28T02:00", "2026-03-30T00:00", id="a-day-without-that-hour",
        ),
        pytest.param(
            "{times: [{start_time: '00:00', end_time: '02:30'}], location: Europe/Berlin}",
            "2026-03-29T00:00", "2026-03-29T01:00", id="the-end-falls-into-the-gap",
        ),
        pytest.param(
            "{times: [{start_time: '00:00', end_time: '12:00'}]}, {times: [{start_time: '12:00',"
            " end_time: '20:00'}], location: Europe/London}",
            "2026-07-01T06:00", "2026-07-01T19:00", id="two-zones-overlap",
        ),
        pytest.param(
            "{times: [{start_time: '00:00', end_time: '12:00'}]}, {times: [{start_time: '14:00',"
            " end_time: '20:00'}], location: Europe/London}",
            "2026-07-01T12:30", "2026-07-01T13:00", id="two-zones-with-a-gap",
        ),
    ],
)  # fmt: skip
def test_next_change(text, when, changes):
    """The next change is the first moment with another answer, and None where no year ahead has one."""
    found = interval(text).next_change(at(when))
    assert found == (changes and at(changes))
    assert found is None or found.utcoffset() == timedelta()


def ahead_of(days: int) -> TimeInterval:
    day = (at("2026-01-01T00:00") + timedelta(days=days)).date()
    return interval(f"{{years: [{day.year}], months: [{day.month}], days_of_month: [{day.day}]}}")


def test_how_far_it_looks():
    """A change within 400 days is found, one after them is not."""
    now = at("2026-01-01T00:00")
    assert ahead_of(399).next_change(now) == now + timedelta(days=399)
    assert ahead_of(400).next_change(now) is None
    assert ahead_of(400).next_change(now + MINUTE) == now + timedelta(days=400)
    zones = "{location: Pacific/Kiritimati, years: [2027], months: [2], days_of_month: [5]}, {years: [2020]}"
    assert interval(zones).next_change(now) == now + timedelta(days=399, hours=10)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


_texts = {
    "times": st.integers(0, 1439).flatmap(
        lambda start: st.integers(start + 1, 1440).map(
            lambda end: {"start_time": clock(start), "end_time": clock(end)}
        )
    ),
    "weekdays": st.tuples(st.integers(0, 6), st.integers(0, 6)).map(
        lambda p: f"{WEEKDAYS[min(p)]}:{WEEKDAYS[max(p)]}"
    ),
    "days_of_month": st.one_of(
        st.tuples(st.integers(1, 31), st.integers(1, 31)).map(lambda p: f"{min(p)}:{max(p)}"),
        st.tuples(st.integers(-31, -1), st.integers(-31, -1)).map(lambda p: f"{min(p)}:{max(p)}"),
        st.integers(1, 27).map(lambda day: f"{day}:-1"),
    ),
    "months": st.tuples(st.integers(1, 12), st.integers(1, 12)).map(lambda p: f"{min(p)}:{max(p)}"),
    "years": st.sampled_from(["2011", "2018", "2026", "2026:2028", "2028"]),
}


def item(zone: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return an item, in the zone or in UTC, with any of the fields."""
    lists = {key: st.lists(one, max_size=3) for key, one in _texts.items()}
    return st.fixed_dictionaries({}, optional={**lists, "location": st.sampled_from([zone, "UTC"])})


_case = st.sampled_from(ODD_DAYS).flatmap(
    lambda odd: st.tuples(
        st.lists(item(odd[0]), min_size=1, max_size=3),
        st.integers(-1440, 1440).map(lambda minutes: odd[1] + minutes * MINUTE),
        st.integers(0, 59),
    )
)


def holds(spans: list[dict[str, Any]], when: datetime) -> bool:
    """Say it again, slowly and as the documentation does: all fields, any item of each, any span."""

    def minutes(text: str) -> int:
        return int(text[:2]) * 60 + int(text[3:])

    def within(value: int, ranges: list[str], last: int = 0, names: list[str] | None = None) -> bool:
        for text in ranges:
            ends = [names.index(end) if names else int(end) for end in text.split(":")]
            begin, end = (last + 1 + e if e < 0 else e for e in (ends[0], ends[-1]))
            if begin <= value <= end:
                return True
        return False

    for span in spans:
        local = when.astimezone(ZoneInfo(span.get("location", "UTC")))
        last = calendar.monthrange(local.year, local.month)[1]
        minute = local.hour * 60 + local.minute
        fields = {
            "times": lambda v, m=minute: any(
                minutes(r["start_time"]) <= m < minutes(r["end_time"]) for r in v
            ),
            "weekdays": lambda v, t=local: within(t.isoweekday() % 7, v, names=WEEKDAYS),
            "days_of_month": lambda v, t=local, n=last: within(t.day, v, n),
            "months": lambda v, t=local: within(t.month, v),
            "years": lambda v, t=local: within(t.year, v),
        }
        if all(test(span[key]) for key, test in fields.items() if key in span):
            return True
    return False


def made_of(spans: list[dict[str, Any]]) -> TimeInterval:
    model = TypeAdapter(TimeIntervalModel).validate_python({"name": "n", "time_intervals": spans})
    found = times.compiled(model, DOCUMENT, (), Problems())
    assert found is not None
    return found


@given(case=_case, hours=st.integers(0, 72))
def test_contains_what_the_words_say(case, hours):
    """For any interval, around any change of a zone's offset, the answer is that of the plain reading."""
    spans, start, second = case
    made = made_of(spans)
    for minute in range(0, 60, 7):
        when = start + timedelta(hours=hours, minutes=minute, seconds=second)
        assert made.contains(when) == holds(spans, when)


@settings(max_examples=60)
@given(case=_case)
def test_next_change_is_where_a_walk_by_minutes_finds_it(case):
    """Asked again and again, it names each change within three days, in order, and nothing between."""
    spans, start, second = case
    made = made_of(spans)
    answers = [made.contains(start + minute * MINUTE) for minute in range(3 * 1440)]
    walked = [
        start + minute * MINUTE for minute in range(1, len(answers)) if answers[minute] != answers[minute - 1]
    ]
    told: list[datetime] = []
    now: datetime | None = start + timedelta(seconds=second)
    while (now := made.next_change(now)) is not None and now < start + timedelta(days=3):
        told.append(now)
    assert told == walked


@given(case=_case)
def test_next_change_is_a_change(case):
    """However far it is, the answer is another one there, the same one just before and halfway to it."""
    spans, start, second = case
    made = made_of(spans)
    now = start + timedelta(seconds=second)
    before, changes = made.contains(now), made.next_change(now)
    if changes is None:
        assert all(made.contains(now + timedelta(days=day)) == before for day in range(400))
    else:
        assert now < changes < now + times.AHEAD
        assert made.contains(changes) != before
        for when in (changes - timedelta(microseconds=1), now + (changes - now) / 2):
            assert made.contains(when) == before
