"""Answers of HTTP servers made fit for the SDK's transport: what cannot be read becomes an error of the one request."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import httpx2
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCResponse, RequestId, jsonrpc_message_adapter

from switchboard.backends.errors import BACKEND_UNAVAILABLE, BAD_GATEWAY
from switchboard.backends.transports import messages
from switchboard.backends.transports.answers import BoundedBody, reason, refusal
from switchboard.backends.transports.framing import Cut, LineSplitter

_REQUEST: Final = re.compile(rb'\s*\{"jsonrpc":\s*"2\.0",\s*"id":\s*(-?\d+|"[^"\\]*"),\s*"method":')
"""As our own side writes one."""

FRAMING: Final = frozenset({"content-length", "content-type", "content-encoding", "transfer-encoding"})


def asked(request: httpx2.Request) -> RequestId | None:
    """The id of the JSON-RPC request that is posted; `None` if it is none."""
    found = _REQUEST.match(request.content) if request.method == "POST" else None
    return None if found is None else json.loads(found[1])


async def answer(response: httpx2.Response, number: RequestId, max_bytes: int) -> httpx2.Response:
    """The answer to a request, from a body that is not a stream of events."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code in (202, 204):
        await response.aclose()
        return refusal(
            502, BAD_GATEWAY, f"it answered a request with HTTP {response.status_code} and without a message"
        )
    stream: Any = response.stream
    try:
        body = b"".join([chunk async for chunk in BoundedBody(stream, max_bytes)])
    except httpx2.StreamError as error:
        too_large = "more than" in str(error)
        return refusal(502 if too_large else 503, BAD_GATEWAY if too_large else BACKEND_UNAVAILABLE, str(error))
    except httpx2.TransportError as error:
        return refusal(503, BACKEND_UNAVAILABLE, reason(error))
    finally:
        await response.aclose()
    try:
        found = [one for one in messages.read(body) if isinstance(one, JSONRPCResponse | JSONRPCError)]
    except messages.Unreadable as error:
        json_ = kind == "application/json"
        why = (
            "Failed to parse JSON response" if json_ else f"Unexpected content type {kind or '(none)'}, and no message"
        )
        return refusal(502, BAD_GATEWAY, f"{why}: {error}")
    if not found:
        return refusal(502, BAD_GATEWAY, f"{messages.NOT_VALID}: it is no answer")
    chosen = next((one for one in found if str(one.id) == str(number)), found[-1])
    headers = [(key, value) for key, value in response.headers.multi_items() if key.lower() not in FRAMING]
    content = _written(chosen.model_copy(update={"id": number}))
    return httpx2.Response(200, headers=[*headers, ("content-type", "application/json")], content=content)


class Events(httpx2.AsyncByteStream):
    """A stream of events, each with a message that can be read, or none.

    Args:
        max_bytes: bytes of a message.
        number: the request that the stream answers, if it answers one.
    """

    def __init__(self, inner: httpx2.AsyncByteStream, max_bytes: int, number: RequestId | None) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self._number = number
        self._fields: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        lines = LineSplitter(self._max_bytes + len(b"data: "))
        async for chunk in self._inner:
            for line in lines.feed(chunk):
                if text := self._taken(line):
                    yield text

    async def aclose(self) -> None:
        """Close the connection's stream."""
        await self._inner.aclose()

    def _taken(self, line: bytes | Cut) -> bytes:
        """What a line completes."""
        if isinstance(line, Cut):
            self._size = self._max_bytes + 1
            before = b"\n".join(self._data)[: messages.EDGE_CHARS]
            self._data = [before or line.beginning.removeprefix(b"data:"), line.end]
            return b""
        line = line.rstrip(b"\r").removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"data:"):
            self._add(line.removeprefix(b"data:").removeprefix(b" "))
        elif line:
            self._fields.append(line)
            if line.startswith(b":"):  # a sign of life goes on at once
                return self._fields.pop() + b"\n"
        else:
            return self._event()
        return b""

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._max_bytes:
            self._data.append(data)
        else:
            self._data = [b"\n".join(self._data)[: messages.EDGE_CHARS], data[-messages.EDGE_CHARS :]]

    def _event(self) -> bytes:
        fields, lines, size = self._fields, self._data, self._size
        self._fields, self._data, self._size = [], [], 0
        data = b"\n".join(lines)
        named = any(field.partition(b":")[2].strip() != b"message" for field in fields if field.startswith(b"event:"))
        if named or not data or (size <= self._max_bytes and _is_message(data)):
            return _block([*fields, *(b"data: " + line for line in lines)])
        return b"".join(_block([*fields, b"data: " + _written(one)]) for one in self._read(data, size)) or _block(
            fields
        )

    def _read(self, data: bytes, size: int) -> Iterator[JSONRPCMessage]:
        for one in self._found(data, size):
            if isinstance(one, JSONRPCError) and one.id is None and self._number is not None:
                yield one.model_copy(update={"id": self._number})
            else:
                yield one

    def _found(self, data: bytes, size: int) -> list[JSONRPCMessage]:
        if size > self._max_bytes:
            why = f"it sent a message of more than {self._max_bytes} bytes"
            refused = messages.refused(data.decode(errors="replace"), why)
            return [] if refused is None else [refused]
        try:
            return messages.read(data)
        except messages.Unreadable:
            return []


def _is_message(data: bytes) -> bool:
    try:
        jsonrpc_message_adapter.validate_json(data, by_name=False)
    except ValueError:
        return False
    return True


def _block(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines) + b"\n"


def _written(message: JSONRPCMessage) -> bytes:
    dumped: bytes = jsonrpc_message_adapter.dump_json(message, by_alias=True, exclude_unset=True)
    return dumped
