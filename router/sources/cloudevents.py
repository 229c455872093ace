"""CloudEvents 1.0 over HTTP, and the CDEvents in them: what CI and CD tools tell of services and changes.

Three ways to send: structured (one event as JSON), batched (a list of them) and
binary (attributes in ``ce-*`` headers, the data as body). Which one it is says the content type, or, where
that says nothing, the body itself: CDEvents repeat the attributes in their ``context``, so that a bare
one is read like one in an envelope. Of other types than CDEvents we know nothing to do: heartbeats.

Sources: cloudevents/spec v1.0.2 (``spec.md``, ``bindings/http-protocol-binding.md``,
``formats/json-format.md``, ``http-webhook.md``); cdevents/spec, versions 0.1 to 0.6
(``cloudevents-binding.md``, ``conformance/``). The version of CDEvents stands in ``context.version``
until 0.5, since 0.6 in ``context.specversion``; neither matters here.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from router.kit import wire
from router.model import wire_cdevents
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.events import Heartbeat, Told, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.ports import SourceFactory

#: Of one batch; brokers send far fewer. The rest is counted as trouble.
MAX_EVENTS: Final = 500
MAX_ATTRIBUTE: Final = 1000
#: Events of a batch that cannot be read and are named; the rest are counted.
_NAMED: Final = 3
_MAX_REASON: Final = 290
_REQUIRED: Final = ("specversion", "id", "source", "type")

_JSON: Final = re.compile(r"(?:application|text)/(?:[a-z0-9.+-]*\+)?json").fullmatch
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\(.)")


class CloudEvents:
    """See the module."""

    kind: Final = "cloudevents"
    manners: Final = Manners(
        unreadable=202,  # brokers send it again and again, and then drop it
        # what tells a binary event: without these a dead letter of one could not be read again
        keeps=(
            "ce-specversion",
            "ce-source",
            "ce-type",
            "ce-time",
            "ce-subject",
            "ce-dataschema",
            "webhook-request-origin",
        ),
        delivery=("ce-id",),
        revive="nothing: whether a broker sends on is its own setting (Knative: a trigger's delivery.retry)",
    )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:  # noqa: ARG002  nothing is signed
        """Compare the bearer token, or the basic password of any user, with the secrets."""
        index = wire.match_secret(wire.credentials(headers.get("authorization", "")), secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid secret: send Authorization: Bearer <secret> (or basic authentication with it as "
                "password) with one of the secrets configured for this source",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        """Return what the events tell: reports, and one heartbeat for each word that is none."""
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type.startswith("application/cloudevents") and not content_type.endswith("json"):
            raise Rejected(
                400, "bad_json", "only the JSON format of CloudEvents is read, not Avro, XML or CBOR"
            )
        if not content_type.startswith("application/cloudevents") and "ce-specversion" in headers:
            return _tell(_binary(headers, content_type, body))
        try:
            doc = wire.value(body)
        except wire.Unreadable as exc:
            raise Rejected(400, "bad_json", f"not the JSON of a CloudEvent: {str(exc)[:200]}") from exc
        if isinstance(doc, list):
            return _batch(doc)
        return _tell(_enveloped(doc))


# -- the three ways


def _batch(items: Sequence[Any]) -> Sequence[Told]:
    """Return what the events of a batch tell; one that cannot be read does not stop the others."""
    if not items:
        return [Heartbeat(source="cloudevents", kind="cloudevents:empty_batch")]
    told: list[Told] = []
    why: list[str] = []
    bad, first = 0, None
    for index, item in enumerate(items[:MAX_EVENTS]):
        try:
            told += _tell(_enveloped(item))
        except Rejected as exc:
            bad, first = bad + 1, first or exc
            if len(why) < _NAMED:
                why.append(f"[{index}]: {exc.detail[:80]}")
    if first is not None and not told:
        raise Rejected(
            400, first.code, f"no event of the batch could be read: {'; '.join(why)}"[:_MAX_REASON]
        )
    found: list[Told] = [t for t in told if not isinstance(t, Heartbeat)]
    found += dict.fromkeys(t for t in told if isinstance(t, Heartbeat))
    if why:
        what = f"{bad} of {len(items)} events could not be read: {'; '.join(why)}"
        found.append(Trouble("cloudevents", what[:_MAX_REASON]))
    if (left := len(items) - MAX_EVENTS) > 0:
        what = f"{left} events beyond the first {MAX_EVENTS} of a batch were left out: send smaller batches"
        found.append(Trouble("cloudevents", what))
    return found


def _enveloped(doc: Any) -> wire_cdevents.Event:
    """Return a structured event; a bare CDEvent is one, too: its ``context`` holds the attributes."""
    if not isinstance(doc, dict):
        raise Rejected(400, "bad_body", "a CloudEvent is a JSON object, a batch a list of them")
    if "specversion" not in doc and isinstance(doc.get("context"), dict):
        context = doc["context"]
        attributes = {n: wire.text(context, n, limit=MAX_ATTRIBUTE) for n in ("id", "source", "type")}
        attributes["specversion"] = "1.0"
        return _event(attributes, doc)
    attributes = {n: wire.text(doc, n, limit=MAX_ATTRIBUTE) for n in (*_REQUIRED, "time", "subject")}
    data = doc.get("data")
    if data is None and isinstance(encoded := doc.get("data_base64"), str):
        data = _decoded(encoded)
    if isinstance(data, str) and attributes["type"].startswith(wire_cdevents.PREFIX):
        data = _json(data.encode("utf-8", "replace"))  # some SDKs send JSON data as a text
    return _event(attributes, data)


def _binary(headers: Mapping[str, str], content_type: str, body: bytes) -> wire_cdevents.Event:
    """Return the event whose attributes are headers. Its data matters only where it is JSON."""
    attributes = {n: _attribute(n, headers.get(f"ce-{n}", "")) for n in (*_REQUIRED, "time", "subject")}
    json = not content_type or _JSON(content_type) is not None
    return _event(attributes, _json(body) if json and body.strip() else None)


def _event(attributes: Mapping[str, str], data: Any) -> wire_cdevents.Event:
    missing = [name for name in _REQUIRED if not attributes.get(name)]
    if missing:
        raise Rejected(
            400,
            "bad_body",
            f"required attributes are missing or empty: {', '.join(missing)}; a CloudEvent has "
            f"{', '.join(_REQUIRED)} (in binary mode as ce-* headers)",
        )
    if attributes["specversion"] != "1.0":
        raise Rejected(
            400,
            "unsupported_version",
            f"specversion {attributes['specversion'][:20]!r} of CloudEvents is not known, only '1.0' is",
        )
    return wire_cdevents.Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        time=wire.parse_time(attributes.get("time")),
        subject=attributes.get("subject", ""),
        data=data,
    )


def _attribute(name: str, value: str) -> str:
    """Return a header's value decoded as the HTTP binding says: first quotes, then percents, once each."""
    quoted = _QUOTED.fullmatch(value.strip())
    plain = _ESCAPED.sub(r"\1", quoted[1]) if quoted else value
    try:
        text = unquote_to_bytes(wire.header_bytes(plain)).decode()
    except UnicodeDecodeError as exc:
        raise Rejected(
            400,
            "bad_body",
            f"the header ce-{name} is not percent-encoded UTF-8, as the HTTP binding wants it",
        ) from exc
    return wire.clean(text, MAX_ATTRIBUTE).strip()


def _decoded(encoded: str) -> Any:
    try:
        return _json(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return None


def _json(body: bytes) -> Any:
    """Return the JSON, or None: an event of an unknown type may carry anything."""
    try:
        return wire.value(body)
    except wire.Unreadable:
        return None


def _tell(event: wire_cdevents.Event) -> list[Told]:
    report = wire_cdevents.report("cloudevents", event)
    if report is not None:
        return [report]
    return [Heartbeat(source="cloudevents", kind=f"cloudevents:{wire_cdevents.word(event.type)}")]


build: SourceFactory = CloudEvents
