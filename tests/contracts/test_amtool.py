"""Where our route tree and Alertmanager's mean the same, they send an alert to the same receivers.

Route trees and label sets are generated and asked of the real ``amtool config routes test``.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.app import load_rules
from tests.conftest import need

RECEIVERS = ["a", "b", "c", "d"]
NAMES = ["service", "severity", "env", "team"]
VALUES = ["pay", "cust", "prod", "dev", "a.b", "pay-cust", "päy"]
PATTERNS = ["pay|cust", "p.*", ".+", "", "pay.*st", "[a-d]+", "(pay|dev)?", "a\\.b"]

_name, _equal, _regex = st.sampled_from(NAMES), st.sampled_from(["=", "!="]), st.sampled_from(["=~", "!~"])
_matcher = st.one_of(
    st.tuples(_name, _equal, st.sampled_from([*VALUES, ""])),
    st.tuples(_name, _regex, st.sampled_from(PATTERNS)),
).map(lambda parts: f"{parts[0]}{parts[1]}{json.dumps(parts[2], ensure_ascii=False)}")


def node(children: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a route below the root; without a receiver it inherits one."""
    return st.fixed_dictionaries(
        {"matchers": st.lists(_matcher, min_size=1, max_size=2), "routes": children},
        optional={"receiver": st.sampled_from(RECEIVERS), "continue": st.booleans()},
    )


_below = st.recursive(st.just([]), lambda inner: st.lists(node(inner), max_size=3), max_leaves=12)
_tree = st.builds(
    lambda receiver, below: {"receiver": receiver, "routes": below}, st.sampled_from(RECEIVERS), _below
)
_labels = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=4)


@pytest.fixture(scope="module")
def amtool() -> str:
    return need("amtool")


def theirs(amtool: str, folder: Path, tree: dict[str, Any], labels: dict[str, str]) -> list[str]:
    """Return the receivers that Alertmanager's own tool names."""
    config = folder / "alertmanager.yml"
    config.write_text(json.dumps({"route": tree, "receivers": [{"name": r} for r in RECEIVERS]}))
    given_ = [f"{n}={json.dumps(v, ensure_ascii=False)}" for n, v in labels.items()]
    done = subprocess.run(
        [amtool, "config", "routes", "test", f"--config.file={config}", *given_],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().split(",")


@pytest.mark.timeout(180)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=_tree, labels=_labels)
def test_receivers_are_alertmanagers(
    amtool: str, tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any], labels: dict[str, str]
) -> None:
    """For hundreds of generated trees and label sets the receivers, and their order, are Alertmanager's."""
    folder = tmp_path_factory.mktemp("routes")
    (folder / "rules.yaml").write_text(
        json.dumps({"route": tree, "receivers": [{"name": r} for r in RECEIVERS]})
    )
    ours = [route.receiver for route in load_rules(folder).route(labels)]
    assert ours == theirs(amtool, folder, tree, labels)
