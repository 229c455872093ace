"""Deciding alone, without any I/O: an empty router beside one with many open incidents and known deploys.

``empty`` knows no deploy at all, ``one`` a single service's, ``full`` as many for each of
hundreds of services; an opening incident weighs those of its own service. Measured is
what the engine does for each event: snapshot, decide, apply to memory and batch.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING

from router.app import load_rules
from router.decide import engine, placing
from router.decide.outlook import Outlook
from router.model.deploys import Deploy, Ledger
from router.model.events import Alert, AlertBatch
from router.ports import Batch, Lease
from router.work import applying
from router.work.partition import Partition
from tests.bench import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.rulebook.book import Rulebook

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INCIDENTS, DEPLOYS, SERVICES = 20_000, 10_000, 400


def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return microseconds per alert: opening incidents and joining one, empty and full."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "routes.yaml").write_text(processes.ROUTES)
        (Path(folder) / "receivers.yaml").write_text(processes.RECEIVERS)
        book = load_rules(Path(folder))
    scale = 10 if short else 1
    empty, full = Partition(Lease(0, "1", "0")), Partition(Lease(0, "1", "0"))
    fill(full, book, INCIDENTS // scale)
    out: dict[str, float] = {}
    each, services = DEPLOYS // SERVICES, SERVICES // scale
    for name, partition, services_known, deploys in (
        ("empty", empty, services, 0),
        ("one", empty, 1, each),
        ("full", full, services, each),
    ):
        ledgers = _ledgers(services_known, deploys)
        opening, joining = _best(partition, ledgers, book, 500 if short else 5_000)
        out[f"decide_open_us_{name}"], out[f"decide_join_us_{name}"] = opening, joining
        say(f"decide, {name}: {opening:.1f} us to open an incident, {joining:.1f} us to join one")
    return out


def fill(partition: Partition, book: Rulebook, incidents: int) -> None:
    """Open so many incidents in the partition's memory."""
    batch = Batch()
    for placed in _placed(book, [_alert(n, f"open-{n}") for n in range(incidents)]):
        _work(partition, placed, {}, book, batch)


def _best(
    partition: Partition, ledgers: dict[str, Ledger], book: Rulebook, count: int
) -> tuple[float, float]:
    opening, joining = [], []
    for n in range(3):
        fresh = _placed(book, [_alert(k, f"svc-{k % len(ledgers)}", f"New{n}x{k}") for k in range(count)])
        opening.append(_timed(partition, fresh, ledgers, book))
        # One alert after the other into one incident, each as an event of its own.
        more = [p for k in range(count) for p in _placed(book, [_alert(k, "svc-1", f"Same{n}")])]
        joining.append(_timed(partition, more, ledgers, book))
    return min(opening), min(joining)


def _timed(
    partition: Partition, placed: list[placing.Placed], ledgers: dict[str, Ledger], book: Rulebook
) -> float:
    batch = Batch()
    started = time.perf_counter()
    for one in placed:
        _work(partition, one, ledgers, book, batch)
    took = time.perf_counter() - started
    for one in placed:  # as it was before
        partition.groups.pop(one.key, None)
    return took / len(placed) * 1e6


def _work(
    partition: Partition, placed: placing.Placed, ledgers: dict[str, Ledger], book: Rulebook, batch: Batch
) -> None:
    seen = applying.snapshot(partition, placed.key, placed.event, ledgers, Outlook())
    decision = engine.decide(placed.event, seen, book, NOW)
    applying.apply(partition, placed.key, decision, batch)


def _placed(book: Rulebook, alerts: list[Alert]) -> list[placing.Placed]:
    return placing.place([AlertBatch(source="alertmanager", alerts=alerts)], book, NOW)


def _alert(n: int, service: str, name: str = "HighErrorRate") -> Alert:
    labels = {
        "alertname": name, "service": service, "namespace": "shop", "env": "prod", "severity": "warning",
        "cluster": "prod-eu-1", "instance": f"10.1.{n // 250 % 250}.{n % 250}:8080", "pod": f"web-{n}",
    }  # fmt: skip
    annotations = {"summary": "Error rate is high", "description": f"Error rate of {service} is 5.2%"}
    return Alert(f"am:{name}{service}{n}", True, labels, annotations, NOW)


def _sha(service: int, n: int) -> str:
    return sha1(f"{service} {n}".encode(), usedforsecurity=False).hexdigest()


def _ledgers(services: int, deploys: int) -> dict[str, Ledger]:
    out = {}
    for s in range(services):
        name = f"svc-{s}"
        told = tuple(
            Deploy(
                id=f"prod/{n:040x}/1", service=name, environment="prod", names=(_sha(s, n),),
                phases={"live": NOW - timedelta(minutes=1 + 20 * n)}, tellers=("gitlab",),
            )
            for n in range(deploys)
        )  # fmt: skip
        out[name] = Ledger(service=name, deploys=told)
    return out
