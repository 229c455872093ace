"""Changes that are not bound to an environment: pushes, merges, pipelines, tags, releases, feature flags.

A change is found again by its revision. What several tellers say of one revision becomes one
record, and its words (a merge request's title is a person's, a job's is not), its tags and
its facts are lent to the deploys of that version, whenever those are told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from router.decide.suspects import same_version
from router.model.deploys import Change
from router.model.events import DeployPhase
from router.model.reasons import Why

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.decide.decision import Decision
    from router.model.deploys import Deploy, Ledger
    from router.model.events import DeployReport

KEEP_CHANGES: Final = 30
#: Of each change and deploy; sources bound what they tell, and several tellers add up.
MAX_FACTS: Final = 30
MAX_NAMES: Final = 8
#: Phases of a change that is not (yet) on its way into an environment; whose words count more, the higher.
PHASES: Final[Mapping[DeployPhase, int]] = {
    DeployPhase.TOGGLED: 0,
    DeployPhase.CHECKED: 0,
    DeployPhase.TAGGED: 1,
    DeployPhase.RELEASED: 2,
    DeployPhase.PUSHED: 3,
    DeployPhase.BUILT: 4,
    DeployPhase.MERGED: 5,
}

VERSION_LIKE: Final = re.compile(r"v?\d+(\.\d+)+([-+.][0-9A-Za-z.-]+)?")


def record(ledger: Ledger, report: DeployReport, out: Decision) -> Ledger | None:
    """Return the ledger with the change in it, lent to its deploys; None where it says nothing new."""
    revision = report.revision.lower()
    toggled = report.phase is DeployPhase.TOGGLED
    if not revision and not toggled:
        out.because(Why.DEPLOY_UNCHANGED)
        return None
    old = next((c for c in ledger.changes if _same(c, report, revision)), None)
    new = _told(report, revision) if old is None else _merged(old, _told(report, revision))
    if new == old:
        out.because(Why.DEPLOY_UNCHANGED)
        return None
    changes = (new, *(c for c in ledger.changes if c is not old))[:KEEP_CHANGES]
    deploys = tuple(lend(d, changes) for d in ledger.deploys)
    what = f"feature flag {report.ref} {report.detail}" if toggled else f"{revision[:8]} {report.phase}"
    out.because(Why.CHANGE_RECORDED, f"{ledger.service} {what}")
    return msgspec.structs.replace(ledger, changes=changes, deploys=deploys)


def lend(deploy: Deploy, changes: Sequence[Change]) -> Deploy:
    """Return the deploy with the words, tags and facts of its change."""
    mine = [c for c in changes if any(same_version(a, b) for a in _called(c) for b in deploy.names)]
    if not mine:
        return deploy
    change = max(mine, key=lambda c: PHASES.get(c.phase, 0))
    if change.phase is DeployPhase.MERGED:
        title, author, url = change.title or deploy.title, change.author or deploy.author, change.url
    else:
        title, author, url = deploy.title or change.title, deploy.author or change.author, ""
    names = deploy.names
    if change.names:  # a tag: whoever tells of the commit later means this deploy, too
        names = tuple(dict.fromkeys((*names, *change.names, change.revision)))[:MAX_NAMES]
    return msgspec.structs.replace(
        deploy,
        title=title,
        author=author,
        url=url or deploy.url or change.url,
        names=names,
        facts=bounded({**change.facts, **deploy.facts}),
    )


def later(
    old: Mapping[str, str], old_at: datetime | None, new: Mapping[str, str], at: datetime
) -> dict[str, str]:
    """Return the facts of both; where they differ, those told of the later moment."""
    return bounded({**new, **old} if old_at is not None and at < old_at else {**old, **new})


def bounded(facts: dict[str, str]) -> dict[str, str]:
    """Return at most :data:`MAX_FACTS` of them, the first ones."""
    return facts if len(facts) <= MAX_FACTS else dict(list(facts.items())[:MAX_FACTS])


def _called(change: Change) -> tuple[str, ...]:
    names = tuple(n for n in (change.revision, *change.names) if n)
    return (*names, change.ref) if VERSION_LIKE.fullmatch(change.ref) else names


def _same(change: Change, report: DeployReport, revision: str) -> bool:
    if revision:
        return change.revision == revision
    return not change.revision and (change.ref, change.at) == (report.ref, report.at)


def _told(report: DeployReport, revision: str) -> Change:
    return Change(
        revision=revision, phase=report.phase, at=report.at, title=report.title, author=report.author,
        url=report.url, ref=report.ref, names=report.names[:MAX_NAMES], facts=bounded(dict(report.facts)),
        facts_at=report.at if report.facts else None, detail=report.detail,
    )  # fmt: skip


def _merged(old: Change, new: Change) -> Change:
    """Return one change of two reports: the words of the one that says more, the facts and tags of both."""
    first, second = (new, old) if PHASES.get(new.phase, 0) >= PHASES.get(old.phase, 0) else (old, new)
    if old.phase is DeployPhase.MERGED:  # an update of a request merged long ago also says so
        first, second = old, new
    facts, facts_at = old.facts, old.facts_at
    if new.facts and new.facts_at is not None:
        facts = later(old.facts, old.facts_at, new.facts, new.facts_at)
        facts_at = max(new.facts_at, old.facts_at or new.facts_at)
    return msgspec.structs.replace(
        first,
        title=first.title or second.title,
        author=first.author or second.author,
        url=first.url or second.url,
        ref=first.ref or second.ref,
        names=tuple(dict.fromkeys((*old.names, *new.names)))[:MAX_NAMES],
        facts=facts,
        facts_at=facts_at,
    )
