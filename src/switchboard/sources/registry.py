"""A client of an MCP registry's API: search, and one server.

The registry's URL is the operator's; redirects are not followed, an answer has an end in size and time.
https://github.com/modelcontextprotocol/registry/blob/main/docs/reference/api/generic-registry-api.md
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx2
from pydantic import ValidationError

from switchboard.common import strict_json, visible_text
from switchboard.common.fetch.fetcher import FetchRefused
from switchboard.common.fetch.guarded_transport import GuardedTransport, origin_of
from switchboard.errors import AuthorizationUnavailable, SwitchboardError
from switchboard.sources.registry_entries import Entry

TIMEOUT_S: Final = 15.0
LARGEST: Final = 4 * 1024 * 1024
"""Bytes of an answer."""
NAME: Final = re.compile(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+")
OFFICIAL: Final = "io.modelcontextprotocol.registry/official"


class RegistryFailure(SwitchboardError):
    """The registry cannot be reached, or its answer is not usable; the message names it."""


class NotListed(RegistryFailure):
    """The registry has no such server, or no such version of it."""


class NotAsked(RegistryFailure):
    """The registry refuses the request: the cursor is none of its own, or it takes no such text."""


@dataclass(frozen=True)
class Listed:
    """An entry, and what the registry itself says of it."""

    entry: Entry
    status: str
    """`active`, `deprecated` or `deleted`; empty where the registry does not say."""
    message: str
    """Why it is not active."""
    updated: str


@dataclass(frozen=True)
class Listing:
    """One page of a search."""

    servers: tuple[Listed, ...]
    cursor: str
    """Of the next page; empty on the last."""
    unreadable: int
    """Entries that are not as the specification has them, and left out."""


class Registry:
    """Asks one registry.

    Args:
        url: without `/v0.1`.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    async def search(self, words: str, *, cursor: str = "", limit: int = 30) -> Listing:
        """The latest version of each server whose name has `words` in it.

        Raises:
            RegistryFailure: there is no usable answer.
        """
        query = {"search": words, "cursor": cursor, "version": "latest", "limit": str(limit)}
        document = await self._asked("servers", {key: value for key, value in query.items() if value})
        rows = document.get("servers") or []
        about = document.get("metadata")
        following = about.get("nextCursor") if isinstance(about, Mapping) else None
        if not isinstance(rows, list):
            raise RegistryFailure(f"{self.url} answered with something else than a list of servers")
        found = [_listed(row) for row in rows]
        readable = tuple(each for each in found if each is not None)
        return Listing(readable, following if isinstance(following, str) else "", len(found) - len(readable))

    async def server(self, name: str, version: str = "latest") -> Listed:
        """One version of a server.

        Raises:
            NotListed: there is none.
            RegistryFailure: there is no usable answer.
        """
        if not NAME.fullmatch(name):
            raise NotListed(f"{visible_text.excerpt(name)!r} is no name in a registry: namespace/server")
        found = _listed(await self._asked(f"servers/{quote(name, safe='')}/versions/{_segment(version)}", {}, name))
        if found is None or found.entry.name != name:
            raise RegistryFailure(f"{self.url} has an entry for {visible_text.excerpt(name)!r} that cannot be read")
        return found

    async def _asked(self, path: str, query: Mapping[str, str], what: str = "") -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as http,
                httpx2.AsyncClient(
                    transport=GuardedTransport(http, {origin_of(self.url)}, limit=LARGEST), timeout=TIMEOUT_S
                ) as guarded,
            ):
                answer = await guarded.get(f"{self.url}/v0.1/{path}", params=dict(query))
        except TimeoutError:
            raise RegistryFailure(f"{self.url} did not answer within {TIMEOUT_S:.0f} seconds") from None
        except (httpx2.HTTPError, FetchRefused, AuthorizationUnavailable, OSError) as error:
            raise RegistryFailure(f"{self.url} cannot be asked: {error or type(error).__name__}") from error
        if answer.status_code == 404 and what:
            raise NotListed(f"{self.url} has no server {visible_text.excerpt(what)!r}, or not that version of it")
        if answer.status_code in (400, 422):
            raise NotAsked(f"{self.url} refuses the request: {visible_text.excerpt(answer.text)}")
        if answer.status_code != 200:
            raise RegistryFailure(f"{self.url} answered {answer.status_code}: is it an MCP registry?")
        try:
            return strict_json.read_object(answer.content)
        except ValueError as error:
            raise RegistryFailure(f"{self.url} answered with a document that {error}") from None


def _segment(text: str) -> str:
    """One segment of a path, even where the text is `..`."""
    return quote(text, safe="").replace(".", "%2E") if text.strip(".") == "" else quote(text, safe="")


def _listed(row: Any) -> Listed | None:
    if not isinstance(row, Mapping):
        return None
    try:
        entry = Entry.model_validate(row.get("server"))
    except ValidationError:
        return None
    about = row.get("_meta")
    official = about.get(OFFICIAL) if isinstance(about, Mapping) else None
    known = official if isinstance(official, Mapping) else {}
    status, message, updated = (
        visible_text.excerpt(known.get(key) or "") for key in ("status", "statusMessage", "updatedAt")
    )
    return Listed(entry, status, message, updated)
