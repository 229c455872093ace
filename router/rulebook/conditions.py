"""Conditions: the ``when:`` blocks of rules, about an incident and the deploy that is suspected.

All that are given must hold. What is not known (no deploy is suspected, so it has no phase) never
counts as holding, not even for ``!=``. Each condition explains itself in words. :func:`compiled` is
called at load; :class:`When` is asked with :class:`Facts` for each alert and decision, and says when
to ask again, as ages grow without any event.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field

from router.kit.text import line, shorten
from router.model.events import DeployPhase, Severity
from router.rulebook import durations
from router.rulebook.durations import DurationError
from router.rulebook.problems import unknown_hint
from router.rulebook.schema import Section, Word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from router.rulebook.problems import Problems
    from router.rulebook.yaml_loader import Document, Path

#: Where an incident stands, as conditions name it.
STATES: Final = ("waiting", "triggered", "acknowledged", "suppressed", "held")
#: Words of ``suspect:`` that are no service's name.
ANY: Final = "any"
NONE: Final = "none"
#: A word of ``phase:``: traffic is on the new version, and the old one is not cleaned up.
MONITORING: Final = "monitoring"
_MONITORED: Final = (DeployPhase.SWITCHED.value, DeployPhase.LIVE.value)

_WORDS: Final = {
    "severity": tuple(s.value for s in Severity),
    "state": STATES,
    "phase": (*(p.value for p in DeployPhase), MONITORING),
}
_CATALOGUE: Final = frozenset({"service", "team", "environment", "tier"})
_OF_SUSPECT: Final = frozenset({"suspect", "probability", "phase", "since_switch"})
_TIMES: Final = frozenset({"age", "since_switch"})
_MAX_TIER: Final = 9
#: By feel: more alerts than the routers of a year would see in one incident.
_MAX_SIZE: Final = 1_000_000
#: The smallest step of a timedelta: where ``<= 30m`` still holds, it ends one step later.
_STEP: Final = timedelta(microseconds=1)
_MAX_SHOWN: Final = 120

_TESTS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISON: Final = re.compile(r"\s*(<=|>=|==|!=|<|>|=)?\s*(\S+)\s*", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}")


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Words = Annotated[list[Word], Field(min_length=1, max_length=100), BeforeValidator(_one_or_more)]


class WhenModel(Section):
    """A ``when:`` block; :func:`compiled` reads the numbers and comparisons, and has hints for them."""

    service: Words | None = None
    team: Words | None = None
    environment: Words | None = None
    tier: Any = None
    severity: Words | None = None
    state: Words | None = None
    suspect: Words | None = None
    probability: Any = None
    phase: Words | None = None
    colour: Words | None = None
    since_switch: Any = None
    age: Any = None
    size: Any = None
    flapping: bool | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions are asked about; "" and None: not known, or not there.

    Args:
        tier: of the service.
        state: one of STATES.
        suspect: the service whose deploy is suspected, "" if none is.
        probability: of the suspicion, 0 to 1.
        phase: of the suspected deploy.
        colour: from the alerts' colour label.
        since_switch: the time since the suspected deploy took effect.
        age: the time since the incident opened.
        size: how many alerts fire.
        suspect_known: False: nobody has looked for a suspect yet, so not even ``none`` holds.
    """

    service: str = ""
    team: str = ""
    environment: str = ""
    tier: int | None = None
    severity: str = ""
    state: str = ""
    suspect: str = ""
    probability: float | None = None
    phase: str = ""
    colour: str = ""
    since_switch: timedelta | None = None
    age: timedelta | None = None
    size: int | None = None
    flapping: bool = False
    suspect_known: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """How one condition came out, in words; ``holds`` None: there is nothing to compare."""

    condition: str
    holds: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """A condition that takes some values; of ``suspect``, "" stands for none."""

    condition: str
    values: tuple[str | int, ...]

    def test(self, value: Any) -> bool:
        """Return whether the value is one of these."""
        return value in self.values or (self.condition == "suspect" and value != "" and ANY in self.values)

    @property
    def wanted(self) -> str:
        """What it takes, for people."""
        return " or ".join(_shown(value) for value in self.values)

    def found(self, value: Any) -> str:
        """Return the value, for people."""
        return _shown(value)


@dataclass(frozen=True, slots=True)
class Compared:
    """A condition that compares a number or a time with a limit."""

    condition: str
    op: str
    limit: Any  # int, float or timedelta

    def test(self, value: Any) -> bool:
        """Return whether the comparison holds."""
        return _TESTS[self.op](value, self.limit)

    @property
    def wanted(self) -> str:
        """What it takes, for people."""
        return f"{self.op} {_shown(self.limit)}"

    def found(self, value: Any) -> str:
        """Return the value, for people; rounded only where it then compares as before."""
        short = value
        if isinstance(value, float):
            short = round(value, 3)
        elif isinstance(value, timedelta):
            short = value - value % timedelta(seconds=1)
        return _shown(short if self.test(short) == self.test(value) else value)

    def next_change(self, value: timedelta) -> timedelta | None:
        """Return after how long a growing time comes out differently; None: never."""
        left: timedelta = self.limit - value
        # It changes at the limit, or just after it.
        steps = (left, left + _STEP)
        return next((s for s in steps if s > timedelta(0) and self.test(value + s) != self.test(value)), None)


@dataclass(frozen=True, slots=True)
class When:
    """Conditions that must all hold; none at all always do."""

    conditions: tuple[OneOf | Compared, ...] = ()

    def findings(self, facts: Facts) -> list[Finding]:
        """Return how each condition comes out, in a fixed order."""
        return [_finding(condition, facts) for condition in self.conditions]

    def holds(self, facts: Facts) -> bool:
        """Return whether all conditions hold."""
        for condition in self.conditions:
            value = _value(condition.condition, facts)
            if value is None or not condition.test(value):
                return False
        return True

    @property
    def catalogue_only(self) -> bool:
        """True where all can be told before there is an incident."""
        return all(each.condition in _CATALOGUE for each in self.conditions)

    def next_change(self, facts: Facts) -> timedelta | None:
        """Return after how long, if only time passes, a condition may come out differently; None: never."""
        changes = [
            change
            for each in self.conditions
            if isinstance(each, Compared) and each.condition in _TIMES
            if (value := _value(each.condition, facts)) is not None
            if (change := each.next_change(value)) is not None
        ]
        return min(changes, default=None)


def _value(condition: str, facts: Facts) -> Any:
    """Return the fact that a condition is about, None where there is nothing to compare."""
    if condition in _OF_SUSPECT:
        if not facts.suspect_known:
            return None
        if condition == "suspect":
            return facts.suspect
        if not facts.suspect:
            return None
    value = getattr(facts, condition)
    return None if value == "" else value


def _finding(condition: OneOf | Compared, facts: Facts) -> Finding:
    name = condition.condition
    value = _value(name, facts)
    wanted = shorten(condition.wanted, _MAX_SHOWN)
    if value is not None:
        text = f"{name} is {condition.found(value)}, wanted {wanted}"
        return Finding(name, condition.test(value), text)
    why = "not known"
    if name in _OF_SUSPECT and not facts.suspect_known:
        why = "not known yet"
    elif name in _OF_SUSPECT and not facts.suspect:
        why = "not known, as no deploy is suspected"
    return Finding(name, None, f"{name} is {why}, wanted {wanted}")


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return durations.render(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return line(str(value), _MAX_SHOWN) or NONE


# -- reading


def compiled(model: WhenModel | None, document: Document, path: Path, problems: Problems) -> When:
    """Return the conditions; what cannot be read goes to ``problems`` and is left out."""
    found: list[OneOf | Compared] = []
    for name in WhenModel.model_fields:
        raw = getattr(model, name, None)
        try:
            if raw is None:
                continue
            if name == "flapping":
                found.append(OneOf(name, (raw,)))
            elif name in _TIMES:
                found.append(_time(name, raw))
            elif name in _NUMBERS:
                found.append(_number(name, raw))
            else:
                _check_words(name, raw, document, (*path, name), problems)
                found.append(_words(name, raw))
        except _UnreadableError as exc:
            problems.add(document, (*path, name), str(exc), exc.hint)
    return When(tuple(found))


class _UnreadableError(Exception):
    """A value that is none; ``hint`` says what to write."""

    def __init__(self, raw: Any, message: str, hint: str) -> None:
        super().__init__(f"{message}: {raw[:40]!r}" if isinstance(raw, str) else message)
        self.hint = hint


def _check_words(name: str, raw: list[str], document: Document, path: Path, problems: Problems) -> None:
    known = _WORDS.get(name)
    for index, word in enumerate(raw):
        if known is not None and word not in known:
            # one word without brackets is not an item to whoever wrote it
            here = (*path, index) if (*path, index) in document.lines else path
            problems.add(document, here, f"no {name} is named {word[:60]!r}", unknown_hint(word, known))


def _words(name: str, raw: list[str]) -> OneOf:
    if name == "phase":
        raw = [each for word in raw for each in (_MONITORED if word == MONITORING else (word,))]
    elif name == "suspect":
        raw = ["" if word == NONE else word for word in raw]
    return OneOf(name, tuple(dict.fromkeys(raw)))


@dataclass(frozen=True, slots=True)
class _Number:
    """How a number is written: what a bare one means, the largest, and what to write."""

    bare: str
    most: int
    hint: str
    whole: bool = True


_NUMBERS: Final = {
    "tier": _Number("==", _MAX_TIER, f'write for example "<= 1", 1 or [0, 1]; tiers are 0 to {_MAX_TIER}'),
    "probability": _Number(">=", 1, 'write for example ">= 0.8"; it is a number from 0 to 1', whole=False),
    "size": _Number(">=", _MAX_SIZE, 'write for example ">= 5", or 5, which means the same'),
}
_TIME_HINT: Final = 'write for example "<= 30m" or ">= 1h"; units are y w d h m s ms, in this order'


def _number(name: str, raw: Any) -> OneOf | Compared:
    """Read a number, a comparison with one, or a list of tiers."""
    how = _NUMBERS[name]
    if isinstance(raw, list) and name == "tier":
        if not raw or not all(type(each) is int and 0 <= each <= how.most for each in raw):
            raise _UnreadableError(raw, "not a list of tiers", how.hint)
        return OneOf(name, tuple(dict.fromkeys(raw)))
    op, text = _split(raw)
    if not _NUMBER.fullmatch(text) or (how.whole and "." in text):
        what = "a whole number" if how.whole else "a number"
        raise _UnreadableError(raw, f"not {what}, and no comparison with one", how.hint)
    limit = int(text) if how.whole else float(text)
    if limit > how.most:
        raise _UnreadableError(raw, f"{name} is at most {how.most}", how.hint)
    return Compared(name, op or how.bare, limit)


def _time(name: str, raw: Any) -> Compared:
    """Read a comparison with a duration; a bare one could mean at least as well as at most."""
    op, text = _split(raw)
    try:
        limit = durations.parse(text)
    except DurationError as exc:
        raise _UnreadableError(
            raw, f"{name} is compared with a duration, and this is none", _TIME_HINT
        ) from exc
    if not op:
        hint = f'write "<= {text}" for within, or ">= {text}" for at least'
        raise _UnreadableError(raw, "a duration needs an operator before it", hint)
    return Compared(name, op, limit)


def _split(raw: Any) -> tuple[str, str]:
    """Return the operator, "" if there is none, and what follows it."""
    if isinstance(raw, float):
        return "", f"{raw:.9f}"  # never 1e-05
    match = _COMPARISON.fullmatch(str(raw)) if isinstance(raw, str | int) else None
    if match is None:
        return "", ""
    return "==" if match[1] == "=" else match[1] or "", match[2]
