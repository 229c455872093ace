"""Mappings: how the JSON of a system without a source of its own becomes alerts.

``sources:`` in the rules holds texts with ``{path}`` placeholders; they are compiled once at
load to a frozen :class:`Mapping`, whose :meth:`Mapping.fill` makes an alert of a sender's
JSON. Pure and bounded, whatever the JSON holds. Asked by ``router/sources/generic.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router.kit import wire
from router.model import wire_alerts
from router.model.events import Alert
from router.model.keys import digest, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from router.rulebook.schema import MappingModel

#: Of one text in the rules, and of one path in it; by feel far above what people write.
MAX_TEXT: Final = 2000
MAX_PATH: Final = 300
MAX_KEYS: Final = 20
MAX_PLACEHOLDERS: Final = 20
#: An identity is a name, not a text.
MAX_ID: Final = 1024
_MAX_WORD: Final = 100
#: Of the texts that a refusal names; the whole must stay under 300 characters.
_MAX_TRIED: Final = 110

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
#: Keys as Elasticsearch and Kubernetes write them: ``@timestamp``, ``x-request-id``, ``example.com/name``.
_KEY: Final = re.compile(r"[A-Za-z0-9_@/-]+").fullmatch
_INDEX: Final = re.compile(r"[0-9]{1,6}").fullmatch
_EPOCH: Final = re.compile(r"([0-9]{9,13})(?:\.([0-9]{1,9}))?").fullmatch
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Seconds since 1970 have at most 11 digits until the year 5138; 12 and 13 digits are milliseconds.
_SECONDS_DIGITS: Final = 11

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A text of the rules: ``parts`` are literal texts and paths, ``source`` is as it was written."""

    source: str
    parts: tuple[str | Path, ...]


def path(text: str) -> Path:
    """Return the keys of a path, joined by dots in the text; a list's index is a number.

    Raises:
        ValueError: it is none; the text says how to write one.
    """
    keys = tuple(text.split("."))
    if len(text) > MAX_PATH or len(keys) > MAX_KEYS or not all(_KEY(key) for key in keys):
        raise ValueError(
            f"{text[:60]!r} is not a path: keys joined by dots, of letters, digits and _ - @ /, "
            f"at most {MAX_KEYS} of them"
        )
    return keys


def template(text: str) -> Template:
    """Return the compiled text: ``{path}`` is a placeholder, ``{{`` and ``}}`` are braces.

    Raises:
        ValueError: a brace stands alone, or there is no path in a placeholder.
    """
    if not text.strip() or len(text) > MAX_TEXT:
        raise ValueError(f"a text has 1 to {MAX_TEXT} characters")
    parts: list[str | Path] = []
    literal, at, count = "", 0, 0
    for token in _TOKEN.finditer(text):
        literal += text[at : token.start()]
        at = token.end()
        if token[0] in {"{{", "}}"}:
            literal += token[0][0]
        elif token[1] is None:
            raise ValueError("a brace stands alone; a placeholder is {path}, a brace itself is {{ or }}")
        else:
            count += 1
            parts += [literal, path(token[1])] if literal else [path(token[1])]
            literal = ""
    if count > MAX_PLACEHOLDERS:
        raise ValueError(f"{count} placeholders; a text has at most {MAX_PLACEHOLDERS}")
    literal += text[at:]
    return Template(text, tuple([*parts, literal] if literal else parts))


Texts = tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """How one sender's JSON becomes alerts; what each field means says ``schema.MappingModel``."""

    name: str
    labels: tuple[tuple[str, Texts], ...]
    starts_at: Texts
    ends_at: Texts = ()
    alerts: Path = ()
    status: Texts = ()
    resolved: frozenset[str] = frozenset()
    annotations: tuple[tuple[str, Texts], ...] = ()
    generator_url: Texts = ()
    id: Texts = ()

    def items(self, doc: Any) -> list[Any] | None:
        """Return the alerts of a body, as they are in it; None where there is nothing that holds any."""
        found = find(doc, self.alerts)
        if isinstance(found, list):
            return found
        return [found] if isinstance(found, dict) else None

    def firing(self, item: Any, doc: Any) -> bool:
        """True unless the alert's status is one of the words for resolved: an unknown word pages."""
        return not self.status or _first(self.status, (item, doc), _MAX_WORD).lower() not in self.resolved

    def fill(self, item: Any, doc: Any) -> Alert:
        """Return the alert; a path is looked up in ``item``, and where it finds nothing there, in ``doc``.

        Raises:
            Unusable: there is no time or no label; nothing else, whatever the JSON.
        """
        where = (item, doc)
        firing = self.firing(item, doc)
        labels = _filled(self.labels, where, wire_alerts.MAX_LABEL_VALUE)
        if not labels:
            raise wire_alerts.Unusable(f": all labels are empty; {_tried('labels', self._label_texts())}")
        starts = _time(self.starts_at, where)
        ends = None if firing else _time(self.ends_at, where) or starts
        starts = starts or ends
        if starts is None:
            raise wire_alerts.Unusable(
                f": no time (RFC 3339, or seconds or milliseconds since 1970); "
                f"{_tried('starts_at', self.starts_at)}"
            )
        name = _first(self.id, where, MAX_ID)
        url = _first(self.generator_url, where, wire_alerts.MAX_URL + 1)
        return Alert(
            f"{self.name}:{digest([name]) if name else fingerprint(labels)}",
            firing,
            labels,
            _filled(self.annotations, where, wire_alerts.MAX_ANNOTATION),
            starts,
            None if ends is None else max(starts, ends),
            url if len(url) <= wire_alerts.MAX_URL else "",
        )

    def _label_texts(self) -> Iterable[Template]:
        return (text for _, texts in self.labels for text in texts)


def compiled(model: MappingModel) -> Mapping:
    """Return the mapping of one entry of ``sources:``; what could be wrong with it the model has refused."""
    return Mapping(
        name=model.name,
        labels=_named(model.labels),
        starts_at=_texts(model.starts_at),
        ends_at=_texts(model.ends_at),
        alerts=path(model.alerts) if model.alerts else (),
        status=_texts(model.status.from_) if model.status else (),
        resolved=frozenset(word.lower() for word in model.status.resolved) if model.status else frozenset(),
        annotations=_named(model.annotations),
        generator_url=_texts(model.generator_url),
        id=_texts(model.id),
    )


def _texts(written: Iterable[str]) -> Texts:
    return tuple(template(text) for text in written)


def _named(written: dict[str, list[str]]) -> tuple[tuple[str, Texts], ...]:
    return tuple((name, _texts(texts)) for name, texts in written.items())


def _tried(key: str, texts: Iterable[Template]) -> str:
    """Return what was looked up in vain, for people."""
    return f"{key} tried {wire.clean(', '.join(text.source for text in texts), _MAX_TRIED)}"


# -- filling


def find(doc: Any, keys: Path) -> Any:
    """Return what stands there, or None.

    Keys that hold dots are tried whole, the longest first: Elasticsearch flattens ``{"a":{"b":1}}``
    to ``{"a.b":1}``. The work is bounded by the document: each way down is another part of it.
    """
    if not keys:
        return doc
    if isinstance(doc, list):
        index = int(keys[0]) if _INDEX(keys[0]) else len(doc)
        return find(doc[index], keys[1:]) if index < len(doc) else None
    if isinstance(doc, dict):
        for count in range(len(keys), 0, -1):
            found = doc.get(".".join(keys[:count]))
            if found is not None and (found := find(found, keys[count:])) is not None:
                return found
    return None


def _first(texts: Texts, where: tuple[Any, Any], limit: int) -> str:
    """Return the first of the texts that is not empty once it is filled, or ""."""
    return next((filled for text in texts if (filled := _fill(text, where, limit))), "")


def _filled(named: Iterable[tuple[str, Texts]], where: tuple[Any, Any], limit: int) -> dict[str, str]:
    return {name: filled for name, texts in named if (filled := _first(texts, where, limit))}


def _fill(text: Template, where: tuple[Any, Any], limit: int) -> str:
    """Return the text with its placeholders filled, or "" where one of them finds nothing."""
    out: list[str] = []
    for part in text.parts:
        if isinstance(part, str):
            out.append(part)
            continue
        value = next((v for doc in where if (v := _printed(find(doc, part), limit))), "")
        if not value:
            return ""
        out.append(value)
    return wire.clean("".join(out), limit).strip()


def _printed(value: Any, limit: int) -> str:
    """Return a text as it is, a number or boolean as JSON prints it; anything else says nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return msgspec.json.encode(value).decode()
    if isinstance(value, int):
        return str(value)
    return wire.clean(value, limit).strip() if isinstance(value, str) else ""


def _time(texts: Texts, where: tuple[Any, Any]) -> datetime | None:
    """Return the first of the texts that is a time."""
    for text in texts:
        filled = _fill(text, where, _MAX_WORD)
        moment = wire.parse_time(filled) or _epoch(filled)
        if moment is not None:
            return moment
    return None


def _epoch(text: str) -> datetime | None:
    match = _EPOCH(text)
    if match is None:
        return None
    whole, fraction = match.groups()
    if len(whole) > _SECONDS_DIGITS:
        moment = _START + timedelta(milliseconds=int(whole))
    else:
        moment = _START + timedelta(seconds=int(whole), microseconds=int((fraction or "0").ljust(6, "0")[:6]))
    return moment if wire.plausible(moment) else None
