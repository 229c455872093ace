"""PagerDuty's REST API: what a person did elsewhere, done there in that person's name, or noted.

By events everybody's act looks like the router's own. The REST API takes a ``From`` header, the e-mail of a
user of the account. Nobody is named whom nobody has named to us: where a person has no user there, the act
goes by event, and a note in the name of the router's own user says who it was. All calls block; one try each.
Vendor facts: https://developer.pagerduty.com/api-reference/ (``PUT /incidents/{id}``, ``POST .../notes``).
"""

from __future__ import annotations

import contextlib
import json
import threading
import warnings
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from router.kit import text, wire

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message='The package "pdpyras" is deprecated')  # see the notifier
    import pdpyras

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger(__name__)

#: A note's own limit is not documented; what a person reads is shorter.
MAX_NOTE: Final = 2000
#: More incidents of one key than that there are not: one for each service that we page.
MOST: Final = 25


class Done(StrEnum):
    """What came of an act in a person's name; LOST: it may have been taken."""

    DONE = "done"
    NOT_FOUND = "not_found"
    NO_SUCH_PERSON = "no_such_person"
    LOST = "lost"
    FAILED = "failed"


class Acting(NamedTuple):
    """An act: the incident's key there, the state it is to have, and who wants it so."""

    key: str
    status: str
    email: str
    at_least: int


class Rest:
    """The API as one writes to it; sessions are per thread, since requests' are not to be shared."""

    def __init__(self, settings: Mapping[str, str], timeout_s: float) -> None:
        self._token = settings.get("pagerduty_write_token", "").strip()
        self.sender = settings.get("pagerduty_from", "").strip()
        self._url = settings.get("pagerduty_api_url") or "https://api.pagerduty.com"
        self._timeout_s = timeout_s
        self._here = threading.local()
        self._sessions: set[Any] = set()
        self._lock = threading.Lock()

    @property
    def ready(self) -> bool:
        """True where there is a key to write with."""
        return bool(self._token)

    def act(self, acting: Acting) -> Done:
        """Give every incident of the key that state, in the person's name.

        DONE only where there were as many as we page: one that is not there yet has to be told by event.
        """
        try:
            found = self._open(acting.key)
            for one in found:
                if wire.text(one, "status", limit=40) != acting.status:
                    body = {"incident": {"type": "incident_reference", "status": acting.status}}
                    self._ask("put", f"/incidents/{_id(one)}", acting.email, json=body)
        except pdpyras.PDClientError as exc:
            return _refused(exc, "pagerduty_act_not_in_name")
        return Done.DONE if len(found) >= max(1, acting.at_least) else Done.NOT_FOUND

    def note(self, key: str, content: str) -> Done:
        """Write a note on every incident of the key that is not over, in the name of the router's user."""
        if not self.sender:
            return Done.NO_SUCH_PERSON
        try:
            found = self._open(key, "resolved")
            for one in found[:1]:
                body = {"note": {"content": text.clean(content, MAX_NOTE)}}
                self._ask("post", f"/incidents/{_id(one)}/notes", self.sender, json=body)
        except pdpyras.PDClientError as exc:
            return _refused(exc, "pagerduty_note_not_written")
        return Done.DONE if found else Done.NOT_FOUND

    def close(self) -> None:
        """Give back the connections."""
        with self._lock:
            sessions, self._sessions = self._sessions, set()
        for session in sessions:
            session.close()

    def _open(self, key: str, *also: str) -> list[dict[str, Any]]:
        """Return the incidents of a key that somebody may have to act on; the newest first."""
        params = {
            "incident_key": key,
            "statuses[]": ["triggered", "acknowledged", *also],
            "limit": MOST,
            "sort_by": "created_at:desc",
        }
        with contextlib.suppress(ValueError):
            found = json.loads(self._ask("get", "/incidents", "", params=params).content).get("incidents")
            if isinstance(found, list):
                return [one for one in found[:MOST] if isinstance(one, dict) and _id(one)]
        return []

    def _ask(self, method: str, path: str, sender: str, **how: Any) -> Any:
        session = self._session()
        headers = {"From": sender} if sender else {}
        return session.request(method, path, headers=headers, allow_redirects=False, **how)

    def _session(self) -> Any:
        session = getattr(self._here, "session", None)
        if session is None:
            session = pdpyras.APISession(self._token)
            session.url = self._url
            session.timeout = (0.2 * self._timeout_s, 0.4 * self._timeout_s)
            # One try, and only success: see the notifier's session.
            session.max_network_attempts = 0
            session.retry = {}
            session.postprocess = only_success
            self._here.session = session
            with self._lock:
                self._sessions.add(session)
        return session


def only_success(response: Any) -> None:
    """Stop pdpyras at any answer but a success, before it thinks of trying again."""
    if not 200 <= response.status_code < 300:
        raise pdpyras.PDHTTPError("not a success", response)


def _id(incident: Any) -> str:
    """Return the incident's id, "" where it is none that may stand in a path."""
    found = wire.text(incident, "id", limit=40)
    return found if found.isascii() and found.isalnum() else ""


def _refused(exc: Any, event: str) -> Done:
    """Return what a failure means, and log it; of an unknown ``From`` the API says that it is no user."""
    status, words = getattr(exc.response, "status_code", 0), ""
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        error = json.loads(exc.response.content[:10_000])["error"]
        parts = [error.get("message", ""), *(error.get("errors") or [])]
        words = text.line(" ".join(map(str, parts)), 200)
    log.warning(event, status=status, said=words or type(exc.__cause__).__name__)
    if exc.response is None:
        return Done.LOST
    if status == 400 and "user" in words.lower():
        return Done.NO_SUCH_PERSON
    return Done.FAILED
