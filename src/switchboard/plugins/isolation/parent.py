"""The gateway's end of a plugin's process: what it is told, how it is started, and what it says of its plugin."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

from switchboard.common import strict_json
from switchboard.common.process import bare
from switchboard.config import PluginSection
from switchboard.errors import PluginFailure
from switchboard.outbound_auth.connectables import CredentialField
from switchboard.plugins.api import AuthRequirement, Plugin, PluginContext
from switchboard.plugins.discovery import PluginCode
from switchboard.plugins.isolation.channel import DESCRIPTOR, LONGEST

PERSON: Final = "switchboard/person"
"""The key in `_meta` by which the gateway tells a plugin's process whose request it is."""

COMMAND: Final = (sys.executable, "-m", "switchboard.plugins.isolation.child")

DESCRIBE_S: Final = 30.0
"""What a plugin's process has to say what its plugin is."""


@dataclass(frozen=True)
class PluginProcess:
    """How one plugin is run in a process.

    Args:
        folder: of the plugin's own; the only one that it can write to, made when it is needed.
        closed_ports: what it must not connect to.
        worker: the id of this worker.
    """

    code: PluginCode
    section: PluginSection
    folder: Path
    closed_ports: tuple[int, ...] = ()
    worker: str = ""

    def task(self, *, describe: bool = False) -> dict[str, Any]:
        """What the process is told over the channel; its configuration may hold secrets."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return {
            "name": self.code.name,
            "module": self.code.module,
            "path": str(self.code.path.resolve()) if self.code.path else "",
            "where": self.code.where,
            "config": dict(self.section.config),
            "limits": self.section.limits.model_dump(),
            "folder": str(self.folder.resolve()),
            "closed_ports": self.closed_ports,
            "worker": self.worker,
            "describe": describe,
        }

    async def described(self) -> tuple[Plugin, tuple[str, ...]]:
        """What the plugin says of itself, and what its process cannot be kept from here.

        Raises:
            PluginFailure: its code fails, or its configuration does not fit.
        """
        try:
            async with asyncio.timeout(DESCRIBE_S):
                answer = await self._answer()
        except TimeoutError:
            raise PluginFailure(f"plugins.{self.code.name}: it cannot be read within {DESCRIBE_S:g} s") from None
        try:
            if "failed" in answer:
                raise PluginFailure(str(answer["failed"]))
            plugin, lacking = plugin_from(answer["plugin"]), tuple(map(str, answer["lacking"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable() from error
        if plugin.name != self.code.name:  # its code may answer by itself; by its name it gets at its credentials
            raise PluginFailure(
                f"plugins.{self.code.name}: the plugin calls itself {plugin.name!r}; the names must be equal"
            )
        return plugin, lacking

    def _unreadable(self) -> PluginFailure:
        return PluginFailure(f"plugins.{self.code.name}: what its process says of it cannot be understood")

    async def _answer(self) -> Mapping[str, Any]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={**bare(os.environ), DESCRIPTOR: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=LONGEST)
        try:
            writer.write(json.dumps(self.task(describe=True)).encode() + b"\n")
            said, (_, errors) = await asyncio.gather(reader.readline(), process.communicate())
        finally:
            writer.close()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if not said:
            last = (errors or b"").decode(errors="replace").strip().splitlines()[-1:]
            raise PluginFailure(
                f"plugins.{self.code.name}: its process ended with {process.returncode}: {' '.join(last)}"
            )
        try:
            answer: Mapping[str, Any] = strict_json.read_object(said)
        except ValueError as error:
            raise self._unreadable() from error
        return answer


def described(plugin: Plugin) -> dict[str, Any]:
    """What a plugin says of itself, as JSON."""
    auth = asdict(plugin.auth) if plugin.auth else None
    return {
        "name": plugin.name,
        "version": plugin.version,
        "description": plugin.description,
        "dependencies": plugin.dependencies,
        "auth": auth,
    }


def plugin_from(said: Mapping[str, Any]) -> Plugin:
    """The plugin that says so of itself, without its code."""
    auth = said["auth"]
    requirement = None
    if auth is not None:
        fields = tuple(CredentialField(**each) for each in auth["fields"])
        requirement = AuthRequirement(auth["kind"], fields, auth["provider"], tuple(auth["scopes"]))
    return Plugin(
        str(said["name"]),
        str(said["version"]),
        partial(_elsewhere, said["name"]),
        description=str(said["description"]),
        dependencies=tuple(said["dependencies"]),
        auth=requirement,
    )


def _elsewhere(name: str, _context: PluginContext[Any]) -> NoReturn:
    raise TypeError(f"{name} runs in a process of its own")
