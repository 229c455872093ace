"""Problems: all incidents that are blamed on one deploy, gathered where the deploy is.

An incident tells the ledger of the deploy that it suspects. Who is about to be told of another incident
with the same suspect, and has been told of one, is not called again: the later one becomes a part of the
first, which says so in its thread. It is told by itself where it is worse than the first, where the first
is over before it, or where it is no longer blamed on the same deploy.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from router.decide import experience, suspects
from router.decide.decision import Decision, Snapshot
from router.model import codec
from router.model.blames import Blame, Blamed
from router.model.commands import Command, CommandKind
from router.model.events import Severity
from router.model.incidents import Incident, State
from router.model.keys import digest, service_key, split_incident_id
from router.model.reasons import Why

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from router.model.deploys import Deploy, Ledger

#: Incidents kept with a deploy: the open ones, and the latest that are over.
MOST: Final = 100
_TOLD: Final = {State.TRIGGERED, State.ACKNOWLEDGED}
#: How often an incident that was gathered into another one looks whether that is still so.
LOOK_AGAIN: Final = timedelta(minutes=10)
#: By whom a note is that nobody wrote.
ROUTER: Final = "Incident Router"


# --- at the incident --------------------------------------------------------------------------------


def follow(out: Decision, seen: Snapshot, now: datetime) -> None:
    """Let ledgers know what a decision changed: whom the incident blames now, and what its end teaches."""
    head = out.incident
    if head is None or not head.service:
        return
    old = seen.incident
    if head.suspects or head.blamed:
        out.incident = head = _told(head, out, now)
    if head.state is State.RESOLVED and (
        old is None or old.generation != head.generation or old.state is not State.RESOLVED
    ):
        learned = experience.of_ended(head, now)
        if learned is not None:
            out.onward.append(learned)


def _told(head: Incident, out: Decision, now: datetime) -> Incident:
    """Return the head; the ledger of the deploy it suspects (or did) is told where that is news."""
    top = suspects.prime(head.suspects)
    blame = None
    if top is not None:
        blame = Blame(
            incident=head.id, at=head.opened_at or now, probability=round(top.probability, 1),
            title=head.title[:200], service=head.service, team=head.team, receiver=head.receiver,
            severity=head.severity, open=head.state.open, told=head.state in _TOLD,
        )  # fmt: skip
    key = f"{top.key}|{digest([codec.encode(blame).decode()])}" if top is not None else ""
    if key == head.blamed:
        return head
    was = head.blamed.rpartition("|")[0]
    if was and (top is None or was != top.key):
        service, _, deploy_id = was.partition("/")
        over = Blame(head.id, now, 0.0, open=False)
        out.onward.append(Blamed(service_key(service), service, deploy_id, over, over=True))
    if top is not None and blame is not None:
        out.onward.append(Blamed(service_key(top.service), top.service, top.deploy_id, blame))
    return msgspec.structs.replace(head, blamed=key)


def to_join(head: Incident, ledgers: Mapping[str, Ledger]) -> Blame | None:
    """Return the incident of which this one becomes a part, None where it is told by itself."""
    deploy = _suspected(head, ledgers)
    if deploy is None:
        return None
    fit = [
        b
        for b in deploy.blamed.values()
        if b.open
        and b.told
        and b.incident != head.id
        and (b.receiver, b.team) == (head.receiver, head.team)
        and Severity(b.severity).rank <= head.severity.rank
    ]
    return min(fit, key=lambda b: (b.at, b.incident), default=None)


def left(head: Incident, ledgers: Mapping[str, Ledger]) -> bool:
    """Return whether an incident that was gathered into another one is to be told by itself after all."""
    top = suspects.prime(head.suspects)
    if top is not None and top.service not in ledgers:
        return False  # not looked up for this event
    deploy = _suspected(head, ledgers)
    first = deploy.blamed.get(head.merged_into) if deploy is not None else None
    return first is None or not first.open


def _suspected(head: Incident, ledgers: Mapping[str, Ledger]) -> Deploy | None:
    top = suspects.prime(head.suspects)
    ledger = ledgers.get(top.service) if top is not None else None
    if top is None or ledger is None:
        return None
    return next((d for d in ledger.deploys if d.id == top.deploy_id), None)


def note(head: Incident, first: Blame, now: datetime) -> Command | None:
    """Return what the first incident of a problem is told of one that joins it: a note for its thread."""
    found = split_incident_id(first.incident)
    if found is None:
        return None
    where = f" at {head.service}" if head.service != first.service else ""
    return Command(
        group=found[0],
        generation=found[1],
        kind=CommandKind.NOTE,
        by=ROUTER,
        at=now,
        event_id=f"joined:{head.id}:{first.incident}",
        note=f"{head.title}{where} ({head.id}) is blamed on the same deploy and told here",
    )


# --- at the ledger ----------------------------------------------------------------------------------


def decide(event: Blamed, seen: Snapshot) -> Decision:
    """Return the ledger with what an incident says of one of its deploys."""
    out = Decision()
    ledger, blame = seen.ledger, event.blame
    deploy = next((d for d in ledger.deploys if d.id == event.deploy_id), None) if ledger else None
    if ledger is None or deploy is None:
        out.because(Why.DEPLOY_UNCHANGED, f"{event.deploy_id} is forgotten")
        return out
    old = deploy.blamed.get(blame.incident)
    blamed = {name: b for name, b in deploy.blamed.items() if name != blame.incident}
    if not event.over:
        blamed[blame.incident] = blame
    if blamed == deploy.blamed:
        out.because(Why.DEPLOY_UNCHANGED)
        return out
    if len(blamed) > MOST:
        del blamed[min(blamed, key=lambda name: (blamed[name].open, blamed[name].at, name))]
    deploys = tuple(msgspec.structs.replace(d, blamed=blamed) if d is deploy else d for d in ledger.deploys)
    ended = old is not None and old.open and (event.over or not blame.open)
    others = any(b.open for name, b in blamed.items() if name != blame.incident)
    # Who was gathered into what is over now has to be told by itself.
    again = 1 if ended and others else 0
    out.because(
        Why.BLAME_TOLD, f"{blame.incident} {'no longer blames' if event.over else 'blames'} {deploy.id}"
    )
    out.ledger = msgspec.structs.replace(ledger, deploys=deploys, seen=ledger.seen + again)
    return out
