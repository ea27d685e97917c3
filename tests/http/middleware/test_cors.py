from __future__ import annotations

import httpx2
import pytest
from starlette.responses import PlainTextResponse, Response

from switchboard.http.middleware.cors import Cors

INSPECTOR = "http://localhost:6274"
CHALLENGE = PlainTextResponse("no", 401, {"WWW-Authenticate": "Bearer", "Vary": "Accept"})


async def ask(
    method: str, path: str = "/mcp", origin: str | None = INSPECTOR, app: Response = CHALLENGE, **headers: str
) -> httpx2.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()} | ({"Origin": origin} if origin else {})
    transport = httpx2.ASGITransport(Cors(app, origins=["http://localhost:*"]))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost:3232") as http:
        return await http.request(method, path, headers=sent)


def names(value: str) -> set[str]:
    return {name.strip().lower() for name in value.split(",")}


async def test_a_page_may_read_a_refusal_and_its_challenge() -> None:
    answer = await ask("POST")
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == INSPECTOR
    exposed = names(answer.headers["access-control-expose-headers"])
    assert {"mcp-session-id", "www-authenticate", "mcp-protocol-version", "retry-after"} <= exposed
    assert names(",".join(answer.headers.get_list("vary"))) == {"accept", "origin"}


async def test_cookies_are_never_allowed_across_origins() -> None:
    assert "access-control-allow-credentials" not in (await ask("POST")).headers


async def test_a_foreign_origin_may_read_nothing() -> None:
    answer = await ask("POST", origin="https://evil.example")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_metadata_may_be_read_by_any_origin() -> None:
    answer = await ask("GET", "/.well-known/oauth-authorization-server", "https://elsewhere.example")
    assert answer.headers["access-control-allow-origin"] == "https://elsewhere.example"


async def test_a_request_without_an_origin_is_left_alone() -> None:
    assert not [name for name in (await ask("POST", origin=None)).headers if name.startswith("access-control-")]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_preflight_is_answered_without_a_token(method: str) -> None:
    answer = await ask("OPTIONS", Access_Control_Request_Method=method)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == INSPECTOR
    assert method in answer.headers["access-control-allow-methods"]


async def test_a_preflight_allows_every_mcp_header_and_what_resuming_and_authorizing_need() -> None:
    asked = "authorization,content-type,last-event-id,mcp-session-id,mcp-protocol-version,mcp-method,mcp-param-region"
    answer = await ask("OPTIONS", Access_Control_Request_Method="POST", Access_Control_Request_Headers=asked)
    assert names(asked) <= names(answer.headers["access-control-allow-headers"])


@pytest.mark.parametrize("header", ["x-forwarded-for", "cookie", "mcp-a b", "mcp-a\\"])
async def test_a_preflight_allows_nothing_else(header: str) -> None:
    answer = await ask("OPTIONS", Access_Control_Request_Method="POST", Access_Control_Request_Headers=header)
    assert header not in names(answer.headers["access-control-allow-headers"])


async def test_a_page_on_the_internet_that_is_allowed_may_reach_into_the_private_network() -> None:
    answer = await ask("OPTIONS", Access_Control_Request_Method="POST", Access_Control_Request_Private_Network="true")
    assert answer.headers["access-control-allow-private-network"] == "true"


async def test_options_that_is_no_preflight_reaches_the_application() -> None:
    assert (await ask("OPTIONS")).status_code == 401


async def test_what_the_application_says_about_cors_is_replaced() -> None:
    loud = PlainTextResponse("x", headers={"Access-Control-Allow-Origin": "*"})
    assert (await ask("GET", app=loud)).headers.get_list("access-control-allow-origin") == [INSPECTOR]
    quiet = await ask("GET", origin="https://evil.example")
    assert quiet.headers.get_list("access-control-allow-origin") == []
