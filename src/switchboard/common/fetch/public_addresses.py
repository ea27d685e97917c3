"""Which IP addresses are on the public internet: the only ones that documents of clients are fetched from. Pure.

By the special-purpose registries of IANA, as a table of our own: what Python's `ipaddress` calls global has changed
from one patch release to the next. For IPv6 the rule allows instead of forbidding: only 2000::/3 is handed out, so
that site-local, segment routing and whatever will be invented outside of it are not public.
https://www.iana.org/assignments/iana-ipv4-special-registry/ https://www.iana.org/assignments/iana-ipv6-special-registry/
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from switchboard.common.networks import carried_ipv4

_NOT_PUBLIC_IPV4 = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            "168.63.129.16/32",  # a cloud's own services behind a public address
        ),
    )
)
_HANDED_OUT = IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_TRANSLATED = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet, whichever form it has."""
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC_IPV4)
    hidden = _embedded(ip)
    if hidden is not None and not is_public(str(hidden)):
        return False
    if ip.ipv4_mapped is not None or ip in _TRANSLATED:
        return True
    return ip in _HANDED_OUT and not any(ip in network for network in _NOT_PUBLIC_IPV6)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that this IPv6 address leads to: one that it carries, or ISATAP (RFC 5214)."""
    isatap = int(ip) >> 32 & 0xFFFFFFFF in _ISATAP
    return carried_ipv4(ip) or (IPv4Address(int(ip) & 0xFFFFFFFF) if isatap else None)
