"""From spawn to ready with the embedded server, and what an idle router holds in memory."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import processes
from tests.waiting import NotYet, until

if TYPE_CHECKING:
    from collections.abc import Callable

#: So many looks in a row must show the same.
LOOKS = 10


async def _at_rest(one: processes.Router) -> float:
    """Return what it holds in memory once that does not grow any more: what is loaded late shows, too."""
    seen = [0.0]

    def steady() -> bool:
        seen.append(one.resident_mib())
        return len(seen) > LOOKS and seen[-1] == seen[-LOOKS]

    with contextlib.suppress(NotYet):  # then the most is what it holds
        await until(steady, "its memory is steady", 5, every=0.05)
    return max(seen)


async def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return seconds to ready (the median of a few empty starts) and resident MiB."""
    took, resident = [], 0.0
    for _ in range(1 if short else 5):
        with tempfile.TemporaryDirectory(prefix="ir-bench-") as folder:
            rules = {"routes.yaml": processes.ROUTES, "receivers.yaml": processes.RECEIVERS}
            one = processes.Router(Path(folder), rules, {})
            try:
                took.append(await one.start())
                resident = max(resident, await _at_rest(one))
            finally:
                await one.stop()
    out = {"start_to_ready_s": sorted(took)[len(took) // 2], "router_rss_mib": resident}
    say(f"start to ready: {out['start_to_ready_s']:.2f} s, resident {resident:.0f} MiB")
    return out
