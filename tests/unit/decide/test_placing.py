"""From what was told to groups, services and the door's versions."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from router.decide import placing
from router.model import codec, keys
from router.model.commands import Command, CommandKind
from router.model.events import AlertBatch, DeployNoticed, GroupAlerts, Heartbeat, OriginKind, ServiceDeploy
from router.rulebook.book import Rulebook
from router.rulebook.load import load
from tests.unit.decide.making import T0, alert, report, rulebook

RULES = """
receivers:
  - name: all
  - name: pay
route:
  receiver: all
  group_by: [alertname]
  routes:
    - name: audit
      receiver: all
      matchers: ['service="shop"']
      group_by: [alertname, pod]
      continue: true
    - name: pay
      receiver: pay
      matchers: ['service="shop"']
services:
  - name: shop
    gitlab_projects: [web/shop-frontend]
"""


@pytest.fixture
def book(tmp_path: Path) -> Rulebook:
    (tmp_path / "rules.yaml").write_text(RULES)
    return load(tmp_path, {})


def test_alerts_are_grouped_per_route(book: Rulebook) -> None:
    """One delivery becomes one event for each group of each route that takes its alerts."""
    batch = AlertBatch("am", [alert("a"), alert("b"), alert("c", service="x")], external_url="u", truncated=2)
    out = placing.place([batch], book, T0)
    events = [p.event for p in out]
    assert all(isinstance(e, GroupAlerts) for e in events)
    sizes = {p.key: len(p.versions) for p in out}
    assert sizes == {
        keys.group_key("root/audit", {"alertname": "Slow", "pod": "a"}): 1,
        keys.group_key("root/audit", {"alertname": "Slow", "pod": "b"}): 1,
        keys.group_key("root/pay", {"alertname": "Slow"}): 2,
        keys.group_key("root", {"alertname": "Slow"}): 1,
    }
    for p in out:
        assert isinstance(p.event, GroupAlerts)
        assert (p.event.group, p.event.truncated, p.event.external_url) == (p.key, 2, "u")
        assert len(p.event.alerts) == len(p.versions)
        assert not p.urgent


def test_critical_makes_its_group_urgent() -> None:
    """A group with one critical alert overtakes; the others do not."""
    other = alert("c", alertname="Other")
    batch = AlertBatch("am", [alert("a"), alert("b", severity="PAGE"), other])
    first, second = placing.place([batch], rulebook(), T0)
    assert (first.urgent, second.urgent) == (True, False)


def test_deploys_are_placed_with_their_service(book: Rulebook) -> None:
    """A report goes to its service's key, by the catalogue, in the canonical environment, and is urgent."""
    said = report(origin_kind=OriginKind.GITLAB_PROJECT, origin="web/shop-frontend", environment="production")
    (one,) = placing.place([Heartbeat("gitlab", "push"), said], book, T0)
    assert isinstance(one.event, ServiceDeploy)
    assert (one.key, one.event.service, one.event.environment) == (keys.service_key("shop"), "shop", "prod")
    assert one.urgent
    assert one.versions == ((placing.door_field("", said.event_id), b"1"),)


def test_version_is_what_people_see() -> None:
    """Start, status, end and text make the version; the generator's address does not."""
    base = alert()
    same = msgspec.structs.replace(base, generator_url="http://other")
    assert placing.alert_version(base) == placing.alert_version(same)
    others = [alert(start=1), alert(end=1), alert(end=2), alert(annotations={})]
    assert len({placing.alert_version(a) for a in [base, *others]}) == 5


def test_door_field_depends_on_group_and_key() -> None:
    """An alert in two groups has two fields."""
    fields = {placing.door_field(g, k) for g in ("g" * 16, "h" * 16) for k in ("am:1", "am:2")}
    assert len(fields) == 4
    assert {len(f) for f in fields} == {8}


def test_commands_and_notices_count_once() -> None:
    """A command and a notice are known by their event ids."""
    click = Command("g", 1, CommandKind.RESOLVE, "ann", T0, "e1")
    one = placing.command(click)
    assert (one.key, one.event, one.urgent) == ("g", click, True)
    versions, raw = placing.notice(DeployNoticed("shop", "e1"))
    assert versions == one.versions
    assert codec.stored(raw) == DeployNoticed("shop", "e1")
