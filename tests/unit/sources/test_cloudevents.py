"""How CloudEvents are read in all three ways of sending, and what CDEvents in them tell."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.model.errors import Rejected
from router.model.events import UNDATED, DeployPhase, Heartbeat, OriginKind, Trouble
from router.model.wire_cdevents import artifact, purl, word
from router.sources import cloudevents

PAYLOADS = Path(__file__).parents[2] / "payloads" / "cloudevents"
SHA = "3f6c0e2b9d1a4c58e7f0123456789abcdef01234"
DIGEST = "sha256:0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427"
IMAGE = f"registry.example.com/shop/payment-service:1.42.0@{DIGEST}"


def at(hour, minute, second=0, micro=0):
    """Return a time of the day that all payloads play on."""
    return datetime(2026, 11, 20, hour, minute, second, micro, tzinfo=UTC)


def load(name):
    """Return a recorded body, decoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def headers(name):
    """Return recorded headers, names in lower case."""
    return {k.lower(): v for k, v in json.loads((PAYLOADS / f"{name}.headers.json").read_bytes()).items()}


def tell(doc, sent=None):
    """Return what the document tells."""
    return cloudevents.build().parse(sent or {}, json.dumps(doc).encode())


def heartbeat(name):
    """Return what a delivery tells that we do not act on."""
    return [Heartbeat(source="cloudevents", kind=f"cloudevents:{name}")]


def refused(body, sent=None):
    """Return the refusal's code and text."""
    with pytest.raises(Rejected) as caught:
        cloudevents.build().parse(sent or {}, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert caught.value.status == 400
    assert len(caught.value.detail) < 300
    return caught.value.code, caught.value.detail


def cdevent(kind, *, content=None, custom=None, subject=None, **attributes):
    """Return a structured event with a CDEvent in it."""
    data = {
        "context": {"version": "0.4.0"},
        "subject": {"id": "service/payment-service", "content": content or {}, **(subject or {})},
    }
    if custom is not None:
        data["customData"] = custom
    event = {"specversion": "1.0", "id": "1", "source": "/ci", "type": f"dev.cdevents.{kind}.0.2.0"}
    return {**event, "time": "2026-11-20T10:00:00Z", "data": data, **attributes}


# -- services


def test_a_deployed_service_is_live():
    """The report names service, environment, version and image; its time is the context's."""
    (report,) = tell(load("service-deployed"))
    assert (report.phase, report.at) == (DeployPhase.LIVE, at(10, 2, 20, 123_456))
    assert (report.origin_kind, report.origin) == (OriginKind.SERVICE, "payment-service")
    assert (report.environment, report.names, report.images) == ("production", ("1.42.0",), (IMAGE,))
    assert (report.source, report.revision, report.detail) == ("cloudevents", "", "service.deployed")
    assert report.event_id.startswith("cloudevents:")


def test_an_upgraded_service_is_live():
    """Version 0.6 of CDEvents, with specversion in the context and what the sender adds in customData."""
    (report,) = tell(load("binary-service-upgraded"), headers("binary-service-upgraded"))
    assert (report.phase, report.at, report.environment) == (DeployPhase.LIVE, at(10, 3), "prod")
    assert (report.names, report.revision, report.author) == (("1.42.0",), SHA, "dana")
    assert report.images == ("registry.example.com/shop/payment-service:1.42.0",)


def test_a_published_service_is_switched_where_its_version_is_known():
    """Users reach it from now on; without a version nobody knows of what, and an unknown one misleads."""
    doc = load("service-published")
    (report,) = tell(doc)
    assert (report.phase, report.names) == (DeployPhase.SWITCHED, ("1.42.0",))
    del doc["data"]["customData"]
    assert tell(doc) == heartbeat("service.published")


def test_a_service_rolled_back_or_removed():
    """A rollback names the version that it went back to; a removal needs none."""
    (back,) = tell(load("service-rolledback"))
    assert (back.phase, back.names) == (DeployPhase.LIVE, ("1.41.3",))
    (gone,) = tell(load("service-removed"))
    assert (gone.phase, gone.origin, gone.names) == (DeployPhase.CLEANED_UP, "payment-service-blue", ())


@pytest.mark.parametrize(
    ("subject", "service"),
    [
        ("payment-service", "payment-service"),
        ("service/payment-service", "payment-service"),
        ("/namespaces/shop/deployments/payment-service/", "payment-service"),
        ("https://argocd.example.com/applications/payment-service?view=tree#x", "payment-service"),
        ("pkg:oci/payment-service@sha256%3A00", "payment-service"),
    ],
)
def test_the_service_is_the_last_part_of_the_subject(subject, service):
    """Tools write a name, a kind with a name, a path, a URI or a purl."""
    (report,) = tell(cdevent("service.deployed", subject={"id": subject}))
    assert report.origin == service


def test_a_subject_may_stand_in_the_envelope():
    """CloudEvents repeat it; without any the service is unknown, and the event is refused."""
    doc = cdevent("service.deployed", subject={"id": ""})
    assert refused(doc)[0] == "bad_body"
    (report,) = tell({**doc, "subject": "service/payment-service"})
    assert report.origin == "payment-service"


@pytest.mark.parametrize("data", [None, "<xml/>", [], {}, {"subject": "x"}, "{"])
def test_a_deploy_without_a_subject_is_refused(data):
    """It would be lost without a trace otherwise."""
    code, detail = refused({**cdevent("service.deployed"), "data": data})
    assert code == "bad_body"
    assert "service.deployed" in detail


def test_an_event_without_a_time_is_undated():
    """The time is that of the context, else of the envelope, else when it comes in."""
    doc = cdevent("service.deployed")
    assert tell(doc)[0].at == at(10, 0)
    doc["data"]["context"]["timestamp"] = "2026-11-20T09:59:00Z"
    assert tell(doc)[0].at == at(9, 59)
    doc["data"]["context"]["timestamp"] = doc["time"] = "soon"
    assert tell(doc)[0].at == UNDATED


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("r.example.com/shop/pay:1.42.0", ("1.42.0",)),
        ("pay:1.42.0", ("1.42.0",)),
        (f"pay@{DIGEST}", ()),
        (f"localhost:5000/pay:1.42.0@{DIGEST}", ("1.42.0",)),
    ],
)
def test_an_artifact_that_is_no_purl_may_be_an_image(reference, names):
    """Tools write the reference as they know it: of a service, a build, a test, or as the artifact itself."""
    content = {"artifactId": reference}
    for doc in (
        cdevent("service.deployed", content=content),
        cdevent("service.published", custom=content),
        cdevent("build.finished", content=content),
        cdevent("artifact.published", subject={"id": reference}),
        cdevent("testsuiterun.finished", custom=content),
    ):
        (report,) = tell(doc)
        assert (report.images, report.names, report.revision) == ((reference,), names, "")
        assert report.origin == ("payment-service" if doc["type"].split(".")[2] == "service" else "pay")


@pytest.mark.parametrize("digest_only", ["pkg:oci/pay", "pkg:generic/pay", "pkg:docker/pay"])
def test_a_digest_alone_is_an_image(digest_only):
    """It names the version for certain, also where there is no tag and no commit."""
    for kind, event in (
        ("artifact.published", {"subject": {"id": f"{digest_only}@{DIGEST.replace(':', '%3A')}"}}),
        ("build.finished", {"content": {"artifactId": f"{digest_only}@{DIGEST}"}}),
    ):
        (report,) = tell(cdevent(kind, **event))
        assert (report.phase, report.origin, report.images) == (DeployPhase.BUILT, "pay", (f"pay@{DIGEST}",))
        assert (report.revision, report.names) == ("", ())


def test_an_artifact_without_a_commit_is_told_by_its_name():
    """A short sha is no commit here, and the version is enough to know the artifact by."""
    content = {"change": {"id": SHA[:8]}}
    (report,) = tell(cdevent("artifact.published", subject={"id": "pkg:npm/pay@1.42.0", "content": content}))
    assert (report.revision, report.names, report.images) == ("", ("1.42.0",), ())


def test_a_floating_tag_is_no_name():
    """All versions are called latest in their turn; the image keeps it."""
    for reference in (
        "shop/pay:latest",
        "pkg:docker/shop/pay@latest",
        "pkg:oci/pay?repository_url=shop/pay&tag=latest",
    ):
        (report,) = tell(cdevent("service.deployed", content={"artifactId": reference}))
        assert (report.images, report.names) == (("shop/pay:latest",), ())


def test_no_event_bears_a_run():
    """CDEvents have no id of one deploy: their own ids are of one event each."""
    names = ("service-deployed", "service-published", "service-removed", "service-rolledback")
    assert {report.run for name in names for report in tell(load(name))} == {""}


# -- changes, artifacts, tests, pipelines


def test_a_batch_tells_of_a_change_on_its_way():
    """Merge, build, package, test and pipeline of one commit, and a heartbeat for the rest."""
    told = tell(load("batch"), headers("batch"))
    assert [(t.phase, t.origin_kind, t.origin) for t in told[:-1]] == [
        (DeployPhase.MERGED, OriginKind.GITLAB_PROJECT, "shop/payment-service"),
        (DeployPhase.BUILT, OriginKind.SERVICE, "payment-service"),
        (DeployPhase.BUILT, OriginKind.SERVICE, "payment-service"),
        (DeployPhase.CHECKED, OriginKind.SERVICE, "payment-service"),
        (DeployPhase.CHECKED, OriginKind.GITLAB_PROJECT, "shop/payment-service"),
    ]
    assert {t.revision for t in told[:-1]} == {SHA}
    assert [told[-1]] == heartbeat("taskrun.started")
    _, built, packaged, tested, piped = told[:-1]
    assert built.names == packaged.names == ("1.42.0",)
    assert built.images == packaged.images == (IMAGE,)
    assert tested.environment == "staging"
    assert tested.facts == {
        "test": "failure",
        "name": "Checkout end to end",
        "reason": "2 of 40 checkouts failed",
        "severity": "critical",
    }
    assert piped.facts == {"pipeline": "success", "name": "checkout"}
    assert piped.url == "https://gitlab.example.com/shop/payment-service/-/pipelines/3001"


@pytest.mark.parametrize(
    ("repository", "origin"),
    [
        ({"id": "shop/payment-service"}, "shop/payment-service"),
        ({"id": "https://gitlab.example.com/shop/pay/payment-service.git"}, "shop/pay/payment-service"),
        ({"id": "gitlab.example.com/shop/payment-service"}, "shop/payment-service"),
        ({"id": "repo123", "url": "git://my-git.example/an-org/a-repo"}, "an-org/a-repo"),
        ({"id": "ssh://git@gitlab.example.com/shop/x?y"}, "shop/x"),
        ({"id": "repo123"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_merge_belongs_to_its_repository(repository, origin):
    """The path is what the catalogue calls a project; without one nobody knows whose change it was."""
    told = tell(cdevent("change.merged", content={"repository": repository}))
    if origin is None:
        assert told == heartbeat("change.merged")
    else:
        assert (told[0].origin_kind, told[0].origin) == (OriginKind.GITLAB_PROJECT, origin)


def test_a_test_or_pipeline_belongs_to_what_its_sender_says():
    """The standard names no service: customData does, or the source where it is a repository's URL."""
    assert tell(cdevent("testcaserun.finished")) == heartbeat("testcaserun.finished")
    content = {"outcome": "success", "testCase": {"id": "login"}, "environment": {"id": "dev"}}
    (told,) = tell(
        cdevent("testcaserun.finished", content=content, custom={"service": "service/payment-service"})
    )
    assert (told.origin, told.environment, told.detail) == ("payment-service", "dev", "success")
    assert told.facts == {"test": "success", "name": "login"}
    (told,) = tell(
        cdevent("pipelinerun.finished", custom={"repository": "shop/payment-service", "commit": SHA.upper()})
    )
    assert (told.origin, told.revision) == ("shop/payment-service", SHA)
    (told,) = tell(
        cdevent("pipelinerun.finished", source="https://gitlab.example.com/shop/pay/-/pipelines/1")
    )
    assert told.origin == "shop/pay"
    (told,) = tell(cdevent("pipelinerun.finished", custom={"artifactId": "pkg:oci/payment-service?tag=1.2"}))
    assert (told.origin, told.names) == ("payment-service", ("1.2",))


def test_a_build_without_an_artifact_tells_nothing():
    """What was built is unknown."""
    assert tell(cdevent("build.finished")) == heartbeat("build.finished")
    assert tell(cdevent("artifact.packaged", subject={"id": "not a purl"})) == heartbeat("artifact.packaged")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("dev.cdevents.incident.detected.0.2.0", "incident.detected"),
        ("dev.cdevents.taskrun.finished.0.3.0-draft", "taskrun.finished"),
        ("dev.cdevents.service.deployed", "service.deployed"),
        ("dev.cdevents.service.exploded.0.1.0", "other"),
        ("dev.cdeventsx.tool-service.deployed.0.1.0", "other"),
        ("dev.cdevents.", "other"),
        ("com.example.someevent", "other"),
        ("service.deployed", "other"),
    ],
)
def test_a_type_is_one_of_few_words(kind, expected):
    """Words of heartbeats are counted, so there are only those of the standard, and other."""
    assert word(kind) == expected


def test_all_others_are_heartbeats():
    """Incidents are told by their own senders; events of other makers are counted."""
    assert tell(load("incident-detected")) == heartbeat("incident.detected")
    assert tell(load("foreign")) == heartbeat("other")


# -- purls


@pytest.mark.parametrize(
    ("text", "name", "version", "names", "image"),
    [
        (
            f"pkg:oci/pay@{DIGEST.replace(':', '%3A')}?repository_url=reg.example.com/shop/pay&tag=v1",
            "pay",
            DIGEST,
            ("v1",),
            f"reg.example.com/shop/pay:v1@{DIGEST}",
        ),
        (f"pkg:oci/pay@{DIGEST}", "pay", DIGEST, (), f"pay@{DIGEST}"),
        (
            "pkg:docker/shop/pay@1.2?repository_url=reg.example.com",
            "pay",
            "1.2",
            ("1.2",),
            "reg.example.com/shop/pay:1.2",
        ),
        (f"pkg:docker/shop/pay@{DIGEST}", "pay", DIGEST, (), f"shop/pay@{DIGEST}"),
        (
            "pkg:golang/mygit.com/myorg/myapp@234fd47e07d1004f0aed9c",
            "myapp",
            "234fd47e07d1004f0aed9c",
            ("234fd47e07d1004f0aed9c",),
            "",
        ),
        ("pkg:npm/%40shop/pay@1.0.0#lib", "pay", "1.0.0", ("1.0.0",), ""),
        ("pkg:oci/pay", "pay", "", (), "pay"),
        ("pkg:oci", "", "", (), ""),
        ("pkg:oci/@1", "", "", (), ""),
        ("pay:1.2", "", "", (), ""),
        ("pkg:oci/" + "x" * 2000, "", "", (), ""),
    ],
)
def test_package_urls(text, name, version, names, image):
    """A digest is no name of a version; an image's reference is made of what the purl says."""
    found = purl(text)
    assert (found.name, found.version, found.names, found.image) == (name, version, names, image)


@pytest.mark.parametrize(
    "text",
    [
        "", "pay", "r.example.com/shop/pay", "1.42.0", "not a purl", "pay:", "pay@1.42.0", "pay@sha256:0b31",
        DIGEST, "https://r.example.com/shop/pay:1.42.0", "urn:uuid:5328c37f", "a/:1", "pkg:oci",
        "pay:1.42.0\n", "pay:" + "1" * 129, "x/" * 300 + "pay:1",
    ],
)  # fmt: skip
def test_what_is_neither_purl_nor_reference_names_no_artifact(text):
    """A word, a path, a URL or a digest alone says nothing of a version."""
    assert artifact(text) == artifact("")
    assert not any(artifact(text))


# -- the three ways


def test_an_id_is_unique_with_its_source():
    """The same pair gives the same id in whatever way it comes; another source is another event."""
    structured = load("service-deployed")
    bare = structured["data"]
    binary = {f"ce-{n}": structured[n] for n in ("specversion", "id", "source", "type", "time", "subject")}
    binary["content-type"] = "application/cdevents+json; charset=utf-8"
    told = tell(structured)
    assert told == tell(bare) == tell(bare, binary) == tell([structured])
    assert told == tell(bare, {**binary, "content-type": "application/json"})
    other = tell({**structured, "source": "/other"})
    assert other[0].event_id != told[0].event_id


def test_data_may_be_encoded():
    """JSON in base64, or as a text, is data too."""
    doc = load("service-deployed")
    data = json.dumps(doc.pop("data"))
    expected = tell(load("service-deployed"))
    assert tell({**doc, "data_base64": base64.b64encode(data.encode()).decode()}) == expected
    assert tell({**doc, "data": data}) == expected
    assert refused({**doc, "data_base64": "%%%"})[0] == "bad_body"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("service/payment%2Dservice", "payment-service"),
        ('"service/payment\\-service"', "payment-service"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("caf\udcc3\udca9", "café"),
        ("100%25", "100%"),
        ("a%2525", "a%25"),
        ("50%", "50%"),
    ],
)
def test_headers_are_percent_decoded_once(value, expected):
    """Quoted strings are unescaped first, as the HTTP binding says."""
    sent = {**headers("binary-service-upgraded"), "ce-subject": value}
    doc = load("binary-service-upgraded")
    del doc["subject"]["id"]
    assert tell(doc, sent)[0].origin == expected


@pytest.mark.parametrize("value", ["%C0%A0", "%ff", "\udcff"])
def test_headers_that_are_no_utf8_are_refused(value):
    """The binding demands it: such a text has no meaning."""
    code, detail = refused({}, {**headers("binary-service-upgraded"), "ce-id": value})
    assert (code, "ce-id" in detail) == ("bad_body", True)


def test_binary_data_that_is_no_json_is_not_looked_at():
    """An event of another maker may carry anything."""
    sent = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "com.example.x"}
    for content_type in ("image/png", "application/json", ""):
        told = cloudevents.build().parse({**sent, "content-type": content_type}, b"\x89PNG")
        assert list(told) == heartbeat("other")
    assert list(cloudevents.build().parse(sent, b"")) == heartbeat("other")


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_required_attributes_are_missed(name):
    """Structured, batched or in headers: all four must be there, and not empty."""
    doc = load("foreign")
    doc[name] = ""
    for body in (doc, [doc]):
        code, detail = refused(body)
        assert (code, name in detail) == ("bad_body", True)
    sent = headers("binary-service-upgraded")
    sent[f"ce-{name}"] = ""
    assert refused({}, sent)[0] == "bad_body"


@pytest.mark.parametrize("version", ["0.3", "1.1", "2.0"])
def test_other_versions_are_refused(version):
    """Attributes moved between versions."""
    code, detail = refused({**load("foreign"), "specversion": version})
    assert (code, version in detail) == ("unsupported_version", True)
    assert refused({}, {**headers("binary-service-upgraded"), "ce-specversion": version})[0] == code


@pytest.mark.parametrize(
    ("body", "sent", "code"),
    [
        (b"{", {}, "bad_json"),
        (b"Obj\x01", {"content-type": "application/cloudevents+avro"}, "bad_json"),
        (b"<event/>", {"content-type": "application/cloudevents+xml; charset=utf-8"}, "bad_json"),
        (b"7", {}, "bad_body"),
        (b"{}", {"content-type": "application/cloudevents+json"}, "bad_body"),
        (b'{"context": 1}', {}, "bad_body"),
        (b'{"context": {}}', {}, "bad_body"),
    ],
)
def test_what_is_no_event_is_refused(body, sent, code):
    """Other formats than JSON are named."""
    assert refused(body, sent)[0] == code


def test_a_bad_event_does_not_stop_its_batch():
    """The rest is told, and what was left out is named; heartbeats of one word are one."""
    bad = {**load("foreign"), "specversion": "0.3"}
    told = tell([bad, load("foreign"), load("foreign"), 7, load("service-deployed")])
    assert [type(t).__name__ for t in told] == ["DeployReport", "Heartbeat", "Trouble"]
    assert told[-1].reason.startswith("2 of 5 events could not be read: [0]: specversion '0.3'")
    assert tell([]) == heartbeat("empty_batch")


def test_a_very_large_batch_is_bounded():
    """More than 500 events are counted as trouble."""
    told = tell([load("foreign")] * 510)
    assert list(told[:-1]) == heartbeat("other")
    assert isinstance(told[-1], Trouble)
    assert told[-1].reason.startswith("10 events beyond the first 500")


def test_what_a_dead_letter_needs_is_kept():
    """A binary event that could not be read can be replayed from the headers that are stored."""
    sent = headers("binary-service-upgraded")
    kept = cloudevents.CloudEvents.manners.kept(sent)
    assert "authorization" not in kept
    assert tell(load("binary-service-upgraded"), kept) == tell(load("binary-service-upgraded"), sent)
    assert cloudevents.CloudEvents.manners.delivery_id(sent) == sent["ce-id"]
