"""Answers to people who ask in a chat, after their delivery was answered: bounded, and never in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from router.model.events import Act, ActKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.kit.tasks import Tasks
    from router.model.events import Told
    from router.ports import Talker

log = structlog.get_logger(__name__)

#: By feel: more people than that do not ask at once; an answer takes a few seconds at most.
MOST: Final = 50


class Talking:
    """The talkers by kind; answers are given in tasks of their own."""

    def __init__(self, talkers: Mapping[str, Talker], tasks: Tasks) -> None:
        self._talkers, self._tasks, self._under_way = talkers, tasks, 0

    def taken(self, source: str, body: bytes, told: Sequence[Told]) -> None:
        """A delivery was taken: answer what it asks, if anybody answers there."""
        talker = self._talkers.get(source)
        if talker is None:
            return
        if self._under_way >= MOST:
            log.warning("answer_left_out", source=source, why=f"{MOST} are being given already")
            return
        self._under_way += 1
        acted = any(isinstance(t, Act) and t.kind is not ActKind.OTHER for t in told)
        self._tasks.start(f"talk-{source}", self._follow(talker, body, acted=acted))

    async def _follow(self, talker: Talker, body: bytes, *, acted: bool) -> None:
        try:
            await talker.follow(body, acted=acted)
        except Exception:
            log.exception("answer_failed", source=talker.kind)
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Give back connections."""
        for talker in self._talkers.values():
            await talker.close()
