"""How GitLab's pipelines and jobs are read."""

from __future__ import annotations

import pytest

from router.model.events import UNDATED, DeployPhase, Heartbeat, Trouble
from router.sources._gitlab_steps import step
from tests.unit.sources.gitlab_bodies import GITLAB, SHA, WEB, at, heartbeat, load, parse, unreadable

# -- pipelines


def test_a_blue_green_pipeline_tells_each_step():
    """A finished pipeline is a build; its jobs tell what they did to the environment, by name or stage."""
    told = parse(load("pipeline-blue-green"))
    assert {(r.phase, r.environment, r.at) for r in told} == {
        (DeployPhase.BUILT, "", at(10, 20)),
        (DeployPhase.GREEN_DEPLOYED, "production", at(10, 1)),
        (DeployPhase.GREEN_TESTED, "production", at(10, 3)),
        (DeployPhase.SWITCHED, "production", at(10, 5)),
        (DeployPhase.CLEANED_UP, "production", at(10, 20)),
    }
    assert {r.revision for r in told} == {SHA}
    assert {r.run for r in told} == {""}, "only a deployment is a deploy"
    assert {(r.title, r.author, r.ref) for r in told} == {("Round totals half even", "Dana Example", "main")}
    built, switched = told[0], next(r for r in told if r.phase is DeployPhase.SWITCHED)
    assert (built.event_id, built.url) == (
        f"{GITLAB}:pipeline:4711:3001:success:2026-11-20T10:20:00+00:00",
        "https://gitlab.example.com/shop/checkout/-/pipelines/3001",
    )
    assert (switched.event_id, switched.url) == (
        f"{GITLAB}:job:4711:5004:success",
        "https://gitlab.example.com/shop/checkout/-/jobs/5004",
    )


def test_a_step_counts_before_its_pipeline_is_through():
    """A switch in a running or failed pipeline is told, with the same id as later."""
    doc = load("pipeline-blue-green")
    whole = parse(doc)
    doc["object_attributes"]["status"] = "running"
    assert parse(doc) == whole[1:]
    doc["object_attributes"]["status"] = "failed"
    assert parse(doc)[1:] == whole[1:]


@pytest.mark.parametrize(
    ("name", "stage", "phase"),
    [
        ("switch", "deploy", DeployPhase.SWITCHED),
        ("Traffic Switch", "", DeployPhase.SWITCHED),
        ("switch_traffic: [eu]", "", DeployPhase.SWITCHED),
        ("promote-production", "", DeployPhase.SWITCHED),
        ("promote-to-prod", "", DeployPhase.SWITCHED),
        ("promote:green", "", DeployPhase.SWITCHED),
        ("promote-staging-to-production", "", DeployPhase.SWITCHED),
        ("switch-traffic-eu-1", "", DeployPhase.SWITCHED),
        ("switch: [eu-central-1a, us-east-1]", "", DeployPhase.SWITCHED),
        ("switch westeurope 2", "", DeployPhase.SWITCHED),
        ("switchTraffic 1/3", "", DeployPhase.SWITCHED),
        ("switch_to_green", "", DeployPhase.SWITCHED),
        ("switch-from-blue-to-green", "", DeployPhase.SWITCHED),
        ("switch-to-green-from-blue", "", DeployPhase.SWITCHED),
        ("blue-green", "switch-traffic", DeployPhase.SWITCHED),
        ("switch-blue-green", "", DeployPhase.SWITCHED),
        ("switch-back", "", DeployPhase.ROLLED_BACK),
        ("switch_back: [eu]", "switch", DeployPhase.ROLLED_BACK),
        ("switch_to_blue", "switch", DeployPhase.ROLLED_BACK),
        ("switch-blue", "", DeployPhase.ROLLED_BACK),
        ("switch-traffic-to-blue-prod", "", DeployPhase.ROLLED_BACK),
        ("Switch from green to blue", "", DeployPhase.ROLLED_BACK),
        ("traffic-back", "switch", DeployPhase.ROLLED_BACK),
        ("traffic to blue", "switch", DeployPhase.ROLLED_BACK),
        ("traffic", "switch", DeployPhase.SWITCHED),
        ("traffic", "", None),
        ("promote-docs", "promote", None),
        ("promote-docs-to-prod", "", None),
        ("promote-image", "", None),
        ("promote-blue", "", None),
        ("promote:größe", "", None),
        ("switch-java-version", "switch", None),
        ("switch-back-office", "switch", None),
        ("switch-traffic-off", "", None),
        ("switch-traffic (dry-run)", "switch", None),
        ("dry_run switch", "switch", None),
        ("switch", "dryRun", None),
        ("switch-plan", "switch", None),
        ("plan", "switch", None),
        ("cleanup-dry-run", "cleanup", None),
        ("deploy-green:plan", "deploy-green", None),
        ("rollback-dry-run", "rollback", None),
        ("planet", "switch", DeployPhase.SWITCHED),
        ("rollback-test", "rollback", None),
        ("rollback-smoke-tests", "", None),
        ("rollback: drill", "rollback", None),
        ("test-rollback", "rollback", None),
        ("test-rollback", "test-green", None),
        ("test-green-rollback", "", None),
        ("smoke-rollback", "smoke", None),
        ("prod-rollback", "rollback", DeployPhase.ROLLED_BACK),
        ("prod-rollback", "switch", None),
        ("prepare-rollback", "cleanup", None),
        ("verify", "switch", None),
        ("back-to-blue", "switch", None),
        ("revert-traffic", "switch", None),
        ("back-end", "switch", DeployPhase.SWITCHED),
        ("delete-blue", "cleanup", DeployPhase.CLEANED_UP),
        ("deploy: [green]", "", DeployPhase.GREEN_DEPLOYED),
        ("deploy_green", "switch", DeployPhase.GREEN_DEPLOYED),
        ("test-green", "", DeployPhase.GREEN_TESTED),
        ("green smoke tests", "", DeployPhase.GREEN_TESTED),
        ("cleanup-blue", "", DeployPhase.CLEANED_UP),
        ("clean up", "", DeployPhase.CLEANED_UP),
        ("rollback", "switch", DeployPhase.ROLLED_BACK),
        ("roll-back production", "", DeployPhase.ROLLED_BACK),
        ("anything", "Switch", DeployPhase.SWITCHED),
        ("switchboard", "promotion", None),
        ("deploy", "deploy", None),
        (None, None, None),
    ],
)
def test_jobs_are_known_by_name_then_stage(name, stage, phase):
    """Names that teams give such jobs are understood; look-alikes are not."""
    doc = load("pipeline-blue-green")
    doc["object_attributes"]["status"] = "running"
    doc["builds"] = [{**doc["builds"][2], "name": name, "stage": stage}]
    assert [r.phase for r in parse(doc) if not isinstance(r, Heartbeat)] == ([phase] if phase else [])


def test_a_jobs_own_environment_may_follow_the_verb():
    """Teams call environments as they like: what is meant by a word is known by the job's environment."""
    doc = load("pipeline-blue-green")
    doc["object_attributes"]["status"] = "running"
    doc["builds"] = [{**doc["builds"][2], "name": "promote-emporium"}]
    assert [type(t) for t in parse(doc)] == [Heartbeat]
    doc["builds"][0]["environment"] = {"name": "shops/Emporium"}
    (report,) = parse(doc)
    assert (report.phase, report.environment) == (DeployPhase.SWITCHED, "shops/Emporium")


@pytest.mark.parametrize("action", ["prepare", "verify", "access"])
@pytest.mark.parametrize(
    ("name", "tested"),
    [
        ("switch", False),
        ("rollback", False),
        ("cleanup", False),
        ("deploy-green", False),
        ("test-green", True),
        ("smoke", True),
    ],
)
def test_a_job_that_only_looks_at_an_environment_has_tested_it_at_most(action, name, tested):
    """By environment.action it put nothing into the environment, whatever it is called."""
    doc = load("pipeline-blue-green")
    doc["object_attributes"]["status"] = "running"
    doc["builds"] = [
        {**doc["builds"][2], "name": name, "environment": {"name": "production", "action": action}}
    ]
    phases = [t.phase for t in parse(doc) if not isinstance(t, Heartbeat)]
    assert phases == ([DeployPhase.GREEN_TESTED] if tested else [])


@pytest.mark.parametrize(
    "change",
    [
        {"environment": None},
        {"status": "failed"},
        {"finished_at": None},
        {"id": None},
        {"environment": {"name": ""}},
    ],
)
def test_a_job_counts_only_when_it_succeeded_in_an_environment(change):
    """A step without place, time, number or success says nothing."""
    doc = load("pipeline-blue-green")
    doc["builds"] = [{**doc["builds"][2], **change}, "junk", None]
    assert [r.phase for r in parse(doc)] == [DeployPhase.BUILT]


def test_a_pipelines_title_author_and_address_have_substitutes():
    """The merge request's title wins; without addresses and names there are less good ones, or none."""
    doc = load("pipeline-blue-green")
    doc["merge_request"] = {"title": "Totals"}
    del doc["object_attributes"]["url"], doc["commit"]
    built = parse(doc)[0]
    assert (built.title, built.author) == ("Totals", "dana")
    assert built.url == "https://gitlab.example.com/shop/checkout/-/pipelines/3001"
    del doc["project"]["web_url"]
    assert {r.url for r in parse(doc)} == {""}


@pytest.mark.parametrize(("which", "many", "told"), [(2, 101, 101), (1, 2001, 1)])
def test_a_pipeline_of_very_many_jobs_is_bounded_and_says_so(which, many, told):
    """A hundred effects of 2,000 jobs are told; that there were more goes to the dead letters."""
    doc = load("pipeline-blue-green")
    one = doc["builds"][which]
    doc["builds"] = [{**one, "id": i} for i in range(many)]
    *reports, trouble = parse(doc)
    assert len(reports) == told
    assert isinstance(trouble, Trouble)
    assert "pipeline 3001" in trouble.reason
    doc["builds"].pop()
    assert not any(isinstance(t, Trouble) for t in parse(doc))


@pytest.mark.parametrize("attributes", [None, {}, [], {"sha": "not a sha", "status": "success"}])
def test_a_pipeline_without_commit_is_trouble(attributes):
    """Nothing can be joined without a commit."""
    doc = {**load("pipeline-blue-green"), "object_attributes": attributes}
    unreadable(parse(doc), "pipeline_unreadable", "object_attributes.sha")


def test_a_failed_pipeline_tells_how_each_step_went():
    """The worst of a step's jobs counts; a job with an environment belongs to no step."""
    (report,) = parse(load("pipeline-failed"))
    assert (report.phase, report.detail, report.revision) == (DeployPhase.CHECKED, "failed", SHA)
    assert report.facts == {
        "build": "success",
        "test": "canceled",
        "security": "failed",
        "quality": "failed (allowed)",
        "package": "success",
        "pipeline": "3002",
        "pipeline_status": "failed",
    }
    assert (report.at, report.url) == (at(10, 4, 30, 250_000), f"{WEB}/-/pipelines/3002")


def test_a_successful_pipeline_is_built_with_its_facts():
    """Success is told as built, however its allowed failures went."""
    doc = load("pipeline-failed")
    doc["object_attributes"]["status"] = "success"
    (report,) = parse(doc)
    assert report.phase is DeployPhase.BUILT
    assert report.event_id == f"{GITLAB}:pipeline:4711:3002:success:2026-11-20T10:04:30.250000+00:00"
    assert (report.facts["pipeline_status"], report.facts["quality"]) == ("success", "failed (allowed)")


@pytest.mark.parametrize("status", ["failed", "canceled", "success"])
def test_a_pipeline_that_ends_once_more_is_another_event(status):
    """After a retry, or a manual job later, the second end is news; a resend is not."""
    doc = load("pipeline-failed")
    doc["object_attributes"]["status"] = status
    first = parse(doc)[0].event_id
    assert parse(doc)[0].event_id == first
    doc["object_attributes"]["finished_at"] = "2026-11-20T10:20:00.000Z"
    assert parse(doc)[0].event_id != first


@pytest.mark.parametrize(
    ("statuses", "fact"),
    [
        (["success", "failed", "canceled"], "failed"),
        (["canceled", "success", "skipped"], "canceled"),
        (["skipped", "success", "manual"], "success"),
        (["manual", "skipped"], "skipped"),
        (["running", "pending", "created", "some_new_word", None], None),
        (["running", "success"], "success"),
    ],
)
def test_the_worst_final_job_speaks_for_its_step(statuses, fact):
    """Jobs that have not ended say nothing yet."""
    doc = load("pipeline-failed")
    doc["builds"] = [{**doc["builds"][1], "status": s} for s in statuses]
    assert parse(doc)[0].facts.get("build") == fact


@pytest.mark.parametrize("status", ["success", "failed", "canceled"])
@pytest.mark.parametrize(
    ("attributes", "default", "request_to", "told"),
    [
        ({"ref": "main"}, "main", None, True),
        ({"ref": "v4.2.0", "tag": True}, "main", None, True),
        ({"ref": "totals"}, "main", None, False),
        ({"ref": "totals", "tag": "true"}, "main", None, False),
        ({"ref": "totals", "source": "merge_request_event"}, "main", "main", True),
        ({"ref": "totals", "source": "merge_request_event"}, "main", "release/4", False),
        ({"ref": "totals"}, None, None, True),
    ],
)
def test_pipelines_that_lead_to_deploys_are_told(attributes, default, request_to, told, status):
    """Tags, the default branch and requests into it; other branches' pipelines are heartbeats."""
    doc = load("pipeline-failed")
    doc["object_attributes"].update(attributes, status=status)
    doc["project"]["default_branch"] = default
    doc["merge_request"] = request_to and {"target_branch": request_to, "title": "Totals"}
    if told:
        assert parse(doc)[0].detail == status
    else:
        assert parse(doc) == heartbeat("pipeline_branch")


def test_a_branchs_pipeline_still_tells_what_it_did_to_an_environment():
    """Whoever deploys from a branch has deployed."""
    doc = load("pipeline-blue-green")
    whole = parse(doc)
    doc["object_attributes"]["ref"] = "totals"
    assert [r.event_id for r in parse(doc)] == [r.event_id for r in whole[1:]]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("running", "running"),
        ("waiting_for_callback", "waiting_for_callback"),
        ("skipped", "skipped"),
        ("manual", "manual"),
        ("failure", "other"),
        (None, "other"),
    ],
)
def test_a_pipeline_that_has_not_ended_is_a_heartbeat(status, word):
    """Its word is one of GitLab's statuses, or other."""
    doc = load("pipeline-failed")
    doc["object_attributes"]["status"] = status
    assert parse(doc) == heartbeat(f"pipeline_{word}")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("2026-11-20 10:20:00 UTC", at(10, 20)),
        ("2026-11-20 11:20:00 +0100", at(10, 20)),
        ("2026-11-20T10:20:00.123Z", at(10, 20, 0, 123_000)),
        ("2026-11-20T11:20:00+01:00", at(10, 20)),
        ("2026-11-20", at(0, 0)),
        ("yesterday", UNDATED),
        ("0001-01-01T00:00:00Z", UNDATED),
        (None, UNDATED),
    ],
)
def test_times_are_read_in_every_spelling(written, told):
    """GitLab has written times in four ways; what is none leaves the event undated."""
    doc = load("pipeline-failed")
    doc["object_attributes"]["finished_at"] = written
    assert parse(doc)[0].at == told


# -- jobs


def test_a_job_and_its_pipeline_tell_the_same():
    """Whoever ticks both kinds of events gets each step once: report and event id are the same."""
    (report,) = parse(load("job-switch-success"))
    assert report.phase is DeployPhase.SWITCHED
    assert report == next(r for r in parse(load("pipeline-blue-green")) if r.phase is DeployPhase.SWITCHED)


def test_a_job_of_a_step_tells_how_it_went():
    """The step is known before the pipeline ends."""
    (report,) = parse(load("job-security-failed"))
    assert (report.phase, report.facts) == (DeployPhase.CHECKED, {"security": "failed"})
    assert (report.event_id, report.environment) == (f"{GITLAB}:job:4711:5105:failed", "")
    assert (report.revision, report.ref, report.at) == (SHA, "main", at(10, 1, 10))
    assert (report.url, report.detail) == (f"{WEB}/-/jobs/5105", "container_scanning")
    assert (report.title, report.author) == ("Round totals half even", "Dana Example")


@pytest.mark.parametrize("kind", ["build", "job"])
def test_a_job_hook_calls_itself_build_or_job(kind):
    """GitLab sends build; some senders and tests write job."""
    assert parse({**load("job-security-failed"), "object_kind": kind}) == parse(load("job-security-failed"))


def test_an_allowed_failure_is_no_failure():
    """It is said that it failed, and that this was allowed."""
    doc = {**load("job-security-failed"), "build_allow_failure": True}
    assert parse(doc)[0].facts == {"security": "failed (allowed)"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"build_status": "running"}, "running"),
        ({"build_status": "skipped"}, "skipped"),
        ({"build_status": "some_new_word"}, "other"),
        ({"build_status": None}, "other"),
        ({"build_name": "notify", "build_stage": ".post"}, "failed"),
        ({"ref": "totals"}, "branch"),
    ],
)
def test_other_jobs_are_heartbeats(change, word):
    """What has not ended, belongs to no step or to a branch of one's own is not acted on."""
    assert parse({**load("job-security-failed"), **change}) == heartbeat(f"job_{word}")


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"build_id": None}, "build_id"),
        ({"sha": None, "commit": None}, "sha"),
        ({"project": None, "repository": None}, "project"),
    ],
)
def test_a_job_that_cannot_be_placed_is_trouble(change, missing):
    """What a job did cannot be joined without its number, its commit or its project."""
    unreadable(parse({**load("job-security-failed"), **change}), "job_unreadable", missing)


def test_a_job_in_an_environment_counts_on_any_branch():
    """Only a step's verdict is bound to the default branch and to tags."""
    doc = {**load("job-switch-success"), "ref": "totals"}
    assert parse(doc)[0].phase is DeployPhase.SWITCHED
    assert parse({**load("job-security-failed"), "ref": "v4.2.0", "tag": True})[0].facts == {
        "security": "failed"
    }


@pytest.mark.parametrize(
    ("action", "told"),
    [("start", False), ("stop", False), ("prepare", True), ("verify", True), ("access", True)],
)
def test_a_job_that_only_uses_an_environment_belongs_to_its_step(action, told):
    """environment.action says whether a job puts something into its environment."""
    doc = {**load("job-security-failed"), "environment": {"name": "production", "action": action}}
    assert (parse(doc) != heartbeat("job_failed")) is told


def test_a_job_of_an_old_release_names_its_project_by_its_page():
    """Job hooks of old releases have no project; the number is flat, the path is the page's."""
    doc = load("job-security-failed")
    del doc["project"]
    (report,) = parse(doc)
    (new,) = parse(load("job-security-failed"))
    assert (report.event_id, report.origin, report.url) == (new.event_id, new.origin, new.url)
    assert parse({**doc, "ref": "totals"})[0].facts == new.facts, "no default branch is known"


def test_a_job_without_people_has_no_author():
    """A null user and a commit without author are borne."""
    doc = {**load("job-security-failed"), "user": None}
    doc["commit"] = {"id": 3002, "sha": SHA, "message": None}
    assert (parse(doc)[0].author, parse(doc)[0].title) == ("", "")


# -- steps


@pytest.mark.parametrize(
    ("name", "stage", "expected"),
    [
        ("compile", "", "build"),
        ("build:linux", "", "build"),
        ("anything", "build", "build"),
        ("build-image", "build", "build"),
        ("unit-tests: [3.11]", "", "test"),
        ("unitTests", "", "test"),
        ("rspec 1/4", "", "test"),
        ("e2e", "", "test"),
        ("integration", "verify", "test"),
        ("anything", "Test", "test"),
        ("test-image", "test", "test"),
        ("sast", "test", "security"),
        ("semgrep-sast", "test", "security"),
        ("secret_detection", "test", "security"),
        ("gemnasium-dependency_scanning", "test", "security"),
        ("container_scanning", "test", "security"),
        ("dast", "dast", "security"),
        ("trivy image", "package", "security"),
        ("npm-audit", "test", "security"),
        ("anything", "security-scan", "security"),
        ("code_quality", "test", "quality"),
        ("sonarqube-check", "test", "quality"),
        ("eslint", "test", "quality"),
        ("golangci-lint", "build", "quality"),
        ("anything", "lint", "quality"),
        ("anything", "static analysis", "quality"),
        ("docker-build", "build", "package"),
        ("docker push", "", "package"),
        ("publish-image", "", "package"),
        ("anything", "publish", "package"),
        ("anything", "release", "package"),
        ("kaniko", "build", "package"),
        ("pages", "", ""),
        ("deploy-test", "deploy", ""),
        ("deploy-test", "", ""),
        ("notify", ".post", ""),
        ("latest-contest", "attestation", ""),
        ("", "", ""),
    ],
)
def test_a_step_is_known_by_tool_then_stage_then_name(name, stage, expected):
    """GitLab's scanners run in the stage test, so a tool's name counts before the stage."""
    assert step(name, stage) == expected
