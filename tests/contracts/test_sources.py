"""What every source promises, run over each kind that the loader finds.

A new source needs bodies with headers in ``tests/payloads/<kind>/`` (``<name>.json``, or
``<name>.form.txt`` where the sender posts forms), whose secret is ``fake-<kind>-token``, a unit
test file and a row in the table of sources.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.kit import loader
from router.model import errors
from router.model.events import Told

TESTS = Path(__file__).parents[1]
NOW = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
KINDS = loader.kinds("router.sources")
BODIES = [
    (kind, path.name.removesuffix(".json").removesuffix(".form.txt"))
    for kind in KINDS
    for path in sorted((TESTS / "payloads" / kind).glob("*"))
    if path.name.endswith((".json", ".form.txt")) and not path.name.endswith(".headers.json")
]
encode_told = msgspec.json.Encoder().encode
decode_told = msgspec.json.Decoder(list[Told]).decode


def source(kind):
    """Return a new source of that kind."""
    return loader.load("router.sources", kind)()


def payload(kind, name):
    """Return recorded headers, names in lower case, and body."""
    folder = TESTS / "payloads" / kind
    headers = json.loads((folder / f"{name}.headers.json").read_text())
    form = folder / f"{name}.form.txt"
    body = form if form.exists() else folder / f"{name}.json"
    return {k.lower(): v for k, v in headers.items()}, body.read_bytes()


def secret(kind):
    """Return the secret that the recorded headers carry."""
    return f"fake-{kind}-token".encode()


def refuses(kind, headers, body, secrets):
    """Check that the delivery is refused as not authentic, and that the text gives no secret away."""
    with pytest.raises(errors.Rejected) as caught:
        source(kind).verify(headers, body, secrets, NOW)
    assert (caught.value.status, caught.value.code) == (401, "bad_secret")
    assert all(s not in caught.value.detail.encode() for s in secrets if s.removeprefix(b"whsec_"))


def parse_or_refuse(kind, body, headers=None):
    """Return what was told, or the refusal; anything else escapes and fails the test."""
    try:
        told = source(kind).parse(headers or {}, body)
    except errors.Rejected as refused:
        told = refused
    if isinstance(told, errors.Rejected):
        assert told.status in {400, 413}
        assert 0 < len(told.detail) < errors.MAX_DETAIL, "no reason, or one that was cut"
        return told
    assert all(isinstance(t, Told) for t in told)
    assert told, "an authentic delivery always tells something"
    assert encode_told(decode_told(encode_told(told))) == encode_told(told), "not storable as UTF-8 JSON"
    return told


def test_the_three_kinds_are_found():
    """The loader finds a source by its file's name."""
    assert {"alertmanager", "argocd", "gitlab"} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_complete(kind):
    """A source names itself as its file does and has payloads, a unit test file and a row in the docs."""
    assert source(kind).kind == kind
    assert any(k == kind for k, _ in BODIES)
    assert (TESTS / "unit" / "sources" / f"test_{kind}.py").exists()
    assert f"| `{kind}` |" in (TESTS.parent / "docs" / "reference" / "sources.md").read_text()


@pytest.mark.parametrize(("kind", "name"), BODIES)
def test_the_right_secret_is_taken_wherever_it_stands(kind, name):
    """A recorded delivery is authentic with its secret, and the secret's index is told for rotation."""
    headers, body = payload(kind, name)
    assert source(kind).verify(headers, body, [secret(kind)], NOW) == 0
    assert source(kind).verify(headers, body, [b"next", "schlüssel".encode(), secret(kind)], NOW) == 2


@pytest.mark.parametrize(("kind", "name"), BODIES)
def test_a_recorded_body_tells_the_same_each_time(kind, name):
    """The same body gives the same events and ids, and they survive the store's JSON."""
    _, body = payload(kind, name)
    told = parse_or_refuse(kind, body)
    assert not isinstance(told, errors.Rejected)
    assert list(told) == list(source(kind).parse({"x-anything": "else"}, body))


@pytest.mark.parametrize(("kind", "name"), BODIES)
def test_a_recorded_delivery_tells_the_same_each_time(kind, name):
    """With the headers it came with, a delivery is told, and sent again it gives the same events and ids."""
    headers, body = payload(kind, name)
    told = parse_or_refuse(kind, body, headers)
    assert not isinstance(told, errors.Rejected)
    assert list(told) == list(source(kind).parse({**headers, "x-anything": "else"}, body))


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_wrong_or_foreign_secret_is_refused(kind):
    """Without a secret, with a wrong one, with another source's or with an empty one nobody gets in."""
    headers, body = payload(kind, next(n for k, n in BODIES if k == kind))
    refuses(kind, {}, body, [secret(kind)])
    refuses(kind, headers, body, [b"something else"])
    refuses(kind, headers, body, [secret(kind)[:-1], secret(kind) + b"x", b""])
    refuses(kind, dict.fromkeys(headers, ""), body, [b"", secret(kind)])
    for other in KINDS:
        if other != kind:
            foreign, _ = payload(other, next(n for k, n in BODIES if k == other))
            refuses(kind, foreign, body, [secret(kind)])


_CE_HEADERS = ("ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-subject", "ce-dataschema")
_HEADERS = (
    "authorization",
    "x-gitlab-token",
    "x-argocd-token",
    "webhook-signature",
    "webhook-timestamp",
    "webhook-id",
    "x-pagerduty-signature",
    "x-slack-request-timestamp",
    "x-slack-signature",
    "x-slack-retry-num",
    "x-grafana-alerting-signature",
    "x-grafana-alerting-timestamp",
    "x-grafana-alerting-signature-timestamp",
    "x-router-token",
    "x-webhook-id",
    "idempotency-key",
    "content-type",
    *_CE_HEADERS,
)
_VALUES = st.text(max_size=60) | st.sampled_from(
    [
        "Bearer",
        "Basic",
        "Basic ====",
        "Bearer \udcff",
        "\ud800",
        "v1,",
        "v1,ü",
        "v0=",
        "v1=,v1=ü,v2=" + "0" * 64,
        "1763634600",
        "9" * 400,
        "٣",
        "-1",
        "1e9",
        str(int(NOW.timestamp())),
        "0" * 64,
    ]
)
_TYPES = st.sampled_from(
    [
        "application/json",
        "application/json; charset=latin-1",
        "application/cloudevents+json",
        "Application/CloudEvents-Batch+JSON; charset=utf-8",
        "application/cloudevents+avro",
        "application/x-www-form-urlencoded",
        "text/plain",
        ";",
    ]
)
_CE_VALUES = _VALUES | st.sampled_from(
    [
        "1.0",
        "0.3",
        "dev.cdevents.service.deployed.0.2.0",
        "dev.cdevents.change.merged.0.2.0",
        "com.example.new",
        "https://ci.example.com/shop/payment-service",
        "2026-11-20T10:02:20Z",
        "0001-01-01T00:00:00+05:00",
        "%C3%28",
        "%00%1b%ED%A0%80",
        '"un\\"quoted',
    ]
)
#: Any headers; and those of CloudEvents' binary mode, in which they hold the event.
_ANY_HEADERS = st.dictionaries(st.sampled_from(_HEADERS), _VALUES | _TYPES, max_size=8)
_BINARY_HEADERS = st.fixed_dictionaries(
    {
        "ce-specversion": st.just("1.0") | _CE_VALUES,
        "ce-id": _CE_VALUES,
        "ce-source": _CE_VALUES,
        "ce-type": _CE_VALUES,
    },
    optional={"ce-time": _CE_VALUES, "ce-subject": _CE_VALUES, "content-type": _TYPES | _VALUES},
)
_SENT_HEADERS = _ANY_HEADERS | _BINARY_HEADERS


@pytest.mark.parametrize("kind", KINDS)
@given(headers=_SENT_HEADERS, body=st.binary(max_size=50))
def test_junk_headers_are_refused_and_nothing_else(kind, headers, body):
    """Whatever stands in the headers, the answer is 401, never an error of ours."""
    refuses(kind, headers, body, [secret(kind), b"whsec_c2VjcmV0", b"whsec_\xff", b"whsec_"])


@pytest.mark.parametrize("kind", KINDS)
@given(body=st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"{}")
@example(b"[" * 100_000)
@example(b'{"alerts":' + b"[" * 100_000)
@example(b'{"object_kind":NaN}')
@example(b'{"version":1,"version":4}')
@example(b'{"a":' + b"9" * 10_000 + b"}")
@example(b'{"truncatedAlerts":' + b"9" * 300 + b',"version":"4","alerts":[]}')
@example(b'{"object_kind":"push","x":1e999}')
@example(b'{"object_kind":"\xff\xfe"}')
@example(b"\xef\xbb\xbf{}")
@example(b"payload=%7B%22type%22%3A%22\xff%ED%A0%80%22%7D")
@example(b"command=%00&user_id=U1&text=ack+%26%2327%3B%26%23xD800%3B")
@example(b"a=b&" * 1000)
@example(b'{"event":{"event_type":"incident.resolved","data":{"type":"incident","id":' + b"9" * 300 + b"}}}")
def test_junk_bytes_are_refused_and_nothing_else(kind, body):
    """Whatever bytes come, they are parsed or refused with a bounded reason."""
    parse_or_refuse(kind, body)


@pytest.mark.parametrize("kind", KINDS)
@given(
    headers=_SENT_HEADERS,
    body=st.binary(max_size=60) | st.sampled_from([b"", b"null", b"{}", b"[]", b'{"context":{}}', b"a=b"]),
)
def test_junk_bytes_with_any_headers_are_refused_and_nothing_else(kind, headers, body):
    """Some senders say in headers how the body is to be read, or the event itself: those may be junk, too."""
    parse_or_refuse(kind, body, headers)


@pytest.mark.parametrize(("kind", "name"), BODIES)
@given(headers=_SENT_HEADERS)
def test_a_recorded_body_with_other_headers_is_told_or_refused(kind, name, headers):
    """A proxy or a user may change any header; the same delivery still tells the same."""
    recorded, body = payload(kind, name)
    first = parse_or_refuse(kind, body, {**recorded, **headers})
    again = parse_or_refuse(kind, body, {**recorded, **headers})
    if isinstance(first, errors.Rejected):
        assert (first.code, first.detail) == (again.code, again.detail)
    else:
        assert list(first) == list(again)


_WORDS = st.sampled_from(
    [
        "4",
        "firing",
        "resolved",
        "deployment",
        "pipeline",
        "merge_request",
        "success",
        "running",
        "merge",
        "Succeeded",
        "switched",
        "Healthy",
        "2026-11-20T10:00:00Z",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "2021-04-28 21:50:00 +0200",
        "3f6c0e2b9d1a4c58e7f0123456789abcdef01234",
        "group/project",
        "�",
        "\x00\x1b[2J",
    ]
)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _WORDS
_VALUE = st.recursive(
    _SCALARS,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3),
    max_leaves=6,
)


def mutate(doc, where, value):
    """Put the value somewhere into the document; ``where`` chooses the way down."""
    for step in where:
        items = list(doc) if isinstance(doc, dict) else list(range(len(doc)))
        if not items:
            break
        key = items[step % len(items)]
        if step % 3 == 0 or not isinstance(doc[key], dict | list):
            doc[key] = value
            return
        doc = doc[key]


def opened(body):
    """Return a recorded body as a document; of a form its fields, with a JSON payload opened."""
    if body.startswith((b"{", b"[")):
        return json.loads(body)
    return {k: json.loads(v) if k == "payload" else v for k, v in parse_qsl(body.decode(), True)}


def closed(doc, *, form):
    """Return a document as it would be sent."""
    if not form:
        return json.dumps(doc).encode()
    fields = {k: v if isinstance(v, str) else json.dumps(v) for k, v in doc.items()}
    return urlencode(fields, errors="surrogatepass").encode()


@pytest.mark.parametrize(("kind", "name"), BODIES)
@given(
    changes=st.lists(
        st.tuples(st.lists(st.integers(0, 40), min_size=3, max_size=6), _VALUE), min_size=1, max_size=4
    ),
    bare=st.booleans(),
)
def test_a_body_with_odd_values_is_told_or_refused(kind, name, changes, bare):
    """A real body with any value in any place never raises anything but a refusal, and stays storable."""
    headers, body = payload(kind, name)
    doc = opened(body)
    for where, value in changes:
        mutate(doc, where, value)
    changed = closed(doc, form=not body.startswith((b"{", b"[")))
    told = parse_or_refuse(kind, changed, {} if bare else headers)
    if kind == "gitlab" and "NaN" not in json.dumps(doc) and "Infinity" not in json.dumps(doc):
        assert not isinstance(told, errors.Rejected), "GitLab switches a hook off that answers 4xx"


@pytest.mark.parametrize("kind", KINDS)
def test_lone_surrogates_and_control_characters_do_not_get_in(kind):
    """Text that UTF-8 cannot hold is replaced, and control characters are taken out."""
    for name in (n for k, n in BODIES if k == kind):
        _, body = payload(kind, name)
        dirty = body.replace(b"checkout", b"check\\ud83dout\\u0000\\u001b[31m\x7f\xc2\x9b")
        stored = encode_told(source(kind).parse({}, dirty)).decode()
        assert not any(code in stored for code in ("\\u0000", "\\u001b", "\x7f", "\x9b", "\\ud83d"))
