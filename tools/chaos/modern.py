"""A client of 2026-07-28: no session, calls that nobody can resume, and a listen stream that says when to look."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Final

from tools.chaos.handshake import note_progress, outcome
from tools.chaos.ledger_plugin import VALUE
from tools.chaos.load import Kind, Setting, chosen, until
from tools.chaos.observations import Call, Incident, ReceivedEvent
from tools.chaos.raw_http import Answer, Broken, sent

VERSION: Final = "2026-07-28"
REOPEN_S: Final = 1.0
META: Final = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "chaos", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class ModernClient:
    """One client. After every notice, and after opening its listen stream again, it reads the value it listens for."""

    def __init__(self, name: str, setting: Setting) -> None:
        self.name = name
        self._setting = setting
        self._seq = 0
        self.listening = asyncio.Event()
        self.idle = asyncio.Event()
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """There is nothing to open in this era."""

    async def work(self) -> None:
        """Call until the load is over."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._keep_reading())
            while not self._setting.over.is_set():
                kind = chosen(self._setting.modern)
                self._setting.log.write(await self.call(kind.name, kind))
                await self._setting.rest()
            self.idle.set()
            await self._setting.closing.wait()
            reading.cancel()

    async def listen(self) -> None:
        """Hold a listen stream; a new one tells nothing of the past, so its acknowledgement is a reason to look."""
        times = 0
        notices = {"notifications": {"resourceSubscriptions": [f"{VALUE}{self.name}"]}}
        while not self._setting.closing.is_set():
            try:
                async with self._posted("subscriptions/listen", "", f"listen-{times}", notices) as answer:
                    if answer.status == 200:
                        if times:
                            self._setting.log.write(Incident(self.name, "stream reopened", time.time()))
                        times += 1
                        async for _ in answer.events():
                            self.listening.set()
                            self._changed.set()
            except Broken:
                pass
            await until(self._setting.closing, REOPEN_S)

    async def _keep_reading(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            call = await self.call("value", Kind("value", 0, {}))
            self._setting.log.write(call)
            if call.how != "ok":
                await asyncio.sleep(REOPEN_S)
                self._changed.set()

    async def call(self, tool: str, kind: Kind) -> Call:
        """Make one call; when its stream breaks, it has failed."""
        self._seq += 1
        call = Call(self.name, "modern", self._seq, tool)
        arguments: dict[str, Any] = {"client": self.name, **kind.arguments}
        if tool != "value":
            arguments["seq"] = call.seq
        params = {"name": tool, "arguments": arguments}
        sign = call.began
        try:
            async with self._posted("tools/call", tool, call.seq, params, f"{self.name}-{call.seq}") as answer:
                sign = await self._read(answer, call, kind)
        except Broken as error:
            call.how = call.how or str(error)
        call.ended = call.sign(sign)
        return call

    async def _read(self, answer: Answer, call: Call, kind: Kind) -> float:
        sign = call.began
        if answer.status != 200:
            call.how = f"HTTP {answer.status}"
        elif not answer.streams:
            self._end(json.loads(await answer.body()), call, kind)
        else:
            async for event in answer.events():
                sign = call.sign(sign)
                message = json.loads(event.data) if event.data else {}
                note_progress(message, call)
                if "method" not in message and "id" in message:
                    self._end(message, call, kind)
            call.how = call.how or "stream ended without a response"
        return sign

    def _end(self, message: dict[str, Any], call: Call, kind: Kind) -> None:
        if call.kind == "value" and "result" in message and not message["result"].get("isError"):
            value = int(message["result"]["content"][0]["text"])
            self._setting.log.write(ReceivedEvent(self.name, "modern", value, time.time()))
            call.how = "ok"
            return
        call.how = outcome(message, kind, call.seq)

    def _posted(self, method: str, name: str, request: Any, params: dict[str, Any], call: str = "") -> Any:
        headers = {**self._setting.headers(call), "MCP-Protocol-Version": VERSION, "Mcp-Method": method}
        if name:
            headers["Mcp-Name"] = name
        meta = {**META, **({"progressToken": request} if call else {})}
        body = {"jsonrpc": "2.0", "id": request, "method": method, "params": {**params, "_meta": meta}}
        return sent(self._setting.port, "POST", headers, json.dumps(body).encode())
