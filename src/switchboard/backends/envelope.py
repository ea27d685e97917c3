"""What each leg of the way writes anew: `_meta` of the envelope, and the headers that route a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    NAME_BEARING_METHODS,
    encode_header_value,
    mcp_param_headers,
)
from mcp_types import LOG_LEVEL_META_KEY

Params = Mapping[str, Any]

HeaderMap = Mapping[tuple[str, ...], str]
"""Argument path → token."""

RESERVED: Final = "io.modelcontextprotocol/"
"""`_meta` keys of the envelope."""


def own_meta(given: Any, *, modern: bool) -> dict[str, Any]:
    """A client's `_meta` as it may go on: without the envelope of its own leg, and without its progress token."""
    meta = {key: value for key, value in (given or {}).items() if not key.startswith(RESERVED)}
    meta.pop("progressToken", None)
    if modern and LOG_LEVEL_META_KEY in (given or {}):
        meta[LOG_LEVEL_META_KEY] = given[LOG_LEVEL_META_KEY]
    return meta


def routing_headers(method: str, params: Params, mirrored: HeaderMap | None) -> dict[str, str]:
    """https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#request-headers"""
    headers = {MCP_METHOD_HEADER: method}
    key = NAME_BEARING_METHODS.get(method)
    if key is not None and isinstance(name := params.get(key), str):
        headers[MCP_NAME_HEADER] = encode_header_value(name)
    if method == "tools/call" and mirrored:
        headers |= mcp_param_headers(mirrored, params.get("arguments") or {})
    return headers
