"""The budgets of the design, and how far from each of them a run was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Budget:
    """One line of the table. ``value`` and ``bound`` are read from the results; KeyError: not measured."""

    name: str
    unit: str
    value: Callable[[Mapping[str, float]], float]
    bound: Callable[[Mapping[str, float]], float]
    at_least: bool = False


def _of(key: str, factor: float = 1.0) -> Callable[[Mapping[str, float]], float]:
    return lambda r: r[key] * factor


def _const(value: float) -> Callable[[Mapping[str, float]], float]:
    return lambda _: value


def _intake(size: str, what: str, share: float) -> Budget:
    name = f"intake, {size} per request, {what}" + (
        f" ({share:g} x Alertmanager)" if share != 1 else " (Alertmanager)"
    )
    value, bound = _of(f"router_{what}_{size}"), _of(f"alertmanager_{what}_{size}", share)
    return Budget(name, "alerts/s", value, bound, at_least=True)


def _growth(full: str, small: str) -> Callable[[Mapping[str, float]], float]:
    return lambda r: r[full] / r[small]


_KIB = _const(1024)
_OPENING = _growth("decide_open_us_full", "decide_open_us_one")
_JOINING = _growth("decide_join_us_full", "decide_join_us_empty")

BUDGETS = (
    *(_intake("64", what, 1) for what in ("fresh", "repeated")),
    *(_intake("10", what, 1) for what in ("fresh", "repeated")),
    *(_intake("1", what, 0.6) for what in ("fresh", "repeated")),
    Budget("webhook to commit, 64 per request", "alerts/s", _of("decided_64"), _const(10_000), at_least=True),
    Budget("webhook to commit, 10 per request", "alerts/s", _of("decided_10"), _const(10_000), at_least=True),
    Budget("webhook to commit, 1 per request", "alerts/s", _of("decided_1"), _const(3_000), at_least=True),
    Budget("webhook to PagerDuty, idle, p99", "ms", _of("page_idle_p99", 1000), _const(30)),
    Budget("the same amid a backlog, first page", "s", _of("page_backlog_first"), _const(1)),
    Budget("the same amid a backlog, p99", "s", _of("page_backlog_p99"), _const(2)),
    Budget("Redis memory per open alert, 10 per incident", "bytes", _of("redis_bytes_per_alert_10"), _KIB),
    Budget("Redis memory per open alert, 1 per incident", "bytes", _of("redis_bytes_per_alert_1"), _KIB),
    Budget("decide, opening an incident, full router", "us/alert", _of("decide_open_us_full"), _const(100)),
    Budget("decide, joining an incident, full router", "us/alert", _of("decide_join_us_full"), _const(100)),
    Budget("decide, opening: full router beside one service", "x", _OPENING, _const(1.3)),
    Budget("decide, joining: full router beside an empty one", "x", _JOINING, _const(1.3)),
    Budget("attribution, 100,000 deploys, one incident", "us", _of("attribute_us_p50"), _const(1000)),
    Budget("the same, slowest of a hundred", "us", _of("attribute_us_p99"), _const(1000)),
    *(
        Budget(f"routing, 1,000 routes, {shape}{at}", "us/alert", _of(f"route_us_{shape}{key}"), _const(100))
        for shape in ("exact", "regex", "nested")
        for at, key in (("", ""), (", slowest", "_slowest"))
    ),
    Budget("start to ready, embedded Redis", "s", _of("start_to_ready_s"), _const(2)),
    Budget("resident memory, idle", "MiB", _of("router_rss_mib"), _const(120)),
)  # fmt: skip


def judged(results: Mapping[str, float]) -> list[dict[str, object]]:
    """Return each budget with its value, its bound and whether it was kept; None where not measured."""
    out: list[dict[str, object]] = []
    for budget in BUDGETS:
        row: dict[str, object] = {
            "name": budget.name,
            "unit": budget.unit,
            "value": None,
            "bound": None,
            "ok": None,
        }
        try:
            row["value"] = value = budget.value(results)
            row["bound"] = bound = budget.bound(results)
            row["at_least"] = budget.at_least
            row["ok"] = value >= bound if budget.at_least else value <= bound
            row["ratio"] = value / bound
        except KeyError:
            pass
        out.append(row)
    return out


def table(results: Mapping[str, float]) -> str:
    """Return the budgets as a Markdown table, which is readable as it stands."""
    lines = ["| what | measured | budget | ratio | |", "|---|---|---|---|---|"]
    for row in judged(results):
        value, bound = _number(row["value"]), _number(row["bound"])
        sign = "" if row["bound"] is None else ">= " if row["at_least"] else "<= "
        ratio = "" if row["ok"] is None else f"{row['ratio']:.2f}"
        verdict = "not measured" if row["ok"] is None else "PASS" if row["ok"] else "MISSED"
        lines.append(f"| {row['name']} | {value} {row['unit']} | {sign}{bound} | {ratio} | {verdict} |")
    return "\n".join(lines)


def _number(value: object) -> str:
    if not isinstance(value, float | int):
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
