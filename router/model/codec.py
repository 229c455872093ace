"""JSON in and out of the store. Typed on the way in, compact on the way out.

A record that does not decode raises :class:`Undecodable`; it is never guessed
at, and never deleted by whoever could not read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from router.model.blames import Onset
from router.model.deploys import Ledger
from router.model.errors import RouterError
from router.model.events import Stored
from router.model.incidents import Entry, Incident, Member
from router.model.silences import Silence

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Undecodable(RouterError):  # noqa: N818  a state of the record
    """Stored bytes that this release cannot read."""


_encoder: Final = msgspec.json.Encoder()
encode: Final[Callable[[Any], bytes]] = _encoder.encode


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    decode = msgspec.json.Decoder(kind).decode

    def call(raw: bytes) -> Any:
        try:
            return decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise Undecodable(str(exc)[:200]) from exc

    return call


incident: Final[Callable[[bytes], Incident]] = _decoder(Incident)
member: Final[Callable[[bytes], Member]] = _decoder(Member)
ledger: Final[Callable[[bytes], Ledger]] = _decoder(Ledger)
entry: Final[Callable[[bytes], Entry]] = _decoder(Entry)
stored: Final[Callable[[bytes], Stored]] = _decoder(Stored)
onset: Final[Callable[[bytes], Onset]] = _decoder(Onset)
silence: Final[Callable[[bytes], Silence]] = _decoder(Silence)
