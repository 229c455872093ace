"""What surrounds every group: silences, and the alerts that inhibit others, wherever they fire.

Kept up to date by ``work``; here it is only read. ``inhibitors`` is the live view of the whole store:
by key (rule and values of ``equal``), by alert, whether that alert matches the target side, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from router.decide.onsets import Onsets
from router.model.silences import Silence, SilenceState
from router.rulebook import matchers
from router.rulebook.matchers import MatcherError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from router.rulebook.matchers import Matcher

_NONE: Mapping[str, Mapping[str, bool]] = {}


@dataclass(frozen=True, slots=True)
class Quiet:
    """A silence with its matchers compiled."""

    silence: Silence
    matchers: tuple[Matcher, ...]

    def mutes(self, labels: Mapping[str, str], now: datetime) -> bool:
        """Return whether an alert with these labels is silenced now."""
        return self.silence.state(now) is SilenceState.ACTIVE and all(
            m.matches(labels) for m in self.matchers
        )


@dataclass(frozen=True, slots=True)
class Outlook:
    """Silences, the earliest first, what inhibits, and what began to fail lately."""

    silences: tuple[Quiet, ...] = ()
    inhibitors: Mapping[str, Mapping[str, bool]] = field(default_factory=lambda: _NONE)
    onsets: Onsets = field(default_factory=Onsets)

    def silence(self, silence_id: str) -> Silence | None:
        """Return a silence by its id."""
        return next((q.silence for q in self.silences if q.silence.id == silence_id), None)


def compiled(silence: Silence) -> Quiet:
    """Return a silence that can be asked.

    Raises:
        MatcherError: a matcher's name is empty or its regular expression is not RE2's; or all of them
            match the empty string, so that everything would be silenced (Alertmanager refuses it, too).
    """
    if not silence.matchers:
        raise MatcherError("a silence needs at least one matcher", 'for example service="payment-service"')
    made = tuple(matchers.matcher(m.name, m.op, m.value) for m in silence.matchers)
    if all(m.test("") for m in made):
        text = "at least one matcher must not match the empty string"
        raise MatcherError(text, 'else everything is silenced; add for example alertname=~".+"')
    return Quiet(silence, made)


def silences(found: Iterable[Silence]) -> tuple[Quiet, ...]:
    """Return those that can be asked, in a fixed order; one that cannot mutes nothing."""
    out: list[Quiet] = []
    for silence in found:
        try:
            out.append(compiled(silence))
        except MatcherError:
            continue
    return tuple(sorted(out, key=lambda q: (q.silence.starts_at, q.silence.id)))
