"""A public URL with a path: everything is below it, through a proxy that strips nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
import websockets

from tools.fleet.balancer import find_nginx, start_balancer
from tools.fleet.children import LOOPBACK, answers, free_port, start
from tools.fleet.workers import COMMAND, drive_token
from tools.messages import ACCEPT, HANDSHAKE, INITIALIZE

BASE_PATH = "/tools"


@pytest.fixture(scope="module", params=["behind the shipped proxy", "alone"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The BASE_URI of a worker with a path."""
    folder, port = tmp_path_factory.mktemp("base"), free_port()
    front = free_port() if request.param != "alone" else port
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"PORT": str(port), "BASE_URI": f"http://localhost:{front}{BASE_PATH}", "TRUSTED_PROXIES": LOOPBACK}
    child = start("worker", [COMMAND, "serve"], folder, env)
    child.wait_until(lambda: answers(port, "/readyz"), 120)
    proxy = start_balancer(folder, front, [port], nginx=find_nginx()) if front != port else None
    yield env["BASE_URI"]
    if proxy:
        proxy.child.stop()
    child.stop()


@pytest.fixture(scope="module")
def token(base: str) -> str:
    """An access token, got as any client gets it: from the endpoint's challenge on."""
    return drive_token(f"{base}/mcp", "alice")


@pytest.fixture
def http(base: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False, timeout=60) as client:
        yield client


def test_the_documents_name_the_endpoint_that_answers(base: str, http: httpx2.Client) -> None:
    refused = http.post(f"{base}/mcp", json=INITIALIZE, headers=ACCEPT)
    assert refused.status_code == 401
    where = f"{base.removesuffix(BASE_PATH)}/.well-known/oauth-protected-resource{BASE_PATH}/mcp"
    assert f'resource_metadata="{where}"' in refused.headers["www-authenticate"]
    resource = http.get(where).json()
    assert resource["resource"] == f"{base}/mcp"
    assert resource["authorization_servers"] == [base]


@pytest.mark.parametrize("path", ["/.well-known/{}/tools", "/tools/.well-known/{}"])
@pytest.mark.parametrize("document", ["oauth-authorization-server", "openid-configuration"])
def test_every_endpoint_that_the_issuer_names_answers_there(
    base: str, http: httpx2.Client, path: str, document: str
) -> None:
    url = f"{base.removesuffix(BASE_PATH)}{path.format(document)}"
    found: dict[str, Any] = http.get(url, headers={"Origin": "https://app.example.com"}).raise_for_status().json()
    assert found["issuer"] == base
    named = {value for key, value in found.items() if key.endswith(("_endpoint", "_uri"))}
    assert {urlsplit(each).path.rpartition("/")[0] for each in named} == {BASE_PATH}
    assert [url for url in named if http.options(url).status_code == 404] == []


def test_a_token_got_by_the_documents_is_good_for_a_session(base: str, http: httpx2.Client, token: str) -> None:
    authorized = {**ACCEPT, "Authorization": f"Bearer {token}"}
    answered = http.post(f"{base}/mcp", json=INITIALIZE, headers=authorized)
    assert answered.status_code == 200
    session = {**authorized, "Mcp-Session-Id": answered.headers["mcp-session-id"]}
    assert http.delete(f"{base}/mcp", headers=session).status_code == 204


def test_a_client_of_the_old_transport_is_told_where_to_post_below_the_path(
    base: str, http: httpx2.Client, token: str
) -> None:
    with http.stream("GET", f"{base}/sse", headers={"Authorization": f"Bearer {token}"}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: endpoint"
        where = next(lines).removeprefix("data: ")
        assert where.startswith(f"{BASE_PATH}/message?")
        posted = httpx2.post(
            base.removesuffix(BASE_PATH) + where,
            json=INITIALIZE,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        assert posted.status_code == 202


async def test_a_websocket_is_served_below_the_path(base: str, token: str) -> None:
    url = f"{base.replace('http', 'ws', 1)}/mcp"
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        asyncio.timeout(60),
        websockets.connect(url, subprotocols=[websockets.Subprotocol("mcp")], additional_headers=headers) as socket,
    ):
        await socket.send(json.dumps(INITIALIZE))
        assert json.loads(await socket.recv())["result"]["protocolVersion"] == HANDSHAKE


@pytest.mark.parametrize("path", ["/tools/healthz", "/tools/readyz", "/healthz", "/readyz"])
def test_probes_answer_below_the_path_and_at_the_root(base: str, http: httpx2.Client, path: str) -> None:
    assert http.get(base.removesuffix(BASE_PATH) + path).status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/message"])
def test_whoever_comes_without_the_path_is_told_what_is_wrong(base: str, http: httpx2.Client, path: str) -> None:
    refused = http.post(base.removesuffix(BASE_PATH) + path, json=INITIALIZE)
    assert refused.status_code == 404
    assert base in refused.json()["error"]["message"]
    assert "strip" in refused.json()["error"]["message"]


def test_a_person_looks_after_their_grants_below_the_path_with_a_cookie_of_this_server(
    base: str, http: httpx2.Client
) -> None:
    left = http.get(f"{base}/grants")
    picker = http.get(left.headers["location"])
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', picker.text))
    action = re.findall(r'<form method="post" action="([^"]*)"', picker.text)[0]
    picked = http.post(urljoin(base, action), data=hidden | {"user_id": "alice"})
    back = http.get(picked.headers["location"])
    page = http.get(back.headers["location"])
    visited = [str(each.url) for each in (left, picker, picked, back, page)]
    assert [url for url in visited if not url.startswith(f"{base}/")] == []
    assert (page.status_code, page.url.path) == (200, f"{BASE_PATH}/grants")
    assert set(http.cookies) == {"auth-browser-tools", "auth-session-tools"}


def test_the_command_line_finds_the_endpoint_by_itself(tmp_path: Path, base: str) -> None:
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {"BASE_URI": base}
    child = start("token", [COMMAND, "token"], tmp_path, env)
    assert child.process.wait(60) == 0, child.tail()
