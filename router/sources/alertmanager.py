"""Alertmanager's webhook, version "4": one delivery is one :class:`AlertBatch`.

A delivery is decoded straight into typed structs whose limits the decoder
checks; only where one is broken (an empty label, a huge annotation, a control
character) is it read again, loosely, and tidied alert by alert. So the usual
delivery costs next to nothing and an odd one is still taken: one alert's bad
annotation must not stop its whole group from paging. Format: Alertmanager,
``docs/notifications.md`` and ``template/template.go``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from router.kit import wire
from router.model.errors import Rejected
from router.model.events import Alert, AlertBatch, Heartbeat, Told
from router.model.keys import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.ports import SourceFactory

#: A storm in one group; Alertmanager itself sets no limit unless max_alerts is set.
MAX_ALERTS: Final = 5000
MAX_LABELS: Final = 64
MAX_NAME: Final = 1024
MAX_LABEL_VALUE: Final = 4096
MAX_ANNOTATION: Final = 16 * 1024
#: A longer link would have to be cut, and a cut link leads nowhere.
MAX_URL: Final = 8192

#: Escapes of control characters and a few look-alikes. Seldom there; then the slow way cleans them out.
_CONTROL_ESCAPE: Final = re.compile(rb"\\[bfr]|\\u00[01789]").search
_C1: Final = re.compile(rb"\xc2[\x80-\x9f]").search
_FINGERPRINT: Final = re.compile("[0-9a-f]{16}").fullmatch
#: Go's regexp.QuoteMeta, which Alertmanager applies to the receiver's name.
_QUOTED: Final = re.compile(r"\\(.)")

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME)]
_LabelValue = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LABEL_VALUE)]
_Annotation = Annotated[str, msgspec.Meta(max_length=MAX_ANNOTATION)]


class _Alert(msgspec.Struct, gc=False):
    """An alert within all limits."""

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[_Name, _LabelValue], msgspec.Meta(min_length=1, max_length=MAX_LABELS)]
    annotations: dict[_Name, _Annotation]
    startsAt: datetime  # noqa: N815  Alertmanager's name
    endsAt: datetime  # noqa: N815  Alertmanager's name
    generatorURL: Annotated[str, msgspec.Meta(max_length=MAX_URL)] = ""  # noqa: N815  Alertmanager's name
    fingerprint: str = ""


class _LooseAlert(msgspec.Struct, gc=False):
    """An alert as others may write it; ``None`` where Go would have left out a value."""

    status: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    startsAt: datetime | None = None  # noqa: N815  Alertmanager's name
    endsAt: datetime | None = None  # noqa: N815  Alertmanager's name
    generatorURL: str | None = None  # noqa: N815  Alertmanager's name
    fingerprint: str | None = None


class _Head(msgspec.Struct):
    """What a body says besides its alerts. ``orgId`` and ``state`` are Grafana's, and tell it apart."""

    version: str | int | None = None
    receiver: str = ""
    externalURL: str = ""  # noqa: N815  Alertmanager's name
    truncatedAlerts: int = 0  # noqa: N815  Alertmanager's name
    status: str = ""
    orgId: Any = None  # noqa: N815  Grafana's name
    state: Any = None


class _Body(_Head):
    alerts: list[_Alert] = []


class _LooseBody(_Head):
    alerts: list[_LooseAlert] | None = None


_strict: Final = msgspec.json.Decoder(_Body)
_loose: Final = msgspec.json.Decoder(_LooseBody)


class Alertmanager:
    """See the module."""

    kind: Final = "alertmanager"

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
        """Return one batch, or a heartbeat for a delivery without alerts."""
        head, alerts = _read(body)
        if not alerts:
            return [Heartbeat(source=self.kind, kind="alertmanager:empty")]
        found: dict[str, Alert] = {}
        for wired in alerts:
            alert = _alert(wired)
            twin = found.get(alert.key)
            # Alertmanager never lists an alert twice; from others the later occurrence counts
            if twin is None or (alert.starts_at, alert.firing) >= (twin.starts_at, twin.firing):
                found[alert.key] = alert
        return [
            AlertBatch(
                source=self.kind,
                alerts=list(found.values()),
                receiver=_QUOTED.sub(r"\1", wire.clean(head.receiver, 300)),
                external_url=wire.clean(head.externalURL, MAX_NAME),
                truncated=min(max(head.truncatedAlerts, 0), 1_000_000_000),
            )
        ]


def _alert(wired: _Alert) -> Alert:
    starts = wired.startsAt
    if starts.tzinfo is not UTC or not wire.FIRST_YEAR <= starts.year <= wire.LAST_YEAR:
        starts = _time(starts)
    ends = None
    if wired.status == "resolved":
        ends = wired.endsAt
        if ends.tzinfo is not UTC or not wire.FIRST_YEAR <= ends.year <= wire.LAST_YEAR:
            ends = _time(ends) if wire.plausible(ends) else starts
    name = wired.fingerprint
    if _FINGERPRINT(name) is None:
        name = fingerprint(wired.labels)
    return Alert(
        "am:" + name,
        ends is None,
        wired.labels,
        wired.annotations,
        starts,
        ends,
        wired.generatorURL,
    )


def _time(moment: datetime) -> datetime:
    """Return a time that can be reckoned with: zero and far-off ones become the first and last we keep."""
    if wire.plausible(moment):
        return wire.utc(moment)
    year = wire.FIRST_YEAR if moment.year < wire.FIRST_YEAR else wire.LAST_YEAR
    return datetime(year, 1, 1, tzinfo=UTC)


# -- reading


def _read(body: bytes) -> tuple[_Head, list[_Alert]]:
    controls = b"\x7f" in body or _CONTROL_ESCAPE(body) or not (body.isascii() or _C1(body) is None)
    if not controls:
        try:
            strict = _strict.decode(body)
        except (ValueError, RecursionError):
            pass  # the loose way takes it, or says what is wrong
        else:
            if strict.version == "4" and 0 < len(strict.alerts) <= MAX_ALERTS:
                return strict, strict.alerts
    loose = _decode_loosely(body)
    _check_kind(loose)
    alerts = loose.alerts or []
    if len(alerts) > MAX_ALERTS:
        raise Rejected(
            413,
            "too_many_alerts",
            f"{len(alerts)} alerts in one delivery, at most {MAX_ALERTS} are taken: "
            "group by more labels in Alertmanager's route, or set max_alerts on the receiver",
        )
    return loose, [_tidy(alert, index, loose.status) for index, alert in enumerate(alerts)]


def _decode_loosely(body: bytes) -> _LooseBody:
    try:
        return _loose.decode(body)
    except (ValueError, RecursionError) as first:
        error: Exception = first
    if b"\\ud" in body.lower():
        try:
            return _loose.decode(wire.mend_surrogates(body))
        except (ValueError, RecursionError) as again:
            error = again
    hint = "" if isinstance(error, msgspec.ValidationError) else "; is a custom payload set on the receiver?"
    raise Rejected(
        400, "bad_json", f"not an Alertmanager webhook body: {wire.why_not(error)}{hint}"
    ) from error


def _check_kind(body: _LooseBody) -> None:
    version = str(body.version or "")[:20]
    if body.orgId is not None or body.state is not None:
        raise Rejected(
            400,
            "unsupported_version",
            "this is Grafana's webhook body, not Alertmanager's; point Alertmanager here",
        )
    if version not in {"", "4"}:
        raise Rejected(
            400,
            "unsupported_version",
            f"version {wire.clean(version, 20)!r} of the webhook body is not known, only '4' is: "
            "Alertmanager sends it since 0.6; another sender needs a source of its own",
        )
    if body.alerts is None:
        raise Rejected(
            400,
            "bad_body",
            "no 'alerts' in the body: remove the custom payload from the webhook receiver in Alertmanager, "
            "the standard body is needed here",
        )


def _tidy(alert: _LooseAlert, index: int, status: str) -> _Alert:
    """Return the alert within limits, or refuse the delivery, saying which alert and why."""
    where = f"alerts[{index}]"
    labels = {wire.clean(n, MAX_NAME + 1): v for n, v in (alert.labels or {}).items() if v}
    if not labels:
        raise Rejected(
            400, "bad_alert", f"{where}.labels: an alert needs at least one label that is not empty"
        )
    if len(labels) > MAX_LABELS:
        raise Rejected(
            400, "bad_alert", f"{where}.labels: {len(labels)} labels, at most {MAX_LABELS} are taken"
        )
    if any(not 0 < len(n) <= MAX_NAME for n in labels):
        raise Rejected(
            400, "bad_alert", f"{where}.labels: a name is empty or longer than {MAX_NAME} characters"
        )
    resolved = (alert.status or status) == "resolved"  # an unknown word pages rather than not
    starts = alert.startsAt or (alert.endsAt if resolved else None)
    if starts is None:
        raise Rejected(400, "bad_alert", f"{where}.startsAt: missing; Alertmanager always sends it")
    name = alert.fingerprint or ""
    if _FINGERPRINT(name) is None:  # over the labels as they were sent, as Alertmanager would
        name = fingerprint(labels)
    annotations = {
        wire.clean(n, MAX_NAME): wire.clean(v, MAX_ANNOTATION)
        for n, v in (alert.annotations or {}).items()
        if n
    }
    url = wire.clean(alert.generatorURL or "", MAX_URL + 1)
    return _Alert(
        status="resolved" if resolved else "firing",
        labels={n: wire.clean(v, MAX_LABEL_VALUE) for n, v in labels.items()},
        annotations=annotations,
        startsAt=starts,
        endsAt=alert.endsAt or starts,
        generatorURL=url if len(url) <= MAX_URL else "",
        fingerprint=name,
    )


build: SourceFactory = Alertmanager
