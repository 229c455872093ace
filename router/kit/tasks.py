"""Background tasks that somebody holds, supervises and ends.

A bare ``asyncio.create_task`` may be collected in flight and its exception
lost; so tasks start only here. A task that fails is logged once and, where it is
a loop that must live, started again after a pause.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = structlog.get_logger(__name__)


class Tasks:
    """A group of named tasks that end together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start ``work``; its failure is logged, not lost."""
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def keep(
        self, name: str, make: Callable[[], Coroutine[Any, Any, None]], pause_s: float = 1.0
    ) -> asyncio.Task[Any]:
        """Start a loop that must live: whenever it fails it is started again after ``pause_s``."""

        async def supervised() -> None:
            while True:
                try:
                    await make()
                except Exception:
                    log.exception("loop_failed", loop=name, again_in_s=pause_s)
                    await asyncio.sleep(pause_s)
                else:
                    return

        return self.start(name, supervised())

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), exc_info=exc)

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Cancel what still runs and wait for its end, at most ``timeout_s``."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
