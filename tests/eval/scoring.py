"""Scores of rankings, decisions, probabilities, grouping and time. None where nothing can be said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from random import Random
from statistics import mean, quantiles
from typing import Any

from tests.eval.cases import Case, Ranking, World

#: How somebody judges a case: the deploys with their probabilities, the likeliest first.
Judge = Callable[[World, Case], Ranking]
LATER = (5, 10, 15)
BINS = 10


def product(after: timedelta | None = None) -> Judge:
    """Return the product as a judge: what it thought in the end, or so long after an incident opened."""
    return lambda _, case: case.at(after)


def judged(worlds: Sequence[World], judge: Judge) -> list[tuple[Case, Ranking]]:
    """Return every case with its ranking."""
    return [(case, judge(world, case)) for world in worlds for case in world.cases]


def score(pairs: Sequence[tuple[Case, Ranking]], threshold: float) -> dict[str, Any]:
    """Return how good rankings and decisions are."""
    ours = [(c, r) for c, r in pairs if c.observable]
    changed = [c for c, _ in pairs if c.cause is not None]
    ranks = [_rank(c, r) for c, r in ours]
    decided = [(c, r[0][0]) for c, r in pairs if r and r[0][1] >= threshold]
    right = [c for c, d in decided if c.cause is not None and d == c.cause.id]
    unrelated = [c for c, _ in pairs if c.cause is None]
    false = sum(c.cause is None for c, _ in decided)
    found = sum(c.observable for c in right)
    return {
        "incidents": len(pairs),
        "change_caused": len(changed),
        "observable": len(ours),
        "unrelated": len(unrelated),
        "candidates": _mean([len(c.near) for c, _ in pairs]),
        "top1": _share(sum(r == 1 for r in ranks), len(ranks)),
        "top3": _share(sum(0 < r <= 3 for r in ranks), len(ranks)),
        "mrr": _mean([1 / r if r else 0.0 for r in ranks]),
        "precision": _share(len(right), len(decided)),
        "recall": _share(found, len(ours)),
        "recall_of_all": _share(len(right), len(changed)),
        "abstention": _share(len(pairs) - len(decided), len(pairs)),
        "false_per_100_unrelated": _share(100 * false, len(unrelated)),
        "wrong_deploy": len(decided) - len(right) - false,
    }


def _rank(case: Case, ranking: Ranking) -> int:
    """Return the place of the right deploy, 0 where it is not named."""
    assert case.cause is not None
    return next((i for i, (d, _) in enumerate(ranking, 1) if d == case.cause.id), 0)


def calibration(pairs: Sequence[tuple[Case, Ranking]]) -> dict[str, Any]:
    """Return Brier's score of the first suspect's probability, and how often each tenth was right."""
    told = [(r[0][1], c.cause is not None and r[0][0] == c.cause.id) for c, r in pairs if r]
    rows = []
    for n in range(BINS):
        here = [(p, hit) for p, hit in told if n == min(BINS - 1, int(p * BINS))]
        rows.append(
            {
                "from": n / BINS,
                "count": len(here),
                "said": _mean([p for p, _ in here]),
                "was": _mean([h for _, h in here]),
            }
        )
    return {"brier": _mean([(p - hit) ** 2 for p, hit in told]), "suspects": len(told), "reliability": rows}


def curve(pairs: Sequence[tuple[Case, Ranking]]) -> list[dict[str, Any]]:
    """Return precision and recall over the threshold."""
    rows = []
    for n in range(5, 100, 5):
        found = score(pairs, n / 100)
        kept = {k: found[k] for k in ("precision", "recall", "false_per_100_unrelated")}
        rows.append({"threshold": n / 100, **kept})
    return rows


def grouping(worlds: Sequence[World]) -> dict[str, Any]:
    """Return incidents for each fault, faults for each incident, and pages for each fault and team."""
    by_fault: dict[tuple[str, str], list[Case]] = {}
    for world in worlds:
        for case in world.cases:
            by_fault.setdefault((world.name, case.fault.id), []).append(case)
    pages: dict[tuple[str, str, str], int] = {}
    for (name, fault), cases in by_fault.items():
        for c in cases:
            key = (name, fault, c.team)
            pages[key] = pages.get(key, 0) + c.paged
    return {
        "incidents_per_fault": _mean([len(v) for v in by_fault.values()]),
        "faults_per_incident": _mean([c.faults for w in worlds for c in w.cases]),
        "pages_per_fault_and_team": _mean(list(pages.values())),
        "unknown_incidents": sum(w.unknown for w in worlds),
    }


def latency(worlds: Sequence[World]) -> dict[str, Any]:
    """Return how long until the first suspect is the one of the end and stays, in minutes; and flips."""
    stable, flips = [], []
    for case in (c for w in worlds for c in w.cases if c.observable):
        tops = [(at, r[0][0] if r else None) for at, r in case.said]
        if not tops:
            continue
        flips.append(sum(a[1] != b[1] for a, b in pairwise(tops)))
        since = tops[-1][0]
        for at, top in reversed(tops):
            if top != tops[-1][1]:
                break
            since = at
        stable.append((since - case.opened).total_seconds() / 60)
    spread = quantiles(stable, n=20) if len(stable) > 1 else stable * 20
    return {
        "to_stable_p50_min": round(spread[9], 2) if stable else None,
        "to_stable_p95_min": round(spread[18], 2) if stable else None,
        "flips": _mean(flips),
    }


def bootstrap(
    by_world: Mapping[str, Sequence[tuple[Case, Ranking]]], threshold: float, rounds: int = 1000
) -> dict[str, list[float] | None]:
    """Return 95 % intervals over the scenarios (not the incidents: those of one day hang together)."""
    names, rng = sorted(by_world), Random(20260302)
    if len(names) < 2:
        return {}
    wanted = ("top1", "top3", "precision", "recall", "false_per_100_unrelated")
    parts = {n: _counts(by_world[n], threshold) for n in names}
    drawn: dict[str, list[float]] = {w: [] for w in wanted}
    for _ in range(rounds):
        some = [parts[n] for n in rng.choices(names, k=len(names))]
        for w in wanted:
            over, under = sum(p[w][0] for p in some), sum(p[w][1] for p in some)
            if under:
                drawn[w].append(over / under)
    out: dict[str, list[float] | None] = {}
    for w, found in drawn.items():
        found.sort()
        out[w] = [round(found[int(q * (len(found) - 1))], 4) for q in (0.025, 0.975)] if found else None
    return out


def _counts(pairs: Sequence[tuple[Case, Ranking]], threshold: float) -> dict[str, tuple[float, float]]:
    """Return over and under of each share, so that shares of many scenarios are of their sums."""
    s = score(pairs, threshold)
    decided = sum(bool(r) and r[0][1] >= threshold for _, r in pairs)
    whole = {
        "top1": s["observable"], "top3": s["observable"], "recall": s["observable"],
        "precision": decided, "false_per_100_unrelated": s["unrelated"],
    }  # fmt: skip
    return {name: ((s[name] or 0.0) * n, float(n)) for name, n in whole.items()}


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _mean(found: Sequence[float]) -> float | None:
    return round(mean(found), 4) if found else None
