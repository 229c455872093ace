"""JSON in and out of the store."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import codec
from router.model.commands import Command
from router.model.deploys import Ledger
from router.model.events import Alert, DeployNoticed, DeployReport, Doubt, GroupAlerts, ServiceDeploy, Unread
from router.model.incidents import Entry, Incident, Member

st.register_type_strategy(
    datetime,
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  bare on purpose
)
# hypothesis takes msgspec's mark for "a new dict" as the default itself
st.register_type_strategy(
    DeployReport, st.builds(DeployReport, facts=st.dictionaries(st.text(), st.text(), max_size=3))
)
KINDS = [(Incident, codec.incident), (Member, codec.member), (Ledger, codec.ledger), (Entry, codec.entry)]
STORED = [GroupAlerts, ServiceDeploy, DeployNoticed, Command, Doubt, Unread]


@given(st.data())
@pytest.mark.parametrize(("kind", "decode"), KINDS)
def test_records_round_trip(kind, decode, data: st.DataObject) -> None:
    """What is stored is read back as it was."""
    thing = data.draw(st.builds(kind))
    assert decode(codec.encode(thing)) == thing


@given(st.data())
@pytest.mark.parametrize("kind", STORED)
def test_stored_events_round_trip(kind, data: st.DataObject) -> None:
    """An inbox entry is read back as the event it was."""
    thing = data.draw(st.builds(kind))
    assert codec.stored(codec.encode(thing)) == thing


@given(st.builds(Alert), st.builds(DeployReport))
def test_fingerprint_is_the_part_after_the_source(alert: Alert, report: DeployReport) -> None:
    """An alert's fingerprint never holds its source's name."""
    assert alert.key.endswith(alert.fingerprint)
    assert codec.encode(report)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"{}", b"[]", b"[" * 100_000, b'{"type":"nothing"}'])
@pytest.mark.parametrize("decode", [codec.incident, codec.member, codec.entry, codec.stored, codec.ledger])
def test_unreadable_bytes_are_undecodable(decode, raw: bytes) -> None:
    """Whatever cannot be read raises Undecodable, with a bounded text."""
    with pytest.raises(codec.Undecodable) as told:
        decode(raw)
    assert len(str(told.value)) <= 200


def test_fields_of_a_later_release_are_ignored() -> None:
    """A field that this release does not know does no harm."""
    assert codec.entry(b'{"at":"2026-03-01T12:00:00Z","why":"x","new":1}').why == "x"
