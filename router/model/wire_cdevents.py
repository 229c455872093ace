"""CDEvents as deploy reports: what happened to a service, an artifact, a change, a test or a pipeline.

Pure. An event comes in an envelope of CloudEvents, whose pair of source and id is unique, so
that a report's id is derived from it. Which service an event is about:

- ``service.*``: the last part of the subject's id, which may be ``payment-service``,
  ``service/payment-service``, a URI or a purl.
- ``artifact.*`` and ``build.finished``: the name of the artifact, a purl or an image's reference.
- ``change.merged``: the path of its repository, which the catalogue knows as a project.
- tests and pipelines: their events name none, so it is what ``customData`` says (``service``, ``artifactId``
  or ``repository``), else the path of the event's source, if that is a URL.

CDEvents have no id of one deploy, so a report's ``run`` is empty. Of ``service.published`` and
``service.removed`` the standard knows no artifact; a version in ``customData`` is taken where there is one.

Source: cdevents/spec, ``continuous-deployment.md``, ``continuous-integration.md``,
``source-code-version-control.md``, ``testing-events.md``, versions 0.1 to 0.6.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from router.kit import wire
from router.model.errors import Rejected
from router.model.events import UNDATED, DeployPhase, DeployReport, OriginKind
from router.model.keys import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX: Final = "dev.cdevents."
MAX_PURL: Final = 1000
MAX_IMAGE: Final = 512
MAX_FACT: Final = 200

_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}").fullmatch
_DIGEST: Final = re.compile(r"[a-z0-9+.-]{1,20}:[0-9a-f]{32,128}").fullmatch
#: The whole but tag and digest, the name, the tag, the digest.
_REFERENCE: Final = re.compile(
    r"((?:[\w.-]+(?::\d{1,5})?/)?(?:[\w.-]+/)*([\w.-]+))"
    r"(?::([\w.-]{1,128}))?(?:@([a-z0-9+.-]{1,20}:[0-9a-f]{32,128}))?",
    re.ASCII,
).fullmatch
#: Tags that say nothing of a version: they stay with the image.
_FLOATING: Final = frozenset({"latest", "stable", "main", "master", "dev", "prod", "production"})
_PATH: Final = re.compile(r"[\w.-]+(?:/[\w.-]+)+").fullmatch
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/]*/?", re.IGNORECASE)

#: All subjects and predicates of CDEvents up to 0.6, so that a word in a metric is one of few.
_KNOWN: Final[Mapping[str, str]] = {
    "approval": "closed created updated",
    "artifact": "deleted downloaded packaged published signed",
    "branch": "created deleted",
    "build": "finished queued started",
    "change": "abandoned created merged reviewed updated",
    "changewindow": "access breached closed created modified opened revoked",
    "deployment": "finished queued started",
    "environment": "created deleted modified",
    "incident": "detected reported resolved",
    "migration": "finished queued started",
    "pipelinerun": "finished queued started",
    "reconciliation": "finished started",
    "repository": "created deleted modified",
    "scheduledexecution": "canceled created missed modified triggered",
    "service": "deployed published removed rolledback upgraded",
    "targetrollout": "finished queued started",
    "taskrun": "finished queued started",
    "testcaserun": "finished queued skipped started",
    "testoutput": "published",
    "testsuiterun": "finished queued started",
    "ticket": "closed created updated",
}
_WORDS: Final = frozenset(f"{s}.{p}" for s, predicates in _KNOWN.items() for p in predicates.split())

_SERVICE_PHASES: Final = {
    "service.deployed": DeployPhase.LIVE,
    "service.upgraded": DeployPhase.LIVE,
    "service.published": DeployPhase.SWITCHED,  # "available for consumption": users reach it from now on
    "service.rolledback": DeployPhase.LIVE,  # its artifact is the version that runs now, the one returned to
    "service.removed": DeployPhase.CLEANED_UP,
}


class Event(msgspec.Struct, frozen=True):
    """A CloudEvent: its attributes as clean, bounded text, ``data`` as the JSON it is (None: none)."""

    id: str
    source: str
    type: str
    time: datetime | None
    subject: str
    data: Any


def word(event_type: str) -> str:
    """Return ``<subject>.<predicate>`` of a type that CDEvents know, else ``other``."""
    found = ".".join(event_type.removeprefix(PREFIX).split(".")[:2])
    return found if event_type.startswith(PREFIX) and found in _WORDS else "other"


def report(teller: str, event: Event) -> DeployReport | None:
    """Return what the event tells of a deploy or change, or None where that is nothing to record.

    Raises:
        Rejected: 400 ``bad_body`` where it should tell something and lacks what every such event has.
    """
    name = word(event.type)
    read = _READERS.get(name)
    if read is None:
        return None
    subject = wire.dig(event.data, "subject")
    if not isinstance(subject, dict):
        raise Rejected(
            400,
            "bad_body",
            f"a CDEvent {name} needs JSON data with an object 'subject' (and 'context' beside it)",
        )
    told = read(_Seen(event, name, subject))
    if told is None:
        return None
    return msgspec.structs.replace(
        told,
        source=teller,
        event_id=f"{teller}:{digest([event.source, event.id])}",
        at=wire.parse_time(wire.dig(event.data, "context", "timestamp")) or event.time or UNDATED,
        url=told.url or _web(wire.text(subject, "content", "url", limit=1000)),
    )


# -- what an event is about


class _Origin(NamedTuple):
    kind: OriginKind
    name: str


class _Seen(NamedTuple):
    """An event, its word and its subject."""

    event: Event
    word: str
    subject: dict[str, Any]

    def content(self, *path: str, limit: int = 300) -> str:
        return wire.text(self.subject, "content", *path, limit=limit)

    def custom(self, name: str) -> str:
        """Return what ``customData`` says, which is the sender's own; only where it is JSON."""
        return wire.text(self.event.data, "customData", name, limit=MAX_PURL)

    @property
    def id(self) -> str:
        return wire.text(self.subject, "id", limit=MAX_PURL) or self.event.subject

    @property
    def artifact(self) -> Artifact:
        return artifact(self.content("artifactId", limit=MAX_PURL) or self.custom("artifactId"))

    @property
    def environment(self) -> str:
        return self.content("environment", "id", limit=255) or self.content("environment", "name", limit=255)

    def revision(self, *candidates: str) -> str:
        """Return the first of these that is a commit's sha, else the one in ``customData``."""
        own = (self.custom(n).lower() for n in ("revision", "commit"))
        return next((c for c in (*(c.lower() for c in candidates), *own) if _SHA(c)), "")


def _last(path: str) -> str:
    """Return the last part of a path or URI."""
    return path.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2].strip()


def _repository(text: str) -> _Origin | None:
    """Return the project behind a repository's id or URL: its path, without host and ``.git``."""
    path = _SCHEME.sub("", text.strip(), count=1).partition("?")[0].strip("/").removesuffix(".git")
    path = path.partition("/-/")[0]  # GitLab's pages of a project
    first, _, rest = path.partition("/")
    if "." in first and "/" in rest:  # a host without a scheme: my-git.example/an-org/a-repo
        path = rest
    return _Origin(OriginKind.GITLAB_PROJECT, path) if _PATH(path) else None


def _run_origin(seen: _Seen) -> _Origin | None:
    """Return whose test or pipeline it was, or None where nothing says so."""
    service = seen.custom("service") or seen.artifact.name
    if service:
        return _Origin(OriginKind.SERVICE, _last(service))
    source = seen.event.source
    return _repository(seen.custom("repository")) or (_repository(source) if _SCHEME.match(source) else None)


# -- kinds


def _report(seen: _Seen, origin: _Origin, phase: DeployPhase, **rest: Any) -> DeployReport:
    """Return a report; who tells, its id and its time :func:`report` puts in."""
    return DeployReport(
        source="",
        event_id="",
        origin_kind=origin.kind,
        origin=origin.name,
        environment=rest.pop("environment", ""),
        phase=phase,
        at=UNDATED,
        detail=rest.pop("detail", seen.word),
        **rest,
    )


def _service(seen: _Seen) -> DeployReport | None:
    subject = seen.id
    name = purl(subject).name or _last(subject)
    if not name:
        raise Rejected(
            400, "bad_body", f"subject.id of the CDEvent {seen.word} is missing: it names the service"
        )
    made = seen.artifact
    custom = seen.custom("version")
    names = tuple(n for n in (*made.names, custom) if n)
    revision = seen.revision(made.version)
    if seen.word == "service.published" and not (names or revision or made.image):
        return None  # of which version nobody says, and an unknown one would be suspected
    return _report(
        seen,
        _Origin(OriginKind.SERVICE, name),
        _SERVICE_PHASES[seen.word],
        environment=seen.environment,
        revision=revision,
        names=names,
        images=(made.image,) if made.image else (),
        author=seen.custom("author"),
        facts=_facts(artifact=made.text),
    )


def _merged(seen: _Seen) -> DeployReport | None:
    origin = _repository(seen.content("repository", "id", limit=MAX_PURL))
    origin = origin or _repository(seen.content("repository", "url", limit=MAX_PURL)) or _run_origin(seen)
    if origin is None:
        return None
    return _report(
        seen,
        origin,
        DeployPhase.MERGED,
        revision=seen.revision(seen.id),
        title=wire.first_line(seen.content("description") or seen.custom("title")),
        author=seen.custom("author") or seen.content("user", limit=200),
        url=_web(seen.custom("url")),
        facts=_facts(change=seen.id),
    )


def _built(seen: _Seen) -> DeployReport | None:
    """Return the artifact that was made; of a build without one nothing can be said."""
    made = artifact(seen.id) if seen.word.startswith("artifact.") else seen.artifact
    if not made.name:
        return None
    return _report(
        seen,
        _Origin(OriginKind.SERVICE, made.name),
        DeployPhase.BUILT,
        revision=seen.revision(seen.content("change", "id"), made.version),
        names=made.names,
        images=(made.image,) if made.image else (),
        author=seen.content("user", limit=200),
        facts=_facts(artifact=made.text),
    )


def _checked(seen: _Seen) -> DeployReport | None:
    origin = _run_origin(seen)
    if origin is None:
        return None
    kind = seen.word.partition("run.")[0]
    about = {"testsuite": "testSuite", "testcase": "testCase"}.get(kind, "")
    name = (
        (seen.content(about, "name") or seen.content(about, "id")) if about else seen.content("pipelineName")
    )
    outcome = seen.content("outcome", limit=40).lower() or "finished"
    made = seen.artifact
    return _report(
        seen,
        origin,
        DeployPhase.CHECKED,
        environment=seen.environment,
        revision=seen.revision(made.version),
        names=made.names,
        images=(made.image,) if made.image else (),
        detail=outcome,
        facts=_facts(
            **{
                "pipeline" if kind == "pipeline" else "test": outcome,
                "name": name,
                "reason": seen.content("reason") or wire.first_line(seen.content("errors")),
                "severity": seen.content("severity", limit=40),
            }
        ),
    )


def _facts(**texts: str) -> dict[str, str]:
    return {name: wire.clean(text, MAX_FACT) for name, text in texts.items() if text}


def _web(url: str) -> str:
    return url if url.startswith(("https://", "http://")) else ""


_READERS: Final[Mapping[str, Callable[[_Seen], DeployReport | None]]] = {
    **dict.fromkeys(_SERVICE_PHASES, _service),
    "change.merged": _merged,
    "build.finished": _built,
    "artifact.packaged": _built,
    "artifact.published": _built,
    "testsuiterun.finished": _checked,
    "testcaserun.finished": _checked,
    "pipelinerun.finished": _checked,
}


# -- artifacts


class Artifact(NamedTuple):
    """What an artifact's id says; all empty for a text that is none.

    ``names`` are its version and tag, where they are no digest (nor an image's floating tag); ``image``
    is the reference of a container image, ``registry/name:tag@digest``, of what the id says of these.
    """

    text: str = ""
    name: str = ""
    version: str = ""
    names: tuple[str, ...] = ()
    image: str = ""


def artifact(text: str) -> Artifact:
    """Return what an ``artifactId`` says: a purl, as CDEvents want it, or the image's reference itself.

    A reference must have a tag or a digest: without one it tells no version, and could be any word.
    """
    if text.startswith("pkg:"):
        return purl(text)
    match = _REFERENCE(text) if len(text) <= MAX_IMAGE else None
    if match is None or _DIGEST(text) is not None or not (match[3] or match[4]):
        return Artifact()
    tag, by_digest = match[3] or "", match[4] or ""
    names = (tag,) if tag and tag not in _FLOATING else ()
    return Artifact(text, match[2], by_digest or tag, names, text)


def purl(text: str) -> Artifact:
    """Return what ``pkg:type/namespace/name@version?qualifiers#subpath`` says.

    Source: package-url/purl-spec. Of type ``oci`` the version is a digest and ``repository_url`` the whole
    reference; of ``docker`` the version is a tag or digest and ``repository_url`` the registry alone.
    """
    if not text.startswith("pkg:") or len(text) > MAX_PURL:
        return Artifact()
    rest, _, query = text.removeprefix("pkg:").partition("#")[0].partition("?")
    path, _, version = rest.partition("@")
    kind, _, path = path.strip("/").partition("/")
    path = "/".join(_plain(part) for part in path.split("/") if part)
    name, version = path.rpartition("/")[2], _plain(version)
    qualifiers = dict(pair.partition("=")[::2] for pair in query.split("&"))
    tag = _plain(qualifiers.get("tag", ""))
    where = _plain(qualifiers.get("repository_url", "")).rstrip("/")
    if not name:
        return Artifact()
    by_digest = _DIGEST(version) is not None
    tag = tag or ("" if by_digest else version)
    names = tuple(dict.fromkeys(n for n in ("" if by_digest else version, tag) if n))
    image = ""
    if kind.lower() in {"oci", "docker"} or by_digest:
        whole = kind.lower() == "oci" and where != ""
        base = where if whole else "/".join(p for p in (where, path) if p)
        image = base + (f":{tag}" if tag else "") + (f"@{version}" if by_digest else "")
        names = tuple(n for n in names if n not in _FLOATING)
    return Artifact(text, name, version, names, wire.clean(image, MAX_IMAGE))


def _plain(text: str) -> str:
    """Return percent-decoded, clean text; what is no UTF-8 shows as such."""
    raw = unquote_to_bytes(text.encode("utf-8", "replace"))
    return wire.clean(raw.decode("utf-8", "replace"), MAX_PURL).strip()
