"""Every Protocol that one can implement, and the types that pass through them.

A driver is one file: ``router/<room>/<kind>.py`` with a module-level ``build``.
The ``kind`` in a URL or in YAML is the file's name; there is no list to edit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from router.model.deploys import Deploy, Ledger
from router.model.destinations import Destination, Lane, Want
from router.model.errors import StoreError
from router.model.events import Alert, Command, Stored, Told
from router.model.incidents import Entry, Incident, Member
from router.model.outcomes import Outcome


class Clock(Protocol):
    """The only way to learn the time. Tests drive it."""

    def now(self) -> datetime:
        """Return the wall time, aware, UTC."""

    def monotonic(self) -> float:
        """Return seconds that only ever grow; for measuring, never for storing."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long by this clock."""


class Source(Protocol):
    """One sender of webhooks. Pure: bytes and headers in, typed events out.

    Header names arrive in lower case.
    """

    @property
    def kind(self) -> str:
        """The name in the URL: ``/webhooks/<kind>``."""

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
        """Check the delivery's authenticity over the raw bytes, before any parsing.

        Returns the index of the secret that matched (for the rotation metric).

        Raises:
            Rejected: 401, code ``bad_secret``, for whatever is not authentic; any junk included.
        """

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        """Return what the delivery tells; the same body gives the same events and ids.

        Raises:
            Rejected: 400 with what is wrong and where. Nothing else, whatever the bytes.
        """


@dataclass(frozen=True, slots=True)
class IncidentJob:
    """What a notifier needs to show an incident as it is now.

    ``doubtful``: an earlier first attempt may have been taken by the other side.
    ``members`` is a bounded, sorted sample (firing first); ``incident.firing`` and
    ``incident.resolved`` are the true counts. ``changed`` is what the last
    decisions said, for a thread reply; empty on a first delivery.
    """

    incident: Incident
    members: Sequence[Alert]
    destination: Destination
    target: str
    options: BaseModel
    now: datetime
    links: Mapping[str, str] = field(default_factory=dict)
    changed: Sequence[str] = ()

    @property
    def doubtful(self) -> bool:
        """An earlier attempt may have been taken, and nothing has been confirmed since."""
        return self.destination.doubt and self.destination.have is Want.NOTHING


@dataclass(frozen=True, slots=True)
class ChangeJob:
    """What a notifier needs to tell of a deploy (PagerDuty's change event)."""

    deploy: Deploy
    destination: Destination
    target: str
    options: BaseModel
    now: datetime
    links: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Notifier(Protocol):
    """One vendor that people are told through.

    Never raises for the vendor's failure (returns the outcome), always lets
    cancellation through, and never puts a secret into an outcome's text. Safe to
    call again with the same job: the vendor's key or ``ref`` makes it harmless.
    """

    @property
    def kind(self) -> str:
        """The file's name; ``<kind>_configs`` in rules/receivers.yaml."""

    @property
    def lane(self) -> Lane:
        """Which lane its incidents travel in."""

    @property
    def tells_changes(self) -> bool:
        """True if :meth:`send_change` does something; decides whether deploys get a destination here."""

    def ready(self, options: BaseModel) -> str:
        """Return "" if this target has all it needs, else what is missing, for people."""

    def hold(self, options: BaseModel) -> float:
        """Return for how many seconds this target wants nothing (its pace, a Retry-After); 0: send now."""

    async def send(self, job: IncidentJob) -> Outcome:
        """Make the destination show ``job.destination.want`` for ``job.incident``."""

    async def send_change(self, job: ChangeJob) -> Outcome:
        """Tell of a deploy."""

    async def close(self) -> None:
        """Give back threads and connections."""


@dataclass(frozen=True, slots=True)
class NotifierContext:
    """What a notifier's ``build`` is given: settings it may read, a clock, and limits."""

    clock: Clock
    settings: Mapping[str, str]
    environ: Mapping[str, str]
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class NotifierSpec:
    """The module-level ``build`` of a notifier's file.

    ``options`` is the pydantic model of one entry under ``<kind>_configs``.
    """

    kind: str
    lane: Lane
    options: type[BaseModel]
    make: Callable[[NotifierContext], Notifier]
    tells_changes: bool = False


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


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What could not be done, with all that is needed to do it again."""

    at: datetime
    kind: str
    reason: str
    payload: bytes


@dataclass(slots=True)
class Batch:
    """All that one commit writes: by group, by service key, wake-ups, acknowledgements, dead letters."""

    groups: dict[str, GroupChange] = field(default_factory=dict)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    timers: dict[str, datetime | None] = field(default_factory=dict)
    acks_urgent: list[str] = field(default_factory=list)
    acks_normal: list[str] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    unseen: list[bytes] = field(default_factory=list)  # what the door is to forget, by field
    at: datetime | None = None  # when it was decided; tells which days' memory that is

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

    async def inbox(self, pages: Sequence[InboxPage]) -> list[list[InboxEntry]]:
        """Return for each page the oldest entries not yet acknowledged, in one round trip."""

    async def try_count(self, partition: int, entry: str, *, clear: bool = False) -> int:
        """Count a failed decision of an entry and return the count; ``clear`` forgets it."""

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

    async def pending(self, partition: int) -> tuple[list[str], list[str], dict[str, datetime]]:
        """Return groups and service keys with something to deliver, and the wake-ups."""

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


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a delivery at the door: events appended, and unchanged repeats that stopped there."""

    accepted: int
    repeated: int


class Intake(Protocol):
    """The door, as the web sees it. Returns only after what it was given is durable."""

    async def take(self, source: str, told: Sequence[Told]) -> Taken:
        """Place and append what a source told. Raises StoreUnavailable: answer 503, the sender keeps it."""

    async def command(self, command: Command) -> Taken:
        """Append what a person asked for; the same ``event_id`` counts once."""


class Reader(Protocol):
    """What the API shows. Reads may be a moment old."""

    async def ping(self) -> None:
        """Raise StoreUnavailable where the store does not answer."""

    async def incidents(self, *, include_closed: bool, limit: int) -> list[Incident]:
        """Return heads, newest first."""

    async def incident(self, group: str, generation: int) -> tuple[Incident, list[Alert], list[Entry]] | None:
        """Return one incident with its alerts and its timeline."""

    async def deploys(self, *, limit: int) -> list[Deploy]:
        """Return deploys, newest first."""

    async def dead_letters(self, *, limit: int) -> list[DeadLetter]:
        """Return dead letters, newest first."""

    async def depths(self) -> dict[str, int]:
        """Return how much waits: inbox_urgent, inbox_normal, due, timers, dead, open."""


SourceFactory = Callable[[], Source]
Document = Mapping[str, Any]
