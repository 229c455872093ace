"""The sources, notifiers and pollers of one process, and what the rules change about them.

Part of the composition root: :class:`router.app.App` makes one. ``check`` says what is wrong with a
rulebook here, before it comes into force; ``follow`` takes it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, TypeVar

from router.kit import loader
from router.model.errors import ConfigError, Problem
from router.ports import Asking, ListenContext, NotifierContext, NotifierSpec, PollerContext, TalkContext
from router.work.people import People

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from router.model.deliveries import Manners
    from router.ports import Clock, Listener, Notifier, Poller, Reader, Silencer, Source, Talker
    from router.rulebook.book import Rulebook, Target
    from router.settings import Settings

V = TypeVar("V")
#: APIs that many run without a token.
_OPEN_APIS = {"alertmanager_api"}
SOURCES, NOTIFIERS, POLLERS, TALKERS = "router.sources", "router.notify", "router.poll", "router.talk"
LISTENERS = "router.listen"


def notifier_specs() -> dict[str, NotifierSpec]:
    """Return every notifier there is, by kind."""
    return {kind: loader.load(NOTIFIERS, kind) for kind in loader.kinds(NOTIFIERS)}


def sources_of(book: Rulebook) -> dict[str, Source]:
    """Return every source there is: one of each file, and one of each mapping in the rules."""
    own: dict[str, Source] = {k: loader.load(SOURCES, k)() for k in loader.kinds(SOURCES)}
    return own | {n: loader.load(SOURCES, "generic")(m) for n, m in book.mappings.items()}


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address; of names only localhost counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Drivers:
    """What drives each vendor; :meth:`follow` changes ``sources``, ``secrets`` and ``manners`` in place."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Clock, book: Rulebook) -> None:
        self._settings, self._environ, self._clock = settings, environ, clock
        self.loopback = is_loopback(settings.host)
        self._own: dict[str, Source] = {k: loader.load(SOURCES, k)() for k in loader.kinds(SOURCES)}
        self.sources: dict[str, Source] = {}
        self.secrets: dict[str, tuple[bytes, ...] | None] = {}
        self.manners: dict[str, Manners] = {}
        self._projects: list[str] = []
        self.pollers = self._make_pollers()
        self.notifiers: dict[str, Notifier] = {}
        self.people = People(self.notifiers, lambda: self._book, clock)
        self.notifiers.update(self._make_notifiers())
        self.check(book)
        self.follow(book)

    def check(self, book: Rulebook) -> None:
        """Refuse a rulebook that cannot be worked here, every problem at once.

        Raises:
            ConfigError: a mapping has a source's name, a watched sender or a secret is unknown, or, off
                loopback, somebody would not be told for want of credentials.
        """
        taken = sorted(self._own.keys() & book.mappings.keys())
        text = "a source of its own has this name"
        problems = [Problem("rules", f"sources: {n}", text, "give the mapping another") for n in taken]
        problems += self._unknown(book)
        problems += self._unsafe(book)
        if problems:
            raise ConfigError(problems)

    def follow(self, book: Rulebook) -> None:
        """Take what a rulebook says: mappings as sources, projects to poll, targets without credentials."""
        found = self._own | {n: loader.load(SOURCES, "generic")(m) for n, m in book.mappings.items()}
        settings, self._book = self._settings, book
        without = [k for k in found if not settings.source_secrets(k)]
        # Off loopback what has no secret is closed, unless it was asked for: nobody sets ten to use three.
        open_ = self.loopback or settings.allow_open_sources
        self.open_sources, self.closed_sources = (without, []) if open_ else ([], without)
        _replace(self.sources, found)
        closed = self.closed_sources
        _replace(self.secrets, {k: None if k in closed else settings.source_secrets(k) for k in found})
        _replace(self.manners, {k: source.manners for k, source in found.items()})
        named = [p for s in book.services.values() for p in s.gitlab_projects]
        self._projects[:] = [p for p in named if "{" not in p]
        self.unpolled = [p for p in named if "{" in p] if "gitlab_api" in self.polled else []
        self.log_only = self._without_credentials(book)

    def notifier(self, target: Target) -> Notifier:
        """Return who tells this target: its own notifier, or the log where credentials are missing."""
        return self.notifiers["log" if target.id in self.log_only else target.kind]

    def listeners(self) -> list[Listener]:
        """Return the connections that are configured."""
        s = self._settings
        settings = {
            "slack_api_url": s.slack_api_url,
            "slack_app_token": s.slack_app_token.get_secret_value(),
        }
        context = ListenContext(self._clock, settings)
        made: list[Listener] = [loader.load(LISTENERS, kind)(context) for kind in loader.kinds(LISTENERS)]
        return [one for one in made if one.wanted]

    def talkers(
        self, reader: Reader, silencer: Silencer, explain: Callable[[str, int], Awaitable[Any]]
    ) -> dict[str, Talker]:
        """Return who answers people, by the source that they ask through."""
        found: dict[str, Talker] = {}
        for kind in loader.kinds(TALKERS):
            vendor: object = self.notifiers.get(kind)
            ask = vendor.ask if isinstance(vendor, Asking) else _nobody_to_ask
            settings = {"slack_api_url": self._settings.slack_api_url}
            found[kind] = loader.load(TALKERS, kind)(
                TalkContext(self._clock, settings, reader, silencer, ask, explain)
            )
        return found

    async def close(self) -> None:
        """Give back threads and connections."""
        for notifier in self.notifiers.values():
            await notifier.close()
        for poller in self.pollers:
            await poller.close()

    def _make_pollers(self) -> list[Poller]:
        """Return every poller there is, those that are not used, too: what they are called may be watched."""
        chosen = self._settings.polling()
        context = PollerContext(self._clock, chosen, lambda: self._projects)
        made: list[Poller] = [loader.load(POLLERS, kind)(context) for kind in loader.kinds(POLLERS)]
        has = {p.kind: (bool(chosen[f"{p.kind}_url"]), bool(chosen[f"{p.kind}_token"])) for p in made}
        self.polled = {kind for kind, (url, token) in has.items() if url and (token or kind in _OPEN_APIS)}
        may_lack = {"pagerduty_api", *_OPEN_APIS}
        lacking = [k.upper() for k, (url, token) in has.items() if url and not token and k not in may_lack]
        text, hint = "is empty, and the address of that API is set", "set both, or neither"
        problems = [Problem("environment", f"ROUTER_{k}_TOKEN", text, hint) for k in lacking]
        if problems:
            raise ConfigError(problems)
        return made

    def _make_notifiers(self) -> dict[str, Notifier]:
        s = self._settings
        context = NotifierContext(
            clock=self._clock,
            settings={
                "pagerduty_events_url": s.pagerduty_events_url,
                "pagerduty_api_url": s.pagerduty_api_url,
                "pagerduty_write_token": s.pagerduty_write_token.get_secret_value(),
                "pagerduty_from": s.pagerduty_from,
                "slack_api_url": s.slack_api_url,
                "slack_heard": "true" if self._hears("slack") else "",
                "slack_bot_token": s.slack_bot_token.get_secret_value(),
                "external_url": s.external_url,
            },
            environ=self._environ,
            timeout_s=s.delivery_timeout_seconds,
            emails=self.people.email,
        )
        return {kind: spec.make(context) for kind, spec in notifier_specs().items()}

    def _hears(self, kind: str) -> bool:
        """Return whether deliveries of a source are taken."""
        s = self._settings
        connected = kind == "slack" and bool(s.slack_app_token.get_secret_value())
        return connected or bool(s.source_secrets(kind)) or self.loopback or s.allow_open_sources

    def _without_credentials(self, book: Rulebook) -> dict[str, str]:
        """Return the targets that would be logged instead, with what they lack."""
        targets = [t for r in book.receivers.values() for t in r.targets]
        return {t.id: lack for t in targets if (lack := self.notifiers[t.kind].ready(t.options))}

    def _unknown(self, book: Rulebook) -> list[Problem]:
        """A secret for a source that does not exist protects nothing, a watch for one sees nothing."""
        sources = {*self._own, *book.mappings}
        known = ", ".join([*self._own, *book.mappings])
        unknown = sorted(set(self._settings.webhook_secrets) - sources)
        names = [("environment", f"ROUTER_SOURCE_{kind.upper()}_SECRETS") for kind in unknown]
        watchable = {*sources, *(p.kind for p in self.pollers)}
        names += [("rules", f"senders: {name}") for name in sorted(set(book.senders) - watchable)]
        return [Problem(f, n, "there is no such source", f"there are: {known}") for f, n in names]

    def _unsafe(self, book: Rulebook) -> list[Problem]:
        """Off loopback, what takes nothing, or tells nobody, must have been asked for."""
        if self.loopback:
            return []
        s, problems = self._settings, []
        kinds = (*self._own, *book.mappings)
        if not s.allow_open_sources and not any(s.source_secrets(k) for k in kinds):
            text = f"no source has a secret, and {s.listen} is not loopback"
            hint = "set those of your senders, or say ROUTER_ALLOW_OPEN_SOURCES=true"
            problems.append(Problem("environment", "ROUTER_SOURCE_<KIND>_SECRETS", text, hint))
        if not s.allow_log_only:
            hint = "set it, or say ROUTER_ALLOW_LOG_ONLY=true"
            problems += [
                Problem("rules", target, f"{lack}, so what it should be told would only be logged", hint)
                for target, lack in self._without_credentials(book).items()
            ]
        return problems


async def _nobody_to_ask(method: str, args: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:  # noqa: ARG001  the signature of those who ask
    """Answer as an API that nobody has."""
    return "not_supported", {}


def _replace(old: dict[str, V], new: Mapping[str, V]) -> None:
    """Change a dictionary in place: others hold it."""
    old.clear()
    old.update(new)
