"""Validates a section and, where parts of it are wrong, keeps the rest.

So that one run also shows what later checks find: a misspelt key in one route must
not hide an unknown receiver in another. What was kept is only ever checked, never
used: any problem refuses the whole rulebook.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.rulebook.problems import Problems
    from router.rulebook.yaml_loader import Document, Path

T = TypeVar("T")

#: Removing a part may show one more fault around it; by feel, nothing needs as many rounds.
_ROUNDS: Final = 4


def validated(
    adapter: TypeAdapter[T],
    value: Any,
    document: Document,
    path: Path,
    problems: Problems,
    model: type[BaseModel] | None = None,
) -> T | None:
    """Return the section, or what is left of it without its wrong parts; None where nothing is."""
    for attempt in range(_ROUNDS):
        try:
            return adapter.validate_python(value)
        except ValidationError as exc:
            errors = exc.errors(include_url=False, include_context=False, include_input=False)
            if attempt == 0:
                problems.add_invalid(document, path, exc, model)
                value = copy.deepcopy(value)
            for error in errors:
                if not _remove(value, error["loc"]):
                    return None
    return None


def _remove(value: Any, loc: Iterable[str | int]) -> bool:
    """Remove the innermost key on the way to a fault; an item of a list goes with its list.

    False where there is none, as for a required key that is missing at the top.
    """
    holder: dict[str, Any] | None = None
    key = ""
    for step in loc:
        if isinstance(value, dict) and step in value:
            holder, key = value, str(step)
            value = value[key]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif step != "[key]":
            break
    if holder is None:
        return False
    holder.pop(key)
    return True
