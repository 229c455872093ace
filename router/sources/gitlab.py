"""GitLab's webhooks: deployments, pipelines and merge requests become deploy reports.

Whatever else is authentic becomes a heartbeat, however odd: GitLab switches a
hook off after a few 4xx answers and never sends again what it could not
deliver, so only a body that is not a JSON object is refused. Bodies are read by
``object_kind``, not by header: system hooks all carry the same header.
Format: GitLab, ``doc/user/project/integrations/webhook_events.md``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router.kit import wire
from router.model.errors import Rejected
from router.model.events import DeployPhase, DeployReport, Heartbeat, OriginKind, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from router.ports import SourceFactory

#: Standard Webhooks' tolerance: an older delivery may be a replay.
TOLERANCE_S: Final = 300
#: While a key is rotated there are two signatures; more only cost time.
MAX_SIGNATURES: Final = 10
#: GitLab allows far fewer jobs that touch an environment in one pipeline.
MAX_JOBS: Final = 100
_SIGNING_PREFIX: Final = b"whsec_"

_KIND: Final = re.compile(r"[a-z][a-z_]{0,39}").fullmatch
_SHA: Final = re.compile(r"[0-9a-f]{7,64}").fullmatch
_FULL_SHA: Final = re.compile(r"[0-9a-f]{40,64}").fullmatch

_DEPLOYMENT_PHASES: Final = {
    "running": DeployPhase.STARTED,
    "success": DeployPhase.LIVE,  # the job that puts the version into the environment is done
    "failed": DeployPhase.FAILED,
    "canceled": DeployPhase.CANCELED,
}

#: What a job does, told by its name, else by its stage; the first match counts.
_JOB_PHASES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE).search, phase)
    for pattern, phase in (
        (r"^roll[-_ ]?back(?![a-z])", DeployPhase.ROLLED_BACK),
        (r"^(switch|traffic[-_ ]?switch|switch[-_ ]?traffic|promote)(?![a-z])", DeployPhase.SWITCHED),
        (r"^clean[-_ ]?up(?![a-z])", DeployPhase.CLEANED_UP),
        (r"^deploy[-_ ]?green(?![a-z])", DeployPhase.GREEN_DEPLOYED),
        (r"^test[-_ ]?green(?![a-z])|(?<![a-z])smoke(?![a-z])", DeployPhase.GREEN_TESTED),
    )
)


class GitLab:
    """See the module."""

    kind: Final = "gitlab"

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
        """Check the signature where there is one and we have a signing token, else compare the secret token.

        With both kinds of secret configured, each hook may use either; where only
        signing tokens are, a request without a signature is refused.
        """
        signing = any(s.startswith(_SIGNING_PREFIX) for s in secrets)
        if signing and "webhook-signature" in headers:
            index = _match_signature(headers, body, secrets, now)
        else:  # a signing token is never compared as a plain one: its position must stay
            plain = [b"" if s.startswith(_SIGNING_PREFIX) else s for s in secrets]
            index = wire.match_secret(wire.header_bytes(headers.get("x-gitlab-token", "")), plain)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid X-Gitlab-Token and no valid, recent webhook-signature: the secret token (or "
                "signing token, whsec_...) of the webhook must be one of those configured for this source",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:  # noqa: ARG002  the body says all
        """Return reports or one heartbeat; only what is not a JSON object is refused."""
        try:
            doc = wire.document(body)
        except wire.Unreadable as exc:
            raise Rejected(400, "bad_json", f"not a GitLab webhook body: {exc}") from exc
        kind = wire.text(doc, "object_kind") or wire.text(doc, "event_name")
        if _KIND(kind) is None:
            kind = "unreadable"
        read = _READERS.get(kind)
        return (read(doc) if read else []) or [Heartbeat(source=self.kind, kind=f"gitlab:{kind}")]


# -- authenticity


def _match_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
    """Return the index of the signing token that made a signature, or -1 (Standard Webhooks, v1)."""
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return -1
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        return -1
    signed = b".".join((wire.header_bytes(headers.get("webhook-id", "")), stamp.encode(), body))
    given = wire.header_bytes(headers["webhook-signature"]).split(b" ")[:MAX_SIGNATURES]
    found = -1
    for index, secret in enumerate(secrets):
        key = _signing_key(secret)
        ours = b"v1," + base64.b64encode(hmac.digest(key or b"-", signed, sha256))
        for theirs in given:
            if hmac.compare_digest(ours, theirs) and key and found < 0:
                found = index
    return found


def _signing_key(secret: bytes) -> bytes:
    """Return the key inside ``whsec_<base64>``, or empty bytes for any other secret."""
    if not secret.startswith(_SIGNING_PREFIX):
        return b""
    try:
        return base64.b64decode(secret.removeprefix(_SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""


# -- what all kinds share


class _Project(msgspec.Struct, frozen=True):
    """Where it happened. ``id`` stays the same when the path is renamed."""

    id: str
    path: str
    web_url: str


def _project(doc: dict[str, Any]) -> _Project | None:
    target = wire.dig(
        doc, "object_attributes", "target"
    )  # before 9.0 merge requests had the project only there
    path = wire.text(doc, "project", "path_with_namespace") or wire.text(target, "path_with_namespace")
    if not path:
        return None
    number = wire.text(doc, "project", "id", limit=40)
    number = number or wire.text(doc, "object_attributes", "target_project_id", limit=40)
    return _Project(number or path, path, wire.text(doc, "project", "web_url", limit=1000))


def _report(project: _Project, event: str, phase: DeployPhase, at: datetime, **rest: Any) -> DeployReport:
    return DeployReport(
        source="gitlab",
        event_id=f"gitlab:{event}",
        origin_kind=OriginKind.GITLAB_PROJECT,
        origin=project.path,
        environment=rest.pop("environment", ""),
        phase=phase,
        at=at,
        **rest,
    )


def _time(doc: Any, *names: str) -> datetime | None:
    """Return the first of these fields that holds a time."""
    return next((at for name in names if (at := wire.parse_time(wire.dig(doc, name))) is not None), None)


def _sha(*candidates: str) -> str:
    """Return the first candidate that is a commit's sha, full or short."""
    return next((c for c in candidates if _SHA(c)), "")


def _person(doc: Any, key: str) -> str:
    return wire.text(doc, key, "username", limit=200) or wire.text(doc, key, "name", limit=200)


# -- kinds


def _deployment(doc: dict[str, Any]) -> list[Told]:
    status = wire.text(doc, "status", limit=40)
    phase = _DEPLOYMENT_PHASES.get(status)
    if phase is None:  # created, blocked, skipped and what later releases may add
        return []
    project, at = _project(doc), _time(doc, "status_changed_at")
    environment = wire.text(doc, "environment", limit=255)
    if project is None or at is None or not environment:
        return [Heartbeat(source="gitlab", kind="gitlab:deployment_unreadable")]
    tail = wire.text(doc, "commit_url", limit=1000).partition("?")[0].rpartition("/")[2]
    revision = tail if _FULL_SHA(tail) else _sha(wire.text(doc, "short_sha"))
    # without a number the time must tell a second deployment of the same commit (a rollback) from the first
    name = wire.text(doc, "deployment_id", limit=40) or f"{revision}+{environment}+{at.isoformat()}"
    report = _report(
        project,
        f"deployment:{project.id}:{name}:{status}",
        phase,
        at,
        environment=environment,
        revision=revision,
        ref=wire.text(doc, "ref"),
        title=wire.first_line(wire.text(doc, "commit_title")),
        author=_person(doc, "user"),
        url=wire.text(doc, "deployable_url", limit=1000)
        or (f"{project.web_url}/-/environments" if project.web_url else ""),
        detail=status,
    )
    return [report]


def _pipeline(doc: dict[str, Any]) -> list[Told]:
    project, attributes = _project(doc), wire.dig(doc, "object_attributes")
    revision = _sha(wire.text(attributes, "sha"))
    if project is None or not revision:
        return [Heartbeat(source="gitlab", kind="gitlab:pipeline_unreadable")]
    number = wire.text(attributes, "id", limit=40)
    common = {
        "revision": revision,
        "ref": wire.text(attributes, "ref"),
        "title": wire.text(doc, "merge_request", "title")
        or wire.first_line(wire.text(doc, "commit", "title") or wire.text(doc, "commit", "message")),
        "author": wire.text(doc, "commit", "author", "name", limit=200) or _person(doc, "user"),
    }
    url = wire.text(attributes, "url", limit=1000)
    if not url and project.web_url and number:
        url = f"{project.web_url}/-/pipelines/{number}"
    told: list[Told] = []
    finished = _time(attributes, "finished_at", "updated_at")
    if wire.text(attributes, "status") == "success" and finished is not None:
        event = f"pipeline:{project.id}:{number or revision}:success"
        told.append(_report(project, event, DeployPhase.BUILT, finished, url=url, detail="success", **common))
    jobs = wire.dig(doc, "builds")
    for job in jobs if isinstance(jobs, list) else []:
        report = _job(project, job, common, url)
        if report is not None and len(told) < MAX_JOBS:
            told.append(report)
    return told


def _job(project: _Project, job: Any, common: dict[str, str], url: str) -> DeployReport | None:
    """Return what a job of a pipeline did to an environment, whether or not its pipeline is through."""
    environment = wire.text(job, "environment", "name", limit=255)
    at = _time(job, "finished_at")
    number = wire.text(job, "id", limit=40)
    if not environment or not number or at is None or wire.text(job, "status") != "success":
        return None
    name, stage = wire.text(job, "name"), wire.text(job, "stage")
    phase = _job_phase(name) or _job_phase(stage)
    if phase is None:
        return None
    if project.web_url:
        url = f"{project.web_url}/-/jobs/{number}"
    event = f"job:{project.id}:{number}:success"
    return _report(project, event, phase, at, environment=environment, url=url, detail=name, **common)


def _job_phase(name: str) -> DeployPhase | None:
    return next((phase for search, phase in _JOB_PHASES if search(name)), None)


def _merge_request(doc: dict[str, Any]) -> list[Told]:
    attributes = wire.dig(doc, "object_attributes")
    action = wire.text(attributes, "action")
    # an update of a request merged long ago also says "merged"; its time would be wrong
    if action != "merge" and (action or wire.text(attributes, "state") != "merged"):
        return []
    project, at = _project(doc), _time(attributes, "merged_at", "updated_at")
    revision = _sha(wire.text(attributes, "merge_commit_sha"), wire.text(attributes, "last_commit", "id"))
    number = wire.text(attributes, "iid", limit=40)
    if project is None or at is None or not revision or not number:
        return [Heartbeat(source="gitlab", kind="gitlab:merge_request_unreadable")]
    report = _report(
        project,
        f"merge_request:{project.id}:{number}:merged",
        DeployPhase.MERGED,
        at,
        revision=revision,
        ref=wire.text(attributes, "target_branch"),
        title=wire.text(attributes, "title"),
        author=wire.text(attributes, "last_commit", "author", "name", limit=200) or _person(doc, "user"),
        url=wire.text(attributes, "url", limit=1000),
        detail="merged",
    )
    return [report]


_READERS: Final[Mapping[str, Callable[[dict[str, Any]], list[Told]]]] = {
    "deployment": _deployment,
    "pipeline": _pipeline,
    "merge_request": _merge_request,
}

build: SourceFactory = GitLab
