"""What the router says in Slack to those who ask: markup within its limits, whatever it tells of. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from router.decide import silencing
from router.kit import text
from router.kit.mrkdwn import escape, fit, units
from router.model.incidents import State
from router.model.silences import SilenceMatcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from router.model.deploys import Deploy
    from router.model.incidents import Entry, Incident
    from router.model.silences import Silence

#: Of one answer; a section may have 3,000.
MOST: Final = 2900
MOST_LISTED: Final = 15
MOST_LINES: Final = 8
#: How long a silence from the window may last.
LENGTHS: Final = (("30m", "30 minutes"), ("1h", "1 hour"), ("2h", "2 hours"), ("4h", "4 hours"),
                  ("8h", "8 hours"), ("1d", "1 day"), ("3d", "3 days"), ("7d", "7 days"))  # fmt: skip


def listed(heads: Sequence[Incident], more: int, service: str) -> str:
    """Return what is open."""
    of = f" of {escape(service, 80)}" if service else ""
    if not heads:
        return f"Nothing{of} is open."
    lines = [f"{len(heads) + more} open{of}:", *map(_row, heads)]
    return _bounded(lines, f"… and {more} more" if more else "")


def _row(head: Incident) -> str:
    where = " / ".join(escape(part, 60) for part in (head.service, head.environment) if part)
    whose = head.assigned_to or head.acknowledged_by
    said = f"• `{head.id}` *{head.state}* {head.severity}: {escape(head.title or head.id, 120)}"
    return said + (f" ({where})" if where else "") + (f", {escape(whose, 60)}" if whose else "")


def shown(head: Incident, timeline: Sequence[Entry]) -> str:
    """Return what is known of one."""
    lines = [_row(head)]
    if head.opened_at is not None:
        lines.append(f"open since {_time(head.opened_at)}, {head.firing} firing, {head.resolved} resolved")
    if head.snoozed_until is not None:
        lines.append(f"put off until {_time(head.snoozed_until)}")
    if head.merged_into:
        lines.append(f"a part of `{head.merged_into}`")
    for suspect in head.suspects[:2]:
        by = f" by {escape(suspect.author, 60)}" if suspect.author else ""
        lines.append(f"{suspect.standing}: {escape(f'{suspect.service} {suspect.version}', 120)}{by}")
    lines += [f"{_time(e.at)}  {escape(e.text or e.why, 200)}" for e in timeline[-MOST_LINES:]]
    return _bounded(lines, "")


def why(found: Mapping[str, Any]) -> str:
    """Return why an incident stands as it stands, of what :mod:`router.decide.explaining` found."""
    lines = [f"`{found['incident']}` is *{found['state']}* (rules {escape(str(found['decided_under']), 40)})"]
    lines += [f"• {escape(r['text'] or r['why'], 200)}" for r in found["reasons"][:5]]
    lines += [f"muted: {escape(words, 200)}" for words in found["muted_by"][:3]]
    for suspect in found["suspects"][:2]:
        word = suspect["standing"]
        name = f"{suspect['service']} {suspect['version']}"
        lines.append(f"*{word}: {escape(name, 120)}*")
        lines += [
            f"• {escape(r['text'] or r['why'], 150)} ({r['weight']:+.1f})"
            for r in suspect["reasons"][:8]
            if r["weight"]
        ]
    for alert in found["alerts"][:1]:
        for taken in alert["taken"][:3]:
            lines.append(f"told: {escape(str(taken['receiver']), 80)}, by {escape(str(taken['route']), 120)}")
    return _bounded(lines, "")


def deploys(found: Sequence[Deploy], service: str) -> str:
    """Return the last deploys."""
    of = f" of {escape(service, 80)}" if service else ""
    if not found:
        return f"No deploy{of} is known."
    lines = []
    for one in found[:MOST_LISTED]:
        phase, at = max(one.phases.items(), key=lambda each: each[1], default=("", None))
        said = f"• {escape(f'{one.service} {one.name}', 120)} in {escape(one.environment, 60)}: "
        said += escape(str(phase).replace("_", " "), 40) + (f" {_time(at)}" if at is not None else "")
        lines.append(said + (f", {escape(one.author, 60)}" if one.author else ""))
    return _bounded(lines, "")


def came(entry: Entry, head: Incident) -> str:
    """Return what an act came to."""
    return fit(f"{escape(entry.text or entry.why, 300)}: {escape(head.title or head.id, 150)}", MOST)


def nothing_came(head: Incident | None, by: str) -> str:
    """Return why an act changed nothing."""
    if head is None:
        return "There is no such incident (any more)."
    name = escape(head.title or head.id, 150)
    if head.state is State.RESOLVED:
        who = f" by {escape(head.resolved_by, 80)}" if head.resolved_by else ""
        at = f" at {_time(head.resolved_at)}" if head.resolved_at is not None else ""
        return f"Nothing was changed: it is over, resolved{who}{at}. {name}"
    if head.state is State.ACKNOWLEDGED:
        who = "you" if head.acknowledged_by == by else escape(head.acknowledged_by, 80)
        at = f" since {_time(head.acknowledged_at)}" if head.acknowledged_at is not None else ""
        return f"Nothing was changed: it is acknowledged by {who}{at}. {name}"
    return f"Nothing has been changed so far: it is {head.state}. {name}"


def silenced(silence: Silence) -> str:
    """Return that it is silenced, and how to end that."""
    said = escape(silencing.in_words(silence.matchers), 1500)
    return fit(
        f"Silenced until {_time(silence.ends_at)}: {said}\nTo end it: `router silence expire {silence.id}`",
        MOST,
    )


def matchers(head: Incident) -> str:
    """Return what matches an incident's alerts: its group's labels, or what its alerts have in common."""
    labels = head.group_labels or head.labels
    return silencing.in_words(SilenceMatcher(k, v) for k, v in sorted(labels.items()) if v)


def window(head: Incident, private: str) -> dict[str, Any]:
    """Return the window in which a silence is asked for; Slack's limits: title 24, input 3,000."""
    lengths = [{"text": _plain(words), "value": value} for value, words in LENGTHS]
    return {
        "type": "modal",
        "callback_id": "silence",
        "private_metadata": private,
        "title": _plain("Silence alerts"),
        "submit": _plain("Silence"),
        "close": _plain("Cancel"),
        "blocks": [
            {"type": "section", "text": _plain(text.line(f"For {head.title or head.id}", 300))},
            _input("length", "How long", {
                "type": "static_select", "options": lengths, "initial_option": lengths[2]}),
            _input("comment", "Why", {"type": "plain_text_input", "max_length": 500}),
            _input("matchers", "What", {
                "type": "plain_text_input", "initial_value": fit_plain(matchers(head)), "max_length": 3000}),
        ],
    }  # fmt: skip


def fit_plain(words: str) -> str:
    """Return a field's initial text; what is too long is left to the person, since a part means another."""
    return words if units(words) <= 2500 else ""


def _input(name: str, label: str, element: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": name,
        "label": _plain(label),
        "element": element | {"action_id": name},
    }


def _plain(words: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": words, "emoji": False}


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _bounded(lines: Iterable[str], last: str) -> str:
    """Return as many lines as an answer may have."""
    shown_, room = [], MOST - len(last) - 3
    for line in lines:
        if units(line) + 1 > room:
            last = last or "…"
            break
        room -= units(line) + 1
        shown_.append(line)
    return "\n".join([*shown_, last] if last else shown_)
