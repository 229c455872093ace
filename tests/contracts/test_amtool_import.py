"""Rules made by ``router import`` send an alert where Alertmanager sends it by the configuration itself.

Configurations of the older grammar are generated (``match``, ``match_re``, matchers without quotes, several
in a string) and asked of the real ``amtool config routes test``, which reads them as they are.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.app import load_rules, notifier_specs
from router.rulebook.alertmanager_config import convert
from router.rulebook.classic_matchers import classic
from router.rulebook.matchers import MatcherError
from tests.conftest import need

if TYPE_CHECKING:
    from pathlib import Path

RECEIVERS = ["a", "b/c", "b-c", "d e"]
NAMES = ["service", "severity", "env"]
VALUES = ["pay", "prod", "a b", "a.b", "b\\c", 'q"', "5", "yes", "päy", "{x}", "a,b"]
PATTERNS = ["pay|prod", "p.*", ".+", "", "a\\.b", "[a-d ]+", "\\d"]
#: What people wrote before values had to be quoted; some of it is a matcher, some is none.
_loose = st.one_of(
    st.sampled_from(["a b", "pay", "pay ", " prod", "5", "", '"pay"', '"a b"', "a.b", "{x}", '"a,b"', "é"]),
    st.text('ab {},"\\.|=~', max_size=6),
)
_operator = st.sampled_from(["=", "!=", "=~", "!~", " = ", " =~ "])
_one = st.builds(lambda name, op, value: name + op + value, st.sampled_from(NAMES), _operator, _loose)
_text = st.one_of(
    _one,
    _one,
    st.lists(_one, min_size=2, max_size=2).map(", ".join),
    _one.map(lambda text: "{" + text + "}"),
)


def is_classic(text: str) -> bool:
    """Return whether we take it for a matcher of the older grammar."""
    try:
        return bool(classic(text))
    except MatcherError:
        return False


_deprecated = st.fixed_dictionaries(
    {},
    optional={
        "match": st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), min_size=1, max_size=2),
        "match_re": st.dictionaries(
            st.sampled_from(NAMES), st.sampled_from(PATTERNS), min_size=1, max_size=1
        ),
        "matchers": st.lists(_text.filter(is_classic), min_size=1, max_size=2),
        "receiver": st.sampled_from(RECEIVERS),
        "continue": st.booleans(),
    },
)


def node(children: st.SearchStrategy[list[dict[str, Any]]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return a route below the root."""
    return st.builds(lambda own, below: own | {"routes": below}, _deprecated, children)


_below = st.recursive(st.just([]), lambda inner: st.lists(node(inner), max_size=3), max_leaves=8)
_labels = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*VALUES, "b", "a"]), max_size=3)


@pytest.fixture(scope="module")
def amtool() -> str:
    return need("amtool")


def quoted(text: str) -> str:
    """Return a value as amtool's own matchers on the command line take it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.timeout(180)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(below=_below, labels=_labels)
def test_imported_rules_route_as_the_configuration(
    amtool: str, tmp_path_factory: pytest.TempPathFactory, below: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    """For each generated configuration the receivers, in their order, are those that amtool names."""
    folder: Path = tmp_path_factory.mktemp("import")
    config, rules = folder / "alertmanager.yml", folder / "rules"
    route = {"receiver": "a", "routes": below}
    config.write_text(yaml.safe_dump({"route": route, "receivers": [{"name": r} for r in RECEIVERS]}))
    done = subprocess.run(
        [amtool, "config", "routes", "test", f"--config.file={config}"]
        + [f"{name}={quoted(value)}" for name, value in labels.items()],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rules.mkdir()
    for name, text in convert(config.read_bytes(), config.name, notifier_specs()).files.items():
        (rules / name).write_text(text)
    ours = [found.receiver for found in load_rules(rules).route(labels)]
    names = {"a": "a", "b/c": "b-c", "b-c": "b-c-2", "d e": "d e"}
    assert ours == [names[receiver] for receiver in done.stdout.strip().split(",")]


@pytest.mark.timeout(180)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(_text, _text.map(lambda t: t + ","), st.text('ab{},"\\=~! n', max_size=10)))
def test_what_the_older_grammar_takes_is_taken(
    amtool: str, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """An Alertmanager before 0.27 knows no other grammar: what it refuses is no classic matcher, and back."""
    config = tmp_path_factory.mktemp("matcher") / "alertmanager.yml"
    route = {"receiver": "a", "routes": [{"matchers": [text]}]}
    config.write_text(yaml.safe_dump({"route": route, "receivers": [{"name": "a"}]}))
    done = subprocess.run(
        [amtool, "check-config", str(config)], capture_output=True, text=True, check=False, timeout=20
    )
    if "panic" in done.stderr:  # 0.25 falls over a matcher without a value
        return
    try:
        classic(text)
    except MatcherError:
        assert done.returncode != 0, done.stdout
    else:
        assert done.returncode == 0, done.stderr
