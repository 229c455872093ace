"""The story of docs/tutorial.md, played against a running router over real HTTP.

A change of payment-service is merged, built and switched in; then prod answers with
errors. Bodies are GitLab's, Argo CD's (our template's) and Alertmanager's own. Times lie
in the past and names are new in each run, so it can be played at once and again. It
knows the router only from outside: webhooks and the API. A router with credentials
tells real people.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import aiohttp
import click

from router import __version__, settings
from router.kit.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from datetime import datetime

SERVICE, ALERT, CLUSTER = "payment-service", "HighErrorRate", "demo"
PATIENCE_S: Final = 10.0  # how long a named condition is waited for; far more than an idle router needs
LASTS_MIN: Final = 12.0  # for so long the alerts have fired when it is told: longer than after a restart
_GITLAB, _PROJECT = "https://gitlab.example.com", f"shop/{SERVICE}"
_WEB: Final = f"{_GITLAB}/{_PROJECT}"
_JSON: Final = {"Content-Type": "application/json"}
_SECRETS_HINT: Final = "; set the router's ROUTER_SOURCE_<KIND>_SECRETS and ROUTER_API_TOKENS here, too"


class Stopped(Exception):  # noqa: N818  the story cannot go on
    """One line for a person: what is wrong and what to do."""


class Delivery(NamedTuple):
    """One request to a webhook: what it tells, who sends it, with which headers and body."""

    tells: str
    kind: str
    headers: dict[str, str]
    body: dict[str, Any]


# --- what is posted: pure -------------------------------------------------------------------------


class Story:
    """The deliveries of one run. ``now`` is also what makes its names unique."""

    title: Final = "Retry card authorisation once"

    def __init__(self, now: datetime) -> None:
        self.now = now.replace(microsecond=0)
        self.sha = sha1(f"demo {now.isoformat()}".encode(), usedforsecurity=False).hexdigest()
        self.tag = self.sha[:8]
        self.number = int(now.timestamp() * 1000)

    def ago(self, minutes: float) -> str:
        """Return a time before the story's moment, which is :data:`LASTS_MIN` ago, in RFC 3339."""
        return (self.now - timedelta(minutes=minutes + LASTS_MIN)).isoformat().replace("+00:00", "Z")

    def deploy(self) -> Iterator[Delivery]:
        """Merge, build, deploy green, test, switch."""
        built = dict.fromkeys(("build", "test", "security-scan", "quality", "package"), 18.0)
        green = {"deploy-green": 7.0, "test-green": 5.0, "switch-traffic": 3.0}
        yield self._gitlab("merge request merged", self._merge())
        yield self._gitlab(f"pipeline passed, image {self.tag} built", self._pipeline(1, built))
        yield self._gitlab("deployment to production running", self._deployment("running", 9))
        yield self._argocd("sync of payment-service-prod running (green)", "Running", 9)
        yield self._argocd("sync of payment-service-prod succeeded (green)", "Succeeded", 7)
        yield self._gitlab(f"{', '.join(green)} passed", self._pipeline(2, green, "production"))
        yield self._gitlab("deployment to production succeeded", self._deployment("success", 2.9))

    def alerts(self) -> Iterator[Delivery]:
        """Two pods fail, told by both of a high-availability pair; then a third."""
        yield self._alertmanager("two pods fail", "ab", peer=0)
        yield self._alertmanager("the same, from the pair's other Alertmanager", "ab", peer=1)
        yield self._alertmanager("a third pod fails", "abc", peer=0)

    def end(self) -> Delivery:
        """All pods are well again."""
        return self._alertmanager("all three pods are well again", "abc", peer=0, status="resolved")

    # Bodies, several fields to a line: one each would make three pages of them.
    # fmt: off
    def _gitlab(self, tells: str, body: dict[str, Any]) -> Delivery:
        event = f"{body['object_kind'].replace('_', ' ').title()} Hook"
        headers = {"User-Agent": "GitLab/17.8.1", "X-Gitlab-Event": event, "X-Gitlab-Instance": _GITLAB}
        project = {"id": 4712, "name": SERVICE, "path_with_namespace": _PROJECT, "web_url": _WEB}
        body = {"user": {"name": "Dana Example", "username": "dana"}, "project": project, **body}
        return Delivery(f"GitLab: {tells}", "gitlab", headers | _JSON, body)

    def _merge(self) -> dict[str, Any]:
        attributes = {
            "id": self.number, "iid": self.number, "title": self.title, "state": "merged", "action": "merge",
            "source_branch": "retry-once", "target_branch": "main", "merge_commit_sha": self.sha,
            "updated_at": self.ago(25), "url": f"{_WEB}/-/merge_requests/{self.number}",
            "last_commit": {"id": self.sha[::-1], "message": self.title, "author": {"name": "Dana Example"}},
        }
        return {"object_kind": "merge_request", "object_attributes": attributes}

    def _pipeline(self, n: int, jobs: dict[str, float], environment: str = "") -> dict[str, Any]:
        """Return a pipeline that passed; ``jobs`` says how many minutes ago each ended."""
        pipeline = self.number * 10 + n
        head = {
            "id": pipeline, "ref": "main", "sha": self.sha, "source": "push", "status": "success",
            "finished_at": self.ago(min(jobs.values())), "url": f"{_WEB}/-/pipelines/{pipeline}",
        }
        commit = {"id": self.sha, "title": self.title, "author": {"name": "Dana Example"}}
        where = {"name": environment, "action": "start"} if environment else None
        builds = [{
            "id": pipeline * 10 + i, "stage": name, "name": name, "status": "success",
            "finished_at": self.ago(at), "environment": where,
        } for i, (name, at) in enumerate(jobs.items())]
        return {"object_kind": "pipeline", "object_attributes": head, "commit": commit, "builds": builds}

    def _deployment(self, status: str, at: float) -> dict[str, Any]:
        return {
            "object_kind": "deployment", "status": status, "status_changed_at": self.ago(at),
            "deployment_id": self.number, "deployable_url": f"{_WEB}/-/jobs/{self.number}",
            "environment": "production", "environment_tier": "production", "ref": "main",
            "short_sha": self.tag, "commit_url": f"{_WEB}/-/commit/{self.sha}", "commit_title": self.title,
        }

    def _argocd(self, tells: str, phase: str, at: float) -> Delivery:
        done, name = phase == "Succeeded", f"{SERVICE}-prod"
        body = {
            "version": 1, "trigger": f"router-sync-{phase.lower()}",
            "app": {"name": name, "namespace": "argocd", "uid": "demo", "project": "shop", "labels": {}},
            "destination": {"namespace": "payments", "server": "https://kubernetes.default.svc"},
            "targetRevision": "main", "revision": self.sha[20:] + self.sha[:20], "revisions": [],
            "images": [f"registry.example.com/{_PROJECT}:{self.tag}"], "phase": phase, "syncStatus": "Synced",
            "message": "successfully synced" if done else "waiting for green",
            "health": "Healthy" if done else "Progressing", "healthSince": self.ago(at),
            "startedAt": self.ago(9), "finishedAt": self.ago(at) if done else "",
            "automated": True, "dryRun": False, "partial": False,
            "url": f"https://argocd.example.com/applications/argocd/{name}",
        }
        return Delivery(f"Argo CD: {tells}", "argocd", _JSON, body)

    def _alertmanager(self, tells: str, pods: str, *, peer: int, status: str = "firing") -> Delivery:
        common = {
            "alertname": ALERT, "service": SERVICE, "env": "prod", "namespace": "payments",
            "cluster": CLUSTER, "severity": "critical", "version": self.tag,
        }
        note = {"summary": f"{SERVICE} answers more than 5 % of requests with an error"}
        ends = self.ago(-LASTS_MIN) if status == "resolved" else "0001-01-01T00:00:00Z"
        alerts = [{
            "status": status, "labels": {**common, "pod": f"{SERVICE}-green-{self.tag}-{pod}"},
            "annotations": note, "startsAt": self.ago(0.5 if pod == "c" else 1), "endsAt": ends,
            "generatorURL": f"http://prometheus-{peer}.example.com/graph",
        } for pod in pods]
        body = {
            "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": status, "groupLabels": {},
            "receiver": "incident-router", "commonLabels": common, "commonAnnotations": note,
            "externalURL": f"http://alertmanager-{peer}.example.com", "alerts": alerts,
        }
        return Delivery(f"Alertmanager: {tells}", "alertmanager", _JSON, body)
    # fmt: on


def credentials(delivery: Delivery, raw: bytes, secret: bytes, now: datetime) -> dict[str, str]:
    """Return the headers by which this sender proves that it knows the secret."""
    if not secret:
        return {}
    text = secret.decode()
    if delivery.kind != "gitlab":
        return {"Authorization": f"Bearer {text}"}
    if not text.startswith("whsec_"):
        return {"X-Gitlab-Token": text}
    name, stamp = f"demo-{sha256(raw).hexdigest()[:16]}", str(int(now.timestamp()))
    key = base64.b64decode(text.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, b".".join((name.encode(), stamp.encode(), raw)), sha256))
    return {"webhook-id": name, "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature.decode()}"}


# --- playing --------------------------------------------------------------------------------------


@dataclass
class Result:
    """What happened; also the JSON document. ``checks`` holds what must be true, in words."""

    url: str
    ok: bool = False
    error: str = ""
    deploy: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)
    timings_ms: dict[str, int] = field(default_factory=dict)
    incident: dict[str, Any] | None = None


class Player:
    """Plays one story against one router."""

    def __init__(self, session: aiohttp.ClientSession, chosen: settings.Settings, result: Result) -> None:
        self.session, self.result, self.clock = session, result, SystemClock()
        self.pause_s, self.say = 0.0, click.echo
        self.story = Story(self.clock.now())
        kinds = ("gitlab", "argocd", "alertmanager")
        self.secrets = {kind: next(iter(chosen.source_secrets(kind)), b"") for kind in kinds}
        token = next((t.get_secret_value() for t in chosen.api_tokens), "")
        self.api_headers = {**_JSON, "Authorization": f"Bearer {token}"} if token else _JSON
        self.count = len([*self.story.deploy(), *self.story.alerts()]) + 3

    async def play(self) -> None:
        """Play all of it. Raises Stopped where it cannot go on."""
        result, story = self.result, self.story
        result.deploy = story.tag
        await self._until("the router is ready (/-/ready)", self._ready)
        await self._tidy()
        for delivery in story.deploy():
            await self._post(delivery)
        started = self.clock.monotonic()
        _, copy, _ = [await self._post(delivery) for delivery in story.alerts()]
        dropped = copy.get("accepted") == 0 and copy.get("repeated", 0) > 0
        result.checks["the pair's second copy was dropped at the door"] = dropped
        name = await self._found(started)
        answer = await self._act(name, "acknowledge")
        await self._step('API: acknowledge, by "demo"', str(answer.get("status")))
        await self._until("the incident is acknowledged", lambda: self._is(name, "acknowledged"))
        now = await self._incident(name)
        result.checks["it is acknowledged by demo"] = now["acknowledged_by"] == "demo"
        await self._told(name, "acknowledged")
        await self._post(story.end())
        await self._until("the incident is resolved", lambda: self._is(name, "resolved"))
        await self._told(name, "resolved")
        result.incident = await self._incident(name)
        result.checks["it is resolved when its alerts are"] = result.incident["state"] == "resolved"
        result.timings_ms["whole_story"] = self._since(started)

    async def _found(self, started: float) -> str:
        """Wait for this run's incident, its suspect and everybody to be told; return the incident's id."""
        mine = await self._until("an incident of this run with three alerts", self._whole)
        self.result.timings_ms["alert_posted_to_incident_shown"] = self._since(started)
        self.result.checks["three alerts, two senders: one incident"] = len(mine) == 1
        name = str(mine[0]["id"])
        found = await self._until("a suspect", lambda: self._suspect(name), gently=True) or {}
        ours = (found.get("service"), found.get("version")) == (SERVICE, self.story.tag)
        self.result.checks[f"the suspect is our deploy {self.story.tag}"] = ours
        await self._told(name, "triggered")
        self.result.timings_ms["alert_posted_to_everybody_told"] = self._since(started)
        words = f"suspect {found['service']} {found['version']}" if found else "no suspect"
        await self._step("API: which incidents are there?", f"{len(mine)}: {name}, {words}")
        return name

    async def _tidy(self) -> None:
        """Resolve what a run that was cut off left open, or this run's alerts would join it."""
        for left in [i["id"] for i in await self._open()]:
            self.say(f"       resolving {left}, left open by an earlier run")
            await self._act(left, "resolve")
            await self._until("it is resolved", partial(self._is, left, "resolved"))

    async def _until(self, what: str, look: Callable[[], Awaitable[Any]], *, gently: bool = False) -> Any:
        """Wait for a value that is true; ``gently``: not as long, and go on without it."""
        until = self.clock.monotonic() + PATIENCE_S / (3 if gently else 1)
        while not (value := await look()) and self.clock.monotonic() < until:
            await self.clock.sleep(0.02)
        if not value and not gently:
            raise Stopped(f"waited {PATIENCE_S:g} s in vain until {what}; the router's log may say why")
        return value

    async def _ready(self) -> bool:
        async with self.session.get(f"{self.result.url}/-/ready") as answer:
            text = (await answer.content.read(300)).decode("utf-8", "replace")
        if answer.status == 200 and text.strip() == "Ready":
            return True
        if answer.status == 503 and "not_ready" in text:
            return False
        raise Stopped(f"what answers at {self.result.url} is no Incident Router (/-/ready: {answer.status})")

    async def _open(self) -> list[dict[str, Any]]:
        listed = (await self._request("GET", "/api/v1/incidents?state=open&limit=500"))["incidents"]
        return [i for i in listed if i["service"] == SERVICE and i["labels"].get("cluster") == CLUSTER]

    async def _whole(self) -> list[dict[str, Any]]:
        mine = [i for i in await self._open() if i["labels"].get("version") == self.story.tag]
        return mine if sum(i["firing"] for i in mine) >= 3 else []

    async def _incident(self, name: str) -> dict[str, Any]:
        return await self._request("GET", f"/api/v1/incidents/{name}")

    async def _suspect(self, name: str) -> Any:
        return (await self._incident(name))["suspect"]

    async def _is(self, name: str, state: str) -> bool:
        return bool((await self._incident(name))["state"] == state)

    async def _told(self, name: str, want: str) -> None:
        """Wait until every destination confirmed; a vendor that does not answer is no fault of the story."""

        async def confirmed() -> bool:
            wishes = (await self._incident(name))["destinations"].values()
            return all(w["dead"] or (w["wanted"] in {want, ""} and not w["due"]) for w in wishes)

        await self._until(f"everybody is told: {want}", confirmed, gently=True)

    async def _post(self, delivery: Delivery) -> dict[str, Any]:
        raw = json.dumps(delivery.body).encode()
        proof = credentials(delivery, raw, self.secrets[delivery.kind], self.clock.now())
        started = self.clock.monotonic()
        answer = await self._request("POST", f"/webhooks/{delivery.kind}", raw, **delivery.headers, **proof)
        took = self._since(started)
        words = f"accepted {answer.get('accepted')}, repeated {answer.get('repeated')}, {took} ms"
        await self._step(delivery.tells, words, **answer, ms=took)
        return answer

    async def _act(self, name: str, act: str) -> dict[str, Any]:
        return await self._request("POST", f"/api/v1/incidents/{name}/{act}", b'{"by": "demo"}')

    async def _request(self, method: str, path: str, data: bytes = b"", **headers: str) -> dict[str, Any]:
        sent, url = headers or self.api_headers, self.result.url + path
        async with self.session.request(method, url, headers=sent, data=data or None) as answer:
            raw = await answer.read()
        with contextlib.suppress(ValueError):
            body: dict[str, Any] = json.loads(raw)
            if answer.status < 300:
                return body
            raw = str(body.get("detail", "")).encode()
        hint = _SECRETS_HINT if answer.status in {401, 403} else ""
        detail = raw[:300].decode("utf-8", "replace")
        raise Stopped(f"{method} {path} was answered {answer.status}: {detail}{hint}")

    async def _step(self, what: str, came_of_it: str, **more: Any) -> None:
        self.result.steps.append({"step": what, "answer": came_of_it, **more})
        self.say(f"{len(self.result.steps):>2}/{self.count}  {what:<62} {came_of_it}")
        await self.clock.sleep(self.pause_s)

    def _since(self, started: float) -> int:
        return round((self.clock.monotonic() - started) * 1000)


# --- the end --------------------------------------------------------------------------------------


def summary(result: Result) -> list[str]:
    """Return the readable end of the story."""
    lines = ["", *(_shown(result.incident) if result.incident else [])]
    lines += [f"  {name.replace('_', ' '):<32} {ms} ms" for name, ms in result.timings_ms.items()]
    lines += ["", *(f"  {'ok    ' if held else 'FAILED'}  {what}" for what, held in result.checks.items())]
    return lines


def _shown(one: dict[str, Any]) -> list[str]:
    lines = [
        f"Incident {one['id']}: {one['title']}, {one['service']} in {one['environment']}",
        f"  {one['state']}, severity {one['severity']}, {one['resolved']} alerts resolved",
    ]
    if s := one["suspect"]:
        lines.append(f"  suspect   {s['service']} {s['version']}: {s['title']} ({s['author']})")
        lines += [f"    for     {r['weight']:+.1f}  {r['text']}" for r in s["for"]]
        lines += [f"    against {r['weight']:+.1f}  {r['text']}" for r in s["against"]]
    lines.append("  told      (a router without credentials tells its own log)")
    for name, d in one["destinations"].items():
        state = f"not told: {d['error']}" if d["error"] else "under way" if d["due"] else d["confirmed"]
        lines.append(f"    {d['lane']:<5} {name}: {state or 'nothing'}")
    times = [f"    {str(e['at'])[11:23]}  {e['text'] or e['why']}" for e in one["timeline"]]
    return [*lines, "  timeline", *times]


async def play(url: str, *, pause_s: float, as_json: bool) -> int:
    """Play the story; return 0 where all held, 1 where not, 2 for settings that cannot be used."""
    result, say = Result(url.rstrip("/")), partial(click.echo, err=as_json)
    try:
        chosen = settings.load(os.environ)
        limit = aiohttp.ClientTimeout(total=15, connect=5)
        async with aiohttp.ClientSession(timeout=limit) as session:
            player = Player(session, chosen, result)
            player.pause_s, player.say = pause_s, say
            say(f"Incident Router {__version__}: a bad deploy of {SERVICE}, played against {result.url}")
            await player.play()
    except settings.SettingsError as exc:
        result.error = "the settings cannot be used: " + "; ".join(str(p) for p in exc.problems)
    except Stopped as exc:
        result.error = str(exc)
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        result.error = f"{url!r} is not the address of a router; one looks like http://127.0.0.1:8080"
    except (aiohttp.ClientError, TimeoutError) as exc:
        why = f"nothing answers at {result.url} ({type(exc).__name__})"
        result.error = f"{why}; start it with make run, or name the router's address with --url"
    result.ok = not result.error and all(result.checks.values())
    if result.steps:
        say("\n".join(summary(result)))
    if result.error:
        click.echo(f"error: {result.error}", err=True)
    if as_json:
        click.echo(json.dumps(asdict(result)))
    return 0 if result.ok else 2 if result.error.startswith("the settings") else 1
