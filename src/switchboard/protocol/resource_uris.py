"""Which URIs are the same, and which of them a provider knows: RFC 3986 §6.2.2 and §6.2.3.

A leaf. Clients normalize URIs before they send them (`file:///my docs` becomes `file:///my%20docs`, `HTTP://Example.com`
becomes `http://example.com/`), and servers compare texts. So a request is answered under the form that its provider
listed, and told of under the form that its client used.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from mcp.shared.uri_template import UriTemplate

_PARTS: Final = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
"""RFC 3986 appendix B: scheme, authority, path, query, fragment."""

_ENCODED: Final = re.compile(r"%[0-9A-Fa-f]{2}|[^%A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%", re.DOTALL)
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS: Final = {"http": "80", "ws": "80", "https": "443", "wss": "443", "ftp": "21"}
_SPECIAL: Final = re.compile(r"(?:https?|wss?|ftp|file):", re.IGNORECASE)
"""Schemes in which clients that normalize take a backslash for a slash (https://url.spec.whatwg.org)."""

_START: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#{]*)(?=[/?#]|$))?")
_EXPRESSION: Final = re.compile(r"(\{[^{}]*\})")


@lru_cache(maxsize=2048)
def canonical(uri: str) -> str:
    """Equal for URIs that are the same."""
    parts = _PARTS.fullmatch(_encoded(uri.replace("\\", "/") if _SPECIAL.match(uri) else uri))
    if parts is None:  # the expression matches any text
        return uri
    scheme, authority, path, query, fragment = parts.groups()
    scheme = (scheme or "").lower()
    if authority is not None or path.startswith("/"):
        path = _without_dots(path)
    start = f"{scheme}:" if scheme else ""
    if authority is not None:
        start += f"//{_authority(scheme, authority)}"
        path = path or "/"
    return f"{start}{path}{query or ''}{fragment or ''}"


def equal(uri: str, among: Collection[str]) -> list[str]:
    """Those that are the same as this one."""
    wanted = canonical(uri)
    return [each for each in among if each == uri or canonical(each) == wanted]


@dataclass(frozen=True)
class Template:
    """A URI template of a provider's, which also knows URIs that are the same as those it matches."""

    written: UriTemplate
    encoded: UriTemplate
    """The same with its literals encoded, and with scheme and host in lower case."""

    has_host: bool
    """Whether its host is written out, so that the case of a host does not matter; else it may be a value."""

    @classmethod
    def parse(cls, text: str) -> Template:
        """A template from its text.

        Raises:
            InvalidUriTemplate: it is none.
        """
        written = UriTemplate.parse(text)
        pieces = [piece if piece.startswith("{") else _encoded(piece) for piece in _EXPRESSION.split(text)]
        encoded = "".join(pieces)
        start = _START.match(encoded)
        has_host = start is not None and start[2] is not None
        return cls(written, UriTemplate.parse(_lower(encoded, host=has_host)), has_host)

    def own(self, uri: str) -> str | None:
        """The URI as its provider knows it; `None` if it does not match."""
        if self.written.match(uri) is not None:
            return uri
        forms = [_lower(_encoded(uri), host=self.has_host), *([canonical(uri)] if self.has_host else [])]
        values = next((found for form in forms if (found := self.encoded.match(form)) is not None), None)
        return None if values is None else self.written.expand(values)


def _encoded(text: str) -> str:
    """Percent-encoding where it is needed, nowhere else, and in capitals."""
    return _ENCODED.sub(lambda found: _character(found[0]), text)


@lru_cache(maxsize=4096)
def _character(found: str) -> str:
    if found == "%":
        return "%25"
    if not found.startswith("%"):
        return quote(found, safe="", errors="surrogatepass")
    character = chr(int(found[1:], 16))
    return character if character in _UNRESERVED else found.upper()


def _lower(uri: str, *, host: bool) -> str:
    """The URI, or the template, with its scheme in lower case, and its host too if that is asked for."""
    start = _START.match(uri)
    if start is None:
        return uri
    scheme, authority = start[1].lower(), start[2]
    if authority is None:
        return f"{scheme}:{uri[start.end() :]}"
    return f"{scheme}://{_authority(scheme, authority) if host else authority}{uri[start.end() :]}"


def _authority(scheme: str, authority: str) -> str:
    user, at, host = authority.rpartition("@")
    if match := re.fullmatch(r"(.*?):(\d*)", host, re.DOTALL):
        port = "" if match[2] in ("", _PORTS.get(scheme)) else f":{match[2]}"
        host = f"{match[1].lower()}{port}"
    host = re.sub("%[0-9a-f]{2}", lambda found: found[0].upper(), host.lower())
    if scheme in _PORTS and "%" in host:
        with suppress(UnicodeError):
            host = unquote(host, errors="strict").encode("idna").decode()
    if scheme == "file" and host == "localhost":  # RFC 8089 §2
        host = ""
    return f"{user}{at}{host}"


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4."""
    kept: list[str] = []
    segments = path.split("/")
    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
            if last:
                kept.append("")
        elif segment == ".":
            if last:
                kept.append("")
        else:
            kept.append(segment)
    return "/".join(kept)
