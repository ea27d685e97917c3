"""The one module that knows how an SDK `MCPServer` is made inside; everything else sees a provider.

Private parts used, each held by a contract test: `MCPServer._lowlevel_server` (its handlers and lifespan),
`MCPServer._subscriptions` (the bus that `ctx.notify_*` publishes on), `MCPServer._tool_manager` (to say which argument
was wrong) and `Server._request_handlers` (to find the methods that extensions brought).

The plugin's own middleware chain is not run: its request-state boundary would seal with a key of this process alone.
The gateway has one for all. A plugin that brings middleware of its own is refused rather than quietly stripped of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.caching import CacheHint
from mcp.server.context import HandlerResult, ServerRequestContext
from mcp.server.request_state import RequestStateBoundary
from mcp.shared.exceptions import MCPError
from mcp_types import (
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

from switchboard.common.validation_messages import complaints
from switchboard.config import Prefix
from switchboard.errors import ConfigurationError, without_links
from switchboard.plugins.api import Host, Kind, Plugin
from switchboard.plugins.bus import HostBus, forwarded


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
    """A plugin as the gateway calls it: in this process, with the request's own context."""

    def __init__(self, plugin: Plugin, *, prefix: Prefix = "always") -> None:
        self._plugin = plugin
        self._prefix = prefix
        self._server = plugin.server
        self._kernel = plugin.server._lowlevel_server
        self._lifespan_context: Any = {}
        _refuse_middleware(plugin)

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

    async def handle(self, method: str, ctx: ServerRequestContext[Any, Any], params: BaseModel) -> HandlerResult:
        """Serve one request; names in `params` are the plugin's own.

        Raises:
            MCPError: `METHOD_NOT_FOUND` when the plugin does not serve the method; else what the plugin raises.
        """
        entry = self._kernel.get_request_handler(method)
        if entry is None:
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        own = replace(ctx, lifespan_context=self._lifespan_context)
        try:
            result = await entry.handler(own, params)
        except MCPError as error:
            raise MCPError(error.code, without_links(error.message), error.data) from error
        except ValueError as error:
            _raise_for_prompt_arguments(params, error)
            raise
        if isinstance(result, CallToolResult) and result.is_error and isinstance(params, CallToolRequestParams):
            return _without_links(self._explained(params, result))
        return result

    @asynccontextmanager
    async def running(self, host: Host) -> AsyncIterator[None]:
        """The plugin's life in one worker: its SDK lifespan, its events on the host's bus, its own lifecycle."""
        own_bus = self._server._subscriptions
        async with self._kernel.lifespan(self._kernel) as self._lifespan_context, forwarded(own_bus, host):
            self._server._subscriptions = HostBus(host, own_bus)
            try:
                async with self._plugin.running(host):
                    yield
            finally:
                self._server._subscriptions = own_bus

    def _explained(self, params: CallToolRequestParams, failed: CallToolResult) -> CallToolResult:
        """Say which arguments were wrong, if that was the failure; the SDK's text echoes pydantic's inner workings."""
        tool = self._server._tool_manager.get_tool(params.name)
        if tool is None:
            return failed
        try:
            tool.fn_metadata.validate_arguments(params.arguments or {})
        except ValidationError as error:
            text = f"Invalid arguments for tool {params.name}: {complaints(error, 'arguments')}"
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
        except Exception:  # a boundary: a stranger's validator crashed again, and the SDK has reported it already
            return failed
        return failed


def _without_links(failed: CallToolResult) -> CallToolResult:
    """What a plugin says of an error may be the text of another library's."""
    content = [
        block.model_copy(update={"text": without_links(block.text)}) if isinstance(block, TextContent) else block
        for block in failed.content
    ]
    return failed.model_copy(update={"content": content})


def _refuse_middleware(plugin: Plugin) -> None:
    foreign = [m for m in plugin.server.middleware if not isinstance(m, OpenTelemetryMiddleware | RequestStateBoundary)]
    if foreign:
        raise ConfigurationError(
            f"plugins.{plugin.name}: brings middleware ({type(foreign[0]).__name__}), which would not run here; "
            "use an extension's intercept_tool_call instead"
        )


def _raise_for_prompt_arguments(params: BaseModel, error: ValueError) -> None:
    """Unwrap a prompt's invalid arguments, which the SDK wraps twice on the way out of `prompts/get`."""
    inner = error.__cause__.__cause__ if error.__cause__ is not None else None
    if isinstance(params, GetPromptRequestParams) and isinstance(inner, ValidationError):
        message = f"Invalid arguments for prompt {params.name}: {complaints(inner, 'arguments')}"
        raise MCPError(INVALID_PARAMS, message) from error
