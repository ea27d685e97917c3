"""A line that another worker has: the call goes there, and what the backend says and asks comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from switchboard.aio import first_error
from switchboard.backends import errors
from switchboard.backends.caller import ClientChannel, Params
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.envelope import HeaderMap
from switchboard.backends.errors import BackendFailure
from switchboard.backends.frames import AGAIN_S, SILENT_S, Frame, Inbox, error_frame, raised
from switchboard.backends.peer_server import took
from switchboard.errors import StateUnavailable
from switchboard.state import State

FIRST_S: Final = 1.0
"""How long the holder may take to say that it has the call, before it is asked again."""

UNTAKEN_S: Final = 3.0
"""After so long without that, the call is given up, and the claim on the line looked at again."""


AWAY_S: Final = 75.0
"""After so long the call is given up, also when it is Redis that is away."""


class Moved(BackendFailure):
    """That worker has the line no more, and did nothing: whoever wants it must look again."""


class Remote:
    """Satisfies `calling.Reach`."""

    def __init__(self, state: State, holder: str, backend: str, key: ConnectionKey) -> None:
        self.version = ""
        self.lost = False
        self._state = state
        self._holder = holder
        self._backend = backend
        self._key = key

    async def request(
        self, method: str, params: Params | None, client_channel: ClientChannel, *, headers: HeaderMap | None = None
    ) -> dict[str, Any]:
        """Have the holder pass a request on.

        Raises:
            MCPError: the backend's own, or that the other worker was lost.
            Moved: it was not passed on.
        """
        call = {
            "method": method,
            "params": params,
            "key": asdict(self._key),
            "era": client_channel.era,
            "capabilities": dict(client_channel.capabilities),
            "progress": client_channel.wants_progress,
            "headers": [[list(path), token] for path, token in (headers or {}).items()],
        }
        reply, inbox = secrets.token_hex(12), Inbox()
        try:
            hearing = self._state.hub.subscribed(self._state.keys.line_reply(reply), inbox.put)
            async with hearing, self._talking(reply) as talk:
                final = await talk.outcome(call, inbox, client_channel)
        except StateUnavailable as error:
            raise errors.unavailable(self._backend, "shared state cannot be reached now", sent=True) from error
        if final["kind"] == "error":
            raise raised(final)
        self.version, self.lost = final["version"], final["lost"]
        result: dict[str, Any] = final["result"]
        return result

    @asynccontextmanager
    async def _talking(self, reply: str) -> AsyncIterator[_Talk]:
        talk = _Talk(self, reply)
        try:
            async with asyncio.TaskGroup() as talk.tasks:
                yield talk
                for task in talk.asking:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise first_error(group) from None
        finally:
            if not talk.over:
                await asyncio.shield(self._cancelled(reply))

    async def _cancelled(self, reply: str) -> None:
        with contextlib.suppress(StateUnavailable):  # then it hears nothing from us, and ends the call by that
            await self.say({"kind": "cancel", "reply": reply})

    async def say(self, frame: Frame) -> None:
        """Tell the holder."""
        await self._state.hub.publish(self._state.keys.line_to(self._holder, self._backend), json.dumps(frame))

    async def was_taken(self, reply: str) -> bool:
        """Whether the holder began, after all.

        Raises:
            Moved: it did not, and will not.
        """
        if await took(self._state, reply):
            raise Moved("the worker that had its connection does not answer")
        return True

    def silence(self, heard: float) -> float:
        """For how long the holder could have been heard, and was not."""
        return self._state.contact.silence(heard)

    def gone(self, *, sent: bool) -> MCPError:
        """The error when the holder is not heard any more."""
        return errors.unavailable(self._backend, "the worker that had its connection was lost", sent=sent)


class _Talk:
    """One call's conversation with the holder."""

    tasks: asyncio.TaskGroup

    def __init__(self, remote: Remote, reply: str) -> None:
        self.over = False
        self.asking: set[asyncio.Task[None]] = set()
        self._remote = remote
        self._reply = reply
        self._answers: dict[str, Frame] = {}

    async def outcome(self, call: Frame, inbox: Inbox, client_channel: ClientChannel) -> Frame:
        """Ask, relay, repeat."""
        clock = time.monotonic
        heard, known = clock(), False
        await self._say(inbox, call)
        while True:
            frame = await inbox.get(AGAIN_S if known else FIRST_S)
            if frame is None:
                silent = self._remote.silence(heard)
                if not known and silent > UNTAKEN_S:
                    known = await self._remote.was_taken(self._reply)
                if silent > SILENT_S or clock() - heard > AWAY_S:
                    raise self._remote.gone(sent=True)
                await self._say(inbox, None if known else call)
                continue
            heard, known = clock(), known or "n" in frame
            if frame["kind"] in ("result", "error", "moved", "unknown"):
                self.over = True
                return self._final(frame)
            await self._relay(frame, client_channel, inbox)

    def _final(self, frame: Frame) -> Frame:
        if frame["kind"] == "moved":
            raise Moved("it is on another worker by now")
        if frame["kind"] == "unknown":
            raise self._remote.gone(sent=True)
        return frame

    async def _relay(self, frame: Frame, client_channel: ClientChannel, inbox: Inbox) -> None:
        if frame["kind"] == "progress":
            await client_channel.progress(*frame["progress"])
        elif frame["kind"] == "notify":
            await client_channel.notify(frame["method"], frame["params"])
        elif frame["kind"] == "ask":
            task = self.tasks.create_task(self._ask(frame, client_channel, inbox))
            self.asking.add(task)
            task.add_done_callback(self.asking.discard)

    async def _ask(self, frame: Frame, client_channel: ClientChannel, inbox: Inbox) -> None:
        try:
            answer: Frame = {"kind": "result", "result": await client_channel.ask(frame["method"], frame["params"])}
        except MCPError as error:
            answer = error_frame(error)
        except ValueError:
            answer = error_frame(MCPError(INTERNAL_ERROR, "The client's answer is not valid"))
        self._answers[str(frame["ask"])] = answer
        await self._say(inbox, None)

    async def _say(self, inbox: Inbox, call: Frame | None) -> None:
        frame = {"kind": "call", "reply": self._reply, "seen": inbox.seen, "answers": self._answers, "call": call}
        await self._remote.say(frame)
