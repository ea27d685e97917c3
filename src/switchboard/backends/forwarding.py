"""Passing one request on to a backend and its answer back, in whichever pair of eras."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp_types import EmptyResult
from pydantic import ValidationError

from switchboard.backends import errors, input_required, texts
from switchboard.backends.caller import ClientChannel, Params
from switchboard.backends.config import Backend
from switchboard.backends.connections import leniency
from switchboard.backends.connections.connection_key import ALL_CAPABILITIES, ConnectionKey, default_scope, key_for
from switchboard.backends.errors import BACKEND_UNAVAILABLE, BAD_GATEWAY, BackendFailure
from switchboard.backends.offer.offer import BackendOffer
from switchboard.backends.routing import Route, Work
from switchboard.common.validation_messages import expected
from switchboard.identity import current
from switchboard.protocol import unknown_members

SERVED: Final[Mapping[str, str]] = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "completion/complete": "",
    "resources/subscribe": "uri",
    "resources/unsubscribe": "uri",
}
"""What is passed on, and the parameter that names its object."""

SAFE: Final = frozenset({"prompts/get", "resources/read", "completion/complete"})
"""What may be sent again when it is unknown whether the backend has seen it."""

STATE_LOST: Final = "switchboard/stateLost"
"""In the `_meta` of the first result from a backend that lost its session."""

UseConnection = Callable[[ConnectionKey, Params, Work], Awaitable[Any]]
"""Does some work on the connection of a key."""


class Forwarding:
    """Finds the connection for a call and sends it."""

    def __init__(self, backend: Backend, use: UseConnection, last_offer: Callable[[], BackendOffer]) -> None:
        self._backend = backend
        self._use = use
        self._last_offer = last_offer

    @staticmethod
    def serves(method: str) -> bool:
        """Whether requests of this method are passed on."""
        return method in SERVED

    async def call(self, method: str, body: Mapping[str, Any], client_channel: ClientChannel) -> HandlerResult:
        """Serve a request, once more if it was not sent or may be repeated.

        Raises:
            MCPError: naming the backend.
        """
        try:
            return await self._once(method, body, client_channel)
        except MCPError as error:
            data = error.error.data
            lost = error.code == BACKEND_UNAVAILABLE and isinstance(data, dict) and data.get("maybeDone")
            if not lost or not self._repeatable(method, body):
                raise
        return await self._once(method, body, client_channel)

    async def _once(self, method: str, body: Mapping[str, Any], client_channel: ClientChannel) -> HandlerResult:
        last_offer = self._last_offer()
        scope = default_scope(self._backend, modern=last_offer.modern)
        # In the modern era each request says what its client can be asked, so different clients may share a connection.
        capabilities = (
            ALL_CAPABILITIES if scope == "shared" else {} if last_offer.modern else client_channel.capabilities
        )

        async def work(route: Route) -> HandlerResult:
            return await self._sent(route, method, body, client_channel)

        try:
            result: HandlerResult = await self._use(key_for(scope, current(), capabilities), capabilities, work)
        except BackendFailure as error:
            raise errors.not_begun(self._backend.name, error) from error
        return result

    async def _sent(
        self, route: Route, method: str, body: Mapping[str, Any], client_channel: ClientChannel
    ) -> HandlerResult:
        headers = self._last_offer().headers.get(str(body.get("name"))) if method == "tools/call" else None

        async def send(more: Mapping[str, Any]) -> dict[str, Any]:
            return await route.request(method, {**body, **more}, client_channel, headers=headers)

        raw = await send({})
        if client_channel.era == "handshake":
            raw = await input_required.driven(self._backend.name, raw, client_channel, send)
        plain = method == "tools/call" and not route.lost and leniency.is_of_texts(raw)
        if plain and leniency.is_json(raw.get("structuredContent")):
            return texts.result_of_texts(raw, route.version)
        raw = self._cleaned(raw)
        if route.lost:
            route.lost = False
            raw = await self._with_state_lost(raw, client_channel)
        return self._read(method, route.version, raw)

    def _cleaned(self, raw: dict[str, Any]) -> dict[str, Any]:
        try:
            return texts.result(raw)
        except MCPError as error:
            raise MCPError(BAD_GATEWAY, f"Backend {self._backend.name!r}: {error.message}") from error

    async def _with_state_lost(self, raw: dict[str, Any], client_channel: ClientChannel) -> dict[str, Any]:
        """Tell the client, once, that what the backend remembered of it is gone; a program reads it in `_meta`."""
        text = f"Backend {self._backend.name!r} was started anew: what it remembered of this session is lost"
        await client_channel.notify(
            "notifications/message", {"level": "warning", "logger": "switchboard", "data": text}
        )
        given = raw.get("_meta")
        return {**raw, "_meta": {**(given if isinstance(given, dict) else {}), STATE_LOST: True}}

    def _read(self, method: str, version: str, raw: dict[str, Any]) -> HandlerResult:
        if method in ("resources/subscribe", "resources/unsubscribe"):
            return EmptyResult()
        if not leniency.is_json(raw):
            raise errors.not_understood(self._backend.name, method, "it has a number that JSON has not, such as 1e999")
        unknown_members.note(raw)
        try:
            return leniency.parsed(method, version, raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise errors.not_understood(self._backend.name, method, f"{where} {expected(first)}") from error
        except KeyError as error:
            why = f"{version} has no {method}"
            raise errors.not_understood(self._backend.name, method, why) from error

    def _repeatable(self, method: str, body: Mapping[str, Any]) -> bool:
        if method != "tools/call":
            return method in SAFE
        tool = self._last_offer().tool(str(body.get("name")))
        hints = tool.annotations if tool is not None else None
        return hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
