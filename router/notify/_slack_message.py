"""Slack's message of an incident: the same briefly and in full, within all limits whatever it holds; pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from router.kit import text
from router.kit.mrkdwn import escape, fit
from router.model.destinations import Want
from router.model.incidents import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.model.events import Alert
    from router.model.incidents import Incident, Suspect
    from router.ports import IncidentJob

MAX_SECTION: Final = 3000
MAX_TEXT: Final = 3900  # 4,000 is advised
#: The sum of all blocks has an undocumented limit; 13,200 were too many (slackapi/bolt-js issue 2509).
MAX_BLOCKS: Final = 11_900
#: How many alerts are shown: tried in this order until the message is small enough.
LADDER: Final = (10, 3, 0)


def render_message(job: IncidentJob, *, buttons: bool = False) -> tuple[str, list[dict[str, Any]]]:
    """Return (text, blocks): the same, briefly and in full; within Slack's limits whatever they hold.

    ``buttons``: somebody listens to clicks on them.
    """
    for alerts in LADDER:
        blocks = _blocks(job, alerts)
        if buttons:
            blocks += _buttons(job)
        if len(json.dumps(blocks, ensure_ascii=False).encode("utf-16-le")) // 2 <= MAX_BLOCKS:
            break
    incident = job.incident
    where = " / ".join(escape(part, 200) for part in (incident.service, incident.environment) if part)
    lines = [_headline(job, 300), where, *(_suspicion(s, incident) for s in incident.suspects[:1])]
    if link := text.web_url(job.links.get("incident", "")):
        lines.append(link.replace("&", "&amp;"))
    return fit("\n".join(part for part in lines if part), MAX_TEXT), blocks


def _blocks(job: IncidentJob, alerts: int) -> list[dict[str, Any]]:
    incident = job.incident
    blocks = [_section(f"{_light(job)} *{_headline(job, 250)}*"), _facts(incident)]
    if incident.truncated:
        blocks.append(_section(f":warning: *Incomplete: the sender left out {incident.truncated} alerts*"))
    told = [incident.annotations.get(name, "") for name in ("summary", "description")]
    notes = job.body.splitlines()[:40] or told
    if said := "\n".join(escape(note, 400) for note in notes if note.strip()):
        blocks.append(_section(said))
    blocks += [_section(_suspect(s, incident, reasons=not i)) for i, s in enumerate(incident.suspects[:3])]
    shown = [a for a in job.members if a.firing or incident.state is State.RESOLVED][:alerts]
    if shown:
        more = incident.firing - sum(a.firing for a in shown)
        listed = [_alert(a, incident) for a in shown] + ([f"… and {more} more firing"] if more > 0 else [])
        blocks.append(_section("\n".join(listed)))
    if links := _links(dict(job.links) | {f"deploy {s.version}": s.url for s in incident.suspects[:1]}):
        blocks.append({"type": "context", "elements": [_mrkdwn(links)]})
    if room := _room(incident):
        blocks.append({"type": "context", "elements": [_mrkdwn(f"It has a channel: <#{room}>")]})
    why = "; ".join(escape(r.text or r.why, 150) for r in incident.why[:3])
    footer = " · ".join(
        part for part in (f"incident {incident.id}", escape(incident.receiver, 100), why) if part
    )
    blocks.append({"type": "context", "elements": [_mrkdwn(fit(footer, 600))]})
    return blocks


def _room(incident: Incident) -> str:
    """Return the id of the incident's own channel, "" where it has none."""
    refs = (d.ref for name, d in incident.destinations.items() if "/slack_channel/" in name)
    room = next((ref.partition("/")[0] for ref in refs if ref), "")
    return room if room.isascii() and room.isalnum() else ""


def _buttons(job: IncidentJob) -> list[dict[str, Any]]:
    """Return what can be done in the state that is shown; nothing once it is over."""
    want, incident = job.destination.want, job.incident.id
    if want is Want.RESOLVED:
        return []
    first = ("acknowledge", "Acknowledge") if want is Want.TRIGGERED else ("unacknowledge", "Give back")
    elements = [
        _button(*first, incident) | ({"style": "primary"} if want is Want.TRIGGERED else {}),
        _button("resolve", "Resolve", incident)
        | {
            "confirm": {
                "title": _plain("Resolve it?"),
                "text": _plain("It ends here and at PagerDuty. Alerts that still fire may open another."),
                "confirm": _plain("Resolve"),
                "deny": _plain("Cancel"),
            }
        },
        _button("silence", "Silence…", incident),
        _button("why", "Why?", incident),
    ]
    top = job.incident.suspects[0] if job.incident.suspects else None
    if top is not None and top.standing in {"suspected", "possible"}:
        value = f"{incident} {top.key}"[:600]
        elements.append(_button("confirm", "That deploy did it", value))
        elements.append(_button("refute", "It did not", value))
    return [{"type": "actions", "elements": elements}]


def _button(action: str, label: str, incident: str) -> dict[str, Any]:
    return {"type": "button", "action_id": action, "text": _plain(label), "value": incident}


def _plain(words: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": words}


def _light(job: IncidentJob) -> str:
    if job.incident.state is State.MERGED:
        return ":white_circle:"
    if job.destination.want is Want.RESOLVED:
        return ":large_green_circle:"
    return ":large_yellow_circle:" if job.destination.want is Want.ACKNOWLEDGED else ":red_circle:"


def _headline(job: IncidentJob, limit: int) -> str:
    incident, want = job.incident, job.destination.want
    state = want.upper() if want is not Want.TRIGGERED else "FIRING"
    state = "MERGED" if incident.state is State.MERGED else state  # it is told on elsewhere, and not over
    state += f":{incident.firing}" if want is not Want.RESOLVED else ""
    return f"[{state}] {escape(job.title or incident.title or incident.id, limit)}"


def _facts(incident: Incident) -> dict[str, Any]:
    since = incident.starts_at or incident.opened_at
    facts = {
        "Service": incident.service,
        "Environment": incident.environment,
        "Severity": incident.severity.value,
        "State": incident.state.value,
        "Alerts": f"{incident.firing} firing, {incident.resolved} resolved",
        "Since": f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "",
        "Acknowledged by": incident.acknowledged_by,
        "Put off until": f"{incident.snoozed_until:%Y-%m-%d %H:%M} UTC" if incident.snoozed_until else "",
        "Assigned to": incident.assigned_to,
        "Merged into": incident.merged_into if incident.state is State.MERGED else "",
        "Resolved by": incident.resolved_by if incident.state is State.RESOLVED else "",
    }
    shown = [_mrkdwn(f"*{name}*\n{escape(value, 150)}") for name, value in facts.items() if value]
    return {"type": "section", "fields": shown[:10]}


def _suspicion(suspect: Suspect, incident: Incident) -> str:
    said = f"{suspect.standing.capitalize()}: {escape(f'{suspect.service} {suspect.version}', 150)}"
    said += f" by {escape(suspect.author, 80)}" if suspect.author else ""
    sure = f" ({suspect.percent})" if suspect.percent else ""
    if incident.starts_at is None:
        return said + sure
    seconds = (incident.starts_at - suspect.at).total_seconds()
    return f"{said}, {text.span(seconds)} {'before' if seconds >= 0 else 'after'}{sure}"


def _suspect(suspect: Suspect, incident: Incident, *, reasons: bool) -> str:
    lines = [f"*{_suspicion(suspect, incident)}*"]
    if reasons:
        lines += [escape(suspect.title, 200)] if suspect.title else []
        for word, sign in (("For", 1), ("Against", -1)):
            chosen = [r for r in suspect.reasons if r.weight * sign > 0][:6]
            lines += [f"{word}:"] if chosen else []
            lines += [f"• {escape(r.text or r.why, 150)} ({r.weight:+.1f})" for r in chosen]
    return "\n".join(lines)


def _alert(alert: Alert, incident: Incident) -> str:
    own = [f"{k}={v}" for k, v in sorted(alert.labels.items()) if incident.labels.get(k) != v][:20]
    said = alert.annotations.get("summary", "")
    said = "" if said == incident.annotations.get("summary") else said
    name = ", ".join(own) or alert.labels.get("alertname", "") or alert.key
    return (
        f"• {escape(name, 150)}"
        + (f": {escape(said, 120)}" if said else "")
        + ("" if alert.firing else " (resolved)")
    )


def _links(links: Mapping[str, str]) -> str:
    room, shown = 1500, []
    for name, url in list(links.items())[:10]:
        safe = text.web_url(url).replace("&", "&amp;")
        link = f"<{safe}|{escape(name, 50) or 'link'}>"
        if safe and len(link) < room:
            room -= len(link) + 3
            shown.append(link)
    return " · ".join(shown)


def _mrkdwn(markup: str) -> dict[str, Any]:
    # verbatim: Slack makes no links or mentions of its own out of what a stranger wrote.
    return {"type": "mrkdwn", "text": fit(markup, MAX_SECTION), "verbatim": True}


def _section(markup: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(markup)}
