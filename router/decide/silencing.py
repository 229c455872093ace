"""What becomes of silences: made, changed, ended, told of before they end, dropped. Pure.

The API makes and changes them by this, ``work`` tells of those that end soon. A change is Alertmanager's:
what would rewrite history (other matchers, a start that has passed) ends the old silence and makes a new
one. The ids are derived; only an import brings its own. Nothing here mutes: see :mod:`router.decide.muting`.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import msgspec

from router.decide.muting import SILENCE
from router.model.events import Alert, Severity
from router.model.keys import digest, fingerprint
from router.model.silences import Silence, SilenceState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from router.model.incidents import Incident
    from router.model.silences import SilenceMatcher
    from router.rulebook.matchers import Matcher

EXPIRING: Final = "SilenceExpiring"
#: How long an expired one can be read: Alertmanager's default (``--data.retention``, 120 h).
KEPT_FOR: Final = timedelta(days=5)
_ORDER: Final = {SilenceState.ACTIVE: 0, SilenceState.PENDING: 1, SilenceState.EXPIRED: 2}

Result: TypeAlias = Literal["created", "updated", "replaced", "unchanged"]


class Written(NamedTuple):
    """What a wish comes to; ``ended`` is the silence that the new one replaces, if it was still to end."""

    result: Result
    silence: Silence
    ended: Silence | None = None


# --- made, changed, ended -------------------------------------------------------------------------


def written(before: Silence | None, wish: Silence, now: datetime) -> Written:
    """Return what a person's wish comes to; ``before`` is the silence that it is to change."""
    if before is None:
        return Written("created", _new(wish, now))
    if not _in_place(before, wish, now):
        ended = None if before.state(now) is SilenceState.EXPIRED else expired(before, now)
        return Written("replaced", _new(wish, now), ended)
    starts = before.starts_at if before.state(now) is SilenceState.ACTIVE else wish.starts_at
    return _edited(before, msgspec.structs.replace(wish, starts_at=starts), now)


def imported(before: Silence | None, wish: Silence, now: datetime) -> Written:
    """Return what a silence of an Alertmanager comes to: its id, its start and what it says are kept.

    So the same one, imported again, changes the first instead of standing beside it.
    """
    if before is None:
        return Written("created", wish if wish.id else msgspec.structs.replace(wish, id=_id(wish, "")))
    return _edited(before, wish, now)


def expired(silence: Silence, now: datetime) -> Silence:
    """Return the silence, ended now; one that had not begun never was in force."""
    starts = min(silence.starts_at, now)
    return msgspec.structs.replace(silence, starts_at=starts, ends_at=now, updated_at=now)


def ended_by_hand(silence: Silence, now: datetime) -> bool:
    """Return whether somebody ended it: a change sets an end to come, so only that makes both times one."""
    return silence.state(now) is SilenceState.EXPIRED and silence.ends_at <= silence.updated_at


def _new(wish: Silence, now: datetime) -> Silence:
    wish = msgspec.structs.replace(wish, starts_at=max(wish.starts_at, now), updated_at=now)
    return msgspec.structs.replace(wish, id=_id(wish, now.isoformat()))


def _id(wish: Silence, made: str) -> str:
    conditions = [part for m in wish.matchers for part in (m.name, m.op, m.value)]
    times = [wish.starts_at.isoformat(), wish.ends_at.isoformat(), made]
    return digest(["silence", wish.created_by, wish.comment, *times, *conditions])


def _in_place(before: Silence, wish: Silence, now: datetime) -> bool:
    """Return whether a change leaves what has been as it was; as Alertmanager's ``canUpdate``."""
    if set(before.matchers) != set(wish.matchers):
        return False
    state = before.state(now)
    if state is SilenceState.PENDING:
        return wish.starts_at >= now
    same_start = int(before.starts_at.timestamp()) == int(wish.starts_at.timestamp())
    return state is SilenceState.ACTIVE and same_start


def _edited(before: Silence, wish: Silence, now: datetime) -> Written:
    new = msgspec.structs.replace(
        wish, id=before.id, warned_at=before.warned_at, updated_at=before.updated_at
    )
    if new == before:
        return Written("unchanged", before)
    return Written("updated", msgspec.structs.replace(new, updated_at=now))


# --- shown ----------------------------------------------------------------------------------------


def in_order(found: Iterable[Silence], now: datetime) -> list[Silence]:
    """Return them as Alertmanager does: the next to end, the next to begin, the last that ended."""

    def place(silence: Silence) -> tuple[int, float, str]:
        state = silence.state(now)
        at = silence.starts_at if state is SilenceState.PENDING else silence.ends_at
        return _ORDER[state], (-1 if state is SilenceState.EXPIRED else 1) * at.timestamp(), silence.id

    return sorted(found, key=place)


def chosen(silence: Silence, matchers: Sequence[Matcher]) -> bool:
    """Return whether a silence is meant: its conditions, read as labels, are matched, as by amtool."""
    values = {m.name: m.value for m in silence.matchers}
    return all(m.matches(values) for m in matchers)


def mutes(heads: Iterable[Incident]) -> Counter[str]:
    """Return how many open incidents each silence mutes, by its id."""
    found: Counter[str] = Counter()
    for head in heads:
        if head.state.open:
            tokens = (token.partition(":") for token in head.muted_by)
            found.update(which for kind, _, which in tokens if kind == SILENCE)
    return found


def in_words(matchers: Iterable[SilenceMatcher]) -> str:
    """Return conditions as they are written in rules and on the command line."""
    return ", ".join(f"{m.name}{m.op}{_quoted(m.value)}" for m in matchers)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# --- told and dropped -----------------------------------------------------------------------------


def ending(
    found: Iterable[Silence], muting: Mapping[str, int], now: datetime, warn_before: timedelta
) -> list[Silence]:
    """Return those to tell of: they end soon, mute something, and nobody was told.

    A short one ended soon when it was made: whoever made it knows.
    """
    return [
        s
        for s in found
        if s.warned_at is None
        and s.state(now) is SilenceState.ACTIVE
        and s.ends_at - now <= warn_before
        and s.ends_at - s.starts_at > 2 * warn_before
        and muting.get(s.id, 0) > 0
    ]


def not_ending(found: Iterable[Silence], now: datetime, warn_before: timedelta) -> list[Silence]:
    """Return those of which was told and that do not end soon any more: they have ended, or were extended."""
    return [
        s
        for s in found
        if s.warned_at is not None
        and (s.state(now) is not SilenceState.ACTIVE or s.ends_at - now > warn_before)
    ]


def forgotten(found: Iterable[Silence], now: datetime) -> list[str]:
    """Return the ids of those that ended long ago; not before the end of what was told of them is told."""
    return [s.id for s in found if s.warned_at is None and now - s.ends_at > KEPT_FOR]


def warning(silence: Silence, count: int, began: datetime) -> Alert:
    """Return the alert that a silence ends soon; ``began``: from when on that was to be told.

    It must follow from the silence: what is told twice, after a crash, is the same alert then.
    """
    what = "1 open incident" if count == 1 else f"{count} open incidents"
    ends = silence.ends_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    text = (
        f"The silence of {silence.created_by} ({silence.comment[:200]}) ends at {ends}. "
        f"It is for {in_words(silence.matchers)[:300]} and mutes {what} now; what still fires then is told. "
        f"To extend it: router silence update {silence.id} --duration 2h"
    )
    known_by = {"alertname": EXPIRING, "source": silence.id, "service": "incident-router"}
    return Alert(
        key=f"self:{fingerprint(known_by)}",  # whoever changed it meanwhile, it is the same alert
        firing=True,
        labels={**known_by, "severity": Severity.INFO.value, "created_by": silence.created_by},
        annotations={"summary": f"a silence that mutes {what} ends at {ends}", "description": text},
        starts_at=began,
    )


def over(silence: Silence, told: Alert | None, now: datetime) -> Alert:
    """Return that alert's end; ``told``: the alert as it was told, where that is known.

    The silence's end and its author may have changed since; the time of telling has not.
    """
    began = silence.warned_at or now
    alert = told or warning(silence, 0, began)
    return msgspec.structs.replace(alert, firing=False, starts_at=began, ends_at=max(now, began))
