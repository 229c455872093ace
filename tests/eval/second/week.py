"""What happens in a scenario: deploys, faults with their symptoms, flags, syncs; and who ran what when."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.eval.second.family import Family
from tests.eval.second.rules import Rule
from tests.eval.second.services import Fleet, Service
from tests.eval.second.when import DAY, MINUTE, hexes

PEOPLE: Final = ("alba", "bo", "chen", "dana", "emre", "fay", "goran", "hana", "ines", "jo", "kofi", "lena")
_VERBS: Final = ("Add", "Fix", "Remove", "Speed up", "Log", "Rework", "Bump", "Guard", "Cache", "Retry")
_THINGS: Final = (
    "the price cache", "timeouts of callers", "currency rounding", "the client library", "dead code",
    "the export job", "address checks", "paging of lists", "the connection pool", "locale files",
)  # fmt: skip
#: No team begins a deploy of a service sooner after the one before.
SPACING_S: Final = 20 * MINUTE


@dataclass(eq=False)
class Deploy:
    """One deploy to one environment.

    Args:
        service: whose.
        environment: where.
        sha: of which commit.
        started: when work on it began.
        switched: when it took over, or when it was given up.
        kind: regular, during (an innocent one in a fault), rollback, hotfix.
        outcome: success, failed, canceled, or preview for one that stopped at green.
        author: who.
        title: of the commit.
        bad: it caused a fault.
        seen: somebody reports it.
        before: the commit that ran before.
        undoes: what a rollback takes back.
        id: its name in the truth.
        named: a webhook that arrived names its version.
        by_hand: done in Argo CD, so GitLab knows nothing of it.
    """

    service: str
    environment: str
    sha: str
    started: float
    switched: float
    kind: str = "regular"
    outcome: str = "success"
    author: str = ""
    title: str = ""
    bad: bool = False
    seen: bool = True
    before: str = ""
    undoes: Deploy | None = None
    id: str = ""
    named: bool = False
    by_hand: bool = False


@dataclass(eq=False)
class Symptom:
    """One rule of one service whose condition holds for a time, at one or more places.

    Args:
        service: "" for what no service owns.
        rule: which.
        began: when its condition begins to hold.
        ended: when it no longer does.
        places: how many pods, instances or queues.
        environment: where.
        first: the number of the first place.
    """

    service: str
    rule: Rule
    began: float
    ended: float
    places: int = 1
    environment: str = "production"
    first: int = 0

    @property
    def fires(self) -> float:
        """When it alerts at the latest, if its condition still holds then."""
        return self.began + self.rule.hold_s + 45.0


@dataclass(eq=False)
class Fault:
    """Something is broken from ``began`` to ``ended``: why, and how it shows."""

    kind: str
    service: str
    began: float
    ended: float
    symptoms: list[Symptom]
    deploy: Deploy | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Toggle:
    """A feature flag is switched."""

    at: float
    service: str
    flag: str
    active: bool
    author: str


class Week:
    """Everything that happens, as it is drawn piece by piece."""

    def __init__(self, rng: Random, family: Family, fleet: Fleet) -> None:
        self.rng, self.family, self.fleet = rng, family, fleet
        self.end = family.days * DAY
        self.deploys: list[Deploy] = []
        self.faults: list[Fault] = []
        self.toggles: list[Toggle] = []
        self.syncs: list[tuple[float, str]] = []
        self.flapping: list[str] = []
        self._lines: dict[tuple[str, str], tuple[list[float], list[str]]] = {}

    def service(self, name: str) -> Service:
        """Return a service."""
        return self.fleet.services[name]

    def deploy(self, service: str, at: float, kind: str = "regular") -> Deploy:
        """Return a production deploy that takes over at a time; it is not yet part of the week."""
        rng = self.rng
        slow = self.service(service).blue_green and kind != "rollback"
        takes = rng.uniform(8, 20) * MINUTE if slow else rng.uniform(1.5, 6) * MINUTE
        title = f"{rng.choice(_VERBS)} {rng.choice(_THINGS)}"
        seen = rng.random() >= self.family.unseen
        sha, author = hexes(rng), rng.choice(PEOPLE)
        return Deploy(service, "production", sha, at - takes, at, kind, author=author, title=title, seen=seen)

    def of(self, service: str) -> list[Deploy]:
        """Return the production deploys of a service that took over, in order."""
        found = [
            d
            for d in self.deploys
            if d.service == service and d.environment == "production" and d.outcome == "success"
        ]
        return sorted(found, key=lambda d: d.switched)

    def free(self, service: str, at: float, apart: float = SPACING_S) -> bool:
        """Return whether no deploy of the service takes over near a time."""
        return all(abs(d.switched - at) >= apart for d in self.of(service))

    def healthy(self, service: str, began: float, ended: float) -> bool:
        """Return whether no fault of the service's own overlaps a time."""
        return not any(f.service == service and f.began < ended and began < f.ended for f in self.faults)

    def settle(self) -> None:
        """Work out what each deploy replaced, and what rollbacks go back to."""
        lines: dict[tuple[str, str], list[tuple[float, str]]] = {}
        running: dict[tuple[str, str], str] = {}
        titles = {d.sha: d.title for d in self.deploys if d.kind != "rollback"}
        for d in sorted(self.deploys, key=lambda d: d.switched):
            key = d.service, d.environment
            d.before = running.get(key) or self.service(d.service).first
            if d.kind == "rollback" and d.undoes is not None:
                d.sha = d.undoes.before
                d.title = titles.get(d.sha, "Merge branch 'release' into 'main'")
            if d.outcome == "success":
                running[key] = d.sha
                lines.setdefault(key, []).append((d.switched, d.sha))
        self._lines = {k: ([t for t, _ in found], [s for _, s in found]) for k, found in lines.items()}

    def running(self, service: str, environment: str, at: float) -> str:
        """Return the commit that runs; known after :meth:`settle`."""
        times, shas = self._lines.get((service, environment), ([], []))
        found = bisect_right(times, at)
        return shas[found - 1] if found else self.service(service).first
