"""About a delivery beside its events: how its sender takes answers, and what may be kept.

Facts of the table in docs/reference/sources.md, "What we answer"; each source states its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Kept of every delivery. A list of what may stay, not of what must go: senders let users add headers of
#: their own (GitLab twenty), and any of those may be a secret.
_HARMLESS: Final = frozenset({"content-type", "user-agent"})
_MOST_HEADER: Final = 300


class Manners(msgspec.Struct, frozen=True):
    """How a sender takes our answers.

    Args:
        unreadable: what to answer to an authentic body that cannot be read: 400 where the
            sender tells somebody and sends it again, 202 where it would drop the event or switch
            us off. Either way the delivery goes to the dead letters.
        accepted: what to answer when all is well; Slack shows nothing but to a 200.
        methods: how it sends.
        why_not: what makes it send by another method, and what to do; a clause.
        keeps: names of headers, in lower case, that tell about the delivery and hold no secret.
        delivery: headers that may hold the delivery's id, the best first.
        gives_up_after: answers other than 2xx in a row after which it sends no more; 0: it never stops.
        revive: what a person does to have it send again; a sentence.
    """

    unreadable: int = 400
    accepted: int = 202
    methods: tuple[str, ...] = ("POST",)
    why_not: str = ""
    keeps: tuple[str, ...] = ()
    delivery: tuple[str, ...] = ()
    gives_up_after: int = 0
    revive: str = ""

    def kept(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers that may be stored and shown: no secret, no signature, nothing unknown."""
        names = _HARMLESS.union(self.keeps, self.delivery)
        return {n: v[:_MOST_HEADER] for n, v in headers.items() if n in names}

    def delivery_id(self, headers: Mapping[str, str]) -> str:
        """Return the id that the sender gave the delivery, or ""."""
        return next((headers[n][:_MOST_HEADER] for n in self.delivery if headers.get(n)), "")


class Reply(msgspec.Struct, frozen=True):
    """What a source wants answered in place of the usual words."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
