"""What alerts, people, wake-ups and receipts do to an incident."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.decide.alerts import KEEP_RESOLVED
from router.model import codec
from router.model.commands import Command, CommandKind
from router.model.destinations import Want
from router.model.events import Alert, Begun, Doubt, Settled, Severity, TimerDue, TimerKind
from router.model.incidents import Incident, State
from router.model.outcomes import Delivered, Refused, Retry, Unsure
from router.model.reasons import Why
from tests.unit.decide.books import T0, Group, alert, book

PAGE, CHAT = "r/page/0", "r/chat/0"


def whys(decision: object) -> set[Why]:
    return {r.why for r in decision.why}


def settle(g: Group, outcome: object, target: str = PAGE, generation: int | None = None) -> object:
    head = g.head if generation in {None, g.head.generation} else g.past[generation]
    d = head.destinations[target]
    event = Settled(head.group, head.generation, target, d.want, d.want_version, outcome)
    return g.play(event, 1)


def command(g: Group, kind: CommandKind, generation: int = 1) -> object:
    return g.play(Command(g.head.group, generation, kind, "ana", T0, "1"), 1)


def test_first_alert_opens_and_pages() -> None:
    """The first firing alert opens generation 1, triggered, with everybody to be told."""
    g = Group()
    out = g.tell(alert())
    assert Why.INCIDENT_OPENED in whys(out)
    assert g.head.id.endswith(".1")
    assert (g.head.state, g.head.firing, g.head.team) == (State.TRIGGERED, 1, "payments")
    assert {t: d.want for t, d in g.head.destinations.items()} == {PAGE: Want.TRIGGERED, CHAT: Want.TRIGGERED}


def test_a_second_alert_moves_chat_but_not_the_page() -> None:
    """A new member edits the message; the page is sent again only when severity rises."""
    g = Group()
    g.tell(alert("a"))
    before = dict(g.head.destinations)
    g.tell(alert("b"))
    assert g.head.destinations[PAGE] == before[PAGE]
    assert g.head.destinations[CHAT].want_version > before[CHAT].want_version
    out = g.tell(alert("c", severity="critical"))
    assert Why.SEVERITY_ROSE in whys(out)
    assert g.head.severity is Severity.CRITICAL
    assert g.head.destinations[PAGE].want_version > before[PAGE].want_version


def test_all_resolved_resolves_what_was_told() -> None:
    """The last resolve ends the incident and asks to tell those who were told."""
    g = Group()
    g.tell(alert("a"), alert("b"))
    settle(g, Delivered("k"))
    g.tell(alert("a", firing=False))
    assert g.head.state is State.TRIGGERED
    g.tell(alert("b", firing=False))
    assert (g.head.state, g.head.firing, g.head.resolved) == (State.RESOLVED, 0, 2)
    assert g.head.destinations[PAGE].want is Want.RESOLVED
    assert not g.head.destinations[CHAT].due, "chat was never told, so it needs no end"


def test_resolve_before_its_firing_opens_nothing() -> None:
    """A resolve that overtook its firing leaves a tombstone, and the late firing opens nothing."""
    g = Group()
    out = g.tell(alert(firing=False))
    assert Why.RESOLVE_BEFORE_FIRING in whys(out)
    out = g.tell(alert())
    assert Why.ALERT_STALE in whys(out)
    assert g.head.state is State.QUIET


def test_late_copy_within_five_minutes_is_dropped_and_looked_at_again() -> None:
    """The slow peer's firing is dropped; should it be repeated later, the door lets it pass."""
    g = Group()
    g.tell(alert())
    g.tell(alert(firing=False), minutes=1)
    out = g.tell(alert(), minutes=5)
    assert whys(out) == {Why.ALERT_STALE}
    assert out.look_again == ["am:a"]
    out = g.tell(alert(), minutes=7)
    assert Why.ALERT_REFIRED in whys(out)
    assert g.head.generation == 2


def test_a_new_start_is_a_refire_at_once() -> None:
    """A newer startsAt opens the next generation; the old one stays to be told of."""
    g = Group()
    g.tell(alert())
    settle(g, Delivered("k"))
    g.tell(alert(firing=False), minutes=1)
    g.tell(alert(start=2), minutes=2)
    assert g.head.generation == 2
    assert g.past[1].destinations[PAGE].due
    settle(g, Delivered(), generation=1)
    assert not g.past[1].destinations[PAGE].due
    assert g.head.destinations[PAGE].want is Want.TRIGGERED


def test_a_resolve_with_an_earlier_start_ends_the_same_occurrence() -> None:
    """Alertmanager keeps the earliest start of what it merges: such a resolve still ends what fires."""
    g = Group()
    g.tell(alert(start=5), minutes=5)
    g.tell(alert(start=4), minutes=6)
    g.tell(alert(start=4, firing=False, end=9), minutes=9)
    assert g.head.state is State.RESOLVED
    g.tell(alert(start=20), minutes=20)
    assert whys(g.tell(alert(start=4, firing=False, end=9), minutes=21)) == {Why.ALERT_STALE}
    assert g.head.state is State.TRIGGERED


def test_old_versions_change_nothing() -> None:
    """An older start, and an unchanged repeat, leave everything as it is."""
    g = Group()
    g.tell(alert(start=5), minutes=5)
    head = g.head
    assert whys(g.tell(alert(start=1), minutes=6)) == {Why.ALERT_STALE}
    assert whys(g.tell(alert(start=5), minutes=6)) == {Why.ALERT_REPEATED}
    assert g.head == head


def test_ack_holds_until_severity_rises() -> None:
    """An acknowledged warning stays acknowledged for more of the same, and not for a critical."""
    g = Group()
    g.tell(alert("a"))
    settle(g, Delivered("k"))
    assert Why.ACKNOWLEDGED in whys(command(g, CommandKind.ACKNOWLEDGE))
    assert g.head.destinations[PAGE].want is Want.ACKNOWLEDGED
    assert Why.COMMAND_IGNORED in whys(command(g, CommandKind.ACKNOWLEDGE))
    g.tell(alert("b"))
    assert g.head.state is State.ACKNOWLEDGED
    g.tell(alert("c", severity="critical"))
    assert (g.head.state, g.head.acknowledged_by) == (State.TRIGGERED, "")


def test_commands_for_another_generation_are_ignored() -> None:
    """A click on an old message does not act on the new incident."""
    g = Group()
    g.tell(alert())
    assert whys(command(g, CommandKind.RESOLVE, generation=2)) == {Why.UNKNOWN_INCIDENT}
    assert Why.RESOLVED_BY_HAND in whys(command(g, CommandKind.RESOLVE))
    assert g.head.resolved_by == "ana"
    assert Why.COMMAND_IGNORED in whys(command(g, CommandKind.RESOLVE))


def test_group_wait_holds_and_a_resolve_before_it_is_never_told() -> None:
    """Nobody is told before the group's wait is over, nor ever of what ended before."""
    g = Group(book(timedelta(seconds=30)))
    out = g.tell(alert())
    assert g.head.state is State.WAITING
    assert g.head.destinations == {}
    (notify,) = [t for t in out.timers if t.kind is TimerKind.NOTIFY]
    assert notify.at == T0 + timedelta(seconds=30)
    g.tell(alert(firing=False), minutes=0.2)
    g.play(TimerDue(g.head.group, 1, TimerKind.NOTIFY), 0.5)
    assert g.head.state is State.RESOLVED
    assert g.head.destinations == {}
    g.tell(alert(start=2), minutes=2)
    g.play(TimerDue(g.head.group, 2, TimerKind.NOTIFY), 2.5)
    assert g.head.state is State.TRIGGERED
    assert g.head.destinations[PAGE].due


def test_forget_drops_only_what_is_closed() -> None:
    """The wake-up that forgets a group leaves an open incident alone."""
    g = Group()
    g.tell(alert())
    assert not g.play(TimerDue(g.head.group, 0, TimerKind.FORGET)).forget
    g.tell(alert(firing=False))
    assert g.play(TimerDue(g.head.group, 0, TimerKind.FORGET)).forget


def test_receipts_match_the_wish_they_were_for() -> None:
    """A receipt for an older wish leaves the newer one due."""
    g = Group()
    g.tell(alert("a"))
    old = g.head.destinations[CHAT]
    g.tell(alert("b"))
    g.play(Settled(g.head.group, 1, CHAT, old.want, old.want_version, Delivered("c/1")))
    assert g.head.destinations[CHAT].ref == "c/1"
    assert g.head.destinations[CHAT].due


@pytest.mark.parametrize(
    ("outcome", "begun", "doubt", "dead"),
    [
        (Retry("serverError"), False, False, False),
        (Unsure("other"), False, True, False),
        (Refused("clientError", "no"), False, False, True),
        (Delivered("k"), False, False, False),
    ],
)
def test_outcomes(outcome: object, begun: bool, doubt: bool, dead: bool) -> None:
    """Surely not taken leaves no doubt; perhaps taken does; refused is dead and goes to the dead letters."""
    g = Group()
    g.tell(alert())
    g.play(Begun(g.head.group, 1, PAGE))
    assert g.head.destinations[PAGE].begun
    out = settle(g, outcome)
    d = g.head.destinations[PAGE]
    assert (d.begun, d.doubt, d.dead) == (begun, doubt, dead)
    assert bool(out.dead) is dead


def test_a_second_begin_is_a_doubt() -> None:
    """An attempt that was begun and never settled (a crash) may have been taken."""
    g = Group()
    g.tell(alert())
    g.play(Begun(g.head.group, 1, PAGE))
    g.play(Begun(g.head.group, 1, PAGE))
    assert g.head.destinations[PAGE].doubt


def test_doubtful_page_is_resolved_and_untold_one_is_not() -> None:
    """What may have been paged gets its resolve; what surely was not gets nothing."""
    for outcome, want in ((Unsure("other"), Want.RESOLVED), (Retry("serverError"), Want.NOTHING)):
        g = Group()
        g.tell(alert())
        g.play(Begun(g.head.group, 1, PAGE))
        settle(g, outcome)
        g.tell(alert(firing=False))
        assert g.head.destinations[PAGE].want is want


@pytest.mark.parametrize("outcome", [Delivered("k"), Retry("serverError")])
def test_a_doubt_has_the_present_told_once_more(outcome: object) -> None:
    """A trigger that landed from a process without the lease is followed by the resolve, told or untold."""
    g = Group()
    g.tell(alert())
    g.play(Begun(g.head.group, 1, PAGE))
    settle(g, outcome)
    g.tell(alert(firing=False))
    if isinstance(outcome, Delivered):
        settle(g, Delivered())
    assert not g.head.destinations[PAGE].due
    under_way = g.head.destinations[PAGE]
    out = g.play(Doubt(g.head.group, 1, PAGE))
    assert Why.DELIVERY_DOUBTED in whys(out)
    d = g.head.destinations[PAGE]
    assert (d.want, d.due) == (Want.RESOLVED, True)
    g.play(Settled(g.head.group, 1, PAGE, "resolved", under_way.want_version, Delivered()))
    assert g.head.destinations[PAGE].due, "the receipt of an earlier resolve does not stand for it"
    settle(g, Delivered())
    assert not g.head.destinations[PAGE].due


def test_a_doubt_about_an_earlier_generation_stays_there() -> None:
    """The doubt is about the incident it names, not about the one that took its place."""
    g = Group()
    g.tell(alert())
    settle(g, Delivered("k"))
    g.tell(alert(firing=False), minutes=1)
    settle(g, Delivered())
    g.tell(alert(start=5), minutes=5)
    head = g.head
    g.play(Doubt(head.group, 1, PAGE))
    assert g.head == head
    assert g.past[1].destinations[PAGE].due
    assert not g.play(Doubt(head.group, 9, PAGE)).why
    assert not g.play(Doubt(head.group, 1, "nobody/x/0")).why


def test_gives_up_after_three_days() -> None:
    """A page that failed for 72 hours is dead, said on the timeline and in the dead letters."""
    g = Group()
    g.tell(alert())
    settle(g, Retry("serverError"))
    d = g.head.destinations[PAGE]
    event = Settled(g.head.group, 1, PAGE, d.want, d.want_version, Retry("serverError"))
    out = g.play(event, 73 * 60)
    assert g.head.destinations[PAGE].dead
    assert out.dead


def test_long_lived_groups_stay_bounded() -> None:
    """Resolved members of an incident that stays open for weeks are dropped, oldest first."""
    g = Group()
    g.tell(alert("keep"))
    for n in range(KEEP_RESOLVED + 50):
        g.tell(alert(f"p{n}", start=n), minutes=n)
        g.tell(alert(f"p{n}", firing=False, start=n, end=n), minutes=n)
    g.tell(alert("last", start=9000), minutes=9000)
    assert len(g.members) <= KEEP_RESOLVED + 3
    assert "am:keep" in g.members


versions = st.lists(
    st.builds(
        lambda name, firing, start: alert(name, firing=firing, start=start, end=start + 1),
        st.sampled_from("abc"), st.booleans(), st.integers(0, 3).map(lambda n: n * 10),
    ),
    max_size=14,
)  # fmt: skip


@settings(max_examples=200)
@given(versions, st.integers(0, 3))
def test_counts_are_the_member_table(alerts: list[Alert], size: int) -> None:
    """Whatever comes in whatever order, an open incident's counts are what its members say."""
    g = Group()
    while alerts:
        batch, alerts = alerts[: size + 1], alerts[size + 1 :]
        g.tell(*batch)
        if g.head.state.open:
            assert (g.head.firing, g.head.resolved) == g.counted()
            assert sum(g.head.by_severity.values()) == g.head.firing
            assert g.head.firing > 0


@settings(max_examples=200)
@given(versions)
def test_deciding_twice_adds_nothing(alerts: list[Alert]) -> None:
    """The same delivery decided again changes nothing that people see."""
    g = Group()
    for one in alerts:
        g.tell(one)
        revision, members = g.head.revision, dict(g.members)
        g.tell(one)
        assert g.head.revision == revision
        assert g.members == members


@settings(max_examples=150)
@given(st.permutations([alert(n, firing=f) for n in "abc" for f in (True, False)] * 2))
def test_any_order_of_a_pairs_copies_ends_the_same(alerts: list[Alert]) -> None:
    """One occurrence per alert, told twice in any order: all members end resolved, nothing is left open."""
    g = Group()
    for one in alerts:
        g.tell(one)
    assert not g.head.state.open
    assert all(not m.alert.firing for m in g.members.values())
    told = [h for h in [*g.past.values(), g.head] if h.generation]
    assert all(d.want is not Want.RESOLVED for h in told for d in h.destinations.values() if d.untold)


@given(versions)
def test_incidents_survive_the_store(alerts: list[Alert]) -> None:
    """What is written is what is read back."""
    g = Group()
    for one in alerts:
        g.tell(one)
    if isinstance(g.head, Incident):
        assert codec.incident(codec.encode(g.head)) == g.head
    for member in g.members.values():
        assert codec.member(codec.encode(member)) == member
