"""What becomes of silences: made, changed, ended, told of before they end, dropped."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import silencing
from router.model.events import Alert, Severity
from router.model.incidents import State
from router.model.silences import Silence, SilenceMatcher, SilenceState
from router.rulebook import matchers
from tests.fakes.silences import PAYMENTS, START, muted_by, silence

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SOON = 15 * MINUTE
NOW = START + HOUR
PENDING = silence(starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)


def wish(of: Silence, **changes: object) -> Silence:
    """Return what a person sends to change a silence: never what the router notes."""
    return msgspec.structs.replace(of, warned_at=None, updated_at=NOW, **changes)


# --- made and changed -----------------------------------------------------------------------------


def test_a_new_silence_begins_now_at_the_earliest() -> None:
    """A start in the past is now, one to come is kept, and the id is derived from what was asked."""
    past = silencing.written(None, wish(silence("")), NOW)
    ahead = silencing.written(None, wish(PENDING, id=""), NOW)
    assert (past.result, past.silence.starts_at, past.ended) == ("created", NOW, None)
    assert ahead.silence.starts_at == PENDING.starts_at
    assert len(past.silence.id) == 16
    assert past.silence.id == silencing.written(None, wish(silence("")), NOW).silence.id
    assert past.silence.id != silencing.written(None, wish(silence("")), NOW + MINUTE).silence.id


@pytest.mark.parametrize(
    "changes",
    [{"ends_at": NOW + HOUR * 5}, {"comment": "longer"}, {"created_by": "bob"}],
    ids=["end", "comment", "author"],
)
def test_what_leaves_history_alone_is_changed_in_place(changes: dict[str, object]) -> None:
    """A new end, comment or author keeps the id, the start and what is noted."""
    before = silence(warned_at=NOW - MINUTE)
    start = START.replace(microsecond=5)  # Alertmanager compares seconds
    made = silencing.written(before, wish(before, starts_at=start, **changes), NOW)
    assert (made.result, made.ended) == ("updated", None)
    assert made.silence == msgspec.structs.replace(before, updated_at=NOW, **changes)


REWRITTEN = {
    "matchers": (silence(), {"matchers": (PAYMENTS, SilenceMatcher("env", "dev"))}),
    "a past start": (silence(), {"starts_at": START + MINUTE}),
    "a start moved into the past": (PENDING, {"starts_at": NOW - MINUTE}),
}


@pytest.mark.parametrize("what", REWRITTEN)
def test_what_would_rewrite_history_ends_the_old_one(what: str) -> None:
    """The old silence is expired, a new one under another id stands from now on."""
    before, changes = REWRITTEN[what]
    made = silencing.written(before, wish(before, **changes), NOW)
    assert made.result == "replaced"
    assert made.ended is not None
    assert made.ended.id == before.id
    assert made.ended.state(NOW) is SilenceState.EXPIRED
    assert made.silence.id != before.id
    assert made.silence.state(NOW) is SilenceState.ACTIVE


def test_an_expired_one_is_made_anew() -> None:
    """What has ended stays as it is; the new one begins now."""
    before = silence(ends_at=NOW - MINUTE)
    made = silencing.written(before, wish(before, ends_at=NOW + HOUR), NOW)
    assert (made.result, made.ended, made.silence.starts_at) == ("replaced", None, NOW)


def test_a_pending_one_may_be_moved_ahead() -> None:
    """Before it begins, its start can be another time to come."""
    made = silencing.written(PENDING, wish(PENDING, starts_at=NOW + MINUTE), NOW)
    assert (made.result, made.silence.id) == ("updated", PENDING.id)
    assert made.silence.starts_at == NOW + MINUTE


def test_the_order_of_matchers_is_no_change() -> None:
    """The same conditions in another order are the same silence, and nothing is to be written."""
    both = (PAYMENTS, SilenceMatcher("env", "dev"))
    made = silencing.written(silence(matchers=both), wish(silence(), matchers=both), NOW)
    assert made.result == "unchanged"
    turned = silencing.written(silence(matchers=both), wish(silence(), matchers=both[::-1]), NOW)
    assert (turned.result, turned.silence.id) == ("updated", "s1")


def test_an_import_keeps_id_and_start() -> None:
    """What an Alertmanager has is taken as it is, and taken again changes nothing."""
    first = silencing.imported(None, wish(silence("am-1")), NOW)
    assert (first.result, first.silence.id, first.silence.starts_at) == ("created", "am-1", START)
    assert silencing.imported(first.silence, wish(silence("am-1")), NOW + HOUR).result == "unchanged"
    longer = silencing.imported(first.silence, wish(silence("am-1"), ends_at=NOW + 9 * HOUR), NOW)
    assert (longer.result, longer.silence.id, longer.ended) == ("updated", "am-1", None)


def test_an_import_without_an_id_is_the_same_at_any_time() -> None:
    """Without an id it is derived from what the silence says, so that importing twice makes one."""
    found = [silencing.imported(None, wish(silence("")), at).silence.id for at in (NOW, NOW + HOUR)]
    assert found[0] == found[1]
    assert len(found[0]) == 16


def test_expiring_ends_it_now() -> None:
    """An active one ends now, a pending one has never begun; both show that somebody ended them."""
    for one, starts in ((silence(), START), (PENDING, NOW)):
        ended = silencing.expired(one, NOW)
        assert (ended.starts_at, ended.ends_at, ended.state(NOW)) == (starts, NOW, SilenceState.EXPIRED)
        assert silencing.ended_by_hand(ended, NOW)
    assert not silencing.ended_by_hand(silence(), START + 3 * HOUR)
    assert not silencing.ended_by_hand(silence(), NOW)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(texts, texts), min_size=2, max_size=2, unique=True))
def test_ids_differ_where_silences_do(pairs: list[tuple[str, str]]) -> None:
    """Two silences that say different things never share an id by shifted borders."""
    one, two = (
        silencing.written(None, wish(silence(""), created_by=by, comment=why), NOW).silence.id
        for by, why in pairs
    )
    assert one != two


# --- shown ----------------------------------------------------------------------------------------


def test_the_next_to_end_comes_first() -> None:
    """Active by end, pending by start, expired by the latest end."""
    rows = {
        "a1": (-2, 1), "a2": (-2, 2), "p1": (1, 9), "p2": (2, 3), "e1": (-5, -1), "e2": (-9, -2),
    }  # fmt: skip
    found = [
        silence(name, starts_at=NOW + start * HOUR, ends_at=NOW + end * HOUR)
        for name, (start, end) in reversed(rows.items())
    ]
    assert [s.id for s in silencing.in_order(found, NOW)] == list(rows)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("service=payment-service", True),
        ('service=~"pay.*"', True),
        ("service!=payment-service", False),
        ("env=dev", False),
        ('env=""', True),
        ("{}", True),
    ],
)
def test_silences_are_chosen_by_their_own_matchers(text: str, meant: bool) -> None:
    """A filter reads a silence's conditions as labels, as amtool's query does."""
    assert silencing.chosen(silence(), matchers.parse(text)) is meant


def test_open_incidents_are_counted() -> None:
    """Each silence that mutes an open incident counts it once; closed ones and other reasons do not count."""
    heads = [
        muted_by("a", "b"),
        muted_by("a"),
        muted_by("a", state=State.RESOLVED),
        msgspec.structs.replace(muted_by(), muted_by=("inhibit:rule|x", "maintenance:a")),
    ]
    assert silencing.mutes(heads) == {"a": 2, "b": 1}


def test_matchers_in_words_can_be_read_again() -> None:
    """What is shown is what can be typed, with its quotes and line ends escaped."""
    ours = (
        SilenceMatcher("a", 'say "hi"\\\n'),
        SilenceMatcher("b", "x|y", is_regex=True),
        SilenceMatcher("c", "z", is_equal=False),
        SilenceMatcher("d", "z+", is_regex=True, is_equal=False),
    )
    text = silencing.in_words(ours)
    assert text == 'a="say \\"hi\\"\\\\\\n", b=~"x|y", c!="z", d!~"z+"'
    assert [(m.name, m.op, m.value) for m in matchers.parse(text)] == [(m.name, m.op, m.value) for m in ours]


# --- told and dropped -----------------------------------------------------------------------------

ENDS_SOON = silence(ends_at=NOW + 14 * MINUTE)


@pytest.mark.parametrize(
    ("one", "told"),
    [
        pytest.param(ENDS_SOON, True, id="it ends in 14 minutes"),
        pytest.param(silence(ends_at=NOW + SOON), True, id="in exactly 15"),
        pytest.param(silence(ends_at=NOW + 16 * MINUTE), False, id="in 16"),
        pytest.param(silence(ends_at=NOW), False, id="it has ended"),
        pytest.param(silence(warned_at=NOW, ends_at=NOW + MINUTE), False, id="told already"),
        pytest.param(silence(starts_at=NOW - 10 * MINUTE, ends_at=NOW + MINUTE), False, id="a short one"),
        pytest.param(silence(starts_at=NOW + MINUTE, ends_at=NOW + SOON), False, id="it has not begun"),
        pytest.param(silence("other", ends_at=NOW + MINUTE), False, id="it mutes nothing"),
    ],
)
def test_who_is_to_be_told(one: Silence, told: bool) -> None:
    """Told is what ends soon, stood for a while, mutes something, and was not told."""
    assert silencing.ending([one], {"s1": 2}, NOW, SOON) == ([one] if told else [])


@pytest.mark.parametrize(
    ("one", "done"),
    [
        pytest.param(silence(warned_at=START, ends_at=NOW), True, id="ended"),
        pytest.param(silence(warned_at=START, ends_at=NOW + HOUR), True, id="extended"),
        pytest.param(silence(warned_at=START, ends_at=NOW + MINUTE), False, id="still ending"),
        pytest.param(silence(ends_at=NOW), False, id="never told"),
    ],
)
def test_when_the_warning_is_over(one: Silence, done: bool) -> None:
    """The warning ends with the silence, or where it does not end soon any more."""
    assert silencing.not_ending([one], NOW, SOON) == ([one] if done else [])


def test_what_ended_long_ago_is_forgotten() -> None:
    """After 5 days it goes, unless the end of its warning is still to be told."""
    old, kept = silence("old"), silence("kept", ends_at=START + timedelta(hours=2, seconds=1))
    waits = silence("waits", warned_at=START)
    later = old.ends_at + silencing.KEPT_FOR
    assert silencing.forgotten([old, kept, waits], later) == []
    assert silencing.forgotten([old, kept, waits], later + MINUTE / 100) == ["old"]


def test_the_warning_says_what_to_do() -> None:
    """Who silenced what until when, how much that mutes, how to extend it; labels as of our own alerts."""
    alert = silencing.warning(ENDS_SOON, 3, NOW)
    assert alert.labels == {
        "alertname": "SilenceExpiring",
        "source": "s1",
        "service": "incident-router",
        "severity": Severity.INFO,
        "created_by": "ana",
    }
    said = alert.annotations["description"]
    for words in ("of ana (load test)", "3 open incidents", "router silence update s1 --duration 2h", "UTC"):
        assert words in said
    assert 'service="payment-service"' in said
    assert "1 open incident " in silencing.warning(ENDS_SOON, 1, NOW).annotations["description"]


def test_the_end_is_of_the_same_alert() -> None:
    """Whatever was changed since, the end has the key of what was told and no earlier start."""
    told = silencing.warning(ENDS_SOON, 3, ENDS_SOON.ends_at - SOON)
    since = msgspec.structs.replace(ENDS_SOON, created_by="bob", ends_at=NOW + HOUR, warned_at=NOW)
    known: Alert | None
    for known in (told, None):
        end = silencing.over(since, known, NOW + MINUTE)
        assert (end.key, end.firing, end.ends_at) == (told.key, False, NOW + MINUTE)
        assert end.starts_at >= told.starts_at
    assert silencing.over(since, told, NOW).labels == told.labels
    assert silencing.over(ENDS_SOON, None, NOW).starts_at == NOW
