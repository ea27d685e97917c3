"""Calls for a connection that another worker has: handed over to it, and taken from others.

What the backend says meanwhile and asks goes to the client through the worker that it is connected to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import fields
from typing import Any, Final, Literal

from switchboard.backends import errors
from switchboard.backends.caller import ClientChannel, Params
from switchboard.backends.connections.connection import Connection
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.envelope import HeaderMap
from switchboard.backends.errors import BackendFailure
from switchboard.errors import StateUnavailable
from switchboard.fleet.peers import Channel, NotHere, PeerLost, Peers, ServedChannel

Hold = Callable[[ConnectionKey, Params], AbstractAsyncContextManager[Connection | None]]
"""The connection of a key if this worker may have it, else `None`."""


KEY_FIELDS: Final = tuple(field.name for field in fields(ConnectionKey))


class Moved(BackendFailure):
    """That worker has the connection no more, or does not answer, and did nothing: whoever wants it looks again."""


class RemoteConnection:
    """A connection that another worker has. Satisfies `routing.Route`.

    Args:
        seat: who has it: a worker's id, `-`, and a suffix for each time that the backend was started on it.
        listens: whether that worker is known to have listened a moment ago: if it does not, it is not waited for.
    """

    def __init__(self, peers: Peers, seat: str, backend: str, key: ConnectionKey, *, listens: bool = False) -> None:
        self.version = ""
        self.lost = False
        self._peers = peers
        self._seat = seat
        self._backend = backend
        self._key = key
        self._listens = listens

    async def request(
        self, method: str, params: Params | None, client_channel: ClientChannel, *, headers: HeaderMap | None = None
    ) -> dict[str, Any]:
        """Have the other worker pass a request on.

        Raises:
            MCPError: the backend's own, or that the other worker was lost.
            Moved: it was not passed on.
        """
        call = {
            "method": method,
            "params": params,
            "key": {name: getattr(self._key, name) for name in KEY_FIELDS},
            "era": client_channel.era,
            "capabilities": dict(client_channel.capabilities),
            "progress": client_channel.wants_progress,
            "headers": [[list(path), token] for path, token in (headers or {}).items()],
        }
        worker = self._seat.rpartition("-")[0]
        try:
            served = served_as(self._backend, self._seat)
            answer = await self._peers.call(worker, served, call, client_channel, listens=self._listens)
        except StateUnavailable as error:
            raise errors.unavailable(self._backend, "shared state cannot be reached now", sent=True) from error
        except PeerLost as error:
            if not error.begun:
                raise Moved(error.reason) from error
            raise errors.unavailable(self._backend, error.reason, sent=True) from error
        self.version, self.lost = answer["version"], answer["lost"]
        result: dict[str, Any] = answer["result"]
        return result


class RemoteCaller:
    """A client connected to another worker. Satisfies `caller.ClientChannel`."""

    def __init__(self, call: Mapping[str, Any], channel: Channel) -> None:
        self.era: Literal["handshake", "modern"] = "modern" if call["era"] == "modern" else "handshake"
        self.capabilities: Params = call["capabilities"]
        self.wants_progress: bool = call["progress"]
        self.ask = channel.ask
        self.notify = channel.notify
        self.progress = channel.progress


def serving(peers: Peers, seat: str, backend: str, hold: Hold) -> AbstractAsyncContextManager[None]:
    """Serve other workers' calls until the context ends; then finish what was begun, and take no more."""

    async def served(call: Mapping[str, Any], channel: ServedChannel) -> Mapping[str, Any]:
        caller = RemoteCaller(call, channel)
        headers = {tuple(path): token for path, token in call["headers"]}
        try:
            async with hold(ConnectionKey(**call["key"]), caller.capabilities) as connection:
                if connection is None:
                    raise NotHere("it is on another worker by now")
                result = await connection.request(call["method"], call["params"], caller, headers=headers)
                lost, connection.lost = connection.lost, False
                return {"result": result, "version": connection.version, "lost": lost}
        except BackendFailure as error:
            raise errors.not_begun(backend, error) from error

    return peers.serving(served_as(backend, seat), served)


def served_as(backend: str, seat: str) -> str:
    """The method under which a backend's connections of one life are served."""
    return f"backend {backend} {seat}"
