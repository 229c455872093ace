"""The same short story over every kind of store that a URL can name, and the stores that are refused."""

from __future__ import annotations

import contextlib
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiohttp
import pytest
from structlog.testing import capture_logs

from router.model.errors import ConfigError
from router.store.server import find_binary
from tests.conftest import need, wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows import servers
from tests.flows.harness import Client, alert, body, client, environ, running, write_rules
from tests.flows.servers import DURABLE, Fleet, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"
PARTITIONS = 16


@pytest.fixture
def env(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> dict[str, str]:
    write_rules(tmp_path / "rules")
    return environ(
        tmp_path,
        ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
        ROUTER_SLACK_API_URL=slack.url,
        ROUTER_LEASE_SECONDS="1",
        ROUTER_DRAIN_SECONDS="0",
    )


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    async with Fleet(tmp_path) as one:
        yield one


async def story(env: dict[str, str], url: str, pagerduty: FakePagerDuty, slack: FakeSlack) -> None:
    """Alert, a repeat, page and message, a restart, resolve."""
    env = {**env, "ROUTER_REDIS_URL": url}
    async with running(env) as app, client(app.port) as c:
        assert (await c.post(HOOK, body(alert(at=AT))))[0] == 202
        assert (await c.post(HOOK, body(alert(at=AT))))[1]["repeated"] == 1
        await wait_for(c.settled, "all is told")
    async with running(env) as app, client(app.port) as c:
        assert (await c.post(HOOK, body(alert(at=AT))))[1]["repeated"] == 1
        assert (await c.post(HOOK, body(alert(at=AT, status="resolved"))))[0] == 202
        await wait_for(c.settled, "all is told")
        assert [i["state"] for i in await c.incidents()] == ["resolved"]
    assert [(i.triggers, i.state) for i in pagerduty.incidents] == [(1, "resolved")]
    assert len(slack.messages()) == 1


async def refused(env: dict[str, str], url: str) -> ConfigError:
    """Start a router that must not start; return why."""
    with pytest.raises(ConfigError) as caught:
        async with running({**env, "ROUTER_REDIS_URL": url}):
            pass
    return caught.value


async def accept(c: Client, *names: str) -> None:
    """Send as senders do: what is answered 503 is sent again."""

    async def taken() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            status, _ = await c.post(HOOK, body(*(alert(n, at=AT) for n in names)))
            assert status in {202, 503}
            return status == 202
        return False

    await wait_for(taken, f"{names[0]}... is accepted", 40)


async def titles(c: Client) -> set[str]:
    status, shown = await c.get("/api/v1/incidents?state=all&limit=500")
    return {i["title"] for i in shown["incidents"]} if status == 200 else set()


# --- the story ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["valkey", "redis"])
async def test_password_and_database(
    env: dict[str, str], fleet: Fleet, kind: str, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """A Valkey or a Redis with a password works, in another database than 0."""
    binary = find_binary("") if kind == "valkey" else need("redis-server")
    server = await fleet.start("--requirepass", "p@ss/w", *DURABLE, binary=binary, password="p@ss/w")
    await story(env, f"redis://:p%40ss%2Fw@127.0.0.1:{server.port}/3", pagerduty, slack)
    assert list(await server.ask("INFO", "keyspace")) == ["db3"]
    wrong = await refused(env, f"redis://:wrong@127.0.0.1:{server.port}/3")
    assert "wrong@" not in str(wrong)


async def test_acl_user_needs_little(
    env: dict[str, str], fleet: Fleet, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """A user with its own key prefix and no administration is enough; one who may not write is refused."""
    server = await fleet.start(*DURABLE)
    rights = ("+@read", "+@write", "+@scripting", "+@connection", "-@dangerous", "+info")
    rights += ("+config|get", "+wait")
    await server.ask("ACL", "SETUSER", "router", "on", ">pw", "~ir:*", *rights)
    reads = ("+@read", "+@connection", "+info", "+config|get")
    await server.ask("ACL", "SETUSER", "reader", "on", ">pw", "~ir:*", *reads)
    await story(env, f"redis://router:pw@127.0.0.1:{server.port}/0", pagerduty, slack)
    assert "NoPermission" in str(await refused(env, f"redis://reader:pw@127.0.0.1:{server.port}/0"))


async def test_tls(
    tmp_path: Path, env: dict[str, str], fleet: Fleet, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """A server that speaks TLS only is checked against the authority that the URL names, and no other."""
    certs = await servers.certificates(tmp_path / "tls")
    other = await servers.certificates(tmp_path / "other")
    server = await fleet.start(
        *("--tls-auth-clients", "no", "--tls-cert-file", str(certs / "cert.pem")),
        *("--tls-key-file", str(certs / "key.pem"), *DURABLE),
        binary=need("redis-server"),
        ssl=True,
        ssl_ca_certs=str(certs / "cert.pem"),
    )
    base = f"rediss://127.0.0.1:{server.port}/0"
    assert "does not answer" in str(await refused(env, base))
    assert "does not answer" in str(await refused(env, f"{base}?ssl_ca_certs={other}/cert.pem"))
    await story(env, f"{base}?ssl_ca_certs={certs}/cert.pem", pagerduty, slack)


async def test_cluster(env: dict[str, str], fleet: Fleet, pagerduty: FakePagerDuty, slack: FakeSlack) -> None:
    """Partitions spread over the masters; a flood works there, and nothing is lost when a master restarts."""
    nodes = await fleet.cluster()
    url = f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}"
    await story(env, url, pagerduty, slack)
    assert all([await node.ask("DBSIZE") for node in nodes]), "each master holds some partitions"
    # One delivery touches all partitions at once, and more at a time than there are connections.
    async with running({**env, "ROUTER_REDIS_URL": url}) as app, client(app.port) as c:
        names = [f"A{n}" for n in range(120)]
        await accept(c, *names)
        await wait_for(lambda: len(pagerduty.incidents) == 121, "every page", 30)
        await nodes[2].kill()
        assert (await c.post(HOOK, body(*(alert(f"B{n}", at=AT) for n in range(40)))))[0] == 503
        await nodes[2].start()
        names += [f"B{n}" for n in range(40)]
        await accept(c, *names[120:])
        await wait_for(lambda: len(pagerduty.incidents) == 161, "every page", 40)
        assert set(names) <= await titles(c)
    assert {i.triggers for i in pagerduty.incidents} == {1}


# --- replicas of the server -------------------------------------------------------------------------


@pytest.mark.timeout(120)
async def test_sentinel_fails_over(env: dict[str, str], fleet: Fleet, pagerduty: FakePagerDuty) -> None:
    """The primary dies in a storm, the replica is promoted: nothing accepted is lost, pages flow again."""
    primary = await fleet.start(*DURABLE)
    replica = await fleet.replica_of(primary)
    sentinel = await fleet.sentinel(primary, "main")
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main/0"
    async with running({**env, "ROUTER_REDIS_URL": url}) as app, client(app.port) as c:
        assert {link.replicas for link in app.links} == {1}, "accepted events also wait for the replica"
        names = [f"A{n}" for n in range(40)]
        for name in names[:20]:
            await accept(c, name)
        await primary.kill()  # what it accepted is only partly decided and told
        for name in names[20:]:
            await accept(c, name)
        assert (await replica.ask("ROLE"))[0] == "master"
        await wait_for(lambda: len(pagerduty.incidents) == 40, "every page", 40)
        assert set(names) <= await titles(c)
    assert all(i.triggers <= 2 for i in pagerduty.incidents), "only what was under way was sent again"


async def test_accepted_means_on_the_replica_too(
    env: dict[str, str], fleet: Fleet, pagerduty: FakePagerDuty
) -> None:
    """While a connected replica does not confirm, answers are 503; then the repeat is paged once."""
    primary = await fleet.start(*DURABLE)
    replica = await fleet.replica_of(primary)
    async with running({**env, "ROUTER_REDIS_URL": primary.url}) as app, client(app.port) as c:
        assert {link.replicas for link in app.links} == {1}
        await accept(c, "Before")
        replica.send(signal.SIGSTOP)
        for _ in range(2):  # a repeat of what only the primary has must not be waved through
            assert (await c.post(HOOK, body(alert("During", at=AT))))[0] == 503
        replica.send(signal.SIGCONT)
        await accept(c, "During")
        await replica.kill()
        await accept(c, "After")
        await wait_for(lambda: len(pagerduty.incidents) == 3, "every page")
    assert [i.triggers for i in pagerduty.incidents] == [1, 1, 1]


# --- refusals -----------------------------------------------------------------------------------------


async def nothing_left(server: Server) -> bool:
    """Tell whether no connection but the asking one is open, and no lease is held."""
    assert not [k for k in await server.ask("KEYS", "*") if k != "ir:{meta}:config"]
    return (await server.ask("INFO", "clients"))["connected_clients"] == 1


def levels(logs: list[dict]) -> list[str]:
    return sorted(line["what"] for line in logs if line["event"] == "durability_relaxed")


async def test_unsafe_server_is_refused_with_all_findings(
    env: dict[str, str], fleet: Fleet, pagerduty: FakePagerDuty
) -> None:
    """No AOF, eviction and no sync on rewrite are told at once; relaxed starts, and warns of each."""
    server = await fleet.start(
        *("--appendonly", "no", "--maxmemory-policy", "allkeys-lru", "--no-appendfsync-on-rewrite", "yes")
    )
    problems = (await refused(env, server.url)).problems
    unsafe = ["appendonly", "maxmemory-policy", "no-appendfsync-on-rewrite"]
    assert sorted(p.path for p in problems) == unsafe
    assert all(p.hint for p in problems)
    await wait_for(lambda: nothing_left(server), "nothing of the refused router is left")
    relaxed = {**env, "ROUTER_REDIS_URL": server.url, "ROUTER_DURABILITY": "relaxed"}
    with capture_logs() as logs:
        async with running(relaxed) as app, client(app.port) as c:
            await accept(c, "A")
            await wait_for(lambda: pagerduty.incidents, "a page")
    assert levels(logs) == unsafe


async def test_one_unsafe_master_of_a_cluster_is_named(env: dict[str, str], fleet: Fleet) -> None:
    """Every master of a cluster is looked at, and the one that is wrong is named."""
    nodes = await fleet.cluster()
    await nodes[1].ask("CONFIG", "SET", "appendfsync", "everysec")
    (problem,) = (await refused(env, f"redis+cluster://127.0.0.1:{nodes[0].port}")).problems
    assert problem.path == "appendfsync"
    assert f"127.0.0.1:{nodes[1].port}" in problem.message


async def test_a_replica_is_refused_even_relaxed(env: dict[str, str], fleet: Fleet) -> None:
    """A URL that names a replica, where nothing can be written, says so."""
    replica = await fleet.replica_of(await fleet.start(*DURABLE))
    relaxed = {**env, "ROUTER_DURABILITY": "relaxed"}
    assert [p.path for p in (await refused(relaxed, replica.url)).problems] == ["role"]


async def test_another_number_of_partitions_is_refused(env: dict[str, str], fleet: Fleet) -> None:
    """The number of partitions is fixed at first start: another one is refused, and changes nothing."""
    server = await fleet.start(*DURABLE)
    async with running({**env, "ROUTER_REDIS_URL": server.url}):
        pass
    before = sorted(await server.ask("KEYS", "*"))
    (problem,) = (await refused({**env, "ROUTER_PARTITIONS": "8"}, server.url)).problems
    assert (problem.path, problem.hint.partition(";")[0]) == ("ROUTER_PARTITIONS", f"set it to {PARTITIONS}")
    assert sorted(await server.ask("KEYS", "*")) == before


async def test_flushed_scripts_and_cut_connections_are_taken_in_stride(
    env: dict[str, str], fleet: Fleet, pagerduty: FakePagerDuty
) -> None:
    """A server that forgets its scripts and cuts every connection costs a 503 and a repeat, no event."""
    server = await fleet.start(*DURABLE)
    async with running({**env, "ROUTER_REDIS_URL": server.url}) as app, client(app.port) as c:
        for n in range(6):
            await server.ask("SCRIPT", "FLUSH")
            await server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await accept(c, f"A{n}")
        await wait_for(lambda: len(pagerduty.incidents) == 6, "every page", 20)
    assert len(pagerduty.incidents) == 6, "a commit in doubt may repeat a trigger, under the same key"
