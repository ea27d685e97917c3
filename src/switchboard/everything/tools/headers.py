"""A parameter that a modern client also sends as an HTTP header, so that a load balancer can route by it.

See "Custom headers from tool parameters" in the Streamable HTTP transport of protocol version 2026-07-28.
"""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from switchboard.everything.declared import PURE, Declared

HEADER = "mcp-param-region"


class Routed(BaseModel):
    """The parameter, and what came with the request's headers."""

    region: str = Field(description="The region as the arguments say.")
    header: str | None = Field(description=f"The {HEADER} header as received; null if there was none.")


async def header_parameter(
    ctx: Context[Any],
    region: Annotated[
        str,
        Field(
            description=f"Any region name. A modern client mirrors it in the header {HEADER}.",
            min_length=1,
            max_length=200,
            json_schema_extra={"x-mcp-header": "Region"},
        ),
    ],
) -> Routed:
    """Return a parameter together with the HTTP header that mirrors it, to see what proxies on the way can read."""
    return Routed(region=region, header=(ctx.headers or {}).get(HEADER))


TOOLS = (Declared(header_parameter, "headerParameter", "Parameter mirrored in a header", PURE, structured=True),)
