"""What decide is given and what it returns, and the small mutable desk it works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from router.decide.outlook import Outlook
from router.model.blames import Blamed, Experienced, Onset
from router.model.commands import Command
from router.model.deploys import Ledger
from router.model.events import GroupAlerts, TimerKind
from router.model.incidents import Entry, Incident, Member
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a decision may send to other groups and ledgers.
Onward = GroupAlerts | Experienced | Blamed | Command

_NO_MEMBERS: Mapping[str, Member] = {}
_NO_LEDGERS: Mapping[str, Ledger] = {}
_NO_PAST: Mapping[int, Incident] = {}
NOWHERE = Outlook()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that decide may know. ``members`` is not copied: decide only reads it.

    ``past`` holds earlier generations by number: they may still have to be told of.
    ``ledger`` is the one that a deploy event is about; ``ledgers`` (by service) are
    read to look for suspects. ``outlook``: silences, and what inhibits, wherever it fires.
    """

    incident: Incident | None = None
    members: Mapping[str, Member] = field(default_factory=lambda: _NO_MEMBERS)
    past: Mapping[int, Incident] = field(default_factory=lambda: _NO_PAST)
    ledger: Ledger | None = None
    ledgers: Mapping[str, Ledger] = field(default_factory=lambda: _NO_LEDGERS)
    outlook: Outlook = NOWHERE


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
    #: What belongs elsewhere (alerts of other groups, words to ledgers): appended before this is committed.
    onward: list[Onward] = field(default_factory=list)
    #: An incident that opened, for the view of the whole fleet.
    onset: Onset | None = None
    #: What a person said of a deploy, with how likely it was thought: (probability, confirmed, suspected).
    judged: tuple[float, bool, bool] | None = None
    #: By key and alert: it inhibits others from now on (True: it is a target, too), or None: no more.
    inhibits: dict[tuple[str, str], bool | None] = field(default_factory=dict)

    @property
    def mutes(self) -> bool:
        """True where something of the incident is muted after this."""
        return self.incident is not None and self.incident.muted > 0

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
