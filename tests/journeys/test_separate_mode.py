"""The authorization server as a process of its own, and a server that only knows its address."""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tools.fleet.children import free_port
from tools.fleet.workers import drive_token, start_auth_server, start_worker


@dataclass(frozen=True)
class Apart:
    """Where the two processes are."""

    base: str
    issuer: str


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    folder = tmp_path_factory.mktemp("apart")
    auth_port, port = free_port(), free_port()
    running = Apart(f"http://localhost:{port}", f"http://localhost:{auth_port}")
    settings = {
        "AUTH_MODE": "separate",
        "AUTH_SERVER_URL": running.issuer,
        "AUTH_SERVER_PORT": str(auth_port),
        "BASE_URI": running.base,
        "SECRET_KEY": secrets.token_urlsafe(32),
    }
    with ExitStack() as stack:
        stack.callback(start_auth_server(folder, auth_port, settings).stop)
        stack.callback(start_worker(folder, port, settings).stop)
        yield running


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_token_of_the_other_process_is_good_here(apart: Apart, mode: str) -> None:
    token = drive_token(apart.base, "alice")
    async with (
        create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(f"{apart.base}/mcp", http_client=http), mode=mode) as client,
    ):
        me = (await client.call_tool("whoami")).structured_content or {}
    assert (me["subject"], me["issuer"]) == ("alice", apart.issuer)


def test_the_server_points_to_the_other_process_and_signs_nobody_in_itself(apart: Apart) -> None:
    with urllib.request.urlopen(f"{apart.base}/.well-known/oauth-protected-resource/mcp", timeout=60) as answer:  # noqa: S310
        assert json.load(answer)["authorization_servers"] == [apart.issuer]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{apart.base}/authorize", timeout=60)  # noqa: S310
