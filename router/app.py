"""The composition root: the only place that names drivers and wires rooms together.

``App`` is the whole router in one object: ``start`` (refuses what is not safe, all
problems at once), ``stop`` (drain, give leases back). ``router serve`` runs one; tests
run several in one process.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from router import __version__
from router.drivers import Drivers, notifier_specs
from router.kit.clock import SystemClock
from router.kit.metrics import Metrics
from router.kit.tasks import Tasks
from router.model.errors import ConfigError, Problem, StoreUnavailable
from router.rulebook import load as rules
from router.store import checks
from router.store.link import Link, connect
from router.store.reads import RedisReader
from router.store.server import EmbeddedServer, find_binary
from router.store.store import RedisStore
from router.store.surroundings import RedisSurroundings
from router.web.api import Access, Api, Part
from router.web.bodies import Limits
from router.web.deploys import Deploys
from router.web.incidents import Incidents
from router.web.letters import Letters
from router.web.operations import Scope
from router.web.reconciliation import Reconciliation
from router.web.rules import Rules
from router.web.server import Health, make_app
from router.web.silences import Silences
from router.web.talking import Talking
from router.web.tap import Tap
from router.web.webhooks import Ears, Webhooks
from router.work.delivery import Deliveries
from router.work.door import Door
from router.work.engine import Engine
from router.work.leases import Leases
from router.work.lookout import Lookout
from router.work.polling import Polling
from router.work.reconciling import Reconciling
from router.work.rulebooks import Rulebooks
from router.work.senders import Senders
from router.work.silence_watch import SilenceWatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ports import Clock, Poller
    from router.rulebook.book import Rulebook
    from router.settings import Settings

log = structlog.get_logger(__name__)


def load_rules(folder: Path) -> Rulebook:
    """Return the rulebook of a folder.

    Raises:
        ConfigError: with every problem in every file.
    """
    return rules.load(folder, notifier_specs())


class App:
    """One router process."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Clock | None = None) -> None:
        self.settings, self.environ = settings, environ
        self.clock: Clock = clock or SystemClock()
        self.metrics = Metrics()
        self.metrics.build.labels(__version__).set(1)
        self.tasks = Tasks()
        self.rulebooks = Rulebooks(
            Path(settings.rules), rules.read, self._build_rules, self.clock, self.metrics
        )
        self.drivers = Drivers(settings, environ, self.clock, self.rulebooks.book)
        self.rulebooks.check, self.rulebooks.follow = self.drivers.check, self.drivers.follow
        self.loopback = self.drivers.loopback
        self.server: EmbeddedServer | None = None
        self.links: list[Link] = []
        self.pollings: list[Polling] = []
        self.port = 0
        self.draining = False

    def _build_rules(self, reading: rules.Reading) -> Rulebook:
        book = rules.build(reading, notifier_specs())
        return dataclasses.replace(book, retention=timedelta(days=self.settings.retention_days))

    @property
    def book(self) -> Rulebook:
        """The rules in force."""
        return self.rulebooks.book

    # --- start and stop -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, take leases, listen. On any failure everything opened is closed again."""
        try:
            await self._start()
        except StoreUnavailable as exc:
            await self.stop()
            text = f"the store stopped answering during the start: {exc}"
            raise ConfigError(
                [Problem("redis", "ROUTER_REDIS_URL", text, "look at the server, then start again")]
            ) from exc
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        url = await self._store_url()
        intake_link, work_link = (Link(connect(url, max_connections=n), at_once=n) for n in (4, 16))
        self.links = [intake_link, work_link]
        await self._check_store(work_link)
        work_store = RedisStore(work_link, self.settings.partitions)
        await work_store.claim_layout()
        reader = RedisReader(work_store)
        self.shared = RedisSurroundings(work_store)
        await self.rulebooks.publish(self.shared)
        self.lookout = Lookout(self.shared, self.clock)
        self.engine = Engine(work_store, lambda: self.book, self.clock, self.metrics, self.lookout)
        await self.lookout.refresh()
        intake = RedisStore(intake_link, self.settings.partitions)
        self.door = Door(intake, lambda: self.book, self.clock, self.engine, self.metrics)
        self.engine.pressed = lambda: self.door.pressed
        self.leases = Leases(
            work_store, self.engine, self.clock, self._instance(), self.settings.lease_seconds,
            patience_s=self.settings.delivery_timeout_seconds + 5,  # an attempt's own limit, and its record
        )  # fmt: skip
        self.deliveries = Deliveries(
            self.engine, self.door, self.drivers.notifier, lambda: self.book, self.clock, self.metrics,
            Random(self._instance()),  # noqa: S311  jitter, no secret
            may_send=self.leases.may_send, base_url=self.settings.external_url,
            timeout_s=self.settings.delivery_timeout_seconds,
        )  # fmt: skip
        self.engine.outbox = self.deliveries
        self.senders = Senders(
            work_store, self.door, lambda: self.book, self.clock, self.metrics,
            self.drivers.manners,
        )  # fmt: skip
        self.senders.judges = lambda: 0 in self.engine.partitions
        self.silence_watch = SilenceWatch(self.shared, reader, self.door, self.clock)
        self.silence_watch.judges = self.senders.judges
        self.reconciling = Reconciling(
            self.shared, reader, self.door, lambda: self.book, self.clock, self.metrics
        )
        self.reconciling.judges = self.senders.judges
        self.leases.busy, self.leases.leave = self.deliveries.busy, self.deliveries.leave
        await self.leases.turn()
        self.tasks.keep("door", self.door.run)
        self.tasks.keep("engine", self.engine.run)
        self.tasks.keep("leases", self.leases.run)
        self.tasks.keep("replicas", self._watch_replicas)
        self.tasks.keep("senders", self.senders.run)
        self.tasks.keep("silences", self.silence_watch.run)
        self.tasks.keep("reconcile", self.reconciling.run)
        self.tasks.keep("lookout", self.lookout.run)
        self.tasks.keep("rules", self.rulebooks.run)
        for poller in self.drivers.pollers:
            if poller.kind in self.drivers.polled:
                self._poll(poller)
        self.deliveries.start(self.tasks)
        await self._listen(reader)
        self._say()

    def reload_soon(self, why: str) -> None:
        """Load the rules again, beside all else; for signal handlers, which cannot wait."""
        self.tasks.start("reload", self.rulebooks.reload(why))

    def _poll(self, poller: Poller) -> None:
        polling = Polling(
            poller, self.drivers.sources[poller.source], self.door, self.senders, self.clock, self.metrics,
            self.settings.poll_seconds,
        )  # fmt: skip
        polling.mine, polling.surveyed = self.senders.judges, self.reconciling.surveyed
        self.pollings.append(polling)
        self.tasks.keep(f"poll-{poller.kind}", polling.run)

    async def _store_url(self) -> str:
        url = self.settings.redis_url.get_secret_value()
        if url:
            return url
        binary = find_binary(self.settings.redis_server)
        self.server = EmbeddedServer(Path(self.settings.data_dir), binary, self.clock)
        self.server.lock()
        await self.server.start()
        self.tasks.keep("embedded-redis", self.server.watch)
        return self.server.url

    async def _check_store(self, link: Link) -> None:
        try:
            problems = await checks.findings(link)
            for one in self.links:
                one.replicas = await checks.replicas(link)
        except StoreUnavailable as exc:
            hint = "is it running, and is ROUTER_REDIS_URL right?"
            raise ConfigError(
                [Problem("redis", "ROUTER_REDIS_URL", f"the store does not answer: {exc}", hint)]
            ) from exc
        fatal = [p for p in problems if p.path in {"version", "role"}]
        if self.settings.durability == "strict":
            checks.refuse(problems)
        checks.refuse(fatal)
        for p in problems:
            log.warning("durability_relaxed", what=p.path, can_be_lost=p.message, hint=p.hint)

    async def _watch_replicas(self) -> None:
        """Follow whether there is a replica that accepted events must also reach (WAIT)."""
        while True:
            await self.clock.sleep(5)
            try:
                count = await checks.replicas(self.links[1])
            except StoreUnavailable:
                continue
            for link in self.links:
                link.replicas = count

    def _instance(self) -> str:
        """Return this process's name: one per data directory, else per host and process.

        The data directory's lock says that a namesake is dead, so its leases are taken at once.
        """
        if self.settings.instance:
            return self.settings.instance
        if self.server is not None:
            return f"embedded:{self.server.data_dir}"
        return f"{socket.gethostname()}:{os.getpid()}"

    def _tokens(self) -> list[tuple[bytes, frozenset[Scope]]]:
        """Return the API's tokens, each with what it allows."""
        s, read, act = self.settings, {Scope.READ}, {Scope.READ, Scope.ACT}
        given = ((s.api_read_tokens, read), (s.api_act_tokens, act), (s.api_tokens, set(Scope)))
        return [(t.get_secret_value().encode(), frozenset(scopes)) for ts, scopes in given for t in ts]

    async def _listen(self, reader: RedisReader) -> None:
        s = self.settings
        tap, drivers = Tap(self.metrics.captures), self.drivers
        rules_ = Rules(self.rulebooks, self.lookout, reader, self.clock)
        silences = Silences(self.shared, reader, self.clock, self.lookout.refresh)
        self.talking = Talking(drivers.talkers(reader, silences, rules_.explained), self.tasks)
        webhooks = Webhooks(
            drivers.sources, drivers.secrets, self.door, self.clock, self.metrics, Limits(s.max_body),
            Ears(self.senders, tap, self.talking),
        )  # fmt: skip
        parts: list[Part] = [
            Incidents(reader, self.door, self.clock, lambda: rules_.banner),
            rules_,
            silences,
            Reconciliation(self.shared),
            Deploys(reader, self.door, self.clock, lambda: self.book.attribution.skew),
            Letters(reader, self.door, drivers.sources, self.clock),
        ]
        for listener in drivers.listeners():
            take = partial(webhooks.over_a_connection, listener.kind)
            self.tasks.keep(f"listen-{listener.kind}", partial(listener.run, take))
        access = Access(self._tokens(), self.loopback)
        api = Api(reader, tap, parts, lambda: rules_.banner, access)
        health = Health(reader, self.metrics, self._not_ready)
        self.runner = web.AppRunner(
            make_app(webhooks, api, health, s.max_body, tap),
            access_log=None,
            keepalive_timeout=75,
            shutdown_timeout=min(5.0, s.drain_seconds),
            handler_cancellation=False,
        )
        await self.runner.setup()
        try:
            site = web.TCPSite(self.runner, s.host, s.port, backlog=512)
            await site.start()
        except OSError as exc:
            text = f"cannot listen on {s.listen}: {exc.strerror or exc}"
            raise ConfigError(
                [Problem("environment", "ROUTER_LISTEN", text, "is another router running there?")]
            ) from exc
        self.port = self.runner.addresses[0][1]

    def _not_ready(self) -> str:
        if self.draining:
            return "the router is stopping"
        if self.engine.alone and len(self.engine.partitions) < self.settings.partitions:
            return f"{len(self.engine.partitions)} of {self.settings.partitions} partitions are held"
        return ""

    def _say(self) -> None:
        drivers = self.drivers
        if drivers.open_sources:
            log.warning(
                "open_sources",
                sources=drivers.open_sources,
                why="no secret is configured; fine on loopback only",
            )
        if drivers.closed_sources:
            log.info("closed_sources", sources=drivers.closed_sources, why="no secret is configured for them")
        if drivers.unpolled:
            log.info(
                "projects_not_polled",
                projects=drivers.unpolled,
                why="their names depend on the environment",
            )
        for target, lack in drivers.log_only.items():
            log.warning("log_only", target=target, lacks=lack)
        log.info(
            "ready",
            listen=f"{self.settings.host}:{self.port}",
            rules=self.book.version,
            partitions=len(self.engine.partitions),
            redis="embedded" if self.server else "external",
            version=__version__,
        )

    async def stop(self) -> None:
        """Stop taking, finish what is under way, give leases back, end the embedded server."""
        self.draining = True
        try:
            if hasattr(self, "runner"):
                await self.runner.cleanup()
            if hasattr(self, "deliveries"):
                await self.deliveries.drain(self.settings.drain_seconds)
            if self.server is not None:
                self.server.stopping = True
            await self.tasks.stop()
            if hasattr(self, "leases"):
                await self.leases.release_all()
            if hasattr(self, "senders"):
                await self.senders.flush()  # else nobody knows who was heard since its last turn
            if hasattr(self, "talking"):
                await self.talking.close()
            await self.drivers.close()
            for link in self.links:
                await link.close()
        finally:
            # Whatever else went wrong, no child and no lock is left behind.
            if self.server is not None:
                await self.server.stop()
        log.info("stopped")
