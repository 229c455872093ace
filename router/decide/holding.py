"""Deploy holds: what is not critical waits while its own service is being deployed.

A lease, not a silence: it counts from the last step that was told of the deploy, is capped from its
first, ends with the deploy, and lies in the digest's wake-up, which is written with it. So neither a
lost webhook nor a crash can hold an alert longer than the cap. What is held during one deploy is
gathered in one incident, its digest, and told as one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.model import keys
from router.model.events import DeployPhase, Hold, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from router.model.deploys import Deploy, Ledger
    from router.model.incidents import Incident
    from router.rulebook.book import Rulebook
    from router.rulebook.muting import DeployHold
    from router.rulebook.tree import Route

STEPS: Final = (
    DeployPhase.STARTED,
    DeployPhase.GREEN_DEPLOYED,
    DeployPhase.GREEN_TESTED,
    DeployPhase.SWITCHED,
)
_ENDS: Final = (
    DeployPhase.LIVE,
    DeployPhase.CLEANED_UP,
    DeployPhase.FAILED,
    DeployPhase.CANCELED,
    DeployPhase.ROLLED_BACK,
)
#: After the deploy's end: the last alerts of its pods are on their way.
SETTLE: Final = timedelta(seconds=30)


def find(
    head: Incident,
    labels: Mapping[str, str],
    route: Route | None,
    ledgers: Mapping[str, Ledger],
    book: Rulebook,
    now: datetime,
) -> Hold | None:
    """Return the hold of an incident that opens now, None where it is told as usual."""
    if not book.muting.holds or not head.service or head.severity is Severity.CRITICAL:
        return None
    rule = next((h for h in book.muting.holds if all(m.matches(labels) for m in h.matchers)), None)
    ledger = ledgers.get(head.service)
    if rule is None or ledger is None:
        return None
    for deploy in ledger.deploys:
        if deploy.environment != head.environment:
            continue
        until = lasts_until(deploy, rule)
        if until is not None and until > now:
            route_id = route.id if route is not None else head.route
            digest = keys.digest(["hold", route_id, head.service, head.environment, deploy.id])
            return Hold(
                rule=rule.name,
                service=head.service,
                environment=head.environment,
                deploy_id=deploy.id,
                version=deploy.name,
                digest=digest,
                until=until,
            )
        return None  # only the newest deploy of the environment can be under way
    return None


def lasts_until(deploy: Deploy, rule: DeployHold) -> datetime | None:
    """Return until when a deploy holds alerts back; None where it never began."""
    steps = [at for phase in STEPS if (at := deploy.phases.get(phase)) is not None]
    if not steps:
        return None
    until = min(min(steps) + rule.cap, max(steps) + rule.lease)
    ends = [at for phase in _ENDS if (at := deploy.phases.get(phase)) is not None and at >= min(steps)]
    return min(until, min(ends) + SETTLE) if ends else until


def renewed(hold: Hold, ledgers: Mapping[str, Ledger], book: Rulebook) -> datetime:
    """Return until when a digest waits, by what is known of its deploy now; never past the rule's cap."""
    rule = next((h for h in book.muting.holds if h.name == hold.rule), None)
    if rule is None:
        return hold.until
    ledger = ledgers.get(hold.service)
    deploy = next((d for d in ledger.deploys if d.id == hold.deploy_id), None) if ledger else None
    until = lasts_until(deploy, rule) if deploy is not None else None
    return until if until is not None else hold.until
