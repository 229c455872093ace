"""``router why`` and ``router schema``: why something goes where it goes; the rules' language for editors.

``why`` of labels asks the rules in a folder, or with ``--url`` a running router, which also knows of
silences and of what fires; ``why`` of an incident's id always asks a running router.
"""

from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from router import rules_commands
from router.commands import as_, asks, run
from router.model.keys import split_incident_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.remote import Remote


class _Why(TypedDict):
    rulebook: str


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="INCIDENT | LABEL=VALUE...")
@click.option(
    "--rules",
    type=click.Path(path_type=Path),
    default=None,
    help="The folder of rules to ask instead of a running router.",
)
@asks
@as_
def why(what: Sequence[str], rules: Path | None, url: str, token: str, output: str) -> None:
    """Say why an incident stands as it stands, or where an alert with these labels would go.

    It shows the whole tree of reasons: which routes were tried and what refused, how the alert is
    grouped, what mutes it, who else is told and when.

    Example: router why service=payment-service severity=critical --rules rules/

    Example: router why 7f3a9c21b04d55e0.2
    """
    if len(what) == 1 and split_incident_id(what[0]) is not None:
        found = run(lambda remote: _of_incident(remote, what[0]), url, token)
    else:
        labels = rules_commands.labels_of(what)
        found = (
            _local(labels, rules)
            if rules is not None
            else run(lambda remote: remote.post("/api/v1/why", _Why, body={"labels": labels}), url, token)
        )
    if output == "json":
        click.echo(json.dumps(found, default=str))
        return
    for line in _lines(found):
        click.echo("".join(c for c in line if c.isprintable()))  # a comment could steer the terminal


async def _of_incident(remote: Remote, incident: str) -> dict[str, Any]:
    return await remote.get(f"/api/v1/incidents/{incident}/why", _Why)


def _local(labels: dict[str, str], folder: Path) -> dict[str, Any]:
    from router.decide import explaining  # noqa: PLC0415  --help need not load it
    from router.decide.outlook import Outlook  # noqa: PLC0415  as above
    from router.kit.clock import SystemClock  # noqa: PLC0415  as above

    book = rules_commands.load(folder)
    return explaining.alert(labels, book, Outlook(), SystemClock().now().astimezone(UTC))


def _lines(found: dict[str, Any]) -> list[str]:
    from router.remote import RemoteError  # noqa: PLC0415  --help need not load an HTTP client

    try:
        return _incident(found) if "incident" in found else _alert(found)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        text = f"the answer lacks what this release shows ({type(exc).__name__}: {str(exc)[:60]})"
        raise RemoteError(f"{text}; is the router of another release? -o json shows all of it") from exc


def _alert(found: dict[str, Any]) -> list[str]:
    if "dropped" in found:
        return [found["dropped"]]
    lines = [f"rulebook {found['rulebook']}"]
    if found["relabelled"] is not None:
        pairs = ", ".join(f"{k}={v!r}" for k, v in sorted(found["relabelled"].items()))
        lines.append(f"relabel_configs make of it: {pairs}")
    return lines + _placed(found)


def _placed(found: dict[str, Any]) -> list[str]:
    facts = {k: found[k] for k in ("service", "team", "tier", "environment") if found[k] not in ("", None)}
    lines = [", ".join(f"{k} {v}" for k, v in facts.items()) or "nothing of it is in the catalogue"]
    lines += ["routes:", *_tree(found["tree"], 1)]
    for taken in found["taken"]:
        group = ", ".join(f"{k}={v!r}" for k, v in taken["group"].items()) or "all in one group"
        waits = "/".join(taken[k] for k in ("group_wait", "group_interval", "repeat_interval"))
        lines.append(f"{taken['receiver']} is told: {taken['severity']}, grouped by {group}, waits {waits}")
        if not taken["told_now"]:
            lines.append(f"  not now: time interval {taken['interval']}")
        for step in taken["notify"]:
            when = f" if {', '.join(step['when'])}" if step["when"] else ""
            lines.append(f"  then {step['receiver']} after {step['after']}{when}")
    lines.append(f"muted: {found['muted']}" if found["muted"] else "nothing mutes it")
    for kind, entries in found["muting"].items():
        for entry in entries:
            sign = "x" if entry["mutes"] else "-"
            lines.append(f"  {sign} {kind}: {entry.get('name') or entry.get('id')}: {entry['why']}")
    return lines


def _tree(node: dict[str, Any], depth: int) -> list[str]:
    sign = "=>" if node["takes"] else " +" if node["matches"] else " -"
    name = node["route"].rpartition("/")[2] or node["route"]
    lines = [f"{'  ' * depth}{sign} {name} -> {node['receiver']}: {node['why']}"]
    for child in node["routes"]:
        lines += _tree(child, depth + 1)
    return lines


def _incident(found: dict[str, Any]) -> list[str]:
    lines = [f"incident {found['incident']} is {found['state']} (rulebook {found['decided_under']})"]
    lines += [f"  {entry['at']}  {entry['text']}" for entry in found["timeline"][-20:]]
    for key, words in (
        ("waits_until", "nobody is told before"),
        ("changes_told_at", "changes are told at"),
        ("looked_at_again", "looked at again at"),
    ):
        if found[key]:
            lines.append(f"{words} {found[key]}")
    lines += [f"muted: {words}" for words in found["muted_by"]]
    if found["hold"]:
        lines.append(
            f"held by {found['hold']['rule']} for {found['hold']['deploy']} until {found['hold']['until']}"
        )
    for suspect in found["suspects"]:
        word = suspect["standing"]
        lines.append(f"{word}: {suspect['service']} {suspect['version']} ({suspect['probability']:.0%})")
        lines += [f"  {r['weight']:+.1f} {r['text'] or r['why']}" for r in suspect["reasons"]]
    for step in found["notify"]:
        lines.append(
            f"notify {step['receiver']}: {'told' if step['told'] else 'not told'}, after {step['after']}"
        )
        lines += [f"  {'+' if c['holds'] else '-'} {c['text']}" for c in step["conditions"]]
    for alert in found["alerts"]:
        lines.append("alert " + ", ".join(f"{k}={v!r}" for k, v in sorted(alert["labels"].items())))
        lines += [f"  {line}" for line in _placed(alert)]
    return lines


@click.command()
def schema() -> None:
    """Print the JSON Schema of rules/*.yaml, for editors.

    Example: router schema > rules.schema.json
    """
    from router.drivers import notifier_specs  # noqa: PLC0415  it imports every driver; --help need not
    from router.rulebook import json_schema  # noqa: PLC0415  as above

    click.echo(json.dumps(json_schema.schema(notifier_specs()), indent=2))
