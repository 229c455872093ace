"""The composition root: the only place that names drivers and wires rooms together.

``App`` is the whole router in one object: ``start`` (refuses what is not safe, all
problems at once), ``stop`` (drain, give leases back). ``router serve`` runs one; tests
run several in one process.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from router import __version__
from router.kit import loader
from router.kit.clock import SystemClock
from router.kit.metrics import Metrics
from router.kit.tasks import Tasks
from router.model.errors import ConfigError, Problem, StoreUnavailable
from router.ports import NotifierContext, NotifierSpec, PollerContext
from router.rulebook import load as rules
from router.store import checks
from router.store.link import Link, connect
from router.store.reads import RedisReader
from router.store.server import EmbeddedServer, find_binary
from router.store.store import RedisStore
from router.web.api import Access, Api
from router.web.bodies import Limits
from router.web.letters import Letters
from router.web.server import Health, make_app
from router.web.tap import Tap
from router.web.webhooks import Ears, Webhooks
from router.work.delivery import Deliveries
from router.work.door import Door
from router.work.engine import Engine
from router.work.leases import Leases
from router.work.polling import Polling
from router.work.senders import Senders

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.ports import Clock, Notifier, Poller, Source
    from router.rulebook.book import Rulebook, Target
    from router.settings import Settings

log = structlog.get_logger(__name__)

SOURCES, NOTIFIERS, POLLERS = "router.sources", "router.notify", "router.poll"


def notifier_specs() -> dict[str, NotifierSpec]:
    """Return every notifier there is, by kind."""
    return {kind: loader.load(NOTIFIERS, kind) for kind in loader.kinds(NOTIFIERS)}


def load_rules(folder: Path) -> Rulebook:
    """Return the rulebook of a folder.

    Raises:
        ConfigError: with every problem in every file.
    """
    return rules.load(folder, notifier_specs())


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address; of names only localhost counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class App:
    """One router process."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Clock | None = None) -> None:
        self.settings, self.environ = settings, environ
        self.clock: Clock = clock or SystemClock()
        self.metrics = Metrics()
        self.metrics.build.labels(__version__).set(1)
        self.tasks = Tasks()
        self.loopback = is_loopback(settings.host)
        book = load_rules(Path(settings.rules))
        self.book = dataclasses.replace(book, retention=timedelta(days=settings.retention_days))
        self.sources = self._make_sources()
        self.pollers = self._make_pollers()
        self.metrics.rules_ok.set(1)
        self.notifiers = self._make_notifiers()
        self.log_only: dict[str, str] = self._without_credentials()
        without = [k for k in self.sources if not settings.source_secrets(k)]
        # Off loopback what has no secret is closed, unless it was asked for: nobody sets ten to use three.
        open_ = self.loopback or settings.allow_open_sources
        self.open_sources, self.closed_sources = (without, []) if open_ else ([], without)
        self._refuse_unknown_sources()
        self._refuse_unsafe()
        self.server: EmbeddedServer | None = None
        self.links: list[Link] = []
        self.pollings: list[Polling] = []
        self.port = 0
        self.draining = False

    # --- before anything is opened ------------------------------------------------------------------

    def _make_sources(self) -> dict[str, Source]:
        """Return every source there is: one of each file, and one of each mapping in the rules."""
        found: dict[str, Source] = {k: loader.load(SOURCES, k)() for k in loader.kinds(SOURCES)}
        taken = sorted(found.keys() & self.book.mappings.keys())
        text = "a source of its own has this name"
        checks.refuse([Problem("rules", f"sources: {n}", text, "give the mapping another") for n in taken])
        return found | {n: loader.load(SOURCES, "generic")(m) for n, m in self.book.mappings.items()}

    def _make_pollers(self) -> list[Poller]:
        """Return every poller there is, those that are not used, too: what they are called may be watched."""
        chosen = self.settings.polling()
        named = [p for s in self.book.services.values() for p in s.gitlab_projects]
        projects = [p for p in named if "{" not in p]
        context = PollerContext(self.clock, chosen, lambda: projects)
        made: list[Poller] = [loader.load(POLLERS, kind)(context) for kind in loader.kinds(POLLERS)]
        has = {p.kind: (bool(chosen[f"{p.kind}_url"]), bool(chosen[f"{p.kind}_token"])) for p in made}
        self.polled = {kind for kind, (url, token) in has.items() if url and token}
        self.unpolled = [p for p in named if "{" in p] if "gitlab_api" in self.polled else []
        lacking = [k.upper() for k, (url, token) in has.items() if url and not token and k != "pagerduty_api"]
        text, hint = "is empty, and the address of that API is set", "set both, or neither"
        checks.refuse([Problem("environment", f"ROUTER_{k}_TOKEN", text, hint) for k in lacking])
        return made

    def _make_notifiers(self) -> dict[str, Notifier]:
        s = self.settings
        context = NotifierContext(
            clock=self.clock,
            settings={
                "pagerduty_events_url": s.pagerduty_events_url,
                "pagerduty_api_url": s.pagerduty_api_url,
                "slack_api_url": s.slack_api_url,
                "slack_bot_token": s.slack_bot_token.get_secret_value(),
                "external_url": s.external_url,
            },
            environ=self.environ,
            timeout_s=s.delivery_timeout_seconds,
        )
        return {kind: spec.make(context) for kind, spec in notifier_specs().items()}

    def _without_credentials(self) -> dict[str, str]:
        """Return the targets that would be logged instead, with what they lack."""
        targets = [t for r in self.book.receivers.values() for t in r.targets]
        return {t.id: lack for t in targets if (lack := self.notifiers[t.kind].ready(t.options))}

    def _refuse_unknown_sources(self) -> None:
        """A secret for a source that does not exist protects nothing, a watch for one sees nothing."""
        known = ", ".join(self.sources)
        unknown = sorted(set(self.settings.webhook_secrets) - set(self.sources))
        names = [("environment", f"ROUTER_SOURCE_{kind.upper()}_SECRETS") for kind in unknown]
        watchable = {*self.sources, *(p.kind for p in self.pollers)}
        names += [("rules", f"senders: {name}") for name in sorted(set(self.book.senders) - watchable)]
        checks.refuse([Problem(f, n, "there is no such source", f"there are: {known}") for f, n in names])

    def _refuse_unsafe(self) -> None:
        """Off loopback, what takes nothing, or tells nobody, must have been asked for."""
        if self.loopback:
            return
        problems = []
        if len(self.closed_sources) == len(self.sources):
            text = f"no source has a secret, and {self.settings.listen} is not loopback"
            hint = "set those of your senders, or say ROUTER_ALLOW_OPEN_SOURCES=true"
            problems.append(Problem("environment", "ROUTER_SOURCE_<KIND>_SECRETS", text, hint))
        if self.log_only and not self.settings.allow_log_only:
            problems += [
                Problem(
                    "rules",
                    target,
                    f"{lack}, so what it should be told would only be logged",
                    "set it, or say ROUTER_ALLOW_LOG_ONLY=true",
                )
                for target, lack in self.log_only.items()
            ]
        if problems:
            raise ConfigError(problems)

    def notifier(self, target: Target) -> Notifier:
        """Return who tells this target: its own notifier, or the log where credentials are missing."""
        return self.notifiers["log" if target.id in self.log_only else target.kind]

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
        self.engine = Engine(work_store, lambda: self.book, self.clock, self.metrics)
        intake = RedisStore(intake_link, self.settings.partitions)
        self.door = Door(intake, lambda: self.book, self.clock, self.engine, self.metrics)
        self.engine.pressed = lambda: self.door.pressed
        self.leases = Leases(
            work_store, self.engine, self.clock, self._instance(), self.settings.lease_seconds,
            patience_s=self.settings.delivery_timeout_seconds + 5,  # an attempt's own limit, and its record
        )  # fmt: skip
        self.deliveries = Deliveries(
            self.engine, self.door, self.notifier, lambda: self.book, self.clock, self.metrics,
            Random(self._instance()),  # noqa: S311  jitter, no secret
            may_send=self.leases.may_send, base_url=self.settings.external_url,
            timeout_s=self.settings.delivery_timeout_seconds,
        )  # fmt: skip
        self.engine.outbox = self.deliveries
        self.senders = Senders(
            work_store, self.door, lambda: self.book, self.clock, self.metrics,
            {kind: source.manners for kind, source in self.sources.items()},
        )  # fmt: skip
        self.senders.judges = lambda: 0 in self.engine.partitions
        self.leases.busy, self.leases.leave = self.deliveries.busy, self.deliveries.leave
        await self.leases.turn()
        self.tasks.keep("door", self.door.run)
        self.tasks.keep("engine", self.engine.run)
        self.tasks.keep("leases", self.leases.run)
        self.tasks.keep("replicas", self._watch_replicas)
        self.tasks.keep("senders", self.senders.run)
        for poller in self.pollers:
            if poller.kind in self.polled:
                self._poll(poller)
        self.deliveries.start(self.tasks)
        await self._listen(reader)
        self._say()

    def _poll(self, poller: Poller) -> None:
        polling = Polling(
            poller, self.sources[poller.source], self.door, self.senders, self.clock, self.metrics,
            self.settings.poll_seconds,
        )  # fmt: skip
        polling.mine = lambda: 0 in self.engine.partitions
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

    async def _listen(self, reader: RedisReader) -> None:
        s = self.settings
        secrets = {k: None if k in self.closed_sources else s.source_secrets(k) for k in self.sources}
        tap = Tap(self.metrics.captures)
        webhooks = Webhooks(
            self.sources, secrets, self.door, self.clock, self.metrics, Limits(s.max_body),
            Ears(self.senders, tap),
        )  # fmt: skip
        access = Access([t.get_secret_value().encode() for t in s.api_tokens], self.loopback)
        letters = Letters(reader, self.door, self.sources, self.clock)
        api = Api(reader, self.door, self.clock, letters, tap, access)
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
        if self.open_sources:
            log.warning(
                "open_sources",
                sources=self.open_sources,
                why="no secret is configured; fine on loopback only",
            )
        if self.closed_sources:
            log.info("closed_sources", sources=self.closed_sources, why="no secret is configured for them")
        if self.unpolled:
            log.info(
                "projects_not_polled", projects=self.unpolled, why="their names depend on the environment"
            )
        for target, lack in self.log_only.items():
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
            for notifier in self.notifiers.values():
                await notifier.close()
            for poller in self.pollers:
                await poller.close()
            for link in self.links:
                await link.close()
        finally:
            # Whatever else went wrong, no child and no lock is left behind.
            if self.server is not None:
                await self.server.stop()
        log.info("stopped")
