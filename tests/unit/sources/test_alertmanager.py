"""How Alertmanager's webhook is read."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.model.errors import Rejected
from router.model.events import Heartbeat, Trouble
from router.model.keys import fingerprint
from router.sources import alertmanager

PAYLOADS = Path(__file__).parents[2] / "payloads" / "alertmanager"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
START = "2026-11-20T10:06:12Z"
ZERO = "0001-01-01T00:00:00Z"


def parse(body):
    """Return what the body tells."""
    return alertmanager.build().parse({}, body if isinstance(body, bytes) else json.dumps(body).encode())


def batch(*alerts, **more):
    """Return a body with these alerts."""
    return {"version": "4", "status": "firing", "receiver": "r", "alerts": list(alerts), **more}


def alert(**more):
    """Return a firing alert with changes."""
    found = {
        "status": "firing",
        "labels": {"alertname": "X"},
        "annotations": {},
        "startsAt": START,
        "endsAt": ZERO,
    }
    return {**found, **more}


def troubled(body):
    """Return the batch and the one reason why the delivery was not read wholly."""
    told, trouble = parse(body)
    assert isinstance(trouble, Trouble)
    assert trouble.source == "alertmanager"
    assert 0 < len(trouble.reason) < 300
    return told, trouble.reason


def only(body):
    """Return the one alert that the body tells of."""
    (told,) = parse(body)
    (found,) = told.alerts
    return found


def refused(body):
    """Return the refusal of the body."""
    with pytest.raises(Rejected) as caught:
        parse(body)
    return caught.value


def test_a_firing_delivery_is_read_in_full():
    """Key, labels, annotations, times and the sender's addresses are those that were sent."""
    (told,) = parse((PAYLOADS / "firing.json").read_bytes())
    first, second = told.alerts
    assert first.key == "am:" + fingerprint(first.labels)
    assert (
        first.fingerprint == json.loads((PAYLOADS / "firing.json").read_bytes())["alerts"][0]["fingerprint"]
    )
    assert (first.firing, first.ends_at) == (True, None)
    assert first.labels["version"] == "v2.14.0"
    assert first.annotations["description"] == "Erhöhte Fehlerrate\nseit dem letzten Deploy"
    assert first.starts_at.replace(microsecond=0) == datetime(2026, 11, 20, 10, 6, 12, tzinfo=UTC)
    assert second.starts_at == datetime(2026, 11, 20, 10, 6, 30, 500_000, tzinfo=UTC)
    assert second.starts_at.tzinfo is UTC, "an offset is turned into UTC"
    assert (told.source, told.external_url) == ("alertmanager", "https://alertmanager.example.com")
    assert (told.receiver, told.truncated) == ("incident-router", 0)


def test_a_resolved_alert_among_firing_ones_has_its_end():
    """Each alert has its own status; only the resolved one has an end."""
    (told,) = parse((PAYLOADS / "mixed.json").read_bytes())
    assert [(a.firing, a.ends_at) for a in told.alerts] == [
        (False, datetime(2026, 11, 20, 10, 21, 12, 500_000, tzinfo=UTC)),
        (True, None),
    ]


def test_left_out_alerts_are_counted():
    """What max_alerts cut off is told as a number."""
    assert parse((PAYLOADS / "truncated.json").read_bytes())[0].truncated == 7


def test_the_receiver_is_shown_as_it_was_configured():
    """Alertmanager escapes the receiver's name like a regular expression; we undo it."""
    assert parse((PAYLOADS / "resolved-basic-auth.json").read_bytes())[0].receiver == "team.checkout+oncall"


def test_an_old_body_gets_its_fingerprint_from_us():
    """Without a fingerprint, or with one that is not 16 hex digits, we compute Prometheus' own."""
    found = only((PAYLOADS / "old-without-fingerprint.json").read_bytes())
    assert found.key == "am:" + fingerprint({"job": "node", "instance": "db-1"})
    assert only(batch(alert(fingerprint="DEADBEEF"))).key == "am:" + fingerprint({"alertname": "X"})
    assert only(batch(alert(fingerprint=None))).key == "am:" + fingerprint({"alertname": "X"})
    assert only(batch(alert(fingerprint="00000000000000aa"))).key == "am:00000000000000aa"


def test_a_body_without_version_is_taken():
    """Senders that only imitate Alertmanager may leave out the version and what we do not need."""
    body = batch({"labels": {"a": "b", "empty": ""}, "startsAt": START})
    del body["version"], body["receiver"]
    found = only(body)
    assert (found.labels, found.annotations, found.firing) == ({"a": "b"}, {}, True)


def test_what_newer_releases_say_of_a_delivery_is_kept():
    """groupKey, notification_reason and routeLabels are the batch's, strictly and loosely read alike."""
    body = (PAYLOADS / "newest-fields.json").read_bytes()
    for sent in (body, body.replace(b'"generatorURL":"http', b'"generatorURL":null,"x":"')):
        (told,) = parse(sent)
        assert told.group_key == '{}/{env="prod"}:{service="payment-service"}'
        assert told.reason == "new alerts added"
        assert told.route_labels == {"team": "payments", "tier": "1"}


def test_what_older_releases_do_not_say_is_empty():
    """Without the newer fields, or with null in their place, a delivery is taken as before."""
    nothing = dict.fromkeys(("groupKey", "notification_reason", "routeLabels", "truncatedAlerts", "receiver"))
    for body in (batch(alert()), batch(alert(), **nothing, externalURL=None)):
        (told,) = parse(body)
        assert (told.group_key, told.reason, told.route_labels, told.truncated) == ("", "", {}, 0)


def test_a_senders_own_texts_are_bounded():
    """A group key of any length and route labels without number are cut, not refused."""
    labels = {"big": "v" * 5000, **{str(i): "x" for i in range(100)}}
    (told,) = parse(batch(alert(), groupKey="k" * 5000, notification_reason="r" * 500, routeLabels=labels))
    assert (len(told.group_key), len(told.reason), len(told.route_labels)) == (1024, 100, 64)
    assert len(told.route_labels["big"]) == 4096


@pytest.mark.parametrize(
    "odd",
    [
        {"groupKey": 1},
        {"routeLabels": {"a": 1, "": "x"}},
        {"routeLabels": []},
        {"notification_reason": {}},
        {"truncatedAlerts": "seven"},
        {"truncatedAlerts": "٣"},
        {"truncatedAlerts": "9" * 5000},
        {"truncatedAlerts": "-7"},
        {"truncatedAlerts": -7},
        {"truncatedAlerts": 7.5},
        {"truncatedAlerts": [7]},
        {"truncatedAlerts": True},
        {"receiver": 5},
    ],
)
def test_odd_values_beside_the_alerts_do_not_stop_a_page(odd):
    """What stands beside the alerts is of no weight for the page."""
    (told,) = parse(batch(alert(), **odd))
    assert [a.firing for a in told.alerts] == [True]
    assert (told.route_labels, told.truncated) == ({}, 0)


def test_googles_managed_alertmanager_is_read():
    """It calls the same body version 1; without Grafana's fields that is Alertmanager's."""
    assert only((PAYLOADS / "managed-version-1.json").read_bytes()).key == "am:48fd6dbcdc74b016"


@pytest.mark.parametrize(
    ("status", "whole", "firing"),
    [
        ("firing", "resolved", True),
        ("resolved", "firing", False),
        ("", "resolved", False),
        ("paused", "resolved", True),
    ],
)
def test_an_alert_without_status_has_the_bodys_and_an_unknown_one_fires(status, whole, firing):
    """A word that we do not know pages rather than not."""
    assert only(batch(alert(status=status), status=whole)).firing is firing


@pytest.mark.parametrize(
    ("start", "year"),
    [(ZERO, 1970), ("0001-01-01T00:00:00+05:00", 1970), ("9999-12-31T23:59:59-05:00", 2200)],
)
def test_an_impossible_start_is_moved_to_where_it_can_be_reckoned_with(start, year):
    """Zero and far-off times cannot overflow later arithmetic, and do not stop a page."""
    assert only(batch(alert(startsAt=start))).starts_at.year == year


def test_a_resolved_alert_without_end_ended_when_it_began():
    """A zero or missing end of a resolved alert is its start; an end with offset is turned into UTC."""
    start = datetime(2026, 11, 20, 10, 6, 12, tzinfo=UTC)
    assert only(batch(alert(status="resolved"))).ends_at == start
    assert only(batch(alert(status="resolved", endsAt=None))).ends_at == start
    assert only(batch(alert(status="resolved", startsAt=None, endsAt=START))).starts_at == start
    assert only(batch(alert(status="resolved", endsAt="2026-11-20T11:06:12+01:00"))).ends_at == start


def test_of_one_alert_listed_twice_the_later_occurrence_counts():
    """One delivery never holds two versions of one alert."""
    early, late = alert(status="resolved", endsAt=START), alert(startsAt="2026-11-20T10:09:00Z")
    assert only(batch(early, late)) == only(batch(late, early)) == only(batch(late))


def test_big_values_are_cut_and_never_stop_a_page():
    """Long label values, annotations and links are trimmed; the alert's identity is of the whole label."""
    labels = {"alertname": "X", "query": "q" * 5000}
    found = only(
        batch(alert(labels=labels, annotations={"d": "d" * 20_000, "": "x"}, generatorURL="u" * 9000))
    )
    assert found.key == "am:" + fingerprint(labels)
    assert (len(found.labels["query"]), len(found.annotations["d"])) == (4096, 16 * 1024)
    assert found.annotations["d"].endswith("…")
    assert (list(found.annotations), found.generator_url) == (["d"], "")


def test_control_characters_are_taken_out():
    """Escapes that would reach a terminal do not; line breaks in annotations stay."""
    found = only(batch(alert(labels={"a": "x\x00\x1b[2J\x9by"}, annotations={"d": "one\r\n\ttwo\x7f"})))
    assert found.labels == {"a": "x[2Jy"}
    assert found.annotations == {"d": "one\n\ttwo"}


def test_half_of_a_surrogate_pair_is_replaced():
    """JSON can hold what UTF-8 cannot; a real pair is kept."""
    found = only(json.dumps(batch(alert(annotations={"d": "\ud83d!", "e": "😀 \\ud83d"}))).encode())
    assert found.annotations == {"d": "�!", "e": "😀 \\ud83d"}
    assert refused(b'{"version":"4","alerts":[{"labels":{"a":"\\ud83d"}],}').code == "bad_json"


def test_a_delivery_without_alerts_is_a_heartbeat():
    """An empty list says nothing we act on."""
    assert parse(batch()) == [Heartbeat(source="alertmanager", kind="alertmanager:empty")]
    assert parse(batch(truncatedAlerts=0)) == parse(batch(truncatedAlerts=-1)) == parse(batch())


@pytest.mark.parametrize(
    ("count", "says"),
    [(12, "12"), ("12", "12"), (" 12 ", "12"), (2**62, "1000000000"), ("9" * 12, "1000000000")],
)
def test_alerts_that_were_all_left_out_are_trouble(count, says):
    """Where a limit lets no alert through nobody would be paged, so it is told how many there were."""
    beat, trouble = parse(batch(truncatedAlerts=count))
    assert beat == Heartbeat(source="alertmanager", kind="alertmanager:empty")
    assert trouble.source == "alertmanager"
    assert trouble.reason.startswith(f"all {says} alerts of this delivery were left out: ")
    assert "max_alerts" in trouble.reason
    assert len(trouble.reason) < 300


def test_a_recorded_delivery_without_any_of_its_alerts_is_trouble():
    """So it looks where max_alerts cuts off all."""
    told = parse((PAYLOADS / "truncated-to-none.json").read_bytes())
    assert [type(t) for t in told] == [Heartbeat, Trouble]


@pytest.mark.parametrize("count", [7, "7", " 07"])
def test_the_number_of_alerts_left_out_may_be_digits_in_a_text(count):
    """Senders that are not Alertmanager write numbers as they like."""
    (told,) = parse(batch(alert(), truncatedAlerts=count))
    assert told.truncated == 7


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        pytest.param(b"", 400, "bad_json", "custom payload", id="empty"),
        pytest.param(b"hello", 400, "bad_json", "custom payload", id="text"),
        pytest.param(b'{"alerts":"\xff"}', 400, "bad_json", "not an Alertmanager", id="latin-1"),
        pytest.param({"text": "hi"}, 400, "bad_body", "custom payload", id="custom-payload"),
        pytest.param(batch(alert(), version="3"), 400, "unsupported_version", "'3'", id="version-3"),
        pytest.param(
            batch(alert(), version="1", orgId=1), 400, "unsupported_version", "Grafana", id="grafana"
        ),
        pytest.param(
            batch(alert(), version="1", state="ok"), 400, "unsupported_version", "Grafana", id="grafana-state"
        ),
        pytest.param(
            batch(alert(silenceURL="x"), version="1"),
            400,
            "unsupported_version",
            "/webhooks/grafana",
            id="mqtt",
        ),
        pytest.param(
            {"ruleName": "X"},
            400,
            "unsupported_version",
            "/webhooks/grafana",
            id="legacy",
        ),
        pytest.param(batch() | {"alerts": {}}, 400, "bad_body", "custom payload", id="no-list"),
        pytest.param(batch(alert(labels={})), 400, "bad_alert", "alerts[0].labels", id="no-labels"),
        pytest.param(batch(alert(labels={"a": ""})), 400, "bad_alert", "not empty", id="empty-labels"),
        pytest.param(batch(alert(labels=None)), 400, "bad_alert", "alerts[0].labels", id="null-labels"),
        pytest.param(
            batch(alert(labels={str(i): "x" for i in range(65)})), 400, "bad_alert", "64", id="65-labels"
        ),
        pytest.param(batch(alert(labels={"n" * 1025: "x"})), 400, "bad_alert", "1024", id="long-name"),
        pytest.param(batch(alert(labels={"": "x"})), 400, "bad_alert", "name", id="empty-name"),
        pytest.param(batch(alert(startsAt=None)), 400, "bad_alert", "startsAt", id="no-start"),
        pytest.param(batch(alert(startsAt="noon")), 400, "bad_alert", "alerts[0].startsAt", id="odd-start"),
        pytest.param(batch(alert(labels={"a": 1})), 400, "bad_alert", "alerts[0].labels", id="number-label"),
        pytest.param(batch(1, None, []), 400, "bad_alert", "alerts[2]: not an object", id="no-objects"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_place(body, status, code, says):
    """A refusal says what is wrong, where, and what to do."""
    refusal = refused(body)
    assert (refusal.status, refusal.code) == (status, code)
    assert says in refusal.detail
    assert len(refusal.detail) < 300


UNREADABLE = [
    ({"labels": {}}, ".labels"),
    ({"labels": {str(i): "x" for i in range(65)}}, ".labels"),
    ({"labels": {"n" * 1025: "x"}}, ".labels"),
    ({"labels": {"alertname": ["X"]}}, ".labels"),
    ({"startsAt": None}, ".startsAt"),
    ({"startsAt": 1763634600}, ".startsAt"),
]


@pytest.mark.parametrize(("odd", "where"), UNREADABLE)
def test_one_bad_alert_does_not_stop_the_others(odd, where):
    """What cannot be read is left out and named; the rest pages."""
    told, reason = troubled(batch(alert(), alert(**odd), alert(labels={"alertname": "Y"})))
    assert [a.labels["alertname"] for a in told.alerts] == ["X", "Y"]
    assert reason.startswith("1 of 3 alerts could not be read: alerts[1]" + where)


def test_of_many_bad_alerts_three_are_named():
    """The reason stays short however many there are, and counts them all."""
    bad = [alert(labels={}), "text", alert(startsAt=None), alert(labels={"x": 1}), None]
    told, reason = troubled(batch(*bad, alert()))
    assert len(told.alerts) == 1
    assert reason.startswith("5 of 6 alerts")
    assert [w in reason for w in ("alerts[0].", "alerts[1]:", "alerts[2].", "alerts[3]", "alerts[4]")] == [
        *[True] * 3,
        False,
        False,
    ]


def test_odd_annotations_are_left_out_and_do_not_stop_a_page():
    """An annotation that is no text is dropped; its alert, and the text beside it, are not."""
    odd = {"a": None, "b": 1, "c": ["x"], "d": "kept"}
    assert only(batch(alert(annotations=odd))).annotations == {"d": "kept"}
    assert only(batch(alert(annotations="text"))).annotations == {}
    assert len(only(batch(alert(annotations={str(i): "x" for i in range(300)}))).annotations) == 256


def many(count, **more):
    """Return that many different alerts."""
    return [alert(labels={"n": str(i)}, fingerprint=f"{i:016x}", **more) for i in range(count)]


def test_five_thousand_alerts_are_taken():
    """The limit itself is still inside."""
    (told,) = parse(batch(*many(5000)))
    assert (len(told.alerts), told.truncated) == (5000, 0)


@pytest.mark.parametrize("odd", [{}, {"generatorURL": None}], ids=["strictly", "loosely"])
def test_of_more_than_five_thousand_alerts_the_firing_ones_are_taken_first(odd):
    """A flood is not refused: the first firing ones page, and what was left out is counted and told."""
    ended = alert(status="resolved", endsAt=START, labels={"n": "ended"}, fingerprint="f" * 16, **odd)
    told, reason = troubled(batch(ended, *many(5001, **odd), truncatedAlerts=7))
    assert [a.key for a in told.alerts] == [f"am:{i:016x}" for i in range(5000)]
    assert told.truncated == 7 + 2
    assert reason.startswith("2 of 5002 alerts were left out")


@pytest.mark.parametrize("odd", [{}, {"generatorURL": None}], ids=["strictly", "loosely"])
def test_resolved_alerts_fill_what_firing_ones_leave(odd):
    """With fewer firing alerts than the limit, the first resolved ones are taken in their order."""
    ends = many(5000, status="resolved", endsAt=START, **odd)
    fires = alert(labels={"n": "fires"}, fingerprint="f" * 16, **odd)
    told, _ = troubled(batch(*ends, fires))
    assert [a.key for a in told.alerts[-2:]] == [f"am:{4998:016x}", "am:" + "f" * 16]
    assert sum(a.firing for a in told.alerts) == 1


@pytest.mark.parametrize("user", ["", "alertmanager", "ü"])
def test_basic_auth_counts_by_its_password(user):
    """Any user with a secret as password is let in, also a secret with a colon or umlaut."""
    secret = "pa:ss-ö".encode()
    value = base64.b64encode(user.encode() + b":" + secret).decode()
    assert alertmanager.build().verify({"authorization": f"basic {value}"}, b"", [b"a", secret], NOW) == 1


def test_a_bearer_token_beyond_ascii_is_compared_as_bytes():
    """A header's bytes that are no ASCII are compared, not stumbled over."""
    secret = "schlüssel".encode()
    header = secret.decode("ascii", "surrogateescape")
    assert alertmanager.build().verify({"authorization": f"Bearer {header}"}, b"", [secret], NOW) == 0
