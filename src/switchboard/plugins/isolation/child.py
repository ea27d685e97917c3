"""The process of one plugin: `python -m switchboard.plugins.isolation.child`, started by the gateway alone.

What is to be run comes over the channel. The process confines itself, and only then reads the plugin's code; it either
says what the plugin says of itself, and ends, or serves it on its standard streams until they are closed.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import structlog
from mcp.server.mcpserver import MCPServer
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ServerEvent

from switchboard.aio import background
from switchboard.common.process import shut
from switchboard.config import PluginSection
from switchboard.config.model import ENTRY_POINTS
from switchboard.errors import ConfigurationError
from switchboard.plugins.api import OpenStream, Plugin, PluginContext
from switchboard.plugins.discovery import PluginCode
from switchboard.plugins.isolation.channel import DESCRIPTOR, LONGEST, ChannelCredentials
from switchboard.plugins.isolation.parent import PERSON, described
from switchboard.plugins.isolation.sandbox import Confinement, confine
from switchboard.plugins.loading import PluginLoader, configured

_person: contextvars.ContextVar[str] = contextvars.ContextVar("switchboard_person", default="")


@dataclass
class ChildHost:
    """What a plugin in a process of its own finds of a host: its clients' streams are the gateway's."""

    worker: str
    server: MCPServer[Any]
    state: str = "redis"
    sessions: dict[int, Any] = field(default_factory=dict)
    """The gateway's sessions with this process, by identity."""

    def streams(self) -> Iterable[OpenStream]:
        """None."""
        return ()

    async def publish(self, event: ServerEvent) -> None:
        """Tell the gateway, which tells the clients."""
        for session in list(self.sessions.values()):
            with suppress(Exception):  # a session that ended
                if isinstance(event, ResourceUpdated):
                    await session.send_resource_updated(event.uri)
                elif isinstance(event, ResourcesListChanged):
                    await session.send_resource_list_changed()
                elif isinstance(event, PromptsListChanged):
                    await session.send_prompt_list_changed()
                else:
                    await session.send_tool_list_changed()


def main() -> None:
    """Do what the gateway says."""
    number = int(os.environ.pop(DESCRIPTOR))
    os.set_inheritable(number, False)
    shut()
    end = socket.socket(fileno=number)
    task = _first_line(end)
    lacking = confine(
        Confinement(
            readable=tuple(_code_paths(task)),
            writable=(task["folder"],),
            closed_ports=tuple(task["closed_ports"]),
            memory_mb=task["limits"]["memory_mb"],
            cpu_seconds=task["limits"]["cpu_seconds"],
            open_files=task["limits"]["open_files"],
        )
    )
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    os.environ.update(TMPDIR=task["folder"], HOME=task["folder"])
    section = PluginSection(config=task["config"])
    if task["describe"]:
        end.sendall(json.dumps(_said(task, section, lacking)).encode() + b"\n")
        return
    asyncio.run(_serve(end, task, section))


def _first_line(end: socket.socket) -> dict[str, Any]:
    """What is to be run; nothing but this line comes before the first question."""
    received = b""
    while not received.endswith(b"\n"):
        chunk = end.recv(65_536)
        if not chunk or len(received) > LONGEST:
            sys.exit("the gateway is gone")
        received += chunk
    found: dict[str, Any] = json.loads(received)
    return found


def _code(task: Mapping[str, Any]) -> PluginCode:
    if task["path"]:
        return PluginCode(task["name"], task["path"], task["module"], Path(task["path"]))
    (point,) = entry_points(group=ENTRY_POINTS, name=task["name"])
    return PluginCode(task["name"], task["where"], task["module"], point=point)


def _code_paths(task: Mapping[str, Any]) -> Iterator[str]:
    """The files of the plugin's own code."""
    if task["path"]:
        path = Path(task["path"])
        yield str(path.parent if path.name == "__init__.py" else path)
        return
    found = importlib.util.find_spec(task["module"].split(".")[0])
    if found is not None:
        yield from found.submodule_search_locations or ([found.origin] if found.origin else [])


def _said(task: Mapping[str, Any], section: PluginSection, lacking: tuple[str, ...]) -> dict[str, Any]:
    """What the plugin says of itself, or what is wrong with it."""
    try:
        code = _code(task)
        plugin = PluginLoader.declared(code, section, code.load())
        configured(plugin, section.config)
    except ConfigurationError as error:
        return {"failed": str(error)}
    return {"plugin": described(plugin), "lacking": lacking}


async def _serve(end: socket.socket, task: Mapping[str, Any], section: PluginSection) -> None:
    code = _code(task)
    plugin: Plugin = PluginLoader.declared(code, section, code.load())
    credentials = ChannelCredentials(*await asyncio.open_connection(sock=end, limit=LONGEST))
    logger = structlog.get_logger(f"switchboard.plugins.{plugin.name}")
    context: PluginContext[Any] = PluginContext(
        plugin.name, configured(plugin, section.config), logger, credentials, _person.get, plugin.auth
    )
    server = plugin.server if isinstance(plugin.server, MCPServer) else plugin.server(context)
    host = ChildHost(task["worker"], server)

    async def for_whom(ctx: Any, call_next: Any) -> Any:
        host.sessions[id(ctx.session)] = ctx.session
        meta = (ctx.params or {}).get("_meta") or {}
        token = _person.set(str(meta.get(PERSON, "")))
        try:
            return await call_next(ctx)
        finally:
            _person.reset(token)

    server.middleware.append(for_whom)
    async with background(credentials.listen()), AsyncExitStack() as stack:
        await plugin.start(context)
        stack.push_async_callback(plugin.stop, context)
        await stack.enter_async_context(plugin.running(host))
        await server.run_stdio_async()


if __name__ == "__main__":
    main()
