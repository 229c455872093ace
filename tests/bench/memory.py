"""Redis memory per open alert, at many open alerts: in big incidents and in incidents of one alert each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench import intake, load, processes

if TYPE_CHECKING:
    from collections.abc import Callable


async def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return bytes per open alert, of all that Redis holds: the door's memory of versions included."""
    out: dict[str, float] = {}
    alerts = 5_000 if short else 100_000
    for each in (10, 1):
        async with processes.router() as router:
            before = await router.redis_memory()
            shape = load.Shape(
                alerts, 50, "m", by_request=False, service=lambda n, each=each: f"svc-{n // each}"
            )
            await intake.counted(router, shape)
            opened = (await router.depths())["open"]
            if opened != alerts // each:
                raise processes.Failure(f"{opened} incidents are open, not {alerts // each}")
            out[f"redis_bytes_per_alert_{each}"] = (await router.redis_memory() - before) / alerts
        found = out[f"redis_bytes_per_alert_{each}"]
        say(f"memory, {each} alert(s) per incident: {found:.0f} bytes per open alert")
    return out
