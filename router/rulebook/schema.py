"""What may stand in rules/*.yaml: one pydantic model per section, strict, unknown keys refused.

Names are Alertmanager's wherever it has one. The models hold what was written;
meaning that needs more than one key (inheritance, references, matchers) is made by
:mod:`router.rulebook.routes` and :mod:`router.rulebook.catalogue`. The sections about routing
and muting are in :mod:`router.rulebook.schema_routes`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from router.kit import values
from router.model.events import Severity
from router.model.wire_alerts import MAX_LABELS
from router.rulebook import mappings
from router.rulebook.places import PLACEHOLDER

MAX_NAME: Final = 100
MAX_URL: Final = 2048
_SLACK_ID: Final = re.compile(r"[UW][A-Z0-9]{2,30}").fullmatch
_SOURCE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}").fullmatch
#: Short names that other alerts' keys begin with: Alertmanager's, Grafana's and our own.
_TAKEN: Final = frozenset({"am", "gf", "self"})


def _name(text: str) -> str:
    """Refuse what would make a target's or route's id ambiguous or unreadable."""
    if not text.strip() or text != text.strip() or len(text) > MAX_NAME or not text.isprintable():
        raise ValueError(f"a name has 1 to {MAX_NAME} printable characters, without spaces around it")
    if "/" in text or "|" in text:
        raise ValueError("a name holds no / and no |")
    return text


def _route_name(text: str) -> str:
    if text.isdigit():
        raise ValueError("a route's name is not a number; numbers stand for routes without a name")
    return _name(text)


def _label(text: str) -> str:
    if not text or len(text) > MAX_NAME:
        raise ValueError(f"a label's name has 1 to {MAX_NAME} characters")
    return text


def _url(text: str) -> str:
    """Accept only what may safely become a link in a message."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ValueError("not an http or https URL")
    if "@" in parts.netloc:
        raise ValueError("a URL here may not hold a user or password")
    if len(text) > MAX_URL or not text.isprintable() or " " in text:
        raise ValueError(f"a URL has at most {MAX_URL} printable characters and no spaces")
    return text


def _pattern(text: str) -> str:
    if not text or len(text) > 300 or not text.isprintable() or text != text.strip():
        raise ValueError("not a name")
    if text.count(PLACEHOLDER) > 1 or any(sign in text.replace(PLACEHOLDER, "") for sign in "{}*"):
        raise ValueError(f"the only pattern is {PLACEHOLDER}, at most once")
    if text.rpartition("/")[2] == PLACEHOLDER:
        raise ValueError(f"{PLACEHOLDER} alone would claim everything")
    return text


def _slack_id(text: str) -> str:
    if _SLACK_ID(text) is None:
        raise ValueError("not Slack's id of a person, such as U0123ABCD (in their profile, Copy member ID)")
    return text


def _source(text: str) -> str:
    if _SOURCE(text) is None:
        raise ValueError("a source's name has 1 to 40 of a-z 0-9 _ and begins with a letter")
    return text


def _mapping_name(text: str) -> str:
    if text in _TAKEN:
        raise ValueError(f"the name {text!r} is taken; choose a longer one")
    return _source(text)


def _template(text: str) -> str:
    mappings.template(text)
    return text


def _alerts_path(text: str) -> str:
    if "{" in text:
        raise ValueError("this is a path itself: write it without braces")
    if text:
        mappings.path(text)
    return text


def _one_or_more(value: Any) -> Any:
    """Read a single text as a list of one."""
    if isinstance(value, dict):  # {path} without quotes is a mapping to YAML
        raise ValueError('put the text in quotes: "{path}"')  # noqa: TRY004  pydantic takes ValueError
    return value if isinstance(value, list) else [value]


Name = Annotated[str, AfterValidator(_name)]
SourceName = Annotated[str, AfterValidator(_source)]
MappingName = Annotated[str, AfterValidator(_mapping_name)]
AlertsPath = Annotated[str, AfterValidator(_alerts_path)]
#: One text with ``{path}`` placeholders, or several of which the first that is not empty counts.
Texts = Annotated[
    list[Annotated[str, AfterValidator(_template)]],
    Field(min_length=1, max_length=20),
    BeforeValidator(_one_or_more),
]
RouteName = Annotated[str, AfterValidator(_route_name)]
LabelName = Annotated[str, AfterValidator(_label)]
Url = Annotated[str, AfterValidator(_url)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Text = Annotated[str, Field(max_length=1000)]


class Section(BaseModel):
    """Base of all sections: nothing is converted, nothing unknown is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, data: Any) -> Any:
        """Read ``routes:`` with nothing after it as if it were not there, as Alertmanager does."""
        if not isinstance(data, dict):
            return data
        known = keys_of(cls)
        return {key: value for key, value in data.items() if value is not None or key not in known}


class ServiceModel(Section):
    """An item of ``services:``."""

    name: Name
    team: Text = ""
    tier: int = Field(default=3, ge=0, le=9)
    description: Text = ""
    dependencies: list[str] = []
    receiver: str = ""
    argocd_applications: list[Pattern] = []
    argo_rollouts: list[Pattern] = []
    gitlab_projects: list[Pattern] = []
    dashboards: dict[Name, Url] = {}
    runbook: Url = ""


class ReceiverModel(Section):
    """An item of ``receivers:``; its other keys are ``<kind>_configs`` and belong to the drivers.

    ``title`` and ``body`` are templates for what its targets show.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: Name
    title: str = ""
    body: str = ""


class LabelsModel(Section):
    """``labels:``: which labels carry what; the first that an alert has wins."""

    severity: list[LabelName] | None = Field(default=None, min_length=1)
    service: list[LabelName] | None = Field(default=None, min_length=1)
    environment: list[LabelName] | None = Field(default=None, min_length=1)
    version: list[LabelName] | None = Field(default=None, min_length=1)
    team: list[LabelName] | None = Field(default=None, min_length=1)
    colour: list[LabelName] | None = Field(default=None, min_length=1)
    for_: list[LabelName] | None = Field(default=None, min_length=1, alias="for")


class AttributionModel(Section):
    """``attribution:``: when a deploy may be suspected; ``for`` has that of alerting rules, by alertname."""

    window: str | None = None
    skew: str | None = None
    for_default: str | None = None
    gather: bool = True
    for_: dict[Text, str] = Field(default={}, alias="for")


def severity_word(text: str) -> str:
    """Accept only one of our severities."""
    if text not in {s.value for s in Severity}:
        raise ValueError(f"not a severity; there are: {', '.join(Severity)}")
    return text


Word = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class StatusModel(Section):
    """``status:`` of a mapping: ``from`` tells the status; one of the words ``resolved`` ends the alert."""

    from_: Texts = Field(alias="from")
    resolved: list[Word] = Field(min_length=1, max_length=50)


class MappingModel(Section):
    """An item of ``sources:``, a sender without a source of its own.

    ``alerts`` is the path of the list of alerts, "" the whole body. ``status`` left out: all fire.
    ``starts_at`` and ``ends_at``: the first text that is a time counts. ``id`` names the alert in
    place of its labels.
    """

    name: MappingName
    alerts: AlertsPath = ""
    status: StatusModel | None = None
    starts_at: Texts
    ends_at: Texts = []
    labels: dict[LabelName, Texts] = Field(min_length=1, max_length=MAX_LABELS)
    annotations: dict[LabelName, Texts] = Field(default={}, max_length=MAX_LABELS)
    generator_url: Texts = []
    id: Texts = []


class SenderModel(Section):
    """An item of ``senders:``: whose silence and failures are told, and how."""

    source: SourceName
    silent_after: str | None = None
    expected: bool = False
    matchers: list[str] = []
    severity: Annotated[str, AfterValidator(severity_word)] = Severity.WARNING.value
    labels: dict[LabelName, Text] = {}


class PersonModel(Section):
    """An item of ``people:``: who somebody in Slack is at PagerDuty, where the e-mails differ.

    ``pagerduty`` is the e-mail of the user there; "" says that there is none.
    """

    name: Name
    slack: Annotated[str, AfterValidator(_slack_id)]
    pagerduty: Annotated[str, AfterValidator(values.email)]


class ReconcileModel(Section):
    """``reconcile:``: what is done about incidents that stand otherwise at Alertmanager or PagerDuty."""

    after: str = "10m"
    gone_at_alertmanager: Literal["resolve", "report"] = "resolve"
    open_at_pagerduty: Literal["resolve", "report"] = "resolve"
    closed_at_pagerduty: Literal["reopen", "resolve", "report"] = "report"
    ended_by_hand: Literal["reopen", "report"] = "report"
    by_hand_after: str = "4h"
    dry_run: bool = False


#: ``environments:`` has the canonical name and its aliases.
Environments = dict[Name, list[Name] | None]
#: ``severities:`` has a label's value and what it means.
Severities = dict[Text, Annotated[str, AfterValidator(severity_word)]]


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys that a model's YAML may have, as they are written."""
    return [info.alias or name for name, info in model.model_fields.items()]
