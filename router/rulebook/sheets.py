"""All sections of all files, sorted and validated one by one; what refers to what is checked later.

Items of lists may be spread over several files; the other sections stand once. Called by
:mod:`router.rulebook.load`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter

from router.rulebook.problems import unknown_hint
from router.rulebook.relabel import RelabelModel
from router.rulebook.salvage import validated
from router.rulebook.schema import (
    AttributionModel,
    Environments,
    LabelsModel,
    MappingModel,
    PersonModel,
    ReceiverModel,
    ReconcileModel,
    SenderModel,
    ServiceModel,
    Severities,
)
from router.rulebook.schema_routes import (
    FlappingModel,
    HoldModel,
    InhibitModel,
    MaintenanceModel,
    RouteModel,
)
from router.rulebook.times import TimeIntervalModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.rulebook.problems import Problems
    from router.rulebook.yaml_loader import Document, Path

M = TypeVar("M", bound=BaseModel)

#: Sections that are lists: the key by which each of their items is known, and what an item is.
LISTED: Final[Mapping[str, tuple[str, type[BaseModel]]]] = {
    "services": ("name", ServiceModel),
    "receivers": ("name", ReceiverModel),
    "sources": ("name", MappingModel),
    "senders": ("source", SenderModel),
    "people": ("name", PersonModel),
    "time_intervals": ("name", TimeIntervalModel),
    "inhibit_rules": ("name", InhibitModel),
    "maintenance_windows": ("name", MaintenanceModel),
    "deploy_holds": ("name", HoldModel),
}
#: Sections that stand once.
ONCE: Final[Mapping[str, tuple[TypeAdapter[Any], type[BaseModel] | None]]] = {
    "route": (TypeAdapter(RouteModel), RouteModel),
    "labels": (TypeAdapter(LabelsModel), LabelsModel),
    "attribution": (TypeAdapter(AttributionModel), AttributionModel),
    "reconcile": (TypeAdapter(ReconcileModel), ReconcileModel),
    "flapping": (TypeAdapter(FlappingModel), FlappingModel),
    "environments": (TypeAdapter(Environments), None),
    "severities": (TypeAdapter(Severities), None),
    "relabel_configs": (TypeAdapter(list[RelabelModel]), RelabelModel),
}
KEYS: Final = (*ONCE, *LISTED)


@dataclass(frozen=True, slots=True)
class Item(Generic[M]):
    """One valid item of a list, and where it stands."""

    document: Document
    path: Path
    model: M


@dataclass(slots=True)
class Sheets:
    """The valid sections of all files; names of broken items are kept, since others refer to them."""

    once: dict[str, tuple[Document, Any]] = field(default_factory=dict)
    lists: dict[str, list[Item[Any]]] = field(default_factory=lambda: {key: [] for key in LISTED})
    names: dict[str, set[str]] = field(default_factory=lambda: {key: set() for key in LISTED})

    def section(self, key: str) -> tuple[Document | None, Any]:
        """Return a section and where it stands, (None, None) where it does not."""
        return self.once.get(key, (None, None))


def gather(documents: list[Document], problems: Problems) -> Sheets:
    """Return all that is valid; what is not goes to ``problems``."""
    sheets = Sheets()
    for document in documents:
        for key, value in document.data.items():
            if key in LISTED:
                sheets.lists[key] += _items(document, key, value, sheets.names[key], problems)
            elif key not in ONCE:
                problems.add(document, (key,), f"unknown key {key[:60]!r}", unknown_hint(key, KEYS))
            elif value is not None:
                _section(document, key, value, sheets, problems)
    return sheets


def _section(document: Document, key: str, value: Any, sheets: Sheets, problems: Problems) -> None:
    if key in sheets.once:
        first = sheets.once[key][0].file
        problems.add(document, (key,), f"{key} also stands in {first}", "keep one of them")
        return
    adapter, model = ONCE[key]
    sheets.once[key] = (document, validated(adapter, value, document, (key,), problems, model))


def _items(document: Document, key: str, value: Any, names: set[str], problems: Problems) -> list[Item[Any]]:
    """Return the valid items of a list of named things; note the names of all."""
    if value is None:
        return []
    known_by, model = LISTED[key]
    if not isinstance(value, list):
        problems.add(document, (key,), "this must be a list", f"start each entry with - {known_by}:")
        problems.incomplete = True
        return []
    adapter = TypeAdapter(model)
    found: list[Item[Any]] = []
    for index, entry in enumerate(value):
        path: Path = (key, index)
        name = entry.get(known_by) if isinstance(entry, dict) else None
        if isinstance(name, str) and name:
            if name in names:
                text = f"the name {name[:60]!r} stands twice in {key}"
                problems.add(document, (*path, known_by), text, "names are unique; rename one")
            names.add(name)
        kept = validated(adapter, entry, document, path, problems, model)
        if kept is not None:
            found.append(Item(document, path, kept))
    return found
