"""What every test can have: real servers where they are installed, said so where they are not.

With CI=true a missing server is an error, never a skip.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from router.kit.clock import SystemClock
from router.store.link import Link, connect
from router.store.server import EmbeddedServer, find_binary
from tests.waiting import NotYet, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SHARED = Path(__file__).resolve().parents[2] / "shared"


# Shells start background jobs with ^C ignored, and every child inherits that; tests send it to theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-long", action="store_true", help="run the long form of the chaos tests")


#: Tables that a test wants to be read, also where it passes.
TABLES: list[str] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for table in TABLES:
        terminalreporter.write_line(table)


def need(*names: str) -> str:
    """Return the path of the first of these programs, or skip (fail in CI)."""
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    text = f"needs {' or '.join(names)} (make test installs it where root and apt-get are there)"
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real payloads and vendors' specifications, which is no part of the product."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not here (it is where CI runs)")
    return SHARED


@pytest.fixture(scope="session")
def redis_binaries() -> list[str]:
    """Every real server here: the embedded Valkey, and Debian's Redis."""
    return [find_binary(""), *([p] if (p := shutil.which("redis-server")) else [])]


@pytest.fixture(params=["valkey", "redis"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A real server of each kind, empty, durable, on a socket of its own."""
    binary = find_binary("") if request.param == "valkey" else need("redis-server")
    embedded = EmbeddedServer(tmp_path / "d", binary, SystemClock())
    embedded.lock()
    await embedded.start()
    yield embedded
    await embedded.stop()


@pytest.fixture
async def link(server: EmbeddedServer) -> AsyncIterator[Link]:
    one = Link(connect(server.url))
    yield one
    await one.close()


@pytest.fixture
def port() -> int:
    return free_port()


async def wait_for(condition, what: str, seconds: float = 15.0) -> object:
    """Wait for a named condition (a callable, maybe async), with its last value in the failure."""
    try:
        return await until(condition, what, seconds)
    except NotYet as exc:
        pytest.fail(str(exc))
