"""Real servers of every shape on loopback: plain, with password, ACL and TLS, Sentinel, Cluster.

A :class:`Fleet` starts them in folders of their own and ends them all, frozen ones too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any, Self

import redis.asyncio as aredis

from router.store.server import find_binary
from tests.conftest import free_port, need, wait_for

if TYPE_CHECKING:
    from pathlib import Path

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction")
SLOTS = 16384


class Server:
    """One server process on 127.0.0.1; ``reach`` is what a client needs beyond the port."""

    def __init__(self, folder: Path, binary: str, args: tuple[str, ...], reach: dict[str, Any]) -> None:
        self.folder, self.binary, self.args, self.reach = folder, binary, args, reach
        self.port = free_port()
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @contextlib.asynccontextmanager
    async def client(self) -> Any:
        one = aredis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, **self.reach)
        try:
            yield one
        finally:
            await one.aclose()

    async def ask(self, *command: str | int) -> Any:
        async with self.client() as one:
            return await one.execute_command(*command)

    async def start(self) -> None:
        """Start it, or start it again on the same port over the same files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        listen = ("--port", "0", "--tls-port") if self.reach.get("ssl") else ("--port",)
        config = self.folder / "server.conf"  # a Sentinel writes to it
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                self.binary, *([str(config)] if config.exists() else []), *listen, str(self.port),
                "--bind", "127.0.0.1", "--dir", str(self.folder), *self.args, stdout=log, stderr=log,
            )  # fmt: skip

        async def up() -> bool:
            assert self.process is not None
            assert self.process.returncode is None, (self.folder / "server.log").read_text()[-1000:]
            with contextlib.suppress(aredis.RedisError, OSError):
                return bool(await self.ask("PING"))
            return False

        await wait_for(up, f"the server on {self.port} answers")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Fleet:
    """Every server of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[Server] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers:
            await server.kill()

    async def start(self, *args: str, binary: str = "", config: str = "", **reach: Any) -> Server:
        """Start one more; ``config`` are lines for its file."""
        folder = self.folder / f"server{len(self.servers)}"
        server = Server(folder, binary or find_binary(""), args, reach)
        if config:
            folder.mkdir(parents=True)
            (folder / "server.conf").write_text(config)
        self.servers.append(server)
        await server.start()
        return server

    async def replica_of(self, primary: Server) -> Server:
        """Start a replica and wait until it is in step."""
        await primary.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        replica = await self.start("--replicaof", "127.0.0.1", str(primary.port), *DURABLE)

        async def linked() -> bool:
            told = await primary.ask("INFO", "replication")
            rows = [told.get(f"slave{n}", {}) for n in range(3)]
            return any(r.get("port") == replica.port and r.get("state") == "online" for r in rows)

        await wait_for(linked, "the replica is in step", 30)
        return replica

    async def sentinel(self, primary: Server, name: str) -> Server:
        """Start a Sentinel that alone decides, after half a second."""
        conf = (
            f"sentinel monitor {name} 127.0.0.1 {primary.port} 1\n"
            f"sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 3000\n"
        )
        sentinel = await self.start("--sentinel", config=conf)

        async def knows() -> int:
            return len(await sentinel.ask("SENTINEL", "REPLICAS", name))

        await wait_for(knows, "Sentinel knows the replica", 30)
        return sentinel

    async def cluster(self, masters: int = 3) -> list[Server]:
        """Start a cluster whose slots are spread over its masters."""
        nodes, buses = [], [free_port() for _ in range(masters)]
        for bus in buses:
            own = ("--cluster-enabled", "yes", "--cluster-port", str(bus), "--cluster-node-timeout", "2000")
            nodes.append(await self.start(*own, *DURABLE))
        share = -(-SLOTS // masters)
        for n, (node, bus) in enumerate(zip(nodes, buses, strict=True)):
            last = min(SLOTS, (n + 1) * share) - 1
            await node.ask("CLUSTER", "ADDSLOTSRANGE", n * share, last)
            if n:
                await nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)

        async def whole() -> bool:
            told = [await node.ask("CLUSTER", "INFO") for node in nodes]
            return all("cluster_state:ok" in t and f"cluster_slots_ok:{SLOTS}" in t for t in told)

        await wait_for(whole, "the cluster is whole", 30)
        return nodes


async def certificates(folder: Path) -> Path:
    """Make a throw-away certificate for 127.0.0.1 that is its own authority; cert.pem and key.pem."""
    openssl = need("openssl")
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  a test's own folder
    process = await asyncio.create_subprocess_exec(
        openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"),
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await process.wait() == 0
    return folder
