"""A decision, written into a partition's memory and into the batch that will be committed.

Memory runs ahead of the store by one commit; if that commit fails, the caller drops
whatever the batch names and reads it anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.decide import placing
from router.decide.decision import Decision, Snapshot
from router.model import codec
from router.model.blames import Blamed, Experienced
from router.model.events import Begun, Doubt, ServiceDeploy, Settled
from router.ports import Batch, GroupChange, GroupRecord
from router.work.partition import Partition, timer_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.decide.outlook import Outlook
    from router.model.deploys import Ledger
    from router.model.events import Event


def ledger_key(event: Event) -> str | None:
    """Return the service key of an event that is about a ledger, None where it is about a group."""
    if isinstance(event, ServiceDeploy | Experienced | Blamed):
        return event.key
    if isinstance(event, Settled | Begun | Doubt) and event.generation == 0:
        return event.group
    return None


def snapshot(
    partition: Partition, key: str, event: Event, ledgers: Mapping[str, Ledger], outlook: Outlook
) -> Snapshot:
    """Return what decide may know of this event's group or ledger."""
    if ledger_key(event) is not None:
        ledger = partition.ledgers.get(key)
        if ledger is not None and ledger.broken:
            raise codec.Undecodable(ledger.broken)
        return Snapshot(ledger=ledger)
    record = partition.groups.get(key) or GroupRecord()
    if record.broken:
        # Written by a newer release, or damaged: left alone. The event is tried again, then put aside.
        raise codec.Undecodable(record.broken)
    return Snapshot(
        incident=record.head, members=record.members, past=record.past, ledgers=ledgers, outlook=outlook
    )


def apply(partition: Partition, key: str, decision: Decision, batch: Batch) -> dict[str, str | None]:
    """Put the decision into memory and into the batch; return what it changes of what inhibits others."""
    if decision.ledger is not None:
        partition.ledgers[key] = batch.ledgers[key] = decision.ledger
        return {}
    changed = {
        f"{inhibitor}|{key}|{alert}": None if target is None else str(int(target))
        for (inhibitor, alert), target in decision.inhibits.items()
    }
    batch.inhibits |= changed
    if decision.onset is not None:
        batch.onsets.append(decision.onset)
    _group(partition, key, decision, batch)
    return changed


def _group(partition: Partition, key: str, decision: Decision, batch: Batch) -> None:
    _timers(key, decision, batch)
    batch.unseen += [placing.door_field(key, name) for name in decision.look_again]
    if decision.forget:
        partition.groups.pop(key, None)
        partition.muted.pop(key, None)
        batch.groups[key] = GroupChange(forget=True)
        return
    if decision.incident is None and not decision.members and not decision.past:
        return
    record = partition.groups.setdefault(key, GroupRecord())
    change = batch.groups.setdefault(key, GroupChange())
    muted = record.head is not None and record.head.state.open and record.head.muted > 0
    if decision.incident is not None:
        record.head = change.head = decision.incident
        now_muted = decision.incident.state.open and decision.incident.muted > 0
        if now_muted or muted:
            change.muted = now_muted
    _members(record, change, decision)
    change.timeline += decision.timeline
    change.due = (record.head is not None and record.head.due) or any(p.due for p in record.past.values())
    if change.head is None and change.past:
        change.head = record.head  # so that the index of what is due is written


def _members(record: GroupRecord, change: GroupChange, decision: Decision) -> None:
    for name, member in decision.members.items():
        change.members[name] = member
        if member is None:
            record.members.pop(name, None)
        else:
            record.members[name] = member
    for number, past in decision.past.items():
        change.past[number] = past
        if past is None:
            record.past.pop(number, None)
        else:
            record.past[number] = past


def _timers(key: str, decision: Decision, batch: Batch) -> None:
    for timer in decision.timers:
        batch.timers[timer_name(timer.kind, key, timer.generation)] = timer.at
