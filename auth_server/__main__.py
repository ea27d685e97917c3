"""`python -m auth_server`: the authorization server as a process of its own; with arguments, what an operator does."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import httpx2
import structlog
import uvicorn

from auth_server.app import AuthorizationServer
from auth_server.connectors.provider_check import announce
from auth_server.environment import Environment, read
from auth_server.http.standalone_middleware import StandaloneMiddleware, own_hosts
from auth_server.operations import operate, parsed
from switchboard import log as logs
from switchboard.common.garbage import freeze_after_start
from switchboard.common.http_bounds import BoundedHttp
from switchboard.common.process import shut
from switchboard.common.resolver import Loop
from switchboard.errors import ConfigurationError, SwitchboardError
from switchboard.state import awaiting_redis, join

log = structlog.get_logger("auth_server")

_WRONG_SETTING = 2
_UPSTREAM_TIMEOUT = 10.0


def main(arguments: Sequence[str] = ()) -> None:
    """Read the settings, and serve until told to stop; or do what the arguments say.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    asked = parsed(arguments)
    signal.signal(signal.SIGTERM, _leave)
    settings = read()
    logs.configure(settings.log_level, settings.log_format)
    if asked.action == "serve":
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(_serve(settings))
    else:
        sys.stdout.write(asyncio.run(operate(settings, asked)) + "\n")


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Stop before the server runs, and after it has ended (uvicorn raises the signal again): both succeed."""
    sys.exit(0)


async def _serve(settings: Environment) -> None:
    async with (
        settings.opened() as state,
        httpx2.AsyncClient(timeout=_UPSTREAM_TIMEOUT) as http,
    ):
        await awaiting_redis(lambda: join(state, settings.auth.secret_keys))
        server = AuthorizationServer.over(settings.auth, state, http)
        await announce(settings.auth, http)
        freeze_after_start()
        log.info("server.started", issuer=settings.auth.issuer, state=state.kind, port=settings.auth_server_port)
        await uvicorn.Server(_uvicorn(settings, server)).serve()


def _uvicorn(settings: Environment, server: AuthorizationServer) -> uvicorn.Config:
    return uvicorn.Config(
        StandaloneMiddleware(
            server.app(), settings.auth, (*own_hosts(settings.auth, settings.listens_on), *settings.allowed_hosts)
        ),
        host=settings.listens_on,
        port=settings.auth_server_port,
        http=BoundedHttp,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_graceful_shutdown=5,
        reset_contextvars=True,  # else a request that is sent ahead begins in the context of the one before
    )


if __name__ == "__main__":
    shut()
    try:
        main(sys.argv[1:])
    except SwitchboardError as error:
        sys.stderr.write(f"auth_server: {error}\n")
        sys.exit(_WRONG_SETTING if isinstance(error, ConfigurationError) else 1)
