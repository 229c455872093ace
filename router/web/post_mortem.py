"""One incident as Markdown: what a post-mortem begins with.

What strangers wrote (titles, labels, notes) is escaped, so that it shows what it is and does nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from router.kit.text import line, span, web_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from router.model.events import Alert
    from router.model.incidents import Entry, Incident, Suspect

#: Everything that CommonMark or its common extensions may take for markup.
_MARKUP: Final = re.compile(r"[\\`*_{}\[\]<>()#+!|~&@:-]")
_MOST_ALERTS: Final = 100
_MOST_TEXT: Final = 500


def markdown(head: Incident, alerts: Sequence[Alert], timeline: Sequence[Entry]) -> str:
    """Return the incident's story: what it was, when, what was suspected, who did what."""
    parts = [
        f"# {_safe(head.title or head.id)}",
        "\n".join(_facts(head)),
        *_suspects(head),
        "## Timeline\n\n" + ("\n".join(_entry(e) for e in timeline) or "Nothing is kept of it."),
        *_alerts(alerts),
        "## What we learn\n\n- What went well?\n- What did not?\n- What do we change, and who does it?",
    ]
    return "\n\n".join(parts) + "\n"


def _safe(text: str, limit: int = _MOST_TEXT) -> str:
    return _MARKUP.sub(r"\\\g<0>", line(text, limit))


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at is not None else ""


def _facts(head: Incident) -> Iterator[str]:
    """Yield the table of what is known."""
    lasted = (
        span((head.resolved_at - head.starts_at).total_seconds())
        if head.resolved_at is not None and head.starts_at is not None
        else ""
    )
    facts = {
        "Incident": f"`{head.id}`",
        "State": str(head.state),
        "Severity": str(head.severity),
        "Service": _safe(head.service),
        "Environment": _safe(head.environment),
        "Team": _safe(head.team),
        "Began": _time(head.starts_at),
        "Opened here": _time(head.opened_at),
        "Acknowledged": _who(head.acknowledged_at, head.acknowledged_by),
        "Resolved": _who(head.resolved_at, head.resolved_by),
        "Lasted": lasted,
        "Assigned to": _safe(head.assigned_to),
        "Merged into": f"`{head.merged_into}`" if head.merged_into else "",
        "Alerts": f"{head.firing} firing, {head.resolved} resolved",
        "Labels": ", ".join(f"{_safe(k)}={_safe(v)}" for k, v in sorted(head.labels.items())),
    }
    yield "| | |"
    yield "|---|---|"
    for name, value in facts.items():
        if value:
            yield f"| {name} | {value} |"


def _who(at: datetime | None, by: str) -> str:
    return f"{_time(at)} by {_safe(by)}" if at is not None and by else _time(at)


def _suspects(head: Incident) -> list[str]:
    """Return the section about deploys, if any was looked at."""
    if not head.suspects:
        return []
    return ["## Suspected deploys\n\n" + "\n\n".join(_suspect(s) for s in head.suspects)]


def _suspect(suspect: Suspect) -> str:
    name = _safe(f"{suspect.service} {suspect.version}")
    url = web_url(suspect.url)
    name = f"[{name}](<{url}>)" if url and ">" not in url else name
    sure = f" ({suspect.percent})" if suspect.percent else ""
    lines = [f"**{name}**, {suspect.standing}{sure}, {_time(suspect.at)}"]
    lines += [f"by {_safe(suspect.author)}: {_safe(suspect.title)}"] if suspect.author else []
    lines += [
        f"- {'for' if r.weight > 0 else 'against'} ({r.weight:+.1f}): {_safe(r.text or r.why)}"
        for r in suspect.reasons
        if r.weight
    ]
    return "\n".join(lines)


def _entry(entry: Entry) -> str:
    via = f", by {_safe(entry.via)}" if entry.via else ""
    return f"- {_time(entry.at)}: {_safe(entry.text or entry.why, 1200)} ({entry.why}{via})"


def _alerts(alerts: Sequence[Alert]) -> list[str]:
    if not alerts:
        return []
    rows = ["| Began | Ended | Labels |", "|---|---|---|"]
    for alert in alerts[:_MOST_ALERTS]:
        labels = ", ".join(f"{_safe(k, 100)}={_safe(v, 200)}" for k, v in sorted(alert.labels.items()))
        rows.append(f"| {_time(alert.starts_at)} | {_time(alert.ends_at) or 'fires'} | {labels} |")
    more = len(alerts) - _MOST_ALERTS
    rows += [f"\nand {more} more"] if more > 0 else []
    return ["## Alerts\n\n" + "\n".join(rows)]
