"""Backends behind URLs: several of one server, refusals with their reason, bounds, and the older transport."""

from __future__ import annotations

import asyncio
import json
import resource
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from switchboard.backends import Backend, Bounds, Http, Patience, Sse
from switchboard.errors import ConfigurationError
from tests.backends.conftest import Connect, Open, Serve
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
QUICK = Patience(start=3, call=3, stop=0.5)


def app(answer: Any) -> Starlette:
    """A server that answers every POST in one way, once the handshake is over."""

    async def serve(request: Request) -> Response:
        message = json.loads(await request.body())
        if message.get("method") == "initialize":
            info = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "x", "version": "1"},
            }
            return reply(message, info)
        if "id" not in message:
            return Response(status_code=202)
        if message["method"] == "tools/list":
            return reply(message, {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
        given: Response = answer(message)
        return given

    return Starlette(routes=[Route("/mcp", serve, methods=["POST"])])


def reply(message: Any, result: Any) -> Response:
    body = {"jsonrpc": "2.0", "id": message["id"], "result": result}
    return Response(json.dumps(body), media_type="application/json")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda _: PlainTextResponse("no such  user", 401), "Backend 'odd': HTTP 401 no such user"),
        (lambda _: PlainTextResponse("<h1>Bad Gateway</h1>", 502), "Backend 'odd': HTTP 502 <h1>Bad Gateway</h1>"),
        (lambda _: Response("{", media_type="application/json"), "Backend 'odd': Failed to parse JSON response"),
        (lambda _: PlainTextResponse("hello"), "Backend 'odd': Unexpected content type"),
        (lambda _: Response("x" * 300_000, media_type="application/json"), "more than 200000 bytes"),
    ],
)
async def test_an_answer_that_is_none_is_told_with_its_reason_and_the_line_goes_on(
    answer: Any, error: str, serve: Serve, open_gateway: Open
) -> None:
    url = await serve(app(answer))
    backend = Backend("odd", Http((url,), era="handshake"), scope="shared", bounds=Bounds(message_bytes=200_000))
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        for _ in range(2):
            with pytest.raises(MCPError, match=error):
                await client.call_tool("odd__t")
        assert opened.providers["odd"].health.condition == "ready"


async def test_a_body_of_100_mb_is_not_read_to_its_end(serve: Serve, open_gateway: Open) -> None:
    url = await serve(app(lambda _: Response(b"x" * 100_000_000, media_type="application/json")))
    backend = Backend("vast", Http((url,), era="handshake"), scope="shared")
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match="more than 8388608 bytes"):
            await client.call_tool("vast__t")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(MCPError, match="more than 8388608 bytes"):
            await client.call_tool("vast__t")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000  # the server is in this process


async def test_of_several_urls_the_ones_that_answer_serve(
    handy_http: Any, open_gateway: Open, free_ports: list[int]
) -> None:
    [good] = handy_http().urls
    dead = f"http://127.0.0.1:{free_ports[0]}/mcp"
    backend = Backend("many", Http((dead, good), era="modern"), patience=QUICK)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert [text(await client.call_tool("many__echo", {"text": str(n)})) for n in range(4)] == ["0", "1", "2", "3"]


async def test_requests_without_a_session_take_turns_among_several_urls(
    handy: Any, serve: Serve, open_gateway: Open
) -> None:
    asked = [0, 0]

    def counting(number: int) -> Any:
        app = handy.server().streamable_http_app()

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            asked[number] += scope.get("method") == "POST"
            await app(scope, receive, send)

        return counted

    urls = [await serve(counting(number)) for number in range(2)]
    backend = Backend("many", Http(tuple(urls), era="modern"), patience=QUICK)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        before = list(asked)
        for number in range(8):
            assert text(await client.call_tool("many__echo", {"text": str(number)})) == str(number)
        assert [after - first >= 3 for after, first in zip(asked, before, strict=True)] == [True, True]


async def test_a_url_where_nobody_is_says_so_and_serves_as_soon_as_somebody_is(
    handy: Any, serve: Serve, open_gateway: Open, free_ports: list[int]
) -> None:
    port = free_ports[0]
    backend = Backend("late", Http((f"http://127.0.0.1:{port}/mcp",)), patience=QUICK)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        provider = opened.providers["late"]
        await opened.until(lambda: provider.health.condition == "failing")
        assert f"http://127.0.0.1:{port}/mcp" in provider.health.reason
        await serve(handy.server().streamable_http_app(), port)
        async with asyncio.timeout(60):
            await opened.discovered()
        assert text(await client.call_tool("late__echo", {"text": "hi"})) == "hi"


async def test_the_older_transport_with_one_stream_works(
    handy: Any, serve: Serve, open_gateway: Open, connect: Connect
) -> None:
    url = (await serve(handy.server().sse_app())).replace("/mcp", "/sse")
    async with open_gateway(Backend("old", Sse(url), scope="shared")) as opened:
        await opened.discovered()
        async with connect(opened.server, "handshake") as client:
            assert text(await client.call_tool("old__echo", {"text": "hi"})) == "hi"
            assert text(await client.call_tool("old__ask", {"tag": "x"})) == "accept bob x x"


async def test_a_server_that_refuses_the_newer_era_with_a_code_of_its_own_is_spoken_to_in_the_older(
    serve: Serve, open_gateway: Open
) -> None:
    def own(message: Any, words: str, status: int) -> Response:
        body = {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32000, "message": words}}
        return Response(json.dumps(body), status, media_type="application/json")

    older = app(lambda message: own(message, "no luck", 200))

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if dict(scope.get("headers", ())).get(b"mcp-protocol-version") == b"2026-07-28":
            message = json.loads((await receive())["body"])
            await own(message, "Bad Request: Unsupported protocol version", 400)(scope, receive, send)
        else:
            await older(scope, receive, send)

    backend = Backend("typed", Http((await serve(refusing),)), scope="shared")
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match="Backend 'typed': no luck") as told:
            await client.call_tool("typed__t")
        assert told.value.code == -32000


@pytest.mark.parametrize("url", ["http://example.org/mcp", "ftp://localhost/mcp", "localhost:8000"])
def test_a_url_that_is_not_safe_to_use_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mcpServers\.x\.url: "):
        Backend("x", Http((url,)))


def test_plain_http_to_another_host_can_be_allowed() -> None:
    assert Backend("x", Http(("http://example.org/mcp",), insecure=True)).name == "x"
