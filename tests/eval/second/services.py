"""The fleet: services in four layers, who calls whom, what they alert on, who tells of their deploys."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final

from tests.eval.second.family import Family
from tests.eval.second.rules import Rule, draw_rules
from tests.eval.second.when import hexes

ENVIRONMENTS: Final = ("dev", "qa", "staging", "production")
_TEAMS: Final = {
    "payments": ("payment", "ledger", "refund", "invoice", "tax", "fraud"),
    "shop": ("checkout", "cart", "catalog", "pricing", "review", "media"),
    "logistics": ("order", "inventory", "shipping", "tracking", "returns", "warehouse"),
    "customers": ("customer", "profile", "loyalty", "notification", "email", "support"),
    "discovery": ("search", "recommendation", "ranking", "ads"),
}
_EDGES: Final = ("web", "mobile", "partner", "admin", "public", "kiosk", "store", "voice")
_CORES: Final = (
    "identity", "session", "config", "audit", "storage", "rates", "geo", "limits", "scheduler", "tokens",
    "templates", "events", "keys", "documents", "quota", "lookup",
)  # fmt: skip
#: Share of the services in each layer, from the edge down, and how their names end.
_LAYERS: Final = ((0.10, "gateway"), (0.27, "api"), (0.40, "service"), (0.23, "core"))
_TIERS: Final = ((1, 1, 2), (1, 2, 2, 3), (2, 2, 3, 3, 4), (1, 2, 3))


@dataclass(frozen=True)
class Service:
    """A service and how its team works.

    Args:
        name: as in the catalogue and in the label ``service``.
        team: who owns it.
        tier: 1 is the most important.
        layer: 0 is the edge.
        rate: deploys to production on a weekday.
        tellers: of gitlab and argocd, those that tell of its deploys.
        project: its path in GitLab.
        number: of that project.
        blue_green: it is switched by a pipeline.
        rules: what it alerts on.
        versioned: its alerts carry the version.
        first: the commit that ran before the scenario began.
    """

    name: str
    team: str
    tier: int
    layer: int
    rate: float
    tellers: tuple[str, ...]
    project: str
    number: int
    blue_green: bool
    rules: tuple[Rule, ...]
    versioned: bool
    first: str

    def app(self, environment: str) -> str:
        """Return the name of its Argo CD application there, "" if there is none."""
        told = "argocd" in self.tellers and environment in {"staging", "production"}
        return f"{self.name}-{environment}" if told else ""


@dataclass(frozen=True)
class Fleet:
    """All services by name, and by name whom they call and who calls them.

    ``shown`` is what the catalogue knows of the calls.
    """

    services: dict[str, Service]
    callees: dict[str, tuple[str, ...]]
    callers: dict[str, tuple[str, ...]]
    shown: dict[str, tuple[str, ...]]

    def catalogue(self) -> dict[str, Any]:
        """Return services.json."""
        return {
            "services": [
                {
                    "name": each.name,
                    "team": each.team,
                    "tier": each.tier,
                    "depends_on": list(self.shown[each.name]),
                    "gitlab_project": each.project,
                    "argocd_apps": [app for env in ENVIRONMENTS if (app := each.app(env))],
                }
                for each in self.services.values()
            ]
        }


def build(rng: Random, family: Family) -> Fleet:
    """Draw a fleet."""
    named = _names(family.services)
    rates = _rates(rng, len(named), family.deploys_per_day)
    services: dict[str, Service] = {}
    for number, ((name, team, layer), rate) in enumerate(zip(named, rates, strict=True)):
        tier = rng.choice(_TIERS[layer])
        (tellers,) = rng.choices((("gitlab", "argocd"), ("gitlab",), ("argocd",)), (0.60, 0.25, 0.15))
        services[name] = Service(
            name=name,
            team=team,
            tier=tier,
            layer=layer,
            rate=rate,
            tellers=tellers,
            project=f"{team}/{name}" if rng.random() < 0.9 else f"{team}/backend/{name}-src",
            number=4000 + number,
            blue_green=tier <= 2 and "gitlab" in tellers,
            rules=draw_rules(rng, family.unlabelled),
            versioned=rng.random() < family.versioned,
            first=hexes(rng),
        )
    callees = _calls(rng, services)
    callers = {name: tuple(n for n in services if name in callees[n]) for name in services}
    shown = {
        n: tuple(c for c in found if rng.random() >= family.missing_edges) for n, found in callees.items()
    }
    return Fleet(services, callees, callers, shown)


def _names(count: int) -> list[tuple[str, str, int]]:
    """Return name, team and layer of each service."""
    domains = [
        (word, team) for rank in range(6) for team, words in _TEAMS.items() for word in words[rank : rank + 1]
    ]
    words = ([(w, "edge") for w in _EDGES], domains, domains, [(w, "platform") for w in _CORES])
    found: list[tuple[str, str, int]] = []
    for layer, ((share, ending), these) in enumerate(zip(_LAYERS, words, strict=True)):
        wanted = round(count * share) if layer < 3 else count - len(found)
        for i in range(wanted):
            word, team = these[i % len(these)]
            again = f"-{i // len(these) + 1}" if i >= len(these) else ""
            found.append((f"{word}-{ending}{again}", team, layer))
    return found


def _rates(rng: Random, count: int, mean: float) -> list[float]:
    """Return deploys per day by Zipf's and Mandelbrot's law, in no order."""
    weights = [1.0 / (rank + 6) for rank in range(count)]
    rng.shuffle(weights)
    return [min(14.0, mean * count * weight / sum(weights)) for weight in weights]


def _calls(rng: Random, services: dict[str, Service]) -> dict[str, tuple[str, ...]]:
    """Draw whom each service calls: a few of the next layer, seldom of one further down."""
    layers = [[s.name for s in services.values() if s.layer == layer] for layer in range(4)]
    fame = {name: 1.0 / (1 + rng.randrange(12)) for name in services}
    callees: dict[str, list[str]] = {name: [] for name in services}
    for service in services.values():
        below = layers[service.layer + 1 :]
        for _ in range(rng.choice((1, 2, 2, 3, 4)) if below else 0):
            pool = below[0] if len(below) == 1 or rng.random() < 0.8 else rng.choice(below[1:])
            (chosen,) = rng.choices(pool, [fame[n] for n in pool])
            if chosen not in callees[service.name]:
                callees[service.name].append(chosen)
        if service.layer and not any(service.name in found for found in callees.values()):
            callees[rng.choice(layers[service.layer - 1])].append(service.name)
    return {name: tuple(found) for name, found in callees.items()}
