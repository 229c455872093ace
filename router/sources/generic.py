"""JSON of systems without a source of their own: a mapping of the rules makes alerts of it.

One :class:`Generic` serves one mapping, under the mapping's name: ``rules/sources.yaml`` ships
``kibana`` and ``elastalert``, and the kind ``generic`` takes the flat JSON of :data:`DEFAULT`
from whoever can write it. What the senders make of our answers:

- Kibana's webhook connector drops what is answered 4xx (but 429); a 5xx it tries again a few times
  (``xpack.actions.run.maxAttempts``), then drops it, too. It tells of an ongoing alert again only where
  the action's frequency says so.
- ElastAlert 2 keeps a failed alert in its writeback index and sends the same again each cycle, for
  ``alert_time_limit`` (2 days): a body that cannot be read would come back all that time.

So an authentic body that cannot be read is answered 202 and kept with the dead letters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from router.kit import wire
from router.model import wire_alerts
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.events import Alert, Heartbeat, Told
from router.rulebook import mappings
from router.rulebook.schema import MappingModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

#: Alerts left out that are named; the rest are counted.
_NAMED: Final = 3
#: Refusals stay under 300 characters.
_MAX_REASON: Final = 290

#: What ``/webhooks/generic`` reads where the rules have no mapping of that name: one object, or a list of
#: them, all fields texts and all optional but a name and a start.
#:
#: - ``title`` (or ``alertname``), ``service``, ``severity``, ``environment``, ``team``, ``version``: labels.
#: - ``status``: ``resolved``, ``ok``, ``closed`` or ``recovered`` end the alert, anything else fires.
#: - ``starts_at`` (or ``timestamp``, ``time``) and ``ends_at``: RFC 3339, or (milli)seconds since 1970.
#: - ``summary`` (or ``message``), ``description``, ``runbook_url``: annotations. ``url``: where to look.
#: - ``id``: names the alert; without it the labels do, and any other label is another alert.
DEFAULT: Final = mappings.compiled(
    MappingModel.model_validate(
        {
            "name": "generic",
            "status": {"from": "{status}", "resolved": ["resolved", "ok", "closed", "recovered"]},
            "starts_at": ["{starts_at}", "{timestamp}", "{time}"],
            "ends_at": ["{ends_at}"],
            "labels": {
                "alertname": ["{alertname}", "{title}"],
                "service": "{service}",
                "severity": "{severity}",
                "environment": "{environment}",
                "team": "{team}",
                "version": "{version}",
            },
            "annotations": {
                "summary": ["{summary}", "{message}", "{title}"],
                "description": "{description}",
                "runbook_url": "{runbook_url}",
            },
            "generator_url": "{url}",
            "id": "{id}",
        }
    )
)


class Generic:
    """The source of one mapping; see the module."""

    manners: Final = Manners(
        unreadable=202,
        revive="nothing: neither Kibana nor ElastAlert 2 switches a receiver off by itself",
    )

    def __init__(self, mapping: mappings.Mapping) -> None:
        self._mapping = mapping

    @property
    def kind(self) -> str:
        """The mapping's name; ``/webhooks/<name>`` and ``ROUTER_SOURCE_<NAME>_SECRETS``."""
        return self._mapping.name

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:  # noqa: ARG002  nothing is signed
        """Compare X-Router-Token, the bearer token or the basic password of any user with the secrets."""
        token = wire.header_bytes(headers.get("x-router-token", ""))
        presented = token or wire.credentials(headers.get("authorization", ""))
        index = wire.match_secret(presented, secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid secret: send one of the secrets configured for this source as X-Router-Token, as "
                "Authorization: Bearer <secret>, or as the password of basic authentication",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:  # noqa: ARG002  the body says all
        """Return one batch, or a heartbeat for a delivery without alerts."""
        try:
            doc = wire.value(body)
        except wire.Unreadable as exc:
            raise Rejected(400, "bad_json", f"not JSON: {str(exc)[:120]}; {self._where('alerts')}") from exc
        items = self._mapping.items(doc)
        if items is None:
            at = ".".join(self._mapping.alerts)
            what = f"no object and no list at {at[:100]!r}" if at else "neither an object nor a list of them"
            raise Rejected(400, "bad_body", f"{what}; {self._where('alerts')}")
        if not items:
            return [Heartbeat(source=self.kind, kind=f"{self.kind}:empty")]
        return self._alerts(items, doc)

    def _alerts(self, items: Sequence[Any], doc: Any) -> Sequence[Told]:
        taken, left = wire_alerts.firing_first(items, lambda item: self._mapping.firing(item, doc))
        found: list[Alert] = []
        why: list[str] = []
        for index, item in taken:
            try:
                found.append(self._alert(item, doc))
            except wire_alerts.Unusable as exc:
                if len(why) < _NAMED:
                    why.append(str(exc).removeprefix(": ") if item is doc else f"alerts[{index}]{exc}")
        bad = len(taken) - len(found)
        reasons = "; ".join(why)
        if not found:
            raise Rejected(400, "bad_alert", f"no alert could be read: {reasons}"[:_MAX_REASON])
        unread = f"{bad} of {len(taken)} alerts could not be read: {reasons}"[:_MAX_REASON] if bad else ""
        return wire_alerts.tell(self.kind, wire_alerts.Head(), found, left, unread)

    def _alert(self, item: Any, doc: Any) -> Alert:
        if not isinstance(item, dict):
            raise wire_alerts.Unusable(": not an object")
        return self._mapping.fill(item, doc)

    def _where(self, key: str) -> str:
        return f"see {key} of the mapping {self.kind!r} under sources in the rules"


def build(mapping: mappings.Mapping = DEFAULT) -> Generic:
    """Return the source of a mapping; without one, of the flat JSON of :data:`DEFAULT`."""
    return Generic(mapping)
