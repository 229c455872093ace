"""One source under atheris: any bytes are told or refused, the same each time, and nothing else escapes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import atheris

if TYPE_CHECKING:
    from collections.abc import Callable

with atheris.instrument_imports(include=["router"]):
    from router.kit import loader
    from router.model import codec
    from router.model.errors import MAX_DETAIL, Rejected
    from router.ports import Speaking

    KIND = sys.argv[1]
    SOURCE = loader.load("router.sources", KIND)()

NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
PAYLOADS = Path(__file__).resolve().parents[1] / "payloads" / KIND
HEADERS = [
    {name.lower(): value for name, value in json.loads(path.read_text()).items()}
    for path in sorted(PAYLOADS.glob("*.headers.json"))
]
SECRETS = [f"fake-{KIND}-token".encode(), b"whsec_c2VjcmV0", b"whsec_\xff"]
SPEAKING = isinstance(SOURCE, Speaking)


def headers_of(data: bytes) -> dict[str, str]:
    """Return recorded headers; with an odd first byte one of them holds what stands in the data."""
    chosen = dict(HEADERS[data[0] // 2 % len(HEADERS)]) if data else {}
    if chosen and data[0] % 2:
        names = list(chosen)
        chosen[names[len(data) % len(names)]] = data[1:80].decode("utf-8", "surrogateescape")
    return chosen


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """Return what the call gives, or its typed refusal; whatever else it raises is a finding."""
    try:
        return call(*args)
    except Rejected as refused:
        return refused


def check(refused: Any, status: int) -> None:
    """Check a refusal, if it is one."""
    if isinstance(refused, Rejected):
        assert refused.status == status
        assert 0 < len(refused.detail) < MAX_DETAIL


def one_input(data: bytes) -> None:
    headers, body = headers_of(data[:81]), data
    check(outcome(SOURCE.verify, headers, body, SECRETS, NOW), 401)
    if SPEAKING:
        SOURCE.greet(headers, body)
        SOURCE.reply(headers, body)
    told = outcome(SOURCE.parse, headers, body)
    if isinstance(told, Rejected):
        check(told, 400)
        return
    assert told, "an authentic delivery always tells something"
    assert codec.encode(told) == codec.encode(SOURCE.parse(headers, body)), (
        "the same delivery told two things"
    )


if __name__ == "__main__":
    del sys.argv[1]
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
