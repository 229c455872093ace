"""Finds the service and environment behind what a teller calls a thing.

Two steps: the catalogue's claims (exact names, then ``{environment}`` patterns,
the most literal first), then a guess from the name alone. Asked by
:class:`router.rulebook.book.Rulebook` for each deploy report.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PLACEHOLDER: Final = "{environment}"
#: Kubernetes names have at most 253 characters; longer ones are not searched for an environment.
_MAX_SEARCHED: Final = 300


@dataclass(frozen=True, slots=True)
class _Pattern:
    prefix: str
    suffix: str
    service: str

    def environment(self, name: str) -> str:
        """Return what stands for ``{environment}``, or "" where the name is another one."""
        if not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return ""
        middle = name[len(self.prefix) : len(name) - len(self.suffix)]
        return "" if "/" in middle else middle


class Claims:
    """The claims of one kind, indexed; names are compared without regard to case."""

    def __init__(self, claims: Iterable[tuple[str, str]]) -> None:
        self._exact: dict[str, str] = {}
        patterns: list[_Pattern] = []
        for text, service in claims:
            prefix, found, suffix = text.lower().partition(PLACEHOLDER)
            if found:
                patterns.append(_Pattern(prefix, suffix, service))
            else:
                self._exact[text.lower()] = service
        # ``pay-service-{environment}`` is asked before ``pay-{environment}``.
        self._patterns = sorted(patterns, key=lambda p: (-len(p.prefix) - len(p.suffix), p.prefix))

    def find(self, name: str, environments: Mapping[str, str]) -> tuple[str, str] | None:
        """Return (service, environment as written, "" if the claim has none), or None."""
        lower = name.lower()
        service = self._exact.get(lower)
        if service is not None:
            return service, ""
        for pattern in self._patterns:
            environment = pattern.environment(lower)
            # ``pay-{environment}`` does not claim ``pay-gateway-prod``: that is prod of something else.
            if environment and (environment in environments or not split(environment, environments)[1]):
                return pattern.service, environment
        return None


def split(name: str, environments: Mapping[str, str], told: str = "") -> tuple[str, str]:
    """Return (name less a trailing ``-<environment>``, that environment or "").

    ``told`` is the canonical environment that the teller gave; then only that one is taken off.
    """
    if len(name) > _MAX_SEARCHED:
        return name, ""
    at = name.find("-", 1)
    while at > 0:
        suffix = name[at + 1 :]
        canonical = environments.get(suffix.lower(), suffix if suffix.lower() == told.lower() else "")
        if canonical and (not told or canonical == told):
            return name[:at], canonical
        at = name.find("-", at + 1)
    return name, ""
