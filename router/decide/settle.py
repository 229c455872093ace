"""What a delivery attempt came to, written back to the destination it was made for.

A newer wish made while the attempt was under way stays due, because the receipt
names the wish it was for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from router.decide import destinations
from router.decide.decision import Decision, Snapshot
from router.model.destinations import Destination, Lane, Want
from router.model.outcomes import Delivered, Refused, Retry, Unsure
from router.model.reasons import Why

if TYPE_CHECKING:
    from datetime import datetime

    from router.model.events import Begun, Doubt, Settled
    from router.model.incidents import Incident

#: The pseudo-target of a service's key: "tell every partition that this ledger moved".
PARTITIONS = "@partitions"
#: How long a destination is tried; pages outlive the longest published PagerDuty outage by far.
GIVE_UP = {Lane.PAGE: timedelta(hours=72), Lane.CHAT: timedelta(hours=24), Lane.REST: timedelta(hours=24)}


def begun(event: Begun, seen: Snapshot) -> Decision:
    """Return the mark that a first attempt is about to be made."""
    out = Decision()
    old = _destination(event.generation, event.target, seen)
    if old is None or not old.due:
        return out  # what it was begun for is not wanted any more: nothing will be sent
    # Already begun: the process that began it died before it could say what came of it.
    _put(
        event.generation,
        event.target,
        msgspec.structs.replace(old, begun=True, doubt=old.doubt or old.begun),
        seen,
        out,
    )
    out.because(Why.DELIVERY_BEGUN)
    return out


def doubted(event: Doubt, seen: Snapshot) -> Decision:
    """Return the destination told once more what it should show; its key or message makes that harmless."""
    out = Decision()
    head, old = _head(event.generation, seen), _destination(event.generation, event.target, seen)
    if event.revive and old is not None:
        old = msgspec.structs.replace(
            old, dead=False, tries=0, not_before=None, failing_since=None, error="", begun=False
        )
        if not event.generation:
            _put(event.generation, event.target, old, seen, out)
            out.because(Why.DELIVERY_REVIVED, f"{event.target}: asked for again")
            return out
    want = destinations.wanted(head.state) if head is not None else None
    if head is None or old is None or want is None:
        return out
    # A version of its own, so that a receipt for what is just under way does not end this wish too.
    head = msgspec.structs.replace(head, revision=head.revision + 1)
    new = msgspec.structs.replace(old, want=want, want_version=head.revision, doubt=True)
    head = msgspec.structs.replace(head, destinations={**head.destinations, event.target: new})
    _keep(head, seen, out)
    if event.revive:
        out.because(Why.DELIVERY_REVIVED, f"{event.target}: asked for again")
    else:
        out.because(Why.DELIVERY_DOUBTED, f"{event.target}: told by a process that had lost the partition")
    return out


def settled(event: Settled, seen: Snapshot, now: datetime) -> Decision:
    """Return the destination with its receipt."""
    out = Decision()
    if event.target == PARTITIONS:
        if seen.ledger is not None and isinstance(event.outcome, Delivered):
            out.ledger = msgspec.structs.replace(seen.ledger, noticed=max(seen.ledger.noticed, event.version))
        return out
    old = _destination(event.generation, event.target, seen)
    if old is None:
        return out
    new = _receipt(event, old, out, now)
    if new == old:
        return out  # this receipt is known
    _put(event.generation, event.target, new, seen, out)
    if new.dead:
        out.dead.append(f"{event.target} was not told: {new.error}")
    if event.generation and new.dead:
        out.tell(
            now,
            Why.DELIVERY_REFUSED,
            f"{event.target} was not told: {new.error}",
            generation=event.generation,
        )
    elif event.generation and isinstance(event.outcome, Delivered):
        out.tell(now, Why.DELIVERED, f"{event.target}: {event.want}", generation=event.generation)
    return out


def _receipt(event: Settled, old: Destination, out: Decision, now: datetime) -> Destination:
    stale = (event.want, event.version) != (old.want, old.want_version)
    match event.outcome:
        case Delivered(ref=ref):
            return msgspec.structs.replace(
                old, have=Want(event.want), have_version=event.version, ref=ref or old.ref,
                begun=False, doubt=False, tries=0, not_before=None, failing_since=None, error="",
            )  # fmt: skip
        case Refused(reason=reason, detail=detail) if stale:
            # Another wish has come meanwhile, which may well be taken: a resolve after a trigger too odd.
            new = msgspec.structs.replace(
                old, begun=False, tries=0, not_before=None, error=f"{reason}: {detail}"[:200]
            )
            return _unneeded(new)
        case Refused(reason=reason, detail=detail):
            return msgspec.structs.replace(old, dead=True, begun=False, error=f"{reason}: {detail}"[:200])
        case Retry(reason=reason, detail=detail) | Unsure(reason=reason, detail=detail):
            unsure = isinstance(event.outcome, Unsure)
            since = old.failing_since or now
            expired = now - since > GIVE_UP[old.lane]
            out.because(
                Why.DELIVERY_EXPIRED if expired else Why.DELIVERY_UNSURE if unsure else Why.DELIVERY_RETRIED,
                f"{event.target}: {reason}",
            )
            new = msgspec.structs.replace(
                old, begun=False, doubt=old.doubt or unsure, tries=old.tries + 1, failing_since=since,
                not_before=event.retry_at, dead=expired and not stale, error=f"{reason}: {detail}"[:200],
            )  # fmt: skip
            return _unneeded(new)


def _unneeded(new: Destination) -> Destination:
    """Return the destination with nothing wanted, if its first page could not be sent until it was over."""
    return destinations.at_rest(new) if destinations.unneeded(new, new.want) else new


def _head(generation: int, seen: Snapshot) -> Incident | None:
    head = seen.incident
    return head if head is not None and head.generation == generation else seen.past.get(generation)


def _destination(generation: int, target: str, seen: Snapshot) -> Destination | None:
    if generation:
        head = _head(generation, seen)
        return head.destinations.get(target) if head is not None else None
    deploy_id, _, name = target.rpartition("|")
    deploy = next((d for d in seen.ledger.deploys if d.id == deploy_id), None) if seen.ledger else None
    return deploy.destinations.get(name) if deploy else None


def _keep(head: Incident, seen: Snapshot, out: Decision) -> None:
    """Put a head where it came from: among the earlier generations, or as the group's own."""
    if head.generation in seen.past:
        out.past[head.generation] = head
    else:
        out.incident = head


def _put(generation: int, target: str, new: Destination, seen: Snapshot, out: Decision) -> None:
    if generation:
        head = _head(generation, seen)
        assert head is not None  # noqa: S101  _destination found it there
        _keep(msgspec.structs.replace(head, destinations={**head.destinations, target: new}), seen, out)
        return
    assert seen.ledger is not None  # noqa: S101  _destination found it there
    deploy_id, _, name = target.rpartition("|")
    deploys = tuple(
        msgspec.structs.replace(d, destinations={**d.destinations, name: new}) if d.id == deploy_id else d
        for d in seen.ledger.deploys
    )
    out.ledger = msgspec.structs.replace(seen.ledger, deploys=deploys)
