"""Slack by Socket Mode: no request reaches the router by HTTP, and all works as if it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conftest import wait_for
from tests.fakes.slack_site import APP_TOKEN
from tests.flows.test_two_way import World, world

if TYPE_CHECKING:
    from pathlib import Path


async def connected(w: World) -> None:
    """Wait for the connection, and leave people no other way."""
    w.slack.hook = "http://127.0.0.1:1/nowhere"
    await wait_for(lambda: w.slack.sockets, "the router's connection", 20)


async def test_commands_buttons_and_windows_come_over_the_connection(tmp_path: Path) -> None:
    """A command is answered in its acknowledgement, a press is done, a window says what is wrong in it."""
    async with world(tmp_path, ROUTER_SLACK_APP_TOKEN=APP_TOKEN) as w:
        await connected(w)
        await w.opens()
        assert "What works:" in await w.slack.types("ana", "help")
        await w.slack.presses("ana", "acknowledge", w.message)
        await wait_for(lambda: w.page.state == "acknowledged", "PagerDuty shows it")
        assert w.pagerduty.site(w.page).taken_by == "ana@example.com"
        await w.slack.types("ana", "list")
        await wait_for(lambda: any(w.id in said for said in w.slack.seen["ana"]), "the list")
        await w.slack.presses("ana", "silence", w.message)
        await wait_for(lambda: w.slack.windows, "the window")
        assert "matchers" in await w.slack.submits("ana", matchers="a", comment="x")


async def test_a_lost_connection_is_opened_again(tmp_path: Path) -> None:
    """Slack closes connections now and then; the next command finds another."""
    async with world(tmp_path, ROUTER_SLACK_APP_TOKEN=APP_TOKEN) as w:
        await connected(w)
        first = w.slack.sockets[0]
        await first.close()
        await wait_for(lambda: w.slack.sockets and w.slack.sockets[-1] is not first, "another", 20)
        assert "What works:" in await w.slack.types("ana", "help")


async def test_a_refused_token_leaves_the_rest_running(tmp_path: Path) -> None:
    """Pages and messages go out; the log says what to check."""
    async with world(tmp_path, ROUTER_SLACK_APP_TOKEN="xapp-of-another-app") as w:
        await w.opens()
        assert w.page.state == "triggered"
        assert w.slack.sockets == []
