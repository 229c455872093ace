"""Who a vendor's person is: the rules come first, then the vendor, and nobody is guessed."""

from __future__ import annotations

import dataclasses

import pytest

from router.work.people import KNOWN_S, UNKNOWN_S, People
from tests.fakes.samples import ManualClock
from tests.unit.decide.making import rulebook

WRITTEN = {("slack", "U0WRIT"): "boss@example.com", ("slack", "U0NONE"): ""}


class Knows:
    """A vendor that knows one person."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: OSError | None = None

    async def email(self, person: str) -> str:
        self.asked.append(person)
        if self.error is not None:
            raise self.error
        return "ana@example.com" if person == "U0ANA" else ""


@pytest.fixture
def vendor() -> Knows:
    return Knows()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def people(vendor: Knows, clock: ManualClock) -> People:
    book = dataclasses.replace(rulebook(), people=WRITTEN)
    return People({"slack": vendor, "log": object()}, lambda: book, clock)


async def test_the_rules_come_first(people: People, vendor: Knows) -> None:
    """Who stands there is not asked for; "" there means that there is nobody."""
    assert await people.email("slack", "U0WRIT") == "boss@example.com"
    assert await people.email("slack", "U0NONE") == ""
    assert vendor.asked == []


async def test_the_vendor_is_asked_once_an_hour(people: People, vendor: Knows, clock: ManualClock) -> None:
    """Who is known stays so for an hour, who is not for five minutes."""
    for _ in range(2):
        assert await people.email("slack", "U0ANA") == "ana@example.com"
        assert await people.email("slack", "U0CY") == ""
    assert vendor.asked == ["U0ANA", "U0CY"]
    clock.seconds += UNKNOWN_S
    await people.email("slack", "U0ANA")
    await people.email("slack", "U0CY")
    assert vendor.asked == ["U0ANA", "U0CY", "U0CY"]
    clock.seconds += KNOWN_S
    await people.email("slack", "U0ANA")
    assert vendor.asked[-1] == "U0ANA"


async def test_a_failure_is_not_remembered(people: People, vendor: Knows) -> None:
    """Who could not be found out is nobody now, and is asked for again the next time."""
    vendor.error = OSError("ratelimited")
    assert await people.email("slack", "U0ANA") == ""
    vendor.error = None
    assert await people.email("slack", "U0ANA") == "ana@example.com"


async def test_nobody_is_guessed(people: People) -> None:
    """Without an id, or where the vendor knows no people, there is nobody."""
    for via, person in (("slack", ""), ("log", "U0ANA"), ("api", "ana"), ("fax", "1")):
        assert await people.email(via, person) == ""
