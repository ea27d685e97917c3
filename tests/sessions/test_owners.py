"""A session belongs to a person and a client: nobody else can use it, see it, or tell that it exists."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from switchboard.cli.login import obtain_token
from tests.sessions.conftest import serving

ACCEPT = "application/json, text/event-stream"
MODERN = "2026-07-28"
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
ECHO = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"message": "x"}}}


@dataclass
class Fleet:
    """Two workers with integrated authorization on one Redis."""

    urls: list[str]
    http: httpx2.AsyncClient

    async def token(self, user: str, scope: str | None = None) -> str:
        return await asyncio.to_thread(obtain_token, self.urls[0], user=user, scope=scope)

    async def post(self, url: str, token: str | None, message: Any, sid: str | None = None) -> httpx2.Response:
        return await self.http.post(url, json=message, headers=headers(token, sid))

    async def open(self, token: str) -> str:
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        message = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}
        answer = await self.post(self.urls[0], token, message)
        assert answer.status_code == 200, answer.text
        sid: str = answer.headers["mcp-session-id"]
        return sid


def headers(token: str | None, sid: str | None = None) -> dict[str, str]:
    found = {"accept": ACCEPT}
    if token:
        found["authorization"] = f"Bearer {token}"
    if sid:
        found["mcp-session-id"] = sid
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def fleet(redis_url: str) -> AsyncIterator[Fleet]:
    port = free_port()
    given: dict[str, Any] = {"auth_mode": "integrated", "base_uri": f"http://localhost:{port}", "drain_timeout": 0}
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(serving(redis_url, port, **given))
        b = await stack.enter_async_context(serving(redis_url, **given))
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=60))
        yield Fleet([a.url, b.url], http)


async def test_a_stranger_gets_404_on_every_worker_by_every_method(fleet: Fleet) -> None:
    alice, bob = await fleet.token("alice"), await fleet.token("bob")
    sid = await fleet.open(alice)
    for url in fleet.urls:
        assert (await fleet.post(url, bob, ECHO, sid)).status_code == 404
        assert (await fleet.http.get(url, headers=headers(bob, sid))).status_code == 404
        assert (await fleet.http.delete(url, headers=headers(bob, sid))).status_code == 404
        unknown = await fleet.post(url, bob, ECHO, "0" * 48)
        assert unknown.json() == (await fleet.post(url, bob, ECHO, sid)).json()
        assert (await fleet.post(url, alice, ECHO, sid)).status_code == 200


async def test_the_same_person_with_another_client_is_a_stranger_too(fleet: Fleet) -> None:
    first, second = await fleet.token("alice"), await fleet.token("alice")  # each run registers a client of its own
    sid = await fleet.open(first)
    assert (await fleet.post(fleet.urls[1], second, ECHO, sid)).status_code == 404


async def test_a_session_id_without_a_token_is_nothing(fleet: Fleet) -> None:
    sid = await fleet.open(await fleet.token("alice"))
    answer = await fleet.post(fleet.urls[1], None, ECHO, sid)
    assert answer.status_code == 401
    assert "error=" not in answer.headers["www-authenticate"]


async def test_a_stranger_cannot_answer_cancel_or_take_over(fleet: Fleet) -> None:
    alice, bob = await fleet.token("alice"), await fleet.token("bob")
    sid = await fleet.open(alice)
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    again = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    for message in (cancel, again, {"jsonrpc": "2.0", "id": "x", "result": {}}):
        assert (await fleet.post(fleet.urls[1], bob, message, sid)).status_code == 404


@pytest.mark.parametrize(
    ("message", "scope"),
    [
        (ECHO, "mcp:tools"),
        ({"jsonrpc": "2.0", "id": 1, "method": "prompts/list"}, "mcp:prompts"),
        ({"jsonrpc": "2.0", "id": 1, "method": "resources/list"}, "mcp:resources"),
    ],
)
async def test_a_missing_scope_is_403_and_named_so_that_the_client_can_step_up(
    fleet: Fleet, message: dict[str, Any], scope: str
) -> None:
    """AUTH row 3."""
    scopes = {"mcp:tools", "mcp:prompts", "mcp:resources"}
    narrow = await fleet.token("alice", " ".join(scopes - {scope}))
    sid = await fleet.open(narrow)
    refused = await fleet.post(fleet.urls[1], narrow, message, sid)
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert f'scope="{scope}"' in refused.headers["www-authenticate"]
    wide = await fleet.token("alice", scope)
    sid = await fleet.open(wide)
    assert (await fleet.post(fleet.urls[1], wide, message, sid)).status_code == 200


def listening(**wanted: Any) -> dict[str, Any]:
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": TASKS}
    params = {"notifications": wanted, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}


def modern(token: str) -> dict[str, str]:
    return {**headers(token), "mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"}


@pytest.mark.parametrize(
    ("wanted", "scope"),
    [
        ({"resourceSubscriptions": ["test://static/resource/1"]}, "mcp:resources"),
        ({"resourceSubscriptions": ["test://static/resource/1"], "toolsListChanged": True}, "mcp:resources"),
        ({"taskIds": ["a" * 32]}, "mcp:tools"),
    ],
)
async def test_a_listen_stream_needs_the_scopes_of_what_it_follows(
    fleet: Fleet, wanted: dict[str, Any], scope: str
) -> None:
    narrow = await fleet.token("alice", " ".join({"mcp:tools", "mcp:prompts", "mcp:resources"} - {scope}))
    async with asyncio.timeout(60):
        refused = await fleet.http.post(fleet.urls[1], json=listening(**wanted), headers=modern(narrow))
    assert refused.status_code == 403, refused.text
    assert f'scope="{scope}"' in refused.headers["www-authenticate"]


async def test_a_listen_stream_leaves_out_the_lists_that_its_token_may_not_see(fleet: Fleet) -> None:
    narrow = await fleet.token("alice", "mcp:tools")
    every = dict.fromkeys(("toolsListChanged", "promptsListChanged", "resourcesListChanged"), True)
    async with fleet.http.stream("POST", fleet.urls[0], json=listening(**every), headers=modern(narrow)) as stream:
        assert stream.status_code == 200
        said = [line async for line in until_data(stream)]
    assert json.loads(said[-1][5:])["params"]["notifications"] == {"toolsListChanged": True}


async def until_data(stream: httpx2.Response) -> AsyncIterator[str]:
    async for line in stream.aiter_lines():
        yield line
        if line.startswith("data:"):
            return


async def test_a_revoked_token_ends_its_open_stream_and_is_refused(fleet: Fleet) -> None:
    """AUTH row 10."""
    alice = await fleet.token("alice")
    sid = await fleet.open(alice)
    async with fleet.http.stream("GET", fleet.urls[1], headers=headers(alice, sid)) as stream:
        assert stream.status_code == 200
        base = fleet.urls[0].removesuffix("/mcp")
        whoami = {**ECHO, "params": {"name": "whoami", "arguments": {}}}
        client = (await fleet.post(fleet.urls[0], alice, whoami, sid)).json()["result"]["structuredContent"]["client"]
        revoked = await fleet.http.post(f"{base}/revoke", data={"token": alice, "client_id": client})
        assert revoked.status_code == 200, revoked.text
        async with asyncio.timeout(60):
            async for _ in stream.aiter_bytes():
                pass
    assert (await fleet.post(fleet.urls[1], alice, ECHO, sid)).status_code == 401


LONG: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "longRunningOperation", "arguments": {"duration": 120, "steps": 100}},
}


def of_modern(message: dict[str, Any]) -> dict[str, Any]:
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    return {**message, "params": {**message["params"], "_meta": {**meta, "progressToken": 1}}}


async def test_every_stream_ends_with_its_token_the_answers_to_posts_and_what_resumes_them_too(fleet: Fleet) -> None:
    token = await fleet.token("alice")
    sid = await fleet.open(token)
    a, b = fleet.urls
    whoami = {**ECHO, "params": {"name": "whoami", "arguments": {}}}
    client = (await fleet.post(a, token, whoami, sid)).json()["result"]["structuredContent"]["client"]
    called = {**modern(token), "mcp-method": "tools/call", "mcp-name": "longRunningOperation"}
    listens = listening(toolsListChanged=True)
    async with AsyncExitStack() as stack:
        opening = partial(opened, fleet, stack)
        reply = await opening("POST", a, headers(token, sid), LONG)
        lines = reply.aiter_lines()
        last = await anext(line async for line in lines if line.startswith("id:"))
        resumed = {**headers(token, sid), "last-event-id": last.partition(":")[2].strip()}
        streams = {
            "the answer to a POST": lines,
            "what resumes it elsewhere": (await opening("GET", b, resumed)).aiter_lines(),
            "the standalone stream": (await opening("GET", b, headers(token, sid))).aiter_lines(),
            "the answer to a modern POST": (await opening("POST", b, called, of_modern(LONG))).aiter_lines(),
            "a listen stream": (await opening("POST", b, modern(token), listens)).aiter_lines(),
        }
        base = a.removesuffix("/mcp")
        assert (await fleet.http.post(f"{base}/revoke", data={"token": token, "client_id": client})).status_code == 200
        ending = {name: asyncio.ensure_future(read_out(stream)) for name, stream in streams.items()}
        await asyncio.wait(ending.values(), timeout=60)
        assert {name for name, task in ending.items() if not task.done()} == set()
        await asyncio.gather(*ending.values())


async def opened(
    fleet: Fleet, stack: AsyncExitStack, method: str, url: str, sent: dict[str, str], message: Any = None
) -> httpx2.Response:
    stream = await stack.enter_async_context(fleet.http.stream(method, url, headers=sent, json=message))
    assert stream.status_code == 200, await stream.aread()
    return stream


async def read_out(lines: AsyncIterator[str]) -> None:
    async for _ in lines:
        pass


async def test_a_modern_request_that_was_not_answered_yet_is_refused_when_its_token_is_revoked(fleet: Fleet) -> None:
    token = await fleet.token("alice")
    whoami = {**ECHO, "params": {"name": "whoami", "arguments": {}}}
    sid = await fleet.open(token)
    client = (await fleet.post(fleet.urls[0], token, whoami, sid)).json()["result"]["structuredContent"]["client"]
    called = {**modern(token), "mcp-method": "tools/call", "mcp-name": "longRunningOperation"}
    silent = of_modern(LONG)
    del silent["params"]["_meta"]["progressToken"]
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        sent = asyncio.Event()

        async def trace(event: str, _info: Any) -> None:
            if event == "http11.send_request_body.complete":
                sent.set()

        posting = fleet.http.post(fleet.urls[1], json=silent, headers=called, extensions={"trace": trace})
        asking = tasks.create_task(posting)
        await sent.wait()
        assert (await fleet.post(fleet.urls[1], token, whoami, sid)).status_code == 200  # by now it is being served
        base = fleet.urls[0].removesuffix("/mcp")
        assert (await fleet.http.post(f"{base}/revoke", data={"token": token, "client_id": client})).status_code == 200
    assert asking.result().status_code == 401
    assert 'error="invalid_token"' in asking.result().headers["www-authenticate"]


async def test_a_websocket_has_its_tokens_scopes_and_ends_with_the_token(fleet: Fleet) -> None:
    token = await fleet.token("alice", scope="mcp:tools")
    bearer = {"Authorization": f"Bearer {token}"}
    url = fleet.urls[0].replace("http:", "ws:")
    async with connect(url, subprotocols=[Subprotocol("mcp")], additional_headers=bearer, proxy=None) as socket:

        async def ask(id: int, method: str, params: dict[str, Any]) -> Any:
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            return json.loads(await asyncio.wait_for(socket.recv(), 60))

        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        await ask(0, "initialize", hello)
        refused = await ask(1, "resources/list", {})
        assert "mcp:resources" in refused["error"]["message"]
        told = await ask(2, "tools/call", {"name": "whoami", "arguments": {}})
        client = told["result"]["structuredContent"]["client"]
        base = fleet.urls[0].removesuffix("/mcp")
        assert (await fleet.http.post(f"{base}/revoke", data={"token": token, "client_id": client})).status_code == 200
        async with asyncio.timeout(60):
            with pytest.raises(ConnectionClosed) as ended:
                await socket.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1008
