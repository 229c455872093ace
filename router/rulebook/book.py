"""The rulebook as the rest of the product sees it: frozen and asked, never changed.

Built by :mod:`router.rulebook.load`; used by ``work`` (placing events), ``decide``
(routes, receivers, catalogue) and ``web`` (showing it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from router.model.events import DeployReport, OriginKind, Severity
from router.rulebook import durations, places, relabel
from router.rulebook.conditions import Facts
from router.rulebook.reconcile import Reconcile
from router.rulebook.tree import Node, Route, Tree, explain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from router.model.destinations import Lane
    from router.rulebook import mappings
    from router.rulebook.muting import DeployHold, Flapping, InhibitRule, Maintenance
    from router.rulebook.senders import Sender
    from router.rulebook.templates import Template


@dataclass(frozen=True, slots=True)
class Target:
    """One place to tell: ``id`` is ``<receiver>/<kind>/<index>``; ``options`` is the driver's model."""

    id: str
    kind: str
    lane: Lane
    options: BaseModel
    tells_changes: bool = False
    title: Template | None = None
    body: Template | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told, by Alertmanager's word for it."""

    name: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the catalogue."""

    name: str
    team: str = ""
    tier: int = 3
    dependencies: tuple[str, ...] = ()
    gitlab_projects: tuple[str, ...] = ()
    argocd_applications: tuple[str, ...] = ()
    argo_rollouts: tuple[str, ...] = ()
    receiver: str = ""
    dashboards: Mapping[str, str] = field(default_factory=dict)
    runbook: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class LabelNames:
    """Which labels carry what; the first that an alert has wins."""

    severity: tuple[str, ...] = ("severity",)
    service: tuple[str, ...] = ("service", "app", "job")
    environment: tuple[str, ...] = ("env", "environment")
    version: tuple[str, ...] = ("version", "image_tag", "revision")
    team: tuple[str, ...] = ("team",)
    colour: tuple[str, ...] = ("colour", "color")
    for_: tuple[str, ...] = ("for", "alert_for")


@dataclass(frozen=True, slots=True)
class Attribution:
    """When a deploy may be suspected: it took effect at most ``window`` before the onset.

    ``skew`` is how far clocks of tellers may disagree. ``for_``: how long rules wait before their alert
    fires, by alertname, where the alert itself does not say; ``for_default``: the others. ``gather``: who
    has been told of one incident of a deploy is not called for the next one.
    """

    window: timedelta = timedelta(hours=2)
    skew: timedelta = timedelta(minutes=2)
    for_default: timedelta = timedelta(0)
    for_: Mapping[str, timedelta] = field(default_factory=dict)
    gather: bool = True


@dataclass(frozen=True, slots=True)
class Muting:
    """What keeps alerts and incidents from being told, beside silences and a route's own intervals."""

    inhibit_rules: tuple[InhibitRule, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    holds: tuple[DeployHold, ...] = ()
    flapping: Flapping | None = None


@dataclass(frozen=True, slots=True)
class _Index:
    """What the questions look up, computed once per rulebook."""

    tree: Tree
    services: Mapping[str, str]  # lower case -> the catalogue's name
    gitlab: places.Claims
    argocd: places.Claims
    rollouts: places.Claims
    targets: Mapping[str, Target]
    relabelling: bytes
    dependents: Mapping[str, tuple[str, ...]]
    near: dict[tuple[str, bool], Mapping[str, int]]  # filled when first asked for


#: How far a failure is followed along calls, and how many services are looked at: by feel.
_MOST_HOPS, _MOST_NEAR = 3, 60
#: No rule waits longer before it fires; a longer text is something else.
_MOST_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules in force, under one version (a digest of the files' content).

    ``mappings`` are the sources that the rules add, ``senders`` those whose silence is watched, by name.
    ``people``: the e-mail at PagerDuty, by a vendor's kind and its id of a person.
    """

    version: str
    root: Route
    receivers: Mapping[str, Receiver]
    services: Mapping[str, Service]
    environments: Mapping[str, str]  # every alias, lower case -> canonical name
    severities: Mapping[str, Severity]  # every label value, lower case -> Severity
    labels: LabelNames = field(default_factory=LabelNames)
    attribution: Attribution = field(default_factory=Attribution)
    mappings: Mapping[str, mappings.Mapping] = field(default_factory=dict)
    senders: Mapping[str, Sender] = field(default_factory=dict)
    people: Mapping[tuple[str, str], str] = field(default_factory=dict)
    relabel: tuple[relabel.Rule, ...] = ()
    muting: Muting = field(default_factory=Muting)
    reconcile: Reconcile = field(default_factory=Reconcile)
    retention: timedelta = timedelta(days=7)  # of resolved incidents; from the settings, not from a file
    _index: _Index = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        services = self.services.values()
        index = _Index(
            tree=Tree(self.root),
            services={service.name.lower(): service.name for service in services},
            gitlab=places.Claims((text, each.name) for each in services for text in each.gitlab_projects),
            argocd=places.Claims((text, each.name) for each in services for text in each.argocd_applications),
            rollouts=places.Claims((text, each.name) for each in services for text in each.argo_rollouts),
            targets={
                target.id: target for receiver in self.receivers.values() for target in receiver.targets
            },
            relabelling=blake2b(repr(self.relabel).encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if self.relabel
            else b"",
            dependents=_dependents(services),
            near={},
        )
        object.__setattr__(self, "_index", index)  # the class is frozen; this is still its construction

    def route(self, labels: Mapping[str, str]) -> list[Route]:
        """Return the routes that take these labels, in order; never empty (the root takes the rest)."""
        return self._index.tree.take(labels, lambda: self.catalogue_facts(labels))

    def explain(self, labels: Mapping[str, str]) -> Node:
        """Return how :meth:`route` finds its answer, node by node."""
        return explain(self.root, labels, lambda: self.catalogue_facts(labels))

    def route_by_id(self, route_id: str) -> Route | None:
        """Return the route of that id, or None since the rules changed."""
        return self._index.tree.by_id.get(route_id)

    def group_labels(self, route: Route, labels: Mapping[str, str]) -> dict[str, str]:
        """Return the labels that name the group; a label the alert lacks, or has empty, is left out."""
        if route.group_by is None:
            return {name: value for name, value in labels.items() if value}
        return {name: value for name in route.group_by if (value := labels.get(name))}

    def catalogue_facts(self, labels: Mapping[str, str]) -> Facts:
        """Return what is known of an alert before there is an incident, for the conditions of routes."""
        service = self.service(labels)
        known = self.services.get(service)
        return Facts(
            service=service,
            team=self.team(labels, service),
            environment=self.environment(labels),
            tier=known.tier if known else None,
        )

    @property
    def relabelling(self) -> bytes:
        """A digest of the rules that rewrite labels; b"" where there are none."""
        return self._index.relabelling

    def relabelled(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        """Return the labels as the rules rewrite them; None where the rules drop the alert."""
        return relabel.apply(self.relabel, labels)

    def severity(self, labels: Mapping[str, str], route: Route | None = None) -> Severity:
        """Return what the severity counts as on a route.

        Missing or unknown is ``error``, Alertmanager's default for PagerDuty.
        """
        value = _first(labels, self.labels.severity)
        found = self.severities.get(value.strip().lower(), Severity.ERROR)
        return route.severities.get(found, found) if route is not None and route.severities else found

    def colour(self, labels: Mapping[str, str]) -> str:
        """Return which colour the alerts say they come from, or ""."""
        return _first(labels, self.labels.colour)

    def service(self, labels: Mapping[str, str]) -> str:
        """Return the service's name, or "" ."""
        return self._known(_first(labels, self.labels.service))

    def environment(self, labels: Mapping[str, str]) -> str:
        """Return the canonical environment, or ""."""
        return self._canonical(_first(labels, self.labels.environment))

    @property
    def production(self) -> str:
        """Return what production is called here, "" where no environment has one of its usual names."""
        return next(
            (self.environments[n] for n in ("production", "prod", "prd") if n in self.environments), ""
        )

    def team(self, labels: Mapping[str, str], service: str) -> str:
        """Return the team an alert names, else the catalogue's for its service, else ""."""
        known = self.services.get(service)
        return _first(labels, self.labels.team) or (known.team if known else "")

    def dependents(self, service: str) -> tuple[str, ...]:
        """Return the services that name this one as a dependency."""
        return self._index.dependents.get(service, ())

    def callees(self, service: str) -> Mapping[str, int]:
        """Return what a service depends on, directly or not, with the number of hops; the nearest 60."""
        return self._near(service, callers=False)

    def callers(self, service: str) -> Mapping[str, int]:
        """Return what depends on a service, directly or not, with the number of hops; the nearest 60."""
        return self._near(service, callers=True)

    def _near(self, service: str, *, callers: bool) -> Mapping[str, int]:
        if not self._neighbours(service, callers=callers):
            return {}  # also for names that only an alert has said: what is kept is bounded by the catalogue
        known = self._index.near.get((service, callers))
        if known is not None:
            return known
        found, edge = {service: 0}, [service]
        for hop in range(1, _MOST_HOPS + 1):
            ahead = (n for name in edge for n in self._neighbours(name, callers=callers))
            edge = [name for name in dict.fromkeys(ahead) if name not in found]
            found |= dict.fromkeys(edge[: _MOST_NEAR - len(found)], hop)
        del found[service]
        self._index.near[service, callers] = found
        return found

    def _neighbours(self, service: str, *, callers: bool) -> tuple[str, ...]:
        if callers:
            return self.dependents(service)
        known = self.services.get(service)
        return known.dependencies if known is not None else ()

    def waits(self, labels: Mapping[str, str], annotations: Mapping[str, str]) -> timedelta:
        """Return how long the rule waited before this alert fired: its ``for``, 0 where nobody says."""
        for name in self.labels.for_:
            text = labels.get(name) or annotations.get(name)
            if text:
                try:
                    span = durations.parse(text)
                except durations.DurationError:
                    continue
                if span <= _MOST_FOR:
                    return span
        if not self.attribution.for_:
            return self.attribution.for_default
        return self.attribution.for_.get(labels.get("alertname", ""), self.attribution.for_default)

    def target(self, target_id: str) -> Target | None:
        """Return the target of that id, or None since the rules changed."""
        return self._index.targets.get(target_id)

    def locate(self, report: DeployReport) -> tuple[str, str]:
        """Return (service, environment) of a report.

        The catalogue first; without an entry a GitLab project is named by its last
        path segment and an Argo CD application or Argo Rollout by its name, less a trailing
        ``-<environment>``, so that an empty catalogue is still useful. What the
        teller says of the environment wins over what a name says.
        """
        told = self._canonical(report.environment)
        if report.origin_kind is OriginKind.SERVICE:
            return self._known(report.origin), told
        name = report.origin.rpartition("/")[2]
        if report.origin_kind is OriginKind.GITLAB_PROJECT:
            claim = self._index.gitlab.find(report.origin, self.environments)
            guessed, said = name, ""
        else:
            argo = report.origin_kind is OriginKind.ARGO_ROLLOUT
            claims = self._index.rollouts if argo else self._index.argocd
            claim = claims.find(report.origin, self.environments) or claims.find(name, self.environments)
            guessed, said = places.split(name, self.environments, told)
        if claim is not None:
            service, said = claim
            if not (told or said) and report.origin_kind is not OriginKind.GITLAB_PROJECT:
                said = places.split(name, self.environments)[1]  # claimed by its whole name: shop-prod
            return service, told or self._canonical(said)
        return self._known(guessed), told or said

    def _known(self, name: str) -> str:
        """Return the catalogue's spelling of a service's name, or the name itself."""
        name = name.strip()
        return name if name in self.services else self._index.services.get(name.lower(), name)

    def _canonical(self, name: str) -> str:
        """Return the canonical name of an environment; what is no alias (``review/login``) stays as it is."""
        name = name.strip()
        return self.environments.get(name.lower(), name)


def _dependents(services: Iterable[Service]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for service in services:
        for needed in service.dependencies:
            found[needed] = (*found.get(needed, ()), service.name)
    return found


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    """Return the value of the first of these labels that is there and not empty, or ""."""
    for name in names:
        value = labels.get(name)
        if value:
            return value
    return ""
