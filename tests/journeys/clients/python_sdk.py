"""A day of the official Python client: `python python_sdk.py URL TOKEN legacy|modern` prints what it saw, as JSON.

Every step is recorded by name as {"ok": what came} or {"error": why}; the tests beside this folder say what must have
come. The TypeScript clients keep the same diary (`typescript_1.mjs`, `typescript_2.mjs`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import mcp_types as types
from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import ResourceUpdated

WATCHED = "test://static/resource/7"
LOG_LEVEL: types.LoggingLevel = "warning"
STEP_TIMEOUT = 60.0

BRIDGE = os.environ.get("BRIDGE")
"""The `switchboard` command, if the client is to speak stdio to its `connect`."""

Step = Callable[["Day"], Awaitable[Any]]


@dataclass
class Person:
    """Who sits at the client: answers what the server asks, and keeps what it says."""

    levels: list[str] = field(default_factory=list)
    updated: anyio.Event = field(default_factory=anyio.Event)

    async def sample(
        self, context: ClientRequestContext, params: types.CreateMessageRequestParams
    ) -> types.CreateMessageResult:
        content = params.messages[0].content
        words = content.text if isinstance(content, types.TextContent) else "?"
        reply = types.TextContent(text=f"You said: {words}")
        return types.CreateMessageResult(role="assistant", content=reply, model="parrot-1")

    async def elicit(self, context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        if isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action="accept")
        return types.ElicitResult(action="accept", content=answers_to(params.requested_schema["properties"]))

    async def roots(self, context: ClientRequestContext) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri="file:///home/alice/project", name="project")])

    async def log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.levels.append(params.level)

    async def message(self, message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification) and str(message.params.uri) == WATCHED:
            self.updated.set()


def answers_to(fields: dict[str, Any]) -> dict[str, Any]:
    """What the person types into a form, by the fields that it has."""
    given = {"name": "Alice", "check": True, "integer": 7, "city": "Oslo", "nights": 3}
    return {name: value for name, value in given.items() if name in fields}


@dataclass
class Day:
    """The client, its person, and the diary."""

    client: Client
    person: Person
    modern: bool

    async def call(self, tool: str, **arguments: Any) -> types.CallToolResult:
        return await self.client.call_tool(tool, arguments)

    async def text(self, tool: str, **arguments: Any) -> str:
        result = await self.call(tool, **arguments)
        return " ".join(block.text for block in result.content if isinstance(block, types.TextContent))

    async def kinds(self, tool: str, **arguments: Any) -> list[str]:
        return [block.type for block in (await self.call(tool, **arguments)).content]

    async def structured(self, tool: str, **arguments: Any) -> Any:
        return (await self.call(tool, **arguments)).structured_content


async def tools(day: Day) -> list[str]:
    return sorted(tool.name for tool in (await day.client.list_tools()).tools)


async def invalid_arguments(day: Day) -> dict[str, Any]:
    result = await day.call("longRunningOperation", steps="many")
    words = " ".join(block.text for block in result.content if isinstance(block, types.TextContent))
    return {"isError": result.is_error, "namesTheArgument": "steps" in words}


async def progress(day: Day) -> dict[str, Any]:
    seen: list[list[float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append([progress, total])

    result = await day.client.call_tool("longRunningOperation", {"duration": 1, "steps": 4}, progress_callback=note)
    return {"seen": seen, "isError": bool(result.is_error)}


async def cancellation(day: Day) -> dict[str, Any]:
    with anyio.CancelScope() as scope:

        async def note(progress: float, total: float | None, message: str | None) -> None:
            scope.cancel()

        await day.client.call_tool("longRunningOperation", {"duration": 90, "steps": 90}, progress_callback=note)
    return {"cancelled": scope.cancelled_caught, "after": await day.text("echo", message="still here")}


async def annotated(day: Day) -> list[Any]:
    first = (await day.call("annotatedMessage", messageType="error", includeImage=True)).content[0]
    hints = first.annotations
    return [hints.priority, sorted(hints.audience or [])] if hints else []


async def whoami(day: Day) -> dict[str, Any]:
    seen = [await day.structured("whoami") for _ in range(6)]
    return {key: sorted({str(each[key]) for each in seen}) for key in ("subject", "session", "worker", "state")}


async def logs(day: Day) -> list[str]:
    if not day.modern:
        await day.client.set_logging_level(LOG_LEVEL)
    day.person.levels.clear()
    await day.call("logEveryLevel")
    return list(day.person.levels)


async def prompts(day: Day) -> dict[str, Any]:
    listed = sorted(prompt.name for prompt in (await day.client.list_prompts()).prompts)
    simple = await day.client.get_prompt("simple_prompt")
    rich = await day.client.get_prompt("complex_prompt", {"temperature": "0.7", "style": "formal"})
    embedded = await day.client.get_prompt("resource_prompt", {"resourceId": "2"})
    return {
        "names": listed,
        "kinds": [[message.content.type for message in got.messages] for got in (simple, rich, embedded)],
    }


async def completions(day: Day) -> dict[str, Any]:
    style = types.PromptReference(name="complex_prompt")
    number = types.ResourceTemplateReference(uri="test://static/resource/{id}")
    return {
        "style": (await day.client.complete(style, {"name": "style", "value": "f"})).completion.values,
        "id": (await day.client.complete(number, {"name": "id", "value": "10"})).completion.values,
    }


async def resources(day: Day) -> dict[str, Any]:
    uris, pages, cursor = [], 0, None
    while True:
        page = await day.client.list_resources(cursor=cursor)
        uris += [str(resource.uri) for resource in page.resources]
        pages, cursor = pages + 1, page.next_cursor
        if cursor is None or pages > 50:
            break
    static = [uri for uri in uris if uri.startswith("test://static/resource/")]
    return {"static": len(static), "unique": len(set(uris)) == len(uris), "severalPages": pages > 1}


async def templates(day: Day) -> list[str]:
    return [template.uri_template for template in (await day.client.list_resource_templates()).resource_templates]


async def contents(day: Day) -> list[str]:
    odd = (await day.client.read_resource("test://static/resource/1")).contents[0]
    even = (await day.client.read_resource("test://static/resource/2")).contents[0]
    return [odd.text if isinstance(odd, types.TextResourceContents) else "?", type(even).__name__]


async def subscription(day: Day) -> str:
    if day.modern:
        async with day.client.listen(resource_subscriptions=[WATCHED]) as events:
            async for event in events:
                if isinstance(event, ResourceUpdated):
                    return event.uri
        return "the stream ended"
    await day.client.subscribe_resource(WATCHED)
    await day.person.updated.wait()
    await day.client.unsubscribe_resource(WATCHED)
    return WATCHED


async def _refused(attempt: Awaitable[Any]) -> int | None:
    try:
        await attempt
    except MCPError as refused:
        return refused.error.code
    return None


STEPS: dict[str, Step] = {
    "tools": tools,
    "echo": lambda day: day.text("echo", message="hello"),
    "add": lambda day: day.text("add", a=2, b=3),
    "invalidArguments": invalid_arguments,
    "unknownTool": lambda day: _refused(day.call("noSuchTool")),
    "whoami": whoami,
    "progress": progress,
    "cancellation": cancellation,
    "image": lambda day: day.kinds("getTinyImage"),
    "sound": lambda day: day.kinds("getTinySound"),
    "annotated": annotated,
    "embedded": lambda day: day.kinds("getResourceReference", resourceId=4),
    "links": lambda day: day.kinds("getResourceLinks", count=2),
    "structured": lambda day: day.structured("getStructuredContent", location="Chicago"),
    "header": lambda day: day.structured("headerParameter", region="eu-west"),
    "app": lambda day: day.structured("mcp_apps_hello_world"),
    "sampling": lambda day: day.text("sampleLLM", prompt="good morning"),
    "form": lambda day: day.text("elicitInputs"),
    "url": lambda day: day.structured("elicitUrl"),
    "roots": lambda day: day.structured("listRoots"),
    "rounds": lambda day: day.structured("multiRoundTrip"),
    "logs": logs,
    "prompts": prompts,
    "completions": completions,
    "resources": resources,
    "templates": templates,
    "contents": contents,
    "unknownResource": lambda day: _refused(day.client.read_resource("test://static/resource/999")),
    "subscription": subscription,
}


async def live(url: str, token: str, era: str) -> dict[str, Any]:
    """Connect, take every step, and return the diary."""
    person, modern = Person(), era == "modern"
    async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
        bridge = StdioServerParameters(command=BRIDGE or "", args=["connect", url, "--token", token])
        client = Client(
            bridge if BRIDGE else streamable_http_client(url, http_client=http),
            mode="auto" if modern else "legacy",
            log_level=LOG_LEVEL,
            sampling_callback=person.sample,
            elicitation_callback=person.elicit,
            list_roots_callback=person.roots,
            logging_callback=person.log,
            message_handler=person.message,
        )
        async with client:
            day = Day(client, person, modern)
            diary = {name: await _taken(step, day) for name, step in STEPS.items()}
            return {"protocolVersion": client.protocol_version, "steps": diary}


async def _taken(step: Step, day: Day) -> dict[str, Any]:
    try:
        with anyio.fail_after(STEP_TIMEOUT):
            return {"ok": await step(day)}
    except Exception as fault:  # the boundary of a step: what went wrong belongs into the diary
        return {"error": f"{type(fault).__name__}: {fault}"}


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    sys.stdout.write(json.dumps(asyncio.run(live(*sys.argv[1:4]))))
