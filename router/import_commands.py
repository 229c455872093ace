"""``router import``: rules from the configuration that an Alertmanager has."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from router.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.model.errors import Problem
    from router.rulebook.alertmanager_config import Converted


@click.command("import")
@click.argument("config", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="FOLDER",
    help="Write the files here, instead of printing them.",
)
@click.option("--force", is_flag=True, help="Replace files of the same name that are in the folder.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    help="How to print it.",
)
def import_(config: Path, out: Path | None, force: bool, output: str) -> None:  # noqa: FBT001  a command-line flag
    """Make rules of CONFIG, an alertmanager.yml; - reads standard input.

    Routes, inhibit rules and time intervals keep their meaning. No secret is copied. What cannot be taken
    over is told on standard error.

    Example: router import /etc/alertmanager/alertmanager.yml --out rules
    """
    from router.drivers import notifier_specs  # noqa: PLC0415  --help need not load every driver
    from router.rulebook.alertmanager_config import convert  # noqa: PLC0415  as above

    kinds = notifier_specs()
    try:
        made = convert(_read(config), "stdin" if str(config) == "-" else config.name, kinds)
        if out is not None:
            _check_beside(out, made.files, force=force)
    except ConfigError as exc:
        _refuse(exc.problems, output)
    if out is not None:
        _write(out, made.files)
    if output == "json":
        click.echo(json.dumps(_as_json(made, out)))
        return
    if out is None:
        click.echo("\n".join(made.files.values()), nl=False)
    _tell(made, out)


def _read(config: Path) -> bytes:
    from router.rulebook.yaml_loader import MAX_BYTES  # noqa: PLC0415  as above

    if str(config) == "-":
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        if not config.is_file():
            raise click.UsageError(f"{config} is not a file")
        with config.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise click.UsageError(f"{config} cannot be read: {exc.strerror or type(exc).__name__}") from exc


def _check_beside(out: Path, files: Mapping[str, str], *, force: bool) -> None:
    """See that the files may be written, and that the folder's other rules fit them.

    Raises:
        ConfigError: they do not fit.
    """
    from router.drivers import notifier_specs  # noqa: PLC0415  as above
    from router.rulebook import load  # noqa: PLC0415  as above

    if not out.exists():
        return
    there = sorted(name for name in files if (out / name).exists() or (out / name).is_symlink())
    if there and not force:
        text = f"{out} already has {', '.join(there)}; say --force to replace them, or take another folder"
        raise click.UsageError(text)
    before = load.read(out)
    kept = [(name, raw) for name, raw in before.files if name.rpartition("/")[2] not in files]
    made = [(f"{before.folder}/{name}", text.encode()) for name, text in files.items()]
    load.build(load.Reading(before.folder, sorted(kept + made), before.problems), notifier_specs())


def _write(out: Path, files: Mapping[str, str]) -> None:
    """Write all files beside their places first, so that a full disk leaves the folder as it was."""
    waiting = {out / f".{name}.{os.getpid()}": out / name for name in files}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, place in waiting.items():
            path.write_text(files[place.name], encoding="utf-8")
        for path, place in waiting.items():
            path.replace(place)
    except OSError as exc:
        raise click.ClickException(f"{out}: {exc.strerror or type(exc).__name__}; see what is there") from exc
    finally:
        for path in waiting:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _refuse(problems: Sequence[Problem], output: str) -> NoReturn:
    if output == "json":
        click.echo(json.dumps({"ok": False, "problems": [_problem(p) for p in problems]}))
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        click.echo(f"{len(problems)} problem(s); nothing was written", err=True)
    sys.exit(1)


def _problem(found: Problem) -> dict[str, object]:
    keys = ("file", "line", "path", "message", "hint")
    return {key: getattr(found, key) for key in keys}


def _as_json(made: Converted, out: Path | None) -> dict[str, object]:
    return {
        "ok": True,
        "folder": None if out is None else str(out),
        "files": dict(made.files),
        "notes": [_problem(note) for note in made.notes],
        "environment": list(made.environment),
        "counts": dict(made.counts),
    }


def _tell(made: Converted, out: Path | None) -> None:
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    counts = ", ".join(f"{count} {what}" for what, count in made.counts.items())
    click.echo(f"{f'{out}: ' if out is not None else ''}{counts}; {len(made.notes)} note(s)", err=True)
    if made.environment:
        click.echo(f"set before the start: {', '.join(made.environment)}", err=True)
    if out is not None:
        click.echo(f"next: router routes show --rules {out}", err=True)
