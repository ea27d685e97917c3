"""Why a person may call a tool or not: `/api/tools/{name}/decision` and `switchboard why`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from mcp import Client
from mcp.shared.exceptions import MCPError
from typer.testing import CliRunner

from switchboard.cli.commands import app
from tests.admin.test_fleet_commands import document
from tests.sessions.conftest import Worker, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILE = """
plugins:
  everything: {enabled: true, deny: [add], tools: {echo: {scopes: ["loud"], tags: [noise]}}}
mcpServers:
  off: {command: cat, enabled: false}
  wrong: {command: cat, timeout: -1}
presets:
  quiet: {tags: "!noise"}
  none: {allow: ["x*"]}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(fleet_redis: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Worker]:
    file = tmp_path_factory.mktemp("decisions") / "switchboard.yaml"
    file.write_text(FILE)
    async with serving(fleet_redis, config_file=file) as started:
        yield started


async def why(worker: Worker, *arguments: str) -> Any:
    """In a thread: the worker runs in this one."""
    given = ("why", "--url", worker.url, *arguments)
    return await asyncio.to_thread(CliRunner().invoke, app, given, env={"SWITCHBOARD_TOKEN": None})


@pytest.mark.parametrize(
    ("arguments", "code", "step", "said"),
    [
        (
            ("echo", "--scope", "mcp", "--scope", "loud"),
            0,
            "connection",
            "everything needs nothing of the person's own",
        ),
        (("echo",), 1, "scopes", "the token has mcp, and calls of it need loud mcp:tools together"),
        (("echo", "--scope", "loud"), 1, "scopes", "calls of it need loud mcp:tools"),
        (("echo", "--preset", "quiet"), 1, "selection", "preset=quiet: tags: it has noise"),
        (("echo", "--preset", "none"), 1, "selection", "preset=none: allow does not name it"),
        (("echo", "--tags", "calm"), 1, "selection", "tags=calm: tags: it has noise"),
        (("echo", "--preset", "nope"), 1, "selection", "there is no preset 'nope'; there are: quiet, none"),
        (("everything__add",), 1, "policy", "allow and deny of everything leave 'add' out"),
        (("off__it",), 1, "configuration", "off is disabled: enable it"),
        (("wrong__it",), 1, "configuration", "the row of wrong is not valid"),
        (("everything__none",), 1, "offer", "everything offers no tool 'none' now"),
        (("nothing",), 1, "offer", "no plugin or server offers it"),
    ],
)
async def test_the_step_that_decides_is_the_last_one(
    worker: Worker, arguments: tuple[str, ...], code: int, step: str, said: str
) -> None:
    done = await why(worker, "alice", *arguments, "--json")
    found = document(done)
    assert (done.exit_code, found["allowed"]) == (code, code == 0), done.output
    last = found["steps"][-1]
    assert (last["step"], said in last["said"]) == (step, True), last
    assert [each["outcome"] for each in found["steps"]].count("refused") == code


async def test_a_request_is_answered_as_the_decision_says(worker: Worker) -> None:
    """Nobody signs in here, so every request has the scope mcp: by each preset a call is decided as it was told."""
    cases = (("", "echo"), ("none", "whoami"), ("quiet", "echo"), ("", "everything__add"), ("", "whoami"))
    for preset, tool in cases:
        told = document(await why(worker, "anonymous", tool, "--preset", preset, "--json"))
        came_through = True
        try:
            async with Client(f"{worker.url}?preset={preset}" if preset else worker.url) as client:
                await client.call_tool(tool, {"message": "x"} if tool == "echo" else {})
        except* (MCPError, httpx2.HTTPError):
            came_through = False
        assert came_through == told["allowed"], (tool, preset, told)


async def test_a_server_that_cannot_be_asked_is_no_answer(worker: Worker) -> None:
    done = await why(worker, "alice", "echo", "--url", "http://127.0.0.1:9/mcp")
    assert done.exit_code == 3
    shown = await why(worker, "alice", "echo")
    assert "REFUSED  scopes:" in shown.stdout
    assert "alice may not call echo" in shown.stdout
