"""Every collected body of other projects' tests and documents is told or refused with a reason.

The bodies lie outside the repository; without them the tests are skipped.
"""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from router.kit import loader
from router.model.errors import Rejected
from router.model.events import AlertBatch

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the payload corpus is not beside the repository")


def bodies(kind):
    """Return the paths of the bodies of a source."""
    return [p for p in sorted((CORPUS / kind).glob("*.json")) if not p.name.endswith(".headers.json")]


def outcomes(kind):
    """Return, per body, the words of what was told or the code of the refusal."""
    source = loader.load("router.sources", kind)()
    found = {}
    for path in bodies(kind):
        try:
            told = source.parse({}, path.read_bytes())
        except Rejected as refused:
            found[path.name] = f"refused: {refused.code}" if refused.status == 400 and refused.detail else "?"
        else:
            assert told, path.name
            found[path.name] = ", ".join(
                sorted({getattr(t, "phase", "") or getattr(t, "kind", "alerts") for t in told})
            )
    assert "?" not in found.values(), "a refusal is a 400 with a reason"
    print(f"{kind}: {len(found)} bodies", dict(collections.Counter(found.values())))
    return found


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
    """Each authentic GitLab body, of whatever kind and age, is reports or a heartbeat."""
    found = outcomes("gitlab")
    assert not [name for name, word in found.items() if word.startswith("refused")]
    assert found["deployment__gitlab-docs-17.json"] == "live"
    assert "built" in found["pipeline__webhooks__pipeline-event.json"]


def test_bare_argocd_applications_are_refused_with_advice():
    """An Application posted as it is, not through our template, is refused with a reason."""
    found = outcomes("argocd")
    assert set(found.values()) <= {"refused: bad_body", "refused: unsupported_version"}


@pytest.mark.parametrize("path", bodies("grafana"), ids=lambda p: p.stem)
def test_grafana_bodies_are_not_taken_for_alertmanagers(path):
    """Grafana's body looks like Alertmanager's but is refused with a reason."""
    with pytest.raises(Rejected) as caught:
        loader.load("router.sources", "alertmanager")().parse({}, path.read_bytes())
    assert caught.value.status == 400
