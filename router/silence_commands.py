"""``router silence``: add, query, show, update, expire and import silences, in amtool's manner.

All of them ask a running router, by ``--url`` and ``--token`` as the other commands do. Matchers, times
and durations are checked here where that can be said better at once; whether a silence is taken says the
router. ``import`` reads what an Alertmanager has, by its API or from a file.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime, timedelta
from typing import IO, TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

import click

from router.commands import as_, asks, run, table
from router.kit.secrets_in_text import links
from router.kit.text import line
from router.silence_import import BASE, Written, fetched, listed, now, posted, taken_over, time_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.remote import Remote

#: Go's zero time, which Alertmanager and we read as: from now on, by the router's clock.
_NOW = "0001-01-01T00:00:00Z"
_PAGE = 500
_BARE = re.compile(r"[\w.:/-]+").fullmatch
_AN_HOUR = timedelta(hours=1)


class _Matcher(TypedDict):
    name: str
    value: str


class _Status(TypedDict):
    state: str


class _Silence(TypedDict):
    """What these commands need of an answer; there may be more in it."""

    id: str
    status: _Status
    startsAt: str
    endsAt: str
    createdBy: str
    comment: str
    matchers: list[_Matcher]


class _Silences(TypedDict):
    silences: list[_Silence]
    total: int


def _as_duration(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    from router.rulebook import durations  # noqa: PLC0415  --help need not load it

    if value is None:
        return None
    try:
        found = durations.parse(value)
    except durations.DurationError as exc:
        raise click.BadParameter(f"{exc} ({exc.hint})") from exc
    if not found:
        raise click.BadParameter("it must be longer than 0")
    return found


def _as_time(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    try:
        return time_of(value) if value is not None else None
    except (ValueError, OverflowError):
        hint = "write for example 2026-11-24T18:00:00Z"
        raise click.BadParameter(f"{str(value)[:40]!r} is no time with a zone: {hint}") from None


_LENGTH: Any = {"metavar": "2h", "callback": _as_duration, "default": None}
_TIME: Any = {"metavar": "TIME", "callback": _as_time, "default": None}
_duration = click.option("-d", "--duration", **_LENGTH, help="How long, from then on.")
_start = click.option("--start", **_TIME, help="From when on, such as 2026-11-24T18:00:00Z; else now.")
_end = click.option("--end", **_TIME, help="Until when.")


@click.group()
def silence() -> None:
    """Silences: what is not to be told, until when, by whom and why.

    Example: router silence query service=payment-service
    """


@silence.command()
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER...")
@_duration
@_start
@_end
@click.option("-a", "--author", envvar="USER", default="", show_envvar=True, help="Who wants it.")
@click.option("-c", "--comment", required=True, help="Why; whoever is not told wants to know.")
@as_
@asks
def add(  # noqa: PLR0913  one argument for each option
    *,
    matchers: Sequence[str],
    duration: timedelta | None,
    start: datetime | None,
    end: datetime | None,
    author: str,
    comment: str,
    output: str,
    url: str,
    token: str,
) -> None:
    """Silence what all of these match, for an hour unless said otherwise; print the silence's id.

    A first MATCHER without an operator is the value of alertname.

    Example: router silence add 'service="payment-service"' 'env=~"dev|test"' -d 2h -a ana -c "load test"
    """
    if not author.strip():
        raise click.UsageError("say who wants it: --author (or USER in the environment)")
    if duration is not None and end is not None:
        raise click.UsageError("give --duration or --end, not both")
    body = {
        "matchers": _conditions(matchers),
        "startsAt": start.isoformat() if start is not None else _NOW,
        "endsAt": (end or _after(start or now(), duration or _AN_HOUR)).isoformat(),
        "createdBy": author,
        "comment": comment,
    }
    said = run(lambda r: r.post(BASE, Written, body=body), url, token)
    click.echo(json.dumps(said) if output == "json" else said["silenceID"])


@silence.command()
@click.argument("matchers", nargs=-1, metavar="[MATCHER]...")
@click.option("--expired", is_flag=True, help="Those that have ended, instead of the others.")
@click.option("--within", **_LENGTH, help="Only what ends (or has ended) within it.")
@click.option("-q", "--quiet", is_flag=True, help="Only ids, one a line.")
@as_
@asks
def query(
    *,
    matchers: Sequence[str],
    expired: bool,
    within: timedelta | None,
    quiet: bool,
    output: str,
    url: str,
    token: str,
) -> None:
    """List silences whose own matchers, read as labels, these match; the next to end comes first.

    Example: router silence query service=payment-service --within 8h
    """
    wanted = "".join(f"&filter={quote(_one(m), safe='')}" for m in _texts(matchers))
    path = f"{BASE}?limit={_PAGE}{'&state=expired' if expired else ''}{wanted}"
    found = run(lambda r: r.get(path, _Silences), url, token)
    silences = [s for s in found["silences"] if within is None or _within(s, within)]
    if output == "json":
        click.echo(json.dumps(silences))
    elif quiet:
        for one in silences:
            click.echo(one["id"])
    else:
        rows = [
            (s["id"], line(_shown(s), 80), s["status"]["state"], s["endsAt"][:19], _count(s), s["createdBy"])
            for s in silences
        ]
        head = ("ID", "MATCHERS", "STATE", "ENDS (UTC)", "MUTES", "BY", "COMMENT")
        table(head, [(*row, line(s["comment"], 200)) for row, s in zip(rows, silences, strict=True)])
    if found["total"] > len(found["silences"]):
        click.echo(f"the first {_PAGE} of {found['total']}; name matchers to see the others", err=True)


@silence.command()
@click.argument("silence_id", metavar="ID")
@as_
@asks
def show(silence_id: str, output: str, url: str, token: str) -> None:
    """Show one silence, and how many open incidents it mutes now.

    Example: router silence show 7f3a9c21b04d55e0
    """
    found = run(lambda r: r.get(_path(silence_id), _Silence), url, token)
    if output == "json":
        click.echo(json.dumps(found))
        return
    rows = {
        "id": found["id"],
        "state": found["status"]["state"],
        "matchers": _shown(found),
        "starts": found["startsAt"],
        "ends": found["endsAt"],
        "by": found["createdBy"],
        "comment": found["comment"],
        "mutes": f"{_count(found)} open incident(s)",
    }
    for name, value in rows.items():
        click.echo(f"{name:<10}{line(value, 1000)}")


@silence.command()
@click.argument("silence_id", metavar="ID")
@_duration
@_end
@click.option("-c", "--comment", default=None, help="Why.")
@as_
@asks
def update(
    *,
    silence_id: str,
    duration: timedelta | None,
    end: datetime | None,
    comment: str | None,
    output: str,
    url: str,
    token: str,
) -> None:
    """Change when a silence ends, or why it is there; print its id.

    --duration counts from now, or from the start of one that has not begun. One that has expired is
    made anew, from now on, under another id.

    Example: router silence update 7f3a9c21b04d55e0 --duration 2h
    """
    if duration is not None and end is not None:
        raise click.UsageError("give --duration or --end, not both")
    if duration is None and end is None and comment is None:
        raise click.UsageError("say what to change: --duration, --end or --comment")

    async def change(remote: Remote) -> dict[str, Any]:
        found = await remote.get(_path(silence_id), _Silence)
        until = end
        if duration is not None:
            starts = time_of(found["startsAt"])
            until = _after(max(starts, now()), duration)
        new = {"endsAt": until.isoformat()} if until is not None else {}
        new |= {"comment": comment} if comment is not None else {}
        return await remote.post(BASE, Written, body=posted(found) | new)

    said = run(change, url, token)
    click.echo(json.dumps(said) if output == "json" else said["silenceID"])


@silence.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@as_
@asks
def expire(ids: Sequence[str], output: str, url: str, token: str) -> None:
    """End silences now; what fires and is not muted any more is told. Exit code 1 if any failed.

    Example: router silence expire 7f3a9c21b04d55e0
    """
    done = run(lambda r: _expired(r, ids), url, token)
    if output == "json":
        click.echo(json.dumps({"silences": done}))
    else:
        for one in done:
            already = " already" if one["result"] == "unchanged" else ""
            click.echo(f"{one['silenceID']}: expired{already}")
    sys.exit(1 if len(done) < len(ids) else 0)


async def _expired(remote: Remote, ids: Sequence[str]) -> list[dict[str, Any]]:
    """End each; return what the router said of those that it ended, and tell of the others at once."""
    from router.remote import RemoteError  # noqa: PLC0415  as in asks

    done = []
    for one in ids:
        try:
            done.append(await remote.post(f"{_path(one)}/expire", Written))
        except RemoteError as exc:
            click.echo(f"{line(one, 64)}: {exc}", err=True)
    return done


# --- import ---------------------------------------------------------------------------------------


@silence.command("import")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--from", "origin", default="", metavar="URL", help="An Alertmanager, whose API is asked.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@as_
@asks
def import_(*, file: IO[bytes] | None, origin: str, dry_run: bool, output: str, url: str, token: str) -> None:
    """Take over an Alertmanager's silences, under the same ids; a second time they are only changed.

    FILE (- for standard input) is what `amtool silence query -o json` or GET /api/v2/silences gives.
    Expired ones are skipped. Exit code 1 if the router refused any.

    Example: router silence import --from http://alertmanager:9093 --dry-run
    """
    if bool(origin) == (file is not None):
        raise click.UsageError("name a FILE, or an Alertmanager with --from")
    raw = file.read() if file is not None else run(lambda _: fetched(origin), url, token)
    found = listed(raw, line(links(origin), 200) or "the file")
    rows = run(lambda r: taken_over(r, found, dry_run=dry_run), url, token)
    counts = {
        what: sum(row.what == what for row in rows) for what in ("made", "updated", "skipped", "failed")
    }
    if output == "json":
        click.echo(json.dumps({"dry_run": dry_run, **counts, "silences": [row._asdict() for row in rows]}))
    else:
        for row in rows:
            click.echo(f"{row.id}: {row.what}{f' ({row.why})' if row.why else ''}")
        would = "would be: " if dry_run else ""
        click.echo(would + ", ".join(f"{count} {what}" for what, count in counts.items()))
    sys.exit(1 if counts["failed"] else 0)


# --- pieces ---------------------------------------------------------------------------------------


def _path(silence_id: str) -> str:
    return f"{BASE}/{quote(silence_id, safe='')}"


def _texts(texts: Sequence[str]) -> list[str]:
    """Return matchers as written; a first one without an operator is an alert's name, as with amtool."""
    first = [f'alertname="{text}"' if _BARE(text) else text for text in texts[:1]]
    return [*first, *texts[1:]]


def _conditions(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"name": m.name, "value": m.value, "isRegex": "~" in m.op, "isEqual": not m.op.startswith("!")}
        for text in _texts(texts)
        for m in _parsed(text)
    ]


def _one(text: str) -> str:
    _parsed(text)
    return text


def _parsed(text: str) -> Sequence[Any]:
    from router.rulebook import matchers  # noqa: PLC0415  --help need not load it

    try:
        return matchers.parse(text)
    except matchers.MatcherError as exc:
        raise click.UsageError(f"{exc}{f' ({exc.hint})' if exc.hint else ''}") from exc


def _shown(found: Any) -> str:
    from router.decide.silencing import in_words  # noqa: PLC0415  --help need not load it
    from router.model.silences import SilenceMatcher  # noqa: PLC0415  as above

    return in_words(
        SilenceMatcher(m["name"], m["value"], m.get("isRegex", False), m.get("isEqual", True))
        for m in found["matchers"]
    )


def _count(found: Any) -> str:
    mutes = found.get("mutes")
    return str(mutes) if isinstance(mutes, int) else "?"


def _within(found: Any, within: timedelta) -> bool:
    return abs(time_of(found["endsAt"]) - now()) <= within


def _after(start: datetime, duration: timedelta) -> datetime:
    try:
        return start + duration
    except OverflowError:
        raise click.UsageError("that is too far ahead") from None
