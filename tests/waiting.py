"""Waiting for a named condition: the only place where tests and measurements look again after a while."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class NotYet(Exception):  # noqa: N818  a state of the condition
    """It did not come true in its time: which condition, and its last value."""


async def until(condition: Callable[[], Any], what: str, seconds: float = 15.0, every: float = 0.01) -> Any:
    """Return the condition's first true value; it is a callable, maybe async.

    Raises:
        NotYet: it was not true within ``seconds``.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if loop.time() >= end:
            raise NotYet(f"not within {seconds:g} s: {what} (last: {value!r})")
        await asyncio.sleep(every)  # between two looks at the condition
