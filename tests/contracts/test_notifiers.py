"""What every notifier promises, run over each kind there is, against its vendor's stand-in."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from pydantic import BaseModel, ValidationError

from router.kit import loader
from router.model.destinations import Lane, Want
from router.model.outcomes import Delivered, Outcome, Refused, Retry, Unsure
from router.ports import Notifier, NotifierSpec
from tests.fakes import samples
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import TOKEN, FakeSlack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.server import FakeServer

ROOM = "router.notify"
CANARY = "canary0secret0canary0secret0cana"
VENDORS = ("pagerduty", "slack", "slack_channel")
#: Names and texts that have broken renderers.
HOSTILE = "<!channel> & :fire: \x00\x1b[31m \ud83d \u202e 😀" + "x" * 5000


def entry(kind: str) -> dict[str, Any]:
    """Return a valid entry of ``<kind>_configs``; a new kind adds its line here."""
    entries = {"pagerduty": {"routing_key": CANARY}, "slack": {"channel": "C0ALERTS"}}
    return {**entries, "slack_channel": {}, "log": {}}[kind]


def spec(kind: str) -> NotifierSpec:
    """Return the kind's ``build``."""
    return loader.load(ROOM, kind)


@dataclass
class Bench:
    """One notifier with its vendor."""

    kind: str
    notifier: Notifier
    vendor: FakeServer
    options: BaseModel

    async def send(self, **changes: Any) -> Outcome:
        return await self.notifier.send(samples.job(self.options, **changes))


def make_vendor(kind: str) -> FakeServer:
    """Return the kind's stand-in; a kind without one gets any, unused."""
    return FakePagerDuty() if kind == "pagerduty" else FakeSlack()


@contextlib.asynccontextmanager
async def bench(kind: str, timeout_s: float = 5.0, token: str = TOKEN) -> AsyncIterator[Bench]:
    """Give a notifier that talks to its stand-in."""
    async with make_vendor(kind) as vendor:
        context = samples.context(
            timeout_s=timeout_s,
            pagerduty_events_url=vendor.url,
            slack_api_url=vendor.url,
            slack_bot_token=token,
        )
        notifier = spec(kind).make(context)
        try:
            yield Bench(kind, notifier, vendor, spec(kind).options(**entry(kind)))
        finally:
            vendor.release()
            await notifier.close()


@pytest.fixture(params=VENDORS)
async def vendor(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Each notifier that has a vendor."""
    async with bench(request.param) as one:
        yield one


@pytest.mark.parametrize("kind", loader.kinds(ROOM))
class TestEveryKind:
    """The promises that need no vendor's failure."""

    async def test_is_named_as_its_file(self, kind: str) -> None:
        """A notifier and its spec agree on kind, lane and deploys; the kind is the file's name."""
        one = spec(kind)
        notifier = one.make(samples.context())
        assert isinstance(notifier, Notifier)
        assert notifier.kind == one.kind == kind
        assert notifier.lane is one.lane
        assert isinstance(one.lane, Lane)
        assert notifier.tells_changes is one.tells_changes
        assert notifier.hold(one.options(**entry(kind))) == 0
        await notifier.close()

    async def test_delivers(self, kind: str) -> None:
        """An incident is delivered in each state that can be wanted."""
        async with bench(kind) as b:
            for want in (Want.TRIGGERED, Want.ACKNOWLEDGED, Want.RESOLVED):
                outcome = await b.send(want=want)
                assert isinstance(outcome, Delivered)
                assert outcome.ref or (kind, want) == ("slack_channel", Want.RESOLVED)  # none is opened then

    async def test_tells_deploys_or_says_that_it_does_not(self, kind: str) -> None:
        """A deploy is delivered exactly where the spec says that deploys are told."""
        async with bench(kind) as b:
            outcome = await b.notifier.send_change(samples.change_job(b.options))
            assert isinstance(outcome, Delivered) is spec(kind).tells_changes

    def test_refuses_unknown_options(self, kind: str) -> None:
        """A mistyped option is refused, and the error does not print the entry's secret."""
        with pytest.raises(ValidationError) as caught:
            spec(kind).options(**entry(kind), no_such_option=1)
        assert "no_such_option" in str(caught.value)
        assert CANARY not in str(caught.value)

    async def test_survives_hostile_content(self, kind: str) -> None:
        """Whatever labels, titles and reasons hold, the message is delivered."""
        pairs = {f"{n}{HOSTILE}": HOSTILE for n in range(70)}
        s = samples.suspect(version=HOSTILE, author=HOSTILE, title=HOSTILE, service=HOSTILE, url=HOSTILE)
        head = samples.incident(
            title=HOSTILE,
            service=HOSTILE,
            environment=HOSTILE,
            labels=pairs,
            annotations=pairs | {"summary": HOSTILE, "description": HOSTILE},
            group_labels=pairs,
            suspects=(s, s, s),
            truncated=10,
        )
        members = [samples.alert(n, pairs) for n in range(200)]
        links = {f"{n}{HOSTILE}": f"https://example.com/{n}?" + "a" * 1900 for n in range(20)}
        async with bench(kind) as b:
            outcome = await b.send(head=head, members=members, links=links)
            assert isinstance(outcome, Delivered)
            changed = samples.deploy(
                title=HOSTILE, author=HOSTILE, names=(HOSTILE,), detail=HOSTILE, url=HOSTILE
            )
            await b.notifier.send_change(samples.change_job(b.options, changed, links=links))
            assert not getattr(b.vendor, "rejected", [])

    async def test_bears_an_almost_empty_incident(self, kind: str) -> None:
        """An incident without title, labels, times, suspects or members is delivered all the same."""
        head = samples.incident(
            title="", service="", environment="", team="", labels={}, annotations={}, group_labels={},
            starts_at=None, opened_at=None, suspects=(), why=(), firing=0, resolved=0, by_severity={},
        )  # fmt: skip
        async with bench(kind) as b:
            assert isinstance(await b.send(head=head, members=[], links={}), Delivered)

    async def test_closing_twice_is_harmless(self, kind: str) -> None:
        """A notifier can be closed twice."""
        async with bench(kind) as b:
            await b.send()
            await b.notifier.close()


REFUSED, RETRY = Refused, Retry
STATUSES = [
    (kind, status, outcome, reason)
    for kind, rows in {
        "pagerduty": [
            (302, RETRY, "other"),
            (400, REFUSED, "clientError"),
            (401, RETRY, "authError"),
            (403, RETRY, "authError"),
            (404, REFUSED, "clientError"),
            (408, RETRY, "serverError"),
            (413, REFUSED, "clientError"),
            (429, RETRY, "rateLimited"),
        ],
        "slack": [
            (400, RETRY, "clientError"),
            (404, RETRY, "clientError"),
            (429, RETRY, "rateLimited"),
        ],
    }.items()
    for status, outcome, reason in rows + [(s, RETRY, "serverError") for s in (500, 502, 503, 504, 599)]
]


@pytest.mark.parametrize(("kind", "status", "outcome", "reason"), STATUSES)
async def test_status_table(kind: str, status: int, outcome: type, reason: str) -> None:
    """Each HTTP status has its outcome and reason, and costs exactly one request."""
    async with bench(kind) as b:
        b.vendor.fail_next(status, headers={"Location": "/elsewhere"} if status == 302 else None)
        got = await b.send()
        assert isinstance(got, outcome), got
        assert got.reason == reason
        assert len(b.vendor.requests) == 1
        assert isinstance(await b.send(), Delivered | Retry)


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", None), ("soon", None), ("-3", None), ("9e9", 3600.0)]
)
async def test_retry_after(vendor: Bench, header: str, seconds: float | None) -> None:
    """A usable Retry-After comes back as after_s, at most an hour; else the pause is the caller's."""
    vendor.vendor.fail_next(429, headers={"Retry-After": header})
    got = await vendor.send()
    assert isinstance(got, Retry)
    assert got.after_s == seconds if seconds is not None else got.after_s <= 1.0


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("", "application/json"),
        ("<html>", "text/html"),
        ("oops", "text/plain"),
        ("[]", "application/json"),
        ("{", "application/json"),
    ],
)
async def test_any_error_body_is_borne(vendor: Bench, body: str, content_type: str) -> None:
    """An error whose body is not the vendor's, as from a proxy, is still read by its status."""
    vendor.vendor.fail_next(503, body=body, content_type=content_type)
    assert isinstance(await vendor.send(), Retry)


@pytest.mark.parametrize(
    ("body", "content_type"), [("<html>", "text/html"), ("oops", "text/plain"), ("{", "application/json")]
)
async def test_a_success_that_is_not_slacks_is_unsure(body: str, content_type: str) -> None:
    """A 200 from something that is not Slack is never taken for a delivery."""
    async with bench("slack") as b:
        b.vendor.fail_next(200, body=body, content_type=content_type)
        assert isinstance(await b.send(), Unsure)


async def test_refused_connection(vendor: Bench) -> None:
    """Where nobody listens nothing was taken: retry; the next attempt finds the vendor back."""
    await vendor.vendor.stop()
    got = await vendor.send()
    assert isinstance(got, Retry)
    assert got.reason == "other"
    await vendor.vendor.start()
    assert isinstance(await vendor.send(), Delivered)


@pytest.mark.parametrize("kind", VENDORS)
async def test_unknown_host(kind: str) -> None:
    """A host that has no address is an unsent request."""
    url = "http://no-such-host.invalid/api/"
    context = samples.context(timeout_s=5, pagerduty_events_url=url, slack_api_url=url, slack_bot_token=TOKEN)
    notifier = spec(kind).make(context)
    got = await notifier.send(samples.job(spec(kind).options(**entry(kind))))
    await notifier.close()
    assert isinstance(got, Retry)
    assert got.reason == "other"


async def test_lost_answer(vendor: Bench) -> None:
    """A connection that is closed after the request was processed leaves it unsure."""
    vendor.vendor.drop_after_processing()
    got = await vendor.send()
    assert isinstance(got, Unsure)
    assert got.reason == "contextDeadlineExceeded"


@pytest.mark.parametrize("kind", VENDORS)
async def test_no_answer_in_time(kind: str) -> None:
    """A vendor that takes the request and says nothing leaves it unsure, within the notifier's own limit."""
    async with bench(kind, timeout_s=0.4) as b:
        b.vendor.hang()
        async with asyncio.timeout(2):
            got = await b.send()
        assert isinstance(got, Unsure)
        assert got.reason == "contextDeadlineExceeded"


@pytest.mark.parametrize("kind", VENDORS)
async def test_cancellation_passes(kind: str) -> None:
    """A cancelled attempt ends at once, as cancelled."""
    async with bench(kind, timeout_s=1.0) as b:
        b.vendor.hang()
        loop = asyncio.get_running_loop()
        task = loop.create_task(b.send())
        await b.vendor.arrived(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("kind", VENDORS)
@pytest.mark.parametrize("fault", ["none", "echo", "refused", "lost", "401"])
async def test_no_secret_in_outcome_or_log(
    kind: str, fault: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The routing key or token is found neither in an outcome's text nor in any log line."""
    caplog.set_level(0)
    with structlog.testing.capture_logs() as lines:
        async with bench(kind, token=CANARY if kind == "slack" and fault != "lost" else TOKEN) as b:
            if fault == "echo":
                b.vendor.fail_next(400, body=f'{{"message": "bad key {CANARY}", "errors": ["{CANARY}"]}}')
            elif fault == "refused":
                await b.vendor.stop()
            elif fault == "lost":
                b.vendor.drop_after_processing()
            elif fault == "401":
                b.vendor.fail_next(401)
            outcome = await b.send(doubt=True)
            missing = b.notifier.ready(b.options)
    printed = "".join(capsys.readouterr())
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("aiohttp")]
    for text in (repr(outcome), missing, repr(lines), printed, repr(ours), repr(b.options)):
        assert CANARY not in text
        assert CANARY[-4:] not in text.replace("C0ALERTS", "") or kind == "slack"
