"""The paths that any web page may call: there is nothing at them that a browser adds by itself. Pure.

OAuth's endpoints for programs take what they need from the request's body and headers, never from a cookie, so another
origin gains nothing by calling them that it could not have by any other program (RFC 9700 §2.6, OAuth 2.0 for
Browser-Based Apps §6.3). Pages that people see are never among them.
"""

from __future__ import annotations

from collections.abc import Iterable

WELL_KNOWN = "/.well-known/"
"""Metadata is public by definition."""


class PublicPaths:
    """A set of paths; one that ends with a slash stands for all below it."""

    def __init__(self, paths: Iterable[str] = ()) -> None:
        listed = tuple(paths)
        self._exact = frozenset(path for path in listed if not path.endswith("/"))
        self._below = (WELL_KNOWN, *(path for path in listed if path.endswith("/")))

    def __contains__(self, path: str) -> bool:
        return path in self._exact or path.startswith(self._below)
