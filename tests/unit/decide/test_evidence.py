"""What each piece of evidence does to a suspicion, one at a time."""

from __future__ import annotations

import dataclasses
import math
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import evidence, experience
from router.decide.decision import Snapshot
from router.decide.onsets import Onsets
from router.decide.outlook import Outlook
from router.decide.suspects import find
from router.model.blames import Experienced, Onset
from router.model.deploys import Ledger
from router.model.events import DeployNoticed, DeployPhase, TimerKind
from router.model.reasons import Why
from router.rulebook.book import Attribution, Service
from tests.unit.decide.making import World, after, alert, deploy, ledgers, rulebook

if TYPE_CHECKING:
    from router.model.deploys import Deploy
    from router.model.incidents import Suspect


def onset(service: str, at: float = 0.0, name: str = "Slow", opened: float | None = None) -> Onset:
    began = after(at if opened is None else opened)
    return Onset(f"{service}{at}", service, "prod", name, after(at), began)


def judged(*deploys: Deploy, at: float = 20.0, onsets: tuple[Onset, ...] = (), **labels: str) -> Suspect:
    """The first suspect of an alert that began at minute 0, as it is seen ``at`` minutes later."""
    world = World(seen=Snapshot(ledgers=ledgers(*deploys)))
    world.tells(alert(**labels))
    known = Onsets()
    known.add(onsets)
    seen = dataclasses.replace(world.seen, outlook=Outlook(onsets=known))
    return find(world.head, seen, world.book, after(at))[0]


def why(suspect: Suspect) -> set[Why]:
    return {r.why for r in suspect.reasons}


def weight(suspect: Suspect, reason: Why) -> float:
    return next(r.weight for r in suspect.reasons if r.why is reason)


def test_weights_add_up_to_the_log_odds() -> None:
    """The score is the sum of what is listed, and the probability is its logistic."""
    one = judged(deploy(-3), deploy(-30, name="0.9"))
    assert one.score == round(sum(r.weight for r in one.reasons), 2)
    assert one.probability == round(1 / (1 + math.exp(-one.score)), 3)


@given(st.lists(st.floats(-110, 1), min_size=1, max_size=6, unique=True))
def test_at_most_one_did_it(minutes: list[float]) -> None:
    """However many deploys compete, their probabilities never add up to more than one."""
    world = World(seen=Snapshot(ledgers=ledgers(*(deploy(m, name=f"{n}.0") for n, m in enumerate(minutes)))))
    world.tells(alert())
    assert sum(s.probability for s in world.head.suspects) <= 1.01


def test_the_sooner_after_the_switch_the_likelier() -> None:
    """Once it lasts, an alert soon after the switch speaks louder for the deploy than one an hour later."""
    scores = [judged(deploy(-m)).score for m in (1, 5, 15, 40, 90)]
    assert scores == sorted(scores, reverse=True)


def test_a_restart_is_ruled_out_by_time() -> None:
    """Right after the switch an alert may be the restart's; if it lasts, it is not."""
    early, late = judged(deploy(-1), at=0.5), judged(deploy(-1), at=15)
    assert early.standing == "possible"
    assert Why.MAY_BE_RESTART in why(early)
    assert late.standing == "suspected"
    assert Why.PERSISTS in why(late)


def test_what_ended_soon_was_a_restart() -> None:
    """An alert that ended within minutes of the switch clears the deploy; after half an hour it does not."""
    seen = []
    for end in (2, 30):
        world = World(seen=Snapshot(ledgers=ledgers(deploy(-1))))
        world.tells(alert())
        world.tells(alert(end=end), at=end)
        seen.append(world.head.suspects[0])
    assert [s.standing for s in seen] == ["cleared", "suspected"]
    assert Why.ENDED_BY_ITSELF in why(seen[1])


def test_the_rules_own_wait_counts() -> None:
    """An alert that waited five minutes before it fired began before a switch three minutes ago."""
    plain = judged(deploy(-3))
    waited = judged(deploy(-3), **{"for": "2m"})
    assert "1 min before the alert began" in waited.reasons[1].text
    assert plain.standing == "suspected"
    began = judged(deploy(-3), **{"for": "6m"})
    assert Why.ONSET_BEFORE_SWITCH in why(began)
    assert began.standing == "cleared"


def test_the_wait_is_read_from_labels_annotations_and_rules() -> None:
    """The alert's own word comes first, then the rules' by its name, then the default; nonsense is none."""
    limits = Attribution(for_={"Slow": timedelta(minutes=4)}, for_default=timedelta(minutes=1))
    book = dataclasses.replace(rulebook(), attribution=limits)
    waits = book.waits
    assert waits({"for": "2m"}, {"for": "3m"}) == timedelta(minutes=2)
    assert waits({}, {"for": "3m"}) == timedelta(minutes=3)
    assert waits({"alertname": "Slow", "for": "soon"}, {}) == timedelta(minutes=4)
    assert waits({"alertname": "Other", "for": "52w"}, {}) == timedelta(minutes=1)


def test_a_frequent_alert_says_little() -> None:
    """What fired often before the deploy, with nobody to blame, is hardly the deploy's doing."""
    world = World()
    ledger = Ledger("shop", (deploy(-10),))
    for n in range(8):
        told = Experienced("k", "shop", "prod", "Slow", f"i{n}", 1.0, after(-600 + n), began=after(-600 + n))
        ledger = experience.decide(told, Snapshot(ledger=ledger)).ledger or ledger
    world.seen = Snapshot(ledgers={"shop": ledger})
    world.tells(alert())
    often = world.head.suspects[0]
    assert weight(often, Why.FREQUENT_ALERT) < -2
    assert often.standing in {"possible", "cleared"}


def test_what_fired_after_the_deploy_is_no_experience() -> None:
    """The deploy's own first alerts must not make its next ones look usual."""
    ledger = Ledger("shop", (deploy(-10),), since=after(-6000))
    for n in range(5):
        told = Experienced("k", "shop", "prod", "Slow", f"i{n}", 1.0, after(-2), began=after(-9 + n))
        ledger = experience.decide(told, Snapshot(ledger=ledger)).ledger or ledger
    world = World(seen=Snapshot(ledgers={"shop": ledger}))
    world.tells(alert())
    assert Why.FREQUENT_ALERT not in why(world.head.suspects[0])


def test_a_suspected_incident_teaches_little() -> None:
    """An incident that a deploy surely did is no sign that its alert fires by itself."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(-2))))
    world.tells(alert(version="1.0"))
    out = world.tells(alert(end=40, version="1.0"), at=40)
    (told,) = [e for e in out.onward if isinstance(e, Experienced)]
    assert told.weight < 0.1
    other = World()
    other.tells(alert())
    (told,) = [e for e in other.tells(alert(end=40), at=40).onward if isinstance(e, Experienced)]
    assert told.weight == 1.0


def test_rates_fade_and_stay_bounded() -> None:
    """A count decays with time, and a service remembers its latest alerts only."""
    ledger = Ledger("shop")
    for n in range(experience.MOST + 5):
        told = Experienced("k", "shop", "prod", f"A{n}", f"i{n}", 1.0, after(n))
        ledger = experience.decide(told, Snapshot(ledger=ledger)).ledger or ledger
    assert len(ledger.rates) == experience.MOST
    assert "prod|A0" not in ledger.rates
    name = f"A{experience.MOST}"
    soon = experience.rate(ledger, "prod", name, after(200))
    late = experience.rate(ledger, "prod", name, after(200 + 60 * 24 * 60))
    assert soon.seen > late.seen > 0


def test_the_deployed_service_itself() -> None:
    """A dependency's deploy is likelier if that fails itself, and less likely while it seems well."""
    far = deploy(-5, service="db", name="9.0")
    well = judged(far)
    fails = judged(far, onsets=(onset("db", -2),))
    assert Why.DEPLOYED_SERVICE_IS_WELL in why(well)
    assert Why.DEPLOYED_SERVICE_FAILS in why(fails)
    assert fails.score - well.score > 2


def test_what_it_calls_began_first() -> None:
    """A dependency that began to fail first makes the service's own deploy less likely."""
    own = judged(deploy(-5), onsets=(onset("db", -1),))
    assert Why.CALLEE_FAILS in why(own)
    assert own.score < judged(deploy(-5)).score


@pytest.mark.parametrize(("count", "standing"), [(0, "suspected"), (1, "suspected"), (5, "cleared")])
def test_many_that_have_nothing_to_do_with_it(count: int, standing: str) -> None:
    """Unrelated services that fail at the same time point to a common cause."""
    one = judged(deploy(-5), onsets=tuple(onset(f"s{n}", 1) for n in range(count)))
    assert one.standing == standing
    assert (Why.OTHERS_FAIL_TOO in why(one)) is bool(count)


def test_what_is_not_known_everywhere_is_not_looked_at() -> None:
    """What opened within the last seconds is left out, so that every process judges by the same."""
    fresh = tuple(onset(f"s{n}", 1, opened=19.99) for n in range(5))
    assert Why.OTHERS_FAIL_TOO not in why(judged(deploy(-5), onsets=fresh))


def test_what_failed_with_it_is_not_forgotten() -> None:
    """An incident that lasts for days is judged by what failed when it began, though the view is gone."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(-5))))
    world.tells(alert())
    known = Onsets()
    known.add(onset(f"s{n}", 1) for n in range(3))
    world.surrounds(Outlook(onsets=known))
    world.does(DeployNoticed("shop", "1"), 20)
    then = weight(world.head.suspects[0], Why.OTHERS_FAIL_TOO)
    world.surrounds(Outlook())
    world.does(DeployNoticed("shop", "2"), 3 * 24 * 60)
    assert weight(world.head.suspects[0], Why.OTHERS_FAIL_TOO) == then


def test_a_machines_alert() -> None:
    """An alert about a disk or a node is rarely a deploy's doing."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(-5))))
    world.tells(alert(alertname="NodeFilesystemAlmostOutOfSpace"))
    assert Why.MACHINE_ALERT in why(world.head.suspects[0])


def test_a_rollback_that_helped_and_one_that_did_not() -> None:
    """An alert that ends with the rollback convicts the deploy; one that fires on for long acquits it."""
    old, bad = deploy(-100, name="1.0"), deploy(-5, name="2.0")
    back = msgspec.structs.replace(deploy(10, name="1.0"), id="prod/1.0/2")
    world = World(seen=Snapshot(ledgers=ledgers(back, bad, old)))
    world.tells(alert())
    helped = World(seen=world.seen)
    helped.tells(alert(end=12), at=12)
    first = helped.head.suspects[0]
    assert (first.version, first.standing) == ("2.0", "suspected")
    assert Why.CURED_BY_ROLLBACK in why(first)
    late = find(world.head, world.seen, world.book, after(60))
    assert Why.ROLLBACK_DID_NOT_HELP in why(next(s for s in late if s.version == "2.0"))
    during = find(world.head, world.seen, world.book, after(11))
    assert Why.ROLLED_BACK_MEANWHILE in why(next(s for s in during if s.version == "2.0"))


def test_a_newer_version_does_not_acquit() -> None:
    """What is built on a bad version is bad as well: outliving the next deploy clears nothing."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(10, name="2.0"), deploy(-5))))
    world.tells(alert())
    late = find(world.head, world.seen, world.book, after(60))
    assert Why.ROLLBACK_DID_NOT_HELP not in {w for s in late for w in why(s)}


def test_a_flag_is_a_suspect_everywhere() -> None:
    """A feature flag has no environment, and is judged as any deploy."""
    flag = msgspec.structs.replace(deploy(-5, DeployPhase.LIVE, "new-basket on", environment=""), flag=True)
    one = judged(flag)
    assert (one.standing, one.environment) == ("suspected", "")
    assert Why.SOMEWHERE not in why(one)
    assert one.reasons[1].text.startswith("it was switched 5 min")


def test_unknown_places_weigh_less() -> None:
    """A deploy to nobody knows where, and an alert from nobody knows where, are weaker."""
    assert Why.SOMEWHERE in why(judged(deploy(-5, environment="")))
    assert Why.SOMEWHERE in why(judged(deploy(-5, environment="staging"), env=""))
    assert Why.SOMEWHERE not in why(judged(deploy(-5), env=""))


@pytest.mark.parametrize(
    "environments", [{"dev": "dev", "prod": "prod"}, {"blue": "blue"}], ids=["dev-first", "none"]
)
def test_production_is_known_by_its_name(environments: dict[str, str]) -> None:
    """In whatever order environments are named; where none is production, no place is unusual."""
    book = dataclasses.replace(rulebook(), environments=environments)
    world = World(book, Snapshot(ledgers=ledgers(deploy(-5))))
    world.tells(alert(env=""))
    assert Why.SOMEWHERE not in why(world.head.suspects[0])


def test_names_that_only_alerts_say_are_not_kept() -> None:
    """Whatever service alerts name, what is remembered of who calls whom is bounded by the catalogue."""
    book = rulebook()
    for n in range(50):
        assert book.callees(f"stranger-{n}") == book.callers(f"stranger-{n}") == {}
    book.callees("shop")
    assert len(book._index.near) == 1


def test_the_same_alert_just_before_the_deploy() -> None:
    """What ended shortly before the deploy and begins again is likely the same trouble."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(50))))
    world.tells(alert(), at=0)
    world.tells(alert(end=40), at=40)
    world.tells(alert(start=55), at=55)
    assert Why.FIRED_BEFORE in why(world.head.suspects[0])


def test_it_is_judged_again_while_it_fires() -> None:
    """Wake-ups come after 1, 3, 5, 8 ... minutes, for an hour, and what was thought is kept."""
    world = World(seen=Snapshot(ledgers=ledgers(deploy(-1))))
    world.tells(alert())
    for minute in (1, 3, 5, 8, 12, 20, 30, 60):
        assert world.timer(TimerKind.REVIEW) == after(minute)
        world.wakes(TimerKind.REVIEW, minute)
    assert world.timer(TimerKind.REVIEW) is None
    thought = [(a.at, a.suspects[0].probability) for a in world.head.assessments]
    assert len(thought) >= 3
    assert thought[0][1] < 0.5 < thought[-1][1]
    assert [at for at, _ in thought] == sorted(at for at, _ in thought)


def test_far_callees_are_reached_by_hops() -> None:
    """A deploy three calls away is a candidate, four are too far; a cycle of calls ends."""
    chain = {f"s{n}": Service(f"s{n}", dependencies=(f"s{n + 1}",)) for n in range(5)}
    chain["s5"] = Service("s5", dependencies=("s0",))
    book = dataclasses.replace(rulebook(), services=chain)
    assert dict(book.callees("s0")) == {"s1": 1, "s2": 2, "s3": 3}
    assert dict(book.callers("s3")) == {"s2": 1, "s1": 2, "s0": 3}
    assert book.callees("nobody") == {}


@given(st.floats(-3, 119), st.integers(0, 3))
def test_the_first_choice_agrees_with_the_whole(minutes: float, hops: int) -> None:
    """What sorts many candidates is what kinship and time weigh in the end."""
    book = rulebook()
    far, near = evidence.prior(3, minutes, book), evidence.prior(hops, minutes, book)
    assert near >= far
