"""The PagerDuty notifier: what it renders, and how it behaves towards a stateful PagerDuty."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from router.model.deploys import Deploy
from router.model.destinations import Want
from router.model.events import DeployPhase, Severity
from router.model.outcomes import Delivered, Retry, Unsure
from router.notify import _pagerduty_event as events
from router.notify import pagerduty
from router.notify.pagerduty import Options, PagerDuty, render_change, render_event
from tests.fakes import samples
from tests.fakes.pagerduty import FakePagerDuty, problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.ports import NotifierContext

GOLDEN = Path(__file__).parent / "golden"
SPEC = Path(__file__).resolve().parents[4] / "shared" / "specs" / "pagerduty-events-v2-openapi.json"
KEY = "a0123456789012345678901234567890"
OPTIONS = Options(routing_key=SecretStr(KEY), client_url="https://router.example.com")
QUIET = samples.incident(suspects=(), truncated=7, severity=Severity.NONE, environment="")
CLEARED = samples.incident(suspects=(samples.suspect(score=-4.0),))

EVENTS: dict[str, Any] = {
    "pagerduty-trigger": lambda: render_event(samples.job(OPTIONS)),
    "pagerduty-trigger-truncated": lambda: render_event(samples.job(OPTIONS, QUIET)),
    "pagerduty-acknowledge": lambda: render_event(samples.job(OPTIONS, want=Want.ACKNOWLEDGED)),
    "pagerduty-resolve": lambda: render_event(samples.job(OPTIONS, want=Want.RESOLVED)),
    "pagerduty-change": lambda: render_change(samples.change_job(OPTIONS)),
}


@pytest.fixture
async def vendor() -> AsyncIterator[FakePagerDuty]:
    """A PagerDuty."""
    async with FakePagerDuty() as one:
        yield one


def context(vendor: FakePagerDuty, timeout_s: float = 5.0) -> NotifierContext:
    """Return a context whose PagerDuty is the stand-in."""
    return samples.context(timeout_s=timeout_s, pagerduty_events_url=vendor.url)


@pytest.fixture
async def notifier(vendor: FakePagerDuty) -> AsyncIterator[PagerDuty]:
    """A notifier that talks to it."""
    one = PagerDuty(context(vendor))
    yield one
    await one.close()


# --- render


@pytest.mark.parametrize("name", EVENTS)
def test_golden(name: str) -> None:
    """Each event is rendered as its golden file says (UPDATE_GOLDEN=1 writes the files anew)."""
    file, got = GOLDEN / f"{name}.json", EVENTS[name]()
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(json.dumps(got, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert got == json.loads(file.read_text("utf-8"))


@pytest.mark.parametrize("name", EVENTS)
def test_keeps_to_pagerdutys_specification(name: str) -> None:
    """Each event is valid by PagerDuty's own OpenAPI document."""
    if not SPEC.is_file():
        pytest.skip("needs ../shared/specs/pagerduty-events-v2-openapi.json")
    document = json.loads(SPEC.read_text("utf-8"))
    path = "/change/enqueue" if "change" in name else "/enqueue"
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = {**schema, "components": document["components"]}
    jsonschema.Draft7Validator(schema).validate({**EVENTS[name](), "routing_key": KEY})


def test_summary_keeps_the_suspect_when_it_is_cut() -> None:
    """A long title is cut before the suspect is: the suspect is what the page is for."""
    summary = render_event(samples.job(OPTIONS, samples.incident(title="t" * 3000)))["payload"]["summary"]
    assert len(summary) <= events.MAX_SUMMARY
    assert summary.startswith("[FIRING:3] ttt")
    assert summary.endswith("suspect: payment-service 1.42.0 by alice, 3 min before the onset")


def test_a_cleared_deploy_is_not_called_suspect() -> None:
    """A deploy with more against it than for it is shown as cleared, and not in the summary."""
    payload = render_event(samples.job(OPTIONS, CLEARED))["payload"]
    assert "suspect" not in payload["summary"]
    assert payload["custom_details"]["suspects"][0]["verdict"] == "cleared"


@pytest.mark.parametrize("severity", list(Severity))
def test_severity(severity: Severity) -> None:
    """Each severity becomes one that PagerDuty has, and the map of the options goes first."""
    plain = render_event(samples.job(OPTIONS, samples.incident(severity=severity)))
    assert plain["payload"]["severity"] == ("info" if severity is Severity.NONE else severity)
    mapped = Options(routing_key=SecretStr(KEY), severity_map={severity: "warning"})
    event = render_event(samples.job(mapped, samples.incident(severity=severity)))
    assert event["payload"]["severity"] == "warning"


def test_only_safe_links_are_given() -> None:
    """Links that are not plain http or https, or hold a user, are left out."""
    links = {
        "a": "javascript:alert(1)",
        "b": "https://u:p@example.com/",
        "c": "ftp://example.com",
        "d": "https://example.com/a b",
    }
    event = render_event(samples.job(OPTIONS, links={**links, "ok": "https://example.com/a"}))
    assert [link["text"] for link in event["links"]] == ["ok", "suspected deploy"]


def test_a_huge_incident_is_degraded_not_dropped() -> None:
    """What would be over 512 KB is shown with fewer alerts, and says how many are left out."""
    labels = {f"l{n}": "\U0001f600" * 500 for n in range(40)}
    job = samples.job(
        OPTIONS, samples.incident(firing=400), members=[samples.alert(n, labels) for n in range(400)]
    )
    event = render_event(job)
    assert len(json.dumps(event)) <= events.MAX_BYTES
    details = event["payload"]["custom_details"]
    assert len(details["alerts"]) + details["alerts_not_shown"] == 400


@settings(max_examples=60)
@given(
    words=st.text(st.characters(), max_size=300),
    pairs=st.dictionaries(
        st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=300), max_size=8
    ),
    firing=st.integers(0, 10**6),
)
def test_any_text_makes_a_valid_event(words: str, pairs: dict[str, str], firing: int) -> None:
    """Whatever characters an incident and a deploy hold, PagerDuty takes the events."""
    head = samples.incident(
        title=words, service=words, environment=words, labels=pairs, annotations=pairs, firing=firing,
        suspects=(samples.suspect(version=words, author=words, url=words),),
    )  # fmt: skip
    event = render_event(samples.job(OPTIONS, head, members=[samples.alert(1, {words: words})]))
    event = json.loads(json.dumps({**event, "routing_key": KEY}).encode())
    assert problems(event, change=False) == []
    change = render_change(
        samples.change_job(OPTIONS, samples.deploy(title=words, names=(words,), service=words))
    )
    assert problems({**change, "routing_key": KEY}, change=True) == []
    json.dumps(change, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        ((DeployPhase.STARTED, DeployPhase.SWITCHED), "takes traffic in prod"),
        ((DeployPhase.SWITCHED, DeployPhase.LIVE, DeployPhase.CLEANED_UP), "live in prod"),
        ((DeployPhase.LIVE, DeployPhase.ROLLED_BACK), "rolled back in prod"),
        ((DeployPhase.CLEANED_UP,), "deployed in prod"),
        ((), "deployed in prod"),
    ],
)
def test_change_says_the_phase(phases: tuple[DeployPhase, ...], words: str) -> None:
    """A change event names the latest phase, the further one where times are equal."""
    of: Deploy = samples.deploy(phases=dict.fromkeys(phases, samples.ONSET))
    summary = render_change(samples.change_job(OPTIONS, of))["payload"]["summary"]
    assert summary == f"payment-service 1.42.0 {words} by alice: Retry card payments twice"


# --- options


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"routing_key": KEY, "routing_key_env": "PD_KEY"},
        {"routing_key_env": "PD_KEY", "routing_key_file": "/run/key"},
        {"routing_key": KEY, "client_url": "https://u:p@example.com"},
        {"routing_key": KEY, "severity_map": {"critical": "worst"}},
    ],
)
def test_options_refused(entry: dict[str, Any]) -> None:
    """Anything but exactly one key and valid values is refused, without printing the key."""
    with pytest.raises(ValidationError) as caught:
        Options(**entry)
    assert KEY not in str(caught.value)


async def test_ready_says_what_is_missing(tmp_path: Path) -> None:
    """A missing variable, an unreadable or empty file and an empty key are named; a key at hand is not."""
    empty, good = tmp_path / "empty", tmp_path / "good"
    empty.write_text("\n")
    good.write_text(f"{KEY}\n")
    one = PagerDuty(samples.context())
    assert one.ready(Options(routing_key_env="NOT_SET")) == "environment variable NOT_SET is not set"
    assert "cannot be read: FileNotFoundError" in one.ready(Options(routing_key_file=str(tmp_path / "none")))
    assert one.ready(Options(routing_key_file=str(empty))).endswith("is empty")
    assert one.ready(Options(routing_key=SecretStr(" "))) == "routing_key is empty"
    for options in (OPTIONS, Options(routing_key_env="PD_KEY"), Options(routing_key_file=str(good))):
        assert one.ready(options) == ""
    await one.close()


# --- send


async def test_life_of_an_incident(vendor: FakePagerDuty, notifier: PagerDuty) -> None:
    """Trigger, a repeated trigger, acknowledge and resolve are one PagerDuty incident of our id."""
    for want in (Want.TRIGGERED, Want.TRIGGERED, Want.ACKNOWLEDGED, Want.RESOLVED):
        outcome = await notifier.send(samples.job(OPTIONS, want=want))
        assert outcome == Delivered(ref=f"{samples.GROUP}.2")
    [paged] = vendor.incidents
    assert paged.log == ["trigger", "trigger", "acknowledge", "resolve"]
    assert (paged.routing_key, paged.dedup_key, paged.state) == (KEY, f"{samples.GROUP}.2", "resolved")


async def test_unsure_then_sent_again_pages_once(vendor: FakePagerDuty, notifier: PagerDuty) -> None:
    """A trigger whose answer was lost joins its alert when it is sent again."""
    vendor.drop_after_processing()
    assert isinstance(await notifier.send(samples.job(OPTIONS)), Unsure)
    assert isinstance(await notifier.send(samples.job(OPTIONS, doubt=True)), Delivered)
    assert len(vendor.incidents) == 1
    assert len(vendor.events) == 2


async def test_key_is_read_for_each_attempt(
    vendor: FakePagerDuty, notifier: PagerDuty, tmp_path: Path
) -> None:
    """A rotated key in a file is used from the next attempt on; a missing one is a retry."""
    file = tmp_path / "key"
    options = Options(routing_key_file=str(file))
    missing = await notifier.send(samples.job(options))
    assert isinstance(missing, Retry)
    assert missing.reason == "authError"
    for key in ("a" * 32, "b" * 32):
        file.write_text(key)
        assert isinstance(await notifier.send(samples.job(options)), Delivered)
    assert [e.body["routing_key"] for e in vendor.events] == ["a" * 32, "b" * 32]


async def test_change_event_arrives(vendor: FakePagerDuty, notifier: PagerDuty) -> None:
    """A deploy is told by a change event with the routing key in its body."""
    assert isinstance(await notifier.send_change(samples.change_job(OPTIONS)), Delivered)
    [change] = vendor.changes
    assert change.body["routing_key"] == KEY


async def test_many_keys_share_bounded_sessions(vendor: FakePagerDuty, notifier: PagerDuty) -> None:
    """With more integration keys than sessions, each event still carries its own key."""
    keys = [f"{n:032d}" for n in range(pagerduty.SESSIONS * 2)]
    jobs = [samples.job(Options(routing_key=SecretStr(k)), target=k) for k in keys * 2]
    for job in jobs:
        assert isinstance(await notifier.send(job), Delivered)
    assert [e.body["routing_key"] for e in vendor.events] == keys * 2
    assert len(notifier._sessions) <= pagerduty.SESSIONS * pagerduty.THREADS


async def test_a_hanging_pagerduty_takes_bounded_threads(vendor: FakePagerDuty) -> None:
    """More attempts than threads end in time: unsure where a request went out, a retry where none did."""
    one = PagerDuty(context(vendor, timeout_s=0.6))
    vendor.hang()
    heads = [samples.incident(generation=n) for n in range(pagerduty.THREADS * 3)]
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*(one.send(samples.job(OPTIONS, head)) for head in heads))
    assert {type(o) for o in outcomes} <= {Unsure, Retry}
    assert sum(isinstance(o, Unsure) for o in outcomes) >= pagerduty.THREADS
    assert len(vendor.requests) <= 2 * pagerduty.THREADS
    vendor.release()
    await one.close()


async def test_a_second_attempt_waits_for_the_first(vendor: FakePagerDuty, notifier: PagerDuty) -> None:
    """While a request for an incident is under way another is not sent: a resolve cannot be overtaken."""
    vendor.hang()
    first = asyncio.get_running_loop().create_task(notifier.send(samples.job(OPTIONS)))
    await vendor.arrived(1)
    second = await notifier.send(samples.job(OPTIONS, want=Want.RESOLVED))
    assert isinstance(second, Retry)
    assert len(vendor.requests) == 1
    vendor.release()
    assert isinstance(await first, Delivered)


async def test_closed_notifier_sends_nothing(vendor: FakePagerDuty, notifier: PagerDuty) -> None:
    """After close an attempt is a retry."""
    await notifier.close()
    assert isinstance(await notifier.send(samples.job(OPTIONS)), Retry)
    assert vendor.requests == []


@pytest.mark.parametrize("url", ["nonsense", "http://[", "ftp://example.com"])
async def test_unusable_url_is_a_retry(url: str) -> None:
    """A base URL that cannot be used is said so, and the page is kept."""
    one = PagerDuty(samples.context(pagerduty_events_url=url))
    outcome = await one.send(samples.job(OPTIONS))
    await one.close()
    assert isinstance(outcome, Retry)
    assert "pagerduty_events_url" in outcome.detail


def test_import_warns_nobody() -> None:
    """The library's import-time warning reaches nobody, and only our file filters it."""
    code = "import router.notify.pagerduty"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=30)
