"""Attacks that two processes could answer differently: what one of them was told, the other one has to know."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2
import pytest

from tools.fleet.children import LOOPBACK
from tools.fleet.tokens import CALLBACK, PublicClient
from tools.fleet.workers import Fleet
from tools.messages import ACCEPT, INITIALIZE


@dataclass
class Pair:
    """Both workers, reached past the load balancer, and a client that one of them has registered."""

    fleet: Fleet
    http: httpx2.AsyncClient
    one: str
    two: str
    client: PublicClient

    async def call(self, base: str, token: str) -> int:
        """The status that a worker answers a token with."""
        headers = {**ACCEPT, "Authorization": f"Bearer {token}"}
        return (await self.http.post(f"{base}/mcp", json=INITIALIZE, headers=headers)).status_code


@pytest.fixture
async def pair(fleet: Fleet) -> AsyncIterator[Pair]:
    """Cookies are kept by host, not by port, so that both workers are one site to this browser."""
    one, two = (f"http://{LOOPBACK}:{port}" for port in fleet.ports)
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        yield Pair(fleet, http, one, two, await PublicClient.registered(http, fleet.base, fleet.url))


def fields(page: httpx2.Response) -> dict[str, str]:
    """The hidden fields of a page."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))


def at(base: str, url: str) -> str:
    """The same address at one of the workers."""
    parts = urlsplit(url)
    return f"{base}{parts.path}?{parts.query}"


async def test_what_one_worker_revoked_the_other_one_refuses_at_once(pair: Pair) -> None:
    tokens = await pair.client.sign_in()
    assert await pair.call(pair.two, tokens["access_token"]) == 200
    sent = {"token": tokens["refresh_token"], "client_id": pair.client.id}
    await pair.http.post(f"{pair.one}/revoke", data=sent)
    assert await pair.call(pair.two, tokens["access_token"]) == 401
    refreshed = await pair.http.post(
        f"{pair.two}/token", data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **sent}
    )
    assert refreshed.json()["error"] == "invalid_grant"


async def test_a_decision_taken_at_both_workers_at_once_counts_once(pair: Pair) -> None:
    page = await pair.http.get(at(pair.one, pair.client.question()))
    sent = fields(page) | {"decision": "allow"}
    asked = (pair.http.post(f"{(pair.one, pair.two)[n % 2]}/consent", data=sent) for n in range(20))
    answers = await asyncio.gather(*asked)
    assert Counter(answer.status_code for answer in answers) == {303: 1, 400: 19}


async def test_an_upstream_answer_given_to_both_workers_at_once_makes_one_code(pair: Pair) -> None:
    page = await pair.http.get(at(pair.one, pair.client.question()))
    left = await pair.http.post(f"{pair.two}/consent", data=fields(page) | {"decision": "allow"})
    picker = await pair.http.get(at(pair.one, left.headers["location"]))
    picked = await pair.http.post(
        urljoin(pair.two, "/fakeupstreamauth/redirect"), data=fields(picker) | {"user_id": "alice"}
    )
    back = picked.headers["location"]
    answers = await asyncio.gather(*(pair.http.get(at((pair.one, pair.two)[n % 2], back)) for n in range(20)))
    assert Counter(answer.status_code for answer in answers) == {303: 1, 400: 19}


async def test_a_code_that_one_worker_took_is_a_replay_at_the_other(pair: Pair) -> None:
    page = await pair.http.get(at(pair.one, pair.client.question()))
    left = await pair.http.post(f"{pair.one}/consent", data=fields(page) | {"decision": "allow"})
    picker = await pair.http.get(at(pair.one, left.headers["location"]))
    picked = await pair.http.post(f"{pair.one}/fakeupstreamauth/redirect", data=fields(picker) | {"user_id": "alice"})
    back = await pair.http.get(at(pair.one, picked.headers["location"]))
    assert back.headers["location"].startswith(CALLBACK)
    code = dict(parse_qsl(urlsplit(back.headers["location"]).query))["code"]
    sent = {"grant_type": "authorization_code", "code": code, "code_verifier": pair.client.verifier}
    sent["client_id"] = pair.client.id
    first = await pair.http.post(f"{pair.one}/token", data=sent)
    again = await pair.http.post(f"{pair.two}/token", data=sent)
    assert (first.status_code, again.status_code) == (200, 400)
    for base in (pair.one, pair.two):
        assert await pair.call(base, first.json()["access_token"]) == 401


async def test_nothing_but_an_access_token_opens_the_endpoint(pair: Pair) -> None:
    tokens = await pair.client.sign_in()
    for wrong in (tokens["refresh_token"], pair.client.verifier, tokens["access_token"][:-1], "null"):
        assert await pair.call(pair.one, wrong) == 401
        assert await pair.call(pair.two, wrong) == 401


async def test_a_token_anywhere_but_in_its_header_is_no_token(pair: Pair) -> None:
    token = (await pair.client.sign_in())["access_token"]
    headers = {**ACCEPT}
    in_query = await pair.http.post(f"{pair.one}/mcp?access_token={token}", json=INITIALIZE, headers=headers)
    in_body = await pair.http.post(f"{pair.two}/mcp", data={"access_token": token}, headers=headers)
    in_cookie = await pair.http.post(
        f"{pair.one}/mcp", json=INITIALIZE, headers=headers | {"Cookie": f"access_token={token}; Authorization={token}"}
    )
    assert (in_query.status_code, in_body.status_code, in_cookie.status_code) == (400, 401, 401)
    assert token not in in_query.text


@pytest.mark.parametrize(
    "path", ["/authorize", "/token", "/register", "/consent", "/grants", "/fakeupstreamauth/authorize"]
)
async def test_no_endpoint_answers_for_another_host(pair: Pair, path: str) -> None:
    """DNS rebinding: a page of the attacker's whose name leads here."""
    for base in (pair.one, pair.two):
        answer = await pair.http.get(base + path, headers={"Host": "rebound.evil.example"})
        assert answer.status_code == 421


@pytest.mark.parametrize(
    "path", ["/authorize", "/consent", "/grants", "/fakeupstreamauth/redirect", "/introspect", "/mcp"]
)
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_pages_and_what_is_not_for_browsers_take_nothing_from_other_origins(
    pair: Pair, path: str, origin: str
) -> None:
    answer = await pair.http.post(pair.one + path, data={"x": "1"}, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_a_client_in_a_browser_registers_and_asks_for_tokens_from_any_origin(pair: Pair) -> None:
    origin = {"Origin": "https://app.elsewhere.example"}
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for path in ("/register", "/token", "/revoke", "/.well-known/oauth-authorization-server"):
        allowed = await pair.http.options(pair.two + path, headers=origin | preflight)
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] in ("*", origin["Origin"])
    registered = await pair.http.post(
        f"{pair.one}/register", json={"redirect_uris": ["https://app.elsewhere.example/cb"]}, headers=origin
    )
    refused = await pair.http.post(f"{pair.two}/token", data={"grant_type": "refresh_token"}, headers=origin)
    assert (registered.status_code, refused.status_code) == (201, 401)
    for answer in (registered, refused):
        assert answer.headers["access-control-allow-origin"] in ("*", origin["Origin"])
        assert "access-control-allow-credentials" not in answer.headers


def raw(port: int, sent: bytes) -> bytes:
    """What a worker answers to bytes, until it closes the connection, which its last request asks for."""
    with socket.create_connection((LOOPBACK, port), timeout=20) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        return received


def posted(path: bytes, headers: bytes, body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    return b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n" + body


def initialize(credentials: bytes) -> bytes:
    """A request that begins a session, if the credentials are good."""
    body = json.dumps(INITIALIZE).encode()
    kind = b"Connection: close\r\nContent-Type: application/json\r\nAccept: " + ACCEPT["accept"].encode()
    length = b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n"
    return posted(b"/mcp", credentials + b"\r\n" + kind + length, body)


def disputed(framing: bytes, token: str) -> bytes:
    """A request with five bytes after its head, and behind them one that begins a session."""
    form = b"Content-Type: application/x-www-form-urlencoded\r\n"
    return posted(b"/token", form + framing, b"0\r\n\r\n") + initialize(b"Authorization: Bearer " + token.encode())


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 60\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
    ],
)
async def test_a_request_whose_end_is_disputed_hides_no_second_one(pair: Pair, framing: bytes) -> None:
    """Request smuggling: what a balancer takes for a body, a worker must not take for a request of somebody else."""
    token = (await pair.client.sign_in())["access_token"]
    received = await asyncio.to_thread(raw, pair.fleet.ports[0], disputed(framing, token))
    assert b"mcp-session-id" not in received.lower()
    assert b" 200 " not in received


async def test_a_request_whose_end_is_plain_may_be_followed_by_another(pair: Pair) -> None:
    """Without this the attempts above would fail for any reason."""
    token = (await pair.client.sign_in())["access_token"]
    received = await asyncio.to_thread(raw, pair.fleet.ports[0], disputed(b"Content-Length: 5\r\n", token))
    assert b"mcp-session-id" in received.lower()


async def test_a_header_that_is_folded_or_split_is_no_header(pair: Pair) -> None:
    token = (await pair.client.sign_in())["access_token"].encode()
    split = (b"Authorization:\r\n Bearer ", b"X: y\nAuthorization: Bearer ", b"\tAuthorization: Bearer ")
    for line in split:
        received = await asyncio.to_thread(raw, pair.fleet.ports[1], initialize(line + token))
        assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401")), line
    whole = await asyncio.to_thread(raw, pair.fleet.ports[1], initialize(b"Authorization: Bearer " + token))
    assert whole.startswith(b"HTTP/1.1 200")


async def test_a_body_that_is_too_large_or_too_deep_is_refused_before_it_costs(pair: Pair) -> None:
    large = await pair.http.post(f"{pair.one}/token", content=b"a=" + b"x" * 1_000_000, headers={"Content-Type": "x"})
    deep = await pair.http.post(f"{pair.two}/register", content=b'{"redirect_uris":' + b"[" * 60_000)
    many = await pair.http.post(f"{pair.two}/token", data={f"p{number}": "1" for number in range(2_000)})
    assert (large.status_code, deep.status_code, many.status_code) == (413, 400, 400)


async def test_administration_is_not_offered_and_not_given_to_who_asks(pair: Pair) -> None:
    found = await pair.http.get(f"{pair.one}/.well-known/oauth-protected-resource/mcp")
    issuer = await pair.http.get(f"{pair.two}/.well-known/oauth-authorization-server")
    for document in (found.json(), issuer.json()):
        assert "admin" not in document["scopes_supported"]
    assert (await pair.client.sign_in("mallory", scope="mcp admin"))["scope"] == "mcp"
    assert (await pair.client.sign_in("admin", scope="mcp admin"))["scope"] == "mcp admin"
