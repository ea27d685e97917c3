"""Which hosts are this machine: what plain http, no authorization and the fake identity provider are fine for."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address


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
