"""Alertmanager's API, asked which alerts it has: what it does not tell, or what was lost, is found so.

An alert that ends while it is silenced or inhibited there is never told as resolved. Nothing is fetched as
a delivery; what there is goes to the reconciler. Format: Alertmanager's ``api/v2/openapi.yaml``, ``/alerts``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from router.kit import wire
from router.poll import _http
from router.ports import Fetched, Survey

if TYPE_CHECKING:
    from router.ports import PollerContext, PollerFactory

TIMEOUT_S: Final = 20.0
#: 100,000 alerts, by feel.
MAX_BYTES: Final = 128 << 20
_ADDRESS: Final = "set ROUTER_ALERTMANAGER_API_URL to its address, such as http://alertmanager:9093"
_WORDS: Final = _http.Words(
    address=_ADDRESS,
    account="set ROUTER_ALERTMANAGER_API_TOKEN to what it, or the proxy before it, takes as a bearer token",
    trust="look for what stands between us and Alertmanager",
    fewer=_ADDRESS,
    otherwise="see its log",
    advice={404: _ADDRESS},
)


class AlertmanagerApi:
    """The poller; one HTTP session, opened at the first fetch."""

    kind: Final = "alertmanager_api"
    source: Final = "alertmanager"

    def __init__(self, context: PollerContext) -> None:
        given = context.settings
        url, token = given.get("alertmanager_api_url", ""), given.get("alertmanager_api_token", "").strip()
        self._api = _http.Api(
            url.strip().rstrip("/"),
            {"Authorization": f"Bearer {token}"} if token else {},
            _WORDS,
            _http.Bounds(TIMEOUT_S, MAX_BYTES),
        )
        said = given.get("alertmanager_api_external_url", "").replace(",", " ").split() or [url]
        self._origins = frozenset(one.strip().rstrip("/") for one in said)

    async def fetch(self) -> Fetched:
        """Return which alerts it has, silenced and inhibited ones, too.

        Raises:
            PollFailed: it did not answer as it should.
        """
        found = await self._api.array("api/v2/alerts")
        names = (wire.text(one, "fingerprint", limit=40) for one in found)
        alerts = frozenset(f"am:{name}" for name in names if name)
        return Fetched(survey=Survey("alertmanager", alerts, whole=True, origins=self._origins))

    async def close(self) -> None:
        """Give back the connections."""
        await self._api.close()


build: PollerFactory = AlertmanagerApi
