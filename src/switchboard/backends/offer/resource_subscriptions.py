"""Following a backend between calls: the lists that change, and the resources that clients subscribed to.

Who subscribed is read from the streams that clients hold open on this worker, in either era: a subscription is worth
something only where there is a stream to tell of it. So each worker follows what its own clients want, and a client
that moves to another worker takes its subscriptions along.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Protocol

import anyio
import structlog
from mcp.client.subscriptions import SubscriptionLost, listen
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated

from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.inbound import InboundListener
from switchboard.protocol.changes import KINDS

log = structlog.get_logger("switchboard.backends")

SUBSCRIPTIONS_READ_S: Final = 1.0
RELISTEN_S: Final = 1.0
RESOURCES_FOLLOWED: Final = 1_000
"""Resources of one backend that are followed."""


class Stream(Protocol):
    """A stream that a client holds open: the part of it that matters here."""

    @property
    def subscriptions(self) -> frozenset[str]:
        """The resource URIs the client subscribed to."""
        ...


class StreamHost(Protocol):
    """The streams of this worker."""

    def streams(self) -> Iterable[Stream]:
        """The streams open on this worker now."""
        ...


class ClientSubscriptions:
    """What the clients of this worker are subscribed to: read twice a second at most, for all backends together."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._fresh_until = 0.0

    def uris(self, host: StreamHost) -> frozenset[str]:
        """All of them, whoever's resources they are."""
        now = asyncio.get_running_loop().time()
        if now >= self._fresh_until:
            self._known = frozenset().union(*(stream.subscriptions for stream in host.streams()))
            self._fresh_until = now + SUBSCRIPTIONS_READ_S / 2
        return self._known


class WantedResources:
    """The resources of one backend that are to be followed."""

    def __init__(self) -> None:
        self.uris: frozenset[str] = frozenset()
        self.changed = asyncio.Event()
        self._some = asyncio.Event()
        self._none = asyncio.Event()

    async def some(self) -> None:
        """Wait until there is one."""
        await self._some.wait()

    async def none(self) -> None:
        """Wait until there is none."""
        await self._none.wait()

    def become(self, uris: frozenset[str]) -> None:
        """Follow these from now on, as far as they are not too many."""
        wanted = frozenset(sorted(uris)[:RESOURCES_FOLLOWED])
        if wanted == self.uris:
            return
        self.uris = wanted
        self.changed.set()
        reached, left = (self._some, self._none) if wanted else (self._none, self._some)
        reached.set()
        left.clear()


async def follow(connection: Connection, listener: InboundListener, wanted: WantedResources) -> None:
    """Follow on an open connection until cancelled."""
    subscribed: set[str] = set()
    while True:
        wanted.changed.clear()
        if connection.rpc.modern:
            await _listen(connection, listener, wanted)
        else:
            await _subscribe(connection, subscribed, wanted.uris)
            await wanted.changed.wait()


async def _subscribe(connection: Connection, subscribed: set[str], uris: frozenset[str]) -> None:
    for method, some in (("resources/subscribe", uris - subscribed), ("resources/unsubscribe", subscribed - uris)):
        for uri in sorted(some):
            try:
                await connection.ask(method, {"uri": uri})
            except MCPError as error:
                log.info("backend.subscribe_failed", backend=connection.backend.name, uri=uri, reason=error.message)
    subscribed.clear()
    subscribed.update(uris)


async def _listen(connection: Connection, listener: InboundListener, wanted: WantedResources) -> None:
    """One `subscriptions/listen` stream, until what is wanted changes or the stream ends."""
    able = connection.server_capabilities
    async with anyio.create_task_group() as tasks:

        async def hear() -> None:
            try:
                async with listen(
                    connection.session,
                    tools_list_changed=able.tools is not None,
                    prompts_list_changed=able.prompts is not None,
                    resources_list_changed=able.resources is not None,
                    resource_subscriptions=sorted(wanted.uris),
                ) as events:
                    async for event in events:
                        await _pass_on(listener, event)
            except SubscriptionLost:
                listener.changed("everything")  # whatever was missed is in the lists
            except MCPError as error:
                log.info("backend.listen_failed", backend=connection.backend.name, reason=error.message)
                await anyio.sleep_forever()
            await anyio.sleep(RELISTEN_S)
            tasks.cancel_scope.cancel()

        tasks.start_soon(hear)
        await wanted.changed.wait()
        tasks.cancel_scope.cancel()


async def _pass_on(listener: InboundListener, event: Any) -> None:
    if isinstance(event, ResourceUpdated):
        await listener.updated(event.uri)
    elif type(event) in KINDS:
        listener.changed(KINDS[type(event)])
