"""Changes that are not bound to an environment: pushes, merges, pipelines, tags, releases, feature flags.

A change is found again by its revision. What several tellers say of one revision becomes one
record, and its words (a merge request's title is a person's, a job's is not), its tags and
its facts are lent to the deploys of that version, whenever those are told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from router.decide.versions import same_version
from router.model.deploys import Change
from router.model.events import DeployPhase
from router.model.reasons import Why

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from router.decide.decision import Decision
    from router.model.deploys import Deploy, Ledger
    from router.model.events import DeployReport

KEEP_CHANGES: Final = 30
KEEP_TELLING: Final = 20
_TELLING: Final = {DeployPhase.MERGED, DeployPhase.RELEASED, DeployPhase.TAGGED, DeployPhase.TOGGLED}
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

_FLOATING: Final = {"latest", "stable", "main", "master", "dev", "prod", "production"}
_DIGEST: Final = re.compile(r"@(?:sha256:)?([0-9a-f]{12})[0-9a-f]*$").search
VERSION_LIKE: Final = re.compile(r"v?\d+(\.\d+)+([-+.][0-9A-Za-z.-]+)?")


def record(ledger: Ledger, report: DeployReport, out: Decision) -> Ledger | None:
    """Return the ledger with the change in it, lent to its deploys; None where it says nothing new."""
    revision = report.revision.lower()
    if report.images:
        names = tuple(dict.fromkeys((*report.names, *tags(report.images))))
        report = msgspec.structs.replace(report, names=names)
    toggled = report.phase is DeployPhase.TOGGLED
    if not (revision or report.names or toggled):
        out.because(Why.DEPLOY_UNCHANGED)
        return None
    old = next((c for c in ledger.changes if _same(c, report, revision)), None)
    new = _told(report, revision) if old is None else _merged(old, _told(report, revision))
    if new == old:
        out.because(Why.DEPLOY_UNCHANGED)
        return None
    changes = _bounded((new, *(c for c in ledger.changes if c is not old)))
    deploys = tuple(lend(d, changes) for d in ledger.deploys)
    name = revision[:8] or next(iter(report.names), "")
    what = f"feature flag {report.ref} {report.detail}" if toggled else f"{name} {report.phase}"
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
        told = (*names, *change.names, *((change.revision,) if change.revision else ()))
        names = tuple(dict.fromkeys(told))[:MAX_NAMES]
    return msgspec.structs.replace(
        deploy,
        title=title,
        author=author,
        url=url or deploy.url or change.url,
        names=names,
        facts=bounded({**change.facts, **deploy.facts}),
    )


def tags(images: Iterable[str]) -> list[str]:
    """Return what the images are called: by tag; by digest where there is none, or one that says nothing."""
    found = []
    for image in images:
        tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        digest = _DIGEST(image)
        if tag and tag not in _FLOATING:
            found.append(tag)
        elif digest is not None:
            found.append(f"sha256:{digest[1]}")
    return list(dict.fromkeys(found))


def later(
    old: Mapping[str, str], old_at: datetime | None, new: Mapping[str, str], at: datetime
) -> dict[str, str]:
    """Return the facts of both; where they differ, those told of the later moment."""
    return bounded({**new, **old} if old_at is not None and at < old_at else {**old, **new})


def bounded(facts: dict[str, str]) -> dict[str, str]:
    """Return at most :data:`MAX_FACTS` of them, the first ones."""
    return facts if len(facts) <= MAX_FACTS else dict(list(facts.items())[:MAX_FACTS])


def _bounded(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Newest first; what says most is not crowded out by the pipelines of a busy day."""
    telling = [c for c in changes if c.phase in _TELLING]
    rest = [c for c in changes if c.phase not in _TELLING][: KEEP_CHANGES - min(len(telling), KEEP_TELLING)]
    kept = [*telling[: KEEP_CHANGES - len(rest)], *rest]
    return tuple(c for c in changes if any(c is one for one in kept))


def _called(change: Change) -> tuple[str, ...]:
    names = tuple(n for n in (change.revision, *change.names) if n)
    return (*names, change.ref) if VERSION_LIKE.fullmatch(change.ref) else names


def _same(change: Change, report: DeployReport, revision: str) -> bool:
    if report.phase is DeployPhase.TOGGLED:
        return change.phase is report.phase and (change.ref, change.at) == (report.ref, report.at)
    if revision and change.revision:
        return change.revision == revision
    return any(name in change.names for name in report.names)


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
        revision=first.revision or second.revision,
        title=first.title or second.title,
        author=first.author or second.author,
        url=first.url or second.url,
        ref=first.ref or second.ref,
        names=tuple(dict.fromkeys((*old.names, *new.names)))[:MAX_NAMES],
        facts=facts,
        facts_at=facts_at,
    )
