"""The rules in force: loaded at start, and again on SIGHUP, on POST /-/reload and when a file changes.

What cannot be loaded leaves the running rules in force, and says so in a metric, in the log and in the
API. What can is published in the store, so that every process works by the same rules within a second
or so; the last word counts, whoever says it. Inside a process all partitions change between two rounds
of the engine, so no round is decided by two rulebooks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from router.model import codec
from router.model.errors import ConfigError, Problem, StoreUnavailable
from router.rulebook.load import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from router.kit.metrics import Metrics
    from router.ports import Clock, Surroundings
    from router.rulebook.book import Rulebook

log = structlog.get_logger(__name__)

EVERY_S: Final = 1.0
#: Packed rules above it are not published; each process then has those of its own folder.
MOST_PUBLISHED: Final = 8 << 20
_MOST_UNPACKED: Final = 512 << 20
_files = msgspec.json.Decoder(list[tuple[str, bytes]])


@dataclass(frozen=True, slots=True)
class Standing:
    """How the rules stand: for the API and for people. ``problems``: of the last load, if it failed."""

    version: str
    loaded_at: datetime
    origin: str
    problems: tuple[Problem, ...] = ()
    failed_at: datetime | None = None


class Rulebooks:
    """The rulebook in force in this process. :meth:`run` must be running once the store is there.

    ``read`` gives a folder's files and ``build`` makes a rulebook of them; both raise ConfigError.
    ``check`` refuses a rulebook that cannot be worked here, ``follow`` takes it.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[Path], Reading],
        build: Callable[[Reading], Rulebook],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._folder, self._read, self._build = folder, read, build
        self._clock, self._metrics = clock, metrics
        self.check: Callable[[Rulebook], None] = lambda _: None
        self.follow: Callable[[Rulebook], None] = lambda _: None
        self._shared: Surroundings | None = None
        self._print = _print(folder)  # before it is read: what changes meanwhile is read again
        reading = read(folder)
        self.book = build(reading)
        self._files = reading.files
        self._refused = ""  # a published version that cannot be worked here
        self._refusal: Standing | None = None  # what was said of it
        self._published = ""
        self._one_at_a_time = asyncio.Lock()
        self.standing = Standing(self.book.version, clock.now(), "folder")
        self._metrics.rules_ok.set(1)
        self._metrics.rules_at.set(clock.now().timestamp())

    async def publish(self, shared: Surroundings) -> None:
        """Put the rules of this process's folder in force everywhere; called once the store is there."""
        self._shared = shared
        await self._say()

    async def run(self) -> None:
        """Follow the folder and the store until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            try:
                await self.turn()
            except StoreUnavailable as exc:
                log.warning("store_unavailable", doing="rules", error=str(exc))

    async def turn(self) -> None:
        """Look once whether the folder or the rules in force elsewhere have changed."""
        found = _print(self._folder)
        if found != self._print:
            self._print = found
            await self.reload("the files changed")
        elif self._shared is not None:
            if self._published != self.book.version:
                await self._say()  # it failed before
            else:
                await self._adopt(self._shared)

    async def reload(self, why: str) -> list[Problem]:
        """Load the folder again; return what is wrong with it, or [] where its rules are in force now."""
        async with self._one_at_a_time:
            self._print = _print(self._folder)
            try:
                reading = self._read(self._folder)
                book = self._build(reading)
                self.check(book)
            except ConfigError as exc:
                self._failed(why, list(exc.problems))
                return list(exc.problems)
            self._take(book, reading, "folder", why)
            self._published = ""  # the last word counts, also where it is what was said before
            try:
                await self._say()
            except StoreUnavailable as exc:  # they are in force here; the next turn tells the others
                log.warning("store_unavailable", doing="publish rules", error=str(exc))
            return []

    def _take(self, book: Rulebook, reading: Reading, origin: str, why: str) -> None:
        now = self._clock.now()
        changed = book.version != self.book.version
        if changed:
            self.follow(book)
            self.book, self._files = book, reading.files
        self.standing = Standing(book.version, now if changed else self.standing.loaded_at, origin)
        self._metrics.rules_ok.set(1)
        self._metrics.rules_at.set(now.timestamp())
        log.info("rules_loaded", version=book.version, origin=origin, why=why, changed=changed)

    def _failed(self, why: str, problems: Sequence[Problem]) -> None:
        self._metrics.rules_ok.set(0)
        self.standing = Standing(
            self.standing.version,
            self.standing.loaded_at,
            self.standing.origin,
            tuple(problems),
            self._clock.now(),
        )
        log.error(
            "rules_not_loaded", why=why, in_force=self.book.version, problems=[str(p) for p in problems[:10]]
        )

    async def _say(self) -> None:
        """Publish the rules in force here; a StoreUnavailable leaves it for the next turn."""
        if self._shared is None or self._published == self.book.version:
            return
        packed = zlib.compress(codec.encode(self._files))
        # Those that are too large are published by name alone: nobody goes back to the ones before them.
        content = packed if len(packed) <= MOST_PUBLISHED else b""
        await self._shared.publish_rules(self.book.version, content)
        self._published = self.book.version

    async def _adopt(self, shared: Surroundings) -> None:
        """Take rules that another process has put in force."""
        version, content = await shared.rules(self._refused or self.book.version)
        if not version:  # the store has lost its data: the next turn says it again
            self._published = ""
        if version == self.book.version:
            self._agreed()
        if not content or version in {self.book.version, self._refused}:
            return
        async with self._one_at_a_time:
            why = "another process put them in force"
            try:
                reading = Reading(self._folder.name, _unpacked(content))
                # By its published name: another release might call it something else, and publish it again.
                book = dataclasses.replace(self._build(reading), version=version)
                self.check(book)
            except ConfigError as exc:
                self._refused = version
                self._failed(why, list(exc.problems))
                self._refusal = self.standing
                return
            self._refused = ""
            self._take(book, reading, "store", why)
            self._published = version

    def _agreed(self) -> None:
        """The rules in force here are in force everywhere: what was refused between is over."""
        if self._refusal is not None and self.standing is self._refusal:
            self.standing = dataclasses.replace(self.standing, problems=(), failed_at=None)
            self._metrics.rules_ok.set(1)
        self._refused, self._refusal = "", None


def _unpacked(content: bytes) -> list[tuple[str, bytes]]:
    try:
        packer = zlib.decompressobj()
        raw = packer.decompress(content, _MOST_UNPACKED)
        return _files.decode(raw)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as exc:
        text = f"the published rules cannot be read: {type(exc).__name__}"
        raise ConfigError([Problem("store", "rules", text, "reload a router with good rules")]) from exc


def _print(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return what shows that a file of the folder has changed, without reading it."""
    found: list[tuple[str, int, int, int]] = []
    try:
        for path in folder.iterdir():
            if path.suffix in {".yaml", ".yml"} and not path.name.startswith("."):
                stat = path.stat()
                found.append((path.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
    except OSError:
        return (("", 0, 0, 0),)
    return tuple(sorted(found))
