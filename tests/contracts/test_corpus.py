"""Every collected body of other projects' tests and documents is told or refused with a reason.

The bodies lie outside the repository; without them the tests are skipped.
"""

from __future__ import annotations

import collections
import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from router.kit import loader
from router.model.errors import Rejected
from router.model.events import AlertBatch, Trouble
from tests.conftest import TABLES

#: Which source reads which folders of the corpus.
FOLDERS = {
    "alertmanager": "alertmanager",
    "argo_rollouts": "argo-rollouts",
    "argocd": "argocd",
    "gitlab": "gitlab",
    "grafana": "grafana",
    "pagerduty": ("pagerduty-v3", "pagerduty-v1v2"),
    "slack": "slack",
}
COUNTS = {}
CORPUS = Path(__file__).parents[3] / "shared" / "corpus"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the payload corpus is not beside the repository")


def bodies(folder):
    """Return the paths of the bodies in a folder of the corpus."""
    found = [*(CORPUS / folder).glob("*.json"), *(CORPUS / folder).glob("*.form.txt")]
    return sorted(p for p in found if not p.name.endswith(".headers.json"))


def sent(path):
    """Return a body as it travels: of Slack's interactions and commands the corpus has the decoded object."""
    raw = path.read_bytes()
    if (
        path.parent.name != "slack"
        or path.suffix != ".json"
        or path.name.startswith(("event_callback", "url_"))
    ):
        return raw
    if path.name.startswith("command"):
        return urlencode(json.loads(raw)).encode()
    return urlencode({"payload": raw.decode()}).encode()


def _word(told):
    """Return what was told in a word."""
    if isinstance(told, Trouble):
        return "trouble"
    return getattr(told, "phase", "") or getattr(told, "kind", "alerts")


def outcomes(kind, folder=""):
    """Return, per body, the words of what was told or the code of the refusal."""
    source = loader.load("router.sources", kind)()
    found = {}
    for path in bodies(folder or kind):
        try:
            told = source.parse({}, sent(path))
        except Rejected as refused:
            found[path.name] = f"refused: {refused.code}" if refused.status == 400 and refused.detail else "?"
        else:
            assert told, path.name
            found[path.name] = ", ".join(sorted({_word(t) for t in told}))
    assert "?" not in found.values(), "a refusal is a 400 with a reason"
    COUNTS[folder or kind] = collections.Counter(found.values())
    return found


def _short(words):
    """Return the counts, heartbeats as one."""
    quiet = sum(n for w, n in words.items() if ":" in w and not w.startswith("refused"))
    loud = [f"{n} {w}" for w, n in words.most_common() if ":" not in w or w.startswith("refused")]
    return ", ".join([*loud, *([f"{quiet} heartbeats of {len(words) - len(loud)} kinds"] if quiet else [])])


def test_counts_of_the_whole_corpus():
    """Every folder of bodies that are sent to us is read; the table says what became of them."""
    for kind, folder in FOLDERS.items():
        outcomes(kind, folder) if isinstance(folder, str) else [outcomes(kind, f) for f in folder]
    lines = [f"{folder:<16} {sum(w.values()):>6}  {_short(w)}" for folder, w in sorted(COUNTS.items())]
    TABLES.append("\n".join([f"\n{'corpus':<16} {'bodies':>6}  told as", *lines]))
    unread = {p.name for p in CORPUS.iterdir() if p.is_dir()} - COUNTS.keys()
    assert unread == {"alertmanager-api", "pagerduty-events-api"}, "those are answers and requests of ours"


def test_alertmanager_bodies_are_batches():
    """All bodies of version 4 become batches; only version 3 and an alert without any time are refused."""
    found = outcomes("alertmanager")
    refused = {name: word for name, word in found.items() if word.startswith("refused")}
    assert refused == {
        "alerta__test-webhooks-L487.json": "refused: unsupported_version",
        "goalert__prometheusalertmanager-test-L54.json": "refused: bad_alert",
    }


def test_alertmanager_fingerprints_agree():
    """Where a real Alertmanager gave a fingerprint, ours over the same labels is the same."""
    source = loader.load("router.sources", "alertmanager")()
    checked = 0
    for path in bodies("alertmanager"):
        if path.name.startswith("live-"):
            body = path.read_bytes()
            theirs = source.parse({}, body)[0]
            ours = source.parse({}, body.replace(b'"fingerprint":"', b'"fingerprint":"x'))[0]
            assert isinstance(theirs, AlertBatch)
            assert [a.key for a in theirs.alerts] == [a.key for a in ours.alerts]
            checked += len(theirs.alerts)
    assert checked >= 150


def test_gitlab_bodies_are_never_refused():
    """Each authentic GitLab body, of whatever kind and age, is reports or a heartbeat.

    Trouble beside it are only bodies that a project cut short for its own tests, or left a placeholder in.
    """
    found = outcomes("gitlab")
    assert not [name for name, word in found.items() if word.startswith("refused")]
    assert found["deployment__gitlab-docs-17.json"] == "live"
    assert "built" in found["pipeline__webhooks__pipeline-event.json"]
    assert {name: word for name, word in found.items() if "trouble" in word} == {
        **dict.fromkeys(
            (f"deployment__mattermost-plugin-gitlab__deployment-fixture-test-L{n}.json" for n in (6, 31, 56)),
            "gitlab:deployment_unreadable, trouble",
        ),
        "merge_request__gitlab-plugin__MergeRequestEvent-merged.json": (
            "gitlab:merge_request_unreadable, trouble"
        ),
        "push__gidgetlab__test-aiohttp-L122.json": "gitlab:push_unreadable, trouble",
        "push__gidgetlab__test-sansio-L133.json": "gitlab:push_unreadable, trouble",
        "release__mattermost-plugin-gitlab__release-fixture-test-L6.json": (
            "gitlab:release_unreadable, trouble"
        ),
    }


def test_argocd_applications_are_told():
    """A whole Application with an operation is reported; only one without name or namespace is refused."""
    found = outcomes("argocd")
    refused = {name for name, word in found.items() if word == "refused: bad_body"}
    assert refused == {
        "argo-cd__application-degraded.json",
        "argo-cd__application-healthy.json",
        "roadie__mocks-getResponseStubMissingData.json",
    }
    assert found["argo-cd-master__fakeAppWithDestName.json"] == "argocd:no_operation"
    assert found["argo-cd__diff-cache.json"] == "green_deployed"


def test_rollouts_are_told():
    """Each Rollout with a status is reported; an invalid one and AnalysisRuns are heartbeats."""
    found = outcomes("argo_rollouts", "argo-rollouts")
    quiet = [word for word in found.values() if word.startswith("argo_rollouts:")]
    assert (len(found), len(quiet)) == (14, 4)
    assert not [word for word in found.values() if word.startswith("refused")]


def test_grafana_bodies_are_told():
    """Unified alerting's bodies are batches; those of legacy alerting tell no time and are refused."""
    words = collections.Counter(outcomes("grafana").values())
    assert words == {"alerts": 5, "refused: unsupported_version": 6}


def test_pagerduty_bodies_are_told():
    """v3 events are acts; bodies of older webhooks are refused, and so are objects without their event."""
    v3 = outcomes("pagerduty", "pagerduty-v3")
    told = {name: word for name, word in v3.items() if not name.startswith("data-only")}
    assert sorted(told.values()) == ["other", "other", "pagerduty:service"]
    assert {word for name, word in v3.items() if name.startswith("data-only")} == {"refused: bad_body"}
    assert set(outcomes("pagerduty", "pagerduty-v1v2").values()) == {"refused: unsupported_version"}


def test_slack_bodies_are_told():
    """Events, commands and interactions are acts or heartbeats; only an empty command is refused."""
    words = collections.Counter(outcomes("slack").values())
    assert sum(words.values()) == 59
    assert words["refused: bad_body"] == 1
    assert words["slack:event"] == 11


@pytest.mark.parametrize("path", bodies("grafana"), ids=lambda p: p.stem)
def test_grafana_bodies_are_not_taken_for_alertmanagers(path):
    """Grafana's body looks like Alertmanager's but is refused with a reason."""
    with pytest.raises(Rejected) as caught:
        loader.load("router.sources", "alertmanager")().parse({}, path.read_bytes())
    assert caught.value.status == 400
