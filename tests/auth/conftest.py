"""The authorization server on both kinds of Redis, and a person with a browser and a client to drive it."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import json
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakeredis import FakeAsyncRedis, FakeServer
from redis.asyncio import Redis

from auth_server import AuthorizationServer, AuthSettings
from auth_server.models import KeepIdToken, keep_nothing
from switchboard.common.fetch.fetcher import Fetcher

ISSUER = "http://localhost:3001"
RESOURCE = "http://localhost:3232/mcp"
CALLBACK = "http://127.0.0.1:33418/callback"
HOST = "app.example"
KEY = "test key, not a secret: 0123456789"


@pytest.fixture(params=["memory", "redis"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """The store, empty."""
    if request.param == "memory":
        client: Any = FakeAsyncRedis(server=FakeServer(), decode_responses=True)
    else:
        client = Redis.from_url(request.getfixturevalue("redis_url"), decode_responses=True)
    yield client
    await client.aclose()


@dataclass
class Clock:
    """A clock that tests move."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds


@dataclass
class Pkce:
    """A verifier and its challenge."""

    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page))


def query(url: str) -> dict[str, str]:
    """The query of an address, as an OAuth client reads it."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@dataclass
class World:
    """One authorization server, and ways to use it as people and clients do."""

    redis: Any
    clock: Clock
    settings: AuthSettings
    server: AuthorizationServer
    query: Callable[[str], dict[str, str]] = query
    hidden: Callable[[str], dict[str, str]] = hidden
    pkce: Callable[[], Pkce] = Pkce
    address: str = ""
    """Where a server of its own process is, instead of the one in here."""

    def browser(self, **options: Any) -> httpx2.AsyncClient:
        """A browser or client of its own: cookies kept, redirects not followed."""
        if self.address:
            return httpx2.AsyncClient(base_url=self.address, trust_env=False)
        transport = httpx2.ASGITransport(app=self.server.app(), **options)
        return httpx2.AsyncClient(transport=transport, base_url=self.settings.origin)

    async def register(self, **metadata: Any) -> dict[str, Any]:
        """Register a client, public unless told otherwise."""
        asked = {
            "redirect_uris": [CALLBACK],
            "client_name": "Probe",
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        } | metadata
        async with self.browser() as http:
            response = await http.post("/register", json=asked)
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def question(self, client: dict[str, Any], pkce: Pkce, **changes: Any) -> dict[str, Any]:
        """The parameters of an authorization request; `None` leaves one out."""
        asked = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": client["redirect_uris"][0],
            "code_challenge": pkce.challenge,
            "code_challenge_method": "S256",
            "state": "a b&c=d",
            "scope": "mcp",
            "resource": self.settings.resources[0],
        } | changes
        return {name: value for name, value in asked.items() if value is not None}

    async def at_consent(self, http: httpx2.AsyncClient, **changes: Any) -> dict[str, str]:
        """The fields of a consent page in this browser, for a client that has just registered."""
        page = await http.get("/authorize", params=self.question(await self.register(), Pkce(), **changes))
        return hidden(page.text)

    async def at_picker(self, http: httpx2.AsyncClient) -> dict[str, str]:
        """The fields of the identity provider's page, once consent was given in this browser."""
        left = await http.post("/consent", data=await self.at_consent(http) | {"decision": "allow"})
        return hidden((await http.get(left.headers["location"])).text)

    async def authorize(
        self, http: httpx2.AsyncClient, client: dict[str, Any], pkce: Pkce, user: str = "alice", **changes: Any
    ) -> dict[str, str]:
        """From the client's link to the redirect back, as a person; what the redirect said."""
        page = await http.get("/authorize", params=self.question(client, pkce, **changes))
        assert page.status_code == 200, page.text
        left = await http.post("/consent", data=hidden(page.text) | {"decision": "allow"})
        assert left.status_code == 303, left.text
        picker = await http.get(left.headers["location"])
        picked = await http.post("/fakeupstreamauth/redirect", data=hidden(picker.text) | {"user_id": user})
        back = await http.get(picked.headers["location"])
        assert back.status_code == 303, back.text
        return query(back.headers["location"])

    async def redeem(self, client: dict[str, Any], code: str, pkce: Pkce, /, **changes: Any) -> httpx2.Response:
        """A token request for a code, by a public client."""
        sent = {
            "grant_type": "authorization_code",
            "client_id": client["client_id"],
            "code": code,
            "code_verifier": pkce.verifier,
            "redirect_uri": client["redirect_uris"][0],
            "resource": self.settings.resources[0],
        } | changes
        return await self.token({name: value for name, value in sent.items() if value is not None})

    async def refresh(self, client: dict[str, Any], token: str, **changes: Any) -> httpx2.Response:
        """A refresh request of a public client."""
        sent = {"grant_type": "refresh_token", "client_id": client["client_id"], "refresh_token": token}
        return await self.token(sent | changes)

    async def token(self, sent: dict[str, Any], **options: Any) -> httpx2.Response:
        """Any token request."""
        async with self.browser() as http:
            return await http.post("/token", data=sent, **options)

    async def claims(self, access_token: str) -> dict[str, Any]:
        """What an access token says, which must be good."""
        found = await self.server.introspect_token(access_token)
        assert found is not None
        return found

    async def tokens(self, client: dict[str, Any] | None = None, user: str = "alice", **changes: Any) -> dict[str, Any]:
        """The whole story: consent, login, redemption."""
        client = client or await self.register()
        pkce = Pkce()
        async with self.browser() as http:
            back = await self.authorize(http, client, pkce, user, **changes)
        response = await self.redeem(client, back["code"], pkce, resource=changes.get("resource", RESOURCE))
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json() | {"client": client}
        return found


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(redis: Redis) -> MakeWorld:
    """Servers with other settings than usual, over the same store."""
    clock = Clock()

    def make(
        prefix: str = "",
        redis: Any = redis,
        fetcher: Fetcher | None = None,
        http: Any = None,
        keep_id_token: KeepIdToken = keep_nothing,
        **changes: Any,
    ) -> World:
        plain: dict[str, Any] = {
            "issuer": ISSUER,
            "resources": (RESOURCE,),
            "secret_keys": (KEY,),
            "admins": ("alice",),
        }
        settings = AuthSettings(**(plain | changes))
        server = AuthorizationServer(
            settings, redis, prefix=prefix, clock=clock, fetcher=fetcher, http=http, keep_id_token=keep_id_token
        )
        return World(redis, clock, settings, server)

    return make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """The usual server."""
    return make_world()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for HOST that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return public, private


@dataclass
class Site:
    """A small https server that says what it is told to."""

    port: int = 0
    status: str = "200 OK"
    headers: str = "Content-Type: application/json\r\n"
    body: bytes = b"{}"
    requests: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        head = f"HTTP/1.1 {self.status}\r\n{self.headers}Content-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + self.body)
        await writer.drain()
        writer.close()

    @property
    def client_id(self) -> str:
        return f"https://{HOST}:{self.port}/client.json"

    def describe(self, **changes: Any) -> None:
        plain = {"client_id": self.client_id, "client_name": "App", "redirect_uris": ["http://127.0.0.1/cb"]}
        self.body = json.dumps({name: value for name, value in (plain | changes).items() if value is not None}).encode()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    public, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    found = Site()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context)
    found.port = server.sockets[0].getsockname()[1]
    found.describe()
    async with server:
        yield found


@pytest.fixture
def fetcher(site: Site, tmp_path: Path) -> Fetcher:
    """For it this computer is the public internet, and its resolver knows one host."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == HOST else ["10.0.0.1"]

    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    return Fetcher(resolve, lambda address: address == "127.0.0.1", context)
