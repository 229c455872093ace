"""``router dlq``, ``router senders`` and ``router capture``: commands that ask a running router.

All of them take ``--url`` and ``--token`` (or INCIDENT_ROUTER_URL and INCIDENT_ROUTER_TOKEN). What
cannot be done ends with a sentence on standard error and exit code 1.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from router.remote import Remote

T = TypeVar("T")
_KINDS = ["undecidable", "undecodable", "undelivered", "unreadable"]


def _asks(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which the router is found."""
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
    return url(token(command))


_as = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="For people or for programs.",
)
_source = click.option("--source", default="", help="Only of this source.")
_kind = click.option("--kind", type=click.Choice(_KINDS), default=None, help="Only of this kind.")
_all = click.option("--all", "every", is_flag=True, help="All that --source and --kind leave.")


def _run(work: Callable[[Remote], Coroutine[Any, Any, T]], url: str, token: str) -> T:
    from router.remote import Remote, RemoteError  # noqa: PLC0415  --help need not load an HTTP client

    try:
        return asyncio.run(work(Remote(url, token)))
    except RemoteError as exc:
        click.echo(str(exc), err=True)
    except KeyboardInterrupt:
        pass
    sys.exit(1)


@click.group()
def dlq() -> None:
    """Dead letters: what could not be read, decided or delivered.

    Example: router dlq list --source gitlab
    """


@dlq.command("list")
@_source
@_kind
@click.option("--limit", type=click.IntRange(1, 500), default=100, show_default=True, help="At most.")
@_as
@_asks
def list_(source: str, kind: str | None, limit: int, output: str, url: str, token: str) -> None:
    """List dead letters, newest first.

    Example: router dlq list --kind unreadable
    """
    letters = _run(lambda r: _list(r, source, kind, limit), url, token)
    if output == "json":
        click.echo(json.dumps({"dead_letters": letters}))
        return
    rows = [(x["id"], x["at"][:19], x["kind"], x["source"], x["reason"]) for x in letters]
    _table(("ID", "AT (UTC)", "KIND", "SOURCE", "REASON"), rows)
    click.echo(f"{len(rows)} dead letter(s)", err=True)


@dlq.command()
@click.argument("letter_id", metavar="ID")
@_asks
def show(letter_id: str, url: str, token: str) -> None:
    """Show one dead letter as JSON: its reason, headers and body, without secrets.

    Example: router dlq show 3-1764028800000-0
    """
    click.echo(json.dumps(_run(lambda r: r.get(f"{_BASE}/{letter_id}"), url, token), indent=2))


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_all
@_source
@_kind
@_asks
def replay(*, ids: Sequence[str], every: bool, source: str, kind: str | None, url: str, token: str) -> None:
    """Do again what dead letters hold; those that succeed are gone. Exit code 1 if any failed.

    Example: router dlq replay --source gitlab --all
    """
    _need(ids, every=every)
    done, failed = _run(lambda r: _each(r, _Pick(ids, source, kind), "replay"), url, token)
    click.echo(f"{done} replayed, {failed} failed")
    sys.exit(1 if failed else 0)


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_all
@_source
@_kind
@click.option("--yes", is_flag=True, help="Do not ask.")
@_asks
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
    done, failed = _run(lambda r: _each(r, _Pick(ids, source, kind), "drop"), url, token)
    click.echo(f"{done} dropped, {failed} failed")
    sys.exit(1 if failed else 0)


@click.command("senders")
@_as
@_asks
def senders(output: str, url: str, token: str) -> None:
    """List who sends, when each was last heard, and what is wrong with it.

    Example: router senders
    """
    found = _run(lambda r: r.get("/api/v1/senders"), url, token)["senders"]
    if output == "json":
        click.echo(json.dumps({"senders": found}))
        return
    rows = [
        (x["source"], (x["heard"] or "never")[:19], str(x["refused"]), ", ".join(x["wrong"])) for x in found
    ]
    _table(("SENDER", "HEARD (UTC)", "REFUSED", "WRONG"), rows)


@click.command()
@click.option("--source", default="", help="Only of this source.")
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Append here; else print.")
@click.option("--count", type=click.IntRange(min=1), default=None, help="End after so many.")
@_asks
def capture(source: str, out: Path | None, count: int | None, url: str, token: str) -> None:
    """Write authentic deliveries, as they come, to a file: one JSON object a line, secrets taken out.

    For tests, for bug reports, and to be sent again. Ends with ^C. Sees the deliveries of the one
    process that --url leads to.

    Example: router capture --source gitlab --out gitlab.jsonl
    """
    seen = _run(lambda r: _capture(r, source, out, count), url, token)
    click.echo(f"{seen} delivery(ies) captured", err=True)


_BASE = "/api/v1/dead-letters"
_DONE = {"replay": "replayed", "drop": "dropped"}


async def _list(remote: Remote, source: str, kind: str | None, limit: int) -> list[dict[str, Any]]:
    query = {"limit": str(limit)}
    if source:
        query["source"] = source
    if kind:
        query["kind"] = kind
    found: list[dict[str, Any]] = (await remote.get(_BASE, query))["dead_letters"]
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

    The list shows the newest first and at most a page, so it is read until it shows nothing new. What is
    added meanwhile (a replay that failed again) is younger than the first look, and is left.
    """
    until, seen = "", set[str]()
    while True:
        page = await _list(remote, pick.source, pick.kind, 500)
        until = until or max((x["at"] for x in page), default="")
        fresh = [x["id"] for x in page if x["id"] not in seen and x["at"] <= until]
        if not fresh:
            return
        seen.update(fresh)
        for letter_id in fresh:
            yield letter_id


async def _named(ids: Sequence[str]) -> AsyncIterator[str]:
    for letter_id in ids:
        yield letter_id


async def _each(remote: Remote, pick: _Pick, act: str) -> tuple[int, int]:
    """Do it for each; return how many it was done for, and for how many it failed."""
    from router.remote import RemoteError  # noqa: PLC0415  as in _run

    done = failed = 0
    async for letter_id in _named(pick.ids) if pick.ids else _pages(remote, pick):
        try:
            await remote.post(f"{_BASE}/{letter_id}/{act}")
        except RemoteError as exc:
            failed += 1
            click.echo(f"{letter_id}: {exc}", err=True)
        else:
            done += 1
            click.echo(f"{letter_id}: {_DONE[act]}")
    return done, failed


async def _capture(remote: Remote, source: str, out: Path | None, count: int | None) -> int:
    seen = 0
    query = {"source": source} if source else {}
    file = out.open("ab") if out is not None else None
    try:
        async for line in remote.lines("/api/v1/deliveries", query):
            if not line:
                if not seen:
                    click.echo("listening; end with ^C", err=True)
                continue
            if line.startswith(b'{"missed"'):
                click.echo(f"too many at once: {line.decode()}", err=True)
                continue
            if file is not None:
                file.write(line + b"\n")
                file.flush()
            else:
                click.echo(line.decode())
            seen += 1
            if seen == count:
                break
    finally:
        if file is not None:
            file.close()
    return seen


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the last one takes what is left."""
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head) - 1)]
    for row in [head, *rows]:
        cells = [str(cell).ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, str(row[-1])]).rstrip())
