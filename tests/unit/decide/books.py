"""A small rulebook, and a group that events are played against as production does it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from router.decide import engine, placing
from router.decide.decision import Decision, Snapshot
from router.model.deploys import Ledger
from router.model.destinations import Lane
from router.model.events import Alert, AlertBatch, Event, Severity
from router.model.incidents import Incident, Member
from router.rulebook.book import Receiver, Rulebook, Service, Target
from router.rulebook.tree import Route

T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Options(BaseModel):
    """No options."""


def book(wait: timedelta = timedelta(0)) -> Rulebook:
    targets = (
        Target("r/page/0", "page", Lane.PAGE, Options(), tells_changes=True),
        Target("r/chat/0", "chat", Lane.CHAT, Options()),
    )
    root = Route("root", "r", (), ("alertname",), wait, continue_=False)
    services = [Service("pay", team="payments", dependencies=("cust",), receiver="r"), Service("cust")]
    return Rulebook(
        version="v1",
        root=root,
        receivers={"r": Receiver("r", targets)},
        services={s.name: s for s in services},
        environments={"production": "prod", "prod": "prod"},
        severities={s.value: s for s in Severity},
    )


def alert(name: str = "a", *, firing: bool = True, start: float = 0, end: float = 1, **labels: str) -> Alert:
    """Return an alert; ``start`` and ``end`` are minutes after T0."""
    starts = T0 + timedelta(minutes=start)
    known = {"alertname": "X", "instance": name, "service": "pay", "env": "prod", "severity": "warning"}
    return Alert(
        key=f"am:{name}", firing=firing, labels=known | labels, annotations={"summary": "s"},
        starts_at=starts, ends_at=None if firing else T0 + timedelta(minutes=end),
    )  # fmt: skip


class Group:
    """One group in memory: applies decisions as ``work`` does."""

    def __init__(self, rules: Rulebook | None = None) -> None:
        self.book = rules or book()
        self.head: Incident | None = None
        self.members: dict[str, Member] = {}
        self.past: dict[int, Incident] = {}
        self.ledgers: dict[str, Ledger] = {}

    def play(self, event: Event, minutes: float = 0) -> Decision:
        seen = Snapshot(self.head, self.members, self.past, None, self.ledgers)
        out = engine.decide(event, seen, self.book, T0 + timedelta(minutes=minutes))
        self.head = out.incident or self.head
        for key, member in out.members.items():
            self.members.pop(key, None) if member is None else self.members.__setitem__(key, member)
        for number, old in out.past.items():
            self.past.pop(number, None) if old is None else self.past.__setitem__(number, old)
        return out

    def tell(self, *alerts: Alert, minutes: float = 0) -> Decision:
        now = T0 + timedelta(minutes=minutes)
        (placed,) = placing.place([AlertBatch("alertmanager", list(alerts))], self.book, now)
        return self.play(placed.event, minutes)

    def counted(self) -> tuple[int, int]:
        """Return (firing, resolved) as the member table says."""
        assert self.head is not None
        mine = [m for m in self.members.values() if m.generation == self.head.generation]
        return sum(m.alert.firing for m in mine), sum(not m.alert.firing for m in mine)
