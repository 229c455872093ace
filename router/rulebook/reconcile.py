"""What is done about incidents that are stuck: from ``reconcile:`` to what the reconciler asks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from router.rulebook import durations
from router.rulebook.durations import DurationError

if TYPE_CHECKING:
    from router.rulebook.problems import Problems
    from router.rulebook.schema import ReconcileModel
    from router.rulebook.yaml_loader import Document

#: Below it an Alertmanager that was just restarted, or a page on its way, would look like a difference.
SHORTEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(days=7)

Ends = Literal["resolve", "report"]


@dataclass(frozen=True, slots=True)
class Reconcile:
    """What to do where sides differ for longer than ``after``; "report" does nothing.

    Args:
        gone_at_alertmanager: an alert fires here, and its Alertmanager does not have it any more.
        open_at_pagerduty: it is over here, and open there.
        closed_at_pagerduty: it fires here, and is closed there; people may have merged it into another there,
            which is why nothing is done unless the rules say so.
        ended_by_hand: a person ended it, and for longer than ``by_hand_after`` its alerts go on firing.
        dry_run: report only, whatever the others say.
    """

    after: timedelta = timedelta(minutes=10)
    gone_at_alertmanager: Ends = "resolve"
    open_at_pagerduty: Ends = "resolve"
    closed_at_pagerduty: Literal["reopen", "resolve", "report"] = "report"
    ended_by_hand: Literal["reopen", "report"] = "report"
    by_hand_after: timedelta = timedelta(hours=4)
    dry_run: bool = False


def compiled(model: ReconcileModel | None, document: Document | None, problems: Problems) -> Reconcile:
    """Return the policy; what is wrong goes to ``problems``."""
    if model is None or document is None:
        return Reconcile()
    lengths: dict[str, timedelta] = {}
    for key, text in (("after", model.after), ("by_hand_after", model.by_hand_after)):
        try:
            length = durations.parse(text)
        except DurationError as exc:
            problems.add(document, ("reconcile", key), str(exc), exc.hint)
            continue
        if not SHORTEST <= length <= LONGEST:
            problems.add(document, ("reconcile", key), f"{key} may be 1m to 7d", "")
        lengths[key] = length
    return Reconcile(
        gone_at_alertmanager=model.gone_at_alertmanager,
        open_at_pagerduty=model.open_at_pagerduty,
        closed_at_pagerduty=model.closed_at_pagerduty,
        ended_by_hand=model.ended_by_hand,
        dry_run=model.dry_run,
        **lengths,
    )
