"""The delivery files: what deploy/base renders, the image's recipe, the locks, Alertmanager's example.

Other programs than ours read these, so the tests use those where they are installed (kubectl,
amtool), and read the files themselves where they are not.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from router.settings import PREFIX, variables

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy/base"
SOURCE = re.compile(r"ROUTER_SOURCE_[A-Z]+_SECRETS(_FILE)?")

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def manifests() -> dict[str, Manifest]:
    """Return the rendered objects by kind; without kubectl, the files as they stand."""
    if shutil.which("kubectl"):
        done = subprocess.run(
            ["kubectl", "kustomize", str(BASE)], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stderr
        documents = list(yaml.safe_load_all(done.stdout))
    else:
        names = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
        documents = [yaml.safe_load((BASE / name).read_text()) for name in names]
    return {d["kind"]: d for d in documents}


@pytest.fixture
def pod(manifests: dict[str, Manifest]) -> Manifest:
    """Return the Deployment's pod."""
    spec: Manifest = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


@pytest.fixture
def container(pod: Manifest) -> Manifest:
    """Return the pod's only container."""
    (only,) = pod["containers"]
    found: Manifest = only
    return found


def test_the_base_holds_what_a_replicated_service_needs(manifests: dict[str, Manifest]) -> None:
    """Deployment of two, Service, account, disruption budget and network policy; no Secret among them."""
    assert {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"} <= set(
        manifests
    )
    assert "Secret" not in manifests
    assert manifests["Deployment"]["spec"]["replicas"] == 2
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    assert manifests["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_everything_selects_this_pod_and_no_other(manifests: dict[str, Manifest]) -> None:
    """A selector that is empty would put the policy or the budget on every pod of the namespace."""
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [manifests[kind]["spec"]["selector"] for kind in ("Deployment", "PodDisruptionBudget")]
    selectors.append(manifests["NetworkPolicy"]["spec"]["podSelector"])
    assert [s["matchLabels"] for s in selectors] == [labels] * 3
    assert manifests["Service"]["spec"]["selector"] == labels


def test_the_pod_has_no_power(pod: Manifest, container: Manifest, manifests: dict[str, Manifest]) -> None:
    """Non-root with a numeric id, read-only root, no capabilities, no token of the cluster's API."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert manifests["ServiceAccount"]["automountServiceAccountToken"] is False


def test_the_pod_is_watched_and_bounded(container: Manifest) -> None:
    """Every probe asks the endpoint that is made for it, and memory has a request and a limit."""
    assert container["livenessProbe"]["httpGet"] == {"path": "/-/healthy", "port": "http"}
    assert container["startupProbe"]["httpGet"]["path"] == "/-/healthy"
    assert container["readinessProbe"]["httpGet"] == {"path": "/-/ready", "port": "http"}
    assert set(container["resources"]["requests"]) == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


def test_a_stop_has_time_to_drain(pod: Manifest, container: Manifest) -> None:
    """The grace period covers the wait before the stop and the drain, so that nothing is cut off."""
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = int(next(e["value"] for e in container["env"] if e["name"] == "ROUTER_DRAIN_SECONDS"))
    assert before + drain < pod["terminationGracePeriodSeconds"]


def test_every_variable_is_a_setting_and_no_secret_has_a_value(container: Manifest) -> None:
    """Only settings that exist, secrets only as mounted files, and the pod's name as instance."""
    env = {e["name"]: e for e in container["env"]}
    ours = {name for name in env if name.startswith(PREFIX)}
    assert {name for name in ours if name not in variables() and not SOURCE.fullmatch(name)} == set()
    secret = {name for name in ours if f"{name}_FILE" in variables() or re.search("SECRETS$", name)}
    assert secret == set()
    folder = next(m["mountPath"] for m in container["volumeMounts"] if m["name"] == "secrets")
    assert all(env[name]["value"].startswith(f"{folder}/") for name in ours if name.endswith("_FILE"))
    assert env["ROUTER_INSTANCE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_every_secret_file_is_in_the_command_of_the_readme(container: Manifest) -> None:
    """Whoever follows deploy/base/README.md creates each file that the pod or its rules read."""
    readme = (BASE / "README.md").read_text()
    rules = (BASE / "rules/receivers.yaml").read_text()
    wanted = {e["value"] for e in container["env"] if e["name"].endswith("_FILE")}
    wanted |= set(re.findall(r"routing_key_file: (\S+)", rules))
    assert {Path(path).name for path in wanted} == set(re.findall(r"--from-file=(\S+)", readme))


def test_the_example_rules_parse_and_agree() -> None:
    """Each route of the example names a receiver that is defined."""
    rules = BASE / "rules"
    root = yaml.safe_load((rules / "routes.yaml").read_text())["route"]
    receivers = {r["name"] for r in yaml.safe_load((rules / "receivers.yaml").read_text())["receivers"]}
    assert {root["receiver"], *(r["receiver"] for r in root["routes"])} == receivers
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["configMapGenerator"][0]["files"]
    assert sorted(listed) == sorted(f"rules/{file.name}" for file in rules.glob("*.yaml"))


def test_the_image_runs_as_nobody_and_installs_by_hash() -> None:
    """The Dockerfile's last stage is non-root with a health check, and packages are checked by hash."""
    text = (ROOT / "Dockerfile").read_text()
    final = text[text.rindex("\nFROM ") :]
    assert "--require-hashes -r requirements.lock" in text
    assert re.findall(r"^USER (\S+)", final, re.MULTILINE) == ["65532:65532"]
    assert "/-/healthy" in final
    assert 'ENTRYPOINT ["router"]\nCMD ["serve"]' in final
    assert set(re.findall(r"\b(ROUTER_[A-Z_]+)=", final)) <= set(variables())


def test_the_image_copies_only_what_its_context_holds() -> None:
    """.dockerignore lets in each path that the Dockerfile copies from the context, and that path exists."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    copied = {path for line in lines for path in line.split()}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert [path for path in sorted(copied) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_pin_every_package_by_hash_and_name_no_index(name: str) -> None:
    """Each line pins one version, each has hashes, and where packages come from is left to the machine."""
    text = (ROOT / name).read_text()
    blocks = re.split(r"^(?=[^\s#])", text, flags=re.MULTILINE)[1:]
    assert [
        b.splitlines()[0] for b in blocks if not re.match(r"[a-z0-9-]+==\S+ .*\\\n +--hash=sha256:", b)
    ] == []
    assert "://" not in text


def test_the_development_lock_holds_the_same_releases() -> None:
    """Tests run against the very releases that are shipped."""
    pins = {
        name: set(re.findall(r"^[a-z0-9-]+==\S+", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    }
    assert pins["requirements.lock"] - pins["requirements-dev.lock"] == set()


def test_the_locks_hold_every_dependency_of_the_project() -> None:
    """A dependency that was added to pyproject.toml without make lock is found here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    names = {re.split(r"[<>=!~\[; ]", w)[0].lower().replace("_", "-") for w in wanted}
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names - locked == set()
    assert "async-timeout" in locked  # redis wants it on Debian 12's Python 3.11.2; see .ci/lock.in


def test_the_example_for_alertmanager_is_one_that_it_takes() -> None:
    """The example sends what the router reads, and where amtool is installed it finds no fault."""
    file = ROOT / "deploy/alertmanager/alertmanager.yml"
    (receiver,) = yaml.safe_load(file.read_text())["receivers"]
    (webhook,) = receiver["webhook_configs"]
    assert webhook["url"].endswith("/webhooks/alertmanager")
    assert webhook["send_resolved"] is True
    assert webhook["max_alerts"] == 0
    assert webhook["http_config"]["follow_redirects"] is False
    if shutil.which("amtool"):
        done = subprocess.run(
            ["amtool", "check-config", str(file)], capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_slack_app_asks_for_what_is_used() -> None:
    """The manifest has both commands, buttons, all scopes that calls need, and one address of ours."""
    manifest = yaml.safe_load((ROOT / "deploy/slack/manifest.yaml").read_text())
    commands = manifest["features"]["slash_commands"]
    assert [c["command"] for c in commands] == ["/incident", "/router"]
    interactivity = manifest["settings"]["interactivity"]
    urls = {interactivity["request_url"], *(c["url"] for c in commands)}
    assert urls == {"https://router.example.com/webhooks/slack"}
    assert interactivity["is_enabled"] is True
    needed = {
        *("chat:write", "commands", "channels:history", "groups:history", "channels:manage"),
        *("channels:read", "users:read", "users:read.email"),
    }
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == needed
    for command in commands:
        assert len(command["description"]) <= 2000
        assert command["should_escape"] is True  # else a person's name in assign cannot be told from text
    assert len(manifest["display_information"]["name"]) <= 35
    assert len(manifest["display_information"]["description"]) <= 140
