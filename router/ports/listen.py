"""What hands over deliveries of a source by a connection that we open, instead of by HTTP to us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from router.ports.clock import Clock

#: Takes a delivery (headers in lower case, body) as the webhooks do; returns (status, body of the answer).
Take = Callable[[Mapping[str, str], bytes], Awaitable[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True)
class ListenContext:
    """What a listener's ``build`` is given: a clock, and settings it may read."""

    clock: Clock
    settings: Mapping[str, str]


class Listener(Protocol):
    """One connection to a vendor. Authenticity is the connection's: nothing is verified again."""

    @property
    def kind(self) -> str:
        """The source whose deliveries come over it."""

    @property
    def wanted(self) -> bool:
        """True where it is configured."""

    async def run(self, take: Take) -> None:
        """Listen until cancelled; connects again by itself whenever the connection is lost."""


#: The module-level ``build`` of a listener's file.
ListenerFactory = Callable[[ListenContext], Listener]
