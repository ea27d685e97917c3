"""The ids of requests to backends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcp import Client

from switchboard.backends import Backend, Http
from tests.backends.conftest import Connect, Open, Raw, Serve


async def test_a_child_gets_integers_as_ids_and_as_progress_tokens(
    scripted: Raw, open_gateway: Open, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    async with open_gateway(scripted({"integers": True, "heard": str(heard)})) as opened:
        await opened.discovered()
        async with Client(opened.server) as client:
            await client.call_tool("odd__t", progress_callback=ignored)
    messages = [json.loads(line) for line in heard.read_text().splitlines()]
    asked = [message for message in messages if "id" in message]
    assert all(type(message["id"]) is int and message["id"] >= 1 for message in asked)
    (call,) = [message for message in asked if message["method"] == "tools/call"]
    assert call["params"]["_meta"]["progressToken"] == call["id"]


async def ignored(progress: float, total: float | None, message: str | None) -> None:
    return


async def test_progress_is_passed_on_under_a_token_that_the_backend_wrote_as_a_text(
    scripted: Raw, open_gateway: Open, connect: Connect
) -> None:
    said: list[float] = []

    async def reported(progress: float, total: float | None, message: str | None) -> None:
        said.append(progress)

    step = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"$ID","progress":7}}'
    odd = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":[1],"progress":8}}'
    answer = '{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}'
    async with open_gateway(scripted({"say": {"tools/call": [step, odd, answer]}})) as opened:
        await opened.discovered()
        async with connect(opened.server, "handshake") as client:
            await client.call_tool("odd__t", progress_callback=reported)
    assert said == [7]


async def test_a_server_over_http_gets_integers_that_no_other_line_uses(
    handy: Any, serve: Serve, open_gateway: Open
) -> None:
    url = await serve(handy.server().streamable_http_app())
    backends = [Backend(name, Http((url,), era="handshake")) for name in ("one", "two")]
    async with open_gateway(*backends) as opened:
        await opened.discovered()
        lines = [line for name in ("one", "two") for line in opened.providers[name].pool.open]
        ids = [line._next_id() for line in lines for _ in range(3)]
    assert len(set(ids)) == len(ids) == 6
    assert all(type(number) is int and 0 <= number < 2**31 for number in ids)
