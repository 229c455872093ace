"""Blocking calls in a bounded number of threads, each with a deadline.

For libraries that cannot be awaited. A call that runs past its deadline goes on in
its thread, since nothing can stop it; so a second call for the same thing is
refused until the first has ended: the two could overtake each other.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class NotStarted(Exception):  # noqa: N818  a state of the call
    """The call was surely not made; the text says why."""


class Threads:
    """At most ``count`` blocking calls at once, each waited for at most ``timeout_s``, queueing included."""

    def __init__(self, count: int, name: str, timeout_s: float) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._timeout_s = timeout_s
        self._running: dict[str, Future[Any]] = {}

    async def run(self, what: str, call: Callable[..., T], *args: Any) -> T:
        """Return what ``call(*args)`` returns.

        Raises:
            NotStarted: an earlier call for ``what`` goes on, no thread came free, or we are closed.
            TimeoutError: the call was made and its result is not known.
        """
        busy = self._running.get(what)
        if busy is not None and not busy.done():
            raise NotStarted("an earlier request for the same is still under way")
        try:
            future = self._pool.submit(call, *args)
        except RuntimeError as exc:
            raise NotStarted("closed") from exc
        self._running[what] = future
        future.add_done_callback(lambda done: self._forget(what, done))
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            if future.cancel():
                raise NotStarted(f"no thread came free within {self._timeout_s:g} s") from exc
            raise

    async def close(self) -> None:
        """Start no call any more; wait for those under way, at most one deadline long."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        left = [asyncio.wrap_future(f) for f in tuple(self._running.values()) if not f.done()]
        if left:
            await asyncio.wait(left, timeout=self._timeout_s)

    def _forget(self, what: str, done: Future[Any]) -> None:
        if self._running.get(what) is done:
            self._running.pop(what, None)
