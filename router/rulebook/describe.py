"""What a rulebook holds, as plain JSON: the output of ``router check`` and of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.rulebook import durations

if TYPE_CHECKING:
    from router.rulebook.book import Rulebook
    from router.rulebook.tree import Route


def describe(book: Rulebook) -> dict[str, Any]:
    """Return counts, routes, targets and services; never an option's value, it may be secret."""
    targets = {name: [target.id for target in each.targets] for name, each in sorted(book.receivers.items())}
    return {
        "version": book.version,
        "counts": {
            "routes": _count(book.root),
            "receivers": len(book.receivers),
            "targets": sum(len(ids) for ids in targets.values()),
            "services": len(book.services),
            "sources": len(book.mappings),
            "senders": len(book.senders),
        },
        "route": _route(book.root),
        "receivers": targets,
        "services": {
            name: {"team": each.team, "tier": each.tier, "dependencies": list(each.dependencies)}
            for name, each in sorted(book.services.items())
        },
        "sources": sorted(book.mappings),
        "senders": {
            name: durations.render(each.silent_after) if each.silent_after is not None else ""
            for name, each in sorted(book.senders.items())
        },
        "attribution": {
            "window": durations.render(book.attribution.window),
            "skew": durations.render(book.attribution.skew),
            "for_default": durations.render(book.attribution.for_default),
            "for": {name: durations.render(span) for name, span in sorted(book.attribution.for_.items())},
        },
    }


def _count(route: Route) -> int:
    return 1 + sum(_count(child) for child in route.routes)


def _route(route: Route) -> dict[str, Any]:
    return {
        "id": route.id,
        "receiver": route.receiver,
        "matchers": [str(each) for each in route.matchers],
        "group_by": ["..."] if route.group_by is None else list(route.group_by),
        "group_wait": durations.render(route.group_wait),
        "continue": route.continue_,
        "routes": [_route(child) for child in route.routes],
    }
