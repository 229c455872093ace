"""Derived identities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import keys

LABELS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5)


@pytest.mark.parametrize(
    ("labels", "want"), [({}, "cbf29ce484222325"), ({"alertname": "Test"}, "e46aaa9fcf75dd34")]
)
def test_fingerprint_is_prometheus(labels: dict[str, str], want: str) -> None:
    """The fingerprint is the one that Prometheus computes."""
    assert keys.fingerprint(labels) == want


@given(LABELS, st.randoms(use_true_random=False))
def test_label_order_does_not_matter(labels: dict[str, str], random: object) -> None:
    """A group's key and an alert's fingerprint are those of the set of labels."""
    items = list(labels.items())
    random.shuffle(items)
    assert keys.group_key("root", dict(items)) == keys.group_key("root", labels)
    assert keys.fingerprint(dict(items)) == keys.fingerprint(labels)


def test_borders_and_routes_count() -> None:
    """Where a name ends and its value begins, and whose route it is, make another key."""
    some = [
        keys.group_key("r", {"a": "bc"}),
        keys.group_key("r", {"ab": "c"}),
        keys.group_key("s", {"a": "bc"}),
    ]
    assert len(set(some)) == 3
    assert {len(k) for k in some} == {16}
    assert keys.digest(["a", "b"]) != keys.digest(["b", "a"])
    assert keys.group_key("r", {"a": "\ud800"})


@given(LABELS, st.integers(0, 999_999_999))
def test_incident_id_round_trip(labels: dict[str, str], generation: int) -> None:
    """An incident's id is read back into its group and generation."""
    group = keys.group_key("root", labels)
    assert keys.split_incident_id(keys.incident_id(group, generation)) == (group, generation)


@pytest.mark.parametrize(
    "text",
    [
        "", "7f3a9c21b04d55e0", "7f3a9c21b04d55e0.", "7f3a9c21b04d55e0.x", "7f3a9c21b04d55e.1",
        "7f3a9c21b04d55eX.1", "7f3a9c21b04d55e0.\u0662", "7f3a9c21b04d55e0.1234567890", "7f3a9c21b04d55e0.-1",
    ],
)  # fmt: skip
def test_what_is_no_incident_id(text: str) -> None:
    """Anything else is refused, without an exception."""
    assert keys.split_incident_id(text) is None


@given(st.text(max_size=20), st.integers(1, 64))
def test_partition_is_in_range(service: str, partitions: int) -> None:
    """Every key has a partition, the same at each asking."""
    key = keys.service_key(service)
    assert 0 <= keys.partition_of(key, partitions) < partitions
    assert keys.partition_of(key, partitions) == keys.partition_of(key, partitions)
