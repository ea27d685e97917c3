from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from switchboard.errors import AuthorizationUnavailable, StateUnavailable
from switchboard.http.middleware.bearer import Anonymous, Bearer, Challenge, Scopes
from switchboard.identity import ANONYMOUS, Caller, KeyBoundToken, Principal, current

METADATA = "http://localhost:3232/.well-known/oauth-protected-resource/mcp"
ALICE = Principal("http://localhost:3232", "alice", "client", frozenset({"mcp"}))
READER = Principal("http://localhost:3232", "bob", "client", frozenset({"mcp:resources"}))
ADMIN = Principal("http://localhost:3232", "carol", "client", frozenset({"admin"}))


class Known:
    """A verifier that knows a few tokens, and can be away."""

    def __init__(self, tokens: Mapping[str, Principal], away: Exception | None = None) -> None:
        self.tokens = tokens
        self.away = away
        self.asked: list[str] = []

    async def verify(self, token: str) -> Principal | None:
        self.asked.append(token)
        if self.away:
            raise self.away
        return self.tokens.get(token)


async def whoami(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    seen = {"current": current().principal.subject, "state": request.state.principal.subject}
    await JSONResponse(seen)(scope, receive, send)


def protected(verifier: Known, **more: Any) -> Bearer:
    return Bearer(whoami, verifier, resource_metadata_url=METADATA, **{"required_scopes": ["mcp"]} | more)


async def ask(app: Any, *authorization: str, path: str = "/mcp") -> httpx2.Response:
    headers = [("Authorization", value) for value in authorization]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost") as http:
        return await http.post(path, headers=headers)


def everybody() -> Known:
    return Known({"a.1": ALICE, "b.2": READER, "c.3": ADMIN})


async def test_a_good_token_sets_the_principal_for_everything_below() -> None:
    answer = await ask(protected(everybody()), "Bearer a.1")
    assert answer.json() == {"current": "alice", "state": "alice"}
    assert current().principal is ANONYMOUS


async def test_the_scheme_is_case_insensitive() -> None:
    assert (await ask(protected(everybody()), "bEARER   a.1")).status_code == 200


@pytest.mark.parametrize("authorization", [(), ("Basic YTpi",), ("a.1",)])
async def test_without_a_bearer_token_the_challenge_says_where_to_go_and_names_no_error(
    authorization: tuple[str, ...],
) -> None:
    answer = await ask(protected(everybody()), *authorization)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'Bearer resource_metadata="{METADATA}", scope="mcp"'
    assert answer.json() == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32600, "message": "Authorization is required"},
    }


@pytest.mark.parametrize("token", ["unknown", "", "a b", "ä", 'a"b', "x" * 9000])
async def test_a_token_that_is_unknown_or_malformed_is_invalid(token: str) -> None:
    raw = [(b"authorization", b"Bearer " + token.encode())]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(protected(everybody()))) as http:
        answer = await http.post("http://localhost/mcp", headers=raw)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert f'resource_metadata="{METADATA}"' in answer.headers["www-authenticate"]


async def test_a_malformed_token_never_reaches_the_verifier() -> None:
    verifier = everybody()
    await ask(protected(verifier), "Bearer a b")
    assert verifier.asked == []


@pytest.mark.parametrize(("length", "status"), [(8192, 200), (8193, 401)])
async def test_a_token_has_a_bound_and_a_longer_one_never_reaches_the_verifier(length: int, status: int) -> None:
    token = "x" * length
    verifier = Known({token: ALICE})
    assert (await ask(protected(verifier), f"Bearer {token}")).status_code == status
    assert bool(verifier.asked) is (status == 200)


async def test_two_authorization_headers_are_a_bad_request() -> None:
    answer = await ask(protected(everybody()), "Bearer a.1", "Bearer a.1")
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]


async def test_a_token_in_the_query_is_refused_and_not_logged_even_beside_a_good_header() -> None:
    verifier = everybody()
    with capture_logs() as logged:
        answer = await ask(protected(verifier), "Bearer a.1", path="/mcp?x=1&access_token=b.2")
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["www-authenticate"]
    assert verifier.asked == []
    assert "b.2" not in answer.text + str(answer.headers) + str(logged)


async def test_a_query_that_only_looks_like_it_carries_a_token_passes() -> None:
    assert (await ask(protected(everybody()), "Bearer a.1", path="/mcp?no_access_token=1")).status_code == 200


async def test_a_token_without_the_scopes_is_told_all_that_are_needed() -> None:
    app = protected(everybody(), required_scopes=["mcp", "mcp:tools"])
    answer = await ask(app, "Bearer b.2")
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="mcp mcp:tools"' in answer.headers["www-authenticate"]
    assert f'resource_metadata="{METADATA}"' in answer.headers["www-authenticate"]


async def test_a_scope_that_implies_another_stands_for_it() -> None:
    app = protected(everybody(), implies={"admin": {"everything"}, "everything": {"mcp"}})
    assert (await ask(app, "Bearer c.3")).status_code == 200
    assert (await ask(app, "Bearer b.2")).status_code == 403


async def test_the_challenge_may_advertise_other_scopes_than_are_required() -> None:
    answer = await ask(protected(everybody(), required_scopes=[], advertised_scopes=["mcp", "mcp:tools"]))
    assert 'scope="mcp mcp:tools"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("away", [AuthorizationUnavailable("issuer down"), StateUnavailable("redis down")])
async def test_when_tokens_cannot_be_checked_the_answer_is_503_and_neither_401_nor_yes(away: Exception) -> None:
    answer = await ask(protected(Known({}, away)), "Bearer a.1")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "www-authenticate" not in answer.headers
    assert answer.json()["error"]["code"] == -32603


@pytest.mark.parametrize(
    ("away", "tokens", "good"),
    [
        (None, {"a.1": ALICE}, True),
        (None, {}, False),
        (AuthorizationUnavailable("issuer down"), {}, True),
        (StateUnavailable("redis down"), {}, True),
        (KeyBoundToken(), {}, False),
    ],
)
async def test_a_stream_ends_with_its_token_but_not_because_the_token_cannot_be_checked(
    away: Exception | None, tokens: dict[str, Principal], good: bool
) -> None:
    verifier = everybody()
    callers: list[Caller] = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        callers.append(current())
        await whoami(scope, receive, send)

    await ask(Bearer(stream, verifier, resource_metadata_url=METADATA), "Bearer a.1")
    verifier.away, verifier.tokens = away, tokens
    still_valid = callers[0].still_valid
    assert still_valid is not None
    assert await still_valid() is good
    assert verifier.asked == ["a.1", "a.1"]


async def test_a_refusal_is_logged_without_the_token() -> None:
    with capture_logs() as logged:
        await ask(protected(everybody()), "Bearer secret-token-123")
    assert [(entry["event"], entry["status"]) for entry in logged] == [("request.refused", 401)]
    assert "secret-token-123" not in str(logged)


async def test_without_authorization_everybody_is_the_same_nobody() -> None:
    assert (await ask(Anonymous(whoami))).json() == {"current": "anonymous", "state": "anonymous"}


@given(st.binary(max_size=200))
async def test_no_authorization_header_makes_it_fail(value: bytes) -> None:
    app = protected(everybody())
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": b"",
        "headers": [(b"authorization", value)],
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 401 or value.split()[-1] in (b"a.1", b"b.2", b"c.3")


@given(
    st.sets(st.sampled_from("abcdef")), st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef")))
)
def test_implications_are_followed_to_the_end_and_circles_end(granted: set[str], implies: dict[str, set[str]]) -> None:
    held = set(granted)
    for _ in "abcdef":
        held |= {implied for scope in held for implied in implies.get(scope, ())}
    for scope in "abcdef":
        assert Scopes((scope,), implies).missing(granted) is (scope not in held)


def test_a_challenge_without_scopes_names_none() -> None:
    assert Challenge(METADATA).unauthenticated() == f'Bearer resource_metadata="{METADATA}"'.encode()
    assert b"scope" not in Challenge(METADATA, ("mcp",)).malformed("wrong")
