"""Which deploy may have done it: same service and environment, or a dependency's, inside a window.

Each candidate carries its reasons, for and against; a candidate whose deploy took
effect after the onset is kept and shown as cleared, because "not that deploy" is an
answer too. The weights order the candidates; they are not probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from router.model.events import DeployPhase
from router.model.incidents import Incident, Suspect, Verdict
from router.model.reasons import Reason, Why

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    from router.decide.decision import Decision
    from router.model.deploys import Deploy, Ledger
    from router.rulebook.book import Rulebook

#: At most this many candidates are kept with an incident.
KEEP = 3
_ORDER: dict[str, int] = {phase.value: n for n, phase in enumerate(DeployPhase)}
_SAME_SERVICE = 2.0
_DEPENDENCY = 0.8
_SWITCHED = 2.0
_STARTED = 1.0
_VERSION = 2.0
_COMPETE = -0.5
_FAILED = -0.5
#: Who looked knows more than all that can be weighed.
_SAID = {True: (Why.DEPLOY_CONFIRMED, 20.0), False: (Why.DEPLOY_REFUTED, -20.0)}
_VERDICTS = {why for why, _ in _SAID.values()}
_BEFORE = -6.0  # an alert that began before the deploy took effect outweighs all that speaks for it


def attach(
    head: Incident, ledgers: Mapping[str, Ledger], book: Rulebook, out: Decision, now: datetime
) -> Incident:
    """Return the head with its suspects; the timeline tells when the first one changes."""
    found = find(head, ledgers, book)
    old = prime(head.suspects)
    head = msgspec.structs.replace(head, suspects=found)
    top = prime(found)
    if top is None and old is not None:
        text = f"not suspected any more: {old.service} {old.version}"
        out.tell(now, Why.NO_SUSPECT, text, generation=head.generation)
    elif top is None:
        out.because(
            Why.NO_SUSPECT,
            "no deploy is suspected" if head.service else "no service label, so no deploy can be suspected",
        )
    elif old is None or old.deploy_id != top.deploy_id:
        where = f" in {top.environment}" if top.environment else ""
        text = f"suspected: {top.service} {top.version}{where}"
        out.tell(now, Why.SUSPECT_FOUND, text, generation=head.generation)
    return head


def prime(found: tuple[Suspect, ...]) -> Suspect | None:
    """Return the first suspect, if what speaks for it outweighs what speaks against."""
    return found[0] if found and found[0].score > 0 else None


def find(head: Incident, ledgers: Mapping[str, Ledger], book: Rulebook) -> tuple[Suspect, ...]:
    """Return the candidates, likeliest first, the newest deploy first among equals."""
    onset = head.starts_at
    if not head.service or onset is None:
        return ()
    known = book.services.get(head.service)
    candidates = [
        suspect
        for service in dict.fromkeys((head.service, *(known.dependencies if known else ())))
        if (ledger := ledgers.get(service)) is not None
        for deploy in ledger.deploys
        if (suspect := _weigh(deploy, head, onset, book)) is not None
    ]
    rivals = [s for s in candidates if s.score > 0]  # before anybody's word
    if len(rivals) > 1:
        others = len(rivals) - 1
        text = "another deploy competes" if others == 1 else f"{others} other deploys compete"
        against = Reason(Why.OTHER_DEPLOYS_COMPETE, text, _COMPETE)
        candidates = [
            msgspec.structs.replace(s, score=s.score + _COMPETE, reasons=(*s.reasons, against))
            if s.score > 0
            else s
            for s in candidates
        ]
    return judged(candidates, head.verdicts)[:KEEP]


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
    score = round(sum(r.weight for r in reasons), 3)
    return msgspec.structs.replace(suspect, reasons=tuple(reasons), score=score)


def _weigh(deploy: Deploy, head: Incident, onset: datetime, book: Rulebook) -> Suspect | None:
    """Return the deploy as a candidate, or None where it is out of the question and out of sight."""
    if head.environment and deploy.environment != head.environment:
        return None
    limits = book.attribution
    at = _effect(deploy, onset + limits.skew)
    effect = at is not None
    if at is None:
        at = _under_way(deploy, onset + limits.skew)
    if at is None:
        return None
    age = onset - at
    if age > limits.window or -age > limits.window:
        return None
    reasons = [_kinship(deploy, head), *_timing(deploy, age, limits.skew, effect=effect)]
    reasons += _version(deploy, head, book)
    if deploy.phase_at(DeployPhase.FAILED, DeployPhase.CANCELED) is not None and not effect:
        reasons.append(Reason(Why.DEPLOY_FAILED, "the deploy failed before traffic was switched", _FAILED))
    return Suspect(
        service=deploy.service,
        environment=deploy.environment,
        deploy_id=deploy.id,
        version=deploy.name,
        at=at,
        score=round(sum(r.weight for r in reasons), 3),
        reasons=tuple(reasons),
        title=deploy.title,
        author=deploy.author,
        url=deploy.url,
        phase=_phase(deploy),
    )


def alike(left: tuple[Suspect, ...], right: tuple[Suspect, ...]) -> bool:
    """Return whether people would see no difference: how far a deploy has come is not shown."""
    return [msgspec.structs.replace(s, phase="") for s in left] == [
        msgspec.structs.replace(s, phase="") for s in right
    ]


def _phase(deploy: Deploy) -> str:
    """Return the latest step that was told, the further one where times are equal."""
    return max(
        (p for p in deploy.phases if p in _ORDER),
        key=lambda p: (deploy.phases[p], _ORDER[p]),
        default="",
    )


def _effect(deploy: Deploy, until: datetime) -> datetime | None:
    """Return when it changed what serves, None where it has not (yet)."""
    # Asked of every deploy in the ledger: no call that can be spared.
    told = deploy.phases.get
    at = told(DeployPhase.SWITCHED) or told(DeployPhase.LIVE)
    back = told(DeployPhase.ROLLED_BACK)
    # A rollback after the onset was the cure, not the change.
    return back if back is not None and (at is None or back <= until) else at


def _under_way(deploy: Deploy, until: datetime) -> datetime | None:
    """Return the last step before the onset; where all came after it, the first."""
    steps = (DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED)
    times = [at for step in steps if (at := deploy.phases.get(step)) is not None]
    return max((at for at in times if at <= until), default=min(times, default=None))


def _kinship(deploy: Deploy, head: Incident) -> Reason:
    where = f"in {deploy.environment}" if deploy.environment else ""
    if deploy.service == head.service:
        return Reason(Why.SAME_SERVICE, f"same service {where}".strip(), _SAME_SERVICE)
    return Reason(Why.DEPENDENCY, f"{head.service} depends on {deploy.service}", _DEPENDENCY)


def _timing(deploy: Deploy, age: timedelta, skew: timedelta, *, effect: bool) -> list[Reason]:
    if -age > skew:
        return [
            Reason(
                Why.ONSET_BEFORE_SWITCH,
                f"the alert began {words(-age)} before the deploy took effect",
                _BEFORE,
            )
        ]
    when = words(max(age, -age)) if age.total_seconds() >= 0 else "moments"
    if not effect:
        return [
            Reason(
                Why.STARTED_BEFORE_ONSET, f"the deploy was under way since {when} before the alert", _STARTED
            )
        ]
    what = "traffic was switched" if DeployPhase.SWITCHED in deploy.phases else "it went live"
    return [Reason(Why.SWITCHED_BEFORE_ONSET, f"{what} {when} before the alert began", _SWITCHED)]


def _version(deploy: Deploy, head: Incident, book: Rulebook) -> list[Reason]:
    label = next((v for name in book.labels.version if (v := head.labels.get(name))), "")
    if not label or deploy.service != head.service:
        return []
    if any(same_version(label, name) for name in deploy.names):
        return [Reason(Why.VERSION_LABEL_MATCHES, f"the alert carries its version {label[:40]}", _VERSION)]
    return [Reason(Why.VERSION_LABEL_DIFFERS, f"the alert carries another version, {label[:40]}", -_VERSION)]


def same_version(left: str, right: str) -> bool:
    """True where two names tell of one version: equal, or a sha and its abbreviation (>= 7 digits)."""
    a, b = left.lower().removeprefix("v"), right.lower().removeprefix("v")
    if a == b:
        return True
    short, long = sorted((a, b), key=len)
    return len(short) >= 7 and long.startswith(short) and _is_hex(long)


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)


def words(span: timedelta) -> str:
    """Return a span for people: ``40 s``, ``3 min``, ``2 h 5 min``."""
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
