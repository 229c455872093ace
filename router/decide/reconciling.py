"""What is stuck: our incidents laid beside what other sides have open, and what would mend it. Pure.

Each side owns one thing: the alert's source whether it fires, PagerDuty who has it. A difference is a
message that was lost, or never sent (an alert that ends while it is silenced in Alertmanager is not told).
It counts only once it has lasted: both sides are read at different moments, and messages take their time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec

from router.model.commands import REOPENED, Command, CommandKind
from router.model.destinations import Want
from router.model.events import Doubt, GroupAlerts, Stored
from router.model.incidents import State
from router.model.keys import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from router.model.events import Alert
    from router.model.incidents import Entry, Incident
    from router.ports import Survey
    from router.rulebook.reconcile import Reconcile

#: So many alerts do not end at once, in an Alertmanager that has lost its memory they do.
MANY: Final = 10
_FIRES: Final = {State.TRIGGERED, State.ACKNOWLEDGED}


class Kind(StrEnum):
    """What differs; the policy's words."""

    GONE = "gone_at_alertmanager"
    OPEN = "open_at_pagerduty"
    CLOSED = "closed_at_pagerduty"
    BY_HAND = "ended_by_hand"


@dataclass(frozen=True, slots=True)
class Difference:
    """One incident that stands otherwise elsewhere; ``mend`` are the events that would end that."""

    kind: Kind
    incident: str
    text: str
    action: str
    mend: tuple[Stored, ...] = ()


Held = tuple["Incident", "Sequence[Alert]"]
Story = tuple["Incident", "Sequence[Entry]"]


def at_alertmanager(
    held: Iterable[Held], survey: Survey, policy: Reconcile, now: datetime
) -> list[Difference]:
    """Return incidents with firing alerts that their Alertmanager does not have any more.

    ``survey.origins``: the external URLs of the Alertmanager that was asked; others' alerts are not judged.
    """
    found: list[tuple[Incident, list[Alert], int]] = []
    for head, alerts in held:
        if not head.state.open or head.external_url.rstrip("/") not in survey.origins:
            continue
        firing = [a for a in alerts if a.firing and a.key.startswith("am:")]
        gone = [a for a in firing if a.key not in survey.open]
        if gone:
            found.append((head, gone, len(firing)))
    total = sum(len(gone) for _, gone, _ in found)
    doubtful = total >= MANY and total > len(survey.open)
    return [
        Difference(
            Kind.GONE,
            head.id,
            f"{len(gone)} of {firing} firing alerts are not in Alertmanager any more"
            + (f"; {total} at once: has it lost its memory?" if doubtful else ""),
            "report" if doubtful else policy.gone_at_alertmanager,
            (_ended(head, gone, now),),
        )
        for head, gone, firing in found
    ]


def _ended(head: Incident, gone: Sequence[Alert], now: datetime) -> GroupAlerts:
    alerts = [msgspec.structs.replace(a, firing=False, ends_at=max(now, a.starts_at)) for a in gone]
    return GroupAlerts(
        group=head.group,
        route=head.route,
        labels=head.group_labels,
        alerts=alerts,
        received_at=now,
        source="alertmanager",
        external_url=head.external_url,
    )


def at_pagerduty(
    heads: Iterable[Incident],
    others: Mapping[str, Story],
    survey: Survey,
    policy: Reconcile,
    now: datetime,
) -> list[Difference]:
    """Return what is open on one side alone; ``others``: what is open there and not among the open heads.

    What a person opened again there is theirs to end.
    """
    found: list[Difference] = []
    for head in heads:
        pages = _pages(head)
        if survey.whole and head.state in _FIRES and pages and head.id not in survey.open:
            text = f"it is {head.state} here, and closed at PagerDuty"
            mend = _mend(head, pages, policy, now)
            found.append(Difference(Kind.CLOSED, head.id, text, policy.closed_at_pagerduty, mend))
    for name, (head, timeline) in others.items():
        pages = _pages(head)
        if pages and head.state in {State.RESOLVED, State.MERGED} and name in survey.open:
            text = f"it is {head.state} here, and open at PagerDuty"
            again = any(_reopened(entry, head) for entry in timeline)
            told = tuple(Doubt(head.group, head.generation, page, revive=True) for page in pages)
            text += "; a person opened it again" if again else ""
            action = "report" if again else policy.open_at_pagerduty
            found.append(Difference(Kind.OPEN, head.id, text, action, told))
    return found


def _reopened(entry: Entry, head: Incident) -> bool:
    """True for a person's opening it again at PagerDuty after its end here."""
    after = head.resolved_at is None or entry.at >= head.resolved_at
    return after and entry.via == "pagerduty" and entry.text.endswith(REOPENED)


def _pages(head: Incident) -> list[str]:
    """Return the PagerDuty targets that have confirmed what they should show."""
    return [
        name
        for name, d in head.destinations.items()
        if "/pagerduty/" in name and d.have is not Want.NOTHING and not d.due and not d.dead
    ]


def _mend(head: Incident, pages: Sequence[str], policy: Reconcile, now: datetime) -> tuple[Stored, ...]:
    if policy.closed_at_pagerduty != "resolve":
        return tuple(Doubt(head.group, head.generation, page, revive=True) for page in pages)
    name = digest(["reconcile", head.id, now.isoformat()])
    kind, note = CommandKind.RESOLVE, "closed there; its webhook was lost"
    return (Command(head.group, head.generation, kind, "PagerDuty", now, name, note=note, via="pagerduty"),)


def by_hand(held: Iterable[Held], policy: Reconcile, now: datetime) -> list[Difference]:
    """Return incidents that a person ended long ago and whose alerts go on firing."""
    found: list[Difference] = []
    for head, alerts in held:
        firing = [a for a in alerts if a.firing]
        at = head.resolved_at if head.state is State.RESOLVED and head.resolved_by else None
        if at is None or not firing or now - at < policy.by_hand_after:
            continue
        text = f"resolved by {head.resolved_by} at {at:%Y-%m-%d %H:%M} UTC; {len(firing)} still fire"
        again = [msgspec.structs.replace(a, starts_at=max(now, a.starts_at)) for a in firing]
        event = msgspec.structs.replace(_ended(head, (), now), alerts=again)
        found.append(Difference(Kind.BY_HAND, head.id, text, policy.ended_by_hand, (event,)))
    return found
