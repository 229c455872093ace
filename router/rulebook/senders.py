"""Senders that are watched: from ``senders:`` to what the watch for silent senders asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.model.events import Severity
from router.rulebook import durations, matchers
from router.rulebook.durations import DurationError
from router.rulebook.matchers import MatcherError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.rulebook.matchers import Matcher
    from router.rulebook.problems import Problems
    from router.rulebook.schema import SenderModel
    from router.rulebook.yaml_loader import Document, Path

#: Below a minute every pause would be an incident; longer than a quarter nobody waits.
SHORTEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Sender:
    """One sender that is watched.

    Args:
        source: the name of its source, or of a poller (``argocd_api``).
        silent_after: no delivery for longer than this is an incident; None: only failures are.
        matchers: only a delivery with a firing alert that all of these match counts as heard; () any.
        severity: of the incidents about this sender.
        labels: added to their labels, for routing.
        expected: its silence counts from the moment the rules say so, though it was never heard.
    """

    source: str
    silent_after: timedelta | None = None
    matchers: tuple[Matcher, ...] = ()
    severity: Severity = Severity.WARNING
    labels: Mapping[str, str] = field(default_factory=dict)
    expected: bool = False


def sender(model: SenderModel, document: Document, path: Path, problems: Problems) -> Sender:
    """Return the sender as the book holds it; what is wrong goes to ``problems``."""
    found: list[Matcher] = []
    for index, text in enumerate(model.matchers):
        try:
            found.extend(matchers.parse(text))
        except MatcherError as exc:
            problems.add(document, (*path, "matchers", index), str(exc), exc.hint)
    if model.expected and model.silent_after is None:
        problems.add(
            document,
            (*path, "expected"),
            "expected: true says nothing without silent_after",
            "say silent_after: 1h or the like beside it",
        )
    return Sender(
        source=model.source,
        silent_after=_silent_after(model, document, (*path, "silent_after"), problems),
        matchers=tuple(found),
        severity=Severity(model.severity),
        labels=dict(model.labels),
        expected=model.expected,
    )


def _silent_after(model: SenderModel, document: Document, path: Path, problems: Problems) -> timedelta | None:
    if model.silent_after is None:
        return None
    try:
        duration = durations.parse(model.silent_after)
    except DurationError as exc:
        problems.add(document, path, str(exc), exc.hint)
        return None
    if not SHORTEST <= duration <= LONGEST:
        problems.add(
            document,
            path,
            f"silent_after is {durations.render(duration)}; it may be 1m to 90d",
            "leave it out to be told of failures only",
        )
    return duration
