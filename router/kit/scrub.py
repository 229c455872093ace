"""Takes secrets out of a body that is to be shown or kept in a file, and leaves its shape.

By the names of keys, in JSON, in forms, and in JSON inside a form; what is neither is
searched for the same names as text. A value of such a key becomes ``[scrubbed]``, so a scrubbed
body still parses. Pure and bounded: nothing is raised, whatever the bytes are.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

SCRUBBED: Final = "[scrubbed]"
#: ``trigger_id`` and ``response_url`` let whoever has them act in Slack; ``variables`` are users' data.
_SECRET: Final = re.compile(
    r"(?i)(^|[_.-])(token|secret|password|passwd|passphrase|authorization|credentials?|cookie|api[_-]?key|private[_-]?key"
    r"|routing_key|integration_key|service_key|signature|trigger_id|response_url|runners_token)$"
).search
_TEXT: Final = re.compile(
    rb'(?i)("[^"\\]{0,40}(?:token|secret|password|authorization|api[_-]?key|routing_key|response_url|trigger_id)"\s*:\s*")'
    rb'(?:[^"\\]|\\.)*(")'
)
_MOST_DEPTH: Final = 60
_MOST_FIELDS: Final = 2000


def scrub(body: bytes, content_type: str = "") -> bytes:
    """Return the body without what its keys call a secret."""
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return _form(body)
    try:
        doc = msgspec.json.decode(body)
        return msgspec.json.encode(_value(doc, 0))
    except (ValueError, RecursionError, UnicodeError):
        return _TEXT.sub(rb"\1" + SCRUBBED.encode() + rb"\2", body)


def _form(body: bytes) -> bytes:
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return SCRUBBED.encode()
    return urlencode([(name, _field(name, value)) for name, value in fields]).encode()


def _field(name: str, value: str) -> str:
    if _SECRET(name):
        return SCRUBBED
    if value.startswith(("{", "[")):
        return scrub(value.encode("utf-8", "replace")).decode("utf-8", "replace")
    return value


def _value(value: Any, depth: int) -> Any:
    if depth > _MOST_DEPTH:
        return SCRUBBED
    if isinstance(value, dict):
        return {k: SCRUBBED if _hidden(k, v) else _value(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_variable(item) if _is_variable(item) else _value(item, depth + 1) for item in value]
    return value


def _hidden(key: str, value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and _SECRET(key) is not None


def _is_variable(item: Any) -> bool:
    """True for ``{"key": ..., "value": ...}``, as GitLab lists the variables of a pipeline."""
    return isinstance(item, dict) and set(item) == {"key", "value"}


def _variable(item: dict[str, Any]) -> dict[str, Any]:
    return {"key": item["key"], "value": SCRUBBED}
