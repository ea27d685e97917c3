"""Which requests the fast path takes, and that it never goes by what is not true any more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from mcp import Client
from mcp.server.extension import Extension
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Resolve
from mcp.shared.subscriptions import ToolsListChanged
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import Field

from switchboard.catalog import shapes
from switchboard.config import Exposure
from switchboard.gateway import FastPath, LiveCatalog, build_gateway, fast_path, found_tools
from switchboard.identity import Principal
from switchboard.identity.principal import Caller, serving
from switchboard.plugins import TASK_SUPPORT, Plugin, PluginProvider
from switchboard.protocol.direct_requests import KnownResponse, PreparedInContext
from switchboard.telemetry import spans
from tests.gateway.conftest import LonelyHost, OpenGateway
from tools.messages import MODERN, call, modern, request

HANDSHAKE = "2025-11-25"


def greeting(word: str = "hello", **kind: Any) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("greeting", **kind)
    server.add_tool(lambda: word, name="greet")
    return server


async def answered(path: FastPath, message: dict[str, Any], version: str = MODERN) -> Any:
    prepared = path.prepare(version, message)
    assert prepared is not None
    assert not isinstance(prepared, KnownResponse | PreparedInContext)
    return (await prepared.run())["content"][0]["text"]


def asked(context: Context[Any, Any]) -> str:
    return str(context.request_id)


async def number(context: Context[Any, Any]) -> int:
    return 1


def resolved(count: Annotated[int, Resolve(number)]) -> int:
    return count


def mirrored(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "eu") -> str:
    return region


class Intercepting(Extension):
    identifier = "test/intercepting"

    async def intercept_tool_call(self, params: Any, ctx: Any, call_next: Any) -> Any:
        return await call_next(ctx)


@pytest.mark.parametrize(
    ("add", "kind", "in_both"),
    [
        (lambda server: server.add_tool(asked, name="greet"), {}, True),
        (lambda server: server.add_tool(resolved, name="greet"), {}, True),
        (lambda server: server.add_tool(mirrored, name="greet"), {}, False),
        (lambda server: server.add_tool(lambda: "a", name="greet", meta={TASK_SUPPORT: "optional"}), {}, False),
        (lambda server: server.add_tool(lambda: "a", name="greet"), {"extensions": [Intercepting()]}, True),
    ],
    ids=["context", "resolver", "header", "task", "interceptor"],
)
async def test_a_tool_that_needs_more_than_its_arguments_is_served_in_context_unless_its_era_makes_more_of_it(
    open_gateway: OpenGateway, add: Callable[[MCPServer[Any]], None], kind: dict[str, Any], in_both: bool
) -> None:
    server: MCPServer[Any] = MCPServer("odd", **kind)
    add(server)
    async with open_gateway((server, "never")) as opened:
        path = FastPath(opened.server, opened.catalog)
        assert isinstance(path.prepare(HANDSHAKE, call("greet")), PreparedInContext)
        assert isinstance(path.prepare(MODERN, modern(call("greet"))), PreparedInContext if in_both else type(None))
        assert path.short == 1 + in_both


async def test_a_subclass_that_calls_tools_in_its_own_way_is_left_to_it(open_gateway: OpenGateway) -> None:
    class Own(MCPServer[Any]):
        async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
            return await super().call_tool(name, arguments, context)

    server = Own("own")
    server.add_tool(lambda: "a", name="greet")
    async with open_gateway((server, "never")) as opened:
        prepared = FastPath(opened.server, opened.catalog).prepare(HANDSHAKE, call("greet"))
        assert isinstance(prepared, PreparedInContext)


async def test_a_provider_that_was_replaced_by_one_with_equal_offers_is_not_called_any_more(host: LonelyHost) -> None:
    def provider(word: str) -> PluginProvider:
        return PluginProvider(Plugin("greeting", "1", greeting(word)), prefix="never")

    catalog = LiveCatalog([provider("old")], bus=host.bus)
    path = FastPath(build_gateway(catalog, bus=host.bus), catalog)
    async with catalog.running(host):
        assert await answered(path, modern(call("greet"))) == "old"
        before = catalog.current()
        await catalog.replace([provider("new")])
        assert catalog.current() is before
        assert await answered(path, modern(call("greet"))) == "new"


async def test_a_provider_is_not_ended_while_a_call_of_it_is_served(host: LonelyHost) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        reached.set()
        await go_on.wait()
        return "done"

    server: MCPServer[Any] = MCPServer("waiting")
    server.add_tool(wait)
    catalog = LiveCatalog([PluginProvider(Plugin("waiting", "1", server), prefix="never")], bus=host.bus)
    path = FastPath(build_gateway(catalog, bus=host.bus), catalog)
    async with catalog.running(host), asyncio.TaskGroup() as tasks:
        calling = tasks.create_task(answered(path, call("wait"), HANDSHAKE))
        await reached.wait()
        life = catalog._lives["waiting"]
        await catalog.replace([])
        assert not life._idle.is_set()
        go_on.set()
        assert await calling == "done"
        assert life._idle.is_set()


async def test_a_tool_that_was_exchanged_without_a_word_is_looked_at_anew(open_gateway: OpenGateway) -> None:
    server = greeting()
    async with open_gateway((server, "never")) as opened:
        path = FastPath(opened.server, opened.catalog)
        assert await answered(path, call("greet"), HANDSHAKE) == "hello"
        server.remove_tool("greet")
        server.add_tool(asked, name="greet")
        assert isinstance(path.prepare(HANDSHAKE, call("greet")), PreparedInContext)
        path.forget()
        server.remove_tool("greet")
        server.add_tool(lambda: "again", name="greet")
        assert await answered(path, call("greet"), HANDSHAKE) == "again"


async def test_a_tool_is_called_directly_with_the_scopes_that_policy_asks_for_only(host: LonelyHost) -> None:
    policy = shapes({"greeting": Exposure.model_validate({"tools": {"greet": {"scopes": ["mcp:greet"]}}})})
    provider = PluginProvider(Plugin("greeting", "1", greeting()), prefix="never")
    catalog = LiveCatalog([provider], bus=host.bus, shapes=policy)
    path = FastPath(build_gateway(catalog, bus=host.bus), catalog)
    async with catalog.running(host):
        for scopes, taken in ((frozenset({"mcp"}), False), (frozenset({"mcp", "mcp:greet"}), True)):
            with serving(Caller(Principal("i", "s", "c", scopes))):
                assert (path.prepare(HANDSHAKE, call("greet")) is not None) is taken


async def test_what_is_traced_is_served_directly_and_has_the_span_that_it_would_have_in_the_kernel(
    open_gateway: OpenGateway,
) -> None:
    provider, kept = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    async with open_gateway((greeting(), "never")) as opened:
        path = FastPath(opened.server, opened.catalog)
        spans.collect(provider)
        try:
            traced: Any = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tracestate": "a=b"}
            assert await answered(path, call("greet", {}, 1, **traced), HANDSHAKE) == "hello"
            async with Client(opened.server, mode="legacy") as client:
                await client.call_tool("greet", meta=traced)
        finally:
            spans.collect(None)
    direct, kernel = (each for each in kept.get_finished_spans() if each.name == "tools/call greet")
    assert (direct.attributes or {})["gen_ai.tool.name"] == "greet"
    assert direct.parent is not None
    assert (direct.parent.trace_id, direct.parent.span_id) == (int("1" * 32, 16), int("2" * 16, 16))
    assert direct.parent == kernel.parent
    assert {**(direct.attributes or {}), "jsonrpc.request.id": ""} == {
        **(kernel.attributes or {}),
        "jsonrpc.request.id": "",
    }
    assert (direct.kind, direct.status.status_code) == (kernel.kind, kernel.status.status_code)


async def test_what_is_remembered_of_clients_has_a_bound(open_gateway: OpenGateway) -> None:
    async with open_gateway((greeting(), "never")) as opened:
        path = FastPath(opened.server, opened.catalog)
        for number in range(fast_path.METAS + 10):
            message = modern(call("greet"))
            message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"] = {"name": str(number), "version": "1"}
            assert path.prepare(MODERN, message) is not None
        assert 0 < len(path._metas) <= fast_path.METAS
        for _ in range(found_tools.VIEWS + 10):
            path._tools._of_view(opened.catalog.current().__class__(**vars(opened.catalog.current())))
        assert len(path._tools._views) <= found_tools.VIEWS


async def test_a_page_that_was_made_is_answered_as_it_is_until_the_list_changes(open_gateway: OpenGateway) -> None:
    server, listing = greeting(), request("tools/list", id="é")
    async with open_gateway((server, "never")) as opened, Client(opened.server, mode="legacy") as client:
        path = FastPath(opened.server, opened.catalog)
        version = client.protocol_version
        assert path.prepare(version, listing) is None, "nobody has made the page yet"
        shown = await client.list_tools()
        known = path.prepare(version, listing)
        assert isinstance(known, KnownResponse)
        said = json.loads(known.response)
        assert said["id"] == "é"
        assert [tool["name"] for tool in said["result"]["tools"]] == [tool.name for tool in shown.tools] == ["greet"]
        server.add_tool(lambda: "b", name="part")
        await opened.host.publish(ToolsListChanged())
        assert path.prepare(version, listing) is None, "a change was announced"
        await client.list_tools()
        known = path.prepare(version, listing)
        assert isinstance(known, KnownResponse)
        assert len(json.loads(known.response)["result"]["tools"]) == 2
