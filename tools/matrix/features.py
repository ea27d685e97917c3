"""What a client may want of a backend, a row of the matrix each, and how it is seen that it works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client
from mcp.shared.exceptions import MCPError

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "vendor=1"}
DEADLINE_S = 300


@dataclass
class Person:
    """Who sits at the client: answers what it is asked, and remembers what came."""

    home: str = "file:///home"
    """The one root."""

    heard: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    told: asyncio.Condition = field(default_factory=asyncio.Condition)
    news: list[str] = field(default_factory=list)

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        if isinstance(params, types.ElicitRequestURLParams):
            self.pages.append(params.url)
            return types.ElicitResult(action="accept")
        return types.ElicitResult(action="accept", content={"name": "bob"})

    async def sample(self, context: Any, params: Any) -> types.CreateMessageResult:
        words = types.TextContent(type="text", text=f"{params.messages[0].content.text}=4")
        return types.CreateMessageResult(role="assistant", content=words, model="m")

    async def roots(self, context: Any) -> types.ListRootsResult:
        return types.ListRootsResult(roots=[types.Root(uri=self.home)])

    async def log(self, params: Any) -> None:
        self.heard.append(params.data)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.steps.append((progress, total, message))

    async def message(self, message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            await self.note(str(message.params.uri))
        elif isinstance(message, types.ToolListChangedNotification):
            await self.note("tools")

    async def note(self, news: str) -> None:
        async with self.told:
            self.news.append(news)
            self.told.notify_all()


@dataclass
class Cell:
    """One client at one backend."""

    client: Client
    person: Person
    backend: str
    modern: bool
    """Whether the client is."""

    folder: Path
    name: str
    """Of the pair, as part of a file's name."""

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> types.CallToolResult:
        return await self.client.call_tool(f"{self.backend}__{tool}", arguments or {}, **options)

    async def text(self, tool: str, **arguments: Any) -> str:
        result = await self.call(tool, arguments)
        [content] = result.content
        assert isinstance(content, types.TextContent)
        assert not result.is_error, content.text
        return content.text

    @asynccontextmanager
    async def listening(self, **what: Any) -> AsyncIterator[None]:
        """Have the person hear of news: a handshake client's session tells them by itself."""
        if not self.modern:
            yield
            return
        async with self.client.listen(**what) as events:

            async def hear() -> None:
                async for event in events:
                    await self.person.note(getattr(event, "uri", "tools"))

            hearing = asyncio.ensure_future(hear())
            try:
                yield
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)

    async def hears(self, news: str, seconds: float) -> bool:
        """Whether the person hears this within the time; what they heard before counts no more."""
        try:
            async with asyncio.timeout(seconds), self.person.told:
                while news not in self.person.news:
                    await self.person.told.wait()
        except TimeoutError:
            return False
        self.person.news.clear()
        return True


async def tools(cell: Cell) -> None:
    assert await cell.text("echo", text="hi") == "hi"
    assert (await cell.call("fail")).is_error


async def structured(cell: Cell) -> None:
    assert (await cell.call("add", {"a": 1, "b": 2})).structured_content == {"total": 3}


async def progress(cell: Cell) -> None:
    await cell.call("steps", progress_callback=cell.person.progress)
    # The official client runs the callback in a task of its own, which may come after the answer.
    with suppress(TimeoutError):
        async with asyncio.timeout(60):
            while len(cell.person.steps) < 3:  # noqa: ASYNC110 (the client tells nobody)
                await asyncio.sleep(0.01)
    assert cell.person.steps == [(float(step), 3.0, f"step {step}") for step in (1, 2, 3)]


async def logging(cell: Cell) -> None:
    assert await cell.text("speak") == "said"
    assert cell.person.heard == ["at 1", "at 2", "at 3"]


async def cancellation(cell: Cell) -> None:
    call = asyncio.ensure_future(cell.call("hang", {"sign": cell.name}))
    await _exists(cell.folder / f"{cell.name}.began")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await _exists(cell.folder / f"{cell.name}.cancelled")
    # The official client breaks if it is closed just as the answer to a cancelled call arrives: let that pass first.
    await cell.text("echo", text="last")


async def _exists(file: Path) -> None:
    while not file.exists():  # noqa: ASYNC110, ASYNC240 (a test may wait for a disk)
        await asyncio.sleep(0.02)


async def resources(cell: Cell) -> None:
    listed, cursor = set[str](), None
    while cursor is not None or not listed:
        page = await cell.client.list_resources(cursor=cursor)
        listed |= {str(one.uri) for one in page.resources}
        cursor = page.next_cursor
        if cursor is None:
            break
    assert f"{cell.backend}://note" in listed
    assert await _read(cell, "note") == f"a note of {cell.backend}"


async def templates(cell: Cell) -> None:
    listed = (await cell.client.list_resource_templates()).resource_templates
    assert f"{cell.backend}://item/{{id}}" in {one.uri_template for one in listed}
    assert await _read(cell, "item/7") == "item 7"


async def _read(cell: Cell, path: str) -> str:
    [content] = (await cell.client.read_resource(f"{cell.backend}://{path}")).contents
    assert isinstance(content, types.TextResourceContents)
    return content.text


async def subscriptions(cell: Cell) -> None:
    uri = f"{cell.backend}://note"
    if not cell.modern:
        await cell.client.subscribe_resource(uri)
    async with cell.listening(resource_subscriptions=[uri]):
        # Until the gateway has passed the subscription on, nobody is told of a change: change it until somebody is.
        await cell.call("touch")
        while not await cell.hears(uri, 0.5):
            await cell.call("touch")


async def list_changes(cell: Cell) -> None:
    grown = f"grown-{cell.name}"
    async with cell.listening(tools_list_changed=True):
        await cell.call("grow", {"tool": grown})
        listed: set[str] = set()
        while f"{cell.backend}__{grown}" not in listed:  # other clients' tools are told of too
            assert await cell.hears("tools", DEADLINE_S), "nothing was heard"
            listed = {one.name for one in (await cell.client.list_tools(cache_mode="refresh")).tools}


async def prompts(cell: Cell) -> None:
    prompt = await cell.client.get_prompt(f"{cell.backend}__greet", {"name": "Ada"})
    assert getattr(prompt.messages[0].content, "text", "") == "Say hello to Ada."


async def completions(cell: Cell) -> None:
    prompt = types.PromptReference(name=f"{cell.backend}__greet")
    template = types.ResourceTemplateReference(uri=f"{cell.backend}://item/{{id}}")
    for reference in (prompt, template):
        given = await cell.client.complete(reference, {"name": "name", "value": "a"})
        assert given.completion.values == ["ada", "alan"]


async def ask_sampling(cell: Cell) -> None:
    assert await cell.text("ask_sampling") == "2+2=4"


async def ask_form(cell: Cell) -> None:
    assert await cell.text("ask_form") == "hello bob"


async def ask_url(cell: Cell) -> None:
    assert await cell.text("ask_url") == "accept"
    assert cell.person.pages == ["https://example.org/sign-in"]


async def ask_roots(cell: Cell) -> None:
    assert await cell.text("ask_roots") == cell.person.home


async def resolve(cell: Cell) -> None:
    assert await cell.text("resolve") == "hello bob"


async def round_form(cell: Cell) -> None:
    assert await cell.text("rounds", kind="form") == "asked form: bob"


async def round_url(cell: Cell) -> None:
    assert await cell.text("rounds", kind="url") == "asked url: accept"
    assert cell.person.pages == ["https://example.org/sign-in"]


async def round_sampling(cell: Cell) -> None:
    assert await cell.text("rounds", kind="sampling") == "asked sampling: 2+2=4"


async def round_roots(cell: Cell) -> None:
    assert await cell.text("rounds", kind="roots") == f"asked roots: {cell.person.home}"


async def meta(cell: Cell) -> None:
    result = await cell.call("meta", meta={"example.org/question": "six times nine"})
    assert _given(result)["example.org/question"] == "six times nine"
    assert (result.meta or {})["example.org/answer"] == "42"


async def trace(cell: Cell) -> None:
    given = _given(await cell.call("meta", meta=dict(TRACE)))
    assert {key: given.get(key) for key in TRACE} == TRACE


def _given(result: types.CallToolResult) -> dict[str, Any]:
    [content] = result.content
    assert isinstance(content, types.TextContent)
    given: dict[str, Any] = json.loads(content.text)
    return given


Check = Callable[[Cell], Awaitable[None]]


@dataclass(frozen=True)
class Hole:
    """Why a feature cannot be had of the backends of one era, and what the client is told instead."""

    sentence: str
    """The protocol's own."""

    where: str
    told: str
    """Part of the error."""


MRTR = "https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr"
NO_REQUESTS = Hole(
    "Servers MUST send server-to-client requests (such as `roots/list`, `sampling/createMessage`, or "
    "`elicitation/create`) using the MRTR pattern. The previous pattern of server-initiated requests is no longer "
    "supported.",
    MRTR,
    "Cannot send '",
)
NO_ROUNDS = Hole(
    "Multi Round-Trip Requests (MRTR) was introduced in this version of the MCP specification. This replaces the "
    "previous approach of sending server-initiated requests.",
    MRTR,
    "Handler returned an invalid result",
)


@dataclass(frozen=True)
class Feature:
    """A row."""

    title: str
    check: Check
    modern: Hole | None = None
    """Set if modern backends cannot have it."""

    handshake: Hole | None = None
    """Set if handshake backends cannot."""

    def hole(self, *, modern: bool) -> Hole | None:
        """What keeps a backend of an era from it."""
        return self.modern if modern else self.handshake


FEATURES = (
    Feature("tools, and their errors", tools),
    Feature("structured content", structured),
    Feature("progress", progress),
    Feature("log messages", logging),
    Feature("cancellation", cancellation),
    Feature("resources", resources),
    Feature("resource templates", templates),
    Feature("subscriptions to resources", subscriptions),
    Feature("`list_changed`", list_changes),
    Feature("prompts", prompts),
    Feature("completion", completions),
    Feature("sampling while a call runs", ask_sampling, modern=NO_REQUESTS),
    Feature("elicitation (form) while a call runs", ask_form, modern=NO_REQUESTS),
    Feature("elicitation (URL) while a call runs", ask_url, modern=NO_REQUESTS),
    Feature("roots while a call runs", ask_roots, modern=NO_REQUESTS),
    Feature("elicitation by the SDK's `Resolve`, either era", resolve),
    Feature("`input_required`: elicitation (form)", round_form, handshake=NO_ROUNDS),
    Feature("`input_required`: elicitation (URL)", round_url, handshake=NO_ROUNDS),
    Feature("`input_required`: sampling", round_sampling, handshake=NO_ROUNDS),
    Feature("`input_required`: roots", round_roots, handshake=NO_ROUNDS),
    Feature("`_meta`, both ways", meta),
    Feature("trace context", trace),
)


async def outcome(feature: Feature, cell: Cell, *, modern: bool) -> str:
    """What came of it: `yes`, `hole` as the protocol has it, or what went wrong."""
    hole = feature.hole(modern=modern)
    for what in (cell.person.heard, cell.person.steps, cell.person.pages):
        what.clear()
    try:
        async with asyncio.timeout(DEADLINE_S):
            await feature.check(cell)
    except MCPError as error:
        told = hole is not None and f"Backend '{cell.backend}'" in error.message and hole.told in error.message
        return "hole" if told else f"MCPError {error.code} {error.message}"
    except Exception as error:  # whatever it is, it is what came of it
        return f"{type(error).__name__} {error}"
    return "yes"
