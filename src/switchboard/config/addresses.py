"""Which URLs a server may have."""

from __future__ import annotations

from urllib.parse import urlsplit

from switchboard.common.hosts import is_loopback


def complaint(url: str, *, insecure: bool) -> str | None:
    """What is wrong with a server's URL; nothing when it is fine. Says nothing of what may be a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "a URL must start with https:// or http:// and name a host"
    if parts.username or parts.password:
        return "a URL must not carry a user or password; state them in 'headers'"
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        return f"plain http to {parts.hostname} can be read and changed on the way; use https, or set 'insecure'"
    return None
