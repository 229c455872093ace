"""Reads the folder of rules and answers with a rulebook, or with everything that is wrong.

Every ``*.yaml`` directly in the folder is read, in order of its name; :mod:`router.rulebook.sheets`
sorts what is in them.
Called at start, at reload and by ``router check``; the folder is the only thing
it reads, and nothing is kept from an earlier call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from router.model.errors import ConfigError, Problem
from router.model.events import Severity
from router.rulebook import catalogue, durations, mappings, reconcile, relabel, senders, times, yaml_loader
from router.rulebook import sheets as sheets_
from router.rulebook.book import Attribution, LabelNames, Muting, Receiver, Rulebook, Service
from router.rulebook.durations import DurationError
from router.rulebook.muting import Compiler
from router.rulebook.problems import Problems, unknown_hint
from router.rulebook.routes import Planter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path as Folder

    from pydantic import BaseModel

    from router.model.destinations import Lane
    from router.rulebook.schema import ServiceModel
    from router.rulebook.sheets import Item, Sheets
    from router.rulebook.times import TimeInterval
    from router.rulebook.tree import Route
    from router.rulebook.yaml_loader import Document

T = TypeVar("T")

#: By feel: more files than services is a wrong folder.
MAX_FILES: Final = 500


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


@dataclass(slots=True)
class Reading:
    """Files as (name relative to the folder's parent, content); errors call the folder ``folder``."""

    folder: str
    files: list[tuple[str, bytes]]
    problems: Problems = field(default_factory=Problems)


def load(folder: Folder, kinds: Mapping[str, KindSpec]) -> Rulebook:
    """Return the rulebook of a folder; ``kinds`` are the notifiers that receivers may name.

    Raises:
        ConfigError: with every problem found, each with file, line, path and hint.
    """
    return build(read(folder), kinds)


def build(reading: Reading, kinds: Mapping[str, KindSpec]) -> Rulebook:
    """Return the rulebook of files that were read; raises as :func:`load`."""
    files, problems = reading.files, reading.problems
    documents: list[Document] = []
    for name, raw in files:
        document, found = yaml_loader.read(raw, name)
        problems.found += found
        if document is None:
            problems.incomplete = True
        else:
            documents.append(document)
    sheets = sheets_.gather(documents, problems)
    book = _assemble(sheets, kinds, _version(files), reading.folder, problems)
    if problems.found or book is None:
        raise ConfigError(problems.bounded())
    return book


def read(folder: Folder) -> Reading:
    """Return the files of a folder in order of name, and what is wrong with those that cannot be read.

    Raises:
        ConfigError: it is no folder that can be read.
    """
    problems = Problems()
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
    return Reading(folder.name, files, problems)


def _version(files: Sequence[tuple[str, bytes]]) -> str:
    """Return a digest of names and contents, borders included: the same rules have the same version."""
    digest = blake2b(digest_size=6)
    for name, raw in files:
        for part in (name.rpartition("/")[2].encode(), raw):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def _assemble(
    sheets: Sheets, kinds: Mapping[str, KindSpec], version: str, folder: str, problems: Problems
) -> Rulebook | None:
    receivers: dict[str, Receiver] = {}
    for made in sheets.lists["receivers"]:
        receivers[made.model.name] = catalogue.receiver(made.model, made.document, made.path, kinds, problems)
    services = _services(sheets, problems)
    environments = catalogue.default_environments()
    document, written = sheets.section("environments")
    if document is not None and written is not None:
        environments = catalogue.environments(written, document, problems)
    severities = dict(catalogue.SEVERITIES)
    _, meanings = sheets.section("severities")
    severities.update((value.lower(), Severity(meaning)) for value, meaning in (meanings or {}).items())
    intervals = _intervals(sheets, problems)
    root = _root(sheets, folder, intervals, problems)
    attribution = _attribution(sheets, problems)
    watched = [
        senders.sender(each.model, each.document, each.path, problems) for each in sheets.lists["senders"]
    ]
    muting = _muting(sheets, intervals, problems)
    people = _people(sheets, problems)
    document, policy = sheets.section("reconcile")
    reconcile_ = reconcile.compiled(policy, document, problems)
    document, written = sheets.section("relabel_configs")
    rules = (
        relabel.compiled(written, document, ("relabel_configs",), problems) if document and written else ()
    )
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
        mappings={each.model.name: mappings.compiled(each.model) for each in sheets.lists["sources"]},
        senders={each.source: each for each in watched},
        people=people,
        reconcile=reconcile_,
        relabel=rules,
        muting=muting,
    )


def _people(sheets: Sheets, problems: Problems) -> dict[tuple[str, str], str]:
    """Return who is who; the same person twice would be one of two by chance."""
    found: dict[tuple[str, str], str] = {}
    for each in sheets.lists["people"]:
        key = ("slack", each.model.slack)
        if key in found:
            text = "this person stands twice in people"
            problems.add(each.document, (*each.path, "slack"), text, "keep one of them")
        found[key] = each.model.pagerduty
    return found


def _intervals(sheets: Sheets, problems: Problems) -> Mapping[str, TimeInterval] | None:
    """Return the time intervals by name; None where some could not be read."""
    found: dict[str, TimeInterval] = {}
    for each in sheets.lists["time_intervals"]:
        interval = times.compiled(each.model, each.document, each.path, problems)
        if interval is not None:
            found[each.model.name] = interval
    return None if problems.incomplete or len(found) < len(sheets.names["time_intervals"]) else found


def _muting(sheets: Sheets, intervals: Mapping[str, TimeInterval] | None, problems: Problems) -> Muting:
    def made(key: str, make: Callable[[Compiler, Item[Any]], T]) -> tuple[T, ...]:
        return tuple(make(Compiler(i.document, problems, intervals), i) for i in sheets.lists[key])

    document, flapping = sheets.section("flapping")
    return Muting(
        inhibit_rules=made("inhibit_rules", lambda c, i: c.inhibit(i.model, i.path)),
        maintenance=made("maintenance_windows", lambda c, i: c.maintenance(i.model, i.path)),
        holds=made("deploy_holds", lambda c, i: c.hold(i.model, i.path)),
        flapping=Compiler(document, problems, None).flapping(flapping, ("flapping",))
        if document is not None and flapping is not None
        else None,
    )


def _services(sheets: Sheets, problems: Problems) -> dict[str, Service]:
    found: dict[str, Service] = {}
    claims = catalogue.Claims(problems)
    known = None if problems.incomplete else sheets.names["services"]
    for item in sheets.lists["services"]:
        catalogue.check_dependencies(item.model, item.document, item.path, known, problems)
        claims.add(item.model, item.document, item.path)
        _check_receiver(item, sheets, problems)
        found[item.model.name] = catalogue.service(item.model)
    return found


def _check_receiver(item: Item[ServiceModel], sheets: Sheets, problems: Problems) -> None:
    name, known = item.model.receiver, sheets.names["receivers"]
    if name and name not in known and not problems.incomplete:
        text = f"no receiver is named {name[:60]!r}"
        problems.add(item.document, (*item.path, "receiver"), text, unknown_hint(name, known))


def _root(
    sheets: Sheets, folder: str, intervals: Mapping[str, TimeInterval] | None, problems: Problems
) -> Route | None:
    if "route" not in sheets.once:
        if not problems.incomplete:
            hint = "add a file with route: and, below it, receiver:"
            problems.found.append(Problem(folder, "route", "there is no route", hint))
        return None
    document, model = sheets.once["route"]
    if model is None:
        return None
    receivers = None if problems.incomplete else sheets.names["receivers"]
    return Planter(Compiler(document, problems, intervals), receivers).grow(model)


def _labels(sheets: Sheets) -> LabelNames:
    _, model = sheets.section("labels")
    if model is None:
        return LabelNames()
    written = model.model_dump(exclude_none=True)
    return LabelNames(**{key: tuple(names) for key, names in written.items()})


_SPANS: Final = ("window", "skew", "for_default")


def _attribution(sheets: Sheets, problems: Problems) -> Attribution:
    document, model = sheets.section("attribution")
    if document is None or model is None:
        return Attribution()
    spans: dict[tuple[str, ...], timedelta] = {}
    texts: dict[tuple[str, ...], str] = {("for", alert): text for alert, text in model.for_.items()}
    texts |= {(key,): text for key in _SPANS if (text := getattr(model, key)) is not None}
    for path, text in texts.items():
        try:
            spans[path] = durations.parse(text)
        except DurationError as exc:
            problems.add(document, ("attribution", *path), str(exc), exc.hint)
    known = {path[1]: span for path, span in spans.items() if len(path) > 1}
    return Attribution(
        gather=model.gather, for_=known, **{path[0]: span for path, span in spans.items() if len(path) == 1}
    )
