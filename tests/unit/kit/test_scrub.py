"""Secrets are taken out of bodies by the names of their keys, and the bodies keep their shape."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlencode

from hypothesis import given
from hypothesis import strategies as st

from router.kit.scrub import SCRUBBED, scrub

FORM = "application/x-www-form-urlencoded"


def test_secrets_go_by_their_keys_at_any_depth() -> None:
    """Values of keys that name a secret go, in lists and objects alike; all else stays."""
    doc = {
        "token": "t1",
        "payload": {"routing_key": "R0", "items": [{"X-Api-Key": "k", "name": "payments"}], "nothing": None},
        "response_url": "https://hooks.slack.com/x",
        "client_secret": 42,
        "tokenizer": "kept",
        "secret_name": "kept",
        "password": {"nested": "kept as it is no text"},
    }
    found = json.loads(scrub(json.dumps(doc).encode()))
    assert found["token"] == found["response_url"] == found["client_secret"] == SCRUBBED
    assert found["payload"]["routing_key"] == SCRUBBED
    assert found["payload"]["items"] == [{"X-Api-Key": SCRUBBED, "name": "payments"}]
    assert (found["tokenizer"], found["secret_name"]) == ("kept", "kept")
    assert found["password"] == doc["password"]


def test_the_variables_of_a_pipeline_go() -> None:
    """Pairs of key and value, as GitLab lists a pipeline's variables, keep their names only."""
    found = json.loads(scrub(b'{"variables": [{"key": "DB_URL", "value": "postgres://u:p@h"}]}'))
    assert found == {"variables": [{"key": "DB_URL", "value": SCRUBBED}]}


def test_forms_and_the_json_inside_them() -> None:
    """A form loses its secret fields, and so does the JSON in one of its fields."""
    body = urlencode(
        {"token": "t", "text": "ack x", "payload": '{"trigger_id": "1.2", "user": {"id": "U1"}}'}
    )
    found = parse_qs(scrub(body.encode(), FORM + "; charset=utf-8").decode())
    assert found["token"] == [SCRUBBED]
    assert found["text"] == ["ack x"]
    assert json.loads(found["payload"][0]) == {"trigger_id": SCRUBBED, "user": {"id": "U1"}}


def test_broken_json_is_searched_as_text() -> None:
    """What does not parse loses the values that follow such a key all the same."""
    found = scrub(b'{"app": "x", "token": "a\\"b", "message": "line\nbreak", ')
    assert b'a\\"b' not in found
    assert b'"app": "x"' in found


@given(st.binary(max_size=300), st.sampled_from(["", FORM, "application/json"]))
def test_any_bytes_are_taken(body: bytes, kind: str) -> None:
    """Whatever the bytes, something comes back and nothing is raised."""
    assert isinstance(scrub(body, kind), bytes)


def test_deep_nesting_is_bounded() -> None:
    """A body nested beyond all reason is cut off, not walked into a crash."""
    assert isinstance(scrub(b'{"a":' * 900 + b"1" + b"}" * 900), bytes)
    assert isinstance(scrub(b"[" * 100_000), bytes)
