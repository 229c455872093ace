"""``router incident``: list and show incidents, act on them, keep one. ``router reconcile``: what is stuck.

All of them ask a running router, by ``--url`` and ``--token`` as the other commands do. An act names its
person by ``--by`` (else USER). An incident's id may be shortened to its beginning as long as only one open
incident begins so.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from typing import TYPE_CHECKING, Any, Final, TypedDict
from urllib.parse import quote

import click

from router.commands import as_, asks, run, table
from router.kit.text import line
from router.model.keys import split_incident_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from router.remote import Remote

BASE: Final = "/api/v1/incidents"
_PAGE: Final = 500
#: How often, and how many times, it is asked whether an act is done.
_LOOK_S: Final = 0.1
_LOOKS: Final = 20


class _Incident(TypedDict):
    """What these commands need of an answer; there may be more in it."""

    id: str
    state: str
    severity: str
    title: str
    service: str
    environment: str
    firing: int
    opened_at: str | None
    acknowledged_by: str
    assigned_to: str


class _Line(TypedDict):
    at: str
    text: str


class _Whole(_Incident):
    timeline: list[_Line]
    suspects: list[dict[str, Any]]
    alerts: list[dict[str, Any]]


class _Page(TypedDict):
    incidents: list[_Incident]


class _Accepted(TypedDict):
    status: str
    repeated: bool


@click.group()
def incident() -> None:
    """Incidents: what is open, what is known of it, and who does what about it.

    Example: router incident list
    """


@incident.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
@click.option("--service", default="", help="Only of this service.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most.")
@as_
@asks
def list_(*, every: bool, service: str, limit: int, output: str, url: str, token: str) -> None:
    """List open incidents, the newest first.

    Example: router incident list --all --service payment-service -o json
    """
    state = "all" if every else "open"
    found, more = run(lambda r: _listed(r, state, service, limit), url, token)
    if output == "json":
        click.echo(json.dumps({"incidents": found}))
    else:
        head = ("ID", "STATE", "SEVERITY", "SERVICE", "FIRING", "OPENED (UTC)", "WHOSE", "TITLE")
        table(head, [_row(one) for one in found])
    if more:
        click.echo(f"the first {limit}; --limit shows more", err=True)


async def _listed(remote: Remote, state: str, service: str, limit: int) -> tuple[list[Any], bool]:
    """Return so many incidents of the service, and whether there are more."""
    found: list[Any] = []
    after = ""
    while True:
        query = {"state": state, "limit": str(_PAGE)} | ({"after": after} if after else {})
        page = await remote.get(BASE, _Page, query)
        found += [one for one in page["incidents"] if service in {"", one["service"]}]
        after = page.get("after", "")
        if len(found) > limit or not after:
            return found[:limit], len(found) > limit


def _row(one: Any) -> tuple[str, ...]:
    where = one["service"] + (f" ({one['environment']})" if one["environment"] else "")
    whose = one["assigned_to"] or one["acknowledged_by"]
    opened = (one["opened_at"] or "")[:19]
    shown = (one["state"], one["severity"], line(where, 60), str(one["firing"]), opened, line(whose, 30))
    return (one["id"], *shown, line(one["title"], 100))


@incident.command()
@click.argument("incident_id", metavar="ID")
@as_
@asks
def show(incident_id: str, output: str, url: str, token: str) -> None:
    """Show one incident: what it is, who has it, what is suspected, what happened.

    Example: router incident show 7f3a9c21b04d55e0.2
    """
    found = run(lambda r: _whole(r, incident_id), url, token)
    if output == "json":
        click.echo(json.dumps(found))
        return
    for text in _story(found):
        click.echo("".join(c for c in text if c.isprintable()))  # a label could steer the terminal


def _story(found: Any) -> list[str]:
    rows = {
        "id": found["id"],
        "title": found["title"],
        "state": found["state"],
        "severity": found["severity"],
        "service": found["service"],
        "environment": found["environment"],
        "opened": found["opened_at"],
        "taken by": found["acknowledged_by"],
        "until": found.get("snoozed_until"),
        "assigned to": found["assigned_to"],
        "merged into": found.get("merged_into"),
        "resolved by": found.get("resolved_by"),
        "alerts": f"{found['firing']} firing, {found.get('resolved', 0)} resolved",
    }
    lines = [f"{name:<12}{line(str(value), 300)}" for name, value in rows.items() if value]
    for one in found["suspects"]:
        word = one.get("standing", "")
        name = f"{one.get('service')} {one.get('version')}"
        sure = f" ({one['probability']:.0%})" if "probability" in one else ""
        lines.append(f"{word:<12}{line(name, 200)}{sure}")
        reasons = [*one.get("for", ()), *one.get("against", ())]
        lines += [f"  {r['weight']:+.1f} {line(r['text'] or r['why'], 200)}" for r in reasons if r["weight"]]
    lines += ["timeline"] if found["timeline"] else []
    lines += [f"  {one['at'][:19]}  {line(one['text'], 400)}" for one in found["timeline"]]
    return lines


@incident.command()
@click.argument("incident_id", metavar="ID")
@click.option(
    "-o", "--output", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True
)
@asks
def export(incident_id: str, output: str, url: str, token: str) -> None:
    """Print all that is known of one incident: what a post-mortem begins with.

    Example: router incident export 7f3a9c21b04d55e0.2 > post-mortem.md
    """
    if output == "json":
        click.echo(json.dumps(run(lambda r: _whole(r, incident_id), url, token), indent=2))
        return

    async def text(remote: Remote) -> str:
        path = f"{BASE}/{quote(await _id(remote, incident_id), safe='')}/export"
        return await remote.text(path, "text/markdown", {"format": "markdown"})

    click.echo(run(text, url, token), nl=False)


# --- acts -------------------------------------------------------------------------------------------


def _acts(command: Callable[..., None]) -> Callable[..., None]:
    """Add what every act takes."""
    by = click.option("--by", envvar="USER", default="", show_envvar=True, help="Who does it.")
    note = click.option("-m", "--note", default="", help="Why; it stands on the timeline.")
    ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")
    return ids(by(note(as_(asks(command)))))


@incident.command()
@_acts
def ack(*, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str) -> None:
    """Acknowledge: somebody is on it. Exit code 1 if any failed.

    Example: router incident ack 7f3a9c21b04d55e0.2 --by ana
    """
    _do("acknowledge", ids, _words(by, note), output, url, token)


@incident.command()
@_acts
def unack(*, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str) -> None:
    """Give back what was acknowledged: it is told again.

    Example: router incident unack 7f3a9c21b04d55e0.2 -m "not ours"
    """
    _do("unacknowledge", ids, _words(by, note), output, url, token)


@incident.command()
@_acts
def resolve(*, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str) -> None:
    """End it by hand.

    Example: router incident resolve 7f3a9c21b04d55e0.2 -m "rolled back"
    """
    _do("resolve", ids, _words(by, note), output, url, token)


@incident.command()
@click.option("-d", "--duration", required=True, metavar="2h", help="How long, 7 days at the most.")
@_acts
def snooze(
    *, duration: str, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str
) -> None:
    """Put it off: acknowledged now, told again then, unless it is over.

    Example: router incident snooze 7f3a9c21b04d55e0.2 -d 2h
    """
    _do("snooze", ids, _words(by, note) | {"duration": duration}, output, url, token)


@incident.command()
@click.option("--to", required=True, help="Whose it is from now on.")
@_acts
def assign(*, to: str, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str) -> None:
    """Say whose it is.

    Example: router incident assign 7f3a9c21b04d55e0.2 --to bo
    """
    _do("assign", ids, _words(by, note) | {"to": to}, output, url, token)


@incident.command()
@click.option("--into", required=True, metavar="ID", help="The incident that these are a part of.")
@_acts
def merge(*, into: str, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str) -> None:
    """Make them a part of another one: their pages end, their alerts are still followed.

    Example: router incident merge 7f3a9c21b04d55e0.2 --into 02b7c2d0f7e44c11.1
    """
    _do("merge", ids, _words(by, note) | {"to": into}, output, url, token)


@incident.command()
@click.option("--deploy", default="", metavar="SERVICE/ID", help="Which of its suspects; else the likeliest.")
@_acts
def confirm(
    *, deploy: str, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str
) -> None:
    """Say that a suspected deploy did it.

    Example: router incident confirm 7f3a9c21b04d55e0.2
    """
    _do("confirm", ids, _words(by, note) | {"to": deploy}, output, url, token)


@incident.command()
@click.option("--deploy", default="", metavar="SERVICE/ID", help="Which of its suspects; else the likeliest.")
@_acts
def refute(*, deploy: str, ids: Sequence[str], by: str, note: str, output: str, url: str, token: str) -> None:
    """Say that a suspected deploy did not do it.

    Example: router incident refute 7f3a9c21b04d55e0.2 --deploy payment-service/prod/1.42.0/1
    """
    _do("refute", ids, _words(by, note) | {"to": deploy}, output, url, token)


@incident.command()
@click.argument("incident_id", metavar="ID")
@click.argument("text")
@click.option("--by", envvar="USER", default="", show_envvar=True, help="Who says it.")
@as_
@asks
def note(*, incident_id: str, text: str, by: str, output: str, url: str, token: str) -> None:
    """Add a line to an incident's timeline.

    Example: router incident note 7f3a9c21b04d55e0.2 "the disk was full"
    """
    _do("note", [incident_id], _words(by, text), output, url, token)


def _words(by: str, note: str) -> dict[str, str]:
    who = by.strip() or getpass.getuser()
    return {"by": who, "note": note}


def _do(act: str, ids: Sequence[str], body: dict[str, str], output: str, url: str, token: str) -> None:
    rows = run(lambda r: _acted(r, act, ids, body), url, token)
    if output == "json":
        click.echo(json.dumps({"incidents": rows}))
    else:
        for one in rows:
            click.echo(f"{one['id']}: {line(one['said'], 300)}")
    sys.exit(1 if len(rows) < len(ids) else 0)


async def _acted(remote: Remote, act: str, ids: Sequence[str], body: dict[str, str]) -> list[dict[str, str]]:
    """Ask it of each; return what became of those that were taken, and tell of the others at once."""
    from router.remote import RemoteError  # noqa: PLC0415  --help need not load an HTTP client

    rows = []
    for given in ids:
        try:
            one = await _id(remote, given)
            path = f"{BASE}/{quote(one, safe='')}"
            before = await remote.get(path, _Whole)
            await remote.post(f"{path}/{act}", _Accepted, body=body)
            rows.append(await _came_of_it(remote, path, before, body["by"]))
        except RemoteError as exc:
            click.echo(f"{line(given, 64)}: {exc}", err=True)
    return rows


async def _came_of_it(remote: Remote, path: str, before: Any, by: str) -> dict[str, str]:
    """Wait a little until the timeline says what the act came to; it was taken either way."""
    now = before
    for _ in range(_LOOKS):
        now = await remote.get(path, _Whole)
        new = [x for x in now["timeline"] if x not in before["timeline"] and x.get("by") == by]
        if new:
            return {"id": now["id"], "state": now["state"], "said": new[-1]["text"]}
        await asyncio.sleep(_LOOK_S)
    said = f"taken; it has changed nothing so far: it is {now['state']}"
    return {"id": now["id"], "state": now["state"], "said": said}


async def _whole(remote: Remote, given: str) -> dict[str, Any]:
    return await remote.get(f"{BASE}/{quote(await _id(remote, given), safe='')}", _Whole)


async def _id(remote: Remote, given: str) -> str:
    """Return the whole id of what was named, by its beginning where only one open incident begins so."""
    if split_incident_id(given) is not None or len(given) < 3:
        return given
    found, _ = await _listed(remote, "open", "", 10_000)
    fitting = [one["id"] for one in found if one["id"].startswith(given.lower())]
    return fitting[0] if len(fitting) == 1 else given


# --- what is stuck ----------------------------------------------------------------------------------


class _Report(TypedDict):
    at: str | None
    asked: list[str]
    differences: list[dict[str, Any]]


@click.command()
@as_
@asks
def reconcile(output: str, url: str, token: str) -> None:
    """Show where incidents stand otherwise at Alertmanager or PagerDuty, and what is done about it.

    The rules say what is done (reconcile:); with dry_run: true nothing is, and this says what would be.

    Example: router reconcile
    """
    found = run(lambda r: r.get("/api/v1/reconcile", _Report), url, token)
    if output == "json":
        click.echo(json.dumps(found))
        return
    if found["at"] is None:
        click.echo("nobody has looked in the last hour", err=True)
        return
    rows = [
        (d["incident"], d["kind"], str(d["since"])[:19], _did(d), line(str(d["text"]), 200))
        for d in found["differences"]
    ]
    table(("INCIDENT", "KIND", "SINCE (UTC)", "ACTION", "WHAT"), rows)
    asked = ", ".join(found["asked"]) or "neither Alertmanager nor PagerDuty"
    click.echo(f"{len(rows)} difference(s); asked: {asked}; {found['at'][:19]} UTC", err=True)


def _did(difference: dict[str, Any]) -> str:
    """Return what is done, and what would be in a dry run."""
    action, would = difference["action"], difference["would"]
    said = action if action == would else f"{action} (would {would})"
    return f"{said}, done" if difference["mended"] else said
