"""How Grafana's alerting webhook is read, and how it proves itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.model.errors import Rejected
from router.model.events import Heartbeat, Trouble
from router.model.keys import fingerprint
from router.sources import grafana

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grafana"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
START = "2026-11-20T10:06:12Z"
ZERO = "0001-01-01T00:00:00Z"


def parse(body):
    """Return what the body tells."""
    return grafana.build().parse({}, body if isinstance(body, bytes) else json.dumps(body).encode())


def load(name):
    """Return the batch of a recorded body."""
    (told,) = parse((PAYLOADS / f"{name}.json").read_bytes())
    return told


def batch(*alerts, **more):
    """Return a body with these alerts."""
    head = {"version": "1", "status": "firing", "state": "alerting", "receiver": "r", "orgId": 1}
    return {**head, "externalURL": "https://grafana.example.com/", "alerts": list(alerts), **more}


def alert(**more):
    """Return a firing alert with changes."""
    found = {"status": "firing", "labels": {"alertname": "X"}, "annotations": {}, "startsAt": START}
    return {**found, "endsAt": ZERO, **more}


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


# -- reading


def test_a_firing_delivery_is_read_in_full():
    """Keys carry Grafana's fingerprint; labels, times and the sender's addresses are those that were sent."""
    told = load("firing-signed")
    first, second = told.alerts
    assert (first.key, first.firing, first.ends_at) == ("gf:ee22dd296342c9bb", True, None)
    assert first.labels["service"] == "payment-service"
    assert first.annotations["summary"] == "payment-service answers 5xx to <5 %> of checkout's requests"
    assert first.starts_at == datetime(2026, 11, 20, 10, 6, 12, 622813, tzinfo=UTC)
    assert second.starts_at == datetime(2026, 11, 20, 10, 6, 30, tzinfo=UTC)
    assert first.generator_url == "https://grafana.example.com/alerting/grafana/fdx1k2payerr/view?orgId=1"
    assert (told.source, told.receiver) == ("grafana", "incident-router")
    assert told.external_url == "https://grafana.example.com/"
    assert told.group_key == '{}/{service="payment-service"}:{grafana_folder="Payments"}'


def test_values_and_links_become_annotations():
    """What Grafana says in fields of its own is shown like any annotation."""
    first, second = load("firing-signed").alerts
    assert first.annotations["values"] == "B=22, C=1"
    assert second.annotations["values"] == "A=0.8125, C=null"
    assert first.annotations["panel_url"].endswith("&viewPanel=4")
    assert first.annotations["silence_url"].startswith("https://grafana.example.com/alerting/silence/new?")
    assert "image_url" not in first.annotations
    assert second.annotations["image_url"] == "https://grafana.example.com/public/img/attachments/q7k.png"


def test_a_link_of_a_firing_alert_does_not_change_from_one_delivery_to_the_next():
    """The range of its dashboard link ends now, not at the moment of sending; a resolved one's stays."""
    links = {"dashboardURL": "https://g.example.com/d/x?from=1&orgId=1&to=2", "imageURL": "https://i/?to=2"}
    assert only(batch(alert(**links))).annotations == {
        "dashboard_url": "https://g.example.com/d/x?from=1&orgId=1&to=now",
        "image_url": "https://i/?to=2",
    }
    ended = alert(status="resolved", endsAt=START, **links)
    assert only(batch(ended)).annotations["dashboard_url"] == links["dashboardURL"]


def test_a_resolved_delivery_has_its_end():
    """Each alert has its own status; the receiver is shown as it was configured."""
    told = load("resolved-bearer")
    assert [(a.firing, a.ends_at) for a in told.alerts] == [
        (False, datetime(2026, 11, 20, 10, 21, 10, tzinfo=UTC))
    ]
    assert told.receiver == "team.checkout+oncall"


def test_a_mixed_delivery_of_another_organisation():
    """Alerts left out by the sender are counted; an organisation other than the first is shown."""
    told = load("mixed-basic-auth")
    assert [a.firing for a in told.alerts] == [False, True]
    assert told.truncated == 7
    assert [a.annotations.get("org_id") for a in told.alerts] == [None, "3"], "the alert's own comes first"
    assert only(batch(alert(), orgId=7)).annotations == {"org_id": "7"}


def test_no_data_and_errors_are_alerts_that_say_so():
    """They keep Grafana's alertname, and get a summary that names the rule."""
    nothing, error = load("no-data-and-error-signed-without-time").alerts
    assert nothing.labels["alertname"] == "DatasourceNoData"
    assert nothing.annotations["summary"] == "no data from PaymentErrors (query A)"
    assert error.annotations["summary"] == "error in PaymentLatency"
    assert error.annotations["Error"].startswith("[sse.dataQueryError]")
    labels = {"alertname": "DatasourceError"}
    assert only(batch(alert(labels=labels))).annotations == {"summary": "error in an unnamed rule"}
    own = alert(labels=labels, annotations={"summary": "own"})
    assert only(batch(own)).annotations == {"summary": "own"}


def test_a_test_notification_is_an_alert_like_any_other():
    """What the Test button sends pages, so that the way to the page is tested; its link is made whole."""
    (found,) = load("test-notification").alerts
    assert (found.labels["alertname"], found.firing) == ("TestAlert", True)
    assert found.generator_url == "https://grafana.example.com/?orgId=1"


@pytest.mark.parametrize(
    ("base", "url", "whole"),
    [
        ("https://g.example.com/", "?orgId=1", "https://g.example.com/?orgId=1"),
        ("https://g.example.com/grafana", "?orgId=1", "https://g.example.com/grafana?orgId=1"),
        ("https://g.example.com/grafana", "alerting/x/view", "https://g.example.com/grafana/alerting/x/view"),
        ("https://g.example.com", "/alerting/x/view", "https://g.example.com/alerting/x/view"),
        ("https://g.example.com", "http://other.example.com/x", "http://other.example.com/x"),
        ("", "?orgId=1", ""),
        ("http://[", "?orgId=1", ""),
        ("https://g.example.com", "a URL", ""),
        ("https://g.example.com", "javascript:alert(1)", ""),
        ("https://g.example.com", "", ""),
    ],
)
def test_a_relative_link_is_joined_or_left_out(base, url, whole):
    """A link that leads nowhere is worse than none."""
    assert only(batch(alert(generatorURL=url), externalURL=base)).generator_url == whole


@pytest.mark.parametrize(
    "url", ["", "panel", "javascript:x", "http://", "https://a b", 5, None, "https://" + "u" * 9000]
)
def test_only_whole_links_become_annotations(url):
    """Empty, relative, odd and over-long links are left out."""
    fields = ("dashboardURL", "panelURL", "silenceURL", "imageURL")
    assert only(batch(alert(**dict.fromkeys(fields, url)))).annotations == {}


def test_an_annotation_of_the_rule_is_not_overwritten():
    """Who writes an annotation of such a name means it."""
    own = {"values": "mine", "dashboard_url": "https://own.example.com"}
    found = only(
        batch(alert(annotations=own, values={"B": 1}, dashboardURL="https://grafana.example.com/d/x"))
    )
    assert found.annotations == own


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"C": None, "B": 22.0}, "B=22, C=null"),
        ({"B": 23644.5, "A": -0.001}, "A=-0.001, B=23644.5"),
        ({"B": 10**400}, "B=1" + "0" * 39),
        ({"B": True, "C": "1", "D": {}}, None),
        ({}, None),
        ([1], None),
        (5, None),
    ],
)
def test_values_are_numbers_or_null(values, text):
    """They are listed by name, as short as they can be; what is no number is left out."""
    assert only(batch(alert(values=values))).annotations.get("values") == text


def test_values_are_bounded():
    """However many values a rule has, and however long their names, the text stays short."""
    assert (
        only(batch(alert(values={f"{i:03}": i for i in range(100)}))).annotations["values"].count("=") == 20
    )
    long = only(batch(alert(values={f"{i:02}" + "n" * 500: i for i in range(50)}))).annotations["values"]
    assert len(long) == 1000


def test_without_a_fingerprint_it_is_computed():
    """Without one, or with one that is not 16 hex digits, it is Prometheus' own over the labels sent."""
    assert only(batch(alert())).key == "gf:" + fingerprint({"alertname": "X"})
    assert only(batch(alert(fingerprint="X"))).key == "gf:" + fingerprint({"alertname": "X"})


@pytest.mark.parametrize(
    ("word", "whole", "state", "firing"),
    [
        ("firing", "resolved", "ok", True),
        ("resolved", "firing", "alerting", False),
        (None, "resolved", "ok", False),
        (None, None, "ok", False),
        (None, None, "alerting", True),
        (None, None, None, True),
        ("paused", None, "ok", True),
    ],
)
def test_an_alert_without_status_has_the_bodys_and_an_unknown_one_fires(word, whole, state, firing):
    """The body says it as ``status`` and as ``state``; a word that we do not know pages."""
    assert only(batch(alert(status=word), status=whole, state=state)).firing is firing


def test_unknown_fields_and_versions_are_tolerated():
    """Grafana adds fields without notice, and may count its version up."""
    assert only(batch(alert(enrichments={"a": [1]}, embeddedImage="x" * 99), version="2", new=[])).firing
    assert only({"alerts": [alert()]}).firing


def test_one_bad_alert_does_not_stop_the_others():
    """What cannot be read is left out and named; the rest pages."""
    told, trouble = parse(batch(alert(labels={}), alert(), 7))
    assert [a.labels for a in told.alerts] == [{"alertname": "X"}]
    assert isinstance(trouble, Trouble)
    assert trouble.source == "grafana"
    assert trouble.reason.startswith("2 of 3 alerts could not be read: alerts[0].labels: ")


def test_of_too_many_alerts_the_firing_ones_are_taken_first():
    """A flood is not refused; what was left out is counted and told."""
    many = [alert(labels={"n": str(i)}, fingerprint=f"{i:016x}") for i in range(5001)]
    told, trouble = parse(batch(alert(status="resolved", endsAt=START), *many))
    assert (len(told.alerts), told.truncated) == (5000, 2)
    assert all(a.firing for a in told.alerts)
    assert trouble.reason.startswith("2 of 5002 alerts were left out")


def test_a_delivery_without_alerts_is_a_heartbeat():
    """An empty list says nothing we act on."""
    assert parse(batch()) == [Heartbeat(source="grafana", kind="grafana:empty")]


def test_alerts_that_were_all_left_out_are_trouble():
    """A limit that lets nothing through is told, since nobody is paged."""
    beat, trouble = parse(batch(truncatedAlerts=3))
    assert beat == Heartbeat(source="grafana", kind="grafana:empty")
    assert (trouble.source, trouble.reason[:12]) == ("grafana", "all 3 alerts")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        pytest.param(b"", "bad_json", "custom payload", id="empty"),
        pytest.param(b"[]", "bad_json", "an array", id="array"),
        pytest.param({"text": "hi"}, "bad_body", "custom payload", id="custom-payload"),
        pytest.param(batch() | {"alerts": {}}, "bad_body", "custom payload", id="no-list"),
        pytest.param(
            {"ruleId": 7, "ruleName": "X", "state": "alerting"}, "unsupported_version", "unified", id="legacy"
        ),
        pytest.param({"ruleName": "Test notification"}, "unsupported_version", "no time", id="legacy-test"),
        pytest.param(
            {"version": "4", "alerts": [alert()]}, "unsupported_version", "/webhooks/alertmanager", id="am"
        ),
        pytest.param({"version": "3", "alerts": [alert()]}, "unsupported_version", "'3'", id="am-3"),
        pytest.param(batch(alert(labels={})), "bad_alert", "alerts[0].labels", id="no-labels"),
        pytest.param(batch(alert(startsAt="noon")), "bad_alert", "alerts[0].startsAt", id="odd-start"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_place(body, code, says):
    """A refusal says what is wrong, where, and what to do."""
    refusal = refused(body)
    assert (refusal.status, refusal.code) == (400, code)
    assert says in refusal.detail
    assert len(refusal.detail) < 300


# -- authenticity


def verify(headers, body, secrets, now=NOW):
    """Return the index of the secret, or None where the delivery is refused."""
    try:
        return grafana.build().verify(headers, body, secrets, now)
    except Rejected as refusal:
        if (refusal.status, refusal.code) != (401, "bad_secret"):
            raise
        return None


def signed(body, secret=b"s", stamp=None):
    """Return the headers that Grafana would send."""
    text = body if stamp is None else stamp.encode() + b":" + body
    headers = {"x-grafana-alerting-signature": hmac.new(secret, text, hashlib.sha256).hexdigest()}
    return headers if stamp is None else {**headers, "x-grafana-alerting-timestamp": stamp}


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# Secret, bodies and clock (at 0) are those of grafana/alerting's http/hmac_test.go, which computes what it
# expects; the digits here are openssl's.
@pytest.mark.parametrize(
    ("body", "stamp", "signature"),
    [
        (b"test message", None, "3bcebf43c85d20bba6e3b6ba278af1d2ba3ab0d57de271b0ad30b833e851c5a6"),
        (b"test message", "0", "ac18a483a582b60a883e974541afe25aa1026136163e94665649743324183ef1"),
        (b"", None, "f9e66e179b6747ae54108f82f8ade8b3c25d76fd30afde6c395822c530196169"),
        (b"", "0", "e2f315c3aecb48bf08e9308c9c9637aaac3a16d0d7499de2cdc6ecd924064632"),
    ],
)
@pytest.mark.parametrize("name", grafana.TIMESTAMPS)
def test_grafanas_own_signatures_are_right(body, stamp, signature, name):
    """The cases of Grafana's own test are authentic, under either name of the timestamp's header."""
    headers = {"x-grafana-alerting-signature": signature} | ({name: stamp} if stamp else {})
    assert verify(headers, body, [b"other", b"secret"], EPOCH) == 1
    assert verify(headers, body + b"x", [b"secret"], EPOCH) is None


@pytest.mark.parametrize(
    ("off", "taken"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)]
)
def test_an_old_signature_is_refused(off, taken):
    """With a timestamp a delivery counts for five minutes, by a clock that may be off as much."""
    stamp = str(int(NOW.timestamp()) + off)
    assert (verify(signed(b"{}", stamp=stamp), b"{}", [b"s"]) == 0) is taken


@pytest.mark.parametrize("stamp", ["", "x", "-1", "1e9", "٣", "9" * 400, " 1795170600"])
def test_a_timestamp_that_is_none_is_refused(stamp):
    """Whatever stands in the header, it is no error of ours."""
    assert verify(signed(b"{}") | {"x-grafana-alerting-timestamp": stamp}, b"{}", [b"s"]) is None


def test_the_timestamp_is_part_of_what_is_signed():
    """It can neither be taken away nor put to another delivery."""
    stamp = str(int(NOW.timestamp()))
    headers = signed(b"{}", stamp=stamp)
    assert verify({k: v for k, v in headers.items() if "signature" in k}, b"{}", [b"s"]) is None
    assert verify(headers | {"x-grafana-alerting-timestamp": str(int(stamp) + 1)}, b"{}", [b"s"]) is None
    assert verify(signed(b"{}") | {"x-grafana-alerting-timestamp": stamp}, b"{}", [b"s"]) is None


@pytest.mark.parametrize("body", [b"{}", b"", b'{"version":"1","alerts":[]}'])
def test_a_signed_time_and_body_are_not_taken_for_a_body(body):
    """What was signed as ``time:body`` would, without the time's header, be a good signature for ever."""
    stamp = str(int(NOW.timestamp()))
    headers = signed(body, stamp=stamp)
    assert verify(headers, body, [b"s"]) == 0
    replayed = {k: v for k, v in headers.items() if "timestamp" not in k}
    assert verify(replayed, stamp.encode() + b":" + body, [b"s"]) is None
    assert verify(signed(b"0:" + body), b"0:" + body, [b"s"]) is None
    assert verify(signed(b" 0:" + body), b" 0:" + body, [b"s"]) == 0, "no timestamp looks so"


@pytest.mark.parametrize("signature", ["", "x", "0" * 64, "ü", "\udcff", chr(0xD800)])
def test_a_wrong_signature_is_not_made_good_by_a_right_token(signature):
    """Where a signature is sent it must be right."""
    headers = {"x-grafana-alerting-signature": signature, "authorization": "Bearer s"}
    assert verify(headers, b"{}", [b"s"]) is None
    assert verify(headers | signed(b"{}"), b"{}", [b"s"]) == 0


def test_an_empty_secret_signs_nothing():
    """A secret that was left empty lets nobody in."""
    assert verify(signed(b"{}", b""), b"{}", [b""]) is None
    assert verify(signed(b"{}", b"-"), b"{}", [b""]) is None
    assert verify(signed(b"{}", b"s"), b"{}", [b"", b"s"]) == 1


def test_token_and_password_are_compared_where_nothing_is_signed():
    """Bearer tokens, and the basic password of any user, also beyond ASCII."""
    secret = "pa:ss-ö".encode()
    basic = base64.b64encode(b"grafana:" + secret).decode()
    assert verify({"authorization": f"Basic {basic}"}, b"", [b"a", secret]) == 1
    assert (
        verify({"authorization": f"Bearer {secret.decode('ascii', 'surrogateescape')}"}, b"", [secret]) == 0
    )
    assert verify({"authorization": "Bearer x"}, b"", [secret]) is None
    assert verify({}, b"", [secret]) is None


def test_it_may_be_put_as_well_as_posted():
    """The method is a setting of the contact point."""
    assert grafana.build().manners.methods == ("POST", "PUT")
    assert grafana.build().manners.unreadable == 400


# -- real bodies


def test_collected_bodies_are_batches_or_legacy(shared):
    """Bodies of unified alerting become batches; those of legacy alerting are refused, saying what to use."""
    counts = []
    for path in sorted((shared / "corpus" / "grafana").glob("*.json")):
        if path.name.startswith(("alerta", "iris")):
            assert "legacy" in refused(path.read_bytes()).detail, path.name
        else:
            (told,) = parse(path.read_bytes())
            assert all(a.firing for a in told.alerts), path.name
            counts.append(len(told.alerts))
    assert counts == [1, 2, 2, 1, 1]


def test_collected_bodies_of_alertmanager_are_not_taken(shared):
    """A real Alertmanager that is pointed here is told where to go."""
    paths = [p for p in (shared / "corpus" / "alertmanager").glob("live-*.json") if "headers" not in p.name]
    assert len(paths) >= 7
    for path in paths:
        assert "/webhooks/alertmanager" in refused(path.read_bytes()).detail
