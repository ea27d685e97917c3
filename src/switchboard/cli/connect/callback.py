"""The other end of a sign-in: a page on this machine that the browser is sent to with a code (RFC 8252 §7.3)."""

from __future__ import annotations

import asyncio
import html
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit

from mcp.shared.auth import AuthorizationCodeResult

from switchboard.errors import SwitchboardError

HOST: Final = "127.0.0.1"
PATH: Final = "/callback"
HEAD_BYTES: Final = 16 * 1024
SIGN_IN_S: Final = 600.0
"""For a person to sign in."""


class SignInFailed(SwitchboardError):
    """There is no token; the message says why."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[asyncio.Future[AuthorizationCodeResult]]:
    """Serve the page; the future is what the browser brings.

    Raises:
        SignInFailed: somebody else listens there.
    """
    brought: asyncio.Future[AuthorizationCodeResult] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            status, words = _read(head.split(b" ")[1].decode("latin-1"), brought)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ConnectionError):
            status, words = "400 Bad Request", "This is no request."
        page = f"<!doctype html><meta charset=utf-8><title>Switchboard</title><p>{html.escape(words)}</p>".encode()
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(page)}\r\n"
            "Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'\r\nReferrer-Policy: no-referrer\r\n"
            "Connection: close\r\n\r\n".encode()
            + page
        )
        writer.close()

    try:
        server = await asyncio.start_server(serve, HOST, port, limit=HEAD_BYTES)
    except OSError as error:
        raise SignInFailed(
            f"port {port}, to which the browser is to come back, is in use; end what uses it, or forget this "
            "registration with --forget"
        ) from error
    async with server:
        yield brought


def _read(target: str, brought: asyncio.Future[AuthorizationCodeResult]) -> tuple[str, str]:
    """The page's status and words for a request; what it brings is kept."""
    parts = urlsplit(target)
    said = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.path != PATH or not ("code" in said or "error" in said):
        return "404 Not Found", "There is nothing here."
    if "error" in said:
        reason = f"{said['error']} {said.get('error_description', '')}".strip()
        if not brought.done():
            brought.set_exception(SignInFailed(f"the authorization server refused: {reason}"))
        return "200 OK", f"Not signed in: {reason}. You may close this page."
    if not brought.done():
        brought.set_result(AuthorizationCodeResult(code=said["code"], state=said.get("state"), iss=said.get("iss")))
    return "200 OK", "You are signed in, and may close this page."
