"""What the edge answers when a task cannot be asked about, since Redis is away or full."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.sessions.conftest import serving

VERSION = "2026-07-28"
TASKS: dict[str, Any] = {"io.modelcontextprotocol/tasks": {}}


@pytest.fixture
async def away(start_private_redis: Any) -> AsyncIterator[Any]:
    """A worker whose Redis has ended."""
    server = start_private_redis()
    async with serving(server.url, drain_timeout=0) as worker:
        server.child.kill()
        yield worker


@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel", "tasks/update"])
async def test_a_task_that_cannot_be_looked_up_is_answered_503_and_no_traceback(
    away: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    envelope = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {"extensions": TASKS},
    }
    params = {"taskId": "t" * 24, "inputResponses": {}, "_meta": envelope}
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": method,
        "mcp-name": "t" * 24,
    }
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.post(away.url, json=message, headers=headers)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    body = answer.json()
    assert body["id"] == 7
    assert body["error"]["data"] == {"reason": "state_unavailable", "retry": True}
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
