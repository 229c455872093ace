"""Which deploy may have done it."""

from __future__ import annotations

import pytest

from router.decide.decision import Snapshot
from router.decide.suspects import KEEP, find, prime
from router.decide.versions import same_version
from router.model.deploys import Deploy
from router.model.events import DeployPhase
from router.model.incidents import Suspect
from router.model.reasons import Why
from tests.unit.decide.making import World, after, alert, deploy, ledgers
from tests.unit.decide.making import words as whys


def found(*deploys: Deploy, **labels: str) -> tuple[Suspect, ...]:
    world = World(seen=Snapshot(ledgers=ledgers(*deploys)))
    world.tells(alert(**labels))
    return world.head.suspects


def reasons(suspect: Suspect) -> set[str]:
    return {str(r.why) for r in suspect.reasons}


def test_same_service_switched_before_onset_is_suspected() -> None:
    """A switch shortly before the onset speaks for the deploy, in words."""
    (one,) = found(deploy(-3, title="t", author="a", url="u"))
    assert reasons(one) == {Why.SAME_SERVICE, Why.SWITCHED_BEFORE_ONSET, Why.MAY_BE_RESTART}
    assert one.score == round(sum(r.weight for r in one.reasons), 2)
    assert one.standing == "suspected"
    assert (one.title, one.author, one.url) == ("t", "a", "u")
    assert one.reasons[1].text == "traffic was switched 3 min before the alert began"


def test_live_is_worded_otherwise() -> None:
    """Without a switch the deploy went live."""
    (one,) = found(deploy(-3, DeployPhase.LIVE))
    assert one.reasons[1].text.startswith("it went live 3 min")


def test_dependency_weighs_less() -> None:
    """A dependency's deploy comes after the service's own."""
    own, other = found(deploy(-30), deploy(-3, service="db", name="9.0"))
    assert (own.service, other.service) == ("shop", "db")
    assert {Why.DEPENDENCY, Why.DEPLOYED_SERVICE_IS_WELL} <= reasons(other)
    assert {Why.OTHER_DEPLOYS_COMPETE} <= reasons(own) & reasons(other)


def test_stranger_and_other_environment_are_out() -> None:
    """Neither another service nor another environment is a candidate."""
    assert found(deploy(-3, environment="staging"), deploy(-3, service="mail")) == ()


def test_alert_without_environment_takes_any() -> None:
    """An alert that names no environment suspects deploys anywhere, also those without one."""
    one, two = found(deploy(-3, environment="staging"), deploy(-2, environment="", name="2.0"), env="")
    assert {one.environment, two.environment} == {"staging", ""}


@pytest.mark.parametrize(("at", "cleared"), [(1.9, False), (2.0, False), (2.1, True)])
def test_onset_before_switch_beyond_skew_clears(at: float, *, cleared: bool) -> None:
    """A deploy after the onset is cleared, unless clocks may explain it."""
    (one,) = found(deploy(at))
    assert (Why.ONSET_BEFORE_SWITCH in reasons(one)) is cleared
    assert (one.score < -3) is cleared


@pytest.mark.parametrize(("at", "count"), [(-120.0, 1), (-120.1, 0), (120.0, 1), (120.1, 0)])
def test_window(at: float, count: int) -> None:
    """Outside the window on either side a deploy is no candidate."""
    assert len(found(deploy(at))) == count


def test_three_compete_and_the_best_are_kept() -> None:
    """Of several at most one did it: their probabilities add up to one at most, and three are kept."""
    some = found(*[deploy(-3, name=f"{i}.0") for i in (4, 1, 3, 2)])
    assert len(some) == KEEP
    assert some[0].reasons[-1].text == "3 other deploys compete"
    assert sum(s.probability for s in some) <= 1
    one, two = found(deploy(-7), deploy(-5, name="2.0"))
    assert "another deploy competes" in {r.text for r in two.reasons}
    assert one.probability + two.probability <= 1


def test_what_was_replaced_before_the_onset_gives_way() -> None:
    """A version that another one had replaced when the alert began is hardly the cause."""
    new, old = found(deploy(-20), deploy(-10, name="2.0"))
    assert (new.version, old.version) == ("2.0", "1.0")
    assert Why.SUPERSEDED in reasons(old)


def test_cleared_do_not_compete() -> None:
    """A cleared candidate takes nothing from the suspect."""
    first, second = found(deploy(-1), deploy(10, name="2.0"))
    assert Why.OTHER_DEPLOYS_COMPETE not in reasons(first)
    assert second.standing == "cleared"


def test_failed_before_the_switch() -> None:
    """A deploy that failed before traffic moved weighs less; one that only failed is out of sight."""
    (one,) = found(deploy(0, phases={DeployPhase.STARTED: after(-5), DeployPhase.FAILED: after(-1)}))
    assert {Why.SAME_SERVICE, Why.STARTED_BEFORE_ONSET, Why.DEPLOY_FAILED} <= reasons(one)
    assert found(deploy(-1, DeployPhase.FAILED)) == ()


def test_version_label() -> None:
    """An alert's version label speaks for its deploy and against another."""
    (plain,) = found(deploy(-3))
    (one,) = found(deploy(-3), version="v1.0")
    assert one.score > plain.score
    assert Why.VERSION_LABEL_MATCHES in reasons(one)
    (one,) = found(deploy(-3), version="2.0")
    assert one.score < plain.score
    assert Why.VERSION_LABEL_DIFFERS in reasons(one)
    (one,) = found(deploy(-3, service="db"), version="2.0")
    assert not {Why.VERSION_LABEL_DIFFERS, Why.VERSION_LABEL_MATCHES} & reasons(one)


def test_rollback_after_the_onset_does_not_clear_the_culprit() -> None:
    """A deploy switched before the onset and rolled back because of it stays suspected."""
    (one,) = found(deploy(0, phases={DeployPhase.SWITCHED: after(-3), DeployPhase.ROLLED_BACK: after(10)}))
    assert one.at == after(-3)
    assert one.score > 0


def test_what_was_rolled_back_before_the_onset_hardly_did_it() -> None:
    """A deploy that had been rolled back when the alert began is hardly the cause."""
    (one,) = found(deploy(0, phases={DeployPhase.SWITCHED: after(-50), DeployPhase.ROLLED_BACK: after(-2)}))
    assert Why.SUPERSEDED in reasons(one)
    assert prime((one,)) is None


def test_no_service_no_suspect() -> None:
    """Without a service label nothing can be suspected, and it is said."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(-3))))
    out = world.tells(alert(service=""))
    assert Why.NO_SUSPECT in whys(out)
    assert find(world.head, world.seen, world.book, after(0)) == ()


@pytest.mark.parametrize(
    ("left", "right", "want"),
    [
        ("1.2", "v1.2", True),
        ("ABCDEF1", "abcdef1234", True),
        ("abcdef", "abcdef1234", False),  # too short
        ("1.2.3-rc", "1.2.3-rc1", False),  # no sha
        ("abcdef12", "abcdef13", False),
    ],
)
def test_same_version(left: str, right: str, want: bool) -> None:
    """Names are one version if equal or if a sha abbreviates another, whichever comes first."""
    assert same_version(left, right) is want
    assert same_version(right, left) is want
