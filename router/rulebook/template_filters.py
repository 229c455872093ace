"""What templates can do with values: operators, filters and tests, each bounded and charged.

Registered by :mod:`router.rulebook.templates`, which also says what a template may
look like. Every step is charged to the :class:`Meter` of its rendering before it is
done, and no text grows past :data:`MAX_TEXT`. Nothing here calls what it is given.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import ChainableUndefined, Undefined, pass_context
from jinja2.runtime import Context

from router.model.errors import RouterError

if TYPE_CHECKING:
    from collections.abc import Callable

#: No operation makes a text longer than this, and none but printing, truncate and comparisons takes one.
MAX_TEXT: Final = 65_536
#: Steps of one rendering: a node of the syntax, an item of a list, or _STEP characters of text.
#: Several times what 30 alerts with all their labels take, and some tens of milliseconds at worst.
MAX_WORK: Final = 50_000

_STEP: Final = 64
#: Title case and URL quoting look at each character in Python.
_SLOW: Final = 16
_MAX_DIGITS: Final = 100
_WORD: Final = re.compile(r"[^-\s({\[<]+")


class TemplateError(RouterError):
    """Text that is no template of ours, or values it cannot be rendered with; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Meter(Context):
    """The values of one rendering, and what is left of its budget."""

    left = MAX_WORK

    def spend(self, steps: int) -> None:
        """Charge the steps before they are done."""
        self.left -= steps
        if self.left < 0:
            raise TemplateError("the template is too much work", "loop over less, or shorten texts first")


_KINDS: Final = {bool: "true or false", str: "text", list: "a list", dict: "keys with values"}


def _kind(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "a number"
    return "nothing" if _missing(value) else _KINDS.get(type(value), f"a {type(value).__name__}")


def _missing(value: Any) -> bool:
    return value is None or isinstance(value, Undefined)


def printed(value: Any) -> str:
    """Return what is printed for a value."""
    if isinstance(value, str):
        return value
    if _missing(value):
        return ""
    if isinstance(value, int | float):
        return str(value)
    hint = "print labels.name, loop over it, or write |join(', ')"
    raise TemplateError(f"{_kind(value)} cannot be printed", hint)


def number(value: Any) -> int | float:
    """Return the value if one can count with it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    hint = "join texts with ~; make a number with |int or |float"
    raise TemplateError(f"a number is needed, not {_kind(value)}", hint)


def _items(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return list(value)
    if _missing(value):
        return []
    raise TemplateError(f"a list is needed, not {_kind(value)}", "write for example for alert in alerts")


def _length(size: int) -> None:
    if size > MAX_TEXT:
        raise TemplateError(
            f"a text of more than {MAX_TEXT} characters", "shorten it first with |truncate(1000)"
        )


def _taken(meter: Meter, value: Any, price: int = 1) -> str:
    """Return a value as text after charging for work on it."""
    taken = printed(value)
    _length(len(taken))
    meter.spend(1 + len(taken) * price // _STEP)
    return taken


def _listed(meter: Meter, value: Any) -> list[Any]:
    """Return a value as list after charging for work on it and on the texts in it."""
    items = _items(value)
    meter.spend(1 + sum(2 + len(one) // _STEP if isinstance(one, str) else 2 for one in items))
    return items


def _folded(value: Any) -> Any:
    """Return the key by which Jinja2 sorts and compares: without case."""
    return value.lower() if isinstance(value, str) else value


# --- What operators and loops become ---


@pass_context
def _each(meter: Meter, value: Any, weight: int) -> list[Any]:
    """Return the items of a loop whose body weighs so many nodes."""
    items = _items(value)
    meter.spend(len(items) * weight)
    return items


@pass_context
def _concat(meter: Meter, first: Any, *more: Any) -> str:
    return _joined(meter, "", [first, *more])


def _joined(meter: Meter, between: str, values: list[Any]) -> str:
    parts = [printed(value) for value in values]
    size = sum(map(len, parts)) + len(between) * max(len(parts) - 1, 0)
    _length(size)
    meter.spend(len(parts) + size // _STEP)
    return between.join(parts)


@pass_context
def _compare(meter: Meter, left: Any, sign: str, right: Any) -> bool:
    if sign in {"in", "notin"}:
        return _contains(meter, left, right) == (sign == "in")
    if isinstance(left, list | dict) or isinstance(right, list | dict):
        raise TemplateError(
            "lists and keys cannot be compared", "compare texts and numbers, or write |length"
        )
    # As in matchers: a label that is not there equals the empty text.
    if isinstance(right, str) and isinstance(left, Undefined):
        left = ""
    elif isinstance(left, str) and isinstance(right, Undefined):
        right = ""
    both = isinstance(left, str) and isinstance(right, str)
    meter.spend(1 + min(len(left), len(right)) // _STEP if both else 1)
    if sign in {"eq", "ne"}:
        return bool(left == right) == (sign == "eq")
    if not both:
        left, right = number(left), number(right)
    if sign in {"lt", "gteq"}:
        return bool(left < right) == (sign == "lt")
    return bool(left > right) == (sign == "gt")


def _contains(meter: Meter, needle: Any, stack: Any) -> bool:
    if isinstance(needle, list | dict):
        raise TemplateError("lists and keys cannot be looked for", "look for a text or a number")
    size = len(needle) if isinstance(needle, str) else 0
    if isinstance(stack, str):
        if _missing(needle):
            return False
        if not isinstance(needle, str):
            raise TemplateError(f"{_kind(needle)} cannot be looked for in text", "write it in quotes")
        meter.spend(_search(size, len(stack)))
        return needle in stack
    items = stack if isinstance(stack, dict) else _items(stack)
    meter.spend((1 + len(items)) * (1 + size // _STEP))
    return ("" if isinstance(needle, Undefined) else needle) in items


def _search(needle: int, stack: int) -> int:
    """Return the price: Python looks at each place anew until a needle has 100 characters."""
    return 1 + stack * min(needle, 100) // _STEP


# --- Filters; names and order of parameters are Jinja2's ---


def _changed(change: Callable[[str], str], price: int = 1) -> Callable[..., str]:
    """Return a filter that looks at each character; its result grows by a small factor at most."""

    @pass_context
    def changed(meter: Meter, value: Any) -> str:
        made = change(_taken(meter, value, price))
        _length(len(made))
        return made

    return changed


def _title(value: str) -> str:
    return _WORD.sub(lambda word: word[0][0].upper() + word[0][1:].lower(), value)


def _urlencode(value: str) -> str:
    return quote(value, errors="replace")


@pass_context
def _truncate(meter: Meter, value: Any, length: int = 255, killwords: Any = None, end: Any = "...") -> str:
    taken, size, mark = printed(value), int(number(length)), printed(end)
    meter.spend(1 + min(max(size, 0), len(taken)) // _STEP)
    if len(taken) <= size:
        return taken
    if size <= len(mark):
        return taken[: max(size, 0)]
    kept = taken[: size - len(mark)]
    return (kept if killwords else kept.rsplit(" ", 1)[0]) + mark


@pass_context
def _replace(meter: Meter, value: Any, old: Any, new: Any) -> str:
    taken, was, becomes = _taken(meter, value), printed(old), printed(new)
    meter.spend(2 * _search(len(was), len(taken)))
    size = len(taken) + taken.count(was) * (len(becomes) - len(was))
    _length(size)
    meter.spend(1 + size // _STEP)
    return taken.replace(was, becomes)


@pass_context
def _default(_meter: Meter, value: Any, default_value: Any = "", boolean: Any = None) -> Any:
    return default_value if _missing(value) or (boolean and not value) else value


@pass_context
def _length_of(meter: Meter, value: Any) -> int:
    return len(value) if isinstance(value, str) else len(_listed(meter, value))


def _end(at: int) -> Callable[..., Any]:
    @pass_context
    def end(meter: Meter, value: Any) -> Any:
        items = value if isinstance(value, str) else _listed(meter, value)
        return items[at] if items else ChainableUndefined(name="item")

    return end


@pass_context
def _join(meter: Meter, value: Any, d: Any = "") -> str:
    return _joined(meter, printed(d), _listed(meter, value))


@pass_context
def _sort(meter: Meter, value: Any, reverse: Any = None) -> list[Any]:
    return sorted(_listed(meter, value), key=_folded, reverse=bool(reverse))


@pass_context
def _unique(meter: Meter, value: Any) -> list[Any]:
    found: dict[Any, Any] = {}
    for one in _listed(meter, value):
        found.setdefault(_folded(one), one)
    return list(found.values())


@pass_context
def _dictsort(meter: Meter, value: Any) -> list[list[Any]]:
    if not isinstance(value, dict) and not _missing(value):
        raise TemplateError(f"dictsort needs keys with values, not {_kind(value)}", "write labels|dictsort")
    return [[key, value[key]] for key in sorted(_listed(meter, value), key=_folded)]


@pass_context
def _round(_meter: Meter, value: Any, precision: int = 0) -> float:
    # A whole number rounded to minus a million digits would be a power of a million digits.
    return round(float(number(value)), max(-_MAX_DIGITS, min(int(number(precision)), _MAX_DIGITS)))


@pass_context
def _abs(_meter: Meter, value: Any) -> int | float:
    return abs(number(value))


@pass_context
def _int(_meter: Meter, value: Any, default: Any = 0) -> Any:
    found = _read(value)
    try:
        return default if found is None else int(found)
    except (ValueError, OverflowError):  # not a number, or infinite
        return default


@pass_context
def _float(_meter: Meter, value: Any, default: Any = 0.0) -> Any:
    found = _read(value)
    return default if found is None else float(found)


def _read(value: Any) -> int | float | None:
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > _MAX_DIGITS:
        return None
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    return None


# --- Tests, and the environment ---


def _comparison(sign: str) -> Callable[..., bool]:
    @pass_context
    def test(meter: Meter, value: Any, other: Any) -> bool:
        return _compare(meter, value, sign, other)

    return test


def _type_test(*types: type) -> Callable[..., bool]:
    @pass_context
    def test(_meter: Meter, value: Any) -> bool:
        return isinstance(value, types)

    return test


@pass_context
def _defined(_meter: Meter, value: Any) -> bool:
    return not isinstance(value, Undefined)


#: The filters that a template may name.
FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "abs": _abs,
    "capitalize": _changed(str.capitalize),
    "count": _length_of,
    "d": _default,
    "default": _default,
    "dictsort": _dictsort,
    "first": _end(0),
    "float": _float,
    "int": _int,
    "join": _join,
    "last": _end(-1),
    "length": _length_of,
    "lower": _changed(str.lower),
    "replace": _replace,
    "round": _round,
    "sort": _sort,
    "title": _changed(_title, _SLOW),
    "trim": _changed(str.strip),
    "truncate": _truncate,
    "unique": _unique,
    "upper": _changed(str.upper),
    "urlencode": _changed(_urlencode, _SLOW),
}
#: The tests that a template may name.
TESTS: Final[dict[str, Callable[..., bool]]] = {
    "boolean": _type_test(bool),
    "defined": _defined,
    "mapping": _type_test(dict),
    "none": _type_test(type(None)),
    "number": _type_test(int, float),
    "sequence": _type_test(list, str),
    "string": _type_test(str),
    "undefined": _type_test(Undefined),
    "in": _comparison("in"),
    **{word: _comparison(word) for word in ("eq", "ne", "lt", "gt")},
    "le": _comparison("lteq"),
    "ge": _comparison("gteq"),
}
#: What operators and loops become; no template can name these.
OPERATORS: Final[dict[str, Callable[..., Any]]] = {"~": _concat, "compare": _compare, "each": _each}
