"""A webhook on its way, and the network between its sender and the router."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.eval.second.alerts import Occurrence
from tests.eval.second.family import Family
from tests.eval.second.week import Deploy
from tests.eval.second.when import rfc, uuid

JSON: Final = {"Content-Type": "application/json"}


@dataclass(eq=False)
class Webhook:
    """One request.

    Args:
        sent: when its sender sends it.
        source: gitlab, argocd or alertmanager.
        headers: of the request.
        body: the JSON object.
        names: deploys whose version it names.
        alerts: firings that it lists.
    """

    sent: float
    source: str
    headers: dict[str, str]
    body: dict[str, Any]
    names: Sequence[Deploy] = ()
    alerts: Sequence[Occurrence] = field(default=())


def deliver(rng: Random, family: Family, sent: Iterable[Webhook], until: float) -> list[dict[str, Any]]:
    """Return the lines of events.jsonl: what arrives, in that order; mark what it told of."""
    arrived: list[tuple[float, int, Webhook, dict[str, str]]] = []
    for hook in sorted(sent, key=lambda h: h.sent):
        if rng.random() < family.lost:
            continue
        at = hook.sent + _late(rng, family, hook.source)
        arrived.append((at, len(arrived), hook, hook.headers))
        if rng.random() < family.duplicated:
            headers = dict(hook.headers)
            if "Idempotency-Key" in headers and rng.random() < 0.5:  # a group's hook beside the project's
                headers["Idempotency-Key"] = uuid(rng)
            arrived.append((at + rng.uniform(0.5, 60), len(arrived), hook, headers))
    lines = []
    for at, _, hook, headers in sorted(arrived, key=lambda a: a[:2]):
        if not 0 <= at <= until:
            continue
        for deploy in hook.names:
            deploy.named = True
        for alert in hook.alerts:
            alert.delivered = True
        path = f"/webhooks/{hook.source}"
        lines.append({"at": rfc(at), "path": path, "headers": headers, "body": hook.body})
    return lines


def _late(rng: Random, family: Family, source: str) -> float:
    mean = family.late_s / 10 if source == "alertmanager" else family.late_s
    late = rng.expovariate(1 / mean)
    return late + rng.uniform(60, 600) if rng.random() < family.very_late else late
