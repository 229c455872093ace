"""What the API reads, over a Redis that is played in memory: order, bounds, and what cannot be read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fakeredis import FakeAsyncRedis

from router.model import codec
from router.model.deploys import Ledger
from router.model.errors import StoreUnavailable
from router.model.events import DeployPhase
from router.model.incidents import Entry, Member, State
from router.model.keys import group_key, partition_of, service_key
from router.ports import Page
from router.store.commits import ms
from router.store.keys import Keys
from router.store.link import Link
from router.store.reads import RedisReader
from router.store.store import RedisStore
from tests.fakes.samples import ONSET, alert, deploy, incident

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from router.model.incidents import Incident

PARTITIONS = 4


@pytest.fixture
async def redis() -> AsyncIterator[Any]:
    client = FakeAsyncRedis()
    yield client
    await client.aclose()


@pytest.fixture
def reader(redis: Any) -> RedisReader:
    return RedisReader(RedisStore(Link(redis), PARTITIONS))


def keys(of: str) -> Keys:
    return Keys(partition_of(of, PARTITIONS))


async def put(redis: Any, n: int, **changes: Any) -> Incident:
    """Write one incident that opened ``n`` minutes after the onset, and its place in an index."""
    group, at = group_key("root", {"n": str(n)}), ONSET + timedelta(minutes=n)
    head = incident(group=group, generation=1, opened_at=at, **changes)
    index = keys(group).open if head.state.open else keys(group).closed
    await redis.hset(keys(group).group(group), "h", codec.encode(head))
    await redis.zadd(index, {group: ms(at)})
    return head


async def test_incidents_come_newest_first_over_all_partitions(redis: Any, reader: RedisReader) -> None:
    """Open ones newest first, then closed ones where they are asked for; never more than the limit."""
    opened = [await put(redis, n) for n in range(12)]
    closed = [await put(redis, n, state=State.RESOLVED) for n in range(20, 24)]
    assert len({partition_of(h.group, PARTITIONS) for h in opened}) > 1
    assert await reader.incidents(include_closed=False, limit=500) == Page(opened[::-1])
    assert await reader.incidents(include_closed=True, limit=500) == Page(opened[::-1] + closed[::-1])
    assert (await reader.incidents(include_closed=True, limit=5)).heads == opened[:-6:-1]


@pytest.mark.parametrize("limit", [1, 3, 5, 12, 16, 17])
async def test_pages_hold_each_incident_once(redis: Any, reader: RedisReader, limit: int) -> None:
    """Page by page all are there, in order, also those of one moment; one that opens meanwhile moves none."""
    opened = [await put(redis, n) for n in range(12)]
    for head in opened[2:9]:  # as after one delivery
        await redis.zadd(keys(head.group).open, {head.group: ms(ONSET)})
    closed = [await put(redis, n, state=State.RESOLVED) for n in range(20, 24)]
    whole = (await reader.incidents(include_closed=True, limit=500)).heads
    assert sorted(h.group for h in whole) == sorted(h.group for h in [*opened, *closed])
    found, after = [], ""
    for turn in range(40):
        page = await reader.incidents(include_closed=True, limit=limit, after=after)
        found += page.heads
        assert len(page.heads) <= limit
        if not (after := page.after):
            break
        if turn == 0:
            await put(redis, 99)
    assert found == whole


@pytest.mark.parametrize("after", ["x", "o1", "o1-1-zz", "a1-1-" + "0" * 16, "o1-1-" + "0" * 17, "-1"])
async def test_what_is_no_page_is_refused(reader: RedisReader, after: str) -> None:
    """A cursor that no page gave is a mistake, not an empty list."""
    with pytest.raises(ValueError, match="cursor"):
        await reader.incidents(include_closed=True, limit=10, after=after)


async def test_unreadable_head_spoils_no_list(redis: Any, reader: RedisReader) -> None:
    """A head that this release cannot read, or that is gone, is left out of the list."""
    kept, odd, gone = [await put(redis, n) for n in range(3)]
    await redis.hset(keys(odd.group).group(odd.group), "h", b'{"from": "the future"}')
    await redis.delete(keys(gone.group).group(gone.group))
    assert await reader.incidents(include_closed=True, limit=10) == Page([kept])


async def test_incident_shows_its_own_generation(redis: Any, reader: RedisReader) -> None:
    """An earlier generation has its own head, alerts and lines; a later one is not there yet."""
    head = await put(redis, 1)
    group, k = head.group, keys(head.group)
    now = msgspec.structs.replace(head, generation=2)
    rows = {"h": now, "p1": head, "mone": Member(alert(1), 1), "mtwo": Member(alert(2, firing=False), 2)}
    rows["mthree"] = Member(alert(3), 2)
    await redis.hset(k.group(group), mapping={f: codec.encode(row) for f, row in rows.items()})
    lines = [Entry(ONSET, "incident_opened", generation=1), Entry(ONSET, "incident_reopened", generation=2)]
    await redis.rpush(k.timeline(group), *(codec.encode(line) for line in lines))
    assert await reader.incident(group, 1) == (head, [alert(1)], lines[:1])
    assert await reader.incident(group, 2) == (now, [alert(3), alert(2, firing=False)], lines[1:])
    assert await reader.incident(group, 3) is None
    assert await reader.incident(group_key("root", {}), 1) is None


async def test_deploys_come_newest_first_over_all_services(redis: Any, reader: RedisReader) -> None:
    """Deploys of different services are one list, newest first, up to the limit."""
    for n in range(6):
        key = service_key(f"service-{n}")
        at = ONSET + timedelta(hours=n % 3, minutes=n)
        one = deploy(id=f"prod/{n}", service=f"service-{n}", phases={DeployPhase.LIVE: at})
        await redis.set(keys(key).service(key), codec.encode(Ledger(f"service-{n}", (one,))))
        await redis.zadd(keys(key).services, {key: ms(at)})
    shown = await reader.deploys(limit=4)
    assert [d.id for d in shown] == ["prod/5", "prod/2", "prod/4", "prod/1"]


async def test_depths_are_sums(redis: Any, reader: RedisReader) -> None:
    """What waits is counted over all partitions."""
    for p in range(PARTITIONS):
        await redis.xadd(Keys(p).urgent, {"d": b"x"})
        await redis.sadd(Keys(p).due, "g:a", "g:b")
        await redis.zadd(Keys(p).timers, {"notify|a|1": 1})
    depths = await reader.depths()
    assert depths == {
        "inbox_urgent": 4,
        "inbox_normal": 0,
        "due": 8,
        "timers": 4,
        "dead": 0,
        "unread": 0,
        "open": 0,
    }


async def test_server_that_is_gone_is_unavailable() -> None:
    """Whatever the client raises, a reader raises one error of ours, short."""
    reader = RedisReader(RedisStore(Link(FakeAsyncRedis(connected=False)), PARTITIONS))
    with pytest.raises(StoreUnavailable, match="ConnectionError"):
        await reader.ping()
    with pytest.raises(StoreUnavailable):
        await reader.depths()


async def test_a_story_is_an_incident_without_its_alerts(redis: Any, reader: RedisReader) -> None:
    """The same head and timeline as of the whole one, of this generation and of an earlier one."""
    head = await put(redis, 1)
    now = msgspec.structs.replace(head, generation=2)
    k = keys(head.group)
    fields = {"h": codec.encode(now), "p1": codec.encode(head), "mx": codec.encode(Member(alert(1), 2))}
    await redis.hset(k.group(head.group), mapping=fields)
    entries = [Entry(ONSET, "noted", str(n), generation=n) for n in (1, 2, 2)]
    await redis.rpush(k.timeline(head.group), *(codec.encode(e) for e in entries))
    for generation, lines in ((1, 1), (2, 2)):
        whole = await reader.incident(head.group, generation)
        story = await reader.story(head.group, generation)
        assert story == (whole[0], whole[2])
        assert len(story[1]) == lines
    assert await reader.story(head.group, 3) is None
    assert await reader.story(head.group, 0) is None
    assert await reader.story("0" * 16, 1) is None


async def test_decisions_are_the_last_lines_of_all(redis: Any, reader: RedisReader) -> None:
    """Over all incidents and partitions, newest first, each with its group; never more than the limit."""
    heads = [await put(redis, n, state=State.RESOLVED if n % 2 else State.TRIGGERED) for n in range(6)]
    for n, head in enumerate(heads):
        lines = [Entry(ONSET + timedelta(minutes=n, seconds=s), "noted", f"{n}.{s}") for s in (0, 30)]
        await redis.rpush(keys(head.group).timeline(head.group), *(codec.encode(e) for e in lines))
    found = await reader.decisions(limit=5)
    assert [e.text for _, e in found] == ["5.30", "5.0", "4.30", "4.0", "3.30"]
    assert [group for group, _ in found] == [heads[n].group for n in (5, 5, 4, 4, 3)]
    assert len(await reader.decisions(limit=500)) == 12
