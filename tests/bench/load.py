"""The load generator: ready-made requests over a few kept-alive connections, as fast as they are answered.

One generator for the router and for Alertmanager, so that its own cost is the same on
both sides. Requests are built before the clock starts; whatever is not answered 2xx is
a failure.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONNECTIONS = 16
STARTS_AT = "2026-11-24T12:00:00Z"
#: Services that alerts are spread over; alerts of one request belong to one, as Alertmanager sends them.
SERVICES = 200
_ENCODE = msgspec.json.Encoder().encode


@dataclass
class Driven:
    """What came of one run: when the first request left and the last answer came (CLOCK_MONOTONIC)."""

    requests: int
    started: float = 0.0
    ended: float = 0.0
    answered: int = 0
    failed: int = 0
    example: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.started


@dataclass
class Shape:
    """Which alerts: how many in all and per request, the group that one belongs to, what makes them fresh."""

    total: int
    per_request: int
    run: str
    severity: str = "warning"
    service: Callable[[int], str] = field(default=lambda n: f"svc-{n % SERVICES}")
    by_request: bool = True  # the group follows the request, else the alert

    @property
    def requests(self) -> int:
        return -(-self.total // self.per_request)


def alert(n: int, service: str, shape: Shape) -> dict[str, Any]:
    """Return one firing alert as Prometheus would send it to Alertmanager; about 650 bytes."""
    return {
        "labels": {
            "alertname": "HighErrorRate",
            "service": service,
            "namespace": "shop",
            "env": "prod",
            "severity": shape.severity,
            "cluster": "prod-eu-1",
            "instance": f"10.1.{n // 250 % 250}.{n % 250}:8080",
            "pod": f"web-{n}-{shape.run}",
        },
        "annotations": {
            "summary": "Error rate is high",
            "description": f"Error rate of {service} is 5.2% over the last five minutes",
            "runbook_url": "https://runbooks.example.com/HighErrorRate",
        },
        "startsAt": STARTS_AT,
        "generatorURL": "http://prometheus.example.com/graph?g0.expr=rate&g0.tab=1",
    }


def batches(shape: Shape) -> list[list[dict[str, Any]]]:
    """Return the alerts of every request."""
    out = []
    for k in range(shape.requests):
        numbers = range(k * shape.per_request, min(shape.total, (k + 1) * shape.per_request))
        out.append([alert(n, shape.service(k if shape.by_request else n), shape) for n in numbers])
    return out


def alertmanager_requests(alerts: Sequence[list[dict[str, Any]]]) -> list[bytes]:
    """Return posts to Alertmanager's own API."""
    return [_post("/api/v2/alerts", _ENCODE(batch)) for batch in alerts]


def router_requests(alerts: Sequence[list[dict[str, Any]]]) -> list[bytes]:
    """Return the same alerts as Alertmanager's webhook would tell them."""
    return [_post("/webhooks/alertmanager", _ENCODE(webhook(batch))) for batch in alerts]


def webhook(alerts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a webhook body, version 4."""
    told = [
        {
            "status": "firing",
            **a,
            "endsAt": "0001-01-01T00:00:00Z",
            # Alertmanager writes one; which 16 digits does not matter here.
            "fingerprint": blake2b(a["labels"]["pod"].encode(), digest_size=8).hexdigest(),
        }
        for a in alerts
    ]
    first = alerts[0]["labels"]
    group = {"alertname": first["alertname"], "service": first["service"]}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="{group["alertname"]}", service="{group["service"]}"}}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "router",
        "groupLabels": group,
        "commonLabels": group,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.com:9093",
        "alerts": told,
    }


def _post(path: str, body: bytes) -> bytes:
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json")
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


class _Run:
    def __init__(self, requests: Sequence[bytes]) -> None:
        self.requests = iter(requests)
        self.out = Driven(len(requests))
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open = 0

    def answered(self, head: bytes) -> None:
        self.out.answered += 1
        if not head.startswith(b"HTTP/1.1 2"):
            self.out.failed += 1
            self.out.example = self.out.example or head[:200].decode("latin-1")
        if self.out.answered >= self.out.requests:
            self.finish()

    def finish(self) -> None:
        self.out.ended = time.monotonic()
        if not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """One request at a time; the next one leaves when the whole answer is here."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.transport: Any = None
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.run.open += 1

    def next(self) -> None:
        request = next(self.run.requests, None)
        if request is not None:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or len(self.buffer) < end + 4 + _length(self.buffer, end):
            return
        head, self.buffer = self.buffer[:end], b""
        self.run.answered(head)
        self.next()

    def connection_lost(self, exc: Exception | None) -> None:
        self.run.open -= 1
        if not self.run.open and not self.run.done.done():
            self.run.out.failed += self.run.out.requests - self.run.out.answered
            self.run.out.example = self.run.out.example or f"connections lost: {exc}"
            self.run.finish()


def _length(answer: bytes, end: int) -> int:
    at = answer.lower().find(b"\r\ncontent-length:", 0, end)
    return int(answer[at + 17 : answer.find(b"\r\n", at + 17)]) if at >= 0 else 0


async def drive(port: int, requests: Sequence[bytes], connections: int = CONNECTIONS) -> Driven:
    """Send all requests and return when all are answered."""
    loop, run = asyncio.get_running_loop(), _Run(requests)
    pairs = [
        await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port) for _ in range(connections)
    ]
    run.out.started = time.monotonic()
    for _, connection in pairs:
        connection.next()
    await run.done
    for transport, _ in pairs:
        transport.close()
    return run.out
