"""Whole processes keep the bounds of connections, and a request finds nothing of the one before."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from switchboard.cli.processes.serving import uvicorn_config
from switchboard.common.http_bounds import (
    BODY_S,
    HEAD_S,
    BoundedHttp,
)
from switchboard.settings import Settings
from tests.common.connections import GET, PATIENCE, answered, running
from tools.fleet.children import LOOPBACK, answers, free_port, start
from tools.fleet.workers import COMMAND

LIVING = "/.well-known/oauth-authorization-server"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[int]]:
    """The ports of a worker and of an authorization server that strangers can reach."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ports, children = [free_port(), free_port()], []
    for port, what in zip(ports, ("serve", "auth-server"), strict=True):
        env = kept | {"PORT": str(port), "AUTH_SERVER_PORT": str(port), "SECRET_KEY": "k" * 43}
        children.append(start(what, [COMMAND, what], tmp_path, env))
    for port, child in zip(ports, children, strict=True):
        child.wait_until(partial(answers, port, LIVING), 120)
    yield ports
    for child in children:
        child.stop()


def left_open(port: int, part: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), timeout=HEAD_S + BODY_S + PATIENCE)
    connection.sendall(part)
    return connection


def test_worker_and_authorization_server_close_what_strangers_leave_unfinished_and_go_on(
    processes: list[int],
) -> None:
    parts = (
        b"POST /token HTTP/1.1\r\nHost: localhost\r\nX-Half: ",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 100_000,
        b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: 4000\r\n\r\ngrant_type=",
        b"POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    )
    unfinished = [left_open(process, part) for process in processes for part in parts for _ in range(5)]
    for connection in unfinished:
        with connection, contextlib.suppress(ConnectionResetError):
            while connection.recv(65_536):
                pass
    assert all(answers(process, LIVING) for process in processes)


async def test_a_request_that_is_sent_ahead_finds_nothing_of_the_context_of_the_one_before() -> None:
    kept: ContextVar[str] = ContextVar("kept", default="nothing")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for said in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{said}.complete"})
            return
        found = kept.get()
        kept.set("something")
        await PlainTextResponse(f"found {found}")(scope, receive, send)

    settings = Settings(_env_file=None, host=LOOPBACK, port=free_port())
    last = GET.removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
    async with running(uvicorn_config(app, settings)):
        assert (await answered(settings.port, GET + last)).count(b"found nothing") == 2


def test_a_worker_serves_within_these_bounds() -> None:
    assert uvicorn_config("app", Settings(_env_file=None)).http is BoundedHttp
