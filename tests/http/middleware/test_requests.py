from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

import httpx2
import pytest
import structlog
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars
from structlog.testing import capture_logs

from switchboard.http.middleware.bearer import Anonymous
from switchboard.http.middleware.request_log import RequestLog

INSIDE = PlainTextResponse("inside")


async def ask(app: Any, path: str = "/mcp", **headers: str) -> tuple[httpx2.Response, list[MutableMapping[str, Any]]]:
    transport = httpx2.ASGITransport(RequestLog(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        with capture_logs() as logged:
            return await http.post(path, headers={k.replace("_", "-"): v for k, v in headers.items()}), logged


async def test_a_request_is_one_line_with_what_an_operator_asks_for() -> None:
    _, logged = await ask(Anonymous(INSIDE))
    (event,) = logged
    assert re.fullmatch(r"POST /mcp 200 \d+ ms anonymous", event["event"])
    assert (event["method"], event["path"], event["status"], event["client"]) == ("POST", "/mcp", 200, "127.0.0.1")
    assert event["duration_ms"] >= 0
    assert event["person"] == "anonymous"


async def test_the_query_is_never_logged() -> None:
    _, logged = await ask(INSIDE, "/mcp?code=sesame&access_token=sesame")
    assert logged[0]["path"] == "/mcp"
    assert "sesame" not in str(logged)


async def test_probes_do_not_fill_the_log() -> None:
    _, logged = await ask(INSIDE, "/readyz")
    assert [event["log_level"] for event in logged] == ["debug"]


async def test_every_answer_names_its_request_and_so_does_everything_logged_meanwhile() -> None:
    bound: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        bound.append(get_contextvars()["request_id"])
        await INSIDE(scope, receive, send)

    answer, _ = await ask(app)
    assert answer.headers["x-request-id"] == bound[0]
    assert "request_id" not in get_contextvars()


async def test_two_requests_have_two_names() -> None:
    assert (await ask(INSIDE))[0].headers["x-request-id"] != (await ask(INSIDE))[0].headers["x-request-id"]


async def test_a_callers_own_name_is_kept() -> None:
    assert (await ask(INSIDE, X_Request_Id="trace-1.a_B"))[0].headers["x-request-id"] == "trace-1.a_B"


@pytest.mark.parametrize("name", ["", "a b", 'a"b', "x" * 65, "ä"])
async def test_a_name_that_would_spoil_the_log_is_replaced(name: str) -> None:
    transport = httpx2.ASGITransport(RequestLog(INSIDE))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.get("/", headers=[(b"x-request-id", name.encode())])
    assert answer.headers["x-request-id"] != name
    assert len(answer.headers["x-request-id"]) == 16


async def test_a_failure_is_logged_as_500_and_goes_on() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")

    with capture_logs() as logged, pytest.raises(RuntimeError, match="broken"):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(RequestLog(failing))) as http:
            await http.get("http://localhost/")
    assert [event["status"] for event in logged] == [500]


async def test_a_client_that_left_unanswered_is_logged_as_such() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def nothing(*_: Message) -> Any:
        return {"type": "http.disconnect"}

    scope: Scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": [], "client": None}
    with capture_logs() as logged:
        await RequestLog(silent)(scope, nothing, nothing)
    assert [event["status"] for event in logged] == [499]
    assert structlog.contextvars.get_contextvars() == {}
