"""Plays every sender of webhooks: recorded deliveries, and any body with the proof that its source wants."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.kit.clock import SystemClock

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads"
#: When the recorded signatures were made.
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


class RecordedTime(SystemClock):
    """A real clock that began at :data:`NOW`, so that recorded signatures are fresh."""

    def __init__(self) -> None:
        self._shift = NOW - super().now()

    def now(self) -> datetime:
        return super().now() + self._shift


def secret(kind: str) -> str:
    """Return the secret that recorded deliveries of this kind carry."""
    return f"fake-{kind}-token"


def environment(*kinds: str) -> dict[str, str]:
    """Return the variables that give these sources their secrets."""
    return {f"ROUTER_SOURCE_{kind.upper()}_SECRETS": secret(kind) for kind in kinds}


def recorded(kind: str) -> list[str]:
    """Return the names of the recorded deliveries of a source."""
    found = {p.name.partition(".")[0] for p in (PAYLOADS / kind).iterdir()}
    return sorted(found)


def delivery(kind: str, name: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a recorded delivery."""
    folder = PAYLOADS / kind
    headers = json.loads((folder / f"{name}.headers.json").read_text())
    (body,) = [p for p in folder.glob(f"{name}.*") if not p.name.endswith(".headers.json")]
    return headers, body.read_bytes()


def proof(kind: str, body: bytes, now: datetime, key: str = "") -> dict[str, str]:
    """Return the headers by which a sender of this kind proves that the body is its own."""
    token = key or secret(kind)
    stamp = str(int(now.timestamp()))

    def mac(signed: bytes) -> str:
        return hmac.new(token.encode(), signed, hashlib.sha256).hexdigest()

    known: dict[str, Any] = {
        "gitlab": lambda: {"X-Gitlab-Token": token},
        "pagerduty": lambda: {"X-PagerDuty-Signature": f"v1={mac(body)}"},
        "slack": lambda: {
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": "v0=" + mac(b"v0:" + stamp.encode() + b":" + body),
        },
        "grafana": lambda: {
            "X-Grafana-Alerting-Timestamp": stamp,
            "X-Grafana-Alerting-Signature": mac(stamp.encode() + b":" + body),
        },
    }
    made: dict[str, str] = known.get(kind, lambda: {"Authorization": f"Bearer {token}"})()
    return made
