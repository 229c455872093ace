"""PagerDuty's events, made of an incident or a deploy; pure. Vendor facts: the notifier's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from router.kit import text
from router.model.destinations import Want
from router.model.events import DeployPhase, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.model.deploys import Deploy
    from router.model.events import Alert
    from router.model.incidents import Incident, Suspect
    from router.ports import ChangeJob, IncidentJob

MAX_SUMMARY: Final = 1024
#: A deploy that is no suspect (yet) is named from this probability on, as possible: by feel, one in three.
_NAMED: Final = 0.3
#: 512 KB are allowed; Alertmanager reads that as 512,000 bytes, and so do we, less the routing key's place.
MAX_BYTES: Final = 512_000 - 1_000
#: What is shown of how many alerts: tried in this order until the event is small enough.
LADDER: Final = ((50, 500), (10, 200), (3, 100), (0, 100))

Level = Literal["critical", "error", "warning", "info"]
_ACTIONS: Final = {Want.TRIGGERED: "trigger", Want.ACKNOWLEDGED: "acknowledge", Want.RESOLVED: "resolve"}
#: How a phase reads in "payment-service 1.42.0 ... in prod", where its own name would not do.
_PHASES: Final = {DeployPhase.SWITCHED: "takes traffic", DeployPhase.CLEANED_UP: "cleaned up"}


class Options(BaseModel):
    """An entry under ``pagerduty_configs``: where to page, and the key or where it is found."""

    # Without hide_input_in_errors a mistyped entry would print its key.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    routing_key: SecretStr | None = None
    routing_key_env: str | None = None
    routing_key_file: str | None = None
    severity_map: dict[Severity, Level] = Field(default_factory=dict)
    client: str = "Incident Router"
    client_url: str = ""

    @model_validator(mode="after")
    def _one_key(self) -> Options:
        given = (self.routing_key, self.routing_key_env, self.routing_key_file)
        if sum(value is not None for value in given) != 1:
            raise ValueError("give exactly one of routing_key, routing_key_env, routing_key_file")
        if self.client_url and not text.web_url(self.client_url):
            raise ValueError("client_url must be an http or https URL without user and password")
        return self


def render_event(job: IncidentJob) -> dict[str, Any]:
    """Return the event's body, but for the routing key; small enough whatever the incident holds."""
    action = _ACTIONS.get(job.destination.want, "trigger")
    event: dict[str, Any] = {"event_action": action, "dedup_key": job.incident.id[:255]}
    if action != "trigger":
        return event  # PagerDuty reads nothing else of these
    options = job.options if isinstance(job.options, Options) else Options(routing_key=SecretStr("-"))
    event["payload"] = _payload(job, options)
    event["client"] = text.line(options.client, 255) or "Incident Router"
    if url := text.web_url(options.client_url) or text.web_url(job.links.get("incident", "")):
        event["client_url"] = url
    links = dict(job.links)
    if job.incident.suspects:
        links["suspected deploy"] = job.incident.suspects[0].url
    if rendered := _links(links):
        event["links"] = rendered
    for alerts, length in LADDER:
        event["payload"]["custom_details"] = _details(job, alerts, length)
        if len(json.dumps(event)) <= MAX_BYTES:  # as requests encodes it: ASCII, so characters are bytes
            return event
    event["payload"]["custom_details"] = {
        "note": "the details were too large to send; see the incident's page"
    }
    return event


def render_change(job: ChangeJob) -> dict[str, Any]:
    """Return the change event's body, but for the routing key."""
    deploy = job.deploy
    phase = _phase(deploy)
    done = _PHASES.get(phase, phase.replace("_", " ")) if phase else "deployed"
    summary = f"{deploy.service} {deploy.name} {done}"
    summary += f" in {deploy.environment}" if deploy.environment else ""
    summary += f" by {deploy.author}" if deploy.author else ""
    summary += f": {deploy.title}" if deploy.title else ""
    details: dict[str, Any] = {
        "versions": [text.line(n, 200) for n in deploy.names[:10]],
        "phases": {text.line(p, 50): at.isoformat() for p, at in list(deploy.phases.items())[:20]},
        "told_by": [text.line(t, 100) for t in deploy.tellers[:10]],
        "images": [text.line(i, 500) for i in deploy.images[:10]],
        "ref": text.line(deploy.ref, 255),
        "detail": text.clean(deploy.detail, 1000),
    }
    event: dict[str, Any] = {
        "payload": {
            "summary": text.line(summary, MAX_SUMMARY),
            "source": text.line(deploy.service, 255) or "Incident Router",
            "timestamp": (deploy.phases[phase] if phase else job.now).isoformat(),
            "custom_details": {k: v for k, v in details.items() if v},
        }
    }
    if rendered := _links({**job.links, "deploy": deploy.url}):
        event["links"] = rendered
    return event


def _phase(deploy: Deploy) -> DeployPhase | None:
    """Return the phase that the deploy is in: the latest told, the further one where times are equal."""
    told = [p for p in DeployPhase if p in deploy.phases and p is not DeployPhase.CLEANED_UP]
    return max(reversed(told), key=lambda p: deploy.phases[p], default=None)


def _payload(job: IncidentJob, options: Options) -> dict[str, Any]:
    incident = job.incident
    level = "info" if incident.severity is Severity.NONE else incident.severity.value
    group = incident.environment or ", ".join(
        f"{k}={v}" for k, v in sorted(incident.group_labels.items())[:8]
    )
    source = (
        incident.labels.get("instance") or incident.service or incident.labels.get("job") or incident.group
    )
    alertname = incident.labels.get("alertname") or incident.group_labels.get("alertname", "")
    optional = {"component": incident.service, "group": group, "class": alertname}
    return {
        "summary": _summary(job),
        "severity": options.severity_map.get(incident.severity, level),
        "timestamp": (incident.starts_at or incident.opened_at or job.now).isoformat(),
        "source": text.line(source, 255) or "unknown",
        **{name: told for name, value in optional.items() if (told := text.line(value, 255))},
    }


def _summary(job: IncidentJob) -> str:
    """Return the line that a phone shows: what fires and, before anything is cut, the suspect."""
    incident, suspect = job.incident, ""
    if incident.suspects and incident.suspects[0].probability >= _NAMED:
        word = "suspect" if incident.suspects[0].suspected else "possibly"
        suspect = f" - {word}: {text.line(_told(incident.suspects[0], incident), 400)}"
    head = f"[FIRING:{incident.firing}] "
    title = text.line(job.title or incident.title, MAX_SUMMARY - len(head) - len(suspect))
    return f"{head}{title or incident.id}{suspect}"[:MAX_SUMMARY]


def _told(suspect: Suspect, incident: Incident) -> str:
    words = f"{suspect.service} {suspect.version}"
    words += f" by {suspect.author}" if suspect.author else ""
    if incident.starts_at is not None:
        seconds = (incident.starts_at - suspect.at).total_seconds()
        words += f", {text.span(seconds)} {'before' if seconds >= 0 else 'after'} the onset"
    return words


def _details(job: IncidentJob, alerts: int, length: int) -> dict[str, Any]:
    incident = job.incident
    firing = [a for a in job.members if a.firing]
    left_out = f"the sender left out {incident.truncated} alerts: this is not the whole list"
    details: dict[str, Any] = {
        "WARNING": left_out if incident.truncated else "",
        "body": text.clean(job.body, 8 * length),
        "firing": incident.firing,
        "resolved": incident.resolved,
        "by_severity": {text.line(k, 50): v for k, v in list(incident.by_severity.items())[:10]},
        "suspects": [_suspect(s, incident) for s in incident.suspects[:3]],
        "group_labels": _pairs(incident.group_labels, length),
        "labels": _pairs(incident.labels, length),
        "annotations": _pairs(incident.annotations, 2 * length),
        "alerts": [_alert(a, incident, length) for a in firing[:alerts]],
        "alerts_not_shown": max(0, incident.firing - min(len(firing), alerts)),
        "team": text.line(incident.team, 255),
        "receiver": text.line(incident.receiver, 255),
        "incident": incident.id,
        "why": [text.line(r.text or r.why, 300) for r in incident.why[:10]],
    }
    return {k: v for k, v in details.items() if v not in ("", [], {})}


def _suspect(suspect: Suspect, incident: Incident) -> dict[str, Any]:
    def reasons(sign: int) -> list[str]:
        chosen = [r for r in suspect.reasons if r.weight * sign > 0]
        return [f"{text.line(r.text or r.why, 300)} ({r.weight:+.1f})" for r in chosen[:10]]

    told = {
        "deploy": text.line(_told(suspect, incident), 400),
        "environment": text.line(suspect.environment, 255),
        "verdict": suspect.standing,
        "probability": suspect.percent,
        "for": reasons(1),
        "against": reasons(-1),
        "title": text.line(suspect.title, 300),
        "url": text.web_url(suspect.url),
    }
    return {k: v for k, v in told.items() if v not in ("", [])}


def _alert(alert: Alert, incident: Incident, length: int) -> dict[str, Any]:
    own = {k: v for k, v in alert.labels.items() if incident.labels.get(k) != v}
    notes = {k: v for k, v in alert.annotations.items() if incident.annotations.get(k) != v}
    told = {
        "labels": _pairs(own, length),
        "annotations": _pairs(notes, length),
        "since": alert.starts_at.isoformat(),
        "url": text.web_url(alert.generator_url, 1000),
    }
    return {k: v for k, v in told.items() if v}


def _pairs(pairs: Mapping[str, str], length: int) -> dict[str, str]:
    return {text.line(k, 100): text.clean(v, length) for k, v in sorted(pairs.items())[:40]}


def _links(links: Mapping[str, str]) -> list[dict[str, str]]:
    safe = ((text.web_url(url), text.line(name, 100)) for name, url in list(links.items())[:20])
    return [{"href": url, "text": name or url[:100]} for url, name in safe if url]
