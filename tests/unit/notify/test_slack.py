"""The Slack notifier: what it renders, and how it behaves towards a stateful Slack."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from router.kit.mrkdwn import escape, fit
from router.model.destinations import Want
from router.model.incidents import State
from router.model.outcomes import Delivered, Refused, Retry, Unsure
from router.model.reasons import Reason, Why
from router.notify._slack_message import MAX_TEXT, render_message
from router.notify.slack import Options, Slack
from tests.fakes import samples
from tests.fakes.slack import TOKEN, FakeSlack, content_problem, units

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GOLDEN = Path(__file__).parent / "golden"
SPEC = Path(__file__).resolve().parents[4] / "shared" / "specs" / "slack-web-api-swagger2.json"
OPTIONS = Options(channel="C0ALERTS")
ACKED = samples.incident(state=State.ACKNOWLEDGED, acknowledged_by="bob <bob@example.com>")
SNOOZED = samples.incident(
    state=State.ACKNOWLEDGED, acknowledged_by="ana", assigned_to="bo", snoozed_until=samples.ONSET
)
MERGED = samples.incident(state=State.MERGED, merged_into="0123456789abcdef.1")
DONE = samples.incident(state=State.RESOLVED, firing=0, resolved=4, resolved_by="alertmanager")
CLEARED = samples.incident(suspects=(samples.suspect(score=-4.0),), truncated=7)

MESSAGES: dict[str, Any] = {
    "slack-triggered": lambda: samples.job(OPTIONS),
    "slack-acknowledged": lambda: samples.job(OPTIONS, ACKED, want=Want.ACKNOWLEDGED),
    "slack-put-off": lambda: samples.job(OPTIONS, SNOOZED, want=Want.ACKNOWLEDGED),
    "slack-merged": lambda: samples.job(OPTIONS, MERGED, want=Want.RESOLVED),
    "slack-resolved": lambda: samples.job(OPTIONS, DONE, want=Want.RESOLVED),
    "slack-cleared-truncated": lambda: samples.job(OPTIONS, CLEARED),
}


@pytest.fixture
async def vendor() -> AsyncIterator[FakeSlack]:
    """A Slack."""
    async with FakeSlack() as one:
        yield one


@pytest.fixture
def clock() -> samples.ManualClock:
    """A clock that the test drives."""
    return samples.ManualClock()


@pytest.fixture
async def notifier(vendor: FakeSlack, clock: samples.ManualClock) -> AsyncIterator[Slack]:
    """A notifier that talks to it."""
    one = Slack(samples.context(clock, slack_api_url=vendor.url, slack_bot_token=TOKEN))
    yield one
    await one.close()


# --- render


@pytest.mark.parametrize("name", MESSAGES)
def test_golden(name: str) -> None:
    """Each message is rendered as its golden file says (UPDATE_GOLDEN=1 writes the files anew)."""
    text, blocks = render_message(MESSAGES[name](), buttons=True)
    file, got = GOLDEN / f"{name}.json", {"text": text, "blocks": blocks}
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(json.dumps(got, indent=2, ensure_ascii=False) + "\n", "utf-8")
    assert got == json.loads(file.read_text("utf-8"))


def test_buttons_are_there_where_somebody_listens() -> None:
    """None of them without, none on what is over; what can be done follows the state."""

    def actions(job: Any, *, buttons: bool = True) -> list[str]:
        _, blocks = render_message(job, buttons=buttons)
        return [e["action_id"] for b in blocks if b["type"] == "actions" for e in b["elements"]]

    assert actions(MESSAGES["slack-triggered"](), buttons=False) == []
    always, asked = ["resolve", "silence", "why"], ["confirm", "refute"]
    assert actions(MESSAGES["slack-triggered"]()) == ["acknowledge", *always, *asked]
    assert actions(MESSAGES["slack-acknowledged"]()) == ["unacknowledge", *always, *asked]
    assert actions(MESSAGES["slack-cleared-truncated"]()) == ["acknowledge", *always], "nothing is suspected"
    said = samples.suspect(reasons=(Reason(Why.DEPLOY_CONFIRMED, "confirmed by ana", 20.0),), score=20.0)
    judged = samples.job(OPTIONS, samples.incident(suspects=(said,)))
    assert actions(judged) == ["acknowledge", *always], "somebody has said so"
    assert "Confirmed: payment-service 1.42.0" in json.dumps(render_message(judged)[1])
    assert actions(MESSAGES["slack-resolved"]()) == []


@pytest.mark.parametrize(
    ("heard", "wanted", "shown"), [("true", True, True), ("", True, False), ("true", False, False)]
)
async def test_a_button_that_nobody_hears_is_not_shown(
    vendor: FakeSlack, heard: str, wanted: bool, shown: bool
) -> None:
    """A click that nobody takes would fail silently; an option leaves them out."""
    one = Slack(samples.context(slack_api_url=vendor.url, slack_bot_token=TOKEN, slack_heard=heard))
    await one.send(samples.job(Options(channel="C0ALERTS", buttons=wanted)))
    await one.close()
    (message,) = vendor.messages()
    assert any(b["type"] == "actions" for b in message.blocks) is shown


def test_escape_shows_and_does_nothing_else() -> None:
    """Mentions, links, emoji and control characters of a stranger are shown as text."""
    assert escape("<!channel> & <http://x|y>", 100) == "&lt;!channel&gt; &amp; &lt;http://x|y&gt;"
    assert escape("a\x00\x1b[31m\nb\u202e", 100) == "a[31m b"
    assert escape(":fire: at 12:30:45", 100) == ":\u200bfire: at 12:30:45"
    assert escape("half :fi", 100) == "half :\u200bfi"


@pytest.mark.parametrize(
    ("markup", "limit", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("a&lt;b", 5, "a…"),
        ("a&lt;bcd", 7, "a&lt;b…"),
        ("😀😀", 3, "😀…"),
    ],
)
def test_fit_never_cuts_inside(markup: str, limit: int, shown: str) -> None:
    """A cut falls neither inside an entity nor inside a character."""
    assert fit(markup, limit) == shown


def strings(blocks: list[dict[str, Any]]) -> list[str]:
    """Return all texts in blocks."""
    found = []
    for block in blocks:
        for part in [block.get("text"), *block.get("fields", []), *block.get("elements", [])]:
            text = part["text"] if part else ""
            found.append(text if isinstance(text, str) else text["text"])  # of a button it is an object
    return found


# Characters that a message's own markup never holds: where they come out, they came from a label.
HOSTILE = st.text(st.one_of(st.sampled_from("<>&:!@*_`|\n\x00\ud800😀"), st.characters()), max_size=400)


@settings(max_examples=60)
@given(words=HOSTILE, pairs=st.dictionaries(HOSTILE, HOSTILE, max_size=6), size=st.sampled_from([1, 40]))
def test_any_text_keeps_to_the_limits(words: str, pairs: dict[str, str], size: int) -> None:
    """Whatever an incident holds, Slack takes the message as it is, and it holds no markup of strangers."""
    words = words * size
    s = samples.suspect(version=words, author=words, title=words, url=words)
    head = samples.incident(
        title=words, service=words, environment=words, team=words, labels={}, receiver=words,
        annotations={"summary": words, "description": words}, suspects=(s, s, s),
    )  # fmt: skip
    members = [samples.alert(n, {**pairs, "big": words}) for n in range(30)]
    text, blocks = render_message(
        samples.job(OPTIONS, head, members=members, links={words: "https://example.com/"}), buttons=True
    )
    assert content_problem({"text": text, "blocks": blocks}) == ""
    assert units(text) <= MAX_TEXT
    assert units(json.dumps(blocks, ensure_ascii=False)) < 12_000
    json.dumps(blocks, ensure_ascii=False).encode()
    for shown in [text, *strings(blocks)]:
        bare = re.sub(r"<https://example\.com/\|[^<>]*>", "", shown)
        assert "<" not in bare
        assert ">" not in bare
        assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt);)*", bare)


def test_the_biggest_message_is_degraded_by_itself() -> None:
    """Text that escaping makes five times longer still gives a message that Slack takes."""
    big = "&" * 5000
    s = samples.suspect(version=big, author=big, title=big)
    head = samples.incident(title=big, annotations={"summary": big, "description": big}, suspects=(s, s, s))
    members = [samples.alert(n, {f"l{i}": '"\\' * 100 for i in range(20)}) for n in range(30)]
    text, blocks = render_message(samples.job(OPTIONS, head, members=members), buttons=True)
    assert content_problem({"text": text, "blocks": blocks}) == ""


@pytest.mark.parametrize("channel", ["", "a b", "<x>", "C1/1.2", "x" * 81])
def test_bad_channel_is_refused(channel: str) -> None:
    """A channel that cannot be one is refused."""
    with pytest.raises(ValidationError):
        Options(channel=channel)


async def test_ready_says_what_is_missing() -> None:
    """Without a token the target is not ready, and an attempt is a retry."""
    one = Slack(samples.context())
    assert one.ready(OPTIONS) == "the setting slack_bot_token is empty"
    outcome = await one.send(samples.job(OPTIONS))
    assert isinstance(outcome, Retry)
    assert outcome.reason == "authError"


# --- send


async def test_one_message_edited_with_a_thread(vendor: FakeSlack, notifier: Slack) -> None:
    """An incident is one message that is edited; what changed goes into its thread."""
    first = await notifier.send(samples.job(OPTIONS))
    assert isinstance(first, Delivered)
    assert first.ref == f"C0ALERTS/{vendor.messages()[0].ts}"
    again = samples.job(
        OPTIONS, DONE, want=Want.RESOLVED, ref=first.ref, have=Want.TRIGGERED, changed=["all <ended>"]
    )
    assert await notifier.send(again) == first
    [message] = vendor.messages()
    assert message.text.startswith("[RESOLVED]")
    assert message.blocks[0]["text"]["text"].startswith(":large_green_circle:")
    assert [r.text for r in message.replies] == ["all &lt;ended&gt;"]
    assert message.metadata["event_payload"] == {"incident": f"{samples.GROUP}.2"}


async def test_thread_can_be_switched_off(vendor: FakeSlack, notifier: Slack) -> None:
    """With thread: false there are edits and no replies."""
    options = Options(channel="#alerts", thread=False)
    first = await notifier.send(samples.job(options))
    assert isinstance(first, Delivered)
    await notifier.send(samples.job(options, ref=first.ref, changed=["x"]))
    assert vendor.messages()[0].replies == []
    assert len(vendor.messages()[0].edits) == 1


async def test_failed_reply_does_not_fail_the_job(vendor: FakeSlack, notifier: Slack) -> None:
    """The message is right without its reply, so a refused reply is still a delivery."""
    first = await notifier.send(samples.job(OPTIONS))
    assert isinstance(first, Delivered)
    vendor.refuse_next("ratelimited", method="chat.postMessage")
    assert await notifier.send(samples.job(OPTIONS, ref=first.ref, changed=["x"])) == first


@pytest.mark.parametrize("channel", ["C0ALERTS", "#alerts"])
async def test_doubt_is_cleared_by_looking(vendor: FakeSlack, notifier: Slack, channel: str) -> None:
    """After a lost answer the message is found by its metadata and edited, not posted again."""
    options = Options(channel=channel)
    await notifier.send(samples.job(options, samples.incident(generation=7)))  # teaches the channel's id
    vendor.drop_after_processing()
    assert isinstance(await notifier.send(samples.job(options)), Unsure)
    assert isinstance(await notifier.send(samples.job(options, doubt=True)), Delivered)
    assert len(vendor.messages()) == 2
    assert len(vendor.messages()[1].edits) == 1


async def test_doubt_without_the_scope_posts_again_and_says_so(vendor: FakeSlack, notifier: Slack) -> None:
    """Where the channel may not be read, two messages beat none, and a warning names the incident."""
    vendor.scopes.clear()
    vendor.drop_after_processing()
    await notifier.send(samples.job(OPTIONS))
    with structlog.testing.capture_logs() as lines:
        assert isinstance(await notifier.send(samples.job(OPTIONS, doubt=True)), Delivered)
    assert len(vendor.messages()) == 2
    [line] = [x for x in lines if x["event"] == "slack_maybe_double"]
    assert line["incident"] == f"{samples.GROUP}.2"


async def test_doubt_waits_where_the_search_is_limited(vendor: FakeSlack, notifier: Slack) -> None:
    """A search that is rate limited is made later; nothing is posted meanwhile."""
    vendor.refuse_next("ratelimited", method="conversations.history")
    assert isinstance(await notifier.send(samples.job(OPTIONS, doubt=True)), Retry)
    assert vendor.messages() == []


@pytest.mark.parametrize("code", ["message_not_found", "cant_update_message", "edit_window_closed"])
async def test_a_message_that_cannot_be_edited_is_posted_anew(
    vendor: FakeSlack, notifier: Slack, code: str
) -> None:
    """Where the old message is gone or closed a new one takes its place."""
    vendor.refuse_next(code, method="chat.update")
    outcome = await notifier.send(samples.job(OPTIONS, ref="C0ALERTS/1.0"))
    assert isinstance(outcome, Delivered)
    assert outcome.ref == f"C0ALERTS/{vendor.messages()[0].ts}"


@pytest.mark.parametrize(
    "code", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long", "invalid_arguments"]
)
async def test_disliked_markup_is_sent_as_plain_text(vendor: FakeSlack, notifier: Slack, code: str) -> None:
    """Where Slack dislikes the blocks the message goes out as text; refused again, it is given up."""
    vendor.refuse_next(code)
    assert isinstance(await notifier.send(samples.job(OPTIONS)), Delivered)
    assert vendor.messages()[0].blocks == []
    vendor.refuse_next(code, times=2)
    assert isinstance(await notifier.send(samples.job(OPTIONS)), Refused)


@pytest.mark.parametrize(
    ("code", "reason", "after_s"),
    [
        ("channel_not_found", "clientError", 60),
        ("not_in_channel", "clientError", 60),
        ("is_archived", "clientError", 60),
        ("some_new_code", "clientError", 60),
        ("invalid_auth", "authError", 60),
        ("missing_scope", "authError", 60),
        ("token_revoked", "authError", 60),
        ("account_inactive", "authError", 60),
        ("ratelimited", "rateLimited", 1),
        ("rate_limited", "rateLimited", 1),
        ("service_unavailable", "serverError", 0),
    ],
)
@pytest.mark.parametrize("ref", ["", "C0ALERTS/1.0"])
async def test_error_codes(
    vendor: FakeSlack, notifier: Slack, code: str, reason: str, after_s: float, ref: str
) -> None:
    """What people can mend is tried again, slowly; limits and outages as Slack says."""
    vendor.refuse_next(code)
    outcome = await notifier.send(samples.job(OPTIONS, ref=ref))
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.after_s) == (reason, after_s)


@pytest.mark.parametrize("code", ["fatal_error", "internal_error"])
async def test_perhaps_done(vendor: FakeSlack, notifier: Slack, code: str) -> None:
    """After Slack's internal errors a post may exist, so it is unsure; an edit can be repeated."""
    vendor.refuse_next(code, times=2)
    assert isinstance(await notifier.send(samples.job(OPTIONS)), Unsure)
    assert isinstance(await notifier.send(samples.job(OPTIONS, ref="C0ALERTS/1.0")), Retry)


async def test_lost_answer_of_an_edit_is_a_retry(vendor: FakeSlack, notifier: Slack) -> None:
    """An edit whose answer was lost is simply made again."""
    first = await notifier.send(samples.job(OPTIONS))
    assert isinstance(first, Delivered)
    vendor.drop_after_processing()
    assert isinstance(await notifier.send(samples.job(OPTIONS, ref=first.ref)), Retry)


async def test_pace_per_channel(vendor: FakeSlack, notifier: Slack, clock: samples.ManualClock) -> None:
    """A channel takes a burst, then one message per second; nobody waits longer than a second."""
    vendor.add_channel("C0OTHER", "other")
    for _ in range(3):
        await notifier.send(samples.job(OPTIONS))
    assert clock.slept == []
    await notifier.send(samples.job(OPTIONS))
    assert clock.slept == [1.0]
    clock.seconds -= 0.5
    assert notifier.hold(OPTIONS) == 1.5
    held = await notifier.send(samples.job(OPTIONS))
    assert held == Retry("rateLimited", "too many messages for this channel", 1.5)
    assert isinstance(await notifier.send(samples.job(Options(channel="C0OTHER"))), Delivered)
    assert len(vendor.messages()) == 4


async def test_retry_after_holds_the_channel(
    vendor: FakeSlack, notifier: Slack, clock: samples.ManualClock
) -> None:
    """After a 429 nothing more is asked of that channel until the time that Slack gave has passed."""
    vendor.fail_next(429, headers={"Retry-After": "30"})
    limited = await notifier.send(samples.job(OPTIONS))
    assert isinstance(limited, Retry)
    assert limited.after_s == 30
    assert isinstance(await notifier.send(samples.job(OPTIONS, samples.incident(generation=9))), Retry)
    assert len(vendor.requests) == 1
    clock.seconds += 30
    assert isinstance(await notifier.send(samples.job(OPTIONS)), Delivered)


async def test_arguments_are_in_slacks_specification(vendor: FakeSlack, notifier: Slack) -> None:
    """Each argument we send is one that Slack's own document has (metadata came after it)."""
    if not SPEC.is_file():
        pytest.skip("needs ../shared/specs/slack-web-api-swagger2.json")
    document = json.loads(SPEC.read_text("utf-8"))
    first = await notifier.send(samples.job(OPTIONS))
    assert isinstance(first, Delivered)
    await notifier.send(samples.job(OPTIONS, ref=first.ref, changed=["x"]))
    await notifier.send(samples.job(OPTIONS, doubt=True))
    assert {method for method, _ in vendor.calls} == {
        "chat.postMessage",
        "chat.update",
        "conversations.history",
    }
    for method, args in vendor.calls:
        [(_, operation)] = document["paths"][f"/{method}"].items()
        known = {p["name"] for p in operation["parameters"]}
        assert set(args) - known <= {"metadata", "include_all_metadata"}
        required = {p["name"] for p in operation["parameters"] if p.get("required")} - {"token"}
        assert required <= set(args)
