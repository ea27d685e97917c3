"""`/metrics` on a port of its own, without a token: for those who can reach it, which is this machine unless told else.

All worker processes listen on the port at once (SO_REUSEPORT), and whichever takes a request answers for all. So it is
served as long as one of them lives.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.aio import task_group
from switchboard.common.hosts import is_loopback, split_host
from switchboard.errors import ConfigurationError
from switchboard.telemetry.exposition import PATH

GRACE_S: Final = 5
"""How long a worker that ends finishes what it is asked here."""


class LocalNames:
    """Serves only what was sent to this machine by a name of its own, and by no page of a browser.

    A page elsewhere could have a name of its own lead to a loopback address, and read what is open here.
    """

    def __init__(self, app: ASGIApp, is_local: Callable[[str], bool]) -> None:
        self._app = app
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if "origin" in headers or not self._is_local(headers.get("host", "")):
            refused = "Metrics are told to programs on this machine: use localhost, without an Origin header\n"
            await Response(refused, 421, media_type="text/plain")(scope, receive, send)
        elif scope["path"] != PATH:
            await Response("Metrics are at /metrics\n", 404, media_type="text/plain")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


@asynccontextmanager
async def listening(app: ASGIApp, host: str, port: int) -> AsyncIterator[None]:
    """Serve the metrics there, for as long as the context is open.

    Raises:
        ConfigurationError: something else listens there.
    """
    local = is_loopback(host)
    config = uvicorn.Config(
        LocalNames(app, _is_local if local else lambda _host: True),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    with _bound(host, port) as bound:
        async with task_group() as group:  # which waits: who is asked as it ends finishes the answer
            group.create_task(server.serve([bound]))
            yield
            server.should_exit = True


class _Server(uvicorn.Server):
    """Leaves signals to the server of the worker."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _is_local(host: str) -> bool:
    parts = split_host(host)
    return parts is not None and is_loopback(parts[0])


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(address)
            yield bound
    except OSError as error:
        raise ConfigurationError(f"METRICS_PORT: cannot listen on {host} port {port}: {error.strerror}") from error
