"""Changes that are not bound to an environment: joined by revision, lent to deploys, bounded."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import changes, engine, placing
from router.decide.decision import Snapshot
from router.model import codec
from router.model.commands import REOPENED, Command, CommandKind
from router.model.events import (
    UNDATED,
    Act,
    ActKind,
    DeployPhase,
    DeployReport,
    OriginKind,
    ServiceDeploy,
    Unread,
)
from router.model.keys import service_key
from tests.unit.decide.books import T0, book
from tests.unit.decide.test_ledger import SHA, report

if TYPE_CHECKING:
    from router.model.deploys import Change, Ledger

P = DeployPhase
GROUP = "7f3a9c21b04d55e0"


def told(*reports: DeployReport) -> Ledger:
    """Return the ledger after these reports, in this order."""
    ledger: Ledger | None = None
    for r in reports:
        event = ServiceDeploy(service_key("pay"), "pay", r.environment, r, T0)
        ledger = (
            engine.decide(event, Snapshot(ledger=ledger), book(), T0 + timedelta(hours=1)).ledger or ledger
        )
    assert ledger is not None
    return ledger


def change(phase: P, minutes: float = 0, **more: object) -> DeployReport:
    return report(phase, minutes, environment="", **more)


def only(ledger: Ledger) -> Change:
    (found,) = ledger.changes
    return found


def test_tellers_of_one_revision_make_one_change() -> None:
    """Push, pipeline, merge and tag of one commit are one record: the merge's words, all facts and tags."""
    reports = [
        change(P.PUSHED, 1, title="fix: x", author="bot", ref="main", facts={"commits": "3"}),
        change(P.BUILT, 5, title="pipeline", facts={"build": "success", "test": "success"}),
        change(P.TAGGED, 6, ref="v1.42.0", names=("v1.42.0",)),
        change(P.MERGED, 0, title="Pay faster", author="ana", url="https://git/12"),
    ]
    for order in (reports, reports[::-1]):
        found = only(told(*order))
        assert (found.phase, found.title, found.author, found.url) == (
            P.MERGED,
            "Pay faster",
            "ana",
            "https://git/12",
        )
        assert found.names == ("v1.42.0",)
        assert found.facts == {"commits": "3", "build": "success", "test": "success"}


def test_the_later_fact_counts_whatever_comes_first() -> None:
    """A retried job that passed overrides its failure, also when the failure is told last."""
    failed = change(P.CHECKED, 5, facts={"test": "failed", "build": "success"})
    passed = change(P.CHECKED, 9, facts={"test": "success"})
    for order in ((failed, passed), (passed, failed)):
        assert only(told(*order)).facts == {"test": "success", "build": "success"}


def test_a_tag_joins_a_deploy_that_is_known_by_its_tag_only() -> None:
    """A deploy of an image tag and a later one of the commit are joined, once somebody told of the tag."""
    by_tag = report(P.STARTED, 10, revision="", images=("r/pay:v1.42.0",), source="argocd")
    tag = change(P.TAGGED, 0, names=("v1.42.0",), ref="v1.42.0")
    by_commit = report(P.LIVE, 12)
    for order in ((by_tag, tag, by_commit), (tag, by_tag, by_commit), (tag, by_commit, by_tag)):
        (deploy,) = told(*order).deploys
        assert set(deploy.phases) == {P.STARTED, P.LIVE}
        assert SHA in deploy.names


def test_facts_are_lent_and_a_deploys_own_win() -> None:
    """A deploy shows how its pipeline went; what a teller said of the deploy itself is not overridden."""
    (deploy,) = told(
        report(P.LIVE, 3, facts={"health": "Healthy", "test": "own"}),
        change(P.CHECKED, 9, facts={"test": "failed", "security": "failed"}),
    ).deploys
    assert deploy.facts == {"health": "Healthy", "test": "own", "security": "failed"}


def test_each_toggle_of_a_flag_is_a_change() -> None:
    """A flag that is switched on, off and on again is three changes; a repeat of one is none."""
    flips = [
        change(P.TOGGLED, n, revision="", ref="new-checkout", detail=d)
        for n, d in ((0, "on"), (5, "off"), (9, "on"))
    ]
    ledger = told(*flips, flips[1])
    assert [(c.ref, c.detail) for c in ledger.changes] == [("new-checkout", d) for d in ("on", "off", "on")]


def test_what_names_no_revision_is_nothing() -> None:
    """A change without a revision cannot be found again, so it is not kept."""
    out = engine.decide(
        ServiceDeploy("k", "pay", "", change(P.PUSHED, revision=""), T0), Snapshot(), book(), T0
    )
    assert out.ledger is None


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(changes.PHASES)), st.integers(0, 40), st.integers(0, 99)),
        max_size=80,
    )
)
def test_records_stay_bounded(rows: list[tuple[P, int, int]]) -> None:
    """However much is told, changes and their facts and names stay within their bounds, and decode."""
    reports = [report(P.LIVE)] + [
        change(
            phase,
            n,
            revision=f"{n:040x}",
            ref=f"f{n}",
            names=(f"t{m}",),
            facts={f"k{m}": "v", f"x{m}{n}": "w"},
        )
        for phase, n, m in rows
    ]
    ledger = told(*reports)
    assert len(ledger.changes) <= changes.KEEP_CHANGES
    for found in ledger.changes:
        assert len(found.facts) <= changes.MAX_FACTS
        assert len(found.names) <= changes.MAX_NAMES
    assert codec.ledger(codec.encode(ledger)) == ledger


# --- placing what the newer sources tell -----------------------------------------------------------


def test_an_undated_report_is_dated_when_it_comes() -> None:
    """A report without a time gets the time of its arrival, and its id still counts once."""
    undated = DeployReport("gitlab", "gitlab:x", OriginKind.SERVICE, "pay", "", P.TOGGLED, UNDATED, ref="f")
    first, second = (placing.place([undated], book(), T0 + timedelta(minutes=n))[0] for n in (0, 5))
    assert isinstance(first.event, ServiceDeploy)
    assert first.event.report.at == T0
    assert first.versions == second.versions


def test_a_persons_act_elsewhere_becomes_a_command() -> None:
    """An acknowledgement by a person at PagerDuty is placed with the incident's group, once per event."""
    act = Act(
        "pagerduty",
        "pagerduty:E1",
        ActKind.ACKNOWLEDGED,
        f"{GROUP}.3",
        by="Ana",
        by_id="P1",
        at=T0,
        text="mine",
    )
    (placed,) = placing.place([act], book(), T0 + timedelta(minutes=1))
    assert placed.event == Command(
        GROUP, 3, CommandKind.ACKNOWLEDGE, "Ana", T0, "pagerduty:E1", "mine", by_id="P1", via="pagerduty"
    )
    assert placed.key == GROUP
    assert placed.versions


@pytest.mark.parametrize(
    ("act", "kind", "by"),
    [
        (Act("pagerduty", "e", ActKind.UNACKNOWLEDGED, f"{GROUP}.3"), CommandKind.UNACKNOWLEDGE, "PagerDuty"),
        (Act("pagerduty", "e", ActKind.ESCALATED, f"{GROUP}.3", to="Bo"), CommandKind.ASSIGN, "PagerDuty"),
        (
            Act("pagerduty", "e", ActKind.REASSIGNED, f"{GROUP}.3", by="Ana", to="Bo"),
            CommandKind.ASSIGN,
            "Ana",
        ),
        (Act("pagerduty", "e", ActKind.ANNOTATED, f"{GROUP}.3", by="Ana", text="x"), CommandKind.NOTE, "Ana"),
    ],
)
def test_what_is_done_at_pagerduty_is_followed(act: Act, kind: CommandKind, by: str) -> None:
    """A reassignment, a note, a timed-out acknowledgement and an escalation become commands here."""
    (placed,) = placing.place([act], book(), T0)
    assert isinstance(placed.event, Command)
    assert (placed.event.kind, placed.event.by, placed.event.to) == (kind, by, act.to)
    assert placed.event.via == "pagerduty"


def test_what_is_opened_again_there_is_noted() -> None:
    """It is over here, so it opens nothing; the timeline says so, and who did it."""
    (placed,) = placing.place([Act("pagerduty", "e", ActKind.REOPENED, f"{GROUP}.3", "Ana")], book(), T0)
    assert isinstance(placed.event, Command)
    assert (placed.event.kind, placed.event.note) == (CommandKind.NOTE, REOPENED)


def test_other_acts_are_not_followed() -> None:
    """What no person did, what names none of our incidents, and what we do not do here places nothing."""
    acts = [
        Act("pagerduty", "e", ActKind.RESOLVED, f"{GROUP}.3"),
        Act("pagerduty", "e", ActKind.RESOLVED, "somebody-elses", by="Ana"),
        Act("pagerduty", "e", ActKind.ANNOTATED, f"{GROUP}.3", text="by a workflow"),
        Act("pagerduty", "e", ActKind.REASSIGNED, f"{GROUP}.3", by="Ana"),
        Act("pagerduty", "e", ActKind.REOPENED, f"{GROUP}.3", text="by a workflow"),
        Act("pagerduty", "e", ActKind.TRIGGERED, f"{GROUP}.3", by="Ana"),
    ]
    assert placing.place(acts, book(), T0) == []


def test_the_same_unreadable_body_is_kept_once() -> None:
    """An unreadable delivery sent again, with other headers or at another time, is the same dead letter."""
    one = placing.unread(Unread("gitlab", "bad", {"a": "1"}, b"{", T0))
    two = placing.unread(Unread("gitlab", "worse", {}, b"{", T0 + timedelta(hours=1)))
    other = placing.unread(Unread("slack", "bad", {"a": "1"}, b"{", T0))
    assert one.versions == two.versions != other.versions
    assert codec.stored(codec.encode(one.event)) == one.event


def test_an_unreadable_delivery_goes_to_the_dead_letters() -> None:
    """Deciding an unreadable delivery changes nothing but says why it is dead."""
    out = engine.decide(Unread("gitlab", "bad_json: no", {}, b"{", T0), Snapshot(), book(), T0)
    assert out.dead == ["bad_json: no"]
    assert out.incident is None
