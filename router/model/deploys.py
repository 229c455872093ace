"""Deploys: one record from several tellers, kept per service in a bounded ledger."""

from __future__ import annotations

from datetime import datetime

import msgspec

from router.model.blames import Blame, Rate
from router.model.destinations import Destination
from router.model.events import DeployPhase


class Change(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A push, merge, pipeline, tag, release or feature flag: not (yet) bound to an environment.

    Found again by its revision; a feature flag has none, its ``ref`` is the flag's name and
    ``detail`` is ``on`` or ``off``. ``names`` are tags of the revision, ``facts`` what was told
    of it (``test: failed``), last at ``facts_at``.
    """

    revision: str
    phase: DeployPhase
    at: datetime
    title: str = ""
    author: str = ""
    url: str = ""
    ref: str = ""
    names: tuple[str, ...] = ()
    facts: dict[str, str] = {}
    facts_at: datetime | None = None
    detail: str = ""


class Deploy(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One version going into one environment of one service.

    ``id`` is ``<environment>/<first name of the version>/<n>``, unique in its
    ledger. ``names`` are all names of the version that tellers used (commit
    shas, tags): two reports tell of one deploy where a name matches.
    ``phases`` maps a phase to the earliest time it was told, ``tellers`` to who told.
    ``runs`` are the tellers' own ids of it: ``<teller> <run>``, and ``<teller> +<id>`` of what is
    behind a run. ``lives`` are the times at which it was told as live, by job ("": none), ``green_jobs``
    the jobs that only made green ready. ``facts`` are short texts by name that tellers gave
    (``health: Healthy``), last at ``facts_at``. ``told`` has the earliest time by ``<phase> <teller>``.
    ``flag``: it is a feature flag that was switched, and no version.
    ``blamed`` are the incidents blamed on it, by id: together they are one problem.
    """

    id: str
    service: str
    environment: str
    names: tuple[str, ...]
    phases: dict[str, datetime]
    tellers: tuple[str, ...]
    title: str = ""
    author: str = ""
    url: str = ""
    ref: str = ""
    images: tuple[str, ...] = ()
    config_revision: str = ""
    detail: str = ""
    facts: dict[str, str] = {}
    facts_at: datetime | None = None
    runs: tuple[str, ...] = ()
    lives: dict[str, datetime] = {}
    green_jobs: tuple[str, ...] = ()
    told: dict[str, datetime] = {}
    flag: bool = False
    blamed: dict[str, Blame] = {}
    destinations: dict[str, Destination] = msgspec.field(default_factory=dict)
    version: int = 0

    @property
    def name(self) -> str:
        """The version's shortest useful name for people: a tag if there is one, else 8 digits of the sha."""
        tag = next((name for name in self.names if not _is_sha(name)), None)
        return tag or (self.names[0][:8] if self.names else "unknown")

    def phase_at(self, *phases: DeployPhase) -> datetime | None:
        """Return the time of the first of these phases that was told, or None."""
        for phase in phases:
            at = self.phases.get(phase)
            if at is not None:
                return at
        return None


def _is_sha(name: str) -> bool:
    return len(name) >= 40 and all(c in "0123456789abcdef" for c in name)


class Ledger(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The recent deploys and changes of one service, newest first; bounded in number and age.

    ``seen`` counts the changes that open incidents should hear of; ``noticed`` is
    the last count that every partition was told. ``rates``: how often an alert opened an incident with no
    deploy to blame, by ``<environment>|<alertname>``, counted since ``since``.
    """

    service: str
    deploys: tuple[Deploy, ...] = ()
    changes: tuple[Change, ...] = ()
    seen: int = 0
    noticed: int = 0
    rates: dict[str, Rate] = {}
    since: datetime | None = None
    broken: str = ""  # never stored: what of it this release cannot read; then nothing is decided on it

    @property
    def due(self) -> bool:
        """True while partitions or destinations must still be told."""
        return self.noticed < self.seen or any(
            d.due for deploy in self.deploys for d in deploy.destinations.values()
        )
