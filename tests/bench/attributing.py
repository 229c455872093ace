"""Attribution alone, in a large fleet: 10,000 services that call each other, 100,000 deploys, and a storm.

Measured is what one incident costs: ledgers are in memory, as they are after their services' first look.
"""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from random import Random
from typing import TYPE_CHECKING

from router.decide import engine, suspects
from router.decide.decision import Snapshot
from router.decide.onsets import Onsets
from router.decide.outlook import Outlook
from router.model.blames import Onset
from router.model.deploys import Deploy, Ledger
from router.model.events import DeployPhase, Review
from router.model.incidents import Incident, State
from router.rulebook.book import Receiver, Rulebook, Service
from router.rulebook.catalogue import SEVERITIES, default_environments
from router.rulebook.tree import Route

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SERVICES, DEPLOYS_EACH, INCIDENTS, FAILING = 10_000, 10, 2_000, 300


def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return microseconds for each incident: the middle one, and the slowest of a hundred."""
    count = SERVICES // 10 if short else SERVICES
    book, ledgers, onsets = _fleet(count)
    outlook = Outlook(onsets=onsets)
    rng, took = Random(1), []
    for n in range(INCIDENTS // 10 if short else INCIDENTS):
        head = _incident(n, f"svc-{rng.randrange(count)}")
        started = time.perf_counter()
        needed = engine.services_needed(Review(head.group), Snapshot(head), book)
        near = {name: ledgers[name] for name in needed}
        seen = dataclasses.replace(Snapshot(head), ledgers=near, outlook=outlook)
        suspects.find(head, seen, book, NOW)
        took.append((time.perf_counter() - started) * 1e6)
    took.sort()
    out = {"attribute_us_p50": took[len(took) // 2], "attribute_us_p99": took[int(len(took) * 0.99)]}
    say(
        f"attribution, {count:,} services, {count * DEPLOYS_EACH:,} deploys: "
        f"{out['attribute_us_p50']:.0f} us for an incident, p99 {out['attribute_us_p99']:.0f} us"
    )
    return out


def _incident(n: int, service: str) -> Incident:
    return Incident(
        group=f"{n:016x}", generation=1, route="root", receiver="r", group_labels={}, state=State.TRIGGERED,
        service=service, environment="prod", labels={"alertname": "HighErrorRate"}, opened_at=NOW,
        starts_at=NOW, onset=NOW - timedelta(minutes=n % 20),
        suspects=(suspects.Suspect(service, "prod", "x", "x", NOW, 0.0, ()),),
    )  # fmt: skip


def _fleet(count: int) -> tuple[Rulebook, dict[str, Ledger], Onsets]:
    rng = Random(0)
    services, ledgers = {}, {}
    for n in range(count):
        name = f"svc-{n}"
        needs = tuple(dict.fromkeys(f"svc-{rng.randrange(n, count)}" for _ in range(3)))
        services[name] = Service(name, dependencies=tuple(d for d in needs if d != name))
        ledgers[name] = Ledger(name, tuple(_deploy(name, i, rng) for i in range(DEPLOYS_EACH)))
    route = Route("root", "r", (), ("alertname",), timedelta(0), continue_=False)
    book = Rulebook(
        version="b", root=route, receivers={"r": Receiver("r", ())}, services=services,
        environments=default_environments(), severities=SEVERITIES,
    )  # fmt: skip
    onsets = Onsets()
    at = NOW - timedelta(minutes=10)
    onsets.add(
        Onset(f"i{n}", f"svc-{rng.randrange(count)}", "prod", "HighErrorRate", at, at) for n in range(FAILING)
    )
    return book, ledgers, onsets


def _deploy(service: str, n: int, rng: Random) -> Deploy:
    sha = sha1(f"{service} {n}".encode(), usedforsecurity=False).hexdigest()
    at = NOW - timedelta(minutes=rng.uniform(0, 360) + 360 * n)
    return Deploy(
        id=f"prod/{sha[:8]}/{n}", service=service, environment="prod", names=(sha, sha[:8]),
        phases={DeployPhase.SWITCHED: at}, tellers=("gitlab",),
    )  # fmt: skip
