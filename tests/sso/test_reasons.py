"""Why a token was refused: in the log by name, for the client in general; and bound tokens, which clients can mend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from structlog.testing import capture_logs

from auth_server.connectors.client import refuses_us
from switchboard.settings import load_settings

AUDIENCE = "http://localhost:3232/mcp"
GOOD: Mapping[str, Any] = {"aud": AUDIENCE, "client_id": "desk", "scope": "mcp", "tid": "t-1"}
INVALID = "The token is not valid here, or not any more"


async def _refused(http: Any, token: str) -> tuple[str, dict[str, Any]]:
    with capture_logs() as logs:
        answer = await http.post("/mcp", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert all(token not in str(line) for line in logs)
    [line] = [dict(line) for line in logs if line["event"] == "token.refused"] or [{}]
    return answer.headers["www-authenticate"], line


@pytest.fixture
async def at(start_issuer: Any, resource: Any) -> Any:
    """`await at(…settings)`: the issuer and a client of an endpoint that verifies its tokens."""

    async def start(**changes: Any) -> tuple[Any, Any]:
        issuer = await start_issuer()
        given = {"token_validation": "jwt", "auth_mode": "separate", "auth_server_url": issuer.url} | changes
        return issuer, await resource(load_settings(None, **given))

    return start


@pytest.mark.parametrize(
    ("wrong", "what", "expected", "found"),
    [
        ({"aud": "https://other.example"}, "aud", AUDIENCE, "https://other.example"),
        ({"aud": None}, "aud", "TOKEN_AUDIENCES", "missing"),
        ({"iss": "https://other.example/"}, "iss", "http://127.0.0.1", "https://other.example/"),
        ({"client_id": "phone"}, "client_id or azp or cid", "desk", "phone"),
        ({"exp": 1_700_000_000}, "exp", "later than", "1700000000"),
        ({"exp": None}, "exp", "number", "missing"),
        ({"nbf": 9_000_000_000}, "nbf", "or earlier", "9000000000"),
        ({"token_use": "id"}, "token_use", "access token", "id"),
        ({"sub": None}, "sub", "SUBJECT_CLAIM", "missing"),
        ({"tid": "t-2"}, "tid", "t-1", "t-2"),
        ({"aud": "a\x1b[31m\u202e\n" + "x" * 500}, "aud", AUDIENCE, "a\\x1b[31m\\u202e\\n" + "x" * 192),
    ],
)
async def test_the_log_says_which_claim_is_wrong_and_the_client_is_told_none_of_it(
    at: Any, wrong: dict[str, Any], what: str, expected: str, found: str
) -> None:
    issuer, http = await at(token_clients=("desk",), required_claims={"tid": "t-1"})
    claims = {**GOOD, **wrong}
    if wrong == {"aud": None}:
        issuer, http = await at()
    challenge, line = await _refused(http, issuer.token(**claims))
    assert (line["what"], line["found"]) == (what, found)
    assert expected in line["expected"]
    assert f'error_description="{INVALID}"' in challenge


async def test_the_log_says_what_is_wrong_before_there_are_claims(at: Any) -> None:
    issuer, http = await at()
    foreign = RSAKey.generate_key(2048, {"kid": "one"})
    tokens = {
        "the token": "tok-1",
        "the header typ": issuer.token(header={"typ": "dpop+jwt"}, **GOOD),
        "the signature": issuer.token(key=foreign, **GOOD),
        "iss": issuer.token(key=foreign, **{**GOOD, "iss": "https://other.example"}),
    }
    for what, token in tokens.items():
        assert (await _refused(http, token))[1]["what"] == what


@pytest.mark.parametrize("bound", [{"cnf": {"jkt": "x"}}, {"cnf": {"x5t#S256": "x"}}, {"token_type": "DPoP"}])
@pytest.mark.parametrize("validation", ["jwt", "introspection"])
async def test_a_token_that_is_bound_to_a_key_is_no_bearer_token(at: Any, bound: Any, validation: str) -> None:
    """RFC 9449 §7, RFC 8705 §3: the client is told what to ask for instead, the second time too."""
    issuer, http = await at(token_validation=validation)
    token = issuer.token(**GOOD, **bound) if validation == "jwt" else "tok-2"
    issuer.opaque["tok-2"] = {"active": True, "sub": "s-1", **GOOD, **bound}
    for _ in range(2):
        challenge, _ = await _refused(http, token)
        assert "bound to a key" in challenge
        assert "Bearer" in challenge.split("error_description")[1]


@pytest.mark.parametrize("nested", ["realm_access.roles", "resource_access.desk.app.roles", "https://x.example/roles"])
async def test_claims_may_be_nested(at: Any, ask: Any, nested: str) -> None:
    issuer, http = await at(
        scope_claims=(nested,),
        client_claims=("app.id",),
        subject_claim="person.id",
        required_claims={"org.name": "corp"},
        token_clients=("desk",),
    )
    claims = {
        "aud": AUDIENCE,
        "realm_access": {"roles": ["mcp"]},
        "resource_access": {"desk.app": {"roles": ["mcp"]}},
        "https://x.example/roles": ["mcp"],
        "app": {"id": "desk"},
        "person": {"id": "p-1"},
        "org": {"name": "corp"},
    }
    status, who = await ask(http, issuer.token(**claims))
    assert (status, who["subject"], who["client"], who["scopes"]) == (200, "p-1", "desk", ["mcp"])
    assert (await ask(http, issuer.token(**{**claims, "org": {"name": "other"}})))[0] == 401


@pytest.mark.parametrize(
    ("status", "error", "us"),
    [
        (401, "invalid_client", True),
        (400, "invalid_client", True),
        (401, None, True),
        (401, "invalid_grant", False),
        (400, "invalid_grant", False),
        (500, None, False),
    ],
)
def test_whether_a_provider_refuses_this_server_or_a_code_is_told_apart(
    status: int, error: str | None, us: bool
) -> None:
    assert refuses_us((status, {"error": error} if error else {})) is us
