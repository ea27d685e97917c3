"""Client ID Metadata Documents: the client's id is the https address of a document about it.

https://datatracker.ietf.org/doc/draft-ietf-oauth-client-id-metadata-document/ and MCP 2025-11-25. The document says who
the client is, its host says whom to trust for that, and nothing has to be registered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from auth_server.clients.registration import checked
from auth_server.errors import InvalidClient, Refusal
from auth_server.models import Client, dump, load
from auth_server.store import Fetched
from switchboard.common.fetch.fetcher import Fetcher, FetchRefused, safe_url

LARGEST = 5 * 1024
SHORTEST, LONGEST = 300, 86_400
"""Seconds: between these, a document is cached as its headers say."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})")
_DOTS = re.compile(r"(^|/)(\.|%2e){1,2}(/|$)", re.IGNORECASE)
_SECRETS = ("client_secret", "client_secret_expires_at")


def is_document_id(client_id: str) -> bool:
    """Whether a client id is the address of a document: https, with a path, and only one way to write it."""
    parts = safe_url(client_id)
    return parts is not None and len(parts.path) > 1 and not _DOTS.search(parts.path)


class ClientDocuments:
    """Clients by their documents, cached for the fleet by `keep`. Satisfies `store.clients.OtherClients`."""

    def __init__(self, kept: Fetched, fetcher: Fetcher, scopes: tuple[str, ...]) -> None:
        self._kept = kept
        self._fetcher = fetcher
        self._scopes = scopes

    async def find(self, client_id: str) -> Client | None:
        """The client whose id is an address, or `None` when the id is none.

        Raises:
            InvalidClient: the document cannot be had, or is not about this client.
        """
        if not is_document_id(client_id):
            return None
        kept = await self._kept.find(client_id)
        return load(Client, kept) if kept else await self._fetch(client_id)

    async def keep(self, client: Client) -> None:
        """Keep the document of a client that has just been fetched, as long as its headers say.

        Only for a client that a request was really for: strangers can name any address.
        """
        if client.fresh_for:
            await self._kept.keep(client.id, dump(replace(client, fresh_for=0)).decode(), client.fresh_for)

    async def _fetch(self, client_id: str) -> Client:
        try:
            fetched = await self._fetcher.get(client_id, LARGEST)
            found = client_of(client_id, fetched.document, self._scopes)
            return replace(found, fresh_for=lifetime(fetched.headers))
        except FetchRefused as refused:
            raise InvalidClient(f"the client's metadata document cannot be used: {refused}") from refused
        except Refusal as refusal:
            raise InvalidClient(f"the client's metadata document is wrong: {refusal.description}") from refusal


def client_of(client_id: str, document: Mapping[str, object], scopes: tuple[str, ...]) -> Client:
    """The client that a document describes, or a refusal."""
    if document.get("client_id") != client_id:
        raise Refusal("invalid_client_metadata", "its client_id is not the address it was found at")
    if not document.get("client_name"):
        raise Refusal("invalid_client_metadata", "it has no client_name")
    if any(name in document for name in _SECRETS):
        raise Refusal("invalid_client_metadata", "a public document cannot hold a secret")
    # A document that says nothing about authentication has no secret to authenticate with.
    client = checked({"token_endpoint_auth_method": "none"} | dict(document), client_id, scopes)
    if client.auth_method not in ("none", "private_key_jwt"):
        raise Refusal("invalid_client_metadata", "authentication by a shared secret is not possible here")
    return replace(client, uri=client_id)


def lifetime(headers: Mapping[str, str]) -> int:
    """How many seconds a document is kept (RFC 9111, within our bounds)."""
    control = headers.get("cache-control", "").lower()
    found = _MAX_AGE.search(control)
    if found is None or "no-store" in control or "no-cache" in control:
        return SHORTEST
    return min(max(int(found[1]), SHORTEST), LONGEST)
