"""A second look when rules, silences or what inhibits have changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from router.decide import placing
from router.model import keys
from router.model.destinations import Want
from router.model.events import AlertBatch, GroupAlerts, Hold, Severity, TimerKind
from router.model.incidents import State
from router.model.reasons import Why
from router.rulebook.book import Rulebook
from router.rulebook.load import load
from tests.unit.decide.making import T0, World, after, alert, words
from tests.unit.rulebook.helpers_rulebook import KINDS, write

BEFORE = """
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 0s
  group_interval: 0s
  routes:
    - {name: shop, receiver: shop, matchers: ['service="shop"']}
receivers:
  - {name: ops, pagerduty_configs: [{routing_key_env: A}]}
  - {name: shop, pagerduty_configs: [{routing_key_env: B}]}
  - {name: other, pagerduty_configs: [{routing_key_env: C}]}
"""
TARGET = "shop/pagerduty/0"


def rules(folder: Path, text: str) -> Rulebook:
    return load(write(folder, rules=text), KINDS)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An incident that the rules of BEFORE sent to the shop, told."""
    book = rules(tmp_path, BEFORE)
    (event,) = placing.grouped(AlertBatch("alertmanager", [alert(), alert("b")]), book, T0)
    world = Tree(book, event)
    world.delivers_all()
    return world


class Tree(World):
    """A world whose group is the one that the rules made."""

    def __init__(self, book: Rulebook, event: GroupAlerts) -> None:
        super().__init__(book)
        self.group = event.group
        self.does(event)


def test_the_same_rules_change_nothing(world: World) -> None:
    """A look under the rules that decided last writes nothing at all."""
    out = world.looks(1)
    assert out.incident is None
    assert (out.members, out.timers, out.onward, out.why) == ({}, [], [], [])


def test_other_rules_that_mean_the_same_are_only_noted(world: World, tmp_path: Path) -> None:
    """The incident knows under which rulebook it stands; nobody is told anything."""
    world.book = rules(tmp_path, BEFORE + "# a remark\n")
    world.looks(1)
    assert world.head.book == world.book.version
    assert not world.head.due


def test_an_alert_that_belongs_elsewhere_now_goes_there(world: World, tmp_path: Path) -> None:
    """It leaves its incident, which ends, and is placed where the rules send it, to be told there."""
    world.book = rules(tmp_path, BEFORE.replace('service="shop"', 'pod="nobody"'))
    out = world.looks(1)
    assert Why.ALERT_MOVED in words(out)
    assert [(e.route, [a.key for a in e.alerts]) for e in out.onward if isinstance(e, GroupAlerts)] == [
        ("root", ["am:a"]),
        ("root", ["am:b"]),
    ]
    assert out.onward[0].group == keys.group_key("root", {"alertname": "Slow"})
    assert sorted(out.look_again) == ["am:a", "am:b"], "should they come back, the door must let them in"
    assert world.head.state is State.RESOLVED
    assert world.target(TARGET).want is Want.RESOLVED
    assert world.seen.members == {}


def test_some_alerts_may_stay(world: World, tmp_path: Path) -> None:
    """Only what the rules send elsewhere leaves; the counts are those of what stays."""
    world.book = rules(tmp_path, BEFORE.replace("""'service="shop"'""", """'service="shop"', 'pod!="b"'"""))
    out = world.looks(1)
    assert [e.alerts[0].key for e in out.onward if isinstance(e, GroupAlerts)] == ["am:b"]
    assert (world.head.state, world.head.firing, world.head.by_severity) == (
        State.TRIGGERED,
        1,
        {"warning": 1},
    )


def test_a_route_with_another_receiver_tells_that_one(world: World, tmp_path: Path) -> None:
    """Whoever is responsible now is told at once; whoever was hears of the end."""
    world.book = rules(
        tmp_path, BEFORE.replace("name: shop, receiver: shop,", "name: shop, receiver: other,")
    )
    world.looks(1)
    assert world.head.receiver == "other"
    assert world.target("other/pagerduty/0").due
    world.delivers_all()
    world.does(_resolved(world), 2)
    assert world.target(TARGET).want is Want.RESOLVED
    assert world.target("other/pagerduty/0").want is Want.RESOLVED


def _resolved(world: World) -> GroupAlerts:
    alerts = [
        msgspec.structs.replace(m.alert, firing=False, ends_at=after(2)) for m in world.seen.members.values()
    ]
    assert isinstance(world, Tree)
    return GroupAlerts(world.group, world.head.route, world.head.group_labels, alerts, after(2))


def test_a_severity_that_counts_for_more_now_pages(world: World, tmp_path: Path) -> None:
    """A new severity_map is applied to what is open: what is worse now is paged again."""
    world.book = rules(
        tmp_path,
        BEFORE.replace("name: shop, receiver", "name: shop, severity_map: {warning: critical}, receiver"),
    )
    world.looks(1)
    assert (world.head.severity, world.head.by_severity) == (Severity.CRITICAL, {"critical": 2})
    assert world.target(TARGET).due


def test_a_severity_that_counts_for_less_pages_nobody(world: World, tmp_path: Path) -> None:
    """It is shown; a page that is open stays as it is."""
    world.book = rules(
        tmp_path,
        BEFORE.replace("name: shop, receiver", "name: shop, severity_map: {warning: info}, receiver"),
    )
    world.looks(1)
    assert world.head.severity is Severity.INFO
    assert not world.target(TARGET).due


def test_new_inhibit_rules_are_written_for_what_fires(world: World, tmp_path: Path) -> None:
    """A source that was open before its rule inhibits from the look on, and no more without it."""
    rule = "inhibit_rules: [{source_matchers: ['pod=\"a\"'], target_matchers: ['pod=\"z\"']}]\n"
    world.book = rules(tmp_path, BEFORE + rule)
    out = world.looks(1)
    ((key, name),) = out.inhibits
    assert (name, out.inhibits[key, name]) == ("am:a", False)
    world.book = rules(tmp_path, BEFORE)
    assert world.looks(2).inhibits == {(key, "am:a"): None}


def test_a_new_repeat_interval_counts_at_once(world: World, tmp_path: Path) -> None:
    """The next wake-up follows the rules in force."""
    assert world.timer(TimerKind.REVIEW) == T0 + timedelta(hours=4)
    world.book = rules(tmp_path, BEFORE.replace("  routes:", "  repeat_interval: 1h\n  routes:"))
    world.looks(1)
    assert world.timer(TimerKind.REVIEW) == T0 + timedelta(hours=1)


def test_a_digest_is_not_moved(world: World, tmp_path: Path) -> None:
    """The group of a deploy's held alerts is no route's; other rules do not tear it apart."""
    hold = {"rule": "r", "service": "shop", "environment": "prod", "deploy_id": "d", "version": "1"}
    assert isinstance(world, Tree)
    held = msgspec.convert({**hold, "digest": world.group, "until": after(5)}, type=Hold)
    world.seen = replace(world.seen, incident=msgspec.structs.replace(world.head, hold=held))
    world.book = rules(tmp_path, BEFORE.replace('service="shop"', 'pod="nobody"'))
    assert world.looks(1).onward == []
    assert world.head.firing == 2


def test_what_is_closed_is_left_alone(world: World) -> None:
    """A resolved incident is not looked at again."""
    world.does(_resolved(world), 2)
    assert world.looks(3).incident is None
    assert World().looks(3).incident is None
