"""Deploys into one record: tellers are joined by the names they use for a version.

In GitOps the Argo CD revision is a commit of the *config* repository, so it is kept
but never joined on; image tags and application commits are.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from router.decide import changes
from router.decide.decision import Decision, Snapshot
from router.decide.suspects import same_version
from router.model.deploys import Deploy, Ledger
from router.model.destinations import Destination, Lane, Want
from router.model.events import DeployPhase, DeployReport, ServiceDeploy
from router.model.reasons import Why

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from router.rulebook.book import Receiver, Rulebook

KEEP_DEPLOYS = 30
#: Reports of one deploy come within this time; the same version told later is a new deploy.
SAME_DEPLOY = timedelta(hours=6)
#: Ledgers hold what may still be suspected or asked about.
KEEP_FOR = timedelta(days=14)

_FLOATING = {"latest", "stable", "main", "master", "dev", "prod", "production"}
#: Phases that open incidents should hear of.
_NEWS = {
    DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.SWITCHED, DeployPhase.LIVE,
    DeployPhase.FAILED, DeployPhase.CANCELED, DeployPhase.ROLLED_BACK,
}  # fmt: skip
#: Steps towards serving; after another version has taken over they tell of a return to this one.
_FORWARD = {
    DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED, DeployPhase.SWITCHED,
    DeployPhase.LIVE,
}  # fmt: skip
#: What a version is called that no teller names.
_UNKNOWN = "unknown"
#: Phases at which a deploy takes effect, so that people are told of the change.
_EFFECT = {DeployPhase.SWITCHED, DeployPhase.LIVE, DeployPhase.ROLLED_BACK}


def decide(event: ServiceDeploy, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what a report changes in its service's ledger."""
    out = Decision()
    ledger = seen.ledger or Ledger(service=event.service)
    report = event.report
    names = version_names(report)
    if report.phase in changes.PHASES:
        out.ledger = changes.record(ledger, report, out)
        return out
    index = _find(ledger.deploys, event.environment, names, report, book.attribution.skew)
    if index is None:
        deploy = _new(ledger, event, names)
        rest = ledger.deploys
    else:
        deploy = ledger.deploys[index]
        rest = ledger.deploys[:index] + ledger.deploys[index + 1 :]
    first = report.phase not in deploy.phases
    merged = changes.lend(_merge(deploy, report, names), ledger.changes)
    if index is not None and merged == deploy:
        out.because(Why.DEPLOY_UNCHANGED)
        return out
    merged = _tell(merged, deploy if index is not None else None, book)
    seen_count = ledger.seen + (1 if first and report.phase in _NEWS else 0)
    where = f" in {event.environment}" if event.environment else ""
    out.because(Why.DEPLOY_RECORDED, f"{event.service} {merged.name} {report.phase}{where}")
    deploys = _bounded((merged, *rest), now)
    out.ledger = msgspec.structs.replace(ledger, deploys=deploys, seen=seen_count)
    return out


def version_names(report: DeployReport) -> tuple[str, ...]:
    """Return the names of this report's version: commit, tags, image tags, a version-like ref."""
    names: list[str] = list(report.names)
    for image in report.images:
        tag = _tag(image)
        if tag and tag not in _FLOATING:
            names.append(tag)
    if report.revision:
        names.append(report.revision.lower())
    if report.ref and changes.VERSION_LIKE.fullmatch(report.ref):
        names.append(report.ref)
    return tuple(dict.fromkeys(names))


def _tag(image: str) -> str:
    name = image.partition("@")[0]
    last = name.rpartition("/")[2]
    return last.partition(":")[2]


def _find(
    deploys: Sequence[Deploy],
    environment: str,
    names: tuple[str, ...],
    report: DeployReport,
    skew: timedelta,
) -> int | None:
    """Return the index of the deploy that this report tells of, newest first."""
    near = [
        i
        for i, d in enumerate(deploys)
        if d.environment == environment and _within(report.at, d.phases.values())
    ]
    named = [i for i in near if any(same_version(a, b) for a in names for b in deploys[i].names)]
    for i in named:
        if deploys[i].phases.get(report.phase) == report.at:
            return i  # told before
    for i in named:
        if not _returns(deploys[i], deploys, report, skew):
            return i
    return next((i for i in near if _same_teller(report, names, deploys[i])), None)


def _within(at: datetime, phases: Collection[datetime]) -> bool:
    return min(phases) - SAME_DEPLOY <= at <= max(phases) + SAME_DEPLOY


def _same_teller(report: DeployReport, names: tuple[str, ...], deploy: Deploy) -> bool:
    """True where one teller spoke before and after it knew the images; two versions are never one deploy."""
    if report.config_revision != deploy.config_revision or (names and not _nameless(deploy)):
        return False
    return bool(report.config_revision) or (not names and _nameless(deploy))


def _returns(deploy: Deploy, deploys: Sequence[Deploy], report: DeployReport, skew: timedelta) -> bool:
    """True where this version served, another took its place, and the report steps forward after that."""
    served = _effect(deploy)
    if served is None or report.phase not in _FORWARD:
        return False
    ends = [_effect(d) for d in deploys if d is not deploy and d.environment == deploy.environment]
    ends.append(deploy.phases.get(DeployPhase.ROLLED_BACK))
    return any(at is not None and served < at < report.at - skew for at in ends)


def _effect(deploy: Deploy) -> datetime | None:
    return deploy.phase_at(DeployPhase.SWITCHED, DeployPhase.LIVE)


def _nameless(deploy: Deploy) -> bool:
    """True where no teller has named the version yet, see :func:`_new`."""
    return deploy.names == (deploy.config_revision[:12] or _UNKNOWN,)


def _new(ledger: Ledger, event: ServiceDeploy, names: tuple[str, ...]) -> Deploy:
    report = event.report
    first = names[0] if names else (report.config_revision[:12] or _UNKNOWN)
    stem = f"{event.environment}/{first[:64]}"
    # Not their number: an older one may have been forgotten meanwhile.
    used = [d.id.rpartition("/") for d in ledger.deploys]
    count = 1 + max((int(n) for before, _, n in used if before == stem), default=0)
    return Deploy(
        id=f"{stem}/{count}",
        service=event.service,
        environment=event.environment,
        names=names or (first,),
        phases={},
        tellers=(),
    )


def _merge(deploy: Deploy, report: DeployReport, names: tuple[str, ...]) -> Deploy:
    known = () if names and _nameless(deploy) else deploy.names
    phases = dict(deploy.phases)
    at = phases.get(report.phase)
    if at is None or report.at < at:
        phases[report.phase] = report.at
    return msgspec.structs.replace(
        deploy,
        names=tuple(dict.fromkeys((*known, *names)))[: changes.MAX_NAMES],
        phases=phases,
        tellers=deploy.tellers if report.source in deploy.tellers else (*deploy.tellers, report.source),
        title=deploy.title or report.title,
        author=deploy.author or report.author,
        url=deploy.url or report.url,
        ref=deploy.ref or report.ref,
        images=report.images or deploy.images,
        config_revision=report.config_revision or deploy.config_revision,
        detail=report.detail or deploy.detail,
        facts=changes.later(deploy.facts, deploy.facts_at, report.facts, report.at),
        facts_at=max(report.at, deploy.facts_at or report.at) if report.facts else deploy.facts_at,
    )


def _tell(deploy: Deploy, before: Deploy | None, book: Rulebook) -> Deploy:
    """Ask for a change event once, when the deploy first takes effect."""
    if not (_EFFECT & deploy.phases.keys()) or (before is not None and _EFFECT & before.phases.keys()):
        return deploy
    receiver = _receiver(deploy, book)
    targets = [t for t in receiver.targets if t.tells_changes] if receiver else []
    if not targets:
        return deploy
    wishes = {
        t.id: Destination(lane=Lane.REST, want=Want.TRIGGERED, want_version=deploy.version + 1)
        for t in targets
    }
    return msgspec.structs.replace(deploy, destinations=wishes, version=deploy.version + 1)


def _receiver(deploy: Deploy, book: Rulebook) -> Receiver | None:
    known = book.services.get(deploy.service)
    if known is not None and known.receiver:
        return book.receivers.get(known.receiver)
    labels = {book.labels.service[0]: deploy.service, book.labels.environment[0]: deploy.environment}
    return book.receivers.get(book.route(labels)[0].receiver)


def _bounded(deploys: tuple[Deploy, ...], now: datetime) -> tuple[Deploy, ...]:
    """Newest first; what still has something to deliver is kept whatever its age."""
    ordered = sorted(deploys, key=lambda d: max(d.phases.values()), reverse=True)
    return tuple(
        d
        for i, d in enumerate(ordered)
        if i == 0
        or any(x.due for x in d.destinations.values())
        or (i < KEEP_DEPLOYS and now - max(d.phases.values()) <= KEEP_FOR)
    )
