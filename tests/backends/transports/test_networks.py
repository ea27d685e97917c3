"""Networks that a company has: a proxy on the way out, and a certification authority of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp_types import TextContent

from switchboard.backends import Backend, Http, Patience
from switchboard.backends.transports.http_client import HttpClient, Target, Timeouts
from tests.backends.conftest import Open
from tools.fleet.certificates import Certificate, self_made

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
QUICK = Patience(start=3, call=3, stop=0.5)
NOWHERE = "http://tools.invalid/mcp"
"""RFC 6761 §6.4: no resolver finds it, so that only a proxy can."""


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return self_made(tmp_path)


@asynccontextmanager
async def forwarding(to: int, heads: list[bytes], context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Pass connections on to a port of this machine, and keep the first line of each."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", to)
        first = await reader.readline()
        heads.append(first)
        outer.write(first)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pump(reader, outer))
                tasks.create_task(pump(inner, writer))
        except* ConnectionError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echoed(open_gateway: Open, url: str, **options: Any) -> str:
    """What a tool behind the URL says; else why there is none."""
    backend = Backend("far", Http((url,), era="modern", **options), patience=QUICK)
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        found = opened.providers["far"]
        await opened.until(lambda: found.health.condition in ("ready", "failing"))
        if found.health.condition == "failing":
            return str(found.health.reason)
        content = (await client.call_tool("far__echo", {"text": "over there"})).content[0]
        assert isinstance(content, TextContent)
        return content.text


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_a_backend_is_reached_through_the_proxy_of_the_environment(
    handy: Any, serving: Any, open_gateway: Open, monkeypatch: pytest.MonkeyPatch, variable: str, scheme: str
) -> None:
    heads: list[bytes] = []
    app = handy.server().streamable_http_app(host="tools.invalid")
    async with serving(app) as port, forwarding(port, heads) as proxy:
        monkeypatch.setenv(variable, f"{scheme}127.0.0.1:{proxy}")
        assert await echoed(open_gateway, NOWHERE, insecure=True) == "over there"
    assert heads
    assert {head.split()[1] for head in heads} == {NOWHERE.encode()}


async def test_no_proxy_is_asked_for_what_is_excepted(
    handy_http: Any, serving: Any, open_gateway: Open, monkeypatch: pytest.MonkeyPatch, free_ports: list[int]
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_ports[0]}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert await echoed(open_gateway, handy_http().urls[0]) == "over there"


async def test_a_backend_is_trusted_by_the_certificate_authority_of_the_environment(
    handy: Any, serving: Any, open_gateway: Open, monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    async with serving(handy.server().streamable_http_app()) as port, forwarding(port, [], context) as tls:
        url = f"https://localhost:{tls}/mcp"
        assert "certificate verify failed" in await echoed(open_gateway, url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
        assert await echoed(open_gateway, url) == "over there"


async def test_a_request_given_up_while_it_connects_leaves_no_socket_to_those_after_it(
    monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        target = Target.of(httpx2.URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        client = HttpClient()
        for turns in range(60):
            request = asyncio.create_task(client.send(target, b"GET", b"", b"", Timeouts(read=5)))
            for _ in range(turns):
                await asyncio.sleep(0)
            request.cancel()
            with suppress(asyncio.CancelledError):
                assert (await request).status == 204
            client.close()
            client = HttpClient()
