"""The one door to Redis: connections, scripts, timeouts. Nothing here knows about alerts.

Settings against two measured traps of redis-py: it resends commands by itself (a lost
reply became four entries), and a hung server held one call for 58.8 s. So: no retry of
its own, short socket timeouts, and every failure is one of ours.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
import redis.asyncio as aredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from router.model.errors import ConfigError, Problem, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

T = TypeVar("T")

SOCKET_TIMEOUT_S: Final = 2.0
#: Senders wait 3 s at the least (Slack); half a second is left for the rest.
CALL_TIMEOUT_S: Final = 2.5
#: Connections beside those that a Link counts: for what redis-py asks by itself, and the checks at start.
_SPARE: Final = 4


class Script:
    """A Lua script by its SHA-1, as Redis knows it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = resources.files("router.store.scripts").joinpath(f"{name}.lua").read_text("utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


ACCEPT: Final = Script("accept")
COMMIT: Final = Script("commit")
LEASE: Final = Script("lease")
LETTERS: Final = Script("letters")

Call = tuple[Script, "Sequence[str]", "Sequence[Any]"]


class _PackedInC:
    """Mixed into redis-py's connections: arguments are packed by hiredis, 50 times faster than in Python."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return one command as bytes; the words of a name like ``CONFIG GET`` travel apart."""
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        return [hiredis.pack_command((*name.split(), *args[1:]))]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        """Return a pipeline's commands as bytes."""
        return [b"".join([part for command in commands for part in self.pack_command(*command)])]


def _packed_in_c(client: aredis.Redis) -> aredis.Redis:
    pool = client.connection_pool
    base: Any = pool.connection_class
    pool.connection_class = type(base.__name__, (_PackedInC, base), {})
    return client


def _bad(url: str, message: str) -> ConfigError:
    scheme = url.partition("://")[0]
    return ConfigError([Problem("environment", "ROUTER_REDIS_URL", message, f"it begins {scheme}://")])


def _common(timeout_s: float) -> dict[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "health_check_interval": 15,
        "retry": Retry(NoBackoff(), 0),
    }


def _tls(url: str) -> dict[str, Any]:
    """Return the TLS settings in the query: ssl_ca_certs, ssl_certfile, ssl_keyfile and the like."""
    query = {k: v[-1] for k, v in parse_qs(urlsplit(url).query).items()}
    out: dict[str, Any] = {
        k: v
        for k, v in query.items()
        if k in {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"}
    }
    if "ssl_check_hostname" in query:
        out["ssl_check_hostname"] = query["ssl_check_hostname"].lower() in {"1", "true", "yes"}
    return out


def _hosts(netloc: str, default_port: int) -> list[tuple[str, int]]:
    out = []
    for part in netloc.rpartition("@")[2].split(","):
        host, colon, port = part.rpartition(":")
        known = (host, int(port)) if colon and port.isdigit() else (part, default_port)
        out.append((known[0].strip("[]"), known[1]))
    return out


def connect(
    url: str, *, timeout_s: float = SOCKET_TIMEOUT_S, max_connections: int = 8
) -> aredis.Redis | RedisCluster:
    """Return a client for a URL: redis, rediss, unix, redis(s)+sentinel, redis(s)+cluster. Opens nothing yet.

    Raises:
        ConfigError: the URL cannot be used; its password is not repeated.
    """
    parts = urlsplit(url)
    common = _common(timeout_s)
    scheme, _, mode = parts.scheme.partition("+")
    tls = {"ssl": True, **_tls(url)} if scheme == "rediss" else {}
    credentials = parts.netloc.rpartition("@")[0]
    user, _, password = credentials.partition(":")
    auth: dict[str, Any] = {"username": unquote(user) or None, "password": unquote(password) or None}
    try:
        if mode == "sentinel":
            path = [p for p in parts.path.split("/") if p]
            sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
                _hosts(parts.netloc, 26379),
                sentinel_kwargs={**common, **tls},
                **common,
                **auth,
                **tls,
                db=int(path[1]) if len(path) > 1 else 0,
                max_connections=max_connections + _SPARE,
            )
            master: aredis.Redis = sentinel.master_for(path[0] if path else "mymaster")
            return master
        if mode == "cluster":
            nodes = [ClusterNode(h, p) for h, p in _hosts(parts.netloc, 6379)]
            most = max_connections + _SPARE
            return RedisCluster(startup_nodes=nodes, **common, **auth, **tls, max_connections=most)
        if mode or scheme not in {"redis", "rediss", "unix"}:
            raise _bad(url, "unknown scheme; use redis, rediss, unix, redis+sentinel or redis+cluster")
        pool = aredis.BlockingConnectionPool.from_url(
            url, max_connections=max_connections, timeout=0.5, **common
        )
        return _packed_in_c(aredis.Redis.from_pool(pool))
    except (ValueError, RedisError, IndexError) as exc:
        raise _bad(url, f"cannot be used: {type(exc).__name__}") from exc


class Link:
    """A client whose every failure is a StoreUnavailable, and whose scripts load themselves.

    ``at_once`` commands are under way at most, the others wait: redis-py's pools for
    Sentinel and Cluster do not, they fail when every connection is taken.
    """

    def __init__(self, client: aredis.Redis | RedisCluster, *, at_once: int = 8) -> None:
        self.client = client
        self.cluster = isinstance(client, RedisCluster)
        self._places = asyncio.Semaphore(at_once)
        #: Replicas that must have a write before it counts (WAIT), 0 where there is none.
        self.replicas = 0

    async def guard(self, work: Awaitable[T], timeout_s: float = CALL_TIMEOUT_S) -> T:
        """Await a command; whatever goes wrong is one StoreUnavailable with a bounded text.

        redis-py waits by ``asyncio.wait_for``, and Python 3.11's loses a cancellation that
        comes as the wait ends: the loop that asked would then never end. So it is made good here.
        """
        task = asyncio.current_task()
        cancels = task.cancelling() if task is not None else 0
        try:
            async with asyncio.timeout(timeout_s):
                return await work
        except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError) as exc:
            raise StoreUnavailable(f"{type(exc).__name__}: {str(exc)[:150]}") from exc
        finally:
            if task is not None and task.cancelling() > cancels:
                raise asyncio.CancelledError

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run one script; load it first where the server does not know it (a restart, a failover)."""

        async def run() -> Any:
            async with self._places:
                try:
                    return await self.client.evalsha(script.sha, len(keys), *keys, *args)
                except NoScriptError:
                    return await self.client.eval(script.text, len(keys), *keys, *args)

        return await self.guard(run())

    async def call_many(self, calls: Sequence[Call], *, durable: bool = False) -> list[Any]:
        """Run scripts in one round trip (one fsync), each atomic by itself.

        ``durable``: also wait for a replica, where there is one. Returns each one's
        answer, a StoreUnavailable in its place where it failed.
        """
        answers = await self.guard(self._pipeline(calls, durable=durable))
        if any(isinstance(a, NoScriptError) for a in answers):
            for script in {c[0].sha: c[0] for c in calls}.values():
                await self.guard(self._load(script))
            # Only those that did not run run again: a script that ran may not be repeatable.
            again = [i for i, a in enumerate(answers) if isinstance(a, NoScriptError)]
            second = await self.guard(self._pipeline([calls[i] for i in again], durable=durable))
            for i, answer in zip(again, second, strict=True):
                answers[i] = answer
        return [
            StoreUnavailable(f"{type(a).__name__}: {str(a)[:150]}") if isinstance(a, Exception) else a
            for a in answers
        ]

    async def _load(self, script: Script) -> None:
        client: Any = self.client
        target = {"target_nodes": "primaries"} if self.cluster else {}
        await client.execute_command("SCRIPT LOAD", script.text, **target)

    async def _pipeline(self, calls: Sequence[Call], *, durable: bool) -> list[Any]:
        pipe = self.client.pipeline(transaction=False)
        for script, keys, args in calls:
            pipe.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
        wait = durable and self.replicas > 0  # never in a cluster: WAIT speaks for one connection to one node
        if wait:
            pipe.execute_command("WAIT", self.replicas, 1000)
        async with self._places:
            answers = list(await pipe.execute(raise_on_error=False))
        if wait:
            got = answers.pop()
            if not isinstance(got, int) or got < self.replicas:
                # Written here but not there: a failover now would lose it, so it is not accepted.
                raise ResponseError(f"only {got} of {self.replicas} replicas have it")
        return answers

    async def read(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run plain commands in one round trip (to each node); any failure fails all."""
        pipe = self.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return list(await self.guard(pipe.execute()))

    async def close(self) -> None:
        """Close every connection, those to the sentinels too."""
        pool = getattr(self.client, "connection_pool", None)
        await self.client.aclose()
        if pool is not None:
            await pool.disconnect()
            for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
                await sentinel.aclose()
