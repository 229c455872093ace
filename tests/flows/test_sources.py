"""Every source against a running router: what is answered, and that nothing counts twice or gets lost."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router import settings
from router.app import App
from router.kit import loader
from router.kit.clock import SystemClock
from tests.conftest import wait_for
from tests.fakes import senders
from tests.flows.harness import Client, RouterProcess, client, environ, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KINDS = loader.kinds("router.sources")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "sources.md"
BROKEN = b'{"broken": "no end'
#: Authentic and readable, and nothing that we act on.
IGNORED = {
    "alertmanager": b'{"version":"4","status":"resolved","alerts":[]}',
    "argocd": b'{"version":1,"trigger":"t","app":{"name":"a","namespace":"b"},"phase":"NewPhase"}',
    "cloudevents": b'{"specversion":"1.0","id":"1","source":"s","type":"com.example.new"}',
    "generic": b"[]",
    "gitlab": b'{"object_kind":"a_new_kind"}',
    "grafana": b'{"version":"1","orgId":1,"state":"ok","status":"resolved","alerts":[]}',
    "pagerduty": b'{"event":{"id":"E1","event_type":"pagey.ping","data":{"type":"ping"}}}',
    "slack": b'{"type":"event_callback","event_id":"Ev1","event":{"type":"brand_new"}}',
}


def ignored_body(kind: str) -> bytes:
    """Return a body that is authentic and readable, and that nothing is done about."""
    return senders.delivery(kind, "no-status")[1] if kind == "argo_rollouts" else IGNORED[kind]


def contract() -> dict[str, list[str]]:
    """Return the rows of the table of answers in the docs, by source."""
    section = PAGE.read_text("utf-8").partition("## What we answer")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")] for line in section.splitlines() if "|" in line
    ]
    return {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`")}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """A router with a secret for every source, at the time of the recorded signatures; nobody is told."""
    write_rules(tmp_path / "rules", {"receivers.yaml": "receivers:\n  - name: everybody\n"})
    env = environ(tmp_path, ROUTER_DRAIN_SECONDS="0", **senders.environment(*KINDS))
    one = App(settings.load(env), env, senders.RecordedTime())
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def c(app: App) -> AsyncIterator[Client]:
    async with client(app.port) as one:
        yield one


async def dead(c: Client, source: str) -> list[dict]:
    return (await c.get(f"/api/v1/dead-letters?source={source}&limit=500"))[1]["dead_letters"]


async def post(app: App, c: Client, kind: str, body: bytes, key: str = "") -> int:
    headers = senders.proof(kind, body, app.clock.now(), key)
    kind_header = {
        "Content-Type": "application/cloudevents+json" if kind == "cloudevents" else "application/json"
    }
    return (await c.post(f"/webhooks/{kind}", body, headers={**kind_header, **headers}))[0]


def test_every_source_has_a_row() -> None:
    """The table of answers names each source once, and how many failures make its sender stop."""
    rows = contract()
    assert sorted(rows) == KINDS
    for kind, row in rows.items():
        manners = loader.load("router.sources", kind)().manners
        assert row[5] == (f"after {manners.gives_up_after}" if manners.gives_up_after else "never")
        assert manners.revive


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_answered_is_what_the_docs_say(app: App, c: Client, kind: str) -> None:
    """Taken, ignored, unreadable, unauthentic, and not stored: each is answered as the table says."""
    taken, ignored, unreadable, unauthentic, unstored, _ = contract()[kind]
    headers, body = senders.delivery(kind, senders.recorded(kind)[0])
    got = {
        "taken": (await c.post(f"/webhooks/{kind}", body, headers=headers))[0],
        "ignored": await post(app, c, kind, ignored_body(kind)),
        "unreadable": await post(app, c, kind, BROKEN),
        "unauthentic": await post(app, c, kind, body, "another secret"),
    }
    await wait_for(lambda: dead(c, kind), "the unreadable one is a dead letter")
    assert len(await dead(c, kind)) == 1
    assert app.server is not None
    assert app.server.process is not None
    app.server.stopping = True
    os.kill(app.server.process.pid, signal.SIGKILL)
    await app.server.process.wait()
    got["unstored"] = await post(app, c, kind, BROKEN + b"!")
    assert got == {
        "taken": int(taken), "ignored": int(ignored), "unreadable": int(unreadable),
        "unauthentic": int(unauthentic), "unstored": int(unstored),
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_sent_again_counts_once(app: App, c: Client, kind: str) -> None:
    """Each recorded delivery sent again is a repeat, and replaying all of them later changes nothing."""
    for name in senders.recorded(kind):
        assert (await send(c, kind, name))[0] == (200 if kind == "slack" else 202)
        assert (await send(c, kind, name))[1] == 0, f"{name} counted twice"
    await wait_for(c.settled, "all is decided")
    before = await shown(c)
    for name in senders.recorded(kind):
        await send(c, kind, name)
    await wait_for(c.settled, "all is decided")
    assert await shown(c) == before


async def send(c: Client, kind: str, name: str) -> tuple[int, int]:
    """Return the status and how many events were accepted."""
    headers, body = senders.delivery(kind, name)
    status, answer = await c.post(f"/webhooks/{kind}", body, headers=headers)
    return status, answer.get("accepted", 0) if isinstance(answer, dict) else 0


async def shown(c: Client) -> tuple[list, object, object]:
    """Return incidents as far as a replay could change them, deploys and changes."""
    heads = [(i["id"], i["state"], i["firing"], i["resolved"], i["opened_at"]) for i in await c.incidents()]
    return sorted(heads), await c.get("/api/v1/deploys"), await c.get("/api/v1/changes")


HOSTILE = {
    "deeply nested lists": b"[" * 2_000_000,
    "deeply nested objects": b'{"alerts":[' + b'{"labels":' * 400_000,
    "a list nested inside": b'{"object_kind":"push","alerts":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}",
    "one key a million times": b"{" + b",".join([b'"alerts":[]'] * 500_000) + b"}",
    "a million keys": b"{" + b",".join(b'"%d":0' % n for n in range(400_000)) + b"}",
    "a number without end": b'{"version":' + b"9" * 5_000_000 + b"}",
    "a string without end": b'{"version":"' + b"x" * 7_000_000,
    "bytes that are no text": b"\xff\xfe" * 2_000_000,
    "zeros": b"\0" * 4_000_000,
    "escapes": b'"' + b"\\ud83d" * 1_000_000 + b'"',
    "blanks": b" " * 7_000_000,
    "a form of a million fields": b"a=1&" * 1_500_000,
    "a form with a payload": b"payload=" + b"%5B" * 2_000_000,
}


def peak(process: RouterProcess) -> int:
    """Return the most memory that the process has held, in bytes."""
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) << 10


@pytest.mark.timeout(180)
async def test_hostile_bodies_are_bounded(tmp_path: Path) -> None:
    """Bodies made to hurt are answered by every source, and so are others meanwhile; memory stays bounded."""
    write_rules(tmp_path / "rules", {"receivers.yaml": "receivers:\n  - name: everybody\n"})
    env = environ(tmp_path, **senders.environment(*KINDS))
    router, clock = RouterProcess(env, tmp_path / "log"), SystemClock()
    await router.start()
    await router.ready()
    try:
        await _hurt(router, clock)
    finally:
        assert await router.stop() == 0


async def _hurt(router: RouterProcess, clock: SystemClock) -> None:
    idle = peak(router)
    async with client(router.port) as c:
        for what, body in HOSTILE.items():
            form = {"Content-Type": "application/x-www-form-urlencoded"} if "form" in what else {}
            for kind in KINDS:
                headers = {**senders.proof(kind, body, clock.now()), **form}
                (status, _), (healthy, _) = await asyncio.gather(
                    c.post(f"/webhooks/{kind}", io.BytesIO(body), headers=headers), c.get("/-/healthy")
                )
                assert (status in {200, 202, 400}, healthy) == (True, 200), (what, kind, status)
        kept = [letter for kind in KINDS for letter in await dead(c, kind)]
    print(f"{len(HOSTILE) * len(KINDS)} bodies, peak {(peak(router) - idle) >> 20} MiB above idle")
    assert peak(router) - idle < 256 << 20
    assert kept
    assert all(letter["size"] < 64 << 10 for letter in kept), "large bodies are cut"


async def test_slow_bodies_hold_nobody_up(app: App, c: Client) -> None:
    """Three hundred senders that stall in their bodies hold up no other delivery."""
    head = b"POST /webhooks/gitlab HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
    stalled = []
    for _ in range(300):
        _, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(head)
        stalled.append(writer)
    for _ in range(20):
        assert await post(app, c, "gitlab", IGNORED["gitlab"]) == 202
    for writer in stalled:
        writer.close()


def test_the_docs_name_every_recorded_header() -> None:
    """No header that a recorded delivery proves itself by would be kept in a dead letter."""
    for kind in KINDS:
        manners = loader.load("router.sources", kind)().manners
        for name in senders.recorded(kind):
            headers = {k.lower(): v for k, v in senders.delivery(kind, name)[0].items()}
            kept = manners.kept(headers)
            assert not any(re.search("token|signature|authorization|secret|cookie", name) for name in kept)
            assert not any(senders.secret(kind) in value for value in kept.values())
