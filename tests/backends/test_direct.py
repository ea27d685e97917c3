"""Backends' tools on the fast path: answered as on the SDK's way, and only where nobody is to be told or asked."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp_types import CLIENT_CAPABILITIES_META_KEY, LOG_LEVEL_META_KEY

from switchboard.backends.direct import DirectCalls
from switchboard.protocol.direct_requests import ToolCall
from tests.backends.conftest import SERVERS, Serve
from tests.http.test_fast_path import Sent, Ways, differing, opened
from tools.messages import call, modern

CALLS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("echo", {"text": "hé\u2028"}),
    ("echo", {"text": 7}),
    ("echo", {"text": None, "more": [None, {"a": None}]}),
    ("add", {"a": 1, "b": 2**70}),
    ("add", {"a": "one", "b": 2}),
    ("steps", {"count": 2}),
    ("ask", {"tag": "?"}),
    ("rounds", {"unasked": 1}),
    ("think", {"unasked": 1}),
    ("roots", {"unasked": 1}),
    ("fail", {"unasked": 1}),
)


def sent(ways: Ways, backends: tuple[str, ...], **more: Any) -> Iterator[tuple[str, Sent]]:
    for backend in backends:
        for name, arguments in CALLS:
            message = modern(call(f"{backend}__{name}", arguments), **more)
            yield f"{backend} {name} {arguments}", ways.modern(message)


@pytest.fixture
async def file(tmp_path: Path, serve: Serve, handy: Any) -> Path:
    """A configuration with the handy server as a child and over HTTP, in the modern era there."""
    url = await serve(handy.server().streamable_http_app())
    child = {"command": sys.executable, "args": [str(SERVERS / "handy.py")], "scope": "shared"}
    servers = {"child": child, "far": {"url": url, "era": "modern", "scope": "shared"}}
    path = tmp_path / "backends.json"
    path.write_text(json.dumps({"plugins": {"everything": {"enabled": False}}, "mcpServers": servers}))
    return path


async def offered(ways: Ways) -> None:
    """Wait until both workers have both backends."""
    async with asyncio.timeout(60):
        for worker in (ways.fast, ways.slow):
            for backend in ("child", "far"):
                call_it = ways.modern(modern(call(f"{backend}__echo", {"text": "there?"})))
                while "there?" not in (await ways._answer(worker, *call_it))[2]:
                    await asyncio.sleep(0.05)


async def test_calls_go_the_short_way_where_nobody_is_told_or_asked_and_are_answered_alike(
    redis_url: str, file: Path
) -> None:
    async with opened(redis_url, file) as ways:
        await offered(ways)
        plain, before = list(sent(ways, ("child", "far"))), ways.short
        assert await differing(ways, plain) == {}
        assert ways.short - before == len(plain)


@pytest.mark.parametrize(
    ("version", "arguments", "meta"),
    [
        ("2025-11-25", {"a": 1}, {CLIENT_CAPABILITIES_META_KEY: {}}),
        ("2026-07-28", {}, {CLIENT_CAPABILITIES_META_KEY: {}}),
        ("2026-07-28", {"a": 1}, {}),
        ("2026-07-28", {"a": 1}, {CLIENT_CAPABILITIES_META_KEY: {"roots": {}}}),
        ("2026-07-28", {"a": 1}, {CLIENT_CAPABILITIES_META_KEY: {}, "progressToken": "p"}),
        ("2026-07-28", {"a": 1}, {CLIENT_CAPABILITIES_META_KEY: {}, LOG_LEVEL_META_KEY: "debug"}),
    ],
)
def test_a_call_whose_client_may_be_asked_or_told_something_needs_the_context(
    version: str, arguments: dict[str, Any], meta: dict[str, Any]
) -> None:
    async def forward(*_parts: Any) -> Any:
        raise AssertionError

    tools = DirectCalls(forward)
    assert tools.prepare(ToolCall("add", arguments, meta, version)) is None
    plain = ToolCall("add", {"a": 1}, {CLIENT_CAPABILITIES_META_KEY: {}}, "2026-07-28")
    assert tools.prepare(plain) is not None
