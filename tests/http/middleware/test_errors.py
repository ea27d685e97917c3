from __future__ import annotations

import httpx2
import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from switchboard.errors import AuthorizationUnavailable, SessionGone, StateBusy, StateUnavailable
from switchboard.http.middleware.errors import ErrorBoundary


async def ask(error: Exception, *, after_start: bool = False) -> httpx2.Response:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if after_start:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(ErrorBoundary(app))) as http:
        return await http.post("http://localhost/mcp")


@pytest.mark.parametrize("error", [StateUnavailable("down"), AuthorizationUnavailable("down")])
async def test_what_is_away_for_a_moment_is_503_with_when_to_come_back(error: Exception) -> None:
    answer = await ask(error)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "down" not in answer.text


async def test_running_out_of_connections_is_503_and_says_what_to_raise() -> None:
    answer = await ask(StateBusy("raise REDIS_MAX_CONNECTIONS"))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "REDIS_MAX_CONNECTIONS" in answer.text


async def test_a_session_that_is_gone_is_404() -> None:
    assert (await ask(SessionGone("s1"))).status_code == 404


async def test_whatever_a_client_calls_its_session_the_log_stays_short() -> None:
    with capture_logs() as logged:
        await ask(SessionGone("\u202e" * 30_000))
    (line,) = logged
    assert line["reason"].isascii()
    assert len(line["reason"]) < 100


async def test_the_unexpected_is_500_and_tells_the_log_but_not_the_client() -> None:
    with capture_logs() as logged:
        answer = await ask(RuntimeError("the secret reason"))
    assert answer.status_code == 500
    assert answer.json() == {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "Internal error"}}
    assert [(event["event"], event["exc_info"]) for event in logged] == [("request.failed", True)]


async def test_a_fault_in_the_middle_of_an_answer_goes_on_to_the_server() -> None:
    with pytest.raises(SessionGone):
        await ask(SessionGone("s1"), after_start=True)
