"""Driver of the official Python SDK: its client with its OAuth provider. `python -m tools.lab.python_sdk URL`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qsl, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

from tools.fleet.tokens import MemoryTokenStorage
from tools.lab.calls import Told, call_all, told
from tools.lab.company import id_jag

CLOSED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\ndone\n"


class Callback:
    """The client's redirect URI on loopback, and the browser that is sent away to come back there."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take what a browser brings back."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
            yield

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode("latin-1")
        self.arrived.put_nowait(dict(parse_qsl(urlsplit(line.split()[1]).query)))
        writer.write(CLOSED)
        await writer.drain()
        writer.close()

    async def leave(self, url: str) -> None:
        """Open the browser, and let it go on by itself."""
        self._browser = await asyncio.create_subprocess_exec(os.environ["BROWSER"], url)

    async def result(self) -> AuthorizationCodeResult:
        """What came back."""
        back = await self.arrived.get()
        if "code" not in back:
            raise RuntimeError(f"the authorization server answered {back.get('error', 'without a code')}")
        return AuthorizationCodeResult(code=back["code"], state=back.get("state"), iss=back.get("iss"))


def _authorized_by(url: str, known: Told, callback: Callback) -> httpx2.Auth:
    """The SDK's provider that fits what the client is told."""
    storage = MemoryTokenStorage()
    if known.company:
        assertion = partial(id_jag, known)
        return IdentityAssertionOAuthProvider(url, storage, known.client, known.secret, known.issuer, assertion)
    if known.machine:
        return ClientCredentialsOAuthProvider(url, storage, known.client, known.secret, issuer=known.issuer)
    if known.client:
        storage.client = OAuthClientInformationFull(
            client_id=known.client, redirect_uris=[callback.url], issuer=known.issuer
        )
    return OAuthClientProvider(
        server_url=url,
        client_metadata=OAuthClientMetadata(redirect_uris=[callback.url], client_name="official Python SDK"),
        storage=storage,
        client_metadata_url=known.document or None,
        redirect_handler=callback.leave,
        callback_handler=callback.result,
    )


async def main(url: str) -> None:
    """Connect and call."""
    callback, known = Callback(), told()
    async with callback.listening():
        provider = _authorized_by(url, known, callback)
        async with (
            httpx2.AsyncClient(auth=provider, timeout=60, follow_redirects=True) as http,
            Client(streamable_http_client(url, http_client=http), mode="legacy" if known.legacy else "auto") as client,
        ):
            await call_all(client)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
