"""The durable core: what is accepted, read, decided and written, and by whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from router.model.blames import Onset
from router.model.deploys import Ledger
from router.model.errors import StoreError
from router.model.events import Stored
from router.model.incidents import Entry, Incident, Member


@dataclass(frozen=True, slots=True)
class Item:
    """One event for one partition's inbox.

    ``versions`` are (field, version) pairs: where the door knows all of them with
    just these versions, the item is an unchanged repeat and is not appended. Without
    pairs it is always appended.
    """

    partition: int
    urgent: bool
    versions: tuple[tuple[bytes, bytes], ...]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Appended:
    """What one :meth:`Store.accept` did in one partition.

    ``urgent``/``normal``: ids of the entries written, each with the positions (in the
    order given) of the items inside it, in order.
    """

    urgent: tuple[tuple[str, tuple[int, ...]], ...] = ()
    normal: tuple[tuple[str, tuple[int, ...]], ...] = ()
    fresh: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write a partition: ``epoch`` is the fencing token, ``seq`` counts its commits."""

    partition: int
    epoch: str
    seq: str


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """What a challenger saw of a lease; unchanged for long enough, it may be taken."""

    owner: str
    beat: str


@dataclass(slots=True)
class GroupRecord:
    """A group as stored. ``broken``: what of it this release cannot read; then nothing is decided on it."""

    head: Incident | None = None
    members: dict[str, Member] = field(default_factory=dict)
    past: dict[int, Incident] = field(default_factory=dict)
    broken: str = ""


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One stored entry: its id and the events inside. An undecodable one is kept raw."""

    id: str
    urgent: bool
    events: tuple[Stored | bytes, ...]


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Which entries to read: of one lane of one partition, after this entry (exclusive, "" is the start)."""

    partition: int
    urgent: bool
    count: int
    after: str = ""


@dataclass(slots=True)
class GroupChange:
    """What a commit writes of one group. ``head`` None: unchanged. ``due``: it has something to deliver."""

    head: Incident | None = None
    members: dict[str, Member | None] = field(default_factory=dict)
    past: dict[int, Incident | None] = field(default_factory=dict)
    timeline: list[Entry] = field(default_factory=list)
    forget: bool = False
    due: bool = False
    muted: bool | None = None  # whether something of it is muted, where that changed


@dataclass(frozen=True, slots=True)
class Taking:
    """What the new owner of a partition starts with.

    ``groups``/``services``: with something to deliver. ``muted``: groups in which something is muted.
    ``reviewed``: the rulebook under which all groups were last looked at.
    """

    groups: list[str]
    services: list[str]
    timers: dict[str, datetime]
    muted: list[str]
    reviewed: str


#: Dead letters that a partition keeps: deliveries that could not be read, and others.
MOST_UNREAD = 1_000
MOST_DEAD = 10_000


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could not be done, with all that is needed to do it again.

    ``kind`` says what ``payload`` is: ``unreadable`` (an encoded Unread), ``undelivered`` (the Settled
    that ended it), ``undecidable`` (a Stored event), ``undecodable`` (bytes of another release).
    ``source``: of a delivery, whose it was. ``id`` is ``<partition>[u]-<entry>``, given by the store. In a
    list ``payload`` is only its beginning, and ``size`` says how long it is. ``body``: that of a delivery,
    where it is too large to stand in the payload; it is kept apart, and for a week.
    """

    at: datetime
    kind: str
    reason: str
    payload: bytes
    source: str = ""
    id: str = ""
    size: int = 0
    body: bytes = b""


@dataclass(slots=True)
class Batch:
    """All that one commit writes: by group, by service key, wake-ups, acknowledgements, dead letters.

    ``inhibits``: by ``<key>|<group>|<alert>``, "1" where the alert is a target of its rule, too, "0" where
    not, None where it inhibits no more. ``reviewed``: the rulebook under which all groups were looked at.
    ``onsets``: incidents that opened.
    """

    groups: dict[str, GroupChange] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    timers: dict[str, datetime | None] = field(default_factory=dict)
    acks_urgent: list[str] = field(default_factory=list)
    acks_normal: list[str] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    unseen: list[bytes] = field(default_factory=list)  # what the door is to forget, by field
    at: datetime | None = None  # when it was decided; tells which days' memory that is
    inhibits: dict[str, str | None] = field(default_factory=dict)
    reviewed: str = ""
    onsets: list[Onset] = field(default_factory=list)

    def __bool__(self) -> bool:
        """True where there is something to write."""
        return bool(
            self.groups
            or self.ledgers
            or self.timers
            or self.acks_urgent
            or self.acks_normal
            or self.dead
            or self.unseen
            or self.inhibits
            or self.reviewed
            or self.onsets
        )


class Store(Protocol):
    """The durable core. Every method raises StoreUnavailable where done or not done is unknown."""

    @property
    def partitions(self) -> int:
        """How many partitions there are; fixed at first start."""

    async def accept(self, items: Sequence[Item], now: datetime) -> dict[int, Appended]:
        """Append what is new; when this returns it is as durable as promised. Safe to repeat.

        Atomic per partition. Raises StoreUnavailable also where memory or the inbox is full.
        """

    async def name_ref(self, ref: str, incident: str) -> None:
        """Remember for 30 days what another side's id of an incident stands for."""

    async def named_by(self, ref: str) -> str:
        """Return the incident that another side's id stands for, "" where it is not known."""

    async def inbox(self, pages: Sequence[InboxPage]) -> list[list[InboxEntry]]:
        """Return for each page the oldest entries not yet acknowledged, in one round trip."""

    async def try_count(self, partition: int, entry: str, *, clear: bool = False) -> int:
        """Count a failed decision of an entry and return the count; ``clear`` forgets it."""

    async def dead_lengths(self, partition: int) -> tuple[int, int]:
        """Return how many dead letters there are: deliveries, and others; the oldest go beyond the bounds."""

    async def leases(self) -> dict[int, LeaseSeen]:
        """Return what every lease looks like now."""

    async def acquire(self, partition: int, owner: str, seen: LeaseSeen | None) -> Lease | None:
        """Take a lease that is free, ours by name, or still just as ``seen``; None where it is not."""

    async def renew(self, lease: Lease, owner: str) -> bool:
        """Show that we live; False where the lease was taken."""

    async def release(self, lease: Lease, owner: str) -> None:
        """Give a lease back, if we still hold it."""

    async def beat(self, owner: str, *, gone: bool = False) -> dict[str, str]:
        """Show that this process lives, and return every process's beat."""

    async def pending(self, partition: int) -> Taking:
        """Return what a partition's new owner has to know."""

    async def all_open(self, partition: int) -> list[str]:
        """Return the groups with an open incident."""

    async def groups(self, groups: Mapping[str, int]) -> dict[str, GroupRecord]:
        """Return these groups (with their partitions); an unknown one is an empty record."""

    async def open_groups(self, partition: int, services: Sequence[str]) -> list[str]:
        """Return the groups with an open incident of one of these services."""

    async def ledgers(self, keys: Mapping[str, int]) -> dict[str, Ledger]:
        """Return the ledgers of these service keys (with their partitions); unknown ones are left out."""

    async def commit(self, batches: Sequence[tuple[Lease, Batch]]) -> list[Lease | StoreError]:
        """Write each batch in one atomic step, all in one round trip; return the leases for the next ones.

        In a lease's place: Fenced where the lease is not ours any more (nothing was
        written), StoreUnavailable where written or not is unknown, or another commit
        came between: take the lease anew and look again.
        """
