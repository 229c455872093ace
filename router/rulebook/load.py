"""Reads the folder of rules and answers with a rulebook, or with everything that is wrong.

Every ``*.yaml`` directly in the folder is read, in order of its name. ``services``,
``receivers``, ``sources`` and ``senders`` may be spread over several files; the other sections stand once.
Called at start, at reload and by ``router check``; the folder is the only thing
it reads, and nothing is kept from an earlier call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel, TypeAdapter

from router.model.errors import ConfigError, Problem
from router.model.events import Severity
from router.rulebook import catalogue, durations, mappings, senders, yaml_loader
from router.rulebook.book import Attribution, LabelNames, Receiver, Route, Rulebook, Service
from router.rulebook.durations import DurationError
from router.rulebook.problems import Problems, unknown_hint
from router.rulebook.routes import Planter
from router.rulebook.salvage import validated
from router.rulebook.schema import (
    AttributionModel,
    Environments,
    LabelsModel,
    MappingModel,
    ReceiverModel,
    RouteModel,
    SenderModel,
    ServiceModel,
    Severities,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from pathlib import Path as Folder

    from router.model.destinations import Lane
    from router.rulebook.yaml_loader import Document, Path

#: Sections that are lists, and the key by which each of their items is known.
_LISTED: Final[Mapping[str, str]] = {
    "services": "name",
    "receivers": "name",
    "sources": "name",
    "senders": "source",
}
#: By feel: more files than services is a wrong folder.
MAX_FILES: Final = 500

M = TypeVar("M", ServiceModel, ReceiverModel, MappingModel, SenderModel)


class KindSpec(Protocol):
    """What the rules need to know of a notifier's kind; ``ports.NotifierSpec`` is one."""

    @property
    def kind(self) -> str:
        """The word before ``_configs``."""
        ...

    @property
    def lane(self) -> Lane:
        """Which lane its incidents travel in."""
        ...

    @property
    def options(self) -> type[BaseModel]:
        """The model of one entry."""
        ...

    @property
    def tells_changes(self) -> bool:
        """Whether deploys are told here."""
        ...


@dataclass(frozen=True, slots=True)
class _Item(Generic[M]):
    document: Document
    path: Path
    model: M


@dataclass(slots=True)
class _Sheets:
    """The valid sections of all files; names of broken items are kept, since others refer to them."""

    once: dict[str, tuple[Document, Any]] = field(default_factory=dict)
    services: list[_Item[ServiceModel]] = field(default_factory=list)
    receivers: list[_Item[ReceiverModel]] = field(default_factory=list)
    sources: list[_Item[MappingModel]] = field(default_factory=list)
    senders: list[_Item[SenderModel]] = field(default_factory=list)
    names: dict[str, set[str]] = field(default_factory=lambda: {key: set() for key in _LISTED})


_ONCE: Final[Mapping[str, tuple[TypeAdapter[Any], type[BaseModel] | None]]] = {
    "route": (TypeAdapter(RouteModel), RouteModel),
    "labels": (TypeAdapter(LabelsModel), LabelsModel),
    "attribution": (TypeAdapter(AttributionModel), AttributionModel),
    "environments": (TypeAdapter(Environments), None),
    "severities": (TypeAdapter(Severities), None),
}
_KEYS: Final = (*_ONCE, *_LISTED)


def load(folder: Folder, kinds: Mapping[str, KindSpec]) -> Rulebook:
    """Return the rulebook of a folder; ``kinds`` are the notifiers that receivers may name.

    Raises:
        ConfigError: with every problem found, each with file, line, path and hint.
    """
    problems = Problems()
    files = _read_folder(folder, problems)
    documents: list[Document] = []
    for name, raw in files:
        document, found = yaml_loader.read(raw, name)
        problems.found += found
        if document is None:
            problems.incomplete = True
        else:
            documents.append(document)
    sheets = _gather(documents, problems)
    book = _assemble(sheets, kinds, _version(files), folder.name, problems)
    if problems.found or book is None:
        raise ConfigError(problems.bounded())
    return book


def _read_folder(folder: Folder, problems: Problems) -> list[tuple[str, bytes]]:
    """Return (name relative to the folder's parent, content) of each file, in order of name."""
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as exc:
        text = f"the folder of rules cannot be read: {exc.strerror or type(exc).__name__}"
        raise ConfigError(
            [Problem(folder.name, "", text, "set ROUTER_RULES to the folder of rules")]
        ) from exc
    files: list[tuple[str, bytes]] = []
    for path in paths:
        name = f"{folder.name}/{path.name}".encode("utf-8", "replace").decode()
        if path.suffix == ".yml":
            problems.found.append(Problem(name, "", "only *.yaml is read", "rename it to end with .yaml"))
        if path.suffix != ".yaml" or path.is_dir():
            continue
        if not path.is_file():  # a link to nowhere would silently take its rules away; a pipe would block
            problems.found.append(Problem(name, "", "this is not a file", "remove it, or mend the link"))
            problems.incomplete = True
            continue
        try:
            with path.open("rb") as opened:  # one byte more than allowed shows that it is too large
                files.append((name, opened.read(yaml_loader.MAX_BYTES + 1)))
        except OSError as exc:
            text = f"the file cannot be read: {exc.strerror or type(exc).__name__}"
            problems.found.append(Problem(name, "", text, "check its permissions"))
            problems.incomplete = True
    if len(files) > MAX_FILES:
        raise ConfigError(
            [Problem(folder.name, "", f"more than {MAX_FILES} files", "is this the folder of rules?")]
        )
    return files


def _version(files: list[tuple[str, bytes]]) -> str:
    """Return a digest of names and contents, borders included: the same rules have the same version."""
    digest = blake2b(digest_size=6)
    for name, raw in files:
        for part in (name.rpartition("/")[2].encode(), raw):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def _gather(documents: list[Document], problems: Problems) -> _Sheets:
    sheets = _Sheets()
    for document in documents:
        for key, value in document.data.items():
            if key not in _KEYS:
                problems.add(document, (key,), f"unknown key {key[:60]!r}", unknown_hint(key, _KEYS))
            elif key == "services":
                sheets.services += _items(document, key, value, ServiceModel, sheets.names[key], problems)
            elif key == "receivers":
                sheets.receivers += _items(document, key, value, ReceiverModel, sheets.names[key], problems)
            elif key == "sources":
                sheets.sources += _items(document, key, value, MappingModel, sheets.names[key], problems)
            elif key == "senders":
                sheets.senders += _items(document, key, value, SenderModel, sheets.names[key], problems)
            elif value is not None:
                _section(document, key, value, sheets, problems)
    return sheets


def _section(document: Document, key: str, value: Any, sheets: _Sheets, problems: Problems) -> None:
    if key in sheets.once:
        first = sheets.once[key][0].file
        problems.add(document, (key,), f"{key} also stands in {first}", "keep one of them")
        return
    adapter, model = _ONCE[key]
    sheets.once[key] = (document, validated(adapter, value, document, (key,), problems, model))


def _items(
    document: Document, key: str, value: Any, model: type[M], names: set[str], problems: Problems
) -> list[_Item[M]]:
    """Return the valid items of a list of named things; note the names of all."""
    if value is None:
        return []
    known_by = _LISTED[key]
    if not isinstance(value, list):
        problems.add(document, (key,), "this must be a list", f"start each entry with - {known_by}:")
        problems.incomplete = True
        return []
    adapter = TypeAdapter(model)
    found: list[_Item[M]] = []
    for index, entry in enumerate(value):
        path: Path = (key, index)
        name = entry.get(known_by) if isinstance(entry, dict) else None
        if isinstance(name, str):
            if name in names:
                text = f"the name {name[:60]!r} stands twice in {key}"
                problems.add(document, (*path, known_by), text, "names are unique; rename one")
            names.add(name)
        kept = validated(adapter, entry, document, path, problems, model)
        if kept is not None:
            found.append(_Item(document, path, kept))
    return found


def _assemble(
    sheets: _Sheets, kinds: Mapping[str, KindSpec], version: str, folder: str, problems: Problems
) -> Rulebook | None:
    receivers: dict[str, Receiver] = {}
    for made in sheets.receivers:
        receivers[made.model.name] = catalogue.receiver(made.model, made.document, made.path, kinds, problems)
    services = _services(sheets, problems)
    environments = catalogue.default_environments()
    document, written = sheets.once.get("environments", (None, None))
    if document is not None and written is not None:
        environments = catalogue.environments(written, document, problems)
    severities = dict(catalogue.SEVERITIES)
    _, meanings = sheets.once.get("severities", (None, None))
    severities.update((value.lower(), Severity(meaning)) for value, meaning in (meanings or {}).items())
    root = _root(sheets, folder, problems)
    attribution = _attribution(sheets, problems)
    watched = [senders.sender(each.model, each.document, each.path, problems) for each in sheets.senders]
    if root is None or problems.found:
        return None
    return Rulebook(
        version=version,
        root=root,
        receivers=receivers,
        services=services,
        environments=environments,
        severities=severities,
        labels=_labels(sheets),
        attribution=attribution,
        mappings={each.model.name: mappings.compiled(each.model) for each in sheets.sources},
        senders={each.source: each for each in watched},
    )


def _services(sheets: _Sheets, problems: Problems) -> dict[str, Service]:
    found: dict[str, Service] = {}
    claims = catalogue.Claims(problems)
    known = None if problems.incomplete else sheets.names["services"]
    for item in sheets.services:
        catalogue.check_dependencies(item.model, item.document, item.path, known, problems)
        claims.add(item.model, item.document, item.path)
        _check_receiver(item, sheets, problems)
        found[item.model.name] = catalogue.service(item.model)
    return found


def _check_receiver(item: _Item[ServiceModel], sheets: _Sheets, problems: Problems) -> None:
    name, known = item.model.receiver, sheets.names["receivers"]
    if name and name not in known and not problems.incomplete:
        text = f"no receiver is named {name[:60]!r}"
        problems.add(item.document, (*item.path, "receiver"), text, unknown_hint(name, known))


def _root(sheets: _Sheets, folder: str, problems: Problems) -> Route | None:
    if "route" not in sheets.once:
        if not problems.incomplete:
            hint = "add a file with route: and, below it, receiver:"
            problems.found.append(Problem(folder, "route", "there is no route", hint))
        return None
    document, model = sheets.once["route"]
    if model is None:
        return None
    receivers = None if problems.incomplete else sheets.names["receivers"]
    return Planter(document, problems, receivers).grow(model)


def _labels(sheets: _Sheets) -> LabelNames:
    _, model = sheets.once.get("labels", (None, None))
    if model is None:
        return LabelNames()
    written = model.model_dump(exclude_none=True)
    return LabelNames(**{key: tuple(names) for key, names in written.items()})


def _attribution(sheets: _Sheets, problems: Problems) -> Attribution:
    document, model = sheets.once.get("attribution", (None, None))
    if document is None or model is None:
        return Attribution()
    found: dict[str, timedelta] = {}
    for key, text in model.model_dump(exclude_none=True).items():
        try:
            found[key] = durations.parse(text)
        except DurationError as exc:
            problems.add(document, ("attribution", key), str(exc), exc.hint)
    return Attribution(**found)
