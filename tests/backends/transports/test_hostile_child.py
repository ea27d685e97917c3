"""A child that looks for the worker's secrets, in its own environment and in every process that it can see."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp_types import TextContent
from redis.asyncio import Redis

from switchboard.backends.transports.child_environment import environment

HOSTILE = Path(__file__).parents[1] / "servers" / "hostile.py"
BOUNDED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(24, 19, 0, 0, 0)  # the superuser without CAP_SYS_PTRACE is like any other user here
os.execv(sys.argv[1], sys.argv[1:])
"""


def workers_of(parent: int) -> list[int]:
    """The workers among a process's children; the others were started by it, or by one of them."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"cli.processes.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@asynccontextmanager
async def serving(*command: str, env: dict[str, str], cwd: Path) -> AsyncIterator[Process]:
    started = await asyncio.create_subprocess_exec(*command, env=env, cwd=cwd, stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            await started.wait()


async def serve(redis_url: str, count: int) -> None:
    """Wait until so many workers do."""
    async with asyncio.timeout(300), Redis.from_url(redis_url) as redis:
        while len(await redis.keys("worker:*")) < count:
            await asyncio.sleep(0.05)


async def seen(url: str) -> dict[str, Any]:
    """What the child found, once it is served."""
    async with asyncio.timeout(300):
        while True:
            try:
                async with Client(url, mode="legacy") as client:
                    for _ in range(100):
                        if any(tool.name == "bad__look" for tool in (await client.list_tools()).tools):
                            content = (await client.call_tool("bad__look")).content[0]
                            assert isinstance(content, TextContent)
                            found: dict[str, Any] = json.loads(content.text)
                            return found
                        await asyncio.sleep(0.05)
            except Exception:  # it does not listen yet
                await asyncio.sleep(0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_child_finds_no_secret_of_the_workers_nor_of_their_parent(
    workers: int, tmp_path: Path, redis_url: str, free_ports: list[int]
) -> None:
    names = ("SECRET_KEY", "NPM_CONFIG__AUTHTOKEN", "UV_INDEX_OWN_PASSWORD", "INTROSPECTION_CLIENT_SECRET", "SPARE")
    markers = [f"{name}-{secrets.token_hex(16)}" for name in (*names, "proxy")]
    given = dict(zip(names, markers, strict=False))
    file = tmp_path / "switchboard.json"
    arguments = [str(HOSTILE), *(each[::-1] for each in markers)]
    file.write_text(
        json.dumps(
            {
                "plugins": {"everything": {"enabled": False}},
                "mcpServers": {"bad": {"command": sys.executable, "args": arguments, "era": "handshake"}},
            }
        )
    )
    env = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        **given,
        "HTTPS_PROXY": f"http://me:{markers[-1]}@127.0.0.1:9",
        "NO_PROXY": "*",
        "REDIS_URL": redis_url,
        "CONFIG_FILE": str(file),
        "AUTH_MODE": "none",
        "DRAIN_GRACE": "0",
        "PORT": str(free_ports[0]),
        "WORKERS": str(workers),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    command = (sys.executable, "-c", BOUNDED, str(Path(sys.executable).with_name("switchboard")), "serve")
    async with serving(*command, env=env, cwd=tmp_path) as process:
        await serve(redis_url, workers)
        found = await seen(f"http://localhost:{free_ports[0]}/mcp")
        ours = {process.pid, *workers_of(process.pid)}
    assert len(ours) == (1 if workers == 1 else workers + 1)
    assert found["own"] == []
    assert [(way, number) for pid, way, number in found["others"] if pid in ours] == []
    assert process.returncode == 0
    assert found["environment"]["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert "REDIS_URL" not in found["environment"]


def test_a_child_is_told_where_packages_come_from_and_not_by_which_credential() -> None:
    worker = {
        "PATH": "/opt/node@20/bin",
        "LC_ALL": "C",
        "HTTP_PROXY": "http://me:s3cret@proxy:3128",
        "https_proxy": "me:s3cret@proxy:3128",
        "NO_PROXY": "localhost,.example.com",
        "npm_config_registry": "https://npm.example.com/",
        "npm_config_@own:registry": "https://me:s3cret@npm.example.com/own/",
        "NPM_CONFIG__AUTHTOKEN": "s3cret",
        "npm_config_//npm.example.com/:_authToken": "s3cret",
        "NPM_CONFIG_KEY": "s3cret",
        "npm_config__password": "s3cret",
        "NPM_CONFIG_HTTPS_PROXY": "http://me:s3cret@proxy:3128",
        "PIP_INDEX_URL": "https://me:s3cret@pypi.example.com/simple",
        "PIP_EXTRA_INDEX_URL": "https://a:s3cret@one/simple https://b:s3cr@et@two/simple?token=s3cret",
        "PIP_CLIENT_CERT": "/s3cret.pem",
        "UV_INDEX": "own=https://me:s3cret@one/simple https://two/simple",
        "UV_INDEX_OWN_PASSWORD": "s3cret",
        "UV_PUBLISH_TOKEN": "s3cret",
        "UV_CACHE_DIR": "/cache@2",
        "REDIS_URL": "redis://:s3cret@redis",
        "SECRET_KEY": "s3cret",
    }
    found = environment({"TOKEN": "own", "UV_INDEX_OWN_PASSWORD": "own"}, worker)
    assert found == {
        "PATH": "/opt/node@20/bin",
        "LC_ALL": "C",
        "HTTP_PROXY": "http://proxy:3128",
        "https_proxy": "proxy:3128",
        "NO_PROXY": "localhost,.example.com",
        "npm_config_registry": "https://npm.example.com/",
        "npm_config_@own:registry": "https://npm.example.com/own/",
        "NPM_CONFIG_HTTPS_PROXY": "http://proxy:3128",
        "PIP_INDEX_URL": "https://pypi.example.com/simple",
        "PIP_EXTRA_INDEX_URL": "https://one/simple https://two/simple",
        "UV_INDEX": "own=https://one/simple https://two/simple",
        "UV_CACHE_DIR": "/cache@2",
        "TOKEN": "own",
        "UV_INDEX_OWN_PASSWORD": "own",
    }
