"""Route coverage: which routes recorded deliveries take, asked of the sources and the tree of production."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.app import load_rules
from router.coverage import Coverage, measured
from router.drivers import sources_of
from tests.unit.rulebook.helpers_rulebook import write

if TYPE_CHECKING:
    from router.rulebook.book import Rulebook

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads"
RULES = """
route:
  receiver: d
  routes:
    - {name: all, continue: true, matchers: ['alertname!=""']}
    - name: checkout
      matchers: [service=checkout]
      routes: [{name: slow, matchers: [alertname=SlowAnswers]}]
    - {name: never, matchers: [service=never]}
receivers: [{name: d}]
sources: [{name: my_sender, starts_at: "{at}", labels: {alertname: "{name}", service: checkout}}]
relabel_configs: [{source_labels: [service], regex: dropped, action: drop}]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Rulebook:
    return load_rules(write(tmp_path, all=RULES))


def line(path: str, body: Any, **more: Any) -> bytes:
    """Return a line as router capture writes it."""
    record = {"at": "2026-11-20T10:30:00Z", "path": f"/webhooks/{path}", "headers": {}, "body": body}
    return json.dumps(record | more).encode() + b"\n"


def firing(*alerts: dict[str, str], status: str = "firing") -> dict[str, Any]:
    """Return Alertmanager's body for alerts with these labels."""
    body = json.loads((PAYLOADS / "alertmanager" / "firing.json").read_text("utf-8"))
    first = body["alerts"][0]
    body["alerts"] = [first | {"labels": a, "status": status, "fingerprint": f"{n:016x}"}
                      for n, a in enumerate(alerts)]  # fmt: skip
    return body


def covered(rules: Rulebook, *lines: bytes) -> Coverage:
    return measured(lines, sources_of(rules), rules)


def test_each_route_that_takes_an_alert_is_counted(rules: Rulebook) -> None:
    """Real deliveries are read by their source, and each alert counts for all routes that take it."""
    body = json.loads((PAYLOADS / "alertmanager" / "firing.json").read_text("utf-8"))
    found = covered(rules, line("alertmanager", body))
    assert (found.deliveries, found.unreadable, found.seen, found.dropped) == (1, 0, 2, 0)
    assert found.alerts == {"root/all": 2, "root/checkout": 1, "root/checkout/slow": 1}
    assert found.unused == ["root", "root/never"]
    assert (found.routes, found.percent) == (5, 60.0)


def test_an_alert_counts_once(rules: Rulebook) -> None:
    """The same alert again, fired or ended, is no other; other labels make it another."""
    one, two = {"alertname": "A", "pod": "1"}, {"alertname": "A", "pod": "2"}
    found = covered(
        rules,
        line("alertmanager", firing(one)),
        line("alertmanager", firing(one)),
        line("alertmanager", firing(one, status="resolved")),
        line("alertmanager", firing(two)),
    )
    assert (found.deliveries, found.seen) == (4, 2)
    assert found.alerts["root/all"] == 2


def test_what_relabelling_drops_reaches_nothing(rules: Rulebook) -> None:
    """It is seen and counted apart."""
    found = covered(rules, line("alertmanager", firing({"service": "dropped"}, {"service": "x"})))
    assert (found.seen, found.dropped, found.alerts) == (2, 1, {"root": 1})


def test_sources_of_the_rules_are_read(rules: Rulebook) -> None:
    """A mapping of the rules reads its deliveries; its path may have a hyphen, as at the router."""
    body = {"at": "2026-11-20T10:06:12Z", "name": "SlowAnswers"}
    for path in ("my_sender", "my-sender"):
        assert covered(rules, line(path, body)).alerts == {"root/all": 1, "root/checkout/slow": 1}


def test_a_body_may_be_text(rules: Rulebook) -> None:
    """A body that capture kept as text is read as it was."""
    found = covered(rules, line("alertmanager", json.dumps(firing({"alertname": "A"}))))
    assert found.alerts == {"root/all": 1}


def test_headers_are_the_senders(rules: Rulebook) -> None:
    """Headers reach the source in small letters, as from the wire; none at all is fine."""
    body = (PAYLOADS / "gitlab").glob("*.json")
    pairs = [p for p in sorted(body) if not p.name.endswith(".headers.json")]
    lines = []
    for path in pairs:
        headers = json.loads(path.with_name(f"{path.stem}.headers.json").read_text("utf-8"))
        shouted = {name.upper(): value for name, value in headers.items()}
        lines.append(line("gitlab", json.loads(path.read_text("utf-8")), headers=shouted))
    found = covered(rules, *lines, line("alertmanager", firing({"a": "b"}), headers=None))
    assert (found.deliveries, found.unreadable, found.seen) == (len(pairs) + 1, 0, 1)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"nonsense\n", id="no JSON"),
        pytest.param(b"[]\n", id="a list"),
        pytest.param(b"[" * 100_000, id="too deep"),
        pytest.param(b"{}\n", id="no path"),
        pytest.param(b'{"path": "/webhooks/alertmanager"}\n', id="no body"),
        pytest.param(b'{"path": "/webhooks/alertmanager", "body_base64": "aGk="}\n', id="bytes"),
        pytest.param(line("nobody", {}), id="an unknown source"),
        pytest.param(line("alertmanager", {}), id="not the source's"),
        pytest.param(line("alertmanager", "\ud800"), id="half a pair"),
        pytest.param(line("alertmanager", {}, headers=7), id="no headers"),
        pytest.param(line("alertmanager", {}, headers=["abc"]), id="headers that are no pairs"),
        pytest.param(b'{"path": 7, "body": {}}\n', id="a number as path"),
        pytest.param(b"\xff\n", id="not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_counted(rules: Rulebook, raw: bytes) -> None:
    """A line that is no delivery, or none that its source reads, is counted and passed over."""
    found = covered(rules, raw, line("alertmanager", firing({"alertname": "A"})))
    assert (found.deliveries, found.unreadable, found.seen) == (2, 1, 1)


def test_empty_lines_are_none(rules: Rulebook) -> None:
    """A capture's keepalives are no deliveries; without any nothing is reached."""
    found = covered(rules, b"\n", b"  \n")
    assert (found.deliveries, found.percent, len(found.unused)) == (0, 0.0, found.routes)


def test_a_hundred_per_cent_are_all() -> None:
    """The share is rounded down, so one route that nothing reaches always shows."""
    found = Coverage(unused=["x"])
    found.alerts.update(str(n) for n in range(9999))
    assert found.percent == 99.9
    found.unused = []
    assert found.percent == 100.0
    assert Coverage().percent == 100.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["path", "body", "headers", "alerts"]), inner)
        ),
        max_leaves=8,
    ),
    st.sampled_from(["alertmanager", "gitlab", "my_sender", "slack", "pagerduty"]),
)
def test_whatever_the_lines(rules: Rulebook, body: Any, source: str) -> None:
    """Whatever stands in a file, every line is counted and none ends the count."""
    found = covered(rules, line(source, body), line(source, {}, headers=body), json.dumps(body).encode())
    assert found.deliveries == 3
