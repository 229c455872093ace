"""Routing alone: which of 1,000 routes take an alert, asked with labels never seen before.

Three shapes of a tree: an exact matcher each, a regular expression each, and ten by ten by ten routes of
both kinds. ``slowest`` is the worst of the measured alerts, each the best of three, one that no route takes
among them.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from router.app import load_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from router.rulebook.book import Rulebook

ROUTES = 1_000


def measure(say: Callable[[str], None], *, short: bool) -> dict[str, float]:
    """Return microseconds per alert, mean and slowest, for each shape of tree."""
    count = 100 if short else ROUTES
    out: dict[str, float] = {}
    for name, routes, labels in (
        ("exact", _exact(), _service),
        ("regex", _regex(), _service),
        ("nested", _nested(), _place),
    ):
        mean, slowest = _timed(_book(routes), [labels(n) for n in range(ROUTES)] + [{}], count)
        out[f"route_us_{name}"], out[f"route_us_{name}_slowest"] = mean, slowest
        say(f"routing, {ROUTES} routes, {name}: {mean:.1f} us per alert, the slowest {slowest:.1f} us")
    return out


def _timed(book: Rulebook, alerts: list[dict[str, str]], count: int) -> tuple[float, float]:
    taken: list[float] = []
    for n, labels in enumerate(alerts[:count] + alerts[-1:]):
        best = float("inf")
        for turn in range(3):
            fresh = labels | {"pod": f"web-{n}-{turn}"}
            started = time.perf_counter()
            book.route(fresh)
            best = min(best, time.perf_counter() - started)
        taken.append(best * 1e6)
    return sum(taken) / len(taken), max(taken)


def _book(routes: list[dict[str, Any]]) -> Rulebook:
    with tempfile.TemporaryDirectory() as folder:
        rules = {"route": {"receiver": "r", "routes": routes}, "receivers": [{"name": "r"}]}
        (Path(folder) / "rules.yaml").write_text(json.dumps(rules))
        return load_rules(Path(folder))


def _exact() -> list[dict[str, Any]]:
    return [{"name": f"r{n}", "matchers": [f'service="svc-{n}"', 'severity!="none"']} for n in range(ROUTES)]


def _regex() -> list[dict[str, Any]]:
    return [{"name": f"r{n}", "matchers": [f'service=~"svc-{n}(-.+)?"']} for n in range(ROUTES)]


def _nested() -> list[dict[str, Any]]:
    return [
        {
            "name": f"c{a}",
            "matchers": [f'cluster=~"c{a}|c-{a}-.+"'],
            "routes": [
                {
                    "name": f"n{b}",
                    "matchers": [f'namespace="n{b}"'],
                    "routes": [{"name": f"s{c}", "matchers": [f'service=~"s{c}-.*"']} for c in range(10)],
                }
                for b in range(10)
            ],
        }
        for a in range(10)
    ]


def _service(n: int) -> dict[str, str]:
    return {"alertname": "Slow", "service": f"svc-{n}", "severity": "warning"}


def _place(n: int) -> dict[str, str]:
    return {"cluster": f"c{n // 100}", "namespace": f"n{n // 10 % 10}", "service": f"s{n % 10}-x"}
