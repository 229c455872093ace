"""What one partition does in one round of the engine: plain data, and who is told how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.model.blames import Blamed, Experienced
from router.model.events import DeployNoticed, Event, ServiceDeploy, Unread
from router.ports import Batch

if TYPE_CHECKING:
    from router.decide.decision import Onward
    from router.work.partition import Internal, Partition, Pending


@dataclass(slots=True)
class Work:
    """One event with the group or service key that it is about."""

    key: str
    event: Event
    internal: Internal | None = None


@dataclass(slots=True)
class Round:
    """What one partition does in one round."""

    partition: Partition
    entries: list[Pending] = field(default_factory=list)
    internal: list[Internal] = field(default_factory=list)
    timers: list[str] = field(default_factory=list)
    work: list[tuple[Work, Pending | None]] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    batch: Batch = field(default_factory=Batch)
    onward: list[Onward] = field(default_factory=list)
    count: int = 0


def key_of(event: Event) -> str:
    """Return the group or service key that an event is about; "" for a notice and what is unread."""
    if isinstance(event, DeployNoticed | Unread):
        return ""
    return event.key if isinstance(event, ServiceDeploy | Experienced | Blamed) else event.group


def finish(r: Round, *, done: bool) -> None:
    """Tell those who wait for their events from within."""
    for internal in r.internal:
        resolve(internal, done=done)


def resolve(internal: Internal, *, done: bool) -> None:
    """Tell one who waits; harmless where nobody does any more."""
    if internal.done is not None and not internal.done.done():
        internal.done.set_result(done)
