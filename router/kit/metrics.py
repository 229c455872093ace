"""The product's own metrics, in the mixin manner; one registry, made once per process.

Labels are closed sets (kinds, reasons, lanes): never a value that a sender chose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from collections.abc import Mapping

_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters and gauges by what they count."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        n = "incident_router"
        self.deliveries_in = Counter(
            f"{n}_webhooks", "Webhook deliveries by answer", ["source", "code"], registry=r
        )
        self.rejected = Counter(
            f"{n}_webhooks_rejected", "Refused deliveries by reason", ["source", "reason"], registry=r
        )
        self.problems = Counter(
            f"{n}_http_problems", "Answers of any path that are problems, by code", ["code"], registry=r
        )
        self.secret_index = Counter(
            f"{n}_webhook_secret",
            "Authentic deliveries by which secret matched",
            ["source", "index"],
            registry=r,
        )
        self.events = Counter(f"{n}_events", "Events at the door", ["source", "fate"], registry=r)
        self.intake_seconds = Histogram(f"{n}_intake_seconds", "Door to durable", registry=r, buckets=_FAST)
        self.decisions = Counter(f"{n}_decisions", "Reasons given by decisions", ["why"], registry=r)
        self.decided = Counter(f"{n}_decided_events", "Events decided and committed", registry=r)
        self.commits = Counter(f"{n}_commits", "Commits by result", ["result"], registry=r)
        self.decide_failures = Counter(f"{n}_decide_failures", "Events that a decision failed on", registry=r)
        self.dead = Counter(f"{n}_dead_letters", "Dead letters by kind", ["kind"], registry=r)
        self.dead_full = Counter(
            f"{n}_dead_letters_full", "Commits that pushed dead letters out", ["what"], registry=r
        )
        self.notifications = Counter(f"{n}_notifications", "Attempts to tell", ["integration"], registry=r)
        self.failed = Counter(
            f"{n}_notifications_failed", "Attempts that failed", ["integration", "reason"], registry=r
        )
        self.unsure = Counter(
            f"{n}_notifications_unsure", "Attempts whose answer was lost", ["integration"], registry=r
        )
        self.notify_seconds = Histogram(
            f"{n}_notification_latency_seconds", "One attempt", ["integration"], registry=r, buckets=_FAST
        )
        self.template_failures = Counter(
            f"{n}_template_failures", "Templates of rules that could not be rendered", registry=r
        )
        self.queue = Gauge(f"{n}_delivery_queue", "Destinations waiting to be told", ["lane"], registry=r)
        self.depth = Gauge(f"{n}_store_depth", "What waits in the store", ["what"], registry=r)
        self.partitions = Gauge(f"{n}_partitions_owned", "Partitions that this process holds", registry=r)
        self.heard = Gauge(
            f"{n}_sender_last_heard_timestamp_seconds", "Last authentic delivery", ["source"], registry=r
        )
        self.captures = Gauge(f"{n}_captures", "Who listens to deliveries now", registry=r)
        self.polls = Counter(f"{n}_polls", "Polls of APIs by result", ["poller", "result"], registry=r)
        self.reconciled = Counter(
            f"{n}_reconciled", "Stuck incidents that were mended", ["kind", "action"], registry=r
        )
        self.verdicts = Counter(
            f"{n}_attribution_verdicts", "People's words on deploys, by whether we suspected them",
            ["verdict", "suspected"], registry=r,
        )  # fmt: skip
        self.calibration = Histogram(
            f"{n}_attribution_probability", "How likely a deploy was thought that people judged then",
            ["verdict"], registry=r, buckets=[n / 10 for n in range(1, 11)],
        )  # fmt: skip
        self.brier = Counter(
            f"{n}_attribution_squared_error", "Of these probabilities; over the verdicts: Brier", registry=r
        )
        self.senders_wrong = Gauge(
            f"{n}_senders_in_trouble", "Senders that are silent, turned away or unreadable", registry=r
        )
        self.store_up = Gauge(f"{n}_store_up", "1 while the store answers", registry=r)
        self.rules_at = Gauge(
            f"{n}_config_last_reload_success_timestamp_seconds", "When rules were last loaded", registry=r
        )
        self.rules_ok = Gauge(
            f"{n}_config_last_reload_successful", "1 if the rules in force are the newest", registry=r
        )
        self.build = Gauge(f"{n}_build_info", "The running release", ["version"], registry=r)

    def decided_for(self, reasons: Mapping[str, int]) -> None:
        """Count the reasons of decisions."""
        for why, n in reasons.items():
            self.decisions.labels(why).inc(n)

    def judged(self, word: tuple[float, bool, bool] | None) -> None:
        """Count a person's word on a deploy: (probability, confirmed, suspected); None: there was none.

        Precision, recall and calibration are made from these.
        """
        if word is None:
            return
        probability, confirmed, suspected = word
        verdict = "confirmed" if confirmed else "refuted"
        self.verdicts.labels(verdict, "yes" if suspected else "no").inc()
        self.calibration.labels(verdict).observe(probability)
        self.brier.inc((probability - confirmed) ** 2)

    def page(self) -> bytes:
        """Return the exposition text."""
        return generate_latest(self.registry)
