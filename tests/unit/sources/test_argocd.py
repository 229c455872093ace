"""How the body of our Argo CD template is read, and that the shipped ConfigMap fits it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import yaml

from router.model.errors import Rejected
from router.model.events import DeployPhase, Heartbeat, OriginKind
from router.sources import argocd

PAYLOADS = Path(__file__).parents[2] / "payloads" / "argocd"
SHIPPED = Path(__file__).parents[3] / "deploy" / "argocd" / "notifications.yaml"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
UID = "5b1f6c1e-2a77-4b0e-9d55-0c8f6a2f7a11"
REVISION = "9c1e5f4ad0b1c2d3e4f5061728394a5b6c7d8e9f"
IMAGE = "registry.example.com/shop/checkout:v2.14.0"
RUN = f"{UID}@1795168830"


def load(name):
    """Return a recorded body, decoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def parse(doc):
    """Return what the document tells."""
    return argocd.build().parse({}, json.dumps(doc).encode())


def at(hour, minute, second=0):
    """Return a time of the day that all payloads play on."""
    return datetime(2026, 11, 20, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "phase", "moment"),
    [
        ("sync-running", DeployPhase.STARTED, at(10, 0, 30)),
        ("sync-succeeded", DeployPhase.GREEN_DEPLOYED, at(10, 0, 40)),
        ("config-only", DeployPhase.GREEN_DEPLOYED, at(10, 0, 40)),
        ("deployed", DeployPhase.LIVE, at(10, 2, 5)),
        ("sync-failed", DeployPhase.FAILED, at(10, 0, 40)),
    ],
)
def test_a_sync_tells_what_was_reached(name, phase, moment):
    """Phase and health of the application give the deploy's phase and its time."""
    (report,) = parse(load(name))
    assert (report.phase, report.at) == (phase, moment)
    assert report.event_id == f"argocd:{UID}:{phase}:2026-11-20T10:00:30+00:00"


def test_a_report_is_joined_by_images_only():
    """The revision is one of the configuration's repository: shown, but never taken for the application's."""
    (report,) = parse(load("deployed"))
    assert (report.revision, report.config_revision) == ("", REVISION)
    assert report.images == (IMAGE,)
    assert (report.origin_kind, report.origin) == (
        OriginKind.ARGOCD_APPLICATION,
        "argocd/checkout-production",
    )
    assert (report.environment, report.author, report.ref) == ("production", "dana", "main")
    assert report.url == "https://argocd.example.com/applications/argocd/checkout-production"


def test_a_failure_tells_its_message():
    """Quotes, tags and line breaks of an error arrive as they were; an automated sync has no author."""
    (report,) = parse(load("sync-failed"))
    assert 'webhook "policy.example.com" denied the request:\n\timage tag <latest> & co' in report.detail
    assert report.author == ""


def test_several_sources_show_all_revisions():
    """An application of several sources has no single revision."""
    (report,) = parse(load("several-sources"))
    assert (report.config_revision, report.ref) == (f"{REVISION},1.4.2", "main,1.4.2")


def test_very_many_sources_never_show_the_same_revisions_twice():
    """Each is cut to 12 characters where all would be too long, and a digest keeps the wholes apart."""
    revisions = [f"{n:040x}" for n in range(16**39, 16**39 + 8)]
    shown = set()
    for doc in (
        {"revisions": revisions},
        {"revisions": [*revisions[:-1], revisions[-1][:-1] + "f"]},
        {"revisions": ["f" * 40, *revisions[1:]]},
        {"revisions": [*revisions, "1.4.2"]},
        {"revisions": revisions * 4},
        {"revisions": [*revisions * 4, "1.4.2"]},
    ):
        shown.add(parse({**load("several-sources"), **doc})[0].config_revision)
    assert len(shown) == 6
    assert max(len(text) for text in shown) < 300
    assert any(text.startswith("100000000000,100000000000,") for text in shown)
    assert any(text.startswith("ffffffffffff,100000000000,") for text in shown)


@pytest.mark.parametrize("since", ["2026-11-20T10:00:29Z", "2026-11-19T00:00:00Z", "", None, "soon"])
def test_a_health_older_than_the_sync_is_not_live(since):
    """It is that of the version before; the live that follows has an id of its own, and counts."""
    (early,) = parse({**load("deployed"), "healthSince": since})
    assert (early.phase, early.at, early.images) == (DeployPhase.GREEN_DEPLOYED, at(10, 0, 40), ())
    (true,) = parse(load("deployed"))
    assert (true.phase, true.run) == (DeployPhase.LIVE, early.run)
    assert true.event_id != early.event_id


def test_a_health_that_turned_during_the_sync_is_live_at_its_end():
    """The last wave or hook ends the sync; before that not all of it was applied."""
    doc = {**load("deployed"), "healthSince": "2026-11-20T10:00:30Z"}
    assert [(r.phase, r.at) for r in parse(doc)] == [(DeployPhase.LIVE, at(10, 0, 40))]
    del doc["finishedAt"]
    assert parse(doc)[0].at == at(10, 0, 30)


@pytest.mark.parametrize("name", ["sync-running", "sync-succeeded", "sync-failed", "config-only"])
def test_images_are_told_with_live_only(name):
    """Before health has settled they are those of all pods alive, the former version's among them."""
    assert load(name)["images"]
    assert [r.images for r in parse(load(name))] == [()]
    assert [r.images for r in parse(load("deployed"))] == [(IMAGE,)]


@pytest.mark.parametrize("name", ["sync-running", "sync-succeeded", "deployed", "sync-failed", "config-only"])
def test_all_reports_of_one_operation_bear_its_run(name):
    """The run is the application and the second at which the operation began."""
    assert [r.run for r in parse(load(name))] == [RUN]
    doc = load(name)
    del doc["app"]["uid"]
    assert [r.run for r in parse(doc)] == ["argocd/checkout-production@1795168830"]
    assert parse({**doc, "startedAt": "2026-11-20T10:00:31Z"})[0].run.endswith("@1795168831")


def test_the_same_operation_told_by_two_triggers_is_one_event():
    """Whichever trigger sent it, the id is of what was reached."""
    doc = load("deployed")
    assert parse(doc) == parse({**doc, "trigger": "router-sync-succeeded"})


def test_a_new_sync_of_the_same_revision_is_a_new_event():
    """Going back to an earlier revision is told again."""
    doc = load("deployed")
    assert parse({**doc, "startedAt": "2026-11-20T12:00:00Z"})[0].event_id != parse(doc)[0].event_id


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("health-degraded", "degraded"),
        ("dry-run", "dry_run"),
        ("partial", "partial"),
        ("never-synced", "no_operation"),
    ],
)
def test_what_deploys_nothing_is_a_heartbeat(name, kind):
    """Dry runs, partial syncs and health alone say nothing of a version."""
    assert parse(load(name)) == [Heartbeat(source="argocd", kind=f"argocd:{kind}")]


@pytest.mark.parametrize(("phase", "kind"), [("Terminating", "terminating"), ("SomethingNew", "other")])
def test_an_unknown_phase_is_a_heartbeat(phase, kind):
    """A word of a later release is taken and counted under a bounded name."""
    assert parse({**load("deployed"), "phase": phase}) == [Heartbeat(source="argocd", kind=f"argocd:{kind}")]


def test_a_traffic_switch_is_told():
    """A hook's short body says when traffic was switched, and by its images for which version."""
    (report,) = parse(load("traffic-switched"))
    assert (report.phase, report.at, report.images) == (DeployPhase.SWITCHED, at(10, 5), (IMAGE,))
    assert report.event_id == "argocd:argocd/checkout-production:switched:2026-11-20T10:05:00+00:00"
    assert report.run == "", "a hook does not know when its operation began"


def test_a_sync_may_tell_the_switch_along():
    """A template with trafficSwitchedAt tells both; with the phase alone the sync's end is the switch."""
    doc = {**load("deployed"), "trafficSwitchedAt": "2026-11-20T10:01:00Z"}
    assert [(r.phase, r.at) for r in parse(doc)] == [
        (DeployPhase.SWITCHED, at(10, 1)),
        (DeployPhase.LIVE, at(10, 2, 5)),
    ]
    assert {(r.images, r.run) for r in parse(doc)} == {((IMAGE,), RUN)}
    assert parse({**load("deployed"), "phase": "switched"})[0].at == at(10, 0, 40)
    assert parse({**load("sync-running"), "phase": "switched"})[0].at == at(10, 0, 30)


@pytest.mark.parametrize(
    "change", [{"health": "Progressing"}, {"phase": "Running"}, {"healthSince": "2026-11-19T08:12:40Z"}]
)
def test_a_switch_told_along_has_no_images_before_health_has_settled(change):
    """What a template writes is what Argo CD sees; only a hook's own body names them by hand."""
    doc = {**load("deployed"), "trafficSwitchedAt": "2026-11-20T10:01:00Z", **change}
    assert {(r.images, r.run) for r in parse(doc)} == {((), RUN)}
    assert parse({**doc, "phase": "switched"})[0].images == (IMAGE,)


def test_lists_and_labels_of_odd_kinds_are_left_out():
    """What is no list of texts is no image, and what is no label is no environment."""
    doc = {
        **load("deployed"),
        "images": [1, None, " ", IMAGE, *[IMAGE] * 100],
        "revisions": "x",
        "revision": None,
    }
    doc["app"]["labels"] = ["env"]
    (report,) = parse(doc)
    assert (len(report.images), report.environment, report.config_revision) == (47, "", "")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        pytest.param(b"checkout-production was synced", "bad_json", "webhook part", id="plain-text"),
        pytest.param(b'{"version": 1, "message": "a "b""}', "bad_json", "toRawJson", id="not-escaped"),
        pytest.param(b"", "bad_json", "notifications.yaml", id="empty"),
        pytest.param(b'{"metadata": {"name": "x"}}', "bad_body", "'metadata'", id="no-namespace-in-metadata"),
        pytest.param(b'{"kind": "Application", "status": {}}', "bad_body", "'metadata'", id="no-metadata"),
        pytest.param(b'{"kind": "Rollout", "metadata": {}}', "bad_body", "kind Rollout", id="another-object"),
        pytest.param(b"{}", "bad_body", "too little", id="empty-object"),
        pytest.param(
            b'{"state": "success", "context": "ci/argocd", "description": "synced", "target_url": "https://x"}',
            "bad_body", "router-deploy", id="commit-status",
        ),
        pytest.param(b'{"text": "synced", "attachments": []}', "bad_body", "router-deploy", id="slack-like"),
        pytest.param(b'{"app": "x", "status": "Synced"}', "bad_body", "router-deploy", id="flat"),
        pytest.param(b'{"app": {"name": "x"}}', "bad_body", "router-deploy", id="flat-object"),
        pytest.param(
            b'{"metadata": {"name": "x", "namespace": "y"}, "status": {"operationState": {"phase":"Error"}}}',
            "bad_body", "status.operationState.startedAt", id="application-without-start",
        ),
        pytest.param(b'{"version": 2}', "unsupported_version", "'version'", id="later-version"),
        pytest.param(b'{"version": 1, "app": {"name": "x"}}', "bad_body", "app.namespace", id="no-namespace"),
        pytest.param(
            b'{"version": 1, "app": {"name": "x", "namespace": "y"}, "phase": "Running"}',
            "bad_body", "startedAt", id="no-start",
        ),
        pytest.param(
            b'{"version": 1, "app": {"name": "x", "namespace": "y"}, "phase": "switched"}',
            "bad_body", "trafficSwitchedAt", id="no-switch-time",
        ),
    ],
)  # fmt: skip
def test_a_body_that_is_not_our_templates_is_refused_with_advice(body, code, says):
    """The operator who reads Argo CD's log learns what to mend in the template."""
    with pytest.raises(Rejected) as caught:
        argocd.build().parse({}, body)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert says in caught.value.detail


def test_any_of_three_ways_carries_the_secret():
    """A header of its own, a bearer token or basic auth's password, whichever the service can set."""
    for headers in (
        {"x-argocd-token": "s3cret"},
        {"authorization": "Bearer s3cret"},
        {"authorization": "Basic YXJnb2NkOnMzY3JldA=="},
    ):
        assert argocd.build().verify(headers, b"", [b"old", b"s3cret"], NOW) == 1


def test_what_else_is_known_is_told_as_facts():
    """Project, destination, health, sync and who asked for it; what is not known is left out."""
    assert parse(load("deployed"))[0].facts == {
        "project": "shop",
        "destination": "https://kubernetes.default.svc/checkout",
        "health": "Healthy",
        "sync": "Synced",
        "initiated_by": "dana",
    }
    assert parse(load("sync-failed"))[0].facts["initiated_by"] == "auto-sync"
    assert parse(load("traffic-switched"))[0].facts == {}


def test_a_hydrated_application_tells_its_branch_and_named_cluster():
    """A source hydrator stands in place of spec.source, and a destination may have a name only."""
    (report,) = parse(load("hydrated"))
    assert (report.ref, report.facts["destination"]) == ("env/production", "prod-eu/checkout")


# -- whole Applications


def test_a_whole_application_tells_what_our_template_tells():
    """The same state gives the same report and id, whichever form it comes in."""
    context = {"argocdUrl": "https://argocd.example.com"}
    app = load("application")
    (expected,) = parse(load("deployed"))
    for doc in (
        {"app": app, "context": context},
        {"application": app, "context": context, "trigger": "on-health-degraded"},
        {"Application": app, "context": {"argocdUrl": "https://argocd.example.com/"}, "version": 7},
    ):
        assert parse(doc)[-1] == expected
    assert parse(app)[-1] == msgspec.structs.replace(expected, url="")
    assert parse(load("application-in-context"))[-1] == expected


def test_several_sources_of_a_whole_application():
    """Of several sources the revisions are told as our template tells them, charts' versions included."""
    app = load("application")
    app["spec"]["sources"] = [app["spec"].pop("source"), {"chart": "checkout", "targetRevision": "1.4.2"}]
    app["status"]["operationState"]["syncResult"] |= {"revision": "", "revisions": [REVISION, "1.4.2"]}
    doc = {"app": app, "context": {"argocdUrl": "https://argocd.example.com"}}
    assert parse(doc)[-1] == parse(load("several-sources"))[0]
    app["spec"]["sources"] += [{"ref": "values"}, None, {"targetRevision": "main"}, {"targetRevision": 7}]
    app["status"]["history"][1]["sources"] = app["spec"]["sources"]
    del app["status"]["history"][1]["source"]
    assert [r.ref for r in parse(doc)] == ["main,1.4.2,7", "main,1.4.2,7"]
    app["spec"]["sources"] = "main"
    assert parse(doc)[-1].ref == ""


def test_a_monorepo_tells_the_revision_that_was_deployed():
    """The compared revision moves with commits for other applications; the synced one is told."""
    app = load("application")
    assert app["status"]["sync"]["revision"] != REVISION
    assert parse(app)[-1].config_revision == REVISION


def test_history_tells_lost_operations_once():
    """Earlier operations are told under their own ids, without images; the present one is not told again."""
    before, now = parse(load("application"))
    assert (before.phase, before.at) == (DeployPhase.GREEN_DEPLOYED, at(8, 15, 12))
    assert before.event_id == f"argocd:{UID}:green_deployed:2026-11-20T08:15:00+00:00"
    assert (before.images, before.author) == ((), "")
    assert (before.run, now.run) == (f"{UID}@1795162500", RUN)
    assert before.facts["initiated_by"] == "auto-sync"
    assert "health" not in before.facts
    assert (now.phase, now.author) == (DeployPhase.LIVE, "dana")


@pytest.mark.parametrize(
    ("status", "read"),
    [
        ({"health": {"status": "Healthy", "lastTransitionTime": "2026-11-19T08:12:40Z"}}, "10:02:06"),
        ({"health": {"status": "Healthy"}}, "10:02:06"),
        ({"health": {"status": "Healthy", "lastTransitionTime": "2026-11-20T10:00:35Z"}}, "10:00:39"),
    ],
    ids=["older-than-the-operation", "since-when-is-not-said", "not-read-since-its-end"],
)
def test_a_whole_application_is_live_only_by_its_own_operation(status, read):
    """Health and images are of before until Argo CD has looked again after the operation's end."""
    app = load("application")
    app["status"] |= {**status, "reconciledAt": f"2026-11-20T{read}Z"}
    report = parse(app)[-1]
    assert (report.phase, report.images, report.run) == (DeployPhase.GREEN_DEPLOYED, (), RUN)


def test_an_application_polled_in_parts_is_live_all_the_same():
    """What is asked of Argo CD's API is cut down, and may say nothing of when it was read."""
    app = load("application")
    del app["status"]["reconciledAt"]
    assert parse(app)[-1].phase is DeployPhase.LIVE


def test_history_of_the_present_operation_may_begin_a_second_off():
    """Its run differs from the operation's by that second, within what counts as one."""
    app = load("application")
    del app["status"]["operationState"]
    assert [r.run for r in parse(app)] == [f"{UID}@1795162500", f"{UID}@1795168829"]


def test_history_is_told_beside_an_operation_that_deploys_nothing():
    """A dry run or a wiped operation does not hide what was deployed before."""
    app = load("application")
    app["status"]["operationState"]["operation"]["sync"]["dryRun"] = True
    assert [r.at for r in parse(app)] == [at(8, 15, 12)]
    del app["status"]["operationState"]
    assert [r.at for r in parse(app)] == [at(8, 15, 12), at(10, 0, 40)]
    app["status"]["history"] = [3, None, {"deployedAt": "x"}, {"deployStartedAt": "0001-01-01T00:00:00Z"}]
    assert parse(app) == [Heartbeat(source="argocd", kind="argocd:no_operation")]


def test_a_partial_sync_in_a_whole_application_is_a_heartbeat():
    """A few resources by hand put no version in."""
    app = load("application")
    app["status"]["history"] = []
    app["status"]["operationState"]["operation"]["sync"]["resources"] = [{"kind": "ConfigMap", "name": "x"}]
    assert parse(app) == [Heartbeat(source="argocd", kind="argocd:partial")]


def test_real_applications_become_reports_or_are_refused_with_a_reason(shared):
    """Each with an operation is reported; one never synced is a heartbeat; one without a name is refused."""
    told, refused = {}, {}
    for path in sorted((shared / "corpus" / "argocd").glob("*.json")):
        try:
            told[path.stem] = [getattr(t, "phase", t) for t in argocd.build().parse({}, path.read_bytes())]
        except Rejected as exc:
            refused[path.stem] = exc.code
    assert refused == {
        "argo-cd__application-degraded": "bad_body",
        "argo-cd__application-healthy": "bad_body",
        "roadie__mocks-getResponseStubMissingData": "bad_body",
    }
    assert told.pop("argo-cd-master__fakeAppWithDestName") == [
        Heartbeat(source="argocd", kind="argocd:no_operation")
    ]
    assert len(told) == 7
    assert all(isinstance(phases[-1], DeployPhase) for phases in told.values())
    assert told["argo-cd__diff-cache"][-1] is DeployPhase.GREEN_DEPLOYED, (
        "since when it is healthy is not said"
    )


# -- what we ship


@pytest.fixture(scope="module")
def shipped():
    """Return the parts of the ConfigMap that we ship, decoded."""
    return {name: yaml.safe_load(text) for name, text in yaml.safe_load(SHIPPED.read_text())["data"].items()}


def test_the_shipped_parts_fit_together(shipped):
    """Every subscribed trigger exists and sends a template that exists and posts to our service."""
    (subscription,) = shipped["subscriptions"]
    triggers = {
        name.removeprefix("trigger."): parts for name, parts in shipped.items() if name.startswith("trigger.")
    }
    assert set(subscription["triggers"]) == set(triggers)
    assert subscription["recipients"] == ["router"]
    assert shipped["service.webhook.router"]["url"].endswith("/webhooks/argocd")
    for (condition,) in triggers.values():
        for template in condition["send"]:
            assert shipped[f"template.{template}"]["webhook"]["router"]["method"] == "POST", (
                "the default is GET"
            )


def test_deploys_are_told_once_per_operation_not_per_revision(shipped):
    """A trigger's oncePer on a revision would hide rollbacks."""
    for name, parts in shipped.items():
        if name.startswith("trigger.") and "health" not in name:
            assert re.fullmatch(
                r"app\.status\?\.operationState\?\.(startedAt|finishedAt)", parts[0]["oncePer"]
            )


def test_live_is_told_where_health_turned_since_the_sync_began(shipped):
    """A health of before is not this sync's, and one that turns after its end is told under its own time."""
    (condition,) = shipped["trigger.router-deployed"]
    parts = condition["when"].split(" and ")
    assert "app.status?.health?.status == 'Healthy'" in parts
    since, started = "app.status.health.lastTransitionTime", "app.status.operationState.startedAt"
    assert parts[-2] == "app.status?.health?.lastTransitionTime != nil"
    assert parts[-1] == f"!time.Parse({since}).Before(time.Parse({started}))"
    assert condition["oncePer"] == "app.status?.operationState?.finishedAt"
    body = shipped["template.router-deploy"]["webhook"]["router"]["body"]
    assert '(eq $health "Healthy") (ge $since $started) }}{{ $trigger = "router-deployed" }}' in body


def test_every_value_of_a_template_is_escaped(shipped):
    """A value that does not go through toRawJson makes invalid JSON as soon as it holds a quote."""
    for name, parts in shipped.items():
        if name.startswith("template."):
            body = parts["webhook"]["router"]["body"]
            values = re.findall(r":\s*(\{\{.*?\}\})", body)
            assert len(values) >= 6
            assert all(value.endswith("| toRawJson }}") for value in values)


def test_the_template_writes_what_the_recorded_bodies_hold(shipped):
    """The recorded bodies were rendered from the template: their fields are still the template's."""
    for template, name in (("router-deploy", "deployed"), ("router-health-degraded", "health-degraded")):
        body = shipped[f"template.{template}"]["webhook"]["router"]["body"]
        fields = re.findall(r'^ {2,4}"(\w+)":', body, re.MULTILINE)
        doc = load(name)
        assert sorted(fields) == sorted([*doc, *doc["app"]])
