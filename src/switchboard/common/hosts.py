"""Names of hosts, as they stand in a `Host` header, an `Origin` or a setting, and which are this machine. Pure.

A pattern is `name`, `name:port`, `name:*`, `*.name` or `*`. Without a port it matches any port.
An origin pattern has a scheme before it (`https://app.example`, `http://localhost:*`); there, no port means
the scheme's own, as in an `Origin` header.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""How people and programs write the loopback interface."""

_ANY = "*"
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._~")
_ADDRESS_CHARACTERS = frozenset("0123456789abcdef:.")


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a bind address or a host name can only mean this machine (RFC 6761 §6.3, RFC 1122 §3.2.1.3)."""
    host = host.lower().strip("[]").removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def split_host(value: str) -> tuple[str, str] | None:
    """`host[:port]` as a lower-case host (IPv6 in brackets, no final dot) and a port or ""; `None` if malformed."""
    value = value.lower()
    if value.startswith("["):
        literal, closed, rest = value[1:].partition("]")
        host, port = f"[{literal}]", rest[1:]
        well_formed = (
            bool(closed) and bool(literal) and rest[:1] in ("", ":") and _ADDRESS_CHARACTERS.issuperset(literal)
        )
    else:
        host, _, port = value.partition(":")
        host = host.removesuffix(".")
        well_formed = bool(host) and _NAME_CHARACTERS.issuperset(host)
    return (host, port) if well_formed and (not port or (port.isascii() and port.isdigit())) else None


def split_origin(value: str) -> tuple[str, str, str] | None:
    """`scheme://host[:port]` in three parts; `None` for anything else, a path or `null` included."""
    scheme, separator, rest = value.partition("://")
    parts = split_host(rest) if separator else None
    return _without_default_port(scheme.lower(), *parts) if parts else None


def _without_default_port(scheme: str, host: str, port: str) -> tuple[str, str, str]:
    return scheme, host, "" if _DEFAULT_PORTS.get(scheme) == port else port


@dataclass(frozen=True, slots=True)
class _Rule:
    host: str
    port: str

    def matches(self, host: str, port: str) -> bool:
        return self.port in (_ANY, port) and self._names(host)

    def _names(self, host: str) -> bool:
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and len(host) >= len(self.host)
        return self.host in (_ANY, host)


def _rule(pattern: str, default_port: str) -> _Rule:
    host, colon, port = pattern.lower().rpartition(":")
    if not colon or pattern.endswith("]"):
        host, port = pattern.lower(), default_port
    known_port = port in (_ANY, "") or (port.isascii() and port.isdigit())
    checked = host.removeprefix("*.")
    if not known_port or (checked != _ANY and split_host(checked) is None):
        raise ValueError(f"{pattern!r} is not a host name or pattern: name, name:port, name:*, *.name or *")
    return _Rule(host.removesuffix("."), port)


class HostPatterns:
    """A set of host patterns, asked once per request."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules = tuple(_rule(pattern, default_port=_ANY) for pattern in patterns)
        self._everywhere = frozenset(rule.host for rule in self._rules if rule.port == _ANY)

    def __contains__(self, value: str) -> bool:
        parts = split_host(value)
        if parts is None:
            return False
        return parts[0] in self._everywhere or any(rule.matches(*parts) for rule in self._rules)


class OriginPatterns:
    """A set of origin patterns; `null` matches only where it is listed, `*` matches every origin."""

    def __init__(self, patterns: Iterable[str]) -> None:
        listed = tuple(patterns)
        self._literal = frozenset({"null", _ANY} & {pattern.lower() for pattern in listed})
        self._rules = tuple(self._parsed(pattern) for pattern in listed if pattern.lower() not in ("null", _ANY))

    @staticmethod
    def _parsed(pattern: str) -> tuple[str, _Rule]:
        scheme, separator, rest = pattern.partition("://")
        if not separator or not scheme:
            raise ValueError(f"{pattern!r} is not an origin such as https://app.example.com or http://localhost:*")
        rule = _rule(rest.removesuffix("/"), default_port="")
        scheme, host, port = _without_default_port(scheme.lower(), rule.host, rule.port)
        return scheme, _Rule(host, port)

    def __contains__(self, value: str) -> bool:
        if _ANY in self._literal or value in self._literal:
            return True
        parts = split_origin(value)
        return parts is not None and any(
            scheme == parts[0] and rule.matches(parts[1], parts[2]) for scheme, rule in self._rules
        )
