"""The catalogue's questions: severity, service, environment, and where a deploy report belongs."""

from datetime import UTC, datetime

import pytest

from router.model.errors import ConfigError
from router.model.events import DeployPhase, DeployReport, OriginKind, Severity
from router.rulebook.conditions import Facts
from tests.unit.rulebook.helpers_rulebook import LEAST, book

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
CATALOGUE = """
services:
  - name: pay
    argocd_applications: ["pay-{environment}", "argocd/legacy-pay"]
    argo_rollouts: ["pay-{environment}", "shop/pay-blue"]
    gitlab_projects: [shop/pay]
  - name: pay-gateway
    argocd_applications: ["pay-gateway-{environment}", "eu/pay-{environment}"]
    argo_rollouts: ["{environment}/gateway", "edge/gw"]
    gitlab_projects: [shop/gateway, "shop/gw-{environment}"]
  - name: Customer
environments: {prod: [production, live], staging: [stage]}
"""


def report(kind, origin, environment=""):
    """Return a report with what locate reads."""
    return DeployReport(
        source="t",
        event_id="1",
        origin_kind=kind,
        origin=origin,
        environment=environment,
        phase=DeployPhase.LIVE,
        at=AT,
    )


@pytest.fixture
def rules(tmp_path):
    """Load the catalogue above."""
    return book(tmp_path, least=LEAST, services=CATALOGUE)


@pytest.mark.parametrize(
    ("origin", "environment", "expected"),
    [
        ("shop/pay", "", ("pay", "")),
        ("Shop/Pay", "Production", ("pay", "prod")),
        ("shop/pay", "review/login", ("pay", "review/login")),
        ("shop/gateway", "live", ("pay-gateway", "prod")),
        ("shop/gw-stage", "", ("pay-gateway", "staging")),
        ("other/pay-api", "stage", ("pay-api", "staging")),
        ("other/deep/customer", "", ("Customer", "")),
    ],
)
def test_gitlab(rules, origin, environment, expected):
    """A project belongs to the service that claims it, else to the one named like its last segment."""
    assert rules.locate(report(OriginKind.GITLAB_PROJECT, origin, environment)) == expected


@pytest.mark.parametrize(
    ("origin", "environment", "expected"),
    [
        ("argocd/pay-prod", "", ("pay", "prod")),
        ("pay-production", "", ("pay", "prod")),
        ("pay-feature7", "", ("pay", "feature7")),
        ("pay-gateway-prod", "", ("pay-gateway", "prod")),
        ("eu/pay-prod", "", ("pay-gateway", "prod")),
        ("pay-other-prod", "", ("pay-other", "prod")),
        ("argocd/legacy-pay", "live", ("pay", "prod")),
        ("legacy-pay", "live", ("legacy-pay", "prod")),
        ("argocd/pay-prod", "stage", ("pay", "staging")),
        ("argocd/cart-stage", "", ("cart", "staging")),
        ("argocd/cart-stage", "staging", ("cart", "staging")),
        ("argocd/cart-stage", "prod", ("cart-stage", "prod")),
        ("argocd/cart-blue", "blue", ("cart", "blue")),
        ("argocd/customer-prod", "", ("Customer", "prod")),
        ("argocd/prod", "", ("prod", "")),
        ("-prod", "", ("-prod", "")),
        ("", "", ("", "")),
        ("a" + "-prod" * 1000, "", ("a" + "-prod" * 1000, "")),
    ],
)
def test_argocd(rules, origin, environment, expected):
    """Claims first, the most literal one wins; else the name less its environment; what was told wins."""
    assert rules.locate(report(OriginKind.ARGOCD_APPLICATION, origin, environment)) == expected


@pytest.mark.parametrize(
    ("origin", "environment", "expected"),
    [
        ("shop/pay-prod", "", ("pay", "prod")),
        ("shop/pay-blue", "live", ("pay", "prod")),
        ("production/gateway", "", ("pay-gateway", "prod")),
        ("stage/gateway", "prod", ("pay-gateway", "prod")),
        ("Edge/GW", "", ("pay-gateway", "")),
        ("argocd/legacy-pay", "live", ("legacy-pay", "prod")),
        ("shop/cart-stage", "", ("cart", "staging")),
        ("shop/customer", "live", ("Customer", "prod")),
    ],
)
def test_rollouts(rules, origin, environment, expected):
    """An Argo Rollout is found as an Argo CD application is, by claims of its own."""
    assert rules.locate(report(OriginKind.ARGO_ROLLOUT, origin, environment)) == expected


def test_a_rollout_belongs_to_one_service(tmp_path):
    """The second claim of a rollout is refused; an application of the same name is another thing."""
    services = """
    services:
      - {name: a, argo_rollouts: [shop/a], argocd_applications: [shop/b]}
      - {name: b, argo_rollouts: [shop/b, Shop/A]}
    """
    with pytest.raises(ConfigError) as caught:
        book(tmp_path, least=LEAST, services=services)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (
        "services[1].argo_rollouts[1]",
        "'Shop/A' is already claimed by the service 'a'",
    )


def test_service_by_name(rules):
    """A report that names the service is taken at its word, in the catalogue's spelling."""
    assert rules.locate(report(OriginKind.SERVICE, "customer", "LIVE")) == ("Customer", "prod")


def test_without_a_catalogue(tmp_path):
    """Without any catalogue, projects and applications still find a service and a usual environment."""
    rules = book(tmp_path, least=LEAST)
    assert rules.locate(report(OriginKind.GITLAB_PROJECT, "shop/cart", "production")) == ("cart", "prod")
    assert rules.locate(report(OriginKind.ARGOCD_APPLICATION, "argocd/cart-stg")) == ("cart", "staging")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"severity": "critical"}, Severity.CRITICAL),
        ({"severity": " Warning "}, Severity.WARNING),
        ({"severity": "PAGE"}, Severity.CRITICAL),
        ({"severity": "info"}, Severity.INFO),
        ({"severity": "none"}, Severity.NONE),
        ({"severity": "odd"}, Severity.ERROR),
        ({"severity": ""}, Severity.ERROR),
        ({}, Severity.ERROR),
    ],
)
def test_severity(rules, labels, expected):
    """Upper and lower case are the same; what is missing or unknown is an error."""
    assert rules.severity(labels) is expected


def test_own_severities_and_labels(tmp_path):
    """The sections severities and labels add values and choose which labels are read, in order."""
    settings = """
    severities: {P1: critical, page: warning}
    labels: {severity: [priority, severity], service: [component], environment: [stage]}
    """
    rules = book(tmp_path, least=LEAST, settings=settings)
    assert rules.severity({"priority": "p1", "severity": "info"}) is Severity.CRITICAL
    assert rules.severity({"priority": "", "severity": "page"}) is Severity.WARNING
    assert rules.service({"component": "x", "service": "y"}) == "x"
    assert rules.environment({"stage": "Production"}) == "prod"
    assert rules.labels.team == ("team",)


def test_team(tmp_path):
    """The team is the one that the alert names, else the one of its service in the catalogue."""
    rules = book(tmp_path, least=LEAST, services="services: [{name: pay, team: payments}]")
    assert rules.team({"team": "cards"}, "pay") == "cards"
    assert rules.team({}, "pay") == "payments"
    assert rules.team({}, "other") == ""


def test_dependents_and_targets(tmp_path):
    """Who depends on a service, and which target has an id, can be asked; what is gone is gone."""
    text = """
    services: [{name: a}, {name: b, dependencies: [a]}, {name: c, dependencies: [a, b]}]
    receivers: [{name: chat, slack_configs: [{channel: x}]}]
    """
    rules = book(tmp_path, least=LEAST, more=text)
    assert (rules.dependents("a"), rules.dependents("b"), rules.dependents("c")) == (("b", "c"), ("c",), ())
    assert rules.target("chat/slack/0").options.channel == "x"
    assert rules.target("chat/slack/1") is None


def test_service_and_environment_of_labels(rules):
    """The first label that is there and not empty wins; names are given in the catalogue's spelling."""
    assert rules.service({"service": "", "app": "CUSTOMER", "job": "x"}) == "Customer"
    assert rules.service({"job": "node"}) == "node"
    assert rules.service({}) == ""
    assert rules.environment({"env": "Live"}) == "prod"
    assert rules.environment({"environment": "review/Login"}) == "review/Login"
    assert rules.environment({}) == ""


# --- what routes ask --------------------------------------------------------------------------------

ROUTED = """
route:
  receiver: default
  routes:
    - {name: quiet, matchers: [env=dev], severity_map: {critical: warning, none: critical}}
    - {name: first, when: {tier: "<= 1", team: payments}}
services: [{name: pay, team: payments, tier: 1}, {name: odd, tier: 4}]
relabel_configs:
  - {source_labels: [severity], regex: debug, action: drop}
  - {regex: pod, action: labeldrop}
  - {source_labels: [app], regex: (.+), target_label: service}
receivers: [{name: default}]
"""


@pytest.fixture
def routed(tmp_path):
    """Load the rules above."""
    return book(tmp_path, least=ROUTED)


@pytest.fixture
def unwritten(tmp_path):
    """Load rules that rewrite nothing."""
    (tmp_path / "other").mkdir()
    return book(tmp_path / "other", least=LEAST)


def test_labels_as_the_rules_rewrite_them(routed, unwritten):
    """relabel_configs say what an alert's labels are, or that it is dropped; without them nothing changes."""
    assert routed.relabelled({"app": "pay", "pod": "1"}) == {"app": "pay", "service": "pay"}
    assert routed.relabelled({"severity": "debug"}) is None
    assert unwritten.relabelled({"severity": "debug"}) == {"severity": "debug"}


def test_a_change_of_relabelling_shows(tmp_path, routed, unwritten):
    """The digest is that of the rules that rewrite labels and of nothing else; without them it is empty."""
    assert unwritten.relabelling == b""
    same = book(tmp_path, least=ROUTED + "attribution: {window: 2h}\n")
    assert same.version != routed.version
    assert same.relabelling == routed.relabelling != b""
    other = book(tmp_path, least=ROUTED.replace("debug", "trace"))
    assert other.relabelling != routed.relabelling


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("critical", Severity.WARNING),
        ("PAGE", Severity.WARNING),
        ("none", Severity.CRITICAL),
        ("info", Severity.INFO),
        ("unknown", Severity.ERROR),
    ],
)
def test_a_severity_counts_as_its_route_says(routed, value, expected):
    """The value is read first, then the route's map applied, once."""
    labels = {"severity": value}
    assert routed.severity(labels, routed.route_by_id("root/quiet")) is expected
    assert routed.severity(labels, routed.root) is routed.severity(labels)


def test_what_the_catalogue_knows(routed):
    """Service, team, environment and tier are known before there is an incident; the rest is not."""
    known = routed.catalogue_facts({"service": "PAY", "env": "Production", "severity": "critical"})
    assert known == Facts(service="pay", team="payments", environment="prod", tier=1)
    assert routed.catalogue_facts({"service": "new", "team": "x"}) == Facts(service="new", team="x")
    assert routed.catalogue_facts({}) == Facts()


def test_routes_by_what_the_catalogue_knows(routed):
    """A condition on tier and team is asked of the alert's service; how it came out is explained."""
    assert [r.id for r in routed.route({"service": "pay"})] == ["root/first"]
    assert [r.id for r in routed.route({"service": "odd", "team": "payments"})] == ["root"]
    found = routed.explain({"service": "odd", "team": "payments"})
    assert found.final
    assert [n.refusal for n in found.routes] == [
        "env=\"dev\" does not match env=''",
        "tier is 4, wanted <= 1",
    ]
    assert [n.final for n in routed.explain({"service": "pay"}).routes] == [False, True]


def test_colour(rules, tmp_path):
    """The colour that alerts say they come from, by the usual label or by the one chosen."""
    assert rules.colour({"color": "blue", "colour": ""}) == "blue"
    assert rules.colour({}) == ""
    chosen = book(tmp_path, least=LEAST, settings="labels: {colour: [slot]}")
    assert chosen.colour({"slot": "green", "colour": "blue"}) == "green"
