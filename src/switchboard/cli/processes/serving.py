"""One worker in this process: uvicorn around the application, with clear start-up errors and a drain."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final, Protocol

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard import log as logs
from switchboard.cli.exit_codes import DONE, FAILED, STOPPING, exit_code, known_cause, say
from switchboard.cli.processes.graceful_shutdown import LINGER_S, close_door, repeating
from switchboard.cli.processes.sockets import explained
from switchboard.common.garbage import freeze_after_start, uncollected
from switchboard.common.http_bounds import SILENT_S, BoundedHttp
from switchboard.errors import SwitchboardError
from switchboard.settings import Settings

_IDLE_SECONDS = int(SILENT_S)
"""How long an unused connection stays open; longer than balancers keep theirs, which by default is a minute.

Whichever side closes first must not be this one: a request may be under way to it, and could not be repeated.
"""


CLOSE_S: Final = 30.0
"""What a worker has beyond DRAIN_TIMEOUT to close what it has open; one whose parent is asked waits less for it."""

log = structlog.get_logger(__name__)


class Application(Protocol):
    """What the composition root builds: an ASGI application that can be told to drain."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...

    @property
    def serving(self) -> bool:
        """Whether requests are served, and not only probes: it may have to wait for Redis first."""
        ...

    def drain(self) -> None:
        """Report the worker as not ready, and end what would never end by itself."""
        ...


def build_application(settings: Settings) -> Application:
    """Configure logging, and only then import and build the application, and with it the plugins."""
    logs.configure(settings.log_level, settings.log_format)
    with uncollected():
        app: Application = importlib.import_module("switchboard.app").build(settings)
    return app


def run_worker(settings: Settings, sockets: Sequence[socket.socket], started: Callable[[], None]) -> int:
    """Serve until a signal says stop; the exit code.

    Args:
        settings: what to serve.
        sockets: bound, shared with other workers or not.
        started: called once requests can be served.
    """
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    app = build_application(settings)
    guarded = _ClearStartup(app)
    grace = settings.drain_grace if settings.redis_url else 0
    server = _Server(uvicorn_config(guarded, settings), app, guarded, started, grace, alone=settings.workers == 1)
    try:
        server.run(sockets=list(sockets))
    except SystemExit as ending:
        if guarded.error is not None:
            say(str(guarded.error))
            return exit_code(guarded.error)
        return int(ending.code or DONE)
    except OSError as error:
        if server.started:
            raise
        raise explained(error, settings.host, settings.port) from None
    if guarded.error is not None:
        say(str(guarded.error))
        return exit_code(guarded.error)
    return FAILED if server.broken else DONE


def uvicorn_config(app: ASGIApp | str, settings: Settings, **more: Any) -> uvicorn.Config:
    """Uvicorn as we use it: our own bounds, proxy headers, access log and logging; no `Server` header."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="switchboard.common.resolver:Loop",
        http=BoundedHttp,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws_max_size=2 * settings.max_body_bytes,  # up to here it is closed properly; beyond, it is cut off
        ws_per_message_deflate=False,  # it holds memory for each connection, idle ones too
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=settings.drain_timeout,
        reset_contextvars=True,  # else a request that is sent ahead begins in the context of the one before
        **more,
    )


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Stop before the server runs, and after it has drained (uvicorn raises the signal again): both succeed."""
    sys.exit(DONE)


class _Server(uvicorn.Server):
    """Says when it serves, and lets the application drain before connections are closed."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: Application,
        guarded: _ClearStartup,
        started: Callable[[], None],
        grace: float,
        *,
        alone: bool,
    ) -> None:
        super().__init__(config)
        self._on_started = started
        self._app = app
        self._guarded = guarded
        self._told = False
        """Whether it was said that requests are served."""
        self._drain = app.drain
        self._grace = grace
        self._alone = alone
        self.broken = False
        """Whether the application ended by itself, so that it could answer nothing from then on."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._tell()

    def _tell(self) -> None:
        if not self._told and self._app.serving:
            self._told = True
            freeze_after_start()
            self._on_started()

    async def on_tick(self, counter: int) -> bool:
        stopping = await super().on_tick(counter)
        self._tell()
        ended = getattr(self.lifespan, "error_occurred", False) or self._guarded.error is not None
        self.broken = not stopping and ended
        return stopping or self.broken

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._drain()
        patient = self._grace > 0 and signal.SIGTERM in self._captured_signals
        if self._alone and signal.SIGINT in self._captured_signals:
            say(STOPPING)
        if patient:  # a person who presses Ctrl-C waits for nothing
            await asyncio.sleep(self._grace)
        async with repeating(self._drain):
            if patient:
                await close_door(self, sockets or [], LINGER_S, alone=self._alone)
            try:
                async with asyncio.timeout((self.config.timeout_graceful_shutdown or 0) + CLOSE_S):
                    await super().shutdown(sockets=sockets)
            except TimeoutError:  # what it waits for may never come
                log.error("worker.not_closed", within_s=CLOSE_S)
                logs.flush()
                os._exit(FAILED)


class _ClearStartup:
    """Keeps a known start-up error, so that its one line is all that is said; others keep their traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.error: SwitchboardError | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        held: list[Message] = []

        async def hold_failure(message: Message) -> None:
            if message["type"] in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
                held.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except Exception as error:  # the boundary of start-up: known errors become a line, others go on below
            self.error = known_cause(error)
            if self.error is None and not held:
                raise
        if self.error is not None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the line that is said is enough
        if held:  # of a known error without its traceback, which would be logged
            await send(held[0] if self.error is None else {**held[0], "message": ""})
        elif self.error is not None:
            await send({"type": "lifespan.startup.failed", "message": ""})
