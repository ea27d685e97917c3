"""Roots: which folders the client works in."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from mcp.shared.message import ServerMessageMetadata
from mcp_types import ListRootsRequest, ListRootsResult
from pydantic import BaseModel, Field

from switchboard.everything.asking import answered, require
from switchboard.everything.declared import ASKING, Declared
from switchboard.protocol.client_requests import ROOTS


class NamedRoot(BaseModel):
    """One root."""

    uri: str = Field(description="Where it is, as a file:// URI.")
    name: str | None = Field(description="What the client calls it.")


class Roots(BaseModel):
    """The client's roots now."""

    roots: list[NamedRoot]


async def list_roots(ctx: Context[Any]) -> Roots:
    """Ask the client for its roots and return them. Needs a client with roots."""
    require(ctx, ROOTS)
    with answered("roots/list"):
        # Tied to this call, unlike `ctx.session.list_roots()`: a client may be asked only while it waits for something.
        listed = await ctx.session.send_request(
            ListRootsRequest(), ListRootsResult, metadata=ServerMessageMetadata(related_request_id=ctx.request_id)
        )
    return Roots(roots=[NamedRoot(uri=str(root.uri), name=root.name) for root in listed.roots])


TOOLS = (Declared(list_roots, "listRoots", "List the client's roots", ASKING, structured=True),)
