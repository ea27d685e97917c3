"""Which server a command talks to, and how it is signed in there: the options that such commands share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from switchboard.aio import first_error
from switchboard.common.hosts import is_loopback
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.settings import load_settings

Url = Annotated[str | None, typer.Option(help="The endpoint, https://host/mcp [BASE_URI/mcp].")]
Token = Annotated[str | None, typer.Option(envvar="SWITCHBOARD_TOKEN", help="A bearer token: no sign-in.")]
Header = Annotated[list[str] | None, typer.Option(help="'Name: value' to send with each request, several times.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Allow plain http to another machine.")]
Browser = Annotated[bool, typer.Option(help="Open the browser to sign in, or only say where.")]

CLIENT_NAME: Final = "switchboard"


class CallFailed(SwitchboardError):
    """The server refused, or answered with an error."""


def endpoint(url: str | None, *, insecure: bool) -> str:
    """The endpoint of a server; this machine's own where none is named. A URL without a path gets `/mcp`.

    Raises:
        ConfigurationError: it is no URL of http or https, or plain http to another machine.
    """
    url = url or load_settings().mcp_url
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url!r} is not an http or https URL")
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"plain http to {parts.hostname} can be read and changed on the way; use https, or --insecure"
        )
    return url if parts.path.strip("/") else url.rstrip("/") + "/mcp"


def headers(lines: Iterable[str] | None, token: str | None) -> dict[str, str]:
    """The headers that a person named, and the one of a token.

    Raises:
        ConfigurationError: a line is not `Name: value`.
    """
    found = {} if token is None else {"Authorization": f"Bearer {token}"}
    for line in lines or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not (name + value).isprintable():
            raise ConfigurationError(f"--header {name.strip()!r}: give it as 'Name: value'")
        found[name.strip()] = value.strip()
    return found


@asynccontextmanager
async def opened(url: str, sent: dict[str, str], *, browser: bool, **client: Any) -> AsyncIterator[Any]:
    """The SDK's client of a server, connected; it signs in as `switchboard connect` does, with the same tokens.

    Args:
        client: what else the SDK's `Client` is told.

    Raises:
        CallFailed: the server refuses, or cannot be reached.
    """
    from mcp import Client, MCPError  # it takes half a second to import, and --help needs none of it
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types import Implementation

    from switchboard import __version__
    from switchboard.cli.connect.signin import SignIn
    from switchboard.cli.connect.token_store import TokenFile, default_folder
    from switchboard.cli.connect.web import Web
    from switchboard.cli.exit_codes import say

    signed_in = any(name.lower() == "authorization" for name in sent)
    auth = None if signed_in else SignIn(url, TokenFile(default_folder(), url), browser=browser, say=say)
    async with Web(url, headers=sent, auth=auth, lost=lambda: None, patience=0) as web:
        info = Implementation(name=CLIENT_NAME, version=__version__)
        transport = streamable_http_client(url, http_client=web)
        try:
            async with Client(transport, client_info=info, **client) as connected:
                yield connected
        except* MCPError as group:
            error: Any = first_error(group)
            raise CallFailed(error.error.message) from None
