"""The plugin's server, reached by the SDK's own client in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    CallToolResult,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    Root,
    TextContent,
)
from pydantic import FileUrl

from tools.conformance.fixtures import plugin


class Person:
    """Who sits before the client: answers everything, and remembers what was asked."""

    def __init__(self) -> None:
        self.forms: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {"name": "Ada", "color": "blue", "ok": True, "context": "rain"}

    async def fill_in(self, _context: Any, params: ElicitRequestParams) -> ElicitResult:
        """Fill in a form with what is known."""
        form = params.model_dump(by_alias=True)["requestedSchema"]
        self.forms.append(form)
        return ElicitResult(action="accept", content={k: v for k, v in self.answers.items() if k in form["properties"]})

    async def generate(self, _context: Any, _params: CreateMessageRequestParams) -> CreateMessageResult:
        """Be the model."""
        return CreateMessageResult(role="assistant", content=TextContent(text="Paris."), model="a person")

    async def roots(self, _context: Any) -> ListRootsResult:
        """Work in one folder."""
        return ListRootsResult(roots=[Root(uri=FileUrl("file:///home/ada"), name="home")])


@pytest.fixture
def person() -> Person:
    """The user."""
    return Person()


@pytest.fixture
def server() -> MCPServer[Any]:
    """The plugin's server, as no worker runs it yet."""
    made = plugin({}).server
    assert isinstance(made, MCPServer)
    return made


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both eras: `legacy` shakes hands, `auto` finds the modern one."""
    return str(request.param)


@pytest.fixture
def connect(server: MCPServer[Any], person: Person) -> Callable[..., Client]:
    """`connect(mode, **options)`: a client that can be asked for everything."""

    def connecting(mode: str, **options: Any) -> Client:
        able: dict[str, Any] = {
            "elicitation_callback": person.fill_in,
            "sampling_callback": person.generate,
            "list_roots_callback": person.roots,
        }
        return Client(server, mode=mode, **able, **options)

    return connecting


@pytest.fixture
def words() -> Callable[[CallToolResult], str]:
    """The texts of a result, joined."""

    def joined(result: CallToolResult) -> str:
        return "\n".join(block.text for block in result.content if isinstance(block, TextContent))

    return joined
