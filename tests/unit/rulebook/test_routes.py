"""Routing: Alertmanager's meaning of the tree."""

from datetime import timedelta

import pytest

from router.model.errors import ConfigError
from tests.unit.rulebook.helpers_rulebook import book

TREE = """
route:
  receiver: default
  group_by: [alertname]
  routes:
    - name: quiet
      matchers: [severity="none"]
      receiver: nobody
    - name: audit
      matchers: [audit="yes"]
      receiver: audit
      continue: true
    - name: payments
      matchers: ['service=~"pay.*"']
      receiver: payments
      group_by: ['...']
      group_wait: 5m
      routes:
        - name: night
          matchers: [shift="night"]
          receiver: night
          group_by: []
          continue: true
        - matchers: ['severity!="critical"', 'team="x"']
        - name: unset
          matchers: ['env=""']
          group_wait: 0s
    - name: rest
      matchers: ['service!=""']
receivers: [{name: default}, {name: nobody}, {name: audit}, {name: payments}, {name: night}]
"""


@pytest.fixture
def rules(tmp_path):
    """Load the tree above."""
    return book(tmp_path, routes=TREE)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({}, ["root"], id="nothing matches: the root takes it"),
        pytest.param(
            {"severity": "none", "service": "pay"}, ["root/quiet"], id="the first sibling ends the search"
        ),
        pytest.param(
            {"audit": "yes"}, ["root/audit"], id="continue alone is enough, the root does not take it too"
        ),
        pytest.param({"audit": "yes", "service": "cart"}, ["root/audit", "root/rest"], id="continue goes on"),
        pytest.param(
            {"service": "pay", "env": "p"}, ["root/payments"], id="no child matches: the node takes it"
        ),
        pytest.param({"service": "repay", "env": "p"}, ["root/rest"], id="patterns are anchored"),
        pytest.param({"service": "pay"}, ["root/payments/unset"], id="a missing label is empty"),
        pytest.param(
            {"service": "pay", "shift": "night"},
            ["root/payments/night", "root/payments/unset"],
            id="continue inside a branch stays in it",
        ),
        pytest.param(
            {"service": "pay", "shift": "night", "env": "p"},
            ["root/payments/night"],
            id="after continue nothing else matches",
        ),
        pytest.param(
            {"service": "pay", "team": "x"}, ["root/payments/1"], id="all matchers must hold; index as name"
        ),
        pytest.param(
            {"audit": "yes", "service": "pay", "shift": "night"},
            ["root/audit", "root/payments/night", "root/payments/unset"],
            id="continue at two levels",
        ),
    ],
)
def test_route(rules, labels, expected):
    """Depth first, the first matching sibling ends the search unless it continues, else the node itself."""
    assert [route.id for route in rules.route(labels)] == expected


def test_inheritance(rules):
    """Receiver, group_by and group_wait come from the nearest route above that says them."""
    found = {
        i: rules.route_by_id(f"root{i}")
        for i in ("", "/payments", "/payments/night", "/payments/unset", "/rest")
    }
    assert {i: (r.receiver, r.group_by, r.group_wait) for i, r in found.items()} == {
        "": ("default", ("alertname",), timedelta(seconds=30)),
        "/payments": ("payments", None, timedelta(minutes=5)),
        "/payments/night": ("night", (), timedelta(minutes=5)),
        "/payments/unset": ("payments", None, timedelta(0)),
        "/rest": ("default", ("alertname",), timedelta(seconds=30)),
    }
    assert rules.route_by_id("root/gone") is None


def test_group_labels(rules):
    """A group is named by the labels of group_by that the alert has; by all of them for '...'."""
    labels = {"alertname": "A", "x": "1", "empty": ""}
    assert rules.group_labels(rules.root, labels) == {"alertname": "A"}
    assert rules.group_labels(rules.root, {"x": "1"}) == {}
    assert rules.group_labels(rules.route_by_id("root/payments"), labels) == {"alertname": "A", "x": "1"}


@pytest.mark.parametrize(
    ("route", "path", "words"),
    [
        ("{receiver: d, matchers: [a=b]}", "route.matchers", "root cannot have matchers"),
        ("{receiver: d, continue: true}", "route.continue", "root cannot have continue"),
        ("{group_by: [a]}", "route", "root needs a receiver"),
        ("{receiver: dd}", "route.receiver", "no receiver is named 'dd'"),
        ("{receiver: d, groupby: [a]}", "route.groupby", "did you mean 'group_by'"),
        ("{receiver: d, group_by: [a, a]}", "route.group_by", "twice"),
        ("{receiver: d, group_by: ['...', a]}", "route.group_by", "stands alone"),
        ("{receiver: d, group_wait: 30}", "route.group_wait", "put it in quotes"),
        ("{receiver: d, group_wait: 30 s}", "route.group_wait", "not a duration"),
        ("{receiver: d, group_wait: 30d}", "route.group_wait", "longer than a day"),
        ("{receiver: d, repeat_interval: 2y}", "route.repeat_interval", "longer than"),
        ("{receiver: d, match: {a: b}}", "route.match", "matchers:"),
        ("{receiver: d, routes: [{matchers: a=b}]}", "route.routes[0].matchers", "list"),
        ("{receiver: d, routes: [{matchers: [a]}]}", "route.routes[0].matchers[0]", "operator"),
        ("{receiver: d, routes: [{name: a}, {name: a}]}", "route.routes[1].name", "beside each other"),
        ("{receiver: d, routes: [{name: '1'}]}", "route.routes[0].name", "not a number"),
        ("{receiver: d, routes: [{name: a/b}]}", "route.routes[0].name", "no /"),
        ("{receiver: d, routes: [{continue: 'yes'}]}", "route.routes[0].continue", "true or false"),
        ("[]", "route", "keys with values"),
    ],
)
def test_refuses(tmp_path, route, path, words):
    """A wrong route is refused at its path, with what to do."""
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, routes=f"route: {route}\nreceivers: [{{name: d}}]\n")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line, problem.file) == (path, 1, "rules/routes.yaml")
    assert words in str(problem)


def test_same_name_in_two_branches(tmp_path):
    """Names need to differ only among siblings, since an id is the whole path."""
    branch = "{name: %s, routes: [{name: x}]}"
    text = f"route: {{receiver: d, routes: [{branch % 'a'}, {branch % 'b'}]}}\nreceivers: [{{name: d}}]"
    rules = book(tmp_path, routes=text)
    assert rules.route_by_id("root/a/x") is not rules.route_by_id("root/b/x")
