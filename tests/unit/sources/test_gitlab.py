"""How GitLab's webhooks are read, and how they prove themselves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model.errors import Rejected
from router.model.events import UNDATED, DeployPhase, DeployReport, Heartbeat, OriginKind, Trouble
from router.sources import gitlab
from tests.unit.sources.gitlab_bodies import GITLAB, NAMES, SHA, at, heartbeat, load, parse, unreadable

NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


# -- deployments


def test_a_running_deployment_has_started():
    """A deployment's report holds all that names it, its author and its place."""
    (report,) = parse(load("deployment-running"))
    assert report.phase is DeployPhase.STARTED
    assert (report.event_id, report.run) == (f"{GITLAB}:deployment:4711:815:running", "deployment-815")
    assert (report.origin_kind, report.origin) == (OriginKind.GITLAB_PROJECT, "shop/checkout")
    assert (report.environment, report.revision, report.ref) == ("production", SHA, "main")
    assert (report.title, report.author) == ("Round totals half even", "dana")
    assert report.url == "https://gitlab.example.com/shop/checkout/-/jobs/9001"
    assert report.at == at(10, 0, 20)
    assert report.facts == {"tier": "production"}


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


@pytest.mark.parametrize("missing", ["project", "environment"])
def test_a_deployment_that_cannot_be_placed_is_trouble(missing):
    """GitLab must not be answered 4xx for an authentic body, but people hear of it."""
    doc = load("deployment-success")
    del doc[missing]
    unreadable(parse(doc), "deployment_unreadable", missing)


def test_an_old_deployment_is_told_by_its_jobs_number_and_undated():
    """Old releases number the job and not the deployment, and say not when: the receipt then dates it."""
    (report,) = parse(load("deployment-old"))
    assert (report.phase, report.at) == (DeployPhase.LIVE, UNDATED)
    assert (report.revision, report.facts) == (SHA, {})
    assert (report.event_id, report.run) == (f"{GITLAB}:deployment:4711:job-9001:success", "job-9001")
    again = {**load("deployment-old"), "deployable_id": 9002}
    assert parse(again)[0].event_id != report.event_id


def test_without_a_number_a_second_deployment_of_the_same_commit_is_another_event():
    """A rollback deploys an old commit again: it must not look like the first deployment sent twice."""
    doc = load("deployment-success")
    del doc["deployment_id"], doc["deployable_id"], doc["project"]["id"]
    (first,), (again,) = parse(doc), parse({**doc, "status_changed_at": "2026-11-20T12:00:00Z"})
    assert first.event_id != again.event_id
    assert first.event_id.startswith(f"{GITLAB}:deployment:shop/checkout:{SHA}")
    assert first.run == ""
    del doc["status_changed_at"]
    unreadable(parse(doc), "deployment_unreadable", "deployment_id")  # nothing tells it apart


def test_two_deployments_of_one_commit_are_two_runs_and_all_statuses_of_one_are_one():
    """A rollback deploys what ran before: only the run tells the two deploys apart."""
    running, live = load("deployment-running"), load("deployment-success")
    assert parse(running)[0].run == parse(live)[0].run
    assert parse({**live, "deployment_id": 816})[0].run == "deployment-816"


# -- several GitLabs


def reports_of(host):
    """Return all reports of the payloads, sent by the GitLab at that host."""
    found = []
    for name in NAMES:
        doc = json.loads(json.dumps(load(name)).replace("gitlab.example.com", host))
        found += [t for t in parse(doc, idempotency_key="a") if isinstance(t, DeployReport)]
    return found


def test_two_gitlabs_do_not_share_ids():
    """Each numbers its projects and deployments from 1, so the host belongs to every event's id."""
    one, other = reports_of("gitlab.example.com"), reports_of("gitlab.example.org:8443")
    assert len({r.phase for r in one}) > 10
    assert all(r.event_id.startswith("gitlab:gitlab.example.com:") for r in one)
    assert [r.event_id.replace("com", "org:8443", 1) for r in one] == [r.event_id for r in other]


@pytest.mark.parametrize(
    ("project", "repository", "begins"),
    [
        ("https://GitLab.Example.com/shop/checkout", "https://other.example.com/x/y", GITLAB),
        ("https://user:pw@gitlab.example.com/shop/checkout", None, GITLAB),
        ("https://gitlab.example.com/gitlab/shop/checkout", None, GITLAB),
        (None, "https://gitlab.example.com/shop/checkout", GITLAB),
        ("http://localhost:3000/shop/checkout", None, "gitlab:localhost:3000"),
        ("", "", "gitlab"),
        ("http://[", None, "gitlab"),
        ("shop/checkout", None, "gitlab"),
        (7, ["https://gitlab.example.com/x"], "gitlab"),
    ],
)
def test_the_host_is_that_of_the_projects_page_else_of_the_repositorys(project, repository, begins):
    """Where neither is told, or is no address, there is none; a password in it gets nowhere."""
    doc = load("deployment-success")
    doc["project"]["web_url"], doc["repository"] = project, {"homepage": repository}
    assert parse(doc)[0].event_id == f"{begins}:deployment:4711:815:success"


def test_a_hook_of_the_group_and_one_of_the_project_tell_the_same():
    """Their headers differ, the body and so the id does not."""
    doc = load("deployment-success")
    group = {"x_gitlab_event": "Deployment Hook", "x_gitlab_webhook_uuid": "of the group"}
    assert parse(doc, **group) == parse(doc, x_gitlab_event="System Hook", idempotency_key="x")


# -- all others


@pytest.mark.parametrize(
    ("doc", "kind"),
    [
        ({"object_kind": "issue", "object_attributes": {"id": 1}}, "issue"),
        (load("system-user-add-to-team"), "user_add_to_team"),
        ({"object_kind": "a_kind_of_next_year"}, "a_kind_of_next_year"),
    ],
    ids=["issue", "system-hook", "new"],
)
def test_every_other_kind_is_a_heartbeat(doc, kind):
    """An unknown event is taken and counted, never refused."""
    assert parse(doc) == heartbeat(kind)


@pytest.mark.parametrize(
    "doc",
    [
        {"object_kind": "Ugly Kind <b>"},
        {},
        {"object_kind": None, "event_name": 7},
        {"text": "a custom template", "object_attributes": [1]},
        load("without-kind"),
    ],
    ids=["ugly", "nothing", "no-words", "custom-template", "recorded"],
)
def test_a_body_of_no_kind_is_trouble(doc):
    """A custom template hides every event: it is taken, since GitLab would stop, and people hear of it."""
    beat, trouble = parse(doc)
    assert [beat] == heartbeat("unreadable")
    assert isinstance(trouble, Trouble)
    assert "'object_kind'" in trouble.reason
    assert "custom template" in trouble.reason


@pytest.mark.parametrize(
    ("body", "says"), [(b"x=1", "malformed"), (b"[1]", "an array"), (b'"a"', "a string"), (b"1.5", "object")]
)
def test_only_what_is_no_json_object_is_refused(body, says):
    """The refusal says what came instead."""
    with pytest.raises(Rejected) as caught:
        gitlab.build().parse({}, body)
    assert (caught.value.status, caught.value.code) == (400, "bad_json")
    assert says in caught.value.detail


_ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=10)
    | st.sampled_from(["[REDACTED]", SHA, "main"]),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3),
    max_leaves=5,
)


def places(doc, way=()):
    """Return the way to every value inside, the whole ones before their parts."""
    items = doc.items() if isinstance(doc, dict) else enumerate(doc) if isinstance(doc, list) else ()
    return [found for key, value in items for found in ((*way, key), *places(value, (*way, key)))]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_whatever_stands_in_a_body_it_is_never_refused(name, data):
    """Any value in any place, or none, gives reports or a heartbeat, the same each time."""
    doc = load(name)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(places(doc)))
        inside = doc
        for key in way:
            inside = inside[key]
        if isinstance(inside, dict) and data.draw(st.booleans()):
            del inside[last]
        else:
            inside[last] = data.draw(_ODD)
    told = parse(doc)
    assert told
    assert told == parse(doc)
    assert all(isinstance(t, DeployReport | Heartbeat | Trouble) for t in told)
    assert all(len(t.facts) <= 20 for t in told if isinstance(t, DeployReport))


def test_real_bodies_are_told_or_counted(shared):
    """No body that GitLab or its users published is refused, and each kind that we read is told somewhere."""
    phases = set()
    for path in sorted((shared / "corpus" / "gitlab").glob("*.json")):
        if not path.name.endswith(".headers.json"):
            told = gitlab.build().parse({}, path.read_bytes())
            phases |= {t.phase for t in told if isinstance(t, DeployReport)}
    assert phases >= {
        DeployPhase.PUSHED,
        DeployPhase.TAGGED,
        DeployPhase.RELEASED,
        DeployPhase.TOGGLED,
        DeployPhase.BUILT,
        DeployPhase.CHECKED,
        DeployPhase.LIVE,
    }


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


EXAMPLE_BODY = b'{"test": 2432232314}'
EXAMPLE_SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EXAMPLE_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


@pytest.mark.parametrize(
    ("change", "body", "late", "secret", "answer"),
    [
        ({}, EXAMPLE_BODY, 0, EXAMPLE_SECRET, 0),
        ({}, EXAMPLE_BODY, 300, EXAMPLE_SECRET, 0),
        ({}, EXAMPLE_BODY, 301, EXAMPLE_SECRET, 401),
        ({}, EXAMPLE_BODY, -301, EXAMPLE_SECRET, 401),
        ({}, b'{"test": 2432232315}', 0, EXAMPLE_SECRET, 401),
        ({"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJel"}, EXAMPLE_BODY, 0, EXAMPLE_SECRET, 401),
        ({"webhook-timestamp": "1614265331"}, EXAMPLE_BODY, 0, EXAMPLE_SECRET, 401),
        ({}, EXAMPLE_BODY, 0, b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx", 401),
        ({}, EXAMPLE_BODY, 0, b"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 401),
    ],
    ids=["whole", "in-time", "old", "new", "body", "id", "timestamp", "secret", "not-a-signing-token"],
)
def test_the_published_example_of_standard_webhooks_is_accepted_and_no_other(
    change, body, late, secret, answer
):
    """It is published in standard-webhooks/standard-webhooks, libraries/javascript/src/webhook.test.ts."""
    now = datetime.fromtimestamp(1614265330 + late, UTC)
    try:
        found = gitlab.build().verify({**EXAMPLE_HEADERS, **change}, body, [secret], now)
    except Rejected as refused:
        found = refused.status
    assert found == answer


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
