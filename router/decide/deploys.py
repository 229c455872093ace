"""Deploys into one record: tellers are joined by the names they use for a version.

In GitOps the Argo CD revision is a commit of the *config* repository, so it is kept
but never joined on; image tags and application commits are.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from router.decide import changes, joining
from router.decide.decision import Decision, Snapshot
from router.model.deploys import Deploy, Ledger
from router.model.destinations import Destination, Lane, Want
from router.model.events import DeployPhase, DeployReport, ServiceDeploy
from router.model.reasons import Why

if TYPE_CHECKING:
    from datetime import datetime

    from router.rulebook.book import Receiver, Rulebook

#: In each environment, and in those that come and go (``review/feature-1``) together.
KEEP_DEPLOYS, KEEP_PASSING = 20, 10
#: Whatever still has something to deliver is kept, up to so many in all.
MOST_DEPLOYS = 200
#: A pipeline has some jobs, and Argo CD may sync one version many times; the latest are remembered.
MAX_RUNS = 16
#: Ledgers hold what may still be suspected or asked about.
KEEP_FOR = timedelta(days=14)

#: Phases that open incidents should hear of.
_NEWS = {
    DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.SWITCHED, DeployPhase.LIVE,
    DeployPhase.FAILED, DeployPhase.CANCELED, DeployPhase.ROLLED_BACK,
}  # fmt: skip
#: What a job of a blue-green pipeline does before it switches traffic.
_GREEN = {DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED}
#: Phases at which a deploy takes effect, so that people are told of the change.
_EFFECT = {DeployPhase.SWITCHED, DeployPhase.LIVE, DeployPhase.ROLLED_BACK}


def decide(event: ServiceDeploy, seen: Snapshot, book: Rulebook, now: datetime) -> Decision:
    """Return what a report changes in its service's ledger."""
    out = Decision()
    ledger = seen.ledger or Ledger(service=event.service)
    report = event.report
    names = joining.names(event, ledger.deploys)
    if report.phase in changes.PHASES:
        changed = _resettled(changes.record(ledger, report, out), book)
        out.ledger = changed
        if changed is not None and report.phase is DeployPhase.TOGGLED:
            out.ledger = _toggled(changed, event, book, now)
        return out
    index = joining.find(ledger.deploys, event.environment, names, report, book.attribution.skew)
    if index is None and report.phase is DeployPhase.CLEANED_UP:
        # The end of something unknown; as a deploy of its own it would only lend its place to the next.
        out.because(Why.DEPLOY_UNCHANGED)
        return out
    rest = ledger.deploys
    if index is None:
        deploy = _new(ledger, event, names)
    else:
        deploy = rest[index]
        rest = rest[:index] + rest[index + 1 :]
    first = report.phase not in deploy.phases
    merged = changes.lend(_merge(deploy, report, names), ledger.changes)
    if index is not None and merged == deploy:
        out.because(Why.DEPLOY_UNCHANGED)
        return out
    known = bool(_EFFECT & deploy.phases.keys())
    merged, rest, folded = _settled(merged, rest, book)
    merged = _tell(merged, book, told=known or folded)
    seen_count = ledger.seen + (1 if first and report.phase in _NEWS else 0)
    where = f" in {event.environment}" if event.environment else ""
    out.because(Why.DEPLOY_RECORDED, f"{event.service} {merged.name} {report.phase}{where}")
    deploys = _bounded((merged, *rest), now)
    out.ledger = msgspec.structs.replace(ledger, deploys=deploys, seen=seen_count)
    return out


def _toggled(ledger: Ledger, event: ServiceDeploy, book: Rulebook, now: datetime) -> Ledger:
    """Return the ledger with the switch of a feature flag as a deploy: it changes what serves as well."""
    report = event.report
    deploy = Deploy(
        id=_unused(f"flag/{report.ref[:64]}", ledger),
        service=event.service,
        environment=event.environment,
        flag=True,
        names=(f"{report.ref} {report.detail}".strip()[:200],),
        phases={DeployPhase.LIVE: report.at},
        tellers=(report.source,),
        told={f"{DeployPhase.LIVE} {report.source}": report.at},
        title=report.title or f"feature flag {report.ref} {report.detail}".strip(),
        author=report.author,
        url=report.url,
        ref=report.ref,
    )
    deploys = _bounded((_tell(deploy, book, told=False), *ledger.deploys), now)
    return msgspec.structs.replace(ledger, deploys=deploys, seen=ledger.seen + 1)


def _unused(stem: str, ledger: Ledger) -> str:
    """Return the next id of a stem: not their number, since an older one may have been forgotten."""
    used = [d.id.rpartition("/") for d in ledger.deploys]
    return f"{stem}/{1 + max((int(n) for before, _, n in used if before == stem), default=0)}"


def _new(ledger: Ledger, event: ServiceDeploy, names: tuple[str, ...]) -> Deploy:
    report = event.report
    first = names[0] if names else (report.config_revision[:12] or joining.UNKNOWN)
    stem = f"{event.environment}/{first[:64]}"
    return Deploy(
        id=_unused(stem, ledger),
        service=event.service,
        environment=event.environment,
        names=names or (first,),
        phases={},
        tellers=(),
    )


def _merge(deploy: Deploy, report: DeployReport, names: tuple[str, ...]) -> Deploy:
    known = () if names and joining.nameless(deploy) else deploy.names
    phases = dict(deploy.phases)
    at = phases.get(report.phase)
    live = report.phase is DeployPhase.LIVE
    if at is None or report.at < at:
        phases[report.phase] = report.at
    said = f"{report.phase} {report.source}"
    merged = msgspec.structs.replace(
        deploy,
        told=_earliest(deploy.told, {said: report.at}),
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
        runs=tuple(dict.fromkeys((*deploy.runs, *joining.runs_of(report))))[-MAX_RUNS:],
        lives=_lives(deploy.lives, {_job(report): report.at}) if live else deploy.lives,
        green_jobs=tuple(dict.fromkeys((*deploy.green_jobs, _job(report))))[-MAX_RUNS:]
        if report.phase in _GREEN and _job(report)
        else deploy.green_jobs,
        facts=changes.later(deploy.facts, deploy.facts_at, report.facts, report.at),
        facts_at=max(report.at, deploy.facts_at or report.at) if report.facts else deploy.facts_at,
    )
    return _green(merged)


def _settled(
    deploy: Deploy, rest: tuple[Deploy, ...], book: Rulebook
) -> tuple[Deploy, tuple[Deploy, ...], bool]:
    """Return the deploy with all records that turn out to be it, the rest, and whether one was told."""
    told = False
    while (other := joining.fold((deploy, *rest), deploy, book.attribution.skew)) is not None:
        told = told or bool(_EFFECT & other.phases.keys())
        rest = tuple(d for d in rest if d is not other)
        deploy = _folded(*sorted((other, deploy), key=_age))
    return deploy, rest, told


def _resettled(ledger: Ledger | None, book: Rulebook) -> Ledger | None:
    """Return the ledger with those deploys folded that a change's tag has shown to be one."""
    if ledger is None:
        return None
    done: tuple[Deploy, ...] = ()
    waiting = ledger.deploys
    while waiting:
        deploy, waiting, _ = _settled(waiting[0], waiting[1:], book)
        done = (*done, deploy)
    return msgspec.structs.replace(ledger, deploys=done)


def _age(deploy: Deploy) -> tuple[bool, datetime, str]:
    """Order by who gives a folded record its id: a named one, then the earlier."""
    return (joining.nameless(deploy), min(deploy.phases.values()), deploy.id)


def _folded(deploy: Deploy, other: Deploy) -> Deploy:
    """Return one deploy of two that turned out to be the same; the first one's words count, wishes add up."""
    names = deploy.names if joining.nameless(other) else tuple(dict.fromkeys((*deploy.names, *other.names)))
    return _green(
        msgspec.structs.replace(
            deploy,
            names=names[: changes.MAX_NAMES],
            phases=_earliest(deploy.phases, other.phases),
            told=_earliest(deploy.told, other.told),
            blamed={**other.blamed, **deploy.blamed},
            tellers=tuple(dict.fromkeys((*deploy.tellers, *other.tellers))),
            runs=tuple(dict.fromkeys((*deploy.runs, *other.runs)))[-MAX_RUNS:],
            title=deploy.title or other.title,
            author=deploy.author or other.author,
            url=deploy.url or other.url,
            ref=deploy.ref or other.ref,
            images=deploy.images or other.images,
            config_revision=deploy.config_revision or other.config_revision,
            facts=changes.bounded({**other.facts, **deploy.facts}),
            destinations={**other.destinations, **deploy.destinations},
            version=max(deploy.version, other.version),
            lives=_lives(deploy.lives, other.lives),
            green_jobs=tuple(dict.fromkeys((*deploy.green_jobs, *other.green_jobs))),
        )
    )


def _green(deploy: Deploy) -> Deploy:
    """Return the deploy, live since the first success that is not only that of a job which made green ready.

    GitLab makes a deployment of each job of a blue-green pipeline. The last of them puts traffic on it.
    """
    if not deploy.lives:
        return deploy
    phases = {phase: at for phase, at in deploy.phases.items() if phase is not DeployPhase.LIVE}
    told = [at for job, at in deploy.lives.items() if job not in deploy.green_jobs]
    if told:
        phases[DeployPhase.LIVE] = min(told)
    return msgspec.structs.replace(deploy, phases=phases or deploy.phases)


def _lives(one: dict[str, datetime], other: dict[str, datetime]) -> dict[str, datetime]:
    """Return when each job (or "", somebody without one) told of it as live, the earliest."""
    return dict(list(_earliest(one, other).items())[-MAX_RUNS:])


def _earliest(one: dict[str, datetime], other: dict[str, datetime]) -> dict[str, datetime]:
    """Return the times of both, the earlier where both have one."""
    return one | {name: min(at, one.get(name, at)) for name, at in other.items()}


def _job(report: DeployReport) -> str:
    return next((name for name in report.also if name.startswith("job-")), "")


def _tell(deploy: Deploy, book: Rulebook, *, told: bool) -> Deploy:
    """Ask for a change event once, when the deploy first takes effect."""
    if told or _passing(deploy) or not (_EFFECT & deploy.phases.keys()):
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


def _passing(deploy: Deploy) -> bool:
    """True for a deploy into an environment that comes and goes: GitLab names those ``<folder>/<name>``."""
    return "/" in deploy.environment


def _bounded(deploys: tuple[Deploy, ...], now: datetime) -> tuple[Deploy, ...]:
    """Newest first; no environment crowds out another, and what has something to deliver is kept."""
    ordered = sorted(deploys, key=lambda d: max(d.phases.values()), reverse=True)
    seen: Counter[str] = Counter()
    kept = []
    for i, d in enumerate(ordered):
        place = "/" if _passing(d) else d.environment
        seen[place] += 1
        few = seen[place] <= (KEEP_PASSING if _passing(d) else KEEP_DEPLOYS)
        young = now - max(d.phases.values()) <= KEEP_FOR
        if i == 0 or (few and young) or any(x.due for x in d.destinations.values()):
            kept.append(d)
    return tuple(kept[:MOST_DEPLOYS])
