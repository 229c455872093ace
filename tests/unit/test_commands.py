"""The commands that ask a router: what counts as done, and mistakes told in a sentence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from router.__main__ import main
from tests.conftest import wait_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

BASE = "/api/v1/dead-letters"
LINE = b'{"at":"2026-11-20T10:30:00Z","path":"/webhooks/gitlab","headers":{},"body":{}}\n'


def letter(n: int, at: str = "2026-11-20T10:30:00Z") -> dict[str, str]:
    return {
        "id": f"0-{n}-0",
        "at": at,
        "kind": "unreadable",
        "source": "gitlab",
        "reason": "bad_json: cut off",
    }


@dataclass
class FakeRouter:
    """Answers as the API does for these letters (newest first), or what ``says`` has for a path's end."""

    letters: list[dict[str, str]] = field(default_factory=list)
    says: dict[str, web.Response] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=lambda: [LINE] * 3)
    listening: int = 0
    stays: bool = True
    port: int = 0

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v1/deliveries", self.stream)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.rel_url}")
        end = request.path.rpartition("/")[2]
        if end in self.says:
            said = self.says[end]
            return web.Response(body=said.body, status=said.status, headers=said.headers)
        if request.path == BASE:
            return web.json_response({"dead_letters": self.page(request)})
        letter_id = request.path.split("/")[4]
        self.letters = [x for x in self.letters if x["id"] != letter_id]
        return web.json_response({"status": {"replay": "replayed", "drop": "dropped"}[end]}, status=202)

    def page(self, request: web.Request) -> list[dict[str, str]]:
        """Return letters older than ``before``, which need not be there any more."""
        before = request.query.get("before", "")
        older = [x for x in self.letters if not before or number(x["id"]) < number(before)]
        return older[: int(request.query["limit"])]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        await response.write(b"\n")
        self.listening += 1
        with contextlib.suppress(ConnectionError):
            for one in self.lines:
                await response.write(one)

            async def let_go() -> bool:
                await response.write(b"\n")  # as the router's own keepalive, but faster
                return not self.stays

            await wait_for(let_go, "the test lets go", 60)
        return response


def number(letter_id: str) -> int:
    return int(letter_id.split("-")[1])


@contextlib.asynccontextmanager
async def serving(one: FakeRouter) -> AsyncIterator[FakeRouter]:
    runner = web.AppRunner(one.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        one.port = runner.addresses[0][1]
        yield one
    finally:
        one.stays = False
        await runner.cleanup()


async def run(one: FakeRouter, *args: str) -> Result:
    """Run a command in a thread of this process."""
    env = {"INCIDENT_ROUTER_URL": f"http://127.0.0.1:{one.port}", "INCIDENT_ROUTER_TOKEN": "t"}
    return await asyncio.to_thread(CliRunner(env=env).invoke, main, args)


def is_told(result: Result, *words: str, code: int = 1) -> None:
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    for word in words:
        assert word in result.stderr


def says(
    body: bytes | str, status: int = 200, kind: str = "application/json", **headers: str
) -> web.Response:
    raw = body.encode() if isinstance(body, str) else body
    return web.Response(body=raw, status=status, headers={"Content-Type": kind, **headers})


# --- what counts as done ----------------------------------------------------------------------------

STRANGERS = {
    "a page": says("<html>Sign in</html>", kind="text/html"),
    "other JSON": says('{"ok": true}'),
    "another status": says('{"status": "accepted"}', 202),
    "a list": says("[]"),
    "a string": says('"replayed"'),
    "null": says("null"),
    "nothing": says(""),
    "204": says("", 204),
    "201": says('{"status": "replayed"}', 201),
    "no UTF-8": says(b'{"status": "\xff"}'),
    "too deep": says("[" * 100_000),
    "a status that is no text": says(
        '{"status": {"replayed": 1}, "dead_letters": 7, "senders": [{}], "id": 1}'
    ),
    "letters without ids": says('{"dead_letters": [{"at": "x"}], "senders": {}}'),
}


@pytest.mark.parametrize("what", STRANGERS)
@pytest.mark.parametrize("act", ["replay", "drop"])
async def test_only_the_router_s_own_word_is_done(what: str, act: str) -> None:
    """An answer that does not say that it was replayed or dropped is a failure, whatever its status."""
    async with serving(FakeRouter(says={act: STRANGERS[what]})) as one:
        result = await run(one, "dlq", act, "0-1-0")
    is_told(result, "0-1-0: ", "not a router")
    assert "0 replayed, 1 failed" in result.stdout or "0 dropped, 1 failed" in result.stdout


@pytest.mark.parametrize("what", STRANGERS)
@pytest.mark.parametrize(
    "command", ["dlq list", "dlq list -o json", "dlq show x", "dlq replay --all", "senders"]
)
async def test_an_answer_of_something_else_is_a_sentence(what: str, command: str) -> None:
    """A list that is none is told in a sentence, never shown as empty and never a traceback."""
    end = {"dlq show x": "x", "senders": "senders"}.get(command, "dead-letters")
    async with serving(FakeRouter(says={end: STRANGERS[what]})) as one:
        result = await run(one, *command.split())
    is_told(result, "not a router", "--url")
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_that_names_the_host(status: int) -> None:
    """A login in front of the router is named by its host alone, and nothing counts as done."""
    where = says("", status, Location="https://sso.example.com/login?state=hunter2")
    async with serving(FakeRouter(says={"drop": where, "dead-letters": where})) as one:
        dropped = await run(one, "dlq", "drop", "0-1-0")
        listed = await run(one, "dlq", "list")
    for result in (dropped, listed):
        is_told(result, "redirects to sso.example.com", str(status), "the router's own address")
        assert "hunter2" not in result.output
    assert "0 dropped, 1 failed" in dropped.stdout


@pytest.mark.parametrize("where", ["", "/login", "http://[", "//"])
async def test_any_redirect_is_a_sentence(where: str) -> None:
    """A redirect to nowhere, to the same host or to what is no URL is a sentence too."""
    async with serving(FakeRouter(says={"dead-letters": says("", 302, Location=where)})) as one:
        is_told(await run(one, "dlq", "list"), "redirects to")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (
            says('{"detail": "no such dead letter", "code": "unknown"}', 404),
            "no such dead letter (404 unknown)",
        ),
        (says('{"detail": "a\\u001b[2Jb"}', 500), "a[2Jb"),
        (says("<html>", 502, "text/html"), "answered 502"),
        (says("[" * 100_000, 500), "answered 500"),
        (says("[]", 401), "answered 401"),
        (says("not compressed at all", 200, **{"Content-Encoding": "gzip"}), "is the router running there"),
        (says("not compressed at all", 500, **{"Content-Encoding": "gzip"}), "500"),
    ],
)
async def test_refusals_are_sentences(answer: web.Response, word: str) -> None:
    """What the router refuses is told in its words, without what could steer a terminal."""
    async with serving(FakeRouter(says={"x": answer})) as one:
        result = await run(one, "dlq", "show", "x")
    is_told(result, word)
    assert "\x1b" not in result.output


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://u:hunter2@127.0.0.1:9", "http://[", ""])
async def test_a_wrong_address_is_a_sentence(url: str) -> None:
    """An address that leads nowhere is told in a sentence, without a password in it."""
    result = await asyncio.to_thread(CliRunner().invoke, main, ["dlq", "list", "--url", url])
    is_told(result, "is the router running there")
    assert "hunter2" not in result.output


async def test_an_id_is_one_part_of_the_path() -> None:
    """What is given as an id leads to no other path."""
    async with serving(FakeRouter()) as one:
        await run(one, "dlq", "drop", "a/b?c#d")
    assert one.asked == [f"POST {BASE}/a%2Fb%3Fc%23d/drop"]


async def test_what_is_stale_is_replayed_only_where_asked_for() -> None:
    """``--stale`` is handed on, and what the router notes is shown."""
    note = says('{"status": "replayed", "note": "the dead letter could not be deleted; drop it"}', 202)
    async with serving(FakeRouter([letter(1)], says={"replay": note})) as one:
        await run(one, "dlq", "replay", "0-1-0")
        result = await run(one, "dlq", "replay", "0-1-0", "--stale")
    assert one.asked == [f"POST {BASE}/0-1-0/replay", f"POST {BASE}/0-1-0/replay?stale=true"]
    assert "0-1-0: replayed, but the dead letter could not be deleted; drop it" in result.stdout


# --- all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("act", "word"), [("replay", "replayed"), ("drop", "dropped")])
async def test_all_are_all_pages(act: str, word: str) -> None:
    """More letters than a page holds are all dealt with, once each."""
    one = FakeRouter([letter(n) for n in range(1203, 0, -1)])
    async with serving(one):
        result = await run(one, "dlq", act, "--all", *(["--yes"] if act == "drop" else []))
    is_told(result, code=0)
    assert f"1203 {word}, 0 failed" in result.stdout
    acts = [x for x in one.asked if x.startswith("POST")]
    assert len(acts) == len(set(acts)) == 1203
    assert one.letters == []


async def test_all_goes_on_past_what_fails() -> None:
    """Letters that stay do not keep older ones from their turn."""
    one = FakeRouter([letter(n) for n in range(1100, 0, -1)])
    one.says["replay"] = says('{"detail": "still unreadable", "code": "cannot_replay"}', 409)
    async with serving(one):
        result = await run(one, "dlq", "replay", "--all", "--source", "gitlab", "--kind", "unreadable")
    is_told(result, "0-1-0: still unreadable")
    assert "0 replayed, 1100 failed" in result.stdout
    lists = [x for x in one.asked if x.startswith("GET")]
    assert lists[0] == f"GET {BASE}?limit=500&source=gitlab&kind=unreadable"
    assert [x.rpartition("before=")[2] for x in lists[1:]] == ["0-601-0", "0-101-0", "0-1-0"]


async def test_what_is_added_meanwhile_is_left() -> None:
    """A letter younger than the first look is not touched, wherever it is listed."""
    one = FakeRouter([letter(2), letter(1)])
    plain = one.page

    def page(request: web.Request) -> list[dict[str, str]]:
        young = letter(0, "2026-11-20T10:31:00Z")
        return [*plain(request), young] if "before" in request.query else plain(request)

    one.page = page  # type: ignore[method-assign]  a stand-in that grows meanwhile
    async with serving(one):
        result = await run(one, "dlq", "drop", "--all", "--yes")
    is_told(result, code=0)
    assert "2 dropped, 0 failed" in result.stdout
    assert not [x for x in one.asked if "0-0-0/drop" in x]


async def test_a_list_that_does_not_go_on_ends() -> None:
    """A list that shows the same page whatever is asked is not read for ever."""
    page = says(json.dumps({"dead_letters": [letter(2), letter(1)]}))
    async with serving(FakeRouter(says={"dead-letters": page})) as one:
        result = await run(one, "dlq", "drop", "--all", "--yes")
    assert "2 dropped, 0 failed" in result.stdout


# --- capture ----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def process(
    one: FakeRouter, *args: str, env_more: Mapping[str, str] | None = None, **how: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a command as a process, to be interrupted or left."""
    env = {**os.environ, "INCIDENT_ROUTER_URL": f"http://127.0.0.1:{one.port}", **(env_more or {})}
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE, **how}
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "router", *args, env=env, **pipes)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


@pytest.mark.parametrize("lines", [0, 3])
async def test_an_interrupt_ends_a_capture_well(lines: int, tmp_path: Path) -> None:
    """^C, the documented end, tells the count and is a success; what was captured is in the file."""
    out = tmp_path / "out.jsonl"
    async with serving(FakeRouter(lines=[LINE] * lines)) as one:
        async with process(one, "capture", "--out", str(out)) as child:
            await wait_for(lambda: one.listening and out.exists(), "it listens")
            await wait_for(lambda: out.read_bytes() == LINE * lines, "it has them all")
            assert child.stderr is not None
            assert await child.stderr.readline() == b"listening; end with ^C\n"
            child.send_signal(signal.SIGINT)
            _, err = await asyncio.wait_for(child.communicate(), 20)
        assert (child.returncode, err.decode()) == (0, f"{lines} delivery(ies) captured\n")


@pytest.mark.parametrize("command", [["capture"], ["dlq", "list"], ["dlq", "replay", "--all"]])
async def test_a_reader_that_has_enough_ends_a_command_quietly(command: list[str]) -> None:
    """A closed pipe (``| head``) is no error to be told."""
    one = FakeRouter([letter(n) for n in range(500, 0, -1)], lines=[LINE] * 5000)
    async with serving(one):
        reads, writes = os.pipe()
        os.close(reads)
        async with process(one, *command, stdout=writes) as child:
            os.close(writes)
            _, err = await asyncio.wait_for(child.communicate(), 20)
    said = err.decode()
    assert "Traceback" not in said
    assert "Error" not in said
    assert "Exception" not in said


async def test_a_capture_is_printed_and_counted() -> None:
    """Lines are printed as they came, and the count ends it; it says once that it listens."""
    async with serving(FakeRouter(lines=[b"\n", LINE, b"\n", b'{"missed":3}\n', LINE])) as one:
        result = await run(one, "capture", "--count", "2")
    is_told(result, "2 delivery(ies) captured", 'too many at once: {"missed":3}', code=0)
    assert result.stdout.encode() == LINE * 2
    assert result.stderr.count("listening") == 1


async def test_a_capture_that_the_router_ends_says_so() -> None:
    """A router that stops ends a capture in a sentence; fewer than were asked for is a failure."""
    async with serving(FakeRouter(stays=False)) as one:
        is_told(await run(one, "capture"), "the router ended the capture", "3 delivery(ies)", code=0)
        is_told(await run(one, "capture", "--count", "9"), "the router ended the capture", "3 delivery(ies)")


async def test_only_a_stream_is_captured() -> None:
    """The page of a login is not written to the file."""
    async with serving(FakeRouter()) as one:
        one.says["deliveries"] = says("<html>\n<body>\n", kind="text/html")
        app_answer = await run(one, "capture", "--url", f"http://127.0.0.1:{one.port}/elsewhere")
    is_told(app_answer, "not a router", "text/html")
    assert app_answer.stdout == ""


@pytest.mark.parametrize("name", ["none/out.jsonl", "", "full"])
async def test_a_file_that_cannot_be_written_is_a_sentence(name: str, tmp_path: Path) -> None:
    """A folder that is not there, a folder in place of a file and a full disk end in a sentence."""
    out = "/dev/full" if name == "full" else str(tmp_path / name)
    async with serving(FakeRouter()) as one:
        result = await run(one, "capture", "--count", "1", "--out", out)
    is_told(result, f"cannot write to {out}: ")


async def test_a_terminal_that_cannot_show_it_is_a_sentence() -> None:
    """Characters that a terminal's encoding lacks are no traceback."""
    one = FakeRouter([{**letter(1), "reason": "cut off …"}])
    async with serving(one), process(one, "dlq", "list", env_more={"PYTHONIOENCODING": "latin-1"}) as child:
        _, err = await asyncio.wait_for(child.communicate(), 20)
    assert child.returncode == 1
    assert "this terminal has no way to show it" in err.decode()
    assert "Traceback" not in err.decode()


# --- reconcile --------------------------------------------------------------------------------------

REPORT = {
    "at": "2026-11-24T12:00:00Z", "asked": ["pagerduty"],
    "differences": [
        {"kind": "closed_at_pagerduty", "incident": "7f3a9c21b04d55e0.2", "text": "it is closed\x1b[2J there",
         "would": "reopen", "action": "report", "since": "2026-11-24T11:50:00Z", "mended": False},
        {"kind": "gone_at_alertmanager", "incident": "0123456789abcdef.1", "text": "1 of 1",
         "would": "resolve", "action": "resolve", "since": "2026-11-24T11:40:00Z", "mended": True},
    ],
}  # fmt: skip


async def test_what_is_stuck_is_shown() -> None:
    """A table with what is done, and what would be in a dry run; for programs all of it."""
    one = FakeRouter(says={"reconcile": says(json.dumps(REPORT))})
    async with serving(one):
        shown = await run(one, "reconcile")
        whole = await run(one, "reconcile", "-o", "json")
    assert shown.exit_code == 0
    assert "report (would reopen)" in shown.stdout
    assert "resolve, done" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "2 difference(s); asked: pagerduty" in shown.stderr
    assert json.loads(whole.stdout) == REPORT


async def test_nobody_has_looked() -> None:
    """Said, and no empty table that would mean that all is well."""
    nothing = {"at": None, "asked": [], "differences": []}
    one = FakeRouter(says={"reconcile": says(json.dumps(nothing))})
    async with serving(one):
        result = await run(one, "reconcile")
    assert (result.stdout, "nobody has looked" in result.stderr) == ("", True)
