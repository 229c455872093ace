"""``router routes show``, ``test`` and ``coverage``: the route tree, asked by the production function."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.coverage import Coverage
    from router.rulebook.book import Rulebook
    from router.rulebook.tree import Route

_as = click.option(
    "-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print."
)
_rules = click.option(
    "--rules",
    type=click.Path(path_type=Path),
    default=Path("rules"),
    show_default=True,
    help="The folder of rules.",
)


@click.group()
def routes() -> None:
    """Show the route tree, and test where an alert goes.

    Example: router routes test service=payment-service severity=critical
    """


@routes.command()
@_rules
@_as
def show(rules: Path, output: str) -> None:
    """Show the route tree.

    Example: router routes show --rules rules/
    """
    from router.rulebook.describe import describe  # noqa: PLC0415  as in router check

    book = load(rules)
    if output == "json":
        click.echo(json.dumps({"version": book.version, "route": describe(book)["route"]}))
        return
    for line in _drawn(book.root, "", ""):
        click.echo(line)


@routes.command("test")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE]...")
@click.option(
    "--verify.receivers",
    "verify",
    default=None,
    metavar="NAME,...",
    help="Exit with 1 if these are not the receivers, in this order.",
)
@_rules
@_as
def test_(labels: Sequence[str], verify: str | None, rules: Path, output: str) -> None:
    """Test which receivers an alert with these labels goes to, and how it is grouped.

    Asks what production asks. With --verify.receivers it is a check for CI.

    Example: router routes test service=payment-service severity=critical --verify.receivers=payments-oncall
    """
    book, given = load(rules), labels_of(labels)
    wanted = None if verify is None else [name.strip() for name in verify.split(",") if name.strip()]
    kept = book.relabelled(given)
    if kept is None:
        if output == "json":
            nobody: dict[str, Any] = {"receivers": [], "routes": []}
            click.echo(json.dumps(nobody if wanted is None else nobody | {"verified": not wanted}))
        click.echo("relabel_configs drop this alert: nobody is told", err=True)
        sys.exit(0 if wanted == [] else 1)
    given = kept
    found = [_taken(book, route, given) for route in book.route(given)]
    receivers = [one["receiver"] for one in found]
    if output == "json":
        said: dict[str, Any] = {"receivers": receivers, "routes": found}
        click.echo(json.dumps(said if wanted is None else said | {"verified": receivers == wanted}))
    else:
        click.echo(",".join(receivers))
        for one in found:
            group = ", ".join(f"{k}={v!r}" for k, v in one["group"].items()) or "all in one group"
            click.echo(f"  {one['route']} -> {one['receiver']}: {one['severity']}, grouped by {group}")
    if wanted is not None and receivers != wanted:
        click.echo(f"expected {','.join(wanted) or 'nobody'}, and it is {','.join(receivers)}", err=True)
        sys.exit(1)


@routes.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--at-least",
    type=click.FloatRange(0, 100),
    default=0.0,
    help="Exit with 1 if fewer per cent of the routes were reached.",
)
@_rules
@_as
def coverage(files: Sequence[Path], at_least: float, rules: Path, output: str) -> None:
    """Say which routes recorded deliveries take, and which none of them reaches.

    FILES are what `router capture` wrote.

    Example: router routes coverage week.jsonl --at-least 80
    """
    from router import coverage as covering  # noqa: PLC0415  --help need not load it
    from router.drivers import sources_of  # noqa: PLC0415  it imports every driver

    book = load(rules)
    try:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(path.open("rb")) for path in files]
            found = covering.measured(itertools.chain.from_iterable(opened), sources_of(book), book)
    except OSError as exc:
        click.echo(f"{exc.filename} cannot be read: {exc.strerror}", err=True)
        sys.exit(1)
    if output == "json":
        said = {
            "deliveries": found.deliveries,
            "unreadable": found.unreadable,
            "alerts": found.seen,
            "dropped": found.dropped,
            "percent": found.percent,
            "routes": dict(found.alerts),
            "unused": found.unused,
        }
        click.echo(json.dumps(said))
    else:
        _covered(found)
    if not found.seen or found.percent < at_least:
        text = (
            "no alert was in these files" if not found.seen else f"{found.percent} % is below {at_least:g} %"
        )
        click.echo(text, err=True)
        sys.exit(1)


def _covered(found: Coverage) -> None:
    click.echo(
        f"{found.seen} different alerts in {found.deliveries} deliveries, {found.unreadable} unreadable"
    )
    for route, count in found.alerts.most_common():
        click.echo(f"  {count:>7}  {route}")
    for route in found.unused:
        click.echo(f"        -  {route}")
    click.echo(f"{len(found.alerts)} of {found.routes} routes reached, {found.percent} %")
    if found.dropped:
        click.echo(f"{found.dropped} alerts were dropped by relabel_configs")


def load(folder: Path) -> Rulebook:
    """Return the rulebook of a folder, or say what is wrong with it and exit with 1."""
    from router.app import load_rules  # noqa: PLC0415  it imports every driver; --help need not

    try:
        return load_rules(folder)
    except ConfigError as exc:
        for problem in exc.problems:
            click.echo(str(problem), err=True)
        click.echo(f"{len(exc.problems)} problem(s) in {folder}", err=True)
        sys.exit(1)


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """Return the labels; a value may be empty, which is as good as no label."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.UsageError(f"{text[:60]!r} is no label: write name=value")
        if name in found:
            raise click.UsageError(f"the label {name[:60]!r} is given twice")
        found[name] = value
    return {name: value for name, value in found.items() if value}


def _taken(book: Rulebook, route: Route, labels: dict[str, str]) -> dict[str, Any]:
    service = book.service(labels)
    return {
        "route": route.id,
        "receiver": route.receiver,
        "group": book.group_labels(route, labels),
        "severity": str(book.severity(labels, route)),
        "service": service,
        "environment": book.environment(labels),
        "team": book.team(labels, service),
    }


def _drawn(route: Route, first: str, rest: str) -> list[str]:
    """Return the lines of a route and of those below it; ``first`` and ``rest`` stand before them."""
    name = route.id.rpartition("/")[2]
    matchers = " ".join(str(m) for m in route.matchers)
    words = [name, f"{{{matchers}}}" if matchers else "", f"-> {route.receiver}"]
    words.append("(continue)" if route.continue_ else "")
    lines = [first + " ".join(w for w in words if w)]
    for i, child in enumerate(route.routes):
        last = i == len(route.routes) - 1
        lines += _drawn(child, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "))
    return lines
