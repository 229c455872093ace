"""What the web sees of the rest: the door that takes events, and what can be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from router.model.commands import Command
from router.model.deploys import Change, Deploy, Ledger
from router.model.events import Alert, Doubt, Stored, Told, Unread
from router.model.incidents import Entry, Incident
from router.ports.storage import DeadLetter


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a delivery at the door: events appended, and unchanged repeats that stopped there."""

    accepted: int
    repeated: int


class Page(NamedTuple):
    """A part of a list; ``after`` asks for the next one, "" where this was the last."""

    heads: list[Incident]
    after: str = ""


class Intake(Protocol):
    """The door, as the web sees it. Returns only after what it was given is durable."""

    async def take(self, source: str, told: Sequence[Told], at: datetime | None = None) -> Taken:
        """Place and append what a source told, now or (a replay) ``at`` the time when it was received.

        Raises StoreUnavailable: answer 503, the sender keeps it.
        """

    async def command(self, command: Command) -> Taken:
        """Append what a person asked for; the same ``event_id`` counts once."""

    async def doubt(self, event: Doubt) -> Taken:
        """Append that a destination is to be told once more what it should show."""

    async def unread(self, event: Unread) -> Taken:
        """Append a delivery for the dead letters; the same body sent again counts once."""

    async def again(self, event: Stored) -> Taken:
        """Append a stored event to be decided once more; one that needs none gives (0, 0)."""


class Reader(Protocol):
    """What the API shows. Reads may be a moment old."""

    async def ping(self) -> None:
        """Raise StoreUnavailable where the store does not answer."""

    async def incidents(self, *, include_closed: bool, limit: int, after: str = "") -> Page:
        """Return heads: open ones, the last opened first, then closed ones, the last closed first.

        ``after``: those that come after an earlier page. Raises ValueError where it is no page's ``after``.
        """

    async def incident(self, group: str, generation: int) -> tuple[Incident, list[Alert], list[Entry]] | None:
        """Return one incident with its alerts and its timeline."""

    async def story(self, group: str, generation: int) -> tuple[Incident, list[Entry]] | None:
        """Return one incident with its timeline, without its alerts: these may be thousands."""

    async def decisions(self, *, limit: int) -> list[tuple[str, Entry]]:
        """Return the last lines of timelines with their groups, newest first, of the 200 latest incidents."""

    async def muted(self) -> list[Incident]:
        """Return heads of open incidents in which something is muted, at most 1,000."""

    async def ledgers(self, services: Sequence[str]) -> dict[str, Ledger]:
        """Return the deploy ledgers of these services; unknown ones are left out."""

    async def deploys(self, *, limit: int) -> list[Deploy]:
        """Return deploys, newest first."""

    async def changes(self, *, limit: int) -> list[tuple[str, Change]]:
        """Return changes with their services, newest first."""

    async def sender_notes(self) -> dict[str, bytes]:
        """Return what was noted of senders."""

    async def dead_letters(
        self, *, limit: int, kind: str = "", source: str = "", before: str = ""
    ) -> list[DeadLetter]:
        """Return dead letters, newest first, without the bulk of their payloads.

        ``before``: only those that come after the letter of that id in this order; "" from the newest.
        """

    async def dead_letter(self, letter_id: str) -> DeadLetter | None:
        """Return one dead letter, or None where there is none of that id (any more)."""

    async def drop_dead_letter(self, letter_id: str, forget: Sequence[bytes] = ()) -> bool:
        """Delete a dead letter and what the door remembers of it; False where there was none."""

    async def depths(self) -> dict[str, int]:
        """Return how much waits: inbox_urgent, inbox_normal, due, timers, dead, open."""
