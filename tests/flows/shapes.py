"""Real servers of every shape on loopback: plain, with password and TLS, Sentinel, Cluster."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import redis.asyncio as aredis

from router.store.server import find_binary
from tests.conftest import free_port, need, wait_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction")


class Server:
    """One server process on 127.0.0.1."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder, self.port = folder, port or free_port()
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, *args: str, config: str = "", client_args: dict | None = None) -> Server:
        self.folder.mkdir(parents=True, exist_ok=True)
        first = []
        if config:
            path = self.folder / "server.conf"
            path.write_text(config)
            first = [str(path)]
        program = need("redis-server") if "--tls-port" in args else find_binary("")
        plain = () if "--tls-port" in args else ("--port", str(self.port))
        self.process = await asyncio.create_subprocess_exec(
            program, *first, *plain, "--bind", "127.0.0.1", "--dir", str(self.folder), *args,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        client = aredis.Redis(host="127.0.0.1", port=self.port, **(client_args or {}))

        async def up() -> bool:
            with contextlib.suppress(aredis.RedisError, OSError):
                return bool(await client.ping())
            return False

        try:
            await wait_for(up, f"server on {self.port}")
        finally:
            await client.aclose()
        return self

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@contextlib.asynccontextmanager
async def ending(*servers: Server) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for server in servers:
            await server.stop()


async def certificates(folder: Path) -> Path:
    """Make a throw-away authority and a certificate for 127.0.0.1."""
    openssl = need("openssl")
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  a test's own folder
    process = await asyncio.create_subprocess_exec(
        openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-days", "2",
        "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0
    return folder


async def cluster(folder: Path, masters: int = 3) -> list[Server]:
    """Start a cluster whose slots are spread over its masters."""
    servers = [Server(folder / str(n)) for n in range(masters)]
    for s in servers:
        bus = free_port()
        await s.start(
            "--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000", *DURABLE
        )
        s.bus = bus  # type: ignore[attr-defined]
    clients = [aredis.Redis(port=s.port) for s in servers]
    share = 16384 // masters
    for n, client in enumerate(clients):
        last = 16383 if n == masters - 1 else (n + 1) * share - 1
        await client.execute_command("CLUSTER", "ADDSLOTSRANGE", n * share, last)
        if n:
            await clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", servers[n].port, servers[n].bus)  # type: ignore[attr-defined]

    async def whole() -> bool:
        states = [await c.execute_command("CLUSTER", "INFO") for c in clients]
        return all("cluster_state:ok" in str(x) or "'cluster_state': 'ok'" in str(x) for x in states)

    try:
        await wait_for(whole, "the cluster is whole", 30)
    finally:
        for client in clients:
            await client.aclose()
    return servers
