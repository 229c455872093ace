"""Which sender is silent, turned away or unreadable: what was noted of them, as alerts. Pure.

The alerts are our own, but go the way of all others: through the door, the routes, the
group. Each has a start that follows from what was noted, so that several replicas, or a watch
that begins anew, tell the same alert and not a second one.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from router.model.events import Alert, Severity
from router.model.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.model.deliveries import Manners
    from router.rulebook.senders import Sender

SILENT: Final = "SenderSilent"
TURNED_AWAY: Final = "SenderTurnedAway"
UNREADABLE: Final = "DeliveriesUnreadable"
#: Refusals in a row before anybody is told; a sender that gives up earlier is told of earlier.
STREAK: Final = 5
#: How long after the last unreadable delivery its alert ends.
UNREADABLE_FOR: Final = timedelta(hours=1)


class Noted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one sender, over all replicas.

    ``heard``: its last authentic delivery. ``deaf``: for how long nobody listened since (seconds).
    ``refused``: deliveries answered otherwise than 2xx in a row, ``refused_since`` the first of them,
    ``status`` the last answer. ``unreadable_since``/``unreadable_at``: the first and the last
    unreadable one of a spell. ``trouble``: its last failure in words, for a poller.
    """

    heard: datetime | None = None
    deaf: float = 0.0
    refused: int = 0
    refused_since: datetime | None = None
    status: int = 0
    unreadable_since: datetime | None = None
    unreadable_at: datetime | None = None
    trouble: str = ""


#: Under which names notes are stored: one of each sender, and one of each alert that was told.
NOTE: Final = "note:"
TOLD: Final = "told:"
decode: Final = msgspec.json.Decoder(Noted).decode


def split(stored: Mapping[str, bytes]) -> tuple[dict[str, Noted], list[str]]:
    """Return the notes by sender, and the alerts (``<alertname>:<sender>``) that are not over.

    A note that this release cannot read is as if it had not been made: the sender is heard anew.
    """
    notes: dict[str, Noted] = {}
    for name, raw in stored.items():
        if name.startswith(NOTE):
            with contextlib.suppress(msgspec.DecodeError):
                notes[name.removeprefix(NOTE)] = decode(raw)
    return notes, [name.removeprefix(TOLD) for name in stored if name.startswith(TOLD)]


def alerts(
    noted: Mapping[str, Noted],
    watched: Mapping[str, Sender],
    manners: Mapping[str, Manners],
    now: datetime,
) -> dict[str, Alert]:
    """Return what is wrong with senders now, by ``<alertname>:<sender>``."""
    found: dict[str, Alert] = {}
    for source, note in noted.items():
        sender, manner = watched.get(source), manners.get(source)
        for alert in (
            _silent(source, note, sender, manner, now),
            _turned_away(source, note, sender, manner),
            _unreadable(source, note, sender, now),
        ):
            if alert is not None:
                found[f"{alert.labels['alertname']}:{source}"] = alert
    return found


def ended(alert: Alert, now: datetime) -> Alert:
    """Return the alert, resolved."""
    return msgspec.structs.replace(alert, firing=False, ends_at=max(now, alert.starts_at))


def _silent(
    source: str, note: Noted, sender: Sender | None, manner: Manners | None, now: datetime
) -> Alert | None:
    if sender is None or sender.silent_after is None or note.heard is None:
        return None
    if now - note.heard - timedelta(seconds=note.deaf) <= sender.silent_after:
        return None
    what = "deliveries with the alert it is watched by" if sender.matchers else "deliveries"
    pause = _length(sender.silent_after)
    text = f"No {what} from {source} since {_time(note.heard)}; it is watched for pauses longer than {pause}."
    if note.trouble:
        text += f" Last failure: {note.trouble}."
    return _alert(SILENT, source, sender, note.heard, f"{source} is silent", _with(text, manner))


def _turned_away(source: str, note: Noted, sender: Sender | None, manner: Manners | None) -> Alert | None:
    gives_up = manner.gives_up_after if manner is not None else 0
    unauthentic = note.status in {401, 403}
    if note.refused_since is None or not (gives_up or unauthentic):
        return None
    if note.heard is None and sender is None:
        return None  # never set up: strangers try doors
    if note.refused < min(STREAK, gives_up or STREAK):
        return None
    why = "their secret or signature is wrong" if unauthentic else f"the last one was answered {note.status}"
    text = f"All deliveries to /webhooks/{source} since {_time(note.refused_since)} were turned away: {why}."
    if gives_up:
        text += f" After {gives_up} in a row the sender stops sending, and what happens then is lost."
    summary = f"{source}: deliveries are turned away"
    return _alert(TURNED_AWAY, source, sender, note.refused_since, summary, _with(text, manner))


def _unreadable(source: str, note: Noted, sender: Sender | None, now: datetime) -> Alert | None:
    since, last = note.unreadable_since, note.unreadable_at
    if since is None or last is None or now - last > UNREADABLE_FOR:
        return None
    text = (
        f"Authentic deliveries to /webhooks/{source} since {_time(since)} could not be read and went to the "
        f"dead letters. See them: router dlq list --source {source}. "
        f"After mending: router dlq replay --source {source} --all"
    )
    return _alert(UNREADABLE, source, sender, since, f"{source}: deliveries cannot be read", text)


def _with(text: str, manner: Manners | None) -> str:
    return f"{text} To have it send again: {manner.revive}." if manner is not None and manner.revive else text


def _alert(
    name: str, source: str, sender: Sender | None, since: datetime, summary: str, description: str
) -> Alert:
    labels = {
        "alertname": name,
        "source": source,
        "service": "incident-router",
        "severity": str(sender.severity if sender is not None else Severity.WARNING),
        **(sender.labels if sender is not None else {}),
    }
    return Alert(
        key=f"self:{fingerprint(labels)}",
        firing=True,
        labels=labels,
        annotations={"summary": summary, "description": description},
        starts_at=since,
    )


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _length(span: timedelta) -> str:
    """Return ``6h``, ``4d``, ``90m``: the largest unit that divides it."""
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
