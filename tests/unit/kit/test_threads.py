"""Blocking calls in bounded threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from router.kit.threads import NotStarted, Threads


async def test_result_and_exception_come_back() -> None:
    """What a call returns or raises reaches the caller."""
    threads = Threads(1, "t", timeout_s=5)
    assert await threads.run("a", int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run("a", int, "x")
    await threads.close()


async def test_late_call_is_told_from_one_never_made() -> None:
    """A call past its deadline is a timeout; one without a thread, or whose like goes on, was not made."""
    threads, gate = Threads(1, "t", timeout_s=0.05), threading.Event()
    with pytest.raises(TimeoutError):
        await threads.run("a", gate.wait, 10)
    with pytest.raises(NotStarted, match="still under way"):
        await threads.run("a", int, "1")
    with pytest.raises(NotStarted, match="no thread came free"):
        await threads.run("b", int, "1")
    gate.set()
    await threads.close()


async def test_closed_starts_nothing() -> None:
    """After close no call is made; close waits for those under way, at most one deadline."""
    threads, gate = Threads(1, "t", timeout_s=0.05), threading.Event()
    task = asyncio.get_running_loop().create_task(threads.run("a", gate.wait, 10))
    await asyncio.wait([task])
    assert isinstance(task.exception(), TimeoutError)
    async with asyncio.timeout(5):
        await threads.close()
    with pytest.raises(NotStarted, match="closed"):
        await threads.run("b", int, "1")
    gate.set()
