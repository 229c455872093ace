"""The JSON Schema of the rules: takes what loads, refuses what is misspelt, and has every key."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel

from router.drivers import notifier_specs
from router.model.errors import ConfigError
from router.rulebook import json_schema, yaml_loader
from router.rulebook.schema import keys_of
from router.rulebook.sheets import KEYS, LISTED, ONCE
from tests.unit.rulebook.helpers_rulebook import KINDS, book

if TYPE_CHECKING:
    from collections.abc import Iterator

SHIPPED = sorted((Path(__file__).parents[3] / "rules").glob("*.yaml"))
SCHEMA = json_schema.schema(KINDS)

FULL = """
route:
  name: all
  receiver: chat
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 1d
  resolve_wait: 1m
  notify:
    - receiver: page
      after: 15m
      when:
        service: pay
        team: [a, b]
        environment: prod
        tier: "<= 1"
        severity: [critical, error]
        state: triggered
        suspect: any
        probability: 0.8
        phase: monitoring
        colour: blue
        since_switch: "<= 30m"
        age: ">= 10m"
        size: 5
        flapping: false
    - receiver: page
      when: {tier: [0, 1], size: ">= 5"}
  severity_map: {critical: warning}
  routes:
    - name: night
      matchers: ['a=~"b|c"']
      when: {tier: 2}
      continue: true
      mute_time_intervals: [nights]
      active_time_intervals: [days]
    -
      matchers:
receivers:
  - {name: chat, title: "{{ incident.title }}", body: "{{ receiver }}", slack_configs: [{channel: "#x"}]}
  - name: page
    pagerduty_configs: [{routing_key_env: K, client_url: "https://x/"}]
    log_configs: [{}]
services:
  - name: pay
    team: a
    tier: 1
    description: d
    dependencies: [cust]
    receiver: chat
    argocd_applications: ["pay-{environment}"]
    argo_rollouts: [shop/pay]
    gitlab_projects: [shop/pay]
    dashboards: {latency: "https://x/"}
    runbook: https://x/
  - {name: cust, dependencies: , runbook: }
sources:
  - name: zabbix
    alerts: alerts
    status: {from: "{status}", resolved: [ok]}
    starts_at: "{at}"
    ends_at: ["{end}"]
    labels: {alertname: "{name}", service: ["{a}", "{b}"]}
    annotations: {summary: "{text}"}
    generator_url: "{url}"
    id: ["{id}"]
  - {name: other, starts_at: ["{at}"], labels: {a: b}, status: {from: ["{a}"], resolved: [b]}}
reconcile:
  after: 15m
  gone_at_alertmanager: report
  open_at_pagerduty: resolve
  closed_at_pagerduty: reopen
  ended_by_hand: reopen
  by_hand_after: 2h
  dry_run: true
people:
  - {name: ana, slack: U0123ABCD, pagerduty: ana@example.com}
  - {name: the deployer, slack: U0BOT, pagerduty: ""}
senders:
  - {source: zabbix, silent_after: 1h, expected: true, matchers: [a=b], severity: error, labels: {team: a}}
time_intervals:
  - name: nights
    time_intervals:
      - times: [{start_time: "22:00", end_time: "24:00"}]
        weekdays: ["monday:friday", sunday]
        days_of_month: [1, "-3:-1"]
        months: [1, may, "june:july"]
        years: [2026, "2027:2030"]
        location: Europe/Berlin
  - {name: days, time_intervals: [{times: , weekdays: }]}
inhibit_rules:
  - {name: n, source_matchers: [a=b], target_matchers: [c=d], equal: [env]}
maintenance_windows:
  - name: w
    comment: c
    matchers: [a=b]
    starts_at: 2026-03-01T22:00:00Z
    ends_at: "2026-03-02T22:00:00+01:00"
    time_intervals: [nights]
deploy_holds: [{name: h, matchers: [a=b], lease: 5m, max: 30m}]
flapping: {flips: 3, within: 30m, hold: 10m}
labels: {severity: [a], service: [a], environment: [a], version: [a], team: [a], colour: [a]}
attribution: {window: 1h, skew: 2m, for_default: 1m, for: {Slow: 5m}, gather: false}
environments: {prod: [live], dev: }
severities: {P1: critical}
relabel_configs:
  - {source_labels: [a], separator: ",", regex: "(.*)", target_label: b, replacement: $1, action: replace}
  - {target_label: b, replacement: }
"""


def valid(schema: dict[str, Any], raw: bytes) -> None:
    """Check a file as an editor does."""
    document, broken = yaml_loader.read(raw, "a.yaml")
    assert not broken
    assert document is not None
    data = json.loads(json.dumps(document.data, default=str))
    jsonschema.validate(data, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("path", SHIPPED, ids=[p.name for p in SHIPPED])
def test_the_shipped_rules_are_valid(path: Path) -> None:
    """Every file that comes with the product is valid with the product's notifiers."""
    valid(json_schema.schema(notifier_specs()), path.read_bytes())


def test_a_file_with_every_section_is_valid(tmp_path: Path) -> None:
    """A file that has every section and key loads, and its schema takes it."""
    book(tmp_path, all=FULL)
    valid(SCHEMA, FULL.encode())


def test_it_is_a_schema_of_plain_json() -> None:
    """The schema is itself valid, and every reference in it leads somewhere."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    text = json.dumps(json_schema.schema(notifier_specs()))
    found = json.loads(text)
    names = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert names <= set(found["$defs"])


def test_it_is_the_same_each_time() -> None:
    """Making it changes none of the models: the second is as the first."""
    assert json_schema.schema(KINDS) == SCHEMA


def test_an_empty_file_is_valid() -> None:
    """A section with nothing after it is as good as none, and all may be left out."""
    valid(SCHEMA, b"{}")
    valid(SCHEMA, "".join(f"{key}:\n" for key in KEYS).encode())


# --- every key --------------------------------------------------------------------------------------


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def _models() -> set[type[BaseModel]]:
    """Return every model that a file may hold."""
    found: set[type[BaseModel]] = set()
    rest = [model for _, model in LISTED.values()] + [model for _, model in ONCE.values() if model]
    while rest:
        model = rest.pop()
        if model not in found:
            found.add(model)
            rest += [inner for info in model.model_fields.values() for inner in _inside(info.annotation)]
    return found


MODELS = sorted(_models(), key=lambda m: m.__name__)


@pytest.mark.parametrize("model", MODELS, ids=[m.__name__ for m in MODELS])
def test_every_key_of_a_section_is_there(model: type[BaseModel]) -> None:
    """What loading takes in a section the schema has, and it allows nothing else."""
    part = SCHEMA["$defs"][model.__name__]
    drivers = {f"{kind}_configs" for kind in KINDS} if model.__name__ == "ReceiverModel" else set()
    assert set(part["properties"]) == {*keys_of(model), *drivers}
    assert part["additionalProperties"] is False
    required = {i.alias or n for n, i in model.model_fields.items() if i.is_required()}
    assert set(part.get("required", ())) == required


def test_every_section_is_there() -> None:
    """What loading takes at the top of a file the schema has, and no more."""
    assert set(SCHEMA["properties"]) == set(KEYS)
    assert SCHEMA["additionalProperties"] is False


def test_every_key_is_in_the_file_above() -> None:
    """The file with every section has every key, so what an editor says of each is tried."""
    document, _ = yaml_loader.read(FULL.encode(), "a.yaml")
    assert document is not None
    written: set[str] = set()

    def note(value: Any) -> None:
        if isinstance(value, dict):
            written.update(map(str, value))
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            note(inner)

    note(document.data)
    keys = {key for model in MODELS for key in keys_of(model)}
    assert keys - written == {"modulus"}  # of an action that is not supported


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "bogus: 1",
        "services: {name: a}",
        "services: [a]",
        "services: [{}]",
        "services: [{name: }]",
        "services: [{name: a, owner: b}]",
        "services: [{name: a, tier: '1'}]",
        "services: [{name: a, tier: 10}]",
        "services: [{name: a, dependencies: b}]",
        "route: []",
        "route: {receivr: a}",
        "route: {receiver: a, continue: 'yes'}",
        "route: {receiver: a, group_wait: 30}",
        "route: {receiver: a, routes: [{matchers: a=b}]}",
        "route: {receiver: a, routes: [{when: {tiers: 1}}]}",
        "route: {receiver: a, routes: [{when: {team: 7}}]}",
        "route: {receiver: a, notify: [{after: 1m}]}",
        "route: {receiver: a, notify: [{receiver: b, when: {flapping: maybe}}]}",
        "receivers: [{name: a, email_configs: []}]",
        "receivers: [{name: a, slack_configs: [{}]}]",
        "receivers: [{name: a, slack_configs: {channel: x}}]",
        "receivers: [{name: a, slack_configs: [{channel: x, chanel: y}]}]",
        "sources: [{name: a, starts_at: '{a}'}]",
        "sources: [{name: a, starts_at: 7, labels: {a: b}}]",
        "sources: [{name: a, starts_at: '{a}', labels: {a: 7}}]",
        "sources: [{name: a, starts_at: '{a}', labels: {}}]",
        "senders: [{name: a}]",
        "time_intervals: [{name: a, time_intervals: [{weekdays: monday}]}]",
        "time_intervals: [{name: a, time_intervals: [{times: [{start_time: '9:00', end_time: '10:00'}]}]}]",
        "time_intervals: [{name: a, time_intervals: [{times: [{start_time: '09:00'}]}]}]",
        "inhibit_rules: [{source_matchers: [], target_matchers: [a=b]}]",
        "inhibit_rules: [{source_matchers: [a=b]}]",
        "maintenance_windows: [{name: a}]",
        "deploy_holds: [{name: a, lease: 5}]",
        "flapping: {flips: 1}",
        "labels: {service: []}",
        "labels: {service: a}",
        "attribution: {windows: 1h}",
        "environments: {prod: live}",
        "severities: [P1]",
        "relabel_configs: {action: drop}",
        "relabel_configs: [{source_labels: a}]",
    ],
)
def test_what_is_wrong_is_not_valid(tmp_path: Path, text: str) -> None:
    """An unknown key or a value of a wrong type is refused, as loading refuses it."""
    with pytest.raises(jsonschema.ValidationError):
        valid(SCHEMA, dedent(text).encode())
    least = "" if text.startswith("route") else "route: {receiver: default}\n"
    with pytest.raises(ConfigError, match=r"all\.yaml"):
        book(tmp_path, all=f"{text}\n{least}", more="receivers: [{name: default}]")
