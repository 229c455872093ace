"""An incident as the conditions of rules see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from router.decide import suspects
from router.model.events import DeployPhase
from router.rulebook.conditions import Facts

if TYPE_CHECKING:
    from datetime import datetime

    from router.model.incidents import Incident
    from router.rulebook.book import Rulebook

#: Phases in which a deploy has changed what serves.
_IN_EFFECT: Final = frozenset(
    (DeployPhase.SWITCHED, DeployPhase.LIVE, DeployPhase.CLEANED_UP, DeployPhase.ROLLED_BACK)
)


def of(head: Incident, book: Rulebook, now: datetime) -> Facts:
    """Return what is known of an incident now; without a suspect, what is about it is unknown."""
    known = book.services.get(head.service)
    top = suspects.prime(head.suspects)
    return Facts(
        service=head.service,
        team=head.team,
        environment=head.environment,
        tier=known.tier if known else None,
        severity=head.severity,
        state=head.state,
        suspect=top.service if top else "",
        probability=top.probability if top else None,
        phase=top.phase if top else "",
        colour=head.colour,
        since_switch=now - top.at if top and top.phase in _IN_EFFECT else None,
        age=now - head.opened_at if head.opened_at is not None else None,
        size=head.firing,
        flapping=flapping(head, book, now),
    )


def flapping(head: Incident, book: Rulebook, now: datetime) -> bool:
    """Return whether an incident began again so often lately that its end is held back."""
    limits = book.muting.flapping
    if limits is None:
        return False
    return sum(now - at <= limits.within for at in head.flips) >= limits.flips
