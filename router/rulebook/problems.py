"""Collects everything that is wrong with the rules, each with file, line, path and hint.

Every step of loading writes here and goes on, so that one run shows all mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel

from router.model.errors import MAX_DETAIL, Problem
from router.rulebook import yaml_loader
from router.rulebook.schema import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError

    from router.rulebook.yaml_loader import Document, Path

#: More than this is one mistake repeated; nobody reads on.
MAX_PROBLEMS: Final = 100

#: Keys that Alertmanager has and we do not: say what to do instead of guessing at a spelling.
_FOREIGN: Final = {
    "match": "write it as matchers: ['name=\"value\"']",
    "match_re": "write it as matchers: ['name=~\"regex\"']",
    "send_resolved": "remove it; the end of an incident is always told",
}
_OWN_WORDS: Final = {
    "missing": "a required key is missing",
    "string_type": "this must be text",
    "list_type": "this must be a list",
    "dict_type": "this must be keys with values",
    "model_type": "this must be keys with values",
    "model_attributes_type": "this must be keys with values",
    "int_type": "this must be a whole number",
    "bool_type": "this must be true or false",
}


@dataclass(slots=True)
class Problems:
    """All that was found so far. ``incomplete``: a file could not be read, so what it names is unknown."""

    found: list[Problem] = field(default_factory=list)
    incomplete: bool = False

    def add(self, document: Document, path: Path, message: str, hint: str = "") -> None:
        """Note one problem at a place in a file."""
        where = yaml_loader.show(path)
        self.found.append(
            Problem(document.file, where, message[:MAX_DETAIL], hint[:MAX_DETAIL], document.line(path))
        )

    def add_invalid(
        self, document: Document, path: Path, exc: ValidationError, model: type[BaseModel] | None
    ) -> None:
        """Note what pydantic found at ``path``; never the value itself, it may be a secret."""
        for error in exc.errors(include_url=False, include_context=False, include_input=True):
            steps = tuple(step for step in error["loc"] if step != "[key]")
            message, hint = _words(error["type"], error["msg"], steps, error["input"], model)
            self.add(document, (*path, *steps), message, hint)

    def bounded(self) -> list[Problem]:
        """Return the problems in order of place, and how many were left out."""
        found = sorted(self.found, key=lambda p: (p.file, p.line, p.path, p.message))
        more = len(found) - MAX_PROBLEMS
        return (
            [*found[:MAX_PROBLEMS], Problem("rules", "", f"and {more} more problems")] if more > 0 else found
        )


def _words(kind: str, told: str, steps: Path, value: Any, model: type[BaseModel] | None) -> tuple[str, str]:
    if kind == "extra_forbidden":
        key = str(steps[-1]) if steps else ""
        return f"unknown key {key[:60]!r}", unknown_hint(key, keys_of(_at(model, steps)) if model else ())
    hint = ""
    if kind == "missing" and steps:
        hint = f"add {str(steps[-1])[:60]}:"
    elif kind == "string_type" and isinstance(value, bool | int | float):
        hint = "put it in quotes"
    elif kind == "int_type" and isinstance(value, str):
        hint = "write the number without quotes"
    elif kind == "list_type" and isinstance(value, str):
        hint = "write it as a list: [...]"
    return _OWN_WORDS.get(kind, told.removeprefix("Value error, ")), hint


def _at(model: type[BaseModel], steps: Path) -> type[BaseModel]:
    """Return the model that holds what is at these steps below a model."""
    for step in steps[:-1]:
        field = next((i for n, i in model.model_fields.items() if step in (n, i.alias)), None)
        model = (field and _model_in(field.annotation)) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model of an annotation such as ``list[StepModel] | None``."""
    if parts := get_args(annotation):
        return next((found for part in parts if (found := _model_in(part)) is not None), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def unknown_hint(word: str, known: Iterable[str]) -> str:
    """Return what may have been meant instead of an unknown word, or what there is."""
    if word in _FOREIGN:
        return _FOREIGN[word]
    names = sorted(known)
    close = get_close_matches(word[:100], names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(names)}" if names else ""
