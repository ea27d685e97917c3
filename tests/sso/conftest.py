"""A small issuer on loopback that can be given any provider's habits, and settings blocks out of docs/sso.md."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from switchboard.authorization import authorize
from switchboard.identity import current
from switchboard.own_issuer import OwnIssuer
from switchboard.settings import Settings, load_settings
from switchboard.state import open_state

PAGE = Path(__file__).parents[2] / "docs" / "sso.md"
_NEVER_SAID: Mapping[str, Any] = {}


def blocks(page: str = PAGE.read_text()) -> dict[str, str]:
    """The settings of every `<!-- settings: name -->` in the page."""
    return dict(re.findall(r"<!-- settings: ([\w-]+) -->\n+```dotenv\n(.*?)```", page, re.DOTALL))


@dataclass
class Issuer:
    """An OpenID provider. `extra` and `without` change its metadata; `person` is always signed in."""

    origin: str = ""
    path: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    person: Mapping[str, Any] = field(default_factory=lambda: {"sub": "s-1"})
    opaque: dict[str, dict[str, Any]] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    asked: list[dict[str, str]] = field(default_factory=list)
    knows: Callable[[str, Mapping[str, str]], bool] = lambda _header, _form: True
    """Whether the token endpoint knows the client by its Authorization header and form."""
    proofs: list[str] = field(default_factory=list)
    """How the client authenticated there, each time."""

    @property
    def url(self) -> str:
        """`iss`, byte for byte."""
        return self.origin + self.path

    def at(self, name: str) -> str:
        """An endpoint's address."""
        return f"{self.url.rstrip('/')}/{name}"

    def token(self, *, key: RSAKey | None = None, header: Mapping[str, Any] = _NEVER_SAID, **claims: Any) -> str:
        """A JWT; a claim that is None is left out."""
        said = {"iss": self.url, "sub": "s-1", "exp": int(time.time()) + 300, "iat": int(time.time())} | claims
        head = {"alg": "RS256", "kid": "one", "typ": "JWT", **header}
        return jwt.encode(head, {name: value for name, value in said.items() if value is not None}, key or self.key)

    async def metadata(self, _request: Request) -> Response:
        document = {
            "issuer": self.url,
            "authorization_endpoint": self.at("authorize"),
            "token_endpoint": self.at("token"),
            "jwks_uri": self.at("keys"),
            "introspection_endpoint": self.at("introspect"),
            "registration_endpoint": self.at("register"),
            "code_challenge_methods_supported": ["S256"],
            "response_types_supported": ["code"],
        } | dict(self.extra)
        return JSONResponse({name: value for name, value in document.items() if name not in self.without})

    async def keys(self, _request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False) | {"use": "sig", "alg": "RS256"}]})

    async def introspect(self, request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode()))
        if not request.headers.get("authorization", "").startswith("Basic "):
            return JSONResponse({"error": "invalid_client"}, 401)
        return JSONResponse(self.opaque.get(sent["token"], {"active": False}))

    async def authorize(self, request: Request) -> Response:
        sent = dict(request.query_params)
        self.asked.append(sent)
        back = {"code": f"code-{len(self.asked) - 1}", "state": sent["state"]}
        return RedirectResponse(f"{sent['redirect_uri']}?{urlencode(back)}", 303)

    async def exchange(self, request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode()))
        header = request.headers.get("authorization", "")
        ways = {"basic": header, "post": sent.get("client_secret"), "private_key_jwt": sent.get("client_assertion")}
        self.proofs += [name for name, found in ways.items() if found]
        if not self.knows(header, sent):
            return JSONResponse({"error": "invalid_client", "error_description": "no\x1b[1m such client"}, 401)
        if not sent["code"].startswith("code-"):
            return JSONResponse({"error": "invalid_grant"}, 400)
        asked = self.asked[int(sent["code"].removeprefix("code-"))]
        claims = dict(self.person) | {"aud": asked["client_id"], "nonce": asked["nonce"]}
        return JSONResponse({"access_token": "opaque to everybody", "id_token": self.token(**claims)})

    def app(self) -> Starlette:
        path = self.path.rstrip("/")
        return Starlette(
            routes=[
                Route(f"{path}/.well-known/openid-configuration", self.metadata),
                Route(f"{path}/keys", self.keys),
                Route(f"{path}/introspect", self.introspect, methods=["POST"]),
                Route(f"{path}/authorize", self.authorize),
                Route(f"{path}/token", self.exchange, methods=["POST"]),
            ]
        )


@asynccontextmanager
async def _served(app: Any, port: int = 0) -> AsyncIterator[str]:
    """The app on a port of loopback, or a free one, by real HTTP."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical", lifespan="off", ws="none"))
    listening = server.config.bind_socket()
    listening.listen(64)  # so that nobody is refused before the server accepts
    task = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        listening.close()


@pytest.fixture
async def start_issuer() -> AsyncIterator[Callable[..., Any]]:
    """`await start_issuer(path=…, extra=…, without=…, person=…)`."""
    async with AsyncExitStack() as stack:

        async def start(**habits: Any) -> Issuer:
            issuer = Issuer(**habits)
            issuer.origin = await stack.enter_async_context(_served(issuer.app()))
            return issuer

        yield start


@pytest.fixture
def block(tmp_path: Path) -> Callable[..., Settings]:
    """`block(name, issuer)`: the page's settings, loaded; only the issuer's address is replaced."""

    def load(name: str, issuer: Issuer, **changes: Any) -> Settings:
        text = blocks()[name]
        said = re.search(r"^(AUTH_SERVER_URL|UPSTREAM_ISSUER)=(.*)$", text, re.MULTILINE)
        if said is None:
            raise AssertionError(f"{name} names no issuer")
        # The provider's own path is kept, so that its shape is what is tried.
        if urlsplit(said[2]).path != issuer.path:
            raise AssertionError(f"{name}: the issuer's path is {issuer.path!r} here and {said[2]} there")
        file = tmp_path / f"{name}.env"
        file.write_text(text.replace(said[2], issuer.url))
        return load_settings(file, **changes)

    return load


async def _who(scope: Scope, receive: Receive, send: Send) -> None:
    """An endpoint that tells who called."""
    who = current().principal
    said = {"subject": who.subject, "client": who.client_id, "scopes": sorted(who.scopes), "issuer": who.issuer}
    await JSONResponse(said)(scope, receive, send)


async def _protected(settings: Settings, stack: AsyncExitStack) -> Starlette:
    """An endpoint that is protected as the settings say, and all that comes with that."""
    state = await stack.enter_async_context(open_state(None))
    authorization = await authorize(settings, state, stack, OwnIssuer(settings, state.clock))
    return Starlette(routes=[*authorization.routes, Route("/mcp", authorization.protect(_who, "/mcp"))])


@pytest.fixture
async def resource() -> AsyncIterator[Callable[[Settings], Any]]:
    """`await resource(settings)`: a client of such an endpoint in this process."""
    async with AsyncExitStack() as stack:

        async def start(settings: Settings) -> httpx2.AsyncClient:
            transport = httpx2.ASGITransport(app=await _protected(settings, stack))
            return await stack.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url=settings.base_uri, trust_env=False)
            )

        yield start


async def _ask(http: httpx2.AsyncClient, token: str) -> tuple[int, dict[str, Any]]:
    answer = await http.post("/mcp", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code, json.loads(answer.content)


@pytest.fixture
def ask() -> Callable[..., Any]:
    """`await ask(http, token)`: the status, and who the endpoint thinks it was."""
    return _ask


@pytest.fixture
def documented() -> dict[str, str]:
    """The page's blocks by name."""
    return blocks()


@pytest.fixture
def unused() -> Iterator[str]:
    """An address on loopback that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
