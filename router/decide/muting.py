"""What keeps an alert that fires from being told: a silence, an inhibit rule, a maintenance window.

An alert's reason is a short token, ``<kind>:<which>``, kept with the member; the first that holds
counts, in the order silence, maintenance, inhibit. A route's time intervals mute the whole incident.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from router.decide.outlook import Outlook
    from router.rulebook.book import Rulebook
    from router.rulebook.tree import Route

SILENCE, MAINTENANCE, INHIBIT, INTERVAL = "silence", "maintenance", "inhibit", "interval"
_NONE: Final[Mapping[tuple[str, str], bool | None]] = {}
#: How often an incident looks again whether what inhibits it has ended, were no word of that to come.
LOOK_AGAIN: Final = timedelta(minutes=1)


def concerned(book: Rulebook, outlook: Outlook) -> bool:
    """Return whether anything may mute an alert at all; mostly nothing does."""
    muting = book.muting
    return bool(outlook.silences or muting.inhibit_rules or muting.maintenance)


def of_alert(
    labels: Mapping[str, str],
    book: Rulebook,
    outlook: Outlook,
    now: datetime,
    fresh: Mapping[tuple[str, str], bool | None] = _NONE,
) -> str:
    """Return the token of what mutes an alert that fires, "" where nothing does.

    ``fresh``: by key and alert, what this very decision has found to inhibit, before the outlook knows.
    """
    for quiet in outlook.silences:
        if quiet.mutes(labels, now):
            return f"{SILENCE}:{quiet.silence.id}"
    for window in book.muting.maintenance:
        if window.active(now) and all(m.matches(labels) for m in window.matchers):
            return f"{MAINTENANCE}:{window.name}"
    for rule in book.muting.inhibit_rules:
        if not rule.is_target(labels):
            continue
        key = rule.key(labels)
        sources = [*outlook.inhibitors.get(key, {}).values()]
        sources += [target for (k, _), target in fresh.items() if k == key and target is not None]
        if sources and (not rule.is_source(labels) or not all(sources)):
            return f"{INHIBIT}:{rule.name}|{key}"
    return ""


def key_of(token: str) -> str:
    """Return the key that inhibits, "" where something else mutes."""
    return token.rpartition("|")[2] if token.startswith(f"{INHIBIT}:") else ""


def inhibits(labels: Mapping[str, str], book: Rulebook) -> dict[str, bool]:
    """Return the keys under which an alert that fires inhibits, and whether it is a target, too."""
    return {
        rule.key(labels): rule.is_target(labels)
        for rule in book.muting.inhibit_rules
        if rule.is_source(labels)
    }


def of_route(route: Route | None, now: datetime) -> str:
    """Return the token of the time interval in which a route tells nobody, "" where it tells."""
    if route is None:
        return ""
    for interval in route.mute:
        if interval.contains(now):
            return f"{INTERVAL}:{interval.name}"
    if route.active and not any(interval.contains(now) for interval in route.active):
        return f"{INTERVAL}:not {', '.join(i.name for i in route.active)}"[:200]
    return ""


def look_again_at(
    tokens: Iterable[str], route: Route | None, book: Rulebook, outlook: Outlook, now: datetime
) -> datetime | None:
    """Return when at least one of these may end; None where there are none."""
    found: list[datetime | None] = []
    for token in tokens:
        kind, _, which = token.partition(":")
        if kind == SILENCE:
            silence = outlook.silence(which)
            found.append(silence.ends_at if silence is not None else now + LOOK_AGAIN)
        elif kind == MAINTENANCE:
            window = next((w for w in book.muting.maintenance if w.name == which), None)
            found.append(window.next_change(now) if window is not None else now + LOOK_AGAIN)
        elif kind == INTERVAL and route is not None:
            found += [i.next_change(now) for i in (*route.mute, *route.active)]
        else:
            found.append(now + LOOK_AGAIN)
    return min((at for at in found if at is not None), default=None)


def words(token: str, book: Rulebook, outlook: Outlook) -> str:
    """Return a token as a sentence for people."""
    kind, _, which = token.partition(":")
    if kind == SILENCE:
        silence = outlook.silence(which)
        if silence is None:
            return "silenced"
        until = f"{silence.ends_at:%Y-%m-%d %H:%M} UTC"
        return f"silenced by {silence.created_by} until {until}: {silence.comment}"[:300]
    if kind == MAINTENANCE:
        window = next((w for w in book.muting.maintenance if w.name == which), None)
        said = f": {window.comment}" if window is not None and window.comment else ""
        return f"maintenance window {which}{said}"[:300]
    if kind == INHIBIT:
        return f"inhibited by {which.rpartition('|')[0]}"[:300]
    return f"the route does not tell now: time interval {which}"[:300]
