"""The durable core against real servers: each promise of store.py and its scripts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from router.kit.clock import SystemClock
from router.model import codec
from router.model.errors import ConfigError, Fenced, StoreUnavailable
from router.model.events import Alert, DeployNoticed, GroupAlerts
from router.model.incidents import Entry, Incident, Member, State
from router.ports import MOST_UNREAD, Batch, DeadLetter, GroupChange, InboxPage, Item, Lease, LeaseSeen
from router.store import checks
from router.store.keys import SENDERS, Keys
from router.store.link import ACCEPT, COMMIT, LEASE, Link, connect
from router.store.reads import RedisReader
from router.store.server import EmbeddedServer
from router.store.store import RedisStore

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
GROUP = "0" * 15 + "1"


@pytest.fixture
async def store(link: Link) -> RedisStore:
    one = RedisStore(link, 4)
    await one.claim_layout()
    return one


def item(partition: int, field: bytes, version: bytes, *, urgent: bool = False) -> Item:
    event = DeployNoticed(service=field.decode(), event_id=version.decode())
    return Item(partition, urgent, ((field, version),) if field else (), codec.encode(event))


def head(state: State = State.TRIGGERED, generation: int = 1, service: str = "pay") -> Incident:
    return Incident(
        group=GROUP, generation=generation, route="root", receiver="r", group_labels={"a": "b"}, state=state,
        service=service, opened_at=NOW, resolved_at=None if state.open else NOW,
    )  # fmt: skip


async def test_accept_appends_new_and_stops_repeats(store: RedisStore) -> None:
    """An unchanged repeat is told apart from what is new, in one call and across calls."""
    first = await store.accept(
        [item(0, b"a", b"1"), item(0, b"a", b"1"), item(0, b"b", b"1"), item(1, b"a", b"1")], NOW
    )
    assert first[0].fresh == {0, 2}
    assert first[1].fresh == {3}
    second = await store.accept([item(0, b"a", b"1"), item(0, b"a", b"2")], NOW)
    assert second[0].fresh == {1}
    entries = (await store.inbox([InboxPage(0, False, 10)]))[0]
    events = [e.service for entry in entries for e in entry.events if isinstance(e, DeployNoticed)]
    assert events == ["a", "b", "a"]


async def test_door_remembers_over_midnight(store: RedisStore) -> None:
    """What was accepted yesterday is a repeat today, and is carried into today's memory."""
    await store.accept([item(0, b"a", b"1")], NOW)
    assert not (await store.accept([item(0, b"a", b"1")], NOW + timedelta(days=1)))[0].fresh
    assert not (await store.accept([item(0, b"a", b"1")], NOW + timedelta(days=2)))[0].fresh
    assert (await store.accept([item(0, b"a", b"1")], NOW + timedelta(days=5)))[0].fresh


async def test_a_value_that_returns_is_new_again(store: RedisStore) -> None:
    """Firing, resolved, firing in the old words: no repeat, for today's memory outranks yesterday's."""
    await store.accept([item(0, b"a", b"1")], NOW)
    await store.accept([item(0, b"a", b"2")], NOW + timedelta(days=1))
    assert (await store.accept([item(0, b"a", b"1")], NOW + timedelta(days=1)))[0].fresh == {0}


async def test_items_without_versions_are_always_appended(store: RedisStore) -> None:
    """What names no version is never taken for a repeat."""
    for _ in range(2):
        assert (await store.accept([item(0, b"", b"x")], NOW))[0].fresh == {0}


async def test_large_accepts_are_split_into_entries(store: RedisStore) -> None:
    """More items than a script may unpack come back whole, in order, with matching positions."""
    items = [item(0, str(i).encode(), b"1", urgent=i % 2 == 0) for i in range(2600)]
    done = await store.accept(items, NOW)
    assert len(done[0].fresh) == 2600
    for urgent, told in ((True, done[0].urgent), (False, done[0].normal)):
        stored = {e.id: e.events for e in (await store.inbox([InboxPage(0, urgent, 100)]))[0]}
        for entry, positions in told:
            names = [e.service for e in stored[entry] if isinstance(e, DeployNoticed)]
            assert names == [str(i) for i in positions]


async def test_commit_writes_all_and_acknowledges(store: RedisStore) -> None:
    """State, timeline, wake-ups, dead letters and the acknowledgement are there after one commit."""
    await store.accept([item(2, b"a", b"1")], NOW)
    (entry,) = (await store.inbox([InboxPage(2, False, 10)]))[0]
    lease = await store.acquire(2, "me", None)
    assert lease is not None
    alert = Alert("am:1", True, {"a": "b"}, {}, NOW)
    change = GroupChange(head=head(), members={"am:1": Member(alert, 1, NOW)}, due=True)
    change.timeline = [Entry(NOW, "incident_opened", "x", generation=1)]
    batch = Batch(groups={GROUP: change}, timers={"notify|x|1": NOW}, acks_normal=[entry.id])
    batch.dead.append(DeadLetter(NOW, "k", "r", b"{}"))
    (new,) = await store.commit([(lease, batch)])
    assert new == Lease(2, lease.epoch, "1")
    record = (await store.groups({GROUP: 2}))[GROUP]
    assert record.head == head()
    assert record.members["am:1"].alert == alert
    assert (await store.inbox([InboxPage(2, False, 10)]))[0] == []
    taking = await store.pending(2)
    assert taking.groups == [GROUP]
    assert taking.timers == {"notify|x|1": NOW}
    assert await store.open_groups(2, ["pay"]) == [GROUP]
    reader = RedisReader(store)
    assert [d.payload for d in await reader.dead_letters(limit=5)] == [b"{}"]
    assert (await reader.depths())["open"] == 1


async def test_an_old_owner_cannot_write(store: RedisStore) -> None:
    """After a lease was taken over, the former holder's commit writes nothing and says so."""
    old = await store.acquire(0, "old", None)
    seen = (await store.leases())[0]
    assert await store.acquire(0, "new", LeaseSeen("old", "99/1")) is None, "a lease that moved is not taken"
    new = await store.acquire(0, "new", seen)
    assert old is not None
    assert new is not None
    (result,) = await store.commit([(old, Batch(timers={"t": NOW}))])
    assert isinstance(result, Fenced)
    assert (await store.pending(0)).timers == {}
    assert not await store.renew(old, "old")
    await store.release(old, "old")
    assert (await store.leases())[0].owner == "new"


async def test_a_resent_commit_writes_nothing(store: RedisStore) -> None:
    """A copy of an old commit that sat in a socket is refused by its sequence number."""
    lease = await store.acquire(0, "me", None)
    assert lease is not None
    (new,) = await store.commit([(lease, Batch(timers={"t": NOW}))])
    assert isinstance(new, Lease)
    (again,) = await store.commit([(lease, Batch(timers={"t": None}))])
    assert isinstance(again, StoreUnavailable)
    assert "t" in (await store.pending(0)).timers


async def test_a_namesake_takes_its_own_lease_at_once(store: RedisStore) -> None:
    """The next process of the same name need not wait, and fences the one before."""
    old = await store.acquire(0, "me", None)
    new = await store.acquire(0, "me", None)
    assert old is not None
    assert new is not None
    assert int(new.epoch) == int(old.epoch) + 1
    (result,) = await store.commit([(old, Batch(timers={"t": NOW}))])
    assert isinstance(result, Fenced)


async def test_forgetting_leaves_no_key(store: RedisStore, link: Link) -> None:
    """A forgotten group leaves nothing behind but the partition's own bookkeeping."""
    lease = await store.acquire(0, "me", None)
    assert lease is not None
    change = GroupChange(head=head(State.RESOLVED), timeline=[Entry(NOW, "w")])
    (lease,) = await store.commit([(lease, Batch(groups={GROUP: change}))])
    assert isinstance(lease, Lease)
    await store.commit([(lease, Batch(groups={GROUP: GroupChange(forget=True)}))])
    keys = {k.decode() for k in await link.client.keys("ir:*")}
    assert keys == {"ir:{0}:lease", "ir:{meta}:config"}


async def test_partitions_are_fixed_at_first_start(store: RedisStore, link: Link) -> None:
    """Another number of partitions is refused with what to set."""
    with pytest.raises(ConfigError, match="made with 4 partitions"):
        await RedisStore(link, 8).claim_layout()


async def test_scripts_survive_a_flush(store: RedisStore, link: Link) -> None:
    """SCRIPT FLUSH (or a restarted server) costs one extra round trip and nothing else."""
    await store.accept([item(0, b"a", b"1")], NOW)
    await link.client.script_flush()
    assert (await store.accept([item(0, b"a", b"2"), item(1, b"a", b"2")], NOW))[0].fresh == {0}
    await link.client.script_flush()
    assert await store.acquire(0, "me", None)


async def test_full_memory_refuses_intake_but_not_bookkeeping(store: RedisStore, link: Link) -> None:
    """When memory is full the door answers 'unavailable' having written nothing; commits still go through."""
    lease = await store.acquire(0, "me", None)
    assert lease is not None
    await link.client.config_set("maxmemory", "1mb")
    with pytest.raises(StoreUnavailable, match=r"OOM|memory"):
        await store.accept([item(0, b"a", b"1")], NOW)
    (new,) = await store.commit([(lease, Batch(timers={"t": NOW}))])
    assert isinstance(new, Lease)
    await link.client.config_set("maxmemory", "0")
    assert (await store.accept([item(0, b"a", b"1")], NOW))[0].fresh == {0}


async def test_a_stopped_server_is_unavailable_in_time(store: RedisStore, server: EmbeddedServer) -> None:
    """With the server gone, every call fails as unavailable, never with the client library's own error."""
    assert server.process is not None
    server.process.kill()
    await server.process.wait()
    with pytest.raises(StoreUnavailable):
        await store.accept([item(0, b"a", b"1")], NOW)
    with pytest.raises(StoreUnavailable):
        await store.leases()


async def test_accepted_survives_kill_nine(server: EmbeddedServer) -> None:
    """What was accepted is there after the server was killed and started again."""
    link = Link(connect(server.url))
    store = RedisStore(link, 4)
    await store.accept([item(0, b"a", b"1")], NOW)
    assert server.process is not None
    server.process.kill()
    await server.process.wait()
    await server.start()
    assert len((await store.inbox([InboxPage(0, False, 10)]))[0]) == 1
    await link.close()


async def test_cancelled_calls_do_not_shift_answers(store: RedisStore) -> None:
    """A caller cancelled in the middle never gives its answer to the next one."""
    for i in range(60):
        task = asyncio.get_running_loop().create_task(store.accept([item(0, f"c{i}".encode(), b"1")], NOW))
        await asyncio.wait([task], timeout=0.0005 * (i % 4))
        task.cancel()
        counted = await store.try_count(1, f"e{i}")
        assert counted == 1
        await asyncio.gather(task, return_exceptions=True)


async def test_settings_that_lose_events_are_found(store: RedisStore, link: Link) -> None:
    """A durable server has no findings; each unsafe setting is named with its cure."""
    assert await checks.findings(link) == []
    await link.client.config_set("appendfsync", "everysec")
    await link.client.config_set("maxmemory-policy", "allkeys-lru")
    found = {p.path for p in await checks.findings(link)}
    assert found == {"appendfsync", "maxmemory-policy"}
    await link.client.config_set("appendonly", "no")
    assert "appendonly" in {p.path for p in await checks.findings(link)}


def test_scripts_declare_their_flags() -> None:
    """Intake is refused when memory is full; bookkeeping is not; both say so by flags Redis checks."""
    assert ACCEPT.text.startswith("#!lua\n")
    assert COMMIT.text.startswith("#!lua flags=allow-oom\n")
    assert LEASE.text.startswith("#!lua flags=allow-oom\n")


async def test_an_unreadable_entry_is_kept_raw(store: RedisStore, link: Link) -> None:
    """An entry that this release cannot decode is handed on as bytes, not dropped and not guessed at."""
    await link.client.xadd("ir:{0}:in:lo", {"d": b'{"type":"from_the_future"}'})
    (entry,) = (await store.inbox([InboxPage(0, False, 1)]))[0]
    assert entry.events == (b'{"type":"from_the_future"}',)


def test_group_alerts_round_trip() -> None:
    """An event read back from the inbox is the event that was appended."""
    event = GroupAlerts(
        GROUP, "root", {"a": "b"}, [Alert("am:1", False, {}, {}, NOW, NOW)], NOW, "alertmanager"
    )
    assert codec.stored(codec.encode(event)) == event


# --- dead letters and notes on senders ---------------------------------------------------------------


async def bury(link: Link, partition: int, n: int, payload: bytes, **more: str) -> None:
    """Put a dead letter where a commit puts it."""
    fields = {"at": int(NOW.timestamp() * 1000) + n, "kind": "unreadable", "reason": f"no {n}", "d": payload}
    fields |= more
    k = Keys(partition)
    stream = k.unread if fields["kind"] == "unreadable" else k.dead
    await link.client.xadd(stream, fields, id=f"{1764028800000 + n}-0")


async def test_dead_letters_are_listed_without_their_bulk(link: Link, store: RedisStore) -> None:
    """A list has the newest first over all partitions, with the beginning of a payload and its true size."""
    for n in range(6):
        await bury(link, n % 4, n, bytes([255, n]) + b"x" * 100_000, source="gitlab" if n % 2 else "")
    reader = RedisReader(store)
    letters = await reader.dead_letters(limit=4)
    assert [x.reason for x in letters] == ["no 5", "no 4", "no 3", "no 2"]
    assert letters[0].at == NOW + timedelta(milliseconds=5)
    assert letters[0].payload[:2] == bytes([255, 5])
    assert len(letters[0].payload) == 4096
    assert letters[0].size == 100_002
    whole = await reader.dead_letter(letters[0].id)
    assert whole is not None
    assert whole.payload == bytes([255, 5]) + b"x" * 100_000


async def test_dead_letters_are_found_behind_many_others(link: Link, store: RedisStore) -> None:
    """A filter by kind and source finds what lies far behind newer letters of other kinds."""
    await bury(link, 0, 0, b"old", source="slack")
    for n in range(1, 260):
        await bury(link, 0, n, b"new", kind="undelivered")
    reader = RedisReader(store)
    (found,) = await reader.dead_letters(limit=5, kind="unreadable")
    assert found.reason == "no 0"
    assert [x.reason for x in await reader.dead_letters(limit=5, source="slack")] == ["no 0"]
    assert await reader.dead_letters(limit=5, source="nobody") == []
    assert len(await reader.dead_letters(limit=300)) == 260


async def test_pages_of_dead_letters_reach_every_one(link: Link, store: RedisStore) -> None:
    """Page by page, from the last one on, one sees each letter once, also those of one moment."""
    for n in range(8):  # four partitions, both streams, all at one moment
        await bury(link, n % 4, 0, b"x", kind="undelivered" if n < 4 else "unreadable")
    for n in range(8, 40):
        await bury(link, n % 4, n, b"x")
    reader = RedisReader(store)
    seen: list[str] = []
    while page := await reader.dead_letters(limit=7, before=seen[-1] if seen else ""):
        seen += [x.id for x in page]
    assert len(seen) == len(set(seen)) == 40
    assert seen == [x.id for x in await reader.dead_letters(limit=100)]


async def test_a_dead_letter_is_dropped_once(link: Link, store: RedisStore) -> None:
    """Dropping deletes just that letter and says whether it was there; what is no id names none."""
    await bury(link, 3, 1, b"a")
    await bury(link, 3, 2, b"b", kind="undelivered")
    reader = RedisReader(store)
    newest, oldest = await reader.dead_letters(limit=5)
    assert (newest.id, oldest.id) == ("3-1764028800002-0", "3u-1764028800001-0")
    assert await reader.drop_dead_letter(newest.id)
    assert not await reader.drop_dead_letter(newest.id)
    assert await reader.dead_letter(newest.id) is None
    assert (await reader.dead_letters(limit=5)) == [oldest]
    for name in (
        "",
        "x",
        "9-1-1",
        "3",
        "3-1",
        "3-0-0",
        "-1-1-1",
        "3-" + "9" * 30 + "-0",
        "3-1-0\r\n",
        "٣-1-0",
    ):
        assert await reader.dead_letter(name) is None
        assert not await reader.drop_dead_letter(name)


async def test_a_large_body_is_kept_beside_its_letter(store: RedisStore) -> None:
    """A letter's large body is written with it, read with it, and has a time to live."""
    lease = await store.acquire(1, "me", None)
    assert lease is not None
    letter = DeadLetter(NOW, "unreadable", "no", b"{}", "gitlab", body=b"x" * 100_000)
    ((result),) = await store.commit([(lease, Batch(dead=[letter]))])
    assert isinstance(result, Lease)
    reader = RedisReader(store)
    (listed,) = await reader.dead_letters(limit=5)
    assert listed.body == b""
    whole = await reader.dead_letter(listed.id)
    assert whole is not None
    assert (whole.payload, whole.body, whole.source) == (b"{}", letter.body, "gitlab")
    (key,) = [k async for k in store.link.client.scan_iter("ir:{1}:b:*")]
    assert 0 < await store.link.client.ttl(key) <= 7 * 86_400
    assert await store.dead_lengths(1) == (1, 0)


async def test_deliveries_do_not_push_out_other_letters(store: RedisStore) -> None:
    """However many deliveries are unreadable, a page that could not be told stays among the dead letters."""
    lease = await store.acquire(1, "me", None)
    assert lease is not None
    dead = [DeadLetter(NOW, "undelivered", "refused", b"page")]
    dead += [DeadLetter(NOW, "unreadable", "no", b"%d" % n) for n in range(MOST_UNREAD * 2)]
    ((result),) = await store.commit([(lease, Batch(dead=dead))])
    assert isinstance(result, Lease)
    unread, others = await store.dead_lengths(1)
    assert MOST_UNREAD <= unread <= MOST_UNREAD + 200
    assert others == 1


async def test_what_is_dropped_is_forgotten_by_the_door(store: RedisStore) -> None:
    """After its letter was dropped, the same delivery is new to the door."""
    now = SystemClock().now()
    assert (await store.accept([item(1, b"field", b"1")], now))[1].fresh == {0}
    lease = await store.acquire(1, "me", None)
    assert lease is not None
    await store.commit([(lease, Batch(dead=[DeadLetter(NOW, "unreadable", "no", b"{}")]))])
    reader = RedisReader(store)
    (letter,) = await reader.dead_letters(limit=1)
    assert await reader.drop_dead_letter(letter.id, [b"field"])
    assert (await store.accept([item(1, b"field", b"1")], now))[1].fresh == {0}


async def test_notes_on_senders_are_changed_field_by_field(store: RedisStore, link: Link) -> None:
    """Edits are made in their order, leave other fields alone, add up, and what stands then is returned."""
    assert await store.sender_notes() == {}
    stands = await store.note_senders([
        ("HSET", "heard:gitlab", "1"), ("HINCRBY", "bad:gitlab", "2"), ("HSETNX", "since:gitlab", "3"),
        ("HSET", "off:gitlab", "h\u00f6ok 7"), ("HSET", "told:SenderSilent:x", "{}"),
    ])  # fmt: skip
    assert stands == await store.sender_notes() == {
        "heard:gitlab": b"1", "bad:gitlab": b"2", "since:gitlab": b"3", "off:gitlab": "h\u00f6ok 7".encode(),
        "told:SenderSilent:x": b"{}",
    }  # fmt: skip
    other = RedisStore(link, 4)
    await asyncio.gather(
        *(one.note_senders([("HINCRBY", "bad:gitlab", "2")]) for one in (store, other) for _ in range(20))
    )
    stands = await other.note_senders([
        ("HSETNX", "since:gitlab", "4"), ("HDEL", "heard:gitlab", "never:there"), ("HDEL", "off:gitlab"),
        ("HINCRBY", "failed:gitlab", "1"), ("HDEL", "failed:gitlab"), ("HINCRBY", "failed:gitlab", "5"),
    ])  # fmt: skip
    assert stands == await store.sender_notes() == {
        "bad:gitlab": b"82", "since:gitlab": b"3", "failed:gitlab": b"5", "told:SenderSilent:x": b"{}",
    }  # fmt: skip


async def test_junk_among_the_notes_on_senders_is_returned_as_it_is(store: RedisStore, link: Link) -> None:
    """Names and values that are no text are shown; adding to what is no number fails as unavailable."""
    await link.read([("HSET", SENDERS, b"\xff", b"\xff", "bad:gitlab", "x")])
    assert await store.sender_notes() == {"\ufffd": b"\xff", "bad:gitlab": b"x"}
    with pytest.raises(StoreUnavailable, match="not an integer"):
        await store.note_senders([("HINCRBY", "bad:gitlab", "1")])
    await store.note_senders([("HDEL", "bad:gitlab"), ("HINCRBY", "bad:gitlab", "1")])
    assert (await store.sender_notes())["bad:gitlab"] == b"1"


async def test_another_sides_id_is_known_again(store: RedisStore, link: Link) -> None:
    """What it stands for is read back, for a month; an unknown one stands for nothing."""
    await store.name_ref("pagerduty:Q1", "7f3a9c21b04d55e0.2")
    assert await store.named_by("pagerduty:Q1") == "7f3a9c21b04d55e0.2"
    assert await store.named_by("pagerduty:Q2") == ""
    (left,) = await link.read([("TTL", "ir:{meta}:ref:pagerduty:Q1")])
    assert 29 * 86_400 < left <= 30 * 86_400
