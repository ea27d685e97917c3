"""Where a provider's endpoints are: as the operator says, else by metadata of the backend and of its issuer.

Metadata is kept for an hour, and an old document serves while its issuer is away (`common.discovery`). The tokens that
came of it name their issuer, so a backend that names another one later gets nothing that was meant for the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from switchboard.common.discovery import KEPT_S, Discovery, OtherIssuer, Unreadable, read_json
from switchboard.common.fetch.fetcher import FetchRefused
from switchboard.common.visible_text import excerpt
from switchboard.errors import AuthorizationUnavailable, CredentialUnavailable
from switchboard.outbound_auth.oauth_providers import OAuthProvider, is_web_address

MAX_SCOPES: Final = 50

FIND_S: Final = 10.0
"""For all documents that it takes."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What is known of a provider."""

    issuer: str
    """Its issuer; its token endpoint when it has none. Tokens are bound to it."""

    authorization: str
    token: str
    revocation: str = ""
    registration: str = ""
    auth_methods: tuple[str, ...] = ()
    """How clients may authenticate at its token endpoint; empty when it does not say."""

    iss_required: bool = False
    """Whether its redirects name the issuer (RFC 9207)."""

    has_issuer: bool = True
    client_documents: bool = False
    """Whether clients may be described by a document (Client ID Metadata Documents)."""

    scopes: tuple[str, ...] = ()
    """What the backend's metadata says its use takes."""


class EndpointFinder:
    """Finds the endpoints of one provider.

    Args:
        http: a guarded client, with a timeout.
        clock: Unix seconds.
    """

    def __init__(self, provider: OAuthProvider, http: httpx2.AsyncClient, clock: Callable[[], float]) -> None:
        self._provider = provider
        self._http = http
        self._clock = clock
        self._lock = asyncio.Lock()
        self._named: tuple[str, tuple[str, ...]] | None = None
        self._named_until = 0.0
        self._discovery: Discovery | None = None
        self._issuer = ""

    async def find(self) -> Endpoints:
        """The endpoints.

        Raises:
            CredentialUnavailable: they cannot be found out now, or are not usable.
        """
        said = self._provider
        if not said.issuer and said.token_url:
            return Endpoints(
                issuer=said.token_url,
                authorization=said.authorization_url,
                token=said.token_url,
                revocation=said.revocation_url,
                registration=said.registration_url,
                has_issuer=False,
            )
        try:
            async with asyncio.timeout(FIND_S):
                issuer, scopes = (said.issuer, ()) if said.issuer else await self._issuer_of_backend()
                return self._usable(await self._metadata(issuer), issuer, scopes)
        except TimeoutError as error:
            raise self._unfound(f"it did not answer within {FIND_S:.0f} seconds", retry=True) from error
        except (OtherIssuer, FetchRefused) as error:
            raise self._unfound(str(error), retry=False) from error
        except (Unreadable, AuthorizationUnavailable) as error:
            raise self._unfound(str(error), retry=True) from error

    def _unfound(self, why: str, *, retry: bool) -> CredentialUnavailable:
        todo = "try again in a moment" if retry else "tell the operator of this gateway"
        return CredentialUnavailable(
            f"How to sign in at {self._provider.name} cannot be found out: {why}; {todo}", retry=retry
        )

    async def _metadata(self, issuer: str) -> Mapping[str, Any]:
        if self._discovery is None or self._issuer != issuer:
            self._discovery, self._issuer = Discovery(self._http, issuer, clock=self._clock), issuer
        return await self._discovery.metadata()

    async def _issuer_of_backend(self) -> tuple[str, tuple[str, ...]]:
        """RFC 9728: the first authorization server that the backend's metadata names, and the scopes that it takes."""
        async with self._lock:
            if self._named is None or self._named_until <= self._clock():
                self._named = await self._ask_backend()
                self._named_until = self._clock() + KEPT_S
            return self._named

    async def _ask_backend(self) -> tuple[str, tuple[str, ...]]:
        parts = urlsplit(self._provider.resource_url)
        origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        known = "/.well-known/oauth-protected-resource"
        faults = []
        for url in dict.fromkeys((f"{origin}{known}{path}", f"{origin}{known}")):
            try:
                found = await read_json(self._http, url)
            except Unreadable as error:
                faults.append(f"{url} {error}")
                if not str(error).startswith("answers 4"):
                    raise Unreadable(faults[-1]) from None
                continue
            return self._named_by(found, url)
        # Before 2025-06-18 a server was its own issuer, and had no such document.
        return origin, ()

    def _named_by(self, document: Mapping[str, Any], url: str) -> tuple[str, tuple[str, ...]]:
        resource, servers = document.get("resource"), document.get("authorization_servers")
        if not isinstance(resource, str) or not _covers(resource, self._provider.resource_url):
            # RFC 9728 §3.3: else the tokens would be for somebody else.
            raise Unreadable(f"{url} describes the resource {excerpt(resource, 100)}, which is another one")
        issuer = next((each for each in servers if isinstance(each, str)), "") if isinstance(servers, list) else ""
        if not is_web_address(issuer):
            raise Unreadable(f"{url} names no authorization server")
        scopes = document.get("scopes_supported")
        listed = scopes if isinstance(scopes, list) else []
        return issuer, tuple(each for each in listed[:MAX_SCOPES] if isinstance(each, str))

    def _usable(self, found: Mapping[str, Any], issuer: str, scopes: tuple[str, ...]) -> Endpoints:
        said = self._provider

        def endpoint(given: str, name: str) -> str:
            url = given or found.get(name) or ""
            if not isinstance(url, str) or (url and not is_web_address(url)):
                raise CredentialUnavailable(f"the metadata of {said.name} names no usable {name}: tell its operator")
            return url

        methods = found.get("code_challenge_methods_supported")
        # Some providers know PKCE without saying so; one that a backend named has to say it (MCP authorization).
        if "S256" not in methods if isinstance(methods, list) else (not said.issuer):
            raise CredentialUnavailable(f"{said.name} does not offer PKCE with S256, without which codes can be stolen")
        token = endpoint(said.token_url, "token_endpoint")
        if not token:
            raise CredentialUnavailable(f"the metadata of {said.name} names no token_endpoint: tell its operator")
        ways = found.get("token_endpoint_auth_methods_supported")
        return Endpoints(
            issuer=issuer,
            authorization=endpoint(said.authorization_url, "authorization_endpoint"),
            token=token,
            revocation=endpoint(said.revocation_url, "revocation_endpoint"),
            registration=endpoint(said.registration_url, "registration_endpoint"),
            auth_methods=tuple(each for each in ways if isinstance(each, str)) if isinstance(ways, list) else (),
            iss_required=found.get("authorization_response_iss_parameter_supported") is True,
            client_documents=found.get("client_id_metadata_document_supported") is True,
            scopes=scopes,
        )


def _covers(resource: str, url: str) -> bool:
    """Whether `resource` is this URL, or one that it stands below."""
    try:
        one, other = urlsplit(resource), urlsplit(url)
    except ValueError:
        return False
    path = one.path.rstrip("/")
    same = (one.scheme, one.netloc.lower()) == (other.scheme, other.netloc.lower())
    return same and (other.path.rstrip("/") == path or other.path.startswith(f"{path}/"))
