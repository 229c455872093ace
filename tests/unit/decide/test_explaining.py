"""Why an alert goes where it goes: the words agree with what production does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from router.decide import explaining, muting, outlook
from router.decide.explaining import MOST_ALERTS, Scene
from router.decide.outlook import Outlook
from router.model.deploys import Ledger
from router.model.events import DeployPhase, Hold
from router.model.incidents import Entry, State
from router.model.reasons import Reason, Why
from router.model.silences import SilenceMatcher
from tests.fakes.samples import GROUP, ONSET, alert, deploy, incident, suspect
from tests.fakes.silences import PAYMENTS, START, silence
from tests.unit.rulebook.helpers_rulebook import book

if TYPE_CHECKING:
    from pathlib import Path

    from router.model.incidents import Incident
    from router.rulebook.book import Rulebook

NOW = START + timedelta(minutes=1)  # a Sunday, 10:20:40 UTC
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LABELS = {"service": "payment-service", "severity": "critical", "env": "prod", "alertname": "Slow"}
RULES = """
route:
  receiver: chat
  group_by: [alertname, missing]
  routes:
    - name: payments
      matchers: [service=payment-service]
      receiver: page
      group_wait: 10s
      group_interval: 1m
      repeat_interval: 1d
      severity_map: {critical: warning}
      notify: [{receiver: lead, after: 15m, when: {severity: critical, age: ">= 10m"}}, {receiver: chat}]
      mute_time_intervals: [sundays]
      continue: true
    - name: tiers
      when: {tier: 1}
      receiver: page
    - name: inner
      matchers: [service=payment-service]
      group_by: ['...']
      routes: [{name: dev, matchers: [env=dev]}, {name: prod, matchers: [env=prod]}]
    - name: late
      matchers: [service=payment-service]
receivers: [{name: chat}, {name: page}, {name: lead}]
services: [{name: payment-service, team: payments, tier: 2}]
time_intervals: [{name: sundays, time_intervals: [{weekdays: [sunday]}]}]
relabel_configs:
  - {source_labels: [severity], regex: debug, action: drop}
  - {regex: pod, action: labeldrop}
inhibit_rules:
  - {name: critical-first, source_matchers: [severity=critical], target_matchers: ['severity!=critical'], equal: [env]}
  - {source_matchers: ['alertname=~"Slow|Down"'], target_matchers: ['alertname=~"Slow|Gone"']}
maintenance_windows:
  - {name: move, matchers: [env=prod], starts_at: 2026-03-01T10:00:00Z, ends_at: 2026-03-01T11:00:00Z}
  - {name: later, matchers: [env=prod], starts_at: 2026-03-02T10:00:00Z, ends_at: 2026-03-02T11:00:00Z}
  - {name: dev, matchers: [env=dev], starts_at: 2026-03-01T10:00:00Z, ends_at: 2026-03-01T11:00:00Z}
deploy_holds: [{name: warnings, lease: 10m, max: 30m}]
"""  # noqa: E501  one rule a line reads best


@pytest.fixture
def rules(tmp_path: Path) -> Rulebook:
    return book(tmp_path, all=RULES)


def explained(rules: Rulebook, seen: Outlook | None = None, **labels: str) -> dict[str, Any]:
    """Return the explanation of an alert, which must be plain JSON."""
    found = explaining.alert({**LABELS, **labels}, rules, seen or Outlook(), NOW)
    return msgspec.json.decode(msgspec.json.encode(found))


# --- an alert ---------------------------------------------------------------------------------------


def test_a_dropped_alert(rules: Rulebook) -> None:
    """Where relabelling drops it nothing else is said."""
    found = explained(rules, severity="debug")
    assert set(found) == {"labels", "dropped", "rulebook"}
    assert "nobody is told" in found["dropped"]


def test_labels_before_and_after(rules: Rulebook) -> None:
    """The labels are the sender's; what the rules make of them is said where it is another."""
    assert explained(rules)["relabelled"] is None
    found = explained(rules, pod="p-1")
    assert found["labels"]["pod"] == "p-1"
    assert found["relabelled"] == LABELS


def test_what_the_catalogue_knows(rules: Rulebook) -> None:
    """Service, team, tier and environment are as conditions see them."""
    found = explained(rules)
    assert [found[k] for k in ("service", "team", "tier", "environment")] == [
        "payment-service", "payments", 2, "prod",
    ]  # fmt: skip
    assert explained(rules, service="other")["tier"] is None


def nodes(tree: dict[str, Any]) -> dict[str, tuple[bool, bool, bool, str]]:
    found = {tree["route"]: (tree["tried"], tree["matches"], tree["takes"], tree["why"])}
    for below in tree["routes"]:
        found |= nodes(below)
    return found


def test_the_tree_says_what_matched_and_what_refused(rules: Rulebook) -> None:
    """Each route says whether it was tried, matched and takes the alert, and why."""
    assert nodes(explained(rules)["tree"]) == {
        "root": (True, True, False, "matches; a route below takes it"),
        "root/payments": (True, True, True, "takes it"),
        "root/tiers": (True, False, False, "tier is 2, wanted == 1"),
        "root/inner": (True, True, False, "matches; a route below takes it"),
        "root/inner/dev": (True, False, False, "env=\"dev\" does not match env='prod'"),
        "root/inner/prod": (True, True, True, "takes it"),
        "root/late": (False, False, False, "a route before it took the alert"),
    }
    found = explained(rules, service="x")["tree"]
    assert (found["takes"], found["matchers"], found["routes"][0]["continue"]) == (True, [], True)
    assert found["routes"][0]["matchers"] == ['service="payment-service"']


def test_who_is_told_and_when(rules: Rulebook) -> None:
    """Each route that takes it says its group, times, severity there, interval and further receivers."""
    first, second = explained(rules)["taken"]
    assert first == {
        "route": "root/payments",
        "receiver": "page",
        "severity": "warning",
        "group": {"alertname": "Slow"},
        "group_wait": "10s",
        "group_interval": "1m",
        "repeat_interval": "1d",
        "told_now": False,
        "interval": "sundays",
        "notify": [
            {"receiver": "lead", "after": "15m", "when": ["severity", "age"]},
            {"receiver": "chat", "after": "0s", "when": []},
        ],
    }
    assert (second["route"], second["told_now"], second["interval"]) == ("root/inner/prod", True, "")
    assert second["group"] == LABELS
    assert second["severity"] == "critical"


def test_it_takes_what_production_takes(rules: Rulebook) -> None:
    """The routes that the tree says take it are the routes that take it."""
    for labels in ({}, {"service": "x"}, {"env": "dev"}, {"env": "staging"}):
        found = explained(rules, **labels)
        taking = {name for name, (*_, takes, _why) in nodes(found["tree"]).items() if takes}
        assert taking == {t["route"] for t in found["taken"]}


# --- what mutes it ----------------------------------------------------------------------------------


def test_windows(rules: Rulebook) -> None:
    """Each window says whether it is open, or what does not match; an open one mutes."""
    found = explained(rules)
    assert found["muting"]["maintenance_windows"] == [
        {"name": "move", "mutes": True, "why": "it is open"},
        {"name": "later", "mutes": False, "why": "it is closed now"},
        {"name": "dev", "mutes": False, "why": 'env="dev" does not match'},
    ]
    assert found["muted"] == "maintenance window move"
    assert explained(rules, env="staging")["muted"] == ""


def test_silences(rules: Rulebook) -> None:
    """Each silence that is not over says whether it mutes, or what does not match."""
    seen = Outlook(
        silences=outlook.silences(
            [
                silence("now"),
                silence("soon", starts_at=NOW + HOUR),
                silence("other", matchers=(PAYMENTS, SilenceMatcher("env", "dev"))),
                silence("over", starts_at=START - HOUR, ends_at=START),
            ]
        )
    )
    found = explained(rules, seen)
    assert {s["id"]: (s["mutes"], s["why"]) for s in found["muting"]["silences"]} == {
        "now": (True, "it is active"),
        "soon": (False, "it is pending"),
        "other": (False, 'env="dev" does not match'),
    }
    assert found["muted"].startswith("silenced by ana until")


def test_of_many_silences_only_those_that_match_are_shown(rules: Rulebook) -> None:
    """A long list of silences about something else would hide the one that mutes."""
    others = [silence(f"s{n}", matchers=(SilenceMatcher("env", f"e{n}"),)) for n in range(MOST_ALERTS)]
    seen = Outlook(silences=outlook.silences([*others, silence("now")]))
    assert [s["id"] for s in explained(rules, seen)["muting"]["silences"]] == ["now"]


def firing(rules: Rulebook, *alerts: dict[str, str]) -> Outlook:
    """Return the view in which these alerts fire."""
    found: dict[str, dict[str, bool]] = {}
    for n, labels in enumerate(alerts):
        for key, target in muting.inhibits(labels, rules).items():
            found.setdefault(key, {})[f"am:{n}"] = target
    return Outlook(inhibitors=found)


def test_inhibit_rules(rules: Rulebook) -> None:
    """Each rule says whether it is about this alert, and whether what inhibits it fires."""
    seen = firing(rules, {"severity": "critical", "env": "staging"})
    found = explained(rules, seen, severity="info", env="staging", alertname="Other")
    assert found["muting"]["inhibit_rules"] == [
        {"name": "critical-first", "mutes": True, "why": "1 alerts of its source side fire"},
        {"name": "rule 1", "mutes": False, "why": 'not a target: alertname=~"Slow|Gone" does not match'},
    ]
    assert found["muted"] == "inhibited by critical-first"
    quiet = explained(rules, seen, severity="info", env="dev", alertname="Gone")["muting"]["inhibit_rules"]
    assert [r["why"] for r in quiet] == [
        "no alert of its source side fires with the same env",
        "no alert of its source side fires with the same labels",
    ]


@pytest.mark.parametrize(
    ("others", "mutes"),
    [
        pytest.param([{"alertname": "Slow"}], False, id="one of its like"),
        pytest.param([{"alertname": "Down"}], True, id="one that is only a source"),
        pytest.param([{"alertname": "Slow"}, {"alertname": "Down"}], True, id="both"),
    ],
)
def test_an_alert_does_not_inhibit_its_like(
    rules: Rulebook, others: list[dict[str, str]], *, mutes: bool
) -> None:
    """What matches both sides is inhibited only by what matches the source side alone, as in production."""
    seen = firing(rules, *others)
    labels = {"alertname": "Slow", "env": "staging"}
    found = explained(rules, seen, **labels)
    assert found["muting"]["inhibit_rules"][1]["mutes"] is mutes
    assert bool(muting.of_alert(LABELS | labels, rules, seen, NOW)) is mutes
    assert bool(found["muted"]) is mutes


# --- an incident ------------------------------------------------------------------------------------


def of(rules: Rulebook, head: Incident, alerts: int = 1, **scene: Any) -> dict[str, Any]:
    """Return the explanation of an incident, which must be plain JSON."""
    seen = Scene(rules, scene.get("outlook", Outlook()), scene.get("ledgers", {}), NOW)
    timeline = [Entry(ONSET, "incident_opened", "3 alerts fire", "router", 2)]
    found = explaining.incident(head, [alert(n) for n in range(alerts)], timeline, seen)
    return msgspec.json.decode(msgspec.json.encode(found))


def test_an_incident_as_it_stands(rules: Rulebook) -> None:
    """Its state, its times, its timeline and its rulebooks are told."""
    found = of(
        rules,
        incident(wait_until=NOW, flush_at=NOW + MINUTE, wake_at=NOW + HOUR, book="b0",
                 muted_by=("maintenance:move",)),
    )  # fmt: skip
    assert (found["incident"], found["state"]) == (f"{GROUP}.2", "triggered")
    assert (found["rulebook"], found["decided_under"]) == (rules.version, "b0")
    assert found["reasons"] == [{"why": "incident_opened", "text": "3 alerts fire"}]
    assert found["muted_by"] == ["maintenance window move"]
    assert found["waits_until"] < found["changes_told_at"] < found["looked_at_again"]
    assert found["hold"] is None
    assert found["timeline"] == [
        {
            "at": "2026-03-01T10:03:00Z",
            "why": "incident_opened",
            "text": "3 alerts fire",
            "by": "router",
        }
    ]


def test_its_alerts_are_placed_as_they_would_be_now(rules: Rulebook) -> None:
    """Of many alerts the first ten are explained one by one."""
    found = of(rules, incident(), alerts=MOST_ALERTS + 1)
    assert len(found["alerts"]) == MOST_ALERTS
    assert found["alerts"][0]["labels"]["pod"] == "payment-0"
    assert [t["route"] for t in found["alerts"][0]["taken"]] == ["root/payments", "root/inner"]


def test_suspects(rules: Rulebook) -> None:
    """Each deploy says whether it is suspected, how sure that is, and each piece of evidence."""
    cleared = suspect(deploy_id="prod/1.0/1", score=-1.0, reasons=(Reason(Why.SAME_SERVICE, "s", 2.0),))
    found = of(rules, incident(suspects=(suspect(), cleared)))["suspects"]
    assert [s["suspected"] for s in found] == [True, False]
    assert found[0]["probability"] == suspect().probability
    assert (found[0]["deploy"], found[0]["version"]) == ("prod/1.42.0/1", "1.42.0")
    assert found[1]["reasons"] == [{"why": "same_service", "text": "s", "weight": 2.0}]


def test_steps(rules: Rulebook) -> None:
    """Each further receiver says whether it was told, when it is due, and how each condition came out."""
    head = incident(also=("chat",), paged_at=ONSET + MINUTE, opened_at=ONSET)
    lead, chat = of(rules, head)["notify"]
    assert (lead["receiver"], lead["told"], lead["after"]) == ("lead", False, "15m")
    assert lead["due"] == "2026-03-01T10:19:00Z"
    assert [(c["condition"], c["holds"]) for c in lead["conditions"]] == [("severity", True), ("age", True)]
    assert (chat["told"], chat["conditions"]) == (True, [])
    assert of(rules, incident())["notify"][0]["due"] is None
    assert of(rules, incident(receiver="lead"))["notify"][0]["told"] is True


def test_a_route_that_is_gone_has_no_steps(rules: Rulebook) -> None:
    """An incident of a route that the rules have no more is still explained."""
    assert of(rules, incident(route="root/gone"))["notify"] == []


def hold(digest: str) -> Hold:
    return Hold("warnings", "payment-service", "prod", "prod/1.42.0/1", "1.42.0", digest, NOW + HOUR)


def test_a_held_incident(rules: Rulebook) -> None:
    """It says by which rule, for which deploy, until when as things stand, and who tells it."""
    began = deploy(phases={DeployPhase.STARTED: NOW - MINUTE})
    ledgers = {"payment-service": Ledger("payment-service", (began,))}
    found = of(rules, incident(state=State.HELD, hold=hold("digest")), ledgers=ledgers)["hold"]
    assert found == {
        "rule": "warnings",
        "deploy": "prod/1.42.0/1",
        "until": "2026-03-01T10:29:40Z",
        "told_by": "digest.*",
        "held": True,
    }
    assert of(rules, incident(hold=hold("digest")))["hold"]["held"] is False


@pytest.mark.parametrize(
    ("wait_until", "held"),
    [(NOW + MINUTE, True), (NOW, False), (None, False)],
    ids=["waits", "is told now", "was told"],
)
def test_a_digest(rules: Rulebook, wait_until: Any, *, held: bool) -> None:
    """The incident that tells all that was held is told by itself, and held while it waits."""
    found = of(rules, incident(hold=hold(GROUP), wait_until=wait_until))["hold"]
    assert (found["told_by"], found["held"]) == ("", held)
    assert found["until"] == "2026-03-01T11:20:40Z"
