"""Whom an IP address stands for when requests are counted, in every limit by address; and which IPv4 it carries. Pure.

IPv4 is counted by address, IPv6 by its /64, which is one customer's share. An IPv6 address that only carries an IPv4
address counts as that one: a socket that listens on `::` shows all IPv4 clients in one /64 (`::ffff:192.0.2.1`), and so
do translators and tunnels.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

UNKNOWN: Final = "unknown"
"""The one bucket of everything that is no address."""

_PREFIX: Final = 64
_LAST_FOUR_BYTES: Final = (
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
    IPv6Network("64:ff9b:1::/48"),  # NAT64 for private use, RFC 8215
    IPv6Network("::ffff:0:0:0/96"),  # SIIT, RFC 2765
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 §2.5.5.1
)
_UNSPECIFIED, _LOOPBACK = IPv6Address("::"), IPv6Address("::1")
_LONGEST: Final = 100
"""Characters that an address with brackets, zone and port can have."""


@lru_cache(maxsize=4096)
def bucket_of(address: str) -> str:
    """The bucket that requests from `address` count in; a port, brackets and a zone make no difference."""
    ip = parsed(address)
    if ip is None:
        return UNKNOWN
    if isinstance(ip, IPv6Address):
        carried = carried_ipv4(ip)
        return str(carried) if carried else str(IPv6Network((int(ip), _PREFIX), strict=False))
    return str(ip)


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """The IP address in a client's address as a server or proxy writes it; `None` when there is none."""
    text = address.strip()
    if len(text) > _LONGEST:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def carried_ipv4(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that `ip` only carries: mapped, translated, or through 6to4 or Teredo."""
    if ip.ipv4_mapped or ip.sixtofour:
        return ip.ipv4_mapped or ip.sixtofour
    if ip.teredo:
        return ip.teredo[1]
    if ip in (_UNSPECIFIED, _LOOPBACK) or not any(ip in network for network in _LAST_FOUR_BYTES):
        return None
    return IPv4Address(int(ip) & 0xFFFF_FFFF)
