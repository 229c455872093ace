"""The shapes of what the API answers about deploys and changes, for its OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from router.decide.lineage import Kind
from router.model.events import DeployPhase
from router.model.incidents import State


class Deploy(msgspec.Struct):
    """A deploy of a service to an environment."""

    id: str
    service: str
    environment: str
    version: str
    names: list[str]
    phases: dict[DeployPhase, datetime]
    tellers: list[str]
    title: str
    author: str
    url: str
    images: list[str]
    config_revision: str
    facts: dict[str, str]


class Deploys(msgspec.Struct):
    """Deploys, the newest first."""

    deploys: list[Deploy]


class Source(msgspec.Struct):
    """Who told of a step, in which phase, and when that was."""

    teller: str
    phase: DeployPhase
    at: datetime


class Undone(msgspec.Struct):
    """When another version took over; ``rollback``: it had served before. ``by`` is "" where nobody says."""

    at: datetime
    by: str
    rollback: bool


class Promotion(msgspec.Struct):
    """A deploy of the same version into another environment."""

    id: str
    environment: str
    at: datetime


class Part(msgspec.Struct):
    """An incident of a problem; ``told``: its people have been told of it by itself."""

    incident: str
    title: str
    service: str
    team: str
    severity: str
    open: bool
    told: bool
    opened_at: datetime


class Step(msgspec.Struct):
    """One of the five steps of a blue-green deploy; ``at`` null where nobody told of it."""

    step: Literal["deploy_green", "test_green", "switch_traffic", "monitor", "clean_up_blue"]
    at: datetime | None
    sources: list[Source]


class Blame(msgspec.Struct):
    """An incident that has a deploy among its suspects."""

    incident: str
    title: str
    state: State
    score: float
    probability: float


class DeployWhole(Deploy):
    """A deploy with its steps and what became of it, and the incidents that suspect it, the likeliest first.

    ``problem``: the incidents that are blamed on it, open ones first.
    """

    kind: Kind
    steps: list[Step]
    undone: Undone | None
    promotions: list[Promotion]
    disagreements: list[str]
    problem: list[Part]
    suspected_by: list[Blame]


class Change(msgspec.Struct):
    """A change that is not bound to an environment."""

    service: str
    phase: DeployPhase
    at: datetime
    revision: str
    names: list[str]
    ref: str
    title: str
    author: str
    url: str
    detail: str
    facts: dict[str, str]


class Changes(msgspec.Struct):
    """Changes, the newest first."""

    changes: list[Change]
