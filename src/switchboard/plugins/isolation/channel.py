"""The socket between the gateway and a plugin's process: a line of JSON each way, questions numbered by the child.

The gateway first says what is to be run; then the child asks for its credentials. What the child sends is a stranger's:
its lines are bounded, so is how many of its questions are answered at once, and what is no question ends the channel.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any, Final

import structlog

from switchboard.aio import background
from switchboard.errors import CredentialUnavailable, NotConnected, SwitchboardError
from switchboard.plugins.api import TOKENS, Credentials, TokenInfo, check_name

log = structlog.get_logger("switchboard.plugins")

DESCRIPTOR: Final = "SWITCHBOARD_PLUGIN_CHANNEL"
"""The environment variable with the number of the child's end."""

LONGEST: Final = 256 * 1024
"""Bytes of a line."""

AT_ONCE: Final = 16
"""Questions of one child that are answered at once."""


class Answers:
    """What a child may ask, each about its own plugin's credentials."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to one question, or the error."""
        try:
            return {"result": await self._asked(str(question["ask"]), question["with"])}
        except NotConnected as error:
            return {"missing": error.reason}
        except CredentialUnavailable as error:
            return {"unavailable": error.reason}
        except (SwitchboardError, ValueError, TypeError, KeyError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    async def _asked(self, what: str, given: Mapping[str, Any]) -> Any:
        kept, user = self._credentials, str(given["user"])
        if what == "names":
            return [name for name in await kept.names(user) if name != TOKENS]
        if what in ("access_token", "forget_token"):
            return await (kept.access_token(user) if what == "access_token" else kept.forget_token(user))
        if what == "token_info":
            info = await kept.token_info(user)
            return {"state": info.state, "scopes": info.scopes, "expires_at": info.expires_at}
        name = str(given["name"])
        check_name(name)
        if what == "get":
            return await kept.get(name, user)
        if what == "put":
            return await kept.put(name, str(given["value"]), user)
        if what == "delete":
            return await kept.delete(name, user)
        raise ValueError(f"{what!r} is nothing that can be asked")


async def serve(end: socket.socket, task: Mapping[str, Any], credentials: Credentials) -> None:
    """Say what is to be run, and answer until the child is gone."""
    answers = Answers(credentials)
    reader, writer = await asyncio.open_connection(sock=end, limit=LONGEST)
    free = asyncio.Semaphore(AT_ONCE)

    async def answer(number: Any, question: Mapping[str, Any]) -> None:
        try:
            writer.write(_line({"id": number, **await answers.answer(question)}))
            await writer.drain()
        finally:
            free.release()

    try:
        writer.write(_line(task))
        async with background() as start:
            while line := await reader.readline():
                question = json.loads(line)
                await free.acquire()
                start(answer(question["id"], question))
    except (OSError, ValueError, KeyError, TypeError) as error:  # it is gone, or no plugin of ours
        log.warning("plugin.channel_ended", plugin=task.get("name"), reason=f"{type(error).__name__}: {error}")
    finally:
        writer.close()


class ChannelCredentials:
    """The credentials of the plugin in this process, asked for over the channel. Satisfies `Credentials`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._asked = 0

    async def listen(self) -> None:
        """Take the answers, until the gateway is gone."""
        while line := await self._reader.readline():
            answer = json.loads(line)
            waiting = self._waiting.pop(answer["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    async def get(self, name: str, user: str) -> str | None:
        """See `Credentials`."""
        found = await self._ask("get", name=name, user=user)
        return None if found is None else str(found)

    async def put(self, name: str, value: str, user: str) -> None:
        """See `Credentials`."""
        await self._ask("put", name=name, value=value, user=user)

    async def delete(self, name: str, user: str) -> bool:
        """See `Credentials`."""
        return bool(await self._ask("delete", name=name, user=user))

    async def names(self, user: str) -> list[str]:
        """See `Credentials`."""
        return list(await self._ask("names", user=user))

    async def access_token(self, user: str) -> str:
        """See `Credentials`."""
        return str(await self._ask("access_token", user=user))

    async def token_info(self, user: str) -> TokenInfo:
        """See `Credentials`."""
        found = await self._ask("token_info", user=user)
        return TokenInfo(found["state"], tuple(found["scopes"]), found["expires_at"])

    async def forget_token(self, user: str) -> None:
        """See `Credentials`."""
        await self._ask("forget_token", user=user)

    async def _ask(self, what: str, **given: str) -> Any:
        self._asked += 1
        number = self._asked
        self._waiting[number] = waiting = asyncio.get_running_loop().create_future()
        self._writer.write(_line({"id": number, "ask": what, "with": given}))
        await self._writer.drain()
        answer = await waiting
        if "missing" in answer:
            raise NotConnected(given["user"], "", answer["missing"])
        if "unavailable" in answer:
            raise CredentialUnavailable(answer["unavailable"])
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
