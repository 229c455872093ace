"""One truth: what is done in Slack is done at PagerDuty and the other way round, once, by whoever did it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from router import settings
from router.app import App
from router.kit.clock import SystemClock
from router.model.commands import OUR_MARK
from tests.conftest import wait_for
from tests.fakes.pagerduty_site import TOKEN, FakePagerDutySite
from tests.fakes.slack_site import FakeSlackSite, buttons
from tests.flows.harness import Client, alert, body, client, environ, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.pagerduty import PagedIncident
    from tests.fakes.slack import Message

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class SkippingClock(SystemClock):
    """The real clock, which a test may put on."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.skipped)

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped


@dataclass
class World:
    """A router between the two, and one incident that both were told of."""

    c: Client
    pagerduty: FakePagerDutySite
    slack: FakeSlackSite
    clock: SkippingClock
    app: App
    id: str = ""

    @property
    def page(self) -> PagedIncident:
        return self.pagerduty.incidents[-1]

    @property
    def message(self) -> Message:
        return self.slack.messages()[-1]

    @property
    def shown(self) -> str:
        """What people read in the channel."""
        return f"{self.message.text}{self.message.blocks}"

    async def opens(self, name: str = "HighErrorRate", **labels: str) -> None:
        await self.c.post("/webhooks/alertmanager", body(alert(name, at=AT, **labels)))
        await wait_for(self.c.incidents, "an incident")
        await self.calm()
        self.id = next(x["id"] for x in await self.c.incidents() if name in x["title"])

    async def calm(self, seconds: float = 15.0) -> None:
        """Wait until everybody knows, and all echoes have come."""
        await wait_for(self.c.settled, "all is told", seconds)
        await self.pagerduty.quiet()
        await wait_for(self.c.settled, "all is told", seconds)

    async def head(self) -> dict[str, Any]:
        return (await self.c.get(f"/api/v1/incidents/{self.id}"))[1]

    async def becomes(self, state: str) -> dict[str, Any]:
        async def there() -> Any:
            head = await self.head()
            return head if head["state"] == state else None

        return await wait_for(there, f"it is {state}")


@contextlib.asynccontextmanager
async def world(tmp_path: Path, rules: dict[str, str] | None = None, **more: str) -> AsyncIterator[World]:
    write_rules(tmp_path / "rules", rules)
    async with FakePagerDutySite() as pagerduty, FakeSlackSite() as slack:
        env = environ(
            tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url, ROUTER_PAGERDUTY_API_URL=pagerduty.url,
            ROUTER_PAGERDUTY_WRITE_TOKEN=TOKEN, ROUTER_PAGERDUTY_FROM="router@example.com",
            ROUTER_SLACK_API_URL=slack.url, ROUTER_SOURCE_PAGERDUTY_SECRETS="pagerduty-secret",
            ROUTER_SOURCE_SLACK_SECRETS="slack-secret", ROUTER_DELIVERY_TIMEOUT_SECONDS="3", **more,
        )  # fmt: skip
        clock = SkippingClock()
        app = App(settings.load(env), env, clock)
        await app.start()
        try:
            base = f"http://127.0.0.1:{app.port}/webhooks"
            pagerduty.hook, pagerduty.secret = f"{base}/pagerduty", b"pagerduty-secret"
            slack.hook, slack.secret = f"{base}/slack", b"slack-secret"
            async with client(app.port) as c:
                yield World(c, pagerduty, slack, clock, app)
        finally:
            await app.stop()


@pytest.fixture
async def w(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as one:
        await one.opens()
        yield one


# --- from PagerDuty ---------------------------------------------------------------------------------


async def test_an_acknowledgement_at_pagerduty_edits_the_message(w: World) -> None:
    """The message says who took it, its button is another, and PagerDuty is told nothing that it knows."""
    events = len(w.pagerduty.events)
    await w.pagerduty.does("bo@example.com", "acknowledged", w.page)
    head = await w.becomes("acknowledged")
    assert head["acknowledged_by"] == "Bo Example"
    await wait_for(lambda: "Bo Example" in w.shown, "the message says it")
    await w.calm()
    assert [b["action_id"] for b in buttons(w.message)] == ["unacknowledge", "resolve", "silence", "why"]
    assert (len(w.pagerduty.events), w.pagerduty.rest) == (events, [])
    assert len(w.slack.messages()) == 1


async def test_all_that_happens_at_pagerduty_comes_back(w: World) -> None:
    """A note, a hand-over, a timed-out acknowledgement and a resolve stand on the timeline and in Slack."""
    await w.pagerduty.does("bo@example.com", "acknowledged", w.page)
    await w.pagerduty.does("bo@example.com", "annotated", w.page, "looking at the database")
    await w.pagerduty.does("bo@example.com", "reassigned", w.page, "Ana Example")
    await w.becomes("acknowledged")
    await w.pagerduty.does("", "unacknowledged", w.page)
    await w.becomes("triggered")
    await w.pagerduty.does("ana@example.com", "resolved", w.page)
    head = await w.becomes("resolved")
    await w.calm()
    assert (head["resolved_by"], head["assigned_to"]) == ("Ana Example", "Ana Example")
    said = [(e["why"], e["by"], e["via"]) for e in head["timeline"] if e["via"]]
    assert said == [
        ("acknowledged", "Bo Example", "pagerduty"),
        ("noted", "Bo Example", "pagerduty"),
        ("assigned", "Bo Example", "pagerduty"),
        ("unacknowledged", "PagerDuty", "pagerduty"),
        ("resolved_by_hand", "Ana Example", "pagerduty"),
    ]
    assert "looking at the database" in str(head["timeline"])
    assert [e.action for e in w.pagerduty.events] == ["trigger"]
    assert "Ana Example" in w.shown
    assert buttons(w.message) == []


# --- from Slack -------------------------------------------------------------------------------------


async def test_a_press_in_slack_acknowledges_at_pagerduty_as_that_person(w: World) -> None:
    """By the e-mail in the profile; the echo that comes back changes nothing."""
    await w.slack.presses("ana", "acknowledge", w.message)
    await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it")
    await wait_for(lambda: "acknowledged by ana" in w.shown, "the message says it")
    await w.calm()
    assert [b["action_id"] for b in buttons(w.message)] == ["unacknowledge", "resolve", "silence", "why"]
    assert w.pagerduty.site(w.page).taken_by == "ana@example.com"
    assert [e.action for e in w.pagerduty.events] == ["trigger"]
    assert ("incident.acknowledged", 202) in w.pagerduty.told
    head = await w.head()
    assert [e["by"] for e in head["timeline"] if e["why"] == "acknowledged"] == ["ana"]
    assert w.slack.seen == {}, "the message shows it; nobody need be told besides"


async def test_who_has_no_user_there_is_noted_and_not_named(w: World) -> None:
    """Cy has no e-mail: the page is taken in nobody's name, a note says by whom, and is no note here."""
    await w.slack.presses("cy", "acknowledge", w.message)
    await wait_for(lambda: w.pagerduty.site(w.page).notes, "the note")
    await w.calm()
    (note,) = w.pagerduty.site(w.page).notes
    assert note == ("router@example.com", f"Acknowledged by cy through slack {OUR_MARK}")
    assert (w.page.state, w.pagerduty.site(w.page).taken_by) == ("acknowledged", "")
    head = await w.head()
    assert (head["acknowledged_by"], [e for e in head["timeline"] if e["why"] == "noted"]) == ("cy", [])


async def test_people_in_the_rules_come_before_the_profile(tmp_path: Path) -> None:
    """Where the e-mails differ, the rules say who is who."""
    rules = tmp_path / "rules"
    async with world(tmp_path) as w:
        (rules / "people.yaml").write_text("people: [{name: cy, slack: U0CY, pagerduty: bo@example.com}]\n")
        assert (await w.c.post("/-/reload", {}))[0] == 200
        await w.opens()
        await w.slack.presses("cy", "acknowledge", w.message)
        await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it")
        assert w.pagerduty.site(w.page).taken_by == "bo@example.com"


async def test_resolve_in_slack_ends_it_at_pagerduty(w: World) -> None:
    """In the person's name; the buttons are gone, and the thread is short."""
    await w.slack.presses("bo", "resolve", w.message)
    await wait_for(lambda: w.page.state == "resolved", "PagerDuty shows it")
    await w.calm()
    assert w.pagerduty.site(w.page).ended_by == "bo@example.com"
    assert buttons(w.message) == []
    assert len(w.message.replies) <= 2


async def test_commands_do_what_they_say(w: World) -> None:
    """Each act is answered at once, done, and then told what it came to."""
    for text, at_once, later, state in (
        (f"ack {w.id} on it", "Acknowledging", "acknowledged by ana: on it", "acknowledged"),
        (f"unack {w.id}", "Giving back", "given back by ana", "triggered"),
        (f"snooze {w.id} 2h lunch", "Putting off", "put off for 2 h by ana", "acknowledged"),
        (f"assign {w.id} <@U0BO|bo>", "Handing on", "given to bo by ana", "acknowledged"),
        (f"note {w.id} disk full", "Noting on", "ana: disk full", "acknowledged"),
        (f"resolve {w.id}", "Resolving", "resolved by ana", "resolved"),
    ):
        w.slack.seen.clear()
        assert (await w.slack.types("ana", text)).startswith(at_once)
        await wait_for(lambda: len(w.slack.seen.get("ana", [])) == 2, f"an answer to {text}")
        assert w.slack.seen["ana"][1].startswith(later)
        assert (await w.head())["state"] == state


async def test_questions_are_answered(w: World) -> None:
    """List, show, why and deploys answer the person alone, by either name of the command."""
    for text, said in (
        ("list", w.id),
        ("list payment-service", "1 open of payment-service"),
        ("list other", "Nothing of other is open"),
        (f"show {w.id}", "1 firing, 0 resolved"),
        (f"why {w.id}", "told: everybody"),
        ("deploys", "No deploy is known"),
        ("show 0123456789abcdef.1", "no such incident"),
    ):
        w.slack.seen.clear()
        assert await w.slack.types("bo", text, command="/router") == ""
        await wait_for(lambda: w.slack.seen.get("bo"), f"an answer to {text}")
        assert said in w.slack.seen["bo"][0]
    assert len(w.slack.messages()) == 1


async def test_help_and_mistakes_are_answered_at_once(w: World) -> None:
    """What is not understood is quoted, with what works; what lacks something says what."""
    assert "What works:" in await w.slack.types("ana", "help")
    assert "I do not know" in await w.slack.types("ana", "reboot everything")
    assert "Say how long" in await w.slack.types("ana", f"snooze {w.id}")


async def test_somebody_of_another_workspace_is_refused_and_told_so(w: World) -> None:
    """A guest of a shared channel presses; nothing is done, and the guest is told why."""
    w.slack.people["ana"].team = "T0ELSEWHERE"
    await w.slack.presses("ana", "acknowledge", w.message)
    await wait_for(lambda: w.slack.seen.get("ana"), "the refusal")
    await w.calm()
    assert "Only people of the workspace" in w.slack.seen["ana"][0]
    assert (await w.head())["state"] == "triggered"


# --- silences ---------------------------------------------------------------------------------------


async def test_a_silence_is_asked_for_in_a_window(w: World) -> None:
    """The window comes with the incident's matchers; what is wrong is said in it, what is right is done."""
    await w.slack.presses("ana", "silence", w.message)
    await wait_for(lambda: w.slack.windows, "the window")
    wrong = await w.slack.submits("ana", matchers='service=~"("', comment="load test")
    assert "matchers" in wrong
    assert await w.slack.submits("ana", length="4h", comment="load test") == {}
    await wait_for(lambda: w.slack.seen.get("ana"), "the answer")
    assert w.slack.seen["ana"][0].startswith("Silenced until")
    (silence,) = (await w.c.get("/api/v1/silences"))[1]["silences"]
    assert (silence["createdBy"], silence["comment"]) == ("ana", "load test")
    assert {m["name"] for m in silence["matchers"]} == {"alertname", "service"}


async def test_a_silence_by_command(w: World) -> None:
    """With how long and why it needs no window; without, it is asked for."""
    assert await w.slack.types("bo", f"silence {w.id} 2h load test") == ""
    await wait_for(lambda: w.slack.seen.get("bo"), "the answer")
    assert (await w.c.get("/api/v1/silences"))[1]["silences"][0]["comment"] == "load test"
    await w.slack.types("bo", f"silence {w.id} 2h")
    await wait_for(lambda: len(w.slack.seen["bo"]) == 2, "the answer")
    assert "Say why" in w.slack.seen["bo"][1]
    await w.slack.types("bo", f"silence {w.id}")
    await wait_for(lambda: w.slack.windows, "the window")


async def test_an_expired_trigger_is_told(w: World) -> None:
    """A window that could not be opened in time says so, to whoever pressed; the next press works."""
    w.slack.trigger_age = 10.0
    await w.slack.presses("ana", "silence", w.message)
    await wait_for(lambda: w.slack.seen.get("ana"), "the answer")
    assert "press it again" in w.slack.seen["ana"][0]
    assert w.slack.windows == []
    w.slack.trigger_age = 0.0
    await w.slack.presses("ana", "silence", w.message)
    await wait_for(lambda: w.slack.windows, "the window")


async def test_why_is_answered_to_whoever_asks(w: World) -> None:
    """The button tells the reasons to the person alone."""
    await w.slack.presses("ana", "why", w.message)
    await wait_for(lambda: w.slack.seen.get("ana"), "the answer")
    assert f"`{w.id}` is *triggered*" in w.slack.seen["ana"][0]


# --- both, twice, broken ----------------------------------------------------------------------------


async def test_a_double_click_counts_once(w: World) -> None:
    """Two presses and a third copy of the first are one acknowledgement; who pressed again is told so."""
    first, _ = await asyncio.gather(
        w.slack.presses("ana", "acknowledge", w.message), w.slack.presses("ana", "acknowledge", w.message)
    )
    await w.slack.presses("ana", "acknowledge", w.message, raw=first)
    await w.becomes("acknowledged")
    await w.calm()
    assert [line for line in w.page.log if "acknowledged" in line] == ["acknowledged by ana@example.com"]
    head = await w.head()
    assert [e["by"] for e in head["timeline"] if e["why"] == "acknowledged"] == ["ana"]
    await w.slack.presses("bo", "acknowledge", message_as_it_was(w.message))
    await wait_for(lambda: w.slack.seen.get("bo"), "the refusal")
    assert "it is acknowledged by ana since" in w.slack.seen["bo"][0]


def message_as_it_was(message: Message) -> Message:
    """Return the message as somebody sees it whose screen lags behind."""
    block = {
        "type": "actions",
        "elements": [{"action_id": "acknowledge", "value": buttons(message)[0]["value"]}],
    }
    return type(message)(message.channel, message.ts, message.text, [block])


async def test_both_at_once_end_in_one(w: World) -> None:
    """Ana in Slack and Bo at PagerDuty press in the same moment: one has it, and everybody says the same."""
    await asyncio.gather(
        w.slack.presses("ana", "acknowledge", w.message),
        w.pagerduty.does("bo@example.com", "acknowledged", w.page),
    )
    head = await w.becomes("acknowledged")
    await w.calm()
    assert head["acknowledged_by"] in {"ana", "Bo Example"}
    assert w.page.state == "acknowledged"
    await wait_for(lambda: head["acknowledged_by"] in w.shown, "the message says the same")
    takers = [e["by"] for e in (await w.head())["timeline"] if e["why"] == "acknowledged"]
    assert takers == [head["acknowledged_by"]]
    assert len(w.slack.messages()) == 1


async def test_pagerduty_down_for_ten_minutes(w: World) -> None:
    """What was acknowledged in Slack meanwhile is acknowledged there when it is back, by that person."""
    await w.pagerduty.stop()
    await w.slack.presses("ana", "acknowledge", w.message)
    await wait_for(lambda: "acknowledged by ana" in w.shown, "Slack does not wait for PagerDuty")
    w.clock.skipped += 600
    await w.pagerduty.start()
    await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it", 30)
    await w.calm(30)
    assert w.pagerduty.site(w.page).taken_by == "ana@example.com"
    assert len(w.pagerduty.incidents) == 1


async def test_slack_down_for_ten_minutes(w: World) -> None:
    """What happened meanwhile is one edit of the one message, when it is back."""
    await w.slack.stop()
    await w.pagerduty.does("bo@example.com", "acknowledged", w.page)
    await w.becomes("acknowledged")
    await w.pagerduty.does("bo@example.com", "annotated", w.page, "looking")
    await w.c.post("/webhooks/alertmanager", body(alert("Latency", at=AT)))
    await wait_for(lambda: len(w.pagerduty.incidents) == 2, "PagerDuty does not wait for Slack")
    w.clock.skipped += 600
    edits = [len(m.edits) for m in w.slack.messages()]
    await w.slack.start()
    await wait_for(lambda: len(w.slack.messages()) == 2, "the other incident's message", 30)
    await w.calm(30)
    first = w.slack.messages()[0]
    assert len(first.edits) - edits[0] <= 2
    assert "Bo Example" in f"{first.text}{first.blocks}"


async def test_429_is_waited_out_and_doubles_nothing(w: World) -> None:
    """Slack asks for patience and gets it; PagerDuty's REST API is not waited for."""
    w.slack.fail_next(429, 2, {"Retry-After": "1"}, '{"ok": false, "error": "ratelimited"}')
    w.pagerduty.rest_faults = [429, 429]
    await w.slack.presses("ana", "acknowledge", w.message)
    await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it")
    await wait_for(lambda: "acknowledged by ana" in w.shown, "the message says it", 20)
    await w.calm()
    assert len(w.slack.messages()) == 1
    assert len(w.pagerduty.incidents) == 1


async def test_what_was_taken_though_its_answer_was_lost_is_done_once(tmp_path: Path) -> None:
    """The first post and the act in a name are both taken, their answers lost: no second message or note."""
    async with world(tmp_path) as w:
        w.slack.drop_after_processing()
        await w.opens()
        await w.calm()
        assert len(w.slack.messages()) == 1
        await wait_for(lambda: w.pagerduty.incidents, "the page")

        w.pagerduty.lose = "PUT"
        await w.slack.presses("ana", "acknowledge", w.message)
        await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it")
        await w.calm()
        assert w.pagerduty.site(w.page).taken_by == "ana@example.com"
        assert w.pagerduty.site(w.page).notes == []
        head = await w.head()
        assert [e["by"] for e in head["timeline"] if e["why"] == "acknowledged"] == ["ana"]


async def test_every_call_is_one_that_slack_describes(w: World, shared: Path) -> None:
    """Methods and parameters of all calls, windows and looked-up people too, are in its description."""
    await w.slack.presses("ana", "acknowledge", w.message)
    await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it")
    await w.slack.presses("ana", "silence", w.message)
    await wait_for(lambda: w.slack.windows, "the window")
    await w.calm()
    document = json.loads((shared / "specs/slack-web-api-swagger2.json").read_text())
    assert {"chat.postMessage", "chat.update", "users.info", "views.open"} <= {m for m, _ in w.slack.calls}
    for method, args in w.slack.calls:
        (operation,) = document["paths"][f"/{method}"].values()
        known = {p["name"] for p in operation["parameters"]}
        assert set(args) - known <= {"metadata", "include_all_metadata"}, method
        assert {p["name"] for p in operation["parameters"] if p.get("required")} - {"token"} <= set(args)


async def test_a_bad_incident_has_a_channel_that_its_message_leads_to(tmp_path: Path) -> None:
    """Opened by itself, told in with buttons that work, and linked from the message elsewhere."""
    receivers = """
receivers:
  - name: everybody
    pagerduty_configs: [{routing_key_env: TEST_ROUTING_KEY}]
    slack_configs: [{channel: C0ALERTS}]
    slack_channel_configs: [{min_severity: critical}]
"""
    async with world(tmp_path, rules={"receivers.yaml": receivers}) as w:
        await w.opens()
        (room,) = [c for c in w.slack.channels.values() if c.id != "C0ALERTS"]
        await w.slack.presses("ana", "acknowledge", room.messages[0])
        await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it")
        await wait_for(lambda: f"<#{room.id}>" in w.shown, "the message elsewhere leads there")
        await wait_for(lambda: "acknowledged by ana" in str(room.messages[0].blocks), "its own says it, too")


async def test_a_word_on_the_suspicion_is_shown_to_all(tmp_path: Path) -> None:
    """Who looked says that the deploy did it: the message says so, and its buttons are gone."""
    async with world(tmp_path) as w:
        now = w.clock.now()
        told = {"service": "payment-service", "version": "1.42.0", "environment": "prod"}
        await w.c.post("/api/v1/deploys", {**told, "at": (now - timedelta(minutes=3)).isoformat()})
        await w.c.post("/webhooks/alertmanager", body(alert("HighErrorRate", at=now)))
        await wait_for(w.c.incidents, "an incident")
        await w.calm()
        assert "Suspected: payment-service 1.42.0" in w.shown
        await w.slack.presses("ana", "confirm", w.message)
        await wait_for(lambda: "Confirmed: payment-service 1.42.0" in w.shown, "the message says it")
        assert {b["action_id"] for b in buttons(w.message)}.isdisjoint({"confirm", "refute"})
        (head,) = await w.c.incidents()
        assert (head["suspect"]["verdict"], len(w.pagerduty.events)) == ("confirmed", 1)
        shown = (await w.c.get(f"/api/v1/deploys/payment-service/{head['suspect']['deploy']}"))[1]
        assert [b["incident"] for b in shown["suspected_by"]] == [head["id"]]
