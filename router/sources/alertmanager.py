"""Alertmanager's webhook, version "4": one delivery is one :class:`AlertBatch`.

A delivery is decoded straight into typed structs whose limits the decoder
checks; only where one is broken (an empty label, a huge annotation, a control
character) is it read again, loosely, and mended alert by alert. So the usual
delivery costs next to nothing and an odd one is still taken: one bad alert
must not stop its whole group from paging. Format: Alertmanager,
``docs/notifications.md`` and ``template/template.go``. Google's managed
Alertmanager writes "1" for the version of the same body.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router.kit import wire
from router.model import wire_alerts
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.wire_alerts import MAX_ALERTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.model.events import Alert, Told
    from router.ports import SourceFactory

_PREFIX: Final = "am:"
#: Escapes of control characters and a few look-alikes. Seldom there; then the slow way cleans them out.
_CONTROL_ESCAPE: Final = re.compile(rb"\\[bfr]|\\u00[01789]").search
_C1: Final = re.compile(rb"\xc2[\x80-\x9f]").search


class _Body(wire_alerts.Head):
    """A body within all limits."""

    version: str = ""
    alerts: list[wire_alerts.StrictAlert] = msgspec.field(default_factory=list)


_strict: Final = msgspec.json.Decoder(_Body)


class Alertmanager:
    """See the module."""

    kind: Final = "alertmanager"
    manners: Final = Manners(
        revive="nothing: Alertmanager never switches a receiver off, it sends again by itself"
    )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:  # noqa: ARG002  nothing is signed
        """Compare the bearer token, or the basic password of any user, with the secrets."""
        index = wire.match_secret(wire.credentials(headers.get("authorization", "")), secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid secret: set http_config.authorization.credentials (or basic_auth.password) of the "
                "webhook receiver in Alertmanager to one of the secrets configured for this source",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:  # noqa: ARG002  the body says all
        """Return one batch, or a heartbeat for a delivery without alerts; with it what had to be left out."""
        strict = _strictly(body)
        if strict is not None:
            wired, left = strict.alerts, 0
            if len(wired) > MAX_ALERTS:
                taken, left = wire_alerts.firing_first(wired, lambda a: a.status == "firing")
                wired = [a for _, a in taken]
            return wire_alerts.tell(self.kind, strict, [wire_alerts.checked(_PREFIX, a) for a in wired], left)
        doc = _document(body)
        head = wire_alerts.head_of(doc)

        def read(raw: Any) -> Alert:
            return wire_alerts.read(_PREFIX, raw, head.status)

        return wire_alerts.loosely(self.kind, head, doc["alerts"], read)


def _strictly(body: bytes) -> _Body | None:
    """Return a body in which nothing has to be mended, or None."""
    if b"\x7f" in body or _CONTROL_ESCAPE(body) or not (body.isascii() or _C1(body) is None):
        return None
    try:
        strict = _strict.decode(body)
    except (ValueError, RecursionError):
        return None  # the loose way takes it, or says what is wrong
    return strict if strict.version == "4" and strict.alerts else None


def _document(body: bytes) -> dict[str, Any]:
    """Return the body as a JSON object that has a list of alerts, or refuse it, saying what to do."""
    try:
        doc = wire.document(body)
    except wire.Unreadable as exc:
        raise Rejected(
            400,
            "bad_json",
            f"not an Alertmanager webhook body: {exc}; is a custom payload set on the receiver?",
        ) from exc
    version = wire.text(doc, "version", limit=20)
    if version != "4" and wire_alerts.is_grafanas(doc):
        raise Rejected(
            400,
            "unsupported_version",
            "this is Grafana's webhook body, not Alertmanager's: set the URL of Grafana's contact point to "
            "/webhooks/grafana",
        )
    if version not in {"", "1", "4"}:
        raise Rejected(
            400,
            "unsupported_version",
            f"version {version!r} of the webhook body is not known, only '4' is: "
            "Alertmanager sends it since 0.6; another sender needs a source of its own",
        )
    if not isinstance(doc.get("alerts"), list):
        raise Rejected(
            400,
            "bad_body",
            "no list 'alerts' in the body: remove the custom payload from the webhook receiver in "
            "Alertmanager, the standard body is needed here",
        )
    return doc


build: SourceFactory = Alertmanager
