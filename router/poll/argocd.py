"""Argo CD's API, asked for the operations of the last day: its notifications can be lost.

First all applications, as few fields of each as do: that list can be selected from, but
only a fixed set of fields, without uid, history and result of the sync
(``pkg/apiclient/application/forwarder_overwrite.go``). Then each application whose operation is
young and of which something has changed since it was last asked for. It is handed over in the form of an
Application, cut down to what the source ``argocd`` reads, with the URL that people use. One that is not
given, or not as it should be, is left out until it is.

Needs an account's token with ``applications, get``; without that right Argo CD does not refuse the list
but shows an empty one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog

from router.kit import wire
from router.model.errors import PollFailed
from router.poll import _http
from router.ports import Fetched

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from router.ports import PollerContext, PollerFactory

log = structlog.get_logger(__name__)

#: Older operations are old news.
NEWS: Final = timedelta(hours=24)


class Limits(NamedTuple):
    """How long and how much one fetch may take.

    Args:
        timeout_s: for one answer.
        max_bytes: of one answer, unpacked.
        max_asked: applications asked for one by one; the rest follow in the next fetch.
        patience_s: after which no further application is asked for.
    """

    timeout_s: float = 20.0
    max_bytes: int = 64 << 20
    max_asked: int = 200
    patience_s: float = 60.0


_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?").fullmatch
#: Every field here is one of those that Argo CD can select; others would be left out without a word.
FIELDS: Final = (
    "items.metadata.name",
    "items.metadata.namespace",
    "items.status.health",
    "items.status.summary",
    "items.status.operationState.phase",
    "items.status.operationState.startedAt",
    "items.status.operationState.finishedAt",
)
#: What the source reads of an Application. The rest is many times as much, and may be secret (Helm's values).
_KEPT: Final[Mapping[str, Any]] = {
    "metadata": dict.fromkeys(("name", "namespace", "uid", "labels")),
    "spec": {
        "project": None,
        "destination": None,
        "source": {"targetRevision": None},
        "sourceHydrator": {"syncSource": {"targetBranch": None}},
    },
    "status": {
        "reconciledAt": None,
        "sync": {"status": None},
        "health": {"status": None, "lastTransitionTime": None},
        "summary": {"images": None},
        "operationState": {
            **dict.fromkeys(("phase", "message", "startedAt", "finishedAt")),
            "operation": {"initiatedBy": None, "sync": {"dryRun": None, "resources": None}},
            "syncResult": {"revision": None, "revisions": None},
        },
    },
}
_KEPT_OF_HISTORY: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("id", "revision", "revisions", "deployStartedAt", "deployedAt", "initiatedBy")),
    "source": {"targetRevision": None},
}

_ACCOUNT: Final = (
    "make a token of an account with the capability apiKey (argocd account generate-token) and set "
    "ROUTER_ARGOCD_API_TOKEN"
)
_ADDRESS: Final = "set ROUTER_ARGOCD_API_URL to argocd-server's address, with its root path if it has one"
_RIGHT: Final = (
    "give the token's account the right `applications, get` (in argocd-rbac-cm: p, <account>, applications, "
    "get, */*, allow)"
)
_WORDS: Final = _http.Words(
    address=_ADDRESS,
    account=_ACCOUNT,
    trust="set ROUTER_ARGOCD_API_CA to the authority that signed it",
    fewer="use a token that sees fewer applications",
    otherwise="see the log of argocd-server",
    advice={403: _RIGHT, 404: _ADDRESS},
    ca="ROUTER_ARGOCD_API_CA",
)


class _Known(NamedTuple):
    """An application as it was last asked for, and how it stood in the list then."""

    listed: Mapping[str, Any]
    app: dict[str, Any]


class ArgoCDApi:
    """The poller; one HTTP session, opened at the first fetch."""

    kind: Final = "argocd_api"
    source: Final = "argocd"

    def __init__(self, context: PollerContext, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._clock = context.clock
        token = context.settings.get("argocd_api_token", "").strip()
        self._api = _http.Api(
            context.settings.get("argocd_api_url", "").strip().rstrip("/"),
            {"Authorization": f"Bearer {token}", "Accept": "application/json"},
            _WORDS,
            _http.Bounds(self._limits.timeout_s, self._limits.max_bytes),
            context.settings.get("argocd_api_ca", "").strip(),
        )
        self._known: dict[str, _Known] = {}
        self._left_out: dict[str, str] = {}
        self._people_url = ""

    async def fetch(self) -> Fetched:
        """Return the applications with operations of the last 24 hours, the newest operation first.

        An application that cannot be read is told as it was last read, if it was. What would befall the next
        question, too, ends the asking: what was read by then is handed over.

        Raises:
            PollFailed: Argo CD gave no list, or none of the applications.
        """
        began, limits = self._clock.monotonic(), self._limits
        young = self._young(await self._api.document("api/v1/applications", fields=",".join(FIELDS)))
        self._forget(young)
        asked, read, stopped = 0, 0, False
        failed: PollFailed | None = None
        # Those that failed come last: where each takes its whole time, nobody else would be asked for.
        for name in sorted(young, key=self._left_out.__contains__):
            if self._is_known(name, young[name]):
                read += 1
                continue
            if stopped or asked >= limits.max_asked or self._clock.monotonic() - began > limits.patience_s:
                continue
            asked += 1
            try:
                await self._ask(name, young[name])
                read += 1
            except PollFailed as exc:
                failed, stopped = exc, isinstance(exc, _http.Stop)
                if not stopped:
                    self._leave_out(name, exc)
        if failed is not None and not read:
            raise failed
        if failed is not None and stopped:
            log.warning("poll_cut_short", poller=self.kind, error=failed.detail)
        known = [self._known[name].app for name in young if name in self._known]
        if not known:
            return Fetched()
        url = self._people_url if stopped else await self._for_people()
        context, since = {"argocdUrl": url}, self._clock.now() - NEWS
        return Fetched(
            [msgspec.json.encode({"context": context, "app": _since(app, since)}) for app in known]
        )

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()

    def _young(self, answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Return those whose operation is young, by ``namespace/name``, the newest first."""
        items = answer.get("items")
        if not items:
            raise PollFailed(f"Argo CD shows no application to this token; if it has some, {_RIGHT}")
        if not isinstance(items, list):
            raise PollFailed(f"the answer of {self._api.url} is not a list of applications; {_ADDRESS}")
        since, found = self._clock.now() - NEWS, []
        for item in items:
            name, namespace = wire.text(item, "metadata", "name"), wire.text(item, "metadata", "namespace")
            started = wire.parse_time(wire.dig(item, "status", "operationState", "startedAt"))
            if started is not None and started > since and _NAME(name) and _NAME(namespace):
                found.append((started, f"{namespace}/{name}", item))
        found.sort(key=lambda one: one[:2], reverse=True)
        return {name: item for _, name, item in found}

    def _forget(self, young: Mapping[str, Any]) -> None:
        """Forget what is old news by now, or gone."""
        for memory in (self._known, self._left_out):
            for name in memory.keys() - young.keys():
                del memory[name]

    def _is_known(self, name: str, listed: Mapping[str, Any]) -> bool:
        """True where nothing has changed since it was asked for; of a running operation that is not shown."""
        running = wire.text(listed, "status", "operationState", "phase") in {"Running", "Terminating"}
        before = self._known.get(name)
        return before is not None and before.listed == listed and not running

    async def _ask(self, name: str, listed: Mapping[str, Any]) -> None:
        """Read one application into memory."""
        namespace, _, app = name.partition("/")
        answer = await self._api.document(f"api/v1/applications/{app}", appNamespace=namespace)
        self._known[name] = _Known(listed, _cut(answer))
        self._left_out.pop(name, None)

    def _leave_out(self, name: str, why: PollFailed) -> None:
        """Go on without an application, and say so once."""
        if isinstance(why, _http.Refused) and why.status < 500:  # deleted meanwhile, or not for us to see
            self._known.pop(name, None)
        if self._left_out.get(name) != why.detail:
            self._left_out[name] = why.detail
            log.warning("application_not_polled", poller=self.kind, application=name, error=why.detail)

    async def _for_people(self) -> str:
        """Return Argo CD's address as people use it, "" where it does not say; asked for until it does."""
        if not self._people_url:
            try:
                self._people_url = wire.text(await self._api.document("api/v1/settings"), "url", limit=500)
            except PollFailed:  # a link is not worth losing a deploy for
                return ""
        return self._people_url


def _cut(app: dict[str, Any]) -> dict[str, Any]:
    """Return what the source reads of an Application."""
    kept: dict[str, Any] = _keep(app, _KEPT)
    _keep_sources(wire.dig(app, "spec"), kept.get("spec"))
    history = wire.dig(app, "status", "history")
    if isinstance(history, list) and history:
        kept["status"]["history"] = entries = [_keep(entry, _KEPT_OF_HISTORY) for entry in history]
        for entry, shown in zip(history, entries, strict=True):
            _keep_sources(entry, shown)
    return kept


def _keep_sources(found: Any, kept: Any) -> None:
    """Keep of each of several sources what of a single one is kept."""
    sources = wire.dig(found, "sources")
    if isinstance(sources, list) and isinstance(kept, dict):
        kept["sources"] = [_keep(one, {"targetRevision": None}) for one in sources if isinstance(one, dict)]


def _since(app: dict[str, Any], since: datetime) -> dict[str, Any]:
    """Return the application without history that is old news."""
    history = wire.dig(app, "status", "history")
    if not history:
        return app
    young = [e for e in history if (wire.parse_time(wire.dig(e, "deployedAt")) or since) > since]
    return {**app, "status": {**app["status"], "history": young}}


def _keep(found: Any, kept: Mapping[str, Any] | None) -> Any:
    """Return the parts named; None keeps a part whole."""
    if kept is None or not isinstance(found, dict):
        return found
    return {name: _keep(found[name], below) for name, below in kept.items() if name in found}


build: PollerFactory = ArgoCDApi
