"""Verifying JWTs of many issuers, with keys that rotate and issuers that go away."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from switchboard.errors import AuthorizationUnavailable
from switchboard.identity import ClaimRules, IssuerKeys, JwksVerifier

ISSUER = "https://sso.example/"
AUDIENCE = "https://mcp.example/mcp"
EC = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})


@dataclass
class Sso:
    """An issuer's key set, with a switch."""

    keys: list[Any] = field(default_factory=lambda: [EC.as_dict(private=False), RSA.as_dict(private=False)])
    now: float = 1_800_000_000.0
    status: int = 200
    asked: int = 0

    async def jwks(self, request: Request) -> Response:
        self.asked += 1
        return JSONResponse({"keys": self.keys}, self.status)

    def clock(self) -> float:
        return self.now


@pytest.fixture
def sso() -> Sso:
    return Sso()


@pytest.fixture
async def http(sso: Sso) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=[Route("/jwks", sso.jwks)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app)) as client:
        yield client


@pytest.fixture
def verifier(sso: Sso, http: httpx2.AsyncClient) -> JwksVerifier:
    keys = IssuerKeys(http, "https://sso.example/jwks", clock=sso.clock)
    return JwksVerifier(keys, ClaimRules(issuer=ISSUER, audiences={AUDIENCE}), clock=sso.clock)


def token(key: Any = EC, alg: str = "ES256", header: Any = None, **changes: Any) -> str:
    """An access token, good unless changed."""
    claims = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "client_id": "app",
        "scope": "mcp",
        "exp": 1_800_000_600,
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    head = {"alg": alg, "kid": key.kid} | (header or {})
    written = {name: value for name, value in head.items() if value is not None}
    return jws.serialize_compact(written, json.dumps(kept), key, algorithms=[alg])


@pytest.mark.parametrize(
    "made",
    [
        token(),
        token(RSA, "RS256"),
        token(RSA, "PS256"),
        token(header={"typ": "at+jwt"}),
        token(header={"typ": "application/at+jwt"}),
        token(header={"kid": None}),
        token(aud=["https://other.example", AUDIENCE]),
        token(exp=1_799_999_950),
        token(nbf=1_800_000_050),
    ],
)
async def test_a_good_token_is_its_principal(verifier: JwksVerifier, made: str) -> None:
    """AUTH.md, direct: real issuers' headers, 60 s of skew."""
    principal = await verifier.verify(made)

    assert principal is not None
    assert (principal.issuer, principal.subject, principal.client_id) == (ISSUER, "alice", "app")
    assert await verifier.verify(made) == principal


@pytest.mark.parametrize(
    "made",
    [
        token(iss="https://sso.example"),
        token(aud="https://other.example"),
        token(aud=None),
        token(sub=None),
        token(exp=1_799_999_930),
        token(exp=None),
        token(iss=None),
        token(exp=float("inf")),
        token(exp=float("nan")),
        token(sub="half a \ud800 pair"),
        token(nested=json.loads("[" * 700 + "]" * 700)),
        token(nbf=1_800_000_070),
        token(header={"typ": "logout+jwt"}),
        token(header={"typ": "oauth-id-jag+jwt"}),
        token(typ="ID"),
        token(token_use="id"),
        token(ECKey.generate_key("P-256", {"kid": "ec"})),
        token(ECKey.generate_key("P-256", {"kid": "ec"}), header={"jku": "https://evil.example/jwks"}),
        "a.b.c",
        "a.b",
        "opaque",
        "e30.e30.",
        "bnVsbA.e30.x",
    ],
)
async def test_any_other_token_is_nobody(verifier: JwksVerifier, made: str) -> None:
    """AUTH.md row 4 and the attacks list."""
    assert await verifier.verify(made) is None


async def test_a_key_that_a_token_brings_along_is_not_looked_at(verifier: JwksVerifier) -> None:
    """AUTH.md attacks: `jwk` in the header."""
    own = ECKey.generate_key("P-256", {"kid": "ec"})

    assert await verifier.verify(token(own, header={"jwk": own.as_dict(private=False)})) is None


async def test_neither_none_nor_the_public_key_as_a_secret_is_a_signature(verifier: JwksVerifier) -> None:
    """AUTH.md attacks: alg=none, HS256 with the public key."""
    _, claims, _ = token().split(".")
    for alg in ("none", "HS256", "hs256", ["ES256"]):
        head = base64.urlsafe_b64encode(json.dumps({"alg": alg, "kid": "ec"}).encode()).rstrip(b"=").decode()
        mac = hmac.digest(EC.as_pem(private=False), f"{head}.{claims}".encode(), "sha256")
        signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        for end in ("", signature):
            assert await verifier.verify(f"{head}.{claims}.{end}") is None


async def test_keys_are_fetched_once_for_many_requests_and_kept_for_an_hour(verifier: JwksVerifier, sso: Sso) -> None:
    found = await asyncio.gather(*(verifier.verify(token()) for _ in range(20)))
    sso.now += 500
    await verifier.verify(token())

    assert all(found)
    assert sso.asked == 1
    sso.now += 3_200
    await verifier.verify(token(exp=1_900_000_000))
    assert sso.asked == 2


async def test_a_rotated_key_is_found_at_once_and_forged_key_ids_do_not_make_us_ask(
    verifier: JwksVerifier, sso: Sso
) -> None:
    """AUTH.md: an unknown `kid` causes at most one fetch in 30 s."""
    await verifier.verify(token())
    new = ECKey.generate_key("P-256", {"kid": "new"})
    sso.keys.append(new.as_dict(private=False))
    sso.now += 31
    assert await verifier.verify(token(new)) is not None
    assert sso.asked == 2

    for number in range(10):
        assert await verifier.verify(token(header={"kid": f"forged-{number}"})) is None

    assert sso.asked == 2


async def test_the_issuer_may_be_away_for_a_day(verifier: JwksVerifier, sso: Sso) -> None:
    """AUTH.md: stale up to 24 h on outage; after that not knowing is 503, never 401."""
    lasting = token(exp=1_900_000_000)
    await verifier.verify(lasting)
    sso.status = 500
    sso.now += 23 * 3_600
    assert await verifier.verify(lasting) is not None

    sso.now += 3_600
    with pytest.raises(AuthorizationUnavailable):
        await verifier.verify(lasting)
    sso.status = 200
    sso.now += 1
    assert await verifier.verify(lasting) is not None


async def test_an_issuer_that_never_answered_is_unavailable(verifier: JwksVerifier, sso: Sso) -> None:
    """AUTH.md row 6."""
    sso.status = 503

    with pytest.raises(AuthorizationUnavailable):
        await verifier.verify(token())


async def test_keys_that_make_no_sense_are_passed_over(verifier: JwksVerifier, sso: Sso) -> None:
    sso.keys = ["no", {}, {"kty": "EC", "kid": "ec"}, {"kty": "oct", "k": "eA", "kid": "ec"}, *sso.keys]

    assert await verifier.verify(token()) is not None


async def test_a_key_for_encryption_does_not_sign(verifier: JwksVerifier, sso: Sso) -> None:
    sso.keys = [EC.as_dict(private=False, use="enc")]

    assert await verifier.verify(token()) is None


class ReadKeys(IssuerKeys):
    """Keys at hand; counts how often they were looked through."""

    class Keys(list[Any]):
        looked_through = 0

        def __getitem__(self, index: Any) -> Any:
            self.looked_through += 1
            return super().__getitem__(index)

    def __init__(self) -> None:
        self.keys = self.Keys([EC.as_dict(private=False)])

    async def known(self, kid: object) -> Any:
        return self.keys


async def test_a_signature_is_verified_once_and_again_when_the_keys_were_read_anew() -> None:
    keys, now = ReadKeys(), 1_800_000_000.0
    verifier = JwksVerifier(keys, ClaimRules(issuer=ISSUER, audiences={AUDIENCE}), clock=lambda: now)
    made, others = token(), token(aud="https://other.example")
    for _ in range(3):
        assert await verifier.verify(made) is not None
    assert keys.keys.looked_through == 1
    for _ in range(3):
        assert await verifier.verify(others) is None
    assert keys.keys.looked_through == 4, "what is good for others is not kept"
    keys.keys = keys.Keys([RSA.as_dict(private=False)])
    assert await verifier.verify(made) is None
    keys.keys = keys.Keys([EC.as_dict(private=False)])
    assert await verifier.verify(made) is not None
    now += 659
    assert await verifier.verify(made) is not None
    now += 2
    assert await verifier.verify(made) is None
