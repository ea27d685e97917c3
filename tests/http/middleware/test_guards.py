from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from switchboard.http.middleware.guards import Guards, default_hosts, default_origins

INSIDE = PlainTextResponse("inside")


async def ask(app: Guards, path: str = "/mcp", headers: list[tuple[str, str]] | None = None) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://localhost:3232") as http:
        return await http.get(path, headers=headers or [])


def local() -> Guards:
    base = "http://localhost:3232"
    return Guards(INSIDE, hosts=default_hosts(base, "127.0.0.1"), origins=default_origins(base, "127.0.0.1"))


def public() -> Guards:
    base = "https://mcp.example.com"
    return Guards(INSIDE, hosts=default_hosts(base, "0.0.0.0"), origins=default_origins(base, "0.0.0.0"))  # noqa: S104


@pytest.mark.parametrize("host", ["localhost:3232", "127.0.0.1:3232", "[::1]:3232", "localhost"])
async def test_a_local_server_answers_for_every_name_of_loopback(host: str) -> None:
    assert (await ask(local(), headers=[("Host", host)])).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:3232", "10.0.0.1", "a b", ""])
async def test_a_foreign_host_is_misdirected(host: str) -> None:
    answer = await ask(local(), headers=[("Host", host)])
    assert answer.status_code == 421
    assert answer.json()["jsonrpc"] == "2.0"
    assert answer.json()["id"] is None
    assert answer.json()["error"]["code"] == -32600


async def test_a_public_server_answers_for_its_own_name_only() -> None:
    assert (await ask(public(), headers=[("Host", "mcp.example.com")])).status_code == 200
    assert (await ask(public(), headers=[("Host", "localhost:3232")])).status_code == 421


async def test_a_request_without_an_origin_passes() -> None:
    assert (await ask(local())).text == "inside"


@pytest.mark.parametrize("origin", ["http://localhost:6274", "http://127.0.0.1:1", "http://localhost:3232"])
async def test_local_tools_in_a_browser_may_call_a_local_server(origin: str) -> None:
    assert (await ask(local(), headers=[("Origin", origin)])).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://", ""])
async def test_a_foreign_origin_is_forbidden(origin: str) -> None:
    assert (await ask(local(), headers=[("Origin", origin)])).status_code == 403


async def test_a_public_server_takes_its_own_origin_and_no_local_one() -> None:
    own = [("Host", "mcp.example.com"), ("Origin", "https://mcp.example.com")]
    assert (await ask(public(), headers=own)).status_code == 200
    assert (await ask(public(), headers=[own[0], ("Origin", "http://localhost:6274")])).status_code == 403


async def test_metadata_may_be_read_from_any_origin() -> None:
    path = "/.well-known/oauth-protected-resource/mcp"
    assert (await ask(local(), path, [("Origin", "https://evil.example")])).status_code == 200
    assert (await ask(local(), path, [("Host", "evil.example")])).status_code == 421


@pytest.mark.parametrize(("path", "status"), [("/token", 200), ("/register/c_1", 200), ("/tokens", 403), ("/mcp", 403)])
async def test_public_paths_may_be_called_from_any_origin_and_their_neighbours_not(path: str, status: int) -> None:
    base = "https://mcp.example.com"
    origins = default_origins(base, "0.0.0.0")  # noqa: S104
    app = Guards(INSIDE, hosts=["localhost"], origins=origins, public=["/token", "/register/"])
    assert (await ask(app, path, [("Origin", "https://elsewhere.example")])).status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_are_answered_under_any_name(path: str) -> None:
    assert (await ask(local(), path, [("Host", "10.1.2.3:3232")])).status_code == 200


@pytest.mark.parametrize("name", ["Host", "Origin"])
async def test_a_doubled_header_is_a_bad_request(name: str) -> None:
    answer = await ask(
        local(), headers=[("Host", "localhost:3232"), (name, "localhost:3232"), (name, "localhost:3232")]
    )
    assert answer.status_code == 400


async def websocket(extensions: dict[str, Any]) -> list[Message]:
    sent: list[Message] = []
    scope = {"type": "websocket", "path": "/ws", "headers": [(b"host", b"evil.example")], "extensions": extensions}

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await local()(scope, receive, send)
    return sent


async def test_a_websocket_is_refused_before_its_handshake() -> None:
    assert [message["type"] for message in await websocket({})] == ["websocket.close"]
    denied = await websocket({"websocket.http.response": {}})
    assert [message["type"] for message in denied] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert denied[0]["status"] == 421
