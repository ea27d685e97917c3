"""A company's identity provider, for enterprise-managed authorization: it signs in, and issues ID-JAGs.

OpenID Connect's code flow, at which it signs in by itself the one person there is; then RFC 8693 as
draft-ietf-oauth-identity-assertion-authz-grant §4.3 profiles it: an ID token for an assertion (ID-JAG) that names one
authorization server (`audience`) and one MCP server (`resource`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from starlette.responses import JSONResponse, RedirectResponse, Response

from switchboard.lab.addresses import Address, Addresses
from switchboard.lab.answers import NO_STORE, RefusedRequest, Unusable, with_params
from switchboard.lab.clients import OF_VS_CODE, takes
from switchboard.lab.rules.sending import GIVEN_CLIENT
from switchboard.lab.signing import ALGORITHM, signing_key
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
        key: of the lab alone, of which the provider's own key is made: clients verify its ID tokens by `…/idp/jwks`.
    """

    def __init__(
        self, addresses: Addresses, tokens: Tokens, once: Callable[[str], Awaitable[bool]], key: bytes
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._once = once
        self._key = signing_key(key, "company")

    async def answer(self, address: Address, sent: Mapping[str, str]) -> Response:
        """What one of its addresses answers."""
        if not address.scenario.behaviour.clients.company:
            return JSONResponse({"error": "not_found"}, 404)
        provider = self._addresses.company(address.run, address.scenario.name)
        if address.kind == "metadata":
            return JSONResponse(self._metadata(provider))
        if address.kind == "keys":
            return JSONResponse({"keys": [self._key.as_dict(private=False)]})
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
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def _signed_in(self, provider: str, sent: Mapping[str, str]) -> Response:
        if sent.get("client_id") != GIVEN_CLIENT or not takes({}, sent.get("redirect_uri", "")):
            raise Unusable(f"This provider knows {GIVEN_CLIENT} alone, with redirects to loopback or {OF_VS_CODE}")
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
            identity = self._id_token(provider, code["nonce"])
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
        person = self._person_of(provider, sent.get("subject_token", ""))
        scope = sent.get("scope", "read")
        claims = {
            "sub": person,
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

    def _id_token(self, provider: str, nonce: str) -> str:
        """OpenID Connect Core §2."""
        now = int(self._tokens.now())
        claims = {"iss": provider, "sub": PERSON, "aud": GIVEN_CLIENT, "iat": now, "exp": now + ASSERTION_S}
        head = {"alg": ALGORITHM, "kid": self._key.kid}
        return jwt.encode(head, {**claims, **({"nonce": nonce} if nonce else {})}, self._key)

    def _person_of(self, provider: str, token: str) -> str:
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError, KeyError):
            claims = {}
        if claims.get("iss") != provider or claims.get("exp", 0) <= self._tokens.now():
            raise RefusedRequest("invalid_grant", "the subject_token is no ID token of this provider, or has ended")
        return str(claims["sub"])
