"""Reports of several tellers into one record per deploy."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from router.decide import changes, deploys, joining
from router.decide.decision import Snapshot
from router.model.deploys import Change, Deploy, Ledger
from router.model.destinations import Destination, Lane, Want
from router.model.events import DeployPhase, ServiceDeploy
from router.model.reasons import Why
from tests.unit.decide.making import CHANGES, World, after, deploy, placed, report, rulebook, words

SHA = "0123456789abcdef0123456789abcdef01234567"


def ledger(world: World) -> Ledger:
    assert world.seen.ledger is not None
    return world.seen.ledger


def the_one(world: World) -> Deploy:
    (one,) = ledger(world).deploys
    return one


def merge(at: float = 0.0, phase: DeployPhase = DeployPhase.MERGED, **more: object) -> ServiceDeploy:
    given: dict[str, object] = {"revision": SHA, "title": "Faster", "author": "bob", "url": "u", **more}
    return placed(report(phase, at, environment="", **given), environment="")


def test_first_report_makes_a_record() -> None:
    """A report of an unknown version is a new deploy, named by environment, version and number."""
    world = World()
    out = world.does(placed(report(DeployPhase.STARTED, revision=SHA.upper())))
    assert words(out) == {Why.DEPLOY_RECORDED}
    one = the_one(world)
    assert (one.id, one.names, one.name) == (f"prod/{SHA}/1", (SHA,), SHA[:8])
    assert ledger(world).seen == 1
    assert ledger(world).due


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"revision": SHA}, {"images": (f"reg:5000/shop:{SHA[:8]}@sha256:00",)}),
        ({"images": ("reg/shop:v1.2.0",)}, {"ref": "1.2.0", "revision": SHA}),
        ({"ref": "v1.2.0-rc.1"}, {"images": ("shop:1.2.0-rc.1",)}),
        ({"config_revision": "c" * 40}, {"config_revision": "c" * 40, "images": ("shop:1.0",)}),
    ],
)
def test_tellers_are_joined_by_names(first: dict[str, object], second: dict[str, object]) -> None:
    """A short sha, an image tag and a version-like ref join; so does one teller, before its images."""
    world = World()
    world.does(placed(report(DeployPhase.STARTED, 0, **first)))
    world.does(placed(report(DeployPhase.LIVE, 5, source="argocd", **second)))
    one = the_one(world)
    assert one.tellers == ("gitlab", "argocd")
    assert set(one.phases) == {DeployPhase.STARTED, DeployPhase.LIVE}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"revision": SHA}, {"config_revision": SHA}),
        ({"images": ("a:1.0",), "config_revision": "c"}, {"images": ("a:1.1",), "config_revision": "d"}),
        ({"images": ("a:latest",), "revision": "a" * 40}, {"images": ("a:latest",), "revision": "b" * 40}),
        ({"ref": "main", "revision": "a" * 40}, {"ref": "main", "revision": "b" * 40}),
    ],
)
def test_strangers_are_not_joined(first: dict[str, object], second: dict[str, object]) -> None:
    """A commit is no config commit; floating tags, branches and differing versions join nothing."""
    world = World()
    world.does(placed(report(at=0, **first)))
    world.does(placed(report(at=5, **second)))
    assert len(ledger(world).deploys) == 2


def test_other_environment_is_another_deploy() -> None:
    """One version going into two environments is two deploys."""
    world = World()
    world.does(placed(report(revision=SHA)))
    world.does(placed(report(at=1, revision=SHA), environment="staging"))
    assert {d.environment for d in ledger(world).deploys} == {"prod", "staging"}


def test_repeated_report_changes_nothing() -> None:
    """A duplicate, or the same phase told with a later time, is unchanged."""
    world = World()
    world.does(placed(report(revision=SHA)))
    for at in (0, 1):
        out = world.does(placed(report(at=at, revision=SHA)))
        assert words(out) == {Why.DEPLOY_UNCHANGED}
        assert out.ledger is None


def test_earlier_time_of_a_phase_wins() -> None:
    """The earliest time told of a phase is kept, and it is no news."""
    world = World()
    world.does(placed(report(at=5, revision=SHA)))
    world.does(placed(report(at=3, revision=SHA)))
    assert the_one(world).phases == {DeployPhase.SWITCHED: after(3)}
    assert ledger(world).seen == 1


def test_quiet_phases_are_no_news() -> None:
    """Clean-up is recorded but open incidents need not hear of it."""
    world = World()
    world.does(placed(report(revision=SHA)))
    world.does(placed(report(DeployPhase.CLEANED_UP, 5, revision=SHA)))
    assert ledger(world).seen == 1


def test_redeploy_after_hours_is_a_new_record() -> None:
    """The same version told more than 6 hours later is deployed again."""
    world = World()
    for hours in (0, 6, 12.1):
        world.does(placed(report(at=hours * 60, revision=SHA)))
    assert [d.id for d in ledger(world).deploys] == [f"prod/{SHA}/2", f"prod/{SHA}/1"]


def test_ids_stay_unique_when_the_first_was_forgotten() -> None:
    """A third deploy of a version does not take the id of the second where the first has gone."""
    second = msgspec.structs.replace(deploy(0, name="1.0"), id="prod/1.0/2")
    world = World(seen=Snapshot(ledger=Ledger("shop", (second,))))
    world.does(placed(report(at=600, ref="1.0")))
    assert [d.id for d in ledger(world).deploys] == ["prod/1.0/3", "prod/1.0/2"]


def test_change_event_is_wanted_once() -> None:
    """A change event is wished when the deploy first takes effect, and never again."""
    world = World()
    world.does(placed(report(DeployPhase.STARTED, revision=SHA)))
    assert the_one(world).destinations == {}
    for at, phase in enumerate((DeployPhase.SWITCHED, DeployPhase.LIVE, DeployPhase.ROLLED_BACK), 1):
        world.does(placed(report(phase, at, revision=SHA)))
        wish = the_one(world).destinations[CHANGES]
        assert (wish.want, wish.want_version, wish.lane) == (Want.TRIGGERED, 1, Lane.REST)
    assert set(the_one(world).destinations) == {CHANGES}


def test_change_event_of_an_unknown_service_follows_the_routes() -> None:
    """A service the catalogue does not know is told to the receiver its labels are routed to."""
    world = World()
    said = report(revision=SHA, origin="mail")
    world.does(ServiceDeploy("k", "mail", "prod", said, said.at))
    assert set(the_one(world).destinations) == {CHANGES}


@pytest.mark.parametrize(("targets", "receivers"), [(False, True), (True, False)])
def test_no_change_event_without_a_target(targets: bool, receivers: bool) -> None:
    """Where nobody wants changes none is wished."""
    world = World(rulebook(targets=targets, receivers=receivers))
    world.does(placed(report(revision=SHA)))
    assert the_one(world).destinations == {}


def test_merge_lends_its_words_to_a_later_deploy() -> None:
    """A deploy of a merged revision has the merge's title, author and address, whatever it says itself."""
    world = World()
    assert words(world.does(merge())) == {Why.CHANGE_RECORDED}
    world.does(placed(report(at=5, revision=SHA[:8], title="Merge branch", author="bot")))
    one = the_one(world)
    assert (one.title, one.author, one.url) == ("Faster", "bob", "u")


def test_late_merge_lends_its_words_to_an_earlier_deploy() -> None:
    """A merge told after its deploy corrects title and author; one of another revision does not."""
    world = World()
    world.does(placed(report(revision=SHA, title="Merge branch")))
    world.does(merge(1))
    assert (the_one(world).title, the_one(world).author) == ("Faster", "bob")
    world.does(merge(2, revision="f" * 40, title="Other"))
    assert the_one(world).title == "Faster"


def test_build_never_overwrites_a_merge() -> None:
    """The merge says more than the build after it; a merge replaces a build."""
    world = World()
    world.does(merge(0, DeployPhase.BUILT, title="built"))
    assert words(world.does(merge(0, DeployPhase.BUILT, title="built"))) == {Why.DEPLOY_UNCHANGED}
    world.does(merge(1))
    assert words(world.does(merge(2, DeployPhase.BUILT))) == {Why.DEPLOY_UNCHANGED}
    assert [c.title for c in ledger(world).changes] == ["Faster"]


def test_change_without_revision_is_nothing() -> None:
    """A merge that names no commit cannot be found again."""
    out = World().does(merge(revision=""))
    assert (words(out), out.ledger) == ({Why.DEPLOY_UNCHANGED}, None)


def test_changes_are_bounded() -> None:
    """Only the newest changes are kept."""
    world = World()
    for i in range(changes.KEEP_CHANGES + 3):
        world.does(merge(i, revision=f"{i:040x}"))
    kept: tuple[Change, ...] = ledger(world).changes
    assert len(kept) == changes.KEEP_CHANGES
    assert kept[0].revision == f"{changes.KEEP_CHANGES + 2:040x}"


def test_deploys_are_bounded_in_number_and_age() -> None:
    """The newest are kept, and whatever still has something to deliver."""
    due = {CHANGES: Destination(Lane.REST, Want.TRIGGERED, 1)}
    many = [deploy(-i, name=f"{i}.1") for i in range(1, 40)]
    many[36] = msgspec.structs.replace(many[36], destinations=due)
    world = World(seen=Snapshot(ledger=Ledger("shop", tuple(many))))
    world.does(placed(report(ref="99.0")))
    kept = ledger(world).deploys
    assert len(kept) == deploys.KEEP_DEPLOYS + 1
    assert kept[0].names == ("99.0",)
    assert kept[-1].names == ("37.1",)
    month = timedelta(days=30) / timedelta(minutes=1)
    world.does(placed(report(at=month, ref="100.0")), at=month)
    assert {d.names[0] for d in ledger(world).deploys} == {"100.0", "99.0", "37.1"}


def test_old_news_is_still_recorded() -> None:
    """A report older than all that is kept is written as the only one of an empty ledger."""
    world = World()
    world.does(placed(report(revision=SHA)), at=60 * 24 * 60)
    assert the_one(world).names == (SHA,)


def test_nameless_deploy() -> None:
    """A report that names no version is kept under its config commit, or as unknown."""
    world = World()
    world.does(placed(report(config_revision="c" * 40)))
    assert the_one(world).names == ("c" * 12,)
    world = World()
    world.does(placed(report()))
    assert the_one(world).name == "unknown"


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"images": ("reg:5000/a/shop",)}, ()),
        ({"images": ("reg:5000/shop:1.0@sha256:ab", "side:1.0", "x:latest")}, ("1.0",)),
        ({"revision": "ABC", "ref": "v1.0.0"}, ("abc", "v1.0.0")),
        ({"ref": "feature/1.0"}, ()),
        ({"ref": "1"}, ()),
    ],
)
def test_version_names(given: dict[str, object], want: tuple[str, ...]) -> None:
    """Image tags, the commit and a version-like ref are names; ports, floating tags and branches are not."""
    assert joining.names(placed(report(**given)), ()) == want


def test_a_flag_that_is_switched_is_told_as_a_change() -> None:
    """Each switch is a deploy of its own: it wakes open incidents, and receivers of changes hear of it."""
    world = World()
    for n, state in enumerate(("on", "off")):
        said = report(DeployPhase.TOGGLED, n, environment="", ref="new-basket", detail=state)
        world.does(placed(said, environment=""))
    assert [(d.id, d.name, d.flag) for d in ledger(world).deploys] == [
        ("flag/new-basket/2", "new-basket off", True),
        ("flag/new-basket/1", "new-basket on", True),
    ]
    assert all(d.destinations[CHANGES].due for d in ledger(world).deploys)
    assert ledger(world).seen == 2


def test_an_environment_called_flag_holds_deploys() -> None:
    """What a deploy is follows from what was told, not from what places are called."""
    world = World()
    world.does(placed(report(DeployPhase.LIVE, revision=SHA, environment="flag"), environment="flag"))
    assert the_one(world).id.startswith("flag/")
    assert not the_one(world).flag
