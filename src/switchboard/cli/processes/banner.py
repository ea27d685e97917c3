"""What a person sees when the server is up: where it is, what it runs on, and how to try it."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import structlog
import typer

from switchboard import log as logs
from switchboard.config import read
from switchboard.config.layers import OVERRIDES, variables
from switchboard.config.model import DEMO
from switchboard.settings import Settings

log = structlog.get_logger(__name__)

INSPECTOR = "npx @modelcontextprotocol/inspector@2.12.0"


def show(settings: Settings) -> None:
    """A screen on a terminal, one event in a log that machines read."""
    if logs.is_console(settings.log_format):
        typer.echo(screen(settings), err=True)
    else:
        log.info("server.started", url=settings.mcp_url, state=_state(settings), auth=settings.auth_mode)


def screen(settings: Settings) -> str:
    """The start screen as text."""
    rows = (
        ("MCP endpoint", settings.mcp_url),
        ("listens on", f"{settings.host} port {settings.port}, {_plural(settings.workers, 'worker')}"),
        ("state", f"{_state(settings)}{_state_note(settings)}"),
        ("authorization", _authorization(settings)),
        ("try it", f"{INSPECTOR} --server-url {settings.mcp_url} --transport http"),
    )
    more = (*_demo_row(settings), *_token_row(settings))
    lines = "\n".join(f"  {name:<18}{value}" for name, value in (*rows, *more))
    return f"\n  Switchboard {version('mcp-switchboard')}\n\n{lines}\n\n  Ctrl-C ends it\n"


def _state(settings: Settings) -> str:
    return "redis" if settings.redis_url else "memory://"


def _state_note(settings: Settings) -> str:
    return "" if settings.redis_url else "   (this process only; set REDIS_URL for more)"


def _authorization(settings: Settings) -> str:
    if settings.auth_mode == "none":
        return "none: everybody who reaches this port may call"
    if settings.auth_mode == "separate":
        return f"separate, at {settings.auth_server_url}"
    people = {
        "fake": "with the fake identity provider: sign in as anyone",
        "github": "people sign in at GitHub",
        "oidc": f"people sign in at {settings.upstream_issuer}",
    }
    return f"integrated, {people[settings.upstream]}"


def _token_row(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Only at the fake identity provider can a command sign somebody in."""
    if settings.auth_mode != "integrated" or settings.upstream != "fake":
        return ()
    return (("or get a token", f"{_command()} token --user alice --url {settings.mcp_url}"),)


def _command() -> str:
    """How a person at this terminal calls the command."""
    if shutil.which("switchboard") is not None:
        return "switchboard"
    beside = Path(sys.executable).with_name("switchboard")
    if not beside.exists():
        return f"{sys.executable} -m switchboard"
    return os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside)


def _demo_row(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Where the demo went, once there are servers of one's own."""
    known = {**variables(os.environ), OVERRIDES: settings.config_overrides}
    configuration = read(settings.config_file, known)
    demo = configuration.plugins.get(DEMO)
    if not configuration.servers or (demo is not None and demo.enabled):
        return ()
    return (
        ("demo toolset", f"not offered beside your servers; `plugins: {{{DEMO}: {{}}}}` in the file brings it back"),
    )


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
