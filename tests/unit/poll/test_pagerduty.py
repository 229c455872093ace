"""The poller of PagerDuty's REST API, against a stateful PagerDuty that switches subscriptions off."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from router.model.errors import PollFailed
from router.poll import pagerduty
from router.ports import Fetched, Poller, PollerContext, Survey, SwitchedOff
from router.sources import pagerduty as source
from tests.fakes.pagerduty_rest import ACCEPT, TOKEN, FakePagerDutyRest, subscription
from tests.fakes.samples import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OURS = "https://router.example.com/webhooks/pagerduty"
ASKED = frozenset({"pagerduty"})
NOTHING_OPEN = Survey("pagerduty", frozenset(), whole=True)


@pytest.fixture
async def vendor() -> AsyncIterator[FakePagerDutyRest]:
    """A PagerDuty with one subscription to us and one to others."""
    async with FakePagerDutyRest() as one:
        one.add(subscription("POURS", OURS), subscription("PELSE", "https://bot.example.com/hook"))
        yield one


@pytest.fixture
async def poller(vendor) -> AsyncIterator[pagerduty.PagerDutyApi]:
    """A poller that asks it."""
    one = build(vendor.url)
    yield one
    await one.close()


def build(url, token=TOKEN, external_url="https://router.example.com", **limits):
    """Return a new poller; keyword arguments are its limits."""
    settings = {"pagerduty_api_url": url, "pagerduty_api_token": token, "external_url": external_url}
    return pagerduty.PagerDutyApi(PollerContext(ManualClock(), settings), pagerduty.Limits(**limits))


async def failure(poller):
    """Return the text of the failure that a fetch ends with."""
    with pytest.raises(PollFailed) as caught:
        await poller.fetch()
    text = str(caught.value)
    assert TOKEN not in text
    assert 20 < len(text) < 300, "no reason, or one that was cut"
    return text


def asked(vendor):
    """Return the questions after subscriptions."""
    return [q for q in vendor.queries if "statuses[]" not in q]


def off(what):
    """Return what is fetched where one subscription is off."""
    return Fetched(asked=ASKED, off=[SwitchedOff("pagerduty", what)], survey=NOTHING_OPEN)


async def test_it_is_a_poller_of_the_source(poller):
    """The driver fits the port, names the source, and can be built without settings."""
    assert isinstance(poller, Poller)
    assert (poller.kind, poller.source) == ("pagerduty_api", source.PagerDuty.kind)
    assert isinstance(pagerduty.build(PollerContext(ManualClock(), {})), Poller)


async def test_a_subscription_that_works_is_well(vendor, poller):
    """PagerDuty was asked, nothing is off, and no bodies are brought."""
    assert await poller.fetch() == Fetched(asked=ASKED, off=[], survey=NOTHING_OPEN)
    assert asked(vendor) == [{"limit": "100", "offset": "0"}]


async def test_a_subscription_is_off_from_failures_until_it_is_enabled(vendor, poller):
    """Dropped events switch it off, with id and description for people; enabling ends that."""
    for _ in range(3):
        vendor.drop("POURS")
    vendor.drop("PELSE")
    expected = off("webhook subscription POURS (To the router) is switched off for 24 hours after failures")
    assert await poller.fetch() == expected
    vendor.enable("POURS")
    assert await poller.fetch() == Fetched(asked=ASKED, off=[], survey=NOTHING_OPEN)


async def test_a_subscription_that_somebody_switched_off_is_told(vendor, poller):
    """An inactive one is off without an end; a description that is missing is left out."""
    vendor.add(subscription("POURS", OURS, description="", active=False))
    assert await poller.fetch() == off("webhook subscription POURS is switched off")


async def test_one_of_several_is_told(vendor, poller):
    """With a subscription per service, those that are off are named."""
    vendor.add(subscription("POTHER", OURS, active=False), subscription("PTHIRD", f"{OURS}/", active=False))
    told = [one.what for one in (await poller.fetch()).off]
    assert [what.split()[2] for what in told] == ["POTHER", "PTHIRD"]


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        (OURS, True),
        (f"{OURS}/", True),
        (f"{OURS}?team=shop", True),
        ("https://ROUTER.example.com:8443/prefix/webhooks/pagerduty", True),
        ("https://other.example.com/webhooks/pagerduty", False),
        ("https://router.example.com/webhooks/gitlab", False),
        ("https://router.example.com/webhooks/pagerduty/more", False),
        ("https://router.example.com/", False),
        ("http://[bad/webhooks/pagerduty", False),
        (None, False),
    ],
)
async def test_only_subscriptions_to_us_count(vendor, poller, url, ours):
    """By path and host; where none leads to us, none of ours is off."""
    vendor.subscriptions = {"P1": subscription("P1", url, active=False)}
    fetched = await poller.fetch()
    assert bool(fetched.off) is ours
    assert fetched.asked == ASKED


async def test_a_subscription_that_is_gone_is_off_no_more(vendor, poller):
    """One that was deleted, or made anew under another URL, is not off for ever."""
    vendor.add(subscription("POURS", OURS, active=False))
    assert (await poller.fetch()).off
    del vendor.subscriptions["POURS"]
    assert await poller.fetch() == Fetched(asked=ASKED, off=[], survey=NOTHING_OPEN)


async def test_any_host_is_ours_where_we_do_not_know_our_own(vendor):
    """Without an external URL the path alone tells."""
    poller = build(vendor.url, external_url="")
    vendor.subscriptions = {"P1": subscription("P1", "http://10.0.0.7:8080/webhooks/pagerduty", active=False)}
    assert len((await poller.fetch()).off) == 1
    await poller.close()


async def test_all_pages_are_read_up_to_five(vendor, poller):
    """A subscription on the third page is found; more than 500 are not asked for."""
    vendor.subscriptions = {}
    for n in range(250):
        vendor.add(subscription(f"P{n}", "https://bot.example.com/hook"))
    vendor.add(subscription("POURS", OURS, active=False))
    assert len((await poller.fetch()).off) == 1
    assert [q["offset"] for q in asked(vendor)] == ["0", "100", "200"]
    vendor.subscriptions = {}
    for n in range(600):
        vendor.add(subscription(f"Q{n}", "https://bot.example.com/hook"))
    vendor.queries.clear()
    assert await poller.fetch() == Fetched(survey=NOTHING_OPEN), "ours may be among the others"
    assert len(asked(vendor)) == 5


@pytest.mark.parametrize(
    "found",
    [
        [None, 1, "x", []],
        [{}],
        [{"delivery_method": 1}],
        [{"delivery_method": {"url": OURS}, "active": "false"}],
        [{"delivery_method": {"url": OURS, "temporarily_disabled": "true"}, "id": {}}],
    ],
)
async def test_odd_subscriptions_are_not_off(vendor, poller, found):
    """What is no subscription, or says nothing clear, is no reason to fail or to wake anybody."""
    vendor.fail_next(200, body=json.dumps({"webhook_subscriptions": found}))
    assert not (await poller.fetch()).off


async def test_what_is_told_is_clean(vendor, poller):
    """Control characters and lengths of a description do not reach people."""
    vendor.add(subscription("POURS", OURS, description="a\x1b[31m\nsecond" + "x" * 500, active=False))
    (one,) = (await poller.fetch()).off
    assert one.what == "webhook subscription POURS (a[31m) is switched off"


# -- failures


async def test_a_wrong_key_is_told_how_to_get_one(vendor):
    """401: make a key in the account's region, and where to put it."""
    poller = build(vendor.url, token="another")
    text = await failure(poller)
    assert "ROUTER_PAGERDUTY_API_TOKEN" in text
    assert "region" in text
    await poller.close()


async def test_a_key_without_the_right_is_a_failure(vendor, poller):
    """403 says that the key may not read webhook subscriptions."""
    vendor.allowed = False
    assert "may not read webhook subscriptions" in await failure(poller)


@pytest.mark.parametrize(
    ("status", "body", "content_type", "says"),
    [
        (404, "{}", "application/json", "ROUTER_PAGERDUTY_API_URL"),
        (500, "{}", "application/json", "answered 500"),
        (503, "<html>", "text/html", "status.pagerduty.com"),
        (200, "<!doctype html><title>Sign in</title>", "text/html", "login page"),
        (200, "", "application/json", "no JSON object"),
        (200, "[]", "application/json", "no JSON object"),
        (200, "[" * 5000, "application/json", "no JSON object"),
        (200, "{}", "application/json", "not a list"),
        (200, '{"webhook_subscriptions": {"a": 1}}', "application/json", "not a list"),
    ],
)
async def test_an_answer_that_is_none_says_what_to_do(vendor, poller, status, body, content_type, says):
    """Whatever comes instead of a list, the failure names it and the remedy."""
    vendor.fail_next(status, body=body, content_type=content_type)
    assert says in await failure(poller)
    assert (await poller.fetch()).asked == ASKED, "and the next fetch is fine"


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("30", "(429, Retry-After: 30 s)"),
        ("soon", "(429)"),
        (None, "(429)"),
        ("-1", "(429)"),
        ("nan", "(429)"),
    ],
)
async def test_being_asked_too_often_names_the_pause(vendor, poller, header, says):
    """429 is told with the pause that PagerDuty wants, if it says a usable one."""
    vendor.fail_next(429, headers={} if header is None else {"Retry-After": header})
    text = await failure(poller)
    assert says in text
    assert "ROUTER_POLL_SECONDS" in text


async def test_a_redirect_is_not_followed(vendor, poller):
    """The key is not carried to another address."""
    vendor.fail_next(302, headers={"Location": f"{vendor.url}/elsewhere"})
    assert "redirects" in await failure(poller)
    assert vendor.requests == ["/webhook_subscriptions"]


async def test_limits_are_kept(vendor):
    """An answer that is too large or does not come is given up."""
    poller = build(vendor.url, max_bytes=100)
    assert "over 100 bytes" in await failure(poller)
    await poller.close()
    poller = build(vendor.url, timeout_s=0.1)
    vendor.hang()
    assert "did not answer" in await failure(poller)
    await poller.close()


async def test_a_pagerduty_that_cannot_be_reached_says_so(vendor, poller):
    """A refused connection and a nonsense address are failures with a remedy."""
    await vendor.stop()
    for other in (poller, build(""), build("api.pagerduty.com")):
        assert "ROUTER_PAGERDUTY_API_URL" in await failure(other)
        await other.close()


async def test_a_key_that_is_no_header_is_a_failure(vendor):
    """Line breaks inside a key do not get into a request."""
    poller = build(vendor.url, token="a\r\nX-Other: b")
    await failure(poller)
    assert vendor.requests == []
    await poller.close()


# -- the vendor's own description


def test_fields_and_parameters_are_those_of_the_api(shared):
    """Each path, parameter and field that is used is in PagerDuty's description."""
    spec = json.loads((shared / "specs" / "pagerduty-rest-v2-openapi.json").read_text())
    listing = spec["paths"]["/webhook_subscriptions"]["get"]
    parts = spec["components"]
    names = {parts["parameters"][p["$ref"].rpartition("/")[2]]["name"] for p in listing["parameters"]}
    assert {"limit", "offset", "Accept"} <= names
    assert parts["parameters"]["header_Accept"]["schema"]["default"] == ACCEPT
    fields = parts["schemas"]["WebhookSubscription"]["properties"]
    assert {"id", "active", "description", "delivery_method"} <= set(fields)
    assert {"url", "temporarily_disabled"} <= set(fields["delivery_method"]["properties"])
    assert "more" in parts["schemas"]["Pagination"]["properties"]
    (shape, paging) = listing["responses"]["200"]["content"]["application/json"]["schema"]["allOf"]
    assert shape["required"] == ["webhook_subscriptions"]
    assert paging["$ref"].endswith("/Pagination")


def test_the_stand_in_shows_what_the_api_shows(shared):
    """The stand-in's subscription has no field that PagerDuty's has not."""
    spec = json.loads((shared / "specs" / "pagerduty-rest-v2-openapi.json").read_text())
    fields = spec["components"]["schemas"]["WebhookSubscription"]["properties"]
    one = subscription("P1", OURS)
    assert set(one) <= set(fields)
    assert set(one["delivery_method"]) <= set(fields["delivery_method"]["properties"])


# -- what is open there


def shown(number, key, status="triggered"):
    return {"id": number, "type": "incident", "status": status, "incident_key": key}


async def test_what_is_open_of_ours_is_told(vendor, poller):
    """By our ids; what is over, others' keys, none and junk are left out."""
    mine = "7f3a9c21b04d55e0.2"
    vendor.incidents = [
        shown("Q1", mine), shown("Q2", "0" * 16 + ".1", "acknowledged"),
        shown("Q3", "1" * 16 + ".1", "resolved"), shown("Q4", "somebody-elses"), shown("Q5", None),
        {"id": "Q6", "status": "triggered"},
    ]  # fmt: skip
    survey = (await poller.fetch()).survey
    assert survey == Survey("pagerduty", frozenset({mine, "0" * 16 + ".1"}), whole=True)


async def test_a_long_list_is_read_in_pages_and_said_to_be_cut(vendor, poller):
    """20 pages at most; then nothing is said of what is not in them."""
    vendor.incidents = [shown(f"Q{n}", f"{n:016x}.1") for n in range(150)]
    survey = (await poller.fetch()).survey
    assert (len(survey.open), survey.whole) == (150, True)
    vendor.incidents = [shown(f"Q{n}", f"{n:016x}.1") for n in range(2001)]
    survey = (await poller.fetch()).survey
    assert (len(survey.open), survey.whole) == (2000, False)


def test_the_list_of_incidents_is_the_apis(shared):
    """Parameters and fields are in PagerDuty's description."""
    spec = json.loads((shared / "specs" / "pagerduty-rest-v2-openapi.json").read_text())
    listing, parts = spec["paths"]["/incidents"]["get"], spec["components"]
    names = {parts["parameters"][p["$ref"].rpartition("/")[2]]["name"] for p in listing["parameters"]}
    assert {"limit", "offset", "statuses[]"} <= names
    states = parts["parameters"]["statuses_incidents"]["schema"]["enum"]
    assert {"triggered", "acknowledged"} <= set(states)
