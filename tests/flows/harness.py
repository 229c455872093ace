"""A whole router, and a real Alertmanager, for tests that go from HTTP in to vendor out."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp

from router import settings
from router.app import App
from tests.conftest import free_port, need, wait_for
from tests.fakes.slack import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path

    from router.demo import Delivery

RULES = {
    "routes.yaml": """
route:
  receiver: everybody
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: 0s
""",
    "receivers.yaml": """
receivers:
  - name: everybody
    pagerduty_configs:
      - routing_key_env: TEST_ROUTING_KEY
    slack_configs:
      - channel: "C0ALERTS"
""",
    "services.yaml": """
services:
  - name: payment-service
    team: payments
    dependencies: [customer-service]
    gitlab_projects: [shop/payment-service]
    argocd_applications: ["payment-service-{environment}"]
  - name: customer-service
    team: customers
    gitlab_projects: [shop/customer-service]
environments:
  prod: [production]
""",
}
ROUTING_KEY = "R0UT1NGKEY0000000000000000000000"


def write_rules(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**RULES, **(files or {})}.items():
        (folder / name).write_text(text)
    return folder


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {
        "ROUTER_LISTEN": "127.0.0.1:0",
        "ROUTER_DATA_DIR": str(tmp_path / "data"),
        "ROUTER_RULES": str(tmp_path / "rules"),
        "ROUTER_SLACK_BOT_TOKEN": TOKEN,
        "TEST_ROUTING_KEY": ROUTING_KEY,
        "ROUTER_DRAIN_SECONDS": "2",
        **more,
    }


@contextlib.asynccontextmanager
async def running(env: Mapping[str, str]) -> AsyncIterator[App]:
    """Run a router in this process."""
    app = App(settings.load(env), env)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


class Client:
    """A small HTTP client of one router."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.base, self.session = f"http://127.0.0.1:{port}", session

    async def post(self, path: str, body: Any, **kwargs: Any) -> tuple[int, Any]:
        how = {"data": body} if isinstance(body, bytes | io.BytesIO) else {"json": body}
        async with self.session.post(self.base + path, **how, **kwargs) as r:
            return r.status, await r.json(content_type=None) if "json" in r.content_type else await r.text()

    async def get(self, path: str, **kwargs: Any) -> tuple[int, Any]:
        async with self.session.get(self.base + path, **kwargs) as r:
            return r.status, await r.json(content_type=None) if "json" in r.content_type else await r.text()

    async def incidents(self, state: str = "all") -> list[dict[str, Any]]:
        _, body = await self.get(f"/api/v1/incidents?state={state}")
        return body["incidents"]

    async def settled(self) -> bool:
        status, body = await self.get("/api/v1/status")
        if status != 200:
            return False
        d = body["depths"]
        return not (d["inbox_urgent"] or d["inbox_normal"] or d["due"])


@contextlib.asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(port, session)


def iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def alert(
    name: str = "HighErrorRate", *, status: str = "firing", at: datetime, minutes: float = 5, **labels: str
) -> dict[str, Any]:
    """Return one alert of a webhook body."""
    ends = "0001-01-01T00:00:00Z" if status == "firing" else iso(at + timedelta(minutes=minutes))
    return {
        "status": status,
        "labels": {
            "alertname": name,
            "service": "payment-service",
            "env": "prod",
            "severity": "critical",
            **labels,
        },
        "annotations": {"summary": f"{name} is firing"},
        "startsAt": iso(at),
        "endsAt": ends,
        "generatorURL": "http://prometheus.example.com/graph",
    }


def body(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an Alertmanager webhook body, version 4."""
    status = "firing" if any(a["status"] == "firing" for a in alerts) else "resolved"
    return {
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": status, "receiver": "router",
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager.example.com",
        "alerts": list(alerts), **more,
    }  # fmt: skip


async def tell(c: Client, deliveries: Iterable[Delivery]) -> None:
    """Let a story's deliveries arrive."""
    for d in deliveries:
        status, answer = await c.post(
            f"/webhooks/{d.kind}", d.body, headers={"X-Gitlab-Event": d.headers.get("X-Gitlab-Event", "")}
        )
        assert status == 202, answer


class RouterProcess:
    """``router serve`` as a child process, to be killed and started again."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        self.port = free_port()
        self.env = {
            **os.environ,
            **env,
            "ROUTER_LISTEN": f"127.0.0.1:{self.port}",
            "ROUTER_LOG_FORMAT": "json",
            "CI": "true",
        }
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "router", "serve", env=self.env, stdout=out, stderr=out
            )

    async def ready(self, seconds: float = 20) -> None:
        async with client(self.port) as c:

            async def is_ready() -> bool:
                assert self.process is not None
                assert self.process.returncode is None, self.log.read_text()[-3000:]
                with contextlib.suppress(aiohttp.ClientError):
                    return (await c.get("/-/ready"))[0] == 200
                return False

            await wait_for(is_ready, f"router on {self.port} is ready", seconds)

    async def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), 30)


@contextlib.asynccontextmanager
async def alertmanager(tmp_path: Path, url: str, *, name: str = "am", secret: str = "") -> AsyncIterator[str]:
    """Run the real Alertmanager, sending to ``url``; yields its base URL."""
    auth = f"\n        http_config:\n          authorization: {{credentials: {secret}}}" if secret else ""
    config = f"""
route:
  receiver: router
  group_by: [alertname, service]
  group_wait: 100ms
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: router
    webhook_configs:
      - url: {url}
        send_resolved: true{auth}
"""
    async with alertmanager_of(tmp_path, config, name=name) as base:
        yield base


@contextlib.asynccontextmanager
async def alertmanager_of(tmp_path: Path, config: str, *, name: str = "am") -> AsyncIterator[str]:
    """Run the real Alertmanager with a configuration; yields its base URL."""
    binary = need("prometheus-alertmanager", "alertmanager")
    port = free_port()
    file = tmp_path / f"{name}.yml"
    file.write_text(config)
    process = await asyncio.create_subprocess_exec(
        binary, f"--config.file={file}", f"--storage.path={tmp_path / name}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:

            async def up() -> bool:
                assert process.returncode is None, f"Alertmanager refused {file}"
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{base}/-/ready") as r:
                        return r.status == 200
                return False

            await wait_for(up, "Alertmanager is ready")
        yield base
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
