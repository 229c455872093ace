"""A batch of changes as the operations of the commit script. Pure."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from router.model import codec
from router.model.blames import ONSETS_KEPT
from router.model.keys import service_key
from router.ports import MOST_DEAD, MOST_UNREAD
from router.store.link import COMMIT, Call

if TYPE_CHECKING:
    from datetime import datetime

    from router.model.blames import Onset
    from router.model.deploys import Ledger
    from router.model.incidents import Incident
    from router.ports import Batch, DeadLetter, GroupChange, Lease
    from router.store.keys import Keys

#: Lua's unpack has a stack limit (8,000); fields per command stay well under it.
_CHUNK = 500
TIMELINE = 200
#: Onsets kept of each partition, beside their time (ONSETS_KEPT).
MOST_ONSETS = 2_000
DAY_MS = 86_400_000
BODY_MS = 7 * DAY_MS
#: A TTL only cleans up what a lost wake-up left behind; it decides nothing.
LEFTOVER_MS = 30 * 86_400_000


def ms(at: datetime) -> int:
    """Return milliseconds since 1970."""
    return int(at.timestamp() * 1000)


class _Ops:
    def __init__(self, lease_key: str) -> None:
        self.keys: dict[str, int] = {lease_key: 1}
        self.args: list[Any] = []

    def add(self, command: str, key: str, *args: Any) -> None:
        index = self.keys.setdefault(key, len(self.keys) + 1)
        self.args += (len(args), command, index, *args)

    def chunks(self, command: str, key: str, args: list[Any]) -> None:
        for i in range(0, len(args), _CHUNK):
            self.add(command, key, *args[i : i + _CHUNK])


def script_call(keys: Keys, lease: Lease, batch: Batch) -> Call:
    """Return the commit script's call. Acknowledgements come last: all before them may be done twice."""
    ops = _Ops(keys.lease)
    for group, change in batch.groups.items():
        _group(ops, keys, group, change)
    for key, ledger in batch.ledgers.items():
        ops.add("SET", keys.service(key), codec.encode(ledger), "PX", LEFTOVER_MS)
        ops.add("ZADD", keys.services, _newest(ledger), key)
        ops.add("SADD" if ledger.due else "SREM", keys.due, f"s:{key}")
    for name, at in batch.timers.items():
        if at is None:
            ops.add("ZREM", keys.timers, name)
        else:
            ops.add("ZADD", keys.timers, ms(at), name)
    _surroundings(ops, keys, batch)
    if batch.onsets:
        _onsets(ops, keys, batch.onsets)
    if batch.unseen and batch.at is not None:
        day = ms(batch.at) // DAY_MS
        for memory in (keys.door(day), keys.door(day - 1)):
            ops.chunks("HDEL", memory, list(batch.unseen))
    for letter in batch.dead:
        _bury(ops, keys, letter)
    for stream, ids in ((keys.urgent, batch.acks_urgent), (keys.normal, batch.acks_normal)):
        if ids:
            ops.chunks("XDEL", stream, list(ids))
    return COMMIT, list(ops.keys), [lease.epoch, lease.seq, *ops.args]


def _surroundings(ops: _Ops, keys: Keys, batch: Batch) -> None:
    if batch.inhibits:
        sets: list[Any] = []
        for field, value in batch.inhibits.items():
            if value is not None:
                sets += (field, value)
        ops.chunks("HSET", keys.inhibits, sets)
        ops.chunks("HDEL", keys.inhibits, [f for f, value in batch.inhibits.items() if value is None])
        ops.add("HINCRBY", keys.reviewed, "inhibits", 1)
    if batch.reviewed:
        ops.add("HSET", keys.reviewed, "rules", batch.reviewed)


def _onsets(ops: _Ops, keys: Keys, found: list[Onset]) -> None:
    rows: list[Any] = []
    for one in found[-MOST_ONSETS:]:
        rows += (ms(one.opened), codec.encode(one))
    ops.chunks("ZADD", keys.onsets, rows)
    ops.add("ZREMRANGEBYSCORE", keys.onsets, "-inf", ms(found[-1].opened - ONSETS_KEPT))
    ops.add("ZREMRANGEBYRANK", keys.onsets, 0, -MOST_ONSETS - 1)


def _bury(ops: _Ops, keys: Keys, letter: DeadLetter) -> None:
    fields: tuple[Any, ...] = (
        "at",
        ms(letter.at),
        "kind",
        letter.kind,
        "source",
        letter.source,
        "reason",
        letter.reason[:300],
        "d",
        letter.payload,
    )
    if letter.body:
        name = blake2b(letter.body, digest_size=16).hexdigest()
        ops.add("SET", keys.body(name), letter.body, "PX", BODY_MS)
        fields += ("b", name)
    unread = letter.kind == "unreadable"
    stream, most = (keys.unread, MOST_UNREAD) if unread else (keys.dead, MOST_DEAD)
    ops.add("XADD", stream, "MAXLEN", "~", most, "*", *fields)


def _newest(ledger: Ledger) -> int:
    """Return when the newest of its deploys and changes was told, in milliseconds; 0 where it has none."""
    deploys = [max(d.phases.values()) for d in ledger.deploys[:1] if d.phases]
    return max((ms(at) for at in (*deploys, *(c.at for c in ledger.changes[:1]))), default=0)


def _group(ops: _Ops, keys: Keys, group: str, change: GroupChange) -> None:
    key = keys.group(group)
    if change.forget:
        ops.add("DEL", key)
        ops.add("DEL", keys.timeline(group))
        ops.add("ZREM", keys.open, group)
        ops.add("ZREM", keys.closed, group)
        ops.add("SREM", keys.due, f"g:{group}")
        ops.add("SREM", keys.muted, group)
        if change.head is None and not change.members:
            return  # else it began anew in the same batch, after what was there is gone
    parts: dict[str, Any] = {f"m{name}": member for name, member in change.members.items()}
    parts |= {f"p{number}": past for number, past in change.past.items()}
    sets: list[Any] = []
    for field, part in parts.items():
        if part is not None:
            sets += (field, codec.encode(part))
    if change.head is not None:
        sets += ("h", codec.encode(change.head))
        _indexes(ops, keys, group, change.head, due=change.due)
    if change.muted is not None:
        ops.add("SADD" if change.muted else "SREM", keys.muted, group)
    ops.chunks("HSET", key, sets)
    ops.chunks("HDEL", key, [field for field, part in parts.items() if part is None])
    if change.timeline:
        ops.add("RPUSH", keys.timeline(group), *(codec.encode(e) for e in change.timeline[-TIMELINE:]))
        ops.add("LTRIM", keys.timeline(group), -TIMELINE, -1)


def _indexes(ops: _Ops, keys: Keys, group: str, head: Incident, *, due: bool) -> None:
    ops.add("SADD" if due else "SREM", keys.due, f"g:{group}")
    if head.service:
        ops.add("SADD" if head.state.open else "SREM", keys.by_service(service_key(head.service)), group)
    if head.state.open:
        ops.add("ZADD", keys.open, ms(head.opened_at) if head.opened_at else 0, group)
        ops.add("ZREM", keys.closed, group)
    else:
        ops.add("ZREM", keys.open, group)
        if head.resolved_at is not None:
            ops.add("ZADD", keys.closed, ms(head.resolved_at), group)
