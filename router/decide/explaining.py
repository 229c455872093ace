"""Why an alert goes where it goes: the whole tree of reasons, as plain JSON.

Asked by ``router why``, by the API and by nobody else; it calls what production calls, and changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.decide import facts, holding, muting, suspects
from router.model.incidents import State
from router.model.silences import SilenceState
from router.rulebook import durations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.decide.outlook import Outlook
    from router.model.deploys import Ledger
    from router.model.events import Alert
    from router.model.incidents import Entry, Incident, Suspect
    from router.rulebook.book import Rulebook
    from router.rulebook.tree import Node, Route, Step

#: Alerts of an incident that are explained one by one.
MOST_ALERTS = 10


def alert(labels: Mapping[str, str], book: Rulebook, outlook: Outlook, now: datetime) -> dict[str, Any]:
    """Return why an alert with these labels, as its sender wrote them, goes where it goes."""
    kept = book.relabelled(labels)
    if kept is None:
        text = "relabel_configs drop this alert: nobody is told, and nothing is kept"
        return {"labels": dict(labels), "dropped": text, "rulebook": book.version}
    return {
        "labels": dict(labels),
        "relabelled": None if kept == dict(labels) else kept,
        "rulebook": book.version,
        **_placed(kept, book, outlook, now),
    }


def _placed(labels: Mapping[str, str], book: Rulebook, outlook: Outlook, now: datetime) -> dict[str, Any]:
    known = book.catalogue_facts(labels)
    token = muting.of_alert(labels, book, outlook, now)
    return {
        "service": known.service,
        "team": known.team,
        "tier": known.tier,
        "environment": known.environment,
        "tree": _node(book.explain(labels)),
        "taken": [_taken(route, labels, book, now) for route in book.route(labels)],
        "muted": muting.words(token, book, outlook) if token else "",
        "muting": {
            "silences": _silences(labels, outlook, now),
            "maintenance_windows": _windows(labels, book, now),
            "inhibit_rules": _inhibits(labels, book, outlook),
        },
    }


def _node(node: Node) -> dict[str, Any]:
    route = node.route
    said = node.refusal or ("takes it" if node.final else "matches; a route below takes it")
    return {
        "route": route.id,
        "receiver": route.receiver,
        "matchers": [str(m) for m in route.matchers],
        "continue": route.continue_,
        "tried": node.tried,
        "matches": node.tried and not node.refusal,
        "takes": node.final and not node.refusal and node.tried,
        "why": said,
        "routes": [_node(n) for n in node.routes],
    }


def _taken(route: Route, labels: Mapping[str, str], book: Rulebook, now: datetime) -> dict[str, Any]:
    interval = muting.of_route(route, now)
    return {
        "route": route.id,
        "receiver": route.receiver,
        "severity": str(book.severity(labels, route)),
        "group": book.group_labels(route, labels),
        "group_wait": durations.render(route.group_wait),
        "group_interval": durations.render(route.group_interval),
        "repeat_interval": durations.render(route.repeat_interval),
        "told_now": not interval,
        "interval": interval.partition(":")[2],
        "notify": [
            {
                "receiver": step.receiver,
                "after": durations.render(step.after),
                "when": [f.condition for f in step.when.findings(book.catalogue_facts(labels))],
            }
            for step in route.steps
        ],
    }


def _silences(labels: Mapping[str, str], outlook: Outlook, now: datetime) -> list[dict[str, Any]]:
    found = []
    for quiet in outlook.silences:
        state = quiet.silence.state(now)
        refusal = next((str(m) for m in quiet.matchers if not m.matches(labels)), "")
        if state is SilenceState.EXPIRED or (refusal and len(outlook.silences) > MOST_ALERTS):
            continue
        said = f"{refusal} does not match" if refusal else f"it is {state}"
        found.append({"id": quiet.silence.id, "mutes": quiet.mutes(labels, now), "why": said})
    return found


def _windows(labels: Mapping[str, str], book: Rulebook, now: datetime) -> list[dict[str, Any]]:
    found = []
    for window in book.muting.maintenance:
        refusal = next((str(m) for m in window.matchers if not m.matches(labels)), "")
        open_ = window.active(now)
        said = f"{refusal} does not match" if refusal else "it is open" if open_ else "it is closed now"
        found.append({"name": window.name, "mutes": open_ and not refusal, "why": said})
    return found


def _inhibits(labels: Mapping[str, str], book: Rulebook, outlook: Outlook) -> list[dict[str, Any]]:
    found = []
    for rule in book.muting.inhibit_rules:
        refusal = next((str(m) for m in rule.target if not m.matches(labels)), "")
        sources = outlook.inhibitors.get(rule.key(labels), {}) if not refusal else {}
        if rule.is_source(labels):
            sources = {name: target for name, target in sources.items() if not target}
        if refusal:
            said = f"not a target: {refusal} does not match"
        elif not sources:
            said = "no alert of its source side fires with the same " + (", ".join(rule.equal) or "labels")
        else:
            said = f"{len(sources)} alerts of its source side fire"
        found.append({"name": rule.name, "mutes": bool(sources), "why": said})
    return found


@dataclass(frozen=True, slots=True)
class Scene:
    """What an incident is looked at with."""

    book: Rulebook
    outlook: Outlook
    ledgers: Mapping[str, Ledger]
    now: datetime


def incident(
    head: Incident, alerts: Sequence[Alert], timeline: Sequence[Entry], scene: Scene
) -> dict[str, Any]:
    """Return why an incident stands as it stands, and where each of its alerts would go now."""
    book, outlook, now = scene.book, scene.outlook, scene.now
    route = book.route_by_id(head.route)
    return {
        "incident": head.id,
        "state": head.state,
        "rulebook": book.version,
        "decided_under": head.book,
        "reasons": [{"why": r.why, "text": r.text} for r in head.why],
        "muted_by": [muting.words(t, book, outlook) for t in head.muted_by],
        "waits_until": head.wait_until,
        "changes_told_at": head.flush_at,
        "looked_at_again": head.wake_at,
        "hold": _hold(head, scene),
        "notify": [_step(step, head, scene) for step in (route.steps if route is not None else ())],
        "suspects": [_suspect(s) for s in head.suspects],
        "alerts": [
            _placed(a.labels, book, outlook, now) | {"labels": a.labels} for a in alerts[:MOST_ALERTS]
        ],
        "timeline": [{"at": e.at, "why": e.why, "text": e.text, "by": e.by} for e in timeline],
    }


def _step(step: Step, head: Incident, scene: Scene) -> dict[str, Any]:
    findings = step.when.findings(facts.of(head, scene.book, scene.now))
    return {
        "receiver": step.receiver,
        "told": step.receiver in {head.receiver, *head.also},
        "after": durations.render(step.after),
        "due": head.paged_at + step.after if head.paged_at is not None else None,
        "conditions": [{"condition": f.condition, "holds": f.holds, "text": f.text} for f in findings],
    }


def _suspect(suspect: Suspect) -> dict[str, Any]:
    return {
        "deploy": suspect.deploy_id,
        "service": suspect.service,
        "version": suspect.version,
        "suspected": suspects.prime((suspect,)) is not None,
        "standing": suspect.standing,
        "probability": suspect.probability,
        "reasons": [{"why": r.why, "text": r.text, "weight": r.weight} for r in suspect.reasons],
    }


def _hold(head: Incident, scene: Scene) -> dict[str, Any] | None:
    if head.hold is None:
        return None
    digest = head.group == head.hold.digest
    waits = digest and head.wait_until is not None and scene.now < head.wait_until
    return {
        "rule": head.hold.rule,
        "deploy": head.hold.deploy_id,
        "until": holding.renewed(head.hold, scene.ledgers, scene.book),
        "told_by": "" if digest else f"{head.hold.digest}.*",
        "held": head.state is State.HELD or waits,
    }
