"""The authorization server of each scenario: right, but for what its behaviour says.

RFC 8414 metadata, RFC 7591 registration, the authorization code grant with PKCE (RFC 7636), refresh with rotation
(RFC 6749 §6, RFC 9700 §4.14), `resource` (RFC 8707), `iss` in the callback (RFC 9207). It signs nobody in: whoever is
at the page is the one tester there is, and allows or denies.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from joserfc.jwk import ECKey
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from switchboard.lab.addresses import JWKS, Address, Addresses, parties
from switchboard.lab.answers import NO_STORE, RefusedRequest, Unusable, with_params
from switchboard.lab.clients import KnownClients, takes
from switchboard.lab.resource import UNKNOWN
from switchboard.lab.scenarios.model import INSERTED_OAUTH, Answers, Clients
from switchboard.lab.signing import ChangingKeys
from switchboard.lab.tokens import CODE_S, IDENTIFIER, REFRESH_S, Tokens

WRONG_ISS: Final = "https://elsewhere.invalid"
CLIENT_CREDENTIALS: Final = "client_credentials"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SLOW_S: Final = 5.0
BUSY_S: Final = 2
MOST_KEYS: Final = 4_000
_OPENID: Final = {"subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"]}
"""What OpenID Connect Discovery §3 requires besides."""

Once = Callable[[str], Awaitable[bool]]
"""Marks an identifier as used; whether it was not before."""


class Issuer:
    """Serves what is at an issuer's addresses.

    Args:
        once: for codes and refresh tokens.
        allows: whether a run allows by itself, without a page.
        ask: the page that asks the tester, for a client of this name.
    """

    def __init__(
        self,
        addresses: Addresses,
        tokens: Tokens,
        keys: ChangingKeys,
        once: Once,
        allows: Callable[[str], Awaitable[bool]],
        ask: Callable[[str, Address, Mapping[str, str]], Response],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self._addresses = addresses
        self._tokens = tokens
        self._keys = keys
        self._clients = KnownClients(tokens)
        self._once = once
        self._allows = allows
        self._ask = ask
        self._sleep = sleep

    async def metadata(self, address: Address) -> Response:
        """The issuer's metadata, at the addresses where the scenario has them, and its keys."""
        if address.kind == JWKS:
            key = await self._key_of(address)
            return JSONResponse({"keys": [] if key is None else [key.as_dict(private=False)]})
        if address.kind not in address.scenario.behaviour.discovery.issuer_metadata:
            return JSONResponse({"error": "not_found"}, 404)
        return JSONResponse(self._document(address))

    def _document(self, address: Address) -> Mapping[str, Any]:
        """RFC 8414 §2."""
        below, does = self._home(address), address.scenario.behaviour
        if address.root:  # whose endpoints are where the metadata alone say
            below = self._addresses.home(address.run, address.scenario.name, *parties(address.scenario))
        document: dict[str, Any] = {
            "issuer": does.discovery.issuer or self._named(address),
            "authorization_endpoint": f"{below}/authorize",
            "token_endpoint": f"{below}/token",
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": [does.clients.auth],
            "scopes_supported": ["read", "write"],
            **_of_clients(does.clients, below),
        }
        if address.kind != INSERTED_OAUTH:
            document |= _OPENID
        if address.kind != INSERTED_OAUTH or does.endpoint.keys_after:
            document["jwks_uri"] = f"{below}/jwks"
        if does.answers.iss not in ("not advertised", "unannounced"):
            document["authorization_response_iss_parameter_supported"] = True
        if does.discovery.pkce is not None:
            document["code_challenge_methods_supported"] = list(does.discovery.pkce)
        return {**document, **UNKNOWN} if does.discovery.unknown else document

    def register(self, address: Address, body: Mapping[str, Any]) -> Response:
        """RFC 7591: any client, whose id is its registration."""
        does = address.scenario.behaviour.clients
        if does.known != "registered":
            return RefusedRequest("not_found", "there is no registration here", 404).answer()
        redirects = body.get("redirect_uris")
        if not isinstance(redirects, list) or not redirects or not all(isinstance(each, str) for each in redirects):
            return RefusedRequest("invalid_redirect_uri", "redirect_uris is a list of URLs, and not empty").answer()
        of_web = all(each.startswith("https://") for each in redirects)
        if does.native_only and body.get("application_type") != "native" and not of_web:
            asked = "redirect_uris on http are for application_type=native alone, and without it a client is `web`"
            return RefusedRequest("invalid_redirect_uri", asked).answer()
        kept = {"redirect_uris": redirects[:10], "client_name": str(body.get("client_name", ""))[:100]}
        if does.auth == "private_key_jwt":
            if not isinstance(body.get("jwks"), dict) or len(str(body["jwks"])) > MOST_KEYS:
                asked = f"jwks is a key set of at most {MOST_KEYS} characters: private_key_jwt alone is taken here"
                return RefusedRequest("invalid_client_metadata", asked).answer()
            kept["jwks"] = body["jwks"]
        return JSONResponse(self._clients.register(does, self._home(address), kept), 201, headers=NO_STORE)

    async def authorize(self, address: Address, sent: Mapping[str, str], *, decided: str = "") -> Response:
        """The authorization endpoint: a page, or the way back once it was decided.

        Args:
            decided: `allow` or `deny`.
        """
        does = address.scenario.behaviour
        client = self._clients.find(does.clients, self._home(address), sent.get("client_id", ""))
        redirect = sent.get("redirect_uri", "")
        if client is None or not takes(client, redirect):
            raise Unusable("The client is not known here, or not with this redirect_uri")
        if does.clients.machine:
            refused = {
                "error": "unauthorized_client",
                "error_description": f"{CLIENT_CREDENTIALS} is the one grant here",
            }
            return self._back(address, sent, refused)
        if does.answers.refuses_resource and "resource" in sent:
            return self._back(address, sent, {"error": "invalid_target", "error_description": "resource is not taken"})
        decided = decided or ("allow" if await self._allows(address.run) else "")
        if not decided:
            return self._ask(str(client.get("client_name") or "A client"), address, sent)
        if decided != "allow" or does.answers.consent == "denied":
            return self._back(address, sent, {"error": "access_denied", "error_description": "The person said no"})
        kept = {name: sent.get(name, "") for name in ("client_id", "redirect_uri", "code_challenge")}
        code = {**kept, "scope": _granted(sent, does.answers), "audience": sent.get("audience", "")}
        return self._back(address, sent, {"code": self._tokens.make("code", self._home(address), CODE_S, code)})

    async def token(self, address: Address, sent: Mapping[str, str]) -> Response:
        """The token endpoint."""
        does = address.scenario.behaviour
        try:
            if (instead := await self._instead(does.answers, sent)) is not None:
                return instead
            if not self._clients.has_authenticated(does.clients, self._home(address), sent):
                asked = f"the client has to authenticate by {does.clients.auth}"
                raise RefusedRequest("invalid_client", asked, 401, {"WWW-Authenticate": "Basic"})
            by_grant = {"authorization_code": self._by_code, "refresh_token": self._by_refresh}
            if does.clients.machine:
                by_grant = {CLIENT_CREDENTIALS: self._by_machine}
            if does.clients.company:
                by_grant[JWT_BEARER] = self._by_assertion
            grant = by_grant.get(sent.get("grant_type", ""))
            if grant is None:
                raise RefusedRequest("unsupported_grant_type", f"not one of {', '.join(by_grant)}")
            granted = await grant(address, sent)
        except RefusedRequest as refused:
            return refused.answer()
        key = await self._key_of(address)
        return JSONResponse(self._tokens_of(address, granted, sent.get("client_id", ""), key), headers=NO_STORE)

    async def _instead(self, does: Answers, sent: Mapping[str, str]) -> Response | None:
        """What the endpoint answers in place of what it should."""
        match does.at_tokens:
            case "500":
                return JSONResponse({"detail": "Something went wrong"}, 500)
            case "page":
                return HTMLResponse("<!doctype html><title>One moment</title><p>Checking your browser.")
            case "429" if await self._once("busy:" + hashlib.sha256(sent.get("code", "").encode()).hexdigest()):
                return JSONResponse({"detail": "Too many requests"}, 429, headers={"Retry-After": str(BUSY_S)})
            case "slow":
                await self._sleep(SLOW_S)
        return None

    def _tokens_of(
        self, address: Address, granted: Mapping[str, Any], client: str, key: ECKey | None
    ) -> dict[str, Any]:
        does, issuer = address.scenario.behaviour.answers, self._home(address)
        scope = str(granted["scope"])
        kept = {"scope": scope, "audience": granted.get("audience", "")}
        scopes = {"scp": scope.split()} if does.scp else {"scope": scope}
        claims = {**scopes, **self._audience(address, granted)}
        access = self._tokens.make("access", issuer, does.token_seconds, claims, key)
        said: dict[str, Any] = {
            "access_token": self._tokens.opaque(access) if does.opaque else access,
            "token_type": does.type_said,
            "expires_in": does.token_seconds,
        }
        if does.says_scope:
            said["scope"] = scope
        if does.refresh != "none":
            said["refresh_token"] = self._tokens.make("refresh", issuer, REFRESH_S, {**kept, "client": client})
        return said

    def _audience(self, address: Address, granted: Mapping[str, Any]) -> Mapping[str, str]:
        endpoint = self._addresses.endpoint(address.run, address.scenario.name)
        match address.scenario.behaviour.answers.audience:
            case "identifier":
                return {"aud": IDENTIFIER}
            case "none":
                return {}
            case "asked for" if granted.get("audience") != endpoint:
                return {"aud": f"{self._home(address)}/userinfo"}
            case _:
                return {"aud": endpoint}

    def _back(self, address: Address, sent: Mapping[str, str], values: Mapping[str, str]) -> Response:
        """The way back to the client, with `state` and `iss` as the scenario has them."""
        does, back = address.scenario.behaviour.answers, dict(values)
        if "state" in sent and does.state != "missing":
            back["state"] = sent["state"] if does.state == "right" else "not-the-state-that-was-sent"
        if does.iss in ("right", "wrong", "unannounced"):
            back["iss"] = self._named(address) if does.iss == "right" else WRONG_ISS
        return RedirectResponse(with_params(sent["redirect_uri"], back), 303)

    async def _by_code(self, address: Address, sent: Mapping[str, str]) -> Mapping[str, Any]:
        code = self._tokens.read("code", self._home(address), sent.get("code", ""))
        if code is None or not await self._once(code["jti"]):
            raise RefusedRequest("invalid_grant", "the code is unknown, over, or was used")
        if any(code[name] != sent.get(name) for name in ("client_id", "redirect_uri")):
            raise RefusedRequest("invalid_grant", "the code is another client's, or of another redirect_uri")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        if not hmac.compare_digest(challenge.rstrip(b"="), code["code_challenge"].encode()):
            raise RefusedRequest("invalid_grant", "code_verifier does not fit code_challenge (RFC 7636 §4.6)")
        return code

    async def _by_refresh(self, address: Address, sent: Mapping[str, str]) -> Mapping[str, Any]:
        kept = self._tokens.read("refresh", self._home(address), sent.get("refresh_token", ""))
        refused = address.scenario.behaviour.answers.refresh == "refused"
        if kept is None or refused or kept["client"] != sent.get("client_id") or not await self._once(kept["jti"]):
            raise RefusedRequest("invalid_grant", "the refresh token is unknown, over, used, or another client's")
        return kept

    async def _by_machine(self, address: Address, sent: Mapping[str, str]) -> Mapping[str, Any]:
        """RFC 6749 §4.4, for a client that has authenticated."""
        return {"scope": _granted(sent, address.scenario.behaviour.answers)}

    async def _by_assertion(self, address: Address, sent: Mapping[str, str]) -> Mapping[str, Any]:
        """RFC 7523 §2.1 with an ID-JAG of the company's provider, for this issuer, endpoint and client."""
        run, name = address.run, address.scenario.name
        provider, wanted = self._addresses.company(run, name), {"aud": self._home(address)}
        wanted |= {"resource": self._addresses.endpoint(run, name), "client_id": sent.get("client_id", "")}
        said = self._tokens.read("assertion", provider, sent.get("assertion", ""))
        if said is None or any(said[member] != value for member, value in wanted.items()):
            raise RefusedRequest("invalid_grant", "the assertion is unknown, over, or for somebody else")
        if not await self._once(said["jti"]):
            raise RefusedRequest("invalid_grant", "the assertion was used")
        return {"scope": _granted(said, address.scenario.behaviour.answers)}

    async def _key_of(self, address: Address) -> ECKey | None:
        """What signs its access tokens; `None` for the lab's own key, which nobody can verify by."""
        changes = address.scenario.behaviour.endpoint.keys_after
        return await self._keys.current(address.run, address.scenario.name) if changes else None

    def _home(self, address: Address) -> str:
        """What is given out is good for: the scenario of a run, whatever its issuer is called."""
        return self._addresses.home(address.run, address.scenario.name, address.party)

    def _named(self, address: Address) -> str:
        return self._addresses.issuer(address.run, address.scenario.name, address.party)


def _of_clients(does: Clients, below: str) -> Mapping[str, Any]:
    """What the metadata say of how clients become known, and of their grants."""
    if does.machine:
        return {"grant_types_supported": [CLIENT_CREDENTIALS]}
    if does.company:
        profile = "urn:ietf:params:oauth:grant-profile:id-jag"
        grants = ["authorization_code", "refresh_token", JWT_BEARER]
        return {"grant_types_supported": grants, "authorization_grant_profiles_supported": [profile]}
    if does.known == "by document":
        return {"client_id_metadata_document_supported": True}
    return {"registration_endpoint": f"{below}/register"} if does.known == "registered" else {}


def _granted(sent: Mapping[str, str], does: Answers) -> str:
    asked = sent.get("scope", "read").split()
    return " ".join(scope for scope in dict.fromkeys(asked) if scope in does.granted)
