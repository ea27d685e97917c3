"""The context that a plugin's tool gets says what the SDK's own does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer

from switchboard.plugins.plain_tools import RequestContext

SERVER: MCPServer[Any] = MCPServer("one")
PLAIN = ("mcp_server", "request_context", "request_id", "protocol_version", "headers", "input_responses", "_bus")


@pytest.fixture
def both() -> tuple[Context[Any, Any], Context[Any, Any]]:
    """The SDK's and ours, of one request."""
    nothing: Any = None
    request: ServerRequestContext[Any, Any] = ServerRequestContext(
        session=nothing, lifespan_context={"a": 1}, protocol_version="2026-07-28", method="tools/call", request_id=7
    )
    sdk = Context(request_context=request, mcp_server=SERVER, subscriptions=SERVER._subscriptions)
    return sdk, RequestContext(request, SERVER)


@pytest.mark.parametrize("name", [*PLAIN, "request_state"])
def test_each_member_is_as_the_sdk_has_it(both: tuple[Context[Any, Any], Context[Any, Any]], name: str) -> None:
    sdk, ours = both

    assert getattr(ours, name) is getattr(sdk, name) or getattr(ours, name) == getattr(sdk, name)


def test_it_is_a_model_like_the_sdks(both: tuple[Context[Any, Any], Context[Any, Any]]) -> None:
    sdk, ours = both

    assert ours.model_dump() == sdk.model_dump() == {}
    assert Context.model_validate(ours) is ours
    assert ours == copy.copy(ours)
    assert copy.copy(ours).request_id == "7"
    assert ours._nested_invocation().request_id == "7"


def test_private_members_can_be_set(both: tuple[Context[Any, Any], Context[Any, Any]]) -> None:
    _, ours = both

    ours._request_context = None

    with pytest.raises(ValueError, match="outside of a request"):
        _ = ours.request_context
