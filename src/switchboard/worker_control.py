"""Asking the workers of a fleet how they are doing, and telling them to start a server or plugin anew, or to leave; and
what a worker offers its plugins.

Part of the composition root. The command line asks with `ask`, a worker with `ask_workers`, and answers while it runs
`answering`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from mcp.shared.subscriptions import ServerEvent

from switchboard.errors import ConfigurationError
from switchboard.fleet.heartbeat import living
from switchboard.fleet.peers import Peers, ServedChannel
from switchboard.plugins import OpenStream
from switchboard.sessions.bus import RedisBus
from switchboard.sessions.streams.open_streams import OpenStreams
from switchboard.state import State

ANSWER_S: Final = 3.0
"""What a worker has to answer."""

RELOAD_S: Final = 60.0
"""What it has to read a plugin's code again, to start it, and to answer."""

METHOD: Final = "servers"

STREAMS: Final = "streams"
"""The method by which workers are asked for the streams that they hold, and told to end one."""

Tell = Callable[[], Mapping[str, Any]]
Restart = Callable[[str], bool]
Reload = Callable[[list[str]], Awaitable[bool]]


@dataclass(frozen=True)
class WorkerControl:
    """What a worker can be asked, and told."""

    tell: Tell
    restart: Restart
    """Starts a server anew; whether there is one of that name."""
    reload: Reload
    """Makes plugins anew; whether there is one of these names. Raises ConfigurationError."""
    connections: Callable[[str], list[dict[str, Any]]]
    """What is open to a server of that name."""
    leave: Callable[[], None]
    """Has this worker leave, as on SIGTERM."""

    async def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked for, and say how everything is doing then; or tell of the connections to a server."""
        server = question.get("connections")
        if isinstance(server, str):
            return {"connections": self.connections(server)}
        restart, reload = question.get("restart"), question.get("reload")
        done = self.restart(restart) if isinstance(restart, str) and restart else None
        refused = ""
        if isinstance(reload, str) and reload:
            try:
                done = await self.reload([reload])
            except ConfigurationError as error:
                done, refused = True, str(error)
        if question.get("drain") is True:
            self.leave()
        return {**self.tell(), "restarted": done, "refused": refused}


def answering(peers: Peers, control: WorkerControl) -> AbstractAsyncContextManager[None]:
    """Answer, for this worker."""

    async def answered(params: Mapping[str, Any], _channel: ServedChannel) -> Mapping[str, Any]:
        return await control.answer(params)

    return peers.serving(METHOD, answered)


def telling_of_streams(peers: Peers, streams: OpenStreams) -> AbstractAsyncContextManager[None]:
    """Tell other workers of the streams of this one, and end those that they name."""

    async def answered(params: Mapping[str, Any], _channel: ServedChannel) -> Mapping[str, Any]:
        return streams.listed.answer(params)

    return peers.serving(STREAMS, answered)


def patience(question: Mapping[str, Any]) -> float:
    """Seconds in which an answer is to be there."""
    return RELOAD_S if question.get("reload") else ANSWER_S


async def ask(state: State, **question: str | None) -> list[Mapping[str, Any]]:
    """The answers of all workers that are alive, or of those that answered in time.

    Args:
        question: `restart` a server, or `reload` a plugin, by name; nothing only asks.

    Raises:
        StateUnavailable: Redis cannot be reached.
    """
    async with Peers(state, f"asker-{secrets.token_hex(4)}").running() as peers:
        answers = await ask_workers(state, peers, question)
    told = (answers[worker] for worker in sorted(answers))
    return [{"worker": "", "servers": [], "plugins": [], **answer} for answer in told if answer is not None]


async def ask_workers(
    state: State,
    peers: Peers,
    question: Mapping[str, Any],
    workers: Sequence[str] | None = None,
    *,
    method: str = METHOD,
) -> dict[str, Mapping[str, Any] | None]:
    """What each of these workers answered, or each that is alive; `None` for one that did not in time.

    Raises:
        StateUnavailable: Redis cannot be reached.
    """
    asked = await living(state) if workers is None else workers
    answers = await peers.broadcast(asked, method, dict(question), patience(question))
    found = {worker: answers.get(worker) for worker in asked}
    return {worker: answer if isinstance(answer, Mapping) else None for worker, answer in found.items()}


@dataclass(frozen=True)
class WorkerHost:
    """What this worker offers its plugins. Satisfies `switchboard.plugins.Host`."""

    worker: str
    state: str
    open: OpenStreams
    bus: RedisBus

    def streams(self) -> Iterable[OpenStream]:
        """The streams open on this worker now."""
        return self.open

    async def publish(self, event: ServerEvent) -> None:
        """Tell the clients of every worker."""
        await self.bus.publish(event)
