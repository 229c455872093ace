"""What all partitions have in common: silences, what inhibits, and the rules in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from router.model.blames import Onset


class Surroundings(Protocol):
    """The store of what surrounds every group. Every method raises StoreUnavailable without an answer."""

    async def inhibitors(self, partitions: Sequence[int]) -> dict[int, dict[str, str]]:
        """Return what inhibits, by partition, in the fields of :attr:`Batch.inhibits`."""

    async def inhibitor_counts(self) -> list[str]:
        """Return a word for each partition that changes with what inhibits there."""

    async def onsets(self, since: datetime | None) -> list[Onset]:
        """Return what opened in any partition since then (of the last day), in no order."""

    async def silences(self) -> dict[str, bytes]:
        """Return all silences, encoded, by id."""

    async def put_silences(self, changes: Mapping[str, bytes | None]) -> None:
        """Write silences, or drop them (None); each one is atomic by itself, the last word counts."""

    async def put_report(self, report: bytes) -> None:
        """Write what the reconciler found; kept for an hour."""

    async def report(self) -> bytes:
        """Return what the reconciler found last, b"" where it has not looked lately."""

    async def rules(self, seen: str = "") -> tuple[str, bytes]:
        """Return the version and content of the rules in force; ("", b"") where none were published.

        The content is left out (b"") where the version is the one ``seen``.
        """

    async def publish_rules(self, version: str, content: bytes) -> None:
        """Put rules in force for every process."""
