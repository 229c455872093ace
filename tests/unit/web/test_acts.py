"""What people may ask of an incident over HTTP: each act's fields, each token's scope, pages, exports."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from router.model.commands import CommandKind
from router.model.incidents import Entry, State
from router.web.operations import Scope
from tests.fakes.samples import GROUP, ONSET, alert, incident, suspect
from tests.fakes.web import Room, served

if TYPE_CHECKING:
    from aiohttp import ClientResponse

ID = f"{GROUP}.2"
BASE = "/api/v1/incidents"
OTHER = f"{GROUP[::-1]}.1"


def room(**changes: Any) -> Room:
    """Return a room with two incidents in it."""
    one = Room(**changes)
    one.reader.whole[GROUP, 2] = (incident(), [alert(1)], [Entry(ONSET, "incident_opened", "3 alerts fire")])
    one.reader.whole[GROUP[::-1], 1] = (incident(group=GROUP[::-1], generation=1), [], [])
    return one


async def code(response: ClientResponse) -> tuple[int, str]:
    answer = await response.json(content_type=None)
    return response.status, answer["code"]


# --- what each act needs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "body", "expected"),
    [
        ("acknowledge", {}, {"kind": "acknowledge", "to": "", "until": None}),
        ("unacknowledge", {"note": "not mine"}, {"kind": "unacknowledge", "note": "not mine"}),
        ("resolve", {}, {"kind": "resolve"}),
        ("snooze", {"duration": "2h"}, {"kind": "snooze", "until": timedelta(hours=2)}),
        ("snooze", {"until": "2026-03-02T12:00:00+02:00"}, {"kind": "snooze"}),
        ("assign", {"to": " bo \n"}, {"kind": "assign", "to": "bo"}),
        ("note", {"note": "the disk is full"}, {"kind": "note", "note": "the disk is full"}),
        ("confirm", {}, {"kind": "confirm", "to": ""}),
        ("refute", {"to": "pay/prod/1.42.0/1"}, {"kind": "refute", "to": "pay/prod/1.42.0/1"}),
    ],
)
async def test_act_becomes_the_command(act: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each act is taken with the fields that it has, and says that it was asked through the API."""
    one = room()
    async with served(one) as c:
        assert (await c.post(f"{BASE}/{ID}/{act}", json={"by": "ana", **body})).status == 202
    (command,) = one.door.commands.values()
    assert (command.by, command.via, command.generation) == ("ana", "api", 2)
    for name, value in expected.items():
        found = getattr(command, name)
        assert found == (one.clock.now() + value if isinstance(value, timedelta) else value)
    if "until" in body:
        assert command.until.isoformat() == "2026-03-02T10:00:00+00:00"


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("snooze", {}),
        ("snooze", {"duration": "2h", "until": "2026-03-02T12:00:00Z"}),
        ("snooze", {"duration": "soon"}),
        ("snooze", {"duration": "0s"}),
        ("snooze", {"duration": "7d1m"}),
        ("snooze", {"duration": "9" * 300 + "d"}),
        ("snooze", {"until": "2026-03-02T12:00:00"}),
        ("snooze", {"until": "2026-02-28T12:00:00Z"}),
        ("snooze", {"until": "0001-01-01T00:00:00+23:59"}),
        ("snooze", {"until": "9999-12-31T23:59:59-23:59"}),
        ("assign", {}),
        ("assign", {"to": "\u202e\x00"}),
        ("note", {}),
        ("note", {"note": " \n"}),
        ("merge", {}),
        ("merge", {"to": "the other one"}),
        ("merge", {"to": ID}),
        ("merge", {"to": f"{'0' * 16}.7"}),
        ("acknowledge", {"duration": "2h"}),
        ("resolve", {"to": "bo"}),
    ],
)
async def test_act_without_what_it_needs_is_refused(act: str, body: dict[str, Any]) -> None:
    """An act whose fields are missing, too many, or mean nothing is refused, and becomes nothing."""
    one = room()
    async with served(one) as c:
        assert await code(await c.post(f"{BASE}/{ID}/{act}", json=body)) == (400, "bad_body")
    assert one.door.commands == {}


async def test_merge_stands_on_both() -> None:
    """A merge is a command for one and a note on the other; with an id of its own neither counts twice."""
    one = room()
    async with served(one) as c:
        for _ in range(2):
            response = await c.post(f"{BASE}/{ID}/merge", json={"by": "ana", "to": OTHER, "id": "m"})
            assert response.status == 202
    note, merge = one.door.commands.values()
    assert (merge.kind, merge.group, merge.to) == (CommandKind.MERGE, GROUP, OTHER)
    assert (note.kind, note.group, note.generation) == (CommandKind.NOTE, GROUP[::-1], 1)
    assert ID in note.note


# --- what a token may -------------------------------------------------------------------------------


async def test_token_may_do_what_its_scope_says() -> None:
    """A token to read reads and asks why; it does not act, and is told what it lacks."""
    tokens = {b"r": {Scope.READ}, b"a": {Scope.READ, Scope.ACT}}
    one = room(tokens=tuple(tokens), scopes=tokens, open_=False)
    reads, writes = [], []
    async with served(one) as c:
        document = await (await c.get("/api/v1/openapi.json", headers={"Authorization": "Bearer r"})).json()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                place = path.replace("{act}", "acknowledge").replace("{id}", ID)
                (reads if "`read`" in operation["description"] else writes).append((method, place))
        for method, place in writes:
            response = await c.request(method, place, headers={"Authorization": "Bearer r"}, json={})
            assert await code(response) == (403, "missing_scope")
            assert "act" in (await response.json(content_type=None))["detail"]
        for method, place in reads:
            if place != "/api/v1/deliveries":  # it never ends
                response = await c.request(method, place, headers={"Authorization": "Bearer r"}, json={})
                assert response.status not in {401, 403}
        response = await c.post(f"{BASE}/{ID}/acknowledge", headers={"Authorization": "Bearer a"}, json={})
        assert response.status == 202
    assert ("post", "/api/v1/why") in reads
    assert {method for method, _ in reads} == {"get", "post"}
    assert {place for _, place in writes} >= {"/-/reload", "/api/v1/silences", f"{BASE}/{ID}/acknowledge"}


async def test_one_token_in_two_settings_may_what_either_says() -> None:
    """The same token under two scopes has both."""
    one = room(tokens=(b"t", b"t"), scopes={b"t": {Scope.READ, Scope.ACT}}, open_=False)
    async with served(one) as c:
        headers = {"Authorization": "Bearer t"}
        assert (await c.post(f"{BASE}/{ID}/acknowledge", headers=headers, json={})).status == 202


# --- pages ------------------------------------------------------------------------------------------


async def test_pages_follow_each_other() -> None:
    """Asking with each page's ``after`` shows every incident once; the last page has none."""
    one = room()
    async with served(one) as c:
        first = await (await c.get(f"{BASE}?limit=1")).json()
        second = await (await c.get(f"{BASE}?limit=1&after={first['after']}")).json()
        assert [len(first["incidents"]), len(second["incidents"])] == [1, 1]
        assert first["incidents"][0]["id"] != second["incidents"][0]["id"]
        assert "after" not in second
        assert await code(await c.get(f"{BASE}?after=x")) == (400, "bad_query")


# --- exports ----------------------------------------------------------------------------------------


async def test_export_as_json_is_the_incident_whole() -> None:
    """The export for programs is what showing it shows."""
    async with served(room()) as c:
        exported = await (await c.get(f"{BASE}/{ID}/export")).json()
        assert exported == await (await c.get(f"{BASE}/{ID}")).json()
        assert await code(await c.get(f"{BASE}/{ID}/export?format=pdf")) == (400, "bad_query")


async def test_export_as_markdown_tells_the_story() -> None:
    """The export for people has facts, suspects with evidence, the timeline and the alerts."""
    one = room()
    head = incident(
        state=State.RESOLVED, resolved_at=ONSET + timedelta(minutes=30), resolved_by="bo",
        acknowledged_at=ONSET + timedelta(minutes=2), acknowledged_by="ana", assigned_to="bo",
    )  # fmt: skip
    entries = [Entry(ONSET, "acknowledged", "acknowledged by ana", by="ana", via="slack")]
    one.reader.whole[GROUP, 2] = (head, [alert(1), alert(2, firing=False)], entries)
    async with served(one) as c:
        response = await c.get(f"{BASE}/{ID}/export?format=markdown")
        text = await response.text()
    assert response.content_type == "text/markdown"
    for said in (
        "# HighErrorRate payment\\-service",
        "| Lasted | 30 min |",
        "| Acknowledged | 2026-03-01 10:05:00 UTC by ana |",
        "| Assigned to | bo |",
        "suspected (99%)",
        "- against (-0.5): 1 other deploys compete",
        "- 2026-03-01 10:03:00 UTC: acknowledged by ana (acknowledged, by slack)",
        "| 2026-03-01 10:03:00 UTC | fires |",
    ):
        assert said in text, said


async def test_strangers_words_do_nothing_in_markdown() -> None:
    """A title, a label, a note or a link that is markup is shown as it is, in one line of its own."""
    evil = "<script>alert(1)</script> [x](javascript:1) `a` | b\n# c @everyone ![i](//e)"
    one = room()
    head = incident(title=evil, labels={"pod": evil}, suspects=(suspect(url="javascript:1", title=evil),))
    bad = msgspec.structs.replace(alert(1), labels={"pod": evil})
    one.reader.whole[GROUP, 2] = (head, [bad], [Entry(ONSET, "noted", evil, by=evil)])
    async with served(one) as c:
        text = await (await c.get(f"{BASE}/{ID}/export?format=markdown")).text()
    assert "<script" not in text.replace("\\<", "")
    assert "](javascript" not in text.replace("\\]\\(", "")
    assert not [row for row in text.splitlines() if row.startswith("# c")]
    rows = [row for row in text.splitlines() if row.startswith("|")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {3, 4}


# --- the document -----------------------------------------------------------------------------------


async def test_openapi_document_describes_what_is_answered() -> None:
    """The document names its version of OpenAPI, every answer's form, and resolves all that it refers to."""
    async with served(room()) as c:
        document = await (await c.get("/api/v1/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    for name in {ref.partition('"')[0] for ref in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"], name
    ids = [o["operationId"] for each in document["paths"].values() for o in each.values()]
    assert len(ids) == len(set(ids))
