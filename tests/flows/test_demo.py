"""``router demo`` as a person runs it: against a real router in another process, and against none."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import free_port
from tests.flows.harness import RouterProcess, client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parents[2]
#: Every way a sender can prove itself: GitLab's signature, a bearer token, a bearer token.
SECRETS = {
    "ROUTER_SOURCE_GITLAB_SECRETS": "whsec_ZGVtby1zaWduaW5nLWtleQ==",
    "ROUTER_SOURCE_ARGOCD_SECRETS": "argocd-secret",
    "ROUTER_SOURCE_ALERTMANAGER_SECRETS": "alertmanager-secret",
    "ROUTER_API_TOKENS": "api-token",
}


@pytest.fixture(params=[{}, SECRETS], ids=["open", "with-secrets"])
async def router(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RouterProcess]:
    """The router as ``make run`` starts it: the shipped rules, an empty data directory, no vendor."""
    env = {"ROUTER_DATA_DIR": str(tmp_path / "data"), "ROUTER_RULES": str(ROOT / "rules"), **request.param}
    process = RouterProcess(env, tmp_path / "router.log")
    await process.start()
    await process.ready()
    yield process
    await process.stop()


async def demo(url: str, *options: str, **env: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it wrote to both of its outputs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "router", "demo", "--fast", "--url", url, *options,
        env={**os.environ, **env}, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 40)
    return process.returncode or 0, out.decode(), err.decode()


def secrets_of(router: RouterProcess) -> dict[str, str]:
    """Return what this router asks for, to be given to the demo."""
    return {name: router.env[name] for name in SECRETS if name in router.env}


async def test_the_story_holds_twice(router: RouterProcess) -> None:
    """The demo ends well on a new router and again on the same one, naming its own deploy each time."""
    url = f"http://127.0.0.1:{router.port}"
    suspects = []
    for _ in range(2):
        code, out, err = await demo(url, "--output", "json", **secrets_of(router))
        assert code == 0, err
        told: dict[str, Any] = json.loads(out)
        assert all(told["checks"].values()), told["checks"]
        assert told["incident"]["state"] == "resolved"
        assert told["incident"]["suspect"]["for"]
        suspects.append(told["incident"]["suspect"]["version"])
        assert "13/13" in err  # progress is beside the document, not in it
    assert len(set(suspects)) == 2
    async with client(router.port) as c:
        headers = {"Authorization": f"Bearer {SECRETS['ROUTER_API_TOKENS']}"}
        _, listed = await c.get("/api/v1/deploys", headers=headers)
    told_by = {d["version"]: set(d["tellers"]) for d in listed["deploys"]}
    assert len(listed["deploys"]) == 2  # one for each run, though two tellers told of it
    assert told_by == {version: {"gitlab", "argocd"} for version in suspects}


async def test_readable_end(router: RouterProcess) -> None:
    """Without --output json a person reads the incident, its suspect with reasons, and who was told."""
    code, out, err = await demo(f"http://127.0.0.1:{router.port}", **secrets_of(router))
    assert (code, err) == (0, "")
    for part in ("HighErrorRate, payment-service in prod", "suspect   payment-service", "for     +1.3",
                 "payments-oncall/pagerduty/0: resolved", "acknowledged by demo"):  # fmt: skip
        assert part in out
    assert "FAILED" not in out


async def test_a_cut_off_run_does_not_spoil_the_next(router: RouterProcess) -> None:
    """What an interrupted run left open is resolved first, so that the next run tells its own story."""
    labels = {
        "alertname": "HighErrorRate", "service": "payment-service", "env": "prod", "namespace": "payments",
        "cluster": "demo", "severity": "critical", "version": "0123abcd", "pod": "left-behind",
    }  # fmt: skip
    times = {"startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}
    left = {"status": "firing", "labels": labels, "annotations": {}, **times}
    secret = router.env.get("ROUTER_SOURCE_ALERTMANAGER_SECRETS", "")
    async with client(router.port) as c:
        headers = {"Authorization": f"Bearer {secret}"}
        body = {"version": "4", "receiver": "router", "alerts": [left]}
        status, _ = await c.post("/webhooks/alertmanager", body, headers=headers)
        assert status == 202
    code, out, err = await demo(f"http://127.0.0.1:{router.port}", **secrets_of(router))
    assert code == 0, out + err


@pytest.mark.parametrize("router", [SECRETS], ids=["with-secrets"], indirect=True)
async def test_without_its_secrets(router: RouterProcess) -> None:
    """Where the router asks for secrets that the demo was not given, one line says what to set."""
    code, _, err = await demo(f"http://127.0.0.1:{router.port}")
    assert code == 1
    assert err.count("\n") == 1
    assert "ROUTER_API_TOKENS" in err


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:{port}", "make run"), ("localhost:{port}", "one looks like http://127.0.0.1:8080")],
    ids=["nothing-listens", "no-scheme"],
)
async def test_without_a_router(url: str, words: str) -> None:
    """Where no router answers, the demo fails with one clear line that says what to do."""
    code, out, err = await demo(url.format(port=free_port()))
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert "Traceback" not in out + err
