"""The command line: help with examples, exit codes, and mistakes told without a traceback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from router import __version__
from router.__main__ import main
from router.store.store import RedisStore
from tests.conftest import wait_for
from tests.flows.harness import RULES, RouterProcess, alert, body, client, environ, write_rules
from tests.flows.test_bad_input import AT, HOOK

if TYPE_CHECKING:
    from router.store.link import Link
    from router.store.server import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
WITHOUT = {name: None for name in os.environ if name.startswith("ROUTER_")}


def run(*args: str, **environment: str) -> Result:
    """Run a command in this process, with these ROUTER_ variables and no others."""
    return CliRunner().invoke(main, args, env={**WITHOUT, **environment})


def is_told(result: Result, code: int) -> None:
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit | None)
    assert "Traceback" not in result.output


# --- help -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands(option: str) -> None:
    """The help names every command."""
    result = run(option)
    is_told(result, 0)
    assert set(re.findall(r"^  (\w+)  ", result.output, re.MULTILINE)) == set(main.commands)


@pytest.mark.parametrize(
    "command", [[], *([name] for name in main.commands)], ids=lambda c: c[0] if c else "router"
)
def test_each_help_has_an_example(command: list[str]) -> None:
    """Each command shows one line that works as it stands."""
    result = run(*command, "--help")
    is_told(result, 0)
    example = re.search(r"^  Example: (?:ROUTER_\w+=\S+ )*router (\w+)", result.output, re.MULTILINE)
    assert example is not None
    assert example[1] in main.commands
    assert not command or example[1] == command[0]


def test_version() -> None:
    """The release that runs says its number."""
    assert __version__ in run("--version").output


def test_mistakes_at_the_command_line_are_exit_code_2() -> None:
    """Unknown commands and options are usage errors."""
    for args in (["serv"], ["check", "--outptu", "json"], ["check", "-o", "xml"]):
        is_told(run(*args), 2)


# --- check ------------------------------------------------------------------------------------------


def test_check_of_the_shipped_rules() -> None:
    """The rules that ship are good: exit 0, with what is in them."""
    table, found = run("check", str(ROOT / "rules")), run("check", str(ROOT / "rules"), "-o", "json")
    is_told(table, 0)
    is_told(found, 0)
    told = json.loads(found.output)
    assert told["ok"] is True
    assert told["version"] in table.stdout
    assert told["counts"]["services"] == len(told["services"]) > 0
    assert table.stderr == ""


def test_check_tells_every_problem(tmp_path: Path) -> None:
    """Bad rules: exit 1, every problem with file and line; the JSON holds the same ones."""
    bad = {
        "routes.yaml": "route:\n  receiver: nobody\n  group_by: [alertname]\n",
        "services.yaml": RULES["services.yaml"].replace("team:", "taem:", 1),
    }
    folder = write_rules(tmp_path / "rules", bad)
    table, found = run("check", str(folder)), run("check", str(folder), "--output", "json")
    is_told(table, 1)
    is_told(found, 1)
    assert table.stdout == ""
    told = json.loads(found.output)
    assert told["ok"] is False
    assert {Path(p["file"]).name for p in told["problems"]} == {"routes.yaml", "services.yaml"}
    assert all(p["line"] > 0 and p["message"] for p in told["problems"])
    assert f"{len(told['problems'])} problem(s) in {folder}" in table.stderr
    assert all(p["message"] in table.stderr for p in told["problems"])


@pytest.mark.parametrize("make", ["missing", "empty", "file"])
def test_check_of_no_rules(make: str, tmp_path: Path) -> None:
    """A folder that is not there, is empty or is a file is a problem, not a crash."""
    folder = tmp_path / "rules"
    if make == "empty":
        folder.mkdir()
    elif make == "file":
        folder.write_text("route: {}")
    result = run("check", str(folder))
    is_told(result, 1)
    assert "problem(s)" in result.stderr


# --- serve ------------------------------------------------------------------------------------------


def test_every_bad_setting_is_told_at_once() -> None:
    """Settings that cannot be used: exit 2, each under its variable, and no secret quoted."""
    result = run(
        "serve",
        ROUTER_LISTEN="nowhere",
        ROUTER_PARTITIONS="0",
        ROUTER_REDIS_URL="http://user:geheim@example.com",
        ROUTER_LISTNE="127.0.0.1:1",
    )
    is_told(result, 2)
    assert "The settings cannot be used:" in result.stderr
    named = {line.strip().partition(":")[0] for line in result.stderr.splitlines()[1:]}
    assert named == {"ROUTER_LISTEN", "ROUTER_PARTITIONS", "ROUTER_REDIS_URL", "ROUTER_LISTNE"}
    assert "geheim" not in result.output


def serve(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run ``router serve`` to its end, as a process of its own: it sets up logging for good."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ROUTER_")}
    command = [sys.executable, "-m", "router", "serve"]
    return subprocess.run(
        command, env={**clean, **env}, capture_output=True, text=True, check=False, timeout=30, cwd=ROOT
    )


def test_a_start_that_fails_is_told_shortly(tmp_path: Path) -> None:
    """A port in use, and a data directory that cannot be one: exit 2, what and what to do, no traceback."""
    env = {**environ(tmp_path), "ROUTER_LOG_FORMAT": "json"}
    write_rules(tmp_path / "rules")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = serve({**env, "ROUTER_LISTEN": f"127.0.0.1:{taken.getsockname()[1]}"})
    (tmp_path / "file").write_text("")
    blocked = serve({**env, "ROUTER_DATA_DIR": str(tmp_path / "file")})
    for done, variable in ((busy, "ROUTER_LISTEN"), (blocked, "ROUTER_DATA_DIR")):
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert "The router did not start:" in done.stderr
        assert variable in done.stderr.splitlines()[-1]


def test_bad_rules_keep_it_from_starting(tmp_path: Path) -> None:
    """Rules that cannot be used end the start with all their problems, before anything is opened."""
    write_rules(tmp_path / "rules", {"routes.yaml": "route:\n  receiver: nobody\n  group_byy: []\n"})
    done = serve(environ(tmp_path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len([x for x in done.stderr.splitlines() if "routes.yaml:" in x]) == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("server", ["valkey"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_stop_it_gives_its_leases_back(
    tmp_path: Path, server: EmbeddedServer, link: Link, number: signal.Signals
) -> None:
    """SIGTERM and ^C end with exit code 0, no lease is left held, and what was accepted is there."""
    write_rules(tmp_path / "rules")
    env = environ(
        tmp_path, ROUTER_REDIS_URL=server.url, ROUTER_PARTITIONS="4", ROUTER_SLACK_API_URL="http://127.0.0.1:9",
        ROUTER_PAGERDUTY_EVENTS_URL="http://127.0.0.1:9", ROUTER_DRAIN_SECONDS="1",
    )  # fmt: skip
    router = RouterProcess(env, tmp_path / "log")
    store = RedisStore(link, 4)
    await router.start()
    try:
        await router.ready()
        assert len(await store.leases()) == 4
        async with client(router.port) as c:
            assert (await c.post(HOOK, body(alert(at=AT))))[0] == 202
            await wait_for(c.incidents, "an incident")
        assert router.process is not None
        router.process.send_signal(number)
        assert await asyncio.wait_for(router.process.wait(), 30) == 0
    finally:
        await router.kill()
    assert await store.leases() == {}
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert json.loads(log.splitlines()[-1])["event"] == "stopped"


def test_a_line_of_log_cannot_be_forged() -> None:
    """Whatever a sender chose is escaped in both forms of the log: one event is one line."""
    code = (
        "import structlog; from router.kit import logs; logs.configure(style={!r}, level='info');"
        "structlog.get_logger().warning('delivery', detail='a\\n{{\"event\": \"forged\"}}\\x1b[2J')"
    )
    for style in ("json", "console"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(style)], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert len(done.stderr.splitlines()) == 1
        assert "\x1b[2J" not in done.stderr
