"""Every Protocol that one can implement, and the types that pass through them.

A driver is one file: ``router/<room>/<kind>.py`` with a module-level ``build``.
The ``kind`` in a URL or in YAML is the file's name; there is no list to edit.
"""

from router.ports.clock import Clock
from router.ports.listen import ListenContext, Listener, ListenerFactory, Take
from router.ports.notifiers import ChangeJob, IncidentJob, Knowing, Notifier, NotifierContext, NotifierSpec
from router.ports.senders import (
    Fetched,
    Poller,
    PollerContext,
    PollerFactory,
    Source,
    SourceFactory,
    Speaking,
    Survey,
    SwitchedOff,
)
from router.ports.storage import (
    MOST_DEAD,
    MOST_UNREAD,
    Appended,
    Batch,
    DeadLetter,
    GroupChange,
    GroupRecord,
    InboxEntry,
    InboxPage,
    Item,
    Lease,
    LeaseSeen,
    Store,
    Taking,
)
from router.ports.surroundings import Surroundings
from router.ports.talk import Asking, Silencer, TalkContext, Talker, TalkerFactory
from router.ports.web import Intake, Page, Reader, Taken

__all__ = [
    "MOST_DEAD",
    "MOST_UNREAD",
    "Appended",
    "Asking",
    "Batch",
    "ChangeJob",
    "Clock",
    "DeadLetter",
    "Fetched",
    "GroupChange",
    "GroupRecord",
    "InboxEntry",
    "InboxPage",
    "IncidentJob",
    "Intake",
    "Item",
    "Knowing",
    "Lease",
    "LeaseSeen",
    "ListenContext",
    "Listener",
    "ListenerFactory",
    "Notifier",
    "NotifierContext",
    "NotifierSpec",
    "Page",
    "Poller",
    "PollerContext",
    "PollerFactory",
    "Reader",
    "Silencer",
    "Source",
    "SourceFactory",
    "Speaking",
    "Store",
    "Surroundings",
    "Survey",
    "SwitchedOff",
    "Take",
    "Taken",
    "Taking",
    "TalkContext",
    "Talker",
    "TalkerFactory",
]
