"""GitLab bodies for the tests of its source, and what is said about them again and again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from router.model.events import Heartbeat, Trouble
from router.sources import gitlab

PAYLOADS = Path(__file__).parents[2] / "payloads" / "gitlab"
NAMES = sorted(p.stem for p in PAYLOADS.glob("*.json") if not p.name.endswith(".headers.json"))
#: How every event id of these payloads begins.
GITLAB = "gitlab:gitlab.example.com"
SHA = "3f6c0e2b9d1a4c58e7f0123456789abcdef01234"
WEB = "https://gitlab.example.com/shop/checkout"


def load(name):
    """Return a recorded body, decoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def parse(doc, **headers):
    """Return what the document tells; headers are written with ``_`` for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return gitlab.build().parse(named, json.dumps(doc).encode())


def at(hour, minute, second=0, micro=0):
    """Return a time of the day that all payloads play on."""
    return datetime(2026, 11, 20, hour, minute, second, micro, tzinfo=UTC)


def heartbeat(kind):
    """Return what a delivery tells that we do not act on."""
    return [Heartbeat(source="gitlab", kind=f"gitlab:{kind}")]


def unreadable(told, kind, *missing):
    """Check that it is counted, and goes to the dead letters for lack of these and no other fields."""
    beat, trouble = told
    assert [beat] == heartbeat(kind)
    assert (type(trouble), trouble.source) == (Trouble, "gitlab")
    assert len(trouble.reason) < 300
    assert "custom template" in trouble.reason, "what to do"
    named = trouble.reason.partition("sends it: ")[2].partition(";")[0]
    assert named == ", ".join(missing)
