"""What changes before anything is deployed: pushes, merges, tags, releases, feature flags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from router.kit import wire
from router.model.events import DeployPhase, Told
from router.sources import _gitlab_body as body

if TYPE_CHECKING:
    from collections.abc import Sequence

_BRANCHES: Final = "refs/heads/"
_TAGS: Final = "refs/tags/"
#: Of a merge request; more only swell the record.
MAX_LABELS: Final = 20
#: Branches beside the default one that get deployed, by their usual names: ``release/4``, ``4-2-stable``.
_LONG_LIVED: Final = re.compile(
    r"main|master|(?:releases?|hotfix(?:es)?|stable|prod(?:uction)?)(?![a-z]).*|.*[-_/]stable", re.IGNORECASE
).fullmatch
_RELEASE_ACTIONS: Final = frozenset({"update", "delete"})


def push(doc: dict[str, Any]) -> list[Told]:
    """Read a Push Hook; what goes to the default or a protected branch is what gets deployed."""
    where, ref = body.project(doc), wire.text(doc, "ref")
    if _deleted(doc):
        return [body.heartbeat("push_deleted")]
    revision = body.sha(wire.text(doc, "checkout_sha"), wire.text(doc, "after"))
    if where is None or not revision or not ref.startswith(_BRANCHES):
        needed = {
            "project": where,
            "checkout_sha": revision,
            "ref (refs/heads/...)": ref.startswith(_BRANCHES),
        }
        return body.unreadable("push", needed)
    branch = ref.removeprefix(_BRANCHES)
    if not _deployable(doc, where, branch):
        return [body.heartbeat("push_branch")]
    commits = _commits(doc)
    newest = _commit(commits, revision) or (commits[-1] if commits else None)
    count = wire.text(doc, "total_commits_count", limit=40)
    before = body.sha(wire.text(doc, "before"))
    report = body.report(
        where,
        f"push:{where.id}:{branch}:{before}:{revision}",
        DeployPhase.PUSHED,
        body.time(newest, "timestamp"),
        revision=revision,
        ref=branch,
        title=_title(newest),
        author=_pusher(doc),
        url=f"{where.web_url}/-/commit/{revision}" if where.web_url else wire.text(newest, "url", limit=1000),
        facts={"commits": count} if count else {},
    )
    return [report]


def _deployable(doc: dict[str, Any], where: body.Project, branch: str) -> bool:
    protected = wire.dig(doc, "ref_protected")
    if protected is True:
        return True
    if not where.default_branch:  # unknown; but it is protected unless somebody took that away
        return protected is not False
    return branch == where.default_branch


def tag_push(doc: dict[str, Any]) -> list[Told]:
    """Read a Tag Push Hook; the body has no time, a tag may be of an old commit."""
    where, ref = body.project(doc), wire.text(doc, "ref")
    if _deleted(doc):
        return [body.heartbeat("tag_push_deleted")]
    # of an annotated tag, after is the tag object
    revision = body.sha(wire.text(doc, "checkout_sha"), wire.text(doc, "after"))
    tag = ref.removeprefix(_TAGS)
    if where is None or not revision or not tag or tag == ref:
        needed = {"project": where, "checkout_sha": revision, "ref (refs/tags/...)": tag and tag != ref}
        return body.unreadable("tag_push", needed)
    title = _title(_commit(_commits(doc), revision)) or wire.first_line(wire.text(doc, "message"))
    report = body.report(
        where,
        f"tag_push:{where.id}:{tag}:{revision}",
        DeployPhase.TAGGED,
        None,
        revision=revision,
        names=(tag,),
        ref=tag,
        title=title,
        author=_pusher(doc),
        url=f"{where.web_url}/-/tags/{quote(tag)}" if where.web_url else "",
    )
    return [report]


def _deleted(doc: dict[str, Any]) -> bool:
    after = wire.text(doc, "after")
    return bool(after) and not after.strip("0")


def _commits(doc: dict[str, Any]) -> Sequence[Any]:
    """Return the newest 20 commits at most, the oldest of them first."""
    found = wire.dig(doc, "commits")
    return found if isinstance(found, list) else ()


def _commit(commits: Sequence[Any], revision: str) -> Any:
    return next((c for c in commits if wire.text(c, "id") == revision), None)


def _title(commit: Any) -> str:
    return wire.first_line(wire.text(commit, "message")) or wire.text(commit, "title")


def _pusher(doc: dict[str, Any]) -> str:
    return body.name(doc, "user_username") or body.name(doc, "user_name")


def merge_request(doc: dict[str, Any]) -> list[Told]:
    """Read a Merge Request Hook; only the merge itself is told."""
    attributes = wire.dig(doc, "object_attributes")
    action = wire.text(attributes, "action")
    # an update of a request merged long ago also says "merged"; its time would be wrong
    if action != "merge" and (action or wire.text(attributes, "state") != "merged"):
        return []
    where, target = body.project(doc), wire.text(attributes, "target_branch")
    if where is not None and not _lives_long(where, target):
        return [body.heartbeat("merge_request_branch")]
    revision = body.sha(wire.text(attributes, "merge_commit_sha"), wire.text(attributes, "last_commit", "id"))
    number = wire.text(attributes, "iid", limit=40)
    if where is None or not revision or not number:
        needed = {"project": where, "merge_commit_sha (or last_commit)": revision, "iid": number}
        return body.unreadable("merge_request", needed)
    labels = _labels(doc)
    report = body.report(
        where,
        f"merge_request:{where.id}:{number}:merged",
        DeployPhase.MERGED,
        body.time(attributes, "merged_at", "updated_at"),
        revision=revision,
        ref=target,
        title=wire.text(attributes, "title"),
        author=body.name(attributes, "last_commit", "author", "name") or body.person(doc, "user"),
        url=wire.text(attributes, "url", limit=1000),
        detail="merged",
        facts={"merge_request": f"!{number}", **({"labels": labels} if labels else {})},
    )
    return [report]


def _lives_long(where: body.Project, branch: str) -> bool:
    """True for the default branch, for names of others that get deployed, and where either is unknown."""
    if not branch or not where.default_branch or branch == where.default_branch:
        return True
    return _LONG_LIVED(branch) is not None


def _labels(doc: dict[str, Any]) -> str:
    """Return the titles of a merge request's labels; GitLab lets no comma into them."""
    found = wire.dig(doc, "labels") or wire.dig(doc, "object_attributes", "labels")
    if not isinstance(found, list):
        return ""
    titles = (wire.text(label, "title", limit=100) for label in found[:MAX_LABELS])
    return wire.clean(", ".join(title for title in titles if title), 300)


def release(doc: dict[str, Any]) -> list[Told]:
    """Read a Release Hook. Of people it names only the commit's author."""
    # the documentation names object_attributes.action; GitLab sends it at the top
    action = wire.text(doc, "action", limit=40) or wire.text(doc, "object_attributes", "action", limit=40)
    if action != "create":
        return [body.heartbeat(f"release_{action if action in _RELEASE_ACTIONS else 'other'}")]
    where, tag = body.project(doc), wire.text(doc, "tag")
    revision = body.sha(wire.text(doc, "commit", "id"))
    if where is None or not tag or not revision:
        return body.unreadable("release", {"project": where, "tag": tag, "commit.id": revision})
    report = body.report(
        where,
        f"release:{where.id}:{wire.text(doc, 'id', limit=40) or tag}:create",
        DeployPhase.RELEASED,
        body.time(doc, "released_at", "created_at"),
        revision=revision,
        names=(tag,),
        ref=tag,
        title=wire.text(doc, "name") or tag,
        author=body.name(doc, "commit", "author", "name"),
        url=wire.text(doc, "url", limit=1000),
        detail="create",
    )
    return [report]


def feature_flag(doc: dict[str, Any], delivery: str) -> list[Told]:
    """Read a Feature Flag Hook. The body has no time, so ``delivery`` tells one switching from the next."""
    where, attributes = body.project(doc), wire.dig(doc, "object_attributes")
    flag, active = wire.text(attributes, "name"), wire.dig(attributes, "active")
    if where is None or not flag or not isinstance(active, bool):
        needed = {"project": where, "object_attributes.name": flag, "active": isinstance(active, bool)}
        return body.unreadable("feature_flag", needed)
    state = "on" if active else "off"
    number = wire.text(attributes, "iid", limit=40)  # the page's; the body's id is another number
    page = f"{where.web_url}/-/feature_flags" if where.web_url else ""
    report = body.report(
        where,
        f"feature_flag:{where.id}:{wire.text(attributes, 'id', limit=40) or flag}:{state}:{delivery}",
        DeployPhase.TOGGLED,
        None,
        ref=flag,
        title=wire.first_line(wire.text(attributes, "description")),
        author=body.person(doc, "user"),
        url=f"{page}/{number}" if page and number else page,
        detail=state,
    )
    return [report]
