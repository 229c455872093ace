"""How often an alert fires at a service without a deploy to blame: learned, kept in the service's ledger.

Each incident that ends counts by how surely no deploy did it. Counts decay, so what was mended is
forgotten in some weeks. Before anything was learned, an alert is taken to fire about once in two weeks.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from router.decide.decision import Decision, Snapshot
from router.model.blames import Experienced, Rate
from router.model.deploys import Ledger
from router.model.keys import service_key
from router.model.reasons import Why

if TYPE_CHECKING:
    from datetime import datetime

    from router.model.incidents import Incident

#: After so long a count weighs 1/e; what is older says little of how a service is now.
DECAY: Final = timedelta(days=21)
#: What is assumed before anything was learned: so many times in so many days.
PRIOR_COUNT: Final = 0.5
PRIOR_DAYS: Final = 7.0
#: What flaps does so for some days: its rate of the last day counts, too, beside that of weeks.
LATELY: Final = timedelta(days=1)
#: The latest of each alert are remembered one by one.
MOST_LATELY: Final = 10
#: Another alert of the same service says something, too, but less.
_KIN: Final = 0.15
#: Alerts remembered for each service.
MOST: Final = 60
_DAY_S: Final = 86_400


class Learned(NamedTuple):
    """``per_day``: the rate that is reckoned with; ``seen`` times within ``days``."""

    per_day: float
    seen: float
    days: float


def of_ended(head: Incident, now: datetime) -> Experienced | None:
    """Return what a service's ledger learns from an incident that is over; None where no service is known."""
    if not head.service or (head.hold is not None and head.group == head.hold.digest):
        return None  # what a digest tells of has its own incidents
    blame = head.suspects[0].probability if head.suspects else 0.0  # a person's word is in it
    return Experienced(
        key=service_key(head.service),
        service=head.service,
        environment=head.environment,
        alert=head.alert,
        incident=head.id,
        weight=round(1 - blame, 3),
        at=now,
        began=head.opened_at,
    )


def decide(event: Experienced, seen: Snapshot) -> Decision:
    """Return the ledger with what an incident taught."""
    out = Decision()
    ledger = seen.ledger or Ledger(service=event.service)
    name = f"{event.environment}|{event.alert}"
    old = ledger.rates.get(name)
    count = event.weight + (_decayed(old, event.at) if old is not None else 0.0)
    lately = (*(old.lately if old is not None else ()), (event.began or event.at, event.weight))
    rates = {**ledger.rates, name: Rate(round(count, 4), event.at, lately[-MOST_LATELY:])}
    if len(rates) > MOST:
        del rates[min(rates, key=lambda each: rates[each].at)]
    out.ledger = msgspec.structs.replace(ledger, rates=rates, since=ledger.since or event.at)
    out.because(
        Why.EXPERIENCED, f"{event.alert} at {event.service}: {event.weight:g} with no deploy to blame"
    )
    return out


def rate(ledger: Ledger | None, environment: str, alert: str, before: datetime) -> Learned:
    """Return how often an alert is to be expected where no deploy did anything, as it was known then.

    What began after a deploy may be that deploy's doing, and is no experience to judge it by. Without an
    environment those of all count.
    """
    if ledger is None or ledger.since is None or ledger.since >= before:
        return Learned(PRIOR_COUNT / PRIOR_DAYS, 0.0, 0.0)
    age = max(0.0, (before - ledger.since).total_seconds() / _DAY_S)
    decay = DECAY.total_seconds() / _DAY_S
    days = decay * (1 - math.exp(-age / decay))
    own = kin = last_day = 0.0
    for name, each in ledger.rates.items():
        where, _, what = name.partition("|")
        if environment and where != environment:
            continue
        after = sum(weight for at, weight in each.lately if at >= before)
        count = max(0.0, _decayed(each, before) - after)
        if what == alert:
            own += count
            last_day += sum(weight for at, weight in each.lately if before - LATELY <= at < before)
        else:
            kin += count
    weeks = (own + _KIN * kin + PRIOR_COUNT) / (days + PRIOR_DAYS)
    lately = (last_day - 1) * _DAY_S / LATELY.total_seconds()  # one alone may be chance
    return Learned(max(weeks, lately), own, days)


def _decayed(known: Rate, now: datetime) -> float:
    return known.count * math.exp(-max(0.0, (now - known.at) / DECAY))
