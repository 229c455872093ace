"""What the API shows of incidents and deploys: plain dictionaries, made by pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.model.keys import incident_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.decide.senders import Noted
    from router.model.blames import Blame
    from router.model.deploys import Change, Deploy
    from router.model.events import Alert
    from router.model.incidents import Entry, Incident, Suspect


def incident(head: Incident) -> dict[str, Any]:
    """Return an incident without its alerts and timeline."""
    top = head.suspects[0] if head.suspects and head.suspects[0].suspected else None
    return {
        "id": head.id,
        "state": head.state,
        "severity": head.severity,
        "title": head.title,
        "summary": head.annotations.get("summary", ""),
        "service": head.service,
        "environment": head.environment,
        "team": head.team,
        "generation": head.generation,
        "firing": head.firing,
        "resolved": head.resolved,
        "truncated": head.truncated,
        "opened_at": head.opened_at,
        "started_at": head.starts_at,
        "onset": head.onset,
        "updated_at": head.updated_at,
        "acknowledged_at": head.acknowledged_at,
        "acknowledged_by": head.acknowledged_by,
        "resolved_at": head.resolved_at,
        "resolved_by": head.resolved_by,
        "snoozed_until": head.snoozed_until,
        "assigned_to": head.assigned_to,
        "merged_into": head.merged_into,
        "group_labels": head.group_labels,
        "labels": head.labels,
        "route": head.route,
        "receiver": head.receiver,
        "suspect": suspect(top) if top else None,
        "destinations": {name: _destination(d) for name, d in head.destinations.items()},
        "rulebook": head.book,
    }


def incident_whole(head: Incident, alerts: Sequence[Alert], timeline: Sequence[Entry]) -> dict[str, Any]:
    """Return an incident with everything that is known of it."""
    return incident(head) | {
        "annotations": head.annotations,
        "suspects": [suspect(s) for s in head.suspects],
        "assessments": [
            {
                "at": each.at,
                "suspects": [{"deploy": s.key, "probability": s.probability} for s in each.suspects],
            }
            for each in head.assessments
        ],
        "why": [{"why": r.why, "text": r.text} for r in head.why],
        "alerts": [
            {
                "fingerprint": a.fingerprint,
                "status": "firing" if a.firing else "resolved",
                "labels": a.labels,
                "annotations": a.annotations,
                "startsAt": a.starts_at,
                "endsAt": a.ends_at,
                "generatorURL": a.generator_url,
            }
            for a in alerts
        ],
        "timeline": [{"at": e.at, "why": e.why, "text": e.text, "by": e.by, "via": e.via} for e in timeline],
    }


def decision(group: str, e: Entry) -> dict[str, Any]:
    """Return a line of a timeline, with the incident that it is about."""
    about = {"incident": incident_id(group, e.generation)}
    return about | {"at": e.at, "why": e.why, "text": e.text, "by": e.by, "via": e.via}


def suspect(s: Suspect) -> dict[str, Any]:
    """Return a suspected deploy with what speaks for and against it."""
    return {
        "service": s.service,
        "environment": s.environment,
        "deploy": s.deploy_id,
        "version": s.version,
        "at": s.at,
        "score": s.score,
        "probability": s.probability,
        "verdict": s.verdict,
        "standing": s.standing,
        "title": s.title,
        "author": s.author,
        "url": s.url,
        "for": [{"why": r.why, "text": r.text, "weight": r.weight} for r in s.reasons if r.weight >= 0],
        "against": [{"why": r.why, "text": r.text, "weight": r.weight} for r in s.reasons if r.weight < 0],
    }


def sender(source: str, note: Noted, told: Sequence[str]) -> dict[str, Any]:
    """Return what is known of a sender; ``wrong`` are the alerts about it that are not over."""
    return {
        "source": source,
        "heard": note.heard,
        "expected": note.expected,
        "refused": note.bad + note.failed,
        "unauthentic": note.bad,
        "refused_since": note.since,
        "refused_at": note.refused_at,
        "last_status": note.status,
        "unreadable_at": note.odd_at,
        "trouble": note.trouble,
        "switched_off": note.off,
        "wrong": sorted(name.partition(":")[0] for name in told if name.partition(":")[2] == source),
    }


def _destination(d: Any) -> dict[str, Any]:
    return {
        "lane": d.lane,
        "wanted": d.want,
        "confirmed": d.have,
        "due": d.due,
        "tries": d.tries,
        "not_before": d.not_before,
        "dead": d.dead,
        "error": d.error,
    }


def deploy(d: Deploy) -> dict[str, Any]:
    """Return a deploy."""
    return {
        "id": d.id,
        "service": d.service,
        "environment": d.environment,
        "version": d.name,
        "names": d.names,
        "phases": d.phases,
        "tellers": d.tellers,
        "title": d.title,
        "author": d.author,
        "url": d.url,
        "images": d.images,
        "config_revision": d.config_revision,
        "facts": d.facts,
    }


def blame(b: Blame) -> dict[str, Any]:
    """Return an incident that is blamed on a deploy, as its ledger knows it."""
    return {
        "incident": b.incident,
        "title": b.title,
        "service": b.service,
        "team": b.team,
        "severity": b.severity,
        "open": b.open,
        "told": b.told,
        "opened_at": b.at,
    }


def change(service: str, c: Change) -> dict[str, Any]:
    """Return a change that is not bound to an environment."""
    return {
        "service": service,
        "phase": c.phase,
        "at": c.at,
        "revision": c.revision,
        "names": c.names,
        "ref": c.ref,
        "title": c.title,
        "author": c.author,
        "url": c.url,
        "detail": c.detail,
        "facts": c.facts,
    }
