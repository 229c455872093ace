"""The poller of GitLab's API, against a stateful GitLab that refuses and redirects as the real one does."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from router.model.errors import PollFailed
from router.model.events import DeployPhase, DeployReport
from router.poll import gitlab
from router.ports import Poller, PollerContext, SwitchedOff
from router.sources import gitlab as source
from tests.fakes.gitlab import SHA, TOKEN, FakeGitLab, deployment, hook
from tests.fakes.samples import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAYLOADS = Path(__file__).parents[2] / "payloads" / "gitlab"
#: Releases that carry no deployment_id in a webhook are known by the job there, which is another id.
RECORDED = sorted(
    p.stem
    for p in PAYLOADS.glob("deployment-*.json")
    if not p.name.endswith(".headers.json") and "deployment_id" in json.loads(p.read_text())
)
#: ManualClock begins at 2026-03-01 10:19:40.
DEPLOYED = "2026-03-01T10:00:40.123Z"
OURS = "https://router.example.com/webhooks/gitlab"
SHOP = "shop/payment-service"
ASKED = frozenset({"gitlab"})
PROJECT, DEPLOYMENTS, HOOKS = (f"/api/v4/projects/{p}" for p in (SHOP, "4711/deployments", "4711/hooks"))


@pytest.fixture
async def vendor() -> AsyncIterator[FakeGitLab]:
    """A GitLab with one project that was just deployed, and its webhook to us."""
    async with FakeGitLab() as one:
        one.add(SHOP)
        one.deploy(deployment(815, DEPLOYED))
        one.hooks[4711].append(hook(31, OURS))
        yield one


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test drives."""
    return ManualClock()


@pytest.fixture
async def poller(vendor, clock) -> AsyncIterator[gitlab.GitLabApi]:
    """A poller that asks it for its one project."""
    one = build(vendor.url, clock)
    yield one
    await one.close()


def build(url, clock=None, token=TOKEN, projects=(SHOP,), external_url="", ca_file="", **limits):
    """Return a new poller; keyword arguments are its limits."""
    settings = {
        "gitlab_api_url": url,
        "gitlab_api_token": token,
        "gitlab_api_ca": ca_file,
        "external_url": external_url,
    }
    context = PollerContext(clock or ManualClock(), settings, lambda: projects)
    return gitlab.GitLabApi(context, gitlab.Limits(**limits))


def serve(vendor, part, answer):
    """Answer this to questions whose path has that part; an answer of None does not come in time."""
    usual = vendor.handle

    async def handle(path, request, body):
        if part not in path:
            return await usual(path, request, body)
        if answer is None:
            await asyncio.Event().wait()
        return web.Response(status=200, text=answer or "")

    vendor.handle = handle


#: What is no list: a page of a proxy, another JSON, too much, nothing in time.
JUNK = ["<html>timed out</html>", '{"a": 1}', "[" + " " * 100_000 + "]", None]
SMALL = {"timeout_s": 0.3, "max_bytes": 90_000}


def several(vendor, count):
    """Make further projects, each with a deployment; return their paths."""
    paths = [f"shop/app-{n}" for n in range(count)]
    for n, path in enumerate(paths):
        vendor.add(path, n + 1)
        vendor.deploy(deployment(n + 1, DEPLOYED), number=n + 1)
    return paths


async def failure(poller):
    """Return the text of the failure that a fetch ends with."""
    with pytest.raises(PollFailed) as caught:
        await poller.fetch()
    text = str(caught.value)
    assert TOKEN not in text
    assert 20 < len(text) < 300, "no reason, or one that was cut"
    return text


def told(fetched):
    """Return what the source reads in what was fetched."""
    return [event for body in fetched.bodies for event in source.build().parse({}, body)]


def off(what):
    """Return a webhook that is off."""
    return SwitchedOff("gitlab", what)


# -- lost deployments


async def test_it_is_a_poller_of_the_source(poller):
    """The driver fits the port, names the source, and can be built without settings."""
    assert isinstance(poller, Poller)
    assert (poller.kind, poller.source) == ("gitlab_api", source.GitLab.kind)
    assert isinstance(gitlab.build(PollerContext(ManualClock(), {})), Poller)


async def test_a_deployment_is_told(poller):
    """A deployment of the last day is told with commit, person, job and time."""
    (report,) = told(await poller.fetch())
    assert report.phase is DeployPhase.LIVE
    assert (report.origin, report.environment, report.revision) == (SHOP, "prod", SHA)
    assert (report.author, report.title, report.ref) == ("dana", "Round totals half even", "main")
    assert report.at == datetime(2026, 3, 1, 10, 0, 40, 123000, UTC)
    assert report.url == f"https://gitlab.example.com/{SHOP}/-/jobs/9815"


def as_the_api_shows_it(body):
    """Return the deployment of which a Deployment Hook told, as the API shows it."""
    sha = (body["commit_url"] or "").rpartition("/")[2] or body[
        "short_sha"
    ] + "9d1a4c58e7f0123456789abcdef01234"
    at = body["status_changed_at"].replace(" UTC", "Z").replace(" +", "+").replace(" ", "T")
    job = None
    if body["deployable_id"] is not None:
        job = {
            "id": body["deployable_id"],
            "web_url": body["deployable_url"],
            "finished_at": at if body["status"] == "success" else None,
            "commit": {"id": sha, "title": body["commit_title"]},
            "user": body["user"],
        }
    return deployment(
        body["deployment_id"],
        at,
        body["status"],
        sha=sha,
        user=body["user"],
        environment={"id": 9, "name": body["environment"]},
        deployable=job,
    )


@pytest.mark.parametrize("name", RECORDED)
async def test_it_is_the_event_that_the_webhook_tells(vendor, clock, name):
    """What was fetched gives the ids that a webhook of the same state gives, so it counts once."""
    body = json.loads((PAYLOADS / f"{name}.json").read_bytes())
    clock.seconds += (datetime(2026, 11, 20, 10, 30, tzinfo=UTC) - clock.now()).total_seconds()
    vendor.add(body["project"]["path_with_namespace"], body["project"]["id"])
    vendor.deploy(as_the_api_shows_it(body))
    poller = build(vendor.url, clock, projects=["shop/checkout"])
    ours = told(await poller.fetch())
    theirs = source.build().parse({}, json.dumps(body).encode())
    await poller.close()
    if not isinstance(theirs[0], DeployReport):
        assert ours == theirs
        return
    ids = (
        "event_id",
        "run",
        "phase",
        "origin_kind",
        "origin",
        "environment",
        "at",
        "author",
        "ref",
        "detail",
    )
    assert [[getattr(r, i) for i in ids] for r in ours] == [[getattr(r, i) for i in ids] for r in theirs]
    if body["deployable_id"] is not None:
        assert [msgspec.structs.replace(r, facts={}) for r in ours] == [
            msgspec.structs.replace(r, facts={}) for r in theirs
        ], "the tier is not shown by the API"


def test_recorded_webhooks_are_compared():
    """There are webhooks to compare with: one of each status that is told."""
    assert {"deployment-running", "deployment-success", "deployment-failed-by-api"} <= set(RECORDED)


async def test_only_the_present_status_is_told(vendor, poller):
    """A deployment that is told as running is told as live when it is; each id counts once."""
    vendor.deploy(deployment(815, DEPLOYED, "running"))
    first = told(await poller.fetch())
    vendor.deploy(deployment(815, "2026-03-01T10:05:00Z"))
    second = told(await poller.fetch())
    assert [r.phase for r in first + second] == [DeployPhase.STARTED, DeployPhase.LIVE]
    assert told(await poller.fetch()) == second


async def test_what_is_told_stays_small(poller):
    """People's addresses, messages of commits and tokens stay behind."""
    (body,) = (await poller.fetch()).bodies
    assert b"not-for-us" not in body


async def test_the_right_question_is_asked(vendor, poller):
    """The project once, by its path in one piece; its deployments of a day by number, newest change first."""
    await poller.fetch()
    await poller.fetch()
    assert vendor.requests == [PROJECT, DEPLOYMENTS, HOOKS, DEPLOYMENTS, HOOKS]
    assert vendor.raw[0] == "/api/v4/projects/shop%2Fpayment-service"
    assert vendor.queries[1] == {
        "updated_after": "2026-02-28T10:19:40Z",
        "order_by": "updated_at",
        "sort": "desc",
        "per_page": "100",
        "page": "1",
    }


async def test_old_deployments_are_not_told(vendor, poller, clock):
    """What ended before the last day is old news, also where something else of it changed since."""
    old = deployment(700, "2026-02-27T10:00:00Z")
    vendor.deploy(old, deployment(701, "2026-02-27T11:00:00Z") | {"updated_at": DEPLOYED})
    assert len(told(await poller.fetch())) == 1
    clock.seconds += 24 * 3600
    assert told(await poller.fetch()) == []


async def test_the_end_counts_and_not_the_last_change(vendor, poller):
    """A deployment that is touched later was live when its job ended, or when GitLab says that it did."""
    one = deployment(815, DEPLOYED) | {"updated_at": "2026-03-01T10:15:00Z"}
    vendor.deploy(one)
    assert told(await poller.fetch())[0].at == datetime(2026, 3, 1, 10, 0, 40, 123000, UTC)
    vendor.deploy(one | {"finished_at": "2026-03-01T10:00:41Z"})
    assert told(await poller.fetch())[0].at == datetime(2026, 3, 1, 10, 0, 41, tzinfo=UTC)
    vendor.deploy(one | {"deployable": None})
    assert told(await poller.fetch())[0].at == datetime(2026, 3, 1, 10, 15, tzinfo=UTC)


async def test_who_started_the_job_deployed(vendor, poller):
    """A manual job may be started by another person than the one whose pipeline it is."""
    one = deployment(815, DEPLOYED)
    one["deployable"]["user"] = {"username": "kim", "name": "Kim Example"}
    vendor.deploy(one)
    assert told(await poller.fetch())[0].author == "kim"


async def test_three_pages_are_read(vendor, poller):
    """Of a project that deploys all the time the newest 300 are told."""
    vendor.deploy(*(deployment(n, f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(1, 421)))
    fetched = await poller.fetch()
    assert [q["page"] for q in vendor.queries if "page" in q] == ["1", "2", "3"]
    assert len(fetched.bodies) == 300
    assert json.loads(fetched.bodies[0])["deployment_id"] == 815


@pytest.mark.parametrize(
    "listed",
    [
        [None, 1, "x", [], {}],
        [{"id": 1, "environment": None, "updated_at": DEPLOYED}],
        [{"id": 1, "environment": {"name": "prod"}, "updated_at": "0001-01-01T00:00:00Z"}],
        [{"id": 1, "environment": {"name": "prod"}, "updated_at": "9999-12-31T23:59:59Z"}],
        [{"id": {}, "environment": {"name": "prod"}, "updated_at": DEPLOYED}],
        [{"id": 1, "environment": {"name": {}}, "updated_at": [DEPLOYED]}],
    ],
)
async def test_odd_deployments_are_left_out(vendor, poller, listed):
    """What is no deployment in the list is no reason to fail, nor to be told of."""
    await poller.fetch()
    vendor.fail_next(200, body=json.dumps(listed))
    assert (await poller.fetch()).bodies == []


@pytest.mark.parametrize(
    "changes",
    [
        {"deployable": [], "user": 7, "sha": None, "ref": 1},
        {"deployable": {"id": 10**30, "web_url": {}, "user": [], "commit": "x"}, "user": None},
        {"id": 10**30, "sha": "\ud800", "status": None},
        {"status": "\x1b" * 1000, "sha": "a" * 10_000},
        {"status": "blocked", "approvals": [1]},
    ],
)
async def test_an_odd_deployment_is_for_the_source_to_judge(vendor, poller, changes):
    """Whatever shape comes, there is a body that the source reads."""
    await poller.fetch()
    vendor.fail_next(200, body=json.dumps([deployment(815, DEPLOYED) | changes]))
    assert len(told(await poller.fetch())) >= 1


# -- webhooks that are switched off


async def test_webhooks_that_work_are_well(poller):
    """GitLab was asked, and nothing is off."""
    fetched = await poller.fetch()
    assert (fetched.asked, fetched.off) == (ASKED, [])


async def test_disabled_webhooks_are_told_until_they_work(vendor, poller):
    """For good or until a time, with the webhook's number and project; and no more after it was mended."""
    vendor.hooks[4711] = [
        hook(31, OURS, "disabled"),
        hook(32, OURS, "temporarily_disabled", "2026-03-01T10:35:42.123Z"),
        hook(33, OURS, "temporarily_disabled"),
        hook(34, OURS, "some-new-status"),
        hook(35, "https://other.example.com/", "disabled"),
    ]
    fetched = await poller.fetch()
    assert fetched.asked == ASKED
    assert fetched.off == [
        off("webhook 31 of shop/payment-service is disabled for good"),
        off("webhook 32 of shop/payment-service is disabled until 2026-03-01 10:35 UTC"),
        off("webhook 33 of shop/payment-service is disabled for a while"),
    ]
    vendor.hooks[4711] = [hook(31, OURS)]
    assert (await poller.fetch()).off == []


@pytest.mark.parametrize(
    ("url", "external_url", "ours"),
    [
        (OURS, "", True),
        (f"{OURS}/", "https://router.example.com", True),
        (f"{OURS}?a=b", "https://router.example.com", True),
        ("http://router:8080/prefix/webhooks/gitlab", "", True),
        ("https://ROUTER.example.com:8443/webhooks/gitlab", "https://router.example.com/prefix", True),
        (OURS, "https://incidents.example.com", False),
        ("https://router.example.com/webhooks/{token}", "", False),
        ("https://router.example.com/webhooks/argocd", "", False),
        ("https://router.example.com/webhooks/gitlab/x", "", False),
        ("http://[bad/webhooks/gitlab", "", False),
        (None, "", False),
    ],
)
async def test_only_webhooks_to_us_count(vendor, url, external_url, ours):
    """By path, and by host where we know our own."""
    vendor.hooks[4711] = [hook(31, url, "disabled")]
    poller = build(vendor.url, external_url=external_url)
    assert bool((await poller.fetch()).off) is ours
    await poller.close()


async def test_without_the_right_to_see_webhooks_deployments_are_still_told(vendor, poller):
    """A token that is no maintainer's does not ask, and what was off before is not known any more."""
    vendor.hooks[4711] = [hook(31, OURS, "disabled")]
    assert (await poller.fetch()).off
    vendor.maintainer = False
    fetched = await poller.fetch()
    assert len(fetched.bodies) == 1
    assert (fetched.asked, fetched.off) == (frozenset(), [])


async def test_webhooks_that_gitlab_fails_to_show_are_as_they_were(vendor):
    """A webhook is not taken for well because one answer was an error."""
    poller = build(vendor.url, projects=[SHOP, *several(vendor, 1)])
    vendor.hooks[4711] = [hook(31, OURS, "disabled")]
    await poller.fetch()
    vendor.broken[HOOKS] = 500
    fetched = await poller.fetch()
    assert (fetched.asked, len(fetched.off), len(fetched.bodies)) == (ASKED, 1, 2)
    await poller.close()


@pytest.mark.parametrize("answer", JUNK)
async def test_junk_in_place_of_webhooks_loses_no_deployment(vendor, clock, answer):
    """What was found of a project is handed over; of its webhooks nothing is known, and the log is quiet."""
    serve(vendor, "/4711/hooks", answer)
    poller = build(vendor.url, clock, projects=[SHOP, *several(vendor, 1)], **SMALL)
    with capture_logs() as logs:
        for n in range(4):
            fetched = await poller.fetch()
            assert [r.origin for r in told(fetched)] == ["shop/app-0", SHOP]
            assert fetched.asked == (ASKED if n >= gitlab.TRIES - 1 else frozenset())
    assert logs == []
    await poller.close()


async def test_webhooks_that_are_not_shown_for_a_day_are_forgotten(vendor, clock):
    """A webhook that was off stays off while GitLab fails to show it, and not for ever."""
    poller = build(vendor.url, clock, projects=[SHOP, *several(vendor, 1)])
    vendor.hooks[4711] = [hook(31, OURS, "disabled")]
    await poller.fetch()
    vendor.broken[HOOKS] = 500
    clock.seconds += 23 * 3600
    assert len((await poller.fetch()).off) == 1
    clock.seconds += 2 * 3600
    fetched = await poller.fetch()
    assert (fetched.asked, fetched.off) == (ASKED, [])
    await poller.close()


@pytest.mark.parametrize("answer", JUNK)
async def test_one_project_that_fails_keeps_no_word_from_the_others(vendor, clock, answer):
    """After a start a project that is never read is waited for, and then the others are well without it."""
    serve(vendor, "/4711", answer)
    poller = build(vendor.url, clock, projects=[SHOP, *several(vendor, 1)], **SMALL)
    vendor.hooks[1] = [hook(31, OURS)]
    rounds = [await poller.fetch() for _ in range(4)]
    assert [r.asked for r in rounds] == [frozenset(), frozenset(), ASKED, ASKED]
    await poller.close()


async def test_that_all_is_well_is_only_said_of_all(vendor):
    """With more projects than one fetch asks, the first rounds do not end what was told before."""
    paths = several(vendor, 3)
    vendor.hooks[3] = [hook(31, OURS, "disabled")]
    poller = build(vendor.url, projects=paths, max_projects=1)
    rounds = [await poller.fetch() for _ in range(4)]
    assert [r.asked for r in rounds] == [frozenset(), frozenset(), ASKED, ASKED]
    assert [len(r.off) for r in rounds] == [0, 0, 1, 1], "and is remembered while others are asked"
    vendor.hooks[3] = []
    assert [len((await poller.fetch()).off) for _ in range(2)] == [1, 0]
    await poller.close()


@pytest.mark.parametrize("listed", [[None, 1, "x", [], {}], [{"url": OURS, "alert_status": ["disabled"]}]])
async def test_odd_webhooks_are_not_off(vendor, poller, listed):
    """What is no webhook, or says nothing clear, wakes nobody."""
    vendor.hooks[4711] = listed
    fetched = await poller.fetch()
    assert (fetched.asked, fetched.off) == (ASKED, [])


# -- projects


async def test_without_projects_nothing_is_asked(vendor):
    """A catalogue without GitLab projects, or with names that are no paths, asks for nothing."""
    poller = build(vendor.url, projects=["", "..", "group", "../etc/passwd?x", "a b/c", "a/é"])
    fetched = await poller.fetch()
    assert (list(fetched.bodies), fetched.asked) == ([], frozenset())
    assert vendor.requests == []
    await poller.close()


async def test_many_projects_are_asked_in_turn(vendor):
    """One fetch asks for a bounded number, each once; the next goes on where it ended, and then around."""
    paths = several(vendor, 5)
    poller = build(vendor.url, projects=[*paths, *paths], max_projects=2)
    rounds = [[r.origin[-1] for r in told(await poller.fetch())] for _ in range(4)]
    assert rounds == [["0", "1"], ["2", "3"], ["4", "0"], ["1", "2"]]
    await poller.close()


async def test_a_slow_gitlab_is_asked_for_less(vendor):
    """After a minute no further project is asked; the next fetch goes on there."""

    class Slow(ManualClock):
        def monotonic(self):
            self.seconds += 25
            return self.seconds

    poller = build(vendor.url, Slow(), projects=several(vendor, 3))
    assert [r.origin[-1] for r in told(await poller.fetch())] == ["0", "1"]
    assert [r.origin[-1] for r in told(await poller.fetch())] == ["2", "0"]
    await poller.close()


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_project_that_is_not_given_is_left_out(vendor, status):
    """One project that is refused does not keep the others from being told; the log says so once."""
    vendor.broken[DEPLOYMENTS] = status
    poller = build(vendor.url, projects=[SHOP, *several(vendor, 2)])
    with capture_logs() as logs:
        for _ in range(3):
            assert len(told(await poller.fetch())) == 2
    assert [(one["event"], one["project"]) for one in logs] == [("project_not_polled", SHOP)]
    assert str(status) in logs[0]["error"]
    del vendor.broken[DEPLOYMENTS]
    assert len(told(await poller.fetch())) == 3
    await poller.close()


@pytest.mark.parametrize("answer", JUNK)
async def test_a_project_that_is_answered_with_junk_is_left_out(vendor, clock, answer):
    """A timeout, another document or one that is too large is one project's, and is logged once."""
    serve(vendor, "/1/deployments", answer)
    poller = build(vendor.url, clock, projects=several(vendor, 3), **SMALL)
    with capture_logs() as logs:
        for _ in range(3):
            assert sorted(r.origin[-1] for r in told(await poller.fetch())) == ["1", "2"]
    assert [(one["event"], one["project"]) for one in logs] == [("project_not_polled", "shop/app-0")]
    await poller.close()


async def test_a_page_that_fails_keeps_those_before_it(vendor, poller):
    """Of a project whose second page is junk the first one is told, and the project is logged."""
    vendor.deploy(*(deployment(n, f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(1, 121)))
    await poller.fetch()
    usual = vendor.handle

    async def handle(path, request, body):
        if request.query.get("page") == "2":
            return web.Response(text="<html>")
        return await usual(path, request, body)

    vendor.handle = handle
    with capture_logs() as logs:
        assert len((await poller.fetch()).bodies) == 100
    assert [one["event"] for one in logs] == ["project_not_polled"]


@pytest.mark.parametrize(
    ("status", "says"), [(403, "read_api"), (404, "ROUTER_GITLAB_API_URL"), (502, "log")]
)
async def test_projects_that_are_all_refused_are_a_failure(vendor, poller, status, says):
    """Where nothing is given the failure says what the token lacks."""
    vendor.broken[PROJECT] = status
    assert says in await failure(poller)


async def test_a_project_that_was_renamed_is_told_by_its_path_in_the_catalogue(vendor, poller, clock):
    """While we know its number it is still read; a new process says that the catalogue is out of date."""
    await poller.fetch()
    vendor.rename(4711, "shop/payments")
    assert [r.origin for r in told(await poller.fetch())] == [SHOP]
    other = build(vendor.url, clock)
    assert "catalogue" in await failure(other)
    await other.close()


async def test_a_project_that_was_made_anew_is_known_by_its_new_number(vendor, poller):
    """A number that is not found any more is asked for again."""
    await poller.fetch()
    del vendor.projects[4711]
    vendor.add(SHOP, 4712)
    vendor.deploy(deployment(900, DEPLOYED), number=4712)
    await failure(poller)
    assert json.loads((await poller.fetch()).bodies[0])["project"]["id"] == 4712


async def test_what_left_the_catalogue_is_forgotten(vendor, clock):
    """Neither its deployments nor its disabled webhook are told any more, and nothing of it is kept."""
    paths = [SHOP, *several(vendor, 1)]
    vendor.hooks[4711] = [hook(31, OURS, "disabled")]
    poller = build(vendor.url, clock, projects=paths)
    assert len((await poller.fetch()).off) == 1
    del paths[0]
    fetched = await poller.fetch()
    assert (len(fetched.bodies), fetched.off, fetched.asked) == (1, [], ASKED)
    assert set(poller._projects) == {"shop/app-0"}
    await poller.close()


@pytest.mark.parametrize("found", [{}, {"id": "4711"}, {"id": True}, {"id": None}])
async def test_an_answer_that_is_no_project_is_a_failure(vendor, poller, found):
    """Something else than GitLab behind the address is named."""
    vendor.fail_next(200, body=json.dumps(found))
    assert "no project" in await failure(poller)


# -- failures


async def test_a_wrong_token_is_told_how_to_get_one(vendor):
    """401: scope and role of the token, and where to put it."""
    poller = build(vendor.url, token="another")
    text = await failure(poller)
    assert "read_api" in text
    assert "ROUTER_GITLAB_API_TOKEN" in text
    assert vendor.refused == [PROJECT]
    await poller.close()


@pytest.mark.parametrize(
    ("status", "body", "content_type", "says"),
    [
        (404, "nothing here", "text/plain", "ROUTER_GITLAB_API_URL"),
        (503, "<html>", "text/html", "answered 503"),
        (200, "<!doctype html><title>Sign in</title>", "text/html", "login page"),
        (200, "", "application/json", "no JSON object"),
        (200, "[]", "application/json", "no JSON object"),
        (200, "[" * 5000, "application/json", "no JSON object"),
    ],
)
async def test_an_answer_that_is_none_says_what_to_do(vendor, poller, status, body, content_type, says):
    """Whatever comes instead of a project, the failure names it and the remedy."""
    vendor.fail_next(status, body=body, content_type=content_type)
    assert says in await failure(poller)
    assert len((await poller.fetch()).bodies) == 1, "and the next fetch is fine"


async def test_a_list_that_is_none_is_a_failure(vendor, poller):
    """An object in place of the deployments is not taken for none."""
    await poller.fetch()
    vendor.fail_next(200, body='{"deployments": []}')
    assert "no JSON array" in await failure(poller)


@pytest.mark.parametrize("path", [PROJECT, DEPLOYMENTS])
async def test_being_asked_too_often_names_the_pause(vendor, poller, path):
    """429 is told with the pause that GitLab wants, whichever question was too much."""
    vendor.broken[path] = 429
    text = await failure(poller)
    assert "Retry-After: 60 s" in text
    assert "ROUTER_POLL_SECONDS" in text


@pytest.mark.parametrize("status", [401, 429])
async def test_being_refused_at_the_webhooks_keeps_the_deployments(vendor, status):
    """The round ends there and the log says why; the next one begins there, and does not stay."""
    vendor.broken["/api/v4/projects/2/hooks"] = status
    poller = build(vendor.url, projects=several(vendor, 3))
    with capture_logs() as logs:
        assert [r.origin[-1] for r in told(await poller.fetch())] == ["0", "1"]
        assert [r.origin[-1] for r in told(await poller.fetch())] == ["1"]
        assert [r.origin[-1] for r in told(await poller.fetch())] == ["2", "0", "1"]
    assert {one["event"] for one in logs} == {"poll_cut_short"}
    assert str(status) in logs[0]["error"]
    await poller.close()


async def test_a_failure_on_the_way_keeps_what_was_read(vendor):
    """What came before it is handed over, and the next fetch begins with the one that failed."""
    poller = build(vendor.url, projects=several(vendor, 4))
    vendor.broken["/api/v4/projects/3/deployments"] = 429
    assert [r.origin[-1] for r in told(await poller.fetch())] == ["0", "1"]
    assert "429" in await failure(poller)
    assert [r.origin[-1] for r in told(await poller.fetch())] == ["3", "0", "1"], "and does not stay there"
    await poller.close()


async def test_a_redirect_is_not_followed(vendor, poller):
    """The token is not carried to another address."""
    vendor.fail_next(301, headers={"Location": f"{vendor.url}/users/sign_in"})
    assert "redirects" in await failure(poller)
    assert vendor.requests == [PROJECT]


async def test_limits_are_kept(vendor):
    """An answer that is too large or does not come is given up."""
    poller = build(vendor.url, max_bytes=100)
    assert "over 100 bytes" in await failure(poller)
    await poller.close()
    poller = build(vendor.url, timeout_s=0.1)
    vendor.hang()
    assert "did not answer" in await failure(poller)
    await poller.close()


async def test_a_gitlab_that_cannot_be_reached_says_so(vendor, poller, tmp_path):
    """A refused connection, a nonsense address and a file that is no certificate are told apart."""
    await vendor.stop()
    assert "ROUTER_GITLAB_API_URL" in await failure(poller)
    (tmp_path / "ca.pem").write_text("no certificate")
    for other, says in (
        (build(""), "ROUTER_GITLAB_API_URL"),
        (build("gitlab.example.com"), "ROUTER_GITLAB_API_URL"),
        (build(vendor.url, ca_file=str(tmp_path / "ca.pem")), "ROUTER_GITLAB_API_CA"),
    ):
        assert says in await failure(other)
        await other.close()


async def test_a_token_that_is_no_header_is_a_failure(vendor):
    """Line breaks inside a token do not get into a request."""
    poller = build(vendor.url, token="a\r\nX-Other: b")
    await failure(poller)
    assert vendor.requests == []
    await poller.close()


@pytest.mark.parametrize("end", ["/", "/api/v4", "/api/v4/"])
async def test_the_address_may_name_the_api(vendor, end):
    """Whether or not /api/v4 is given, it is asked once."""
    poller = build(vendor.url + end)
    assert len((await poller.fetch()).bodies) == 1
    await poller.close()
