"""Is this server fit to keep what we promise to keep? Read at start, before anything is accepted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from router.model.errors import ConfigError, Problem, StoreUnavailable

if TYPE_CHECKING:
    from router.store.link import Link

_MIN_REDIS = (7, 0)
_MIN_VALKEY = (8, 0)


async def findings(link: Link) -> list[Problem]:
    """Return what about the servers' settings could lose accepted events; empty is good.

    Of a cluster every master is looked at, and a problem names those that have it.

    Raises:
        StoreUnavailable: a server does not answer.
    """
    if not link.cluster:
        return await _server(link, {})
    client: Any = link.client
    await link.guard(client.initialize())
    where: dict[Problem, list[str]] = {}
    for node in client.get_primaries():
        for problem in await _server(link, {"target_nodes": node}):
            where.setdefault(problem, []).append(node.name)
    return [_problem(p.path, f"{p.message} (on {', '.join(names)})", p.hint) for p, names in where.items()]


async def _server(link: Link, at: dict[str, Any]) -> list[Problem]:
    info = await _info(link, at)
    out = _version(info) + _persistence(info)
    config = await _config(link, at)
    if config is None:
        text = "CONFIG GET is not allowed, so appendfsync and maxmemory-policy cannot be checked"
        hint = "allow CONFIG GET, or set ROUTER_DURABILITY=relaxed if you know them to be right"
        return [*out, _problem("config", text, hint)]
    if config.get("appendfsync") != "always" and info.get("aof_enabled") == "1":
        now = config.get("appendfsync")
        text = f"appendfsync is {now}: a power loss can lose about the last second of accepted events"
        out.append(_problem("appendfsync", text, "set appendfsync always"))
    if config.get("no-appendfsync-on-rewrite") == "yes":
        text = "no-appendfsync-on-rewrite is on: while the AOF is rewritten nothing is synced"
        out.append(_problem("no-appendfsync-on-rewrite", text, "set it to no"))
    if (policy := config.get("maxmemory-policy", "noeviction")) != "noeviction":
        text = f"maxmemory-policy is {policy}: Redis may delete accepted events and open incidents"
        out.append(_problem("maxmemory-policy", text, "set maxmemory-policy noeviction"))
    return out


async def replicas(link: Link) -> int:
    """Return 1 where at least one replica is online, else 0: how many WAIT asks for."""
    if link.cluster:
        return 0
    client: Any = link.client
    info = await link.guard(client.info("replication"))
    # One that is still being synchronised would let every accept wait in vain.
    online = [
        v
        for k, v in info.items()
        if k.startswith("slave") and isinstance(v, dict) and v.get("state") == "online"
    ]
    return 1 if online else 0


def refuse(problems: list[Problem]) -> None:
    """Raise ConfigError with all of them, if there are any."""
    if problems:
        raise ConfigError(problems)


def _problem(path: str, text: str, hint: str) -> Problem:
    return Problem("redis", path, text, hint)


def _version(info: dict[str, str]) -> list[Problem]:
    valkey = info.get("valkey_version")
    text = valkey or info.get("redis_version", "0")
    numbers = tuple(int(n) for n in re.findall(r"\d+", text)[:2])
    least = _MIN_VALKEY if valkey else _MIN_REDIS
    if numbers >= least:
        return []
    name = "Valkey" if valkey else "Redis"
    return [
        _problem(
            "version",
            f"{name} {text} is too old",
            f"{name} {least[0]}.{least[1]} or newer is needed for script flags",
        )
    ]


def _persistence(info: dict[str, str]) -> list[Problem]:
    out = []
    if info.get("aof_enabled") != "1":
        text = "the append-only file is off: a crash loses accepted events"
        out.append(_problem("appendonly", text, "set appendonly yes and appendfsync always"))
    if info.get("role") == "slave":
        out.append(
            _problem(
                "role",
                "this is a replica: nothing can be written",
                "point ROUTER_REDIS_URL at the primary, or use redis+sentinel://",
            )
        )
    return out


async def _info(link: Link, at: dict[str, Any]) -> dict[str, str]:
    client: Any = link.client
    raw = await link.guard(client.info(**at))
    return {str(k): str(v) for k, v in raw.items()}


async def _config(link: Link, at: dict[str, Any]) -> dict[str, str] | None:
    """Return the settings, None where the server does not tell them."""
    names = ("appendfsync", "maxmemory-policy", "no-appendfsync-on-rewrite")
    client: Any = link.client
    out: dict[str, str] = {}
    for name in names:
        try:
            raw = await link.guard(client.config_get(name, **at))
        except StoreUnavailable as exc:
            if isinstance(exc.__cause__, ResponseError):
                return None
            raise
        out |= {_text(k): _text(v) for k, v in raw.items()}
    return out


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
