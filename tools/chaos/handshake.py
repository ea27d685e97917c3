"""A client of 2025-11-25: a session, a standalone stream, and calls whose broken streams are resumed."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final

from tools.chaos.ledger_plugin import SAID
from tools.chaos.load import Kind, Setting, chosen, until
from tools.chaos.observations import Call, Incident, ReceivedEvent
from tools.chaos.raw_http import Answer, Broken, Event, sent
from tools.chaos.short_session import opened, run_short_session, session

RETRY_S: Final = 1.0
"""What the priming event asks for."""

UNANSWERED_S: Final = 100.0
"""After this a call counts as never answered; longer than Redis may be away."""


class HandshakeClient:
    """One client. It repeats no call: after a broken stream it asks for what followed, as the protocol has it."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._setting = setting
        self._sid = ""
        self._seq = 0
        self._last: str | None = None
        self.listening = asyncio.Event()
        self.idle = asyncio.Event()

    async def open(self) -> None:
        """Make the session; nothing is broken on purpose yet."""
        status, self._sid = await opened(self._setting)
        if status != 200:
            raise RuntimeError(f"initialize: {status}")
        await self._post({"method": "notifications/initialized"})

    async def work(self) -> None:
        """Call until the load is over, then see whether the session is still there."""
        while not self._setting.over.is_set():
            kind = chosen(self._setting.handshake)
            self._setting.log.write(await self.call(kind))
            await self._setting.rest()
        self.idle.set()
        await self._setting.closing.wait()
        status = await self._post({"id": "last", "method": "ping"})
        if status == 200:
            self._setting.log.write(Incident(self.name, "session kept", time.time()))
        else:
            self._lost(f"at the end: {status}")

    async def listen(self) -> None:
        """Hold the standalone stream, and open it again from where it stood when it ends."""
        times = 0
        while not self._setting.closing.is_set():
            headers = self._headers() | self._from(self._last)
            try:
                async with sent(self._setting.port, "GET", headers) as answer:
                    if answer.status == 404:
                        self._lost("standalone stream: 404")
                        return
                    if answer.status == 200:
                        self._reopened(times)
                        times += 1
                        await self._hear(answer)
            except Broken:
                pass
            await until(self._setting.closing, RETRY_S)

    async def call(self, kind: Kind) -> Call:
        """Make one call and follow it to its end."""
        self._seq += 1
        call = Call(self.name, "handshake", self._seq, kind.name)
        if kind.name == "session":
            call.how = await run_short_session(self._setting, f"{self.name}-{call.seq}")
            call.ended = call.sign(call.began)
            return call
        following = _Following(call, kind)
        await self._begin(kind, following)
        while not call.how and following.last and self._setting.replay:
            await asyncio.sleep(RETRY_S)
            await self._resume(following)
            if not call.how and time.time() - call.began > UNANSWERED_S:
                call.how = "never answered"
        call.how = call.how or following.broken
        call.resumable = following.last is not None
        call.ended = call.sign(following.sign)
        return call

    async def _begin(self, kind: Kind, following: _Following) -> None:
        call = following.call
        arguments = {"client": self.name, "seq": call.seq, **kind.arguments}
        params = {"name": kind.tool or kind.name, "arguments": arguments, "_meta": {"progressToken": call.seq}}
        body = {"jsonrpc": "2.0", "id": call.seq, "method": "tools/call", "params": params}
        headers = self._headers(f"{self.name}-{call.seq}")
        try:
            async with sent(self._setting.port, "POST", headers, json.dumps(body).encode()) as answer:
                if answer.status == 404:
                    self._lost("call: 404")
                if answer.status != 200:
                    call.how = f"HTTP {answer.status}"
                elif answer.streams:
                    await self._follow(answer, following)
                else:
                    call.how = outcome(json.loads(await answer.body()), kind, call.seq)
        except Broken as error:
            following.broken = str(error)

    async def _resume(self, following: _Following) -> None:
        call = following.call
        call.resumed += 1
        try:
            async with sent(self._setting.port, "GET", self._headers() | self._from(following.last)) as answer:
                if answer.status == 200:
                    await self._follow(answer, following)
                elif answer.status < 500:
                    call.how = f"resumption refused: HTTP {answer.status}"
        except Broken as error:
            following.broken = str(error)

    async def _follow(self, answer: Answer, following: _Following) -> None:
        following.broken = "stream ended without a response"
        async for event in answer.events():
            message = following.take(event)
            if message.get("method") == "elicitation/create":
                await self._answer(message["id"], following.call)
            if following.call.how:
                return

    async def _answer(self, request: Any, call: Call) -> None:
        result = {"action": "accept", "content": {"number": call.seq}}
        status = await self._post({"id": request, "result": result}, f"{self.name}-{call.seq}-answer")
        if status != 202:  # nobody will end this call now; the client would have to repeat its answer
            call.how = f"answer to a question: {status}"
            await self._post({"method": "notifications/cancelled", "params": {"requestId": call.seq}})

    async def _hear(self, answer: Answer) -> None:
        async for event in answer.events():
            self._last = event.id or self._last
            self.listening.set()
            if event.data:
                uri: str = json.loads(event.data).get("params", {}).get("uri", "")
                if uri.startswith(SAID):
                    number = int(uri.removeprefix(SAID))
                    self._setting.log.write(ReceivedEvent(self.name, "handshake", number, time.time()))

    async def _post(self, message: dict[str, Any], name: str = "") -> int | str:
        try:
            body = json.dumps({"jsonrpc": "2.0", **message}).encode()
            async with sent(self._setting.port, "POST", self._headers(name), body) as answer:
                await answer.body()
                return answer.status
        except Broken as error:
            return str(error)

    def _headers(self, call: str = "") -> dict[str, str]:
        return {**self._setting.headers(call), **session(self._sid)}

    def _from(self, last: str | None) -> dict[str, str]:
        return {"Last-Event-ID": last} if last and self._setting.replay else {}

    def _lost(self, detail: str) -> None:
        self._setting.log.write(Incident(self.name, "session lost", time.time(), detail))

    def _reopened(self, times: int) -> None:
        if times:
            self._setting.log.write(Incident(self.name, "stream reopened", time.time()))


class _Following:
    """Where a client stands in the stream of one call."""

    def __init__(self, call: Call, kind: Kind) -> None:
        self.call = call
        self._kind = kind
        self.last: str | None = None
        self.broken = ""
        self.sign = call.began

    def take(self, event: Event) -> dict[str, Any]:
        """Record one event; its message."""
        self.sign = self.call.sign(self.sign)
        self.last = event.id or self.last
        message: dict[str, Any] = json.loads(event.data) if event.data else {}
        note_progress(message, self.call)
        if "method" not in message and message.get("id") == self.call.seq:
            self.call.how = outcome(message, self._kind, self.call.seq)
        return message


def note_progress(message: dict[str, Any], call: Call) -> None:
    """Write down the number of a progress notification."""
    if message.get("method") == "notifications/progress":
        call.numbers.append(int(message["params"]["progress"]))


def outcome(message: dict[str, Any], kind: Kind, seq: int) -> str:
    """`ok`, or what the response says went wrong."""
    if "error" in message:
        error = message["error"]
        data = error.get("data")
        return f"JSON-RPC error: {data.get('reason') if isinstance(data, dict) else error['message']}"
    result = message["result"]
    text = result["content"][0]["text"]
    if result.get("isError"):
        return f"tool error: {text[:80]}"
    return "ok" if kind.right(text, seq) else f"wrong answer: {text[:40]}"
