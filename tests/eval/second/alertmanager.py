"""Alertmanager's part: groups, their timers, what each notification lists, and its pair for availability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tests.eval.second.alerts import Occurrence
from tests.eval.second.week import Week
from tests.eval.second.when import DAY, HOUR, MINUTE, rfc
from tests.eval.second.wire import JSON, Webhook

GROUP_BY: Final[tuple[str, ...]] = ("alertname", "env", "service")
WAIT_S: Final = 30.0
INTERVAL_S: Final = 5 * MINUTE
REPEAT_S: Final = 4 * HOUR
#: So long the second of a pair waits for the first to have sent.
_PEER_S: Final = 15.0
_HEADERS: Final = {**JSON, "User-Agent": "Alertmanager/0.28.1"}
_ZERO: Final = "0001-01-01T00:00:00Z"


class Alertmanager:
    """A pair of Alertmanagers; in some hours gossip fails and both send."""

    def __init__(self, week: Week) -> None:
        self.week, rng = week, week.rng
        span = week.family.ha_hours * HOUR
        starts = [day * DAY + rng.uniform(0, DAY - span) for day in range(week.family.days)]
        self.apart = [(at, at + span) for at in starts] if span else []

    def notify(self, found: Sequence[Occurrence]) -> Iterator[Webhook]:
        """Yield what is sent of these firings."""
        groups: dict[tuple[tuple[str, str], ...], list[Occurrence]] = {}
        for each in found:
            key = tuple((name, each.labels[name]) for name in GROUP_BY if name in each.labels)
            groups.setdefault(key, []).append(each)
        for key, members in groups.items():
            for at, listed in self._flushes(members):
                yield self._webhook(at, dict(key), listed, 0)
                if any(a <= at < b for a, b in self.apart):
                    yield self._webhook(at + _PEER_S, dict(key), listed, 1)

    def _flushes(self, members: list[Occurrence]) -> Iterator[tuple[float, list[tuple[Occurrence, bool]]]]:
        """Yield when a group is sent and what it then lists, firing or not (dispatch and dedup stages)."""
        rng = self.week.rng
        waiting = sorted(((o.start + rng.uniform(0.2, 4), n, o) for n, o in enumerate(members)), reverse=True)
        group: list[Occurrence] = []
        told: set[Occurrence] = set()  # firing, and notified so
        last, tick = 0.0, 0.0
        while waiting or group:
            if not group:
                tick = waiting[-1][0] + WAIT_S
            if tick > self.week.end:
                return
            while waiting and waiting[-1][0] <= tick:
                group.append(waiting.pop()[2])
            group = [o for o in group if o.end > tick or o.resolves]  # the others vanish without a word
            firing = {o for o in group if o.end > tick}
            over = [o for o in group if o not in firing]
            news = firing - told or told.intersection(over) or (firing and tick - last >= REPEAT_S)
            if news:
                yield tick, [(o, o in firing) for o in group]
                last = tick
            told = set(firing)
            group = [o for o in group if o in firing]
            tick += INTERVAL_S

    def _webhook(
        self, at: float, labels: dict[str, str], listed: list[tuple[Occurrence, bool]], peer: int
    ) -> Webhook:
        alerts = sorted((self._alert(o, firing) for o, firing in listed), key=_order)
        named = ", ".join(f'{name}="{labels[name]}"' for name in sorted(labels))
        body = {
            "receiver": "incident-router",
            "status": "firing" if any(firing for _, firing in listed) else "resolved",
            "alerts": alerts,
            "groupLabels": labels,
            "commonLabels": _common([a["labels"] for a in alerts]),
            "commonAnnotations": _common([a["annotations"] for a in alerts]),
            "externalURL": f"http://alertmanager-{peer}.example.com:9093",
            "version": "4",
            "groupKey": f"{{}}:{{{named}}}",
            "truncatedAlerts": 0,
        }
        return Webhook(at, "alertmanager", dict(_HEADERS), body, alerts=[o for o, _ in listed])

    def _alert(self, one: Occurrence, firing: bool) -> dict[str, Any]:
        return {
            "status": "firing" if firing else "resolved",
            "labels": one.labels,
            "annotations": one.annotations,
            "startsAt": one.starts_at,
            "endsAt": _ZERO if firing else rfc(one.end),
            "generatorURL": f"http://prometheus.example.com/graph?g0.expr={one.labels['alertname']}&g0.tab=1",
            "fingerprint": one.key,
        }


def _order(alert: dict[str, Any]) -> tuple[Any, ...]:
    labels = alert["labels"]
    return (
        "job" not in labels,
        labels.get("job"),
        "instance" not in labels,
        labels.get("instance"),
        sorted(labels.items()),
    )


def _common(found: list[dict[str, str]]) -> dict[str, str]:
    """Return what all of them share."""
    first, *others = found
    return {name: value for name, value in first.items() if all(o.get(name) == value for o in others)}
