"""Takes secrets out of a body that is to be shown or kept in a file, and leaves its shape.

By the names of keys (:mod:`router.kit.secrets_in_text` says which), in JSON, in forms, and in either inside
a string of the other; where a text sets one (``TOKEN=x``), and by the looks of a token. Under such a key
everything goes: strings, numbers, lists and objects; true, false and null tell nothing and stay. So do the
values of ``variables`` (those of a pipeline), the ``value`` beside a ``name`` or ``key`` that calls it a
secret, passwords in URLs, and the path of incoming webhooks. A scrubbed body still parses. What is neither
JSON nor a form is searched as text.

All else stays readable: labels, annotations, names. Pure, linear and bounded: nothing is raised, whatever
the bytes are.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final
from urllib.parse import quote_plus, unquote_plus

import msgspec

from router.kit import wire
from router.kit.secrets_in_text import (
    SCRUBBED,
    broken,
    is_name,
    is_secret,
    is_value,
    is_variables,
    quoted,
)

__all__ = ["SCRUBBED", "scrub"]

_MOST_DEPTH: Final = 60
_MOST_FIELDS: Final = 2000
_BLANK: Final = "\ufeff \t\r\n"
#: One field of a form or more, with no character that a form would have encoded.
_FORM: Final = re.compile(r"""[\w.\[\]%+-]++=[^\s"'<>{};\\]*""")
#: A string that may be a JSON document of its own.
_DOCUMENT: Final = ("{", "[", '"')


def scrub(body: bytes, content_type: str = "") -> bytes:
    """Return the body without what its keys call a secret; JSON comes back compact and in UTF-8."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):  # no sender uses it, so nothing here reads it
        return SCRUBBED.encode()
    return _body(body, 0, form=kind == "application/x-www-form-urlencoded")


def _body(body: bytes, depth: int, *, form: bool = False) -> bytes:
    text = _text(body)
    found = _scrubbed(text, depth, form=form)
    return body if found == text else found.encode("utf-8", "surrogateescape")


def _text(body: bytes) -> str:
    """Return the text of any bytes; what is no UTF-8 can be told from it, and comes back as it was."""
    coding = json.detect_encoding(body)
    if coding.startswith(("utf-16", "utf-32")):
        return body.decode(coding, "replace")
    return body.decode("utf-8", "surrogateescape")


def _scrubbed(text: str, depth: int, *, form: bool) -> str:
    if form and not text.lstrip(_BLANK).startswith(_DOCUMENT):
        return _fields(text, depth)
    try:
        # Bytes that are no UTF-8 are no reason to take a document for a text.
        doc = wire.value(text.lstrip(_BLANK).encode("utf-8", "replace"))
        return msgspec.json.encode(_value(doc, depth)).decode()
    except (ValueError, RecursionError):
        return _fields(text, depth) if _FORM.fullmatch(text) else broken(text)


# -- JSON


def _value(value: Any, depth: int) -> Any:
    if depth > _MOST_DEPTH:
        return SCRUBBED
    if isinstance(value, dict):
        return _object(value, depth)
    if isinstance(value, list):
        return [_value(item, depth + 1) for item in value]
    return _string(value, depth) if isinstance(value, str) else value


def _object(doc: dict[str, Any], depth: int) -> dict[str, Any]:
    named = any(is_name(k) and isinstance(v, str) and is_secret(v) for k, v in doc.items())
    out: dict[str, Any] = {}
    for name, value in doc.items():
        if value is None or isinstance(value, bool):
            found: Any = value
        elif is_secret(name) or (named and is_value(name)):
            found = SCRUBBED
        elif is_variables(name):
            found = _variables(value)
        elif name == "data_base64" and isinstance(value, str):
            found = _encoded(value, depth)
        else:
            found = _value(value, depth + 1)
        out[quoted(name)] = found
    return out


def _variables(value: Any) -> Any:
    """Keep the names of variables, however they are listed."""
    if isinstance(value, list):
        return [_variable(item) for item in value]
    return {quoted(name): SCRUBBED for name in value} if isinstance(value, dict) else SCRUBBED


def _variable(item: Any) -> Any:
    """``{"key": ..., "value": ...}``, as GitLab lists the variables of a pipeline."""
    if not isinstance(item, dict):
        return SCRUBBED
    return {quoted(k): quoted(v) if is_name(k) and isinstance(v, str) else SCRUBBED for k, v in item.items()}


def _encoded(value: str, depth: int) -> str:
    """Scrub the data of a CloudEvent that is given in base64."""
    try:
        return base64.b64encode(_body(base64.b64decode(value, validate=True), depth + 1)).decode()
    except (binascii.Error, ValueError):
        return SCRUBBED


def _string(text: str, depth: int) -> str:
    """Scrub a string: what it is, if it is a document or a form of its own, else what it quotes."""
    if depth > _MOST_DEPTH:
        return SCRUBBED
    if text.lstrip(_BLANK).startswith(_DOCUMENT):
        try:
            doc = wire.value(text.lstrip(_BLANK).encode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return quoted(text)
        found = _value(doc, depth + 1)
        return text if isinstance(doc, str) and found == doc else msgspec.json.encode(found).decode()
    if "=" in text and _FORM.fullmatch(text):
        return _fields(text, depth + 1)
    return quoted(text)


# -- forms


def _fields(text: str, depth: int) -> str:
    """Scrub a form field by field; one without a secret stays as it was written."""
    if text.count("&") >= _MOST_FIELDS:
        return SCRUBBED
    fields = [(field, *_decoded(field)) for field in text.split("&")]
    named = any(is_name(name) and is_secret(value) for _, name, value in fields)
    return "&".join([_field(raw, name, value, depth, named=named) for raw, name, value in fields])


def _quoted(text: str) -> str:
    return quote_plus(text, errors="replace")


def _decoded(field: str) -> tuple[str, str]:
    name, _, value = field.partition("=")
    return unquote_plus(name), unquote_plus(value)


def _field(raw: str, name: str, value: str, depth: int, *, named: bool) -> str:
    if "=" not in raw:
        found = broken(name)
        return raw if found == name else _quoted(found)
    shown = broken(name)
    if _field_hidden(name, named=named):
        found = SCRUBBED
    else:  # a form has no blanks: with one, this is a text that is called a form
        found = broken(value) if len(raw.split(None, 1)) > 1 else _string(value, depth + 1)
    if (shown, found) == (name, value):
        return raw
    return f"{raw.partition('=')[0] if shown == name else _quoted(shown)}={_quoted(found)}"


def _field_hidden(name: str, *, named: bool) -> bool:
    """True for a field whose value goes; ``variables[][key]`` is a name, ``variables[][value]`` is not."""
    head, nested, _ = name.partition("[")
    if is_variables(head):
        return not (nested and name.endswith(("[key]", "[name]")))
    return is_secret(name) or (named and is_value(name))
