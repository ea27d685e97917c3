"""Whatever is sent, nobody gets a 500, an open redirect, somebody's markup, or a secret in a log."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import given, settings
from hypothesis import strategies as st

from auth_server import AuthorizationServer, AuthSettings
from auth_server.clients.redirect_uris import matches, problem, split
from tests.auth.conftest import World
from tools.fleet.children import Child, answers, free_port, start

ISSUER = "http://localhost:3001"
PATHS = (
    "/authorize",
    "/consent",
    "/upstream/callback",
    "/upstream/logout",
    "/fakeupstreamauth/authorize",
    "/fakeupstreamauth/redirect",
    "/token",
    "/revoke",
    "/introspect",
    "/register",
    "/register/c_x",
    "/grants",
    "/jwks",
    "/.well-known/oauth-authorization-server",
)
NAMES = (
    *("client_id", "redirect_uri", "response_type", "state", "scope", "resource", "code_challenge", "grant_type"),
    *("code", "code_verifier", "refresh_token", "token", "client_secret", "client_assertion", "client_assertion_type"),
    *("transaction", "csrf", "decision", "user_id", "family", "logout_token", "subject_token", "assertion"),
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("", "code", "S256", "authorization_code", "refresh_token", "client_credentials", "allow", "static"),
            *("http://127.0.0.1/cb", "https://evil.example", "javascript:alert(1)", "<script>alert(1)</script>"),
            *("sbc_" + "A" * 65, "sba_" + "A" * 65, "sbr_" + "A" * 65, "a.b.c", "e30.e30.e30", "[]", "x" * 9000),
            "\r\nSet-Cookie: a=b",
            "https://a.example/c.json",
            "\x00",
        ]
    ),
    st.text(max_size=40),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"{}", b"[]", b"null", b"%ff=%fe", b"a=1&a=2", b"&" * 500, b'{"redirect_uris": [[]]}', b"[" * 9000]
    ),
)
CHEAP = settings(max_examples=250, deadline=None)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    path=st.sampled_from(PATHS),
    query=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6),
    form=st.one_of(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6), BODIES),
    kind=st.sampled_from(["application/x-www-form-urlencoded", "application/json", "text/plain", ""]),
    header=st.sampled_from([None, "Basic !!", "Basic YTpi", "Bearer x", "Basic", "Digest a"]),
)
@CHEAP
def test_nothing_that_is_sent_is_answered_with_500_or_sent_elsewhere(
    method: str, path: str, query: dict[str, str], form: Any, kind: str, header: str | None
) -> None:
    """AUTH.md attacks, thousands of them."""

    async def send() -> httpx2.Response:
        redis: Any = FakeAsyncRedis(server=FakeServer(), decode_responses=True)
        about = AuthSettings(
            issuer="http://localhost:3001", resources=("http://localhost:3232/mcp",), secret_keys=("k",)
        )
        app = AuthorizationServer(about, redis).app()
        body = form if isinstance(form, bytes) else urlencode(form, errors="surrogatepass").encode()
        headers = {"content-type": kind} | ({"authorization": header} if header else {})
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://localhost:3001"
        ) as http:
            url = f"{path}?{urlencode(query, errors='surrogatepass', quote_via=quote)}"
            response = await http.request(method, url, content=body, headers=headers)
        await redis.aclose()
        return response

    response = asyncio.run(send())

    assert response.status_code < 500 or response.status_code == 503
    assert response.headers.get("location", "http://localhost:3001/").startswith("http://localhost:3001/")
    assert "<script>alert" not in response.text
    assert "Traceback" not in response.text
    assert "set-cookie: a" not in str(response.headers).lower()


@given(st.one_of(st.text(max_size=60), st.from_regex(r"\A(https?|app|javascript)://?[\w@.:\[\]%/\\#?-]{0,30}\Z")))
@CHEAP
def test_a_redirect_that_may_be_registered_leads_where_it_seems_to(uri: str) -> None:
    """AUTH.md row 14: what passes has one reading, and matches itself."""
    if problem(uri) is not None:
        return
    parts = split(uri)

    assert parts is not None
    assert uri.isascii()
    assert uri.isprintable()
    assert not set(uri) & set(" \\#<>\"'`{}|^") - {"'"}
    if parts.scheme in ("http", "https"):
        assert httpx2.URL(uri).host in (parts.host.lower(), parts.host.strip("[]").lower())
    assert matches(uri, [uri])


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
@pytest.mark.parametrize(
    "path",
    [
        *("/register", "/token", "/revoke", "/introspect", "/upstream/logout", "/authorize", "/consent"),
        "/fakeupstreamauth/redirect",
    ],
)
async def test_a_body_beyond_the_limit_is_413_also_when_it_comes_in_chunks(
    world: World, hearing: Any, path: str
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(9):
            yield b"x=" + b"y" * 8_192

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with world.browser() as http:
        answer = await http.post(path, content=chunks(), headers=headers)
        declared = await http.post(path, content=b"y" * 70_000, headers=headers)

    assert (answer.status_code, declared.status_code) == (413, 413)
    assert "request.failed" not in "\n".join(hearing.said), "anybody can send one: it is no fault of ours"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[str, Child]]:
    """The server as a process that logs everything; its address."""
    port = free_port()
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"AUTH_SERVER_PORT": str(port), "SECRET_KEY": "k" * 32, "LOG_LEVEL": "debug", "LOG_FORMAT": "console"}
    child = start("auth-server", [sys.executable, "-m", "auth_server"], tmp_path, env)
    try:
        child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), 120)
        yield f"http://localhost:{port}", child
    finally:
        child.stop()


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_a_whole_life_at_debug_leaves_no_secret_in_the_log(world: World, process: tuple[str, Child]) -> None:
    """AUTH.md attacks: no token, code, secret, verifier or cookie in the log."""
    world.address, child = process
    client = await world.register(token_endpoint_auth_method="client_secret_post")
    secret = {"client_secret": client["client_secret"]}
    pkce = world.pkce()
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, pkce))
        code = (await world.authorize(http, client, pkce))["code"]
        cookies = list(http.cookies.values())
    tokens = (await world.redeem(client, code, pkce, **secret)).json()
    newer = (await world.refresh(client, tokens["refresh_token"], **secret)).json()
    await world.redeem(client, code, pkce, **secret)
    await world.refresh(client, newer["refresh_token"], client_secret="guess")
    async with world.browser() as http:
        await http.post("/revoke", data={"token": newer["access_token"], "client_id": client["client_id"]} | secret)
        await http.post("/introspect", data={"token": newer["access_token"]}, auth=("resource-server", "guess-guess"))

    said = child.log.read_text()
    assert "code.replayed" in said, "the log was written"
    hidden = [client["client_secret"], client["registration_access_token"], code, pkce.verifier, pkce.challenge]
    hidden += [*cookies, *world.hidden(page.text).values(), "guess-guess"]
    hidden += [pair[kind] for pair in (tokens, newer) for kind in ("access_token", "refresh_token")]
    assert [value for value in hidden if value in said] == []


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
async def test_no_client_writes_what_is_not_seen_into_the_log(world: World, process: tuple[str, Child]) -> None:
    world.address, child = process
    hostile = "zzz\x1b[2J\u202e\x9b31m\u3164"
    async with world.browser() as http:
        await http.get("/authorize", params={"client_id": hostile})
        await http.post("/token", data={"client_id": hostile, "grant_type": hostile})
        await http.post("/register", json={"client_name": hostile, "redirect_uris": ["http://127.0.0.1/cb"]})

    child.wait_until(lambda: "client.registered" in child.log.read_text(), 120)
    said = child.log.read_bytes().decode()
    assert said.count(r"zzz\x1b[2J\u202e\x9b31m\u3164") == 3, "twice as a client, once as a grant"
    assert all(line.isprintable() for line in said.splitlines())
