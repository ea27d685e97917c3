"""`/api/registry`, and `switchboard search` and `add`, against a local copy of a registry."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
import yaml
from typer.testing import CliRunner

from switchboard.cli.commands import app
from tests.admin.conftest import FILE, api
from tests.admin.test_fleet_commands import document
from tests.sessions.conftest import Worker, serving
from tests.sources.registry import LocalRegistry, registry

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEATHER = "io.github.example/weather"
CLOCK = "io.github.example/clock"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LocalRegistry]:
    async with registry() as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers(
    fleet_redis: str, local: LocalRegistry, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Worker, Worker]]:
    file = tmp_path_factory.mktemp("fleet") / "switchboard.yaml"
    file.write_text(FILE)
    given: dict[str, Any] = {"config_file": file, "mcp_registry_url": local.url}
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(serving(fleet_redis, **given)) for _ in range(2)]
        yield first, second


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(workers: tuple[Worker, Worker]) -> AsyncIterator[httpx2.AsyncClient]:
    async with api(workers[0]) as opened:
        yield opened


async def run(local: LocalRegistry, *arguments: str, **env: str) -> Any:
    """In a thread: the registry runs in this one."""
    given = {"COLUMNS": "200", "MCP_REGISTRY_URL": local.url, **env}
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, env=given)


def read(path: str) -> str:
    return Path(path).read_text()


async def test_the_api_searches_page_by_page(client: httpx2.AsyncClient, local: LocalRegistry) -> None:
    first = (await client.get("registry/servers", params={"search": "example"})).json()
    assert [each["suggested_name"] for each in first["items"]] == ["weather", "clock"]
    assert (first["registry"], first["unreadable"]) == (local.url, 1)
    query = {"search": "example", "cursor": first["next_cursor"]}
    rest = (await client.get("registry/servers", params=query)).json()
    assert [(each["name"], each["status"]) for each in rest["items"]] == [("io.github.example/old", "deprecated")]
    assert rest["next_cursor"] is None


async def test_a_server_of_the_registry_is_added_by_the_row_that_the_api_gives(
    client: httpx2.AsyncClient, workers: tuple[Worker, Worker]
) -> None:
    found = (await client.get(f"registry/servers/{WEATHER}")).json()
    assert (found["version"], found["taken"]) == ("1.2.0", False)
    best = found["options"][0]
    assert [each["name"] for each in best["inputs"]] == ["region", "token"]
    row = json.loads(json.dumps(best["row"]).replace(best["inputs"][1]["reference"], "value"))
    added = await client.put("servers/forecasts", json=row)
    assert added.status_code == 200, added.text
    async with api(workers[1]) as other:
        assert (await other.get("servers/forecasts")).json()["row"]["url"] == "https://eu.weather.example/mcp"
        again = (await other.get(f"registry/servers/{WEATHER}", params={"as": "forecasts"})).json()
    assert again["taken"] is True
    assert again["options"][0]["inputs"][1]["reference"] == "${MCP_FORECASTS_TOKEN}"


async def test_what_the_registry_does_not_have_or_answer_is_said(
    client: httpx2.AsyncClient, local: LocalRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await client.get("registry/servers/io.github.example/none")).status_code == 404
    refused = await client.get("registry/servers", params={"cursor": "x"})
    assert (refused.status_code, "Invalid cursor" in refused.json()["detail"]) == (422, True)
    monkeypatch.setattr(local, "fault", b"<h1>")
    for path in ("registry/servers", f"registry/servers/{WEATHER}"):
        answer = await client.get(path)
        assert (answer.status_code, "is not JSON" in answer.json()["detail"]) == (502, True)


async def test_servers_are_found_from_the_command_line_by_all_words(local: LocalRegistry) -> None:
    done = await run(local, "search", "example", "time")
    found = [line.split()[0] for line in done.stdout.splitlines() if line.strip().startswith("io.")]
    assert (done.exit_code, found) == (0, [CLOCK]), done.output
    done = await run(local, "search", "example", "--json")
    assert [each["name"] for each in document(done)][-1] == "io.github.example/old"
    done = await run(local, "search", "evil")
    assert "\x1b[31m" not in done.stdout
    done = await run(local, "search", "nothing", "--json")
    assert (done.exit_code, document(done)) == (1, [])


async def test_a_server_is_added_to_the_file_with_a_backup(local: LocalRegistry, tmp_path: Path) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text("mcpServers: {there: {command: cat}}\n")
    known = ("--config", str(file))
    done = await run(local, "add", WEATHER, "--dry-run", *known)
    assert (done.exit_code, os.listdir(tmp_path)) == (0, [file.name]), done.output
    assert "set MCP_WEATHER_TOKEN before it starts" in done.stderr
    done = await run(local, "add", WEATHER, "--as", "news", "--set", "token=t0k3n-value", "--json", *known)
    told = document(done)
    assert "t0k3n" not in done.output
    assert read(told["backup"]) == "mcpServers: {there: {command: cat}}\n"
    rows = yaml.safe_load(file.read_text())["mcpServers"]
    assert rows["news"]["headers"]["Authorization"] == "Bearer t0k3n-value"
    assert "there" in rows
    again = await run(local, "add", WEATHER, "--as", "news", *known)
    assert (again.exit_code, "there is a server 'news' already" in again.stderr) == (2, True)


async def test_the_way_to_have_a_server_is_chosen_and_what_cannot_be_is_said(
    local: LocalRegistry, tmp_path: Path
) -> None:
    known = ("--config", str(tmp_path / "switchboard.json"))
    done = await run(local, "add", WEATHER, "--from", "npm", "--set", "folder=/data", *known)
    assert done.exit_code == 0, done.output
    row = json.loads((tmp_path / "switchboard.json").read_text())["mcpServers"]["weather"]
    assert row["args"] == ["serve", "--units", "metric", "/data"]
    for arguments, said in (
        ((WEATHER, "--from", "mcpb"), "mcpb: packages from 'mcpb' are not installed here"),
        ((WEATHER, "--from", "cargo"), "it is not to be had from cargo; it has: http, npm, pypi, docker, sse, mcpb"),
        ((WEATHER, "--set", "token"), "give it as NAME=VALUE"),
        ((WEATHER, "--set", "region=mars"), "region is one of: eu, us"),
    ):
        done = await run(local, "add", *arguments, *known)
        assert (done.exit_code, said in done.stderr) == (2, True), done.output
    done = await run(local, "add", "io.github.example/none", *known)
    assert (done.exit_code, "has no server" in done.stderr) == (1, True)


async def test_a_server_is_added_to_a_running_fleet(local: LocalRegistry, workers: tuple[Worker, Worker]) -> None:
    done = await run(local, "add", CLOCK, "--url", workers[0].url)
    assert done.exit_code == 0, done.output
    async with api(workers[1]) as other:
        assert (await other.get("servers/clock")).json()["row"]["url"] == "https://clock.example/mcp"
    again = await run(local, "add", CLOCK, "--url", workers[0].url)
    assert (again.exit_code, "clock is there" in again.stderr) == (1, True), again.output
    unset = await run(local, "add", WEATHER, "--url", workers[0].url)
    assert (unset.exit_code, "MCP_WEATHER_TOKEN is not set" in unset.stderr) == (1, True), unset.output
