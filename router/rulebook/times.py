"""Alertmanager's time intervals: the same YAML, the same meaning (timeinterval/timeinterval.go).

Within a field any item may hold, in an item of ``time_intervals`` all fields, of the items any one. An
empty list never holds, a field left out always does. Read by :mod:`router.rulebook.load`; ``contains``
is asked for each decision, ``next_change`` tells when to ask again. No clock is seen here.
Two things are refused that Alertmanager takes: an item without a value, which would mean Sunday or never,
and the location ``Local``, which means another zone on each machine.
"""

from __future__ import annotations

import heapq
import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from router.rulebook.schema import Name, Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import tzinfo

    from router.rulebook.problems import Problems
    from router.rulebook.yaml_loader import Document, Path

#: How far ahead a change is looked for: a year with its leap day, and the month around it.
AHEAD: Final = timedelta(days=400)
#: By feel: ten years of holidays, each with an item of its own; a walk through them takes milliseconds.
MAX_ITEMS: Final = 200

_WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAY: Final = {name: number for number, name in enumerate(_WEEKDAYS)}
_MONTH: Final = {name: number for number, name in enumerate(_MONTHS, 1)}
_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00").fullmatch
#: What Go's strconv.Atoi takes; it keeps numbers in 64 bits.
_NUMBER: Final = re.compile(r"[+-]?0{0,40}[0-9]{1,19}").fullmatch
_INT64: Final = 2**63
#: The names in the IANA database; nothing that a file system would read otherwise.
_LOCATION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z][A-Za-z0-9_+-]*)*").fullmatch
_LOCAL: Final = ("Local", "localtime")
_LOCATION_HINT: Final = "write a name of the IANA database, for example Europe/Berlin; left out, it is UTC"
_DAY: Final = 86_400
_SECOND: Final = timedelta(seconds=1)
_ZERO: Final = datetime(1, 1, 1, tzinfo=UTC)


def _text(value: Any, what: str) -> str:
    """Return the text of a scalar; YAML's numbers need no quotes, true and 1.0 are not numbers here."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"not {what}")  # noqa: TRY004  pydantic takes ValueError
    return value.lower()


def _minute(value: Any) -> int:
    """Return the minute of the day."""
    text = _text(value, "a time of day; write HH:MM, from 00:00 to 24:00")
    if _CLOCK(text) is None:
        raise ValueError(f"not a time of day: {text[:40]!r}; write HH:MM, from 00:00 to 24:00")
    return int(text[:2]) * 60 + int(text[3:])


def _pair(value: Any, what: str, names: dict[str, int], *, numbers: bool = True) -> tuple[int, int]:
    """Return first and last of ``a:b``, or of ``a`` alone; both may be names or numbers."""
    text = _text(value, what)
    ends = text.split(":")
    if len(ends) > 2:
        raise ValueError(f"not {what}: {text[:40]!r}; a range has one colon")
    found: list[int] = []
    for end in ends:
        number = names.get(end)
        if number is None and numbers and _NUMBER(end) and -_INT64 <= int(end) < _INT64:
            number = int(end)
        if number is None:
            raise ValueError(f"not {what}: {end[:40]!r}")
        found.append(number)
    return found[0], found[-1]


def _ordered(value: Any, what: str, names: dict[str, int], *, numbers: bool = True) -> tuple[int, int]:
    first, last = _pair(value, what, names, numbers=numbers)
    if first > last:
        raise ValueError("the range ends before it starts; make two of it")
    return first, last


def _days(value: Any) -> tuple[int, int]:
    """Return first and last day of the month; negative ones count from its end."""
    first, last = _pair(value, "a day of the month, 1 to 31 or -31 to -1", {})
    for day in (first, last):
        if not 1 <= abs(day) <= 31:
            raise ValueError("a day of the month is 1 to 31, or -31 to -1 from the end")
    if first < 0 < last:
        raise ValueError("a range that starts from the end of the month ends there, too")
    # Alertmanager's own sum, which also refuses 28:-1
    if (first if first > 0 else 28 + first) > (last if last > 0 else 28 + last):
        raise ValueError("the range ends before it starts in a month of 28 days; make two of it")
    return first, last


_WEEKDAY_TEXT: Final = "a weekday, sunday to saturday"
Minute = Annotated[int, BeforeValidator(_minute)]
Pair = tuple[int, int]
Weekdays = Annotated[
    Pair, BeforeValidator(partial(_ordered, what=_WEEKDAY_TEXT, names=_WEEKDAY, numbers=False))
]
Days = Annotated[Pair, BeforeValidator(_days)]
Months = Annotated[Pair, BeforeValidator(partial(_ordered, what="a month, january or 1", names=_MONTH))]
Years = Annotated[Pair, BeforeValidator(partial(_ordered, what="a year", names={}))]


class HoursModel(Section):
    """An item of ``times:``, in minutes of the day; the end itself is outside."""

    start_time: Minute
    end_time: Minute

    @model_validator(mode="after")
    def _in_order(self) -> HoursModel:
        if self.start_time >= self.end_time:
            raise ValueError("start_time must be before end_time; over midnight, make two of it")
        return self


class SpanModel(Section):
    """An item of ``time_intervals:`` within a time interval; ranges include both ends."""

    times: list[HoursModel] | None = Field(default=None, max_length=MAX_ITEMS)
    weekdays: list[Weekdays] | None = Field(default=None, max_length=MAX_ITEMS)
    days_of_month: list[Days] | None = Field(default=None, max_length=MAX_ITEMS)
    months: list[Months] | None = Field(default=None, max_length=MAX_ITEMS)
    years: list[Years] | None = Field(default=None, max_length=MAX_ITEMS)
    location: str = ""


class TimeIntervalModel(Section):
    """An item of ``time_intervals:`` at the top of a file."""

    name: Name
    time_intervals: list[SpanModel] = Field(default=[], max_length=MAX_ITEMS)


@dataclass(frozen=True, slots=True)
class Span:
    """One item, ready to be asked: sets of days are bits, day 1 is bit 1."""

    hours: tuple[Pair, ...]
    days: tuple[int, ...]  # by length of the month, from 28
    weekdays: tuple[int, ...]  # the days of a month by the weekday of its first, from Monday
    months: int
    years: tuple[Pair, ...]

    def dates(self, year: int, month: int, first: int, length: int) -> int:
        """Return the days of a month on which it holds; ``first`` is the weekday of the 1st, from Monday."""
        if not self.months >> month & 1 or not any(begin <= year <= end for begin, end in self.years):
            return 0
        return self.days[length - 28] & self.weekdays[first]


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A named time interval. ``groups`` has its spans by their zone, ``text`` what it says."""

    name: str
    groups: tuple[tuple[tzinfo, tuple[Span, ...]], ...]
    text: str

    def contains(self, at: datetime) -> bool:
        """Return whether the interval holds at an aware time."""
        for zone, spans in self.groups:
            local = at.astimezone(zone)
            year, month, day = local.year, local.month, local.day
            minute = local.hour * 60 + local.minute
            first, length = monthrange(year, month)
            for span in spans:
                if span.dates(year, month, first, length) >> day & 1 and any(
                    begin <= minute < end for begin, end in span.hours
                ):
                    return True
        return False

    def next_change(self, at: datetime) -> datetime | None:
        """Return the first moment after ``at`` (aware) from which ``contains`` says otherwise, in UTC.

        None if there is none before ``at`` and :data:`AHEAD`.
        """
        begin = (at - _ZERO) // _SECOND
        end = begin + AHEAD // _SECOND
        inside, until = False, begin
        walks = (_periods(zone, spans, begin, end) for zone, spans in self.groups)
        for starts, ends in heapq.merge(*walks):
            if starts > until:
                # outside, it is where the first period starts; inside, where no other goes on
                found = until if inside else starts
                return _moment(found) if found < end else None
            inside, until = True, max(until, ends)
        return _moment(until) if inside and until < end else None

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def compiled(
    model: TimeIntervalModel, document: Document, path: Path, problems: Problems
) -> TimeInterval | None:
    """Return the interval; None where a location is unknown, which is a problem."""
    groups: dict[tzinfo, list[Span]] = {}
    good = True
    for index, span in enumerate(model.time_intervals):
        where = _zone(span.location)
        if where is None:
            good = False
            text = f"unknown location {span.location[:60]!r}"
            if span.location in _LOCAL:
                text = f"the location {span.location!r} is another one on each machine"
            problems.add(document, (*path, "time_intervals", index, "location"), text, _LOCATION_HINT)
        else:
            groups.setdefault(where, []).append(_span(span))
    if not good:
        return None
    texts = [_told(span) for span in model.time_intervals]
    spans = tuple((zone, tuple(found)) for zone, found in groups.items())
    return TimeInterval(model.name, spans, " or ".join(texts) or "never")


@lru_cache(maxsize=256)
def _zone(key: str) -> tzinfo | None:
    """Return the zone of a location, None if there is none; UTC needs no database."""
    if key in ("", "UTC"):
        return UTC
    if key in _LOCAL or len(key) > 100 or _LOCATION(key) is None:
        return None
    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError):  # not there, not a zone's file, a folder of zones
        return None


def _span(model: SpanModel) -> Span:
    return Span(
        hours=((0, 1440),)
        if model.times is None
        else _union((hours.start_time, hours.end_time) for hours in model.times),
        days=tuple(_bits(length, _from_start(model.days_of_month, length)) for length in range(28, 32)),
        weekdays=tuple(
            # Monday is 0 to the calendar and 1 to Alertmanager
            sum(1 << day for day in range(1, 32) if _within((first + day) % 7, model.weekdays))
            for first in range(7)
        ),
        months=_bits(12, model.months),
        years=((1, 9999),) if model.years is None else tuple(model.years),
    )


def _from_start(days: Sequence[Pair] | None, length: int) -> Sequence[Pair] | None:
    """Count all days from the start of a month; what lies outside of it then matches none of its days."""
    if days is None:
        return None
    return [
        (begin if begin > 0 else length + begin + 1, end if end > 0 else length + end + 1)
        for begin, end in days
    ]


def _bits(last: int, ranges: Sequence[Pair] | None) -> int:
    return sum(1 << number for number in range(1, last + 1) if _within(number, ranges))


def _within(number: int, ranges: Iterable[Pair] | None) -> bool:
    return ranges is None or any(begin <= number <= end for begin, end in ranges)


def _told(model: SpanModel) -> str:
    """Return what an item says, as it would be written."""
    parts = [
        _listed("", [(_clock(hours.start_time), _clock(hours.end_time)) for hours in model.times], "-")
        if model.times is not None
        else "",
        _listed("", model.weekdays, names=_WEEKDAYS),
        _listed("days ", model.days_of_month),
        _listed("", model.months, names=("", *_MONTHS)),
        _listed("years ", model.years),
    ]
    said = "; ".join(part for part in parts if part) or "always"
    return f"{said} ({model.location or 'UTC'})"


def _listed(
    what: str, ranges: Sequence[tuple[Any, Any]] | None, sign: str = ":", names: Sequence[str] = ()
) -> str:
    if ranges is None:
        return ""

    def one(value: Any) -> str:
        return names[value] if names and 0 <= value < len(names) and names[value] else str(value)

    told = [one(begin) if begin == end else f"{one(begin)}{sign}{one(end)}" for begin, end in ranges]
    return what + (", ".join(told) or "none")


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _moment(second: int) -> datetime:
    return _ZERO + timedelta(seconds=second)


def _offset(zone: tzinfo, second: int) -> int:
    """Return how far local time is ahead of UTC, in seconds."""
    ahead = _moment(second).astimezone(zone).utcoffset()
    return ahead // _SECOND if ahead else 0


def _periods(zone: tzinfo, spans: Sequence[Span], begin: int, end: int) -> Iterator[Pair]:
    """Yield when any of the spans holds, in order and in seconds of UTC; may touch, and pass ``end``.

    Walks from local midnight to local midnight, with a stop where the zone's offset changes: between
    two stops local time runs as UTC does.
    """
    at, offset = begin, _offset(zone, begin)
    month, length = (0, 0), 0
    open_: list[tuple[int, int]] = []
    unions: dict[tuple[int, ...], tuple[Pair, ...]] = {}
    while at < end:
        day, since = divmod(at + offset, _DAY)
        midnight = at - since
        local = date.fromordinal(day + 1)
        if (local.year, local.month) != month:
            month = (local.year, local.month)
            first, length = monthrange(*month)
            dates = ((span.dates(*month, first, length), number) for number, span in enumerate(spans))
            open_ = [(bits, number) for bits, number in dates if bits]
        if not open_ and local.day < length - 1:  # to the day before the last: no offset changes by more
            at = midnight + (length - 1 - local.day) * _DAY
            offset = _offset(zone, at)
            continue
        until = midnight + _DAY
        after = _offset(zone, until)
        if after != offset:
            until = _transition(zone, at, until, offset)
            after = _offset(zone, until)
        today = tuple(number for bits, number in open_ if bits >> local.day & 1)
        if today not in unions:
            unions[today] = _union(hours for number in today for hours in spans[number].hours)
        for start, stop in unions[today]:
            starts, ends = max(at, midnight + start * 60), min(until, midnight + stop * 60)
            if starts < ends:
                yield starts, ends
        at, offset = until, after


def _union(ranges: Iterable[Pair]) -> tuple[Pair, ...]:
    """Return the same hours in order, none of them overlapping or touching another."""
    found: list[Pair] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


def _transition(zone: tzinfo, low: int, high: int, offset: int) -> int:
    """Return when the offset changes between ``low``, where it is ``offset``, and ``high``."""
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high
