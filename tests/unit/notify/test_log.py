"""The notifier that writes to our own log."""

from __future__ import annotations

import structlog
from pydantic import SecretStr

from router.model.destinations import Want
from router.model.outcomes import Delivered
from router.notify.log import Log, Options
from router.notify.pagerduty import Options as OtherOptions
from tests.fakes import samples


async def test_one_line_per_delivery() -> None:
    """A delivery is one line with incident, want, title and suspect."""
    with structlog.testing.capture_logs() as lines:
        outcome = await Log().send(samples.job(Options(), want=Want.TRIGGERED))
    assert outcome == Delivered(ref="log")
    [line] = lines
    assert line["event"] == "notification"
    assert line["incident"] == f"{samples.GROUP}.2"
    assert line["want"] == "triggered"
    assert line["suspect"] == "payment-service 1.42.0"


async def test_one_line_per_deploy() -> None:
    """A deploy is one line with service, environment and version."""
    with structlog.testing.capture_logs() as lines:
        assert await Log().send_change(samples.change_job(Options())) == Delivered(ref="log")
    [line] = lines
    assert (line["service"], line["environment"], line["version"]) == ("payment-service", "prod", "1.42.0")


async def test_stands_in_for_another_kind_without_its_secret() -> None:
    """With another kind's options it is ready, and writes nothing of them."""
    options = OtherOptions(routing_key=SecretStr("canary"))
    assert Log().ready(options) == ""
    with structlog.testing.capture_logs() as lines:
        await Log().send(samples.job(options, samples.incident(suspects=())))
    assert "canary" not in repr(lines)
    assert lines[0]["suspect"] == ""
