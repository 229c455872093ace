"""What the tests of the pure core are made of: a small rulebook, alerts, reports, and a world to apply to."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec
from pydantic import BaseModel

from router.decide.decision import Decision, Snapshot, Timer
from router.decide.engine import decide
from router.decide.outlook import Outlook
from router.model import keys
from router.model.commands import Command, CommandKind
from router.model.deploys import Deploy, Ledger
from router.model.destinations import Destination, Lane
from router.model.events import (
    Alert,
    DeployPhase,
    DeployReport,
    Event,
    GroupAlerts,
    OriginKind,
    Review,
    ServiceDeploy,
    TimerDue,
    TimerKind,
)
from router.model.incidents import Incident
from router.rulebook.book import Receiver, Rulebook, Service, Target
from router.rulebook.catalogue import SEVERITIES, default_environments
from router.rulebook.tree import Route

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGE, CHAT, CHANGES = "ops/pagerduty/0", "ops/slack/0", "ops/changes/0"
GROUP = keys.group_key("root", {"alertname": "Slow"})


def after(minutes: float) -> datetime:
    """T0 and so many minutes."""
    return T0 + timedelta(minutes=minutes)


class Options(BaseModel):
    pass


def rulebook(*, wait: float = 0.0, targets: bool = True, receivers: bool = True) -> Rulebook:
    """One route, one receiver with a page, a chat and a change target, two services."""
    made = (
        Target(PAGE, "pagerduty", Lane.PAGE, Options()),
        Target(CHAT, "slack", Lane.CHAT, Options()),
        Target(CHANGES, "changes", Lane.REST, Options(), tells_changes=True),
    )
    return Rulebook(
        version="b1",
        root=Route("root", "ops", (), ("alertname",), timedelta(seconds=wait), continue_=False),
        receivers={"ops": Receiver("ops", made if targets else ())} if receivers else {},
        services={
            "shop": Service("shop", team="checkout", dependencies=("db",), receiver="ops"),
            "db": Service("db"),
        },
        environments=default_environments(),
        severities=SEVERITIES,
    )


def alert(
    name: str = "a",
    start: float = 0.0,
    end: float | None = None,
    severity: str = "warning",
    annotations: dict[str, str] | None = None,
    **labels: str,
) -> Alert:
    """An alert that began at minute ``start``; resolved where ``end`` is given."""
    return Alert(
        key=f"am:{name}",
        firing=end is None,
        labels={
            "alertname": "Slow",
            "pod": name,
            "severity": severity,
            "service": "shop",
            "env": "prod",
            **labels,
        },
        annotations=annotations if annotations is not None else {"summary": "slow"},
        starts_at=after(start),
        ends_at=None if end is None else after(end),
    )


def told(*alerts: Alert, at: float = 0.0, truncated: int = 0, route: str = "root") -> GroupAlerts:
    """One delivery for the group, received at minute ``at``."""
    return GroupAlerts(
        group=GROUP,
        route=route,
        labels={"alertname": "Slow"},
        alerts=list(alerts),
        received_at=after(at),
        source="alertmanager",
        truncated=truncated,
    )


def report(phase: DeployPhase = DeployPhase.SWITCHED, at: float = 0.0, **more: object) -> DeployReport:
    """One teller's word about the shop."""
    given: dict[str, object] = {
        "source": "gitlab",
        "event_id": "e",
        "origin_kind": OriginKind.SERVICE,
        "origin": "shop",
        "environment": "prod",
        **more,
    }
    return DeployReport(phase=phase, at=after(at), **given)


def placed(said: DeployReport, environment: str = "prod") -> ServiceDeploy:
    """The report, placed with the shop."""
    return ServiceDeploy(keys.service_key("shop"), "shop", environment, said, said.at)


def deploy(at: float, phase: DeployPhase = DeployPhase.SWITCHED, name: str = "1.0", **more: object) -> Deploy:
    """A deploy of the shop to prod that reached a phase at minute ``at``."""
    given: dict[str, object] = {"service": "shop", "environment": "prod", **more}
    given.setdefault("phases", {phase: after(at)})
    return Deploy(id=f"prod/{name}/1", names=(name,), tellers=("gitlab",), **given)


def ledgers(*deploys: Deploy) -> dict[str, Ledger]:
    """The deploys, by service."""
    names = {d.service for d in deploys}
    return {n: Ledger(n, tuple(d for d in deploys if d.service == n)) for n in names}


def applied(seen: Snapshot, out: Decision) -> Snapshot:
    """What is known once the decision was written."""
    if out.forget:
        return Snapshot(ledger=seen.ledger, ledgers=seen.ledgers, outlook=seen.outlook)
    members, past = {**seen.members, **out.members}, {**seen.past, **out.past}
    return dataclasses.replace(
        seen,
        incident=out.incident or seen.incident,
        members={k: m for k, m in members.items() if m is not None},
        past={n: h for n, h in past.items() if h is not None},
        ledger=out.ledger or seen.ledger,
    )


class World:
    """A group (or a ledger) to which events happen one after the other."""

    def __init__(self, book: Rulebook | None = None, seen: Snapshot | None = None) -> None:
        self.book = book or rulebook()
        self.seen = seen or Snapshot()
        self.out = Decision()
        self.timers: list[Timer] = []

    def does(self, event: Event, at: float | None = None) -> Decision:
        now = after(at) if at is not None else getattr(event, "received_at", T0)
        self.out = decide(event, self.seen, self.book, now)
        self.seen = applied(self.seen, self.out)
        self.timers += self.out.timers
        return self.out

    def tells(self, *alerts: Alert, at: float = 0.0) -> Decision:
        return self.does(told(*alerts, at=at))

    def commands(self, kind: CommandKind, at: float = 1.0, generation: int = 1) -> Decision:
        return self.does(Command(GROUP, generation, kind, "ann", after(at), f"{kind}{at}"), at)

    def wakes(self, kind: TimerKind, at: float = 1.0, generation: int = 1) -> Decision:
        return self.does(TimerDue(GROUP, generation, kind), at)

    def looks(self, at: float) -> Decision:
        """What surrounds the group has changed."""
        return self.does(Review(GROUP), at)

    def surrounds(self, outlook: Outlook) -> None:
        """Put the group into other surroundings."""
        self.seen = dataclasses.replace(self.seen, outlook=outlook)

    def timer(self, kind: TimerKind) -> datetime | None:
        """When a wake-up of that kind is wanted, as the last decision that said so has it."""
        return next(t.at for t in reversed(self.timers) if t.kind is kind)

    @property
    def head(self) -> Incident:
        assert self.seen.incident is not None
        return self.seen.incident

    def target(self, name: str = PAGE) -> Destination:
        return self.head.destinations[name]

    def delivers_all(self) -> None:
        """Every wish is confirmed, as if all drivers had answered."""
        done = {
            n: msgspec.structs.replace(d, have=d.want, have_version=d.want_version)
            for n, d in self.head.destinations.items()
        }
        head = msgspec.structs.replace(self.head, destinations=done)
        self.seen = with_head(self.seen, head)


def with_head(seen: Snapshot, head: Incident) -> Snapshot:
    """The same with another head."""
    return dataclasses.replace(seen, incident=head)


def words(out: Decision) -> set[str]:
    """The reasons of a decision."""
    return {str(r.why) for r in out.why}
