"""Which deploy a report tells of: by the teller's own run of it, else by the names of its version.

A run (GitLab's deployment, Argo CD's operation, a Rollout's revision) names one deploy for
certain: reports of one run belong together in whatever order they arrive, and two runs
of one teller are two deploys, however alike. Across tellers, and for those without runs, versions are
joined by their names. Argo CD syncs the same version again by itself, so there another run of
what serves already is no new deploy.

Images need care: a report may list a proxy beside the service, and the pods of the last version
beside those of the new one. So the service's own image counts where one bears its name, and
tags that the last deploy had already do not name a new one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from router.decide.changes import VERSION_LIKE, tags
from router.decide.suspects import same_version
from router.model.events import DeployPhase, OriginKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from router.model.deploys import Deploy
    from router.model.events import DeployReport, ServiceDeploy

#: Reports of one deploy come within this time; the same version told later is a new deploy.
SAME_DEPLOY: Final = timedelta(hours=6)
#: What a version is called that no teller names.
UNKNOWN: Final = "unknown"
#: Two readings of one run's start may differ by so many seconds (Argo CD's history and its operation do).
_SAME_START: Final = 1
#: Whose ref is the application's own; Argo's names a branch, or a chart's version, of the configuration.
_NAMED_BY_REF: Final = {OriginKind.GITLAB_PROJECT, OriginKind.SERVICE}
#: Steps towards serving; after another version has taken over they tell of a return to this one.
_FORWARD: Final = {
    DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED, DeployPhase.SWITCHED,
    DeployPhase.LIVE,
}  # fmt: skip
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
    near = [i for i in here if _within(report.at, deploys[i])]
    named = [i for i in near if any(same_version(a, b) for a in called for b in deploys[i].names)]
    told = [i for i in named if deploys[i].phases.get(report.phase) == report.at]
    free = [i for i in named if not _other_run(deploys[i], report)]
    fit = [i for i in free if i in told or not _returns(deploys[i], deploys, report, skew)]
    if fit:
        return min(fit, key=lambda i: (i not in told, _distance(report.at, deploys[i])))
    again = _synced_again(deploys, near, named, report)
    if again is not None:
        return again
    return next((i for i in near if _same_teller(report, called, deploys[i])), None)


def twin(
    deploys: Sequence[Deploy], mine: int, called: tuple[str, ...], report: DeployReport, skew: timedelta
) -> int | None:
    """Return the deploy that another teller has told of, now that this report names what had no name.

    Argo CD tells of a sync before it knows the images; only then can it be found beside GitLab's deployment.
    """
    if not called or not nameless(deploys[mine]):
        return None
    others = [d for i, d in enumerate(deploys) if i != mine]
    found = find(others, deploys[mine].environment, called, _without_run(report), skew)
    if found is None or _runs_clash(others[found], deploys[mine]):
        return None
    return found + (found >= mine)


def _without_run(report: DeployReport) -> DeployReport:
    return msgspec.structs.replace(report, run="")


def _runs_clash(one: Deploy, other: Deploy) -> bool:
    """True where one teller has called them by different runs."""
    tellers = {run.partition(" ")[0] for run in one.runs}
    return any(run.partition(" ")[0] in tellers for run in other.runs)


def run_of(report: DeployReport) -> str:
    """Return the run as a deploy keeps it, or "" where the teller has none."""
    return f"{report.source} {report.run}" if report.run else ""


def same_run(deploy: Deploy, report: DeployReport) -> bool:
    """True where the deploy is surely the one that the report tells of."""
    run = run_of(report)
    return bool(run) and any(_equal(run, known) for known in deploy.runs)


def _equal(left: str, right: str) -> bool:
    if left == right:
        return True
    a, b = _AT(left), _AT(right)
    return a is not None and b is not None and a[1] == b[1] and abs(int(a[2]) - int(b[2])) <= _SAME_START


def _other_run(deploy: Deploy, report: DeployReport) -> bool:
    """True where the deploy is surely another one: the teller has called it by another run."""
    mine = f"{report.source} "
    return bool(report.run) and any(known.startswith(mine) for known in deploy.runs)


def _within(at: datetime, deploy: Deploy) -> bool:
    phases = deploy.phases.values()
    return min(phases) - SAME_DEPLOY <= at <= max(phases) + SAME_DEPLOY


def _distance(at: datetime, deploy: Deploy) -> timedelta:
    return min(abs(at - known) for known in deploy.phases.values())


def _synced_again(
    deploys: Sequence[Deploy], near: Sequence[int], named: Sequence[int], report: DeployReport
) -> int | None:
    """Return what Argo CD has synced once more: a version that no other one has replaced meanwhile.

    Another commit of the configuration is a change, also where it leaves the images as they are.
    """
    if report.origin_kind is not OriginKind.ARGOCD_APPLICATION or not report.run:
        return None
    config = report.config_revision
    same = [i for i in near if deploys[i].config_revision == config != "" or (i in named and not config)]
    kept = [i for i in same if not _returns(deploys[i], deploys, report, timedelta(0))]
    return min(kept, key=lambda i: _distance(report.at, deploys[i]), default=None)


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
