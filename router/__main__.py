"""The command line: ``router serve``, ``incident``, ``check``, ``routes``, ``test``, ``why`` and the others.

Users' mistakes end with a short text on standard error and exit code 2, never with a
traceback.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import uvloop

from router import (
    __version__,
    commands,
    deploy_commands,
    import_commands,
    incident_commands,
    rules_commands,
    settings,
    silence_commands,
    test_commands,
    why_commands,
)
from router.kit import logs
from router.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.app import App


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="incident-router")
def main() -> None:
    """Route alerts to people, with the deploy that did it named on the page.

    Example: router serve
    """


def _fail(lines: Sequence[object], heading: str) -> None:
    click.echo(heading, err=True)
    for line in lines:
        click.echo(f"  {line}", err=True)
    sys.exit(2)


@main.command()
def serve() -> None:
    """Run the router until SIGTERM or ^C.

    All settings come from ROUTER_* variables (docs/reference/settings.md).

    Example: ROUTER_LISTEN=127.0.0.1:9000 router serve
    """
    try:
        chosen = settings.load(os.environ)
    except settings.SettingsError as exc:
        _fail(exc.problems, "The settings cannot be used:")
        return
    logs.configure(style=chosen.log_format, level=chosen.log_level)
    try:
        uvloop.run(_serve(chosen))
    except ConfigError as exc:
        _fail(exc.problems, "The router did not start:")


async def _serve(chosen: settings.Settings) -> None:
    from router.app import App  # noqa: PLC0415  it imports every driver; --help need not

    app = App(chosen, os.environ)
    # What lives from here to the end need not be walked; and floods allocate a lot that is freed by counting.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await app.start()
    loop.add_signal_handler(signal.SIGHUP, app.reload_soon, "SIGHUP")
    _greet(app)
    await stop.wait()
    await app.stop()


def _greet(app: App) -> None:
    if not sys.stdout.isatty() and os.environ.get("CI"):
        return
    host = "127.0.0.1" if app.loopback else app.settings.host
    base = f"http://{host}:{app.port}"
    lines = [
        f"Incident Router {__version__} on {base}",
        *(f"  POST {base}/webhooks/{kind}" for kind in sorted(app.drivers.sources)),
        f"  GET  {base}/api/v1/incidents   /api/v1/deploys   /metrics   /-/ready",
        "  try it: router demo (or make demo) in a second shell",
    ]
    if app.drivers.log_only:
        lines.append("  pages and messages go to this log: no credentials are set")
    click.echo("\n".join(lines))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("rules"))
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="For people or for programs.",
)
def check(folder: Path, output: str) -> None:
    """Check the rules in FOLDER; every problem at once, exit 1 if there is any.

    Example: router check rules/
    """
    from router.app import load_rules  # noqa: PLC0415  as in serve
    from router.rulebook.describe import describe  # noqa: PLC0415  as in serve

    try:
        book = load_rules(folder)
    except ConfigError as exc:
        if output == "json":
            click.echo(
                json.dumps(
                    {
                        "ok": False,
                        "problems": [
                            {
                                "file": p.file,
                                "line": p.line,
                                "path": p.path,
                                "message": p.message,
                                "hint": p.hint,
                            }
                            for p in exc.problems
                        ],
                    }
                )
            )
        else:
            for problem in exc.problems:
                click.echo(str(problem), err=True)
            click.echo(f"{len(exc.problems)} problem(s) in {folder}", err=True)
        sys.exit(1)
    found = describe(book)
    if output == "json":
        click.echo(json.dumps({"ok": True, **found}))
    else:
        click.echo(f"{folder}: OK, version {found['version']}")
        for name, value in found["counts"].items():
            click.echo(f"  {name:<10} {value}")


@main.command()
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The running router.")
@click.option("--fast", is_flag=True, help="Do not pause between steps.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="For people or for programs.",
)
def demo(url: str, fast: bool, output: str) -> None:  # noqa: FBT001  a command-line flag
    """Play the story of a bad deploy against a running router, over real HTTP.

    Example: router demo --url http://127.0.0.1:8080
    """
    from router.demo import play  # noqa: PLC0415  as in serve

    sys.exit(uvloop.run(play(url, pause_s=0.0 if fast else 0.7, as_json=output == "json")))


main.add_command(commands.dlq)
main.add_command(import_commands.import_)
main.add_command(incident_commands.incident)
main.add_command(rules_commands.routes)
main.add_command(commands.senders)
main.add_command(deploy_commands.deploy)
main.add_command(incident_commands.reconcile)
main.add_command(commands.capture)
main.add_command(silence_commands.silence)
main.add_command(test_commands.test)
main.add_command(why_commands.why)
main.add_command(why_commands.schema)

if __name__ == "__main__":
    main()
