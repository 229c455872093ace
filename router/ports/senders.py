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
    """What a poller's ``build`` is given: a clock, and the settings it may read, by name in lower case."""

    clock: Clock
    settings: Mapping[str, str]


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

    async def fetch(self) -> Sequence[bytes]:
        """Return bodies for that source, each on its own.

        Raises:
            PollFailed: it did not answer as it should; the text says what to do.
        """

    async def close(self) -> None:
        """Give back connections."""


#: The module-level ``build`` of a source's file; callable without arguments.
SourceFactory = Callable[[], Source]
#: The module-level ``build`` of a poller's file.
PollerFactory = Callable[[PollerContext], Poller]
