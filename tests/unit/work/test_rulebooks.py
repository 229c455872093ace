"""The rules in force: loaded again when they change, followed by all, kept where they are broken."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from router.kit.metrics import Metrics
from router.kit.tasks import Tasks
from router.model.errors import ConfigError, Problem, StoreUnavailable
from router.rulebook import load
from router.rulebook.load import Reading
from router.work.rulebooks import EVERY_S, MOST_PUBLISHED, Rulebooks
from tests.conftest import wait_for
from tests.fakes.samples import ManualClock
from tests.unit.rulebook.helpers_rulebook import KINDS, LEAST, write

if TYPE_CHECKING:
    from router.rulebook.book import Rulebook

BROKEN = "route: {receivr: default}\n"


class MemoryRules:
    """What the store has of rules; ``down``: it does not answer."""

    def __init__(self) -> None:
        self.version, self.content = "", b""
        self.down = False
        self.writes: list[str] = []
        self.sent = 0

    async def rules(self, seen: str = "") -> tuple[str, bytes]:
        if self.down:
            raise StoreUnavailable("down")
        content = b"" if self.version == seen else self.content
        self.sent += len(content)
        return self.version, content

    async def publish_rules(self, version: str, content: bytes) -> None:
        if self.down:
            raise StoreUnavailable("down")
        self.writes.append(version)
        self.version, self.content = version, content


class Process:
    """One process with a folder of its own."""

    def __init__(self, root: Path, name: str = "p", text: str = LEAST) -> None:
        self.root = root / name
        self.root.mkdir()
        self.folder = write(self.root, a=text)
        self.clock, self.metrics = ManualClock(), Metrics()
        self.built = 0
        self.followed: list[str] = []
        self.refuses: set[str] = set()
        self.rules = Rulebooks(self.folder, load.read, self.build, self.clock, self.metrics)
        self.rules.check, self.rules.follow = self.check, lambda book: self.followed.append(book.version)

    def build(self, reading: Reading) -> Rulebook:
        self.built += 1
        return load.build(reading, KINDS)

    def check(self, book: Rulebook) -> None:
        if wrong := self.refuses & book.services.keys():
            raise ConfigError([Problem("rules", f"services: {n}", "not here") for n in wrong])

    def says(self, *services: str, **files: str) -> None:
        """Write the folder's rules anew, with these services."""
        write(self.root, a=f"{LEAST}services: [{', '.join(f'{{name: {s}}}' for s in services)}]\n", **files)

    @property
    def services(self) -> set[str]:
        return set(self.rules.book.services)

    @property
    def ok(self) -> float | None:
        return self.metrics.registry.get_sample_value("incident_router_config_last_reload_successful")


async def turns(*processes: Process, count: int = 3) -> None:
    """Let each process look around a few times, one after the other."""
    for _ in range(count):
        for process in processes:
            await process.rules.turn()


@pytest.fixture
def one(tmp_path: Path) -> Process:
    return Process(tmp_path)


# --- loading ----------------------------------------------------------------------------------------


async def test_what_is_in_force_at_the_start(one: Process) -> None:
    """The folder's rules are in force, since now, and nothing is wrong."""
    standing = one.rules.standing
    assert standing.version == one.rules.book.version
    assert (standing.origin, standing.problems, standing.failed_at) == ("folder", (), None)
    assert standing.loaded_at == one.clock.now()
    assert one.ok == 1


def test_broken_rules_end_the_start(tmp_path: Path) -> None:
    """A process does not begin with rules that it cannot load."""
    with pytest.raises(ConfigError):
        Process(tmp_path, text=BROKEN)


async def test_a_reload_puts_new_rules_in_force(one: Process) -> None:
    """They are followed, and known to be in force since now."""
    await one.clock.sleep(60)
    one.says("pay")
    assert await one.rules.reload("test") == []
    assert one.services == {"pay"}
    assert one.followed == [one.rules.book.version]
    assert one.rules.standing.loaded_at == one.clock.now()


async def test_a_reload_of_the_same_changes_nothing(one: Process) -> None:
    """Rules that are in force already are not followed again, and are in force since they were first."""
    began, book = one.rules.standing.loaded_at, one.rules.book
    await one.clock.sleep(60)
    assert await one.rules.reload("test") == []
    assert one.rules.book is book
    assert one.followed == []
    assert one.rules.standing.loaded_at == began
    name = "incident_router_config_last_reload_success_timestamp_seconds"
    loaded = one.metrics.registry.get_sample_value(name)
    assert loaded == one.clock.now().timestamp()


async def test_broken_rules_change_nothing(one: Process) -> None:
    """All that is wrong is told, at once and later; the old rules stay until they can be loaded again."""
    book = one.rules.book
    write(one.root, a=BROKEN + "bogus: 1\n")
    problems = await one.rules.reload("test")
    assert {p.path for p in problems} >= {"route.receivr", "bogus"}
    standing = one.rules.standing
    assert (standing.version, list(standing.problems)) == (book.version, problems)
    assert standing.failed_at == one.clock.now()
    assert one.rules.book is book
    assert one.ok == 0
    one.says("pay")
    assert await one.rules.reload("test") == []
    assert (one.rules.standing.problems, one.rules.standing.failed_at) == ((), None)
    assert one.ok == 1


async def test_rules_that_cannot_be_worked_here_are_refused(one: Process) -> None:
    """What is right by itself, and wrong for this process, is refused before it is followed."""
    one.refuses = {"pay"}
    one.says("pay")
    (problem,) = await one.rules.reload("test")
    assert problem.path == "services: pay"
    assert one.services == set()
    assert one.followed == []
    assert one.ok == 0


async def test_a_folder_that_is_gone_changes_nothing(one: Process) -> None:
    """Without its folder a process keeps its rules, and takes those of the folder that comes back."""
    one.says("pay")
    one.folder.rename(one.root / "away")
    await turns(one)
    (problem,) = one.rules.standing.problems
    assert "cannot be read" in problem.message
    assert one.services == set()
    (one.root / "away").rename(one.folder)
    await turns(one)
    assert one.services == {"pay"}


# --- noticing ---------------------------------------------------------------------------------------


async def test_a_changed_file_is_noticed(one: Process) -> None:
    """A file that is written, added or removed is noticed, once."""
    one.says("pay")
    await turns(one)
    assert (one.services, one.built) == ({"pay"}, 2)
    write(one.root, more="services: [{name: cust}]")
    await turns(one)
    assert (one.services, one.built) == ({"pay", "cust"}, 3)
    (one.folder / "more.yaml").unlink()
    await turns(one)
    assert (one.services, one.built) == ({"pay"}, 4)


async def test_other_files_are_no_change(one: Process) -> None:
    """Notes, hidden files and folders below are not the rules'; one with a wrong ending is told."""
    (one.folder / "notes.txt").write_text("x")
    (one.folder / ".a.yaml.swp").write_text("x")
    (one.folder / ".hidden.yaml").write_text("x")
    (one.folder / "tests").mkdir()
    await turns(one)
    assert one.built == 1
    (one.folder / "more.yml").write_text("services: []")
    await turns(one)
    assert "rename it" in one.rules.standing.problems[0].hint


async def test_broken_files_are_tried_once(one: Process) -> None:
    """Files that are wrong are not read again until they change."""
    write(one.root, a=BROKEN)
    await turns(one, count=5)
    assert one.built == 2
    assert one.ok == 0


async def test_a_config_map_is_swapped(tmp_path: Path) -> None:
    """Kubernetes changes all files of a ConfigMap at once, by a link that the files' links go through."""
    one = Process(tmp_path)
    (one.folder / "a.yaml").unlink()
    for version, name in (("..2026_1", "pay"), ("..2026_2", "cst")):  # of one length
        (one.folder / version).mkdir()
        (one.folder / version / "a.yaml").write_text(f"{LEAST}services: [{{name: {name}}}]\n")
    (one.folder / "..data").symlink_to("..2026_1")
    (one.folder / "a.yaml").symlink_to("..data/a.yaml")
    await turns(one)
    assert one.services == {"pay"}
    (one.folder / "..data_tmp").symlink_to("..2026_2")
    (one.folder / "..data_tmp").rename(one.folder / "..data")
    await turns(one)
    assert (one.services, one.built) == ({"cst"}, 3)


async def test_a_change_while_it_starts_is_noticed(tmp_path: Path) -> None:
    """Files that change after they were read and before all else is there are read again."""
    root = tmp_path / "p"
    root.mkdir()
    folder = write(root, a=LEAST)

    def read(where: Path) -> Reading:
        found = load.read(where)
        write(root, a=f"{LEAST}services: [{{name: pay}}]\n")
        return found

    rules = Rulebooks(folder, read, lambda r: load.build(r, KINDS), ManualClock(), Metrics())
    assert set(rules.book.services) == set()
    await rules.turn()
    assert set(rules.book.services) == {"pay"}


# --- many processes ---------------------------------------------------------------------------------


async def together(tmp_path: Path, *names: str) -> tuple[MemoryRules, list[Process]]:
    """Start processes at one store, each with a service of its name."""
    shared, found = MemoryRules(), []
    for name in names:
        one = Process(tmp_path, name, f"{LEAST}services: [{{name: {name}}}]\n")
        await one.rules.publish(shared)
        found.append(one)
    return shared, found


async def test_the_last_word_counts(tmp_path: Path) -> None:
    """Who starts or loads last is followed by all, and nobody answers back."""
    shared, (a, b, c) = await together(tmp_path, "a", "b", "c")
    await turns(a, b, c)
    assert a.services == b.services == c.services == {"c"}
    assert (a.rules.standing.origin, c.rules.standing.origin) == ("store", "folder")
    assert a.followed == [c.rules.book.version]
    a.says("new")
    await turns(c, b, a, count=10)
    assert a.services == b.services == c.services == {"new"}
    assert len(shared.writes) == 4
    assert len({p.rules.book.version for p in (a, b, c)}) == 1


async def test_the_same_files_in_all_processes(tmp_path: Path) -> None:
    """Where every process has the new files, a little later each, all end with them, and it is quiet then."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    for one in (a, b):
        one.says("new")
        await turns(a, b)
    before = list(shared.writes)
    await turns(a, b, count=10)
    assert a.services == b.services == {"new"}
    assert shared.writes == before


async def test_asking_again_is_a_word_too(tmp_path: Path) -> None:
    """A process that follows another goes back to its own folder, and takes the others along."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    await turns(a, b)
    await a.rules.reload("test")
    await turns(a, b)
    assert a.services == b.services == {"a"}
    assert shared.version == a.rules.book.version


async def test_the_same_word_again_counts_too(tmp_path: Path) -> None:
    """A reload of what is in force here puts it in force everywhere, though it had been published before."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    a.refuses = {"b"}
    await turns(a)
    assert a.services == {"a"}
    assert await a.rules.reload("test") == []
    await turns(b, a)
    assert shared.version == a.rules.book.version
    assert b.services == {"a"}


async def test_broken_files_are_not_published(tmp_path: Path) -> None:
    """What one process cannot load nobody else hears of; what the others say, it still takes."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    await turns(a, b)
    write(a.root, a=BROKEN)
    await turns(a, b)
    assert (a.ok, b.ok) == (0, 1)
    assert shared.version == b.rules.book.version
    b.says("new")
    await turns(b, a)
    assert a.services == {"new"}
    assert a.ok == 1


async def test_what_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    """Published rules that cannot be worked here are told of once, and not even fetched again."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    a.refuses = {"b"}
    await turns(a)
    assert (a.services, a.ok) == ({"a"}, 0)
    assert a.rules.standing.problems[0].path == "services: b"
    built, sent = a.built, shared.sent
    await turns(a, b, count=5)
    assert (a.built, shared.sent) == (built, sent)
    b.says("new")
    await turns(b, a)
    assert (a.services, a.ok) == ({"new"}, 1)
    b.says("b")
    await turns(b, a)
    assert (a.services, a.ok) == ({"new"}, 0)


async def test_a_refusal_ends_with_its_rules(tmp_path: Path) -> None:
    """Where the rules that are in force here are so everywhere again, nothing is wrong any more."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    a.refuses = {"b"}
    await turns(a)
    (b.folder / "a.yaml").write_bytes((a.folder / "a.yaml").read_bytes())
    await turns(b, a)
    assert shared.version == a.rules.book.version
    assert (a.rules.standing.problems, a.ok) == ((), 1)
    assert a.rules.standing.origin == "folder"


async def test_a_refusal_does_not_hide_a_broken_folder(tmp_path: Path) -> None:
    """What is wrong with the folder stays told, whatever was refused before."""
    _, (a, b) = await together(tmp_path, "a", "b")
    a.refuses = {"b"}
    await turns(a)
    good = (a.folder / "a.yaml").read_bytes()
    write(a.root, a=BROKEN)
    await turns(a)
    (b.folder / "a.yaml").write_bytes(good)
    await turns(b, a)
    assert "route.receivr" in {p.path for p in a.rules.standing.problems}
    assert a.ok == 0


@pytest.mark.parametrize(
    "content",
    [b"no zlib", zlib.compress(b"no JSON"), zlib.compress(b"{}"), zlib.compress(b'[["a",1]]')],
    ids=["not packed", "not JSON", "no list", "no files"],
)
async def test_what_cannot_be_unpacked_is_refused(tmp_path: Path, content: bytes) -> None:
    """Published rules that are damaged, or of another kind, change nothing and are told of."""
    shared, (a,) = await together(tmp_path, "a")
    await shared.publish_rules("v2", content)
    await turns(a)
    assert a.services == {"a"}
    (problem,) = a.rules.standing.problems
    assert "cannot be read" in problem.message
    assert problem.hint


async def test_rules_keep_their_published_name(tmp_path: Path) -> None:
    """Another release may name the same files otherwise; they are taken by its name, and not sent back."""
    shared, (a, _) = await together(tmp_path, "a", "b")
    shared.version = "of-another-release"
    await turns(a)
    assert (a.rules.book.version, a.services) == ("of-another-release", {"b"})
    assert a.rules.standing.version == "of-another-release"
    await turns(a)
    assert len(shared.writes) == 2


async def test_rules_that_are_too_large_stay_here(tmp_path: Path) -> None:
    """They are in force where their folder is; that process does not go back to the smaller ones."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    await turns(a, b)
    noise = bytes(ord("!") + n % 90 for n in Random(1).randbytes(MOST_PUBLISHED * 5 // 4))
    files = load.read(a.folder).files
    large = load.build(Reading("rules", files), KINDS)

    def read(_: Path) -> Reading:
        return Reading("rules", [*files, ("rules/noise.yaml", b"# " + noise)])

    c = Rulebooks(a.folder, read, lambda _: large, a.clock, Metrics())
    await c.publish(shared)
    for _ in range(3):
        await c.turn()
    await turns(a, b)
    assert set(c.book.services) == {"a"}
    assert a.services == b.services == {"b"}


# --- the store --------------------------------------------------------------------------------------


async def test_without_a_store_only_the_folder_counts(one: Process) -> None:
    """Until the store is there nothing is published and nobody is followed."""
    await turns(one)
    one.says("pay")
    await turns(one)
    assert one.services == {"pay"}


async def test_an_outage_delays_the_others_alone(tmp_path: Path) -> None:
    """Rules that could not be published are in force here, and everywhere once the store is back."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    await turns(a, b)
    shared.down = True
    a.says("new")
    assert await a.rules.reload("test") == []
    assert (a.services, a.ok) == ({"new"}, 1)
    with pytest.raises(StoreUnavailable):
        await a.rules.turn()
    with pytest.raises(StoreUnavailable):
        await b.rules.turn()
    shared.down = False
    await turns(a, b)
    assert b.services == {"new"}


async def test_a_store_that_lost_its_data_is_told_again(tmp_path: Path) -> None:
    """What is in force stays so, and is there for whoever starts next."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    a.says("new")
    await turns(a, b)
    shared.version, shared.content = "", b""
    await turns(a, b)
    assert shared.version == a.rules.book.version == b.rules.book.version
    assert a.services == b.services == {"new"}


async def test_a_start_without_the_store_is_told(one: Process) -> None:
    """Whoever starts a process is told that its rules could not be published."""
    shared = MemoryRules()
    shared.down = True
    with pytest.raises(StoreUnavailable):
        await one.rules.publish(shared)


async def test_it_looks_every_second_whatever_happens(tmp_path: Path) -> None:
    """An outage ends nothing: the process looks again, and follows once the store is back."""
    shared, (a, b) = await together(tmp_path, "a", "b")
    shared.down = True
    tasks = Tasks()
    tasks.start("rules", a.rules.run())
    await wait_for(lambda: len(a.clock.slept) > 5, "it looks again")
    assert set(a.clock.slept) == {EVERY_S}
    assert a.services == {"a"}
    shared.down = False
    await wait_for(lambda: a.services == b.services, "it follows")
    await tasks.stop()
