"""The one module that knows how an SDK `MCPServer` is made inside; everything else sees a provider.

Private parts used, each held by a contract test: `MCPServer._lowlevel_server` (its handlers and lifespan),
`MCPServer._handle_call_tool` (which serves `tools/call` by `call_tool`, and words what that raises),
`MCPServer._subscriptions` (the bus that `ctx.notify_*` publishes on), `MCPServer._tool_manager` (to say which argument
was wrong) and `Server._request_handlers` (to find the methods that extensions brought).

The plugin's own middleware chain is not run: its request-state boundary would seal with a key of this process alone.
The gateway has one for all. A plugin that brings middleware of its own is refused rather than quietly stripped of it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.caching import CacheHint
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.tools import Tool as SdkTool
from mcp.server.request_state import RequestStateBoundary
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CallToolRequestParams,
    CallToolResult,
    GetPromptRequestParams,
    Prompt,
    Resource,
    ResourceTemplate,
    TextContent,
    Tool,
)
from mcp_types.methods import SPEC_CLIENT_METHODS
from pydantic import BaseModel, ValidationError

from switchboard.aio import first_error
from switchboard.common.validation_messages import complaints
from switchboard.config import Prefix
from switchboard.errors import NotConnected, PluginFailure, plainly, without_links
from switchboard.plugins.api import Host, Kind, Plugin, PluginContext
from switchboard.plugins.bus import HostBus, forwarded
from switchboard.plugins.connecting import Connecting
from switchboard.plugins.plain_tools import PlainTool, RequestContext
from switchboard.protocol.direct_requests import (
    DirectTool,
    NeedsContext,
    TextResult,
    ToolCall,
    Work,
    WorkInContext,
    changed,
)

START_S: Final = 30.0
STOP_S: Final = 10.0
"""What a plugin has to start, and to stop."""

Handler = Callable[[ServerRequestContext[Any, Any], Any], Awaitable[HandlerResult]]

TELLING: Final = Connecting()
"""People are told what is missing, and no more."""

_NO_REQUEST: Final[Any] = None
"""The context of a request, where nobody looks at it."""


@dataclass(frozen=True)
class PluginOffer:
    """What a plugin offers now. The catalog reads it."""

    provider: str
    prefix: Prefix
    tools: Sequence[Tool]
    resources: Sequence[Resource]
    templates: Sequence[ResourceTemplate]
    prompts: Sequence[Prompt]
    page_sizes: Mapping[Kind, int]
    cache_hints: Mapping[str, CacheHint]


class PluginProvider:
    """A plugin as the gateway calls it: in this process, with the request's own context.

    Args:
        plugin: its `server` is made.
        context: what its `start` and `stop` are called with; without one they are not called.
        prefix: when its name stands before the names of its tools.
        connecting: has people asked for what calls need of them.
    """

    def __init__(
        self,
        plugin: Plugin,
        context: PluginContext[Any] | None = None,
        *,
        prefix: Prefix = "always",
        connecting: Connecting = TELLING,
    ) -> None:
        if not isinstance(plugin.server, MCPServer):
            raise TypeError(f"the server of {plugin.name} is not made yet")
        self._plugin = plugin
        self._context = context
        self._prefix = prefix
        self._connecting = connecting
        self._server: MCPServer[Any] = plugin.server
        self.failure = ""
        """Why it does not run any more, though it was not stopped."""
        self._kernel = plugin.server._lowlevel_server
        self._lifespan_context: Any = {}
        self._no_context: Context[Any, Any] = Context(mcp_server=plugin.server)
        """For tools that take none: they never see it."""
        _refuse_middleware(plugin.name, self._server)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self._plugin.name

    @property
    def version(self) -> str:
        """The plugin's version."""
        return self._plugin.version

    @property
    def instructions(self) -> str | None:
        """What the plugin wants clients to know about using it."""
        return self._server.instructions

    @property
    def extensions(self) -> Mapping[str, dict[str, Any]]:
        """The MCP extensions it supports: identifier → settings."""
        return self._kernel.extensions

    @property
    def methods(self) -> Mapping[str, type[BaseModel]]:
        """Request methods its extensions add, with the type of their parameters."""
        handlers = self._kernel._request_handlers.items()
        return {method: entry.params_type for method, entry in handlers if method not in SPEC_CLIENT_METHODS}

    async def offer(self) -> PluginOffer:
        """What the plugin offers now; answers without I/O."""
        return PluginOffer(
            provider=self.name,
            prefix=self._prefix,
            tools=await self._server.list_tools(),
            resources=await self._server.list_resources(),
            templates=await self._server.list_resource_templates(),
            prompts=await self._server.list_prompts(),
            page_sizes=self._plugin.page_sizes,
            cache_hints=self._kernel.cache_hints,
        )

    def direct(self, name: str) -> DirectTool | None:
        """The tool of that name, if nothing is put around calls of it, and nothing is asked before them."""
        tool = self._server._tool_manager.get_tool(name)
        if tool is None or tool.resolved_params or not self._calls_tools_plainly():
            return None
        return PluginTool(self, name, PlainTool(tool))

    def has(self, tool: SdkTool, name: str) -> bool:
        """Whether this is still the tool of that name, and still called as when it was looked up."""
        return self._server._tool_manager.get_tool(name) is tool and self._calls_tools_plainly()

    async def call(
        self, tool: PlainTool, name: str, arguments: dict[str, Any], ctx: ServerRequestContext[Any, Any] | None = None
    ) -> HandlerResult | TextResult:
        """Call a tool as `MCPServer.call_tool` does: what `handle` does for `tools/call`.

        Args:
            ctx: the context of the request, for a tool that takes one.

        Raises:
            MCPError: what the tool raises.
            NeedsContext: its person is to be asked for something, and there is no context.
            PluginFailure: as `handle`.
        """
        try:
            result = await tool.run(arguments, self._no_context if ctx is None else self._context_of(ctx))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a boundary: `_called` says what becomes of it
            failed = self._failed(name, arguments, error)
        else:
            return result if isinstance(result, TextResult) else self._worded(name, arguments, result)
        try:
            return await self._called(name, arguments, failed)
        except NotConnected as missing:
            params = CallToolRequestParams(name=name, arguments=arguments)
            serve = partial(self._serve, "tools/call", params, missing)
            if ctx is not None:
                return await serve(ctx)
            raise NeedsContext(serve, _nothing_to_end) from missing

    def _context_of(self, ctx: ServerRequestContext[Any, Any]) -> Context[Any, Any]:
        """What a tool of this plugin gets of a request."""
        return RequestContext(changed(ctx, lifespan_context=self._lifespan_context), self._server)

    async def _failed(self, name: str, arguments: dict[str, Any], error: BaseException) -> HandlerResult:
        """The boundary of the tool: the SDK's handler logs and words it, as for any tool."""
        params = CallToolRequestParams(name=name, arguments=arguments)
        failed: Any = _Failed(error)
        return await MCPServer._handle_call_tool(failed, _NO_REQUEST, params)

    def _calls_tools_plainly(self) -> bool:
        """Whether neither an extension's interceptor nor a subclass stands between a call and its tool."""
        entry, kind = self._kernel.get_request_handler("tools/call"), type(self._server)
        called: Any = entry.handler if entry is not None else None
        own = getattr(called, "__func__", None) is MCPServer._handle_call_tool and not self.failure
        return own and kind.call_tool is MCPServer.call_tool

    async def handle(self, method: str, ctx: ServerRequestContext[Any, Any], params: BaseModel) -> HandlerResult:
        """Serve one request; names in `params` are the plugin's own.

        Raises:
            MCPError: `METHOD_NOT_FOUND` when the plugin does not serve the method; else what the plugin raises.
            PluginFailure: the plugin would have ended the process.
        """
        return await self._serve(method, params, None, ctx)

    async def _serve(
        self, method: str, params: BaseModel, missing: NotConnected | None, ctx: ServerRequestContext[Any, Any]
    ) -> HandlerResult:
        """`handle`; of a request that was served before, `missing` is what was missing then."""
        entry = self._kernel.get_request_handler(method)
        if self.failure:
            raise MCPError(INTERNAL_ERROR, f"{self.name} has failed; its operator can see why, and reload it")
        if entry is None:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        own = changed(ctx, lifespan_context=self._lifespan_context)
        return await self._connecting.handled(partial(self._handled, entry.handler, own), method, ctx, params, missing)

    async def _handled(self, handler: Handler, ctx: ServerRequestContext[Any, Any], params: BaseModel) -> HandlerResult:
        """Raises as `handle`, and `NotConnected`."""
        answer = handler(ctx, params)
        if isinstance(params, CallToolRequestParams):
            return await self._called(params.name, params.arguments or {}, answer)
        try:
            return await _clean(answer)
        except ValueError as error:
            _raise_for_prompt_arguments(params, error)
            raise

    @asynccontextmanager
    async def running(self, host: Host) -> AsyncIterator[None]:
        """The plugin's life in one worker: its SDK lifespan, its events on the host's bus, its own lifecycle.

        Raises:
            PluginFailure: it does not start, breaks while it runs, or does not stop, within `START_S` and `STOP_S`.
        """
        step = "start"
        stack = AsyncExitStack()
        try:
            try:
                async with asyncio.timeout(START_S):
                    await self._start(host, stack)
                step = "run on"
                yield
            except BaseException:
                async with asyncio.timeout(STOP_S):
                    if not await stack.__aexit__(*sys.exc_info()):
                        raise
            step = "stop"
            async with asyncio.timeout(STOP_S):
                await stack.aclose()
        except asyncio.CancelledError:
            raise
        except BaseException as raised:  # a boundary: the plugin's own code, which may call sys.exit()
            error = first_error(raised)
            late = {"start": f" within {START_S:g} s", "stop": f" within {STOP_S:g} s"}.get(step, "")
            said = late if isinstance(error, TimeoutError) else f": {type(error).__name__}: {plainly(error)}"
            self.failure = f"did not {step}{said}"
            raise PluginFailure(f"{self.name} {self.failure}") from raised

    async def _start(self, host: Host, stack: AsyncExitStack) -> None:
        own_bus = self._server._subscriptions
        self._lifespan_context = await stack.enter_async_context(self._kernel.lifespan(self._kernel))
        await stack.enter_async_context(forwarded(own_bus, host))
        self._server._subscriptions = HostBus(host, own_bus)
        stack.callback(setattr, self._server, "_subscriptions", own_bus)
        if self._context is not None:
            await self._plugin.start(self._context)
            stack.push_async_callback(self._plugin.stop, self._context)
        await stack.enter_async_context(self._plugin.running(host))

    async def _called(self, name: str, arguments: dict[str, Any], answer: Awaitable[HandlerResult]) -> HandlerResult:
        return self._worded(name, arguments, await _clean(answer))

    def _worded(self, name: str, arguments: dict[str, Any], result: HandlerResult) -> HandlerResult:
        """What a tool gave; what it says of an error in words for its caller."""
        if isinstance(result, CallToolResult) and result.is_error:
            return _without_links(self._explained(name, arguments, result))
        return result

    def _explained(self, name: str, arguments: dict[str, Any], failed: CallToolResult) -> CallToolResult:
        """Say which arguments were wrong, if that was the failure; the SDK's text echoes pydantic's inner workings."""
        tool = self._server._tool_manager.get_tool(name)
        if tool is None:
            return failed
        try:
            tool.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            text = f"Invalid arguments for tool {name}: {complaints(error, 'arguments')}"
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
        except Exception:  # a boundary: a stranger's validator crashed again, and the SDK has reported it already
            return failed
        return failed


@dataclass(frozen=True, slots=True)
class PluginTool:
    """A tool. Satisfies `switchboard.protocol.direct_requests.DirectTool`."""

    _provider: PluginProvider
    _name: str
    _tool: PlainTool

    def prepare(self, call: ToolCall) -> Work | WorkInContext | None:
        """Its call, unless another tool has its name by now."""
        tool = self._tool.tool
        if not self._provider.has(tool, self._name):
            return None
        work = partial(self._provider.call, self._tool, self._name, call.arguments)
        return work if tool.context_kwarg is None else WorkInContext(work)


@dataclass(frozen=True, slots=True)
class _Failed:
    """Stands for a server whose tool has failed, where the SDK's handler asks it to call the tool."""

    error: BaseException
    _subscriptions: None = None

    async def call_tool(self, _name: str, _arguments: dict[str, Any], _context: object) -> HandlerResult:
        raise self.error


def _nothing_to_end() -> None:
    """A tool that lacked something has ended."""


async def _clean(answer: Awaitable[HandlerResult]) -> HandlerResult:
    """What a handler answers; what its error says may be the text of another library's."""
    try:
        return await answer
    except NotConnected:
        raise
    except MCPError as error:
        raise MCPError(error.code, without_links(error.message), error.data) from error
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise _contained(error) from error


def _contained(error: BaseException) -> PluginFailure:
    """The boundary of handlers: one that calls sys.exit() would end the worker."""
    return PluginFailure(f"{type(error).__name__}: {plainly(error)}")


def _without_links(failed: CallToolResult) -> CallToolResult:
    """What a plugin says of an error may be the text of another library's."""
    content = [
        block.model_copy(update={"text": without_links(block.text)}) if isinstance(block, TextContent) else block
        for block in failed.content
    ]
    return failed.model_copy(update={"content": content})


def _refuse_middleware(name: str, server: MCPServer[Any]) -> None:
    foreign = [m for m in server.middleware if not isinstance(m, OpenTelemetryMiddleware | RequestStateBoundary)]
    if foreign:
        raise PluginFailure(
            f"plugins.{name}: brings middleware ({type(foreign[0]).__name__}), which would not run here; "
            "use an extension's intercept_tool_call instead"
        )


def _raise_for_prompt_arguments(params: BaseModel, error: ValueError) -> None:
    """Unwrap a prompt's invalid arguments, which the SDK wraps twice on the way out of `prompts/get`."""
    inner = error.__cause__.__cause__ if error.__cause__ is not None else None
    if isinstance(params, GetPromptRequestParams) and isinstance(inner, ValidationError):
        message = f"Invalid arguments for prompt {params.name}: {complaints(inner, 'arguments')}"
        raise MCPError(INVALID_PARAMS, message) from error
