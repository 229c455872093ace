"""PagerDuty's REST API, asked whether it still sends webhooks to us, and which incidents are open there.

It switches a subscription off for a day after a few events that could not be delivered, and then what
people do there is not heard. What it did not send cannot be asked for in the form of webhooks, so this
poller brings no bodies; what is open there goes to the reconciler.

Needs an API key that may read; a read-only one does. Fields: PagerDuty/api-schema, ``WebhookSubscription``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from router.kit import wire
from router.model import keys
from router.model.errors import PollFailed
from router.poll import _http
from router.ports import Fetched, Survey, SwitchedOff

if TYPE_CHECKING:
    from router.ports import PollerContext, PollerFactory

#: As many as the API gives at once.
PER_PAGE: Final = 100
MAX_PAGES: Final = 5
#: The API pages no further than 10,000.
MAX_INCIDENT_PAGES: Final = 20
_OPEN: Final = {"statuses[]": ("triggered", "acknowledged")}


class Limits(NamedTuple):
    """How long and how much one fetch may take.

    Args:
        timeout_s: for one answer.
        max_bytes: of one answer, unpacked.
    """

    timeout_s: float = 20.0
    max_bytes: int = 16 << 20


_ADDRESS: Final = (
    "set ROUTER_PAGERDUTY_API_URL to https://api.pagerduty.com, or https://api.eu.pagerduty.com in the EU"
)
_KEY: Final = (
    "make a read-only API key (Integrations > API Access Keys) in the account's service region and set "
    "ROUTER_PAGERDUTY_API_TOKEN"
)
_WORDS: Final = _http.Words(
    address=_ADDRESS,
    account=_KEY,
    trust="look for what stands between us and PagerDuty",
    fewer=_ADDRESS,
    otherwise="see status.pagerduty.com",
    advice={403: f"the key may not read webhook subscriptions or incidents; {_KEY}", 404: _ADDRESS},
)


class PagerDutyApi:
    """The poller; one HTTP session, opened at the first fetch."""

    kind: Final = "pagerduty_api"
    source: Final = "pagerduty"

    def __init__(self, context: PollerContext, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        token = context.settings.get("pagerduty_api_token", "").strip()
        self._api = _http.Api(
            context.settings.get("pagerduty_api_url", "").strip().rstrip("/"),
            {
                "Authorization": f"Token token={token}",
                "Accept": "application/vnd.pagerduty+json;version=2",
            },
            _WORDS,
            _http.Bounds(limits.timeout_s, limits.max_bytes),
        )
        self._external_url = context.settings.get("external_url", "")

    async def fetch(self) -> Fetched:
        """Return the webhook subscriptions to us that are switched off; where none leads to us, none is.

        Raises:
            PollFailed: PagerDuty did not answer as it should.
        """
        found, whole = await self._subscriptions()
        survey = await self._incidents()
        ours = [one for one in found if self._is_ours(one)]
        if not ours and not whole:
            return Fetched(survey=survey)
        off = [SwitchedOff(self.source, f"{_name(one)} {how}") for one in ours if (how := _how(one))]
        return Fetched(asked=frozenset({self.source}), off=off, survey=survey)

    async def _incidents(self) -> Survey:
        """Return which incidents of ours are open there, by the key that we gave them."""
        names: set[str] = set()
        for page in range(MAX_INCIDENT_PAGES):
            place = {"limit": str(PER_PAGE), "offset": str(page * PER_PAGE)}
            answer = await self._api.document("incidents", **place, **_OPEN)
            listed = answer.get("incidents")
            if not isinstance(listed, list):
                raise PollFailed(f"the answer of {self._api.url} is not a list of incidents; {_ADDRESS}")
            ours = (keys.split_incident_id(wire.text(one, "incident_key", limit=255)) for one in listed)
            names |= {keys.incident_id(*one) for one in ours if one is not None}
            if answer.get("more") is not True:
                return Survey("pagerduty", frozenset(names), whole=True)
        return Survey("pagerduty", frozenset(names), whole=False)

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()

    async def _subscriptions(self) -> tuple[list[Any], bool]:
        """Return the first of them, and whether these are all."""
        found: list[Any] = []
        for page in range(MAX_PAGES):
            answer = await self._api.document(
                "webhook_subscriptions", limit=str(PER_PAGE), offset=str(page * PER_PAGE)
            )
            listed = answer.get("webhook_subscriptions")
            if not isinstance(listed, list):
                raise PollFailed(
                    f"the answer of {self._api.url} is not a list of webhook subscriptions; {_ADDRESS}"
                )
            found += listed
            if answer.get("more") is not True:
                return found, True
        return found, False

    def _is_ours(self, subscription: Any) -> bool:
        url = wire.text(subscription, "delivery_method", "url", limit=2000)
        return _http.leads_to_us(url, self.source, self._external_url)


def _name(subscription: Any) -> str:
    number, what = wire.text(subscription, "id", limit=40), wire.text(subscription, "description", limit=80)
    return f"webhook subscription {number}" + (f" ({wire.first_line(what)})" if what else "")


def _how(subscription: Any) -> str:
    """Return how a subscription is switched off, "" where it is not."""
    if wire.dig(subscription, "active") is False:
        return "is switched off"
    if wire.dig(subscription, "delivery_method", "temporarily_disabled") is True:
        return "is switched off for 24 hours after failures"
    return ""


build: PollerFactory = PagerDutyApi
