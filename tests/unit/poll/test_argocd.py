"""The poller of Argo CD's API, against a stateful Argo CD that fails as the real one does."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from router.model.errors import PollFailed, Rejected
from router.model.events import DeployPhase
from router.poll import argocd
from router.ports import Poller, PollerContext
from router.sources import argocd as source
from tests.conftest import need
from tests.fakes.argocd import SELECTABLE, TOKEN, FakeArgoCD, application
from tests.fakes.samples import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: ManualClock begins at 2026-03-01 10:19:40.
STARTED, FINISHED = "2026-03-01T10:00:30Z", "2026-03-01T10:00:40Z"
LISTING, DETAIL = "/api/v1/applications", "/api/v1/applications/payment-service"


@pytest.fixture
async def vendor() -> AsyncIterator[FakeArgoCD]:
    """An Argo CD with one application that was just synced."""
    async with FakeArgoCD() as one:
        one.put(application("payment-service", STARTED, FINISHED))
        yield one


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test drives."""
    return ManualClock()


@pytest.fixture
async def poller(vendor, clock) -> AsyncIterator[argocd.ArgoCDApi]:
    """A poller that asks it."""
    one = build(vendor.url, clock)
    yield one
    await one.close()


def build(url, clock=None, token=TOKEN, ca_file="", **limits):
    """Return a new poller; keyword arguments are its limits."""
    settings = {"argocd_api_url": url, "argocd_api_token": token, "argocd_api_ca": ca_file}
    return argocd.ArgoCDApi(PollerContext(clock or ManualClock(), settings), argocd.Limits(**limits))


async def failure(poller):
    """Return the text of the failure that a fetch ends with."""
    with pytest.raises(PollFailed) as caught:
        await poller.fetch()
    text = str(caught.value)
    assert TOKEN not in text
    assert 20 < len(text) < 300, "no reason, or one that was cut"
    return text


def deployed(number, digit, started, at):
    """Return an entry of an application's history."""
    return {"id": number, "revision": digit * 40, "deployStartedAt": started, "deployedAt": at}


def told(bodies):
    """Return what the source reads in the bodies."""
    return [event for body in bodies for event in source.build().parse({}, body)]


async def test_a_young_operation_is_handed_over_as_its_notification_would_tell_it(vendor, poller):
    """What was fetched gives the id and words that a webhook of the same state gives, link included."""
    (report,) = told((await poller.fetch()).bodies)
    app = vendor.applications["argocd/payment-service"]
    context = {"argocdUrl": vendor.people_url}
    assert [report] == told([json.dumps({"app": app, "context": context}).encode()])
    assert report.event_id == "argocd:uid-of-payment-service:live:2026-03-01T10:00:30+00:00"
    assert report.url == "https://argocd.example.com/applications/argocd/payment-service"
    assert report.config_revision == "9c1e5f4ad0b1c2d3e4f5061728394a5b6c7d8e9f"


async def test_it_is_a_poller_of_the_source(poller):
    """The driver fits the port and names the source that reads it."""
    assert isinstance(poller, Poller)
    assert (poller.kind, poller.source) == ("argocd_api", source.ArgoCD.kind)


async def test_only_what_the_source_reads_is_handed_over(poller):
    """Helm values, resources and managed fields stay behind, and the body is compact."""
    (body,) = (await poller.fetch()).bodies
    assert b"not-for-us" not in body
    assert b"managedFields" not in body
    assert b'"resources":[{"kind":"Deployment"' not in body
    assert b": " not in body.replace(b"(all tasks run)", b"")


async def test_old_operations_are_not_asked_for(vendor, poller):
    """An operation of the day before yesterday is old news; so is an application never synced."""
    vendor.put(application("old", "2026-02-27T10:00:00Z", "2026-02-27T10:01:00Z"))
    never = application("never", STARTED)
    del never["status"]["operationState"]
    vendor.put(never)
    assert len((await poller.fetch()).bodies) == 1
    assert vendor.requests == [LISTING, DETAIL, "/api/v1/settings"]


async def test_old_history_is_left_out(vendor, poller, clock):
    """Of the history only the last 24 hours are handed over, and they tell lost operations."""
    app = application("payment-service", STARTED, FINISHED)
    app["status"]["history"] = [
        deployed(1, "a", "2026-02-27T08:00:00Z", "2026-02-27T08:00:09Z"),
        deployed(2, "b", "2026-03-01T08:00:00Z", "2026-03-01T08:00:09Z"),
        deployed(3, "9", STARTED, FINISHED),
    ]
    vendor.put(app)
    (first,) = (await poller.fetch()).bodies
    assert [e["id"] for e in json.loads(first)["app"]["status"]["history"]] == [2, 3]
    assert [(r.phase, r.config_revision[0]) for r in told([first])] == [
        (DeployPhase.GREEN_DEPLOYED, "b"),
        (DeployPhase.LIVE, "9"),
    ]
    clock.seconds += 22.5 * 3600
    (later,) = (await poller.fetch()).bodies
    assert [e["id"] for e in json.loads(later)["app"]["status"]["history"]] == [3]


async def test_an_application_is_asked_for_again_only_when_something_changed(vendor, poller):
    """What did not change is handed over again from memory: whoever takes it may have failed to keep it."""
    first = (await poller.fetch()).bodies
    assert (await poller.fetch()).bodies == first
    assert vendor.requests.count(DETAIL) == 1
    vendor.applications["argocd/payment-service"]["status"]["health"]["status"] = "Degraded"
    assert (await poller.fetch()).bodies != first
    assert vendor.requests.count(DETAIL) == 2


async def test_a_running_operation_is_asked_for_each_time(vendor, poller):
    """While it runs, its message and revision change without a trace in the list."""
    vendor.put(application("payment-service", STARTED))
    assert [r.phase for r in told((await poller.fetch()).bodies)] == [DeployPhase.STARTED]
    await poller.fetch()
    assert vendor.requests.count(DETAIL) == 2


async def test_what_is_old_by_now_is_forgotten(vendor, poller, clock):
    """A day later nothing is left to tell or to remember."""
    await poller.fetch()
    clock.seconds += 24 * 3600
    assert not (await poller.fetch()).bodies
    assert poller._known == {}


async def test_an_application_that_was_deleted_meanwhile_is_left_out(vendor, poller):
    """One application that is not given does not keep the others from being told."""
    vendor.put(application("other", "2026-03-01T10:10:00Z", "2026-03-01T10:11:00Z"))
    vendor.applications["argocd/other"]["metadata"]["namespace"] = "gone"
    assert [r.origin for r in told((await poller.fetch()).bodies)] == ["argocd/payment-service"]


def serve(vendor, name, answer):
    """Answer this in place of an application; an answer of None does not come in time."""
    usual = vendor.handle

    async def handle(path, request, body):
        if not path.endswith(f"/{name}"):
            return await usual(path, request, body)
        if answer is None:
            await asyncio.Event().wait()
        return web.Response(
            status=answer if isinstance(answer, int) else 200, text=answer if isinstance(answer, str) else ""
        )

    vendor.handle = handle
    return usual


#: What is no application: a page of a proxy, another JSON, too much, nothing in time, an error.
JUNK = ["<html>timed out</html>", "[1]", '{"a": "' + "x" * 100_000 + '"}', None, 502]
SMALL = {"timeout_s": 0.3, "max_bytes": 90_000}


@pytest.mark.parametrize("answer", JUNK)
async def test_one_application_that_fails_is_left_out(vendor, clock, answer):
    """The others are handed over and remembered, the log names it once, and it is told once it is given."""
    vendor.put(*(application(f"app-{n}", f"2026-03-01T10:0{n + 2}:00Z", FINISHED) for n in range(3)))
    usual = serve(vendor, "app-2", answer)
    poller = build(vendor.url, clock, **SMALL)
    with capture_logs() as logs:
        for _ in range(3):
            assert [r.origin[-5:] for r in told((await poller.fetch()).bodies)] == ["app-1", "app-0", "rvice"]
    assert [(one["event"], one["application"]) for one in logs] == [
        ("application_not_polled", "argocd/app-2")
    ]
    assert vendor.requests.count(f"{LISTING}/app-1") == 1
    vendor.handle = usual
    assert told((await poller.fetch()).bodies)[0].origin == "argocd/app-2", "the newest is first"
    await poller.close()


@pytest.mark.parametrize("answer", JUNK)
async def test_applications_that_all_fail_are_a_failure(vendor, clock, answer):
    """Where none can be read the poll has failed, also with what an earlier one remembers."""
    poller = build(vendor.url, clock, **SMALL)
    usual = serve(vendor, "payment-service", answer)
    await failure(poller)
    vendor.handle = usual
    assert len((await poller.fetch()).bodies) == 1
    vendor.applications["argocd/payment-service"]["status"]["health"]["status"] = "Degraded"
    serve(vendor, "payment-service", answer)
    await failure(poller)
    vendor.handle = usual
    assert len((await poller.fetch()).bodies) == 1
    await poller.close()


async def test_an_application_that_fails_is_told_as_it_was_last_read(vendor, poller):
    """What changed of it is not known yet; that it was deployed is."""
    vendor.put(application("other", "2026-03-01T10:10:00Z", "2026-03-01T10:11:00Z"))
    first = (await poller.fetch()).bodies
    vendor.applications["argocd/other"]["status"]["health"]["status"] = "Degraded"
    serve(vendor, "other", "<html>")
    assert (await poller.fetch()).bodies == first


async def test_applications_that_fail_keep_no_others_waiting(vendor):
    """Where some take all the patience each time, the others are asked for before them."""

    class Slow(ManualClock):
        def monotonic(self):
            self.seconds += 25
            return self.seconds

    vendor.put(*(application(f"app-{n}", f"2026-03-01T10:0{n + 2}:00Z", FINISHED) for n in range(4)))
    serve(vendor, "app-3", "<html>")
    poller = build(vendor.url, Slow())
    rounds = [[r.origin[-5:] for r in told((await poller.fetch()).bodies)] for _ in range(3)]
    assert rounds == [["app-2"], ["app-2", "app-1", "app-0"], ["app-2", "app-1", "app-0", "rvice"]]
    await poller.close()


@pytest.mark.parametrize("status", [401, 429])
async def test_a_refusal_of_all_ends_the_asking(vendor, clock, status):
    """After 401 or 429 nothing else is asked; what was read is handed over, and the log says why."""
    vendor.put(*(application(f"app-{n}", f"2026-03-01T10:0{n + 2}:00Z", FINISHED) for n in range(3)))
    usual = serve(vendor, "app-1", status)
    poller = build(vendor.url, clock)
    with capture_logs() as logs:
        assert [r.origin[-5:] for r in told((await poller.fetch()).bodies)] == ["app-2"]
    assert [one["event"] for one in logs] == ["poll_cut_short"]
    assert str(status) in logs[0]["error"]
    assert vendor.requests == [LISTING, f"{LISTING}/app-2", f"{LISTING}/app-1"]
    vendor.handle = usual
    assert len((await poller.fetch()).bodies) == 4
    await poller.close()


@pytest.mark.parametrize("status", [401, 429])
async def test_a_refusal_of_all_before_anything_was_read_is_a_failure(vendor, poller, status):
    """With nothing to hand over the poll has failed."""
    serve(vendor, "payment-service", status)
    assert str(status) in await failure(poller)


async def test_applications_that_are_all_refused_are_a_failure(vendor, poller):
    """A token that may list and not get is told what right it lacks."""
    vendor.applications["argocd/payment-service"]["metadata"]["namespace"] = "gone"
    assert "applications, get" in await failure(poller)


async def test_many_applications_are_asked_for_over_several_fetches(vendor):
    """One fetch asks for a bounded number, the newest first, and the next goes on."""
    poller = build(vendor.url, max_asked=2)
    for n in range(3):
        vendor.put(application(f"app-{n}", f"2026-03-01T10:0{n + 2}:00Z", f"2026-03-01T10:0{n + 3}:00Z"))
    assert [r.origin for r in told((await poller.fetch()).bodies)] == ["argocd/app-2", "argocd/app-1"]
    assert len((await poller.fetch()).bodies) == 4
    await poller.close()


async def test_a_slow_argo_cd_is_asked_for_less(vendor):
    """After a minute no further application is asked for; what is known by then is handed over."""

    class Slow(ManualClock):
        def monotonic(self):
            self.seconds += 25
            return self.seconds

    for n in range(3):
        vendor.put(application(f"app-{n}", f"2026-03-01T10:0{n + 2}:00Z", f"2026-03-01T10:0{n + 3}:00Z"))
    poller = build(vendor.url, Slow())
    assert len((await poller.fetch()).bodies) == 2
    assert len((await poller.fetch()).bodies) == 4
    await poller.close()


async def test_names_that_are_no_names_are_not_put_into_a_path(vendor, poller):
    """A name that could lead elsewhere is left alone."""
    for name in ("..", "a/../../settings", "UPPER", "", "a" * 400):
        vendor.applications[name] = application(name, STARTED, FINISHED)
    assert len((await poller.fetch()).bodies) == 1
    assert set(vendor.requests) == {LISTING, DETAIL, "/api/v1/settings"}


@pytest.mark.parametrize("nothing", ["", None])
async def test_without_its_own_address_there_is_no_link(vendor, poller, nothing):
    """An Argo CD that does not say where people find it is still polled, and asked again."""
    vendor.people_url = nothing
    assert [r.url for r in told((await poller.fetch()).bodies)] == [""]
    vendor.people_url = "https://argocd.example.com"
    assert told((await poller.fetch()).bodies)[0].url.startswith("https://argocd.example.com/applications/")


# -- failures


async def test_a_wrong_token_is_told_how_to_get_one(vendor):
    """401: make an account token, and where to put it."""
    poller = build(vendor.url, token="another")
    assert "apiKey" in await failure(poller)
    assert vendor.refused == [LISTING]
    await poller.close()


async def test_an_empty_list_is_a_missing_right(vendor, poller):
    """Argo CD shows an account without rights an empty list: that is not taken for peace."""
    vendor.allowed = False
    assert "applications, get" in await failure(poller)


@pytest.mark.parametrize(
    ("status", "body", "content_type", "says"),
    [
        (403, "{}", "application/json", "applications, get"),
        (404, "nothing here", "text/plain", "ROUTER_ARGOCD_API_URL"),
        (500, "{}", "application/json", "answered 500"),
        (503, "<html>", "text/html", "answered 503"),
        (200, "<!doctype html><title>Argo CD</title>", "text/html", "login page"),
        (200, "", "application/json", "no JSON object"),
        (200, "[]", "application/json", "no JSON object"),
        (200, '{"items": {"a": 1}}', "application/json", "not a list"),
        (200, '{"items": "x"}', "application/json", "not a list"),
        (200, "{}", "application/json", "shows no application"),
        (200, "[" * 5000, "application/json", "no JSON object"),
    ],
)
async def test_an_answer_that_is_none_says_what_to_do(vendor, poller, status, body, content_type, says):
    """Whatever comes instead of a list, the failure names it and the remedy."""
    vendor.fail_next(status, body=body, content_type=content_type)
    assert says in await failure(poller)
    assert len((await poller.fetch()).bodies) == 1, "and the next fetch is fine"


@pytest.mark.parametrize("items", [[None], [1, "x"], [{"metadata": 3}], [{"status": []}], [[]]])
async def test_odd_items_are_left_out(vendor, poller, items):
    """What is no application in the list is no reason to fail."""
    vendor.fail_next(200, body=json.dumps({"items": items}))
    assert not (await poller.fetch()).bodies


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"status": 1},
        {"status": {"history": {"a": 1}}},
        {"metadata": [], "status": {"history": [1, None, {"deployedAt": "9999-12-31T23:59:59Z"}]}},
    ],
)
async def test_an_odd_application_is_handed_over_for_the_source_to_judge(vendor, poller, detail):
    """The poller cuts whatever shape comes; the source refuses what it cannot read."""
    app = application("payment-service", STARTED, FINISHED)
    vendor.fail_next(200, body=json.dumps({"items": [app]}))
    vendor.fail_next(200, body=json.dumps(detail))
    (body,) = (await poller.fetch()).bodies
    with pytest.raises(Rejected):
        told([body])


async def test_a_redirect_is_not_followed(vendor, poller):
    """The token is not carried to another address."""
    vendor.fail_next(307, headers={"Location": f"{vendor.url}/elsewhere"})
    assert "redirects" in await failure(poller)
    assert vendor.requests == [LISTING]


async def test_a_huge_answer_is_cut_off(vendor):
    """More than is sensible is not read."""
    poller = build(vendor.url, max_bytes=1000)
    vendor.fail_next(200, body='{"items": [' + " " * 2000)
    assert "token that sees fewer" in await failure(poller)
    await poller.close()


async def test_a_hanging_argo_cd_is_given_up(vendor):
    """An answer that does not come ends the fetch."""
    poller = build(vendor.url, timeout_s=0.1)
    vendor.hang()
    assert "did not answer" in await failure(poller)
    await poller.close()


async def test_an_argo_cd_that_is_down_says_so(vendor, poller):
    """A refused connection, a dropped one and a nonsense address are failures with an address to check."""
    vendor.drop_after_processing(times=5)  # a GET is tried once more by the client
    assert "cannot be reached" in await failure(poller)
    await vendor.stop()
    assert "ROUTER_ARGOCD_API_URL" in await failure(poller)
    for url in ("", "argocd.example.com", "http://", "ftp://argocd"):
        other = build(url)
        await failure(other)
        await other.close()


async def test_a_token_that_is_no_header_is_a_failure(vendor):
    """Line breaks inside a token do not get into a request."""
    poller = build(vendor.url, token="a\r\nX-Other: b")
    await failure(poller)
    assert vendor.requests == []
    await poller.close()


async def test_a_ca_file_that_cannot_be_used_is_named(vendor, tmp_path):
    """A missing file and one without certificates are told apart from a network that is down."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "missing.pem", tmp_path / "ca.pem"):
        poller = build(vendor.url, ca_file=str(path))
        assert "ROUTER_ARGOCD_API_CA" in await failure(poller)
        await poller.close()


@pytest.fixture
def certificate(tmp_path):
    """A certificate for this machine that no authority knows, and its key."""
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ("-subj", "/CN=argocd", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", pem)
    subprocess.run([need("openssl"), *made, *subject], check=True, capture_output=True)
    return pem, key


async def test_certificates_are_verified(certificate):
    """An unknown authority is named as such; with its certificate configured the connection is made."""
    pem, key = certificate
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem, key)

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401)

    runner = web.ServerRunner(web.Server(refuse))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    for ca_file, says in (("", "not trusted"), (str(pem), "does not accept the token")):
        poller = build(url, ca_file=ca_file)
        assert says in await failure(poller)
        await poller.close()
    await runner.cleanup()


async def test_close_without_a_fetch_is_fine():
    """A poller that never asked has nothing to give back."""
    await build("http://127.0.0.1:9").close()


# -- the vendor's own description


def test_every_field_can_be_selected():
    """Argo CD leaves out a field that it cannot select, without a word."""
    assert set(argocd.FIELDS) <= {f"items.{field}" for field in SELECTABLE}


@pytest.mark.parametrize(
    ("definition", "kept"),
    [
        ("v1alpha1ApplicationSpec", argocd._KEPT["spec"]),
        ("v1alpha1ApplicationStatus", argocd._KEPT["status"]),
        ("v1alpha1OperationState", argocd._KEPT["status"]["operationState"]),
        ("v1alpha1SyncOperationResult", argocd._KEPT["status"]["operationState"]["syncResult"]),
        ("v1alpha1SyncOperation", argocd._KEPT["status"]["operationState"]["operation"]["sync"]),
        ("v1alpha1RevisionHistory", argocd._KEPT_OF_HISTORY),
        ("clusterSettings", {"url": None}),
    ],
)
def test_the_fields_are_those_of_the_api(shared, definition, kept):
    """Each field that is read is in the vendor's description of its answers."""
    swagger = json.loads((shared / "specs" / "argocd-swagger.json").read_text())
    assert set(kept) <= set(swagger["definitions"][definition]["properties"])


def test_the_paths_are_those_of_the_api(shared):
    """Each path and parameter that is asked for is in the vendor's description."""
    paths = json.loads((shared / "specs" / "argocd-swagger.json").read_text())["paths"]
    assert {LISTING, "/api/v1/settings", "/api/v1/applications/{name}"} <= set(paths)
    assert "appNamespace" in {p["name"] for p in paths["/api/v1/applications/{name}"]["get"]["parameters"]}
