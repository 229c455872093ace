"""What GitLab's webhook bodies have in common: project, people, commits, times.

Field by field after GitLab's ``lib/gitlab/data_builder`` and ``lib/gitlab/hook_data``. Old
releases leave out much of it, so each fact is looked for in every place where it has stood.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from router.kit import wire
from router.model.events import UNDATED, DeployPhase, DeployReport, Heartbeat, OriginKind, Told, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

KIND: Final = "gitlab"
#: What stands in place of an e-mail address, and in some bodies of a name, that the reader may not see.
_REDACTED: Final = "[REDACTED]"

_SHA: Final = re.compile(r"[0-9a-f]{7,64}").fullmatch
_FULL_SHA: Final = re.compile(r"[0-9a-f]{40,64}").fullmatch


class Project(msgspec.Struct, frozen=True):
    """Where it happened.

    Args:
        id: stays the same when the path is renamed; the path where there is no number.
        path: ``group/subgroup/project``.
        web_url: the project's page; "" if unknown.
        default_branch: "" if unknown: null in some real bodies, absent in old ones.
        host: of the page, with its port; "" if unknown. Two GitLabs number their projects alike.
    """

    id: str
    path: str
    web_url: str
    default_branch: str
    host: str = ""

    def leads_to_deploys(self, ref: str, *, tag: bool) -> bool:
        """True for a tag and the default branch; for any branch where the default one is unknown."""
        return tag or not self.default_branch or ref == self.default_branch


def project(doc: dict[str, Any]) -> Project | None:
    """Return the project that a body names, or None where it names none."""
    # before 9.0 merge requests had the project only there
    target = wire.dig(doc, "object_attributes", "target")
    url = wire.text(doc, "project", "web_url", limit=1000) or wire.text(
        doc, "repository", "homepage", limit=1000
    )
    path = (
        wire.text(doc, "project", "path_with_namespace")
        or wire.text(target, "path_with_namespace")
        or _path(url)
    )
    if not path:
        return None
    number = (
        wire.text(doc, "project", "id", limit=40)
        or wire.text(doc, "project_id", limit=40)
        or wire.text(doc, "object_attributes", "target_project_id", limit=40)
    )
    branch = wire.text(doc, "project", "default_branch") or wire.text(target, "default_branch")
    return Project(number or path, path, url, branch, _host(url))


def _path(url: str) -> str:
    """Return ``group/project`` of a project's page; job hooks of old releases name it nowhere else."""
    try:
        found = urlsplit(url).path.strip("/")
    except ValueError:
        return ""
    return wire.clean(found, 300) if "/" in found else ""


def _host(url: str) -> str:
    try:
        found = urlsplit(url).netloc
    except ValueError:
        return ""
    return wire.clean(found.rpartition("@")[2].lower(), 255)


def report(where: Project, event: str, phase: DeployPhase, at: datetime | None, **rest: Any) -> DeployReport:
    """Return a report of this project; host and ``event`` make its id, ``rest`` are further fields."""
    return DeployReport(
        source=KIND,
        event_id=":".join(part for part in (KIND, where.host, event) if part),
        origin_kind=OriginKind.GITLAB_PROJECT,
        origin=where.path,
        environment=rest.pop("environment", ""),
        phase=phase,
        at=UNDATED if at is None else at,
        **rest,
    )


def heartbeat(word: str) -> Heartbeat:
    """Return what an authentic delivery tells that we do not act on."""
    return Heartbeat(source=KIND, kind=f"{KIND}:{word}")


def unreadable(kind: str, needed: Mapping[str, object]) -> list[Told]:
    """Return what is told of a body of a known kind that lacks something.

    ``needed``: what was looked for, by the name of its field; what is false was not found.
    """
    missing = ", ".join(field for field, found in needed.items() if not found)
    reason = (
        f"{kind}: missing, or not as GitLab sends it: {missing}; if the webhook has a custom template, "
        "remove it: the standard body is needed; else compare it with GitLab's page on webhook events"
    )
    return [heartbeat(f"{kind}_unreadable"), Trouble(source=KIND, reason=reason)]


def time(doc: Any, *names: str) -> datetime | None:
    """Return the first of these fields that holds a time."""
    return next((at for name in names if (at := wire.parse_time(wire.dig(doc, name))) is not None), None)


def sha(*candidates: str) -> str:
    """Return the first candidate that is a commit's sha, full or short; all zeros mean that there is none."""
    return next((c for c in candidates if _SHA(c) and c.strip("0")), "")


def full_sha(candidate: str) -> str:
    """Return the candidate if it is a commit's whole sha, else ""."""
    return candidate if _FULL_SHA(candidate) else ""


def name(doc: Any, *path: str) -> str:
    """Return the person's name under these keys, "" where it is hidden."""
    found = wire.text(doc, *path, limit=200)
    return "" if found == _REDACTED else found


def person(doc: Any, key: str) -> str:
    """Return the username of a person, else the name."""
    return name(doc, key, "username") or name(doc, key, "name")
