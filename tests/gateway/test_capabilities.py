from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.server.extension import Extension, MethodBinding
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST, LoggingLevel, Request, RequestParams, Result, ServerCapabilities

from switchboard.errors import ConfigurationError
from switchboard.gateway import initialization_options
from switchboard.identity import Caller, Principal, serving
from tests.gateway.conftest import OpenGateway

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])


class Weather(Extension):
    identifier = "com.example/weather"

    def settings(self) -> dict[str, Any]:
        return {"unit": "celsius"}

    def methods(self) -> Sequence[MethodBinding]:
        async def forecast(_ctx: Any, _params: RequestParams) -> dict[str, Any]:
            return {"sky": "blue"}

        return [MethodBinding("weather/forecast", RequestParams, forecast)]


class Forecast(Result):
    sky: str


class ForecastRequest(Request[RequestParams, Literal["weather/forecast"]]):
    method: Literal["weather/forecast"] = "weather/forecast"
    params: RequestParams


@ERAS
async def test_every_feature_is_declared_the_same_way_to_both_eras(open_gateway: OpenGateway, era: str) -> None:
    plugin = MCPServer("weather", extensions=[Weather()])
    async with open_gateway((plugin, "always")) as opened, Client(opened.server, mode=era) as client:
        declared = client.server_capabilities
    # The handshake era's wire has no room for extensions.
    assert declared.extensions == (None if era == "legacy" else {"com.example/weather": {"unit": "celsius"}})
    assert declared.model_copy(update={"extensions": None}) == ServerCapabilities.model_validate(
        {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "logging": {},
            "completions": {},
        }
    )


async def test_the_options_for_initialize_carry_the_same_capabilities(open_gateway: OpenGateway) -> None:
    async with open_gateway(version="1.2", instructions="Ask away.") as opened:
        options = initialization_options(opened.server)
    assert (options.server_name, options.server_version) == ("switchboard", "1.2")
    assert options.instructions == "Ask away."
    assert options.capabilities.tools is not None
    assert options.capabilities.tools.list_changed


@ERAS
async def test_a_method_of_a_plugins_extension_is_served(open_gateway: OpenGateway, era: str) -> None:
    plugin = MCPServer("weather", extensions=[Weather()])
    async with open_gateway((plugin, "always")) as opened, Client(opened.server, mode=era) as client:
        answer = await client.session.send_request(ForecastRequest(params=RequestParams()), Forecast)
    assert answer.sky == "blue"


async def test_two_plugins_that_serve_one_method_cannot_be_mounted_together(open_gateway: OpenGateway) -> None:
    one, two = (MCPServer(name, extensions=[Weather()]) for name in ("one", "two"))
    with pytest.raises(ConfigurationError, match="one and two both serve weather/forecast"):
        async with open_gateway((one, "always"), (two, "always")):
            pass


@ERAS
async def test_instructions_of_plugins_follow_those_of_the_gateway(open_gateway: OpenGateway, era: str) -> None:
    plugin = MCPServer("calc", instructions="Numbers only.")
    opening = open_gateway((plugin, "always"), instructions="Hello.")
    async with opening as opened, Client(opened.server, mode=era) as client:
        assert client.instructions == "Hello.\n\ncalc: Numbers only."


class Sessions:
    """Takes down what the gateway passes on about sessions."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, ...]] = []

    async def set_level(self, session_id: str, level: LoggingLevel) -> None:
        self.heard.append(("level", session_id, level))

    async def subscribe(self, session_id: str, uri: str) -> None:
        self.heard.append(("subscribe", session_id, uri))

    async def unsubscribe(self, session_id: str, uri: str) -> None:
        self.heard.append(("unsubscribe", session_id, uri))

    def options(self) -> dict[str, Any]:
        return {"set_level": self.set_level, "subscribe": self.subscribe, "unsubscribe": self.unsubscribe}


def watched() -> MCPServer[Any]:
    server = MCPServer("watched")
    server.resource("watched://x", name="x")(lambda: "x")
    return server


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_levels_and_subscriptions_of_a_session_are_handed_on(open_gateway: OpenGateway) -> None:
    sessions = Sessions()
    async with open_gateway((watched(), "never"), **sessions.options()) as opened:
        with serving(Caller(Principal("iss", "alice", "client"), "session-1")):
            async with Client(opened.server, mode="legacy") as client:
                await client.set_logging_level("warning")
                await client.subscribe_resource("watched://x")
                await client.unsubscribe_resource("watched://x")
                with pytest.raises(MCPError) as caught:
                    await client.subscribe_resource("watched://unknown")
    assert sessions.heard == [
        ("level", "session-1", "warning"),
        ("subscribe", "session-1", "watched://x"),
        ("unsubscribe", "session-1", "watched://x"),
    ]
    assert caught.value.code == -32002


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_without_a_session_there_is_nothing_to_set_a_level_on(open_gateway: OpenGateway) -> None:
    async with open_gateway() as opened, Client(opened.server, mode="legacy") as client:
        with pytest.raises(MCPError) as caught:
            await client.set_logging_level("warning")
    assert caught.value.code == INVALID_REQUEST


async def test_building_a_gateway_registers_every_method_without_a_warning(open_gateway: OpenGateway) -> None:
    async with open_gateway() as opened:
        server: Server[Any] = opened.server
        assert server.get_request_handler("logging/setLevel") is not None
        assert server.get_request_handler("subscriptions/listen") is not None
