from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs

from switchboard.http.middleware.bearer import Anonymous, Bearer
from switchboard.http.middleware.errors import ErrorBoundary
from switchboard.http.stack import Policy, wrap

POLICY = Policy(hosts=("mcp.example.com",), origins=("https://app.example.com",), max_body_bytes=1000, https=True)
PROXIED = Policy(hosts=("mcp.example.com",), origins=(), proxies=(ip_network("127.0.0.0/8"),))


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(str(len(await Request(scope, receive).body())))(scope, receive, send)


async def ask(policy: Policy, headers: dict[str, str], content: bytes = b"{}") -> httpx2.Response:
    transport = httpx2.ASGITransport(wrap(inside, policy))
    async with httpx2.AsyncClient(transport=transport, base_url="https://mcp.example.com") as http:
        return await http.post("/mcp", headers=headers, content=content)


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({}, b"{}", 200),
        ({"Host": "evil.example"}, b"{}", 421),
        ({"Origin": "https://evil.example"}, b"{}", 403),
        ({}, b"x" * 1001, 413),
    ],
)
async def test_every_answer_is_named_logged_and_protected(headers: dict[str, str], content: bytes, status: int) -> None:
    with capture_logs() as logged:
        answer = await ask(POLICY, headers, content)
    assert answer.status_code == status
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["strict-transport-security"]
    assert [event["status"] for event in logged if "duration_ms" in event] == [status]


async def test_a_page_that_may_call_can_read_why_its_body_was_refused() -> None:
    answer = await ask(POLICY, {"Origin": "https://app.example.com"}, b"x" * 1001)
    assert answer.status_code == 413
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"


async def test_the_log_names_the_client_behind_a_trusted_proxy() -> None:
    with capture_logs() as logged:
        await ask(PROXIED, {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "mcp.example.com", "Host": "inner"})
    assert [(event["client"], event["status"]) for event in logged] == [("203.0.113.7", 200)]


async def test_inner_rows_come_behind_the_stack_in_the_order_given() -> None:
    passed: list[str] = []

    def marking(name: str, app: ASGIApp) -> ASGIApp:
        async def marked(scope: Scope, receive: Receive, send: Send) -> None:
            passed.append(name)
            await app(scope, receive, send)

        return marked

    app = wrap(inside, POLICY, lambda app: marking("outer", app), lambda app: marking("inner", app))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://mcp.example.com") as http:
        await http.post("/mcp")
        await http.post("/mcp", headers={"Host": "evil.example"})
    assert passed == ["outer", "inner"]


def bearer(app: ASGIApp) -> Bearer:
    """A gate whose verifier nobody asks."""
    verifier: Any = object()
    return Bearer(app, verifier, resource_metadata_url="https://mcp.example.com/meta")


@pytest.mark.parametrize("gate", [Anonymous, bearer])
async def test_a_lifespan_passes_through_untouched(gate: Any) -> None:
    passed: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)

    async def nothing(*_: Any) -> Any:
        pytest.fail("nobody speaks during this")

    scope: Scope = {"type": "lifespan", "state": {}}
    await wrap(app, PROXIED, gate, ErrorBoundary)(scope, nothing, nothing)
    assert passed == [{"type": "lifespan", "state": {}}]


async def test_a_websocket_that_is_taken_is_logged_with_its_handshake() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope: Scope = {
        "type": "websocket",
        "path": "/ws",
        "query_string": b"",
        "headers": [(b"host", b"mcp.example.com")],
        "client": ("203.0.113.7", 1),
    }
    with capture_logs() as logged:
        await wrap(app, POLICY, Anonymous)(scope, receive, send)
    assert sent == [{"type": "websocket.accept"}]
    assert [(event["method"], event["status"]) for event in logged] == [("WEBSOCKET", 101)]
