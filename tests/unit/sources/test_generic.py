"""How JSON without a source of its own is read: the flat default, and the shipped mappings."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from router.model.errors import Rejected
from router.model.events import AlertBatch, Heartbeat, Trouble
from router.model.keys import digest, fingerprint
from router.rulebook import mappings
from router.rulebook.load import load
from router.rulebook.schema import MappingModel
from router.sources import generic
from tests.unit.rulebook.helpers_rulebook import KINDS

ROOT = Path(__file__).parents[3]
PAYLOADS = ROOT / "tests" / "payloads" / "generic"
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
SHIPPED = load(ROOT / "rules", KINDS).mappings


def at(hour, minute, second=0):
    """Return a time of the day that all payloads play on."""
    return datetime(2026, 11, 20, hour, minute, second, tzinfo=UTC)


def recorded(name):
    """Return a recorded body, decoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())


def tell(doc, mapping=generic.DEFAULT):
    """Return what the document tells."""
    return generic.build(mapping).parse({}, json.dumps(doc).encode())


def alerts(doc, mapping=generic.DEFAULT):
    """Return the alerts of the one batch that the document tells."""
    (batch,) = tell(doc, mapping)
    assert isinstance(batch, AlertBatch)
    assert batch.source == mapping.name
    return batch.alerts


def refused(body, mapping=generic.DEFAULT):
    """Return the refusal's code and text."""
    with pytest.raises(Rejected) as caught:
        generic.build(mapping).parse({}, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert caught.value.status == 400
    assert len(caught.value.detail) < 300
    return caught.value.code, caught.value.detail


# -- the flat default


def test_a_flat_object_is_an_alert():
    """Its fields become labels, annotations, times and a link."""
    (alert,) = alerts(recorded("firing"))
    assert alert.labels == {
        "alertname": "PaymentErrors",
        "service": "payment-service",
        "severity": "critical",
        "environment": "prod",
    }
    assert alert.annotations == {
        "summary": "12 % of checkouts fail",
        "description": "More than 5 % of checkout requests answered 5xx for 5 minutes.",
    }
    assert (alert.firing, alert.starts_at, alert.ends_at) == (True, at(10, 5), None)
    assert alert.generator_url == "https://probes.example.com/checks/checkout"
    assert alert.key == "generic:" + fingerprint(alert.labels)


def test_its_end_is_the_same_alert():
    """Epoch seconds and milliseconds are times, too; the labels alone name the alert."""
    (fired,), (ended,) = alerts(recorded("firing")), alerts(recorded("resolved"))
    assert ended.key == fired.key
    assert (ended.firing, ended.starts_at, ended.ends_at) == (False, at(10, 5), at(10, 20))


def test_a_list_of_objects_is_a_batch():
    """Each has its own status; an id names it whatever its labels."""
    first, second = alerts(recorded("list"))
    assert (first.key, first.firing) == ("generic:" + digest(["probe-17"]), True)
    assert (second.key, second.firing, second.ends_at) == (
        "generic:" + digest(["probe-18"]),
        False,
        at(10, 6, 30),
    )
    assert first.starts_at == at(10, 5)


def test_of_one_alert_told_twice_the_later_counts():
    """A list may hold the start and the end of one alert."""
    doc = recorded("firing")
    (alert,) = alerts([doc, {**doc, "status": "closed", "ends_at": "2026-11-20T10:07:00Z"}])
    assert alert.firing, "the same start: firing wins"
    (alert,) = alerts([doc, {**doc, "status": "closed", "starts_at": "2026-11-20T10:06:00Z"}])
    assert not alert.firing


def test_an_empty_list_is_a_heartbeat():
    """A sender may say that there is nothing."""
    assert tell([]) == [Heartbeat(source="generic", kind="generic:empty")]


# -- what cannot be read


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"status=firing", "bad_json", "not JSON"),
        (b'"text"', "bad_body", "neither an object nor a list"),
        (b"7", "bad_body", "sources in the rules"),
        ({}, "bad_alert", "all labels are empty; labels tried {alertname}, {title}"),
        ({"title": "x"}, "bad_alert", "no alert could be read: no time"),
        ({"title": "x"}, "bad_alert", "starts_at tried {starts_at}, {timestamp}, {time}"),
        ([{"title": "x"}], "bad_alert", "alerts[0]: no time"),
        ([1, "x"], "bad_alert", "alerts[0]: not an object; alerts[1]: not an object"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_way_out(body, code, says):
    """The refusal says what is missing and what was tried."""
    got, detail = refused(body)
    assert got == code
    assert says in detail


def test_a_bad_alert_does_not_stop_the_others():
    """The rest is taken, and what was left out is named, up to three of them."""
    good = recorded("firing")
    batch, trouble = tell([{"title": "x"}, good, 1, None, {"starts_at": "2026-11-20T10:05:00Z"}])
    assert len(batch.alerts) == 1
    assert trouble.source == "generic"
    assert trouble.reason.startswith("4 of 5 alerts could not be read: alerts[0]: no time")
    assert "alerts[3]" in trouble.reason or len(trouble.reason) == 290
    assert "alerts[4]" not in trouble.reason


def test_of_too_many_alerts_the_firing_ones_are_taken():
    """Beyond 5,000 the rest is counted, and the delivery is kept."""
    ended = [{"id": f"e{i}", "title": "x", "status": "ok", "time": 1795169100} for i in range(5000)]
    fired = [{"id": f"f{i}", "title": "x", "time": 1795169100} for i in range(10)]
    batch, trouble = tell(ended + fired)
    assert (len(batch.alerts), batch.truncated) == (5000, 10)
    assert sum(a.firing for a in batch.alerts) == 10
    assert isinstance(trouble, Trouble)


def test_a_list_that_is_not_there_is_refused():
    """A mapping that points nowhere is a mistake in the rules, not silence."""
    nested = mappings.compiled(
        MappingModel.model_validate(
            {"name": "nested", "alerts": "data.hits", "starts_at": "{t}", "labels": {"alertname": "{n}"}}
        )
    )
    assert refused({"data": {}}, nested) == (
        "bad_body",
        "no object and no list at 'data.hits'; see alerts of the mapping 'nested' under sources in the rules",
    )
    (alert,) = alerts({"t": 1795169100, "data": {"hits": [{"n": "x"}]}}, nested)
    assert (alert.labels, alert.starts_at) == ({"alertname": "x"}, at(10, 5))
    assert tell({"data": {"hits": []}}, nested) == [Heartbeat(source="nested", kind="nested:empty")]


# -- Kibana, by the shipped mapping


def kibana(**more):
    """Return what Kibana makes of the connector body in the docs for an Elasticsearch query rule."""
    doc = {
        "rule": {
            "id": "b5c1f7c0-0f6e-4a3e-9d7a-2f1f6f0d7a11",
            "name": "Payment errors",
            "tags": "payments,prod",
            "type": ".es-query",
            "url": "https://kibana.example.com/app/management/insightsAndAlerting/triggersActions/rule/b5c1f7c0",
        },
        "alert": {
            "id": "query matched",
            "uuid": "6f0c5a52-6df5-4f6c-8a3e-0a7f1f8f9b10",
            "actionGroup": "query matched",
            "actionGroupName": "Query matched",
        },
        "date": "2026-11-20T10:05:00.123Z",
        "kibanaBaseUrl": "https://kibana.example.com",
        "service": "payment-service",
        "environment": "prod",
        "severity": "critical",
        "context": {
            "title": "rule 'Payment errors' matched query",
            "message": "Document count is 132 in the last 5m. Alert when greater than 100.",
            "reason": "",
            "link": "https://kibana.example.com/app/discover#/view",
            "alertDetailsUrl": "",
            "serviceName": "",
            "environment": "",
        },
    }
    return {**doc, **more}


def test_kibanas_alert_is_read_by_the_shipped_mapping():
    """The rule names the alert; empty variables of other rule types give way to those that are there."""
    (alert,) = alerts(kibana(), SHIPPED["kibana"])
    assert alert.key == "kibana:" + digest(["b5c1f7c0-0f6e-4a3e-9d7a-2f1f6f0d7a11/query matched"])
    assert alert.labels == {
        "alertname": "Payment errors",
        "service": "payment-service",
        "environment": "prod",
        "severity": "critical",
        "instance": "query matched",
        "source": "kibana",
    }
    assert alert.annotations["summary"] == "rule 'Payment errors' matched query"
    assert alert.annotations["description"].startswith("Document count is 132")
    assert alert.generator_url == "https://kibana.example.com/app/discover#/view"
    assert (alert.firing, alert.starts_at) == (True, datetime(2026, 11, 20, 10, 5, 0, 123000, UTC))


def test_kibanas_recovery_ends_the_same_alert():
    """The action group tells it; texts and severity of the recovery may be others."""
    recovered = {**kibana()["alert"], "actionGroup": "recovered", "actionGroupName": "Recovered"}
    doc = kibana(alert=recovered, date="2026-11-20T10:25:00.000Z", severity="", context={})
    (fired,), (ended,) = alerts(kibana(), SHIPPED["kibana"]), alerts(doc, SHIPPED["kibana"])
    assert ended.key == fired.key
    assert (ended.firing, ended.ends_at) == (False, at(10, 25))
    assert ended.annotations["summary"] == "Payment errors: Recovered"


def test_kibanas_apm_rules_name_the_service_themselves():
    """What the connector's body leaves empty the rule's context may say."""
    doc = kibana(service="", environment="", severity="")
    doc["context"] |= {
        "serviceName": "payment-service",
        "environment": "production",
        "reason": "Latency is 2 s",
    }
    (alert,) = alerts(doc, SHIPPED["kibana"])
    assert (alert.labels["service"], alert.labels["environment"]) == ("payment-service", "production")
    assert alert.labels["severity"] == "error"
    assert alert.annotations["summary"] == "Latency is 2 s"


# -- ElastAlert 2, by the shipped mapping


def elastalert(**more):
    """Return what the alerter post2 sends with all values and the payload of the docs."""
    doc = {
        "_id": "Nq4xnpMBv0",
        "_index": "logs-prod-2026.11.20",
        "@timestamp": "2026-11-20T10:05:00.123Z",
        "message": "card declined: upstream timeout",
        "kubernetes": {"labels": {"app": "payment-service"}, "namespace": "shop"},
        "service": {"environment": "prod"},
        "num_hits": 132,
        "num_matches": 1,
        "kibana_discover_url": "https://kibana.example.com/app/discover#/?_g=x",
        "rule.name": "Payment errors",
        "severity": "critical",
        "alert_subject": "132 payment errors",
        "alert_text": "card declined: upstream timeout",
    }
    return {**doc, **more}


def test_elastalerts_match_is_read_by_the_shipped_mapping():
    """Fields of the match and of the payload stand side by side; the match's time is the start."""
    (alert,) = alerts(elastalert(), SHIPPED["elastalert"])
    assert alert.labels == {
        "alertname": "Payment errors",
        "service": "payment-service",
        "environment": "prod",
        "severity": "critical",
        "source": "elastalert",
    }
    assert alert.annotations == {
        "summary": "132 payment errors",
        "description": "card declined: upstream timeout",
    }
    assert alert.generator_url.startswith("https://kibana.example.com/")
    assert (alert.firing, alert.starts_at) == (True, datetime(2026, 11, 20, 10, 5, 0, 123000, UTC))


def test_elastalerts_later_match_is_the_same_alert():
    """The text and the time of a match are not its identity; a rule with state ok ends it."""
    later = elastalert(
        **{"@timestamp": "2026-11-20T10:15:00Z", "num_hits": 7, "alert_subject": "7 payment errors"}
    )
    (first,), (second,) = (alerts(d, SHIPPED["elastalert"]) for d in (elastalert(), later))
    (ended,) = alerts({**later, "state": "ok"}, SHIPPED["elastalert"])
    assert first.key == second.key == ended.key
    assert (ended.firing, ended.ends_at) == (False, at(10, 15))


# -- authenticity


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"x-router-token": "fake-generic-token"}, 1),
        ({"authorization": "Bearer fake-generic-token"}, 1),
        ({"authorization": "Basic " + base64.b64encode(b"kibana:fake-generic-token").decode()}, 1),
        ({"x-router-token": "wrong", "authorization": "Bearer fake-generic-token"}, 401),
        ({"x-router-token": "\udcff"}, 401),
        ({}, 401),
    ],
)
def test_a_secret_is_a_token_a_bearer_or_a_password(headers, answer):
    """Each sender can send one of them; a wrong token is not mended by another header."""
    source = generic.build(SHIPPED["kibana"])
    try:
        got = source.verify(headers, b"{}", [b"next", b"fake-generic-token"], NOW)
    except Rejected as exc:
        got = exc.status
    assert got == answer


def test_a_source_goes_by_its_mappings_name():
    """The name stands in the URL and in the variable of the secrets; unreadable bodies are taken and kept."""
    source = generic.build(SHIPPED["elastalert"])
    assert (source.kind, source.manners.unreadable) == ("elastalert", 202)
    assert generic.build().kind == "generic"
