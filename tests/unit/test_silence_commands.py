"""``router silence`` against the real handlers: what is asked, what is printed, mistakes in a sentence."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from router.kit.clock import SystemClock
from router.model.silences import SilenceMatcher, SilenceState
from router.silence_commands import silence as command
from tests.conftest import free_port
from tests.fakes.silences import MemorySurroundings, MutedReader, SilenceRoom, muted_by
from tests.fakes.silences import silence as made

if TYPE_CHECKING:
    from pathlib import Path

    from router.model.silences import Silence

NOW = SystemClock().now()  # the commands have the real time; a run may come minutes after this line
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def silence(silence_id: str, **changes: Any) -> Silence:
    """Return a silence from now on, for two hours."""
    return made(
        silence_id, **({"starts_at": NOW - MINUTE, "ends_at": NOW + 2 * HOUR, "updated_at": NOW} | changes)
    )


def room(*found: Silence, heads: Any = ()) -> SilenceRoom:
    return SilenceRoom(MemorySurroundings(*found), MutedReader(*heads), SystemClock())


async def run(one: SilenceRoom | None, *args: str, stdin: str | None = None, **env: str) -> Result:
    """Run a command in a thread of this process, against the room or against nobody."""
    port = one.port if one is not None else free_port()
    environ = {"INCIDENT_ROUTER_URL": f"http://127.0.0.1:{port}", "USER": "ana", **env}
    return await asyncio.to_thread(CliRunner(env=environ).invoke, command, args, input=stdin)


def is_told(result: Result, *words: str, code: int = 1) -> None:
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    for word in words:
        assert word in result.stderr


# --- add ------------------------------------------------------------------------------------------


async def test_add_prints_the_id() -> None:
    """From now on, for an hour, by USER, unless said otherwise; all matchers are taken as written."""
    one, before = room(), SystemClock().now()
    async with one.served():
        result = await run(one, "add", "HighErrorRate", 'env=~"dev|test",pod!=a', "zone!~x.*", "-c", "test")
    is_told(result, code=0)
    found = one.shared[result.stdout.strip()]
    assert found.matchers == (
        SilenceMatcher("alertname", "HighErrorRate"),
        SilenceMatcher("env", "dev|test", is_regex=True),
        SilenceMatcher("pod", "a", is_equal=False),
        SilenceMatcher("zone", "x.*", is_regex=True, is_equal=False),
    )
    assert (found.created_by, found.comment, found.state(one.now)) == ("ana", "test", SilenceState.ACTIVE)
    assert before <= found.ends_at - HOUR <= SystemClock().now()


@pytest.mark.parametrize(
    ("args", "length"),
    [(["-d", "2h30m"], timedelta(hours=2.5)), (["--end", "END"], 6 * HOUR), ([], HOUR)],
    ids=["duration", "end", "neither"],
)
async def test_add_from_a_time_to_come(args: list[str], length: timedelta) -> None:
    """A duration counts from --start; an end is an end."""
    one = room()
    starts = (NOW + 3 * HOUR).replace(microsecond=0)
    args = [(starts + length).isoformat() if a == "END" else a for a in args]
    async with one.served():
        result = await run(
            one, "add", "a=b", "--start", starts.isoformat(), *args, "-c", "x", "-a", "bob", "-o", "json"
        )
    found = one.shared[json.loads(result.stdout)["silenceID"]]
    assert (found.starts_at, found.ends_at, found.created_by) == (starts, starts + length, "bob")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a=b"], "Missing option '-c'"),
        (["-c", "x"], "Missing argument"),
        (["a=b", "-c", "x", "-a", " "], "say who wants it"),
        (["a=b", "-c", "x", "-d", "1h", "--end", "2030-01-01T00:00:00Z"], "not both"),
        (["a=b", "-c", "x", "-d", "soon"], "not a duration"),
        (["a=b", "-c", "x", "-d", "0"], "longer than 0"),
        (["a=b", "-c", "x", "--end", "tomorrow"], "no time with a zone"),
        (["a=b", "-c", "x", "--end", "2030-01-01T00:00:00"], "no time with a zone"),
        (["a=b", "-c", "x", "--start", "9999-12-01T00:00:00Z", "-d", "52w"], "too far ahead"),
        (["a=b c", "-c", "x"], "must be quoted"),
        (["a={b}", "-c", "x"], "double quotes"),
        (['a=~"(?=x)"', "-c", "x"], "look-around"),
        (["a=b", "c", "-c", "x"], "operator"),
    ],
)
async def test_mistakes_are_told_before_anything_is_asked(args: list[str], words: str) -> None:
    """What cannot be meant ends with exit code 2 and a sentence."""
    is_told(await run(None, "add", *args), words, code=2)


async def test_what_the_router_refuses_is_told() -> None:
    """The router's own sentence, and no id."""
    one = room()
    async with one.served():
        result = await run(one, "add", "a=b", "-c", "x", "-d", "91d")
    is_told(result, "90 days at most", "bad_silence")
    assert result.stdout == ""


@pytest.mark.parametrize(
    "args", [["query"], ["show", "x"], ["expire", "x"], ["update", "x", "-c", "y"], ["add", "a=b", "-c", "x"]]
)
async def test_without_a_router_it_is_a_sentence(args: list[str]) -> None:
    """Nobody listens there: told, never a traceback."""
    is_told(await run(None, *args), "is the router running there")


# --- query and show -------------------------------------------------------------------------------

SEVERAL = (
    silence("ends-soon", ends_at=NOW + HOUR, comment="deploy\x1b[2J of pay"),
    silence("ends-late", ends_at=NOW + 9 * HOUR, matchers=(SilenceMatcher("env", "a&b+c %"),)),
    silence("pending", starts_at=NOW + HOUR, ends_at=NOW + 9 * HOUR),
    silence("expired", starts_at=NOW - 3 * HOUR, ends_at=NOW - HOUR),
    silence("older", starts_at=NOW - 30 * HOUR, ends_at=NOW - 20 * HOUR),
)


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        ([], ["ends-soon", "ends-late", "pending"]),
        (["--expired"], ["expired", "older"]),
        (["--within", "8h"], ["ends-soon"]),
        (["--expired", "--within", "8h"], ["expired"]),
        (['env="a&b+c %"'], ["ends-late"]),
        (["service=payment-service", "service!=x"], ["ends-soon", "pending"]),
        (["HighErrorRate"], []),
    ],
)
async def test_query_finds(args: list[str], ids: list[str]) -> None:
    """By matchers, by whether it has expired, by how soon it ends; the next to end first."""
    one = room(*SEVERAL)
    async with one.served():
        quiet = await run(one, "query", *args, "-q")
        as_json = await run(one, "query", *args, "-o", "json")
    assert quiet.stdout.split() == ids
    assert [s["id"] for s in json.loads(as_json.stdout)] == ids


async def test_query_is_a_table_for_people() -> None:
    """Matchers as they are typed, the state, how much is muted; nothing that steers a terminal."""
    one = room(*SEVERAL, heads=[muted_by("ends-soon")] * 3)
    async with one.served():
        result = await run(one, "query")
    head, first, *_ = result.stdout.splitlines()
    assert head.split() == ["ID", "MATCHERS", "STATE", "ENDS", "(UTC)", "MUTES", "BY", "COMMENT"]
    cells = first.split()
    assert cells[:3] == ["ends-soon", 'service="payment-service"', "active"]
    assert cells[4:6] == ["3", "ana"]
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


async def test_a_long_list_says_that_there_are_more() -> None:
    """What is left out is said."""
    one = room(*(silence(f"s{n}") for n in range(501)))
    async with one.served():
        result = await run(one, "query", "-q")
    assert len(result.stdout.split()) == 500
    is_told(result, "the first 500 of 501", code=0)


async def test_a_wrong_filter_is_told_here() -> None:
    """A matcher that is none is refused before the router is asked."""
    is_told(await run(None, "query", "a=b", "c"), "operator", code=2)


async def test_show_is_for_people_or_programs() -> None:
    """One silence with all that is known of it; what is no id of a silence leads to no other path."""
    one = room(silence("s1"), heads=[muted_by("s1")])
    async with one.served():
        shown = await run(one, "show", "s1")
        as_json = await run(one, "show", "s1", "-o", "json")
        is_told(await run(one, "show", "a/b?c"), "no such silence")
    for words in ("id        s1", 'matchers  service="payment-service"', "mutes     1 open incident(s)"):
        assert words in shown.stdout
    assert json.loads(as_json.stdout)["mutes"] == 1
    assert one.asked[-1] == "GET /api/v1/silences/a%2Fb%3Fc"


# --- update and expire ----------------------------------------------------------------------------


async def test_update_moves_the_end() -> None:
    """A duration counts from now, or from the start of one that has not begun; the rest stays."""
    one = room(silence("s1"), silence("p1", starts_at=NOW + 5 * HOUR, ends_at=NOW + 6 * HOUR))
    until, before = (NOW + 7 * HOUR).replace(microsecond=0), SystemClock().now()
    async with one.served():
        assert (await run(one, "update", "s1", "-d", "4h")).stdout.strip() == "s1"
        assert before <= one.shared["s1"].ends_at - 4 * HOUR <= SystemClock().now()
        assert (await run(one, "update", "p1", "-d", "4h")).stdout.strip() == "p1"
        assert one.shared["p1"].ends_at == NOW + 9 * HOUR
        said = await run(one, "update", "s1", "--end", until.isoformat(), "-c", "longer", "-o", "json")
    assert json.loads(said.stdout)["result"] == "updated"
    assert (one.shared["s1"].ends_at, one.shared["s1"].comment) == (until, "longer")
    assert one.shared["s1"].created_by == "ana"


async def test_an_expired_one_is_made_anew() -> None:
    """Under another id, which is printed."""
    one = room(silence("s1", starts_at=NOW - 3 * HOUR, ends_at=NOW - HOUR))
    async with one.served():
        new = (await run(one, "update", "s1", "-d", "1h")).stdout.strip()
    assert new != "s1"
    assert one.shared[new].state(one.now) is SilenceState.ACTIVE


@pytest.mark.parametrize(
    ("args", "words"),
    [([], "say what to change"), (["-d", "1h", "--end", "2030-01-01T00:00:00Z"], "not both")],
)
async def test_update_wants_one_thing(args: list[str], words: str) -> None:
    """Nothing to change, or two ends, is a mistake."""
    is_told(await run(None, "update", "s1", *args), words, code=2)


async def test_expire_ends_each() -> None:
    """Each is told by itself; one that is not there makes exit code 1 and keeps no other from its turn."""
    one = room(silence("s1"), silence("s2"), silence("s3", ends_at=NOW - MINUTE))
    async with one.served():
        result = await run(one, "expire", "s1", "none", "s3", "s2")
        as_json = await run(one, "expire", "s2", "-o", "json")
    is_told(result, "none: no such silence")
    assert result.stdout.splitlines() == ["s1: expired", "s3: expired already", "s2: expired"]
    assert one.shared["s2"].state(one.now) is SilenceState.EXPIRED
    assert as_json.exit_code == 0
    assert json.loads(as_json.stdout)["silences"][0]["silenceID"] == "s2"


# --- import ---------------------------------------------------------------------------------------


def theirs(**changes: Any) -> dict[str, Any]:
    """Return a silence as Alertmanager gives it."""
    iso = "%Y-%m-%dT%H:%M:%S.%fZ"
    base = {
        "id": "6f1bc3b8-0c3f-4c4e-8f3e-0d2f4b8e1c11",
        "status": {"state": "active"},
        "updatedAt": (NOW - HOUR).strftime(iso),
        "comment": "load test",
        "createdBy": "ana",
        "startsAt": (NOW - HOUR).strftime(iso),
        "endsAt": (NOW + HOUR).strftime(iso),
        "matchers": [{"name": "service", "value": "pay", "isRegex": False, "isEqual": True}],
        "annotations": {"newer": "field"},
    }
    return base | changes


OLD = [{"name": "a", "value": "b", "isRegex": True}]  # before 0.22 there was no isEqual
PILE = [
    theirs(),
    theirs(id="expired", endsAt="2020-01-01T00:00:00Z"),
    theirs(id="old", matchers=OLD, comment="", createdBy=""),
    theirs(id="lines", comment="two\nlines\u200b" + "x" * 2000),
    theirs(id="long", endsAt="2999-01-01T00:00:00Z"),
    theirs(id="no-end", endsAt=None),
    theirs(id="no-matchers", matchers=[5]),
    {"id": "\x1b[2J"},
    "text",
]


async def test_import_takes_over_what_can_be(tmp_path: Path) -> None:
    """Made under the same ids, expired ones skipped, what cannot be taken told; the second time nothing."""
    file = tmp_path / "silences.json"
    file.write_text(json.dumps(PILE))
    one = room()
    async with one.served():
        dry = await run(one, "import", str(file), "--dry-run")
        assert one.shared.kept == {}
        first = await run(one, "import", str(file))
        again = await run(one, "import", "-", "-o", "json", stdin=json.dumps({"silences": PILE[:3]}))
    assert dry.stdout.splitlines()[-1] == "would be: 3 made, 0 updated, 1 skipped, 5 failed"
    lines = first.stdout.splitlines()
    assert lines[-1] == "3 made, 0 updated, 1 skipped, 5 failed"
    assert lines[1] == "expired: skipped (expired)"
    assert "90 days at most" in lines[4]
    assert lines[5] == "no-end: failed (it is no silence of Alertmanager's API v2)"
    assert lines[8].startswith("no. 9: failed")
    assert "\x1b" not in first.output
    assert (dry.exit_code, first.exit_code, again.exit_code) == (1, 1, 0)
    assert sorted(one.shared.kept) == ["6f1bc3b8-0c3f-4c4e-8f3e-0d2f4b8e1c11", "lines", "old"]
    assert one.shared["old"].created_by == "(unknown in Alertmanager)"
    assert one.shared["old"].matchers == (SilenceMatcher("a", "b", is_regex=True),)
    assert one.shared["lines"].comment.startswith("two linesxxx")
    said = json.loads(again.stdout)
    assert (said["made"], said["skipped"], said["dry_run"]) == (0, 3, False)
    assert said["silences"][0]["why"] == "unchanged"


async def test_import_changes_what_was_imported() -> None:
    """What was changed in Alertmanager since is changed here; what was expired here is left so."""
    one = room()
    async with one.served():
        await run(one, "import", "-", stdin=json.dumps([theirs(), theirs(id="mine")]))
        await run(one, "expire", "mine")
        later = json.dumps([theirs(comment="longer"), theirs(id="mine")])
        result = await run(one, "import", "-", stdin=later)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "0 made, 1 updated, 1 skipped, 0 failed"
    assert "mine: skipped (mine was expired here" in result.stdout


@pytest.mark.parametrize(
    ("args", "stdin", "words", "code"),
    [
        ([], None, "name a FILE", 2),
        (["-", "--from", "http://x"], "[]", "name a FILE", 2),
        (["/none"], None, "No such file", 2),
        (["-"], "<html>", "the file is no JSON", 1),
        (["-"], "[" * 100_000, "is no JSON", 1),
        (["-"], "5", "no list of silences", 1),
        (["-"], "{}", "no list of silences", 1),
        (["--from", "http://u:hunter2@127.0.0.1:9"], None, "is Alertmanager running there", 1),
        (["--from", "nonsense"], None, "is Alertmanager running there", 1),
    ],
)
async def test_what_cannot_be_imported_is_a_sentence(
    args: list[str], stdin: str | None, words: str, code: int
) -> None:
    """No list, no file, no Alertmanager: told, without a password, before the router is asked."""
    result = await run(None, "import", *args, stdin=stdin)
    is_told(result, words, code=code)
    assert "hunter2" not in result.output


@pytest.mark.parametrize("status", [200, 302, 401])
async def test_import_asks_an_alertmanager(status: int) -> None:
    """Its API is asked under its own path prefix; whatever else answers there is told."""
    asked = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response([theirs()], status=status, headers={"Location": "/login"})

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    one = room()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with one.served():
            result = await run(one, "import", "--from", f"http://127.0.0.1:{port}/am/")
    finally:
        await runner.cleanup()
    assert asked == ["/am/api/v2/silences"]
    if status == 200:
        assert result.stdout.splitlines()[-1] == "1 made, 0 updated, 0 skipped, 0 failed"
    else:
        is_told(result, f"answered {status}", "Alertmanager's own address")
        assert one.shared.kept == {}


def test_every_command_shows_an_example() -> None:
    """--help of each has one line to copy."""
    for name in command.commands:
        result = CliRunner().invoke(command, [name, "--help"])
        assert f"Example: router silence {name}" in " ".join(result.output.split())
