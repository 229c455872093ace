"""What surrounds every group: which silences can be asked, and what they say of an alert."""

from __future__ import annotations

from datetime import timedelta

import pytest

from router.decide import outlook
from router.decide.outlook import Outlook
from router.model.silences import SilenceMatcher
from router.rulebook.matchers import MatcherError
from tests.fakes.silences import PAYMENTS, START, silence

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("labels", "after_s", "mutes"),
    [
        pytest.param({"service": "payment-service", "env": "dev"}, 0, True, id="at its start"),
        pytest.param({"service": "payment-service", "env": "dev"}, 7199, True, id="to its end"),
        pytest.param({"service": "payment-service", "env": "dev"}, 7200, False, id="not at its end"),
        pytest.param({"service": "payment-service", "env": "dev"}, -1, False, id="not before"),
        pytest.param({"service": "payment-service", "env": "prod"}, 0, False, id="one does not match"),
        pytest.param({"env": "dev"}, 0, False, id="a label is missing"),
    ],
)
def test_a_silence_mutes_what_all_its_matchers_match(
    labels: dict[str, str], after_s: int, mutes: bool
) -> None:
    """All conditions must hold, and it must be in force."""
    quiet = outlook.compiled(silence(matchers=(PAYMENTS, SilenceMatcher("env", "dev|test", is_regex=True))))
    assert quiet.mutes(labels, START + after_s * SECOND) is mutes


@pytest.mark.parametrize(
    ("found", "words"),
    [
        pytest.param((), "at least one matcher", id="none"),
        pytest.param((SilenceMatcher("", "x"),), "name is empty", id="no name"),
        pytest.param((SilenceMatcher("a", "(", is_regex=True),), "not a regular expression", id="no regex"),
        pytest.param((SilenceMatcher("a", ""),), "empty string", id="matches the empty string"),
        pytest.param((SilenceMatcher("a", ".*", is_regex=True),), "empty string", id="matches anything"),
        pytest.param((SilenceMatcher("a", "x", is_equal=False),), "empty string", id="negative only"),
    ],
)
def test_what_cannot_be_asked_is_refused(found: tuple[SilenceMatcher, ...], words: str) -> None:
    """A silence that is broken, or would silence everything, is told with what is wrong."""
    with pytest.raises(MatcherError, match=words):
        outlook.compiled(silence(matchers=found))


def test_one_matcher_that_needs_a_value_is_enough() -> None:
    """Others may match the empty string beside it."""
    quiet = outlook.compiled(silence(matchers=(PAYMENTS, SilenceMatcher("env", "prod", is_equal=False))))
    assert quiet.mutes({"service": "payment-service"}, START)
    assert not quiet.mutes({"service": "payment-service", "env": "prod"}, START)


def test_silences_stand_in_order_and_broken_ones_mute_nothing() -> None:
    """The earliest comes first, by id where two begin together; one that cannot be asked is left out."""
    later = silence("a", starts_at=START + SECOND)
    broken = silence("b", matchers=())
    made = outlook.silences([later, silence("d"), broken, silence("c")])
    assert [q.silence.id for q in made] == ["c", "d", "a"]


def test_a_silence_is_found_by_its_id() -> None:
    """Words about a silence come from the one that is in force."""
    view = Outlook(outlook.silences([silence("a"), silence("b", comment="why")]))
    found = view.silence("b")
    assert found is not None
    assert found.comment == "why"
    assert view.silence("c") is None
