"""What follows from the order of a ledger's deploys."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from router.decide.lineage import History, Kind, disagreements, kind, promotions
from router.model.deploys import Deploy
from router.model.events import DeployPhase
from tests.unit.decide.making import after, deploy

SHA = "a1b2c3d4e5" * 4


def with_id(one: Deploy, n: int, **more: object) -> Deploy:
    return msgspec.structs.replace(one, id=f"{one.environment}/{one.names[0]}/{n}", **more)


ONE, TWO = with_id(deploy(0, name="1.0"), 1), with_id(deploy(60, name="2.0"), 1)
BACK = with_id(deploy(90, name="1.0"), 2)


def test_a_version_that_comes_back_is_a_rollback() -> None:
    """It undoes what served between, and is known as going back; the first time it was a deploy."""
    history = History([BACK, TWO, ONE], "prod")
    undone = history.undone(TWO)
    assert undone is not None
    assert (undone.at, undone.by, undone.back) == (after(90), "1.0", True)
    assert [kind(d, [BACK, TWO, ONE]) for d in (ONE, TWO, BACK)] == [Kind.DEPLOY, Kind.DEPLOY, Kind.ROLLBACK]
    forward = history.undone(ONE)
    assert forward is not None
    assert not forward.back


def test_what_serves_is_not_undone() -> None:
    """The last one serves; another environment's deploys, flags and its own version again change nothing."""
    again = with_id(deploy(70, name="2.0"), 2)
    flag = msgspec.structs.replace(deploy(80, name="x on"), flag=True)
    elsewhere = deploy(75, name="3.0", environment="dev")
    assert History([again, flag, elsewhere, TWO, ONE], "prod").undone(TWO) is None


def test_a_rollback_that_the_teller_names() -> None:
    """Argo Rollouts tells an abort as such: the earlier of that and the next version ends it."""
    aborted = msgspec.structs.replace(TWO, phases={**TWO.phases, DeployPhase.ROLLED_BACK: after(65)})
    undone = History([BACK, aborted, ONE], "prod").undone(aborted)
    assert undone is not None
    assert (undone.at, undone.back) == (after(65), True)
    never = msgspec.structs.replace(TWO, phases={DeployPhase.STARTED: after(60)})
    assert History([never, ONE], "prod").undone(never) is None


def test_a_sha_and_its_tag_are_one_version() -> None:
    """A rollback is seen although one teller says the commit and the other its abbreviation."""
    first = with_id(deploy(0, name=SHA), 1)
    back = with_id(deploy(90, name=SHA[:8]), 2)
    assert History([back, TWO, first], "prod").goes_back(back)


def test_hotfixes_configuration_and_flags() -> None:
    """A branch, title or label says hotfix; another commit of the configuration alone is told apart."""
    hot = with_id(deploy(70, name="2.1"), 1, ref="hotfix/basket")
    labelled = with_id(deploy(70, name="2.1"), 1, facts={"labels": "bug, Hotfix"})
    base = with_id(deploy(0, name="1.0"), 1, config_revision="aaa")
    config = with_id(deploy(30, name="1.0"), 2, config_revision="bbb")
    assert kind(hot, [hot, ONE]) is Kind.HOTFIX
    assert kind(labelled, [labelled, ONE]) is Kind.HOTFIX
    assert kind(config, [config, base]) is Kind.CONFIG
    assert kind(msgspec.structs.replace(ONE, flag=True), []) is Kind.FLAG


def test_one_version_through_the_environments() -> None:
    """The same commit in dev, qa and staging is linked, in the order it took effect."""
    shas = [
        with_id(deploy(at, name=SHA, environment=name), 1)
        for at, name in ((-300, "dev"), (-200, "qa"), (-100, "staging"), (0, "prod"))
    ]
    found = promotions(shas[-1], [*reversed(shas), ONE])
    assert [d.environment for d in found] == ["dev", "qa", "staging"]


def test_tellers_that_contradict_each_other() -> None:
    """A failure beside a success, bad health of what serves, and times far apart are told."""
    told = {
        "started gitlab": after(0),
        "started argocd": after(1),
        "live gitlab": after(5),
        "live argocd": after(25),
        "failed argocd": after(6),
    }
    one = with_id(deploy(5, DeployPhase.LIVE, name="2.0"), 1, told=told, facts={"health": "Degraded"})
    assert disagreements(one, timedelta(minutes=2)) == [
        "argocd says failed at 12:06:00, gitlab says that it serves",
        "its health is told as Degraded, argocd, gitlab says that it serves",
        "live: gitlab says 12:05:00, argocd 20 min later",
    ]
    fine = msgspec.structs.replace(TWO, told={"live gitlab": after(5), "live argocd": after(6)})
    assert disagreements(fine, timedelta(minutes=2)) == []


def test_green_before_the_switch_is_no_contradiction() -> None:
    """Argo CD tells green as live before traffic is switched, GitLab after; both mean the same."""
    phases = {**TWO.phases, DeployPhase.SWITCHED: after(10)}
    one = msgspec.structs.replace(
        TWO, phases=phases, told={"live argocd": after(1), "live gitlab": after(11)}
    )
    assert disagreements(one, timedelta(minutes=2)) == []
