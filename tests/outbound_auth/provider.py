"""A small OAuth provider on loopback, with faults that can be switched on: what backends' authorization is tested with.

A real server on a real port, so that workers in other processes can ask it too:

    async with served(Provider()) as provider:
        provider.url                        # the issuer
        provider.signed_in = "alice"        # who is signed in at its pages; they ask nothing
        provider.faults["token"] = "html"   # see `FAULTS`
        provider.count("refresh_token")     # how often a token was asked for so
        provider.person(access_token)       # whose token it is, or None when it is not good (any more)

It knows authorization codes with PKCE, refresh tokens that rotate and whose replay revokes the family, client
credentials, token exchange (RFC 8693, identity assertions too), JWT bearer grants (RFC 7523), revocation (RFC 7009),
registration (RFC 7591) and client-id documents; clients authenticate by basic, post, private_key_jwt or not at all.
`GET /api/me` is an API that its tokens open.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote_plus, urlencode

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tools.serving import serving

Fault = Literal[
    "html", "html 200", "404", "500", "503", "429", "empty", "list", "cut", "silence", "redirect", "huge", "gzip"
]
Endpoint = Literal["metadata", "resource", "authorize", "token", "revoke", "register", "keys"]
Claims = dict[str, Any]

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"


class _Cut:
    """An answer that ends before it is complete."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await send({"type": "http.response.body", "body": b'{"access_token":'})


FAULTS: Final[Mapping[Fault, Callable[[], Any]]] = {
    "html": lambda: HTMLResponse("<h1>Something went wrong</h1>", 400),
    "html 200": lambda: HTMLResponse("<h1>Sign in</h1>"),
    "404": lambda: Response(status_code=404),
    "500": lambda: JSONResponse({"error": "server_error"}, 500),
    "503": lambda: HTMLResponse("<h1>Maintenance</h1>", 503),
    "429": lambda: JSONResponse({"error": "slow_down"}, 429, {"Retry-After": "7"}),
    "empty": lambda: Response(b"", 200, {"content-type": "application/json"}),
    "list": lambda: JSONResponse(["no", "object"]),
    "cut": _Cut,
    "redirect": lambda: RedirectResponse("https://example.com/elsewhere", 307),
    "huge": lambda: JSONResponse({"padding": "x" * 2_000_000}),
    "gzip": lambda: Response(b"\x1f\x8b", 200, {"content-type": "application/json", "content-encoding": "gzip"}),
}
"""What an endpoint answers instead of doing anything; `silence` is no answer until `go_on`."""


@dataclass
class Client:
    """A registered client. `keys` are its public keys, for private_key_jwt."""

    secret: str = ""
    keys: tuple[Mapping[str, Any], ...] = ()
    redirect_uris: tuple[str, ...] = ()
    """None: any."""


@dataclass
class Grant:
    """What a person, or nobody, has allowed a client; its tokens live and die together."""

    subject: str
    client: str
    scopes: tuple[str, ...]
    audience: tuple[str, ...] = ()
    revoked: bool = False


@dataclass
class Asked:
    """A request as it came."""

    endpoint: Endpoint
    form: dict[str, str]
    headers: Mapping[str, str]


@dataclass
class Provider:
    """An authorization server, and the metadata of a resource of its."""

    signed_in: str = "alice"
    clients: dict[str, Client] = field(default_factory=lambda: {"gateway": Client("secret")})
    scopes: tuple[str, ...] = ("read", "write", "offline_access")
    expires_in: Any = 3600
    """What tokens say; `None` to say nothing."""
    token_type: str | None = "Bearer"
    narrows_to: tuple[str, ...] | None = None
    """The only scopes that it grants, whatever is asked for."""
    rotates: bool = True
    refreshes: bool = True
    """Whether there are refresh tokens."""
    basic: bool = True
    """Whether it takes secrets in the header."""
    cookies: bool = False
    """Whether its answers set a cookie."""
    says_iss: bool = True
    issuer_said: str | None = None
    """What it calls itself in the redirect, instead of the truth."""
    metadata_issuer: str | None = None
    """What it calls itself in its metadata, instead of the truth."""
    without: tuple[str, ...] = ()
    """Members that its metadata does not have."""
    extra: Claims = field(default_factory=dict)
    """Members that its metadata has, too."""
    refuses: str = ""
    """With which OAuth error a person's consent, or a token, is refused."""
    asserts: bool = True
    """Whether it knows ID-JAG; else it gives an access token to whoever wants an assertion."""
    trusts: Mapping[str, Provider] = field(default_factory=dict)
    """Whose assertions are good here, by issuer."""
    faults: dict[Endpoint, Fault] = field(default_factory=dict)
    before: Callable[[Asked], Awaitable[None]] | None = None
    """Called before an answer, for tests that want both parties in mid-flight."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    access: dict[str, tuple[Grant, float]] = field(default_factory=dict)
    refresh: dict[str, Grant] = field(default_factory=dict)
    used: dict[str, Grant] = field(default_factory=dict)
    """Refresh tokens that were rotated."""
    codes: dict[str, tuple[Grant, dict[str, str]]] = field(default_factory=dict)
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one", "use": "sig"}))
    _go: asyncio.Event = field(default_factory=asyncio.Event)

    # -- what tests ask ----------------------------------------------------------------------------------------------

    def count(self, grant_type: str) -> int:
        """How many token requests of this grant type came."""
        return Counter(each.form.get("grant_type") for each in self.asked if each.endpoint == "token")[grant_type]

    def of(self, endpoint: Endpoint) -> list[Asked]:
        """The requests that came to an endpoint."""
        return [each for each in self.asked if each.endpoint == endpoint]

    def grant(self, token: str) -> Grant | None:
        """The grant behind an access token that is good now."""
        grant, until = self.access.get(token, (None, 0.0))
        return grant if grant is not None and not grant.revoked and until > time.time() else None

    def person(self, token: str) -> str | None:
        """Whose access token it is; `None` for one that is not good (any more)."""
        grant = self.grant(token)
        return grant.subject if grant else None

    def revoke_all(self, subject: str) -> None:
        """The person takes back everything they allowed."""
        for grant in {
            id(each): each for each in (*self.refresh.values(), *(one for one, _ in self.access.values()))
        }.values():
            grant.revoked = grant.revoked or grant.subject == subject

    def expire_all(self) -> None:
        """Every access token ends now."""
        self.access = {token: (grant, 0.0) for token, (grant, _until) in self.access.items()}

    def go_on(self) -> None:
        """Let go of the requests that got no answer."""
        self._go.set()

    def signed(self, **claims: Any) -> str:
        """A JWT of this provider's: an ID token, unless the claims say otherwise."""
        typ = claims.pop("typ", "JWT")
        now = int(time.time())
        said = {"iss": self.url, "iat": now, "exp": now + 300, "jti": secrets.token_hex(8)} | claims
        return jwt.encode({"alg": "ES256", "kid": "one", "typ": typ}, said, self.key)

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def app(self) -> Starlette:
        """As ASGI."""

        def route(path: str, endpoint: Endpoint, serve: Callable[[Asked], Response], methods: list[str]) -> Route:
            async def answer(request: Request) -> Any:
                sent = dict(request.query_params) | await _form(request)
                asked = Asked(endpoint, sent, dict(request.headers))
                self.asked.append(asked)
                if self.before is not None:
                    await self.before(asked)
                fault = self.faults.get(endpoint)
                if fault == "silence":
                    await self._go.wait()
                    return Response(status_code=504)
                response = FAULTS[fault]() if fault else serve(asked)
                if self.cookies:
                    response.set_cookie("session", secrets.token_hex(4))
                return response

            return Route(path, answer, methods=methods)

        return Starlette(
            routes=[
                route("/.well-known/oauth-authorization-server", "metadata", self._metadata, ["GET"]),
                route("/.well-known/openid-configuration", "metadata", self._metadata, ["GET"]),
                route("/.well-known/oauth-protected-resource", "resource", self._resource, ["GET"]),
                route("/.well-known/oauth-protected-resource/{path:path}", "resource", self._resource, ["GET"]),
                route("/authorize", "authorize", self._authorize, ["GET"]),
                route("/token", "token", self._token, ["POST"]),
                route("/revoke", "revoke", self._revoke, ["POST"]),
                route("/register", "register", self._register, ["POST"]),
                route("/keys", "keys", lambda _: JSONResponse({"keys": [self.key.as_dict(private=False)]}), ["GET"]),
                Route("/api/me", self._me),
            ]
        )

    def _metadata(self, _asked: Asked) -> Response:
        document = {
            "issuer": self.metadata_issuer or self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "revocation_endpoint": f"{self.url}/revoke",
            "registration_endpoint": f"{self.url}/register",
            "jwks_uri": f"{self.url}/keys",
            "scopes_supported": list(self.scopes),
            "response_types_supported": ["code"],
            "grant_types_supported": [
                "authorization_code",
                "refresh_token",
                "client_credentials",
                EXCHANGE,
                JWT_BEARER,
            ],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [
                *("client_secret_basic", "client_secret_post", "private_key_jwt", "none"),
            ],
            "authorization_response_iss_parameter_supported": self.says_iss,
        } | self.extra
        return JSONResponse({name: value for name, value in document.items() if name not in self.without})

    def _resource(self, _asked: Asked) -> Response:
        return JSONResponse({"resource": f"{self.url}/mcp", "authorization_servers": [self.url]})

    def _authorize(self, asked: Asked) -> Response:
        sent = asked.form
        client = self._client_named(sent.get("client_id", ""))
        if client is None or (client.redirect_uris and sent["redirect_uri"] not in client.redirect_uris):
            return HTMLResponse("<h1>Unknown client or redirect URI</h1>", 400)
        iss = {"iss": self.issuer_said or self.url} if self.says_iss or self.issuer_said else {}
        back = {"state": sent.get("state", "")} | iss
        if self.refuses:
            return self._back(sent, back | {"error": self.refuses, "error_description": "the person said no"})
        scopes = self._narrowed(tuple(sent.get("scope", "").split()))
        code = secrets.token_urlsafe(24)
        resource = (sent["resource"],) if "resource" in sent else ()
        self.codes[code] = (Grant(self.signed_in, sent["client_id"], scopes, resource), sent)
        return self._back(sent, back | {"code": code})

    @staticmethod
    def _back(sent: Mapping[str, str], members: Mapping[str, str]) -> Response:
        return RedirectResponse(f"{sent['redirect_uri']}?{urlencode(members)}", 303)

    def _token(self, asked: Asked) -> Response:
        client = self._authenticated(asked)
        if client is None:
            return _error("invalid_client", 401)
        if self.refuses:
            return _error(self.refuses)
        by_code, by_refresh = asked.form.get("grant_type") == "authorization_code", asked.form.get("grant_type")
        if by_code:
            return self._by_code(asked.form, client)
        if by_refresh == "refresh_token":
            return self._by_refresh_token(asked.form, client)
        scopes = self._narrowed(tuple(asked.form.get("scope", "").split()))
        audience = tuple(asked.form[name] for name in ("audience", "resource") if name in asked.form)
        if asked.form.get("grant_type") == "client_credentials":
            return self._tokens(Grant(client, client, scopes, audience), refresh=False)
        if asked.form.get("grant_type") == JWT_BEARER:
            claims = self._assertion(asked.form.get("assertion", ""))
            if claims is None or claims.get("aud") != self.url or claims.get("client_id") not in (None, client):
                return _error("invalid_grant")
            return self._tokens(Grant(claims["sub"], client, scopes, (str(claims.get("resource", "")),)), refresh=False)
        if asked.form.get("grant_type") == EXCHANGE:
            return self._exchange(asked.form, client, scopes, audience)
        return _error("unsupported_grant_type")

    def _by_code(self, sent: Mapping[str, str], client: str) -> Response:
        grant, request = self.codes.pop(sent.get("code", ""), (None, {}))
        proof = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest()).rstrip(b"=")
        if (
            grant is None
            or grant.client != client
            or request["redirect_uri"] != sent.get("redirect_uri")
            or request.get("code_challenge_method") != "S256"
            or request.get("code_challenge") != proof.decode()
        ):
            return _error("invalid_grant")
        return self._tokens(grant)

    def _by_refresh_token(self, sent: Mapping[str, str], client: str) -> Response:
        token = sent.get("refresh_token", "")
        if token in self.used:
            self.used[token].revoked = True
        grant = self.refresh.get(token)
        if grant is None or grant.revoked or grant.client != client:
            return _error("invalid_grant")
        if self.rotates:
            self.used[token] = self.refresh.pop(token)
        return self._tokens(grant, refresh=self.rotates)

    def _exchange(
        self, sent: Mapping[str, str], client: str, scopes: tuple[str, ...], audience: tuple[str, ...]
    ) -> Response:
        subject = self.person(sent.get("subject_token", ""))
        if subject is None:
            claims = self._assertion(sent.get("subject_token", ""))
            subject = claims["sub"] if claims else None
        if subject is None:
            return _error("invalid_request")
        if self.asserts and sent.get("requested_token_type") == ID_JAG:
            claims = {"sub": subject, "aud": sent.get("audience"), "client_id": client, "scope": " ".join(scopes)}
            assertion = self.signed(typ="oauth-id-jag+jwt", **claims, resource=sent.get("resource", ""))
            said = {"issued_token_type": ID_JAG, "token_type": "N_A", "access_token": assertion, "expires_in": 300}
            return JSONResponse(said)
        return self._tokens(Grant(subject, client, scopes, audience), refresh=False, issued_token_type=ACCESS_TOKEN)

    def _tokens(self, grant: Grant, *, refresh: bool = True, **more: Any) -> Response:
        access = f"access-{secrets.token_urlsafe(24)}"
        lives = self.expires_in if isinstance(self.expires_in, int | float) else 3600
        self.access[access] = (grant, time.time() + lives)
        said: Claims = {"access_token": access, "token_type": self.token_type, "expires_in": self.expires_in, **more}
        if refresh and self.refreshes:
            said["refresh_token"] = f"refresh-{secrets.token_urlsafe(24)}"
            self.refresh[said["refresh_token"]] = grant
        if grant.scopes:
            said["scope"] = " ".join(grant.scopes)
        if "openid" in grant.scopes:
            said["id_token"] = self.signed(sub=grant.subject, aud=grant.client)
        return JSONResponse({name: value for name, value in said.items() if value is not None})

    def _revoke(self, asked: Asked) -> Response:
        if self._authenticated(asked) is None:
            return _error("invalid_client", 401)
        token = asked.form.get("token", "")
        grant = self.refresh.get(token) or self.grant(token)
        if grant is not None:
            grant.revoked = True
        return Response(status_code=200)

    def _register(self, asked: Asked) -> Response:
        document = json.loads(asked.form["json"])
        name = f"client-{secrets.token_hex(6)}"
        public = document.get("token_endpoint_auth_method") == "none"
        client = Client("" if public else secrets.token_urlsafe(16), redirect_uris=tuple(document["redirect_uris"]))
        self.clients[name] = client
        secret = {"client_secret": client.secret, "client_secret_expires_at": 0} if client.secret else {}
        return JSONResponse(document | {"client_id": name} | secret, 201)

    async def _me(self, request: Request) -> Response:
        person = self.person(request.headers.get("authorization", "").removeprefix("Bearer "))
        if person is None:
            return JSONResponse(
                {"message": "Bad credentials"}, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            )
        return JSONResponse({"login": person})

    # -- clients -----------------------------------------------------------------------------------------------------

    def _client_named(self, client_id: str) -> Client | None:
        if client_id.startswith("https://"):
            return Client()  # by a client-id document
        return self.clients.get(client_id)

    def _authenticated(self, asked: Asked) -> str | None:
        """The client's id, once it has proved who it is."""
        sent, header = asked.form, asked.headers.get("authorization", "")
        if header.startswith("Basic ") and self.basic:
            name, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            client_id, secret = unquote_plus(name), unquote_plus(secret)
        else:
            client_id, secret = sent.get("client_id", ""), sent.get("client_secret", "")
        if "client_assertion" in sent:
            return self._by_assertion(sent["client_assertion"])
        client = self._client_named(client_id)
        return client_id if client is not None and not client.keys and client.secret == secret else None

    def _by_assertion(self, assertion: str) -> str | None:
        for client_id, client in self.clients.items():
            for key in client.keys:
                try:
                    claims = _decoded(assertion, JWKRegistry.import_key(dict(key)))
                except (JoseError, ValueError):
                    continue
                good = claims["iss"] == claims["sub"] == client_id and claims["aud"] in (f"{self.url}/token", self.url)
                return client_id if good and claims["exp"] > time.time() else None
        return None

    def _assertion(self, token: str) -> Claims | None:
        """The claims of a JWT by this provider, or by one that it trusts."""
        for issuer in (self, *self.trusts.values()):
            try:
                claims = _decoded(token, issuer.key)
            except (JoseError, ValueError):
                continue
            return claims if claims.get("iss") == issuer.url and claims["exp"] > time.time() else None
        return None

    def _narrowed(self, scopes: tuple[str, ...]) -> tuple[str, ...]:
        return scopes if self.narrows_to is None else tuple(each for each in scopes if each in self.narrows_to)


def _decoded(token: str, key: Any) -> Claims:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return dict(jwt.decode(token, key, algorithms=["RS256", "PS256", "ES256", "ES384", "EdDSA"]).claims)


def _error(code: str, status: int = 400) -> Response:
    return JSONResponse({"error": code, "error_description": f"{code}, says the provider"}, status)


async def _form(request: Request) -> dict[str, str]:
    body = (await request.body()).decode()
    if request.headers.get("content-type", "").startswith("application/json"):
        return {"json": body}
    return dict(parse_qsl(body, keep_blank_values=True))


@asynccontextmanager
async def served(
    provider: Provider, port: int = 0, *, origin: str = "http://127.0.0.1", **config: Any
) -> AsyncIterator[Provider]:
    """The provider on a free port of loopback, or this one; `config` is uvicorn's."""
    given = {"log_level": "critical", "lifespan": "off", "ws": "none", **config}
    async with serving(provider.app(), provider.go_on, port, **given) as server:
        provider.url = f"{origin}:{server.port}"
        yield provider
