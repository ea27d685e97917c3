"""The client that the suite's scenarios for clients look at: a gateway with the suite's server as its backend.

`python -m tools.conformance.upstream URL` is started by the suite, which says in the environment which protocol
version it plays. A client of that era goes through everything that the gateway offers; what reaches the suite's server
is our own.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import warnings
from collections.abc import Mapping
from typing import Any, Final

from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types import ElicitResult, Tool

from switchboard.app import build
from switchboard.backends import Backend, Http, Patience
from switchboard.settings import load_settings
from tools.serving import serving

FOUND_S: Final = 10.0
"""For the gateway to ask what there is; one scenario offers nothing."""

CALL_S: Final = 10.0
"""The scenario `sse-retry` may send its answer on a stream that is none of the call's, so that none comes to it."""

ALONE: Final = '{"plugins": {"everything": {"enabled": false}}}'
MODERN: Final = "2026-07-28"
VALUES: Final[Mapping[str, Any]] = {
    "string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}, "null": None,
}  # fmt: skip
"""What is given for an argument of a type."""


async def live(url: str) -> None:
    """Use everything that is offered, once."""
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    modern = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", MODERN) >= MODERN
    key = secrets.token_urlsafe(32)
    settings = load_settings(None, auth_mode="none", rate_limit=0, secret_key=key, config_overrides=ALONE)
    app = build(settings, [Backend("suite", Http((url,)), prefix="never", patience=Patience(call=CALL_S))])
    async with serving(app, app.drain) as server:
        mode = "auto" if modern else "legacy"
        async with Client(f"{server.url}/mcp", mode=mode, elicitation_callback=_filled_in) as client:
            await _everything(client, await _found(client))


async def _found(client: Client) -> list[Tool]:
    """The tools, once the gateway has asked for them; none, if there is nobody to ask."""
    try:
        async with asyncio.timeout(FOUND_S):
            while not (tools := (await client.list_tools(cache_mode="refresh")).tools):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        return []
    return tools


async def _everything(client: Client, tools: list[Tool]) -> None:
    schemas = {tool.name: tool.input_schema for tool in tools}
    for name, arguments in _calls(schemas):
        await _tried(client.call_tool(name, arguments))
    for resource in (await client.list_resources()).resources:
        await _tried(client.read_resource(str(resource.uri)))
    for prompt in (await client.list_prompts()).prompts:
        given = {argument.name: "text" for argument in prompt.arguments or () if argument.required}
        await _tried(client.get_prompt(prompt.name, given))


def _calls(schemas: Mapping[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """What the suite says to call, else every tool."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    if context.get("toolCalls"):
        return [(call["name"], call["arguments"]) for call in context["toolCalls"]]
    return [(name, _arguments(name, schemas)) for name in schemas]


def _arguments(tool: str, schemas: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Something of the right type for each argument that must be given; for a schema, one that was listed."""
    properties = schemas[tool].get("properties", {})
    given = {name: VALUES.get(properties[name].get("type"), "text") for name in schemas[tool].get("required", ())}
    others = [schema for name, schema in schemas.items() if name != tool]
    return {**given, "schema": others[0]} if "schema" in given and others else given


async def _tried(attempt: Any) -> None:
    try:
        await attempt
    except MCPError as error:  # a server may refuse what a scenario does not ask for
        print(error, file=sys.stderr)


async def _filled_in(context: Any, params: Any) -> ElicitResult:
    """A form sent off as it is: every field that has a default has that, others something of their type."""
    fields = params.requested_schema.get("properties", {})
    content = {name: field.get("default", VALUES.get(field.get("type"), "text")) for name, field in fields.items()}
    return ElicitResult(action="accept", content=content)


if __name__ == "__main__":
    asyncio.run(live(sys.argv[1]))
