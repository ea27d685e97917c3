"""Plugins with credentials of their people, on two workers: who is asked, who has what, and changes for the fleet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult
from typer.testing import CliRunner

from switchboard.cli.commands import app
from tests.authorized.conftest import ERAS, Gateway, User
from tests.outbound_auth.provider import Provider
from tests.sessions.conftest import KEY, serving
from tools.fleet.children import free_port
from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

LETTERS = """
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from switchboard.plugins import AuthRequirement, CredentialField, Plugin

class Settings(BaseModel):
    word: str = "hello"

def serve(context):
    server = MCPServer("NAME")

    @server.tool()
    async def key() -> str:
        return await context.need_credential("key")

    @server.tool()
    async def key_in_context(ctx: Context) -> str:
        return await context.need_credential("key")

    @server.tool()
    async def undeclared() -> str:
        return await context.need_credential("other")

    @server.tool()
    async def of_alice(person: str) -> str:
        return await context.need_credential("key", person)

    @server.tool()
    async def greet() -> str:
        return context.config.word

    @server.prompt()
    async def sign() -> str:
        return await context.need_credential("key")

    return server

plugin = Plugin("NAME", "1", serve, config=Settings, auth=AuthRequirement("api-key", (CredentialField("key"),)))
"""

TRACKER = """
from mcp.server.mcpserver import MCPServer
from switchboard.plugins import AuthRequirement, Plugin

def serve(context):
    server = MCPServer("tracker")

    @server.tool()
    async def token() -> str:
        return await context.access_token()

    return server

plugin = Plugin("tracker", "1", serve, auth=AuthRequirement("oauth2", provider="github", scopes=("read",)))
"""


class Typist(User):
    """Answers by entering a credential on the page, through another worker, after having said yes."""

    async def elicit(self, _context: Any, params: Any) -> ElicitResult:
        self.asked.append(params)
        if self.action == "accept":
            self.tasks.append(asyncio.create_task(self.enter(params.url)))
        return ElicitResult(action=self.action)

    async def enter(self, url: str) -> None:
        async with self.gateway.browser(self.name) as browser:
            browser.worker = self.worker
            page = await browser.get(url)
            stored = await browser.submit(page, **{"decision": "store", "field-key": f"key of {self.name}"})
            assert stored.status_code < 400, stored.text


@pytest.fixture
async def gateway(redis_url: str, provider: Provider, tmp_path: Path) -> AsyncIterator[Gateway]:
    """Two workers with plugins: `letters`, the same in a process of its own as `sealed`, and `tracker`."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name in ("letters", "sealed"):
        (folder / f"{name}.py").write_text(LETTERS.replace("NAME", name))
    (folder / "tracker.py").write_text(TRACKER)
    client = {"issuer": provider.url, "client_id": "gateway", "client_secret": "secret"}
    plugins = {"everything": {"enabled": False}, "sealed": {"isolation": "process"}, "tracker": {"auth": client}}
    file = tmp_path / "switchboard.json"
    file.write_text(json.dumps({"plugins": plugins}))
    port = free_port()
    base = f"http://localhost:{port}"
    given: dict[str, Any] = {
        "auth_mode": "integrated",
        "base_uri": base,
        "config_file": file,
        "plugins_dir": folder,
        "plugins_reload": False,
        "cache_dir": tmp_path / "cache",
    }
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(serving(redis_url, at, **given)) for at in (port, 0)]
        yield Gateway(workers, base, provider)


async def said(client: Client, tool: str, **arguments: Any) -> str:
    return text(await client.call_tool(tool, arguments))


async def offers(client: Client, tool: str) -> bool:
    return tool in {each.name for each in (await client.list_tools(cache_mode="refresh")).tools}


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(300):
        while not await true():
            await asyncio.sleep(0.05)


WAYS = ("letters__key", "letters__key_in_context", "sealed__key")


async def test_a_call_that_lacks_a_credential_asks_its_person_and_goes_on_by_itself(gateway: Gateway) -> None:
    for era in ERAS:
        await _goes_on_by_itself(era, gateway)


async def _goes_on_by_itself(era: str, gateway: Gateway) -> None:
    alice, bob, carol, dora = (f"{name}-{era}" for name in ("alice", "bob", "carol", "dora"))
    for name, tool in zip((alice, bob, carol), WAYS, strict=True):
        user = Typist(gateway, name)
        async with gateway.client(name, era, user) as client:
            await until(lambda: offers(client, tool))  # noqa: B023 (awaited in the same round)
            assert [await said(client, tool) for _ in range(2)] == [f"key of {name}"] * 2
        assert [each.message for each in user.asked] == [f"{tool.split('__')[0]} needs a credential of yours: key"]
        await asyncio.gather(*user.tasks)
    signer = User(gateway, dora)
    async with gateway.client(dora, era, signer) as client:
        assert provider_says(gateway, await said(client, "tracker__token")) == f"{dora}-there"
        prompter = Typist(gateway, dora)
        async with gateway.client(dora, era, prompter) as another:
            prompt = await another.get_prompt("letters__sign")
        assert prompt.messages[0].content.text == f"key of {dora}"  # type: ignore[union-attr]
    assert (len(signer.asked), len(prompter.asked)) == (1, 1)
    await asyncio.gather(*signer.tasks, *prompter.tasks)


def provider_says(gateway: Gateway, token: str) -> str | None:
    return gateway.provider.person(token)


async def test_whoever_cannot_be_asked_or_declines_is_told(gateway: Gateway) -> None:
    for era in ERAS:
        await _is_told(era, gateway)


async def _is_told(era: str, gateway: Gateway) -> None:
    lacks = "letters needs a credential of yours: key"
    async with gateway.client("alice", era) as client:
        for tool in WAYS:
            await until(lambda: offers(client, tool))  # noqa: B023 (awaited in the same round)
            plugin = tool.split("__")[0]
            result = await client.call_tool(tool, {})
            link = f"Open {gateway.base}/connections/connect/{plugin}?link="
            assert (result.is_error, link in text(result)) == (True, True)
        with pytest.raises(MCPError, match=lacks):
            await client.get_prompt("letters__sign")
    user = Typist(gateway, "alice", "decline")
    async with gateway.client("alice", era, user) as client:
        assert await said(client, "letters__key") == f"{lacks}, and connecting was declined"
        asked = len(user.asked)
        told = await said(client, "letters__undeclared")
        assert told.startswith("letters needs a credential of yours: other. Open ")
    async with gateway.client("bob", era, Typist(gateway, "bob")) as client:
        told = await said(client, "letters__of_alice", person=gateway.person("alice"))
        assert told.startswith(f"{lacks}. Open ")
    assert asked == len(user.asked) == 1


async def test_what_each_person_enters_is_read_by_every_worker_and_for_that_person_alone(gateway: Gateway) -> None:
    api = "/api/auth/credentials"
    async with (
        gateway.browser() as http,
        gateway.client("alice", "handshake") as alice,
        gateway.client("bob", "modern") as bob,
    ):
        bearer = {name: {"Authorization": f"Bearer {await gateway.token(name)}"} for name in ("alice", "bob")}
        for name in ("alice", "bob"):
            body = {"id": "letters", "values": {"key": f"typed by {name}"}}
            stored = await http.send("POST", api, json=body, headers=bearer[name])
            assert stored.status_code == 200
            other = alice if name == "bob" else bob
            seen = await said(other, "letters__key")
            assert seen == "typed by alice" if name == "bob" else "needs a credential of yours" in seen
        for client, name in ((alice, "alice"), (bob, "bob")):
            assert {await said(client, "letters__key") for _ in range(4)} == {f"typed by {name}"}
        http.worker = 1
        await http.send("DELETE", f"{api}?id=letters", headers=bearer["alice"])
        assert all(["needs a credential" in await said(alice, "letters__key") for _ in range(2)])
        assert await said(bob, "letters__key") == "typed by bob"


async def test_the_command_changes_a_plugin_on_every_worker_and_no_session_ends(
    gateway: Gateway, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "REDIS_URL": redis_url,
        "SECRET_KEY": KEY,
        "CONFIG_FILE": str(tmp_path / "switchboard.json"),
        "PLUGINS_DIR": str(tmp_path / "plugins"),
        "CACHE_DIR": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    async def plugins(*arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["plugins", *arguments])
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    async with gateway.client("alice", "handshake") as client:

        async def everywhere(word: str) -> bool:
            return all([await said(client, "letters__greet") == word for _ in range(4)])

        async def gone() -> bool:
            return not any([await offers(client, "letters__greet") for _ in range(4)])

        assert await everywhere("hello")
        assert "the fleet's overlay: letters changed" in await plugins("configure", "letters", "word=good day")
        await until(lambda: everywhere("good day"))
        await plugins("disable", "letters")
        await until(gone)
        await plugins("enable", "letters")
        await until(lambda: present(client))
        await until(lambda: everywhere("good day"))
        file = tmp_path / "plugins" / "letters.py"
        file.write_text(file.read_text().replace("return context.config.word", 'return context.config.word + "!"'))
        assert "letters: reloaded on 2 of 2 workers" in await plugins("reload", "letters")
        assert await everywhere("good day!")
    every = [each for worker in gateway.workers for each in worker.app.rooms.servers.plugins]
    assert [each.phase for each in every if each.name == "letters"] == ["running"] * 2


async def present(client: Client) -> bool:
    return all([await offers(client, "letters__greet") for _ in range(4)])
