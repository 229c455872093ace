"""Find the drivers of a room: the file's name is the kind, its ``build`` is the factory."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any


def kinds(room: str) -> list[str]:
    """Return the kinds that a room (``router.sources``) holds, sorted; private modules are not kinds."""
    package = importlib.import_module(room)
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(room: str, kind: str) -> Any:
    """Return ``build`` of ``<room>.<kind>``.

    Raises:
        LookupError: no such kind; the text names those that exist.
    """
    known = kinds(room)
    if kind not in known:
        raise LookupError(f"no {kind!r} in {room}; there are: {', '.join(known)}")
    return importlib.import_module(f"{room}.{kind}").build
