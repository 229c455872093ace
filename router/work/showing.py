"""What an attempt shows beside an incident's head: sample alerts, links, a receiver's own words. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from router.decide import suspects
from router.rulebook.template_filters import TemplateError
from router.rulebook.templates import MAX_BODY, MAX_TITLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.model.events import Alert
    from router.model.incidents import Incident
    from router.ports import GroupRecord
    from router.rulebook.book import Rulebook, Target

#: Alerts shown; the counts are always whole.
SAMPLE = 30


def sample(record: GroupRecord, generation: int) -> list[Alert]:
    """Return the alerts to show: firing first, then the earliest."""
    alerts = (m.alert for m in record.members.values() if m.generation == generation)
    return heapq.nsmallest(SAMPLE, alerts, key=lambda a: (not a.firing, a.starts_at, a.key))


def links(head: Incident, book: Rulebook, base_url: str) -> Mapping[str, str]:
    """Return what a person may want to open: the incident, runbook, dashboards, Alertmanager."""
    out: dict[str, str] = {}
    if base_url:
        out["incident"] = f"{base_url}/api/v1/incidents/{head.id}"
    service = book.services.get(head.service)
    runbook = head.annotations.get("runbook_url") or (service.runbook if service else "")
    if runbook:
        out["runbook"] = runbook
    if dashboard := head.annotations.get("dashboard_url"):
        out["dashboard"] = dashboard
    out |= dict(service.dashboards) if service else {}
    if head.external_url:
        out["alertmanager"] = head.external_url
    return out


def texts(
    head: Incident, members: Sequence[Alert], target: Target, links: Mapping[str, str]
) -> tuple[str, str, list[str]]:
    """Return (title, body, problems) as the target's templates make them; "" where there is none.

    A template that fails stops nothing: its text is "", so that the driver's own words are shown.
    """
    out = ["", ""]
    problems: list[str] = []
    if target.title is None and target.body is None:
        return "", "", problems
    context = _context(head, members, target, links)
    for i, (template, limit) in enumerate(((target.title, MAX_TITLE), (target.body, MAX_BODY))):
        if template is None:
            continue
        try:
            out[i] = template.render(context, limit).strip()
        except TemplateError as exc:
            problems.append(f"{target.id}: {'title' if not i else 'body'}: {exc}"[:300])
    return out[0], out[1], problems


def _context(
    head: Incident, members: Sequence[Alert], target: Target, links: Mapping[str, str]
) -> dict[str, Any]:
    """Return what templates may name: plain values only."""
    top = suspects.prime(head.suspects)
    suspect = (
        {
            "service": top.service,
            "version": top.version,
            "environment": top.environment,
            "author": top.author,
            "title": top.title,
            "url": top.url,
            "probability": top.probability,
            "for": [r.text for r in top.reasons if r.weight > 0],
            "against": [r.text for r in top.reasons if r.weight < 0],
        }
        if top is not None
        else {}
    )
    incident = {
        "id": head.id,
        "title": head.title,
        "state": str(head.state),
        "severity": str(head.severity),
        "service": head.service,
        "environment": head.environment,
        "team": head.team,
        "firing": head.firing,
        "resolved": head.resolved,
        "muted": head.muted,
        "generation": head.generation,
        "starts_at": head.starts_at.isoformat() if head.starts_at is not None else "",
        "acknowledged_by": head.acknowledged_by,
        "suspect": suspect,
    }
    return {
        "incident": incident,
        "labels": dict(head.labels),
        "annotations": dict(head.annotations),
        "group": dict(head.group_labels),
        "links": dict(links),
        "receiver": target.id.partition("/")[0],
        "alerts": [
            {
                "status": "firing" if a.firing else "resolved",
                "labels": dict(a.labels),
                "annotations": dict(a.annotations),
                "starts_at": a.starts_at.isoformat(),
                "url": a.generator_url,
            }
            for a in members
        ],
    }
