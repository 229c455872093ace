"""The running API against its own OpenAPI document: no 5xx, no answer that is not in it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import wait_for
from tests.flows.harness import alert, body, client, environ, running, write_rules
from tests.flows.test_two_way import AT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.pagerduty import FakePagerDuty
    from tests.fakes.slack import FakeSlack

TOKEN = "token-of-the-test"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance", "negative_data_rejection", "missing_required_header", "ignored_auth",
)  # fmt: skip
#: The same questions each time: what another seed finds is no fault of the change that is tested.
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")
#: Of each operation; the coverage phase adds its own for every constraint of the document.
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "25")


@pytest.mark.timeout(180)
async def test_no_5xx_and_no_undocumented_answer(
    tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """Schemathesis asks everything, with what the document allows and with what it does not."""
    write_rules(tmp_path / "rules")
    env = environ(
        tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url, ROUTER_SLACK_API_URL=slack.url,
        ROUTER_API_TOKENS=TOKEN,
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with running(env) as app, client(app.port) as c:
        c.session.headers.update(headers)
        for name in ("HighErrorRate", "Latency", "Saturation"):
            await c.post("/webhooks/alertmanager", body(alert(name, at=AT)))
        await c.post("/webhooks/gitlab", b"[1]", headers={"X-Gitlab-Event": "Push Hook"})
        await wait_for(lambda: _letters(c), "a dead letter")
        await wait_for(c.settled, "all is told")
        incident = (await c.incidents())[0]["id"]
        (tmp_path / "schemathesis.toml").write_text(_config(incident, (await _letters(c))[0]["id"]))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", f"{c.base}/api/v1/openapi.json", "--url", c.base,
            "-H", f"Authorization: Bearer {TOKEN}", "--checks", ",".join(CHECKS), "-n", EXAMPLES,
            "--seed", SEED, "--exclude-path", "/api/v1/deliveries", "--phases", "examples,coverage,fuzzing",
            "--continue-on-failure", "--report-ndjson-path", "report.ndjson", "--report", "ndjson",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said = (await process.communicate())[0].decode(errors="replace")
        assert process.returncode == 0, said[-6000:]
        assert "Tested: " in said
        document = (await c.get("/api/v1/openapi.json"))[1]
    operations = sum(len(methods) for methods in document["paths"].values()) - 1  # the document itself
    assert f"Selected: {operations - 1}/{operations}" in said, "all but the stream, which never ends"


def _config(incident: str, letter: str) -> str:
    """Return Schemathesis' configuration: which ids there are."""
    places = {
        "/api/v1/incidents/{id}": incident,
        "/api/v1/incidents/{id}/export": incident,
        "/api/v1/incidents/{id}/why": incident,
        "/api/v1/dead-letters/{id}": letter,
    }
    return "\n".join(
        f'[[operations]]\ninclude-path = "{path}"\nparameters = {{ "path.id" = {json.dumps(value)} }}\n'
        for path, value in places.items()
    )


async def _letters(c) -> list[dict[str, str]]:
    return (await c.get("/api/v1/dead-letters"))[1]["dead_letters"]
