"""Bad input: a short problem body, a metric, and nothing lost or half-written."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from router import settings
from router.app import App
from router.drivers import is_loopback
from router.model.errors import ConfigError
from tests.conftest import wait_for
from tests.flows.harness import Client, alert, body, client, environ, running, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OLD, NEW = "old-secret-value", "new-secret-value"
HOOK = "/webhooks/alertmanager"
AUTH = {"Authorization": f"Bearer {NEW}"}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    write_rules(tmp_path / "rules")
    env = environ(
        tmp_path,
        ROUTER_SOURCE_ALERTMANAGER_SECRETS=f"{OLD},{NEW}",
        ROUTER_MAX_BODY="64KiB",
        ROUTER_PAGERDUTY_EVENTS_URL="http://127.0.0.1:9",
        ROUTER_SLACK_API_URL="http://127.0.0.1:9",
        ROUTER_DRAIN_SECONDS="0",
    )
    async with running(env) as one:
        yield one


@pytest.fixture
async def c(app: App) -> AsyncIterator[Client]:
    async with client(app.port) as one:
        yield one


async def metric(c: Client, line: str) -> float:
    _, text = await c.get("/metrics")
    found = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line)]
    return float(found[0]) if found else 0.0


def is_problem(answer: Any, status: int, code: str) -> None:
    assert answer["status"] == status
    assert answer["code"] == code
    assert set(answer) == {"type", "title", "status", "code", "detail"}
    assert len(json.dumps(answer)) < 700
    assert OLD not in json.dumps(answer)
    assert NEW not in json.dumps(answer)


@pytest.mark.parametrize(
    ("raw", "headers", "status", "code"),
    [
        (b"{not json", AUTH, 400, None),
        (b"", AUTH, 400, None),
        (b"[]", AUTH, 400, None),
        (b"\xff\xfe", AUTH, 400, None),
        (b"[" * 60_000, AUTH, 400, None),
        (b'{"version":"4","alerts":[' + b" " * 70_000 + b"]}", AUTH, 413, "too_large"),
        (b"{}", {}, 401, "bad_secret"),
        (b"{}", {"Authorization": "Bearer wrong"}, 401, "bad_secret"),
        (b"{}", {"Authorization": "Bearer \xe9\xff"}, 401, "bad_secret"),
        (b"{}", {**AUTH, "Content-Encoding": "gzip"}, 415, "encoded_body"),
    ],
)
async def test_refused_with_a_problem_and_a_metric(
    c: Client, raw: bytes, headers: dict[str, str], status: int, code: str | None
) -> None:
    """Each kind of bad delivery gets its status, a bounded problem without secrets, and is counted."""
    got, answer = await c.post(HOOK, raw, headers=headers)
    assert got == status, answer
    is_problem(answer, status, code or answer["code"])
    labels = f'incident_router_webhooks_rejected_total{{reason="{answer["code"]}",source="alertmanager"}}'
    assert await metric(c, labels) == 1
    assert await c.incidents() == []
    await wait_for(c.settled, "nothing waits")
    kept = (await c.get("/api/v1/dead-letters"))[1]["dead_letters"]
    assert len(kept) == (1 if status == 400 else 0), (
        "what is authentic and unreadable is kept, and nothing else"
    )
    _, depths = await c.get("/api/v1/status")
    assert not any(n for what, n in depths["depths"].items() if what not in {"dead", "unread"})


async def test_chunked_oversize_is_refused(c: Client) -> None:
    """A body without a length is cut off at the limit, not read to its end."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 1024

    async with c.session.post(c.base + HOOK, data=chunks(), headers=AUTH) as r:
        assert r.status == 413
        is_problem(await r.json(content_type=None), 413, "too_large")


async def test_unknown_paths_and_methods(c: Client) -> None:
    """An unknown source or path is 404, a wrong method 405, and no label is made of what was asked."""
    status, answer = await c.post("/webhooks/nagios-xyz", b"{}")
    assert status == 404
    is_problem(answer, 404, "unknown_source")
    status, answer = await c.get("/nothing")
    assert status == 404
    is_problem(answer, 404, "not_found")
    status, answer = await c.get(HOOK)
    assert status == 405
    is_problem(answer, 405, "method_not_allowed")
    assert "nagios" not in (await c.get("/metrics"))[1]


async def test_bad_deliveries_between_good_ones_lose_nothing(c: Client) -> None:
    """Good deliveries amid bad ones are all there, once each, besides the router's own word on the bad."""
    good = [c.post(HOOK, body(alert(f"A{n}", at=AT)), headers=AUTH) for n in range(20)]
    bad = [c.post(HOOK, b"{broken", headers=AUTH) for _ in range(20)]
    answers = await asyncio.gather(*(x for pair in zip(good, bad, strict=True) for x in pair))
    assert sorted({status for status, _ in answers}) == [202, 400]

    async def all_there() -> bool:
        return sorted(i["title"] for i in await c.incidents()) == expected

    expected = sorted([*(f"A{n}" for n in range(20)), "DeliveriesUnreadable"])
    await wait_for(all_there, f"incidents {expected}")


async def test_both_secrets_hold_while_rotating(c: Client) -> None:
    """Several secrets are live at once, and the metric tells which one senders still use."""
    for secret in (OLD, NEW):
        status, _ = await c.post(HOOK, body(alert(at=AT)), headers={"Authorization": f"Bearer {secret}"})
        assert status == 202
    for index in (0, 1):
        name = f'incident_router_webhook_secret_total{{index="{index}",source="alertmanager"}}'
        assert await metric(c, name) == 1


async def test_a_client_that_leaves_is_no_error(app: App, c: Client) -> None:
    """A sender that hangs up in the middle of its body is nobody's failure, and the router goes on."""
    _, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert (await c.post(HOOK, body(alert(at=AT)), headers=AUTH))[0] == 202


async def test_commands_are_checked(c: Client) -> None:
    """The API refuses what it cannot read, and a repeated act with its own id counts once."""
    await c.post(HOOK, body(alert(at=AT)), headers=AUTH)
    await wait_for(c.incidents, "an incident")
    (incident,) = await c.incidents()
    path = f"/api/v1/incidents/{incident['id']}/acknowledge"
    assert (await c.post(path, b"by=me"))[0] == 415
    assert (await c.post(path, {"unknown": 1}))[0] == 400
    assert (await c.post("/api/v1/incidents/0123456789abcdef.1/acknowledge", {}))[0] == 404
    assert (await c.post("/api/v1/incidents/x/acknowledge", {}))[0] == 404
    assert (await c.get("/api/v1/incidents?limit=0"))[0] == 400
    assert (await c.get("/api/v1/incidents?state=odd"))[0] == 400
    assert (await c.post(path, {"by": "ana", "id": "1"}))[1] == {"status": "accepted", "repeated": False}
    assert (await c.post(path, {"by": "ana", "id": "1"}))[1] == {"status": "accepted", "repeated": True}

    async def acknowledged() -> bool:
        (now,) = await c.incidents()
        return now["state"] == "acknowledged" and now["acknowledged_by"] == "ana"

    await wait_for(acknowledged, "acknowledged by ana")


async def test_api_tokens_are_asked_for(tmp_path: Path) -> None:
    """With tokens configured, the API answers nobody without one."""
    write_rules(tmp_path / "rules")
    async with running(environ(tmp_path, ROUTER_API_TOKENS="t0ken-a,t0ken-b")) as app, client(app.port) as c:
        assert (await c.get("/api/v1/incidents"))[0] == 401
        assert (await c.get("/api/v1/incidents", headers={"Authorization": "Bearer no"}))[0] == 401
        for token in ("t0ken-a", "t0ken-b"):
            assert (await c.get("/api/v1/incidents", headers={"Authorization": f"Bearer {token}"}))[0] == 200
        assert (await c.get("/-/healthy"))[0] == 200


def test_open_to_others_is_refused_unless_told(tmp_path: Path) -> None:
    """Off loopback, no secret at all and missing credentials are named at once; told to, it starts."""
    write_rules(tmp_path / "rules")
    env = {**environ(tmp_path), "ROUTER_LISTEN": "0.0.0.0:8080"}
    del env["TEST_ROUTING_KEY"]
    with pytest.raises(ConfigError) as caught:
        App(settings.load(env), env)
    said = {p.path for p in caught.value.problems}
    assert "everybody/pagerduty/0" in said
    assert "ROUTER_SOURCE_<KIND>_SECRETS" in said
    told = {**env, "ROUTER_ALLOW_OPEN_SOURCES": "true", "ROUTER_ALLOW_LOG_ONLY": "true"}
    app = App(settings.load(told), told)
    assert {"alertmanager", "argocd", "gitlab"} <= set(app.drivers.open_sources)
    assert app.drivers.closed_sources == []


async def test_a_source_without_secret_is_closed_to_others(tmp_path: Path) -> None:
    """Off loopback, a source without a secret takes nothing and says what to set; the others work."""
    write_rules(tmp_path / "rules", {"receivers.yaml": "receivers:\n  - name: everybody\n"})
    env = environ(tmp_path, ROUTER_LISTEN="0.0.0.0:0", ROUTER_SOURCE_ALERTMANAGER_SECRETS=NEW)
    async with running(env) as app, client(app.port) as c:
        assert app.drivers.open_sources == []
        status, answer = await c.post("/webhooks/gitlab", {"object_kind": "push"})
        assert status == 403
        is_problem(answer, 403, "source_closed")
        assert "ROUTER_SOURCE_GITLAB_SECRETS" in answer["detail"]
        assert (await c.post(HOOK, body(alert("A", at=AT))))[0] == 401
        assert (await c.post(HOOK, body(alert("A", at=AT)), headers=AUTH))[0] == 202


def test_secret_of_an_unknown_source_is_refused(tmp_path: Path) -> None:
    """A misspelt source's secret would protect nothing, so it is refused with the names there are."""
    write_rules(tmp_path / "rules")
    env = environ(tmp_path, ROUTER_SOURCE_GITLABB_SECRETS="x")
    with pytest.raises(ConfigError, match=r"there are: alertmanager, .*gitlab"):
        App(settings.load(env), env)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("127.example.com", False), ("localhost.example.com", False), ("::", False)],
)  # fmt: skip
def test_only_real_loopback_counts(host: str, loopback: bool) -> None:
    """A name that merely begins like a loopback address is not trusted."""
    assert is_loopback(host) is loopback


async def test_what_the_rules_drop_is_counted(tmp_path: Path) -> None:
    """An alert that relabel_configs drop is accepted, kept nowhere, and counted as dropped."""
    drop = "relabel_configs: [{source_labels: [severity], regex: debug, action: drop}]\n"
    write_rules(tmp_path / "rules", {"relabel.yaml": drop})
    env = environ(
        tmp_path,
        ROUTER_PAGERDUTY_EVENTS_URL="http://127.0.0.1:9",
        ROUTER_SLACK_API_URL="http://127.0.0.1:9",
        ROUTER_DRAIN_SECONDS="0",
    )
    async with running(env) as app, client(app.port) as c:
        told = body(
            alert("A", at=AT), alert("B", at=AT, severity="debug"), alert("C", at=AT, severity="debug")
        )
        status, answer = await c.post(HOOK, told)
        assert status == 202, answer
        await wait_for(c.incidents, "an incident")
        assert [i["title"] for i in await c.incidents()] == ["A"]
        fate = 'incident_router_events_total{fate="%s",source="alertmanager"}'
        assert (await metric(c, fate % "dropped"), await metric(c, fate % "accepted")) == (2, 1)
