"""The fleet: services in layers, who calls whom, who tells of deploys how, and which alerts watch them."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.eval.fleet.knobs import Family

LAYERS = (0.14, 0.27, 0.34, 0.25)
_NAMES = (
    "web", "mobile", "partner", "admin", "search", "basket", "checkout", "payment", "customer",
    "registration", "pricing", "stock", "shipping", "invoice", "loyalty", "review", "image", "mail", "push",
    "session", "auth", "ledger", "fraud", "tax", "address", "catalog", "feed", "report", "audit", "config",
)  # fmt: skip
_KINDS = ("api", "service", "worker")
TEAMS = ("shop", "pay", "people", "goods", "ship", "money", "base", "growth")


@dataclass(frozen=True)
class Rule:
    """An alerting rule of one service: how long it waits, how bad it is, whether its alerts say so."""

    name: str
    waits_s: int
    severity: str
    says: bool


@dataclass
class Service:
    """One service. ``blue_green``: its pipeline deploys green, tests it, and switches traffic."""

    name: str
    team: str
    tier: int
    number: int
    layer: int
    needs: list[str] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    gitlab: bool = True
    argocd: bool = True
    blue_green: bool = False
    rate: float = 1.0
    rules: dict[str, Rule] = field(default_factory=dict)

    @property
    def project(self) -> str:
        return f"shop/{self.name}"


#: name: (the waits it may have, severity, how often a deploy's fault shows in it, how often another's)
ALERTS = {
    "HighErrorRate": ((60, 120, 300), "critical", 50, 24),
    "HighLatencyP99": ((120, 300, 600), "warning", 26, 24),
    "PodCrashLooping": ((0, 60, 300), "critical", 16, 5),
    "TargetDown": ((60, 180), "critical", 5, 10),
    "QueueBacklog": ((300, 600), "warning", 6, 14),
    "DiskFilling": ((300, 600), "warning", 0, 9),
    "NodeNotReady": ((120, 300), "critical", 0, 8),
    "CertificateExpiry": ((0,), "warning", 0, 4),
    "ConsumerLag": ((300, 600), "warning", 3, 9),
}


def build(family: Family, rng: Random) -> dict[str, Service]:
    """Return the services by name."""
    names = [f"{a}-{b}" for a in _NAMES for b in _KINDS]
    rng.shuffle(names)
    rows: list[list[Service]] = []
    found: dict[str, Service] = {}
    counts = [max(1, round(share * family.services)) for share in LAYERS]
    for layer, count in enumerate(counts):
        row = [_service(names[len(found) + i], layer, len(found) + i, rng) for i in range(count)]
        rows.append(row)
        found |= {s.name: s for s in row}
    for layer, row in enumerate(rows[:-1]):
        for s in row:
            below = rows[layer + 1] + (
                rows[layer + 2] if layer + 2 < len(rows) and rng.random() < 0.3 else []
            )
            s.needs = [n.name for n in rng.sample(below, min(len(below), rng.choice((1, 2, 2, 3))))]
    for s in found.values():
        for need in s.needs:
            found[need].callers.append(s.name)
    ranks = list(range(1, len(found) + 1))
    rng.shuffle(ranks)
    whole = sum(1 / r**0.8 for r in ranks)
    for s, rank in zip(found.values(), ranks, strict=True):
        s.rate = family.deploys * len(found) / rank**0.8 / whole
    return found


def _service(name: str, layer: int, number: int, rng: Random) -> Service:
    tells = rng.choices(("both", "gitlab", "argocd"), (50, 30, 20))[0]
    tier = min(3, layer + rng.choice((1, 1, 2)))
    s = Service(
        name, TEAMS[(number * 7 + layer) % len(TEAMS)], tier, number, layer,
        gitlab=tells != "argocd", argocd=tells != "gitlab",
    )  # fmt: skip
    s.blue_green = s.gitlab and tier <= 2 and rng.random() < 0.5
    for alert, (waits, severity, _, _) in ALERTS.items():
        s.rules[alert] = Rule(alert, rng.choice(waits), severity, rng.random() < 0.5)
    return s


def reach(services: dict[str, Service], start: str, chance: float, rng: Random) -> dict[str, int]:
    """Return the callers that a fault of one service reaches, with the number of calls between."""
    found, edge = {start: 0}, [start]
    for hop in range(1, 4):
        ahead = []
        for name in edge:
            for caller in services[name].callers:
                if caller not in found and rng.random() < chance:
                    found[caller] = hop
                    ahead.append(caller)
        edge = ahead
    return found
