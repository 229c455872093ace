"""From the webhook to the request that PagerDuty gets: idle, and amid a backlog with a Slack that hangs.

The stand-ins run in this process, so that both ends are read from one CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from tests.bench import load, processes
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.slack import TOKEN, FakeSlack

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

RULES = {
    "routes.yaml": """
route:
  receiver: chat
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: 0s
  routes:
    - name: critical
      receiver: oncall
      matchers: ['severity="critical"']
""",
    "receivers.yaml": """
receivers:
  - name: chat
    slack_configs:
      - channel: "C0ALERTS"
  - name: oncall
    pagerduty_configs:
      - routing_key_env: BENCH_ROUTING_KEY
""",
}
_PAGE = re.compile(r"page-(\d+)-x")
_PAUSE_S = 0.02  # between the pages that are posted amid the backlog


class Pager(FakePagerDuty):
    """A PagerDuty that notes when each page arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, float] = {}
        self.news = asyncio.Event()

    async def handle(self, path: str, request: web.Request, body: bytes) -> web.Response:
        """Note the time before anything else is done."""
        now = time.monotonic()
        found = _PAGE.search(body.decode("utf-8", "replace"))
        if found is not None:
            self.at.setdefault(int(found.group(1)), now)
            self.news.set()
        return await super().handle(path, request, body)

    async def page(self, n: int, seconds: float) -> float:
        """Return when page ``n`` arrived, waiting for it at most so long."""
        try:
            async with asyncio.timeout(seconds):
                while n not in self.at:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            raise processes.Failure(f"page {n} did not arrive within {seconds:g} s") from None
        return self.at[n]


async def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return latencies in seconds, and how deep the backlog was."""
    out: dict[str, float] = {}
    async with Pager() as pager, FakeSlack() as slack:
        env = {
            "BENCH_ROUTING_KEY": "R0UT1NGKEY0000000000000000000000",
            "ROUTER_SLACK_BOT_TOKEN": TOKEN,
            "ROUTER_PAGERDUTY_EVENTS_URL": pager.url,
            "ROUTER_SLACK_API_URL": slack.url,
        }
        async with processes.router(RULES, **env) as router:
            out |= await _idle(router, pager, 20 if short else 300)
            p50, p99 = out["page_idle_p50"] * 1000, out["page_idle_p99"] * 1000
            say(f"page, idle: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        pager.at.clear()
        slack.hang()
        try:
            async with processes.router(RULES, **env) as router:
                out |= await _backlog(router, pager, 5_000 if short else 100_000, 10 if short else 50)
        finally:
            slack.release()
    say(
        f"page amid {out['backlog_undecided']:,.0f} undecided and {out['backlog_due']:,.0f} untold: "
        f"first {out['page_backlog_first']:.2f} s, p99 {out['page_backlog_p99']:.2f} s"
    )
    return out


def _request(n: int) -> bytes:
    shape = load.Shape(1, 1, f"p{n}", "critical", service=lambda _: f"page-{n}-x")
    return load.router_requests(load.batches(shape))[0]


async def _idle(router: processes.Router, pager: Pager, count: int) -> dict[str, float]:
    took = []
    for n in range(count + 5):
        driven = await load.drive(router.port, [_request(n)], 1)
        at = await pager.page(n, 10)
        if n >= 5:  # the first ones open connections
            took.append(at - driven.started)
    return {"page_idle_p50": quantile(took, 0.5), "page_idle_p99": quantile(took, 0.99)}


async def _backlog(router: processes.Router, pager: Pager, alerts: int, pages: int) -> dict[str, float]:
    # 10 alerts per group, 60 per request: so many incidents wait for Slack, too.
    shape = load.Shape(alerts, 60, "b", by_request=False, service=lambda n: f"svc-{n // 10}")
    driven = await load.drive(router.port, load.router_requests(load.batches(shape)))
    if driven.failed:
        raise processes.Failure(f"{driven.failed} requests failed: {driven.example}")
    begun: dict[int, float] = {}
    running: list[Any] = []
    async with asyncio.TaskGroup() as group:
        for n in range(pages):
            begun[n] = time.monotonic()
            running.append(group.create_task(load.drive(router.port, [_request(n)], 1)))
            if n == 0:
                running.append(group.create_task(router.depths()))
            await asyncio.sleep(_PAUSE_S)  # the pace of the load, which is what is measured
    depths = running[1].result()
    took = [await pager.page(n, 60) - at for n, at in begun.items()]
    later = await router.depths()
    return {
        "page_backlog_first": took[0],
        "page_backlog_p50": quantile(took, 0.5),
        "page_backlog_p99": quantile(took, 0.99),
        "backlog_undecided": depths["inbox_normal"],
        "backlog_due": later["due"],
    }


def quantile(values: list[float], q: float) -> float:
    """Return the value below which a share ``q`` lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]
