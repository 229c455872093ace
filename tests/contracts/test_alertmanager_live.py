"""A running Alertmanager and our rules group and inhibit alike, given the same configuration and alerts.

Route trees, inhibit rules and label sets are generated. Four worlds at a time stand in one configuration,
each below a route of its own and with its own value of the label ``run``, so that one start of Alertmanager
serves four comparisons. Compared is what its API reports: its dispatcher's groups, and what is inhibited.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.app import load_rules
from router.drivers import sources_of
from router.work.rehearsal import Rehearsal
from tests.conftest import need, wait_for
from tests.flows.harness import alertmanager_of, body, iso

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

WORLDS = 4
RECEIVERS = ["a", "b", "c"]
NAMES = ["alertname", "severity", "zone", "team"]
VALUES = ["x", "y", "z", "xy"]
PATTERNS = ["x|y", "x.*", ".+", "", ".*y", "[xz]"]
WAIT = timedelta(hours=1)

_name = st.sampled_from(NAMES)
_matcher = st.one_of(
    st.tuples(_name, st.sampled_from(["=", "!="]), st.sampled_from([*VALUES, ""])),
    st.tuples(_name, st.sampled_from(["=~", "!~"]), st.sampled_from(PATTERNS)),
).map(lambda parts: f"{parts[0]}{parts[1]}{json.dumps(parts[2])}")
_group_by = st.one_of(st.just(["..."]), st.lists(st.sampled_from([*NAMES, "none"]), max_size=3, unique=True))


def node(children: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a route below a world's own."""
    return st.fixed_dictionaries(
        {"matchers": st.lists(_matcher, min_size=1, max_size=2), "routes": children},
        optional={
            "receiver": st.sampled_from(RECEIVERS),
            "continue": st.booleans(),
            "group_by": _group_by,
        },
    )


_below = st.recursive(st.just([]), lambda inner: st.lists(node(inner), max_size=3), max_leaves=6)
_sides = st.one_of(_matcher.map(lambda one: [one]), st.lists(_matcher, min_size=2, max_size=2))
_rule = st.fixed_dictionaries(
    {
        "source_matchers": _sides,
        "target_matchers": _sides,
        "equal": st.lists(_name, max_size=2, unique=True),
    }
)
_labels = st.dictionaries(_name, st.sampled_from(VALUES), min_size=1)
_world = st.fixed_dictionaries(
    {
        "routes": _below,
        "group_by": _group_by,
        "rules": st.lists(_rule, min_size=1, max_size=4),
        "alerts": st.lists(
            st.tuples(_labels, st.booleans() | st.just(True)),
            min_size=2,
            max_size=6,
            unique_by=lambda each: tuple(sorted(each[0].items())),
        ),
    }
)
Groups = Counter[tuple[str, frozenset[tuple[str, str]], frozenset[frozenset[tuple[str, str]]]]]


def config_of(worlds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one configuration with all worlds in it, each known by its number."""
    routes, rules = [], []
    for index, world in enumerate(worlds):
        run = f'run="{index}"'
        routes.append({"matchers": [run], "routes": world["routes"], "group_by": world["group_by"]})
        for rule in world["rules"]:
            sides = {key: [run, *rule[key]] for key in ("source_matchers", "target_matchers")}
            rules.append({**sides, "equal": rule["equal"]})
    root = {"receiver": "a", "routes": routes, "group_wait": "1h"}
    return {"route": root, "receivers": [{"name": r} for r in RECEIVERS], "inhibit_rules": rules}


def alerts_of(worlds: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """Return the alerts of all worlds, as Alertmanager sends them on."""
    return [
        {
            "labels": {**labels, "run": str(index)},
            "annotations": {},
            "startsAt": iso(now - timedelta(minutes=5)),
            "endsAt": iso(now - timedelta(minutes=1)) if not fires else "0001-01-01T00:00:00Z",
            "status": "firing" if fires else "resolved",
        }
        for index, world in enumerate(worlds)
        for labels, fires in world["alerts"]
    ]


def known(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


async def get(session: aiohttp.ClientSession, url: str) -> Any:
    async with session.get(url) as r:
        assert r.status == 200, await r.text()
        return await r.json()


async def theirs(
    folder: Path, config: str, alerts: list[dict[str, Any]]
) -> tuple[Groups, set[frozenset[tuple[str, str]]]]:
    """Return what a running Alertmanager reports once it has taken all alerts."""
    firing = {known(a["labels"]) for a in alerts if a["status"] == "firing"}
    posted = [
        {"labels": a["labels"], "startsAt": a["startsAt"]}
        | ({} if a["status"] == "firing" else {"endsAt": a["endsAt"]})
        # What comes last is taken last, by the dispatcher and by the inhibitor alike.
        for a in [*alerts, *({**alerts[0], "status": "firing", "labels": {"last": side}} for side in "st")]
    ]
    async with alertmanager_of(folder, config) as base, aiohttp.ClientSession() as session:
        async with session.post(f"{base}/api/v2/alerts", json=posted) as r:
            assert r.status == 200, await r.text()

        async def settled() -> bool:
            found = await get(session, f"{base}/api/v2/alerts?filter=last%3D%22t%22")
            grouped = await get(session, f"{base}/api/v2/alerts/groups")
            seen = {known(a["labels"]) for group in grouped for a in group["alerts"]}
            return bool(found and found[0]["status"]["inhibitedBy"]) and len(seen) == len(firing) + 2

        await wait_for(settled, "all alerts are grouped, and the last pair inhibits")
        grouped = await get(session, f"{base}/api/v2/alerts/groups?filter=run%3D~%22.%2B%22")
        found = await get(session, f"{base}/api/v2/alerts?filter=run%3D~%22.%2B%22")
    groups: Groups = Counter(
        (g["receiver"]["name"], known(g["labels"]), frozenset(known(a["labels"]) for a in g["alerts"]))
        for g in grouped
    )
    return groups, {known(a["labels"]) for a in found if a["status"]["inhibitedBy"]}


def ours(
    folder: Path, config: str, alerts: Iterable[dict[str, Any]], now: datetime
) -> tuple[Groups, set[frozenset[tuple[str, str]]]]:
    """Return what our rules make of the same, in a rehearsal, once every group has waited."""
    (folder / "rules").mkdir()
    (folder / "rules" / "rules.yaml").write_text(config)
    book = load_rules(folder / "rules")
    world = Rehearsal(book, now)
    raw = json.dumps(body(*alerts)).encode()
    world.told(sources_of(book)["alertmanager"].parse({}, raw))
    world.advance(now + WAIT)
    groups: Groups = Counter()
    states: dict[frozenset[tuple[str, str]], set[bool]] = {}
    for head in world.incidents():
        record = world._partition.groups[head.group]
        firing = [m for m in record.members.values() if m.alert.firing]
        labels = [known(m.alert.labels) for m in firing]
        if firing:
            groups[head.receiver, known(head.group_labels), frozenset(labels)] += 1
        for member, name in zip(firing, labels, strict=True):
            states.setdefault(name, set()).add(member.muted.startswith("inhibit:"))
    assert all(len(found) == 1 for found in states.values()), "an alert is inhibited in all groups or in none"
    return groups, {name for name, found in states.items() if True in found}


@pytest.mark.timeout(240)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(worlds=st.lists(_world, min_size=WORLDS, max_size=WORLDS))
def test_groups_and_inhibition_are_alertmanagers(
    tmp_path_factory: pytest.TempPathFactory, worlds: list[dict[str, Any]]
) -> None:
    """For hundreds of generated worlds the groups, their receivers, and the inhibited alerts are the same."""
    need("prometheus-alertmanager", "alertmanager")
    folder = tmp_path_factory.mktemp("live")
    now = datetime.now(UTC)  # noqa: TID251  the real Alertmanager has the real time
    config, alerts = config_of(worlds), alerts_of(worlds, now)
    groups, inhibited = ours(folder, json.dumps(config), alerts, now)
    config["inhibit_rules"].append({"source_matchers": ["last=s"], "target_matchers": ["last=t"]})
    assert (groups, inhibited) == asyncio.run(theirs(folder, json.dumps(config), alerts))
