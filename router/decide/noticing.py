"""What one process notices of a sender, and the changes of the notes that follow from it. Pure.

A process keeps what it noticed since its last turn as one :class:`Seen` a sender, in the order it
happened: a delivery that was taken wipes the refusals before it. What is noted for all (see
:mod:`router.decide.senders`) is then changed field by field, by commands that add up over
replicas and are harmless when they are made twice.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from router.decide.senders import (
    MOST_OUTAGES,
    OUTAGE,
    OUTAGE_FOR,
    TOLD,
    UNREADABLE_FOR,
    WATCH,
    Noted,
    ms,
    row_over,
    word_over,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.model.events import Alert
    from router.ports import SwitchedOff
    from router.rulebook.senders import Sender

#: A longer pause between two turns of the watch means that nobody listened meanwhile.
DEAF_AFTER: Final = timedelta(seconds=60)
#: So often at the most it is noted that a sender was asked.
ASKED_EVERY: Final = timedelta(seconds=60)
#: HSET, HSETNX, HINCRBY or HDEL, then a field and its value; of HDEL, fields.
Edit = tuple[str, ...]
_ROW: Final = ("bad", "failed", "since", "refused_at", "status", "trouble")
_encode: Final = msgspec.json.Encoder().encode


class Row(msgspec.Struct, frozen=True):
    """Refusals with nothing taken between them."""

    bad: int = 0
    failed: int = 0
    since: datetime | None = None
    last: datetime | None = None
    status: int = 0
    trouble: str = ""


class Seen(msgspec.Struct, frozen=True):
    """What one process noticed of one sender since its last turn.

    ``taken``: its last delivery that was taken, ``heard``: the last of those that count. ``row``: the
    refusals after ``taken``. ``off``: what it said itself when it was asked last, at ``asked_at``.
    ``expect``: it is to be watched from now on.
    """

    taken: datetime | None = None
    heard: datetime | None = None
    row: Row = Row()
    odd_since: datetime | None = None
    odd_at: datetime | None = None
    off: str | None = None
    off_since: datetime | None = None
    asked_at: datetime | None = None
    expect: bool = False


# --- noticing ---------------------------------------------------------------------------------------


def taken(seen: Seen, now: datetime, *, counts: bool) -> Seen:
    """A delivery was taken."""
    return msgspec.structs.replace(seen, taken=now, heard=now if counts else seen.heard, row=Row())


def refused(seen: Seen, now: datetime, status: int, trouble: str = "") -> Seen:
    """A delivery was answered otherwise than 2xx, or a poll failed (status 0).

    Only answers that say something of the sender or of us count: who asks by another method, hangs up
    or compresses what it sends is some stranger.
    """
    bad = status in {401, 403}
    if not bad and status not in {0, 400, 413} and status < 500:
        return seen
    old = seen.row
    row = Row(
        bad=old.bad + bad,
        failed=old.failed + (not bad),
        since=old.since or now,
        last=now,
        status=status,
        trouble=_plain(trouble, 200),
    )
    return msgspec.structs.replace(seen, row=row)


def unreadable(seen: Seen, now: datetime) -> Seen:
    """An authentic delivery could not be read."""
    new = seen.odd_at is None or now - seen.odd_at > UNREADABLE_FOR
    return msgspec.structs.replace(seen, odd_since=now if new else seen.odd_since, odd_at=now)


def asked(seen: Seen, now: datetime, off: Sequence[SwitchedOff]) -> Seen:
    """It said which of its webhooks do not send to us; none: all is well."""
    since = min((one.since for one in off if one.since), default=seen.off_since or now)
    what = _plain("; ".join(one.what for one in off), 500)
    return msgspec.structs.replace(seen, off=what, off_since=since if off else None, asked_at=now)


def expected(seen: Seen) -> Seen:
    """It is to be watched from now on, though it was never heard."""
    return msgspec.structs.replace(seen, expect=True)


def _plain(text: str, limit: int) -> str:
    """Return what can be stored: half a character, which JSON may hold, cannot be encoded."""
    return text[:limit].encode(errors="replace").decode()


def joined(old: Seen, new: Seen) -> Seen:
    """Return what was noticed in two stretches of time, the first of which could not be written."""
    row = new.row if new.taken is not None or old.row.last is None else _both(old.row, new.row)
    odd_since, odd_at = new.odd_since or old.odd_since, new.odd_at or old.odd_at
    if old.odd_at and new.odd_since and new.odd_since - old.odd_at <= UNREADABLE_FOR:
        odd_since = old.odd_since
    off = new if new.off is not None else old
    return Seen(
        taken=new.taken or old.taken,
        heard=new.heard or old.heard,
        row=row,
        odd_since=odd_since,
        odd_at=odd_at,
        off=off.off,
        off_since=off.off_since,
        asked_at=off.asked_at,
        expect=old.expect or new.expect,
    )


def _both(old: Row, new: Row) -> Row:
    if new.last is None:
        return old
    return msgspec.structs.replace(
        new, bad=old.bad + new.bad, failed=old.failed + new.failed, since=old.since or new.since
    )


# --- the changes that follow -------------------------------------------------------------------------


def edits(notes: Mapping[str, Noted], fresh: Mapping[str, Seen], now: datetime) -> list[Edit]:
    """Return the changes by which what a process noticed is noted for all."""
    out: list[Edit] = []
    for source, seen in fresh.items():
        note = notes.get(source, Noted())
        out += _heard(source, note, seen, now) + _refused(source, note, seen, now) + _said(source, note, seen)
    return out


def _heard(source: str, note: Noted, seen: Seen, now: datetime) -> list[Edit]:
    if seen.heard is None:
        return [("HSETNX", f"heard:{source}", ms(now))] if seen.expect and note.heard is None else []
    out: list[Edit] = []
    if note.heard is None or seen.heard > note.heard:
        out.append(("HSET", f"heard:{source}", ms(seen.heard)))
    return [*out, ("HDEL", f"expected:{source}")] if note.expected is not None else out


def _refused(source: str, note: Noted, seen: Seen, now: datetime) -> list[Edit]:
    out: list[Edit] = []
    row, last = seen.row, note.refused_at
    stands = any(getattr(note, what) for what in _ROW)
    ended = seen.taken is not None and (note.since is None or note.since <= seen.taken)
    if stands and (ended or row_over(note, row.since or now)):
        out.append(("HDEL", *(f"{what}:{source}" for what in _ROW)))
        last = None
    if row.since is None or row.last is None or (note.heard is not None and note.heard > row.last):
        return out  # another replica has heard it since
    # Times first: counts without them look like what a crash left, and would be wiped.
    out.append(("HSETNX", f"since:{source}", ms(row.since)))
    if last is None or row.last >= last:
        out.append(("HSET", f"refused_at:{source}", ms(row.last)))
        out.append(("HSET", f"status:{source}", str(row.status)))
        out.append(("HSET", f"trouble:{source}", row.trouble))
    counts = (("bad", row.bad), ("failed", row.failed))
    return out + [("HINCRBY", f"{what}:{source}", str(count)) for what, count in counts if count]


def _said(source: str, note: Noted, seen: Seen) -> list[Edit]:
    out: list[Edit] = []
    if seen.odd_since is not None and seen.odd_at is not None:
        anew = note.odd_since is None or note.odd_at is None or seen.odd_since - note.odd_at > UNREADABLE_FOR
        if anew:
            out.append(("HSET", f"odd_since:{source}", ms(seen.odd_since)))
        if anew or note.odd_at is None or seen.odd_at > note.odd_at:
            out.append(("HSET", f"odd_at:{source}", ms(seen.odd_at)))
    if seen.off:
        if seen.off != note.off:
            out.append(("HSET", f"off:{source}", seen.off))
        if note.off_since is None and seen.off_since is not None:
            out.append(("HSETNX", f"off_since:{source}", ms(seen.off_since)))
    elif seen.off is not None and note.off:
        out.append(("HDEL", f"off:{source}", f"off_since:{source}"))
    if seen.asked_at is not None and (note.asked_at is None or seen.asked_at - note.asked_at >= ASKED_EVERY):
        out.append(("HSET", f"asked_at:{source}", ms(seen.asked_at)))
    return out


# --- what only the one who judges changes --------------------------------------------------------------


def expecting(notes: Mapping[str, Noted], senders: Mapping[str, Sender], now: datetime) -> list[Edit]:
    """Return the changes by which those whom the rules expect are watched, and no others."""
    wanted = {name for name, sender in senders.items() if sender.expected}
    known = {name for name, note in notes.items() if note.expected is not None}
    new = [name for name in wanted - known if notes.get(name, Noted()).heard is None]
    return [
        *(("HSETNX", f"expected:{name}", ms(now)) for name in sorted(new)),
        *(("HDEL", f"expected:{name}") for name in sorted(known - wanted)),
    ]


def words(notes: Mapping[str, Noted], fresh: Mapping[str, Seen], now: datetime) -> list[Edit]:
    """Return the changes by which a sender's word that it is off ends where nobody asks any more.

    One without a time counts from now on.
    """
    out: list[Edit] = []
    for source, note in notes.items():
        if not note.off or fresh.get(source, Seen()).off is not None:
            continue
        if note.asked_at is None:
            out.append(("HSETNX", f"asked_at:{source}", ms(now)))
        elif word_over(note, now):
            out.append(("HDEL", *(f"{what}:{source}" for what in ("off", "off_since", "asked_at"))))
    return out


def listened(
    outages: Sequence[tuple[datetime, datetime]], last: datetime | None, now: datetime
) -> list[Edit]:
    """Return the changes that say that notes were judged, and since when they were not, if that is long.

    Each outage is a field by its begin: whoever notes it again, or for others, changes nothing else.
    """
    out: list[Edit] = []
    if last is not None and now - last > DEAF_AFTER:  # first: the next turn does not know of it
        out.append(("HSET", f"{OUTAGE}:{ms(last)}", ms(now)))
    out.append(("HSET", WATCH, ms(now)))
    kept = {begin for begin, end in outages[-MOST_OUTAGES:] if now - end <= OUTAGE_FOR}
    gone = [f"{OUTAGE}:{ms(begin)}" for begin, _ in outages if begin not in kept]
    return [*out, ("HDEL", *gone)] if gone else out


def telling(new: Mapping[str, Alert], over: Mapping[str, Alert]) -> list[Edit]:
    """Return the changes that note alerts as told, and those that are over as no more."""
    out: list[Edit] = [("HSET", f"{TOLD}{name}", _encode(alert).decode()) for name, alert in new.items()]
    return [*out, ("HDEL", *(f"{TOLD}{name}" for name in over))] if over else out
