"""Which deploy a report tells of: by the teller's own run of it, else by the names of its version.

A run (GitLab's deployment, Argo CD's operation, a Rollout's revision) names one deploy for
certain: reports of one run belong together in whatever order they arrive. Across tellers, and for
those without runs, versions are joined by their names. Two runs of one teller are two deploys, unless
they follow each other closely with no other version between: GitLab makes a deployment of each
job of a blue-green pipeline, and Argo CD syncs again by itself.

What is told later may show that two records are one (a pipeline's jobs, a tag, the images of a sync):
then they are folded.

Images need care: a report may list a proxy beside the service, and the pods of the last version
beside those of the new one. So the service's own image counts where one bears its name, and
tags that the last deploy had already do not name a new one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from router.decide.changes import VERSION_LIKE, tags
from router.decide.versions import same_version
from router.model.events import DeployPhase, OriginKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from router.model.deploys import Deploy
    from router.model.events import DeployReport, ServiceDeploy

#: Reports of one deploy come within this time; the same version told later is a new deploy.
SAME_DEPLOY: Final = timedelta(hours=6)
#: What a version is called that no teller names.
UNKNOWN: Final = "unknown"
#: Runs of one teller that follow each other so closely, of one version, are one deploy.
CLOSE: Final = timedelta(minutes=30)
#: A run that begins so long after a deploy has taken effect tells of another one (its configuration alone).
LATE: Final = timedelta(hours=1)
#: Two readings of one run's start may differ by so many seconds (Argo CD's history and its operation do).
_SAME_START: Final = 1
#: Whose ref is the application's own; Argo's names a branch, or a chart's version, of the configuration.
_NAMED_BY_REF: Final = {OriginKind.GITLAB_PROJECT, OriginKind.SERVICE}
#: Steps towards serving; after another version has taken over they tell of a return to this one.
_FORWARD: Final = {
    DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED, DeployPhase.SWITCHED,
    DeployPhase.LIVE,
}  # fmt: skip
_PIPELINE: Final = " +pipeline-"
_AT: Final = re.compile(r"(.+)@(\d{1,12})").fullmatch


# --- what a version is called -----------------------------------------------------------------------


def names(event: ServiceDeploy, deploys: Sequence[Deploy]) -> tuple[str, ...]:
    """Return the names of a report's version: tags, images, commit, a version-like ref."""
    report = event.report
    found = [*report.names, *_image_names(event, deploys)]
    if report.revision:
        found.append(report.revision.lower())
    if report.origin_kind in _NAMED_BY_REF and VERSION_LIKE.fullmatch(report.ref):
        found.append(report.ref)
    return tuple(dict.fromkeys(found))


def _image_names(event: ServiceDeploy, deploys: Sequence[Deploy]) -> list[str]:
    report = event.report
    own = [i for i in report.images if _bears(i, event.service, report.origin.rpartition("/")[2])]
    found = tags(own or report.images)
    last = _last(event.environment, deploys, report)
    if len(found) <= 1 or last is None:
        return found
    known = set(tags(last.images))
    fresh = [tag for tag in found if tag not in known]
    # Nothing new: the same version once more, called as it was called.
    return fresh or [tag for tag in found if tag in last.names] or found


def _bears(image: str, *owners: str) -> bool:
    """True for ``registry/shop/payment-service:1.42.0`` of payment-service, or of payment-service-prod."""
    base = image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    return bool(base) and any(o.lower() == base or o.lower().startswith(f"{base}-") for o in owners)


def _last(environment: str, deploys: Sequence[Deploy], report: DeployReport) -> Deploy | None:
    """Return the newest deploy before this report that tells its images, but this report's own."""
    before = [
        d
        for d in deploys
        if d.environment == environment and d.images and not same_run(d, report) and _first(d) <= report.at
    ]
    return max(before, key=_first, default=None)


def _first(deploy: Deploy) -> datetime:
    return min(deploy.phases.values())


def nameless(deploy: Deploy) -> bool:
    """True where no teller has named the version yet."""
    return deploy.names == (deploy.config_revision[:12] or UNKNOWN,)


# --- which deploy -----------------------------------------------------------------------------------


def find(
    deploys: Sequence[Deploy],
    environment: str,
    called: tuple[str, ...],
    report: DeployReport,
    skew: timedelta,
) -> int | None:
    """Return the index of the deploy that this report tells of, None where it is a new one."""
    here = [i for i, d in enumerate(deploys) if d.environment == environment]
    if (mine := next((i for i in here if same_run(deploys[i], report)), None)) is not None:
        return mine
    piped = [i for i in here if _same_pipeline(deploys[i], report)]
    near = [i for i in here if _within(report.at, deploys[i])]
    named = [i for i in near if _named(called, deploys[i])]
    told = [i for i in named if deploys[i].phases.get(report.phase) == report.at]
    free = [i for i in named if not _other_run(deploys[i], report) and not _late(report, deploys[i])]
    back = {i for i in {*piped, *free} if i not in told and _returns(deploys[i], deploys, report, skew)}
    fit = [i for i in piped if i not in back] or [i for i in free if i not in back]
    if fit:
        return min(fit, key=lambda i: (i not in told, _distance(report.at, deploys[i])))
    if (again := _run_again(deploys, here, named, report)) is not None:
        return again
    return next((i for i in near if _same_teller(report, called, deploys[i])), None)


def fold(deploys: Sequence[Deploy], changed: Deploy, skew: timedelta) -> Deploy | None:
    """Return a deploy of these that turns out to be the changed one, None where there is none."""
    others = [d for d in deploys if d is not changed and d.environment == changed.environment]
    return next((d for d in others if _one(changed, d, others, skew)), None)


def _one(a: Deploy, b: Deploy, others: Sequence[Deploy], skew: timedelta) -> bool:
    """True where two records are one deploy, by ids that only one can have, or by names and times."""
    early, late = sorted((a, b), key=_first)
    if _strong(a.runs) & _strong(b.runs):
        return True
    if _separated(early, late, others, skew):
        return False
    if _piped(a.runs) & _piped(b.runs):
        return True
    if nameless(a) or nameless(b) or not _named(a.names, b):
        return False
    gap = _first(late) - max(early.phases.values())
    if _clash(a, b):
        return gap <= CLOSE and not _other_config(a, b)
    served = effect(early)
    return gap <= (LATE if served is not None and late.runs else SAME_DEPLOY)


def _separated(early: Deploy, late: Deploy, others: Sequence[Deploy], skew: timedelta) -> bool:
    """True where another version served between the two."""
    served, until = effect(early), effect(late) or _first(late)
    if served is None or served > until:
        return False
    alone = len({*early.tellers, *late.tellers}) == 1
    rest = [d for d in others if d is not early and d is not late and not _named(d.names, early)]
    ends = [at for d in rest if (at := effect(d)) is not None]
    ends += [at for at in (early.phases.get(DeployPhase.ROLLED_BACK),) if at is not None]
    return any(served < at < until - (timedelta(0) if alone else skew) for at in ends)


# --- runs -------------------------------------------------------------------------------------------


def runs_of(report: DeployReport) -> tuple[str, ...]:
    """Return the ids of a report as a deploy keeps them: ``gitlab deployment-5``, ``gitlab +job-9001``."""
    own = (f"{report.source} {report.run}",) if report.run else ()
    return (*own, *(f"{report.source} +{name}" for name in report.also))


def _base(run: str) -> str:
    return run.replace(" +", " ", 1)


def _piped(runs: Iterable[str]) -> set[str]:
    """Return the ids that say less: an old pipeline's job may be run once more, to go back."""
    return {run for run in runs if _PIPELINE in run}


def _strong(runs: Iterable[str]) -> set[str]:
    return {_base(run) for run in runs if _PIPELINE not in run}


def same_run(deploy: Deploy, report: DeployReport) -> bool:
    """True where the deploy is surely the one that the report tells of."""
    known = _strong(deploy.runs)
    return any(_equal(run, one) for run in _strong(runs_of(report)) for one in known)


def _same_pipeline(deploy: Deploy, report: DeployReport) -> bool:
    return bool(_piped(deploy.runs) & _piped(runs_of(report)))


def _equal(left: str, right: str) -> bool:
    if left == right:
        return True
    a, b = _AT(left), _AT(right)
    return a is not None and b is not None and a[1] == b[1] and abs(int(a[2]) - int(b[2])) <= _SAME_START


def _own(runs: Iterable[str]) -> set[str]:
    """Return the tellers whose own id of the deploy is among these."""
    return {run.partition(" ")[0] for run in runs if " +" not in run}


def _other_run(deploy: Deploy, report: DeployReport) -> bool:
    """True where the teller has called the deploy by another run."""
    return bool(report.run) and report.source in _own(deploy.runs)


def _clash(a: Deploy, b: Deploy) -> bool:
    """True where one teller has called the two by different runs."""
    return bool(_own(a.runs) & _own(b.runs))


def _apps(runs: Iterable[str]) -> set[str]:
    """Return what of runs ``<application>@<start>`` is the application."""
    return {match[1] for run in runs if (match := _AT(run)) is not None}


def _other_config(a: Deploy, b: Deploy) -> bool:
    """True where one application was synced to two commits of its configuration: those are two changes."""
    differ = a.config_revision != b.config_revision and bool(a.config_revision and b.config_revision)
    return differ and bool(_apps(a.runs) & _apps(b.runs))


def _run_again(
    deploys: Sequence[Deploy], here: Sequence[int], named: Sequence[int], report: DeployReport
) -> int | None:
    """Return what is run once more, with no other version between.

    Another commit of an application's configuration is a change, also where it leaves the images as they are.
    """
    if not report.run:
        return None
    apps, config = _apps(runs_of(report)), report.config_revision
    same = []
    for i in here:
        d = deploys[i]
        mine = bool(apps & _apps(d.runs))
        synced = mine and d.config_revision == config != ""
        close = i in named and _distance(report.at, d) <= CLOSE
        if synced or (close and not (mine and config and d.config_revision)):
            same.append(i)
    kept = [i for i in same if not _returns(deploys[i], deploys, report, timedelta(0))]
    return min(kept, key=lambda i: _distance(report.at, deploys[i]), default=None)


# --- names and times --------------------------------------------------------------------------------


def _named(called: Iterable[str], deploy: Deploy) -> bool:
    return any(same_version(a, b) for a in called for b in deploy.names)


def _late(report: DeployReport, deploy: Deploy) -> bool:
    """True for a run that its teller tells of long after the deploy has taken effect."""
    return bool(report.run) and effect(deploy) is not None and report.at - max(deploy.phases.values()) > LATE


def _within(at: datetime, deploy: Deploy) -> bool:
    phases = deploy.phases.values()
    return min(phases) - SAME_DEPLOY <= at <= max(phases) + SAME_DEPLOY


def _distance(at: datetime, deploy: Deploy) -> timedelta:
    return min(abs(at - known) for known in deploy.phases.values())


def _same_teller(report: DeployReport, called: tuple[str, ...], deploy: Deploy) -> bool:
    """True where one teller spoke before and after it knew the images; two versions are never one deploy."""
    if _other_run(deploy, report):
        return False
    if report.config_revision != deploy.config_revision or (called and not nameless(deploy)):
        return False
    return bool(report.config_revision) or (not called and nameless(deploy))


def _returns(deploy: Deploy, deploys: Sequence[Deploy], report: DeployReport, skew: timedelta) -> bool:
    """True where this version served, another took its place, and the report steps forward after that.

    Clocks of several tellers may differ by ``skew``; one teller's own do not.
    """
    served = effect(deploy)
    if served is None or report.phase not in _FORWARD:
        return False
    ends = [(d, effect(d)) for d in deploys if d is not deploy and d.environment == deploy.environment]
    ends.append((deploy, deploy.phases.get(DeployPhase.ROLLED_BACK)))
    for other, at in ends:
        one_clock = {*other.tellers, *deploy.tellers} == {report.source}
        if at is not None and served < at < report.at - (timedelta(0) if one_clock else skew):
            return True
    return False


def effect(deploy: Deploy) -> datetime | None:
    """Return when the deploy began to serve, None where it has not (yet)."""
    return deploy.phase_at(DeployPhase.SWITCHED, DeployPhase.LIVE)
