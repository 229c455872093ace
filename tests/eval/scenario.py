"""A scenario as it lies on disk: what is sent, the catalogue, the sealed truth.

Whoever brings one writes a folder with ``events.jsonl``, ``services.json`` and ``truth.json``
(docs/reference/attribution.md has the format). What is wrong in it is said with the file and the line.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml

from router.rulebook.catalogue import ENVIRONMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

FILES = ("events.jsonl", "services.json", "truth.json")


class BadScenario(Exception):  # noqa: N818  a state of the files
    """A file that cannot be used: which, where, why."""


@dataclass(frozen=True)
class Request:
    """One HTTP request of a scenario, at a simulated time."""

    at: datetime
    path: str
    headers: Mapping[str, str]
    body: bytes


def find(path: Path) -> list[Path]:
    """Return the folders at or below a path that hold a scenario, in order.

    Raises:
        BadScenario: there is none.
    """
    found = sorted({p.parent for p in path.rglob("events.jsonl")} | ({path} & {path}))
    found = [p for p in found if (p / "events.jsonl").is_file()]
    if not found:
        raise BadScenario(f"{path}: no folder at or below it holds events.jsonl")
    for folder in found:
        for name in FILES:
            if not (folder / name).is_file():
                raise BadScenario(f"{folder}: {name} is missing")
    return found


def instant(text: Any, where: str) -> datetime:
    """Return an RFC 3339 time, aware, UTC.

    Raises:
        BadScenario: it is none.
    """
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise BadScenario(f"{where}: {str(text)[:60]!r} is no RFC 3339 time") from None
    if at.tzinfo is None:
        raise BadScenario(f"{where}: {str(text)[:60]!r} has no time zone")
    return at.astimezone(UTC)


def events(folder: Path) -> Iterator[Request]:
    """Yield what is sent, in the order of the file, which must be that of time."""
    file, last = folder / "events.jsonl", None
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{file}:{number}"
            try:
                row = json.loads(line)
                at, path, body = row["at"], row["path"], row.get("body", "")
                headers = {str(k): str(v) for k, v in (row.get("headers") or {}).items()}
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                raise BadScenario(f"{where}: not a request: {exc!r}") from None
            if not isinstance(path, str) or not path.startswith("/"):
                raise BadScenario(f"{where}: path must begin with /")
            when = instant(at, where)
            if last is not None and when < last:
                raise BadScenario(f"{where}: it is earlier than the line before")
            last = when
            raw = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
            yield Request(when, path, headers, raw.encode())


def read(folder: Path, name: str) -> dict[str, Any]:
    """Return a JSON document of a scenario."""
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (ValueError, OSError) as exc:
        raise BadScenario(f"{folder / name}: {exc}") from None
    if not isinstance(found, dict):
        raise BadScenario(f"{folder / name}: not an object")
    return found


def environments(requests: Iterable[Request]) -> dict[str, list[str]]:
    """Return the usual environments with their aliases, and what else GitLab's deployments name."""
    found = {name: list(aliases) for name, aliases in ENVIRONMENTS.items()}
    known = {n for name, aliases in found.items() for n in (name, *aliases)}
    for request in requests:
        if b'"environment"' not in request.body:
            continue
        with contextlib.suppress(ValueError):
            body = json.loads(request.body)
            name = body.get("environment") if isinstance(body, dict) else None
            if isinstance(name, str) and name.strip() and name.lower() not in known and "/" not in name:
                known.add(name.lower())
                found[name] = []
    return found


def write_rules(
    folder: Path, services: Mapping[str, Any], places: Mapping[str, list[str]] | None = None
) -> None:
    """Write the rules folder that a scenario's catalogue gives: one receiver per team, nobody real."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    teams: dict[str, str] = {}
    known = {str(s["name"]) for s in services.get("services", [])}
    claimed: set[str] = set()
    for each in services.get("services", []):
        name, team = str(each["name"]), str(each.get("team") or "nobody")
        teams.setdefault(team, f"team-{len(teams)}")
        row = {
            "name": name,
            "team": team,
            "tier": min(9, max(0, int(each.get("tier") or 3))),
            "dependencies": [d for d in dict.fromkeys(each.get("depends_on") or []) if d in known - {name}],
        }
        projects = [p for p in [each.get("gitlab_project")] if p and p.lower() not in claimed]
        apps = [a for a in dict.fromkeys(each.get("argocd_apps") or []) if a.lower() not in claimed]
        claimed |= {c.lower() for c in (*projects, *apps)}
        rows.append(row | {"gitlab_projects": projects, "argocd_applications": apps})
    receivers = [
        {"name": name, "pagerduty_configs": [{"routing_key_env": "EVAL_ROUTING_KEY"}]}
        for name in (*teams.values(), "rest")
    ]
    routes = [
        {"receiver": teams[each["team"]], "matchers": [f"service={json.dumps(each['name'])}"]}
        for each in rows
    ]
    route = {
        "receiver": "rest",
        "group_by": ["alertname", "service", "env"],
        "group_wait": "0s",
        "group_interval": "0s",
        "routes": routes,
    }
    sections = {"services": rows, "receivers": receivers, "route": route, "environments": dict(places or {})}
    for name, content in sections.items():
        if not content:
            continue
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({name: content}, allow_unicode=True))
