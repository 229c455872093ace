"""PagerDuty's v3 webhooks: what people did to an incident there becomes an act.

Bodies are read by ``event.data.type``: only of type ``incident`` is ``data`` the incident
itself, else it stands under ``data.incident``, and ``data.id`` is a note's, a task's or
another object's. Our own calls come back as webhooks too; they have no user as agent.
Format: PagerDuty/developer-docs, ``docs/webhooks``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from router.kit import wire
from router.kit.text import web_url
from router.model import keys
from router.model.commands import OUR_MARK
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.events import UNDATED, Act, ActKind, Heartbeat, Told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from router.ports import SourceFactory

#: While a secret is rotated there are two signatures; more only cost time.
MAX_SIGNATURES: Final = 10
MAX_TEXT: Final = 1000
MAX_ASSIGNEES: Final = 5
_SIGNATURE_PREFIX: Final = b"v1="

_EVENT_TYPE: Final = re.compile(r"[a-z_]{1,40}(\.[a-z_]{1,40}){1,3}").fullmatch
_PEOPLE: Final = frozenset({"user", "user_reference"})

#: ``incident.<word>``; a word that is not here is told as OTHER.
_KINDS: Final = {
    "triggered": ActKind.TRIGGERED,
    "acknowledged": ActKind.ACKNOWLEDGED,
    "unacknowledged": ActKind.UNACKNOWLEDGED,
    "resolved": ActKind.RESOLVED,
    "reopened": ActKind.REOPENED,
    "escalated": ActKind.ESCALATED,
    "delegated": ActKind.ESCALATED,  # to another escalation policy
    "reassigned": ActKind.REASSIGNED,
    "annotated": ActKind.ANNOTATED,
}


class PagerDuty:
    """See the module."""

    kind: Final = "pagerduty"
    manners: Final = Manners(
        unreadable=202,  # any 4xx but 429 drops the event, and three in a row switch the subscription off
        keeps=("x-webhook-subscription",),
        delivery=("x-webhook-id",),
        gives_up_after=3,
        revive=(
            "in PagerDuty, Integrations > Generic Webhooks (v3) shows a subscription that was switched off "
            "(for 24 hours) and re-enables it; so does PUT /webhook_subscriptions/{id}/enable of the REST API"
        ),
    )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:  # noqa: ARG002  no time is signed
        """Check that one of the v1 signatures is the HMAC-SHA256 of the body with one of the secrets.

        During a rotation PagerDuty signs with both secrets. No time is signed: a replay
        is known by its event's id.
        """
        given = wire.header_bytes(headers.get("x-pagerduty-signature", "")).split(b",", MAX_SIGNATURES)
        stripped = (one.strip() for one in given[:MAX_SIGNATURES])
        presented = [
            one.removeprefix(_SIGNATURE_PREFIX) for one in stripped if one.startswith(_SIGNATURE_PREFIX)
        ]
        index = wire.match_hmac(presented, body, secrets)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid X-PagerDuty-Signature: the secret that PagerDuty showed when the webhook "
                "subscription was made must be one of those configured for this source, and no proxy may "
                "change the body",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        """Return one act, or a heartbeat for a test and what is about no incident."""
        try:
            doc = wire.document(body)
        except wire.Unreadable as exc:
            raise Rejected(400, "bad_json", f"not a PagerDuty webhook body: {exc}") from exc
        event = _event(doc)
        word = wire.text(event, "event_type", limit=120)
        if _EVENT_TYPE(word) is None:
            raise Rejected(400, "bad_body", "'event.event_type' is missing or no word like incident.resolved")
        family, _, what = word.partition(".")
        if family == "incident":
            kind = _KINDS.get(what, ActKind.OTHER)
            if kind is ActKind.RESOLVED and _merged(event):
                kind = ActKind.OTHER
            return [_act(event, word, kind, _event_id(event, headers, body))]
        about = {"pagey": "ping", "service": "service"}.get(family, "other")
        return [Heartbeat(source=self.kind, kind=f"pagerduty:{about}")]


def _event(doc: dict[str, Any]) -> dict[str, Any]:
    event = doc.get("event")
    if isinstance(event, dict):
        return event
    if "messages" in doc:
        raise Rejected(
            400,
            "unsupported_version",
            "'messages' is the body of a v1 or v2 webhook, which PagerDuty no longer supports: make a v3 "
            "subscription (Integrations > Generic Webhooks (v3)) and delete the old extension",
        )
    raise Rejected(400, "bad_body", "'event' is missing or no object: this is not the body of a v3 webhook")


def _event_id(event: dict[str, Any], headers: Mapping[str, str], body: bytes) -> str:
    """Return the event's own id, else the delivery's; both stay the same when it is sent again."""
    name = wire.text(event, "id", limit=100) or wire.clean(headers.get("x-webhook-id", ""), 100).strip()
    return f"pagerduty:{name or keys.digest([body.decode('utf-8', 'replace')])}"


def _merged(event: dict[str, Any]) -> bool:
    """True where PagerDuty closed the incident because it was merged into another: it goes on there.

    Source: PagerDuty's REST API, schema ``ResolveReason``; this is the only reason that there is.
    """
    return wire.text(event, "data", "resolve_reason", "type", limit=40) == "merge_resolve_reason"


def _act(event: dict[str, Any], word: str, kind: ActKind, event_id: str) -> Act:
    data = event.get("data")
    if not isinstance(data, dict):
        raise Rejected(400, "bad_body", "'event.data' is missing or no object: it says which incident it is")
    incident = _incident(data)
    ours = keys.split_incident_id(wire.text(incident, "incident_key", limit=255))
    by_id = by = ""
    if wire.text(event, "agent", "type", limit=40) in _PEOPLE:
        by_id = wire.text(event, "agent", "id", limit=100)
        by = wire.text(event, "agent", "summary", limit=200) or by_id
    url = web_url(wire.text(incident, "html_url", limit=1000))
    text = wire.text(data, "content", limit=MAX_TEXT) or wire.text(data, "message", limit=MAX_TEXT)
    if kind is ActKind.ANNOTATED and text.endswith(OUR_MARK):
        kind = ActKind.OTHER  # the echo of a note of ours
    return Act(
        source="pagerduty",
        event_id=event_id,
        kind=kind,
        incident=keys.incident_id(*ours) if ours else "",
        by=by,
        by_id=by_id,
        at=wire.parse_time(event.get("occurred_at")) or UNDATED,
        word=word,
        text=text,
        ref=wire.text(incident, "id", limit=100),
        url=url if url.startswith("https://") else "",
        to=_assignees(incident) if kind in {ActKind.ESCALATED, ActKind.REASSIGNED} else "",
    )


def _incident(data: dict[str, Any]) -> Any:
    """Return the incident that the data is or is about; None where it names none."""
    if wire.text(data, "type", limit=40) == "incident":
        return data
    found = data.get("incident")
    if found is None:  # roles are told as a list, each with its incident; it is the same one in all
        roles = data.get("incident_role_assignments")
        found = wire.dig(roles[0], "incident") if isinstance(roles, list) and roles else None
    return found


def _assignees(incident: Any) -> str:
    """Return the names of those whose it is now."""
    found = wire.dig(incident, "assignees")
    listed = found[:MAX_ASSIGNEES] if isinstance(found, list) else []
    return ", ".join(name for one in listed if (name := wire.text(one, "summary", limit=100)))


build: SourceFactory = PagerDuty
