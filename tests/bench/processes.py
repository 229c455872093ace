"""The processes under measurement, each on a free loopback port and in a folder of its own.

All of them end with the measurement, whatever happens in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import redis.asyncio as aredis

from tests.conftest import free_port
from tests.waiting import NotYet, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ROUTES = """
route:
  receiver: nobody
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: 0s
"""
RECEIVERS = """
receivers:
  - name: nobody
"""
_START_S = 30.0
_STOP_S = 20.0


class Failure(Exception):  # noqa: N818  a state of the measurement
    """A process did not do what a measurement needs."""


class Router:
    """``router serve`` with its embedded server, and what can be asked of it."""

    def __init__(self, folder: Path, rules: Mapping[str, str], env: Mapping[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        self.data = folder / "data"
        rules_folder = folder / "rules"
        rules_folder.mkdir()
        for name, text in rules.items():
            (rules_folder / name).write_text(text)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ROUTER_")}
        self.env = {
            **inherited,
            "ROUTER_LISTEN": f"127.0.0.1:{self.port}",
            "ROUTER_DATA_DIR": str(self.data),
            "ROUTER_RULES": str(rules_folder),
            "ROUTER_ALLOW_OPEN_SOURCES": "true",
            "ROUTER_LOG_LEVEL": "warning",
            "ROUTER_LOG_FORMAT": "json",
            "ROUTER_DRAIN_SECONDS": "1",
            "CI": "true",  # no greeting
            **env,
        }
        self.process: asyncio.subprocess.Process | None = None
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20))

    async def start(self) -> float:
        """Start it, wait until it is ready, and return the seconds from spawn to ready."""
        log = self.folder / "router.log"
        started = time.monotonic()
        with log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "router", "serve", env=self.env, stdout=out, stderr=out
            )

        async def ready() -> bool:
            ended = self.process is not None and self.process.returncode is not None
            return ended or await _ready(self.session, self.port)

        with contextlib.suppress(NotYet):
            await until(ready, "the router is ready", _START_S, every=0.005)
            if self.process.returncode is None:
                return time.monotonic() - started
        raise Failure(f"the router did not become ready: {log.read_text()[-1500:]}")

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def depths(self) -> dict[str, int]:
        """Return what waits, by /api/v1/status."""
        async with self.session.get(self.url("/api/v1/status")) as r:
            return dict((await r.json())["depths"])

    async def decided(self, seconds: float = 60.0) -> float:
        """Wait until every inbox is empty; return the time (CLOCK_MONOTONIC) at which that was seen."""

        async def empty() -> bool:
            depths = await self.depths()
            return depths["inbox_urgent"] + depths["inbox_normal"] == 0

        try:
            await until(empty, "every inbox is empty", seconds)
        except NotYet as exc:
            raise Failure(str(exc)) from None
        return time.monotonic()

    async def counter(self, name: str) -> float:
        """Return a counter without labels from /metrics."""
        async with self.session.get(self.url("/metrics")) as r:
            text = await r.text()
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    async def redis_memory(self) -> int:
        """Return used_memory of the embedded server, in bytes."""
        client: Any = aredis.Redis(unix_socket_path=str(self.data / "redis.sock"))
        try:
            return int((await client.info("memory"))["used_memory"])
        finally:
            await client.aclose()

    def resident_mib(self) -> float:
        """Return the resident memory of the router's own process."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise Failure("no VmRSS in /proc")

    async def stop(self) -> None:
        await self.session.close()
        await _end(self.process)


async def _end(process: asyncio.subprocess.Process | None) -> None:
    if process is None:
        return
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def router(rules: Mapping[str, str] | None = None, **env: str) -> AsyncIterator[Router]:
    """Run a fresh router."""
    given = rules if rules is not None else {"routes.yaml": ROUTES, "receivers.yaml": RECEIVERS}
    with tempfile.TemporaryDirectory(prefix="ir-bench-") as folder:
        one = Router(Path(folder), given, env)
        try:
            await one.start()
            yield one
        finally:
            await one.stop()


def alertmanager_binary() -> str | None:
    """Return Alertmanager's path, if it is installed."""
    return shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


@contextlib.asynccontextmanager
async def alertmanager() -> AsyncIterator[int | None]:
    """Run a fresh Alertmanager that tells nobody; yields its port, None where it is not installed."""
    binary = alertmanager_binary()
    if binary is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ir-bench-am-") as folder:
        config, port = Path(folder) / "am.yml", free_port()
        config.write_text(
            ROUTES.replace("  group_wait: 0s\n  group_interval: 0s\n", "") + RECEIVERS
        )  # its own default, 30 s
        process = await asyncio.create_subprocess_exec(
            binary, f"--config.file={config}", f"--storage.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await _answers(port)
            yield port
        finally:
            await _end(process)


async def _answers(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        try:
            await until(lambda: _ready(session, port), "Alertmanager is ready", _START_S, every=0.02)
        except NotYet as exc:
            raise Failure(str(exc)) from None


async def _ready(session: aiohttp.ClientSession, port: int) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.get(f"http://127.0.0.1:{port}/-/ready") as r:
            return r.status == 200
    return False
