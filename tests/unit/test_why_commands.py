"""``router why`` and ``router schema``: reasons as people read them, of a folder and of a running router."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from router.__main__ import main
from router.decide import outlook
from router.decide.outlook import Outlook
from router.model.events import Hold
from router.model.incidents import Entry, State
from router.model.reasons import Reason, Why
from tests.conftest import free_port
from tests.fakes.samples import GROUP, ONSET, alert, incident, suspect
from tests.fakes.silences import START, silence
from tests.fakes.web import Room, served
from tests.unit.rulebook.helpers_rulebook import book, write

if TYPE_CHECKING:
    from router.model.incidents import Incident

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = str(ROOT / "rules")
ID = f"{GROUP}.2"
LABELS = ("service=payment-service", "severity=critical", "env=prod", "alertname=Slow")
RULES = """
route:
  receiver: d
  group_by: ['...']
  routes:
    - name: pay
      matchers: [service=pay]
      notify: [{receiver: e, after: 15m, when: {severity: critical, suspect: none}}, {receiver: d}]
      active_time_intervals: [never]
receivers: [{name: d}, {name: e}]
time_intervals: [{name: never}]
relabel_configs:
  - {source_labels: [severity], regex: debug, action: drop}
  - {source_labels: [app], regex: (.+), target_label: service}
maintenance_windows: [{name: w, matchers: [env=dev], time_intervals: [never]}]
inhibit_rules: [{source_matchers: [a=b], target_matchers: [env=dev]}]
"""


def local(*args: str) -> Result:
    """Ask a folder; no router is there."""
    env = {"INCIDENT_ROUTER_URL": f"http://127.0.0.1:{free_port()}"}
    return CliRunner(env=env).invoke(main, ["why", *args])


async def run(port: int, *args: str, **env: str) -> Result:
    """Ask the router at that port, in a thread of this process."""
    env = {"INCIDENT_ROUTER_URL": f"http://127.0.0.1:{port}", **env}
    return await asyncio.to_thread(CliRunner(env=env).invoke, main, ["why", *args])


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(write(tmp_path, all=RULES))


# --- a folder ---------------------------------------------------------------------------------------


def test_labels_against_the_shipped_rules() -> None:
    """The whole tree is drawn with what refused, then who is told how, and what mutes it: nothing."""
    result = local(*LABELS, "--rules", SHIPPED)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("rulebook ")
    assert lines[1:3] == ["service payment-service, team payments, tier 1, environment prod", "routes:"]
    assert lines[3] == "   + root -> default: matches; a route below takes it"
    assert "    => payments -> payments-oncall: takes it" in lines
    assert any(line.startswith("     - nobody -> nobody: severity=") for line in lines)
    told = "grouped by alertname='Slow', service='payment-service', env='prod', waits 0s/0s/4h"
    assert lines[-2:] == [f"payments-oncall is told: critical, {told}", "nothing mutes it"]


def test_what_the_rules_say_is_shown(folder: str) -> None:
    """Relabelling, intervals, further receivers and what could mute are each a line."""
    result = local("app=pay", "env=dev", "--rules", folder)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1:] == [
        "relabel_configs make of it: app='pay', env='dev', service='pay'",
        "service pay, environment dev",
        "routes:",
        "   + root -> d: matches; a route below takes it",
        "    => pay -> d: takes it",
        "d is told: error, grouped by app='pay', env='dev', service='pay', waits 30s/5m/4h",
        "  not now: time interval not never",
        "  then e after 15m if severity, suspect",
        "  then d after 0s",
        "nothing mutes it",
        "  - maintenance_windows: w: it is closed now",
        "  - inhibit_rules: rule 0: no alert of its source side fires with the same labels",
    ]


def test_an_alert_of_nothing_known(folder: str) -> None:
    """Without a service the root takes it, and that nothing is known of it is said."""
    lines = local("x=y", "--rules", folder).stdout.splitlines()
    assert "nothing of it is in the catalogue" in lines
    assert "  => root -> d: takes it" in lines
    assert "d is told: error, grouped by x='y', waits 30s/5m/4h" in lines


def test_a_dropped_alert(folder: str) -> None:
    """That relabelling drops it is all that is said."""
    result = local("severity=debug", "--rules", folder)
    assert (result.exit_code, result.stdout.splitlines()) == (
        0,
        ["relabel_configs drop this alert: nobody is told, and nothing is kept"],
    )


def test_json_of_a_folder(folder: str) -> None:
    """For programs it is the whole explanation."""
    found = json.loads(local("app=pay", "-o", "json", "--rules", folder).stdout)
    assert found["relabelled"] == {"app": "pay", "service": "pay"}
    assert found["tree"]["routes"][0]["takes"] is True


@pytest.mark.parametrize("args", [["nonsense"], [], ["a=1", "a=2"], [ID, "a=b"]])
def test_what_is_neither_is_refused(folder: str, args: list[str]) -> None:
    """Words that are no labels, and an id among labels, are a mistake."""
    assert local(*args, "--rules", folder).exit_code == 2


def test_rules_that_do_not_load_are_told(tmp_path: Path) -> None:
    """Broken rules end with their problems and exit code 1."""
    result = local("a=b", "--rules", str(write(tmp_path, all="route: {receivr: x}")))
    assert result.exit_code == 1
    assert "receivr" in result.stderr


# --- a running router -------------------------------------------------------------------------------


async def test_labels_against_a_running_router() -> None:
    """It knows of silences, too; what a comment holds does not steer the terminal."""
    room = Room(tokens=(b"secret",))
    loud = silence(comment="load\x1b[2Jtest", ends_at=START + timedelta(hours=9))
    room.lookout.outlook = Outlook(silences=(outlook.compiled(loud),))
    async with served(room):
        result = await run(room.port, *LABELS, INCIDENT_ROUTER_TOKEN="secret")
        refused = await run(room.port, *LABELS)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert "muted: silenced by ana until 2026-03-01 19:19 UTC: load[2Jtest" in result.stdout
    assert "  x silences: s1: it is active" in result.stdout
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "401" in refused.stderr


def room_with(head: Incident, *timeline: Entry) -> Room:
    room = Room()
    room.reader.whole[GROUP, 2] = (head, [alert(1)], list(timeline))
    return room


async def test_an_incident_that_nothing_is_wrong_with() -> None:
    """Its state and timeline come first, then its suspects, then where each alert goes."""
    room = room_with(incident(book="b0"), Entry(ONSET, "incident_opened", "3 alerts fire"))
    async with served(room):
        result = await run(room.port, ID)
        told = json.loads((await run(room.port, ID, "-o", "json")).stdout)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:4] == [
        f"incident {ID} is triggered (rulebook b0)",
        "  2026-03-01T10:03:00Z  3 alerts fire",
        "suspected: payment-service 1.42.0 (100%)",
        "  +2.0 same service in prod",
    ]
    assert "  -0.5 1 other deploys compete" in lines
    assert "alert alertname='HighErrorRate', pod='payment-1', service='payment-service'" in lines
    assert "  routes:" in lines
    assert any(line.startswith("  payments-oncall is told: ") for line in lines)
    assert told["incident"] == ID


async def test_an_incident_that_waits_and_is_held(tmp_path: Path) -> None:
    """Every time that it waits for, what mutes it, its hold and its further receivers are told."""
    hold = Hold("warnings", "payment-service", "prod", "prod/1.42.0/1", "1.42.0", "digest", START)
    cleared = suspect(score=-2.0, reasons=(Reason(Why.SAME_SERVICE, "", -2.0),))
    head = incident(
        route="root", state=State.HELD, hold=hold, wait_until=START, flush_at=START, wake_at=START,
        muted_by=("maintenance:move",), suspects=(cleared,), also=("e",),
    )  # fmt: skip
    room = room_with(head, *(Entry(ONSET, "x", f"line {n}") for n in range(30)))
    steps = "[{receiver: e}, {receiver: d, after: 15m, when: {size: 5}}]"
    text = f"route: {{receiver: d, notify: {steps}}}\nreceivers: [{{name: d}}, {{name: e}}]\n"
    room.rules.book = book(tmp_path, all=text)
    async with served(room):
        result = await run(room.port, ID)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    at = "2026-03-01T10:19:40Z"
    assert lines[1:21] == [f"  2026-03-01T10:03:00Z  line {n}" for n in range(10, 30)]
    assert lines[21:31] == [
        f"nobody is told before {at}",
        f"changes are told at {at}",
        f"looked at again at {at}",
        "muted: maintenance window move",
        f"held by warnings for prod/1.42.0/1 until {at}",
        "possible: payment-service 1.42.0 (12%)",
        "  -2.0 same_service",
        "notify e: told, after 0s",
        "notify d: not told, after 15m",
        "  - size is 3, wanted >= 5",
    ]


async def test_an_incident_that_is_not_there() -> None:
    """The router's own words are shown."""
    room = Room()
    async with served(room):
        result = await run(room.port, ID)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no such incident" in result.stderr


@pytest.mark.parametrize("what", [ID, "a=b"])
async def test_nobody_answers(what: str) -> None:
    """Where no router is running that is a sentence."""
    result = await run(free_port(), what)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is the router running there" in result.stderr


STRANGERS = [
    "<html>",
    "[]",
    "{}",
    '{"rulebook": 7}',
    '{"rulebook": "x"}',
    '{"rulebook": "x", "relabelled": 7}',
    '{"rulebook": "x", "incident": 7, "state": "y", "decided_under": "", "timeline": 7}',
]


@pytest.mark.parametrize("body", STRANGERS)
@pytest.mark.parametrize("what", [ID, "a=b"])
async def test_an_answer_of_something_else_is_a_sentence(what: str, body: str) -> None:
    """What answers otherwise than a router of this release is told in a sentence, never a traceback."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        result = await run(runner.addresses[0][1], what)
    finally:
        await runner.cleanup()
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert len(result.stderr.splitlines()) == 1
    assert "a router" in result.stderr or "the router" in result.stderr


# --- schema -----------------------------------------------------------------------------------------


def test_the_schema_is_printed() -> None:
    """It is a JSON Schema, with the notifiers that this release has."""
    result = CliRunner().invoke(main, ["schema"])
    assert result.exit_code == 0
    found: dict[str, Any] = json.loads(result.stdout)
    jsonschema.Draft202012Validator.check_schema(found)
    assert {"slack_configs", "pagerduty_configs"} <= set(found["$defs"]["ReceiverModel"]["properties"])
