"""What servers over HTTP send that is no message, or not quite one: as JSON, as events, and over HTTP+SSE."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from switchboard.backends import Backend, Bounds, Http, Patience, Sse
from switchboard.backends.transports import http
from tests.backends.conftest import Open, Serve

LONG = Patience(start=20, call=60, idle=60, stop=0.5)
AT_ONCE_S = 15
TEXT = '{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s"}]}}'

Answer = Callable[[str], Response]


def server(answer: Answer) -> Starlette:
    """A server of the handshake era; `answer` is given the id of a tool call."""

    async def endpoint(request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405)
        message = await request.json()
        if "id" not in message:
            return Response(status_code=202)
        if message["method"] == "tools/call":
            return answer(json.dumps(message["id"]))
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": usual(message)})
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route("/mcp", endpoint, methods=["GET", "POST", "DELETE"])])


def usual(message: dict[str, Any]) -> dict[str, Any]:
    if message["method"] == "initialize":
        info = {"name": "odd", "version": "1"}
        version = message["params"]["protocolVersion"]
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    return {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}


def as_json(text: str, kind: str = "application/json", status: int = 200) -> Answer:
    return lambda number: Response(text.replace("$ID", number), media_type=kind, status_code=status)


def as_events(*events: str) -> Answer:
    async def stream(number: str) -> Any:
        for event in events:
            yield event.replace("$ID", number) + "\n\n"

    return lambda number: StreamingResponse(stream(number), media_type="text/event-stream")


async def called(client: Any) -> str:
    async with asyncio.timeout(AT_ONCE_S):
        try:
            (content,) = (await client.call_tool("odd__t")).content
        except MCPError as error:
            return f"{error.code}: {error.message}"
    assert isinstance(content, TextContent)
    return content.text


READ = TEXT % ("$ID", "read")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (as_json(TEXT % ("$ID", r"cut \ud83d")), "cut \ufffd"),
        (as_json("\ufeff" + READ), "read"),
        (as_json(TEXT % ('"$ID"', "read")), "read"),
        (as_json(TEXT % ("7777", "read")), "read"),
        (as_json("[" + READ + "]"), "read"),
        (as_json(READ, "text/plain"), "read"),
        (as_events("data: " + TEXT % ("$ID", r"cut \ud83d")), "cut \ufffd"),
        (as_events("event: ping\ndata: 1", ": alive", "data: hello", "id: 1\ndata: ", "data: " + READ), "read"),
        (as_events("data: \ufeff" + READ), "read"),
        (as_events("data: " + READ.replace(',"result"', '\ndata: ,"result"')), "read"),
        (as_events('data: {"jsonrpc":"2.0","method":"n","params":[]}', "data: " + READ), "read"),
        (as_events("data: [" + READ + "]"), "read"),
    ],
)
async def test_an_answer_over_http_is_read_as_it_was_meant(
    answer: Answer, text: str, serve: Serve, open_gateway: Open
) -> None:
    backend = Backend("odd", Http((await serve(server(answer)),), era="handshake"), patience=LONG)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert await called(client) == text


LARGE = TEXT % ("$ID", "x" * 200_000)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (as_json('{"jsonrpc":"2.0","id":$ID,"result":{"a":'), "its answer is not valid"),
        (as_json('{"jsonrpc":"2.0","id":$ID,"result":"done"}'), 'its result is not an object: "done"'),
        (as_json('{"jsonrpc":"2.0","id":$ID,"error":"boom"}'), 'its error has no code and message: "boom"'),
        (
            as_json("<html>Sign in</html>", "text/html"),
            "Unexpected content type text/html, and no message: <html>Sign in</html>",
        ),
        (as_json(""), "Failed to parse JSON response"),
        (as_json("", status=202), "HTTP 202"),
        (as_json(LARGE), "it sent a message of more than 100000 bytes"),
        (as_events('data: {"jsonrpc":"2.0","id":$ID,"result":{"a":'), "its answer is not valid"),
        (as_events('data: {"jsonrpc":"2.0","id":$ID}'), "it has neither a result nor an error"),
        (as_events("data: " + LARGE), "it sent a message of more than 100000 bytes"),
        (
            as_events("data: " + LARGE[:80_000] + "\ndata: " + LARGE[80_000:]),
            "it sent a message of more than 100000 bytes",
        ),
    ],
)
async def test_an_answer_over_http_that_cannot_be_taken_is_refused_at_once_and_the_connection_stays(
    answer: Answer, why: str, serve: Serve, open_gateway: Open
) -> None:
    answers = [answer, as_json(READ)]
    url = await serve(server(lambda number: answers.pop(0)(number)))
    backend = Backend("odd", Http((url,), era="handshake"), patience=LONG, bounds=Bounds(message_bytes=100_000))
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        said = await called(client)
        assert said.startswith("-32011: Backend 'odd': ")
        assert why in said
        assert await called(client) == "read"


async def test_a_notification_that_a_server_never_takes_holds_up_no_call(
    serve: Serve, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "NOTICE_S", 0.2)

    async def endpoint(request: Request) -> Response:
        message = await request.json()
        if "id" not in message:
            await asyncio.sleep(120)
        if message["method"] == "tools/call":
            return Response(READ.replace("$ID", json.dumps(message["id"])), media_type="application/json")
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": usual(message)})
        return Response(body, media_type="application/json")

    url = await serve(Starlette(routes=[Route("/mcp", endpoint, methods=["POST"])]))
    backend = Backend("odd", Http((url,), era="handshake"), patience=LONG)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert await called(client) == "read"


async def test_a_call_that_is_refused_over_http_and_sse_ends_no_other_and_keeps_the_connection(
    serving: Any, open_gateway: Open
) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    streams = 0

    async def stream() -> Any:
        nonlocal streams
        streams += 1
        yield "event: endpoint\ndata: /message\n\n"
        while True:
            yield f"event: message\ndata: {await said.get()}\n\n"

    async def opened_stream(_request: Request) -> Response:
        return StreamingResponse(stream(), media_type="text/event-stream")

    async def posted(request: Request) -> Response:
        message = await request.json()
        if "id" not in message:
            return Response(status_code=202)
        number = json.dumps(message["id"])
        if message["method"] != "tools/call":
            said.put_nowait(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": usual(message)}))
        elif message["params"].get("arguments", {}).get("large"):
            return Response("too large", status_code=413)
        else:
            said.put_nowait(TEXT % (number, f"stream {streams} \\ud83d"))
        return Response(status_code=202)

    app = Starlette(routes=[Route("/sse", opened_stream), Route("/message", posted, methods=["POST"])])
    async with serving(app) as port:
        backend = Backend("odd", Sse(f"http://127.0.0.1:{port}/sse"), scope="shared", patience=LONG)
        async with open_gateway(backend) as opened, Client(opened.server) as client:
            await opened.discovered()
            before = await called(client)
            async with asyncio.timeout(AT_ONCE_S):
                with pytest.raises(MCPError, match="Backend 'odd': HTTP 413 too large"):
                    await client.call_tool("odd__t", {"large": True})
            assert await called(client) == before
            assert before.endswith(" \ufffd")
