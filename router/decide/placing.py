"""From what was told to where it belongs: routes, groups, services, partitions, versions. Pure.

The door calls this before it appends: an event's partition follows from its group, and
an alert's version is what tells an unchanged repeat.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from router.model import codec, keys
from router.model.blames import Blamed, Experienced
from router.model.commands import REOPENED, Command, CommandKind
from router.model.events import (
    UNDATED,
    Act,
    ActKind,
    AlertBatch,
    DeployNoticed,
    DeployReport,
    Doubt,
    GroupAlerts,
    ServiceDeploy,
    Severity,
    Stored,
    Unread,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from router.model.events import Alert, Told
    from router.rulebook.book import Rulebook

#: How far a teller's clock may be ahead of ours before its time is not believed.
AHEAD = timedelta(minutes=5)

Versions = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """An event with the key that decides its partition. ``urgent``: it overtakes what is not."""

    key: str
    event: Stored
    versions: Versions
    urgent: bool


def place(told: Sequence[Told], book: Rulebook, received_at: datetime) -> list[Placed]:
    """Return the events to append; what needs no action (a heartbeat, an act of nobody's) gives none."""
    out: list[Placed] = []
    for thing in told:
        if isinstance(thing, AlertBatch):
            out += _alerts(thing, book, received_at)
        elif isinstance(thing, DeployReport):
            out.append(_deploy(thing, book, received_at))
        elif isinstance(thing, Act) and (asked := _asked(thing, received_at)) is not None:
            out.append(command(asked))
    return out


def _alerts(batch: AlertBatch, book: Rulebook, received_at: datetime) -> list[Placed]:
    """Place the alerts of a delivery, labels rewritten; what the rules drop is gone."""
    if book.relabel:
        kept = [
            msgspec.structs.replace(alert, labels=labels)
            for alert in batch.alerts
            if (labels := book.relabelled(alert.labels)) is not None
        ]
        batch = msgspec.structs.replace(batch, alerts=kept)
    return [onward(event, book) for event in grouped(batch, book, received_at)]


def dropped(told: Sequence[Told], book: Rulebook) -> int:
    """Return how many alerts the rules drop; each is counted, since nothing else is kept of it."""
    if not book.relabel:
        return 0
    batches = (thing for thing in told if isinstance(thing, AlertBatch))
    return sum(book.relabelled(alert.labels) is None for batch in batches for alert in batch.alerts)


def onward(event: GroupAlerts | Experienced | Blamed | Command, book: Rulebook) -> Placed:
    """Return alerts of one group, placed, ``urgent`` where one of them is critical; or words to a ledger."""
    if isinstance(event, Command):
        return command(event)
    if isinstance(event, Experienced):
        return Placed(event.key, event, _once(f"learned:{event.incident}"), urgent=False)
    if isinstance(event, Blamed):
        field = door_field("blamed:", f"{event.blame.incident} {event.service}/{event.deploy_id}")
        said = blake2b(codec.encode((event.blame, event.over)), digest_size=8).digest()
        return Placed(event.key, event, ((field, said),), urgent=True)
    route = book.route_by_id(event.route)
    urgent = any(book.severity(a.labels, route) is Severity.CRITICAL for a in event.alerts)
    mark = book.relabelling
    versions = tuple((door_field(event.group, a.key), alert_version(a, mark)) for a in event.alerts)
    return Placed(event.group, event, versions, urgent)


def grouped(batch: AlertBatch, book: Rulebook, received_at: datetime) -> list[GroupAlerts]:
    """Return the alerts by the groups that the rules put them in."""
    groups: dict[str, GroupAlerts] = {}
    named: dict[tuple[str, ...], str] = {}  # a delivery's alerts mostly share their group: name it once
    for alert in batch.alerts:
        for route in book.route(alert.labels):
            labels = book.group_labels(route, alert.labels)
            parts = (route.id, *labels, *labels.values())
            group = named.get(parts) or named.setdefault(parts, keys.group_key(route.id, labels))
            known = groups.get(group)
            if known is None:
                known = groups[group] = GroupAlerts(
                    group=group,
                    route=route.id,
                    labels=labels,
                    alerts=[],
                    received_at=received_at,
                    source=batch.source,
                    truncated=batch.truncated,
                    external_url=batch.external_url,
                )
            known.alerts.append(alert)
    return list(groups.values())


def alert_version(alert: Alert, relabelling: bytes = b"") -> bytes:
    """Return 8 bytes over startsAt, status, endsAt when resolved, the text people see, and the rewriting.

    generatorURL is left out: the two Prometheus of a pair write different ones. ``relabelling``: which
    rules rewrote the labels; what other rules rewrote is another version.
    """
    what = (alert.starts_at, alert.firing, alert.ends_at, alert.annotations)
    if relabelling:
        return blake2b(codec.encode(what), digest_size=8, key=relabelling).digest()
    return blake2b(codec.encode(what), digest_size=8).digest()


def door_field(group: str, key: str) -> bytes:
    """Return 8 bytes by which the door remembers an alert of a group."""
    return blake2b(f"{group}{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _once(text: str) -> Versions:
    return ((door_field("", text), b"1"),)


def _deploy(report: DeployReport, book: Rulebook, received_at: datetime) -> Placed:
    if report.at == UNDATED or report.at > received_at + AHEAD:
        # A clock that runs ahead would order this after all that is told for as long.
        report = msgspec.structs.replace(report, at=received_at)
    service, environment = book.locate(report)
    key = keys.service_key(service)
    event = ServiceDeploy(
        key=key, service=service, environment=environment, report=report, received_at=received_at
    )
    return Placed(key, event, _once(report.event_id), urgent=True)


_COMMANDS = {
    ActKind.ACKNOWLEDGED: CommandKind.ACKNOWLEDGE,
    ActKind.UNACKNOWLEDGED: CommandKind.UNACKNOWLEDGE,
    ActKind.RESOLVED: CommandKind.RESOLVE,
    ActKind.ESCALATED: CommandKind.ASSIGN,
    ActKind.REASSIGNED: CommandKind.ASSIGN,
    ActKind.ANNOTATED: CommandKind.NOTE,
    ActKind.REOPENED: CommandKind.NOTE,
    ActKind.SNOOZED: CommandKind.SNOOZE,
    ActKind.CONFIRMED: CommandKind.CONFIRM,
    ActKind.REFUTED: CommandKind.REFUTE,
}
#: What PagerDuty does by itself, when nobody acted in time.
_BY_ITSELF = {ActKind.UNACKNOWLEDGED: "PagerDuty", ActKind.ESCALATED: "PagerDuty"}
_NEEDS_A_NAME = {CommandKind.ASSIGN}


def _asked(act: Act, received_at: datetime) -> Command | None:
    """Return what a person did elsewhere as a command here; None where it is nothing that we do.

    What no person did (automation, the echo of what we told) is not followed, but for what PagerDuty does
    when nobody acts: it gives back what was acknowledged, and calls the next person.
    """
    kind, found = _COMMANDS.get(act.kind), keys.split_incident_id(act.incident)
    by = act.by or _BY_ITSELF.get(act.kind, "")
    if kind is None or found is None or not by or (kind in _NEEDS_A_NAME and not act.to):
        return None
    at = received_at if act.at == UNDATED else act.at
    return Command(
        group=found[0],
        generation=found[1],
        kind=kind,
        by=by,
        at=at,
        event_id=act.event_id,
        note=REOPENED if act.kind is ActKind.REOPENED else act.text,
        by_id=act.by_id,
        via=act.source,
        until=act.until + (at - act.at) if act.until is not None else None,  # counted from the same moment
        to=act.to,
    )


def unread(event: Unread) -> Placed:
    """Return a delivery that could not be read, placed; the same one sent again counts once."""
    name = keys.digest(
        ["unread", event.source, event.delivery, blake2b(event.body, digest_size=16).hexdigest()]
    )
    return Placed(name, event, _once(f"unread:{name}"), urgent=False)


def unread_field(event: Unread) -> bytes:
    """Return the field by which the door remembers it."""
    return unread(event).versions[0][0]


def again(event: Stored) -> Placed | None:
    """Return a stored event to be decided once more; None for a notice, which goes everywhere by itself."""
    if isinstance(event, DeployNoticed | Unread):
        return None
    key = event.key if isinstance(event, ServiceDeploy | Experienced | Blamed) else event.group
    return Placed(key, event, (), urgent=True)


def command(event: Command) -> Placed:
    """Return a person's command, placed; its event id counts once."""
    return Placed(event.group, event, _once(event.event_id), urgent=True)


def doubt(event: Doubt) -> Placed:
    """Return a doubt, placed; each one counts, so it has no version."""
    return Placed(event.group, event, (), urgent=True)


def notice(event: DeployNoticed) -> tuple[Versions, bytes]:
    """Return versions and payload of a notice; it goes to every partition, so it has no key."""
    return _once(event.event_id), codec.encode(event)
