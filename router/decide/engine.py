"""``decide``: one event, what is known, the rules, the time -> a decision with its reasons.

Called by ``work.partition`` (production), by rule tests and by ``why``: the same
function for all. It does no I/O, reads no clock and draws nothing at random, so
deciding twice is harmless. What it returns is written by one commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.decide import acting, alerts, commands, deploys, experience, problems, reviewing, settle
from router.decide.decision import Decision, Snapshot
from router.model.blames import Blamed, Experienced
from router.model.commands import Command
from router.model.events import (
    Begun,
    DeployNoticed,
    Doubt,
    Event,
    GroupAlerts,
    Review,
    ServiceDeploy,
    Settled,
    TimerDue,
    Unread,
)

if TYPE_CHECKING:
    from datetime import datetime

    from router.rulebook.book import Rulebook


def decide(event: Event, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what this event changes. Pure; raises nothing for any decodable event."""
    out = _decide(event, seen, book, now)
    if out.incident is not None:
        problems.follow(out, seen, now)
    return out


def _decide(event: Event, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:  # noqa: C901, PLR0911  a table
    match event:
        case GroupAlerts():
            return alerts.decide(event, seen, book, now)
        case ServiceDeploy():
            return deploys.decide(event, seen, book, now)
        case DeployNoticed():
            return commands.look_again(event, seen, book, now)
        case Command():
            return acting.decide(event, seen, book, now)
        case TimerDue():
            return commands.timer(event, seen, book, now)
        case Review():
            return reviewing.decide(seen, book, now)
        case Begun():
            return settle.begun(event, seen)
        case Doubt():
            return settle.doubted(event, seen)
        case Settled():
            return settle.settled(event, seen, now)
        case Experienced():
            return experience.decide(event, seen)
        case Blamed():
            return problems.decide(event, seen)
        case Unread():
            return Decision(dead=[event.reason])


def services_needed(event: Event, seen: Snapshot, book: Rulebook) -> list[str]:
    """Return the services whose ledgers ``decide`` will want for this event; often none.

    Only an opening incident, one that is told of a deploy, and one that has suspects looks at them; and
    one that waits for a deploy looks at that.
    """
    service, head = "", seen.incident
    waits = head is not None and (head.hold is not None or bool(head.suspects))
    if isinstance(event, GroupAlerts) and not (head is not None and head.state.open):
        service = next((s for a in event.alerts if a.firing and (s := book.service(a.labels))), "")
    elif head is not None and (
        isinstance(event, DeployNoticed) or (waits and isinstance(event, GroupAlerts | TimerDue | Review))
    ):
        service = head.service
    if not service:
        return []
    return [service, *book.callees(service)]
