"""`switchboard connect`: official stdio clients at a remote server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    ListRootsResult,
    LoggingMessageNotification,
    Root,
    TextContent,
    ToolListChangedNotification,
)
from typer.testing import CliRunner

from switchboard.cli.commands import app
from switchboard.cli.connect.token_store import TokenFile
from tools.fleet.children import Child, answers, free_port
from tools.fleet.person import signed_in
from tools.messages import initialize, text

COMMAND = str(Path(sys.executable).parent / "switchboard")
PATIENCE = 300
Launch = Callable[..., Child]
pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


@pytest.fixture
def browser(tmp_path: Path) -> dict[str, str]:
    """The environment of a person with a browser, and with a home of their own."""
    log = tmp_path / "browser.log"
    log.touch()
    return {"HOME": str(tmp_path), "BROWSER": f"{sys.executable} -m tools.fleet.person %s --log {log}"}


def opened(folder: Path) -> int:
    """How often the browser was opened."""
    return (folder / "browser.log").read_text().count("opened")


def kept(folder: Path) -> Path:
    [file] = (folder / ".config" / "switchboard" / "connect").glob("*.json")
    return file


@asynccontextmanager
async def connected(url: str, *options: str, env: dict[str, str], errors: Path, **how: Any) -> AsyncIterator[Client]:
    """An official client that starts the bridge."""
    command = StdioServerParameters(command=COMMAND, args=["connect", url, *options], env=env)
    with errors.open("a") as log:
        async with asyncio.timeout(PATIENCE), Client(stdio_client(command, errlog=log), **how) as client:
            yield client


async def sample(context: Any, params: Any) -> CreateMessageResult:
    words = TextContent(type="text", text=f"You said: {params.messages[0].content.text}")
    return CreateMessageResult(role="assistant", content=words, model="m")


async def elicit(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"name": "Alice", "check": True, "integer": 7})


async def roots(context: Any) -> ListRootsResult:
    return ListRootsResult(roots=[Root(uri="file:///home")])


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", "2026-07-28")])
async def test_a_stdio_client_signs_in_once_by_the_browser_and_has_everything(
    integrated: str, browser: dict[str, str], tmp_path: Path, mode: str, version: str
) -> None:
    where: dict[str, Any] = {"env": browser, "errors": tmp_path / "errors", "mode": mode}
    asking: dict[str, Any] = {
        "sampling_callback": sample,
        "elicitation_callback": elicit,
        "list_roots_callback": roots,
    }
    signing = await asyncio.create_subprocess_exec(COMMAND, "connect", integrated, "--sign-in", env=_env(browser))
    assert await signing.wait() == 0
    async with connected(integrated, **where, **asking) as client:
        assert client.protocol_version == version
        steps: list[float] = []

        async def step(progress: float, total: float | None, message: str | None) -> None:
            steps.append(progress)

        who = (await client.call_tool("whoami")).structured_content
        assert (who or {})["subject"] == "alice"
        await client.call_tool("longRunningOperation", {"duration": 0.2, "steps": 2}, progress_callback=step)
        assert steps == [1.0, 2.0]
        assert "You said: hi" in text(await client.call_tool("sampleLLM", {"prompt": "hi"}))
        assert "Alice" in text(await client.call_tool("elicitInputs"))
        assert (await client.call_tool("listRoots")).structured_content["roots"][0]["uri"] == "file:///home"
        assert len((await client.list_resources()).resources) > 1
    assert opened(tmp_path) == 1
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600
    assert kept(tmp_path).parent.stat().st_mode & 0o777 == 0o700


async def test_an_expired_token_is_refreshed_without_a_browser_and_a_revoked_one_with(
    integrated: str, browser: dict[str, str], tmp_path: Path
) -> None:
    where: dict[str, Any] = {"env": browser, "errors": tmp_path / "errors", "mode": "legacy"}
    async with connected(integrated, **where) as client:
        await client.call_tool("echo", {"message": "hi"})
    before = json.loads(kept(tmp_path).read_text())
    kept(tmp_path).write_text(json.dumps(before | {"until": time.time() - 1}))
    async with connected(integrated, **where) as client:
        await client.call_tool("echo", {"message": "hi"})
    after = json.loads(kept(tmp_path).read_text())
    assert after["tokens"]["access_token"] != before["tokens"]["access_token"]
    assert opened(tmp_path) == 1

    gone = {**after["tokens"], "access_token": "nothing", "refresh_token": "nothing"}
    kept(tmp_path).write_text(json.dumps(after | {"tokens": gone}))
    async with connected(integrated, **where) as client:
        await client.call_tool("echo", {"message": "hi"})
    assert opened(tmp_path) == 2


async def test_a_client_that_the_issuer_does_not_know_any_more_is_registered_anew(
    integrated: str, browser: dict[str, str], tmp_path: Path
) -> None:
    """As after a restart of a server that keeps everything in memory."""
    where: dict[str, Any] = {"env": browser, "errors": tmp_path / "errors", "mode": "legacy"}
    async with connected(integrated, **where) as client:
        await client.call_tool("echo", {"message": "hi"})
    before = json.loads(kept(tmp_path).read_text())
    gone = {"access_token": "nothing", "refresh_token": "nothing"}
    forgotten = {"client": {**before["client"], "client_id": "c_forgotten"}, "tokens": {**before["tokens"], **gone}}
    kept(tmp_path).write_text(json.dumps(before | forgotten))

    async with connected(integrated, **where) as client:
        await client.call_tool("echo", {"message": "hi"})

    assert opened(tmp_path) == 2
    assert "Traceback" not in where["errors"].read_text()
    assert json.loads(kept(tmp_path).read_text())["client"]["client_id"] not in ("c_forgotten", before["client"])


async def test_processes_that_start_together_sign_in_once(
    integrated: str, browser: dict[str, str], tmp_path: Path
) -> None:
    async def one() -> str:
        async with connected(integrated, env=browser, errors=tmp_path / "errors", mode="legacy") as client:
            return text(await client.call_tool("echo", {"message": "hi"}))

    assert list(await asyncio.gather(one(), one())) == ["Echo: hi", "Echo: hi"]
    assert opened(tmp_path) == 1


async def test_without_a_browser_the_address_is_said_on_standard_error(
    integrated: str, browser: dict[str, str], tmp_path: Path
) -> None:
    errors = tmp_path / "errors"
    errors.touch()

    async def person() -> None:
        while not (said := re.search(r"to sign in, open: (\S+)\n", errors.read_text())):
            await asyncio.sleep(0.05)
        assert "You are signed in" in await signed_in(said[1], "bob")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(person())
        async with connected(integrated, "--no-browser", env=browser, errors=errors, mode="legacy") as client:
            who = (await client.call_tool("whoami")).structured_content
    assert (who or {})["subject"] == "bob"
    assert opened(tmp_path) == 0


async def test_a_token_of_ones_own_is_used_as_it_is(
    integrated: str, launch: Launch, browser: dict[str, str], tmp_path: Path
) -> None:
    printing = launch("token", "--url", integrated, "--user", "carol")
    assert printing.process.wait(PATIENCE) == 0
    token = printing.log.read_text().strip()
    for options in (["--token", token], ["--header", f"Authorization: Bearer {token}"]):
        async with connected(integrated, *options, env=browser, errors=tmp_path / "errors") as client:
            who = (await client.call_tool("whoami")).structured_content
            assert (who or {})["subject"] == "carol"
    assert not (tmp_path / ".config").exists()


async def test_a_server_that_comes_back_without_its_sessions_is_met_anew_and_the_client_told(
    launch: Launch, browser: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()

    def serve() -> Child:
        server = launch("serve", "--port", str(port), AUTH_MODE="none")
        server.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
        return server

    told: list[Any] = []

    async def hear(message: Any) -> None:
        told.append(message)

    first = await asyncio.to_thread(serve)
    url = f"http://localhost:{port}"
    async with connected(url, env=browser, errors=tmp_path / "errors", mode="legacy", message_handler=hear) as client:
        session = ((await client.call_tool("whoami")).structured_content or {})["session"]
        first.kill()
        serving = asyncio.create_task(asyncio.to_thread(serve))
        # Sent while nobody is there: it waits, and is sent again in the new session.
        who = (await client.call_tool("whoami")).structured_content or {}
        assert who["session"] not in (None, session)
        await serving
        logged = [one.params.data for one in told if isinstance(one, LoggingMessageNotification)]
        assert any("lost the session" in str(data) for data in logged)
        assert any(isinstance(one, ToolListChangedNotification) for one in told)


async def test_a_modern_call_mirrors_its_argument_though_the_client_never_listed_the_tools(
    launch: Launch, browser: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    server = launch("serve", "--port", str(port), AUTH_MODE="none")
    await asyncio.to_thread(server.wait_until, lambda: answers(port, "/readyz"), PATIENCE)
    async with connected(f"http://localhost:{port}", env=browser, errors=tmp_path / "errors") as client:
        assert client.protocol_version == "2026-07-28"
        result = await client.session.call_tool("headerParameter", {"region": "eu-west"})
        assert result.structured_content == {"region": "eu-west", "header": "eu-west"}


def _env(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **more}


def test_a_server_that_is_away_is_an_answer_that_says_so_and_an_exit_code(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "connect", f"http://localhost:{free_port()}/mcp", "--patience", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_env({"HOME": str(tmp_path)}),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"no message\n" + json.dumps(initialize(id=7)).encode() + b"\n")
    process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert {line["id"]: line["error"]["code"] for line in lines} == {None: -32700, 7: -32010}
    assert "cannot be reached" in str(lines)
    process.stdin.close()
    assert process.stdout.read() == b""
    process.stdout.close()
    assert process.wait(PATIENCE) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ftp://example.org/mcp"], "is not an http or https URL"),
        (["http://example.org/mcp"], "use https, or --insecure"),
        (["https://example.org/mcp", "--header", "no colon"], "give it as 'Name: value'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["connect", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_tokens_can_be_forgotten_for_one_server(tmp_path: Path) -> None:
    for server in ("https://one.example/mcp", "https://two.example/mcp"):
        TokenFile(tmp_path, server).write({"tokens": {}})
    said = [
        CliRunner().invoke(app, ["connect", "https://one.example", "--tokens", str(tmp_path), "--forget"]).stderr
        for _ in range(2)
    ]
    assert said[0] == "switchboard: forgot the tokens for https://one.example/mcp\n"
    assert said[1] == "switchboard: there are no tokens for https://one.example/mcp\n"
    assert TokenFile(tmp_path, "https://two.example/mcp").read()
