"""Derived identities: the same everywhere, and told apart where they must be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import keys

labels = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=5)


@pytest.mark.parametrize(
    ("given_", "print_"), [({}, "cbf29ce484222325"), ({"alertname": "Test"}, "e46aaa9fcf75dd34")]
)
def test_fingerprints_are_prometheus(given_: dict[str, str], print_: str) -> None:
    """Known fingerprints of a running Alertmanager."""
    assert keys.fingerprint(given_) == print_


@given(labels)
def test_order_of_labels_does_not_matter(some: dict[str, str]) -> None:
    """A group's key is the same whatever the order of its labels."""
    turned = dict(reversed(list(some.items())))
    assert keys.group_key("r", some) == keys.group_key("r", turned)


def test_borders_matter() -> None:
    """Texts that run together are still told apart."""
    assert keys.digest(["a", "bc"]) != keys.digest(["ab", "c"])


@given(st.text(max_size=40))
def test_ids_are_read_or_refused(text: str) -> None:
    """Any text is an incident id with its parts, or none; nothing is raised."""
    parts = keys.split_incident_id(text)
    assert parts is None or keys.incident_id(*parts).partition(".")[0] == text.partition(".")[0]


@given(labels, st.integers(1, 64))
def test_partitions_are_in_range(some: dict[str, str], count: int) -> None:
    """Every key has its partition."""
    key = keys.group_key("r", some)
    assert keys.split_incident_id(keys.incident_id(key, 3)) == (key, 3)
    assert 0 <= keys.partition_of(key, count) < count
