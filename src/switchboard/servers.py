"""From the configuration to running providers, and on through every change of it.

Part of the composition root (`app.py`), in a file of its own because it is a subject of its own: `config` says what is
wanted, `sources` makes it ready, `backends` and `plugins` make providers, `gateway` serves them; none of these knows
the others. Plugins (`plugin_set`) are there at once. A server joins when it is ready, so one that is being
installed, or cannot be, keeps nobody waiting. What a change does not concern goes on as it is; what it does concern
serves until its successor can.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import structlog
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from switchboard.aio import Start, background
from switchboard.backend_configs import CredentialsOfServers, backend, server_key
from switchboard.backends import Backend, BackendProvider, errors
from switchboard.backends.health import Health
from switchboard.backends.offer.offer import BackendOffer
from switchboard.backends.offer.personal_offers import CONNECT
from switchboard.backends.trial import tried
from switchboard.catalog import Catalog, shapes
from switchboard.config import Configuration, ServerSection, provider_name
from switchboard.config.watching import WatchedConfiguration
from switchboard.errors import ConfigurationError, SwitchboardError, plainly
from switchboard.gateway import LiveCatalog, Provider, SelectedCatalog
from switchboard.plugin_set import ConfiguredPlugins
from switchboard.sources import SourceContext, prepare
from switchboard.sources.cache_health import INSTALLED
from switchboard.telemetry.metrics import SERVER_RESTARTS
from switchboard.vault_settings import call_rates

log = structlog.get_logger(__name__)

LISTS: Final = "/lists"
"""After a server's name in a notice, which no name of a server has in it."""

Phase = Literal["preparing", "running", "failed", "disabled"]

FIRST_PAUSE_S: Final = 5.0
MOST_TOLD: Final = 100
"""Connections to a server that are told of at once."""

LONGEST_PAUSE_S: Final = 300.0
"""Between attempts to prepare a server that failed."""


@dataclass
class ConfiguredServer:
    """One server of the configuration, in this worker."""

    name: str
    section: ServerSection
    key: str
    provider: Provider | None = None
    phase: Phase = "preparing"
    reason: str = ""
    pinned: str = ""
    steps: list[str] = field(default_factory=list)
    """The last lines of its preparation."""

    task: asyncio.Task[None] | None = None


class Servers:
    """What the configuration wants, kept running."""

    def __init__(
        self,
        live: LiveCatalog,
        source: SelectedCatalog,
        context: SourceContext,
        connect: Callable[[Backend, Provider | None], Provider],
        configuration: Configuration,
        plugins: ConfiguredPlugins,
        credentials: CredentialsOfServers,
        alone: Callable[[Backend], BackendProvider],
        *,
        fixed: tuple[Provider, ...] = (),
    ) -> None:
        """`live` must have the providers of `plugins`, and `fixed` after them.

        Args:
            connect: makes the provider of a backend, which may take the place of another.
            plugins: those of this configuration.
            credentials: makes what the requests to a backend carry.
            alone: makes the provider of a backend that is only tried.
            fixed: providers that no configuration speaks of.
        """
        self._live = live
        live.absent = self.absent
        live.left_out = plugins.note_failure
        self._source = source
        self._context = context
        self._connect = connect
        self._credentials = credentials
        self._alone = alone
        self._fixed = fixed
        self._configuration = configuration
        self.plugins = plugins
        self._applying = asyncio.Lock()
        self._servers: dict[str, ConfiguredServer] = {}
        self._start: Start | None = None
        self._publishing = asyncio.Lock()

    @property
    def servers(self) -> tuple[ConfiguredServer, ...]:
        """In the order of the configuration."""
        return tuple(self._servers.values())

    @asynccontextmanager
    async def running(self, watched: WatchedConfiguration | None = None) -> AsyncIterator[Servers]:
        """Prepare and start the servers, and follow changes of the configuration."""
        async with background() as start:
            self._start = start
            self._want(self._configuration)
            if watched is not None:
                start(watched.follow(self.apply))
            yield self

    async def apply(self, configuration: Configuration) -> None:
        """Bring a new configuration into force: build the next, swap, stop the old.

        Raises:
            ConfigurationError: it enables a plugin that is not there; then nothing has changed.
        """
        async with self._applying:
            await self._change_plugins(configuration)
            self._source.change(configuration.presets, configuration.tool_search)
            self._want(configuration)
            await self._publish()
            log.info("configuration.applied", digest=configuration.digest, servers=len(self._servers))

    async def reload(self, names: Collection[str]) -> bool:
        """Read the code of enabled plugins again, and make them anew; whether there is one of these names.

        Raises:
            ConfigurationError: an enabled plugin is not there any more; then nothing has changed.
        """
        async with self._applying:
            wanted = {each.name for each in self.plugins if each.section.enabled} & set(names)
            if wanted:
                await self._change_plugins(self._configuration, anew=wanted)
                log.info("plugins.reloaded", plugins=sorted(wanted))
            return bool(wanted)

    @property
    def installs(self) -> bool:
        """Whether a server is wanted that has to be installed."""
        return any(server.section.source in INSTALLED and server.section.enabled for server in self._servers.values())

    def tell(self) -> dict[str, Any]:
        """How the servers are doing in this worker, as a document."""
        return {
            "digest": self._configuration.digest,
            "plugins": [each.shown() for each in self.plugins],
            "servers": [
                *(shown(each, self._live.current()) for each in self._servers.values()),
                *_refused(self._configuration, self._live.current()),
            ],
        }

    async def tried(self, name: str, section: ServerSection, seconds: float) -> tuple[Health, BackendOffer]:
        """Start or reach a server that is of no configuration, with no credential, to see whether it answers.

        Raises:
            SwitchboardError: it cannot be started.
        """
        launch = None if section.source == "url" else await prepare(name, section, self._context)
        return await tried(self._alone(backend(name, section, launch)), seconds)

    def connections(self, name: str) -> list[dict[str, Any]]:
        """What this worker has open to a server, as documents; see `Connection.tell`."""
        provider = self._servers[name].provider if name in self._servers else None
        return provider.pool.tell(MOST_TOLD) if isinstance(provider, BackendProvider) else []

    def absent(self, exposed: str) -> MCPError | None:
        """Why a tool of a plugin that failed, or of a server that has offered nothing yet, is unknown; else `None`."""
        for plugin in self.plugins:
            if plugin.phase == "failed" and exposed.startswith(f"{plugin.name}{self._configuration.separator}"):
                return MCPError(INTERNAL_ERROR, f"Plugin {plugin.name!r} has failed; its operator can see why")
        for server in self._servers.values():
            if not exposed.startswith(f"{server.name}{self._configuration.separator}"):
                continue
            if (why := _why_absent(server)) is not None:
                return errors.unavailable(server.name, why, sent=False)
            if exposed == f"{server.name}{self._configuration.separator}{CONNECT}" and _is_personal(server):
                return errors.unavailable(server.name, "an account is connected: list the tools anew", sent=False)
        return None

    def warnings(self) -> tuple[str, ...]:
        """What is wrong with plugins in this worker."""
        failed = (f"the plugin {each.name} has failed: {each.problem}" for each in self.plugins if each.problem)
        return (
            *failed,
            *(f"the process of the plugin {each.name}: {note}" for each in self.plugins for note in each.notes),
        )

    def account_changed(self, digest: str, name: str) -> None:
        """A person, given as a digest, connected an account at a server or ended it; both empty: any may have.

        With `LISTS` after the server's name: what it offers to that person changed.
        """
        for server in self._servers.values():
            provider = server.provider
            if isinstance(provider, BackendProvider) and name in ("", server.name):
                provider.account_changed(digest)
            elif isinstance(provider, BackendProvider) and name == server.name + LISTS and provider.personal:
                provider.personal.forget(digest)

    def restart(self, name: str) -> bool:
        """Start a server anew, also one that failed for good; whether there is one of that name."""
        server = self._servers.get(name)
        if server is None or server.phase == "disabled":
            return False
        SERVER_RESTARTS.add(name)
        server.key = ""
        self._want(self._configuration)
        return True

    # -- servers --------------------------------------------------------------------------------------------------

    def _want(self, configuration: Configuration) -> None:
        """Note what is wanted, and begin to prepare what is new or changed."""
        before, self._servers = self._servers, {}
        for written, section in configuration.servers.items():
            name = provider_name(written)
            key = server_key(section)
            server = before.pop(name, None)
            if server is None or server.key != key or section.enabled is (server.phase == "disabled"):
                server = self._begun(ConfiguredServer(name, section, key), server)
            server.section = section
            self._servers[name] = server
        for gone in before.values():
            _cancel(gone)
            self._credentials.forget(gone.name)

    def _begun(self, server: ConfiguredServer, before: ConfiguredServer | None) -> ConfiguredServer:
        if before is not None:
            _cancel(before)
        if not server.section.enabled:
            server.phase = "disabled"
            self._credentials.forget(server.name)
        elif self._start is not None:
            server.provider = before.provider if before is not None else None  # serves until its successor can
            server.task = self._start(self._keep_preparing(server))
        return server

    async def _keep_preparing(self, server: ConfiguredServer) -> None:
        pause, said = FIRST_PAUSE_S, ""
        while True:
            server.phase, server.reason = "preparing", ""
            try:
                await self._prepare(server)
                return
            except SwitchboardError as error:
                server.phase, server.reason = "failed", str(error)
                if str(error) != said:
                    log.error("server.failed", server=server.name, reason=str(error), again_s=round(pause))
                said = str(error)
            except Exception as error:  # a boundary: one server's failure is not the others'
                server.phase, server.reason = "failed", f"{type(error).__name__}: {plainly(error)}"
                log.exception("server.failed", server=server.name)
            await asyncio.sleep(pause * (0.75 + random.random() / 2))  # noqa: S311 (jitter)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _prepare(self, server: ConfiguredServer) -> None:
        launch = None
        if server.section.source != "url":
            launch = await prepare(server.name, server.section, self._context_of(server))
            server.pinned = launch.pinned
        credentials = self._credentials.of(server.name, server.section)
        before, described = server.provider, backend(server.name, server.section, launch, credentials)
        server.provider = self._connect(described, before)
        try:
            await self._publish()
        except ConfigurationError:
            server.provider = before
            raise
        server.phase = "running"
        log.info("server.ready", server=server.name, pinned=server.pinned)

    def _context_of(self, server: ConfiguredServer) -> SourceContext:
        def say(name: str, step: str) -> None:
            server.steps = [*server.steps[-49:], step]
            self._context.say(name, step)

        return SourceContext(
            self._context.cache, self._context.environment, self._context.base, say, self._context.python
        )

    # -- plugins --------------------------------------------------------------------------------------------------

    async def _change_plugins(self, configuration: Configuration, *, anew: Collection[str] = ()) -> None:
        """Make what is new or changed, and start one after the other; one that does not start changes nothing else."""
        before = self.plugins.providers
        made = await self.plugins.made(configuration, anew=anew)
        self._configuration = configuration
        new = {name: each for name, each in made.items() if each.provider not in (None, before.get(name))}
        self.plugins.adopt(
            {name: replace(each, provider=before.get(name)) if name in new else each for name, each in made.items()}
        )
        for name, each in new.items():
            self.plugins.put(each)
            try:
                await self._publish()
            except ConfigurationError as error:
                self.plugins.note_failure(name, str(error), before.get(name))
        if not new:
            await self._publish()

    async def _publish(self) -> None:
        """Have the gateway serve what there is now, in the order of the configuration."""
        async with self._publishing:
            configuration = self._configuration
            joined = [server.provider for server in self._servers.values() if server.provider is not None]
            exposures: dict[str, Any] = {
                **configuration.plugins,
                **{provider_name(name): section for name, section in configuration.servers.items()},
            }
            self._live.calls.configure(call_rates(configuration))
            await self._live.replace(
                [*self.plugins.providers.values(), *self._fixed, *joined],
                separator=configuration.separator,
                shapes=shapes(exposures),
            )


def _refused(configuration: Configuration, catalog: Catalog) -> list[dict[str, Any]]:
    """The rows that are wrong, as documents of the same shape; one that keeps its earlier row is told by that."""
    return [
        shown(
            ConfiguredServer(provider_name(name), ServerSection.model_construct(), "", None, "failed", row.reason),
            catalog,
        )
        for name, row in configuration.broken.items()
        if name not in configuration.servers
    ]


def _why_absent(server: ConfiguredServer) -> str | None:
    has_tools = isinstance(server.provider, BackendProvider) and server.provider.last_offer().tools
    if server.phase == "disabled" or has_tools:
        return None
    if server.phase == "failed":
        return f"it could not be made ready: {server.reason}"
    if not isinstance(server.provider, BackendProvider):
        return "it is being made ready" + (f": {server.steps[-1]}" if server.steps else "")
    health = server.provider.health
    told = {"starting": "it has not started yet", "failing": f"it has not started yet: {health.reason}"}
    return told.get(health.condition)


def _is_personal(server: ConfiguredServer) -> bool:
    return isinstance(server.provider, BackendProvider) and server.provider.personal is not None


def _cancel(server: ConfiguredServer) -> None:
    if server.task is not None and not server.task.done():
        server.task.cancel()


def shown(server: ConfiguredServer, catalog: Catalog) -> dict[str, Any]:
    """How a server is doing in this worker, as a document."""
    backend = server.provider if isinstance(server.provider, BackendProvider) else None
    return {
        "name": server.name,
        "source": server.section.source,
        "phase": server.phase,
        "condition": backend.health.condition if backend else "",
        "reason": server.reason or (backend.health.reason if backend else ""),
        "pinned": server.pinned,
        "connections": len(backend.pool) if backend else 0,
        "notes": list(_notes(server, catalog)),
        "steps": server.steps,
        "stderr": list(backend.pool.stderr_tail) if backend else [],
    }


def _notes(server: ConfiguredServer, catalog: Catalog) -> Iterator[str]:
    """What of its offer clients see otherwise than it says, or not at all, and why."""
    unoffered = server.provider.last_offer().unoffered if isinstance(server.provider, BackendProvider) else ()
    for one in unoffered:
        yield f"{one.kind}: {one.name!r}: {one.reason}"
    for rejected in catalog.rejected:
        if rejected.provider == server.name:
            yield f"{rejected.kind}: {rejected.name!r}: {rejected.reason}"
    for renamed in catalog.renamed:
        if renamed.provider == server.name:
            yield f"{renamed.kind}: {renamed.name!r} is offered as {renamed.exposed!r}"
