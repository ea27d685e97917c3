"""How servers may read a URI, for policy that is held against it. Pure.

RFC 3986 §6.2.2 (case, percent-encoding and dot segments) and §6.2.3, and what servers do beyond it: decode twice, take
the host for a part of the path, turn backslashes into slashes, leave out control characters and empty segments. Policy
that looked at the written form alone would be passed by `file:///a/../secret` and `file:///%73ecret`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

DECODED_TIMES: Final = 5
"""Percent-encoding within percent-encoding is followed so deep; a URI that goes deeper has no reading."""

_PARTS: Final = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
"""RFC 3986 appendix B: scheme, authority, path, query, fragment."""

_IGNORED: Final = re.compile(r"[\x00-\x1f\x7f]")
_PORTS: Final = {"http": ":80", "ws": ":80", "https": ":443", "wss": ":443"}


@lru_cache(maxsize=256)
def readings(uri: str) -> frozenset[str]:
    """Every URI that this one may be taken for; none when it is encoded too deep to tell."""
    found: set[str] = set()
    for _ in range(DECODED_TIMES):
        found.update(_normal(uri))
        decoded = unquote(uri)
        if decoded == uri:
            return frozenset(found)
        uri = decoded
    return frozenset()


@lru_cache(maxsize=256)
def places(uri: str) -> frozenset[str]:
    """The readings, and each without its fragment, its query, and the slash at its end."""
    found: set[str] = set()
    for reading in readings(uri):
        bare = reading.partition("#")[0]
        path = bare.partition("?")[0]
        found.update((reading, bare, path, path.rstrip("/")))
    return frozenset(found)


def _normal(uri: str) -> Iterator[str]:
    """The URI without needless differences: with its host as a host, and with its host as the first of its path."""
    text = unicodedata.normalize("NFC", _IGNORED.sub("", uri).strip().replace("\\", "/"))
    parts = _PARTS.fullmatch(text)
    if parts is None:  # the expression matches any text
        return
    scheme, authority, path, query, fragment = (part or "" for part in parts.groups())
    scheme = scheme.lower()
    start = f"{scheme}:" if scheme else ""
    rest = query + fragment
    if parts[2] is None and scheme != "file":
        yield start + _without_dots(path) + rest
        return
    authority = authority.rpartition("@")[2].removesuffix(_PORTS.get(scheme, "")).removesuffix(".")
    if scheme == "file" and authority.lower() == "localhost":
        authority = ""
    yield f"{start}//{authority}{_without_dots(path)}{rest}"
    yield f"{start}//{_without_dots(authority + path)}{rest}"


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    ended = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return ("/" if path.startswith("/") else "") + "/".join(kept) + ended
