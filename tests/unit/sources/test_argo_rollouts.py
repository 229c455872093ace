"""What a Rollout and the trigger beside it prove, and that the shipped ConfigMap fits the source."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from router.model.errors import Rejected
from router.model.events import UNDATED, DeployPhase, Heartbeat, OriginKind
from router.sources import argo_rollouts

PAYLOADS = Path(__file__).parents[2] / "payloads" / "argo_rollouts"
SHIPPED = Path(__file__).parents[3] / "deploy" / "argo-rollouts" / "notifications.yaml"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
ID = "argo_rollouts:2f0c7a54-91d3-4d0e-8d6b-6f3f1e9a7c42"
RUN = ID.partition(":")[2]
OLD, NEW = "6cbccd9f99", "74b948fccb"
IMAGE = "registry.example.com/shop/payment-service:v1.42.0"
WHY = 'Metric "error-rate" assessed Failed due to failed (1) > failureLimit (0)'

STARTED, GREEN, TESTED = DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED
SWITCHED, LIVE, FAILED = DeployPhase.SWITCHED, DeployPhase.LIVE, DeployPhase.FAILED
ROLLED_BACK = DeployPhase.ROLLED_BACK


def load(name):
    """Return a recorded body, decoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def parse(doc):
    """Return what the document tells."""
    return argo_rollouts.build().parse({}, json.dumps(doc).encode())


def at(minute, second=0):
    """Return a time of the morning that all payloads play on."""
    return datetime(2026, 11, 20, 10, minute, second, tzinfo=UTC)


def steps(doc):
    """Return the phases told, with their times."""
    return {report.phase: report.at for report in parse(doc)}


def status(doc):
    """Return the rollout's status in the document."""
    return doc["rollout"]["status"]


BEFORE = {STARTED: at(0, 31), GREEN: at(2), TESTED: at(3)}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("updated", {STARTED: UNDATED}),
        ("analysis-successful", BEFORE),
        ("paused", BEFORE),
        ("switched", {**BEFORE, SWITCHED: UNDATED}),
        ("completed", {**BEFORE, SWITCHED: at(5, 2), LIVE: UNDATED}),
        ("whole-rollout", {TESTED: at(10, 3), SWITCHED: at(10, 3), LIVE: at(10, 3)}),
        ("aborted", {**BEFORE, SWITCHED: at(5, 2), FAILED: UNDATED}),
        ("moved-back", {**BEFORE, SWITCHED: at(5, 2), ROLLED_BACK: UNDATED}),
        ("rolled-back-state", {**BEFORE, SWITCHED: at(5, 2), ROLLED_BACK: at(7, 3)}),
        ("canary-step", {STARTED: at(0, 31)}),
    ],
)
def test_a_body_tells_all_that_it_proves(name, told):
    """Trigger and status together give each phase once, in order, with the times that they know."""
    found = steps(load(name))
    assert found == told
    assert list(found) == list(told)


def test_a_report_names_the_rollout_and_its_images():
    """Images join the deploy with what others tell of it; the labels name the environment."""
    report = parse(load("completed"))[-1]
    assert (report.origin_kind, report.origin) == (OriginKind.ARGO_ROLLOUT, "shop-prod/payment-service")
    assert (report.environment, report.images, report.names) == ("prod", (IMAGE,), ())
    assert report.event_id == f"{ID}:r12:live"
    assert report.facts == {
        "strategy": "blue-green",
        "revision": "12",
        "phase": "Progressing",
        "pod_hash": NEW,
        "stable_hash": OLD,
        "active_hash": NEW,
        "preview_hash": NEW,
        "pre_promotion": "Successful",
        "post_promotion": "Successful",
    }


def test_all_bodies_of_one_update_give_the_same_ids():
    """However often and by whatever trigger a phase is told, it counts once."""
    ids = {}
    for name in ("updated", "analysis-successful", "paused", "switched", "completed", "whole-rollout"):
        for report in parse(load(name)):
            ids.setdefault(report.phase, set()).add(report.event_id)
    assert ids == {phase: {f"{ID}:r12:{phase}"} for phase in (STARTED, GREEN, TESTED, SWITCHED, LIVE)}


def test_all_reports_of_one_update_bear_its_run():
    """The run is the rollout and its revision, so that a return to an earlier version is another."""
    for name in ("updated", "analysis-successful", "paused", "switched", "completed", "whole-rollout"):
        assert {report.run for report in parse(load(name))} == {f"{RUN}:r12"}
    doc = load("whole-rollout")
    doc["metadata"]["annotations"]["rollout.argoproj.io/revision"] = "14"
    del doc["metadata"]["uid"]
    assert {report.run for report in parse(doc)} == {"shop-prod/payment-service:r14"}


def test_without_a_revision_the_pod_hash_makes_the_run():
    """Where the status is still that of the version before, its hash names no run."""
    doc = load("completed")
    del doc["rollout"]["metadata"]["annotations"]
    assert {report.run for report in parse(doc)} == {f"{RUN}:{NEW}"}
    doc["trigger"] = "on-rollout-updated"
    assert [report.run for report in parse(doc)] == [""]
    doc = load("completed")
    doc["rollout"]["metadata"] |= {"annotations": {}, "generation": 88}
    assert {report.run for report in parse(doc)} == {""}


def test_images_by_digest_are_told_as_they_are():
    """They name the version, so that the pod hash is none."""
    image = f"registry.example.com/shop/payment-service@sha256:{'0b31b1c0' * 8}"
    doc = load("completed")
    doc["rollout"]["spec"]["template"]["spec"]["containers"] = [{"image": image}]
    assert {(report.images, report.names) for report in parse(doc)} == {((image,), ())}


def test_a_return_to_an_earlier_version_is_told_anew():
    """The same pod hash under a later revision is another update."""
    doc = load("whole-rollout")
    doc["metadata"]["annotations"]["rollout.argoproj.io/revision"] = "14"
    assert {r.event_id for r in parse(doc)}.isdisjoint({r.event_id for r in parse(load("whole-rollout"))})


def test_without_a_revision_hash_and_time_make_the_id():
    """A template that leaves out the annotation still tells two runs of one hash apart."""
    doc = load("whole-rollout")
    del doc["metadata"]["annotations"]
    assert parse(doc)[-1].event_id == f"{ID}:{NEW}:live:2026-11-20T10:10:03+00:00"


def test_a_second_abort_of_one_revision_is_told():
    """An update that is retried can be aborted again."""
    first, second = load("rolled-back-state"), load("rolled-back-state")
    status(second)["abortedAt"] = "2026-11-20T11:00:00Z"
    assert parse(first)[-1].event_id == f"{ID}:r12:rolled_back:2026-11-20T10:07:03+00:00"
    assert parse(first)[-1].event_id == parse(load("moved-back"))[-1].event_id
    assert parse(first)[-1].event_id != parse(second)[-1].event_id
    assert parse(first)[:-1] == parse(second)[:-1]


def test_what_began_is_told_of_the_version_to_come():
    """The first notification still carries the former status: nothing of that is told."""
    (report,) = parse(load("updated"))
    assert status(load("updated"))["phase"] == "Healthy"
    assert (report.images, report.detail) == ((IMAGE,), "")
    assert report.facts == {"strategy": "blue-green", "revision": "12"}


def test_a_first_rollout_has_no_status_and_is_told_as_started():
    """The trigger alone says so."""
    doc = {**load("updated")}
    doc["rollout"]["status"] = {}
    assert steps(doc) == {STARTED: UNDATED}


@pytest.mark.parametrize("place", ["generation", "workload"])
def test_a_status_of_an_earlier_spec_proves_nothing(place):
    """Where the generation seen is not the present one, hashes and images are of two versions."""
    doc = load("whole-rollout")
    if place == "generation":
        doc["metadata"]["generation"] = 88
    else:
        doc["metadata"]["annotations"]["rollout.argoproj.io/workload-generation"] = "5"
        doc["status"]["workloadObservedGeneration"] = "4"
    assert parse(doc) == [Heartbeat(source="argo_rollouts", kind="argo_rollouts:status_behind")]


def test_a_trigger_counts_even_where_the_status_is_behind():
    """The controller's own word about a revision needs no status."""
    for name, told in (
        ("completed", [SWITCHED, LIVE]),
        ("aborted", [FAILED]),
        ("paused", None),
        ("switched", None),
    ):
        doc = load(name)
        doc["rollout"]["metadata"]["generation"] = 88
        assert [getattr(t, "phase", None) for t in parse(doc)] == (told or [None])


# -- blue-green


def test_green_is_up_where_all_pods_are_ready_or_a_pause_says_so():
    """Without analyses the pause tells it with its time, the counts of pods without one."""
    doc = load("switched")
    doc["trigger"], doc["analysisRuns"] = "", []
    status(doc)["blueGreen"] = {"activeSelector": OLD, "previewSelector": NEW}
    assert steps(doc) == {STARTED: at(0, 31), GREEN: UNDATED}
    status(doc)["readyReplicas"] = 5
    assert steps(doc) == {STARTED: at(0, 31)}
    assert steps({**doc, "trigger": "on-rollout-paused"}) == {STARTED: at(0, 31), GREEN: UNDATED}
    status(doc)["pauseConditions"] = [3, {"reason": "BlueGreenPause", "startTime": "2026-11-20T10:03:05Z"}]
    assert steps(doc) == {STARTED: at(0, 31), GREEN: at(3, 5)}
    assert parse(doc)[0].facts.get("pause") is None


def test_a_smaller_preview_is_up_with_fewer_pods():
    """A previewReplicaCount is what the preview needs until promotion."""
    doc = load("switched")
    doc["trigger"], doc["analysisRuns"] = "", []
    status(doc).update(updatedReplicas=1, replicas=4, readyReplicas=4)
    status(doc)["blueGreen"] = {"activeSelector": OLD, "previewSelector": NEW}
    assert GREEN not in steps(doc)
    doc["rollout"]["spec"]["strategy"]["blueGreen"]["previewReplicaCount"] = 1
    assert GREEN in steps(doc)


def test_a_switch_of_the_preview_is_no_switch():
    """One trigger tells of both Services: where the preview was there already, it is the active one."""
    doc = load("switched")
    status(doc)["blueGreen"]["previewSelector"] = OLD
    assert SWITCHED not in steps(doc)
    del doc["rollout"]["spec"]["strategy"]["blueGreen"]["previewService"]
    assert SWITCHED in steps(doc)


def test_a_failed_pre_promotion_analysis_is_no_test_passed():
    """Only Successful is; the run's own word is newer than the rollout's."""
    doc = load("paused")
    doc["analysisRuns"][0]["status"]["phase"] = "Failed"
    assert list(steps(doc)) == [STARTED, GREEN]
    doc["analysisRuns"] = []
    assert list(steps(doc)) == [STARTED, GREEN, TESTED]
    doc = load("paused")
    doc["analysisRuns"][0]["metadata"]["labels"]["rollouts-pod-template-hash"] = OLD
    doc["analysisRuns"][0]["status"]["phase"] = "Failed"
    assert list(steps(doc)) == [STARTED, GREEN, TESTED], "an analysis of another version says nothing"


def test_an_abort_before_the_switch_is_a_failure():
    """Production never saw the new version."""
    doc = load("paused")
    doc["trigger"] = "on-rollout-aborted"
    assert list(steps(doc)) == [STARTED, GREEN, TESTED, FAILED]
    doc["trigger"] = ""
    status(doc).update(
        abort=True, abortedAt="2026-11-20T10:04:00Z", phase="Degraded", message="RolloutAborted: x"
    )
    assert steps(doc)[FAILED] == at(4)
    assert parse(doc)[-1].detail == "RolloutAborted: x"


def test_an_abort_after_the_switch_is_rolled_back_once_traffic_is_seen_back():
    """While the Service still points to the new version, that failed and serves."""
    assert parse(load("aborted"))[-1].phase is FAILED
    state = load("moved-back")
    state["trigger"] = ""
    assert parse(state)[-1].phase is FAILED
    assert parse(load("moved-back"))[-1].phase is ROLLED_BACK
    assert parse(load("rolled-back-state"))[-1].phase is ROLLED_BACK


def test_a_failure_says_why():
    """The condition's message, else the failed analysis' own."""
    assert parse(load("rolled-back-state"))[-1].detail == f"Rollout aborted update to revision 12: {WHY}"
    assert parse(load("aborted"))[-1].detail == f"payment-service-{NEW}-12-post: {WHY}"


def test_an_update_past_its_deadline_failed():
    """A stuck update that was not aborted is Degraded all the same."""
    doc = load("canary-step")
    status(doc)["conditions"][-1] |= {
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": 'ReplicaSet "payment-service-74b948fccb" has timed out progressing.',
        "lastTransitionTime": "2026-11-20T10:11:00Z",
    }
    report = parse(doc)[-1]
    assert (report.phase, report.at) == (FAILED, at(11))
    assert "timed out" in report.detail


def test_a_stable_version_that_turns_bad_is_no_new_deploy():
    """Degraded pods of a version long live tell nothing new, and Argo Rollouts drops an abort of it."""
    doc = load("whole-rollout")
    doc["status"]["phase"] = "Degraded"
    assert list(steps(doc)) == [TESTED, SWITCHED]
    assert list(steps({"rollout": doc, "trigger": "on-rollout-aborted"})) == [TESTED, SWITCHED]


# -- canary and other objects


def test_a_canary_is_started_live_or_failed():
    """Its steps are facts; phases of blue-green are not told of it."""
    doc = load("canary-step")
    assert (
        parse(doc)[0].facts | {"step": "2", "analysis": "Running", "strategy": "canary"}
        == parse(doc)[0].facts
    )
    assert list(steps({**doc, "trigger": "on-rollout-completed"})) == [STARTED, LIVE]
    assert list(steps({**doc, "trigger": "on-rollout-aborted"})) == [STARTED, FAILED]
    assert list(steps({**doc, "trigger": "on-switch-service"})) == [STARTED]
    status(doc).update(stableRS=NEW, phase="Healthy", conditions=[])
    assert steps(doc) == {LIVE: UNDATED}
    status(doc)["phase"] = "Degraded"
    assert parse(doc) == [Heartbeat(source="argo_rollouts", kind="argo_rollouts:degraded")]
    status(doc)["phase"] = "SomethingNew"
    assert parse(doc) == [Heartbeat(source="argo_rollouts", kind="argo_rollouts:other")]


def test_with_a_workload_reference_the_hash_names_the_version():
    """Such a Rollout has no template, so no images."""
    doc = load("completed")
    del doc["rollout"]["spec"]["template"]
    assert {(r.images, r.names) for r in parse(doc)} == {((), (NEW,))}


@pytest.mark.parametrize(("name", "kind"), [("analysis-run", "no_rollout"), ("no-status", "no_status")])
def test_what_tells_no_phase_is_a_heartbeat(name, kind):
    """The triggers also send AnalysisRuns in place of a Rollout; a new Rollout has no status."""
    assert parse(load(name)) == [Heartbeat(source="argo_rollouts", kind=f"argo_rollouts:{kind}")]


@pytest.mark.parametrize(
    "body", [{"rollout": load("whole-rollout")}, {**load("whole-rollout"), "trigger": "x"}]
)
def test_a_whole_rollout_is_taken_on_its_own_or_under_a_name(body):
    """What users send with toRawJson is read like our template's body."""
    assert parse(body) == parse(load("whole-rollout"))


def test_odd_lists_and_times_are_left_out():
    """What is no list, no object and no time proves nothing, and the rest is told."""
    doc = load("rolled-back-state")
    doc["analysisRuns"] = [None, 3, {"metadata": []}, {"status": {"phase": "Failed"}}]
    status(doc).update(conditions=[None, {"type": "Completed", "status": "False", "lastTransitionTime": 7}])
    status(doc).update(abortedAt="0001-01-01T00:00:00Z", pauseConditions="x")
    doc["rollout"]["spec"]["template"]["spec"]["containers"] = [
        None,
        {"image": 3},
        {"image": IMAGE},
        {"image": IMAGE},
    ]
    assert list(steps(doc)) == [STARTED, GREEN, TESTED, SWITCHED, ROLLED_BACK]
    assert set(steps(doc).values()) == {UNDATED}
    assert parse(doc)[0].images == ("3", IMAGE)


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        pytest.param(b"payment-service was updated", "bad_json", "webhook part", id="plain-text"),
        pytest.param(b'{"version": 1, "message": "a "b""}', "bad_json", "toRawJson", id="not-escaped"),
        pytest.param(b"", "bad_json", "notifications.yaml", id="empty"),
        pytest.param(b"{}", "bad_body", "router-rollout", id="empty-object"),
        pytest.param(b'{"version": 2, "rollout": {}}', "unsupported_version", "'version'", id="later"),
        pytest.param(b'{"rollout": "payment-service"}', "bad_body", "nor a Rollout", id="a-name"),
        pytest.param(b'{"rollout": {"metadata": {"name": "x"}}}', "bad_body", "namespace", id="no-namespace"),
        pytest.param(b'{"kind": "Deployment", "metadata": {}}', "bad_body", "kind Deployment", id="other"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_advice(body, code, says):
    """The operator who reads the controller's log learns what to mend in the template."""
    with pytest.raises(Rejected) as caught:
        argo_rollouts.build().parse({}, body)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert says in caught.value.detail


def test_the_secret_is_a_bearer_token_or_a_password():
    """Whichever the webhook service can set."""
    for value in ("Bearer s3cret", "Basic cm9sbG91dHM6czNjcmV0"):
        headers = {"authorization": value}
        assert argo_rollouts.build().verify(headers, b"", [b"old", b"s3cret"], NOW) == 1


def test_real_objects_become_reports_or_heartbeats(shared):
    """Each collected Rollout that has a status with a version is told; the rest are heartbeats."""
    told = {}
    for path in sorted((shared / "corpus" / "argo-rollouts").glob("*.json")):
        found = argo_rollouts.build().parse({}, path.read_bytes())
        told[path.stem.removeprefix("argo-rollouts__")] = [getattr(t, "phase", "") or t.kind for t in found]
    assert told.pop("bluegreen-rollout") == [STARTED, GREEN]
    assert told.pop("canary-demo") == [STARTED]
    assert told.pop("rollout") == [STARTED, FAILED]
    assert told.pop("rollout-invalid") == ["argo_rollouts:no_status"]
    for name in ("analysisrun", "canary-analysis", "canary-exp-analysis"):
        assert told.pop(name) == ["argo_rollouts:no_rollout"]
    assert len(told) == 7
    assert all(phases == [STARTED, FAILED] for phases in told.values()), "all of them are out of time"


def test_the_fields_are_those_of_the_custom_resource(shared):
    """Each field of the status that is read is in the vendor's schema."""
    crd = yaml.safe_load((shared / "specs" / "argo-rollouts-rollout-crd.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    fields = schema["status"]["properties"]
    sent = set()
    for name in ("completed", "rolled-back-state", "canary-step", "updated", "paused"):
        sent |= set(status(load(name)))
    assert sent <= set(fields)
    assert fields["observedGeneration"]["type"] == "string"
    assert set(status(load("completed"))["blueGreen"]) <= set(fields["blueGreen"]["properties"])
    assert (
        "previewReplicaCount"
        in schema["spec"]["properties"]["strategy"]["properties"]["blueGreen"]["properties"]
    )


# -- what we ship


@pytest.fixture(scope="module")
def shipped():
    """Return the parts of the ConfigMap that we ship, decoded."""
    return {name: yaml.safe_load(text) for name, text in yaml.safe_load(SHIPPED.read_text())["data"].items()}


def bodies(shipped):
    """Return the templates' bodies by name."""
    return {
        name.removeprefix("template."): parts["webhook"]["router"]["body"]
        for name, parts in shipped.items()
        if name.startswith("template.")
    }


def test_the_shipped_parts_fit_together(shipped):
    """Every subscribed trigger exists and sends a template that exists and posts to our service."""
    (subscription,) = shipped["subscriptions"]
    triggers = {
        name.removeprefix("trigger."): parts for name, parts in shipped.items() if name.startswith("trigger.")
    }
    assert subscription["triggers"] == list(triggers)
    assert subscription["recipients"] == ["router"]
    assert shipped["service.webhook.router"]["url"].endswith("/webhooks/argo_rollouts")
    sent = {template for (only,) in triggers.values() for template in only["send"]}
    assert sent == set(bodies(shipped))
    for name in sent:
        assert shipped[f"template.{name}"]["webhook"]["router"]["method"] == "POST", "the default is GET"


def test_each_trigger_that_says_more_than_the_status_is_named_in_its_body(shipped):
    """A template cannot ask for its trigger, so each has one of its own, else alike."""
    words = {name: re.search(r'"trigger": "(.*)"', body)[1] for name, body in bodies(shipped).items()}
    known = {
        argo_rollouts.UPDATED, argo_rollouts.PAUSED, argo_rollouts.SWITCHED, argo_rollouts.COMPLETED,
        argo_rollouts.ABORTED,
    }  # fmt: skip
    assert {word for word in words.values() if word} == known
    for name, word in words.items():
        if word:
            assert shipped[f"trigger.{word}"] == [{"send": [name]}]
    assert len({re.sub(r'"trigger": ".*"', "", body) for body in bodies(shipped).values()}) == 1


def test_every_value_of_a_template_is_escaped(shipped):
    """A value that does not go through toRawJson makes invalid JSON as soon as it holds a quote."""
    for body in bodies(shipped).values():
        values = re.findall(r":\s*(\{\{.*?\}\})", body)
        assert len(values) >= 10
        assert all(value.endswith("| toRawJson }}") for value in values)


def test_the_template_writes_what_the_recorded_bodies_hold(shipped):
    """The recorded bodies were rendered from the template: their fields are still the template's."""
    body = bodies(shipped)["router-rollout"]
    fields = set(re.findall(r'^ {2,8}"(\w+)":', body, re.MULTILINE))
    doc = load("completed")
    rollout = doc["rollout"]
    assert fields == {*doc, *rollout, *rollout["metadata"], *rollout["spec"]}
    assert "env" not in json.dumps(rollout["spec"]), "environment variables stay where they are"
    assert "last-applied" not in json.dumps(rollout)
