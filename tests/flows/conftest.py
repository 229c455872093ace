"""The vendors' stand-ins that every flow goes to, and a router between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows.harness import Client, client, environ, running, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def pagerduty() -> AsyncIterator[FakePagerDuty]:
    async with FakePagerDuty() as fake:
        yield fake


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        yield fake


@pytest.fixture
async def c(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> AsyncIterator[Client]:
    """A client of a router that tells both."""
    write_rules(tmp_path / "rules")
    env = environ(tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url, ROUTER_SLACK_API_URL=slack.url)
    async with running(env) as app, client(app.port) as one:
        yield one
