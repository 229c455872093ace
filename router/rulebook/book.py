"""The rulebook as the rest of the product sees it: frozen and asked, never changed.

Built by :mod:`router.rulebook.load`; used by ``work`` (placing events), ``decide``
(routes, receivers, catalogue) and ``web`` (showing it).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from router.model.destinations import Lane
from router.model.events import DeployReport, OriginKind, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from router.rulebook.matchers import Matcher


@dataclass(frozen=True, slots=True)
class Target:
    """One place to tell: ``id`` is ``<receiver>/<kind>/<index>``; ``options`` is the driver's model."""

    id: str
    kind: str
    lane: Lane
    options: BaseModel
    tells_changes: bool = False


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told, by Alertmanager's word for it."""

    name: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """One node of the tree, with everything inherited already resolved.

    ``id`` is the path of names or indexes, for example ``root/payments``.
    ``group_by`` None means all labels (``['...']``).
    """

    id: str
    receiver: str
    matchers: tuple[Matcher, ...]
    group_by: tuple[str, ...] | None
    group_wait: timedelta
    continue_: bool
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the catalogue."""

    name: str
    team: str = ""
    tier: int = 3
    dependencies: tuple[str, ...] = ()
    gitlab_projects: tuple[str, ...] = ()
    argocd_applications: tuple[str, ...] = ()
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


@dataclass(frozen=True, slots=True)
class Attribution:
    """When a deploy may be suspected: it took effect at most ``window`` before the onset.

    ``skew`` is how far clocks of tellers may disagree.
    """

    window: timedelta = timedelta(hours=1)
    skew: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Rulebook:
    """All rules in force, under one version (a digest of the files' content)."""

    version: str
    root: Route
    receivers: Mapping[str, Receiver]
    services: Mapping[str, Service]
    environments: Mapping[str, str]  # every alias, lower case -> canonical name
    severities: Mapping[str, Severity]  # every label value, lower case -> Severity
    labels: LabelNames = field(default_factory=LabelNames)
    attribution: Attribution = field(default_factory=Attribution)

    # The questions; implemented in router/rulebook/questions.py style below by the loader's author.
    def route(self, labels: Mapping[str, str]) -> list[Route]:
        """Return the routes that take these labels, in order; never empty (the root takes the rest)."""
        raise NotImplementedError

    def route_by_id(self, route_id: str) -> Route | None:
        """Return the route of that id, or None since the rules changed."""
        raise NotImplementedError

    def group_labels(self, route: Route, labels: Mapping[str, str]) -> dict[str, str]:
        """Return the labels that name the group; a label the alert lacks is left out."""
        raise NotImplementedError

    def severity(self, labels: Mapping[str, str]) -> Severity:
        """Return the severity; ``error`` (Alertmanager's PagerDuty default) where the label is missing or unknown."""
        raise NotImplementedError

    def service(self, labels: Mapping[str, str]) -> str:
        """Return the service's name, or "" ."""
        raise NotImplementedError

    def environment(self, labels: Mapping[str, str]) -> str:
        """Return the canonical environment, or ""."""
        raise NotImplementedError

    def locate(self, report: DeployReport) -> tuple[str, str]:
        """Return (service, environment) of a report.

        The catalogue first; without an entry a GitLab project is named by its last
        path segment and an Argo CD application by its name, less a trailing
        ``-<environment>``, so that an empty catalogue is still useful.
        """
        raise NotImplementedError


_ = OriginKind
