"""Addresses, sizes, URLs and lists in the environment: checked, with a sentence where they are wrong.

Every function raises ValueError with what is wrong, for people, and never quotes a secret.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pydantic import SecretStr

_SIZE = re.compile(r"(\d{1,12})\s*(B|KiB|MiB|GiB|kB|MB|GB)?", re.IGNORECASE)
_UNITS = {"b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
#: It goes into a header: no more than what stands in one.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,190}")
_REDIS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


def split(value: object) -> object:
    """Take several secrets from one text: commas or new lines between them, blanks around them ignored."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in re.split(r"[,\n]", value) if part.strip())


def host_port(text: str) -> tuple[str, int]:
    """Return (host, port) of ``host:port`` or ``[v6]:port``; the ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError("needs host:port, for example 0.0.0.0:8080 or [::1]:8080")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError("the port must be a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        known = _is_ipv6(host)
    else:
        known = _HOST.fullmatch(host) is not None
    if not known:
        raise ValueError("the host must be a name, an IPv4 address, or an IPv6 address in brackets: [::1]")
    return host, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def size(value: object) -> object:
    """Return the bytes of ``8MiB``, ``500kB`` or a plain number; what is no text is left to pydantic."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("needs a size such as 8MiB, 500KiB or a number of bytes")
    return int(match[1]) * _UNITS[(match[2] or "B").lower()]


def http_url(text: str) -> str:
    """Check a base URL: http(s), a host, neither user nor query. The text may be empty."""
    if not text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("needs a URL that begins with https:// or http:// and names a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the URL may hold neither user, query nor fragment")
    _ = parts.port  # raises ValueError where it is not a port
    return text.rstrip("/")


def email(text: str) -> str:
    """Check an e-mail address. The text may be empty."""
    if text and _EMAIL.fullmatch(text) is None:
        raise ValueError("not an e-mail address")
    return text


def _redis_hosts(text: str, *, default_port: int, several: bool) -> None:
    hosts = text.split(",")
    if len(hosts) > 1 and not several:
        raise ValueError("this scheme takes one host; use redis+sentinel:// or redis+cluster:// for several")
    for host in hosts:
        bare = host.endswith("]") or ":" not in host
        host_port(f"{host}:{default_port}" if bare else host)


def redis_url(value: SecretStr) -> SecretStr:
    """Check scheme, hosts, service and database. Says what is wrong without a word of the URL."""
    text = value.get_secret_value()
    if not text:
        return value
    scheme, sep, rest = text.partition("://")
    if not sep or scheme not in _REDIS:
        raise ValueError(f"the scheme must be one of {', '.join(f'{s}://' for s in _REDIS)}")
    authority, _, path = rest.partition("?")[0].partition("/")
    hosts = authority.rpartition("@")[2]
    segments = [s for s in path.split("/") if s]
    if scheme == "unix":
        if hosts or not segments:
            raise ValueError("a unix:// URL needs an absolute path: unix:///run/redis.sock")
        return value
    kind = scheme.partition("+")[2]
    if not hosts:
        raise ValueError("no host is named")
    _redis_hosts(hosts, default_port=26379 if kind == "sentinel" else 6379, several=bool(kind))
    if kind == "sentinel":
        if not segments or segments[0].isdigit():
            raise ValueError("a sentinel URL names its service: redis+sentinel://host:26379/service/0")
        segments = segments[1:]
    if len(segments) > 1 or not all(s.isascii() and s.isdigit() for s in segments):
        raise ValueError("after the host only a database number may follow: /0")
    if kind == "cluster" and segments not in ([], ["0"]):
        raise ValueError("a cluster has no database but 0")
    return value
