"""What speaks for and against one deploy as the cause of one incident: named, weighed, in words.

Weights are log-odds and add up: their sum, as a probability, is how likely it is that this deploy did it.
So each weight answers one question: how much likelier is what we see if it did, than if nothing did that
we know of? What is unknown weighs nothing. docs/reference/attribution.md has them all, how they were found,
and what came of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.decide import experience
from router.decide.lineage import History
from router.decide.versions import same_version
from router.kit.text import span
from router.model.blames import ONSETS_KEPT
from router.model.events import DeployPhase
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from router.model.blames import Onset
    from router.model.deploys import Deploy, Ledger
    from router.model.incidents import Incident
    from router.rulebook.book import Rulebook

#: That a deploy of this service, or of what it calls over so many hops, brings such an incident about,
#: against an alert that fires at the usual rate: of twenty deploys one goes wrong, and its fault is seen
#: in the callers one time in two or three for each hop.
_KIN: Final = (1.3, 0.9, -0.2, -1.2)
#: The onset follows the switch sooner rather than later, with a long tail: the density is that of
#: 1 / (minutes + SOON) ** TAIL, against one that is even over the window.
_SOON: Final = 7.0
_TAIL: Final = 1.8
#: Where a deploy went is not known, and where the alert fires is.
_ANYWHERE: Final = -1.5
#: A restart, of new pods with the old ones gone, makes alerts fire as well, and they end by themselves:
#: how much likelier that is than a fault right after the switch, and how soon it is out of the question.
_RESTART: Final = 2.0
_RESTART_MIN: Final = 2.0
_RESTART_ENDS_MIN: Final = 2.5
_FAULT_ENDS_MIN: Final = 60.0
_BEFORE: Final = -6.0
_VERSION: Final = 2.5
_FAILED: Final = -0.5
_UNDER_WAY: Final = -1.0
_SUPERSEDED: Final = -2.0
_IS_A_ROLLBACK: Final = -1.0
_CURED: Final = 2.5
_CURED_BY_NEXT: Final = 0.8
_TAKEN_BACK: Final = 1.5
_BY_ITSELF: Final = -1.7
_NOT_CURED: Final = -2.5
_WELL: Final = -2.4
_FAILS: Final = 2.0
_CALLERS: Final = 0.5
_CALLEE: Final = -1.5
_OTHERS: Final = (0.0, -1.0, -2.8, -4.8, -6.0, -7.0)
_SAME_ALERT: Final = -0.4
_FIRED_BEFORE: Final = -1.5
_MACHINE: Final = -1.2
_TRUST: Final = 0.85  # a rate is learned from few events
_COMMON: Final = -4.0
_RARE: Final = 0.8

#: What is told by what fails elsewhere.
_ELSEWHERE: Final = frozenset(
    (Why.DEPLOYED_SERVICE_FAILS, Why.DEPLOYED_SERVICE_IS_WELL, Why.CALLERS_FAIL, Why.CALLEE_FAILS,
     Why.OTHERS_FAIL_TOO)
)  # fmt: skip
_TAKEN: Final = frozenset((Why.CURED_BY_ROLLBACK, Why.ROLLED_BACK_MEANWHILE))
#: An alert that ends within this time of a rollback was cured by it; one that lasts longer was not.
CURED_WITHIN: Final = timedelta(minutes=20)
#: Faults with one cause begin within so long of each other; what it calls, an incident follows later.
TOGETHER: Final = timedelta(minutes=4)
CALLEE_FIRST: Final = timedelta(minutes=10)
_LATELY: Final = timedelta(hours=1)
#: Alerts about a machine, a disk, a clock or a certificate, by the names of the usual rules.
_OF_MACHINES: Final = re.compile(
    r"node|disk|filesystem|volume|raid|clock|certificate|certexpir|kubelet|etcd|apiserver", re.IGNORECASE
).search


@dataclass(frozen=True, slots=True)
class Failing:
    """Other services that began to fail around an onset.

    ``first``, ``last``: when, by service. ``early``: before the onset, or with it. ``together``: close to
    it; ``alike`` are those of them in which the same alert fires.
    """

    first: Mapping[str, datetime]
    last: Mapping[str, datetime]
    early: AbstractSet[str]
    together: AbstractSet[str]
    alike: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class Scene:
    """One incident and what is known around it. ``ended``: when its last alert did, None while one fires.

    ``kept``: what else failed when it began, by suspect, of an earlier judgement; None while that is known.
    """

    head: Incident
    onset: datetime
    now: datetime
    ended: datetime | None
    ledgers: Mapping[str, Ledger]
    failing: Failing
    book: Rulebook
    histories: dict[tuple[str, str], History]
    kept: Mapping[str, list[Reason]] | None

    def history(self, deploy: Deploy) -> History:
        """Return what served where a deploy went."""
        key = (deploy.service, deploy.environment)
        found = self.histories.get(key)
        if found is None:
            found = History(self.ledgers[deploy.service].deploys, deploy.environment)
            self.histories[key] = found
        return found

    @property
    def lasted(self) -> float:
        """Minutes since the onset."""
        return max(0.0, ((self.ended or self.now) - self.onset).total_seconds() / 60)


def scene(
    head: Incident,
    ledgers: Mapping[str, Ledger],
    around: Callable[[datetime, datetime], list[Onset]],
    book: Rulebook,
    now: datetime,
) -> Scene:
    """Return an incident with what is around it; its onset must be known."""
    onset = head.onset or head.starts_at or now
    found = around(onset - CALLEE_FIRST, onset + TOGETHER)
    failing = _failing([one for one in found if one.service not in {head.service, ""}], onset, head.alert)
    kept = None
    if now - onset > ONSETS_KEPT - CALLEE_FIRST:  # the view is forgotten; what it showed is not
        kept = {each.key: [r for r in each.reasons if r.why in _ELSEWHERE] for each in head.suspects}
    return Scene(head, onset, now, head.ended_at, ledgers, failing, book, {}, kept)


def _failing(found: Sequence[Onset], onset: datetime, alert: str) -> Failing:
    """Return what else fails, arranged; ``found`` is in order."""
    first, last, with_it = onset - TOGETHER, onset + TOGETHER, onset + timedelta(minutes=1)
    close = [one for one in found if first <= one.at <= last]
    return Failing(
        first={one.service: one.at for one in reversed(found)},
        last={one.service: one.at for one in found},
        early={one.service for one in found if one.at <= with_it},
        together={one.service for one in close},
        alike={one.service for one in close if one.alert == alert},
    )


def of(deploy: Deploy, hops: int, at: datetime, s: Scene, *, served: bool) -> list[Reason]:
    """Return the reasons for and against a deploy that took effect (or was under way) at ``at``."""
    minutes = (s.onset - at).total_seconds() / 60
    found = [*_kinship(deploy, hops, s), _timing(deploy, minutes, s, served=served)]
    if found[-1].why is Why.ONSET_BEFORE_SWITCH:
        return found
    maybe = [
        _rate(at, s),
        _machine(s),
        _version(deploy, s),
        _fired_before(at, s),
        _failed(deploy, served=served),
    ]
    if s.kept is None:
        maybe += [_own_health(deploy, hops, at, s), _callers(deploy, hops, at, s)]
        maybe += [_callee(deploy, s), _others(deploy, s)]
    else:
        maybe += s.kept.get(f"{deploy.service}/{deploy.id}", [])
    found += [r for r in maybe if r is not None]
    found += _lineage(deploy, s) if served else []
    if not any(r.weight >= _TAKEN_BACK and r.why in _TAKEN for r in found):  # people took it back: no restart
        found.append(_restart(minutes, sum(r.weight for r in found), s))
    return found


# --- who and when -----------------------------------------------------------------------------------


def _kinship(deploy: Deploy, hops: int, s: Scene) -> list[Reason]:
    where = f" in {deploy.environment}" if deploy.environment else ""
    if not hops:
        found = [Reason(Why.SAME_SERVICE, f"same service{where}", _KIN[0])]
    else:
        how = "depends on" if hops == 1 else f"depends, over {hops} hops, on"
        found = [Reason(Why.DEPENDENCY, f"{s.head.service} {how} {deploy.service}", _KIN[hops])]
    if s.head.environment and not deploy.environment and not deploy.flag:
        found.append(Reason(Why.SOMEWHERE, "into which environment it went is not known", _ANYWHERE))
    usual = s.book.production
    if usual and not s.head.environment and deploy.environment not in {"", usual}:
        text = f"the alert does not say where it fires, and rarely that is {deploy.environment}"
        found.append(Reason(Why.SOMEWHERE, text, _ANYWHERE))
    return found


def prior(hops: int, minutes: float, book: Rulebook) -> float:
    """Return what kinship and time alone weigh, for a first choice among many."""
    before = minutes < -book.attribution.skew.total_seconds() / 60
    return _KIN[hops] + (_BEFORE if before else _by_time(minutes, book))


def _by_time(minutes: float, book: Rulebook) -> float:
    window = book.attribution.window.total_seconds() / 60
    whole = (_SOON ** (1 - _TAIL) - (window + _SOON) ** (1 - _TAIL)) / (_TAIL - 1)
    return round(math.log(window / whole) - _TAIL * math.log(max(0.0, minutes) + _SOON), 2)


def _timing(deploy: Deploy, minutes: float, s: Scene, *, served: bool) -> Reason:
    if minutes < -s.book.attribution.skew.total_seconds() / 60:
        text = f"the alert began {span(60 * minutes)} before the deploy took effect"
        return Reason(Why.ONSET_BEFORE_SWITCH, text, _BEFORE)
    weight = _by_time(minutes, s.book)
    when = span(60 * minutes) if minutes >= 0 else "moments"
    if not served:
        text = f"the deploy was under way since {when} before the alert"
        return Reason(Why.STARTED_BEFORE_ONSET, text, round(weight + _UNDER_WAY, 2))
    what = "traffic was switched" if DeployPhase.SWITCHED in deploy.phases else "it went live"
    if deploy.flag:
        what = "it was switched"
    return Reason(Why.SWITCHED_BEFORE_ONSET, f"{what} {when} before the alert began", weight)


def _version(deploy: Deploy, s: Scene) -> Reason | None:
    label = next((v for name in s.book.labels.version if (v := s.head.labels.get(name))), "")
    if not label or deploy.service != s.head.service or deploy.flag:
        return None
    if any(same_version(label, name) for name in deploy.names):
        return Reason(Why.VERSION_LABEL_MATCHES, f"the alert carries its version {label[:40]}", _VERSION)
    return Reason(Why.VERSION_LABEL_DIFFERS, f"the alert carries another version, {label[:40]}", -_VERSION)


def _failed(deploy: Deploy, *, served: bool) -> Reason | None:
    if served or deploy.phase_at(DeployPhase.FAILED, DeployPhase.CANCELED) is None:
        return None
    return Reason(Why.DEPLOY_FAILED, "the deploy failed before traffic was switched", _FAILED)


# --- the alert --------------------------------------------------------------------------------------


def _rate(at: datetime, s: Scene) -> Reason | None:
    """Weigh how often this alert fired before the deploy, with no deploy to blame."""
    learned = experience.rate(s.ledgers.get(s.head.service), s.head.environment, s.head.alert, at)
    usual = experience.PRIOR_COUNT / experience.PRIOR_DAYS
    weight = round(min(_RARE, max(_COMMON, -_TRUST * math.log(learned.per_day / usual))), 2)
    if abs(weight) < 0.1:
        return None
    days = f"{learned.days:.1f} days"
    if weight > 0:
        return Reason(Why.RARE_ALERT, f"in {days} it hardly fired with no deploy to blame", weight)
    times = f"{learned.seen:.1f} times" if learned.seen >= 0.5 else "rarely, but others of it did"
    return Reason(Why.FREQUENT_ALERT, f"in {days} it fired with no deploy to blame {times}", weight)


def _machine(s: Scene) -> Reason | None:
    if not _OF_MACHINES(s.head.alert):
        return None
    return Reason(Why.MACHINE_ALERT, "the alert is about a machine, which deploys rarely break", _MACHINE)


def _fired_before(at: datetime, s: Scene) -> Reason | None:
    before = s.head.before
    if before is None or before > min(at, s.onset) or at - before > _LATELY:
        return None  # also where it began after the deploy, ended, and began again
    text = f"the same alert had ended {_span(at - before)} before the deploy took effect"
    return Reason(Why.FIRED_BEFORE, text, _FIRED_BEFORE)


def _restart(minutes: float, score: float, s: Scene) -> Reason:
    """Weigh that a restart alone made the alert fire: likely right after the switch, until it lasts."""
    near = _RESTART * math.exp(-max(0.0, minutes - 0.5) / _RESTART_MIN)
    lasted = s.lasted
    still = math.exp(-((lasted / _RESTART_ENDS_MIN) ** 1.5))
    if s.ended is None:
        likely = near * still * (1 + lasted / _FAULT_ENDS_MIN)
    else:
        part = lasted / _RESTART_ENDS_MIN
        density = 1.5 / _RESTART_ENDS_MIN * math.sqrt(part) * still
        likely = near * density * _FAULT_ENDS_MIN * (1 + lasted / _FAULT_ENDS_MIN) ** 2
    weight = round(-math.log(1 + likely * math.exp(min(20.0, score))), 2)
    long = span(60 * lasted)
    if weight >= -0.05:
        ended = f"it lasted {long}, longer than a restart's alerts do"
        text = f"it fires for {long} by now: no restart's alert does" if s.ended is None else ended
        return Reason(Why.PERSISTS, text, 0.0)
    ended = f"it ended by itself after {long}, as after a restart"
    text = f"it fires for {long} by now: it may be the restart alone" if s.ended is None else ended
    return Reason(Why.MAY_BE_RESTART, text, weight)


# --- what else fails --------------------------------------------------------------------------------


def _own_health(deploy: Deploy, hops: int, at: datetime, s: Scene) -> Reason | None:
    """Weigh, for a deploy of something else, whether that fails itself."""
    if not hops:
        return None
    if _fails(deploy, at, s):
        return Reason(Why.DEPLOYED_SERVICE_FAILS, f"{deploy.service} itself fails, too", _FAILS)
    return Reason(Why.DEPLOYED_SERVICE_IS_WELL, f"{deploy.service} itself has no incident", _WELL)


def _fails(deploy: Deploy, at: datetime, s: Scene) -> bool:
    last = s.failing.last.get(deploy.service)
    return last is not None and last >= at - s.book.attribution.skew


def _callers(deploy: Deploy, hops: int, at: datetime, s: Scene) -> Reason | None:
    """Weigh that others fail which have what was deployed in common, where that itself seems well."""
    if not hops or _fails(deploy, at, s):
        return None
    found = s.failing.last.keys() & s.book.callers(deploy.service).keys()
    if not found:
        return None
    text = f"{_count(len(found), 'service')} that call {deploy.service} fail, too"
    return Reason(Why.CALLERS_FAIL, text, round(_CALLERS * min(3, len(found)), 2))


def _callee(deploy: Deploy, s: Scene) -> Reason | None:
    """Weigh that what the failing service calls began to fail first, and not by this deploy."""
    early = s.failing.early & s.book.callees(s.head.service).keys()
    early -= s.book.callers(deploy.service).keys()
    early.discard(deploy.service)
    if not early:
        return None
    first = min(early, key=lambda name: (s.failing.first[name], name))
    text = f"{first}, which it calls, began to fail at {s.failing.first[first]:%H:%M}"
    return Reason(Why.CALLEE_FAILS, text, _CALLEE)


def _others(deploy: Deploy, s: Scene) -> Reason | None:
    """Weigh that services fail at the same time which this deploy cannot reach."""
    names = s.failing.together - s.book.callers(deploy.service).keys()
    names -= s.book.callees(s.head.service).keys()
    names.discard(deploy.service)
    if not names:
        return None
    alike = not names.isdisjoint(s.failing.alike)
    weight = round(_OTHERS[min(len(_OTHERS) - 1, len(names))] + (_SAME_ALERT if alike else 0), 2)
    text = f"{_count(len(names), 'service')} that it cannot have broken began to fail at the same time"
    return Reason(Why.OTHERS_FAIL_TOO, text, weight)


# --- what became of the deploy ----------------------------------------------------------------------


def _lineage(deploy: Deploy, s: Scene) -> list[Reason]:
    found = []
    history = s.history(deploy)
    if not deploy.flag and history.goes_back(deploy):
        found.append(Reason(Why.IS_A_ROLLBACK, "it went back to what had served before", _IS_A_ROLLBACK))
    undone = history.undone(deploy)
    if undone is None or undone.at > (s.ended or s.now) + timedelta(minutes=1):
        if s.ended is not None:
            found.append(Reason(Why.ENDED_BY_ITSELF, "it ended, and the deploy serves on", _BY_ITSELF))
        return found
    by = f"by {undone.by}" if undone.by else "by a rollback"
    if undone.at <= s.onset:
        text = f"it was replaced {by} {_span(s.onset - undone.at)} before the alert began"
        return [*found, Reason(Why.SUPERSEDED, text, _SUPERSEDED)]
    since = (s.ended or s.now) - undone.at
    if s.ended is not None and timedelta(minutes=-1) <= since <= CURED_WITHIN:
        text = f"the alert ended {_span(max(since, timedelta()))} after it was replaced {by}"
        return [*found, Reason(Why.CURED_BY_ROLLBACK, text, _CURED if undone.back else _CURED_BY_NEXT)]
    if since > CURED_WITHIN and undone.back:  # what is built on a bad version is bad as well
        text = f"the alert fired on for {_span(since)} after it was replaced {by}"
        return [*found, Reason(Why.ROLLBACK_DID_NOT_HELP, text, _NOT_CURED)]
    if undone.back and s.ended is None:
        found.append(
            Reason(Why.ROLLED_BACK_MEANWHILE, "it was taken back while the alert fired", _TAKEN_BACK)
        )
    return found


# --- words ------------------------------------------------------------------------------------------


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _span(length: timedelta) -> str:
    return span(length.total_seconds())
