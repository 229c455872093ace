"""Which deploy a report tells of: runs, names, images beside others, and the order of arrival."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import changes, deploys, joining, placing
from router.model.events import DeployPhase, DeployReport, OriginKind, ServiceDeploy
from router.model.keys import service_key
from tests.unit.decide.books import T0, book
from tests.unit.decide.test_changes import change, told
from tests.unit.decide.test_ledger import report

if TYPE_CHECKING:
    from random import Random

    from router.model.deploys import Deploy, Ledger

P = DeployPhase
A, B, C = "a" * 40, "b" * 40, "c" * 40


def gitlab(number: int, sha: str, phase: P, minutes: float) -> DeployReport:
    """Return what GitLab tells of one of its deployments."""
    return report(phase, minutes, revision=sha, run=f"deployment-{number}", also=(f"job-{9000 + number}",))


def job(number: int, pipeline: int, sha: str, phase: P, minutes: float) -> DeployReport:
    """Return what GitLab tells of a job with an environment."""
    return report(phase, minutes, revision=sha, also=(f"job-{number}", f"pipeline-{pipeline}"))


def rollouts(revision: int, sha: str, phase: P, minutes: float, name: str = "pay") -> DeployReport:
    """Return what Argo Rollouts tells of an update."""
    return report(
        phase, minutes, revision="", source="argo_rollouts", images=(f"r/pay:{sha[:8]}",),
        run=f"{name}:r{revision}", origin_kind=OriginKind.ARGO_ROLLOUT, origin=f"prod/{name}",
    )  # fmt: skip


def argocd(start: float, phase: P, minutes: float, config: str = "", *images: str) -> DeployReport:
    """Return what Argo CD tells of the operation that began at ``start``."""
    at = int((T0 + timedelta(minutes=start)).timestamp())
    return report(
        phase, minutes, revision="", source="argocd", config_revision=config, images=images, run=f"uid@{at}",
        origin_kind=OriginKind.ARGOCD_APPLICATION, origin="argocd/pay-prod",
    )  # fmt: skip


def shape(ledger: Ledger) -> set[tuple[str, tuple[tuple[str, float], ...]]]:
    """Return each deploy as its first name and its phases in minutes after T0."""
    return {
        (d.names[0][:8], tuple(sorted((p, (at - T0).total_seconds() / 60) for p, at in d.phases.items())))
        for d in ledger.deploys
    }


def one(ledger: Ledger) -> Deploy:
    (deploy,) = ledger.deploys
    return deploy


def test_runs_are_told_apart_in_any_order() -> None:
    """Deploy, next deploy, return to the first: three records, in whatever order six events arrive."""
    events = [
        gitlab(1, A, P.STARTED, 0), gitlab(1, A, P.LIVE, 1),
        gitlab(2, B, P.STARTED, 30), gitlab(2, B, P.LIVE, 31),
        gitlab(3, A, P.STARTED, 60), gitlab(3, A, P.LIVE, 61),
    ]  # fmt: skip
    want = shape(told(*events))
    assert len(want) == 3
    for order in itertools.permutations(events):
        assert shape(told(*order)) == want


def test_a_fast_rollback_is_a_deploy_of_its_own() -> None:
    """Back on the old version 90 seconds later is a third deploy, with runs and without."""
    with_runs = told(gitlab(1, A, P.LIVE, 0), gitlab(2, B, P.LIVE, 60), gitlab(3, A, P.LIVE, 61.5))
    without = told(*(report(P.LIVE, at, revision=sha) for sha, at in ((A, 0), (B, 60), (A, 61.5))))
    for ledger in (with_runs, without):
        assert [d.names[0] for d in ledger.deploys] == [A, B, A]


def test_the_same_deployment_is_never_two() -> None:
    """A run is one deploy, however far apart its reports lie."""
    assert set(one(told(gitlab(1, A, P.STARTED, 0), gitlab(1, A, P.LIVE, 60 * 20))).phases) == {
        "started",
        "live",
    }


def test_tellers_with_runs_are_joined_by_version() -> None:
    """GitLab's deployment and the Argo CD operation that it set off are one deploy, by commit and tag."""
    events = [
        gitlab(1, A, P.STARTED, 0), argocd(1, P.STARTED, 1, "c1"),
        argocd(1, P.LIVE, 3, "c1", f"r/pay:{A[:8]}"), gitlab(1, A, P.LIVE, 4),
    ]  # fmt: skip
    for order in itertools.permutations(events):
        _check_joined(one(told(*order)))


def _check_joined(joined: Deploy) -> None:
    assert set(joined.tellers) == {"gitlab", "argocd"}
    assert len(joined.runs) == 3  # GitLab's deployment and its job, Argo CD's operation
    assert set(joined.phases) == {"started", "live"}


def test_a_sidecar_does_not_make_two_versions_one() -> None:
    """A proxy's tag beside the service's names nothing, whether or not an image bears the service's name."""
    for image in ("r/pay", "r/checkout-backend"):
        ledger = told(
            argocd(0, P.LIVE, 1, "c1", "envoyproxy/envoy:v1.30.1", f"{image}:v1.0.0"),
            argocd(60, P.LIVE, 61, "c2", "envoyproxy/envoy:v1.30.1", f"{image}:v1.1.0"),
            argocd(120, P.LIVE, 121, "c3", "envoyproxy/envoy:v1.30.1", f"{image}:v1.2.0"),
        )
        assert [d.name for d in ledger.deploys][:2] == ["v1.2.0", "v1.1.0"]
        assert len(ledger.deploys) == 3


def test_the_last_versions_pods_do_not_name_the_next() -> None:
    """While the pods of two versions live beside each other, the new one is what the last deploy had not."""
    events = [
        argocd(0, P.LIVE, 1, "c1", "r/pay:v1.0.0"),
        argocd(60, P.LIVE, 61, "c2", "r/pay:v1.0.0", "r/pay:v1.1.0"),
        argocd(120, P.LIVE, 121, "c3", "r/pay:v1.0.0"),
    ]
    assert [d.names for d in told(*events).deploys] == [("v1.0.0",), ("v1.1.0",), ("v1.0.0",)]


def test_a_change_of_configuration_alone_is_a_deploy() -> None:
    """Another commit of the configuration with the same images is a deploy of its own."""
    ledger = told(argocd(0, P.LIVE, 1, "c1", "r/pay:v1"), argocd(60, P.LIVE, 61, "c2", "r/pay:v1"))
    assert [(d.name, d.config_revision) for d in ledger.deploys] == [("v1", "c2"), ("v1", "c1")]


@pytest.mark.parametrize("image", ["r/pay@sha256:{}", "r/pay:latest@sha256:{}"])
def test_digests_name_versions(image: str) -> None:
    """Images known by their digest only are versions of their own; going back to one is a third deploy."""
    digests = ("1a" * 32, "2b" * 32, "1a" * 32)
    ledger = told(
        *(argocd(60 * n, P.LIVE, 60 * n + 1, f"c{n}", image.format(d)) for n, d in enumerate(digests))
    )
    assert [d.name for d in ledger.deploys] == [
        "sha256:1a1a1a1a1a1a",
        "sha256:2b2b2b2b2b2b",
        "sha256:1a1a1a1a1a1a",
    ]


def test_syncing_what_serves_once_more_is_no_deploy() -> None:
    """Argo CD's self-heal of the version that serves adds nothing; after another version it is a return."""
    first = argocd(0, P.LIVE, 1, "c1", "r/pay:v1")
    ledger = told(first, argocd(30, P.STARTED, 30, "c1"), argocd(30, P.LIVE, 31, "c1", "r/pay:v1"))
    assert len(ledger.deploys) == 1
    assert joining.effect(one(ledger)) == first.at
    back = told(first, argocd(30, P.LIVE, 31, "c2", "r/pay:v2"), argocd(60, P.LIVE, 61, "c1", "r/pay:v1"))
    assert [d.name for d in back.deploys] == ["v1", "v2", "v1"]


def test_history_and_operation_are_one_run() -> None:
    """Two readings of one operation's start that differ by a second are the same run."""
    early = argocd(0, P.STARTED, 0, "c1")
    late = argocd(1 / 60, P.GREEN_DEPLOYED, 1, "c1")
    assert set(one(told(early, late)).phases) == {"started", "green_deployed"}
    other = argocd(5, P.GREEN_DEPLOYED, 6, "c2")
    assert len(told(early, other).deploys) == 2


def test_the_end_of_something_unknown_is_nothing() -> None:
    """Cleaning up what nobody told of makes no deploy that the next one could be taken for."""
    ledger = told(report(P.CLEANED_UP, 0, revision=""), report(P.LIVE, 5, revision=A))
    assert one(ledger).phases.keys() == {"live"}


def test_review_environments_do_not_crowd_out_production() -> None:
    """However many environments come and go, production stays, and of those no change event is sent."""
    many = [report(P.LIVE, n, revision=f"{n:040x}", environment=f"review/feature-{n}") for n in range(1, 60)]
    ledger = told(report(P.LIVE, 0, revision=A), *many)
    assert [d.names[0] for d in ledger.deploys if d.environment == "prod"] == [A]
    assert len(ledger.deploys) == deploys.KEEP_PASSING + 1
    assert not any(d.destinations for d in ledger.deploys if d.environment != "prod")
    assert next(d for d in ledger.deploys if d.environment == "prod").destinations


def test_pipelines_do_not_crowd_out_merges() -> None:
    """A busy day of pipelines leaves the merges that lend deploys their words."""
    ledger = told(
        change(P.MERGED, 0, title="Pay faster"),
        *(change(P.BUILT, n, revision=f"{n:040x}") for n in range(1, 60)),
        report(P.LIVE, 61),
    )
    assert one(ledger).title == "Pay faster"
    assert len(ledger.changes) == changes.KEEP_CHANGES


def test_a_change_without_a_commit_is_known_by_its_tag() -> None:
    """A build that tells only a tag is kept, joined with the tag's commit, and lent to the deploy."""
    ledger = told(
        change(P.BUILT, 0, revision="", names=("v1.42.0",), facts={"pipeline": "7"}),
        change(P.TAGGED, 1, names=("v1.42.0",)),
        report(P.LIVE, 5, revision="", images=("r/pay:v1.42.0",)),
    )
    assert len(ledger.changes) == 1
    assert one(ledger).facts == {"pipeline": "7"}


def test_a_clock_far_ahead_is_not_believed() -> None:
    """A report of a time to come is dated when it comes, so that it does not order the future."""
    ahead = report(P.PUSHED, 60 * 24 * 365)
    (placed,) = placing.place([ahead], book(), T0)
    assert isinstance(placed.event, ServiceDeploy)
    assert placed.event.report.at == T0
    assert placed.event.key == service_key("pay")


# --- one deploy, told by several --------------------------------------------------------------------


def blue_green(sha: str, at: float, n: int) -> list[DeployReport]:
    """Return all that three tellers tell of one blue-green deploy that begins at ``at``."""
    d, j, config = 10 * n, 9000 + 10 * n, f"c{n}"
    image = f"r/pay:{sha[:8]}"
    return [
        gitlab(d + 1, sha, P.STARTED, at), gitlab(d + 1, sha, P.LIVE, at + 4),
        gitlab(d + 2, sha, P.STARTED, at + 20), gitlab(d + 2, sha, P.LIVE, at + 21),
        job(j + 1, n, sha, P.GREEN_DEPLOYED, at + 4), job(j + 3, n, sha, P.GREEN_TESTED, at + 8),
        job(j + 2, n, sha, P.SWITCHED, at + 21),
        argocd(at + 1, P.STARTED, at + 1, config), argocd(at + 1, P.GREEN_DEPLOYED, at + 2, config),
        argocd(at + 1, P.LIVE, at + 22, config, image),
        rollouts(n, sha, P.STARTED, at + 1), rollouts(n, sha, P.GREEN_DEPLOYED, at + 3),
        rollouts(n, sha, P.SWITCHED, at + 21), rollouts(n, sha, P.LIVE, at + 22),
    ]  # fmt: skip


@given(st.randoms(use_true_random=False))
def test_one_deploy_of_three_tellers_is_one_record(random: Random) -> None:
    """In whatever order one blue-green deploy is told, there is one record of it, with all phases."""
    events = blue_green(A, 0, 1)
    random.shuffle(events)
    joined = one(told(*events))
    assert joined.phases.keys() >= {P.STARTED, P.GREEN_DEPLOYED, P.GREEN_TESTED, P.SWITCHED, P.LIVE}
    assert joining.effect(joined) == T0 + timedelta(minutes=21)
    assert joined.phases[P.LIVE] >= T0 + timedelta(minutes=21), "green that is ready is not live"
    assert len(joined.destinations) == 1


@given(st.randoms(use_true_random=False))
def test_three_deploys_in_a_row_are_three_records(random: Random) -> None:
    """Deploy, next deploy and return, told by three tellers some minutes out of order, are three records."""
    events = [*blue_green(A, 0, 1), *blue_green(B, 90, 2), *blue_green(A, 180, 3)]
    events.sort(key=lambda r: r.at + timedelta(minutes=random.uniform(0, 10)))
    ledger = told(*events)
    assert [d.names[0][:8] for d in ledger.deploys] == [A[:8], B[:8], A[:8]]
    assert all(joining.effect(d) for d in ledger.deploys)


def test_idle_green_is_not_suspected_of_being_live() -> None:
    """The success of the job that made green ready is not the moment when users meet the new version."""
    events = [e for e in blue_green(A, 0, 1) if e.source == "gitlab" and e.at < T0 + timedelta(minutes=20)]
    assert joining.effect(one(told(*events))) is None


def test_going_back_by_an_old_pipelines_job_is_a_deploy() -> None:
    """A job of an old pipeline, run once more after another version served, is a deploy of its own."""
    ledger = told(
        job(9001, 1, A, P.SWITCHED, 0), gitlab(1, A, P.LIVE, 0),
        job(9002, 2, B, P.SWITCHED, 60), gitlab(2, B, P.LIVE, 60),
        job(9003, 1, A, P.SWITCHED, 90), gitlab(3, A, P.LIVE, 90),
    )  # fmt: skip
    assert [d.names[0] for d in ledger.deploys] == [A, B, A]


def test_two_parts_of_one_service_are_one_deploy() -> None:
    """Two Rollouts, or two Argo CD applications, of one version at one time are one deploy."""
    both = told(rollouts(4, A, P.LIVE, 0), rollouts(9, A, P.LIVE, 2, "pay-worker"))
    assert len(both.deploys) == 1


def test_configuration_alone_after_another_teller_is_a_deploy() -> None:
    """Argo CD's sync of the version that GitLab told live two hours ago is a change of its own."""
    ledger = told(
        gitlab(1, A, P.STARTED, 0), gitlab(1, A, P.LIVE, 5),
        argocd(120, P.STARTED, 120, "c2"), argocd(120, P.LIVE, 122, "c2", f"r/pay:{A[:8]}"),
    )  # fmt: skip
    assert len(ledger.deploys) == 2
    assert joining.effect(ledger.deploys[0]) == T0 + timedelta(minutes=122)


def test_folding_keeps_what_is_still_to_be_told() -> None:
    """A change event due on a record without a name is not lost when that turns out to be another's."""
    ledger = told(
        gitlab(1, A, P.STARTED, 0),
        argocd(1, P.SWITCHED, 2, "c1"),
        argocd(1, P.LIVE, 3, "c1", f"r/pay:{A[:8]}"),
    )
    assert any(d.due for d in one(ledger).destinations.values())


def test_a_tag_joins_two_records_afterwards() -> None:
    """Two tellers that named one version differently are one deploy once the tag is told."""
    ledger = told(
        gitlab(1, A, P.STARTED, 0),
        argocd(1, P.LIVE, 3, "c1", "r/pay:v1.42.0"),
        change(P.TAGGED, 4, revision=A, names=("v1.42.0",)),
    )
    assert set(one(ledger).tellers) == {"gitlab", "argocd"}


def test_old_and_polled_words_of_one_deployment_are_one() -> None:
    """An old GitLab's webhook knows a deployment by its job, the API by its number and its job."""
    old = report(P.LIVE, 5, revision=A, run="job-9001", also=("job-9001",))
    polled = gitlab(1, A, P.LIVE, 5)
    for order in ((old, polled), (polled, old)):
        assert len(told(*order).deploys) == 1
