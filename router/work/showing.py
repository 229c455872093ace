"""What an attempt shows of an incident beside its head: a bounded sample of alerts, and links. Pure."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.model.events import Alert
    from router.model.incidents import Incident
    from router.ports import GroupRecord
    from router.rulebook.book import Rulebook

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
