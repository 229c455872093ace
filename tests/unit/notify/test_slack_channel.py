"""The notifier that opens a channel for an incident: once, named by the incident, for what is bad."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.model.destinations import Destination, Lane, Want
from router.model.events import Severity
from router.model.incidents import State
from router.model.outcomes import Delivered, Retry, Unsure
from router.notify._slack_message import render_message
from router.notify.slack_channel import MAX_NAME, Options, SlackChannel, channel_name
from tests.fakes import samples
from tests.fakes.slack import TOKEN, FakeSlack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = f"inc-payment-service-{samples.GROUP}-2"
OVER = samples.incident(state=State.RESOLVED, firing=0)


@pytest.fixture
async def vendor() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as one:
        yield one


@pytest.fixture
async def notifier(vendor: FakeSlack) -> AsyncIterator[SlackChannel]:
    one = SlackChannel(samples.context(slack_api_url=vendor.url, slack_bot_token=TOKEN))
    yield one
    await one.close()


def made(vendor: FakeSlack) -> list[Any]:
    return [c for c in vendor.channels.values() if c.id != "C0ALERTS"]


async def test_a_bad_incident_has_a_channel(vendor: FakeSlack, notifier: SlackChannel) -> None:
    """Opened with a topic and people, told in, edited, and closed when it is over."""
    options = Options(invite=("U0ANA", "U0BO"), archive=True)
    first = await notifier.send(samples.job(options))
    assert isinstance(first, Delivered)
    (channel,) = made(vendor)
    assert (channel.name, channel.topic, channel.invited) == (
        NAME,
        "HighErrorRate payment-service",
        {"U0ANA", "U0BO"},
    )
    assert len(channel.messages) == 1
    again = await notifier.send(samples.job(options, OVER, ref=first.ref, want=Want.RESOLVED))
    assert isinstance(again, Delivered)
    assert (len(channel.messages), len(channel.messages[0].edits), channel.archived) == (1, 1, True)
    assert len(made(vendor)) == 1


@pytest.mark.parametrize(
    ("severity", "least", "opened"),
    [
        (Severity.WARNING, Severity.CRITICAL, False),
        (Severity.ERROR, Severity.ERROR, True),
        (Severity.CRITICAL, Severity.WARNING, True),
    ],
)
async def test_a_mild_incident_has_none(
    vendor: FakeSlack, notifier: SlackChannel, severity: Severity, least: Severity, opened: bool
) -> None:
    """It counts as told; a severity that rises opens one then."""
    head = samples.incident(severity=severity)
    assert isinstance(await notifier.send(samples.job(Options(min_severity=least), head)), Delivered)
    assert bool(made(vendor)) is opened
    await notifier.send(samples.job(Options(min_severity=least), samples.incident()))
    assert len(made(vendor)) == 1


async def test_what_is_over_opens_none(vendor: FakeSlack, notifier: SlackChannel) -> None:
    """An incident that ended before its channel was opened needs none."""
    assert isinstance(await notifier.send(samples.job(Options(), OVER, want=Want.RESOLVED)), Delivered)
    assert made(vendor) == []


async def test_a_lost_answer_opens_no_second(vendor: FakeSlack, notifier: SlackChannel) -> None:
    """The channel is found by its name, on a further page; the message in it, by its incident."""
    vendor.drop_after_processing()
    outcome = await notifier.send(samples.job(Options()))
    assert isinstance(outcome, Retry | Unsure)
    vendor.page = 1
    assert isinstance(await notifier.send(samples.job(Options(), doubt=True)), Delivered)
    (channel,) = made(vendor)
    assert len(channel.messages) == 1
    assert isinstance(await notifier.send(samples.job(Options(), doubt=True)), Delivered)
    assert (len(made(vendor)), len(channel.messages)) == (1, 1)


async def test_what_people_did_to_it_is_theirs(vendor: FakeSlack, notifier: SlackChannel) -> None:
    """A channel that was archived, or whose message was deleted, is not opened or posted to again."""
    first = await notifier.send(samples.job(Options()))
    (channel,) = made(vendor)
    channel.archived = True
    assert isinstance(await notifier.send(samples.job(Options(), ref=first.ref)), Delivered)
    channel.archived = False
    channel.messages.clear()
    assert isinstance(await notifier.send(samples.job(Options(), ref=first.ref)), Delivered)
    assert channel.messages == []


async def test_without_the_scope_it_is_tried_again_later(vendor: FakeSlack, notifier: SlackChannel) -> None:
    """People have to mend that; the outcome says what is missing."""
    vendor.scopes.discard("channels:manage")
    outcome = await notifier.send(samples.job(Options()))
    assert isinstance(outcome, Retry)
    assert "missing_scope" in outcome.detail


async def test_people_who_are_unknown_keep_nothing_up(vendor: FakeSlack, notifier: SlackChannel) -> None:
    """The channel is opened and told in all the same."""
    assert isinstance(await notifier.send(samples.job(Options(invite=("U0NOBODY",)))), Delivered)
    assert len(made(vendor)[0].messages) == 1


NUMBERS = st.integers(1, 10**9)


@given(title=st.text(max_size=300), prefix=st.sampled_from(["inc", "i" * 20]), generation=NUMBERS)
def test_a_name_is_one_of_slacks(title: str, prefix: str, generation: int) -> None:
    """Lower case, short, and the same for the same incident, whatever it is called."""
    head = samples.incident(service=title, title=title, generation=generation)
    name = channel_name(head, prefix)
    assert 0 < len(name) <= MAX_NAME
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    assert name.endswith(f"{samples.GROUP}-{generation}")


@pytest.mark.parametrize("bad", [{"prefix": "Inc"}, {"prefix": ""}, {"min_severity": "x"}, {"channel": "x"}])
def test_bad_options_are_refused(bad: dict[str, Any]) -> None:
    """Told when the rules are loaded."""
    with pytest.raises(ValidationError):
        Options(**bad)


def test_the_message_elsewhere_links_to_it() -> None:
    """Once there is a channel, an incident's message in other channels shows it."""
    room = Destination(Lane.CHAT, ref="C0MADE1/1.2")
    head = samples.incident(destinations={"payments/slack_channel/0": room})
    assert "<#C0MADE1>" in json.dumps(render_message(samples.job(Options(), head))[1])
    odd = samples.incident(destinations={"payments/slack_channel/0": Destination(Lane.CHAT, ref="<!x>/1")})
    assert "has a channel" not in json.dumps(render_message(samples.job(Options(), odd))[1])


async def test_calls_are_slacks(vendor: FakeSlack, notifier: SlackChannel, shared: Path) -> None:
    """Methods and parameters are in Slack's description."""
    first = await notifier.send(samples.job(Options(invite=("U0ANA",), archive=True)))
    await notifier.send(samples.job(Options(), doubt=True))
    await notifier.send(samples.job(Options(archive=True), OVER, ref=first.ref, want=Want.RESOLVED))
    document = json.loads((shared / "specs/slack-web-api-swagger2.json").read_text())
    seen = {method for method, _ in vendor.calls}
    assert {f"conversations.{x}" for x in ("create", "list", "setTopic", "invite", "archive")} <= seen
    for method, args in vendor.calls:
        (operation,) = document["paths"][f"/{method}"].values()
        known = {p["name"] for p in operation["parameters"]}
        assert set(args) - known <= {"metadata", "include_all_metadata"}, method
