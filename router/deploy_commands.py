"""``router deploy``: what went where and when, what was blamed on it, and telling of one by hand.

All of them ask a running router, by ``--url`` and ``--token`` as the other commands do.
"""

from __future__ import annotations

import getpass
import json
from typing import Any, Final, TypedDict
from urllib.parse import quote

import click

from router.commands import as_, asks, run, table
from router.kit.text import line
from router.silence_import import time_of

BASE: Final = "/api/v1/deploys"
_IN_STEPS: Final = {"started", "green_deployed", "green_tested", "switched", "live", "cleaned_up"}


class _Deploy(TypedDict):
    """What these commands need of an answer; there may be more in it."""

    id: str
    service: str
    environment: str
    version: str
    phases: dict[str, str]
    author: str
    title: str


class _Deploys(TypedDict):
    deploys: list[_Deploy]


class _Step(TypedDict):
    step: str
    at: str | None


class _Whole(_Deploy):
    steps: list[_Step]
    suspected_by: list[dict[str, Any]]


class _Accepted(TypedDict):
    status: str
    repeated: bool


@click.group()
def deploy() -> None:
    """Deploys: what went where and when, and what is blamed on it.

    Example: router deploy list
    """


@deploy.command("list")
@click.option("--service", default="", help="Only of this service.")
@click.option("-e", "--environment", default="", help="Only into this environment.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most.")
@as_
@asks
def list_(*, service: str, environment: str, limit: int, output: str, url: str, token: str) -> None:
    """List deploys, the newest first.

    Example: router deploy list --service payment-service -e prod
    """
    asked = {"service": service, "environment": environment, "limit": str(limit)}
    query = {name: value for name, value in asked.items() if value}
    found = run(lambda r: r.get(BASE, _Deploys, query), url, token)["deploys"]
    if output == "json":
        click.echo(json.dumps({"deploys": found}))
        return
    rows = [
        (line(d["service"], 60), d["id"], *_last(d), line(d["author"], 40), line(d["title"], 100))
        for d in found
    ]
    table(("SERVICE", "ID", "STEP", "AT (UTC)", "AUTHOR", "TITLE"), rows)


def _last(one: _Deploy) -> tuple[str, str]:
    """Return the latest step that was told, and when."""
    phase, at = max(one["phases"].items(), key=lambda each: each[1], default=("", ""))
    return phase.replace("_", " "), at[:19]


@deploy.command()
@click.argument("service")
@click.argument("deploy_id", metavar="ID")
@as_
@asks
def show(*, service: str, deploy_id: str, output: str, url: str, token: str) -> None:
    """Show one deploy: its steps with their times, who told of it, and the incidents that suspect it.

    Example: router deploy show payment-service prod/1.42.0/1
    """
    path = f"{BASE}/{quote(service, safe='')}/{quote(deploy_id, safe='/')}"
    found = run(lambda r: r.get(path, _Whole), url, token)
    if output == "json":
        click.echo(json.dumps(found))
        return
    for text in _story(found):
        click.echo("".join(c for c in text if c.isprintable()))  # a title could steer the terminal


def _story(found: Any) -> list[str]:
    rows = {
        "service": found["service"],
        "kind": found.get("kind", ""),
        "environment": found["environment"],
        "version": found["version"],
        "names": ", ".join(found.get("names", ())),
        "title": found["title"],
        "author": found["author"],
        "url": found.get("url", ""),
        "images": ", ".join(found.get("images", ())),
        "told by": ", ".join(found.get("tellers", ())),
    }
    lines = [f"{name:<13}{line(str(value), 300)}" for name, value in rows.items() if value]
    lines.append("steps")
    lines += [_step(s) for s in found["steps"]]
    others = set(found["phases"]) - _IN_STEPS
    lines += [f"  {found['phases'][p][:19]:<20} {p.replace('_', ' ')}" for p in sorted(others)]
    lines += [f"  {name}: {line(str(value), 200)}" for name, value in sorted(found.get("facts", {}).items())]
    if undone := found.get("undone"):
        how = "rolled back" if undone["rollback"] else "replaced"
        lines.append(f"{how:<13}{undone['at'][:19]} {line(undone['by'], 100)}")
    for one in found.get("promotions", ()):
        lines.append(f"{'also':<13}{one['at'][:19]} {one['environment']} ({one['id']})")
    lines += [f"{'but':<13}{line(text, 200)}" for text in found.get("disagreements", ())]
    if found.get("problem"):
        lines.append("blamed for")
    for row in found.get("problem", ()):
        state = "open" if row["open"] else "over"
        lines.append(f"  {row['incident']}  {state}  {line(row['title'], 100)} ({line(row['service'], 60)})")
    if found["suspected_by"]:
        lines.append("suspected by")
    for row in found["suspected_by"]:
        said = f"{row['incident']}  {row['state']}  {line(row['title'], 100)}"
        lines.append(f"  {said} ({row['probability']:.0%})")
    return lines


def _step(one: Any) -> str:
    told = ", ".join(dict.fromkeys(s["teller"] for s in one.get("sources", ())))
    name = one["step"].replace("_", " ")
    return f"  {(one['at'] or 'not told')[:19]:<20} {name:<16} {told}".rstrip()


@deploy.command()
@click.argument("service")
@click.argument("version")
@click.option("-e", "--environment", default="", help="Where it went.")
@click.option("--phase", default="live", show_default=True, help="What was reached: started, failed, ...")
@click.option("--at", default="", metavar="TIME", help="When, such as 2026-11-24T18:00:00Z; else now.")
@click.option("--revision", default="", help="The commit, by which others' words are joined.")
@click.option("--title", default="", help="What it is.")
@click.option("--author", envvar="USER", default="", show_envvar=True, help="Who made it.")
@as_
@asks
def report(  # noqa: PLR0913  one argument for each option
    *,
    service: str,
    version: str,
    environment: str,
    phase: str,
    at: str,
    revision: str,
    title: str,
    author: str,
    output: str,
    url: str,
    token: str,
) -> None:
    """Tell of a deploy that no source tells of: a migration, a configuration, a change by hand.

    Example: router deploy report payment-service 2026-11-24-migration -e prod --title "add an index"
    """
    body = {
        "service": service,
        "version": version,
        "environment": environment,
        "phase": phase,
        "revision": revision,
        "title": title,
        "author": author.strip() or getpass.getuser(),
    }
    if at:
        body["at"] = _time(at)
    said = run(lambda r: r.post(BASE, _Accepted, body=body), url, token)
    click.echo(json.dumps(said) if output == "json" else "told" + (" before" if said["repeated"] else ""))


def _time(text: str) -> str:
    """Return a time with its zone, as the API takes it."""
    try:
        return time_of(text).isoformat()
    except (ValueError, OverflowError):
        hint = "write for example 2026-11-24T18:00:00Z"
        raise click.UsageError(f"--at: {text[:40]!r} is no time with a zone: {hint}") from None
