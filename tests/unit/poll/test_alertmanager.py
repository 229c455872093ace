"""Alertmanager's API: which alerts it has, and what goes wrong when it is asked."""

from __future__ import annotations

import json

import pytest
import yaml
from aiohttp import web

from router.model.errors import PollFailed
from router.poll import alertmanager
from router.ports import Fetched, Poller, PollerContext, Survey
from tests.fakes.samples import ManualClock
from tests.fakes.server import FakeServer

TOKEN = "fake-alertmanager-token"


class FakeAlertmanager(FakeServer):
    """Lists its alerts to whoever has the token."""

    def __init__(self):
        super().__init__()
        self.alerts = []
        self.token = ""

    async def handle(self, path, request, body):
        if path != "/api/v2/alerts":
            return web.json_response({}, status=404)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        return web.json_response(self.alerts)


@pytest.fixture
async def vendor():
    async with FakeAlertmanager() as one:
        yield one


def build(url, **more):
    return alertmanager.build(PollerContext(ManualClock(), {"alertmanager_api_url": url, **more}))


async def fetched(poller):
    try:
        return await poller.fetch()
    finally:
        await poller.close()


async def test_what_it_has_is_told(vendor):
    """By the keys that its deliveries have, silenced ones, too; its address stands for its external URL."""
    vendor.alerts = [
        {"fingerprint": "a" * 16, "status": {"state": "suppressed"}},
        {"fingerprint": "b" * 16},
        {},
        7,
    ]
    survey = Survey("alertmanager", frozenset({f"am:{c * 16}" for c in "ab"}), True, frozenset({vendor.url}))
    poller = build(vendor.url)
    assert isinstance(poller, Poller)
    assert (poller.kind, poller.source) == ("alertmanager_api", "alertmanager")
    assert await fetched(poller) == Fetched(survey=survey)


async def test_its_external_urls_are_said(vendor):
    """All of a pair's, with commas or blanks between."""
    said = "http://a.example.com/, http://b.example.com"
    survey = (await fetched(build(vendor.url + "/", alertmanager_api_external_url=said))).survey
    assert survey.origins == {"http://a.example.com", "http://b.example.com"}


async def test_a_token_is_sent_where_there_is_one(vendor):
    """Without it the failure says which setting is empty; no text holds the token."""
    vendor.token = TOKEN
    assert (await fetched(build(vendor.url, alertmanager_api_token=TOKEN))).survey.whole
    with pytest.raises(PollFailed, match="ROUTER_ALERTMANAGER_API_TOKEN"):
        await fetched(build(vendor.url))
    vendor.fail_next(500)
    with pytest.raises(PollFailed) as caught:
        await fetched(build(vendor.url, alertmanager_api_token=TOKEN))
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("body", [b"{}", b"<html>", b"", b"null"])
async def test_what_is_no_list_is_a_failure(vendor, body):
    """Another thing at that address is not read as an empty list: nothing would be firing then."""
    vendor.fail_next(200, body=body.decode())
    with pytest.raises(PollFailed, match="ROUTER_ALERTMANAGER_API_URL"):
        await fetched(build(vendor.url))


async def test_without_an_alertmanager_it_is_a_failure():
    """Nobody listens there."""
    async with FakeAlertmanager() as gone:
        url = gone.url
    with pytest.raises(PollFailed, match="cannot be reached"):
        await fetched(build(url))


def test_the_path_and_field_are_the_apis(shared):
    """Both are in Alertmanager's own description."""
    spec = yaml.safe_load((shared / "specs" / "alertmanager-api-v2.yaml").read_text())
    assert "get" in spec["paths"]["/alerts"]
    assert "fingerprint" in json.dumps(spec["definitions"]["gettableAlert"])
