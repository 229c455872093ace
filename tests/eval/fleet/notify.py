"""Alertmanager as it is: groups, waits, intervals, repeats, peers; and what the network does to webhooks."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from tests.eval.fleet import wire
from tests.eval.fleet.faults import Firing
from tests.eval.fleet.knobs import Family
from tests.eval.fleet.rollouts import Sent

WAIT_S, INTERVAL_S, REPEAT_S = 30.0, 300.0, 4 * 3600.0
_GROUP_BY = ("alertname", "service", "env")


def notifications(firings: Iterable[Firing], rng: Random) -> list[Sent]:
    """Return what Alertmanager sends for these alerts."""
    groups: dict[tuple[str, ...], list[Firing]] = {}
    for f in firings:
        groups.setdefault(tuple(f.labels.get(name, "") for name in _GROUP_BY), []).append(f)
    out: list[Sent] = []
    for values, members in sorted(groups.items()):
        labels = {k: v for k, v in zip(_GROUP_BY, values, strict=True) if v}
        out += _group(labels, sorted(members, key=lambda f: (f.starts, f.labels.get("pod", ""))), rng)
    return out


def _group(labels: dict[str, str], members: list[Firing], rng: Random) -> list[Sent]:
    """Return the notifications of one group, which lives while an alert fires or its end is untold."""
    out: list[Sent] = []
    waiting = list(members)
    while waiting:
        flush, told, last = waiting[0].starts + WAIT_S, {}, 0.0
        mute_end = rng.random() < 0.02  # its end is never told
        live = waiting
        while True:
            known = [f for f in live if f.starts <= flush]
            now: dict[str, tuple[str, float]] = {}
            rows: list[dict[str, Any]] = []
            for f in known:
                name = wire.fingerprint(f.labels)
                firing = f.ends > flush
                if firing or (told.get(name, ("", 0.0))[1] == f.starts and told[name][0] == "firing"):
                    now[name] = ("firing" if firing else "resolved", f.starts)
                    rows.append(wire.alert(f.labels, f.says_s, f.starts, None if firing else f.ends))
            changed = any(told.get(k) != v for k, v in now.items())
            if rows and (changed or flush - last >= REPEAT_S):
                if not (mute_end and all(r["status"] == "resolved" for r in rows)):
                    out.append((flush, *wire.alertmanager(labels, rows, 0)))
                told |= now
                last = flush
            open_ = [f for f in live if f.ends > flush and f.starts <= flush]
            unsaid = [n for n, (status, _) in told.items() if status == "firing"]
            live = [
                f
                for f in live
                if f.ends > flush or told.get(wire.fingerprint(f.labels)) == ("firing", f.starts)
            ]
            if not open_ and not unsaid:
                waiting = live
                break
            flush += INTERVAL_S
    return out


def travel(sent: Iterable[Sent], family: Family, rng: Random) -> list[Sent]:
    """Return what arrives: some late, some twice, some never."""
    out: list[Sent] = []
    for at, path, headers, body in sorted(sent, key=lambda row: (row[0], row[1])):
        if rng.random() < family.lost:
            continue
        delay = rng.uniform(0.05, 1) + (rng.expovariate(1 / (60 * family.late)) if rng.random() < 0.3 else 0)
        out.append((at + delay, path, headers, body))
        if rng.random() < family.twice:
            out.append((at + delay + rng.uniform(1, 60), path, headers, body))
    return sorted(out, key=lambda row: (row[0], row[1]))
