"""/api/v1/deploys: what went where and when, what was blamed on it, and telling of one by hand.

What has no source of its own (a database migration, a configuration pushed by a script) tells of itself by
``POST``; it then counts as every other deploy does: it can be suspected, and holds can wait for it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from router.decide import lineage
from router.decide.joining import effect
from router.decide.placing import AHEAD
from router.kit.text import web_url
from router.model.errors import Rejected
from router.model.events import DeployPhase, DeployReport, OriginKind
from router.model.keys import digest
from router.web import bodies, shapes, shapes_deploys, views
from router.web.answers import answer, known, limit
from router.web.operations import LIMIT, Operation, Param, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from aiohttp import web

    from router.model.blames import Blame
    from router.model.deploys import Deploy
    from router.model.incidents import Incident
    from router.ports import Clock, Intake, Reader

_BODY_BYTES: Final = 64 << 10
#: What people may tell of; the others are steps of a pipeline, which tells of itself.
_PHASES: Final = (
    DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED, DeployPhase.GREEN_TESTED, DeployPhase.SWITCHED,
    DeployPhase.LIVE, DeployPhase.FAILED, DeployPhase.CANCELED, DeployPhase.CLEANED_UP,
    DeployPhase.ROLLED_BACK,
)  # fmt: skip
#: The five steps of a blue-green deploy, and the phases that tell of each.
STEPS: Final = (
    ("deploy_green", (DeployPhase.STARTED, DeployPhase.GREEN_DEPLOYED)),
    ("test_green", (DeployPhase.GREEN_TESTED,)),
    ("switch_traffic", (DeployPhase.SWITCHED,)),
    ("monitor", (DeployPhase.LIVE,)),
    ("clean_up_blue", (DeployPhase.CLEANED_UP,)),
)

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Short = Annotated[str, msgspec.Meta(max_length=1000)]


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """The body that tells of a deploy.

    ``phase``: what was reached, ``live`` by default. ``at``: when, else now. ``revision``: the commit, by
    which other tellers' words are joined. ``id``: the client's own, so that a repeated request counts once.
    """

    service: Name
    version: Name
    environment: Annotated[str, msgspec.Meta(max_length=200)] = ""
    phase: str = "live"
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    revision: Annotated[str, msgspec.Meta(max_length=64)] = ""
    title: Short = ""
    author: Annotated[str, msgspec.Meta(max_length=200)] = ""
    url: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    id: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Deploys:
    """The handlers; the API guards them. ``skew``: how far tellers' clocks may disagree."""

    def __init__(self, reader: Reader, intake: Intake, clock: Clock, skew: Callable[[], timedelta]) -> None:
        self._reader, self._intake, self._clock, self._skew = reader, intake, clock, skew

    def operations(self) -> list[Operation]:
        """Return what can be done here."""
        base = "/api/v1/deploys"
        service = Param("service", "Only of this service.", {"type": "string"})
        environment = Param("environment", "Only into this environment.", {"type": "string"})
        return [
            Operation(
                "GET", base, self.list, "List deploys, the newest first.",
                {200: shapes_deploys.Deploys}, query=(service, environment, LIMIT),
            ),
            Operation(
                "POST", base, self.told, "Tell of a deploy that no source tells of.",
                {202: shapes.Accepted}, scope=Scope.ACT, refusals=(408, 413, 415), body=Told,
            ),
            Operation(
                "GET", f"{base}/{{service}}/{{id:.+}}", self.show,
                "Show one deploy with its steps, and the incidents that suspect it.",
                {200: shapes_deploys.DeployWhole}, refusals=(404,),
            ),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """List deploys, newest first; ``service``, ``environment``, ``limit``."""
        known(request, {"service", "environment", "limit"})
        service, where, most = (
            request.query.get("service", ""),
            request.query.get("environment", ""),
            limit(request),
        )
        if service:
            ledgers = await self._reader.ledgers([service])
            found = [d for ledger in ledgers.values() for d in ledger.deploys]
            found.sort(key=lambda d: max(d.phases.values()), reverse=True)
        else:
            found = await self._reader.deploys(limit=most if not where else 500)
        shown = [views.deploy(d) for d in found if where in {"", d.environment}]
        return answer({"deploys": shown[:most]})

    async def show(self, request: web.Request) -> web.Response:
        """Show one deploy whole."""
        known(request, set())
        service, name = request.match_info["service"], request.match_info["id"]
        ledger = (await self._reader.ledgers([service])).get(service)
        found = next((d for d in ledger.deploys if d.id == name), None) if ledger else None
        if found is None:
            text = "no such deploy; a deploy's id looks like prod/1.42.0/1, and is forgotten after 14 days"
            raise Rejected(404, "unknown_deploy", text)
        page = await self._reader.incidents(include_closed=True, limit=500)
        deploys = ledger.deploys if ledger is not None else ()
        undone = lineage.History(deploys, found.environment).undone(found)
        return answer(
            views.deploy(found)
            | {
                "kind": lineage.kind(found, deploys),
                "steps": steps(found),
                "undone": {"at": undone.at, "by": undone.by, "rollback": undone.back} if undone else None,
                "promotions": [
                    {"id": d.id, "environment": d.environment, "at": effect(d) or min(d.phases.values())}
                    for d in lineage.promotions(found, deploys)
                ],
                "disagreements": lineage.disagreements(found, self._skew()),
                "problem": [views.blame(b) for b in _in_order(found.blamed.values())],
                "suspected_by": _blamed(found, page.heads),
            }
        )

    async def told(self, request: web.Request) -> web.Response:
        """Take what a person or a script tells of a deploy; answered once it is durable."""
        known(request, set())
        told, now = await _told(request), self._clock.now()
        at = told.at.astimezone(UTC) if told.at is not None else now
        if at > now + AHEAD:
            raise Rejected(400, "bad_body", "at: it is in the future; tell of it when it has happened")
        own = told.id or at.isoformat()
        report = DeployReport(
            source="api",
            event_id=f"api:{digest([told.service, told.environment, told.version, told.phase, own])}",
            origin_kind=OriginKind.SERVICE,
            origin=told.service,
            environment=told.environment,
            phase=DeployPhase(told.phase),
            at=at,
            revision=told.revision,
            names=(told.version,),
            title=told.title,
            author=told.author,
            url=web_url(told.url),
        )
        taken = await self._intake.take("api", [report])
        return answer({"status": "accepted", "repeated": bool(taken.repeated)}, 202)


async def _told(request: web.Request) -> Told:
    if request.content_type != "application/json":
        raise Rejected(415, "not_json", "send Content-Type: application/json")
    try:
        told = msgspec.json.decode(await bodies.read(request, _BODY_BYTES), type=Told)
        if told.at is not None:
            _ = told.at.astimezone(UTC)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as exc:
        raise Rejected(400, "bad_body", f"the body must tell of a deploy: {exc}") from None
    if told.phase not in _PHASES:
        raise Rejected(400, "bad_body", f"phase must be one of {', '.join(_PHASES)}")
    if told.url and not web_url(told.url):
        raise Rejected(400, "bad_body", "url must be an http or https URL without user and password")
    return told


def steps(deploy: Deploy) -> list[dict[str, Any]]:
    """Return the five steps of a blue-green deploy: when, None where it was not told, and by whom."""
    return [
        {"step": name, "at": _began(deploy, phases), "sources": _sources(deploy, phases)}
        for name, phases in STEPS
    ]


def _began(deploy: Deploy, phases: tuple[DeployPhase, ...]) -> datetime | None:
    at = min((deploy.phases[p] for p in phases if p in deploy.phases), default=None)
    switched = deploy.phases.get(DeployPhase.SWITCHED)
    if at is not None and switched is not None and DeployPhase.LIVE in phases:
        return max(at, switched)  # what was live before was green, without traffic
    return at


def _sources(deploy: Deploy, phases: tuple[DeployPhase, ...]) -> list[dict[str, Any]]:
    told = sorted((at, *name.split(" ", 1)) for name, at in deploy.told.items())
    return [{"teller": teller, "phase": p, "at": at} for at, p, teller in told if p in phases]


def _in_order(blames: Iterable[Blame]) -> list[Blame]:
    return sorted(blames, key=lambda b: (not b.open, b.at, b.incident))


def _blamed(deploy: Deploy, heads: list[Incident]) -> list[dict[str, Any]]:
    """Return the incidents that have it among their suspects, the likeliest first."""
    found = [
        {"incident": h.id, "title": h.title, "state": h.state, "score": s.score, "probability": s.probability}
        for h in heads
        for s in h.suspects
        if (s.service, s.deploy_id) == (deploy.service, deploy.id)
    ]
    return sorted(found, key=lambda row: -float(row["score"]))
