"""From spawn to ready with the embedded server, and what an idle router holds in memory."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import processes

if TYPE_CHECKING:
    from collections.abc import Callable


async def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return seconds to ready (the median of a few empty starts) and resident MiB."""
    took, resident = [], 0.0
    for _ in range(1 if short else 5):
        with tempfile.TemporaryDirectory(prefix="ir-bench-") as folder:
            rules = {"routes.yaml": processes.ROUTES, "receivers.yaml": processes.RECEIVERS}
            one = processes.Router(Path(folder), rules, {})
            try:
                took.append(await one.start())
                await asyncio.sleep(0.5)  # what is loaded late shows, too
                resident = max(resident, one.resident_mib())
            finally:
                await one.stop()
    out = {"start_to_ready_s": sorted(took)[len(took) // 2], "router_rss_mib": resident}
    say(f"start to ready: {out['start_to_ready_s']:.2f} s, resident {resident:.0f} MiB")
    return out
