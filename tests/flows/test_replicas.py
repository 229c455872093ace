"""Several routers on one store: shared work, takeover, fencing, and a rolling restart under load."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest

from tests.conftest import wait_for
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import FakeSlack
from tests.flows.harness import RouterProcess, alert, body, client, environ, write_rules
from tests.flows.servers import DURABLE, Fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOOK = "/webhooks/alertmanager"
PARTITIONS = 6
LEASE_S = 1.0
#: Attempts that may be under way in one process: what a kill may leave in doubt, to be sent again.
WORKERS = 16
RULES = {
    "routes.yaml": """
route:
  receiver: pages
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: 0s
  routes:
    - matchers: ['alertname=~"S.*"']
      receiver: pages-and-messages
""",
    "receivers.yaml": """
receivers:
  - name: pages
    pagerduty_configs:
      - routing_key_env: TEST_ROUTING_KEY
  - name: pages-and-messages
    pagerduty_configs:
      - routing_key_env: TEST_ROUTING_KEY
    slack_configs:
      - channel: "C0ALERTS"
""",
}


class Routers:
    """The replicas of a test, by name."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self.env, self.folder = env, folder
        self.by_name: dict[str, RouterProcess] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for router in self.by_name.values():
            if router.process is not None and router.process.returncode is None:
                await router.kill()

    async def start(self, *names: str) -> None:
        """Start these, new or again, all at once."""
        for name in names:
            if name not in self.by_name:
                env = {**self.env, "ROUTER_INSTANCE": name}
                self.by_name[name] = RouterProcess(env, self.folder / f"{name}.log")
            await self.by_name[name].start()
        for name in names:
            await self.by_name[name].ready()

    def __getitem__(self, name: str) -> RouterProcess:
        return self.by_name[name]

    def send(self, name: str, number: signal.Signals) -> None:
        process = self[name].process
        assert process is not None
        os.kill(process.pid, number)

    def log(self, name: str) -> str:
        return self[name].log.read_text()

    async def held(self, name: str) -> int:
        """Return how many partitions a replica says it holds."""
        async with client(self[name].port) as c:
            _, text = await c.get("/metrics")
        rows = [r for r in text.splitlines() if r.startswith("incident_router_partitions_owned ")]
        return int(float(rows[0].split()[1]))

    async def share(self, seconds: float = 20, **counts: int) -> None:
        """Wait until each holds so many."""

        async def shared() -> bool:
            return {name: await self.held(name) for name in counts} == counts

        await wait_for(shared, f"partitions are held so: {counts}", seconds)


class Senders:
    """Senders behind a balancer: what is not answered 2xx goes to the next router, until one takes it."""

    def __init__(self, routers: Routers, *names: str) -> None:
        self.routers, self.names, self.turn = routers, list(names), 0
        self.refused: list[int] = []
        self.under_way: Counter[str] = Counter()
        self.session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(4))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.session is not None
        await self.session.close()

    async def post(self, name: str, json: dict[str, Any]) -> int:
        assert self.session is not None
        url = f"http://127.0.0.1:{self.routers[name].port}{HOOK}"
        self.under_way[name] += 1
        try:
            async with self.session.post(url, json=json) as r:
                return r.status
        except (aiohttp.ClientError, TimeoutError):
            return 0
        finally:
            self.under_way[name] -= 1

    async def deliver(self, *titles: str, status: str = "firing") -> None:
        """Deliver one body, as a sender does that does not give up."""
        told = body(*(alert(title, at=AT, status=status) for title in titles))

        async def taken() -> bool:
            self.turn += 1
            answer = await self.post(self.names[self.turn % len(self.names)], told)
            assert answer in {0, 202, 503}, answer
            if answer != 202:
                self.refused.append(answer)
            return answer == 202

        await wait_for(taken, f"{titles} is accepted", 30)


@pytest.fixture
async def routers(tmp_path: Path, pagerduty: FakePagerDuty, slack: FakeSlack) -> AsyncIterator[Routers]:
    write_rules(tmp_path / "rules", RULES)
    async with Fleet(tmp_path) as fleet:
        server = await fleet.start(*DURABLE)
        env = environ(
            tmp_path,
            ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url,
            ROUTER_SLACK_API_URL=slack.url,
            ROUTER_REDIS_URL=server.url,
            ROUTER_LEASE_SECONDS=str(LEASE_S),
            ROUTER_PARTITIONS=str(PARTITIONS),
        )
        async with Routers(env, tmp_path) as all_:
            yield all_


def keys(pagerduty: FakePagerDuty) -> set[str]:
    return {i.dedup_key for i in pagerduty.incidents}


def extra(pagerduty: FakePagerDuty) -> int:
    """Return how many requests came beyond one trigger and one resolve per incident."""
    done = sum(1 + (i.state == "resolved") for i in pagerduty.incidents)
    return len(pagerduty.events) - done


async def test_three_share_fairly_and_work_everything_once(
    routers: Routers, pagerduty: FakePagerDuty, slack: FakeSlack
) -> None:
    """Three routers hold a third each; the same alerts sent to all of them are paged and told once."""
    names = ("one", "two", "three")
    await routers.start(*names)
    await routers.share(one=2, two=2, three=2)
    async with Senders(routers, *names) as senders:
        titles = [f"{kind}{n}" for kind, count in (("A", 14), ("S", 4)) for n in range(count)]
        bodies = [(name, body(alert(t, at=AT))) for t in titles for name in names]
        assert set(await asyncio.gather(*(senders.post(n, b) for n, b in bodies))) == {202}
        await wait_for(lambda: len(pagerduty.incidents) == 18, "every page")
        await wait_for(lambda: len(slack.messages()) == 4, "every message", 30)
        ended = [(name, body(alert(t, at=AT, status="resolved"))) for t in titles for name in names]
        assert set(await asyncio.gather(*(senders.post(n, b) for n, b in ended))) == {202}
        await wait_for(lambda: all(i.state == "resolved" for i in pagerduty.incidents), "every resolve")
        for name in names:
            async with client(routers[name].port) as c:
                shown = await c.incidents()
                assert {i["title"] for i in shown} == set(titles), "each shows the incidents of all"
                await wait_for(c.settled, "nothing is left to do", 30)
    assert len(pagerduty.incidents) == 18
    assert extra(pagerduty) == 0
    assert len(slack.messages()) == 4
    assert all("delivered" in routers.log(name) for name in names), "each did some of the work"


async def test_killed_in_a_storm_the_other_takes_over(routers: Routers, pagerduty: FakePagerDuty) -> None:
    """SIGKILL amid a storm: after the lease the other has it all, nothing is lost or paged twice."""
    await routers.start("one", "two")
    await routers.share(one=3, two=3)
    async with Senders(routers, "one", "two") as senders:
        loop = asyncio.get_running_loop()
        storm = asyncio.gather(*(senders.deliver(f"A{n}") for n in range(150)))
        await pagerduty.arrived(20)
        await routers["two"].kill()
        killed = loop.time()
        senders.names.remove("two")
        await routers.share(one=PARTITIONS)
        took = loop.time() - killed
        await storm
        await wait_for(lambda: len(pagerduty.incidents) == 150, "every page", 30)
        await asyncio.gather(*(senders.deliver(f"A{n}", status="resolved") for n in range(150)))
        await wait_for(lambda: all(i.state == "resolved" for i in pagerduty.incidents), "every resolve", 30)
    assert took < 3 * LEASE_S + 1
    assert len(keys(pagerduty)) == len(pagerduty.incidents) == 150
    assert extra(pagerduty) <= WORKERS


async def test_frozen_past_its_lease_it_does_nothing_stale(
    routers: Routers, pagerduty: FakePagerDuty
) -> None:
    """An owner frozen with pages to send wakes up after all is resolved: nothing stale is sent."""
    await routers.start("one", "two")
    await routers.share(one=3, two=3)
    async with Senders(routers, "one", "two") as senders:
        pagerduty.fail_next(503, times=10_000)  # so that both have much left to send
        await asyncio.gather(*(senders.deliver(f"A{n}") for n in range(60)))
        await pagerduty.arrived(60)
        routers.send("two", signal.SIGSTOP)
        try:
            senders.names.remove("two")
            await routers.share(one=PARTITIONS)
            pagerduty._faults.clear()
            await asyncio.gather(*(senders.deliver(f"A{n}", status="resolved") for n in range(30)))
            await wait_for(lambda: len(pagerduty.incidents) >= 30, "the pages of what still fires", 40)
            async with client(routers["one"].port) as c:
                await wait_for(c.settled, "all is told", 60)
            before = len(pagerduty.events)
        finally:
            routers.send("two", signal.SIGCONT)
        await routers.share(one=3, two=3)
        senders.names.append("two")
        await senders.deliver("B")
        await wait_for(lambda: len(pagerduty.events) > before, "the next page")
        for name in ("one", "two"):
            async with client(routers[name].port) as c:
                await wait_for(c.settled, "nothing is left to do", 30)
    assert len(pagerduty.events) == before + 1, "what woke up sent nothing of its own"
    assert len(keys(pagerduty)) == len(pagerduty.incidents)
    # Frozen within a commit, it does not know the outcome, and lets the partition go without asking.
    log = routers.log("two")
    assert any(words in log for words in ("lease_taken", "has a new owner", "commit_failed"))


async def test_frozen_amid_attempts_it_begins_no_further_one(
    routers: Routers, pagerduty: FakePagerDuty
) -> None:
    """Frozen amid attempts, awake after all is resolved: only those land late, and none stays open for it."""
    await routers.start("one", "two")
    await routers.share(one=3, two=3)
    async with Senders(routers, "one") as senders:
        titles = [f"A{n}" for n in range(120)]
        storm = asyncio.gather(*(senders.deliver(title) for title in titles))
        await pagerduty.arrived(25)  # two has 60 to send, and some of them are under way
        routers.send("two", signal.SIGSTOP)
        try:
            await storm
            await routers.share(one=PARTITIONS)
            await wait_for(lambda: len(pagerduty.incidents) == 120, "every page", 30)
            await asyncio.gather(*(senders.deliver(title, status="resolved") for title in titles))
            await wait_for(lambda: {i.state for i in pagerduty.incidents} == {"resolved"}, "all resolved", 30)
        finally:
            routers.send("two", signal.SIGCONT)
        await routers.share(one=3, two=3)
        for name in ("one", "two"):
            async with client(routers[name].port) as c:
                await wait_for(c.settled, "nothing is left to do", 30)
        await wait_for(
            lambda: {i.state for i in pagerduty.incidents} == {"resolved"}, "what was reopened is closed", 40
        )
    assert len(keys(pagerduty)) == 120
    assert len(pagerduty.incidents) - 120 <= WORKERS


async def test_what_a_frozen_router_reopens_is_closed_again(
    routers: Routers, pagerduty: FakePagerDuty
) -> None:
    """Late triggers of a frozen router reopen what the next owner resolved, and are resolved again."""
    await routers.start("two")
    await routers.share(two=PARTITIONS)
    titles = [f"A{n}" for n in range(12)]
    async with Senders(routers, "two") as senders:
        pagerduty.hang()
        await senders.deliver(*titles)
        await pagerduty.arrived(8)  # as many as it has threads for
        routers.send("two", signal.SIGSTOP)
        let_go = pagerduty.hold()
        try:
            await routers.start("one")
            await routers.share(one=PARTITIONS)
            senders.names = ["one"]
            await wait_for(lambda: len(pagerduty.incidents) == 12, "every page, by the next owner", 30)
            await senders.deliver(*titles, status="resolved")
            await wait_for(lambda: {i.state for i in pagerduty.incidents} == {"resolved"}, "all resolved", 30)
            let_go()
            await wait_for(lambda: len(pagerduty.incidents) > 12, "late triggers have reopened some")
        finally:
            routers.send("two", signal.SIGCONT)
        await wait_for(lambda: {i.state for i in pagerduty.incidents} == {"resolved"}, "all closed again", 40)
        await wait_for(lambda: "delivered_without_lease" in routers.log("two"), "the log says so")
    assert len(keys(pagerduty)) == 12


async def test_stopped_it_hands_over_at_once(routers: Routers, pagerduty: FakePagerDuty) -> None:
    """SIGTERM gives the leases back: exit code 0, and the other has everything well before they end."""
    routers.env["ROUTER_LEASE_SECONDS"] = "12"
    await routers.start("one")
    await routers.share(one=PARTITIONS)
    await routers.start("two")
    await routers["one"].stop()
    await routers.share(two=PARTITIONS, seconds=11)
    async with Senders(routers, "two") as senders:
        await senders.deliver("A")
        await wait_for(lambda: pagerduty.incidents, "a page")
    assert routers["one"].process is not None
    assert routers["one"].process.returncode == 0
    assert await routers["two"].stop() == 0


async def test_rolling_restart_under_load_loses_nothing(routers: Routers, pagerduty: FakePagerDuty) -> None:
    """Each of two is stopped and started again while alerts come in: all accepted, each paged once."""
    await routers.start("one", "two")
    await routers.share(one=3, two=3)
    sent: list[str] = []
    rolling = True

    async with Senders(routers, "one", "two") as senders:

        async def load(lane: int) -> None:
            n = 0
            while rolling:
                n += 1
                await senders.deliver(f"L{lane}-{n}")
                sent.append(f"L{lane}-{n}")
                told = len(sent)
                await wait_for(lambda t=told: len(pagerduty.incidents) >= t - 40, "paging keeps up", 30)

        lanes = asyncio.gather(*(load(lane) for lane in range(4)))
        for name, other in (("one", "two"), ("two", "one")):
            # As a balancer does before it stops one: nothing more is sent to it, and what is under way ends.
            # A connection that the stopping router had not accepted yet would be refused by the kernel.
            senders.names.remove(name)
            await wait_for(lambda n=name: not senders.under_way[n], "nothing is under way to it")
            assert await routers[name].stop() == 0
            await routers.share(**{other: PARTITIONS})
            await routers.start(name)
            senders.names.append(name)
            await routers.share(one=3, two=3)
        rolling = False
        await lanes
        await wait_for(lambda: len(pagerduty.incidents) >= len(sent), "every page", 40)
        async with client(routers["one"].port) as c:
            await wait_for(c.settled, "nothing is left to do", 30)
    assert len(sent) > 20
    assert len(keys(pagerduty)) == len(pagerduty.incidents) == len(set(sent))
    assert senders.refused == [], "a drained router refuses nobody"
    assert extra(pagerduty) == 0, "what was under way was recorded before its partition went over"
