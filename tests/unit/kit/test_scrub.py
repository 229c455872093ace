"""Secrets are taken out of bodies by the names of their keys, and the bodies keep their shape."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.kit.scrub import SCRUBBED, scrub

FORM = "application/x-www-form-urlencoded"
CANARY = "hunter2canary"
SECRET_KEYS = [
    "token", "accessToken", "X-Gitlab-Token", "CI_JOB_TOKEN", "secret", "clientSecret", "secrets",
    "password", "dbPassword", "DB_PASSWORD2", "passwd", "passphrase", "pwd", "credential", "credentials",
    "authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "cookies", "apikey", "X-Api-Key",
    "access_key", "secret_key", "privateKey", "signing.key", "routing_key", "integrationKey",
    "service_key", "trigger_id", "response_url", "webhookUrl", "connectionString", "SENTRY_DSN",
    "x-slack-signature", "variables", "PipelineVariables", "DB_PASSWORD_PROD", "dbPasswordStaging",
    "PASSWORD_1_OLD", "API_KEY_STAGING", "apiKeyProd", "SLACK_TOKEN_TEST", "tokenHash", "secretValue",
    "secret_name", "ssh_key", "sshKeyProd", "SSHKey", "auth", "basicAuth", "authUser", "bearer",
    "kubeconfig", "KUBECONFIG_PROD", "credentials_json", "pwd_old", "APIKEY", "apikey_test",
    "routing_key_prod", "SECRET_KEY_BASE", "accessKeyId", "SIGNING_KEYS_EU", "proxy.authorization.x",
]  # fmt: skip
HARMLESS = [
    "tokenizer", "tokenizers_version", "key", "keys", "incident_key", "groupKey", "dedup_key",
    "public_key", "name", "service", "authorizations", "response_urls", "author", "variable",
    "signature_of", "cookie_policy", "url", "monkey", "alertname", "severity", "namespace",
    "ssh_public_key", "api_version", "access_log_key", "secretary", "authored_date", "author_email",
    "keyword", "service_keyword", "oauth", "max_tokenizer",
]  # fmt: skip


@pytest.mark.parametrize("key", SECRET_KEYS)
@pytest.mark.parametrize("value", [CANARY, 4711, 4.711, [CANARY], {"a": {"b": CANARY}}, [[4711]]])
def test_under_a_secret_key_everything_goes(key: str, value: object) -> None:
    """Strings, numbers, lists and objects under the name of a secret go, whatever the name's style."""
    body = json.dumps({"service": "payment-service", key: value}).encode()
    found = scrub(body)
    assert CANARY.encode() not in found
    assert b"4711" not in found
    assert b"4.711" not in found
    assert json.loads(found)["service"] == "payment-service"


@pytest.mark.parametrize("key", HARMLESS)
def test_all_else_stays(key: str) -> None:
    """Names that only resemble a secret's keep their values, so that an incident stays readable."""
    doc = {key: "payment-service", "labels": {key: "prod"}, "list": [{key: 7}]}
    assert json.loads(scrub(json.dumps(doc).encode())) == doc
    assert scrub(f"{key}=payment-service".encode(), FORM) == f"{key}=payment-service".encode()


def test_what_tells_nothing_stays() -> None:
    """True, false and null under such a key stay: they tell whether there is one, and nothing of it."""
    doc = {"token": None, "password": True, "secret": False}
    assert json.loads(scrub(json.dumps(doc).encode())) == doc


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ([{"key": "DB_URL", "value": CANARY}], [{"key": "DB_URL", "value": SCRUBBED}]),
        ([{"name": "X", "value": [1], "raw": "y"}], [{"name": "X", "value": SCRUBBED, "raw": SCRUBBED}]),
        ({"DB_URL": CANARY, "N": {"a": 1}}, {"DB_URL": SCRUBBED, "N": SCRUBBED}),
        ([CANARY, 1], [SCRUBBED, SCRUBBED]),
        (f"A={CANARY}", SCRUBBED),
    ],
)
def test_variables_lose_their_values(doc: object, expected: object) -> None:
    """However the variables of a pipeline are listed, only their names stay."""
    assert json.loads(scrub(json.dumps({"variables": doc}).encode())) == {"variables": expected}


def test_a_value_whose_name_is_a_secrets_goes() -> None:
    """Beside a name or key that calls it a secret the value goes; beside any other it stays."""
    doc = [
        {"name": "DB_PASSWORD", "value": CANARY, "kind": "env"},
        {"value": {"stringValue": CANARY}, "key": "http.authorization"},
        {"name": "region", "value": "eu-1"},
    ]
    assert json.loads(scrub(json.dumps(doc).encode())) == [
        {"name": "DB_PASSWORD", "value": SCRUBBED, "kind": "env"},
        {"value": SCRUBBED, "key": "http.authorization"},
        {"name": "region", "value": "eu-1"},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://app:hunter2@db:5432/shop", f"postgres://app:{SCRUBBED}@db:5432/shop"),
        ("redis://:hunter2@cache", f"redis://:{SCRUBBED}@cache"),
        ("amqp://u:a@b/c@h and amqp://u:p@h", f"amqp://u:{SCRUBBED}@h and amqp://u:{SCRUBBED}@h"),
        ("https://aaaabbbbccccddddeeee1@git.example.com/x", f"https://{SCRUBBED}@git.example.com/x"),
        ("see <https://hooks.slack.com/services/T0/B0/x|it>", f"see <https://hooks.slack.com/{SCRUBBED}|it>"),
        ("https://discord.com/api/webhooks/1/x", f"https://discord.com/api/webhooks/{SCRUBBED}"),
        ("https://x/api?private_token=a&b=c#d", f"https://x/api?private_token={SCRUBBED}&b=c#d"),
        ("Host=db;Password=x;Port=1", f"Host=db;Password={SCRUBBED};Port=1"),
        ("curl -H 'Authorization: Bearer abc' h", f"curl -H 'Authorization: Bearer {SCRUBBED}' h"),
        ('got {"token": "abc", "n": 1} back', f'got {{"token": "{SCRUBBED}", "n": 1}} back'),
        ("'password' => 'abc', 'n' => 'x'", f"'password' => '{SCRUBBED}', 'n' => 'x'"),
        ("X-Gitlab-Token: abc and more", f"X-Gitlab-Token: {SCRUBBED} and more"),
        ("curl -H 'X-Api-Key: abc' h", f"curl -H 'X-Api-Key: {SCRUBBED}' h"),
        ("-H 'Proxy-Authorization: Basic abc=' h", f"-H 'Proxy-Authorization: {SCRUBBED}' h"),
        ("Set-Cookie: sid=abc; Path=/\nn: 1", f"Set-Cookie: {SCRUBBED}\nn: 1"),
        ("n: 1\ndb_password: abc", f"n: 1\ndb_password: {SCRUBBED}"),
        ("accessToken: abc", f"accessToken: {SCRUBBED}"),
        ("export TOKEN=abc", f"export TOKEN={SCRUBBED}"),
        ("DB_PASSWORD_PROD='a b' psql", f"DB_PASSWORD_PROD='{SCRUBBED}' psql"),
        ("mysql --password=abc -h x", f"mysql --password={SCRUBBED} -h x"),
        ('x --api-key="a b" y', f'x --api-key="{SCRUBBED}" y'),
        ("clone with glpat-abcdefghij_1234567890 ok", f"clone with {SCRUBBED} ok"),
        ("xoxb-1234567890-abc, xapp-1-A0-123-abc", f"{SCRUBBED}, {SCRUBBED}"),
        ("<xoxp-1234567890-abc>", f"<{SCRUBBED}>"),
        ("ghp_abcdefghijklmnop gho_abcdefghijklmnop", f"{SCRUBBED} {SCRUBBED}"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-_1 ok", f"got {SCRUBBED} ok"),
        ("https://x/?q=%22ghp_abcdefghijklmnop", f"https://x/?q=%22{SCRUBBED}"),
        ("id AKIAABCDEFGHIJKLMNOP.", f"id {SCRUBBED}."),
        ('{"token": "abc", "n": 1}', f'{{"token":"{SCRUBBED}","n":1}}'),
        ("token=abc&n=1", f"token={quote_plus(SCRUBBED)}&n=1"),
    ],
)
def test_secrets_inside_a_string(text: str, expected: str) -> None:
    """Passwords and tokens in URLs, paths of incoming webhooks, and what a string quotes go."""
    assert json.loads(scrub(json.dumps({"message": text}).encode())) == {"message": expected}


@pytest.mark.parametrize(
    "text",
    [
        "[FIRING:1] HighErrorRate: token bucket is empty, password policy unchanged",
        "https://grafana.example.com:3000/d/x?orgId=1&matcher=alertname%3DHigh",
        "docker-pullable://redis:7.0@sha256:abcdef",
        "ssh://git@gitlab.example.com:2222/shop/payment-service.git",
        "dana@example.com deployed v1.2.3: authorization middleware",
        "auth-service: p99 latency is high, token-service: down",
        "auth: latency is high", "token: expired", "Password: see the runbook",
        "if token == nil or secret =~ x, tokens != 3", 'rate(errors{job="auth", code=~"5.."}[5m])',
        "author=dana public_key=abc token= abc", "the eyJ prefix, glpat-short, AKIA1234, xoxb-",
        "a=b", "x & y", "{not json", "[1.10", "50%", "", " ",
    ],
)  # fmt: skip
def test_incident_texts_stay_as_they_are(text: str) -> None:
    """Titles, links, images and sentences are not touched, also where they speak of secrets."""
    doc = {"annotations": {"summary": text}}
    assert json.loads(scrub(json.dumps(doc).encode())) == doc


def test_forms_and_the_json_inside_them() -> None:
    """A form loses its secret fields, and so does the JSON in one of its fields."""
    body = urlencode(
        {"token": "t", "text": "ack x", "payload": '{"trigger_id": "1.2", "user": {"id": "U1"}}'}
    )
    found = parse_qs(scrub(body.encode(), FORM + "; charset=utf-8").decode())
    assert found["token"] == [SCRUBBED]
    assert found["text"] == ["ack x"]
    assert json.loads(found["payload"][0]) == {"trigger_id": SCRUBBED, "user": {"id": "U1"}}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"user[password]=CANARY&n=stay", FORM),
        (b"variables[DB]=CANARY&n=stay", FORM),
        (b"variables[][key]=stay&variables[][value]=CANARY", FORM),
        (b"name=DB_PASSWORD&value=CANARY&n=stay", FORM),
        (b"token=CANARY&n=stay\xff", FORM),
        (b"token=CANARY&n=stay", "application/json"),
        (b"payload=%7B%22token%22%3A%22CANARY%22%2C%22n%22%3A%22stay%22%7D", ""),
        (b"payload=%7B%22n%22%3A%22stay%22%2C%22token%22%3A%22CANARY", FORM),
        (b'{"token": "CANARY", "n": "stay&"}', FORM),
        (b'{"n": "stay", "token": "CANARY', FORM),
        (b"stay=1\npassword: CANARY", FORM),
    ],
)
def test_forms_of_any_kind(body: bytes, kind: str) -> None:
    """Fields in brackets, pairs, cut forms and a wrong content type hide nothing from the search."""
    found = scrub(body, kind)
    assert b"CANARY" not in found
    assert b"stay" in found


@pytest.mark.parametrize(
    "body",
    [
        b'{"n": "stay", "token": "a\\"CANARY", "message": "line\nbreak", ',
        b'{"n": "stay", "token": "a"CANARY", "m": 1}',
        b'{"n": "stay", "token": "CANARY',
        b'{"n": "stay", "secret" : ["x", {"a": "CANARY',
        b'{"password": {"a": ["]", "CANARY"]}, "n": "stay",,}',
        b'{"password": -1CANARY, "n": "stay"}',
        b'{"variables": [{"key": "X", "value": "CANARY"}], "n": "stay",,}',
        b'[{"key": "DB_PASSWORD", "value": "CANARY"},, {"name": "n", "value": "stay"}]',
        b'[{"value": "CANARY", "name": "DB_PASSWORD"},, {"name": "n", "value": "stay"}]',
        b'{"payload": "{\\"token\\":\\"CANARY\\",\\"n\\":\\"stay\\"}", ',
        b'{"payload": "{\\"token\\":\\"a\\\\\\"CANARY\\",\\"n\\":\\"stay\\"}", ',
        b'{"payload": "{\\"variables\\":\\"CANARY\\",\\"n\\":\\"stay\\"}", ',
        b'{"payload": "{\\"key\\":\\"pwd\\",\\"value\\":\\"CANARY\\"}", "n": "stay"',
        b'{"t\\u006fken": "CANARY", "n": "stay",,}',
        b'{"say": "say "hi" to", "token": "CANARY", "n": "stay"}',
        b'{"token": "CANARY"}\n{"n": "stay"}',
        b"{'token': 'CANARY', 'n': 'stay'}",
        b"Authorization: Bearer CANARY\nn: stay",
        b"n: stay\npassword: my CANARY",
        b"n=stay api_key=CANARY",
        b"n=stay --password=CANARY",
        b"export DB_PASSWORD_PROD=CANARY n=stay",
        b"X-Gitlab-Token: CANARY\r\nn: stay",
        b'{"n": "stay", "API_KEY_STAGING": "CANARY", ',
        b'{"n": "stay", "t\\u006fken_old": "CANARY",,}',
        b'{"n": "stay", "say": "glpat-abcdefgCANARY", ',
        b'{"n": "stay", "say": "a\\nglpat-abcdefgCANARY", ',
        b"stay eyJhbGciOiJIUzI1NiJ9.eyJzdCANARY",
        b'{"n": "stay", "u": "https://u:CANARY@h", ',
        b'{"n": "stay", "u": "postgres:\\/\\/u:CANARY',
        b'{"n": "stay", "u": "https:\\/\\/hooks.slack.com\\/services\\/CANARY',
        b'{"n": "stay", "data_base64": "CANARY',
        b'{"n": "stay", "x": 1e999, "token": "CANARY"}',
    ],
)
def test_broken_json_is_searched_as_text(body: bytes) -> None:
    """What does not parse, or is cut off in the middle, loses the values under such keys all the same."""
    found = scrub(body)
    assert b"CANARY" not in found
    assert b"stay" in found


@pytest.mark.parametrize(
    "body",
    [
        b'{"title": "\\ud800", "token": "CANARY", "n": "stay"}',
        b'\xef\xbb\xbf{"token": "CANARY", "n": "stay"}',
        b'{"title": "\xff", "token": ["CANARY"], "n": "stay"}',
        '{"token": ["CANARY"], "n": "stay"}'.encode("utf-16"),
        '{"token": ["CANARY"], "n": "stay"}'.encode("utf-32-be"),
        b'{"token": "CANARY", "token": null, "n": "stay"}',
        b'{"n": "stay", "big": 123456789012345678901234567890, "token": "CANARY"}',
    ],
)
def test_odd_json_is_json(body: bytes) -> None:
    """Lone surrogates, a BOM, bytes that are no UTF-8 and keys written twice do not make it a text."""
    found = json.loads(scrub(body))
    assert "CANARY" not in json.dumps(found)
    assert found["n"] == "stay"


def test_the_data_of_a_cloudevent() -> None:
    """Data in base64 is looked into; what is no base64 goes."""
    data = base64.b64encode(b'{"token": "CANARY", "n": 1}').decode()
    found = json.loads(scrub(json.dumps({"data_base64": data}).encode()))["data_base64"]
    assert json.loads(base64.b64decode(found)) == {"token": SCRUBBED, "n": 1}
    assert scrub(b'{"data_base64": "CANARY?"}') == b'{"data_base64":"[scrubbed]"}'


def test_multipart_is_not_shown() -> None:
    """A body of a kind that no source reads goes whole."""
    assert scrub(b'name="token"\r\n\r\nCANARY', "multipart/form-data; boundary=x") == SCRUBBED.encode()


def test_what_holds_no_secret_stays_byte_by_byte() -> None:
    """Text, forms and bytes without a secret come back as they were."""
    for body in (b"", b"a=1", b"a=%41&b", b"\xff\x00\x01", b"plain text: yes", b"12"):
        assert scrub(body) == body


# --- whatever comes ---------------------------------------------------------------------------------

TEXTS = st.text(max_size=12).filter(lambda s: "hunter" not in s)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | TEXTS
DOCUMENTS = st.recursive(
    SCALARS, lambda d: st.lists(d, max_size=3) | st.dictionaries(TEXTS, d, max_size=3), max_leaves=6
)
HELD = st.sampled_from(
    [CANARY, [CANARY], {"x": [CANARY]}, [[{"deep": CANARY}]], f'a"\\{CANARY}', f"ü {CANARY}"]
)


@st.composite
def holders(draw: st.DrawFn) -> Any:
    """Draw a document that holds the canary under a secret's name, somewhere."""
    key, value = draw(st.sampled_from(SECRET_KEYS)), draw(HELD)
    if draw(st.booleans()):
        key = draw(st.sampled_from(["app", "MY_", "x-", "io.example/"])) + key[:1].upper() + key[1:]
    if draw(st.booleans()):
        name = draw(st.sampled_from(["name", "key", "Name"]))
        doc: Any = (
            {name: key, "value": value} if "ariables" not in key else {key: [{name: "A", "value": value}]}
        )
    else:
        doc = {key: value}
    for _ in range(draw(st.integers(0, 5))):
        how = draw(st.sampled_from(["object", "list", "string", "form"]))
        if how == "object":
            doc = {**draw(st.dictionaries(TEXTS, SCALARS, max_size=2)), draw(TEXTS): doc}
        elif how == "list":
            doc = [draw(SCALARS), doc, draw(DOCUMENTS)]
        elif how == "string":
            doc = json.dumps(doc, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
        else:
            doc = urlencode({"a": "b", "payload": json.dumps(doc)})
    return doc


@given(holders(), st.booleans())
def test_a_canary_never_survives_in_json(doc: Any, mangle: bool) -> None:
    """At any depth, in any nesting of objects, lists, strings and forms, what is secret goes."""
    body = json.dumps(doc).encode()
    for kind in ("application/json", "", FORM):
        assert CANARY.encode() not in scrub(body, kind)
        if mangle:
            assert CANARY.encode() not in scrub(b"\xef\xbb\xbf " + body + b"\n", kind)


@given(holders())
def test_a_canary_never_survives_in_a_form(doc: Any) -> None:
    """The same in a field of a form, with and without its content type."""
    body = urlencode({"text": "x y", "payload": json.dumps(doc)}).encode()
    for kind in (FORM, "", "application/json"):
        assert CANARY.encode() not in scrub(body, kind)


@given(holders().filter(lambda d: not isinstance(d, str)), st.floats(0, 1), st.sampled_from(["cut", "comma"]))
def test_a_canary_never_survives_in_what_is_broken(doc: Any, where: float, how: str) -> None:
    """Cut off anywhere, or broken at its end, nothing of the secret is left that one could use."""
    body = json.dumps(doc, ensure_ascii=False).encode()
    body = body[: int(len(body) * where)] if how == "cut" else body + b",,"
    if "%22" not in body.decode(errors="replace"):  # a form inside a broken string is not decoded
        assert CANARY[:6].encode() not in scrub(body)


NAMES = st.text("abc _-é\"'\\:=&;%@/\n0", max_size=12)
HARMLESS_DOCUMENTS = st.recursive(
    NAMES | st.integers(), lambda d: st.lists(d, max_size=3) | st.dictionaries(NAMES, d, max_size=3)
)


@given(HARMLESS_DOCUMENTS)
def test_what_holds_no_secret_comes_back(doc: Any) -> None:
    """A document without such a key means the same afterwards."""
    assert json.loads(scrub(json.dumps({"labels": doc}).encode())) == {"labels": doc}


@given(st.binary(max_size=300), st.sampled_from(["", FORM, "application/json", "multipart/x"]))
def test_any_bytes_are_taken(body: bytes, kind: str) -> None:
    """Whatever the bytes, something comes back and nothing is raised."""
    assert isinstance(scrub(body, kind), bytes)


@given(st.text(alphabet="\"'\\{}[]:=,&;%@/ \ntokenvalue", max_size=80), st.sampled_from(["", FORM]))
def test_any_marks_are_taken(text: str, kind: str) -> None:
    """Quotes, brackets and backslashes in any order raise nothing either."""
    assert isinstance(scrub(text.encode(), kind), bytes)
    assert isinstance(scrub(json.dumps({text: [text, {text: text}]}).encode(), kind), bytes)


def test_deep_nesting_is_bounded() -> None:
    """A body nested beyond all reason is cut off, not walked into a crash."""
    assert isinstance(scrub(b'{"a":' * 900 + b"1" + b"}" * 900), bytes)
    assert isinstance(scrub(b"[" * 100_000), bytes)
    doc: Any = {"token": CANARY}
    for _ in range(80):
        doc = {"a": [doc]}
    assert CANARY.encode() not in scrub(json.dumps(doc).encode())
    text = CANARY
    for _ in range(40):
        text = base64.b64encode(json.dumps({"data_base64": text}).encode()).decode()
    assert isinstance(scrub(json.dumps({"data_base64": text}).encode()), bytes)


@pytest.mark.parametrize(
    "unit",
    [
        "\\", '"', '\\"', '{"value":', '"value":{"name":"token",', '"token":"', '"token":{', "://a:b", "://a:@",
        "a", '"a" ', "&", "a=", "token=", "token: ", '"name":"token",', "hooks.slack.com/", '"token":"x"y',
        ";", " ", "X-A-Token: ", "--token=", "TOKEN=x ", "a-b:", "token=[", "token='", "X-Token: bearer ",
        "glpat-", "eyJaaaaaaaa.", "eyJaaaaaaaa.b!", "eyJ", "%22eyJ", "aB", "secret_", "-",
        "Authorization: bearer ", "xoxb-aaaaaaaa.",
    ],
)  # fmt: skip
def test_the_time_is_linear(unit: str) -> None:
    """A megabyte made to be slow to search takes no longer than reading it a few times."""
    text = unit * ((1 << 20) // len(unit))
    started = time.process_time()
    scrub(text.encode())
    scrub(json.dumps({"a": text}).encode())
    assert time.process_time() - started < 5.0
