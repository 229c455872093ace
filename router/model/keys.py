"""Derived identities. Nothing here is drawn at random.

A group is known by a digest of its route and group labels; an incident by
group and generation; that is also PagerDuty's dedup key. A partition is
chosen by the group's digest, so every process computes the same one.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SEP = b"\xff"  # cannot occur in UTF-8, so ("a","bc") and ("ab","c") differ


def digest(parts: Iterable[str], size: int = 8) -> str:
    """Return ``2 * size`` hex digits over the parts, order and borders included."""
    h = blake2b(digest_size=size)
    for part in parts:
        h.update(part.encode("utf-8", "surrogatepass"))
        h.update(_SEP)
    return h.hexdigest()


def group_key(route: str, labels: dict[str, str]) -> str:
    """Return the 16 hex digits that name a group; the order of labels does not matter."""
    parts = [route]
    for name in sorted(labels):
        parts.append(name)
        parts.append(labels[name])
    return digest(parts)


def incident_id(group: str, generation: int) -> str:
    """Return ``<group>.<generation>``, for example ``7f3a9c21b04d55e0.2``."""
    return f"{group}.{generation}"


def split_incident_id(text: str) -> tuple[str, int] | None:
    """Return (group, generation), or None where the text is not an incident id."""
    group, dot, generation = text.partition(".")
    if not dot or len(group) != 16 or not generation.isascii() or not generation.isdigit():
        return None
    if len(generation) > 9 or not all(c in "0123456789abcdef" for c in group):
        return None
    return group, int(generation)


def service_key(service: str) -> str:
    """Return the 16 hex digits under which a service's deploy ledger is kept."""
    return digest(["service", service])


def partition_of(key: str, partitions: int) -> int:
    """Return the partition, 0 to ``partitions`` - 1, of a group or service key."""
    return int(key[:8], 16) % partitions


def fingerprint(labels: dict[str, str]) -> str:
    """Return Prometheus' fingerprint: FNV-1a 64 over sorted labels, each name and value closed by 0xFF.

    Source: prometheus/common model/signature.go. ``{}`` gives ``cbf29ce484222325``.
    """
    h = 0xCBF29CE484222325
    # The order of code points is that of their UTF-8 bytes.
    for name in sorted(labels):
        for text in (name, labels[name]):
            for byte in text.encode("utf-8", "surrogatepass"):
                h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
            h = ((h ^ 0xFF) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"
