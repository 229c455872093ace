"""What each destination should show, from the state an incident is in.

Level-triggered: this writes wishes, never calls. A page's wish moves with the
state, a risen severity or a newly found suspect; a chat message's wish moves with
every change people can see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from router.model.destinations import Destination, Lane, Want
from router.model.incidents import Incident, State
from router.model.reasons import Why

if TYPE_CHECKING:
    from router.decide.decision import Decision
    from router.rulebook.book import Rulebook

_WANT = {
    State.TRIGGERED: Want.TRIGGERED,
    State.ACKNOWLEDGED: Want.ACKNOWLEDGED,
    State.MERGED: Want.RESOLVED,  # its people have been told of the other one
    State.RESOLVED: Want.RESOLVED,
}


def wanted(state: State) -> Want | None:
    """Return what a destination should show of an incident in this state, None where nothing yet."""
    return _WANT.get(state)


def refresh(head: Incident, book: Rulebook, out: Decision, *, louder: bool = False) -> Incident:
    """Return the head with its destinations' wishes brought up to its state.

    ``louder``: pages are to be sent again although the state stayed; a page that somebody has taken is not,
    since nothing but its state would be read.
    """
    want = _WANT.get(head.state)
    if want is None:
        return head
    wishes = dict(head.destinations)
    # An open incident may outlive its receiver: then the root's are told, as for all that no route takes.
    receiver = book.receivers.get(head.receiver) or book.receivers.get(book.root.receiver)
    further = [found for name in head.also if (found := book.receivers.get(name)) is not None]
    targets = [t for each in ([receiver] if receiver else []) + further for t in each.targets]
    if want is not Want.RESOLVED:
        for target in targets:
            if target.id not in wishes:
                wishes[target.id] = Destination(lane=target.lane)
    if not wishes:
        if targets:
            out.because(Why.RESOLVED_BEFORE_NOTIFIED)
        else:
            out.because(Why.NOBODY_TO_TELL, f"receiver {head.receiver!r} has no targets")
        return head
    for name, old in wishes.items():
        if unneeded(old, want):
            wishes[name] = at_rest(old)
            out.because(Why.DELIVERY_UNNEEDED)
        elif old.want is not want or old.lane is not Lane.PAGE or (louder and want is Want.TRIGGERED):
            if old.dead and old.want is not want:  # another state is another try, with its own patience
                alive = msgspec.structs.replace(old, dead=False, failing_since=None)
            else:
                alive = old
            wishes[name] = msgspec.structs.replace(alive, want=want, want_version=head.revision)
    return msgspec.structs.replace(head, destinations=wishes)


def known_at(head: Incident, kind: str, book: Rulebook) -> Incident:
    """Return the head after something that people did at that vendor: its page is not told of it.

    A message is ours to edit, wherever its button was pressed; a page's state is the vendor's own.
    With several targets of the vendor nobody says at which one it was done: then all are told, which is
    harmless where it is known.
    """
    named = [
        name
        for name, each in head.destinations.items()
        if each.lane is Lane.PAGE and (t := book.target(name)) is not None and t.kind == kind
    ]
    if len(named) != 1 or not head.destinations[named[0]].due:
        return head
    old = head.destinations[named[0]]
    known = msgspec.structs.replace(
        old, have=old.want, have_version=old.want_version, begun=False, tries=0, not_before=None,
        failing_since=None, error="",
    )  # fmt: skip
    return msgspec.structs.replace(head, destinations={**head.destinations, named[0]: known})


def unneeded(old: Destination, want: Want) -> bool:
    """True where the wish tells nobody anything.

    What was never told needs no end, and what somebody has taken needs no page: after
    an outage, send the present, not the past.
    """
    over = want is Want.RESOLVED or (want is Want.ACKNOWLEDGED and old.lane is Lane.PAGE)
    return over and old.untold


def at_rest(old: Destination) -> Destination:
    """Return the destination with nothing wanted; a later wish has its own patience."""
    return msgspec.structs.replace(
        old, want=Want.NOTHING, want_version=0, have_version=0, not_before=None, tries=0, failing_since=None
    )
