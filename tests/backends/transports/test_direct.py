"""Requests to HTTP backends whose answer is one message; and any other, which the SDK's client reads, asked once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp import Client
from mcp.client.streamable_http import StreamableHTTPTransport
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from switchboard.backends import Backend, Bounds, Http, Patience
from tests.backends.conftest import Connect, Open, Person, Serve
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
SOON = Patience(start=20, call=20, idle=60, stop=0.5)
Answer = Callable[[Any], Response]


@dataclass
class Server:
    """A server that answers tool calls as it is told, and remembers what it was asked."""

    answer: Answer
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self.told("tools/call")

    def told(self, method: str) -> list[dict[str, Any]]:
        return [message for message in self.asked if message.get("method") == method]

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/mcp", self._serve, methods=["GET", "POST", "DELETE"])])

    async def _serve(self, request: Request) -> Response:
        if request.method != "POST":
            self.streams.append(request.headers.get("last-event-id", ""))
            return Response(status_code=405)
        message = await request.json()
        self.asked.append(message)
        self.headers.append(dict(request.headers))
        if "id" not in message:
            return Response(status_code=202)
        if message["method"] == "tools/call":
            return self.answer(message)
        return as_json(message, usual(message))


def usual(message: dict[str, Any]) -> dict[str, Any]:
    if message["method"] == "initialize":
        version = message["params"]["protocolVersion"]
        able: dict[str, Any] = {"tools": {}, "logging": {}}  # the level is set before any call, behind the notification
        return {"protocolVersion": version, "capabilities": able, "serverInfo": {"name": "x", "version": "1"}}
    return {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}


def as_json(message: Any, result: Any, **headers: str) -> Response:
    return Response(written(message, result), media_type="application/json", headers=headers)


def written(message: Any, result: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})


def said(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def as_events(*parts: str, delay: asyncio.Event | None = None) -> Response:
    async def stream() -> AsyncIterator[str]:
        for part in parts:
            yield part
            await asyncio.sleep(0)
        if delay is not None:
            await delay.wait()

    return StreamingResponse(stream(), media_type="text/event-stream")


def event(message: Any, result: Any) -> str:
    return f"event: message\ndata: {written(message, result)}\n\n"


def notice(method: str, **params: Any) -> str:
    return f"data: {json.dumps({'jsonrpc': '2.0', 'method': method, 'params': params})}\n\n"


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests that the SDK's transport was given."""
    methods: list[str] = []
    own = StreamableHTTPTransport._handle_post_request

    async def noting(self: Any, ctx: Any) -> None:
        methods.append(ctx.session_message.message.method)
        await own(self, ctx)

    monkeypatch.setattr(StreamableHTTPTransport, "_handle_post_request", noting)
    return methods


@pytest.mark.parametrize(
    "answer",
    [
        lambda message: as_json(message, said("hi")),
        lambda message: as_events(event(message, said("hi"))),
        lambda message: as_events(
            ": alive\n\n", "id: 1\ndata: \n\n", "event: ping\ndata: 1\n\n", event(message, said("hi"))
        ),
        lambda message: as_events(event(message, said("hi")).replace("\n", "\r\n")),
        lambda message: as_events(*event(message, said("hi"))),
    ],
)
async def test_an_answer_of_one_message_comes_by_the_short_way_over_connections_that_stay(
    answer: Answer, streamed: list[str], serve: Serve, open_gateway: Open
) -> None:
    server = Server(answer)
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        await client.call_tool("odd__t", {})
        endpoints = opened.providers["odd"]._endpoints
        assert endpoints is not None
        tasks = len(asyncio.all_tasks())
        for _ in range(100):
            assert text(await client.call_tool("odd__t", {"a": 1})) == "hi"
            assert len(asyncio.all_tasks()) <= tasks + 3
        assert endpoints.client.opened <= 2, "the end of a stream may come when the next call has been sent"
        assert "tools/call" not in streamed
        assert len(server.calls) == 101


async def test_what_a_server_says_before_its_answer_is_passed_on_and_the_request_is_sent_once(
    streamed: list[str], serve: Serve, open_gateway: Open, connect: Connect, person: Person
) -> None:
    def answer(message: Any) -> Response:
        token = message["params"]["_meta"]["progressToken"]
        steps = [notice("notifications/progress", progressToken=token, progress=n, total=3) for n in range(3)]
        log = notice("notifications/message", level="info", data="look")
        return as_events(": alive\n\n", log, *steps, event(message, said("done")))

    server = Server(answer)
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with open_gateway(backend) as opened, connect(opened.server, "handshake", person) as client:
        await opened.discovered()
        called = await client.call_tool("odd__t", {}, progress_callback=person.progress)
        assert text(called) == "done"
        assert [each for each in person.heard if each != "look"] == [(n, 3, None) for n in range(3)]
        assert "look" in person.heard
    assert len(server.calls) == 1
    assert streamed.count("tools/call") == 1


async def test_three_thousand_notices_of_one_call_come_in_order_and_the_last_of_them_always(
    serve: Serve, open_gateway: Open, connect: Connect, person: Person
) -> None:
    def answer(message: Any) -> Response:
        token = message["params"]["_meta"]["progressToken"]
        steps = [notice("notifications/progress", progressToken=token, progress=n, total=2_999) for n in range(3_000)]
        return as_events(*("".join(steps[n : n + 500]) for n in range(0, 3_000, 500)), event(message, said("done")))

    server = Server(answer)
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with open_gateway(backend) as opened, connect(opened.server, "handshake", person) as client:
        await opened.discovered()
        assert text(await client.call_tool("odd__t", {}, progress_callback=person.progress)) == "done"
        heard = [progress for progress, *_ in person.heard]
        assert heard == sorted(set(heard))
        assert heard[-1] == 2_999


async def test_a_result_of_five_megabytes_arrives_whole_as_json_and_as_an_event(
    serve: Serve, open_gateway: Open
) -> None:
    large = "x" * 5_000_000
    answers: list[Answer] = [
        lambda message: as_json(message, said(large)),
        lambda message: as_events(event(message, said(large))),
    ]
    server = Server(lambda message: answers.pop(0)(message))
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        for _ in range(2):
            assert text(await client.call_tool("odd__t", {})) == large


@pytest.mark.parametrize("beginning", ["\ufeff", "event:\n", ": alive\n\n\ufeff"])
async def test_an_answer_is_found_on_a_stream_that_stays_open_after_it(
    beginning: str, serve: Serve, open_gateway: Open
) -> None:
    never = asyncio.Event()
    server = Server(lambda message: as_events(f"{beginning}data: {written(message, said('hi'))}\n\n", delay=never))
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with asyncio.timeout(120), open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert text(await client.call_tool("odd__t", {})) == "hi"
    never.set()


async def test_signs_of_life_before_an_answer_do_not_fill_memory(
    serve: Serve, open_gateway: Open, streamed: list[str]
) -> None:
    signs = [": alive\n\n" * 1000] * 50
    server = Server(lambda message: as_events(*signs, event(message, said("hi"))))
    transport = Http((await serve(server.app()),), era="handshake")
    backend = Backend("odd", transport, scope="shared", patience=SOON, bounds=Bounds(message_bytes=100_000))
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert text(await client.call_tool("odd__t", {})) == "hi"
    assert len(server.calls) == 1
    assert "tools/call" in streamed, "the rest of so long a stream goes by as it comes"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            lambda _: RedirectResponse("http://127.0.0.1:1/elsewhere", 307),
            "Redirect to http://127.0.0.1:1/elsewhere not",
        ),
        (lambda m: as_json(m, said("hi"), **{"content-encoding": "gzip"}), "its answer is compressed"),
        (lambda m: as_events(event(m, said("hi")).replace('"result"', '"oops"')), "neither a result nor"),
        (lambda _: Response(status_code=202), "HTTP 202"),
        (lambda _: Response("busy", status_code=503), "HTTP 503 busy"),
    ],
)
async def test_an_answer_out_of_the_ordinary_is_refused_as_ever_and_the_request_is_sent_once(
    answer: Answer, error: str, serve: Serve, open_gateway: Open
) -> None:
    server = Server(answer)
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match=error):
            await client.call_tool("odd__t", {})
    assert len(server.calls) == 1


async def test_a_stream_that_breaks_before_its_answer_is_resumed_and_not_asked_again(
    serve: Serve, open_gateway: Open
) -> None:
    server = Server(lambda _: as_events("id: 5\nretry: 10\ndata: \n\n"))
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match="SSE stream ended"):
            await client.call_tool("odd__t", {})
    assert len(server.calls) == 1
    assert server.streams.count("5") == 2


async def test_a_client_that_gives_up_is_told_of_to_a_server_of_the_handshake_era(
    serve: Serve, open_gateway: Open
) -> None:
    never = asyncio.Event()
    server = Server(lambda _: as_events(": alive\n\n", delay=never))
    patience = Patience(start=20, call=0.3, stop=0.5)
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=patience)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match="no answer to tools/call"):
            await client.call_tool("odd__t", {})
        (call,) = server.calls
        await opened.until(lambda: bool(server.told("notifications/cancelled")))
        (told,) = server.told("notifications/cancelled")
        assert told["params"]["requestId"] == call["id"]
        never.set()


async def test_cookies_that_a_server_sets_are_given_back(serve: Serve, open_gateway: Open) -> None:
    server = Server(lambda message: as_json(message, said("hi"), **{"set-cookie": "seat=4; Path=/"}))
    backend = Backend("odd", Http((await serve(server.app()),), era="handshake"), scope="shared", patience=SOON)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        for _ in range(2):
            await client.call_tool("odd__t", {})
    assert [headers.get("cookie") for headers in server.headers[-2:]] == [None, "seat=4"]


async def test_a_call_by_the_short_way_has_the_headers_that_it_had_by_the_long_one(
    serve: Serve, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(lambda message: as_json(message, said("hi")))
    own = {"X-Own": "own", "Accept": "text/plain", "Host": "elsewhere.example", "Content-Length": "1"}
    transport = Http((await serve(server.app()),), era="handshake", headers=own)
    async with open_gateway(Backend("odd", transport, scope="shared")) as opened, Client(opened.server) as client:
        await opened.discovered()
        await client.call_tool("odd__t", {})
        monkeypatch.setattr("switchboard.backends.connections.protocol.DIRECT_OPTIONS", frozenset())
        await client.call_tool("odd__t", {})
    short, long = [
        headers for headers, asked in zip(server.headers, server.asked, strict=True) if asked in server.calls
    ]
    assert short == long
    assert [call["params"].keys() for call in server.calls] == [server.calls[0]["params"].keys()] * 2


async def test_no_request_overtakes_the_notification_that_the_session_has_begun(
    serve: Serve, open_gateway: Open
) -> None:
    arrived: list[str] = []

    async def answer(request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405)
        message = await request.json()
        if "id" not in message:
            await asyncio.sleep(0.2)
        arrived.append(message["method"])
        if "id" not in message:
            return Response(status_code=202)
        result = said("hi") if message["method"] == "tools/call" else usual(message)
        result.get("capabilities", {}).pop("logging", None)
        return as_json(message, result)

    app = Starlette(routes=[Route("/mcp", answer, methods=["GET", "POST", "DELETE"])])
    backend = Backend("odd", Http((await serve(app),), era="handshake"), scope="session", patience=SOON)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert text(await client.call_tool("odd__t", {})) == "hi"
    begun = ["initialize", "notifications/initialized"]
    assert arrived == [*begun, "tools/list", *begun, "tools/call"]
