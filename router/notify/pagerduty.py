"""PagerDuty: pages and change events by Events API v2, people's acts in their own names by its REST API.

``render_event`` and ``render_change`` are pure; ``PagerDuty`` sends, through pdpyras
(see docs/adr/0002-pdpyras.md), whose calls block: they run in this notifier's own
threads, one try each. Repeating an attempt is harmless, since the dedup key is the
incident's id, so the caller re-sends what is unsure. Vendor facts:
https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, SSLError

from router.kit import text
from router.kit.threads import NotStarted, Threads
from router.model.commands import OUR_MARK
from router.model.destinations import Lane, Want
from router.model.outcomes import Delivered, Outcome, Refused, Retry, Unsure
from router.notify._pagerduty_event import Options, render_change, render_event
from router.notify._pagerduty_rest import Acting, Done, Rest, only_success
from router.ports import NotifierSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from router.ports import ChangeJob, IncidentJob, NotifierContext

with warnings.catch_warnings():
    # Says at import that it is no longer maintained; the ADR weighs that, our users' logs need not.
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated')
    import pdpyras

log = structlog.get_logger(__name__)

THREADS: Final = 8
#: Sessions kept per thread; more integration keys than this share them in turn.
SESSIONS: Final = 16


class Person(NamedTuple):
    """Who did something, where, under which id of theirs."""

    via: str
    id: str
    name: str


class PagerDuty:
    """The notifier; holds threads and, in each, one session per integration key."""

    kind: Final = "pagerduty"
    lane: Final = Lane.PAGE
    tells_changes: Final = True

    def __init__(self, context: NotifierContext) -> None:
        self._environ = context.environ
        self._url = context.settings.get("pagerduty_events_url") or "https://events.pagerduty.com"
        self._timeout_s = context.timeout_s
        self._threads = Threads(THREADS, "pagerduty", context.timeout_s)
        self._rest, self._emails = Rest(context.settings, context.timeout_s), context.emails
        self._here = threading.local()
        self._sessions: set[Any] = set()
        self._lock = threading.Lock()

    def ready(self, options: BaseModel) -> str:
        """Return "" if the routing key is at hand, else what is missing."""
        return self._key(options)[1]

    def hold(self, options: BaseModel) -> float:  # noqa: ARG002  the port's signature
        """Return 0: no pace is kept here."""
        return 0.0

    async def send(self, job: IncidentJob) -> Outcome:
        """Trigger, acknowledge or resolve the incident's alert, in a person's name where that can be."""
        what, who = f"{job.target}|{job.incident.id}", _person(job)
        done = await self._in_name(what, job, who) if who is not None and self._rest.ready else None
        if done is Done.DONE:
            return Delivered(ref=job.incident.id)
        outcome = await self._send(what, "/v2/enqueue", job.options, render_event(job))
        noted = done not in {None, Done.LOST}  # what may have been done in a name needs no note besides
        if noted and who is not None and isinstance(outcome, Delivered):
            await self._noted(what, job, who)
        return outcome

    async def _in_name(self, what: str, job: IncidentJob, who: Person) -> Done:
        """Do it as the person; whatever goes wrong, it is then done by event: somebody else may be called."""
        pages = sum("/pagerduty/" in name for name in job.incident.destinations)
        try:
            async with asyncio.timeout(0.2 * self._timeout_s):
                email = await self._emails(who.via, who.id)
        except TimeoutError:
            return Done.FAILED
        if not email:
            return Done.NO_SUCH_PERSON
        try:
            acting = Acting(job.incident.id, job.destination.want.value, email, pages)
            async with asyncio.timeout(0.5 * self._timeout_s):
                return await self._threads.run(f"{what}|rest", self._rest.act, acting)
        except NotStarted:
            return Done.FAILED
        except TimeoutError:
            return Done.LOST

    async def _noted(self, what: str, job: IncidentJob, who: Person) -> None:
        """Say who it was; the state is right without, so a failure is only logged."""
        said = f"{job.destination.want.capitalize()} by {who.name} through {who.via}"
        said += f" {OUR_MARK}"
        try:
            async with asyncio.timeout(0.4 * self._timeout_s):
                await self._threads.run(f"{what}|rest", self._rest.note, job.incident.id, said)
        except (NotStarted, TimeoutError) as exc:
            log.warning("pagerduty_note_not_written", said=type(exc).__name__)

    async def send_change(self, job: ChangeJob) -> Outcome:
        """Tell of a deploy."""
        body = render_change(job)
        return await self._send(f"{job.target}|{job.deploy.id}", "/v2/change/enqueue", job.options, body)

    async def close(self) -> None:
        """Give back threads and connections; waits a moment for what is under way."""
        await self._threads.close()
        self._rest.close()
        with self._lock:
            sessions, self._sessions = self._sessions, set()
        for session in sessions:
            session.close()

    def _key(self, options: BaseModel) -> tuple[str, str]:
        """Return (key, "") or ("", what is missing); read each time, so that a rotated key is found."""
        if not isinstance(options, Options):
            return "", "these are not pagerduty options"
        if options.routing_key_env is not None:
            key = self._environ.get(options.routing_key_env, "").strip()
            return key, "" if key else f"environment variable {options.routing_key_env} is not set"
        if options.routing_key_file is not None:
            name = options.routing_key_file
            try:
                key = Path(name).read_text("utf-8").strip()
            except (OSError, ValueError) as exc:
                return "", f"routing_key_file {name} cannot be read: {type(exc).__name__}"
            return key, "" if key else f"routing_key_file {name} is empty"
        key = options.routing_key.get_secret_value().strip() if options.routing_key else ""
        return key, "" if key else "routing_key is empty"

    async def _send(self, what: str, path: str, options: BaseModel, body: dict[str, Any]) -> Outcome:
        try:
            return await self._threads.run(what, self._attempt, path, options, body)
        except NotStarted as exc:
            return Retry("other", f"not sent: {exc}", after_s=1.0)
        except TimeoutError:
            return Unsure("contextDeadlineExceeded", "PagerDuty did not answer in time")

    def _attempt(self, path: str, options: BaseModel, body: dict[str, Any]) -> Outcome:
        """Make one request; runs in a thread."""
        key, missing = self._key(options)
        if missing:
            return Retry("authError", missing)
        body = {**body, "routing_key": key}
        try:
            # A redirect would turn the POST into a GET, or carry the key elsewhere.
            self._session(key, path).post(path, json=body, allow_redirects=False)
        except pdpyras.PDClientError as exc:
            if exc.response is None:
                return _no_answer(exc.__cause__)
            return _answered(exc.response, key)
        return Delivered(ref=body.get("dedup_key", ""))

    def _session(self, key: str, path: str) -> Any:
        mine: OrderedDict[tuple[str, str], Any] | None = getattr(self._here, "sessions", None)
        if mine is None:
            mine = self._here.sessions = OrderedDict()
        if (path, key) in mine:
            mine.move_to_end((path, key))
            return mine[path, key]
        make = pdpyras.ChangeEventsAPISession if "change" in path else pdpyras.EventsAPISession
        session = make(key)
        session.url = self._url
        session.timeout = (0.25 * self._timeout_s, 0.6 * self._timeout_s)  # connect, read: less than ours
        # One try: pdpyras sleeps between tries, and on 429 tries for ever (pdpyras 5.4.1, PDSession.request).
        # Its retry table cannot turn that off (0 means "not in the table"), its hook after each answer can.
        session.max_network_attempts = 0
        session.retry = {}
        session.postprocess = only_success
        mine[path, key] = session
        with self._lock:
            self._sessions.add(session)
            if len(mine) > SESSIONS:
                _, oldest = mine.popitem(last=False)
                self._sessions.discard(oldest)
                oldest.close()
        return session


def _person(job: IncidentJob) -> Person | None:
    """Return who did elsewhere what is to be shown, None where nobody did, or it was done there."""
    incident, want = job.incident, job.destination.want
    if want is Want.ACKNOWLEDGED:
        found = Person(incident.acknowledged_via, incident.acknowledged_id, incident.acknowledged_by)
    elif want is Want.RESOLVED and incident.resolved_by:
        found = Person(incident.resolved_via, incident.resolved_id, incident.resolved_by)
    else:
        return None
    return found if found.via and found.via != "pagerduty" and found.name else None


def _answered(response: Any, key: str) -> Outcome:
    """Return what an answer other than success means."""
    status = response.status_code
    try:
        said = json.loads(response.content[:10_000])
        parts = [said.get("message", ""), *said.get("errors", [])]
        words = ", ".join(str(p) for p in parts if p)
    except (ValueError, AttributeError, TypeError):
        words = ""
    detail = f"PagerDuty answered {status}" + (f": {words}" if words else "")
    detail = text.line(detail.replace(key, "***"), 300)
    if status == 429:
        return Retry("rateLimited", detail, text.retry_after_s(response.headers.get("Retry-After")))
    if status in {401, 403}:
        return Retry(
            "authError", f"{detail}; check the routing key"
        )  # it can be mended, and a page must not be lost
    if status >= 500 or status == 408:
        return Retry("serverError", detail, text.retry_after_s(response.headers.get("Retry-After")))
    if 400 <= status < 500:
        return Refused("clientError", detail)
    return Retry("other", f"{detail}; check pagerduty_events_url")


def _no_answer(cause: BaseException | None) -> Outcome:
    """Tell a request that never left from one whose answer was lost."""
    name = type(cause).__name__
    if isinstance(cause, ValueError):
        return Retry("other", f"pagerduty_events_url cannot be used: {name}")
    inner = getattr(cause.args[0], "reason", None) if cause is not None and cause.args else None
    if isinstance(inner, (NewConnectionError, ConnectTimeoutError, SSLError, ProxyError)):
        return Retry("other", f"PagerDuty could not be reached: {type(inner).__name__}")
    return Unsure("contextDeadlineExceeded", f"the answer was lost: {name}")


build = NotifierSpec("pagerduty", Lane.PAGE, Options, PagerDuty, tells_changes=True, render=render_event)
