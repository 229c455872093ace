"""What may stand in rules/*.yaml about routing and muting: the route tree and what surrounds it.

Like :mod:`router.rulebook.schema`: one strict model per section, names as Alertmanager's wherever
it has one. Meaning is made by :mod:`router.rulebook.routes` and :mod:`router.rulebook.muting`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from router.rulebook.conditions import WhenModel  # noqa: TC001  pydantic reads the annotation
from router.rulebook.schema import LabelName, Name, RouteName, Section, Text, severity_word


def _time(value: object) -> object:
    """Read a time as text, with its offset; a time without one would mean another moment on each machine."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("not a time; write for example 2026-03-01T22:00:00Z") from None
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("the time has no offset; end it with Z, or with +01:00 or the like")
    return value


Moment = Annotated[datetime, BeforeValidator(_time)]
SeverityWord = Annotated[str, AfterValidator(severity_word)]


class StepModel(Section):
    """An item of ``notify:`` of a route: a further receiver."""

    receiver: str
    after: str | None = None
    when: WhenModel | None = None


class RouteModel(Section):
    """A node of the tree under ``route:``."""

    name: RouteName = ""
    receiver: str = ""
    group_by: list[LabelName] | None = None
    group_wait: str | None = None
    group_interval: str | None = None
    repeat_interval: str | None = None
    resolve_wait: str | None = None
    matchers: list[str] = Field(default=[])
    when: WhenModel | None = None
    continue_: bool = Field(default=False, alias="continue")
    mute_time_intervals: list[str] = Field(default=[])
    active_time_intervals: list[str] = Field(default=[])
    notify: list[StepModel] | None = None
    severity_map: dict[SeverityWord, SeverityWord] | None = None
    routes: list[RouteModel] = Field(default=[])


class InhibitModel(Section):
    """An item of ``inhibit_rules:``."""

    name: Text = ""
    source_matchers: list[str] = Field(min_length=1)
    target_matchers: list[str] = Field(min_length=1)
    equal: list[LabelName] = Field(default=[])


class MaintenanceModel(Section):
    """An item of ``maintenance_windows:``: once (``starts_at``, ``ends_at``), or in named intervals."""

    name: Name
    comment: Text = ""
    matchers: list[str] = Field(min_length=1)
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    time_intervals: list[str] = Field(default=[])


class HoldModel(Section):
    """An item of ``deploy_holds:``: what is not told while its own service is being deployed."""

    name: Name
    matchers: list[str] = Field(default=[])
    lease: str | None = None
    max: str | None = None


class FlappingModel(Section):
    """``flapping:``: from how many flips within a time an incident's end is held back, and for how long."""

    flips: int = Field(default=3, ge=2, le=20)
    within: str | None = None
    hold: str | None = None
