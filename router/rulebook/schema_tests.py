"""What may stand in rules/tests/*.yaml: one strict model per part, as :mod:`router.rulebook.schema`.

Lists of parts are checked part by part in :mod:`router.rulebook.scenarios`, so that a hint names the keys
of the part that it is about.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from router.model.events import DeployPhase
from router.model.wire_alerts import MAX_LABEL_VALUE, MAX_LABELS
from router.rulebook.schema import LabelName, Section, Text
from router.rulebook.schema_routes import Moment, SeverityWord  # noqa: TC001  pydantic reads the annotations


def _phase(text: str) -> str:
    if text not in {p.value for p in DeployPhase}:
        raise ValueError(f"not a phase of a deploy; there are: {', '.join(DeployPhase)}")
    return text


LabelValue = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_VALUE)]
Labels = Annotated[dict[LabelName, LabelValue], Field(min_length=1, max_length=MAX_LABELS)]
Word = Annotated[str, Field(min_length=1, max_length=200)]


class FileModel(Section):
    """A whole file."""

    rules: Text = ""
    evaluation_interval: str = ""
    tests: list[Any] = Field(default=[])


class ScenarioModel(Section):
    """An item of ``tests:``."""

    name: Word
    start: Moment | None = None
    input_series: list[Any] = Field(default=[])
    input_events: list[Any] = Field(default=[])
    route_test: list[Any] = Field(default=[])
    incident_test: list[Any] = Field(default=[])
    page_test: list[Any] = Field(default=[])


class SeriesModel(Section):
    """An item of ``input_series:``: an alert over time."""

    labels: Labels
    annotations: dict[LabelName, Text] = Field(default={}, max_length=MAX_LABELS)
    values: str


class EventModel(Section):
    """An item of ``input_events:``: one thing that happens at a time."""

    at: str
    deploy: Any = None
    acknowledge: Any = None
    resolve: Any = None
    silence: Any = None


class DeployModel(Section):
    """``deploy:``: what a teller would say of one phase of one deploy."""

    service: Word
    environment: Text = ""
    version: Word
    phase: Annotated[str, AfterValidator(_phase)]
    title: Text = ""
    author: Text = ""
    url: Text = ""
    ref: Text = ""


class ActModel(Section):
    """``acknowledge:`` and ``resolve:``: of which incident, and by whom."""

    labels: Labels
    by: Word = "somebody"


class SilenceModel(Section):
    """``silence:``: what is silenced from now on, and for how long."""

    matchers: list[str] = Field(min_length=1)
    for_: str = Field(alias="for")
    by: Word = "somebody"
    comment: Text = ""


class RouteTestModel(Section):
    """An item of ``route_test:``: where an alert goes, and how it is grouped."""

    labels: Labels
    exp_receivers: list[str]
    exp_group: dict[LabelName, str] | None = None


class IncidentTestModel(Section):
    """An item of ``incident_test:``."""

    eval_time: str
    exp_incidents: list[Any]


class IncidentModel(Section):
    """An item of ``exp_incidents:``; what is left out is not compared."""

    labels: Labels
    state: Literal["waiting", "suppressed", "held", "triggered", "acknowledged", "resolved"] | None = None
    severity: SeverityWord | None = None
    firing: int | None = Field(default=None, ge=0)
    receivers: list[str] | None = None
    suspect: str | None = None
    muted_by: str | None = None
    held_for: str | None = None
    group: dict[LabelName, str] | None = None


class PageTestModel(Section):
    """An item of ``page_test:``; ``kind`` and ``receiver`` leave only what was sent by and to these."""

    eval_time: str
    kind: str | None = None
    receiver: str | None = None
    exp_sent: list[Any] | None = None
    exp_count: int | None = Field(default=None, ge=0)


class SentModel(Section):
    """An item of ``exp_sent:``; what is left out is not compared."""

    receiver: str | None = None
    kind: str | None = None
    want: Literal["triggered", "acknowledged", "resolved"] | None = None
    payload: dict[str, Any] | None = None
