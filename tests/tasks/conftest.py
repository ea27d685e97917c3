"""Workers that run tasks, over `memory://` or a real Redis, and a client that says which worker gets which request."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import pytest
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult
from pydantic import BaseModel

from switchboard.fleet import Heartbeat
from switchboard.identity import Caller, Principal, serving
from switchboard.plugins import TaskSupport
from switchboard.state import State, open_state
from switchboard.state.contact import Contact
from switchboard.tasks import Tasks

VERSION = "2026-07-28"
EXTENSION = "io.modelcontextprotocol/tasks"
ALICE = Principal("https://issuer", "alice", "client", frozenset({"mcp"}))
BOB = Principal("https://issuer", "bob", "client", frozenset({"mcp"}))
ABLE: dict[str, Any] = {"elicitation": {"form": {}}, "extensions": {EXTENSION: {}}}
SUPPORT: dict[str, TaskSupport] = {
    "hold": "optional",
    "must": "required",
    "quick": "optional",
    "refuse": "optional",
    "crash": "optional",
    "question": "optional",
    "both": "optional",
    "late_round": "optional",
    "report": "optional",
    "late_question": "optional",
    "impatient": "optional",
}
PATIENCE_S = 300


class Name(BaseModel):
    """What the tools ask for."""

    name: str


class Gates:
    """Where a test meets a handler in mid-flight."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.left = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def hold(self) -> None:
        """Say that one is here, and wait; tell of a cancellation."""
        self.entered.set()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.release.wait()
            self.left.set()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class Tools:
    """Tools that end, and ask, in every way there is."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates

    def server(self) -> MCPServer[Any]:
        """All of them as a server."""
        server = MCPServer("tools")
        for tool in SUPPORT:
            server.add_tool(getattr(self, tool))
        return server

    async def hold(self, ctx: Context[Any, Any]) -> str:
        await self.gates.hold()
        return "released"

    async def must(self) -> str:
        await self.gates.hold()
        return "released"

    async def quick(self) -> str:
        return "at once"

    async def refuse(self) -> str:
        await self.gates.hold()
        raise ToolError("no")

    async def crash(self) -> str:
        await self.gates.hold()
        raise MCPError(-32050, "crashed")

    async def question(self, ctx: Context[Any, Any]) -> str:
        return f"Hello, {await self._name(ctx, 'first')}!"

    async def both(self, ctx: Context[Any, Any]) -> str:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(self._name(ctx, "first"))
            second = tasks.create_task(self._name(ctx, "second"))
        return f"{first.result()} and {second.result()}"

    async def late_round(self, ctx: Context[Any, Any]) -> str | InputRequiredResult:
        """Take long, and only then end the round with a question."""
        found = (ctx.input_responses or {}).get("who")
        if isinstance(found, ElicitResult):
            return f"{(found.content or {})['name']} after {ctx.request_state}"
        await self.gates.hold()
        form = {"type": "object", "properties": {"name": {"type": "string"}}}
        asked = ElicitRequest(params=ElicitRequestFormParams(message="Who?", requested_schema=form))
        return InputRequiredResult(input_requests={"who": asked}, request_state="round 1")

    async def report(self, ctx: Context[Any, Any]) -> str:
        """Take long, and say how far it is."""
        await self.gates.hold()
        await ctx.report_progress(1, 2, "half of it")
        return "reported"

    async def late_question(self, ctx: Context[Any, Any]) -> str:
        """Take long, and ask then."""
        await self.gates.hold()
        return f"Hello, {await self._name(ctx, 'first')}!"

    async def impatient(self, ctx: Context[Any, Any]) -> str:
        """Ask, wait for no time at all, and go on without an answer."""
        form = {"type": "object", "properties": {"name": {"type": "string"}}}
        asked = ElicitRequest(params=ElicitRequestFormParams(message="Who?", requested_schema=form))
        try:
            await ctx.session.send_request(asked, ElicitResult, request_read_timeout_seconds=0)
        except MCPError as error:
            await self.gates.hold()
            return error.error.message
        return "answered"

    async def _name(self, ctx: Context[Any, Any], which: str) -> str:
        answer = await ctx.elicit(f"What is the {which} name?", schema=Name)
        return answer.data.name if answer.action == "accept" else answer.action


@dataclass
class Desk:
    """One worker, reached without a network."""

    tasks: Tasks
    http: httpx2.AsyncClient

    async def request(
        self,
        method: str,
        params: dict[str, Any],
        *,
        capabilities: dict[str, Any] | None = None,
        principal: Principal = ALICE,
        **headers: str,
    ) -> dict[str, Any]:
        """Send one request of 2026-07-28, and return the response."""
        declared = ABLE if capabilities is None else capabilities
        envelope = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": declared,
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": envelope}}
        named = params.get("name") or params.get("taskId") or ""
        given = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
            "mcp-name": named,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        with serving(Caller(principal)):
            answer = await self.http.post("http://localhost/mcp", json=message, headers=given)
        response: dict[str, Any] = answer.json()
        return response

    async def call(self, tool: str, **options: Any) -> dict[str, Any]:
        """Call a tool; its result."""
        result: dict[str, Any] = (await self.request("tools/call", {"name": tool, "arguments": {}}, **options))[
            "result"
        ]
        return result

    async def get(self, task: str, **options: Any) -> dict[str, Any]:
        """What `tasks/get` says of a task."""
        result: dict[str, Any] = (await self.request("tasks/get", {"taskId": task}, **options))["result"]
        return result

    async def update(self, task: str, answers: dict[str, Any]) -> dict[str, Any]:
        """Answer questions of a task; the whole response."""
        return await self.request("tasks/update", {"taskId": task, "inputResponses": answers})

    async def become(self, task: str, *statuses: str) -> dict[str, Any]:
        """Ask until the task has one of the statuses."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.get(task))["status"] not in statuses:
                await asyncio.sleep(0.02)
        return found


Open = Callable[..., Any]


@asynccontextmanager
async def desk(state: State, gates: Gates, **options: Any) -> AsyncIterator[Desk]:
    """A worker on a state."""
    worker = f"w{secrets.token_hex(3)}"
    heartbeat = Heartbeat(state, worker, "test")
    server = Tools(gates).server()._lowlevel_server
    tasks = Tasks(state, worker, heartbeat.alive, SUPPORT.get, **options)
    server.middleware.append(tasks)
    tasks.install(server)
    manager = StreamableHTTPSessionManager(server, stateless=True, json_response=True)
    transport = httpx2.ASGITransport(manager.handle_request)
    async with heartbeat.running(), manager.run(), tasks.running(), httpx2.AsyncClient(transport=transport) as http:
        yield Desk(tasks, http)


@pytest.fixture
def gates() -> Gates:
    """The gates that the tools of all workers stand at."""
    return Gates()


@pytest.fixture(params=["memory", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    """Shared state of both kinds."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with open_state(url) as opened:
        yield replace(opened, contact=Contact(unbroken=True))  # as when Redis has answered for a while


@pytest.fixture
async def opening(state: State, gates: Gates) -> AsyncIterator[Open]:
    """`await opening(**options)`: one more worker on the same state."""
    closing = asyncio.Event()
    hosts: list[asyncio.Task[None]] = []

    async def host(ready: asyncio.Future[Desk], options: dict[str, Any]) -> None:
        # A task of its own: what a worker opens must be closed by the task that opened it.
        async with desk(state, gates, **options) as opened:
            ready.set_result(opened)
            await closing.wait()

    async def opened(**options: Any) -> Desk:
        ready: asyncio.Future[Desk] = asyncio.get_running_loop().create_future()
        hosts.append(asyncio.create_task(host(ready, options)))
        async with asyncio.timeout(PATIENCE_S):
            return await ready

    yield opened
    closing.set()
    await asyncio.gather(*hosts)


@pytest.fixture
def closing_desk(state: State, gates: Gates) -> Callable[..., Any]:
    """A worker that a test opens and closes itself."""
    return lambda **options: desk(state, gates, **options)


@pytest.fixture
def bob() -> Principal:
    """Somebody else."""
    return BOB
