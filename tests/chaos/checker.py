"""What must hold after any history of crashes. Pure; test_checker.py plants faults that it must catch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """What was offered and accepted, what the router shows, what PagerDuty was told (in order)."""

    offered: set[str] = field(default_factory=set)  # fingerprint-like names of alerts
    accepted: set[str] = field(default_factory=set)
    incidents: list[dict[str, Any]] = field(default_factory=list)  # whole incidents, as the API shows them
    pages: list[dict[str, Any]] = field(default_factory=list)  # PagerDuty events in order of processing
    depths: dict[str, int] = field(default_factory=dict)

    def name(self, alert: dict[str, Any]) -> str:
        return alert["labels"]["instance"]


def check(h: History) -> list[str]:
    """Return every violation, in words; none is good."""
    out: list[str] = []
    shown: Counter[str] = Counter()
    for incident in h.incidents:
        shown.update({h.name(a) for a in incident["alerts"]})
    out += [f"lost: {a} was accepted and is in no incident" for a in sorted(h.accepted - set(shown))]
    out += [f"doubled: {a} is in {n} incidents" for a, n in sorted(shown.items()) if n > 1]
    out += [f"made up: {a} was never offered" for a in sorted(set(shown) - h.offered)]
    out += _pages(h)
    out += [
        f"left over: {n} in {what}" for what, n in h.depths.items() if what not in {"open", "timers"} and n
    ]
    return out


def _pages(h: History) -> list[str]:
    out: list[str] = []
    state: dict[str, str] = {}
    opened: Counter[str] = Counter()
    for event in h.pages:
        key, action = event["dedup_key"], event["event_action"]
        if action == "trigger" and state.get(key) not in {"triggered", "acknowledged"}:
            opened[key] += 1
            state[key] = "triggered"
        elif action == "resolve":
            if key not in state:
                out.append(f"order: {key} was resolved before it was triggered")
            state[key] = "resolved"
    known = {i["id"]: i for i in h.incidents}
    out += [
        f"unknown: PagerDuty was told of {k}, which the router does not know"
        for k in sorted(set(state) - set(known))
    ]
    out += [f"twice: {k} opened {n} incidents at PagerDuty" for k, n in sorted(opened.items()) if n > 1]
    for key, incident in known.items():
        told = state.get(key, "nothing")
        if incident["state"] == "resolved":
            if told == "triggered":
                out.append(f"open for ever: {key} is resolved, PagerDuty still shows it")
        elif told != "triggered":
            out.append(f"not paged: {key} is {incident['state']}, PagerDuty was told {told}")
    return out
