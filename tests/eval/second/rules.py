"""Alert rules: which kinds there are, who has which, and the labels of what they raise."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from random import Random
from typing import Final


@dataclass(frozen=True)
class Template:
    """A kind of alert.

    Args:
        name: the alertname.
        severity: usually.
        unit: what one alert is about: service, pod, instance, queue, mount or node.
        holds: the minutes of ``for`` that teams choose from.
        share: of the services that have it.
        change: how often a bad deploy shows like this, beside the other kinds.
        background: how often other faults do.
        blip: how often a restart does.
        cascade: how often a fault of a callee does.
        leak: how often a slow leak does.
        says: the summary; ``{}`` is the service.
    """

    name: str
    severity: str
    unit: str
    holds: tuple[int, ...]
    share: float
    change: float
    background: float
    blip: float
    cascade: float
    leak: float
    says: str


# fmt: off
TEMPLATES: Final = (
    #        name               severity    unit        for, min     share change back blip casc leak
    Template("HighErrorRate", "critical", "service", (0, 1, 2, 5), 1.0, 40, 18, 3, 5, 1, "{} answers errors"),
    Template("HighLatencyP99", "warning", "service", (2, 5, 10), 0.9, 25, 18, 1, 6, 2, "{} is slow at p99"),
    Template("PodCrashLooping", "critical", "pod", (0, 2, 5, 10), 0.9, 16, 9, 1, 0, 3, "pods of {} crash"),
    Template("PodRestarting", "warning", "pod", (0, 1), 1.0, 4, 6, 5, 0, 3, "a pod of {} restarted"),
    Template("TargetDown", "critical", "instance", (0, 1, 3, 5), 0.8, 4, 12, 4, 0, 0, "{} cannot be scraped"),
    Template("QueueBacklog", "warning", "queue", (5, 10), 0.35, 5, 12, 0, 1, 1, "a queue of {} grows"),
    Template("MemoryNearLimit", "warning", "pod", (5, 10), 0.6, 3, 8, 0, 0, 12, "{} is short of memory"),
    Template("CPUThrottling", "warning", "pod", (5, 10), 0.5, 3, 8, 0, 0, 1, "{} is throttled"),
    Template("DiskFilling", "warning", "mount", (5, 10), 0.25, 1, 9, 0, 0, 3, "a volume of {} fills up"),
    Template("CertificateExpiry", "warning", "service", (0, 10), 0.12, 0, 4, 0, 0, 0, "{} needs a new cert"),
    Template("ErrorBudgetBurn", "critical", "service", (2, 5), 0.4, 12, 6, 0, 3, 0, "{} burns its budget"),
    Template("DependencyErrors", "warning", "service", (1, 2, 5), 0.4, 2, 5, 0, 5, 0, "calls by {} fail"),
)
#: About what no service owns.
NODE_DOWN: Final = Template("NodeDown", "critical", "node", (1,), 0.0, 0, 0, 0, 0, 0, "a node is gone")
# fmt: on


@dataclass(frozen=True)
class Rule:
    """An alert rule as one team has it.

    Args:
        template: of which kind.
        hold_s: its ``for``: so long the condition must hold before the alert fires.
        severity: the label.
        tells_hold: the annotations name ``for``.
        lacks: the label that was forgotten, "" for none.
    """

    template: Template
    hold_s: float
    severity: str
    tells_hold: bool
    lacks: str = ""

    def annotations(self, service: str) -> dict[str, str]:
        """Return what people read."""
        found = {
            "summary": self.template.says.format(service or "the cluster"),
            "runbook_url": f"https://runbooks.example.com/{self.template.name.lower()}",
        }
        if self.tells_hold:
            found["for"] = f"{self.hold_s / 60:.0f}m" if self.hold_s else "0s"
        return found


#: Of the cluster's own team.
NODE_RULE: Final = Rule(NODE_DOWN, 60.0, "critical", tells_hold=False)


def draw_rules(rng: Random, unlabelled: float) -> tuple[Rule, ...]:
    """Draw the rules of one service."""
    rules = []
    for template in TEMPLATES:
        if rng.random() >= template.share:
            continue
        severity = template.severity if rng.random() < 0.85 else rng.choice(("warning", "critical"))
        lacks = rng.choice(("service", "env")) if rng.random() < unlabelled else ""
        hold_s = 60.0 * rng.choice(template.holds)
        rules.append(Rule(template, hold_s, severity, rng.random() < 0.5, lacks))
    return tuple(rules)


def _digest(*parts: object) -> str:
    return sha1("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def place(service: str, rule: Rule, version: str, number: int) -> dict[str, str]:
    """Return the labels of one pod, instance, queue or volume: the same for the same number and version."""
    unit, digest = rule.template.unit, _digest(service, version, number)
    if unit == "pod":
        suffix = "".join(chr(ord("a") + int(c, 16)) for c in digest[:5])
        return {"pod": f"{service}-{_digest(service, version)[:9]}-{suffix}", "container": "app"}
    if unit == "instance":
        return {
            "instance": f"10.{int(digest[:2], 16)}.{int(digest[2:4], 16)}.{number + 10}:8080",
            "job": service,
        }
    if unit == "queue":
        return {"queue": f"{service}-{('events', 'jobs', 'retries')[number % 3]}"}
    if unit == "mount":
        return {"persistentvolumeclaim": f"data-{service}-{number}", "mountpoint": "/var/lib/data"}
    if unit == "node":
        return {"node": f"ip-10-4-{number % 200}-{(number * 7) % 250}"}
    return {}


def fingerprint(labels: dict[str, str]) -> str:
    """Return Prometheus' fingerprint of a label set: FNV-1a, 64 bits, over the sorted labels."""
    found = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in f"{name}\xff{labels[name]}\xff".encode("latin-1"):
            found = ((found ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{found:016x}"
