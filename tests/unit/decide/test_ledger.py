"""Deploys joined from several tellers, and what they are suspected of."""

from __future__ import annotations

from datetime import timedelta

from router.decide import deploys, engine, joining, suspects, versions
from router.decide.decision import Decision, Snapshot
from router.model.deploys import Deploy, Ledger
from router.model.events import DeployNoticed, DeployPhase, DeployReport, OriginKind, ServiceDeploy
from router.model.keys import service_key
from router.model.reasons import Why
from tests.unit.decide.books import T0, Group, alert, book

SHA = "4f9d2c1b" + "0" * 32
P = DeployPhase


def report(phase: P, minutes: float = 0, **more: object) -> DeployReport:
    known = {"revision": SHA, "source": "gitlab", "environment": "prod"}
    known |= {"origin_kind": OriginKind.SERVICE, "origin": "pay"}
    return DeployReport(
        event_id="e", phase=phase, at=T0 + timedelta(minutes=minutes), **{**known, **more},
    )  # fmt: skip


def play(*reports: DeployReport, ledger: Ledger | None = None) -> tuple[Ledger, list[Decision]]:
    outs = []
    for r in reports:
        event = ServiceDeploy(service_key("pay"), "pay", r.environment, r, T0)
        out = engine.decide(event, Snapshot(ledger=ledger), book(), T0 + timedelta(hours=1))
        ledger = out.ledger or ledger
        outs.append(out)
    assert ledger is not None
    return ledger, outs


def test_tellers_are_joined_by_sha_and_image_tag() -> None:
    """A full sha, its abbreviation and an image tag of it tell of one deploy."""
    argocd = report(
        P.GREEN_DEPLOYED,
        2,
        revision="",
        source="argocd",
        images=(f"r/x/pay:{SHA[:8]}",),
        config_revision="c1",
    )
    ledger, _ = play(report(P.STARTED), argocd, report(P.LIVE, 5, revision=SHA[:8]))
    (deploy,) = ledger.deploys
    assert set(deploy.phases) == {"started", "green_deployed", "live"}
    assert deploy.tellers == ("gitlab", "argocd")


def test_other_versions_and_environments_are_other_deploys() -> None:
    """Another sha, or the same one in another environment, is a record of its own."""
    ledger, _ = play(
        report(P.LIVE), report(P.LIVE, 1, revision="b" * 40), report(P.LIVE, 2, environment="qa")
    )
    assert len(ledger.deploys) == 3
    assert len({d.id for d in ledger.deploys}) == 3


def test_floating_tags_join_nothing() -> None:
    """A tag such as latest is no version's name."""
    tagged = report(P.LIVE, revision="", images=("r/pay:latest",))
    assert joining.names(ServiceDeploy(service_key("pay"), "pay", "prod", tagged, T0), ()) == ()


def test_the_same_version_hours_later_is_a_new_deploy() -> None:
    """A redeploy, or a return to an old version, does not rewrite history."""
    ledger, _ = play(report(P.LIVE), report(P.LIVE, 7 * 60))
    assert [d.id.rpartition("/")[2] for d in ledger.deploys] == ["2", "1"]


def test_out_of_order_reports_keep_the_earliest_time() -> None:
    """Running told after success, and a phase told twice, do not move times forward."""
    ledger, outs = play(report(P.LIVE, 5), report(P.STARTED, 1), report(P.LIVE, 9))
    (deploy,) = ledger.deploys
    assert deploy.phases["live"] == T0 + timedelta(minutes=5)
    assert Why.DEPLOY_UNCHANGED in {r.why for r in outs[-1].why}


def test_a_merge_lends_its_title_whichever_comes_first() -> None:
    """The merge request's words are on the deploy, told before or after it."""
    merge = report(P.MERGED, -5, environment="", title="Retry once", author="dana")
    for order in ((merge, report(P.LIVE)), (report(P.LIVE), merge)):
        ledger, _ = play(*order)
        assert (ledger.deploys[0].title, ledger.deploys[0].author) == ("Retry once", "dana")


def test_a_change_event_is_wanted_once() -> None:
    """Only the first phase that takes effect asks for a change event."""
    ledger, _ = play(report(P.STARTED), report(P.SWITCHED, 1), report(P.LIVE, 2))
    (deploy,) = ledger.deploys
    assert {t: d.want_version for t, d in deploy.destinations.items()} == {"r/page/0": 1}
    assert ledger.due
    assert ledger.seen == 3


def test_ledgers_stay_bounded() -> None:
    """Old deploys leave a ledger; what still has something to deliver stays."""
    many = [report(P.STARTED, n, revision=f"{n:040x}") for n in range(1, deploys.KEEP_DEPLOYS + 20)]
    ledger, _ = play(*many)
    assert len(ledger.deploys) == deploys.KEEP_DEPLOYS


def incident(ledger: Ledger, *, start: float = 10, **labels: str) -> Group:
    g = Group()
    g.ledgers = {ledger.service: ledger}
    g.tell(alert(start=start, **labels), minutes=start)
    return g


def reasons(g: Group) -> set[Why]:
    return {r.why for r in g.head.suspects[0].reasons}


def test_a_switch_before_the_onset_is_suspected() -> None:
    """Same service and environment, switched ten minutes before: suspected, with its reasons."""
    ledger, _ = play(report(P.SWITCHED, 0))
    g = incident(ledger)
    top = suspects.prime(g.head.suspects)
    assert top is not None
    assert {Why.SAME_SERVICE, Why.SWITCHED_BEFORE_ONSET} <= reasons(g)


def test_an_onset_before_the_switch_clears_it() -> None:
    """A deploy that took effect after the alert began is shown as cleared; skew is allowed for."""
    ledger, _ = play(report(P.SWITCHED, 30))
    g = incident(ledger)
    assert suspects.prime(g.head.suspects) is None
    assert Why.ONSET_BEFORE_SWITCH in reasons(g)
    near, _ = play(report(P.SWITCHED, 11))
    assert incident(near).head.suspects[0].standing == "possible"


def test_out_of_window_and_elsewhere_are_not_candidates() -> None:
    """More than two hours ago, or another environment, is no candidate at all."""
    old, _ = play(report(P.SWITCHED, -120))
    qa, _ = play(report(P.SWITCHED, 0, environment="qa"))
    assert incident(old).head.suspects == ()
    assert incident(qa).head.suspects == ()


def test_a_version_label_speaks_for_or_against() -> None:
    """The alert's own version label confirms the deploy it names and speaks against another."""
    ledger, _ = play(report(P.SWITCHED, 0))
    assert Why.VERSION_LABEL_MATCHES in reasons(incident(ledger, version=SHA[:8]))
    assert Why.VERSION_LABEL_DIFFERS in reasons(incident(ledger, version="9.9.9"))


def test_competing_deploys_weaken_each_other() -> None:
    """Two deploys in the window: the newer first, both with the reason that they compete."""
    ledger, _ = play(report(P.SWITCHED, 0), report(P.SWITCHED, 5, revision="b" * 40))
    g = incident(ledger)
    assert [s.version for s in g.head.suspects] == ["bbbbbbbb", SHA[:8]]
    assert Why.OTHER_DEPLOYS_COMPETE in reasons(g)


def test_a_failed_deploy_is_less_suspect() -> None:
    """A deploy that failed before its switch is a weaker candidate than one that went live."""
    failed, _ = play(report(P.STARTED, 0), report(P.FAILED, 5))
    live, _ = play(report(P.LIVE, 0))
    assert incident(failed).head.suspects[0].score < incident(live).head.suspects[0].score


def test_a_late_deploy_is_found_by_open_incidents() -> None:
    """An open incident looks again when its service, or a dependency, was deployed; others do not."""
    g = Group()
    g.tell(alert(start=10), minutes=10)
    assert g.head.suspects == ()
    ledger, _ = play(report(P.SWITCHED, 5))
    g.ledgers = {"pay": ledger}
    assert not g.play(DeployNoticed("other", "1"), 11).why
    out = g.play(DeployNoticed("pay", "2"), 11)
    assert Why.SUSPECT_FOUND in {r.why for r in out.why}
    assert g.head.destinations["r/page/0"].want_version == g.head.revision
    assert not g.play(DeployNoticed("pay", "3"), 11).why


def test_names_for_people() -> None:
    """A full sha is shown by eight digits, a tag as it is."""
    base = {"id": "i", "service": "s", "environment": "e", "phases": {}, "tellers": ()}
    assert Deploy(names=(SHA,), **base).name == SHA[:8]
    assert Deploy(names=("v1.2.3", SHA), **base).name == "v1.2.3"
    assert versions.same_version("v1.2.3", "1.2.3")
    assert not versions.same_version("abc", "abcdef0")
