"""What hears of things: sources, which read webhooks, and pollers, which ask for what those lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from router.model.deliveries import Manners, Reply
from router.model.events import Told
from router.ports.clock import Clock


class Source(Protocol):
    """One sender of webhooks. Pure: bytes and headers in, typed events out.

    Header names arrive in lower case.
    """

    @property
    def kind(self) -> str:
        """The name in the URL: ``/webhooks/<kind>``."""

    @property
    def manners(self) -> Manners:
        """How its sender takes our answers, and which of its headers may be kept."""

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
        """Check the delivery's authenticity over the raw bytes, before any parsing.

        Returns the index of the secret that matched (for the rotation metric).

        Raises:
            Rejected: 401, code ``bad_secret``, for whatever is not authentic; any junk included.
        """

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        """Return what the delivery tells; the same body gives the same events and ids.

        Raises:
            Rejected: 400 with what is wrong and where. Nothing else, whatever the bytes.
        """


@runtime_checkable
class Speaking(Source, Protocol):
    """A source whose sender wants to be answered in its own words. Pure, and raises nothing."""

    def greet(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Return the answer to a handshake that is not signed, before anything is checked, else None."""

    def reply(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Return the answer to an authentic delivery that is durable by now; None: the usual words."""


@dataclass(frozen=True, slots=True)
class PollerContext:
    """What a poller's ``build`` is given: a clock, and the settings it may read, by name in lower case.

    ``projects`` returns the GitLab projects that the catalogue names, as ``group/project``.
    """

    clock: Clock
    settings: Mapping[str, str]
    projects: Callable[[], Sequence[str]] = tuple


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """A sender's own word that it does not send to us any more.

    ``source``: whose deliveries are missing. ``what``: which webhook, and until when; a clause for people.
    ``since``: when that began, None where the sender does not say.
    """

    source: str
    what: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What is open at another side, for the reconciler.

    Args:
        side: ``alertmanager`` or ``pagerduty``.
        open: the keys of alerts (``am:<fingerprint>``), or our ids of incidents.
        whole: this is all that is open there.
        origins: the external URLs by which its deliveries are known; () where all are its.
    """

    side: str
    open: frozenset[str]
    whole: bool
    origins: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one poll brought.

    ``bodies``: each on its own for :attr:`Poller.source`. ``asked``: the sources whose senders were asked
    whether they send to us, ``off``: those that do not; a source that is asked and not off is well.
    """

    bodies: Sequence[bytes] = ()
    asked: frozenset[str] = frozenset()
    off: Sequence[SwitchedOff] = ()
    survey: Survey | None = None


@runtime_checkable
class Poller(Protocol):
    """One thing that is asked from time to time, to hear of what its notifications lost.

    Keeps no promise about what was told before: it may hand over the same thing each
    time, since event ids are derived and count once.
    """

    @property
    def kind(self) -> str:
        """The name under which it is watched: ``argocd_api``."""

    @property
    def source(self) -> str:
        """The kind of the source whose ``parse`` reads what was fetched; no secret is asked of it."""

    async def fetch(self) -> Fetched:
        """Return what there is to tell.

        Raises:
            PollFailed: it did not answer as it should; the text says what to do.
        """

    async def close(self) -> None:
        """Give back connections."""


#: The module-level ``build`` of a source's file; callable without arguments.
SourceFactory = Callable[[], Source]
#: The module-level ``build`` of a poller's file.
PollerFactory = Callable[[PollerContext], Poller]
