"""The pipeline in memory: what is told, in which order, and that time and repeats are production's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from router.model.commands import CommandKind
from router.model.destinations import Lane, Want
from router.model.events import (
    Act,
    ActKind,
    Alert,
    AlertBatch,
    DeployPhase,
    DeployReport,
    Heartbeat,
    OriginKind,
)
from router.model.incidents import Incident
from router.model.silences import Silence, SilenceMatcher
from router.ports import IncidentJob, NotifierContext, NotifierSpec
from router.rulebook.load import load
from router.work.rehearsal import MOST_ROUNDS, Rehearsal, TooMuch

T0 = datetime(2026, 3, 2, 10, tzinfo=UTC)


class Options(BaseModel):
    """Nothing can be set."""


def _never(context: NotifierContext) -> Any:
    raise AssertionError("a rehearsal makes no notifier")


def _render(job: IncidentJob) -> Mapping[str, Any]:
    return {"title": job.title or job.incident.title, "n": len(job.members), "changed": list(job.changed)}


KINDS = {
    "page": NotifierSpec("page", Lane.PAGE, Options, _never, tells_changes=True, render=_render),
    "chat": NotifierSpec("chat", Lane.CHAT, Options, _never),
}
RULES = """
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 0s
  group_interval: 0s
  routes:
    - {name: slow, receiver: ops, matchers: ['alertname="Slow"'], group_wait: 30s, group_interval: 5m}
    - {name: lonely, receiver: nobody, matchers: ['alertname="Lonely"']}
receivers:
  - {name: ops, page_configs: [{}], chat_configs: [{}]}
  - {name: nobody}
services:
  - {name: shop, dependencies: [db], receiver: ops}
  - {name: db}
inhibit_rules:
  - {name: node, source_matchers: ['alertname="Node"'], target_matchers: ['severity="warning"'], equal: [env]}
"""


def world(folder: Path, more: str = "") -> Rehearsal:
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "all.yaml").write_text(RULES + more)
    return Rehearsal(load(rules, KINDS), T0, KINDS)


def after(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def alert(name: str = "Errors", *, start: float = 0, end: float | None = None, **labels: str) -> Alert:
    known = {"alertname": name, "service": "shop", "env": "prod", "severity": "warning", **labels}
    ends = None if end is None else after(end)
    return Alert(f"am:{name}{sorted(labels.items())}", end is None, known, {}, after(start), ends)


def tell(w: Rehearsal, *alerts: Alert) -> int:
    return w.told([AlertBatch(source="alertmanager", alerts=list(alerts))])


def report(phase: DeployPhase, service: str = "shop") -> DeployReport:
    return DeployReport(
        "test", f"{service}{phase}", OriginKind.SERVICE, service, "prod", phase, T0, names=("1.2.0",)
    )


def silence(name: str, minutes: float = 60) -> Silence:
    return Silence("s", (SilenceMatcher("alertname", name),), T0, after(minutes), "ana", "x", T0)


def states(w: Rehearsal) -> dict[str, str]:
    return {h.labels["alertname"]: str(h.state) for h in w.incidents()}


def wants(w: Rehearsal, kind: str = "page") -> list[Want]:
    return [s.want for s in w.sent if s.kind == kind]


def one(w: Rehearsal) -> Incident:
    (head,) = w.incidents()
    return head


def test_an_alert_is_paged_and_its_end_told(tmp_path: Path) -> None:
    """Each destination is told once of the beginning and once of the end, with what would be sent."""
    w = world(tmp_path)
    tell(w, alert())
    w.advance(after(1))
    tell(w, alert(end=1))
    assert [(s.at, s.target, s.kind, s.receiver, s.want) for s in w.sent] == [
        (T0, "ops/page/0", "page", "ops", Want.TRIGGERED),
        (T0, "ops/chat/0", "chat", "ops", Want.TRIGGERED),
        (after(1), "ops/page/0", "page", "ops", Want.RESOLVED),
        (after(1), "ops/chat/0", "chat", "ops", Want.RESOLVED),
    ]
    assert w.sent[0].payload == {"title": "Errors", "n": 1, "changed": []}
    assert w.sent[2].payload["changed"]
    assert w.sent[1].payload == {}
    assert w.sent[0].incident == one(w).id
    assert states(w) == {"Errors": "resolved"}


def test_pages_come_before_messages_and_the_worst_first(tmp_path: Path) -> None:
    """Of what is told at one moment, the critical page is first and the chat last."""
    w = world(tmp_path)
    tell(w, alert("A"), alert("B", severity="critical"))
    assert [(s.kind, s.incident == w.incidents()[0].id) for s in w.sent] == [
        ("page", True), ("page", False), ("chat", True), ("chat", False),
    ]  # fmt: skip
    assert w.incidents()[0].labels["alertname"] == "B"  # what is urgent is decided first


def test_an_unchanged_repeat_stops_at_the_door(tmp_path: Path) -> None:
    """The same version counts once; after two days of silence it is looked at again, and changes nothing."""
    w = world(tmp_path)
    assert tell(w, alert()) == 1
    assert tell(w, alert()) == 0
    w.advance(T0 + timedelta(days=1))
    assert tell(w, alert()) == 0
    w.advance(T0 + timedelta(days=4))
    assert tell(w, alert()) == 1
    assert (one(w).generation, one(w).firing) == (1, 1)


def test_the_door_forgets_what_may_be_no_late_copy(tmp_path: Path) -> None:
    """A firing that came shortly after its end is looked at again when it is repeated."""
    w = world(tmp_path)
    tell(w, alert())
    w.advance(after(2))
    tell(w, alert(end=2))
    w.advance(after(4))
    assert tell(w, alert()) == 1
    assert states(w) == {"Errors": "resolved"}
    w.advance(after(10))
    assert tell(w, alert()) == 1
    assert states(w) == {"Errors": "triggered"}


def test_time_brings_what_was_planned_at_its_own_time(tmp_path: Path) -> None:
    """A group's wait ends when it ends, however far the time is moved at once."""
    w = world(tmp_path)
    tell(w, alert("Slow"))
    assert (states(w), w.sent) == ({"Slow": "waiting"}, [])
    w.advance(after(60))
    assert [s.at for s in w.sent] == [after(0.5), after(0.5)]
    assert w.now == after(60)
    w.advance(after(1))
    assert w.now == after(60)


def test_a_resolved_incident_is_forgotten_after_its_time(tmp_path: Path) -> None:
    """What is over is kept for the retention and dropped then."""
    w = world(tmp_path)
    tell(w, alert())
    tell(w, alert(end=0))
    w.advance(T0 + timedelta(days=6))
    assert len(w.incidents()) == 1
    w.advance(T0 + timedelta(days=8))
    assert w.incidents() == []


def test_an_incident_that_is_over_is_told_so_though_the_next_has_begun(tmp_path: Path) -> None:
    """The end of a generation and the beginning of the next, in one delivery, are both told."""
    w = world(tmp_path)
    tell(w, alert())
    w.advance(after(5))
    batches = [AlertBatch("alertmanager", [alert(end=4)]), AlertBatch("alertmanager", [alert(start=5)])]
    w.told(batches)
    assert [(s.incident.rpartition(".")[2], s.want) for s in w.sent if s.kind == "page"][1:] == [
        ("1", Want.RESOLVED), ("2", Want.TRIGGERED),
    ]  # fmt: skip


def test_what_inhibits_comes_first_in_one_delivery(tmp_path: Path) -> None:
    """A target that stands before its source in a delivery is muted all the same, and told once it ends."""
    w = world(tmp_path)
    tell(w, alert(), alert("Node", severity="critical"))
    assert states(w) == {"Node": "triggered", "Errors": "suppressed"}
    w.advance(after(5))
    tell(w, alert("Node", severity="critical", end=5))
    assert states(w) == {"Node": "resolved", "Errors": "triggered"}


def test_an_inhibition_lasts_as_long_as_one_source_fires(tmp_path: Path) -> None:
    """Of two sources the end of one changes nothing."""
    w = world(tmp_path)
    tell(w, alert("Node", severity="critical", pod="a"), alert("Node", severity="critical", pod="b"), alert())
    w.advance(after(1))
    tell(w, alert("Node", severity="critical", pod="a", end=1))
    assert states(w)["Errors"] == "suppressed"
    tell(w, alert("Node", severity="critical", pod="b", end=1))
    assert states(w)["Errors"] == "triggered"


def test_a_silence_is_in_force_at_once_and_ends_in_its_time(tmp_path: Path) -> None:
    """What is open is looked at again; what is silenced is told when the silence is over."""
    w = world(tmp_path)
    w.silence(silence("Errors"))
    tell(w, alert(), alert("Other"))
    assert states(w) == {"Errors": "suppressed", "Other": "triggered"}
    assert wants(w) == [Want.TRIGGERED]
    w.advance(after(61))
    assert states(w)["Errors"] == "triggered"
    assert w.sent[-1].at == after(60)
    w.silence(silence("Other", 120))
    assert next(h for h in w.incidents() if h.labels["alertname"] == "Other").muted_by == ("silence:s",)


def test_a_deploy_is_suspected_whenever_it_is_told(tmp_path: Path) -> None:
    """Before the alert it is there at once; after it, who is open, or depends on it, looks again."""
    w = world(tmp_path)
    w.told([report(DeployPhase.SWITCHED)])
    w.advance(after(1))
    tell(w, alert(start=1))
    assert [s.version for s in one(w).suspects] == ["1.2.0"]
    w.told([report(DeployPhase.LIVE, "db")])
    assert [s.service for s in one(w).suspects] == ["shop", "db"]
    ledger = w.ledger("shop")
    assert ledger is not None
    assert not ledger.due
    assert w.ledger("other") is None
    assert {s.incident for s in w.sent} == {one(w).id}  # of the deploys themselves nothing is recorded


@pytest.mark.parametrize(
    ("kind", "state", "want"),
    [
        (CommandKind.ACKNOWLEDGE, "acknowledged", Want.ACKNOWLEDGED),
        (CommandKind.RESOLVE, "resolved", Want.RESOLVED),
    ],
)
def test_a_person_acts(tmp_path: Path, kind: CommandKind, state: str, want: Want) -> None:
    """An act here changes the incident and is told; a second one is another event and changes nothing."""
    w = world(tmp_path)
    tell(w, alert())
    w.command(kind, one(w), "ana")
    w.command(kind, one(w), "ana")
    assert states(w) == {"Errors": state}
    assert wants(w) == [Want.TRIGGERED, want]


def test_an_act_elsewhere_and_a_heartbeat_are_told_like_anything(tmp_path: Path) -> None:
    """What a source hears goes the same way; what asks for nothing is nothing."""
    w = world(tmp_path)
    tell(w, alert())
    assert w.told([Act("pagerduty", "1", ActKind.ACKNOWLEDGED, one(w).id, "ana")]) == 1
    assert w.told([Heartbeat("gitlab", "ping")]) == 0
    assert states(w) == {"Errors": "acknowledged"}


def test_a_receiver_without_targets_tells_nobody(tmp_path: Path) -> None:
    """The incident is there, and nothing was sent."""
    w = world(tmp_path)
    tell(w, alert("Lonely"))
    assert (states(w), w.sent) == ({"Lonely": "triggered"}, [])


def test_without_kinds_nothing_is_rendered(tmp_path: Path) -> None:
    """What is sent is known all the same."""
    w = world(tmp_path)
    w = Rehearsal(w.book, T0)
    tell(w, alert())
    assert [s.payload for s in w.sent] == [{}, {}]


def test_held_alerts_are_told_by_their_digest(tmp_path: Path) -> None:
    """What is held goes on to the digest's group, which is told as one when the deploy is over."""
    w = world(tmp_path, "deploy_holds: [{name: quiet, lease: 10m, max: 20m}]\n")
    w.told([report(DeployPhase.STARTED)])
    w.advance(after(1))
    tell(w, alert(start=1), alert("Other", start=1))
    held = [h for h in w.incidents() if str(h.state) == "held"]
    assert len(held) == 2
    assert w.sent == []
    w.advance(after(30))
    assert [s.want for s in w.sent if s.kind == "page"] == [Want.TRIGGERED]
    assert w.sent[0].payload["title"].startswith("2 alerts during the deploy")


def test_a_template_that_fails_is_noted(tmp_path: Path) -> None:
    """The driver's own words are sent, and the rehearsal says what went wrong."""
    w = world(tmp_path)
    rules = (tmp_path / "rules" / "all.yaml").read_text()
    titled = rules.replace("{name: ops,", "{name: ops, title: '{{ labels }}',")
    (tmp_path / "rules" / "all.yaml").write_text(titled)
    w = Rehearsal(load(tmp_path / "rules", KINDS), T0, KINDS)
    tell(w, alert())
    assert w.sent[0].payload["title"] == "Errors"
    assert w.troubles
    assert "title" in w.troubles[0]


def test_too_much_is_said_and_not_waited_for(tmp_path: Path) -> None:
    """A rehearsal of years with something muted all along ends in a sentence."""
    w = world(tmp_path)
    tell(w, alert("Node", severity="critical"), alert())
    with pytest.raises(TooMuch, match=f"more than {MOST_ROUNDS} rounds"):
        w.advance(T0 + timedelta(days=365))


def test_the_same_calls_give_the_same(tmp_path: Path) -> None:
    """Two rehearsals of the same are equal to the last field."""

    def play() -> tuple[Any, Any]:
        w = world(tmp_path)
        w.told([report(DeployPhase.SWITCHED)])
        tell(w, alert(), alert("Slow"), alert("Node", severity="critical"))
        w.silence(silence("Slow"))
        w.advance(after(90))
        return w.sent, w.incidents()

    assert play() == play()
