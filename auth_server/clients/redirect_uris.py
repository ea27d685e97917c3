"""Redirect URIs: which may be registered, and which match a registered one. Pure.

RFC 8252 §7 and §8, RFC 9700 §2.1: https, loopback http, or an application's own scheme, by a rule and a list of what is
allowed; compared as raw strings, save that a loopback redirect may come back on any port.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from switchboard.common.hosts import is_loopback

MAX_LENGTH = 2_000

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//([^/?#]*))?([^?#]*)(\?[^#]*)?")
_ALLOWED = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\.?")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@]+)(?::([0-9]{1,5}))?")
_DOTS = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)", re.IGNORECASE)

_REVERSED_NAME = re.compile(r"[a-z]{2,63}(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
"""A domain name written backwards, as RFC 8252 §7.1 wants it: `com.example.app`."""

KNOWN_SCHEMES = frozenset(
    {
        *("vscode", "vscode-insiders", "vscodium", "code-oss", "cursor", "windsurf", "windsurf-next", "antigravity"),
        *("kiro", "trae", "trae-cn", "positron", "void", "theia", "zed", "claude", "goose", "raycast", "warp"),
        *("warppreview", "lmstudio", "cherrystudio", "chatwise", "jan"),
    }
)
"""Schemes without a dot that applications which speak MCP are known to register with the system for themselves. All
others without one may be the system's (`smb`, `ms-msdt`, `search-ms`) or a browser's (`javascript`)."""

NOT_ALLOWED = (
    "must be https, loopback http, a scheme made of a domain name (com.example.app:/callback), or that of an "
    "application known here (such as vscode or cursor)"
)


class Parts(NamedTuple):
    """A redirect URI, taken apart without changing a byte of it."""

    scheme: str
    host: str
    port: str
    rest: str


def split(uri: str) -> Parts | None:
    """The parts of a URI that may be a redirect URI at all; `None` for anything else."""
    match = _URI.fullmatch(uri)
    if match is None or len(uri) > MAX_LENGTH or not _ALLOWED.fullmatch(uri):
        return None
    scheme, authority, path = match[1], match[3] or "", match[4]
    if _DOTS.search(path):
        return None
    found = _AUTHORITY.fullmatch(authority)
    if authority and found is None:
        return None
    host, port = (found[1], found[2] or "") if found else ("", "")
    return Parts(scheme, host, port, path + (match[5] or ""))


def problem(uri: str, application_type: str = "native") -> str | None:
    """Why `uri` may not be registered by a client of this type, or `None` when it may."""
    parts = split(uri)
    if parts is None:
        return "must be an absolute URI without fragment, user information or dot segments"
    if parts.scheme == "https":
        return _https_problem(parts, application_type)
    if application_type == "web":
        return "must be https for a web application"
    if parts.scheme == "http":
        return None if _is_local(parts) and _port_ok(parts.port) else "http is for loopback addresses only"
    return _scheme_problem(parts, uri)


def _https_problem(parts: Parts, application_type: str) -> str | None:
    if not _host_ok(parts.host) or not _port_ok(parts.port):
        return "must name a valid host"
    if application_type == "web" and is_loopback(parts.host):
        return "must not be loopback for a web application"
    return None


def _scheme_problem(parts: Parts, uri: str) -> str | None:
    lowered = parts.scheme.lower()
    if lowered not in KNOWN_SCHEMES and not _REVERSED_NAME.fullmatch(lowered):
        return NOT_ALLOWED
    if len(uri) == len(parts.scheme) + 1:
        return "must have something after the scheme"
    return None


def _is_local(parts: Parts) -> bool:
    """Whether everybody reads its host as this computer: not `localhost.`, not `evil.example%2f.localhost`."""
    return is_loopback(parts.host) and _host_ok(parts.host) and not parts.host.endswith(".")


def _host_ok(host: str) -> bool:
    if host.startswith("["):
        try:
            ipaddress.IPv6Address(host.strip("[]"))
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None


def _port_ok(port: str) -> bool:
    return not port or 0 < int(port) < 65_536


def matches(requested: str, registered: Iterable[str]) -> bool:
    """Whether `requested` is one of `registered`: byte for byte, the port of a loopback http URI aside."""
    known = tuple(registered)
    if requested in known:
        return True
    wanted = split(requested)
    if wanted is None or wanted.scheme != "http" or not _is_local(wanted) or not _port_ok(wanted.port):
        return False
    return any(_same_but_port(wanted, split(uri)) for uri in known)


def is_loopback_http(uri: str) -> bool:
    """Whether a redirect URI leads to a program on the person's own computer, and cannot lead elsewhere."""
    parts = split(uri)
    return parts is not None and parts.scheme == "http" and _is_local(parts)


def _same_but_port(wanted: Parts, known: Parts | None) -> bool:
    return known is not None and (wanted.scheme, wanted.host, wanted.rest) == (known.scheme, known.host, known.rest)


def display(uri: str) -> str:
    """What a person should see of where they are sent: the host with its port, or the application's scheme."""
    parts = split(uri)
    if parts is None:
        return "an unknown place"
    if parts.scheme in ("http", "https"):
        return f"{parts.host}:{parts.port}" if parts.port else parts.host
    return f"{parts.scheme}:"
