"""How GitLab's webhooks are read, and how they prove themselves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from router.model.errors import Rejected
from router.model.events import DeployPhase, Heartbeat, OriginKind
from router.sources import gitlab

PAYLOADS = Path(__file__).parents[2] / "payloads" / "gitlab"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
SHA = "3f6c0e2b9d1a4c58e7f0123456789abcdef01234"


def load(name):
    """Return a recorded body, decoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def parse(doc):
    """Return what the document tells."""
    return gitlab.build().parse({}, json.dumps(doc).encode())


def at(hour, minute, second=0, micro=0):
    """Return a time of the day that all payloads play on."""
    return datetime(2026, 11, 20, hour, minute, second, micro, tzinfo=UTC)


def heartbeat(kind):
    """Return what a delivery tells that we do not act on."""
    return [Heartbeat(source="gitlab", kind=f"gitlab:{kind}")]


# -- deployments


def test_a_running_deployment_has_started():
    """A deployment's report holds all that names it, its author and its place."""
    (report,) = parse(load("deployment-running"))
    assert report.phase is DeployPhase.STARTED
    assert report.event_id == "gitlab:deployment:4711:815:running"
    assert (report.origin_kind, report.origin) == (OriginKind.GITLAB_PROJECT, "shop/checkout")
    assert (report.environment, report.revision, report.ref) == ("production", SHA, "main")
    assert (report.title, report.author) == ("Round totals half even", "dana")
    assert report.url == "https://gitlab.example.com/shop/checkout/-/jobs/9001"
    assert report.at == at(10, 0, 20)


def test_a_successful_deployment_is_live():
    """GitLab's success means that the version is in the environment; the new time format is read too."""
    (report,) = parse(load("deployment-success"))
    assert (report.phase, report.at) == (DeployPhase.LIVE, at(10, 2, 20, 123_000))


def test_a_deployment_by_the_api_has_only_a_short_sha():
    """Without a commit's address the short sha counts, without a job's address the environments page."""
    (report,) = parse(load("deployment-failed-by-api"))
    assert (report.phase, report.revision, report.author) == (DeployPhase.FAILED, SHA[:8], "")
    assert report.url == "https://gitlab.example.com/shop/checkout/-/environments"
    doc = load("deployment-failed-by-api")
    del doc["project"]["web_url"]
    assert parse({**doc, "status": "canceled"})[0].url == ""
    assert parse({**doc, "status": "canceled"})[0].phase is DeployPhase.CANCELED


@pytest.mark.parametrize("status", ["created", "blocked", "skipped", "some_new_word", None, 7])
def test_a_deployment_that_has_not_begun_is_a_heartbeat(status):
    """Only four statuses say something about what runs."""
    assert parse({**load("deployment-created"), "status": status}) == heartbeat("deployment")


@pytest.mark.parametrize("missing", ["project", "status_changed_at", "environment"])
def test_a_deployment_that_cannot_be_placed_or_dated_is_a_heartbeat(missing):
    """GitLab must not be answered 4xx for an authentic body, however odd."""
    doc = load("deployment-success")
    del doc[missing]
    assert parse(doc) == heartbeat("deployment_unreadable")


def test_without_a_number_a_second_deployment_of_the_same_commit_is_another_event():
    """A rollback deploys an old commit again: it must not look like the first deployment sent twice."""
    doc = load("deployment-success")
    del doc["deployment_id"], doc["project"]["id"]
    (first,), (again,) = parse(doc), parse({**doc, "status_changed_at": "2026-11-20T12:00:00Z"})
    assert first.event_id != again.event_id
    assert first.event_id.startswith("gitlab:deployment:shop/checkout:" + SHA)


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
    assert {(r.title, r.author, r.ref) for r in told} == {("Round totals half even", "Dana Example", "main")}
    built, switched = told[0], next(r for r in told if r.phase is DeployPhase.SWITCHED)
    assert (built.event_id, built.url) == (
        "gitlab:pipeline:4711:3001:success",
        "https://gitlab.example.com/shop/checkout/-/pipelines/3001",
    )
    assert (switched.event_id, switched.url) == (
        "gitlab:job:4711:5004:success",
        "https://gitlab.example.com/shop/checkout/-/jobs/5004",
    )


def test_a_step_counts_before_its_pipeline_is_through():
    """A switch in a running or failed pipeline is told, with the same id as later."""
    doc = load("pipeline-blue-green")
    whole = parse(doc)
    doc["object_attributes"]["status"] = "failed"
    assert parse(doc) == whole[1:]
    doc["builds"] = []
    assert parse(doc) == heartbeat("pipeline")


@pytest.mark.parametrize(
    ("name", "stage", "phase"),
    [
        ("switch", "deploy", DeployPhase.SWITCHED),
        ("Traffic Switch", "", DeployPhase.SWITCHED),
        ("switch_traffic: [eu]", "", DeployPhase.SWITCHED),
        ("promote-production", "", DeployPhase.SWITCHED),
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


def test_a_pipeline_of_very_many_jobs_is_bounded():
    """Not more than a hundred steps are told of one pipeline."""
    doc = load("pipeline-blue-green")
    doc["builds"] = [{**doc["builds"][2], "id": i} for i in range(150)]
    assert len(parse(doc)) == 100


@pytest.mark.parametrize("attributes", [None, {}, [], {"sha": "not a sha", "status": "success"}])
def test_a_pipeline_without_commit_is_a_heartbeat(attributes):
    """Nothing can be joined without a commit."""
    doc = {**load("pipeline-blue-green"), "object_attributes": attributes}
    assert parse(doc) == heartbeat("pipeline_unreadable")


# -- merge requests


def test_a_merge_is_told_with_its_merge_commit():
    """The merge commit is what will be built; author and title are for people."""
    (report,) = parse(load("merge-request-merged"))
    assert (report.phase, report.revision, report.ref) == (DeployPhase.MERGED, SHA, "main")
    assert (report.title, report.author) == ("Round totals half even", "Dana Example")
    assert (report.event_id, report.environment) == ("gitlab:merge_request:4711:42:merged", "")
    assert report.at == at(9, 45)


def test_a_fast_forward_merge_has_the_last_commit():
    """Without a merge commit the branch's last commit is what was merged."""
    doc = load("merge-request-merged")
    doc["object_attributes"]["merge_commit_sha"] = None
    assert parse(doc)[0].revision == "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334"
    del doc["object_attributes"]["last_commit"]
    assert parse(doc) == heartbeat("merge_request_unreadable")


@pytest.mark.parametrize(
    ("action", "state", "told"),
    [
        ("merge", "merged", True),
        (None, "merged", True),
        ("update", "merged", False),
        ("open", "opened", False),
    ],
)
def test_only_the_merge_itself_is_told(action, state, told):
    """A label set on a request that was merged long ago is not a merge."""
    doc = load("merge-request-merged")
    doc["object_attributes"].update(action=action, state=state)
    assert (parse(doc) != heartbeat("merge_request")) is told


def test_an_old_merge_request_names_its_project_inside():
    """Bodies of old releases have the project only in the request itself."""
    doc = load("merge-request-merged")
    del doc["project"]
    doc["object_attributes"]["target"] = {"path_with_namespace": "shop/checkout"}
    (report,) = parse(doc)
    assert (report.origin, report.event_id) == ("shop/checkout", "gitlab:merge_request:4711:42:merged")


# -- all others


@pytest.mark.parametrize(
    ("doc", "kind"),
    [
        (load("push"), "push"),
        (load("system-user-add-to-team"), "user_add_to_team"),
        ({"object_kind": "a_kind_of_next_year"}, "a_kind_of_next_year"),
        ({"object_kind": "Ugly Kind <b>"}, "unreadable"),
        ({}, "unreadable"),
    ],
    ids=["push", "system-hook", "new", "ugly", "nothing"],
)
def test_every_other_kind_is_a_heartbeat(doc, kind):
    """An unknown event is taken and counted, never refused."""
    assert parse(doc) == heartbeat(kind)


@pytest.mark.parametrize(
    ("body", "says"), [(b"x=1", "malformed"), (b"[1]", "an array"), (b'"a"', "a string"), (b"1.5", "object")]
)
def test_only_what_is_no_json_object_is_refused(body, says):
    """The refusal says what came instead."""
    with pytest.raises(Rejected) as caught:
        gitlab.build().parse({}, body)
    assert (caught.value.status, caught.value.code) == (400, "bad_json")
    assert says in caught.value.detail


# -- authenticity

KEY = bytes(range(32))
SIGNING = b"whsec_" + base64.b64encode(KEY)
OTHER = b"whsec_" + base64.b64encode(b"x" * 32)
BODY = b'{"object_kind":"push"}\n'


def signed(body=BODY, *, key=KEY, moment=NOW, number="msg_1", prefix="v1,"):
    """Return the headers that sign the body."""
    stamp = str(int(moment.timestamp()))
    content = f"{number}.{stamp}.".encode() + body
    mac = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {"webhook-id": number, "webhook-timestamp": stamp, "webhook-signature": prefix + mac}


def verify(headers, secrets, body=BODY):
    """Return the matching index, or the status of the refusal."""
    try:
        return gitlab.build().verify(headers, body, secrets, NOW)
    except Rejected as refused:
        return refused.status


def test_the_published_example_of_standard_webhooks_is_accepted():
    """The specification's own message, key and signature fit together here."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    now = datetime.fromtimestamp(1614265330, UTC)
    secret = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert gitlab.build().verify(headers, b'{"test": 2432232314}', [secret], now) == 0


def test_a_signature_tells_which_token_made_it():
    """While tokens are exchanged both count, and so do several signatures in one header."""
    assert verify(signed(), [b"plain", OTHER, SIGNING]) == 2
    both = signed(key=b"x" * 32)
    both["webhook-signature"] = "v1a,junk v1,AAAA " + both["webhook-signature"] + " v1,ü"
    assert verify(both, [SIGNING, OTHER]) == 1


@pytest.mark.parametrize(("seconds", "answer"), [(0, 0), (300, 0), (-300, 0), (301, 401), (-301, 401)])
def test_a_signature_is_good_for_five_minutes(seconds, answer):
    """An old delivery may be a replay."""
    assert verify(signed(moment=NOW + timedelta(seconds=seconds)), [SIGNING]) == answer


def test_a_signature_covers_id_time_and_bytes():
    """Changing any of the three, or the version of the scheme, makes it void."""
    good = signed()
    assert verify(good, [SIGNING]) == 0
    assert verify(good, [SIGNING], BODY + b" ") == 401
    assert verify({**good, "webhook-id": "msg_2"}, [SIGNING]) == 401
    assert verify({**good, "webhook-timestamp": str(int(NOW.timestamp()) + 1)}, [SIGNING]) == 401
    assert verify(signed(prefix="v2,"), [SIGNING]) == 401
    assert verify(good, [OTHER]) == 401


def test_signing_tokens_alone_shut_out_plain_ones():
    """With only signing tokens, a request without signature fails, even with the token's own text."""
    assert verify({"x-gitlab-token": "plain"}, [SIGNING]) == 401
    assert verify({"x-gitlab-token": SIGNING.decode()}, [SIGNING]) == 401
    assert verify({"x-gitlab-token": "plain"}, [SIGNING, b"plain"]) == 1


def test_a_broken_signature_is_not_mended_by_a_good_token():
    """There is no way down to the weaker check once a signature is there and we hold a signing token."""
    assert verify({**signed(key=b"bad"), "x-gitlab-token": "plain"}, [SIGNING, b"plain"]) == 401


@pytest.mark.parametrize("stamp", ["", "soon", "٣", "-1", "1e9", "9" * 13])
def test_a_timestamp_that_is_none_is_refused(stamp):
    """A signature without a time could be replayed for ever."""
    assert verify({**signed(), "webhook-timestamp": stamp}, [SIGNING]) == 401


@pytest.mark.parametrize("token", [b"whsec_", b"whsec_not base64!", b"whsec_abc"])
def test_a_signing_token_that_is_none_opens_nothing(token):
    """An unreadable signing token has no key; an empty key is not one either."""
    assert verify(signed(key=b""), [token]) == 401
    assert verify(signed(key=b"-"), [token]) == 401


def test_webhook_id_alone_does_not_ask_for_a_signature():
    """Newer GitLab sends webhook-id on every delivery; hooks with a plain token keep working."""
    headers = {**signed(), "x-gitlab-token": "plain"}
    assert verify(headers, [b"plain"]) == 0, "signed, but we hold no signing token"
    del headers["webhook-signature"]
    assert verify(headers, [b"plain", SIGNING]) == 0
