"""Grafana's alerting webhook: Alertmanager's shape with more fields; one delivery is one :class:`AlertBatch`.

What Grafana says besides becomes annotations: the values that fired, links to dashboard,
panel, silence and picture. Where it signs its bodies, the signature must be
right; else the Authorization header is compared. Format: grafana/alerting,
``receivers/webhook/v1`` and ``templates/template_data.go``; signature: ``http/hmac.go``.
"""

from __future__ import annotations

import hmac
import math
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

import msgspec

from router.kit import wire
from router.model import wire_alerts
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.wire_alerts import MAX_NAME, MAX_URL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.model.events import Alert, Told
    from router.ports import SourceFactory

SIGNATURE: Final = "x-grafana-alerting-signature"
#: Grafana has no name of its own for it: the first is ours, the second that of its provisioning guide.
TIMESTAMPS: Final = ("x-grafana-alerting-timestamp", "x-grafana-alerting-signature-timestamp")
#: An older delivery may be a replay.
TOLERANCE_S: Final = 300
_STAMPED: Final = re.compile(rb"\d+:").match
MAX_VALUES: Final = 20
_MAX_VALUES_TEXT: Final = 1000
_PREFIX: Final = "gf:"

_LINKS: Final = {
    "dashboardURL": "dashboard_url",
    "panelURL": "panel_url",
    "silenceURL": "silence_url",
    "imageURL": "image_url",
}
_LINK: Final = re.compile(r"https?://\S+", re.IGNORECASE).fullmatch
#: Links with a time range. While an alert fires it ends at the moment of sending, so that no repeat would
#: be like the one before; "now" is also what people want to see.
_RANGED: Final = frozenset({"dashboard_url", "panel_url"})
_TO: Final = re.compile(r"(?<=[?&]to=)\d+")
_ODD: Final = {"DatasourceNoData": "no data from", "DatasourceError": "error in"}


class Grafana:
    """See the module."""

    kind: Final = "grafana"
    manners: Final = Manners(
        methods=("POST", "PUT"),
        revive="nothing: Grafana never switches a contact point off; it sends again by itself",
    )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
        """Check the signature where there is one, else compare the bearer token or the basic password."""
        if SIGNATURE in headers:
            index = _match_signature(headers, body, secrets, now)
        else:
            index = wire.match_secret(wire.credentials(headers.get("authorization", "")), secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid secret: the contact point's HMAC secret (with X-Grafana-Alerting-Timestamp as its "
                "timestamp header, and clocks that agree), authorization credentials or basic password must "
                "be one of the secrets configured for this source",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:  # noqa: ARG002  the body says all
        """Return one batch, or a heartbeat for a delivery without alerts; with it what had to be left out."""
        doc = _document(body)
        head = wire_alerts.head_of(doc)
        if not head.status and doc.get("state") == "ok":
            head.status = "resolved"

        def read(raw: Any) -> Alert:
            return _enriched(wire_alerts.read(_PREFIX, raw, head.status), raw, doc)

        return wire_alerts.loosely(self.kind, head, doc["alerts"], read)


def _match_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
    """Return the index of the secret that signed the body, with its timestamp where there is one, or -1."""
    signed = body
    stamp = next((headers[n] for n in TIMESTAMPS if n in headers), None)
    if stamp is None and _STAMPED(body):
        return -1  # what was signed with its timestamp, replayed as if the two were the body
    if stamp is not None:
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            return -1
        if abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
            return -1
        signed = stamp.encode() + b":" + body
    theirs = wire.header_bytes(headers[SIGNATURE])
    found = -1
    for index, secret in enumerate(secrets):
        ours = hmac.digest(secret or b"-", signed, sha256).hex().encode()
        if hmac.compare_digest(ours, theirs) and secret and found < 0:
            found = index
    return found


def _document(body: bytes) -> dict[str, Any]:
    """Return the body as a JSON object that has a list of alerts, or refuse it, saying what to do."""
    try:
        doc = wire.document(body)
    except wire.Unreadable as exc:
        raise Rejected(
            400,
            "bad_json",
            f"not a Grafana webhook body: {exc}; is a custom payload set on the contact point?",
        ) from exc
    if "alerts" not in doc and ("ruleName" in doc or "ruleId" in doc):
        raise Rejected(
            400,
            "unsupported_version",
            "legacy alerting (up to Grafana 10) tells no time; use Grafana's unified alerting",
        )
    version = wire.text(doc, "version", limit=20)
    if version == "4" and not wire_alerts.is_grafanas(doc):
        raise Rejected(
            400,
            "unsupported_version",
            "this is Alertmanager's webhook body, not Grafana's: set the URL of Alertmanager's receiver to "
            "/webhooks/alertmanager",
        )
    if version not in {"", "1"} and not wire_alerts.is_grafanas(doc):
        raise Rejected(
            400,
            "unsupported_version",
            f"version {version!r} of the webhook body is not known, Grafana sends '1': "
            "another sender needs a source of its own",
        )
    if not isinstance(doc.get("alerts"), list):
        raise Rejected(
            400,
            "bad_body",
            "no list 'alerts' in the body: remove the custom payload from the webhook contact point in "
            "Grafana, the standard body is needed here",
        )
    return doc


# -- what Grafana says besides


def _enriched(alert: Alert, raw: dict[str, Any], doc: dict[str, Any]) -> Alert:
    """Return the alert with Grafana's own fields as annotations; those that its rule sets itself stay."""
    notes = dict(alert.annotations)
    odd = _ODD.get(alert.labels.get("alertname", ""))
    if odd and not notes.get("summary"):
        notes["summary"] = _summary(odd, alert.labels)
    values = _values(raw.get("values"))
    if values:
        notes.setdefault("values", values)
    for field, name in _LINKS.items():
        link = _link(wire.text(raw, field, limit=MAX_URL + 1))
        if link:
            notes.setdefault(name, _TO.sub("now", link) if alert.firing and name in _RANGED else link)
    org = wire.text(raw, "orgId", limit=40) or wire.text(doc, "orgId", limit=40)
    if org not in {"", "0", "1"}:
        notes.setdefault("org_id", org)
    base = wire.text(doc, "externalURL", limit=MAX_NAME)
    return msgspec.structs.replace(alert, annotations=notes, generator_url=_joined(base, alert.generator_url))


def _summary(odd: str, labels: Mapping[str, str]) -> str:
    """Return a summary for an alert that Grafana made itself, out of the labels that it gave it."""
    rule = wire.clean(labels.get("rulename", ""), 200)
    query = wire.clean(labels.get("ref_id", ""), 40)
    return f"{odd} {rule or 'an unnamed rule'}" + (f" (query {query})" if query else "")


def _values(raw: Any) -> str:
    """Return the values of the rule's expressions as ``B=22, C=null``, bounded, in order of their names."""
    if not isinstance(raw, dict):
        return ""
    pairs: list[str] = []
    for name in sorted(raw):
        value = raw[name]
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            pairs.append(f"{wire.clean(name, 100)}={_number(value)}")
        if len(pairs) == MAX_VALUES:
            break
    return wire.clean(", ".join(pairs), _MAX_VALUES_TEXT)


def _number(value: Any) -> str:
    if isinstance(value, int):
        return str(value)[:40]  # it may be too large for a float
    return f"{value:.10g}" if value is not None and math.isfinite(value) else "null"


def _link(url: str) -> str:
    """Return the link if it is a whole one for a browser, else ""."""
    return url if len(url) <= MAX_URL and _LINK(url) else ""


def _joined(base: str, url: str) -> str:
    """Return a whole link; a relative one (``?orgId=1``, of test notifications) is below ``base``."""
    if not url or _LINK(url):
        return url
    if not url.startswith("?") and not base.endswith("/"):
        base += "/"
    try:
        return _link(urljoin(base, url))
    except ValueError:
        return ""


build: SourceFactory = Grafana
