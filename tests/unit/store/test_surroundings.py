"""What surrounds every group, against real servers: silences, what inhibits, the rules, what is muted."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from router.model import codec
from router.model.incidents import Incident, State
from router.ports import Batch, GroupChange
from router.store.keys import SILENCES, Keys
from router.store.link import Link
from router.store.reads import RedisReader
from router.store.store import RedisStore
from router.store.surroundings import RedisSurroundings
from tests.fakes.silences import silence

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
GROUPS = [f"{n:08x}{n:08x}" for n in range(4)]  # one in each partition


@pytest.fixture
async def store(link: Link) -> RedisStore:
    one = RedisStore(link, 4)
    await one.claim_layout()
    return one


@pytest.fixture
def shared(store: RedisStore) -> RedisSurroundings:
    return RedisSurroundings(store)


def head(group: str, *tokens: str) -> Incident:
    return Incident(
        group=group, generation=1, route="root", receiver="r", group_labels={}, state=State.SUPPRESSED,
        opened_at=NOW, firing=1, muted=1, muted_by=tokens,
    )  # fmt: skip


async def commit(store: RedisStore, batches: dict[int, Batch]) -> None:
    for partition, batch in batches.items():
        lease = await store.acquire(partition, "me", None)
        assert lease is not None
        await store.commit([(lease, batch)])


async def test_silences_are_written_changed_and_dropped(shared: RedisSurroundings) -> None:
    """What was put is read back as it was; None drops one, and each other stays."""
    assert await shared.silences() == {}
    one, two = codec.encode(silence("a")), codec.encode(silence("b"))
    await shared.put_silences({"a": one, "b": two})
    assert await shared.silences() == {"a": one, "b": two}
    await shared.put_silences({"a": two, "b": None})
    assert await shared.silences() == {"a": two}
    assert codec.silence((await shared.silences())["a"]) == silence("b")
    await shared.put_silences({})
    await shared.put_silences({"a": None})
    assert await shared.silences() == {}


async def test_what_others_wrote_there_is_returned_raw(shared: RedisSurroundings, store: RedisStore) -> None:
    """A field of another release, or with a name that is no UTF-8, breaks nothing here."""
    await store.link.read([("HSET", SILENCES, b"\xff", b"{")])
    assert await shared.silences() == {"\ufffd": b"{"}


async def test_what_inhibits_is_read_by_partition(shared: RedisSurroundings, store: RedisStore) -> None:
    """The fields of each partition that was asked for, and a word that changes with them."""
    before = await shared.inhibitor_counts()
    assert before == [""] * 4
    batch = Batch(inhibits={"node-down|a=1|am:1": "1", "node-down|a=1|am:2": "0"})
    await commit(store, {1: batch})
    assert await shared.inhibitors([]) == {}
    assert await shared.inhibitors([0, 1]) == {0: {}, 1: batch.inhibits}
    after = await shared.inhibitor_counts()
    assert [a != b for a, b in zip(before, after, strict=True)] == [False, True, False, False]


async def test_rules_are_published_for_all(shared: RedisSurroundings) -> None:
    """The last word counts; where the version is known, its content is not sent again."""
    assert await shared.rules() == ("", b"")
    await shared.publish_rules("v1", b"one")
    await shared.publish_rules("v2", b"two")
    assert await shared.rules() == ("v2", b"two")
    assert await shared.rules("v1") == ("v2", b"two")
    assert await shared.rules("v2") == ("v2", b"")


async def test_muted_incidents_are_read_from_every_partition(store: RedisStore) -> None:
    """The reader shows the heads of all groups in which something is muted, and of no other."""
    reader = RedisReader(store)
    assert await reader.muted() == []
    heads = [head(group, f"silence:s{n}") for n, group in enumerate(GROUPS)]
    await commit(
        store,
        {
            p: Batch(groups={h.group: GroupChange(head=h, muted=p != 3)})
            for p, h in enumerate(heads)
        },
    )  # fmt: skip
    assert await reader.muted() == heads[:3]
    await store.link.read([("HSET", Keys(0).group(GROUPS[0]), "h", b"{"), ("DEL", Keys(1).group(GROUPS[1]))])
    assert await reader.muted() == [heads[2]]
