"""A plain learned yardstick: a conditional logit over the deploys near an incident, and "none of them".

It is given the true list of deploys, with true times, and is trained on other seeds than it is judged on.
It is part of the evaluation alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from tests.eval.cases import Case, Deploy, Ranking, World
from tests.eval.scoring import Judge

_WINDOW = timedelta(hours=2)
_SKEW = timedelta(minutes=2)
_TOGETHER = timedelta(minutes=4)
_ROUNDS, _PENALTY = 60, 1.0


class Yardstick:
    """The fitted model."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def judge(self) -> Judge:
        """Return the model as a judge."""

        def judge(world: World, case: Case) -> Ranking:
            near = _near(world, case)
            if not near:
                return ()
            scores = _features(world, case, near) @ self.weights
            odds = np.exp(np.minimum(scores, 30))
            chances = odds / (1 + odds.sum())
            ranked = sorted(zip(near, chances, strict=True), key=lambda each: (-each[1], each[0].id))
            return tuple((d.id, float(p)) for d, p in ranked[:3])

        return judge


def fit(worlds: Sequence[World]) -> Yardstick | None:
    """Return the model that fits these scenarios, None where nothing can be learned."""
    rows = []
    for world in worlds:
        for case in world.cases:
            near = _near(world, case)
            if near:
                cause = case.cause.id if case.cause is not None else None
                hit = next((i for i, d in enumerate(near) if d.id == cause), None)
                rows.append((_features(world, case, near), hit))
    if not any(hit is not None for _, hit in rows):
        return None
    weights = np.zeros(rows[0][0].shape[1])
    for _ in range(_ROUNDS):
        step = np.linalg.solve(_curvature(rows, weights), _slope(rows, weights))
        weights = weights + step
        if float(np.abs(step).max()) < 1e-6:
            break
    return Yardstick(weights)


def _chances(features: Any, weights: Any) -> Any:
    odds = np.exp(np.clip(features @ weights, -30, 30))
    return odds / (1 + odds.sum())


def _slope(rows: Sequence[tuple[Any, int | None]], weights: Any) -> Any:
    total = -_PENALTY * weights
    for features, hit in rows:
        total = total - features.T @ _chances(features, weights)
        if hit is not None:
            total = total + features[hit]
    return total


def _curvature(rows: Sequence[tuple[Any, int | None]], weights: Any) -> Any:
    total = _PENALTY * np.eye(len(weights))
    for features, _ in rows:
        p = _chances(features, weights)
        total = total + features.T @ (np.diag(p) - np.outer(p, p)) @ features
    return total


def _near(world: World, case: Case) -> list[Deploy]:
    callees = world.hops.get(case.service, {})
    return [
        d for d in world.deploys
        if d.observed and (d.service == case.service or d.service in callees)
        and (d.environment == case.environment or not d.environment or not case.environment)
        and case.onset - _WINDOW <= d.at <= case.onset + _SKEW
    ]  # fmt: skip


def _features(world: World, case: Case, near: Sequence[Deploy]) -> Any:
    callees = world.hops.get(case.service, {})
    lasted = (case.ended - case.onset).total_seconds() / 60 if case.ended is not None else 120.0
    before = sum(c.service == case.service and c.opened < case.opened for c in world.cases)
    first = min(c.opened for c in world.cases)
    days = max(0.2, (case.opened - first).total_seconds() / 86_400)
    rows = []
    for d in near:
        reached = {n for n, needs in world.hops.items() if d.service in needs} | {d.service}
        others = {
            c.service for c in world.cases
            if c.service not in reached and c.service not in callees
            and c.service != case.service and abs(c.onset - case.onset) <= _TOGETHER
        }  # fmt: skip
        fails = any(
            c.service == d.service and c.id != case.id and abs(c.onset - case.onset) <= timedelta(minutes=10)
            for c in world.cases
        )
        hops = callees.get(d.service, 0) if d.service != case.service else 0
        since = (case.onset - d.at).total_seconds() / 60
        rows.append([
            1.0, hops == 0, hops == 1, hops >= 2, math.log1p(max(0.0, since)), since < 0,
            math.log1p(lasted), lasted > 5, min(4, len(others)), fails and hops > 0,
            math.log1p(before / days), math.log(len(near)), not d.environment,
        ])  # fmt: skip
    return np.array(rows, dtype=float)
