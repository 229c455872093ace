"""GitLab's API, asked for deployments that its webhooks lost, and for webhooks that it switched off.

GitLab never sends a webhook again, and sends none at all while it has it disabled. So each project
of the catalogue is asked for what was deployed in the last day, and handed over in the form of a Deployment
Hook, which the source ``gitlab`` reads to the same events. Of each deployment only its present
status is known: one that is live by now has no start.

Then for its webhooks: those that lead to us and are disabled. Needs a token with the scope ``read_api``
and, for webhooks, the role Maintainer; without that role deployments are still told.

Format: GitLab, ``doc/api/deployments.md`` and ``doc/api/project_webhooks.md``; fields after
``lib/api/entities`` (``deployment.rb``, ``ci/job_basic.rb``, ``hook.rb``).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import msgspec
import structlog

from router.kit import wire
from router.model.errors import PollFailed
from router.poll import _http
from router.ports import Fetched, SwitchedOff

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from router.ports import PollerContext, PollerFactory

log = structlog.get_logger(__name__)

#: What happened earlier is old news.
NEWS: Final = timedelta(hours=24)
#: As many as GitLab gives at once.
PER_PAGE: Final = 100
#: Of one project's deployments; beyond are its oldest of the day.
MAX_PAGES: Final = 3
#: So often in a row a project's webhooks are not shown before they count as asked about.
TRIES: Final = 3


class Limits(NamedTuple):
    """How long and how much one fetch may take.

    Args:
        timeout_s: for one answer.
        max_bytes: of one answer, unpacked.
        max_projects: asked in one fetch; the rest follow in the next.
        patience_s: after which no further project is asked.
    """

    timeout_s: float = 20.0
    max_bytes: int = 16 << 20
    max_projects: int = 200
    patience_s: float = 60.0


_PATH: Final = re.compile(r"[\w.-]{1,255}(/[\w.-]{1,255}){1,20}", re.ASCII).fullmatch
#: Where GitLab sends who asks for a project by a path that it had before (``lib/api/helpers.rb``).
_MOVED: Final = re.compile(r"/api/v4/projects/\d+(\?|$)").search
#: Statuses in which a deployment's job is over (``app/models/deployment.rb``).
_ENDED: Final = frozenset({"success", "failed", "canceled"})

_ADDRESS: Final = "set ROUTER_GITLAB_API_URL to GitLab's address, without /api/v4"
_MEMBER: Final = (
    "the token needs the scope read_api and to be a member (Reporter; Maintainer for webhooks) of the "
    "catalogue's projects, and their paths must be right"
)
_WORDS: Final = _http.Words(
    address=_ADDRESS,
    account=(
        "make an access token with the scope read_api and the role Maintainer, for a project, a group or a "
        "bot, and set ROUTER_GITLAB_API_TOKEN"
    ),
    trust="set ROUTER_GITLAB_API_CA to the authority that signed it",
    fewer="is that GitLab's API?",
    otherwise="see GitLab's log, or its status page",
    advice={403: _MEMBER, 404: f"{_MEMBER}; or {_ADDRESS}"},
    ca="ROUTER_GITLAB_API_CA",
)


class _Hooks(NamedTuple):
    """Those of a project's webhooks to us that are disabled, and when that was seen."""

    at: datetime
    off: Sequence[SwitchedOff] = ()


class GitLabApi:
    """The poller; one HTTP session, opened at the first fetch."""

    kind: Final = "gitlab_api"
    source: Final = "gitlab"

    def __init__(self, context: PollerContext, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._clock, self._catalogue = context.clock, context.projects
        url = context.settings.get("gitlab_api_url", "").strip().rstrip("/")
        token = context.settings.get("gitlab_api_token", "").strip()
        self._api = _http.Api(
            url.removesuffix("/api/v4"),
            {"PRIVATE-TOKEN": token, "Accept": "application/json"},
            _WORDS,
            _http.Bounds(self._limits.timeout_s, self._limits.max_bytes),
            context.settings.get("gitlab_api_ca", "").strip(),
        )
        self._external_url = context.settings.get("external_url", "")
        self._next = ""  # the first path that the next fetch asks for
        self._projects: dict[str, dict[str, Any]] = {}
        self._hooks: dict[str, _Hooks] = {}  # of every project asked; none where not allowed
        self._unseen: dict[str, int] = {}  # how often in a row its webhooks were not shown
        self._left_out: dict[str, str] = {}

    async def fetch(self) -> Fetched:
        """Return the deployments of the last 24 hours, and the webhooks that are switched off.

        A project that GitLab does not give, or not as it should be, is left out. What would befall the next
        question, too, ends the round: what was read by then is handed over, and the next fetch begins where
        this one ended.

        Raises:
            PollFailed: GitLab gave none of the projects.
        """
        paths = sorted({p for p in self._catalogue() if _PATH(p)})
        self._forget(paths)
        began, turn = self._clock.monotonic(), self._turn(paths)
        bodies: list[bytes] = []
        read, seen = 0, False
        failed: PollFailed | None = None
        for path in turn:
            if self._clock.monotonic() - began > self._limits.patience_s:
                break
            self._next = f"{path}\0"  # whatever is behind it
            try:
                await self._deployments(path, bodies)
                read += 1
                self._left_out.pop(path, None)
                seen |= await self._look(path)
            except _http.Stop as exc:
                failed = exc
                self._not_seen(path, exc)
                if path != turn[0]:  # else it had its chance, and others would never have theirs
                    self._next = path
                break
            except PollFailed as exc:
                failed = exc
                self._leave_out(path, exc)
        if failed is not None and not read and not bodies:
            raise failed
        if isinstance(failed, _http.Stop):
            log.warning("poll_cut_short", poller=self.kind, error=failed.detail)
        off = [one for path in sorted(self._hooks) for one in self._hooks[path].off]
        # Some disabled webhook is known at once; that there is none, only when all were asked.
        well = len(self._hooks) == len(paths)
        return Fetched(bodies, frozenset({self.source} if seen and (off or well) else ()), off)

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()

    def _turn(self, paths: list[str]) -> list[str]:
        """Return whom to ask in this fetch, beginning where the last one ended."""
        start = bisect_left(paths, self._next)
        return (paths[start:] + paths[:start])[: self._limits.max_projects]

    def _forget(self, paths: Sequence[str]) -> None:
        """Forget what is no longer in the catalogue."""
        for memory in (self._projects, self._hooks, self._unseen, self._left_out):
            for path in memory.keys() - set(paths):
                del memory[path]

    def _leave_out(self, path: str, why: PollFailed) -> None:
        """Go on without a project, and say so once."""
        if isinstance(why, _http.Refused):
            self._projects.pop(path, None)  # deleted, and maybe made anew with another number
        self._not_seen(path, why)
        if self._left_out.get(path) != why.detail:
            self._left_out[path] = why.detail
            log.warning("project_not_polled", poller=self.kind, project=path, error=why.detail)

    def _not_seen(self, path: str, why: PollFailed) -> None:
        """Forget webhooks that may not be seen; what GitLab only failed to show is as it was, for a day.

        A project that was never seen is given some tries: right after a start "none is disabled" would
        end an incident. But it does not keep that word from the others for ever.
        """
        now, before = self._clock.now(), self._hooks.get(path)
        tries = self._unseen[path] = self._unseen.get(path, 0) + 1
        refused = isinstance(why, _http.Refused) and why.status < 500
        if refused or (tries >= TRIES if before is None else now - before.at > NEWS):
            self._hooks[path] = _Hooks(now)

    async def _project(self, path: str) -> dict[str, Any]:
        """Return what webhooks tell of a project; asked for once."""
        if path not in self._projects:
            try:
                found = await self._api.document(f"api/v4/projects/{quote(path, safe='')}")
            except _http.Redirected as exc:
                if _MOVED(exc.location):
                    raise _http.Refused(
                        f"GitLab knows {path} by another path now; write that one into the catalogue",
                        404,
                    ) from exc
                raise
            number = found.get("id")
            if type(number) is not int:
                raise PollFailed(f"the answer of {self._api.url} is no project; {_ADDRESS}")
            names = ("path_with_namespace", "web_url", "default_branch")
            self._projects[path] = {"id": number} | {n: wire.text(found, n, limit=1000) for n in names}
        return self._projects[path]

    async def _deployments(self, path: str, bodies: list[bytes]) -> None:
        """Add the project's deployments of the last 24 hours as Deployment Hooks, the newest first."""
        project = await self._project(path)
        since = self._clock.now() - NEWS
        for page in range(1, MAX_PAGES + 1):
            listed = await self._api.array(
                f"api/v4/projects/{project['id']}/deployments",
                updated_after=since.strftime("%Y-%m-%dT%H:%M:%SZ"),
                order_by="updated_at",
                sort="desc",
                per_page=str(PER_PAGE),
                page=str(page),
            )
            bodies += [msgspec.json.encode(as_hook(one, project)) for one in listed if _is_news(one, since)]
            if len(listed) < PER_PAGE:
                break

    async def _look(self, path: str) -> bool:
        """Note the project's webhooks to us that are disabled; False where they were not shown."""
        number = self._projects[path]["id"]
        try:
            listed = await self._api.array(f"api/v4/projects/{number}/hooks", per_page=str(PER_PAGE))
        except _http.Stop:
            raise
        except PollFailed as exc:
            self._not_seen(path, exc)
            return False
        off = []
        for hook in listed:
            url, how = wire.text(hook, "url", limit=2000), _disabled(hook)
            if how and _http.leads_to_us(url, self.source, self._external_url):
                name = wire.text(hook, "id", limit=40)
                off.append(SwitchedOff(self.source, f"webhook {name} of {path} is disabled {how}"))
        self._hooks[path] = _Hooks(self._clock.now(), off)
        self._unseen.pop(path, None)
        return True


def as_hook(deployment: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
    """Return a deployment of the API in the form of a Deployment Hook (``lib/gitlab/data_builder``).

    Who deployed is the job's user: a manual job may be started by another person than its pipeline.
    """
    job = wire.dig(deployment, "deployable")
    sha = wire.text(deployment, "sha", limit=64)
    user = wire.dig(job if wire.text(job, "user", "username") else deployment, "user")
    return {
        "object_kind": "deployment",
        "status": wire.text(deployment, "status", limit=40),
        "status_changed_at": _changed(deployment),
        "deployment_id": wire.dig(deployment, "id"),
        "deployable_id": wire.dig(job, "id"),
        "deployable_url": wire.text(job, "web_url", limit=1000),
        "environment": wire.text(deployment, "environment", "name"),
        "environment_tier": wire.text(deployment, "environment", "tier", limit=40),
        "project": project,
        "short_sha": sha[:8],
        "ref": wire.text(deployment, "ref"),
        "user": {n: wire.text(user, n) for n in ("username", "name")},
        "commit_url": f"{project['web_url']}/-/commit/{sha}" if sha else "",
        "commit_title": wire.text(job, "commit", "title"),
    }


def _changed(deployment: dict[str, Any]) -> str:
    """Return when the deployment reached its status, as GitLab wrote it.

    Later changes of other kinds move ``updated_at``, so the end counts where there is one: the
    deployment's own is not shown by all releases, its job's is.
    """
    times = [wire.text(deployment, "updated_at", limit=60)]
    if wire.text(deployment, "status", limit=40) in _ENDED:
        times[:0] = [
            wire.text(deployment, "finished_at", limit=60),
            wire.text(deployment, "deployable", "finished_at", limit=60),
        ]
    return next((t for t in times if wire.parse_time(t) is not None), "")


def _is_news(deployment: Any, since: datetime) -> bool:
    """True for a deployment that can be told, and was not only touched since."""
    at = wire.parse_time(_changed(deployment)) if isinstance(deployment, dict) else None
    named = wire.text(deployment, "id", limit=40) and wire.text(deployment, "environment", "name")
    return at is not None and at > since and bool(named)


def _disabled(hook: Any) -> str:
    """Return for how long a webhook is disabled, "" where it is not (``web_hooks/auto_disabling.rb``)."""
    status = wire.text(hook, "alert_status", limit=40)
    if status == "disabled":
        return "for good"
    if status != "temporarily_disabled":
        return ""
    until = wire.parse_time(wire.dig(hook, "disabled_until"))
    return f"until {until:%Y-%m-%d %H:%M UTC}" if until is not None else "for a while"


build: PollerFactory = GitLabApi
