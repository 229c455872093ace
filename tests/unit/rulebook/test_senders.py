"""``senders:``, the watch for silent senders, as the rulebook holds it."""

from datetime import timedelta
from pathlib import Path

import pytest

from router.model.errors import ConfigError
from router.model.events import Severity
from router.rulebook.load import load
from router.rulebook.senders import Sender
from tests.unit.rulebook.helpers_rulebook import KINDS, LEAST, book

SHIPPED = Path(__file__).parents[3] / "rules"


def test_a_sender_has_all_that_was_written(tmp_path):
    """Duration, matchers, severity and labels arrive typed."""
    text = """
    senders:
      - source: alertmanager
        silent_after: 1h30m
        matchers: ['alertname="Watchdog"', 'env=~"prod|staging", team!="x"']
        severity: critical
        labels: {team: platform}
        expected: true
    """
    sender = book(tmp_path, least=LEAST, senders=text).senders["alertmanager"]
    assert sender.expected
    assert (sender.source, sender.silent_after) == ("alertmanager", timedelta(minutes=90))
    assert (sender.severity, dict(sender.labels)) == (Severity.CRITICAL, {"team": "platform"})
    assert [str(m) for m in sender.matchers] == ['alertname="Watchdog"', 'env=~"prod|staging"', 'team!="x"']


def test_the_least_watches_for_failures_only(tmp_path):
    """Without silent_after a pause of any length is right."""
    rules = book(tmp_path, least=LEAST, senders="senders: [{source: argocd_api}]")
    assert rules.senders == {"argocd_api": Sender("argocd_api")}
    assert rules.senders["argocd_api"].severity is Severity.WARNING
    assert not rules.senders["argocd_api"].expected


def test_without_the_section_nobody_is_watched(tmp_path):
    """The section may be missing or empty."""
    assert book(tmp_path, least=LEAST).senders == {}
    assert book(tmp_path, least=LEAST, senders="senders:").senders == {}


@pytest.mark.parametrize(("text", "expected"), [("1m", timedelta(minutes=1)), ("90d", timedelta(days=90))])
def test_the_bounds_of_a_silence(tmp_path, text, expected):
    """A minute and ninety days are still allowed."""
    rules = book(tmp_path, least=LEAST, senders=f"senders: [{{source: a, silent_after: {text}}}]")
    assert rules.senders["a"].silent_after == expected


@pytest.mark.parametrize(
    ("entry", "path", "words"),
    [
        ("{source: a, silent_after: 59s}", "silent_after", "1m to 90d"),
        ("{source: a, silent_after: 91d}", "silent_after", "1m to 90d"),
        ("{source: a, silent_after: an hour}", "silent_after", "not a duration"),
        ("{source: a, silent_after: 60}", "silent_after", "quotes"),
        ("{source: a, matchers: ['x=~\"(\"']}", "matchers[0]", ""),
        ("{source: a, matchers: 'x=y'}", "matchers", "list"),
        ("{source: a, severity: fatal}", "severity", "critical"),
        ("{source: Alert-Manager}", "source", "a-z"),
        ("{silent_after: 1h}", "source", "missing"),
        ("{source: a, silentafter: 1h}", "silentafter", "silent_after"),
        ("{source: a, labels: {team: 1}}", "labels.team", "quotes"),
        ("{source: a, expected: true}", "expected", "silent_after"),
        ("{source: a, silent_after: 1h, expected: 1}", "expected", ""),
    ],
)
def test_a_wrong_sender_is_refused_with_its_place(tmp_path, entry, path, words):
    """Every mistake says where it is and what to write."""
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, least=LEAST, senders=f"senders:\n  - {entry}\n")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.path) == ("rules/senders.yaml", 2, f"senders[0].{path}")
    assert words in problem.message + problem.hint


def test_a_sender_stands_once(tmp_path):
    """Two entries for one sender contradict each other, also in two files."""
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, least=LEAST, one="senders: [{source: a}]", two="senders: [{source: a}]")
    (problem,) = caught.value.problems
    assert (problem.file, problem.path) == ("rules/two.yaml", "senders[0].source")
    with pytest.raises(ConfigError, match="start each entry with - source:"):
        book(tmp_path, least=LEAST, one="senders: {a: {}}", two="")


def test_the_shipped_senders():
    """The senders that come with the product load, and are watched for what their senders do by default."""
    senders = load(SHIPPED, KINDS).senders
    assert {name: s.silent_after for name, s in senders.items()} == {
        "alertmanager": timedelta(hours=6),
        "gitlab": timedelta(days=4),
        "argocd_api": timedelta(minutes=10),
    }
    assert senders["alertmanager"].severity is Severity.CRITICAL
    assert [str(m) for m in senders["alertmanager"].matchers] == ['alertname="Watchdog"']
    assert not any(s.expected for s in senders.values()), "nobody is paged for what is not set up yet"
