"""GitLab's webhooks: what changes, how its pipelines went, and what was deployed.

Whatever else is authentic becomes a heartbeat, however odd, and where a known kind cannot be read,
trouble beside it: GitLab switches a hook off after a few 4xx answers and never sends again what it
could not deliver, so only a body that is not a JSON object is refused. Bodies are read by
``object_kind``, not by header: system hooks all carry the same header.
Format: GitLab, ``doc/user/project/integrations/webhook_events.md``.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from router.kit import wire
from router.model.deliveries import Manners
from router.model.errors import Rejected
from router.model.events import Trouble
from router.sources import _gitlab_changes as changes
from router.sources import _gitlab_runs as runs
from router.sources._gitlab_body import heartbeat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from router.model.events import Told
    from router.ports import SourceFactory

#: Standard Webhooks' tolerance: an older delivery may be a replay.
TOLERANCE_S: Final = 300
#: While a key is rotated there are two signatures; more only cost time.
MAX_SIGNATURES: Final = 10
_SIGNING_PREFIX: Final = b"whsec_"

_KIND: Final = re.compile(r"[a-z][a-z_]{0,39}").fullmatch

_NO_KIND: Final = (
    "the body has no 'object_kind' and no 'event_name', or what stands there is no word: remove the custom "
    "template from the webhook in GitLab (Settings > Webhooks > Edit), the standard body is needed here"
)

_READERS: Final[Mapping[str, Callable[[dict[str, Any]], list[Told]]]] = {
    "push": changes.push,
    "tag_push": changes.tag_push,
    "merge_request": changes.merge_request,
    "release": changes.release,
    "pipeline": runs.pipeline,
    "build": runs.job,  # what a Job Hook calls itself
    "job": runs.job,
    "deployment": runs.deployment,
}


class GitLab:
    """See the module."""

    kind: Final = "gitlab"
    manners: Final = Manners(
        unreadable=202,  # 4 answers in a row that are not 2xx, and it stops sending
        keeps=("x-gitlab-event", "x-gitlab-event-uuid", "x-gitlab-webhook-uuid", "x-gitlab-instance"),
        delivery=("idempotency-key", "webhook-id"),
        gives_up_after=4,
        revive="in GitLab, Settings > Webhooks > Edit > Test re-enables a webhook that was switched off",
    )

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
        """Check the signature where there is one and we have a signing token, else compare the secret token.

        With both kinds of secret configured, each hook may use either; where only
        signing tokens are, a request without a signature is refused.
        """
        signing = any(s.startswith(_SIGNING_PREFIX) for s in secrets)
        if signing and "webhook-signature" in headers:
            index = _match_signature(headers, body, secrets, now)
        else:  # a signing token is never compared as a plain one: its position must stay
            plain = [b"" if s.startswith(_SIGNING_PREFIX) else s for s in secrets]
            index = wire.match_secret(wire.header_bytes(headers.get("x-gitlab-token", "")), plain)
        if index < 0:
            raise Rejected(
                401,
                "bad_secret",
                "no valid X-Gitlab-Token and no valid, recent webhook-signature: the secret token (or "
                "signing token, whsec_...) of the webhook must be one of those configured for this source",
            )
        return index

    def parse(self, headers: Mapping[str, str], body: bytes) -> Sequence[Told]:
        """Return reports, or one heartbeat, and trouble; only what is not a JSON object is refused."""
        try:
            doc = wire.document(body)
        except wire.Unreadable as exc:
            raise Rejected(400, "bad_json", f"not a GitLab webhook body: {exc}") from exc
        kind = wire.text(doc, "object_kind") or wire.text(doc, "event_name")
        if _KIND(kind) is None:
            return [heartbeat("unreadable"), Trouble(self.kind, _NO_KIND)]
        if kind == "feature_flag":
            return changes.feature_flag(doc, self._delivery(headers, body))
        read = _READERS.get(kind)
        return (read(doc) if read else []) or [heartbeat(kind)]

    def _delivery(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return what tells this delivery from others, for the one kind of body that does not."""
        name = self.manners.delivery_id(headers) or headers.get("x-gitlab-event-uuid", "")
        return wire.clean(name, 100).strip() or sha256(body).hexdigest()[:32]


# -- authenticity


def _match_signature(headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: datetime) -> int:
    """Return the index of the signing token that made a signature, or -1 (Standard Webhooks, v1)."""
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return -1
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        return -1
    signed = b".".join((wire.header_bytes(headers.get("webhook-id", "")), stamp.encode(), body))
    given = wire.header_bytes(headers["webhook-signature"]).split(b" ")[:MAX_SIGNATURES]
    found = -1
    for index, secret in enumerate(secrets):
        key = _signing_key(secret)
        ours = b"v1," + base64.b64encode(hmac.digest(key or b"-", signed, sha256))
        for theirs in given:
            if hmac.compare_digest(ours, theirs) and key and found < 0:
                found = index
    return found


def _signing_key(secret: bytes) -> bytes:
    """Return the key inside ``whsec_<base64>``, or empty bytes for any other secret."""
    if not secret.startswith(_SIGNING_PREFIX):
        return b""
    try:
        return base64.b64decode(secret.removeprefix(_SIGNING_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""


build: SourceFactory = GitLab
