"""The durable core over Redis: the Store protocol, one method a step.

Each partition's keys share a hash tag. There are no consumer groups: a partition is
read by the holder of its lease alone, an entry is deleted by the commit that dealt
with it, and whoever takes the partition over starts at the oldest entry left.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from router.model import codec
from router.model.deploys import Ledger
from router.model.errors import ConfigError, Fenced, Problem, StoreError, StoreUnavailable
from router.model.keys import service_key
from router.ports import Appended, GroupRecord, InboxEntry, InboxPage, Lease, LeaseSeen, Taking
from router.store import commits
from router.store.keys import CONFIG, INSTANCES, REF, SCHEMA, SENDERS, Keys
from router.store.link import ACCEPT, LEASE, Link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.model.events import Stored
    from router.ports import Batch, Item

#: Today's memory must outlive tomorrow, when it is still read.
DOOR_TTL_MS: Final = 2 * commits.DAY_MS + 3_600_000
#: Entries (not alerts) per partition; beyond it the sender is asked to keep what it has.
LONGEST_INBOX: Final = 200_000
#: An incident that is told of after so long is named anew by whatever else happens to it.
REF_TTL_S: Final = 30 * 86_400


class RedisStore:
    """Store over one Link. Holds no state but the link, the keys and the number of partitions."""

    def __init__(self, link: Link, partitions: int) -> None:
        self.link = link
        self.partitions = partitions
        self.keys = [Keys(p) for p in range(partitions)]

    async def claim_layout(self) -> None:
        """Fix the number of partitions at first start; refuse another one ever after.

        Raises:
            ConfigError: the store was made with another number, or by a newer release.
        """
        client = self.link.client
        await self.link.guard(_done(client.hsetnx(CONFIG, "partitions", str(self.partitions))))
        await self.link.guard(_done(client.hsetnx(CONFIG, "schema", str(SCHEMA))))
        made, schema = await self.link.guard(_done(client.hmget(CONFIG, ["partitions", "schema"])))
        if int(made) != self.partitions:
            text = f"this store was made with {int(made)} partitions, the setting says {self.partitions}"
            hint = f"set it to {int(made)}; the number is fixed at first start"
            raise ConfigError([Problem("environment", "ROUTER_PARTITIONS", text, hint)])
        if int(schema) > SCHEMA:
            text = f"this store's layout is version {int(schema)}, this release knows {SCHEMA}"
            raise ConfigError([Problem("store", CONFIG, text, "run the newer release; nothing was changed")])

    # --- the door ---------------------------------------------------------------------------------

    async def accept(self, items: Sequence[Item], now: datetime) -> dict[int, Appended]:
        """Append what is new, in one script per partition and one round trip."""
        by_partition: dict[int, list[int]] = {}
        for i, item in enumerate(items):
            by_partition.setdefault(item.partition, []).append(i)
        day = commits.ms(now) // commits.DAY_MS
        calls = []
        for partition, positions in by_partition.items():
            k = self.keys[partition]
            args: list[Any] = [DOOR_TTL_MS, LONGEST_INBOX, "1" if self.link.replicas else "0"]
            for i in positions:
                item = items[i]
                args += (3 if item.urgent else 4, len(item.versions))
                for pair in item.versions:
                    args += pair
                args.append(item.payload)
            calls.append((ACCEPT, [k.door(day), k.door(day - 1), k.urgent, k.normal], args))
        answers = await self.link.call_many(calls, durable=True)
        out = {}
        for (partition, positions), answer in zip(by_partition.items(), answers, strict=True):
            if isinstance(answer, StoreUnavailable):
                raise answer
            if answer[0] == b"BUSY":
                raise StoreUnavailable("the inbox is full")
            out[partition] = _appended(items, positions, answer)
        return out

    async def name_ref(self, ref: str, incident: str) -> None:
        """Remember what another side's id of an incident stands for."""
        await self.link.read([("SET", REF + ref, incident, "EX", REF_TTL_S)])

    async def named_by(self, ref: str) -> str:
        """Return the incident that another side's id stands for, "" where it is not known."""
        (found,) = await self.link.read([("GET", REF + ref)])
        return (found or b"").decode()

    async def inbox(self, pages: Sequence[InboxPage]) -> list[list[InboxEntry]]:
        """Return for each page the oldest entries not yet acknowledged, in one round trip."""
        commands = []
        for page in pages:
            k = self.keys[page.partition]
            start = f"({page.after}" if page.after else "-"
            commands.append(
                ("XRANGE", k.urgent if page.urgent else k.normal, start, "+", "COUNT", page.count)
            )
        answers = await self.link.read(commands) if commands else []
        return [
            [_entry(row, urgent=p.urgent) for row in rows] for p, rows in zip(pages, answers, strict=True)
        ]

    async def try_count(self, partition: int, entry: str, *, clear: bool = False) -> int:
        """Count a failed decision of an entry, or forget it."""
        k = self.keys[partition]
        if clear:
            await self.link.read([("HDEL", k.tries, entry)])
            return 0
        count, _ = await self.link.read([("HINCRBY", k.tries, entry, 1), ("PEXPIRE", k.tries, DOOR_TTL_MS)])
        return int(count)

    # --- leases -----------------------------------------------------------------------------------

    async def dead_lengths(self, partition: int) -> tuple[int, int]:
        """Return how many dead letters a partition has: deliveries, and others."""
        k = self.keys[partition]
        unread, others = await self.link.read([("XLEN", k.unread), ("XLEN", k.dead)])
        return unread, others

    async def leases(self) -> dict[int, LeaseSeen]:
        """Return what every lease looks like now."""
        rows = await self.link.read([("HMGET", k.lease, "owner", "beat", "epoch") for k in self.keys])
        out = {}
        for partition, (owner, beat, epoch) in enumerate(rows):
            if owner:
                out[partition] = LeaseSeen(owner.decode(), f"{int(beat or 0)}/{int(epoch or 0)}")
        return out

    async def acquire(self, partition: int, owner: str, seen: LeaseSeen | None) -> Lease | None:
        """Take a lease that is free, ours by name, or still just as seen."""
        old = [seen.owner, seen.beat.partition("/")[0]] if seen else ["", ""]
        answer = await self.link.call(LEASE, [self.keys[partition].lease], ["acquire", owner, *old])
        return Lease(partition, answer[0].decode(), answer[1].decode()) if answer else None

    async def renew(self, lease: Lease, owner: str) -> bool:
        """Show that we live; False where the lease was taken."""
        key = self.keys[lease.partition].lease
        return bool(await self.link.call(LEASE, [key], ["renew", owner, lease.epoch, ""]))

    async def release(self, lease: Lease, owner: str) -> None:
        """Give a lease back, if we still hold it."""
        await self.link.call(LEASE, [self.keys[lease.partition].lease], ["release", owner, lease.epoch, ""])

    async def beat(self, owner: str, *, gone: bool = False) -> dict[str, str]:
        """Show that this process lives (or has gone), and return every process's beat."""
        act = ("HDEL", INSTANCES, owner) if gone else ("HINCRBY", INSTANCES, owner, 1)
        _, _, rows = await self.link.read(
            [act, ("PEXPIRE", INSTANCES, commits.DAY_MS), ("HGETALL", INSTANCES)]
        )
        pairs = rows.items() if isinstance(rows, dict) else zip(rows[::2], rows[1::2], strict=True)
        return {k.decode(): v.decode() for k, v in pairs}

    # --- a partition's state ----------------------------------------------------------------------

    async def sender_notes(self) -> dict[str, bytes]:
        """Return what was noted of senders."""
        return await self.note_senders([])

    async def note_senders(self, edits: Sequence[tuple[str, ...]]) -> dict[str, bytes]:
        """Change notes on senders in one round trip, and return what stands then.

        Each edit is HSET, HSETNX, HINCRBY or HDEL with all its arguments but the key, and atomic by
        itself: replicas change other fields, or add. Where it fails, any part of it may have been done.
        """
        commands = [(command, SENDERS, *arguments) for command, *arguments in edits]
        *_, row = await self.link.read([*commands, ("HGETALL", SENDERS)])
        pairs = row.items() if isinstance(row, dict) else zip(row[::2], row[1::2], strict=True)
        return {name.decode(errors="replace"): value for name, value in pairs}

    async def pending(self, partition: int) -> Taking:
        """Return what a partition's new owner has to know."""
        k = self.keys[partition]
        due, timers, muted, reviewed = await self.link.read(
            [
                ("SMEMBERS", k.due),
                ("ZRANGE", k.timers, 0, -1, "WITHSCORES"),
                ("SMEMBERS", k.muted),
                ("HGET", k.reviewed, "rules"),
            ]
        )
        names = sorted(d.decode() for d in due)
        pairs = (
            timers
            if timers and isinstance(timers[0], list | tuple)
            else list(zip(timers[::2], timers[1::2], strict=True))
        )
        wake = {name.decode(): datetime.fromtimestamp(float(score) / 1000, UTC) for name, score in pairs}
        groups = [n[2:] for n in names if n.startswith("g:")]
        return Taking(
            groups=groups,
            services=[n[2:] for n in names if n.startswith("s:")],
            timers=wake,
            muted=sorted(m.decode() for m in muted),
            reviewed=(reviewed or b"").decode(),
        )

    async def all_open(self, partition: int) -> list[str]:
        """Return the groups with an open incident, the oldest first."""
        (rows,) = await self.link.read([("ZRANGE", self.keys[partition].open, 0, -1)])
        return [row.decode() for row in rows]

    async def groups(self, groups: Mapping[str, int]) -> dict[str, GroupRecord]:
        """Return these groups; an unknown one is an empty record."""
        if not groups:
            return {}
        rows = await self.link.read([("HGETALL", self.keys[p].group(g)) for g, p in groups.items()])
        return {g: group_record(row) for g, row in zip(groups, rows, strict=True)}

    async def open_groups(self, partition: int, services: Sequence[str]) -> list[str]:
        """Return the groups with an open incident of one of these services."""
        k = self.keys[partition]
        rows = await self.link.read([("SMEMBERS", k.by_service(service_key(s))) for s in services])
        return sorted({r.decode() for row in rows for r in row})

    async def ledgers(self, keys: Mapping[str, int]) -> dict[str, Ledger]:
        """Return the ledgers of these service keys; unknown ones are left out."""
        if not keys:
            return {}
        rows = await self.link.read([("GET", self.keys[p].service(key)) for key, p in keys.items()])
        return {key: ledger_of(row) for key, row in zip(keys, rows, strict=True) if row is not None}

    async def commit(self, batches: Sequence[tuple[Lease, Batch]]) -> list[Lease | StoreError]:
        """Write each batch in one atomic step; see the protocol for what stands in a lease's place."""
        calls = [commits.script_call(self.keys[lease.partition], lease, batch) for lease, batch in batches]
        try:
            answers = await self.link.call_many(calls)
        except StoreUnavailable as exc:
            return [exc] * len(batches)
        return [_committed(lease, answer) for (lease, _), answer in zip(batches, answers, strict=True)]


def _committed(lease: Lease, answer: Any) -> Lease | StoreError:
    if isinstance(answer, StoreError):
        return answer
    word = answer[0]
    if word == b"OK":
        return Lease(lease.partition, lease.epoch, answer[1].decode())
    if word == b"FENCED":
        return Fenced(f"partition {lease.partition} has a new owner (epoch {answer[1].decode()})")
    return StoreUnavailable(f"partition {lease.partition}: another commit came between")


async def _done(value: Any) -> Any:
    """Await what redis-py types as maybe-awaitable."""
    return await value


def _appended(items: Sequence[Item], positions: list[int], answer: list[bytes]) -> Appended:
    flags = answer[2]
    fresh = [p for p, flag in zip(positions, flags, strict=True) if flag == ord("1")]
    urgent = [p for p in fresh if items[p].urgent]
    normal = [p for p in fresh if not items[p].urgent]
    return Appended(_entries(answer[0], urgent), _entries(answer[1], normal), frozenset(fresh))


def _entries(ids: bytes, positions: list[int]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Pair entry ids with the items inside: the script puts at most 500 items into an entry."""
    out = []
    for n, entry in enumerate(ids.decode().split()):
        out.append((entry, tuple(positions[n * 500 : (n + 1) * 500])))
    return tuple(out)


def _entry(row: Any, *, urgent: bool) -> InboxEntry:
    entry_id, fields = row
    values = fields[1::2] if isinstance(fields, list) else list(fields.values())
    return InboxEntry(entry_id.decode(), urgent, tuple(_event(v) for v in values))


def _event(raw: bytes) -> Stored | bytes:
    try:
        return codec.stored(raw)
    except codec.Undecodable:
        return raw


def ledger_of(row: bytes) -> Ledger:
    """Return a ledger; one that cannot be read is there all the same, and says so."""
    try:
        return codec.ledger(row)
    except codec.Undecodable as exc:
        return Ledger(service="", broken=str(exc))


def group_record(row: Any) -> GroupRecord:
    """Return a group from its hash (a flat list or a dict, as the client gives it)."""
    pairs = row.items() if isinstance(row, dict) else zip(row[::2], row[1::2], strict=True)
    out = GroupRecord()
    for field, value in pairs:
        name = field.decode()
        try:
            if name == "h":
                out.head = codec.incident(value)
            elif name[0] == "m":
                out.members[name[1:]] = codec.member(value)
            elif name[0] == "p":
                out.past[int(name[1:])] = codec.incident(value)
        except codec.Undecodable as exc:
            out.broken = f"field {name[:40]}: {exc}"
    return out
