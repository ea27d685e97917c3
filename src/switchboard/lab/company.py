"""A company's identity provider, for enterprise-managed authorization: it signs in, and issues ID-JAGs.

OpenID Connect's code flow, at which it signs in by itself the one person there is; then RFC 8693 as
draft-ietf-oauth-identity-assertion-authz-grant §4.3 profiles it: an ID token for an assertion (ID-JAG) that names one
authorization server (`audience`) and one MCP server (`resource`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response

from switchboard.lab.addresses import Address, Addresses
from switchboard.lab.answers import NO_STORE, RefusedRequest, Unusable, with_params
from switchboard.lab.rules.sending import GIVEN_CLIENT
from switchboard.lab.tokens import CODE_S, Tokens

PERSON: Final = "ada@company.invalid"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - the name of a type
ASSERTION_S: Final = 300


class Company:
    """Serves what is at `…/idp` of a scenario.

    Args:
        once: marks an identifier as used; whether it was not before.
    """

    def __init__(self, addresses: Addresses, tokens: Tokens, once: Callable[[str], Awaitable[bool]]) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._once = once

    async def answer(self, address: Address, sent: Mapping[str, str]) -> Response:
        """What one of its addresses answers."""
        if not address.scenario.behaviour.clients.company:
            return JSONResponse({"error": "not_found"}, 404)
        provider = self._addresses.company(address.run, address.scenario.name)
        if address.kind == "metadata":
            return JSONResponse(self._metadata(provider))
        if address.kind == "authorize":
            return self._signed_in(provider, sent)
        try:
            return JSONResponse(await self._tokens_for(provider, address, sent), headers=NO_STORE)
        except RefusedRequest as refused:
            return refused.answer()

    def _metadata(self, provider: str) -> Mapping[str, Any]:
        return {
            "issuer": provider,
            "authorization_endpoint": f"{provider}/authorize",
            "token_endpoint": f"{provider}/token",
            "jwks_uri": f"{provider}/jwks",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", EXCHANGE],
            "token_endpoint_auth_methods_supported": ["none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["HS256"],
        }

    def _signed_in(self, provider: str, sent: Mapping[str, str]) -> Response:
        redirect = urlsplit(sent.get("redirect_uri", ""))
        if sent.get("client_id") != GIVEN_CLIENT or redirect.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise Unusable(f"This provider knows {GIVEN_CLIENT} alone, with redirects to loopback")
        code = self._tokens.make("company code", provider, CODE_S, {"nonce": sent.get("nonce", "")})
        back = {"code": code, "iss": provider, **({"state": sent["state"]} if "state" in sent else {})}
        return RedirectResponse(with_params(sent["redirect_uri"], back), 303)

    async def _tokens_for(self, provider: str, address: Address, sent: Mapping[str, str]) -> Mapping[str, Any]:
        if sent.get("client_id") != GIVEN_CLIENT:
            raise RefusedRequest("invalid_client", f"this provider knows {GIVEN_CLIENT} alone", 401)
        if sent.get("grant_type") == "authorization_code":
            code = self._tokens.read("company code", provider, sent.get("code", ""))
            if code is None or not await self._once(code["jti"]):
                raise RefusedRequest("invalid_grant", "the code is unknown, over, or was used")
            claims = {"sub": PERSON, "aud": GIVEN_CLIENT, "nonce": code["nonce"]}
            identity = self._tokens.make("identity", provider, ASSERTION_S, claims)
            return {"id_token": identity, "access_token": identity, "token_type": "Bearer", "expires_in": ASSERTION_S}
        if sent.get("grant_type") != EXCHANGE:
            raise RefusedRequest("unsupported_grant_type", f"authorization_code or {EXCHANGE}")
        return self._assertion(provider, address, sent)

    def _assertion(self, provider: str, address: Address, sent: Mapping[str, str]) -> Mapping[str, Any]:
        name, run = address.scenario.name, address.run
        issuer, endpoint = self._addresses.issuer(run, name), self._addresses.endpoint(run, name)
        for member, wanted in (("requested_token_type", ID_JAG), ("subject_token_type", ID_TOKEN)):
            if sent.get(member) != wanted:
                raise RefusedRequest("invalid_request", f"{member} is not {wanted}")
        for member, found, wanted in (
            ("audience", sent.get("audience"), issuer),
            ("resource", sent.get("resource", endpoint), endpoint),  # may be left out
        ):
            if found != wanted:
                raise RefusedRequest("invalid_target", f"{member} is not {wanted}")
        identity = self._tokens.read("identity", provider, sent.get("subject_token", ""))
        if identity is None:
            raise RefusedRequest("invalid_grant", "the subject_token is no ID token of this provider, or has ended")
        scope = sent.get("scope", "read")
        claims = {
            "sub": identity["sub"],
            "aud": issuer,
            "resource": endpoint,
            "client_id": GIVEN_CLIENT,
            "scope": scope,
        }
        return {
            "access_token": self._tokens.make("assertion", provider, ASSERTION_S, claims),
            "issued_token_type": ID_JAG,
            "token_type": "N_A",
            "expires_in": ASSERTION_S,
            "scope": scope,
        }
