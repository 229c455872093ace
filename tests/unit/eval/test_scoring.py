"""How the evaluation judges: small worlds whose scores are known by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from router.app import load_rules
from tests.eval import cases, report, rules, scenario, scoring, yardstick
from tests.eval.fleet.__main__ import write
from tests.eval.fleet.knobs import BASELINE, FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

SHA, OTHER = "a" * 40, "b" * 40
SERVICES = {
    "services": [
        {"name": "web", "team": "t", "tier": 1, "depends_on": ["api"]},
        {"name": "api", "team": "t", "tier": 1, "depends_on": ["db"]},
        {"name": "db", "team": "t", "tier": 1, "depends_on": []},
    ]
}


def at(minute: float) -> str:
    return f"2026-03-02T10:{int(minute):02}:{int(minute % 1 * 60):02}Z"


def truth(**more: Any) -> dict[str, Any]:
    """A bad deploy of api at 10:00, a harmless one of web at 10:05; a fault of each kind."""
    return {
        "family": "small",
        "deploys": [
            {"id": "bad", "service": "api", "environment": "production", "version": SHA, "switched_at": at(0),
             "bad": True},
            {"id": "good", "service": "web", "environment": "production", "version": OTHER,
             "switched_at": at(5), "bad": False},
        ],
        "faults": [
            {"id": "f1", "deploy": "bad", "began": at(2), "ended": at(40),
             "alerts": [["aa", at(3)], ["bb", at(3)]]},
            {"id": "f2", "deploy": None, "began": at(7), "ended": None, "alerts": [["cc", at(8)]]},
        ],
    } | more  # fmt: skip


def suspect(service: str, name: str, probability: float) -> dict[str, Any]:
    return {
        "service": service,
        "environment": "prod",
        "names": [name],
        "at": at(0),
        "probability": probability,
    }


def incident(
    n: int, service: str, alerts: list[list[str]], *verdicts: Any, opened: float = 4
) -> dict[str, Any]:
    return {
        "id": f"i{n}", "service": service, "environment": "prod", "team": "t", "opened_at": at(opened),
        "resolved_at": at(50), "paged": True, "group": "", "alerts": alerts,
        "verdicts": [{"at": at(minute), "suspects": found} for minute, found in verdicts],
    }  # fmt: skip


def world(*incidents: dict[str, Any], name: str = "w", **more: Any) -> cases.World:
    return cases.world(name, truth(**more), SERVICES, {"incidents": list(incidents)})


def score(*worlds: cases.World, judge: scoring.Judge | None = None) -> dict[str, Any]:
    return scoring.score(scoring.judged(worlds, judge or scoring.product()), 0.5)


RIGHT = incident(1, "api", [["aa", at(3)]], (4, [suspect("api", SHA[:8], 0.9)]))
FALSE = incident(2, "web", [["cc", "2026-03-02T11:08:00+01:00"]], (8, [suspect("web", OTHER, 0.8)]), opened=8)


def test_right_and_false_decisions() -> None:
    """A suspected bad deploy is right; any deploy named for what no deploy did is false."""
    found = score(world(RIGHT, FALSE))
    assert (found["top1"], found["precision"], found["recall"]) == (1.0, 0.5, 1.0)
    assert found["false_per_100_unrelated"] == 100.0
    assert (found["change_caused"], found["unrelated"], found["wrong_deploy"]) == (1, 1, 0)


def test_names_environments_and_instants_are_compared_by_meaning() -> None:
    """An abbreviated sha, production for prod and a time written with another offset are the same."""
    (one, two) = world(RIGHT, FALSE).cases
    assert one.said[0][1] == (("bad", 0.9),)
    assert two.fault.id == "f2"
    assert two.environment == "prod"


def test_most_alerts_decide_what_an_incident_is() -> None:
    """An incident of two faults is that with more of its alerts; of equal ones, that which began first."""
    both = incident(1, "api", [["aa", at(3)], ["bb", at(3)], ["cc", at(8)]])
    even = incident(2, "api", [["cc", at(8)], ["aa", at(3)]])
    strange = incident(3, "api", [["zz", at(3)]])
    found = world(both, even, strange)
    assert [c.fault.id for c in found.cases] == ["f1", "f1"]
    assert found.unknown == 1
    assert scoring.grouping([found])["faults_per_incident"] == 2.0


def test_abstaining_and_missing() -> None:
    """Below the threshold nothing is decided, but the ranking counts; nobody named is a miss."""
    unsure = incident(1, "api", [["aa", at(3)]], (4, [suspect("web", OTHER, 0.4), suspect("api", SHA, 0.3)]))
    silent = incident(2, "api", [["bb", at(3)]])
    found = score(world(unsure, silent))
    assert (found["top1"], found["top3"], found["mrr"]) == (0.0, 0.5, 0.25)
    assert (found["precision"], found["recall"], found["abstention"]) == (None, 0.0, 1.0)


def test_what_nobody_told_of_is_unattainable() -> None:
    """A bad deploy without a word counts in recall over all, not over the observable."""
    deploys = [d | {"observed": False} for d in truth()["deploys"]]
    found = score(world(RIGHT, deploys=deploys))
    assert (found["observable"], found["change_caused"], found["recall"], found["recall_of_all"]) == (
        0,
        1,
        None,
        1.0,
    )
    assert score(world(RIGHT, deploys=deploys), judge=rules.oracle)["recall_of_all"] == 0.0


def test_a_deploy_that_is_not_bad_is_never_right() -> None:
    """A fault that names a harmless deploy is unrelated."""
    faults = [{"id": "f1", "deploy": "good", "began": at(2), "ended": at(4), "alerts": [["aa", at(3)]]}]
    found = score(
        world(incident(1, "web", [["aa", at(3)]], (4, [suspect("web", OTHER, 0.9)])), faults=faults)
    )
    assert (found["unrelated"], found["false_per_100_unrelated"], found["top1"]) == (1, 100.0, None)


def test_a_folder_without_deploy_faults_is_judged_on_false_attribution_alone() -> None:
    """Nothing is divided by zero, and the whole report is made."""
    faults = [truth()["faults"][1]]
    one = world(FALSE, faults=faults)
    whole = report.build([one], 0.5)
    final = whole["families"]["small"]["final"]
    assert (final["top1"], final["recall"], final["false_per_100_unrelated"]) == (None, None, 100.0)
    assert json.loads(json.dumps(whole)) == whole
    assert "small" in report.table(whole)
    assert report.markdown(whole)
    assert report.build([world()], 0.5)["pooled"]["final"]["incidents"] == 0


def test_verdicts_of_a_moment() -> None:
    """What stood five minutes after the incident opened is judged as it stood then."""
    later = incident(1, "api", [["aa", at(3)]], (4, []), (8, [suspect("api", SHA, 0.6)]), (20, []))
    (case,) = world(later).cases
    assert case.at(timedelta(minutes=3)) == ()
    assert case.at(timedelta(minutes=5)) == (("bad", 0.6),)
    assert case.at(None) == ()


def test_calibration() -> None:
    """Brier's score is of the first suspect, and each tenth shows what was said and what was."""
    found = scoring.calibration(scoring.judged([world(RIGHT, FALSE)], scoring.product()))
    assert found["brier"] == pytest.approx((0.1**2 + 0.8**2) / 2)
    rows = {r["from"]: (r["count"], r["was"]) for r in found["reliability"] if r["count"]}
    assert rows == {0.8: (1, 0), 0.9: (1, 1)}


def test_latency_counts_until_it_stays() -> None:
    """A verdict that changes and comes back is stable from its last return."""
    good, bad = suspect("api", SHA, 0.9), suspect("web", OTHER, 0.9)
    one = incident(1, "api", [["aa", at(3)]], (4, [good]), (6, [bad]), (9, [good]), (12, [good]))
    found = scoring.latency([world(one)])
    assert (found["to_stable_p50_min"], found["flips"]) == (5.0, 2)


def test_intervals_are_over_scenarios() -> None:
    """The bootstrap draws whole scenarios, is the same each time, and needs more than one."""
    worlds = [world(RIGHT, name="a"), world(incident(1, "api", [["aa", at(3)]]), name="b")]
    pairs = {w.name: scoring.judged([w], scoring.product()) for w in worlds}
    found = scoring.bootstrap(pairs, 0.5)
    assert found["top1"] == [0.0, 1.0]
    assert found == scoring.bootstrap(pairs, 0.5)
    assert scoring.bootstrap({"a": pairs["a"]}, 0.5) == {}


def test_the_trivial_rules() -> None:
    """Each rule names what it says, of what was told of and before the alert only."""
    one = incident(1, "web", [["aa", at(6)]], opened=7)
    faults = [{"id": "f1", "deploy": "bad", "began": at(2), "ended": at(9), "alerts": [["aa", at(6)]]}]
    w = world(one, faults=faults)
    said = {name: rule(w, w.cases[0]) for name, rule in rules.RULES.items()}
    assert said["most recent"] == said["same service, last hour"] == (("good", 1.0),)
    assert said["same service, else what it calls"] == (("good", 1.0),)
    early = world(incident(1, "web", [["aa", at(6)]]), faults=faults, deploys=[truth()["deploys"][0]])
    assert rules.same_service(early, early.cases[0]) == ()
    assert (
        rules.same_else_callee(early, early.cases[0]) == rules.same_else_recent(early, early.cases[0]) != ()
    )
    assert rules.at_random(w, w.cases[0]) == rules.at_random(w, w.cases[0])


def test_the_yardstick_learns_what_is_plain() -> None:
    """Trained where the service's own deploy did it, it names that, and it is the same each time."""
    faults = [
        {
            "id": f"f{n}",
            "deploy": "bad" if n % 2 else None,
            "began": at(2),
            "ended": at(40),
            "alerts": [[f"{n}", at(3)]],
        }
        for n in range(40)
    ]
    some = [incident(n, "api" if n % 2 else "db", [[f"{n}", at(3)]]) for n in range(40)]
    trained = yardstick.fit([world(*some, faults=faults)])
    assert trained is not None
    again = yardstick.fit([world(*some, faults=faults)])
    assert again is not None
    (case,) = world(incident(1, "api", [["aa", at(3)]])).cases
    (first, *_) = trained.judge()(world(RIGHT), case)
    assert first[0] == "bad"
    assert first[1] > 0.8
    assert first == again.judge()(world(RIGHT), case)[0]
    assert yardstick.fit([world()]) is None


def test_where_the_product_is_behind_is_said() -> None:
    """A rule that is ahead in a family is named."""
    silent = incident(1, "api", [["aa", at(3)]])
    whole = report.build([world(silent)], 0.5)
    assert any("same service" in line for line in report.behind(whole["families"]["small"]))


# --- scenarios --------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    """The same family and seed write the same scenario, in order; each alert is of one fault."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(BASELINE, seed, tmp_path / name)
    read = {n: [(tmp_path / n / f).read_bytes() for f in scenario.FILES] for n in "abc"}
    assert read["a"] == read["b"]
    assert read["a"] != read["c"]
    events = list(scenario.events(tmp_path / "a"))
    assert [e.at for e in events] == sorted(e.at for e in events)
    owners = [tuple(a) for f in scenario.read(tmp_path / "a", "truth.json")["faults"] for a in f["alerts"]]
    assert len(owners) == len(set(owners))


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_families_have_what_they_say(tmp_path: Path, name: str) -> None:
    """Each family has faults that no deploy caused, and all but one have some that a deploy did."""
    write(FAMILIES[name], 0, tmp_path)
    truth_ = scenario.read(tmp_path, "truth.json")
    caused = [f for f in truth_["faults"] if f["deploy"]]
    assert bool(caused) is (name != "innocent")
    assert len(truth_["faults"]) > len(caused)
    bad = {d["id"] for d in truth_["deploys"] if d["bad"]}
    assert {f["deploy"] for f in caused} <= bad


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not a request"),
        ('{"at": "2026-03-02T10:00:00", "path": "/x"}', "no time zone"),
        ('{"at": "soon", "path": "/x"}', "no RFC 3339 time"),
        ('{"at": "2026-03-02T10:00:00Z", "path": "x"}', "begin with /"),
        ('{"path": "/x"}', "not a request"),
    ],
)
def test_what_is_wrong_in_a_scenario_is_said_with_its_line(tmp_path: Path, line: str, says: str) -> None:
    """The file and the line are named."""
    (tmp_path / "events.jsonl").write_text('{"at": "2026-03-02T09:00:00Z", "path": "/x"}\n\n' + line + "\n")
    with pytest.raises(scenario.BadScenario, match=says) as caught:
        list(scenario.events(tmp_path))
    assert "events.jsonl:3" in str(caught.value)


def test_folders_are_found_at_any_depth(tmp_path: Path) -> None:
    """Every folder with events counts, the path itself too; a missing file or no folder at all is said."""
    with pytest.raises(scenario.BadScenario, match="no folder"):
        scenario.find(tmp_path)
    for folder in (tmp_path / "b", tmp_path / "a" / "x", tmp_path):
        write(FAMILIES["innocent"], 0, folder)
    assert scenario.find(tmp_path) == [tmp_path, tmp_path / "a" / "x", tmp_path / "b"]
    (tmp_path / "b" / "truth.json").unlink()
    with pytest.raises(scenario.BadScenario, match=r"truth\.json is missing"):
        scenario.find(tmp_path)


def test_late_lines_are_refused(tmp_path: Path) -> None:
    """Time does not go back within a file."""
    rows = [{"at": "2026-03-02T10:00:01Z", "path": "/x"}, {"at": "2026-03-02T10:00:00Z", "path": "/x"}]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    with pytest.raises(scenario.BadScenario, match="earlier than the line before"):
        list(scenario.events(tmp_path))


def test_rules_are_made_of_any_catalogue(tmp_path: Path) -> None:
    """Odd teams, quotes, unknown dependencies, doubled claims and own environments become rules."""
    odd = [
        {"name": 'a "b"', "team": "x/y | z", "tier": 77, "depends_on": ["nobody", 'a "b"', "c"],
         "gitlab_project": "g/a", "argocd_apps": ["a-prod", "a-prod"]},
        {"name": "c", "team": None, "tier": None, "depends_on": None, "gitlab_project": "G/A"},
    ]  # fmt: skip
    body = b'{"object_kind": "deployment", "environment": "production-eu"}'
    sent = [
        scenario.Request(scenario.instant(at(0), "x"), "/webhooks/gitlab", {}, b)
        for b in (body, body, b"[]", b"{")
    ]
    scenario.write_rules(tmp_path, {"services": odd}, scenario.environments(sent))
    book = load_rules(tmp_path)
    assert book.services['a "b"'].dependencies == ("c",)
    assert book.services['a "b"'].tier == 9
    assert book.environment({"env": "production-eu"}) == "production-eu"
    assert book.environment({"env": "production"}) == "prod"
    assert book.route({"service": 'a "b"'})[0].receiver == "team-0"
