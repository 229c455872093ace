"""How PagerDuty's v3 webhooks are read, and how they prove themselves."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.model.commands import OUR_MARK
from router.model.errors import Rejected
from router.model.events import UNDATED, Act, ActKind, Heartbeat
from router.sources import pagerduty

PAYLOADS = Path(__file__).parents[2] / "payloads" / "pagerduty"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
INCIDENT = "7f3a9c21b04d55e0.2"
URL = "https://shop.pagerduty.com/incidents/Q1SHOPINC0001"


def load(name):
    """Return a recorded body, decoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def parse(doc, headers=None):
    """Return the one thing that the document tells."""
    (told,) = pagerduty.build().parse(headers or {}, json.dumps(doc).encode())
    return told


def changed(name, **event):
    """Return a recorded body with some fields of its event replaced."""
    doc = load(name)
    doc["event"].update(event)
    return doc


def refused(doc):
    """Return the code and text with which a document is refused."""
    with pytest.raises(Rejected) as caught:
        pagerduty.build().parse({}, doc if isinstance(doc, bytes) else json.dumps(doc).encode())
    assert caught.value.status == 400
    return caught.value.code, caught.value.detail


# -- acts


def test_an_acknowledgement_says_who_when_and_which_incident():
    """An acknowledgement holds our incident, the person, the time, and PagerDuty's own names."""
    assert parse(load("incident-acknowledged")) == Act(
        source="pagerduty",
        event_id="pagerduty:01F02SHOPEVENT000000000000",
        kind=ActKind.ACKNOWLEDGED,
        incident=INCIDENT,
        by="Dana Example",
        by_id="PDANA01",
        at=datetime(2026, 11, 20, 10, 20, 31, 482_000, tzinfo=UTC),
        word="incident.acknowledged",
        ref="Q1SHOPINC0001",
        url=URL,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("incident-triggered", ActKind.TRIGGERED),
        ("incident-acknowledged", ActKind.ACKNOWLEDGED),
        ("incident-unacknowledged", ActKind.UNACKNOWLEDGED),
        ("incident-resolved", ActKind.RESOLVED),
        ("incident-merged", ActKind.OTHER),
        ("incident-reopened", ActKind.REOPENED),
        ("incident-escalated", ActKind.ESCALATED),
        ("incident-delegated", ActKind.ESCALATED),
        ("incident-reassigned", ActKind.REASSIGNED),
        ("incident-annotated", ActKind.ANNOTATED),
        ("incident-priority-updated", ActKind.OTHER),
        ("incident-status-update", ActKind.OTHER),
        ("incident-responder-added", ActKind.OTHER),
        ("incident-role-assigned", ActKind.OTHER),
    ],
)
def test_each_event_of_an_incident_is_an_act(name, kind):
    """PagerDuty's event types are told by kind, and its own word stays; the incident's id is always found."""
    act = parse(load(name))
    assert (act.kind, act.word) == (kind, load(name)["event"]["event_type"])
    assert (act.ref, act.url) == ("Q1SHOPINC0001", URL)


def test_an_incident_that_was_merged_into_another_is_not_over():
    """PagerDuty resolves the page that was merged; the trouble goes on under the other, which is not ours."""
    act = parse(load("incident-merged"))
    assert (act.kind, act.word, act.incident) == (ActKind.OTHER, "incident.resolved", INCIDENT)


@pytest.mark.parametrize(
    "reason", [None, {}, "merge_resolve_reason", ["merge_resolve_reason"], {"type": None}, {"type": "other"}]
)
def test_a_resolve_for_any_other_reason_is_one(reason):
    """Merging is the only reason that PagerDuty knows; a person gives none."""
    doc = load("incident-merged")
    doc["event"]["data"]["resolve_reason"] = reason
    assert parse(doc).kind is ActKind.RESOLVED


def test_what_is_done_later_to_a_merged_incident_keeps_its_word():
    """The reason belongs to the resolve alone."""
    assert parse(changed("incident-merged", event_type="incident.reopened")).kind is ActKind.REOPENED


@pytest.mark.parametrize("word", ["incident.some_new_word", "incident.custom_field_values.updated"])
def test_a_new_word_is_another_act(word):
    """PagerDuty adds event types without a new version."""
    act = parse(changed("incident-acknowledged", event_type=word))
    assert (act.kind, act.word, act.incident) == (ActKind.OTHER, word, INCIDENT)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "incident-annotated",
            "Rolled payment-service back to 1.41.2; watching the checkout errors.",
        ),
        ("incident-status-update", "Payments at checkout are slow; a fix is under way."),
        ("incident-responder-added", "Please help with payment-service"),
        ("incident-acknowledged", ""),
    ],
)
def test_what_people_write_is_kept(name, text):
    """Notes, status updates and requests for help keep their text."""
    assert parse(load(name)).text == text


def test_a_long_note_is_cut():
    """A note's text is bounded."""
    doc = load("incident-annotated")
    doc["event"]["data"]["content"] = "x" * 5000
    assert len(parse(doc).text) == 1000


def test_a_notes_own_id_is_not_taken_for_the_incidents():
    """Where data is a note, data.id is the note's; the incident stands under data.incident only."""
    doc = load("incident-annotated")
    assert (parse(doc).ref, parse(doc).incident) == ("Q1SHOPINC0001", "")
    del doc["event"]["data"]["incident"]
    act = parse(doc)
    assert (act.ref, act.incident, act.url) == ("", "", "")
    doc["event"]["data"]["incident_key"] = INCIDENT
    assert parse(doc).incident == "", "only an incident's own key counts"


def test_our_incident_is_found_under_data_incident():
    """An incident key in the reference of a note names our incident too."""
    doc = load("incident-annotated")
    doc["event"]["data"]["incident"]["incident_key"] = INCIDENT
    assert parse(doc).incident == INCIDENT


@pytest.mark.parametrize(
    "key", ["d3640fbd41094207a1c11e58e46b1662", "", None, 7, INCIDENT.upper(), "x" * 255, "7f3a9c21b04d55e0"]
)
def test_an_incident_that_is_not_ours_names_none(key):
    """Only keys of our own form are incidents of ours; the act is told all the same."""
    doc = load("incident-of-somebody-else")
    doc["event"]["data"]["incident_key"] = key
    act = parse(doc)
    assert (act.kind, act.incident, act.ref) == (ActKind.RESOLVED, "", "Q1SHOPINC0001")


# -- who


@pytest.mark.parametrize(
    "name", ["incident-triggered", "incident-acknowledged-by-us", "incident-unacknowledged"]
)
def test_what_no_person_did_has_no_person(name):
    """An integration (our own call coming back) or nobody at all as agent leaves the person empty."""
    act = parse(load(name))
    assert (act.by, act.by_id) == ("", "")


@pytest.mark.parametrize(
    ("agent", "by"),
    [
        ({"type": "user", "id": "PDANA01", "summary": "Dana Example"}, ("Dana Example", "PDANA01")),
        ({"type": "user_reference", "id": "PDANA01", "summary": None}, ("PDANA01", "PDANA01")),
        ({"type": "user_reference", "id": "PDANA01"}, ("PDANA01", "PDANA01")),
        ({"type": "service_reference", "id": "PSHOP01", "summary": "payment-service prod"}, ("", "")),
        ({"type": None, "id": "PDANA01", "summary": "Dana Example"}, ("", "")),
        ("Dana Example", ("", "")),
        ([], ("", "")),
    ],
)
def test_only_a_user_is_a_person(agent, by):
    """A user without a name is known by the id; whatever else acts is no person."""
    act = parse(changed("incident-acknowledged", agent=agent))
    assert (act.by, act.by_id) == by


# -- ids, times, links


def test_a_delivery_that_is_sent_again_is_the_same_event():
    """The id is the event's; the delivery's counts only without it, and the body's digest without both."""
    header = {"x-webhook-id": "f4d1c0de-0000-4000-8000-000000000002"}
    doc = load("incident-acknowledged")
    assert parse(doc, header).event_id == parse(doc).event_id == f"pagerduty:{doc['event']['id']}"
    without = changed("incident-acknowledged", id=None)
    assert parse(without, header).event_id == "pagerduty:f4d1c0de-0000-4000-8000-000000000002"
    other = changed("incident-resolved", id=None)
    assert parse(without).event_id == parse(without).event_id != parse(other).event_id
    assert len(parse(without).event_id) == len("pagerduty:") + 16


@pytest.mark.parametrize("at", [None, "", "yesterday", 7, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_is_none_leaves_the_act_undated(at):
    """Without a usable time the act is told, and dated where it is received."""
    assert parse(changed("incident-acknowledged", occurred_at=at)).at == UNDATED


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.pagerduty.com/x",
        "javascript:alert(1)",
        "https://a@b.example.com/",
        "",
        None,
        7,
        ["https://x"],
    ],
)
def test_only_a_safe_address_is_a_link(url):
    """Only https addresses without a user in them are offered to people."""
    doc = load("incident-acknowledged")
    doc["event"]["data"]["html_url"] = url
    assert parse(doc).url == ""


# -- no act


@pytest.mark.parametrize(
    ("word", "about"),
    [
        ("pagey.ping", "ping"),
        ("service.updated", "service"),
        ("service.custom_field_values.updated", "service"),
        ("something.new", "other"),
    ],
)
def test_what_is_about_no_incident_is_a_heartbeat(word, about):
    """The test from PagerDuty's page, services and later families are counted only."""
    told = parse(changed("ping", event_type=word))
    assert told == Heartbeat(source="pagerduty", kind=f"pagerduty:{about}")


@pytest.mark.parametrize(
    "message", [{"event": "incident.trigger"}, {"type": "incident.trigger", "data": {}}, None]
)
def test_older_webhooks_are_refused_with_advice(message):
    """Bodies of v1 and v2 hold messages; the text says what to make in their place."""
    code, detail = refused({"messages": [message]})
    assert code == "unsupported_version"
    assert "v3 subscription" in detail


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "'event' is missing"),
        ({"event": []}, "'event' is missing"),
        ({"event": {}}, "'event.event_type' is missing"),
        ({"event": {"event_type": "Resolved!"}}, "'event.event_type' is missing"),
        ({"event": {"event_type": "incident.resolved"}}, "'event.data' is missing"),
        ({"event": {"event_type": "incident.resolved", "data": "x"}}, "'event.data' is missing"),
    ],
)
def test_a_body_that_is_none_of_theirs_is_refused(body, says):
    """The refusal says what is missing."""
    code, detail = refused(body)
    assert code == "bad_body"
    assert says in detail


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"event":\xff}', b"[" * 100_000])
def test_what_is_no_json_object_is_refused(body):
    """Only a JSON object can be read."""
    assert refused(body)[0] == "bad_json"


def test_real_bodies_are_told_or_refused_as_they_should(shared):
    """The vendor's examples of v3 are told; bare data objects and older versions are refused."""
    for path in sorted((shared / "corpus" / "pagerduty-v3").glob("*.json")):
        if path.name.startswith("data-only"):
            assert refused(path.read_bytes())[0] == "bad_body"
            data = json.loads(path.read_bytes())
            act = parse(changed("incident-acknowledged", data=data))
            about = data if data["type"] == "incident" else data.get("incident", {})
            assert act.ref == about.get("id", "PBAZLIU" if "role" in path.name else ""), path.name
        else:
            parse(json.loads(path.read_bytes()))
    for path in sorted((shared / "corpus" / "pagerduty-v1v2").glob("*.json")):
        assert refused(path.read_bytes())[0] == "unsupported_version"


# -- authenticity

BODY = b'{"event":{"event_type":"pagey.ping"}}'
OLD, NEW = b"old-fake-secret", b"new-fake-secret"


def mac(secret, body=BODY):
    """Return one signature as it stands in the header."""
    return "v1=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def verify(signature, secrets, body=BODY):
    """Return the matching index, or the status of the refusal."""
    headers = {} if signature is None else {"x-pagerduty-signature": signature}
    try:
        return pagerduty.build().verify(headers, body, secrets, NOW)
    except Rejected as refusal:
        return refusal.status


def _reference(kind, path, number, summary):
    """Return a reference as the published example has them."""
    return {
        "html_url": f"https://acme.pagerduty.com/{path}/{number}",
        "id": number,
        "self": f"https://api.pagerduty.com/{path}/{number}",
        "summary": summary,
        "type": f"{kind}_reference",
    }


def test_the_published_example_is_accepted():
    """Secret, body and signature of the tests of PagerDuty/go-pagerduty (webhookv3) fit together here."""
    # In parts, since it looks like a secret that somebody lost.
    secret = b"lDQHScfUeXUKaQRNF+8XIiDK" + b"Z7XX3itBAYzwU0TARw8l" + b"JqRnkKl2iB1anSb0Z+IK"
    incident = {
        "id": "PGR0VU2",
        "type": "incident",
        "self": "https://api.pagerduty.com/incidents/PGR0VU2",
        "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
        "number": 2,
        "status": "triggered",
        "title": "A little bump in the road",
        "service": _reference("service", "services", "PF9KMXH", "API Service"),
        "assignees": [_reference("user", "users", "PTUXL6G", "User 123")],
        "escalation_policy": _reference("escalation_policy", "escalation_policies", "PUS0KTE", "Default"),
        "teams": [_reference("team", "teams", "PFCVPS0", "Engineering")],
        "priority": {
            **_reference("priority", "priorities", "PSO75BM", "P1"),
            "html_url": "https://acme.pagerduty.com/account/incident_priorities",
        },
        "urgency": "high",
        "conference_bridge": {"conference_number": 1000, "conference_url": "https://example.com"},
        "resolve_reason": None,
    }
    event = {
        "id": "01BWDWL3NYY7LUFPZCC28QUCMK",
        "event_type": "incident.priority_updated",
        "resource_type": "incident",
        "occurred_at": "2021-04-26T17:36:27.458Z",
        "agent": _reference("user", "users", "PLH1HKV", "Tenex Engineer"),
        "client": None,
        "data": incident,
    }
    body = json.dumps({"event": event}, separators=(",", ":")).encode()
    signature = "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd"
    mismatch = "v1=7020c8a7ec668a9b7012bc3dd82e483394b038f4230acc6785efbf2a7d8bcaf5"
    assert verify(signature, [secret], body) == 0
    assert verify(mismatch, [secret], body) == 401
    assert verify(signature, [secret], b"") == 401


@pytest.mark.parametrize(
    ("signed", "ours", "index"), [(OLD, OLD, 0), (OLD, NEW, 401), (NEW, OLD, 401), (NEW, NEW, 0)]
)
def test_a_signature_is_good_for_its_own_secret_only(signed, ours, index):
    """Each pair of one signature and one secret fits or does not."""
    assert verify(mac(signed), [ours]) == index


@pytest.mark.parametrize("secrets", [[OLD], [NEW], [OLD, NEW], [NEW, OLD]])
@pytest.mark.parametrize("signatures", [(OLD,), (NEW,), (OLD, NEW), (NEW, OLD)])
def test_a_rotation_lets_nothing_fall(signatures, secrets):
    """While secrets are exchanged any signature may fit any of ours; the first of ours that fits is told."""
    fitting = [i for i, secret in enumerate(secrets) if secret in signatures]
    expected = fitting[0] if fitting else 401
    assert verify(",".join(mac(s) for s in signatures), secrets) == expected


@pytest.mark.parametrize("between", [",", ", ", " , ", ",,", ",v2=" + "0" * 64 + ",", ",v1=,v1=zz,"])
def test_spaces_and_other_versions_are_passed_over(between):
    """Signatures may stand with spaces between them and beside versions that we do not know."""
    assert verify(f" {mac(b'x')}{between}{mac(NEW)} ", [OLD, NEW]) == 1


def test_only_the_first_ten_signatures_are_looked_at():
    """More than ten only cost time."""
    assert verify(",".join([mac(b"x")] * 9 + [mac(NEW)]), [NEW]) == 0
    assert verify(",".join([mac(b"x")] * 10 + [mac(NEW)]), [NEW]) == 401


@pytest.mark.parametrize(
    "junk",
    [None, "", "v1=", "v1", "ü", "\udcff", "v1=ü", "," * 5000, "v2=" + mac(NEW)[3:], mac(NEW)[3:]],
)
def test_what_is_no_signature_is_refused(junk):
    """Nothing, junk and other versions do not get in."""
    assert verify(junk, [NEW]) == 401


def test_a_signature_covers_all_bytes_and_no_empty_secret_opens():
    """A changed body is refused, and so is one signed with nothing, whatever is configured."""
    assert verify(mac(NEW), [NEW], BODY + b"\n") == 401
    assert verify(mac(NEW).upper(), [NEW]) == 401
    assert verify(mac(b""), [b"", NEW]) == 401
    assert verify(mac(b"-"), [b""]) == 401


@pytest.mark.parametrize("name", ["incident-reassigned", "incident-escalated", "incident-delegated"])
def test_whose_it_is_now_is_told(name):
    """A reassignment and an escalation name the people; at most five, and junk among them names nobody."""
    assert parse(load(name)).to == "Dana Example"
    doc = load(name)
    doc["event"]["data"]["assignees"] = [
        7,
        None,
        {"summary": []},
        {"summary": "A"},
        {"summary": "B"},
        {"summary": "C"},
    ]
    assert parse(doc).to == "A, B"
    doc["event"]["data"]["assignees"] = "all"
    assert parse(doc).to == ""


def test_our_own_note_is_no_note():
    """What we wrote there ourselves comes back, and is known by its end."""
    doc = load("incident-annotated")
    doc["event"]["data"]["content"] = f"Acknowledged by ana in Slack {OUR_MARK}"
    assert parse(doc).kind is ActKind.OTHER
