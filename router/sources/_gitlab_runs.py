"""GitLab's deployments, pipelines and jobs.

A job is told twice where both hooks are ticked, in its pipeline's body and in its own; both
give the same event id. A pipeline's body has all jobs, so only it knows how a whole step
went; a job's own body comes earlier.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from router.kit import wire
from router.model.events import UNDATED, DeployPhase, DeployReport, Told, Trouble
from router.sources import _gitlab_body as body
from router.sources import _gitlab_effects as effects
from router.sources import _gitlab_steps as steps

#: GitLab allows far fewer jobs that touch an environment in one pipeline.
MAX_JOBS: Final = 100
#: Beyond what GitLab lets one pipeline have by default; all are looked at for how their step went.
MAX_JOBS_READ: Final = 2000

_DEPLOYMENT_PHASES: Final = {
    "running": DeployPhase.STARTED,
    "success": DeployPhase.LIVE,  # the job that puts the version into the environment is done
    "failed": DeployPhase.FAILED,
    "canceled": DeployPhase.CANCELED,
}
#: Of pipelines and jobs (GitLab, app/models/concerns/ci/has_status.rb).
_STATUSES: Final = frozenset({
    "created", "waiting_for_resource", "waiting_for_callback", "preparing", "pending", "running", "success",
    "failed", "canceling", "canceled", "skipped", "manual", "scheduled",
})  # fmt: skip
#: How a job or pipeline that ran has ended. A skipped one never ran, a manual one waits for a person.
_ENDED: Final = frozenset({"success", "failed", "canceled"})
#: What ``environment.action`` says of a job that uses an environment and puts nothing into it.
_LOOKS_ONLY: Final = frozenset({"prepare", "verify", "access"})


def deployment(doc: dict[str, Any]) -> list[Told]:
    """Read a Deployment Hook; a rollback is just a deployment of an older commit."""
    status = wire.text(doc, "status", limit=40)
    phase = _DEPLOYMENT_PHASES.get(status)
    if phase is None:  # created, blocked, skipped, approvals and what later releases may add
        return []
    where, at = body.project(doc), body.time(doc, "status_changed_at")
    environment = wire.text(doc, "environment", limit=255)
    tail = wire.text(doc, "commit_url", limit=1000).partition("?")[0].rpartition("/")[2]
    revision = body.full_sha(tail) or body.sha(wire.text(doc, "short_sha"))
    name = _deployment_name(doc, f"{revision}+{environment}", at)
    if where is None or not environment or not name:
        needed = {"project": where, "environment": environment, "deployment_id": name}
        return body.unreadable("deployment", needed)
    tier = wire.text(doc, "environment_tier", limit=40)
    url = wire.text(doc, "deployable_url", limit=1000)
    if not url and where.web_url:
        url = f"{where.web_url}/-/environments"
    report = body.report(
        where,
        f"deployment:{where.id}:{name}:{status}",
        phase,
        at,
        environment=environment,
        revision=revision,
        ref=wire.text(doc, "ref"),
        title=wire.first_line(wire.text(doc, "commit_title")),
        author=body.person(doc, "user"),
        url=url,
        detail=status,
        facts={"tier": tier} if tier else {},
        run=_run(doc),
        also=(f"job-{job}",) if (job := wire.text(doc, "deployable_id", limit=40)) else (),
    )
    return [report]


def _run(doc: dict[str, Any]) -> str:
    """Return GitLab's own id of the deployment; that of its job where an old release gives no other."""
    number, job = wire.text(doc, "deployment_id", limit=40), wire.text(doc, "deployable_id", limit=40)
    if number:
        return f"deployment-{number}"
    return f"job-{job}" if job else ""


def _deployment_name(doc: dict[str, Any], what: str, at: datetime | None) -> str:
    """Return what tells this deployment from others; "" where nothing does.

    Old releases give no number. The job's is as good; without it the time must tell a second
    deployment of the same commit (a rollback) from the first.
    """
    run = _run(doc)
    if run:
        return run.removeprefix("deployment-")
    return f"{what}+{at.isoformat()}" if at is not None else ""


class _Job(msgspec.Struct, frozen=True):
    """A job, from whichever body."""

    number: str
    name: str
    stage: str
    status: str
    allow_failure: bool
    environment: str
    action: str
    finished: datetime | None

    @property
    def step(self) -> str:
        """One of the five steps, or "": what puts something into an environment is told as that."""
        if self.environment and self.action not in _LOOKS_ONLY:
            return ""
        return steps.step(self.name, self.stage)

    @property
    def verdict(self) -> str:
        """How it ended; "" where it has not."""
        return steps.verdict(self.status, allow_failure=self.allow_failure)


def _job(doc: Any, prefix: str = "") -> _Job:
    """Return the job in an entry of ``builds``, or with prefix ``build_`` in a Job Hook's body."""
    return _Job(
        number=wire.text(doc, f"{prefix}id", limit=40),
        name=wire.text(doc, f"{prefix}name"),
        stage=wire.text(doc, f"{prefix}stage"),
        status=wire.text(doc, f"{prefix}status", limit=40),
        allow_failure=wire.dig(doc, f"{prefix}allow_failure") is True,
        environment=wire.text(doc, "environment", "name", limit=255),
        action=wire.text(doc, "environment", "action", limit=40),
        finished=body.time(doc, f"{prefix}finished_at", f"{prefix}finished_at_iso"),
    )


def _effect(
    where: body.Project, one: _Job, url: str, common: dict[str, str], pipeline: str
) -> DeployReport | None:
    """Return what a job did to an environment, whether or not its pipeline is through.

    A job that only uses an environment may have tested it, and cannot have changed it.
    """
    if not one.environment or not one.number or one.finished is None or one.status != "success":
        return None
    phase = effects.job_phase(one.name, one.stage, one.environment)
    if phase is None or (one.action in _LOOKS_ONLY and phase is not DeployPhase.GREEN_TESTED):
        return None
    event = f"job:{where.id}:{one.number}:success"
    url = _job_url(where, one) or url
    also = (f"job-{one.number}", *((f"pipeline-{pipeline}",) if pipeline else ()))
    return body.report(
        where,
        event,
        phase,
        one.finished,
        environment=one.environment,
        url=url,
        detail=one.name,
        also=also,
        **common,
    )


def _job_url(where: body.Project, one: _Job) -> str:
    return f"{where.web_url}/-/jobs/{one.number}" if where.web_url else ""


# -- pipelines


def pipeline(doc: dict[str, Any]) -> list[Told]:
    """Read a Pipeline Hook: the pipeline itself, and what its jobs did to environments."""
    where, attributes = body.project(doc), wire.dig(doc, "object_attributes")
    revision = body.sha(wire.text(attributes, "sha"))
    if where is None or not revision:
        return body.unreadable("pipeline", {"project": where, "object_attributes.sha": revision})
    number, status = wire.text(attributes, "id", limit=40), wire.text(attributes, "status", limit=40)
    url = wire.text(attributes, "url", limit=1000)
    if not url and where.web_url and number:
        url = f"{where.web_url}/-/pipelines/{number}"
    common = {
        "revision": revision,
        "ref": wire.text(attributes, "ref"),
        "title": wire.text(doc, "merge_request", "title")
        or wire.first_line(wire.text(doc, "commit", "title") or wire.text(doc, "commit", "message")),
        "author": body.name(doc, "commit", "author", "name") or body.person(doc, "user"),
    }
    builds = wire.dig(doc, "builds")
    found = builds if isinstance(builds, list) else []
    jobs = [_job(entry) for entry in found[:MAX_JOBS_READ]]
    effects = [report for one in jobs if (report := _effect(where, one, url, common, number)) is not None]
    told: list[Told] = []
    leads = _leads_to_deploys(doc, where)
    if leads and status in _ENDED:
        told.append(_outcome(where, attributes, jobs, {**common, "url": url}))
    told += effects[:MAX_JOBS]
    if not told:
        told.append(body.heartbeat(_status("pipeline", status) if leads else "pipeline_branch"))
    if len(found) > MAX_JOBS_READ or len(effects) > MAX_JOBS:
        told.append(
            Trouble(
                source=body.KIND,
                reason=f"pipeline {number}: more than {MAX_JOBS_READ} jobs, or more than {MAX_JOBS} that "
                "changed an environment; those beyond were not read",
            )
        )
    return told


def _leads_to_deploys(doc: dict[str, Any], where: body.Project) -> bool:
    """True for pipelines of tags, of the default branch, and of merge requests into it."""
    attributes = wire.dig(doc, "object_attributes")
    if where.leads_to_deploys(wire.text(attributes, "ref"), tag=wire.dig(attributes, "tag") is True):
        return True
    return wire.text(doc, "merge_request", "target_branch") == where.default_branch


def _outcome(where: body.Project, attributes: Any, jobs: list[_Job], common: dict[str, str]) -> DeployReport:
    """Return how a pipeline ended, with how each of its steps did."""
    number, status = wire.text(attributes, "id", limit=40), wire.text(attributes, "status", limit=40)
    finished = body.time(attributes, "finished_at", "updated_at")
    facts: dict[str, str] = {}
    for one in jobs:
        if one.verdict and (step := one.step):
            facts[step] = steps.worse(facts.get(step, ""), one.verdict)
    if number:
        facts["pipeline"] = number
    facts["pipeline_status"] = status
    # a pipeline ends again after a retry, or after a manual job, and otherwise than before
    ended = (finished or UNDATED).isoformat()
    event = f"pipeline:{where.id}:{number or common['revision']}:{status}:{ended}"
    phase = DeployPhase.BUILT if status == "success" else DeployPhase.CHECKED
    return body.report(where, event, phase, finished, detail=status, facts=facts, **common)


def _status(what: str, status: str) -> str:
    return f"{what}_{status if status in _STATUSES else 'other'}"


# -- jobs


def job(doc: dict[str, Any]) -> list[Told]:
    """Read a Job Hook (``object_kind`` is ``build``): an effect on an environment, or a step's verdict."""
    where, one = body.project(doc), _job(doc, "build_")
    # commit.id is the pipeline's number, and in newer releases pipeline_id
    revision = body.sha(wire.text(doc, "sha"), wire.text(doc, "commit", "sha"))
    if where is None or not revision or not one.number:
        needed = {"project": where, "sha": revision, "build_id": one.number}
        return body.unreadable("job", needed)
    common = {
        "revision": revision,
        "ref": wire.text(doc, "ref"),
        "title": wire.first_line(wire.text(doc, "commit", "message")),
        "author": body.name(doc, "commit", "author_name") or body.person(doc, "user"),
    }
    pipeline = wire.text(doc, "pipeline_id", limit=40) or wire.text(doc, "commit", "id", limit=40)
    effect = _effect(where, one, "", common, pipeline)
    if effect is not None:
        return [effect]
    if not where.leads_to_deploys(common["ref"], tag=wire.dig(doc, "tag") is True):
        return [body.heartbeat("job_branch")]
    if one.status not in _ENDED or not one.step:
        return [body.heartbeat(_status("job", one.status))]
    event = f"job:{where.id}:{one.number}:{one.status}"
    report = body.report(
        where,
        event,
        DeployPhase.CHECKED,
        one.finished,
        url=_job_url(where, one),
        detail=one.name,
        facts={one.step: one.verdict},
        **common,
    )
    return [report]
