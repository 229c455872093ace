"""Alerts as Alertmanager writes them, and all who took over its shape: limits, mending, choosing.

Pure; what its sources share, which do not know each other. Two ways lead to an
:class:`Alert`: a decoder makes a :class:`StrictAlert`, so that :func:`checked` only has to name it; or
:func:`read` takes whatever JSON an alert is and mends what can be mended. One
alert's bad annotation must not keep its group from paging, nor one bad alert the others.
Format: Alertmanager, ``docs/notifications.md`` and ``template/template.go``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import msgspec

from router.kit import wire
from router.model.errors import Rejected
from router.model.events import Alert, AlertBatch, Heartbeat, Told, Trouble
from router.model.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: A storm in one group; Alertmanager itself sets no limit unless max_alerts is set.
MAX_ALERTS: Final = 5000
MAX_LABELS: Final = 64
MAX_ANNOTATIONS: Final = 256
MAX_NAME: Final = 1024
MAX_LABEL_VALUE: Final = 4096
MAX_ANNOTATION: Final = 16 * 1024
#: A longer link would have to be cut, and a cut link leads nowhere.
MAX_URL: Final = 8192
_MAX_COUNT: Final = 1_000_000_000
#: Alerts left out that are named; the rest are counted.
_NAMED: Final = 3
_MAX_REASON: Final = 290

_DIGITS: Final = re.compile(r"\s*\d{1,12}\s*", re.ASCII).fullmatch
_FINGERPRINT: Final = re.compile("[0-9a-f]{16}").fullmatch
#: Go's regexp.QuoteMeta, which Alertmanager applies to the receiver's name.
_QUOTED: Final = re.compile(r"\\(.)")

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
_LabelValue = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_VALUE)]
_Annotation = Annotated[str, msgspec.Meta(max_length=MAX_ANNOTATION)]
Labels = Annotated[dict[_Name, _LabelValue], msgspec.Meta(max_length=MAX_LABELS)]

T = TypeVar("T")


class Unusable(ValueError):  # noqa: N818  a state of the alert
    """One alert that cannot be taken; the text says which field and why, as ``.labels: ...``."""


class StrictAlert(msgspec.Struct, gc=False):
    """An alert within all limits, for a typed decoder. Times may still be far off."""

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[_Name, _LabelValue], msgspec.Meta(min_length=1, max_length=MAX_LABELS)]
    annotations: Annotated[dict[_Name, _Annotation], msgspec.Meta(max_length=MAX_ANNOTATIONS)]
    starts_at: datetime = msgspec.field(name="startsAt")
    ends_at: datetime = msgspec.field(name="endsAt")
    generator_url: Annotated[str, msgspec.Meta(max_length=MAX_URL)] = msgspec.field(
        name="generatorURL", default=""
    )
    fingerprint: str = ""


class Head(msgspec.Struct):
    """What a body says besides its alerts; texts as they were sent, :func:`tell` bounds them."""

    receiver: str = ""
    status: str = ""
    external_url: str = msgspec.field(name="externalURL", default="")
    truncated: int = msgspec.field(name="truncatedAlerts", default=0)
    group_key: str = msgspec.field(name="groupKey", default="")
    reason: str = msgspec.field(name="notification_reason", default="")
    route_labels: Labels = msgspec.field(name="routeLabels", default={})


# -- what was told


def tell(source: str, head: Head, alerts: Iterable[Alert], left: int = 0, unread: str = "") -> list[Told]:
    """Return the batch, each alert in it once, and what is wrong with the delivery.

    Args:
        source: the kind of the source.
        head: what the body says besides its alerts.
        alerts: those taken; at least one.
        left: how many were left out because there are too many.
        unread: which alerts could not be read, "" if all could.
    """
    found: dict[str, Alert] = {}
    for alert in alerts:
        twin = found.get(alert.key)
        # Alertmanager never lists an alert twice; from others the later occurrence counts
        if twin is None or (alert.starts_at, alert.firing) >= (twin.starts_at, twin.firing):
            found[alert.key] = alert
    told: list[Told] = [
        AlertBatch(
            source=source,
            alerts=list(found.values()),
            receiver=_QUOTED.sub(r"\1", wire.clean(head.receiver, 300)),
            external_url=wire.clean(head.external_url, MAX_NAME),
            truncated=min(max(head.truncated, 0) + left, _MAX_COUNT),
            group_key=wire.clean(head.group_key, MAX_NAME),
            reason=wire.clean(head.reason, 100),
            route_labels=head.route_labels,
        )
    ]
    if left:
        text = (
            f"{left} of {left + MAX_ALERTS} alerts were left out, firing ones last: group by more labels, "
            "or limit the alerts of a notification at the sender"
        )
        told.append(Trouble(source, text))
    if unread:
        told.append(Trouble(source, unread))
    return told


def firing_first(alerts: Sequence[T], firing: Callable[[T], bool]) -> tuple[list[tuple[int, T]], int]:
    """Return the alerts to take with their places, in order, and how many are left out.

    Of more than :data:`MAX_ALERTS` the firing ones are taken first: a page is worth more than an end.
    """
    if len(alerts) <= MAX_ALERTS:
        return list(enumerate(alerts)), 0
    first: list[tuple[int, T]] = []
    later: list[tuple[int, T]] = []
    for placed in enumerate(alerts):
        some = first if firing(placed[1]) else later
        if len(some) < MAX_ALERTS:
            some.append(placed)
        if len(first) == MAX_ALERTS:  # there may be a million
            break
    taken = first + later[: MAX_ALERTS - len(first)]
    taken.sort(key=lambda placed: placed[0])
    return taken, len(alerts) - MAX_ALERTS


# -- the strict way


def checked(prefix: str, wired: StrictAlert) -> Alert:
    """Return the alert, named by prefix and fingerprint, with times that can be reckoned with."""
    starts = wired.starts_at
    if starts.tzinfo is not UTC or not wire.FIRST_YEAR <= starts.year <= wire.LAST_YEAR:
        starts = _near(starts)
    ends = None
    if wired.status == "resolved":
        ends = wired.ends_at
        if ends.tzinfo is not UTC or not wire.FIRST_YEAR <= ends.year <= wire.LAST_YEAR:
            ends = _near(ends) if wire.plausible(ends) else starts
    name = wired.fingerprint
    if _FINGERPRINT(name) is None:
        name = fingerprint(wired.labels)
    return Alert(
        prefix + name,
        ends is None,
        wired.labels,
        wired.annotations,
        starts,
        ends,
        wired.generator_url,
    )


def _near(moment: datetime) -> datetime:
    """Return a time that can be reckoned with: zero and far-off ones become the first and last we keep."""
    if wire.plausible(moment):
        return wire.utc(moment)
    year = wire.FIRST_YEAR if moment.year < wire.FIRST_YEAR else wire.LAST_YEAR
    return datetime(year, 1, 1, tzinfo=UTC)


# -- the loose way


def loosely(
    source: str, head: Head, alerts: Sequence[Any], read_one: Callable[[Any], Alert]
) -> Sequence[Told]:
    """Return what can be told of alerts of any JSON; each is read by ``read_one``, which may raise Unusable.

    Raises:
        Rejected: 400 ``bad_alert``, naming some, where there are alerts and none can be read.
    """
    if not alerts:
        told: list[Told] = [Heartbeat(source=source, kind=f"{source}:empty")]
        if head.truncated > 0:
            text = (
                f"all {min(head.truncated, _MAX_COUNT)} alerts of this delivery were left out: raise its "
                "limit, or take it away (max_alerts of Alertmanager's receiver, maxAlerts of Grafana's)"
            )
            told.append(Trouble(source, text))
        return told
    taken, left = firing_first(alerts, lambda raw: is_firing(raw, head.status))
    found: list[Alert] = []
    why: list[str] = []
    for index, raw in taken:
        try:
            found.append(read_one(raw))
        except Unusable as exc:
            if len(why) < _NAMED:
                why.append(f"alerts[{index}]{exc}")
    bad = len(taken) - len(found)
    reasons = "; ".join(why)
    if not found:
        raise Rejected(400, "bad_alert", f"no alert could be read: {reasons}"[:_MAX_REASON])
    unread = f"{bad} of {len(taken)} alerts could not be read: {reasons}"[:_MAX_REASON] if bad else ""
    return tell(source, head, found, left, unread)


def head_of(doc: Mapping[str, Any]) -> Head:
    """Return what a body of any JSON says besides its alerts; what is of a wrong type says nothing."""
    labels = doc.get("routeLabels")
    return Head(
        receiver=wire.text(doc, "receiver"),
        status=wire.text(doc, "status", limit=40),
        external_url=wire.text(doc, "externalURL", limit=MAX_NAME),
        truncated=_count(doc.get("truncatedAlerts")),
        group_key=wire.text(doc, "groupKey", limit=MAX_NAME),
        reason=wire.text(doc, "notification_reason", limit=100),
        route_labels=_texts(labels, MAX_LABELS, MAX_LABEL_VALUE),
    )


def _count(value: Any) -> int:
    """Return a number that was sent as one or as digits; 0 for anything else."""
    if isinstance(value, str) and _DIGITS(value):
        return int(value)
    return value if type(value) is int else 0


def is_grafanas(doc: Mapping[str, Any]) -> bool:
    """True for Grafana's body: it has fields of its own, its version "1" others have as well."""
    if any(doc.get(name) is not None for name in ("orgId", "state", "ruleName")):  # the last: legacy alerting
        return True
    alerts = doc.get("alerts")
    first = alerts[0] if isinstance(alerts, list) and alerts else None
    return isinstance(first, dict) and not first.keys().isdisjoint(_GRAFANAS)


_GRAFANAS: Final = frozenset({"silenceURL", "dashboardURL", "panelURL", "valueString"})


def is_firing(raw: Any, status: str) -> bool:
    """True unless the alert, or for lack of a word of its own the body, is resolved."""
    return (
        wire.text(raw, "status", limit=40) or status
    ) != "resolved"  # an unknown word pages rather than not


def read(prefix: str, raw: Any, status: str) -> Alert:
    """Return an alert of any JSON within limits; ``status`` is the body's.

    Raises:
        Unusable: it has no label, too many, a name too long or a value that is no text, or no time.
    """
    if not isinstance(raw, dict):
        raise Unusable(": not an object")
    labels = _labels(raw.get("labels"))
    firing = is_firing(raw, status)
    starts, ends = _time(raw.get("startsAt")), _time(raw.get("endsAt"))
    if starts is None and not firing:
        starts = ends
    if starts is None:
        raise Unusable(".startsAt: missing, or not a time")
    if firing:
        ends = None
    elif ends is None or not wire.plausible(ends):
        ends = _near(starts)
    name = raw.get("fingerprint")
    if not isinstance(name, str) or _FINGERPRINT(name) is None:
        name = fingerprint(labels)  # over the labels as they were sent, as Alertmanager would
    url = wire.text(raw, "generatorURL", limit=MAX_URL + 1)
    return Alert(
        prefix + name,
        firing,
        {n: wire.clean(v, MAX_LABEL_VALUE) for n, v in labels.items()},
        _texts(raw.get("annotations"), MAX_ANNOTATIONS, MAX_ANNOTATION),
        _near(starts),
        None if ends is None else _near(ends),
        url if len(url) <= MAX_URL else "",
    )


def _labels(raw: Any) -> dict[str, str]:
    """Return the labels with clean names and values as they were sent; empty ones do not count."""
    found: dict[str, str] = {}
    for name, value in raw.items() if isinstance(raw, dict) else ():
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise Unusable(".labels: a value is not a string")
        found[wire.clean(name, MAX_NAME + 1)] = value
    if not found:
        raise Unusable(".labels: an alert needs at least one label that is not empty")
    if len(found) > MAX_LABELS:
        raise Unusable(f".labels: {len(found)} labels, at most {MAX_LABELS} are taken")
    if any(not 0 < len(n) <= MAX_NAME for n in found):
        raise Unusable(f".labels: a name is empty or longer than {MAX_NAME} characters")
    return found


def _texts(raw: Any, most: int, limit: int) -> dict[str, str]:
    """Return the first texts of an object, by name; what has no name or is no text is left out."""
    found: dict[str, str] = {}
    for name, value in raw.items() if isinstance(raw, dict) else ():
        if name and isinstance(value, str):
            found[wire.clean(name, MAX_NAME)] = wire.clean(value, limit)
        if len(found) == most:
            break
    return found


def _time(value: Any) -> datetime | None:
    """Return the time as it was sent, which may be the year 1, or None where it is none."""
    if not isinstance(value, str):
        return None
    try:
        return msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return wire.parse_time(value)
