"""The fast path: requests that can be answered without the SDK's kernel, its middleware and its streams.

One decision, made before anything has happened: a request whose parameters are of the plain kind, for a tool that needs
no context, is served here; for every other there is None, and it goes the SDK's way. What a call does is the same on
both ways: the provider's own function validates, runs and words it, `source.answered` notes its links, and the kernel's
own `_serialize` shapes the result for the client's version. Only the frame around it is left out.

A call that needs a context is served here too, by the server's own middleware and handler of `tools/call`, with a
context that the kernel makes. What is left out is the second look at its parameters.
In the modern era such a tool must neither become a task, nor have headers that mirror its arguments. A backend's tool
may turn out to need one while it runs: it goes on in it then (`NeedsContext`), and is not called again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult
from mcp.server.runner import ServerRunner, _dump_result
from mcp.shared.dispatcher import DispatchContext
from mcp.shared.exceptions import MCPError
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    CallToolRequestParams,
    ClientCapabilities,
    RequestId,
)
from mcp_types.methods import is_input_required, validate_client_request
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from switchboard.catalog import Entry
from switchboard.catalog.search import CALL as CALL_ANOTHER
from switchboard.common import strict_json
from switchboard.gateway.found_tools import FoundTool, FoundTools
from switchboard.gateway.list_pages import KINDS
from switchboard.gateway.server import Gateway
from switchboard.gateway.source import CatalogSource, Context, LiveTool, answered
from switchboard.identity import current
from switchboard.identity.scopes import missing
from switchboard.protocol import outcomes, request_spans
from switchboard.protocol.direct_requests import (
    FastRequest,
    KnownResponse,
    NeedsContext,
    PreparedInContext,
    TextResult,
    ToolCall,
    Unfinished,
    Work,
    WorkInContext,
    close,
)
from switchboard.protocol.text_results import of_text, of_texts
from switchboard.protocol.unknown_members import Noting, note
from switchboard.protocol.versions import LINKS_SINCE, fitted_result
from switchboard.telemetry import spans

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
"""What `_meta` may hold here, and while spans are collected their context; anything else is for an extension."""

METAS: Final = 1024
LONGEST_META: Final = 2_048
"""Envelopes that are known to be right, and the bytes of the longest that is remembered: clients repeat theirs."""

Handler = Callable[[Context, CallToolRequestParams], Awaitable[HandlerResult | TextResult]]

_NO_CONNECTION: Final[Any] = None
"""What shapes a result asks nothing of the client's connection."""


class PreparedCall:
    """A call of a tool that needs no context. Satisfies `Prepared`."""

    __slots__ = ("_live", "_params", "_path", "_tool", "_version", "_work", "id")
    method = CALL

    def __init__(
        self, path: FastPath, tool: FoundTool, live: LiveTool, work: Work, version: str, message: dict[str, Any]
    ) -> None:
        self.id: RequestId = message["id"]
        self._path = path
        self._tool = tool
        self._live = live
        self._work = work
        self._version = version
        self._params: dict[str, Any] = message["params"]

    async def run(self) -> dict[str, Any]:
        """See `Prepared`."""
        with Noting() as noted:
            try:
                with self._live.life:
                    result = await answered(self._path.source, self._tool.entry, CALL, self._work(), self._params)
            except NeedsContext as waiting:
                raise Unfinished(self._going_on(waiting, noted)) from None
            except MCPError as error:
                outcomes.failed(CALL, error.error.code)
                raise
            if isinstance(result, TextResult):
                shaped = self._path.of_text(self._version, result)
            elif self._version in MODERN_PROTOCOL_VERSIONS and is_input_required(result):
                raise Unfinished(self._path.finishing(self._params, result))
            else:
                shaped = self._path.serialized(self._version, result)
        if shaped.get("isError"):
            outcomes.tool_failed(CALL)
        return {**noted, **shaped} if noted else shaped

    def _going_on(self, waiting: NeedsContext, noted: Mapping[str, Any]) -> PreparedInContext:
        """What gives the tool its context, in the server's middleware, and brings its result.

        Args:
            noted: has the unknown members of the result once it is there.
        """
        taken = False

        async def handler(ctx: Context, _params: CallToolRequestParams) -> HandlerResult:
            nonlocal taken
            taken = True
            with self._live.life:
                result = await answered(
                    self._path.source, self._tool.entry, CALL, waiting.go_on(ctx), self._params, waiting.noted
                )
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
        self._middleware: Any = [each for each in reversed(server.middleware) if each is not request_spans.traced]
        """Innermost first. What is served here has its span around it already."""
        self._pages = server.pages
        self._stamp = server.server_info_stamp
        self._tools = FoundTools(source)
        self._metas: set[tuple[str, str, bytes]] = set()

    def forget(self) -> None:
        """What providers offer has changed: look again."""
        self._tools.forget()

    def called(self, message: Any) -> FoundTool | None:
        """See `switchboard.protocol.direct_requests.FastPath`."""
        if type(message) is not dict or message.get("method") != CALL:
            return None
        params = message.get("params")
        name = params.get("name") if type(params) is dict else None
        if type(name) is not str or name == CALL_ANOTHER:
            return None
        try:
            return self._tools.find(name)
        except MCPError:  # the preset of its URL was taken away: whoever looks next says so
            return None

    def prepare(
        self, version: str, message: Any, declared: ClientCapabilities | None = None, called: Any = None
    ) -> FastRequest | None:
        """See `switchboard.protocol.direct_requests.FastPath`.

        Its size, its token and its session have been looked at, and its ids are within their bounds.
        """
        try:
            prepared = self._prepared(version, message, declared, called)
        except MCPError:  # the preset of its URL was taken away: the handler words that
            prepared = None
        if prepared is None:
            self.aside += 1
            return None
        self.short += 1
        return request_spans.directly(prepared, version, message) if spans.on() else prepared

    def _prepared(
        self, version: str, message: Any, declared: ClientCapabilities | None, called: FoundTool | None
    ) -> FastRequest | None:
        if not _is_plain(message):
            return None
        if message["method"] == CALL:
            served = version >= LINKS_SINCE and "params" in message
            return self._call(version, message, declared, called) if served else None
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
        self, version: str, message: dict[str, Any], declared: ClientCapabilities | None, called: FoundTool | None
    ) -> PreparedCall | PreparedInContext | None:
        params = message["params"]
        name, arguments, meta = params.get("name"), params.get("arguments", {}), params.get("_meta", {})
        if type(name) is not str or type(arguments) is not dict or not _CALLED.issuperset(params):
            return None
        if not self._is_known(CALL, version, meta):
            return None
        tool = called or self._tools.find(name)
        if tool is None or (tool.scopes and missing(current().principal.scopes, tool.scopes)):
            return None
        live = tool.live
        if live is not None:
            call = ToolCall(tool.entry.name, arguments, meta, version, declared, "arguments" in params)
            work = live.tool.prepare(call)
            if isinstance(work, WorkInContext):
                handler = partial(self._in_context, tool.entry, live, work)
                return PreparedInContext(partial(self.served, params, handler))
            if work is not None:
                return PreparedCall(self, tool, live, work, version, message)
        serve = version not in MODERN_PROTOCOL_VERSIONS or tool.plain
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

    async def _in_context(
        self, entry: Entry, live: LiveTool, work: WorkInContext, ctx: Context, params: CallToolRequestParams
    ) -> HandlerResult | TextResult:
        """What the gateway's handler of `tools/call` does for a tool that was found already."""
        with live.life:
            result = await answered(self.source, entry, CALL, work.call(ctx), params)
        return result if isinstance(result, TextResult) else fitted_result(ctx.protocol_version, result)

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
            result = await handler(ctx, typed)
            return self.of_text(version, result) if isinstance(result, TextResult) else self._shaped(version, result)

        serve: CallNext = handled
        for middleware in self._middleware:
            serve = partial(middleware, call_next=serve)
        try:
            context = runner._make_context(speaker, CALL, params, typed.meta, version)
            return _dump_result(await outcomes.counted(CALL, serve(context)))
        finally:
            await close(connection)

    def _is_known(self, method: str, version: str, meta: Any) -> bool:
        """Whether `_meta` is as the version has it, and holds nothing that is not for this."""
        if not meta:
            return type(meta) is dict
        if spans.on() and type(meta) is dict and (spans.PARENT in meta or spans.STATE in meta):
            meta = {key: value for key, value in meta.items() if key not in spans.FIELDS or type(value) is not str}
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

    def of_text(self, version: str, result: TextResult) -> dict[str, Any]:
        """A text as it goes out."""
        return of_text(version, result, self._stamp)

    def serialized(self, version: str, result: HandlerResult) -> dict[str, Any]:
        """The result as it goes out.

        Raises:
            MCPError: it is not one that a tool may give.
        """
        return self._shaped(version, result, fitted_result)

    def _shaped(
        self, version: str, result: HandlerResult, fit: Callable[[str, HandlerResult], HandlerResult] | None = None
    ) -> dict[str, Any]:
        plain = of_texts(version, result)
        if plain is None:
            shaped: dict[str, Any] = self._kernel._serialize(CALL, version, fit(version, result) if fit else result)
            return shaped
        if version in MODERN_PROTOCOL_VERSIONS:
            plain["_meta"] = {SERVER_INFO_META_KEY: self._stamp}
        return plain


class NoFastPath:
    """Every request goes the SDK's way. Satisfies `switchboard.protocol.direct_requests.FastPath`."""

    short = aside = 0

    def called(self, _message: Any) -> None:
        """Nothing."""

    def forget(self) -> None:
        """Nothing is remembered."""

    def prepare(self, _version: str, _message: Any, _declared: Any = None, _called: Any = None) -> None:
        """Nothing."""


def _is_plain(message: Any) -> bool:
    """A request with nothing in it but what every one has."""
    return (
        type(message) is dict
        and _MEMBERS.issuperset(message)
        and message.get("jsonrpc") == "2.0"
        and type(message.get("method")) is str
        and type(message.get("id")) in (str, int)
        and type(message.get("params", _NO_PARAMS)) is dict
    )
