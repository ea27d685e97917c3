"""The options of `switchboard connect`, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from mcp.client.streamable_http import streamable_http_client

from switchboard.cli.client.server import endpoint, headers
from switchboard.cli.connect.bridge import Bridge
from switchboard.cli.connect.callback import SignInFailed
from switchboard.cli.connect.signin import SignIn
from switchboard.cli.connect.stdio import client
from switchboard.cli.connect.token_store import TokenFile, default_folder
from switchboard.cli.connect.web import WAIT_S, Web
from switchboard.cli.exit_codes import DONE, FAILED, ending_clearly, say

MOST_BYTES = 64 * 1024 * 1024
"""In one event of the server's stream."""


def connect(
    url: Annotated[str, typer.Argument(help="The server's endpoint, https://host/mcp.")],
    header: Annotated[list[str] | None, typer.Option(help="'Name: value' to send with each request.")] = None,
    token: Annotated[str | None, typer.Option(envvar="SWITCHBOARD_TOKEN", help="A bearer token: no sign-in.")] = None,
    browser: Annotated[bool, typer.Option(help="Open the browser to sign in, or only say where.")] = True,
    tokens: Annotated[Path | None, typer.Option(help="Folder that tokens are kept in.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget the tokens for this server, and end.")] = False,
    sign_in: Annotated[bool, typer.Option("--sign-in", help="Sign in if that is needed, and end.")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow plain http to another machine.")] = False,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds a message waits for a server that is not there.")
    ] = WAIT_S,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log to standard error.")] = False,
) -> None:
    """Be a stdio server that passes everything on to a remote one, for clients that speak only stdio."""
    with ending_clearly():
        server = endpoint(url, insecure=insecure)
        token_file = TokenFile(tokens or default_folder(), server)
        if forget:
            say(f"forgot the tokens for {server}" if token_file.forget() else f"there are no tokens for {server}")
            return
        logging.basicConfig(level=logging.INFO if verbose else logging.CRITICAL, stream=sys.stderr)
        sent = headers(header, token)
        signed_in = any(name.lower() == "authorization" for name in sent)
        auth = None if signed_in else SignIn(server, token_file, browser=browser, say=say)
        if sign_in:
            asyncio.run(_signed_in(server, sent, auth, patience))
            say(f"{server} takes the tokens in {token_file.file}" if auth else f"{server} takes what was given")
            return
        raise typer.Exit(DONE if asyncio.run(_bridged(server, sent, auth, patience)) else FAILED)


async def _bridged(url: str, headers: dict[str, str], auth: SignIn | None, patience: float) -> bool:
    """Whether the server ever answered."""
    async with client() as pipes:
        web = Web(url, headers=headers, auth=auth, lost=lambda: bridge.lose(), patience=patience)

        @asynccontextmanager
        async def opened() -> AsyncIterator[tuple[Any, Any]]:
            async with streamable_http_client(url, http_client=web, max_sse_event_size=MOST_BYTES) as streams:
                yield streams

        bridge = Bridge(pipes, opened, say)
        async with web:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, bridge.end)
            await bridge.run()
    return web.answered


async def _signed_in(url: str, headers: dict[str, str], auth: SignIn | None, patience: float) -> None:
    """Have the server take one request, whatever it says to it.

    Raises:
        SignInFailed: it does not.
    """
    accept = {"Accept": "application/json, text/event-stream"}
    async with Web(url, headers=headers, auth=auth, lost=lambda: None, patience=patience) as web:
        answer = await web.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=accept)
    if not web.answered:
        raise SignInFailed(str(answer.json()["error"]["message"]))
