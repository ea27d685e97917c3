"""The fast path: requests that can be answered without the SDK's kernel, its middleware and its streams.

One decision, made before anything has happened: a request whose parameters are of the plain kind, for a tool that needs
no context, is served here; for every other there is None, and it goes the SDK's way. What a call does is the same on
both ways: the provider's own function validates, runs and words it, `source.answered` notes its links, and the kernel's
own `_serialize` shapes the result for the client's version. Only the frame around it is left out.

A call that needs a context is served here too, by the server's own middleware and handler of `tools/call`, with a
context that the kernel makes. What is left out is the second look at its parameters, and a span that nobody would see.
In the modern era such a tool must neither become a task, nor have headers that mirror its arguments. A backend's tool
may turn out to need one while it runs: it goes on in it then (`NeedsContext`), and is not called again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult
from mcp.server.runner import ServerRunner, _dump_result
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import x_mcp_header_map
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    CallToolRequestParams,
    CallToolResult,
    ClientCapabilities,
    RequestId,
    TextContent,
)
from mcp_types.methods import is_input_required, validate_client_request
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider
from pydantic import ValidationError

from switchboard.catalog import Catalog, Entry
from switchboard.common import strict_json
from switchboard.gateway.list_pages import KINDS
from switchboard.gateway.server import Gateway
from switchboard.gateway.source import CatalogSource, Context, LiveTool, answered
from switchboard.identity import current
from switchboard.identity.scopes import missing
from switchboard.plugins import TASK_SUPPORT
from switchboard.protocol.direct_requests import (
    FastRequest,
    KnownResponse,
    NeedsContext,
    PreparedInContext,
    ToolCall,
    Unfinished,
    Work,
    close,
)
from switchboard.protocol.unknown_members import note, noting
from switchboard.protocol.versions import LINKS_SINCE, fitted_result

CALL: Final = "tools/call"

_MEMBERS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_NO_PARAMS: Final[dict[str, Any]] = {}
_CALLED: Final = frozenset({"name", "arguments", "_meta"})
_LISTED: Final = frozenset({"cursor", "_meta"})
_LEAST: Final[Mapping[str, dict[str, Any]]] = {CALL: {"name": "", "arguments": {}}}
"""What parameters have besides `_meta`."""
_PROGRESS: Final = "progressToken"
_META: Final = frozenset(
    {
        PROTOCOL_VERSION_META_KEY,
        CLIENT_INFO_META_KEY,
        CLIENT_CAPABILITIES_META_KEY,
        LOG_LEVEL_META_KEY,
        _PROGRESS,
    }
)
"""What `_meta` may hold here; anything else is for an extension, or for tracing."""

VIEWS: Final = 64
"""Views of the catalog whose tools are remembered."""

METAS: Final = 1024
LONGEST_META: Final = 2_048
"""Envelopes that are known to be right, and the bytes of the longest that is remembered: clients repeat theirs."""

_PLAIN: Final = (str, int, bool, type(None))
"""Types of values that are their own JSON."""


Tool = tuple[bool, LiveTool | None]
"""Whether a tool is called like any other (see `_may_be_direct`), and the tool, if it can be called directly."""

Handler = Callable[[Context, CallToolRequestParams], Awaitable[HandlerResult]]

_NO_CONNECTION: Final[Any] = None
"""What shapes a result asks nothing of the client's connection."""


@dataclass(frozen=True, slots=True)
class PreparedCall:
    """A call of a tool that needs no context."""

    id: RequestId
    _path: FastPath
    _entry: Entry
    _found: LiveTool
    _work: Work
    _version: str
    _params: dict[str, Any]

    @property
    def method(self) -> str:
        """See `Prepared`."""
        return CALL

    async def run(self) -> dict[str, Any]:
        """See `Prepared`."""
        with noting() as noted:
            try:
                with self._found.life:
                    result = await answered(self._path.source, self._entry, CALL, self._work())
            except NeedsContext as waiting:
                raise Unfinished(self._going_on(waiting, noted)) from None
            if self._version in MODERN_PROTOCOL_VERSIONS and is_input_required(result):
                raise Unfinished(self._path.finishing(self._params, result))
        return {**noted, **self._path.serialized(self._version, result)}

    def _going_on(self, waiting: NeedsContext, noted: Mapping[str, Any]) -> PreparedInContext:
        """What gives the tool its context, in the server's middleware, and brings its result.

        Args:
            noted: has the unknown members of the result once it is there.
        """
        taken = False

        async def handler(ctx: Context, _params: CallToolRequestParams) -> HandlerResult:
            nonlocal taken
            taken = True
            with self._found.life:
                result = await answered(self._path.source, self._entry, CALL, waiting.go_on(ctx))
            note(noted)
            return result

        async def serve(
            speaker: DispatchContext[TransportContext], connection: Connection, lifespan_state: Any
        ) -> dict[str, Any]:
            try:
                return await self._path.served(self._params, handler, speaker, connection, lifespan_state)
            finally:
                if not taken:
                    waiting.give_up()

        return PreparedInContext(serve)


class FastPath:
    """Decides which requests are served here.

    Args:
        server: the gateway's server, for the shape of its results.
    """

    def __init__(self, server: Gateway, source: CatalogSource) -> None:
        self.source = source
        self.short = 0
        """Requests that were served here."""
        self.aside = 0
        """Requests that were looked at, and went the SDK's way."""
        self._server = server
        self._kernel: Any = ServerRunner(server, _NO_CONNECTION, None)
        traced = OpenTelemetryMiddleware  # what is traced goes the SDK's way
        self._middleware: Any = [each for each in reversed(server.middleware) if not isinstance(each, traced)]
        """Innermost first."""
        self._pages = server.pages
        self._stamp = server.server_info_stamp
        self._tools: OrderedDict[int, tuple[Catalog, dict[str, Tool]]] = OrderedDict()
        self._metas: set[tuple[str, str, bytes]] = set()

    def forget(self) -> None:
        """What providers offer has changed: look again."""
        self._tools.clear()

    def prepare(self, version: str, message: Any, declared: ClientCapabilities | None = None) -> FastRequest | None:
        """What serves this message of a client that speaks `version`, or None; nothing has happened by then.

        Its size, its token and its session have been looked at, and its ids are within their bounds.

        Args:
            declared: what the client of its session can do; a modern request says so itself.
        """
        try:
            prepared = self._prepared(version, message, declared)
        except MCPError:  # the preset of its URL was taken away: the handler words that
            prepared = None
        if prepared is None or not isinstance(get_tracer_provider(), ProxyTracerProvider):
            self.aside += 1
            return None
        self.short += 1
        return prepared

    def _prepared(self, version: str, message: Any, declared: ClientCapabilities | None) -> FastRequest | None:
        if not _is_plain(message):
            return None
        if message["method"] == CALL:
            return self._call(version, message, declared) if version >= LINKS_SINCE and "params" in message else None
        return self._page(version, message) if message["method"] in KINDS else None

    def _page(self, version: str, message: dict[str, Any]) -> KnownResponse | None:
        """A page of a list, as the kernel has written it before."""
        method, params = message["method"], message.get("params", _NO_PARAMS)
        cursor, meta = params.get("cursor"), params.get("_meta", {})
        if not _LISTED.issuperset(params) or type(params.get("cursor", "")) is not str:
            return None
        page = self._pages.written(method, version, cursor) if self._is_known(method, version, meta) else None
        if page is None:
            return None
        return KnownResponse(
            b'{"jsonrpc":"2.0","id":' + strict_json.written(message["id"]) + b',"result":' + page + b"}"
        )

    def _call(
        self, version: str, message: dict[str, Any], declared: ClientCapabilities | None
    ) -> PreparedCall | PreparedInContext | None:
        params = message["params"]
        name, arguments, meta = params.get("name"), params.get("arguments", {}), params.get("_meta", {})
        if type(name) is not str or type(arguments) is not dict or not _CALLED.issuperset(params):
            return None
        if not self._is_known(CALL, version, meta):
            return None
        view = self.source.current()
        entry, (plain, found) = view.tools.find(name), self._tool(view, name)
        if entry is None or (entry.scopes and missing(current().principal.scopes, entry.scopes)):
            return None
        if found is not None:
            work = found.tool.prepare(ToolCall(entry.name, arguments, meta, version, declared, "arguments" in params))
            if work is not None:
                return PreparedCall(message["id"], self, entry, found, work, version, params)
        serve = plain or version not in MODERN_PROTOCOL_VERSIONS
        return PreparedInContext(partial(self.served, params, self._handler)) if serve else None

    def finishing(self, params: dict[str, Any], result: HandlerResult) -> PreparedInContext:
        """What brings the result of a tool that was called through the server's middleware."""

        async def known(_ctx: Context, _params: CallToolRequestParams) -> HandlerResult:
            return result

        return PreparedInContext(partial(self.served, params, known))

    async def _handler(self, ctx: Context, params: CallToolRequestParams) -> HandlerResult:
        registered: Any = self._server.get_request_handler(CALL)
        result: HandlerResult = await registered.handler(ctx, params)
        return result

    async def served(
        self,
        params: dict[str, Any],
        handler: Handler,
        speaker: DispatchContext[TransportContext],
        connection: Connection,
        lifespan_state: Any,
    ) -> dict[str, Any]:
        """See `Serve`."""
        version = connection.protocol_version
        runner: Any = ServerRunner(self._server, connection, lifespan_state)
        typed = CallToolRequestParams.model_validate(params, by_name=False)

        async def handled(ctx: Context) -> HandlerResult:
            return self._shaped(version, await handler(ctx, typed))

        serve: CallNext = handled
        for middleware in self._middleware:
            serve = partial(middleware, call_next=serve)
        try:
            context = runner._make_context(speaker, CALL, params, typed.meta, version)
            return _dump_result(await serve(context))
        finally:
            await close(connection)

    def _tool(self, view: Catalog, name: str) -> Tool:
        kept, tools = self._tools.get(id(view), (None, None))
        if kept is not view or tools is None:
            tools = {}
            self._tools[id(view)] = view, tools
            if len(self._tools) > VIEWS:
                self._tools.popitem(last=False)
        found = tools.get(name)
        if found is None or (found[1] is not None and found[1].life.replaced):
            entry = view.tools.find(name)
            if entry is None:
                return False, None
            plain = _may_be_direct(entry)
            found = tools[name] = plain, self.source.direct(entry) if plain else None
        return found

    def _is_known(self, method: str, version: str, meta: Any) -> bool:
        """Whether `_meta` is as the version has it, and holds nothing that is not for this."""
        if not meta:
            return type(meta) is dict
        if type(meta) is not dict or not _META.issuperset(meta):
            return False
        if type(meta.get(_PROGRESS, "")) not in (str, int):
            return False
        lasting = {key: value for key, value in meta.items() if key != _PROGRESS} if _PROGRESS in meta else meta
        key = method, version, strict_json.written(lasting)
        if key in self._metas:
            return True
        try:
            validate_client_request(method, version, {**_LEAST.get(method, {}), "_meta": meta})
        except ValidationError:
            return False
        if len(key[2]) <= LONGEST_META:
            if len(self._metas) >= METAS:
                self._metas.clear()
            self._metas.add(key)
        return True

    def serialized(self, version: str, result: HandlerResult) -> dict[str, Any]:
        """The result as it goes out.

        Raises:
            MCPError: it is not one that a tool may give.
        """
        return self._shaped(version, result, fitted_result)

    def _shaped(
        self, version: str, result: HandlerResult, fit: Callable[[str, HandlerResult], HandlerResult] | None = None
    ) -> dict[str, Any]:
        plain = _of_texts(version, result)
        if plain is None:
            shaped: dict[str, Any] = self._kernel._serialize(CALL, version, fit(version, result) if fit else result)
            return shaped
        if version in MODERN_PROTOCOL_VERSIONS:
            plain["_meta"] = {SERVER_INFO_META_KEY: self._stamp}
        return plain


class NoFastPath:
    """Every request goes the SDK's way."""

    short = aside = 0

    def forget(self) -> None:
        """Nothing is remembered."""

    def prepare(self, _version: str, _message: Any, _declared: ClientCapabilities | None = None) -> FastRequest | None:
        """None."""
        return None


def _is_plain(message: Any) -> bool:
    """A request with nothing in it but what every one has."""
    if type(message) is not dict or not message.keys() <= _MEMBERS or message.get("jsonrpc") != "2.0":
        return False
    return (
        type(message.get("method")) is str
        and type(message.get("id")) in (str, int)
        and type(message.get("params", _NO_PARAMS)) is dict
    )


def _may_be_direct(entry: Entry) -> bool:
    """Not what may become a task, nor what has headers that have to be equal to its arguments."""
    return TASK_SUPPORT not in (entry.wire.get("_meta") or {}) and not x_mcp_header_map(entry.wire["inputSchema"])


def _of_texts(version: str, result: HandlerResult) -> dict[str, Any] | None:
    """A result of texts, in wire form without the models, which would leave it as it is; None for any other."""
    if type(result) is not CallToolResult or result.meta is not None or result.result_type != "complete":
        return None
    content = []
    for block in result.content:
        if type(block) is not TextContent or block.annotations or block.meta or type(block.text) is not str:
            return None
        content.append({"text": block.text, "type": "text"})
    said: dict[str, Any] = {"content": content, "isError": result.is_error}  # in the order in which the kernel has it
    if version in MODERN_PROTOCOL_VERSIONS:
        said["resultType"] = "complete"
    structured = result.structured_content
    if structured is not None:
        if type(structured) is not dict or not all(map(_is_plain_member, structured.items())):
            return None
        said["structuredContent"] = structured
    return said


def _is_plain_member(member: tuple[Any, Any]) -> bool:
    return type(member[0]) is str and type(member[1]) in _PLAIN
