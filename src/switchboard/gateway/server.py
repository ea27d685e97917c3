"""The SDK `Server` that clients of both eras talk to, put together from the rows of each feature."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.caching import CacheHint
from mcp.server.context import HandlerResult, ServerMiddleware
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import AESGCMRequestStateCodec, RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import SubscriptionBus
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND, LoggingLevel
from pydantic import BaseModel

from switchboard.errors import ConfigurationError
from switchboard.gateway import completion, prompts, resources, session_state, subscriptions, tools
from switchboard.gateway.list_pages import WirePages
from switchboard.gateway.sealing import FleetTime
from switchboard.gateway.source import CatalogSource, Context, Provider, Row
from switchboard.identity import Caller, current
from switchboard.protocol.request_spans import traced
from switchboard.protocol.unknown_members import put_back

_EVERYTHING_CHANGES = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)


class Gateway(Server[Any]):
    """The SDK's server, which declares `listChanged` wherever it is served, not only where a caller asks for it.

    What providers bring besides lists can change while it is served: `refit` brings that up to date.
    """

    own_instructions: str | None = None
    source: CatalogSource
    pages: WirePages
    _brought: frozenset[str] = frozenset()
    _options: InitializationOptions | None = None

    def refit(self) -> None:
        """Say and serve what the providers bring now: instructions, extensions, and methods of theirs.

        Raises:
            ConfigurationError: two of them serve the same method; the rest is up to date nevertheless.
        """
        providers = self.source.providers
        self.instructions = merged_instructions(self.own_instructions, providers)
        if self._options is not None:
            self._options.instructions = self.instructions
        brought = {name: settings for provider in providers for name, settings in provider.extensions.items()}
        for name in self._brought - brought.keys():
            self.extensions.pop(name, None)
        self.extensions.update(brought)
        self._brought = frozenset(brought)
        for method, params_type, owner in _methods(providers):
            self.add_request_handler(method, params_type, _passed_on(self.source, owner, method))

    def shared_options(self) -> InitializationOptions:
        """Options that `refit` keeps up to date."""
        if self._options is None:
            self._options = self.create_initialization_options()
        return self._options

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """As the SDK's, with every list able to change."""
        return super().create_initialization_options(
            notification_options or _EVERYTHING_CHANGES, experimental_capabilities, extensions
        )


def initialization_options(server: Gateway) -> InitializationOptions:
    """What `initialize` answers, also later on; `ServerRunner(init_options=...)` takes it."""
    return server.shared_options()


def bind_principal(_ctx: Context) -> str:
    """Whom a request state belongs to: the owner, so it survives a refreshed token and is worthless to anyone else."""
    return current().principal.owner


async def _no_session_level(_session_id: str, _level: LoggingLevel) -> None:
    """Where nothing keeps sessions there is nothing to set."""


async def _nobody_to_tell(_caller: Caller) -> None:
    """Where there are no other servers nobody asks for roots between calls."""


async def _no_session_uri(_session_id: str, _uri: str) -> None:
    """Where nothing keeps sessions there is nothing to subscribe."""


def build_gateway(
    source: CatalogSource,
    *,
    bus: SubscriptionBus,
    name: str = "switchboard",
    version: str = "",
    instructions: str | None = None,
    keys: Sequence[bytes | str] = (),
    audience: str | None = None,
    set_level: session_state.SetLevel = _no_session_level,
    subscribe: subscriptions.Subscribe = _no_session_uri,
    unsubscribe: subscriptions.Subscribe = _no_session_uri,
    roots_changed: session_state.RootsChanged = _nobody_to_tell,
    middleware: Iterable[ServerMiddleware[Any]] = (),
    around: Iterable[ServerMiddleware[Any]] = (),
    clock: Callable[[], float] = time.time,
) -> Gateway:
    """The one server.

    Args:
        keys: what seals request state, newest first, 32 bytes or more each; none means a key of this process alone.
        audience: which deployment a sealed request state is meant for; the server's name by default.
        clock: the time that sealed request state goes by on every worker.
        middleware: runs inside the request-state boundary, so it sees request state in the clear; outermost first.
        around: runs around all the rest.
    """
    server = Gateway(
        name,
        version=version,
        get_tool_input_schema=tools.input_schema(source),
        cache_hints={"server/discover": CacheHint(ttl_ms=0, scope="public")},
    )
    rows: tuple[Row, ...] = (
        *tools.rows(source),
        *resources.rows(source),
        *prompts.rows(source),
        *completion.rows(source),
        *session_state.rows(set_level),
        *subscriptions.rows(source, bus, subscribe, unsubscribe),
    )
    for method, params_type, handler in rows:
        server.add_request_handler(method, params_type, handler)
    server.add_notification_handler(*session_state.roots_row(roots_changed))
    server.own_instructions, server.source, server.pages = instructions, source, WirePages(source)
    server.refit()
    codec = FleetTime(AESGCMRequestStateCodec(list(keys) or [secrets.token_bytes(32)]), clock)
    security = RequestStateSecurity(codec=codec, bind_principal=bind_principal)
    server.middleware[:] = [traced, *(each for each in server.middleware if type(each) is not OpenTelemetryMiddleware)]
    server.middleware.extend(around)
    server.middleware.append(RequestStateBoundary(security, default_audience=audience or name))
    server.middleware.extend(middleware)
    server.middleware.append(server.pages)
    server.middleware.append(put_back)
    return server


def merged_instructions(own: str | None, providers: Iterable[Provider]) -> str | None:
    """Ours first, then each provider's under its name."""
    parts = [own, *(f"{p.name}: {p.instructions}" for p in providers if p.instructions)]
    return "\n\n".join(part for part in parts if part) or None


def _methods(providers: Sequence[Provider]) -> Iterable[tuple[str, type[BaseModel], str]]:
    """Methods that providers add. A method has one owner: two providers with the same one cannot live together."""
    owners: dict[str, str] = {}
    for provider in providers:
        for method, params_type in provider.methods.items():
            if method in owners:
                raise ConfigurationError(f"{owners[method]} and {provider.name} both serve {method}")
            owners[method] = provider.name
            yield method, params_type, provider.name


def _passed_on(source: CatalogSource, owner: str, method: str) -> Callable[[Context, BaseModel], Any]:
    async def serve(ctx: Context, params: BaseModel) -> HandlerResult:
        if all(provider.name != owner for provider in source.providers):
            raise MCPError(METHOD_NOT_FOUND, "Method not found", method)
        return await source.handle(owner, method, ctx, params)

    return serve
