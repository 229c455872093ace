"""What the router says in Slack to those who ask: within Slack's limits, harmless, and to Slack alone."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.app import load_rules
from router.decide import explaining
from router.decide.outlook import Outlook
from router.model.errors import Rejected, StoreUnavailable
from router.model.incidents import Entry, State
from router.model.silences import Silence, SilenceMatcher
from router.ports import TalkContext
from router.talk import _slack_words as words
from router.talk.slack import Slack
from tests.fakes.samples import GROUP, ONSET, ManualClock, alert, deploy, incident, suspect
from tests.fakes.slack import units
from tests.fakes.slack_site import FakeSlackSite, view_problem
from tests.fakes.web import FakeReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ID = f"{GROUP}.2"
HOSTILE = st.text(st.one_of(st.sampled_from("<>&:!@*_`|\n\x00\ud800😀"), st.characters()), max_size=400)


# --- words ------------------------------------------------------------------------------------------


def is_harmless(said: str) -> None:
    """No markup of strangers, no control characters, within a section's limit."""
    assert 0 < units(said) <= 3000
    assert "<" not in said
    assert ">" not in said
    assert not [c for c in said if c != "\n" and ord(c) < 32]
    said.encode()


@settings(max_examples=60)
@given(text=HOSTILE, size=st.sampled_from([1, 30]))
def test_whatever_is_told_of_it_is_harmless(text: str, size: int, rules: Path) -> None:
    """Titles, names, notes, labels and people of any kind are shown and do nothing."""
    text *= size
    head = incident(
        title=text, service=text, environment=text, acknowledged_by=text, assigned_to=text,
        resolved_by=text, suspects=(suspect(version=text, author=text),) * 3, group_labels={"a": text},
        snoozed_until=ONSET, merged_into=ID,
    )  # fmt: skip
    entries = [Entry(ONSET, "noted", text, by=text)] * 30
    is_harmless(words.listed([head] * 15, 7, text))
    is_harmless(words.shown(head, entries))
    is_harmless(words.came(entries[0], head))
    for state in (State.RESOLVED, State.ACKNOWLEDGED, State.TRIGGERED):
        is_harmless(words.nothing_came(incident(state=state, title=text, acknowledged_by=text), "x"))
    is_harmless(words.deploys([deploy(author=text, service=text, environment=text)] * 20, text))
    silence = Silence("s", (SilenceMatcher("a", text),) * 50, ONSET, ONSET, text, text, ONSET)
    is_harmless(words.silenced(silence))
    scene = explaining.Scene(load_rules(rules), Outlook(), {}, ONSET)
    is_harmless(words.why(explaining.incident(head, [alert(1)], entries, scene)))
    assert view_problem(words.window(head, "{}")) == ""


@pytest.fixture(scope="session")
def rules(request: pytest.FixtureRequest) -> Path:
    return request.config.rootpath / "rules"


GOLDEN = Path(__file__).parent / "golden"


def test_the_window_is_as_its_golden_file_says() -> None:
    """What Slack is asked to open (UPDATE_GOLDEN=1 writes the file anew)."""
    file, got = GOLDEN / "silence-window.json", words.window(incident(), "{}")
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(got, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert got == json.loads(file.read_text("utf-8"))
    assert view_problem(got) == ""


def test_nothing_open_says_so() -> None:
    """An empty list is an answer, too."""
    assert words.listed([], 0, "") == "Nothing is open."
    assert words.deploys([], "pay") == "No deploy of pay is known."


def test_matchers_of_the_window_are_the_groups() -> None:
    """What the group is made by; too long to be shown whole, it is left to the person."""
    assert words.matchers(incident(group_labels={"b": 'x"y', "a": "1"})) == 'a="1", b="x\\"y"'
    view = words.window(incident(group_labels={"a": "x" * 3000}), "")
    assert view["blocks"][3]["element"]["initial_value"] == ""


# --- talking ----------------------------------------------------------------------------------------


class Silencer:
    """Makes silences, or refuses to."""

    def __init__(self) -> None:
        self.made: list[tuple[str, timedelta, str, str]] = []
        self.error: Exception | None = None

    async def make(self, matchers: str, length: timedelta, by: str, comment: str) -> Silence:
        if self.error is not None:
            raise self.error
        self.made.append((matchers, length, by, comment))
        return Silence("s1", (SilenceMatcher("a", "b"),), ONSET, ONSET + length, by, comment, ONSET)


class Room:
    """A talker with what it asks."""

    def __init__(self, slack: FakeSlackSite) -> None:
        self.slack, self.reader, self.silencer, self.clock = slack, FakeReader(), Silencer(), ManualClock()
        self.asked: list[str] = []
        self.refusal = ""
        self.reader.whole[GROUP, 2] = (incident(), [], [])
        self.talker = Slack(
            TalkContext(
                self.clock, {"slack_api_url": slack.url}, self.reader, self.silencer, self.ask, self.explain
            )
        )

    async def ask(self, method: str, args: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        self.asked.append(method)
        return self.refusal, {}

    async def explain(self, group: str, generation: int) -> Mapping[str, Any] | None:
        return None

    async def types(self, text: str, *, acted: bool = True, **more: str) -> list[str]:
        """Type a command; return what ana is told."""
        _, url = self.slack._issued(self.slack.people["ana"])
        fields = {
            "command": "/incident", "text": text, "user_id": "U0ANA", "user_name": "ana", "response_url": url,
            "trigger_id": "1.2.3",
        }  # fmt: skip
        await self.talker.follow(urlencode({**fields, **more}).encode(), acted=acted)
        return self.slack.seen.get("ana", [])


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with FakeSlackSite() as slack:
        one = Room(slack)
        yield one
        await one.talker.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://evil.example.com/x",
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil.example.com/x",
        "https://hooks.slack.com@evil.example.com/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1",
        "file:///etc/passwd",
        "//hooks.slack.com/x",
    ],
)
async def test_nobody_but_slack_is_answered(room: Room, url: str) -> None:
    """An address that is not Slack's is not called, whoever gave it."""
    assert await room.types("list", response_url=url) == []
    assert not room.slack.requests


async def test_a_store_that_is_down_is_told(room: Room) -> None:
    """The person hears that it cannot be looked up, not nothing."""
    room.reader.error = StoreUnavailable("redis.internal.example.com")
    (said,) = await room.types("list")
    assert "does not answer" in said
    assert "internal" not in said


async def test_a_refused_silence_is_told(room: Room) -> None:
    """With what is wrong, as the API says it."""
    room.silencer.error = Rejected(400, "bad_silence", "it may last <90> days at most")
    (said,) = await room.types(f"silence {ID} 91d x")
    assert said == "That cannot be done: it may last &lt;90&gt; days at most"


@pytest.mark.parametrize(
    ("code", "hint"), [("expired_trigger_id", "again"), ("not_authed", "without a window")]
)
async def test_a_window_that_does_not_open_is_told(room: Room, code: str, hint: str) -> None:
    """The next best thing is said, too."""
    room.refusal = code
    (said,) = await room.types(f"silence {ID}")
    assert hint in said


async def test_an_act_that_changes_nothing_is_told_after_a_while(room: Room) -> None:
    """Its timeline is looked at for some seconds; then the state says why."""
    head = incident(state=State.RESOLVED, resolved_by="bo", resolved_at=ONSET)
    room.reader.whole[GROUP, 2] = (head, [], [Entry(ONSET, "acknowledged", "x", by="ana", via="slack")])
    (said,) = await room.types(f"ack {ID}")
    assert "it is over, resolved by bo" in said
    assert 3 <= sum(room.clock.slept) < 4


async def test_another_act_of_the_same_person_is_not_taken_for_it(room: Room) -> None:
    """Who acknowledged a moment ago and resolves now hears of the resolve."""
    taken = Entry(room.clock.now(), "acknowledged", "acknowledged by ana", by="ana", via="slack")
    ended = Entry(room.clock.now(), "resolved_by_hand", "resolved by ana", by="ana", via="slack")
    room.reader.whole[GROUP, 2] = (incident(), [], [taken, ended, taken])
    (said,) = await room.types(f"resolve {ID}")
    assert said.startswith("resolved by ana")


async def test_what_became_no_act_is_not_waited_for(room: Room) -> None:
    """Where something lacked, the source has said so: there is nothing to wait for, and no second answer."""
    assert await room.types(f"snooze {ID}", acted=False) == []
    assert room.clock.slept == []


async def test_what_is_no_question_is_left_alone(room: Room) -> None:
    """Help, mistakes, events, other buttons and junk are answered elsewhere or not at all."""
    assert await room.types("help") == []
    assert await room.types("reboot") == []
    for body in (b"", b"\xff", b"[" * 9000, b'{"type": "event_callback"}', b"payload=x", b"command="):
        await room.talker.follow(body, acted=True)
    for doc in (
        {"type": "block_actions"},
        {"type": "block_actions", "actions": "x"},
        {"type": "block_actions", "actions": [7]},
        {"type": "block_actions", "actions": [{"action_id": "deploy", "value": ID}]},
        {"type": "view_submission"},
        {"type": "view_submission", "view": {"callback_id": "silence", "private_metadata": "x"}},
        {"type": "view_submission", "view": {"callback_id": "silence", "private_metadata": "[]"}},
    ):
        await room.talker.follow(urlencode({"payload": json.dumps(doc)}).encode(), acted=True)
    assert room.slack.requests == []
    assert room.asked == []


def typed(text: str) -> bytes:
    return urlencode({"command": "/i", "text": text.encode("utf-8", "replace")}).encode()


@settings(max_examples=100, deadline=None)
@given(body=st.one_of(st.binary(max_size=300), HOSTILE.map(typed)))
async def test_whatever_comes_raises_nothing(body: bytes) -> None:
    """A talker is given what a source has read, and whatever that was it goes on."""
    one = Room(FakeSlackSite())
    await one.talker.follow(body, acted=True)
    await one.talker.close()
