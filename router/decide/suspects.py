"""Which deploy did it: candidates inside a window, each with its evidence and how likely it is.

A candidate is a deploy of the incident's service, or of what that calls, into its environment. Its score
is the sum of its evidence in log-odds (:mod:`router.decide.evidence`); where several stand, each is
weighed against the others, so that their probabilities and that of "none of them" add up to one. A
candidate whose deploy took effect after the onset is kept and shown as cleared, because "not that
deploy" is an answer too.

The judgement is made anew while time tells more: whether the alert lasts, what else fails, whether a
rollback helped, what is told late. What was thought when is kept with the incident.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from router.decide import evidence
from router.model.events import DeployPhase
from router.model.incidents import Assessment, Incident, Likely, Suspect, Verdict
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from router.decide.decision import Decision, Snapshot
    from router.model.blames import Onset
    from router.model.deploys import Deploy, Ledger
    from router.rulebook.book import Rulebook

#: At most this many candidates are kept with an incident.
KEEP: Final = 3
#: Of more candidates, these are weighed in full: the likeliest by who calls whom and when alone.
MOST_WEIGHED: Final = 8
#: At most this many judgements are kept with an incident: the first one, and the latest.
KEEP_ASSESSMENTS: Final = 16
#: When a judgement is made anew, after the incident opened, where there are candidates.
AGAIN: Final = tuple(timedelta(minutes=n) for n in (1, 3, 5, 8, 12, 20, 30, 60))
_SWITCHED: Final = DeployPhase.SWITCHED
_LIVE: Final = DeployPhase.LIVE
_ORDER: Final[dict[str, int]] = {phase.value: n for n, phase in enumerate(DeployPhase)}
#: Who looked knows more than all that can be weighed.
_SAID: Final = {True: (Why.DEPLOY_CONFIRMED, 20.0), False: (Why.DEPLOY_REFUTED, -20.0)}
_VERDICTS: Final = {why for why, _ in _SAID.values()}


# --- with the incident ------------------------------------------------------------------------------


def attach(head: Incident, seen: Snapshot, book: Rulebook, out: Decision, now: datetime) -> Incident:
    """Return the head with its suspects; the timeline tells when the first one changes."""
    found = find(head, seen, book, now)
    old = prime(head.suspects)
    head = msgspec.structs.replace(
        head, suspects=found, assessed_at=now, assessments=_assessed(head, found, now)
    )
    top = prime(found)
    if top is None and old is not None:
        text = f"not suspected any more: {old.service} {old.version}"
        out.tell(now, Why.NO_SUSPECT, text, generation=head.generation)
    elif top is None:
        out.because(
            Why.NO_SUSPECT,
            "no deploy is suspected" if head.service else "no service label, so no deploy can be suspected",
        )
    elif old is None or old.key != top.key:
        where = f" in {top.environment}" if top.environment else ""
        text = f"suspected: {top.service} {top.version}{where}{f' ({top.percent})' if top.percent else ''}"
        out.tell(now, Why.SUSPECT_FOUND, text, generation=head.generation)
    return head


def _assessed(head: Incident, found: tuple[Suspect, ...], now: datetime) -> tuple[Assessment, ...]:
    """Return what was thought until now, and what is thought now where that is something else."""
    likely = tuple(Likely(s.key, round(s.probability, 2)) for s in found)
    kept = head.assessments
    if likely == (kept[-1].suspects if kept else ()):
        return kept
    if len(kept) >= KEEP_ASSESSMENTS:
        kept = (kept[0], *kept[2:])
    return (*kept, Assessment(now, likely))


def again_at(head: Incident) -> datetime | None:
    """Return when an open incident's suspects are to be looked at again, None for never."""
    if not head.suspects or head.opened_at is None or head.assessed_at is None:
        return None
    since = head.assessed_at - head.opened_at
    return next((head.opened_at + span for span in AGAIN if span > since), None)


def prime(found: tuple[Suspect, ...]) -> Suspect | None:
    """Return the first candidate, if it is likely enough to be suspected."""
    return found[0] if found and found[0].suspected else None


def alike(left: tuple[Suspect, ...], right: tuple[Suspect, ...]) -> bool:
    """Return whether people would see no difference: neither a suspect nor how sure we are of it."""
    return [_seen(s) for s in left] == [_seen(s) for s in right]


def _seen(suspect: Suspect) -> tuple[str, str, str, str, str, float, tuple[Why, ...]]:
    return (
        suspect.key, suspect.version, suspect.title, suspect.author, suspect.verdict,
        round(suspect.probability, 1), tuple(r.why for r in suspect.reasons if abs(r.weight) >= 1),
    )  # fmt: skip


# --- finding ----------------------------------------------------------------------------------------


def find(head: Incident, seen: Snapshot, book: Rulebook, now: datetime) -> tuple[Suspect, ...]:
    """Return the candidates, likeliest first, the newest deploy first among equals."""
    onset = head.onset or head.starts_at
    if not head.service or onset is None:
        return ()
    ledgers = seen.ledgers
    near = [
        (deploy, hops, at, served)
        for service, hops in {head.service: 0, **book.callees(head.service)}.items()
        if (ledger := ledgers.get(service)) is not None
        for deploy, at, served in _near(ledger, head.environment, onset, book)
    ]
    if not near:
        return ()
    if len(near) > MOST_WEIGHED:  # what is far away in calls and time would not be named anyway
        near.sort(key=lambda each: -evidence.prior(each[1], (onset - each[2]).total_seconds() / 60, book))
        del near[MOST_WEIGHED:]
    environment = head.environment

    def around(since: datetime, until: datetime) -> list[Onset]:
        return seen.outlook.onsets.around(environment, since, until, now)

    scene = evidence.scene(head, ledgers, around, book, now)
    found = [
        _suspect(deploy, at, evidence.of(deploy, hops, at, scene, served=served))
        for deploy, hops, at, served in near
    ]
    return judged(_against_each_other(found), head.verdicts)[:KEEP]


def _near(
    ledger: Ledger, environment: str, onset: datetime, book: Rulebook
) -> list[tuple[Deploy, datetime, bool]]:
    """Return what was deployed around the onset: the deploy, when it took effect, and whether it has."""
    limits = book.attribution
    until, oldest = onset + limits.skew, onset - limits.window
    found = []
    for deploy in ledger.deploys:
        phases = deploy.phases
        if max(phases.values()) < oldest:
            break  # the newest come first
        if environment and deploy.environment != environment and deploy.environment:
            continue
        at = phases.get(_SWITCHED) or phases.get(_LIVE)
        served = at is not None
        if at is None:
            at = _under_way(deploy, until)
        if at is not None and abs(onset - at) <= limits.window:
            found.append((deploy, at, served))
    return found


def _under_way(deploy: Deploy, until: datetime) -> datetime | None:
    """Return the last step before the onset; where all came after it, the first."""
    steps = (DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED)
    times = [at for step in steps if (at := deploy.phases.get(step)) is not None]
    return max((at for at in times if at <= until), default=min(times, default=None))


def _suspect(deploy: Deploy, at: datetime, reasons: list[Reason]) -> Suspect:
    return Suspect(
        service=deploy.service,
        environment=deploy.environment,
        deploy_id=deploy.id,
        version=deploy.name,
        at=at,
        score=_sum(reasons),
        reasons=tuple(reasons),
        title=deploy.title,
        author=deploy.author,
        url=deploy.url,
        phase=_phase(deploy),
    )


def _phase(deploy: Deploy) -> str:
    """Return the latest step that was told, the further one where times are equal."""
    return max(
        (p for p in deploy.phases if p in _ORDER),
        key=lambda p: (deploy.phases[p], _ORDER[p]),
        default="",
    )


def _against_each_other(found: list[Suspect]) -> list[Suspect]:
    """Return the candidates with what the others take from them: one of all, or none, did it."""
    odds = [math.exp(min(20.0, s.score)) for s in found]
    whole = sum(odds)
    out = []
    for suspect, mine in zip(found, odds, strict=True):
        lost = round(-math.log1p(whole - mine), 2)
        if lost > -0.1:
            out.append(suspect)
            continue
        others = sum(1 for each in odds if each > 0.1) - (mine > 0.1)
        text = "another deploy competes" if others <= 1 else f"{others} other deploys compete"
        against = Reason(Why.OTHER_DEPLOYS_COMPETE, text, lost)
        reasons = (*suspect.reasons, against)
        out.append(msgspec.structs.replace(suspect, score=_sum(reasons), reasons=reasons))
    return out


def _sum(reasons: Iterable[Reason]) -> float:
    return round(sum(r.weight for r in reasons), 2)


def judged(found: Iterable[Suspect], verdicts: Mapping[str, Verdict]) -> tuple[Suspect, ...]:
    """Return candidates with what people said of them last, likeliest first."""
    candidates = [_judged(s, verdicts.get(s.key)) if verdicts else s for s in found]
    candidates.sort(key=lambda s: (-s.score, -s.at.timestamp(), s.deploy_id))
    return tuple(candidates)


def _judged(suspect: Suspect, verdict: Verdict | None) -> Suspect:
    reasons = [r for r in suspect.reasons if r.why not in _VERDICTS]
    if verdict is not None:
        why, weight = _SAID[verdict.confirmed]
        reasons.append(Reason(why, f"{why.removeprefix('deploy_')} by {verdict.by}"[:200], weight))
    return msgspec.structs.replace(suspect, reasons=tuple(reasons), score=_sum(reasons))
