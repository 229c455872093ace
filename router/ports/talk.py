"""What answers people who ask in a chat: after the delivery was taken, and never before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from router.model.silences import Silence
from router.ports.clock import Clock
from router.ports.web import Reader


@runtime_checkable
class Asking(Protocol):
    """A notifier whose vendor's API can be asked for more than messages; optional."""

    async def ask(self, method: str, args: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        """Return (error code or "", answer). Never raises for the vendor's failure."""


class Silencer(Protocol):
    """Makes silences."""

    async def make(self, matchers: str, length: timedelta, by: str, comment: str) -> Silence:
        """Make one from now on; returns once it is stored and in force here.

        Raises:
            Rejected: with what is wrong.
            StoreUnavailable: nothing was made.
        """


@dataclass(frozen=True, slots=True)
class TalkContext:
    """What a talker's ``build`` is given.

    ``ask``: its vendor's API, as :class:`Asking`. ``explain``: why an incident stands as it stands
    (:func:`router.decide.explaining.incident`), None where there is none. ``timeout_s``: for one call.
    """

    clock: Clock
    settings: Mapping[str, str]
    reader: Reader
    silencer: Silencer
    ask: Callable[[str, Mapping[str, Any]], Awaitable[tuple[str, Mapping[str, Any]]]]
    explain: Callable[[str, int], Awaitable[Mapping[str, Any] | None]]
    timeout_s: float = 5.0


class Talker(Protocol):
    """One chat in which people ask. Never raises for what they wrote, nor for the vendor's failure."""

    @property
    def kind(self) -> str:
        """The source whose deliveries it answers."""

    async def follow(self, body: bytes, *, acted: bool) -> None:
        """Answer what a delivery asks, which is authentic and was taken; the rest of it is done elsewhere.

        ``acted``: it asked something of an incident, so that it is worth waiting for what that comes to.
        """

    async def close(self) -> None:
        """Give back connections."""


#: The module-level ``build`` of a talker's file.
TalkerFactory = Callable[[TalkContext], Talker]
