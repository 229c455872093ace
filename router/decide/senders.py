"""Which sender is silent, turned away or unreadable: what was noted of them, as alerts. Pure.

The alerts are our own, but go the way of all others: through the door, the routes, the
group. Each has a start that follows from what was noted, so that several replicas, or a watch
that begins anew, tell the same alert and not a second one.

What is noted of a sender are fields of one hash, ``<what>:<sender>``. Each is changed by itself, so that
replicas add to each other's notes and never write over them (see :mod:`router.decide.noticing`):

==========================================  ================================================================
heard                                       its last authentic delivery that counts
expected                                    since when the rules expect it, though it was never heard
bad, failed                                 deliveries in a row answered 401 or 403; 400, 413 or 5xx
since, refused_at, status, trouble          of that row: first and last, the last answer, a poller's reason
odd_since, odd_at                           the first and last unreadable delivery of a spell
off, off_since                              its own word that it does not send to us
asked_at                                    when it was last asked for that word
==========================================  ================================================================

Times are milliseconds since 1970. Beside them stand ``told:<alertname>:<sender>``, the alerts that are
not over, ``watch``, when the notes were last judged, and ``outage:<begin>``, the ends of those times in which
nobody judged, and so maybe nobody listened. A field that cannot be read counts as missing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router.model.events import Alert, Severity
from router.model.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from router.model.deliveries import Manners
    from router.rulebook.senders import Sender

SILENT: Final = "SenderSilent"
TURNED_AWAY: Final = "SenderTurnedAway"
UNREADABLE: Final = "DeliveriesUnreadable"
SWITCHED_OFF: Final = "SenderSwitchedOff"
#: Wrong secrets in a row before anybody is told; a sender that gives up earlier is told of earlier.
STREAK: Final = 5
#: How long after the last unreadable delivery its alert ends.
UNREADABLE_FOR: Final = timedelta(hours=1)
#: How long after its last refusal a sender that was never heard again is not spoken of any more.
REFUSED_FOR: Final = timedelta(days=30)
#: How long its own word counts that it is off, where nobody asks for it any more.
WORD_FOR: Final = timedelta(hours=24)
#: An outage that ended earlier is not remembered: no pause may be as long.
OUTAGE_FOR: Final = timedelta(days=365)
#: Of more outages than these the oldest are forgotten.
MOST_OUTAGES: Final = 500
TOLD: Final = "told:"
OUTAGE: Final = "outage"
WATCH: Final = "watch"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
#: As Redis writes whole numbers, and few enough digits for a time and for a length of time.
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,13}").fullmatch
_LARGEST_COUNT: Final = 10**12
#: By how much replicas' clocks may differ at the most.
_AHEAD: Final = timedelta(hours=1)
_SOURCE: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch


class Noted(msgspec.Struct, frozen=True):
    """What is known of one sender, over all replicas; the fields of the table above.

    ``deaf``: for how many seconds nobody listened since it was last heard, by the outages.
    """

    heard: datetime | None = None
    expected: datetime | None = None
    deaf: int = 0
    bad: int = 0
    failed: int = 0
    since: datetime | None = None
    refused_at: datetime | None = None
    status: int = 0
    trouble: str = ""
    odd_since: datetime | None = None
    odd_at: datetime | None = None
    off: str = ""
    off_since: datetime | None = None
    asked_at: datetime | None = None


def ms(at: datetime) -> str:
    """Return a time as it is noted."""
    return str((at - _EPOCH) // _MS)


def _time_of(raw: bytes) -> datetime | None:
    return _EPOCH + int(raw) * _MS if _NUMBER(raw) else None


def _count_of(raw: bytes) -> int | None:
    return number if _NUMBER(raw) and (number := int(raw)) <= _LARGEST_COUNT else None


def _text_of(raw: bytes) -> str:
    return raw.decode(errors="replace")[:500]


_READ: Final[Mapping[str, Callable[[bytes], Any]]] = {
    **dict.fromkeys(
        ("heard", "expected", "since", "refused_at", "odd_since", "odd_at", "off_since", "asked_at"), _time_of
    ),
    **dict.fromkeys(("bad", "failed", "status"), _count_of),
    **dict.fromkeys(("trouble", "off"), _text_of),
}
_READ_ALL: Final[Mapping[str, Callable[[bytes], Any]]] = {**_READ, WATCH: _time_of, OUTAGE: _time_of}
_decode_alert: Final = msgspec.json.Decoder(Alert).decode


def split(stored: Mapping[str, bytes]) -> tuple[dict[str, Noted], list[str]]:
    """Return the notes by sender, and the alerts (``<alertname>:<sender>``) that are not over."""
    fields: dict[str, dict[str, Any]] = {}
    for name, raw in stored.items():
        what, _, source = name.partition(":")
        if what in _READ and _SOURCE(source) and (value := _READ[what](raw)) is not None:
            fields.setdefault(source, {})[what] = value
    missed = outages(stored)
    notes = {source: _with_deaf(Noted(**found), missed) for source, found in fields.items()}
    return notes, [name.removeprefix(TOLD) for name in stored if name.startswith(TOLD)]


def outages(stored: Mapping[str, bytes]) -> list[tuple[datetime, datetime]]:
    """Return when nobody judged, from when to when, the earliest first."""
    found = []
    for name, raw in stored.items():
        what, _, began = name.partition(":")
        begin, end = (_time_of(began.encode()), _time_of(raw)) if what == OUTAGE else (None, None)
        if begin is not None and end is not None:
            found.append((begin, end))
    return sorted(found)


def _with_deaf(note: Noted, missed: Sequence[tuple[datetime, datetime]]) -> Noted:
    """Return the note with how much of the outages came after the last word: that is nobody's silence."""
    at = begun(note)
    if at is None or not missed:
        return note
    total = timedelta()
    for begin, end in missed:
        total += max(end - max(begin, at), timedelta())
        at = max(at, end)
    return msgspec.structs.replace(note, deaf=int(total.total_seconds()))


def junk(stored: Mapping[str, bytes], now: datetime) -> list[str]:
    """Return the fields that are ours and make no sense; none can be added to until it is gone.

    Nor does a time to come: with it a sender would never be silent.
    """
    found = []
    for name, raw in stored.items():
        what, _, rest = name.partition(":")
        read = _alert_of if name.startswith(TOLD) else _READ_ALL.get(what, bytes)
        value = read(raw) if what != OUTAGE or _NUMBER(rest.encode()) else None
        if value is None or (isinstance(value, datetime) and value - now > _AHEAD):
            found.append(name)
    return found


def told(stored: Mapping[str, bytes]) -> dict[str, Alert]:
    """Return the alerts that are not over, by ``<alertname>:<sender>``."""
    found = {name.removeprefix(TOLD): _alert_of(raw) for name, raw in stored.items() if name.startswith(TOLD)}
    return {name: alert for name, alert in found.items() if alert is not None}


def watched(stored: Mapping[str, bytes]) -> datetime | None:
    """Return when the notes were last judged."""
    return _time_of(stored.get(WATCH, b""))


def _alert_of(raw: bytes) -> Alert | None:
    try:
        alert: Alert = _decode_alert(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return alert if alert.starts_at.tzinfo is not None else None


def begun(note: Noted) -> datetime | None:
    """Return since when a sender's silence counts, None where it does not."""
    return note.heard or note.expected


def row_over(note: Noted, now: datetime) -> bool:
    """True where no row of refusals stands: it was heard since, or the last one is long ago."""
    last = note.refused_at or note.since
    return last is None or now - last > REFUSED_FOR or (note.heard is not None and note.heard > last)


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
            _turned_away(source, note, sender, manner, now),
            _unreadable(source, note, sender, now),
            _switched_off(source, note, sender, manner, now),
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
    since = begun(note)
    if sender is None or sender.silent_after is None or since is None:
        return None
    if now - since - timedelta(seconds=note.deaf) <= sender.silent_after:
        return None
    what = "deliveries with the alert it is watched by" if sender.matchers else "deliveries"
    pause = _length(sender.silent_after)
    text = f"No {what} from {source} since {_time(since)}; it is watched for pauses longer than {pause}."
    if note.heard is None:
        text = f"No {what} ever came from {source}, which the rules expect since {_time(since)}."
    if note.trouble:
        text += f" Last failure: {note.trouble}."
    return _alert(SILENT, source, sender, since, f"{source} is silent", _with(text, manner))


def _turned_away(
    source: str, note: Noted, sender: Sender | None, manner: Manners | None, now: datetime
) -> Alert | None:
    since = note.since or note.refused_at
    if since is None or row_over(note, now):
        return None
    if note.heard is None and sender is None:
        return None  # never set up: strangers try doors
    gives_up, total = (manner.gives_up_after if manner is not None else 0), note.bad + note.failed
    if note.bad < min(STREAK, gives_up or STREAK) and not 0 < gives_up <= total:
        return None
    text = (
        f"{total} deliveries in a row to /webhooks/{source} since {_time(since)} were turned away: "
        f"{note.bad} for a wrong secret or signature, {note.failed} for other reasons; "
        f"the last one was answered {note.status}."
    )
    if note.status == 403:
        # Off loopback, a source without a secret.
        text += f" It takes nothing until ROUTER_SOURCE_{source.upper()}_SECRETS is set."
    if gives_up:
        text += f" After {gives_up} in a row the sender stops sending, and what happens then is lost."
    summary = f"{source}: deliveries are turned away"
    return _alert(TURNED_AWAY, source, sender, since, summary, _with(text, manner))


def _unreadable(source: str, note: Noted, sender: Sender | None, now: datetime) -> Alert | None:
    since, last = note.odd_since, note.odd_at
    if since is None or last is None or now - last > UNREADABLE_FOR:
        return None
    text = (
        f"Authentic deliveries to /webhooks/{source} since {_time(since)} could not be read and went to the "
        f"dead letters. See them: router dlq list --source {source}. "
        f"After mending: router dlq replay --source {source} --all"
    )
    return _alert(UNREADABLE, source, sender, since, f"{source}: deliveries cannot be read", text)


def word_over(note: Noted, now: datetime) -> bool:
    """True where nobody asks any more: the token is gone, or the webhook, or the project."""
    return note.asked_at is not None and now - note.asked_at > WORD_FOR


def _switched_off(
    source: str, note: Noted, sender: Sender | None, manner: Manners | None, now: datetime
) -> Alert | None:
    if not note.off or note.off_since is None or word_over(note, now):
        return None
    text = f"{source} says that it does not send to us: {note.off}. What happens meanwhile is not told."
    summary = f"{source} has switched us off"
    return _alert(SWITCHED_OFF, source, sender, note.off_since, summary, _with(text, manner))


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
