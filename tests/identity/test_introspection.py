"""Asking the issuer about tokens: an issuer that answers, one that is slow, one that is down."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from switchboard.common.breaker import Breaker
from switchboard.errors import AuthorizationUnavailable
from switchboard.identity import ClaimRules, IntrospectionVerifier
from switchboard.telemetry.metrics import ISSUER_REQUESTS
from tests.telemetry.counting import Counted

ISSUER = "https://issuer.example"
AUDIENCE = "https://mcp.example/mcp"


@dataclass
class Issuer:
    """A small issuer whose tokens and moods tests set."""

    now: float = 1_800_000_000.0
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    broken: Response | None = None
    gate: asyncio.Event | None = None
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def introspect(self, request: Request) -> Response:
        token = parse_qs((await request.body()).decode())["token"][0]
        self.asked.append(token)
        self.credentials.append(request.headers.get("authorization", ""))
        self.reached.set()
        if self.gate:
            await self.gate.wait()
        return self.broken or JSONResponse(self.tokens.get(token, {"active": False}))

    def grant(self, token: str, **claims: Any) -> None:
        known = {"active": True, "iss": ISSUER, "sub": "alice", "client_id": "app", "aud": AUDIENCE, "scope": "mcp"}
        self.tokens[token] = known | {"exp": self.now + 3600} | claims


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
async def make_verifier(issuer: Issuer) -> AsyncIterator[Callable[..., IntrospectionVerifier]]:
    app = Starlette(routes=[Route("/introspect", issuer.introspect, methods=["POST"])])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=ISSUER) as http:

        def make(endpoint: Any = f"{ISSUER}/introspect", **changes: Any) -> IntrospectionVerifier:
            plain: dict[str, Any] = {
                "client_id": "resource server",
                "client_secret": "a:b%",
                "rules": ClaimRules(issuer=ISSUER, audiences={AUDIENCE}),
                "clock": lambda: issuer.now,
            }
            return IntrospectionVerifier(http, endpoint, **(plain | changes))

        yield make


async def test_an_active_token_is_its_principal_and_an_inactive_one_nobody(issuer: Issuer, make_verifier: Any) -> None:
    issuer.grant("good")
    verifier = make_verifier()

    principal = await verifier.verify("good")

    assert principal is not None
    assert principal.subject == "alice"
    assert await verifier.verify("unknown") is None


async def test_the_resource_server_authenticates_with_encoded_credentials(issuer: Issuer, make_verifier: Any) -> None:
    """AUTH.md row 23, RFC 6749 §2.3.1."""
    await make_verifier().verify("any")

    assert base64.b64decode(issuer.credentials[0].removeprefix("Basic ")) == b"resource+server:a%3Ab%25"


async def test_a_token_for_another_audience_is_refused_though_active(issuer: Issuer, make_verifier: Any) -> None:
    """AUTH.md row 4."""
    issuer.grant("elsewhere", aud="https://other.example/mcp")

    assert await make_verifier().verify("elsewhere") is None


async def test_an_answer_is_believed_for_thirty_seconds_at_most(issuer: Issuer, make_verifier: Any) -> None:
    """AUTH.md row 23."""
    issuer.grant("good")
    verifier = make_verifier(cache_seconds=3600)
    await verifier.verify("good")
    issuer.tokens.clear()

    issuer.now += 29
    assert await verifier.verify("good") is not None
    issuer.now += 2
    assert await verifier.verify("good") is None
    assert issuer.asked == ["good", "good"]


async def test_an_answer_is_not_believed_beyond_the_tokens_end(issuer: Issuer, make_verifier: Any) -> None:
    """AUTH.md row 23."""
    issuer.grant("brief", exp=issuer.now + 5)
    verifier = make_verifier()
    assert await verifier.verify("brief") is not None

    issuer.now += 5

    assert await verifier.verify("brief") is None


async def test_many_requests_with_one_token_ask_once(issuer: Issuer, make_verifier: Any) -> None:
    issuer.grant("good")
    issuer.gate = asyncio.Event()
    verifier = make_verifier()
    waiting = [asyncio.ensure_future(verifier.verify("good")) for _ in range(20)]
    await issuer.reached.wait()
    issuer.gate.set()

    found = await asyncio.gather(*waiting)

    assert {principal.subject for principal in found} == {"alice"}
    assert issuer.asked == ["good"]


async def test_a_cancelled_request_does_not_fail_those_that_waited_with_it(issuer: Issuer, make_verifier: Any) -> None:
    issuer.grant("good")
    issuer.gate = asyncio.Event()
    verifier = make_verifier()
    first = asyncio.ensure_future(verifier.verify("good"))
    await issuer.reached.wait()
    second = asyncio.ensure_future(verifier.verify("good"))
    await asyncio.sleep(0)
    first.cancel()
    issuer.gate.set()

    assert (await second) is not None


@pytest.mark.parametrize(
    "broken",
    [
        Response(status_code=500),
        Response(status_code=401),
        Response("not json", media_type="application/json"),
        JSONResponse(["active"]),
        Response("[" * 100_000, media_type="application/json"),
    ],
)
async def test_an_issuer_that_fails_is_unavailable_and_never_says_inactive(
    issuer: Issuer, make_verifier: Any, broken: Response
) -> None:
    """AUTH.md row 6."""
    issuer.grant("good")
    issuer.broken = broken
    verifier = make_verifier()

    with pytest.raises(AuthorizationUnavailable):
        await verifier.verify("good")
    issuer.broken = None

    assert await verifier.verify("good") is not None, "nothing of the failure was cached"


async def test_an_issuer_that_cannot_be_reached_is_unavailable(unused_port: int) -> None:
    """AUTH.md row 6."""
    async with httpx2.AsyncClient(timeout=2) as http:
        verifier = IntrospectionVerifier(
            http,
            f"http://127.0.0.1:{unused_port}/introspect",
            client_id="rs",
            client_secret="s",
            rules=ClaimRules(issuer=ISSUER, audiences={AUDIENCE}),
        )
        with pytest.raises(AuthorizationUnavailable) as caught:
            await verifier.verify("secret-token")

    assert "secret-token" not in str(caught.value)


async def test_after_failures_in_a_row_the_issuer_is_left_alone_for_a_while(issuer: Issuer, make_verifier: Any) -> None:
    issuer.broken = Response(status_code=503)
    verifier, counted = make_verifier(breaker=Breaker(threshold=3, pause=5)), Counted(ISSUER_REQUESTS)
    for _ in range(6):
        with pytest.raises(AuthorizationUnavailable):
            await verifier.verify("token")
    assert len(issuer.asked) == 3
    issuer.broken = None
    issuer.grant("token")
    issuer.now += 5

    assert await verifier.verify("token") is not None
    told = {("introspection", "failed"): 3, ("introspection", "held_back"): 3, ("introspection", "answered"): 1}
    assert counted.since() == told


async def test_the_cache_is_bounded(issuer: Issuer, make_verifier: Any) -> None:
    verifier = make_verifier(cache_size=2)
    for name in ("a", "b", "c", "a"):
        await verifier.verify(name)

    assert issuer.asked == ["a", "b", "c", "a"]


@pytest.mark.parametrize("way", ["basic", "post"])
async def test_a_secret_that_is_refused_in_one_place_is_sent_in_the_other_and_then_only_there(way: str) -> None:
    """RFC 6749 §2.3.1: not every issuer decodes the header, nor takes a secret in the form."""
    asked: list[str] = []

    async def introspect(request: Request) -> Response:
        sent = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        header = request.headers.get("authorization", "")
        asked.append("basic" if header else "post")
        good = (
            sent.get("client_secret") == "a+b/c= %"
            or header == "Basic " + base64.b64encode(b"rs:a%2Bb%2Fc%3D+%25").decode()
        )
        if asked[-1] != way or not good:
            return JSONResponse({"error": "invalid_client"}, 401)
        return JSONResponse({"active": True, "iss": ISSUER, "sub": "alice", "aud": AUDIENCE})

    app = Starlette(routes=[Route("/introspect", introspect, methods=["POST"])])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=ISSUER) as http:
        rules = ClaimRules(issuer=ISSUER, audiences={AUDIENCE})
        verifier = IntrospectionVerifier(
            http, f"{ISSUER}/introspect", client_id="rs", client_secret="a+b/c= %", rules=rules
        )
        assert await verifier.verify("one") is not None
        assert await verifier.verify("two") is not None
    assert asked == (["basic", "basic"] if way == "basic" else ["basic", "post", "post"])
