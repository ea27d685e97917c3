"""Builds the parts that endpoints share. Part of the composition root (`app.py`), in a file of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2

from auth_server.audit import Audit
from auth_server.clients.authentication import ClientAuthentication
from auth_server.clients.client_id_metadata import ClientDocuments
from auth_server.connectors import Connector
from auth_server.connectors.base import CALLBACK_PATH
from auth_server.connectors.fake import FakeConnector
from auth_server.connectors.github import GitHub
from auth_server.connectors.oidc import OpenIdConnect, discovery_of
from auth_server.connectors.provider_http import ProviderHttp
from auth_server.crypto import KeyRing
from auth_server.http.rate_limits import RateLimits
from auth_server.jwt.assertions import Assertions
from auth_server.jwt.key_sets import LARGEST, Get, KeySets
from auth_server.jwt.signing_keys import SigningKeys
from auth_server.models import KeepIdToken, ResourcesOf
from auth_server.pages import TEMPLATES, sessions
from auth_server.settings import AuthSettings, GithubSettings
from auth_server.shared import Shared
from auth_server.store import AccessTokens, Clients, Families, Fetched, Records, Revocation
from auth_server.store.connection import Connection
from auth_server.store.fetched import Bounds
from auth_server.tokens.formats import Opaque, SignedJwt, TokenFormat
from auth_server.tokens.issuer import TokenIssuer
from auth_server.tokens.renewal import Renewal
from switchboard.common.fetch.fetcher import Fetcher
from switchboard.common.pages.renderer import Pages
from switchboard.errors import ConfigurationError

CONFIGURED_ADDRESSES = Bounds(of_a_host=1_000, bytes=1_048_576)
"""What is kept of addresses that the settings name, whose number is therefore bounded."""


def _json_from(fetcher: Fetcher) -> Get:
    async def get(address: str) -> dict[str, Any]:
        return (await fetcher.get(address, LARGEST)).document

    return get


def assemble(
    settings: AuthSettings,
    connection: Connection,
    ring: KeyRing,
    signing: SigningKeys,
    clock: Callable[[], float],
    fetcher: Fetcher,
    http: httpx2.AsyncClient | None,
    keep_id_token: KeepIdToken,
    exchanged_for: ResourcesOf,
) -> Shared:
    """Every part over one connection."""
    format_: TokenFormat = SignedJwt(ring, signing) if settings.access_tokens == "jwt" else Opaque(ring)
    fetched = partial(Fetched, connection, ring, clock=clock)
    documents = ClientDocuments(fetched("document"), fetcher, settings.scopes)
    clients = Clients(connection, ring, settings, clock, documents)
    key_sets = KeySets(fetched("key-set"), _json_from(fetcher), clock)
    issuers_key_sets = KeySets(fetched("issuer-key-set", CONFIGURED_ADDRESSES), _json_from(fetcher.apart()), clock)
    assertions = Assertions(connection, ring, key_sets, clock, issuers_key_sets)
    limits = RateLimits(connection, ring, on=settings.rate_limits, quotas=settings.quotas, clock=clock)
    records = Records(connection, ring, clock, settings.max_records, unbounded={sessions.KIND})
    revocation = Revocation(connection, ring, settings, clock)
    access = AccessTokens(connection, ring, revocation, format_.family, format_.lasting, clock)
    families = Families(connection, ring, settings, revocation, access, clock)
    audit = Audit(connection, ring)
    pages = Pages(TEMPLATES, "Switchboard authorization", {"picker_script": "picker.js"})
    named = _configured_connector(settings, connection, ring, clock, http)
    upstream = named or FakeConnector(settings, records, pages, CALLBACK_PATH, limits)
    return Shared(
        settings=settings,
        ring=ring,
        clients=clients,
        records=records,
        families=families,
        access=access,
        revocation=revocation,
        issuer=TokenIssuer(ring, settings, format_, limits, clock),
        authentication=ClientAuthentication(clients, ring, assertions, settings),
        limits=limits,
        assertions=assertions,
        pages=pages,
        upstream=upstream,
        renewal=Renewal(connection, upstream, families, audit, keep_id_token, settings.admins, clock),
        audit=audit,
        keep_id_token=keep_id_token,
        exchanged_for=exchanged_for,
        clock=clock,
    )


def _configured_connector(
    settings: AuthSettings,
    connection: Connection,
    ring: KeyRing,
    clock: Callable[[], float],
    http: httpx2.AsyncClient | None,
) -> Connector | None:
    """The connector that the settings name, if they name one."""
    named = settings.upstream
    if named is None:
        return None
    if http is None:
        raise ConfigurationError("upstream: an HTTP client is needed to reach it")
    web, back = ProviderHttp(http, clock), f"{settings.base}{CALLBACK_PATH}"
    if isinstance(named, GithubSettings):
        return GitHub(named, back, web)
    key_sets = KeySets(Fetched(connection, ring, "issuer-key-set", CONFIGURED_ADDRESSES, clock), web.document, clock)
    discovery = discovery_of(named, http, clock)
    return OpenIdConnect(named, back, web, discovery, key_sets, Assertions(connection, ring, key_sets, clock), clock)
