"""``router dlq``, ``router senders`` and ``router capture``: commands that ask a running router.

All of them take ``--url`` and ``--token`` (or INCIDENT_ROUTER_URL and INCIDENT_ROUTER_TOKEN). What
cannot be done ends with a sentence on standard error and exit code 1. A reader that has seen enough
(``| head``) ends a command quietly.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar
from urllib.parse import quote

import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence

    from router.remote import Remote

T = TypeVar("T")
_KINDS = ["undecidable", "undecodable", "undelivered", "unreadable"]


class _Letter(TypedDict):
    """What these commands need of an answer; there may be more in it."""

    id: str
    at: str
    kind: str
    source: str
    reason: str


class _Letters(TypedDict):
    dead_letters: list[_Letter]


class _Replayed(TypedDict):
    status: Literal["replayed"]


class _Dropped(TypedDict):
    status: Literal["dropped"]


class _Sender(TypedDict):
    source: str
    heard: str | None
    refused: int
    wrong: list[str]


class _Senders(TypedDict):
    senders: list[_Sender]


def asks(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which the router is found, and turn what goes wrong into sentences."""
    url = click.option(
        "--url", envvar="INCIDENT_ROUTER_URL", default="http://127.0.0.1:8080", show_default=True,
        help="The running router.",
    )  # fmt: skip
    token = click.option(
        "--token",
        envvar="INCIDENT_ROUTER_TOKEN",
        default="",
        help="An API token; better in the environment.",
    )

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from router.remote import RemoteError  # noqa: PLC0415  --help need not load an HTTP client

        try:
            command(*args, **kwargs)
        except RemoteError as exc:
            click.echo(str(exc), err=True)
        except UnicodeEncodeError as exc:
            click.echo(f"this terminal has no way to show it ({exc.encoding}); set PYTHONUTF8=1", err=True)
        except KeyboardInterrupt:
            pass
        else:
            return
        sys.exit(1)

    return url(token(guarded))


as_ = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="For people or for programs.",
)
_source = click.option("--source", default="", help="Only of this source.")
_kind = click.option("--kind", type=click.Choice(_KINDS), default=None, help="Only of this kind.")
_all = click.option("--all", "every", is_flag=True, help="All that --source and --kind leave.")


def run(work: Callable[[Remote], Coroutine[Any, Any, T]], url: str, token: str) -> T:
    """Return what the work with a router comes to."""
    from router.remote import Remote  # noqa: PLC0415  as in asks

    return asyncio.run(work(Remote(url, token)))


@click.group()
def dlq() -> None:
    """Dead letters: what could not be read, decided or delivered.

    Example: router dlq list --source gitlab
    """


@dlq.command("list")
@_source
@_kind
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="At most.")
@as_
@asks
def list_(source: str, kind: str | None, limit: int, output: str, url: str, token: str) -> None:
    """List dead letters, newest first.

    Example: router dlq list --kind unreadable
    """
    letters = run(lambda r: _list(r, source, kind, limit), url, token)
    if output == "json":
        click.echo(json.dumps({"dead_letters": letters}))
        return
    rows = [(x["id"], x["at"][:19], x["kind"], x["source"], x["reason"]) for x in letters]
    table(("ID", "AT (UTC)", "KIND", "SOURCE", "REASON"), rows)
    click.echo(f"{len(rows)} dead letter(s)", err=True)


@dlq.command()
@click.argument("letter_id", metavar="ID")
@asks
def show(letter_id: str, url: str, token: str) -> None:
    """Show one dead letter as JSON: its reason, headers and body, without secrets.

    Example: router dlq show 3-1764028800000-0
    """
    found = run(lambda r: r.get(_path(letter_id), _Letter), url, token)
    click.echo(json.dumps(found, indent=2))


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_all
@_source
@_kind
@click.option("--stale", is_flag=True, help="Also open incidents by deliveries older than an hour.")
@asks
def replay(
    *,
    ids: Sequence[str],
    every: bool,
    source: str,
    kind: str | None,
    stale: bool,
    url: str,
    token: str,
) -> None:
    """Do again what dead letters hold; those that succeed are gone. Exit code 1 if any failed.

    Example: router dlq replay --source gitlab --all
    """
    _need(ids, every=every)
    done, failed = run(lambda r: _each(r, _Pick(ids, source, kind), "replay", stale=stale), url, token)
    click.echo(f"{done} replayed, {failed} failed")
    sys.exit(1 if failed else 0)


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_all
@_source
@_kind
@click.option("--yes", is_flag=True, help="Do not ask.")
@asks
def drop(
    *,
    ids: Sequence[str],
    every: bool,
    source: str,
    kind: str | None,
    yes: bool,
    url: str,
    token: str,
) -> None:
    """Delete dead letters for good.

    Example: router dlq drop 3-1764028800000-0
    """
    _need(ids, every=every)
    if every and not yes:
        click.confirm("Delete them for good?", abort=True)
    done, failed = run(lambda r: _each(r, _Pick(ids, source, kind), "drop"), url, token)
    click.echo(f"{done} dropped, {failed} failed")
    sys.exit(1 if failed else 0)


@click.command("senders")
@as_
@asks
def senders(output: str, url: str, token: str) -> None:
    """List who sends, when each was last heard, and what is wrong with it.

    Example: router senders
    """
    found = run(lambda r: r.get("/api/v1/senders", _Senders), url, token)["senders"]
    if output == "json":
        click.echo(json.dumps({"senders": found}))
        return
    rows = [
        (x["source"], (x["heard"] or "never")[:19], str(x["refused"]), ", ".join(x["wrong"])) for x in found
    ]
    table(("SENDER", "HEARD (UTC)", "REFUSED", "WRONG"), rows)


@click.command()
@click.option("--source", default="", help="Only of this source.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Append here; else print.")
@click.option("--count", type=click.IntRange(min=1), default=None, help="End after so many.")
@asks
def capture(source: str, out: Path | None, count: int | None, url: str, token: str) -> None:
    """Write authentic deliveries, as they come, to a file: one JSON object a line, secrets taken out.

    For tests, for bug reports, and to be sent again. Ends with ^C. Sees the deliveries of the one
    process that --url leads to.

    Example: router capture --source gitlab --out gitlab.jsonl
    """
    catch = _Catch(source, count)
    try:
        with _sink(out) as keep, contextlib.suppress(KeyboardInterrupt):
            run(lambda r: _capture(r, catch, keep), url, token)
    finally:
        if catch.seen or catch.listened:
            click.echo(f"{catch.seen} delivery(ies) captured", err=True)


_BASE = "/api/v1/dead-letters"
_PAGE = 500
_ACTS = {"replay": _Replayed, "drop": _Dropped}


def _path(letter_id: str) -> str:
    return f"{_BASE}/{quote(letter_id, safe='')}"


async def _list(
    remote: Remote, source: str, kind: str | None, limit: int, before: str = ""
) -> list[dict[str, Any]]:
    query = {"limit": str(limit), "source": source, "kind": kind or "", "before": before}
    page = await remote.get(_BASE, _Letters, {name: value for name, value in query.items() if value})
    found: list[dict[str, Any]] = page["dead_letters"]
    return found


def _need(ids: Sequence[str], *, every: bool) -> None:
    if bool(ids) == every:
        raise click.UsageError("name dead letters by their ids, or say --all")


class _Pick(NamedTuple):
    """Which dead letters: these, or where there are no ids all of a source and kind."""

    ids: Sequence[str]
    source: str
    kind: str | None


async def _pages(remote: Remote, pick: _Pick) -> AsyncIterator[str]:
    """Yield the ids of what is there now. Each has been dealt with when the next is asked for.

    The list shows the newest first and at most a page; the next page is what comes after its last letter,
    whether or not that one is still there. What is added meanwhile (a replay that failed again) is
    younger than the first look, and is left.
    """
    until, before, seen = "", "", set[str]()
    while page := await _list(remote, pick.source, pick.kind, _PAGE, before):
        until = until or max(letter["at"] for letter in page)
        before = page[-1]["id"]
        if before in seen:  # else a list that does not go on would be read for ever
            return
        seen.update(letter["id"] for letter in page)
        for letter in page:
            if letter["at"] <= until:
                yield letter["id"]


async def _named(ids: Sequence[str]) -> AsyncIterator[str]:
    for letter_id in ids:
        yield letter_id


async def _each(remote: Remote, pick: _Pick, act: str, *, stale: bool = False) -> tuple[int, int]:
    """Do it for each; return how many it was done for, and for how many it failed."""
    from router.remote import RemoteError  # noqa: PLC0415  as in asks

    done = failed = 0
    async for letter_id in _named(pick.ids) if pick.ids else _pages(remote, pick):
        try:
            said = await remote.post(
                f"{_path(letter_id)}/{act}", _ACTS[act], {"stale": "true"} if stale else None
            )
        except RemoteError as exc:
            failed += 1
            click.echo(f"{letter_id}: {exc}", err=True)
        else:
            done += 1
            note = f", but {said['note']}" if said.get("note") else ""
            click.echo(f"{letter_id}: {said['status']}{note}")
    return done, failed


class _Catch:
    """What a capture wants, and has so far: ^C ends it, and the count is told all the same."""

    def __init__(self, source: str, count: int | None) -> None:
        self.query = {"source": source} if source else {}
        self.count = count
        self.seen = 0
        self.listened = False

    def full(self) -> bool:
        return self.seen == self.count


@contextlib.contextmanager
def _sink(out: Path | None) -> Iterator[Callable[[bytes], None]]:
    """Yield what keeps a line: in this file, or on standard output."""
    if out is None:
        yield click.echo
        return
    try:
        with out.open("ab") as file:

            def keep(line: bytes) -> None:
                file.write(line + b"\n")
                file.flush()

            yield keep
    except OSError as exc:  # of the file: the client has its own
        raise click.ClickException(f"cannot write to {out}: {exc.strerror}") from exc


async def _capture(remote: Remote, catch: _Catch, keep: Callable[[bytes], None]) -> None:
    from router.remote import RemoteError  # noqa: PLC0415  as in asks

    async with contextlib.aclosing(remote.lines("/api/v1/deliveries", catch.query)) as lines:
        async for line in lines:
            if not catch.listened:
                catch.listened = True
                click.echo("listening; end with ^C", err=True)
            if not line:
                continue
            if line.startswith(b'{"missed"'):
                click.echo(f"too many at once: {line.decode('utf-8', 'replace')}", err=True)
                continue
            keep(line)
            catch.seen += 1
            if catch.full():
                return
    if catch.count:
        raise RemoteError("the router ended the capture")
    click.echo("the router ended the capture", err=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the last one takes what is left."""
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head) - 1)]
    for row in [head, *rows]:
        cells = [str(cell).ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, str(row[-1])]).rstrip())
