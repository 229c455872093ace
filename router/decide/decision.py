"""What decide is given and what it returns, and the small mutable desk it works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from router.model.deploys import Ledger
from router.model.events import TimerKind
from router.model.incidents import Entry, Incident, Member
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_MEMBERS: Mapping[str, Member] = {}
_NO_LEDGERS: Mapping[str, Ledger] = {}
_NO_PAST: Mapping[int, Incident] = {}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that decide may know. ``members`` is not copied: decide only reads it.

    ``past`` holds earlier generations by number: they may still have to be told of.
    ``ledger`` is the one that a deploy event is about; ``ledgers`` (by service) are
    read to look for suspects.
    """

    incident: Incident | None = None
    members: Mapping[str, Member] = field(default_factory=lambda: _NO_MEMBERS)
    past: Mapping[int, Incident] = field(default_factory=lambda: _NO_PAST)
    ledger: Ledger | None = None
    ledgers: Mapping[str, Ledger] = field(default_factory=lambda: _NO_LEDGERS)


@dataclass(frozen=True, slots=True)
class Timer:
    """A wake-up wanted at ``at``; None takes it back."""

    kind: TimerKind
    generation: int
    at: datetime | None


@dataclass(slots=True)
class Decision:
    """What an event changes.

    ``incident``/``ledger``: the new record, None where it stays. ``members``, ``past``:
    new values, None where one is to be dropped. ``forget``: the group is to be deleted.
    ``why``: every reason, for the log, the metrics and ``why``; ``timeline``: what a
    person wants to read later.
    """

    incident: Incident | None = None
    members: dict[str, Member | None] = field(default_factory=dict)
    past: dict[int, Incident | None] = field(default_factory=dict)
    ledger: Ledger | None = None
    timers: list[Timer] = field(default_factory=list)
    timeline: list[Entry] = field(default_factory=list)
    why: list[Reason] = field(default_factory=list)
    forget: bool = False
    #: Alerts whose last version the door is to forget, so that its next repeat is looked at again.
    look_again: list[str] = field(default_factory=list)
    #: What will not be told any more: goes to the dead letters.
    dead: list[str] = field(default_factory=list)

    def because(self, why: Why, text: str = "") -> None:
        """Add a reason."""
        self.why.append(Reason(why, text))

    def tell(self, at: datetime, why: Why, text: str, *, by: str = "", generation: int = 0) -> None:
        """Add a reason that also belongs on the timeline."""
        self.why.append(Reason(why, text))
        self.timeline.append(Entry(at=at, why=why, text=text, by=by, generation=generation))


def reasons_text(reasons: Sequence[Reason]) -> list[str]:
    """Return the sentences, without those that say nothing."""
    return [r.text for r in reasons if r.text]
