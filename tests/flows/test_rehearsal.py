"""A rehearsal and a running router are given the same, and end in the same: what tests of rules stand on."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from router.demo import LASTS_MIN, Story
from router.model.commands import CommandKind
from router.model.destinations import Want
from router.work.rehearsal import Rehearsal
from tests.conftest import wait_for
from tests.flows.harness import Client, alert, body, client, environ, iso, running, write_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from datetime import datetime
    from pathlib import Path

    from router.app import App
    from router.demo import Delivery
    from router.model.incidents import Incident
    from tests.fakes.pagerduty import FakePagerDuty

RULES = {
    "routes.yaml": """
route:
  receiver: everybody
  group_by: [alertname, service]
  group_wait: 0s
  group_interval: 0s
  routes:
    - name: payments
      receiver: payments
      matchers: ['service="payment-service"', 'alertname!="Node"']
      continue: true
      notify:
        - receiver: managers
          when: {severity: [critical], size: '>=3'}
    - name: rest
      receiver: everybody
inhibit_rules:
  - name: node down
    source_matchers: ['alertname="Node"']
    target_matchers: ['alertname!="Node"', 'severity!="critical"']
    equal: [env]
deploy_holds:
  - {name: quiet, matchers: ['alertname!="Node"'], lease: 10m, max: 30m}
""",
    # No slack: its pace, a message a second, would only make this slow.
    "receivers.yaml": """
receivers:
  - name: everybody
    pagerduty_configs: [{routing_key_env: TEST_ROUTING_KEY}]
    log_configs: [{}]
  - name: payments
    pagerduty_configs: [{routing_key_env: TEST_ROUTING_KEY}]
  - name: managers
    log_configs: [{}]
""",
}


def shown(heads: Iterable[Incident]) -> dict[str, Any]:
    """What must be the same of all incidents, by id."""
    return {
        h.id: {
            "state": h.state,
            "severity": h.severity,
            "counts": (h.firing, h.resolved, h.muted, h.by_severity),
            "receivers": (h.receiver, h.also),
            "labels": h.labels,
            "suspects": [(s.service, s.version, [r.why for r in s.reasons]) for s in h.suspects],
            "muted": h.muted_by,
            "by": (h.acknowledged_by, h.resolved_by, h.snoozed_until, h.assigned_to, h.merged_into),
            "told": {name: (d.want, d.have, d.dead) for name, d in h.destinations.items()},
        }
        for h in heads
    }


class Both:
    """A router and a rehearsal to which the same happens."""

    def __init__(self, app: App, c: Client) -> None:
        self.app, self.c = app, c
        self.began = app.clock.now()  # of this test, not of the run: a hold's lease may end before its turn
        self.world = Rehearsal(app.book, self.began)

    def records(self) -> list[Any]:
        return [r for p in self.app.engine.partitions.values() for r in p.groups.values()]

    def heads(self) -> list[Incident]:
        return [r.head for r in self.records() if r.head is not None]

    async def told(self, kind: str, body: Any, **headers: str) -> None:
        raw = json.dumps(body).encode()
        self.world.advance(self.app.clock.now())
        self.world.told(self.app.drivers.sources[kind].parse({k.lower(): v for k, v in headers.items()}, raw))
        status, answer = await self.c.post(f"/webhooks/{kind}", raw, headers=headers)
        assert status == 202, answer
        await wait_for(self.decided, "it is decided, and nobody waits for a first word")

    async def alerts(self, *alerts: dict[str, Any]) -> None:
        await self.told("alertmanager", body(*alerts))

    async def deploys(self, deliveries: Iterable[Delivery]) -> None:
        for d in deliveries:
            event = {"X-Gitlab-Event": d.headers["X-Gitlab-Event"]} if d.kind == "gitlab" else {}
            await self.told(d.kind, d.body, **event)

    async def asked(self, kind: CommandKind, head: Incident, by: str, **words: Any) -> None:
        mine = next(h for h in self.world.incidents() if h.id == head.id)
        self.world.command(kind, mine, by, **words)
        if "until" in words:
            words["until"] = iso(words["until"])
        status, answer = await self.c.post(f"/api/v1/incidents/{head.id}/{kind}", {"by": by, **words})
        assert status == 202, answer
        await wait_for(self.decided, "it is decided")

    async def silenced(self, **labels: str) -> None:
        wish = {
            "matchers": [{"name": k, "value": v, "isRegex": False} for k, v in labels.items()],
            "startsAt": iso(self.began), "endsAt": iso(self.began + timedelta(hours=2)),
            "createdBy": "ana", "comment": "x",
        }  # fmt: skip
        status, _ = await self.c.post("/api/v1/silences", wish)
        assert status in {200, 201}
        self.world.advance(self.app.clock.now())
        for quiet in self.app.lookout.outlook.silences:
            self.world.silence(quiet.silence)
        await wait_for(self.decided, "it is decided")

    async def decided(self) -> bool:
        wishes = [d for h in self.heads() for d in h.destinations.values()]
        first = any(d.due and d.have is Want.NOTHING for d in wishes)
        _, status = await self.c.get("/api/v1/status")
        waits = status["depths"]["inbox_urgent"] or status["depths"]["inbox_normal"]
        notices = any(
            led.noticed < led.seen for p in self.app.engine.partitions.values() for led in p.ledgers.values()
        )
        return not (waits or first or notices) and self.app.engine.idle

    async def same(self) -> None:
        """Both show the same, earlier generations and deploys included."""
        await wait_for(self.c.settled, "all is told")
        assert shown(self.heads()) == shown(self.world.incidents())
        mine = shown(h for r in self.records() for h in r.past.values())
        theirs = shown(h for r in self.world._partition.groups.values() for h in r.past.values())
        # The router may keep one more: a message is edited once a second, and what is due is not dropped.
        assert theirs == {name: each for name, each in mine.items() if name in theirs}
        ledgers = {k: v for p in self.app.engine.partitions.values() for k, v in p.ledgers.items()}
        assert {led.service: [d.id for d in led.deploys] for led in ledgers.values()} == {
            led.service: [d.id for d in led.deploys] for led in self.world._partition.ledgers.values()
        }


@pytest.fixture
async def both(tmp_path: Path, pagerduty: FakePagerDuty) -> AsyncIterator[Both]:
    write_rules(tmp_path / "rules", RULES)
    env = environ(tmp_path, ROUTER_PAGERDUTY_EVENTS_URL=pagerduty.url)
    async with running(env) as app, client(app.port) as c:
        yield Both(app, c)


async def test_the_story_of_a_bad_deploy_ends_the_same(both: Both, pagerduty: FakePagerDuty) -> None:
    """A deploy told by two senders, alerts told by a pair, an act, the end: the same pages and incidents."""
    story = Story(both.began)
    await both.deploys([*story.deploy(), *story.deploy()])
    for delivery in story.alerts():
        await both.told(delivery.kind, delivery.body)
    await both.asked(CommandKind.ACKNOWLEDGE, both.heads()[0], "ana")
    end = story.end()
    await both.told(end.kind, end.body)
    await both.same()
    assert {h.state for h in both.heads()} == {"resolved"}
    wants = [s.want for s in both.world.sent if s.kind == "pagerduty"]
    actions = {"triggered": "trigger", "acknowledged": "acknowledge", "resolved": "resolve"}
    assert sorted(actions[w] for w in wants) == sorted(e.action for e in pagerduty.events)


async def test_a_deploy_told_late_ends_the_same(both: Both) -> None:
    """Where the deploy is told after the alerts, both find the suspect, and tell it."""
    story = Story(both.began)
    for delivery in story.alerts():
        await both.told(delivery.kind, delivery.body)
    await both.deploys(story.deploy())
    await both.same()
    assert all(h.suspects for h in both.heads())


async def test_what_is_muted_ends_the_same(both: Both) -> None:
    """An inhibition that comes and goes, and a silence, keep both from telling the same people."""
    at = both.began - timedelta(minutes=10)
    await both.alerts(alert("Node", at=at, service="nodes", env="prod", severity="critical"))
    await both.alerts(
        alert("Slow", at=at, severity="warning"), alert("Errors", at=at, env="test", severity="warning")
    )
    assert {h.state for h in both.heads() if h.labels["alertname"] == "Slow"} == {"suppressed"}
    await both.same()
    await both.alerts(
        alert("Node", status="resolved", at=at, service="nodes", env="prod", severity="critical")
    )
    await both.same()
    await both.silenced(alertname="Slow")
    await both.silenced(alertname="Late")
    await both.alerts(alert("Late", at=at, severity="warning"))
    await both.same()
    assert {h.state for h in both.heads() if h.labels["alertname"] == "Late"} == {"suppressed"}


async def test_what_is_held_ends_the_same(both: Both) -> None:
    """While its own service is being deployed a warning is held, and its digest waits as long in both."""
    story = Story(both.began + timedelta(minutes=LASTS_MIN))  # its deploy runs since nine minutes
    await both.deploys(list(story.deploy())[2:3])
    at = both.began - timedelta(minutes=1)
    await both.alerts(alert("Slow", at=at, severity="warning"), alert("Errors", at=at, severity="critical"))
    await both.alerts(alert("Slow", status="resolved", at=at, minutes=0.5, severity="warning", pod="b"))
    await both.same()
    assert {str(h.state) for h in both.heads()} == {"held", "waiting", "triggered"}
    waits = [{h.id: h.wait_until for h in heads} for heads in (both.heads(), both.world.incidents())]
    assert waits[0] == waits[1]


def drawn(rng: random.Random, heads: list[Incident], now: datetime) -> dict[str, Any]:
    """Return an act of ana's on one of these."""
    head, kind = rng.choice(heads), rng.choice(list(CommandKind))
    others = [h.id for h in heads if h is not head]
    if kind is CommandKind.MERGE and not others:
        kind = CommandKind.RESOLVE
    words: dict[str, Any] = {
        CommandKind.SNOOZE: {"until": now + timedelta(hours=2)},
        CommandKind.ASSIGN: {"to": rng.choice(["bo", "cy"])},
        CommandKind.NOTE: {"note": "the disk is full"},
        CommandKind.MERGE: {"to": rng.choice(others or [""])},
    }.get(kind, {})
    return {"kind": kind, "head": head, "by": "ana", **words}


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_is_told_ends_the_same(both: Both, seed: int) -> None:
    """Fifty deliveries and acts drawn at random: alerts that fire, end and come again, muted or not."""
    rng = random.Random(seed)
    began: dict[tuple[str, ...], datetime] = {}
    for step in range(50):
        if rng.random() < 0.1 and (heads := [h for h in both.heads() if h.state.open]):
            await both.asked(**drawn(rng, sorted(heads, key=lambda h: h.id), both.began))
            continue
        told = []
        for _ in range(rng.randint(1, 4)):
            name = rng.choice(["Node", "Slow", "Errors"])
            severity = rng.choice(["critical", "warning", "none"])
            labels = {"severity": severity, "env": rng.choice(["prod", "test"]), "pod": rng.choice("ab")}
            which = (name, *labels.values())
            if any(which == other for other, _ in told):
                continue
            fires = rng.random() < 0.65
            at = began.setdefault(which, both.began - timedelta(minutes=60 - step))
            status = "firing" if fires else "resolved"
            told.append((which, alert(name, status=status, at=at, minutes=0.5, **labels)))
            if not fires:
                del began[which]
        await both.alerts(*(each for _, each in told))
    await both.same()
    assert len(both.world.sent) > 20
