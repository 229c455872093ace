"""The shapes of what the API answers about deploys and changes, for its OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

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


class Step(msgspec.Struct):
    """One of the five steps of a blue-green deploy; ``at`` null where nobody told of it."""

    step: Literal["deploy_green", "test_green", "switch_traffic", "monitor", "clean_up_blue"]
    at: datetime | None


class Blame(msgspec.Struct):
    """An incident that has a deploy among its suspects."""

    incident: str
    title: str
    state: State
    score: float
    probability: float


class DeployWhole(Deploy):
    """A deploy with its steps, and the incidents that suspect it, the likeliest first."""

    steps: list[Step]
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
